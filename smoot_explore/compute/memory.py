"""Memory that a CPU keeps between two steps."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_DEFAULT_THRESHOLD = 128 * 2**10  # bytes, of both
_memory_lock = threading.Lock()
_users_of_memory = 0


@contextlib.contextmanager
def retained_memory(device: torch.device) -> Iterator[None]:
    """On a CPU with glibc, keep freed memory for the next step instead of handing it back each time.

    A training step frees some 100 MB and asks for them again; by default glibc returns them to the system,
    and touching fresh pages then costs up to a quarter of the step. When the last user leaves, all of it is
    handed back.
    """
    libc = _glibc() if device.type == "cpu" else None
    if libc is None:
        yield
        return
    global _users_of_memory
    with _memory_lock:
        _users_of_memory += 1
        libc.mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)  # the largest it takes
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        with _memory_lock:
            _users_of_memory -= 1
            if _users_of_memory == 0:
                # Where both started. Only glibc's own moving of them does not come back once they were set.
                libc.mallopt(_M_MMAP_THRESHOLD, _DEFAULT_THRESHOLD)
                libc.mallopt(_M_TRIM_THRESHOLD, _DEFAULT_THRESHOLD)
                libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL("libc.so.6")
        return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
    except OSError:
        return None
