"""A claim on a folder: while one process holds it no other gets it, on any computer that sees the same files."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_LOOK_SECONDS = 0.2


def claim_of(run: Path) -> Path:
    """The file whose lock the one holds that trains in a run's folder, whoever it is; it lies beside the folder."""
    return run.with_name(f".{run.name}.claim")


@contextmanager
def claimed(file: Path, wanted: Callable[[], bool] = lambda: True) -> Iterator[bool]:
    """Hold the lock of a file, and give True; wait while somebody else does.

    The lock is the operating system's: it ends with the process that holds it, however that ends, so there is
    nothing to clean up, and no process that was taken for dead holds a folder together with its successor.

    Parameters
    ----------
    file
        Made where it is not there, in a folder that is; it stays.
    wanted
        Asked while waiting; False gives the wait up, and the context is entered with False.

    Raises
    ------
    OSError
        Where the file system has no locks.
    """
    with open(file, "a", encoding="utf-8") as opened:
        while not (held := _lock(opened)) and wanted():
            time.sleep(_LOOK_SECONDS)
        yield held


def _lock(opened: IO[str]) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(opened.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            return False
        raise OSError(
            f"{opened.name} cannot be locked ({error.strerror}), and two workers could train in one folder: put it "
            "on a file system with locks (NFS: not mounted with nolock; Lustre: mounted with flock)"
        ) from error
    return True
