"""Memory kept between training steps, and given back after the last."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch

from smoot_explore.compute import memory

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


class Glibc:
    """Remembers what it was told, as glibc does."""

    def __init__(self):
        self.options = {}
        self.trimmed = 0

    def mallopt(self, option, value):
        self.options[option] = value

    def malloc_trim(self, pad):
        self.trimmed += 1


def test_both_thresholds_are_put_back_when_the_last_training_leaves(monkeypatch):
    libc = Glibc()
    monkeypatch.setattr(memory, "_glibc", lambda: libc)
    both_inside = Barrier(2)

    def work():
        with memory.retained_memory(torch.device("cpu")):
            both_inside.wait(timeout=30)
            assert libc.options[M_MMAP_THRESHOLD] == 32 * 2**20
            assert libc.trimmed == 0
            both_inside.wait(timeout=30)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work) for _ in range(2)]:
            done.result()
    assert libc.options == {M_TRIM_THRESHOLD: 128 * 2**10, M_MMAP_THRESHOLD: 128 * 2**10}
    assert libc.trimmed == 1
