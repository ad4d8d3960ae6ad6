"""Trainings in worker processes, as the page that started them sees them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from smoot_explore.core.config import LiveValues, TrainingConfig
from smoot_explore.core.records import Change, DropRecord, EpochRecord
from smoot_explore.engine.engine import Engine, Job
from smoot_explore.engine.recipe import Preparation
from smoot_explore.engine.training_work import (
    Begin,
    Chooser,
    GoOn,
    Hold,
    Learnt,
    Move,
    Ready,
    Standing,
    StepReport,
    Stop,
    TrainingWork,
    Watch,
)
from smoot_explore.engine.watching import WatchReport

Made = TypeVar("Made", bound=Preparation)
MOST_STEPS = 400  # that wait for a page

Report = StepReport | WatchReport | EpochRecord | DropRecord | Ready | Learnt


class Training(Generic[Made]):
    """One training: the page gives commands, a worker process carries them out and reports.

    When its worker is lost, another goes on from the last completed epoch: a second `Ready` among the reports says so.

    Parameters
    ----------
    engine
        Carries it out.
    config
        Read when it first begins; its live values may be set at any time.
    recipe
        Of model, data and run.
    max_minutes
        Computing time after which the training is stopped.
    """

    def __init__(self, engine: Engine, config: TrainingConfig, recipe: Made, max_minutes: float = 60) -> None:
        self.config, self.recipe = config, recipe
        self.ready: Ready | None = None  # once the run is there
        self.status = "new"  # queued, preparing, running, paused, stopped, finished, failed
        self.problem = ""
        self.step = 0
        self.changes: list[Change] = []  # live ones, in their order
        self.seconds = 0.0  # of computing, measuring the accuracy drop included, but not that on pause
        self.probe_problem = ""  # why there is no accuracy drop
        self.lost = 0  # workers
        self._engine, self._max_minutes = engine, max_minutes
        self._job: Job | None = None
        self._held = False
        self._lock = threading.RLock()
        self._reports: list[Report] = []  # that were not taken yet
        self._chooser: Chooser | None = None
        self._settings: dict[str, Any] = {}  # with which it first began
        self._watcher: Any = None  # of the live values, from its start to its end

    @property
    def ended(self) -> bool:
        """Whether it will never run again."""
        return self.status in ("stopped", "finished", "failed")

    @property
    def place(self) -> int:
        """Place in the queue, from 1; 0 when it waits for no other job."""
        return 0 if self._job is None else self._engine.place(self._job)

    def start(self) -> None:
        """Queue it, or go on after a pause.

        Raises
        ------
        RuntimeError
            When too many jobs wait already.
        """
        with self._lock:
            if self.ended or (self._job is not None and not self._held):
                return
            if self._job is not None:
                self._held = False
                self.status = "queued" if self.ready else "preparing"
                self._engine.come_back(self._job, GoOn())
                return
            job = Job(
                TrainingWork(self.recipe, self._max_minutes), self._heard, self._lost, self._begun, self._over
            )
            self._engine.submit(job)
            self._job, self._held, self.status = job, False, "queued"
            if self._watcher is None:
                self._watcher = self.config.param.watch(self._moved, list(LiveValues._fields))

    def pause(self) -> None:
        """Hold after the step in progress and tell its accuracy drop; the worker may serve others meanwhile."""
        with self._lock:
            if self.ended or self._held or self._job is None:
                return
            self._held = True
            if not self._job.worker:  # it gives up its place in the queue
                job, self._job = self._job, None
                self._engine.stop(job, Stop())
                self.status = "paused"
            else:
                self._engine.order(self._job, Hold())

    def stop(self) -> None:
        """End after the step in progress, or in the middle of one that takes too long. Completed epochs are kept."""
        with self._lock:
            if self.ended:
                return
            if self._job is None:
                self._end("stopped")
            else:
                self._engine.stop(self._job, Stop())

    def watch(self, chooser: Chooser) -> None:
        """Look at the training images that ``chooser`` names, after the next step or at once in a pause."""
        with self._lock:
            self._chooser = chooser
            if self._job is not None:
                self._engine.order(self._job, Watch(chooser))

    def reports(self) -> list[Report]:
        """What was reported since the last call; each is told once."""
        with self._lock:
            taken, self._reports = self._reports, []
        return taken

    def until_ended(self, seconds: float = 0.05) -> Iterator[list[Report]]:
        """`reports` every so many seconds, until it has ended and all are told."""
        ended = False
        while not ended:
            ended = self.ended
            yield self.reports()
            if not ended:
                time.sleep(seconds)

    # What the engine calls

    def _lost(self) -> None:
        with self._lock:
            if not self.ended:
                self.lost += 1
                self.status = "paused" if self._held else "preparing"

    def _begun(self, attempt: int) -> None:
        with self._lock:
            if self._job is None or self.ended:
                return
            self.lost = attempt - 1  # of all losses: another may begin before one is heard of
            self.status = "preparing"
            self._settings = self._settings or self.config.to_dict()
            settings = self._settings | self.config.live_values()._asdict()
            self._engine.order(self._job, Begin(settings, self._held, self._chooser, self.seconds))

    def _heard(self, report: Any) -> None:
        with self._lock:
            if self.ended:  # another thread was faster
                return
            if isinstance(report, Standing):
                self.step, self.seconds = report.step, report.seconds
                self.changes += report.changes
                self.probe_problem = report.probe_problem
                if self._job is not None:
                    self._job.aside = report.held
                    if report.held:  # it waits for somebody: what ends meanwhile is not for want of progress
                        self._job.progressed()
                self.status = "paused" if report.held else "running"
                return
            if isinstance(report, Ready):
                self.ready = report
                self.changes = list(report.changes)
            elif isinstance(report, EpochRecord) and self._job is not None:
                self._job.progressed()
            self._keep(report)

    def _keep(self, report: Report) -> None:
        """For a page that may be asleep: each epoch, the newest look, and steps that grow sparser."""
        if isinstance(report, WatchReport):
            self._reports = [one for one in self._reports if not isinstance(one, WatchReport)]
        steps = [one for one in self._reports if isinstance(one, StepReport)]
        if len(steps) >= MOST_STEPS:
            left_out = set(map(id, steps[1::2]))
            self._reports = [one for one in self._reports if id(one) not in left_out]
        self._reports.append(report)

    def _over(self) -> None:
        with self._lock:
            job = self._job
            if job is None or not job.over:
                return  # it gave up its place
            self.problem = job.problem
            self._end(job.result if job.status == "finished" else job.status)

    def _end(self, status: str) -> None:
        if self._watcher is not None:
            self.config.param.unwatch(self._watcher)
            self._watcher = None
        self.status = status

    def _moved(self, *events: Any) -> None:
        with self._lock:
            if self._job is not None:
                self._engine.order(self._job, Move(self.config.live_values()))
