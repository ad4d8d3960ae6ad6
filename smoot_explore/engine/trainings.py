"""Trainings in the background: a bounded pool of threads with a queue, one for all sessions of the server."""

from __future__ import annotations

import copy
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from smoot_explore.compute.cores import cores
from smoot_explore.compute.device import choose_hardware
from smoot_explore.core.classes import image_class
from smoot_explore.core.config import TrainingConfig
from smoot_explore.core.curves import masking_curves
from smoot_explore.core.effect import MaskingEffect, masking_effect
from smoot_explore.core.probe import AccuracyDropProbe, DropCurve, probed
from smoot_explore.core.records import Change, DropRecord, EpochRecord, StepRecord
from smoot_explore.core.training import count_steps, train
from smoot_explore.data.images import ImageData, Split
from smoot_explore.errors import reason
from smoot_explore.runs.run import Run

REPORT_SECONDS = 0.25  # between two looks at the progress
LOOK_SECONDS = 1.0  # at least between two looks at the watched images: the step after one is slower too
LOOK_SHARE = 0.01  # of the training time that looking at the watched images may take
FIRST_VERDICT_SECONDS = 2.0  # of training before which no model has classes worth telling
VERDICT_SHARE = 0.01  # of it that judging their class may take
ENDED = ("stopped", "finished", "failed")


class Prepared(NamedTuple):
    """What a training needs before its first step."""

    model: nn.Module
    data: ImageData
    run: Run


@dataclass(frozen=True)
class StepReport:
    """Where a training stands, thinned to what a page can draw."""

    record: StepRecord
    seconds_left: float


@dataclass(frozen=True)
class WatchReport:
    """The watched images as the model sees them now."""

    positions: np.ndarray  # (W,) in data.train
    step: int
    k: np.ndarray  # (W,)
    effect: MaskingEffect
    classes: np.ndarray | None  # (W,) "I" or "II", at the last verdict


Chooser = Callable[[nn.Module, Split, np.ndarray], np.ndarray]  # (model, training images, k) → positions
Report = StepReport | WatchReport | EpochRecord | DropRecord


