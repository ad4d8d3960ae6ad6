"""Cores: which threads compute."""

import subprocess
import sys

import pytest
import torch

from smoot_explore.compute.cores import give_cores_away

# In a process of its own: in this one other threads come and go.
COUNT_HELPERS = """
import os, threading, torch
from smoot_explore.compute.cores import give_cores_away

def compute():
    torch.rand(1000, 1000).exp_()

def work():
    torch.set_num_threads(3)  # starts threads that no operation here uses
    before = len(os.listdir("/proc/self/task"))
    for act in (compute, give_cores_away):
        act()
        print(len(os.listdir("/proc/self/task")) - before)

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="OpenMP of GCC keeps helpers only there")
def test_a_thread_that_gives_its_cores_away_keeps_no_helpers() -> None:
    counted = subprocess.run(
        [sys.executable, "-c", COUNT_HELPERS], capture_output=True, text=True, check=True
    ).stdout
    assert counted.split() == ["2", "0"]


def test_a_thread_that_gave_its_cores_away_computes_as_before() -> None:
    images = torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    first = torch.nn.functional.conv2d(images, images[:8])
    give_cores_away()
    torch.testing.assert_close(torch.nn.functional.conv2d(images, images[:8]), first, rtol=0, atol=0)
