"""Writing a file so that a kill at any instant leaves the old one or the new one, never a half."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a temporary path beside ``path``, then move it into place."""
    for left_by_a_kill in path.parent.glob(f".{path.name}.*.tmp"):
        left_by_a_kill.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