class Training:
    """One training: the page gives commands, a worker of the pool carries them out and reports.

    Parameters
    ----------
    config
        Read by the training; its live values may be set at any time.
    prepare
        Makes model, data and run; called by the worker, because loading takes long.
    max_minutes
        Computing time after which the training is stopped.
    """

    def __init__(
        self, config: TrainingConfig, prepare: Callable[[], Prepared], max_minutes: float = 60
    ) -> None:
        self.config = config
        self.prepared: Prepared | None = None
        self.status = "queued"  # queued, preparing, running, paused, stopped, finished, failed
        self.problem = ""
        self.step = 0
        self.changes: list[Change] = []  # live ones, in their order
        self.seconds = 0.0  # of computing, measuring the accuracy drop included, but not that on pause
        # Of the accuracy drop; its `problem` says why there is none.
        self.probe: AccuracyDropProbe | None = None
        self._prepare = prepare
        self._max_seconds = 60 * max_minutes
        self._command = "run"  # run, pause, stop
        self._lock = threading.Lock()
        self._reports: deque[Report] = deque(maxlen=400)  # a page that is asleep loses the oldest
        self._records: Iterator[EpochRecord | StepRecord | DropRecord] | None = None
        self._paused: DropCurve | None = None  # being measured; None as soon as it goes on or is stopped
        self._steps_per_epoch = 1
        self._watched = np.empty(0, int)
        self._chooser: Chooser | None = None  # a new choice of watched images, for the worker to make
        self._classes: np.ndarray | None = None
        self._next_report = self._next_look = self._next_verdict = 0.0

    @property
    def ended(self) -> bool:
        """Whether it will never run again."""
        return self.status in ENDED

    def watch(self, chooser: Chooser) -> None:
        """Look at the training images that ``chooser`` names; the worker calls it after its next step."""
        with self._lock:
            self._chooser = chooser

    def reports(self) -> list[Report]:
        """What was reported since the last call; each is told once."""
        taken = []
        while self._reports:
            taken.append(self._reports.popleft())
        return taken

    def work(self, awaited: Callable[[], bool] = lambda: False) -> None:
        """Go on until paused, stopped or finished. Called by a worker.

        ``awaited``: whether another training waits for this worker, which then measures nothing of a paused one.
        """
        with self._lock:
            if self._command != "run" or self.status != "queued":  # paused or stopped while it waited
                return
            self.status = "running" if self._records else "preparing"
        try:
            paused = self._train()
        except Exception as error:  # whatever it is, the visitor reads it and the worker goes on
            self.problem = reason(error)
            self._end("failed")
            return
        if self.probe is not None and paused is not None:
            self._measure_paused(self.probe, paused, awaited)

    def _measure_paused(
        self, probe: AccuracyDropProbe, paused: DropCurve, awaited: Callable[[], bool]
    ) -> None:
        """The accuracy drop on pause. By a copy of the probe: the training may go on meanwhile, with another worker."""
        own = copy.copy(probe)
        try:
            drop = own.measure(paused, lambda: self._paused is paused and not awaited())
        except Exception as error:  # the training is well, and so must the worker be
            drop, own.problem = None, reason(error)
        probe.problem = probe.problem or own.problem
        with self._lock:
            if drop is not None and self._paused is paused:
                self._reports.append(drop)

    def pause(self) -> None:
        """Stop after the step in progress and tell its accuracy drop; the pool may serve others meanwhile."""
        with self._lock:
            if self._command == "run" and not self.ended:
                self._command = "pause"
                if self.status == "queued":
                    self.status = "paused"

    def stop(self) -> None:
        """End after the step in progress. Completed epochs stay in the run."""
        with self._lock:
            waiting = self.status in ("queued", "paused")
            self._command, self._paused = "stop", None
        if waiting:
            self._end("stopped")

    def wake(self) -> None:
        """Allow it to go on. Called by the pool, which queues it."""
        with self._lock:
            self._command, self.status, self._paused = "run", "queued", None

    def _train(self) -> DropCurve | None:
        """Go on; when it ends paused, the accuracy drop of the present weights, still to be measured."""
        if self._records is None:
            self.prepared = self._prepare()
            model, data, run = self.prepared
            on_cpu = choose_hardware(self.config.device).device.type == "cpu"
            steps = count_steps(len(data.train), self.config.batch_size)
            every = 1 if on_cpu else min(8, steps)  # each report waits for the device
            self._steps_per_epoch = steps
            self.probe = AccuracyDropProbe(data.test, precision=self.config.precision)
            records = train(model, data, self.config, run=run, every=every)
            self._records = probed(
                records, model, data, self.config, run=run, probe=self.probe,
                keep_going=lambda: self._command != "stop",
            )  # fmt: skip
            self.status = "running"
        started = time.perf_counter()
        while True:
            if self._command != "run":
                break
            record = next(self._records, None)
            now = time.perf_counter()
            self.seconds += now - started
            started = now
            if record is None:
                self._end("finished")
                return None
            if isinstance(record, DropRecord):
                self._reports.append(record)
                continue
            self.step = record.step
            self.changes += record.changes
            self._report(record, now)
            if self.seconds > self._max_seconds:
                raise RuntimeError(
                    f"stopped after {self._max_seconds / 60:g} minutes, the longest that this server trains. "
                    "Completed epochs are kept; train fewer images or epochs"
                )
        curve = None
        if self._command == "pause" and self.prepared is not None and self.probe is not None:
            # A copy, made before anybody knows that it is paused: from then on another worker may go on with it.
            curve = self.probe.begin(self.prepared.model, self.step / self._steps_per_epoch)
        with self._lock:
            stopping = self._command == "stop"
            if not stopping:
                self.status, self._paused = "paused", curve
        if stopping:
            self._end("stopped")
            return None
        return curve

    def _report(self, record: EpochRecord | StepRecord, now: float) -> None:
        if isinstance(record, EpochRecord):
            self._reports.append(record)
        elif now >= self._next_report:
            left = (self._steps(record) - record.step) * self.seconds / max(record.step, 1)
            self._reports.append(StepReport(record, left))
            self._next_report = now + REPORT_SECONDS
        with self._lock:
            chooser, self._chooser = self._chooser, None
        if chooser is not None and self.prepared is not None:
            self._watched = np.asarray(chooser(self.prepared.model, self.prepared.data.train, record.k), int)
            self._next_look = self._next_verdict = 0.0
        if len(self._watched) and now >= self._next_look:
            self._report_watched(record.k, record.step)

    def _report_watched(self, k: np.ndarray, step: int) -> None:
        if self.prepared is None:
            return
        model, data, _ = self.prepared
        positions, config = self._watched, self.config
        watched = data.train[positions]
        started = time.perf_counter()
        if self.seconds >= FIRST_VERDICT_SECONDS and started >= self._next_verdict:
            self._classes = classes_of(model, watched)
            spent = time.perf_counter() - started
            self._next_verdict = time.perf_counter() + spent / VERDICT_SHARE
        looking = time.perf_counter()
        seen = effect_as_in_training(model, watched, k[positions], config)
        self._reports.append(WatchReport(positions, step, k[positions], seen, self._classes))
        now = time.perf_counter()
        self._next_look = now + max(LOOK_SECONDS, (now - looking) / LOOK_SHARE)

    def _steps(self, record: StepRecord) -> int:
        return record.steps_per_epoch * self.config.epochs

    def _end(self, status: str) -> None:
        if self._records is not None:
            self._records.close()  # type: ignore[attr-defined]  # a generator
        self._records = None
        self.status = status


