"""The processor's cores, and how many a thread may take; loads no PyTorch until it must."""

from __future__ import annotations

import ctypes
import os
import sys


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compute_on_one_core() -> None:
    """Let this thread compute on one core: the page stays responsive, and trainings keep theirs."""
    import torch

    torch.set_num_threads(1)
    give_cores_away()


def give_cores_away() -> None:
    """Let another thread compute as fast as this one did: call it before that thread starts.

    PyTorch's OpenMP keeps helpers for every thread that has computed. Where they are more than the cores, all helpers
    sleep between two operations instead of waiting awake, and waking them makes a training 10 to 25 % slower. This
    ends the helpers of the calling thread; it gets new ones when it computes again. Nothing happens where OpenMP is not
    GCC's alone: others end the helpers of all threads.
    """
    import torch  # noqa: F401  # with it comes the OpenMP that it uses

    if sys.platform != "linux":
        return
    openmp = ctypes.CDLL(None)
    is_of_gcc = hasattr(openmp, "GOMP_parallel") and not hasattr(openmp, "__kmpc_fork_call")
    if is_of_gcc and hasattr(openmp, "omp_pause_resource_all"):
        openmp.omp_pause_resource_all(2)  # omp_pause_hard, OpenMP 5.0, section 3.2.44
