"""What a worker does for a training: carries it out, obeys, and tells how it stands."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from smoot_explore.compute.device import choose_hardware
from smoot_explore.core.config import LiveValues, TrainingConfig
from smoot_explore.core.probe import AccuracyDropProbe, probed
from smoot_explore.core.records import Change, DropRecord, EpochRecord, StepRecord
from smoot_explore.core.training import count_steps, train
from smoot_explore.data.images import Split
from smoot_explore.engine.channel import Channel
from smoot_explore.engine.recipe import Preparation, Prepared
from smoot_explore.engine.watching import classes_of, look
from smoot_explore.runs.claim import claimed

BEGIN_SECONDS = 60  # after which no order to begin will come any more
TELLING_STEPS = 5  # after the first, or
TELLING_SECONDS = 2.0  # of them, before which nothing is said of the time that is left
REPORT_SECONDS = 0.25  # between two looks at the progress
LOOK_SECONDS = 1.0  # at least between two looks at the watched images: the step after one is slower too
LOOK_SHARE = 0.01  # of the training time that looking at the watched images may take
FIRST_VERDICT_SECONDS = 2.0  # of training before which no model has classes worth telling
VERDICT_SHARE = 0.01  # of it that judging their class may take

Chooser = Callable[[nn.Module, Split, np.ndarray], np.ndarray]  # (model, training images, k) → positions


# Orders


@dataclass(frozen=True)
class Begin:
    """The settings as they are when a worker begins, and whether it holds before its first step."""

    settings: dict[str, Any]
    held: bool = False
    chooser: Chooser | None = None
    seconds: float = 0.0  # of computing so far, by workers that were lost


@dataclass(frozen=True)
class Move:
    """Live values that hold from the next step on."""

    live: LiveValues


@dataclass(frozen=True)
class Watch:
    """Images to look at from now on."""

    chooser: Chooser


@dataclass(frozen=True)
class Hold:
    """Stop after the step in progress, until `GoOn`."""


@dataclass(frozen=True)
class GoOn:
    """End a pause."""


@dataclass(frozen=True)
class Stop:
    """End after the step in progress."""


# Reports


@dataclass(frozen=True)
class Ready:
    """Model, data and run are there; a run may hold epochs already, with live changes."""

    start_config: dict[str, Any]
    epochs: int
    steps_per_epoch: int
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class StepReport:
    """Where a training stands, thinned to what a page can draw."""

    record: StepRecord
    seconds_left: float


@dataclass(frozen=True)
class Standing:
    """What goes with each report, and is told once more when a training is held."""

    step: int
    seconds: float  # of computing
    changes: tuple[Change, ...] = ()  # live ones since the last report
    probe_problem: str = ""
    held: bool = False


@dataclass(frozen=True)
class Learnt:
    """The weights at the end of a training that no run holds."""

    weights: dict[str, Tensor]


@dataclass(frozen=True)
class TrainingWork:
    """A training as a job. Its first order must be `Begin`; the others come at any time.

    Parameters
    ----------
    recipe
        Of model, data and run. A run that holds epochs is gone on with.
    max_minutes
        Computing time after which it ends with an error.
    """

    recipe: Preparation
    max_minutes: float = 60

    def __call__(self, channel: Channel) -> str:
        """Train; gives "finished" or "stopped"."""
        return _Trainer(self.recipe, self.max_minutes, channel).work()


class _Stopped(Exception):  # noqa: N818
    """The order to stop came."""


class _Trainer:
    def __init__(self, recipe: Preparation, max_minutes: float, channel: Channel) -> None:
        self._recipe, self._max_minutes, self._channel = recipe, max_minutes, channel
        self._config = TrainingConfig()
        self._held = self._stopping = False
        self._chooser: Chooser | None = None  # a new choice of watched images, still to be made
        self._step = self._first_step = 0  # the first one here
        self._stepping = self._first_stepping = 0.0  # seconds in steps, at the end of the first one too
        self._seconds = self._earlier = 0.0  # of computing, here and by workers that were lost
        self._prepared: Prepared | None = None
        self._k: np.ndarray | None = None  # after the latest step
        self._watched = np.empty(0, int)
        self._classes: np.ndarray | None = None
        self._next_report = self._next_look = self._next_verdict = 0.0

    def work(self) -> str:
        if not self._channel.wait(BEGIN_SECONDS):
            raise RuntimeError(
                f"the worker at {platform.node()} gets no orders: its scheduler does not reach it. Look at the "
                "address that the worker gives (--host, --listen-address), and at firewalls"
            )
        try:
            claim = self._recipe.claim
            with nullcontext(True) if claim is None else claimed(claim, self._goes_on) as mine:
                if not (mine and self._goes_on()):
                    raise _Stopped
                self._train()
            status = "finished"
        except _Stopped:
            status = "stopped"
        if self._prepared is not None and self._prepared.run is None:
            weights = self._prepared.model.state_dict()
            self._channel.report(Learnt({name: tensor.cpu() for name, tensor in weights.items()}))
        return status

    def _train(self) -> None:
        self._prepared = prepared = model, data, run = self._recipe.prepare(self._config)
        self._steps_per_epoch = count_steps(len(data.train), self._config.batch_size)
        ready = Ready(self._config.to_dict(), 0, self._steps_per_epoch)
        if run is not None:
            self._step = run.journal["step"]
            ready = Ready(run.start_config, run.epochs, self._steps_per_epoch, tuple(run.changes))
        self._channel.report(ready)
        on_cpu = choose_hardware(self._config.device).device.type == "cpu"
        every = 1 if on_cpu else min(8, self._steps_per_epoch)  # each report waits for the device
        self._probe = AccuracyDropProbe(data.test, precision=self._config.precision)
        records = probed(
            train(model, data, self._config, run=run, every=every), model, data, self._config, run=run,
            probe=self._probe, keep_going=self._goes_on,
        )  # fmt: skip
        try:
            self._follow(records, prepared)
        finally:
            records.close()  # type: ignore[attr-defined]  # a generator

    def _follow(self, records: Iterator[EpochRecord | StepRecord | DropRecord], prepared: Prepared) -> None:
        before = time.perf_counter()
        while True:
            if not self._goes_on():
                raise _Stopped
            if self._held:
                self._pause(prepared)
                before = time.perf_counter()
            began = time.perf_counter()
            record = next(records, None)
            now = time.perf_counter()
            self._stepping += now - began
            self._seconds += now - before
            before = now
            if record is None:
                return
            if isinstance(record, DropRecord):
                self._tell(record)
                continue
            self._step = record.step
            self._report(record, prepared, now)
            if self._earlier + self._seconds > 60 * self._max_minutes:
                raise RuntimeError(
                    f"stopped after {self._max_minutes:g} minutes, the longest that this server trains. "
                    "Completed epochs are kept; train fewer images or epochs"
                )

    def _goes_on(self) -> bool:
        """Take over the orders that came; False after one to stop."""
        for order in self._channel.orders():
            if isinstance(order, Stop):
                self._stopping = True
            elif isinstance(order, Begin):
                self._config = TrainingConfig.recorded(order.settings)
                self._held, self._chooser, self._earlier = order.held, order.chooser, order.seconds
            elif isinstance(order, Move):
                self._config.param.update(**order.live._asdict())
            elif isinstance(order, Watch):
                self._chooser = order.chooser
            else:
                self._held = isinstance(order, Hold)
        return not self._stopping

    def _tell(self, *reports: Any, changes: tuple[Change, ...] = ()) -> None:
        for report in reports:
            self._channel.report(report)
        seconds = self._earlier + self._seconds
        self._channel.report(Standing(self._step, seconds, changes, self._probe.problem, self._held))

    def _pause(self, prepared: Prepared) -> None:
        """Hold: tell the accuracy drop of the present weights, and look at images that are chosen meanwhile."""
        curve = self._probe.begin(prepared.model, self._step / self._steps_per_epoch)
        self._tell()

        def still() -> bool:
            return self._goes_on() and self._held

        self._channel.step_aside()  # measuring takes long: nobody waits for it
        drop = self._probe.measure(curve, still)
        if drop is not None and still():
            self._tell(drop)
        while self._goes_on() and (self._held or not self._channel.has_place):
            if self._held:
                if self._channel.has_place:  # held once more before there was one
                    self._channel.step_aside()
                self._look(prepared, time.perf_counter())
            self._channel.wait(for_place=not self._held)
        if self._stopping:
            raise _Stopped
        self._tell()

    def _report(self, record: EpochRecord | StepRecord, prepared: Prepared, now: float) -> None:
        self._k = record.k
        if not self._first_step:  # the first step prepares much: it says nothing about the others
            self._first_step, self._first_stepping = record.step, self._stepping
        if isinstance(record, EpochRecord):
            self._tell(record, changes=record.changes)
        elif now >= self._next_report:
            steps = record.steps_per_epoch * self._config.epochs
            left = math.nan
            done, seconds = record.step - self._first_step, self._stepping - self._first_stepping
            if done >= TELLING_STEPS or seconds > TELLING_SECONDS:
                left = (steps - record.step) * seconds / done
            self._tell(StepReport(record, left), changes=record.changes)
            self._next_report = now + REPORT_SECONDS
        elif record.changes:
            self._tell(changes=record.changes)
        if record.step == self._steps_per_epoch * self._config.epochs:
            self._next_look = 0.0  # the last step: what is seen afterwards is how the training ended
        self._look(prepared, now)

    def _look(self, prepared: Prepared, now: float) -> None:
        """Look at the watched images, if it is time to."""
        model, data, _ = prepared
        k, chooser = self._k, self._chooser
        if k is None:
            return
        if chooser is not None:
            self._chooser = None
            self._watched = np.asarray(chooser(model, data.train, k), int)
            self._next_look = self._next_verdict = 0.0
        if not len(self._watched) or now < self._next_look:
            return
        if self._held or (self._seconds >= FIRST_VERDICT_SECONDS and now >= self._next_verdict):
            judging = time.perf_counter()
            self._classes = classes_of(model, data.train[self._watched])
            ended = time.perf_counter()
            self._next_verdict = ended + (ended - judging) / VERDICT_SHARE
        looking = time.perf_counter()
        self._channel.report(
            look(model, data.train, self._watched, k, self._step, self._config, self._classes)
        )
        ended = time.perf_counter()
        self._next_look = ended + max(LOOK_SECONDS, (ended - looking) / LOOK_SHARE)