def classes_of(model: nn.Module, images: Split) -> np.ndarray:
    """``"I"`` or ``"II"`` of each image, ``(n,)``."""
    return image_class(masking_curves(model, images, levels=20)).values


def effect_as_in_training(
    model: nn.Module, images: Split, k: np.ndarray, config: TrainingConfig
) -> MaskingEffect:
    """The images masked as training masks them, each at its own k."""
    return masking_effect(
        model,
        images,
        k,
        fill=config.fill,
        signed=config.signed,
        top_n=config.top_n,
        delta_class=config.delta_class,
        patch=config.patch,
    )


class TrainingPool:
    """Workers that carry out trainings, first come, first served.

    Parameters
    ----------
    workers
        Trainings at once. Each gets an equal share of the cores.
    max_queue
        How many may wait; one more is refused with a ``RuntimeError``.
    """

    def __init__(self, workers: int = 1, max_queue: int = 100) -> None:
        self.workers, self.max_queue = workers, max_queue
        self._queue: deque[Training] = deque()
        self._working = 0
        self._wanted = threading.Condition()
        self._threads: list[threading.Thread] = []

    def submit(self, training: Training) -> None:
        """Queue a new training, or a paused one again."""
        with self._wanted:
            self._queue = deque(t for t in self._queue if t.status == "queued")
            idle = self.workers - self._working
            if len(self._queue) - idle >= self.max_queue:
                raise RuntimeError(
                    f"{self.max_queue} trainings are waiting already, the most that this server takes; "
                    "try again when one has finished"
                )
            training.wake()
            self._queue.append(training)
            if len(self._threads) < self.workers:
                thread = threading.Thread(target=self._serve, name="training", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._wanted.notify()

    def place(self, training: Training) -> int:
        """1 for the training that starts next, 2 for the one after it, …; 0 when it does not wait."""
        with self._wanted:
            waiting = [t for t in self._queue if t.status == "queued"]
            return waiting.index(training) + 1 if training in waiting else 0

    def _serve(self) -> None:
        # OpenMP counts threads for each thread of Python's: this shares the cores among the workers.
        torch.set_num_threads(max(1, cores() // self.workers))
        while True:
            with self._wanted:
                while not self._queue:
                    self._wanted.wait()
                training = self._queue.popleft()
                self._working += 1
            training.work(self._awaited)
            with self._wanted:
                self._working -= 1
            del training  # an idle worker keeps no model alive

    def _awaited(self) -> bool:
        """Whether a training waits for a worker."""
        return any(training.status == "queued" for training in tuple(self._queue))
