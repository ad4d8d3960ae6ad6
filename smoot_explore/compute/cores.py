"""The processor's cores, and how many a thread may take; loads no PyTorch until it must."""

from __future__ import annotations

import os


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compute_on_one_core() -> None:
    """Let this thread compute on one core: the page stays responsive, and trainings keep theirs."""
    import torch

    torch.set_num_threads(1)
