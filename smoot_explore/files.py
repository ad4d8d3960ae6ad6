"""Files: written so that a kill at any instant leaves the old one or the new one, read without being led astray."""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

JSON_BYTES = 64 * 2**20  # no settings and no journal is longer
_HEADER_BYTES = 64 * 2**10  # of an array's file, at most
_STALE_SECONDS = 24 * 60 * 60
_counter = itertools.count()


class FileError(ValueError):
    """A file that is not what it should be: missing, no regular file, too large, or damaged."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a temporary path beside ``path``, then move it into place.

    Each call has a temporary of its own, whatever other threads, processes and computers write meanwhile. What a
    kill has left is removed by a later call.
    """
    _remove_leftovers(path)
    owner = f"{socket.gethostname()}.{os.getpid()}.{next(_counter)}"
    temporary = path.with_name(f".{path.name}.{owner}.tmp")
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a NumPy array, atomically and never as a pickle."""

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:  # by name, np.save would append .npy
            np.save(file, array, allow_pickle=False)

    write_atomically(path, write)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON, atomically. NaN is refused: JSON has none."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def copy_file(source: Path, target: Path) -> None:
    """Copy a regular file, atomically; `FileError` when there is none."""
    regular_size(source)
    write_atomically(target, lambda temporary: shutil.copyfile(source, temporary))


def regular_size(path: Path) -> int:
    """Bytes of a regular file.

    Raises
    ------
    FileError
        When there is none: a pipe would be waited for, a device would never end, a link may lead to either, or to a
        file that is nobody's business.
    """
    try:
        found = path.lstat()
    except OSError as error:
        raise FileError(f"{path.name} cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(found.st_mode):
        raise FileError(f"{path.name} cannot be read (it is no regular file)")
    return found.st_size


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most ``limit`` bytes.

    Raises
    ------
    FileError
        When there is no such file, or it is larger.
    """
    size = regular_size(path)
    if size > limit:
        raise FileError(f"{path.name} cannot be read (it has {size:,} bytes, at most {limit:,} are expected)")
    try:
        with open(path, "rb") as file:
            return file.read(size)  # room for as much is made at once
    except OSError as error:
        raise FileError(f"{path.name} cannot be read ({error.strerror})") from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises
    ------
    FileError
        When there is none, or it cannot be read.
    """
    content = read_bytes(path, JSON_BYTES)
    try:
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path.name} cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise FileError(f"{path.name} holds no JSON object")
    return value


def read_array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The array of numbers in a ``.npy`` file, never unpickled.

    Raises
    ------
    FileError
        When it cannot be read, or has another shape.
    """
    content = read_bytes(path, 16 * int(np.prod(shape)) + _HEADER_BYTES)
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # a damaged header makes NumPy raise almost anything
        raise FileError(f"{path.name} cannot be read ({type(error).__name__}: {error})") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise FileError(f"{path.name} holds no single array of numbers")
    if array.shape != shape:
        raise FileError(f"{path.name} has the shape {array.shape}, should have {shape}")
    return array


def _remove_leftovers(path: Path) -> None:
    """Delete the temporaries of writers that are no more: killed on this computer, or a day ago."""
    own = f".{path.name}.{socket.gethostname()}."
    for temporary in path.parent.glob(f".{path.name}.*.tmp"):
        pid = temporary.name.removeprefix(own).split(".")[0] if temporary.name.startswith(own) else ""
        try:
            old = time.time() - temporary.stat().st_mtime > _STALE_SECONDS
        except OSError:  # its writer has just finished
            continue
        if old or (pid.isdecimal() and not _is_alive(int(pid))):
            temporary.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # there, asking would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
