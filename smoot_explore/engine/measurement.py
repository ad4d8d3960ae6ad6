"""Long measurements of a model, in a worker process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import xarray as xr
from torch import nn

from smoot_explore.data.images import Split
from smoot_explore.engine.channel import Channel, JobStopped
from smoot_explore.engine.engine import Engine, Job


@dataclass(frozen=True)
class MeasuringWork:
    """`masking_curves` or `k_landscape` of a model as a job; it reports (images done, images in all).

    Parameters
    ----------
    measure
        The function.
    model, split, protocol
        What it is given.
    """

    measure: Callable[..., xr.Dataset]
    model: nn.Module
    split: Split
    protocol: dict[str, Any] = field(default_factory=dict)

    def __call__(self, channel: Channel) -> xr.Dataset:
        """Measure."""

        def progress(done: int, total: int) -> None:
            if channel.orders():  # there is but one: to stop
                raise JobStopped
            channel.report((done, total))

        return self.measure(self.model, self.split, progress=progress, **self.protocol)


class Measurement:
    """A long measurement with its progress, for one page or several.

    Parameters
    ----------
    engine
        Carries it out.
    what
        For the page: "masking curves of SMOOT".
    work
        Picklable.
    take
        Called beside the page with the result, why there is none, and whether that may pass: its worker was lost.
    """

    def __init__(
        self,
        engine: Engine,
        what: str,
        work: MeasuringWork,
        take: Callable[[xr.Dataset | None, str, bool], object],
    ) -> None:
        self.what, self.share, self.done, self.problem = what, 0.0, False, ""
        self._engine, self._take = engine, take
        self._waiting, self._lock = 1, threading.Lock()
        self._job = Job(work, heard=self._progress, ended=self._ended)
        engine.submit(self._job)

    def join(self) -> bool:
        """Wait for it too; False when it is over, or given up."""
        with self._lock:
            goes_on = self._waiting > 0 and not self.done
            self._waiting += goes_on
        return goes_on

    def cancel(self) -> None:
        """Wait no more: it ends as soon as possible, unless others wait."""
        with self._lock:
            self._waiting -= 1
            given_up = self._waiting == 0
        if given_up:
            self._engine.stop(self._job, "stop")

    def _progress(self, told: tuple[int, int]) -> None:
        self.share = told[0] / told[1]
        self._job.progressed()

    def _ended(self) -> None:
        job = self._job
        self.problem = job.problem
        if job.status != "stopped":
            self._take(job.result, job.problem, not job.raised)
        self.done = True
