"""What the processes of one training agree on before each step."""

from __future__ import annotations

import contextlib
import signal
import threading
from types import FrameType
from typing import Any

import torch

from smoot_explore.compute.ranks import Ranks
from smoot_explore.core.config import LiveValues
from smoot_explore.core.records import TrainingError


class Meeting:
    """Where the processes of a training meet before each step, and after the last.

    They take over the live values of the first, and they end together: when one closes its generator, the others'
    end; Ctrl+C, in whichever process, is ``KeyboardInterrupt`` in all. Until the next meeting it is only noted, so that
    none waits for one that is gone. A process that trains alone meets nobody.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._interrupted = False
        self._before: Any = None  # what handled Ctrl+C

    def __enter__(self) -> Meeting:
        if self._ranks.count > 1 and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        if self._ranks.count == 1:
            return
        if kind is GeneratorExit and torch.distributed.is_initialized():
            with contextlib.suppress(RuntimeError):  # the others may be gone
                self._add([0.0] * len(LiveValues._fields), leaving=True)
        if isinstance(error, RuntimeError) and _is_of_the_connection(error):
            raise TrainingError(
                f"another process of this training has ended or cannot be reached ({str(error).splitlines()[0]}). "
                "A run folder holds the last whole epoch: start all processes again, as many as before, and with "
                "--resume, and training goes on from there"
            ) from error

    def agree(self, own: LiveValues) -> LiveValues | None:
        """The live values of the first process; None when one has left.

        Raises
        ------
        KeyboardInterrupt
            When Ctrl+C was pressed in one of them.
        """
        if self._ranks.count == 1:
            return own
        first = self._ranks.rank == 0
        *values, leaving, interrupted = self._add(list(own) if first else [0.0] * len(own))
        if interrupted:
            raise KeyboardInterrupt
        return None if leaving else LiveValues(*values)

    def _add(self, values: list[float], leaving: bool = False) -> list[float]:
        numbers = torch.tensor([*values, leaving, self._interrupted], dtype=torch.float64)
        if "cpu:" not in torch.distributed.get_backend_config():  # a group of the user's own, of NCCL alone
            numbers = numbers.cuda()
        return self._ranks.add(numbers).tolist()


def _is_of_the_connection(error: RuntimeError) -> bool:
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)
