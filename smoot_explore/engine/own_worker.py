"""What worker processes have of their own that are started here, and not by somebody's cluster."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Worker

NICENESS = 3  # enough for the sliders; with 10, busy cores leave a training almost nothing
_AUTOGROUP = Path(
    "/proc/self/autogroup"
)  # by which Linux shares the cores among sessions, whatever nice says
_numbers: list[int] = []  # this process's among the workers of its client


def dask_setup(worker: Worker) -> None:
    """Called by Dask before the first job: stand back behind who moves a slider, in the page and in the browser."""
    _numbers[:] = [int(worker.name)]
    # Ctrl+C reaches all processes of a terminal: the one that started the workers ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setsid") and os.getsid(0) != os.getpid():
        with contextlib.suppress(OSError):
            os.nice(NICENESS)
            os.setsid()
            if _AUTOGROUP.exists():
                _AUTOGROUP.write_text(str(NICENESS))


def take_turn_at_gpus() -> None:
    """Have this thread compute on the GPU that the worker's number points to, where there are several."""
    import torch

    if _numbers and (gpus := torch.cuda.device_count()) > 1:
        torch.cuda.set_device(_numbers[0] % gpus)
