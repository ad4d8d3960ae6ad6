"""Random numbers that leave the caller's own untouched."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_one_at_a_time = threading.RLock()  # PyTorch has one random state for all threads


class RandomStream:
    """PyTorch's global random state, kept apart for one owner.

    Dropout draws from the global state, which the caller of a generator may also use between two
    records. Entering installs this stream's state, leaving puts the caller's back, so neither
    changes the numbers of the other. While one thread is inside, others wait to enter theirs.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        with self:
            torch.manual_seed(seed)

    def __enter__(self) -> RandomStream:
        _one_at_a_time.acquire()
        self._outside = self._read()
        if hasattr(self, "_inside"):
            self._write(self._inside)
        return self

    def __exit__(self, *exception: object) -> None:
        self._inside = self._read()
        self._write(self._outside)
        _one_at_a_time.release()

    def _read(self) -> list[torch.Tensor]:
        states = [torch.get_rng_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._device))
        return states

    def _write(self, states: list[torch.Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(states[1], self._device)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed PyTorch's and NumPy's global states for a block (Captum draws from both), then restore them."""
    with _one_at_a_time:
        numpy_state = np.random.get_state()  # noqa: NPY002
        try:
            with RandomStream(seed, device):
                np.random.seed(seed % 2**32)  # noqa: NPY002
                yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002


def derived_seed(seed: int, *path: int) -> int:
    """A seed for one part of a run, such as an epoch, independent of every other part's."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1, np.uint64)[0] >> 1)
