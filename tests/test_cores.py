"""Cores: which threads compute."""

import os
import sys
import threading
from collections.abc import Callable

import pytest
import torch

from smoot_explore.compute.cores import give_cores_away


def helpers_of(compute: Callable[[], None]) -> tuple[int, int]:
    """Threads of this process that computing in a new thread adds, and those that are left after giving away."""
    counts = list[int]()

    def work() -> None:
        for act in (compute, give_cores_away):
            act()
            counts.append(len(os.listdir("/proc/self/task")))

    before = len(os.listdir("/proc/self/task")) + 1  # with the new thread itself
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return counts[0] - before, counts[1] - before


@pytest.mark.skipif(sys.platform != "linux", reason="OpenMP of GCC keeps helpers only there")
def test_a_thread_that_gives_its_cores_away_keeps_no_helpers() -> None:
    def compute() -> None:
        torch.set_num_threads(3)
        torch.rand(1000, 1000).exp_()

    assert helpers_of(compute) == (2, 0)


def test_a_thread_that_gave_its_cores_away_computes_as_before() -> None:
    images = torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    first = torch.nn.functional.conv2d(images, images[:8])
    give_cores_away()
    torch.testing.assert_close(torch.nn.functional.conv2d(images, images[:8]), first, rtol=0, atol=0)
