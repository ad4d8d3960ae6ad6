"""One of the trainings of a page: its settings, how far it is, and what it has told so far."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from smoot_explore.core.bounds import Bounds, counted_bounds, moving_bounds
from smoot_explore.core.config import LiveValues, TrainingConfig, setting_names
from smoot_explore.core.history import History
from smoot_explore.core.probe import drop_of
from smoot_explore.core.records import Change, DropRecord, EpochRecord
from smoot_explore.core.rules import k_unit, most_k, start_k
from smoot_explore.core.training import count_steps
from smoot_explore.data.images import ImageData
from smoot_explore.engine.training_work import Ready, StepReport
from smoot_explore.engine.trainings import Training
from smoot_explore.engine.watching import WATCH, WatchReport, choose
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.runs.run import Run, bundled_reference, open_run
from smoot_explore.views.flags import marked
from smoot_explore.views.palette import METHOD_NAMES, symbol


class OneTraining:
    """One training: what it has told, taken over by `poll`. Without any it is empty.

    Parameters
    ----------
    config
        Its settings; the live values may be set at any time.
    line
        Number of its line among those of several trainings, from 1.
    since
        The epoch that it goes on from: that of a branch, else 0.
    """

    def __init__(self, config: TrainingConfig | None = None, line: int = 1, since: int = 0) -> None:
        self.config = config or TrainingConfig()
        self.line, self.since = line, since
        self.training: Training[Any] | None = None
        self.run: Run | None = None
        self.data: ImageData | None = None
        self.started = TrainingConfig.recorded(
            self.config.to_dict()
        )  # the settings as they were at the start
        self.changes: list[Change] = []
        self.history = History(None)
        self.preview: OpenedRun | None = None  # a finished run shown while nothing was trained yet
        self.seen: WatchReport | None = None
        self.watch = ""  # what its worker looks at: one of WATCH, or nothing
        self.seconds_left = self.images_per_second = float("nan")
        self.step = self.steps_per_epoch = 0
        self.status = "new"  # queued, preparing, running, paused, stopped, finished, failed
        self._loading: Future[ImageData] | None = None  # the data, for this process

    @classmethod
    def of_preview(cls, opened: OpenedRun) -> OneTraining:
        """A finished run, shown until the visitor trains one."""
        record = opened.record
        one = cls(TrainingConfig.recorded(opened.run.start_config))
        one.preview, one.data = opened, opened.data
        one.changes = opened.run.changes
        one.steps_per_epoch = count_steps(len(opened.data.train), one.config.batch_size)
        one.history = History.of(record)
        curves = opened.curves("black", "gradient")  # the probe's protocol
        if curves is not None and not one.history.drops:
            one.history.drops = [drop_of(curves, record.sizes["epoch"])]
        return one

    def follow(self, training: Training[Any], loading: Future[ImageData]) -> None:
        """Follow a training that is queued by now; ``loading`` gives its data."""
        self.training, self._loading, self.status = training, loading, "queued"

    @property
    def busy(self) -> bool:
        """Whether it waits, runs or pauses."""
        return self.training is not None and not self.training.ended

    def stop(self) -> None:
        """End after the step in progress; what was trained stays to be looked at."""
        if self.training is not None:
            self.training.stop()

    def poll(self) -> bool:
        """Take over what the training has reported; whether there was something new."""
        training = self.training
        if training is None:
            return False
        if self._loading is not None and not self._loading.done():
            before = self.status
            if training.ended:  # it was stopped meanwhile: that is told at once
                self.status = training.status
            return self.status != before
        reports = training.reports()
        for report in reports:
            if isinstance(report, Ready):
                self._begin(training, report)
            elif isinstance(report, WatchReport):
                self.seen = report
            elif isinstance(report, DropRecord):
                self.history.add(report)
            elif isinstance(report, EpochRecord):
                self.history.add(report)
                if len(self.history.scores) == 1 and self.watch == WATCH[0]:
                    self.choose_watched()
                self.step = report.step
            elif isinstance(report, StepReport):
                record = report.record
                self.step, self.steps_per_epoch = record.step, record.steps_per_epoch
                self.seconds_left = report.seconds_left
                self.images_per_second = record.images_per_second
                self.history.add(record)
        self.changes += training.changes[len(self.changes) :]  # also those of records that were not reported
        if training.ended and training.status == "finished":
            self.seconds_left = 0.0
        changed = self.status != training.status
        self.status = training.status
        return bool(reports) or changed

    def _begin(self, training: Training[Any], ready: Ready) -> None:
        """Take over a run that a worker begins with, or goes on with in the place of one that was lost."""
        self.run = open_run(training.recipe.path)
        self.data = self._loading.result() if self._loading is not None else None
        # Sliders may have moved while it waited: what counts is the start of the run.
        self.started = TrainingConfig.recorded(ready.start_config)
        self.started.epochs = self.config.epochs  # of a branch they may be others
        self.steps_per_epoch = ready.steps_per_epoch
        self.step = ready.epochs * ready.steps_per_epoch
        self.changes = list(ready.changes)
        if ready.epochs:
            # More may be on the disk by now: that is told of next.
            self.history = History.of(self.run.record().isel(epoch=slice(ready.epochs)), self.since)
        else:
            self.history = History(self._k_start(self.run.description["data"]["n_train"]), self.unit)
        self.choose_watched()

    def choose_watched(self) -> bool:
        """Have the worker look at the images that ``watch`` names; False when no training runs that could."""
        if self.training is None or self.training.ended:
            return False
        # Before the first epoch no model has classes worth telling.
        watch = WATCH[1] if self.watch == WATCH[0] and not self.history.scores else self.watch
        self.training.watch(partial(choose, watch))
        return True

    # What it tells

    @property
    def problem(self) -> str:
        """Why training failed; empty when it did not."""
        return self.training.problem if self.training is not None else ""

    @property
    def place(self) -> int:
        """Place in the queue, from 1; 0 when not waiting."""
        return self.training.place if self.training is not None else 0

    @property
    def lost(self) -> str:
        """What became of a training whose worker process was lost; empty while none was."""
        if self.training is None or not self.training.lost or self.training.ready is None:
            return ""
        if self.training.status == "preparing":
            done = self.epochs_done
            return f"Its worker process was lost: another goes on {f'after epoch {done}' if done else 'anew'}"
        return f"Its worker process was lost: another went on after epoch {self.training.ready.epochs}"

    @property
    def reference(self) -> xr.Dataset | None:
        """Masking curves of the bundled traditional run, where it is of the same data as the training."""
        run = self.run if self.preview is None else self.preview.run
        return bundled_reference(None if run is None else run.description["data"].get("name"))

    @property
    def share(self) -> float:
        """How much of the training is done, 0 … 1."""
        total = self.steps_per_epoch * self.started.epochs
        return min(self.step / total, 1.0) if total else 0.0

    @property
    def epochs_done(self) -> int:
        """Its last completed epoch; a branch counts on from where it leaves its original."""
        return self.history.scores[-1].epoch if self.history.scores else self.since

    @property
    def epochs_kept(self) -> list[int]:
        """Epochs that a branch can go on from: the initial weights, and those whose checkpoints the run keeps."""
        if self.run is None or self.training is None:
            return []
        done, keep = self.epochs_done, self.run.keep
        newest = done if keep == "all" else 1 if keep == "last" else keep
        return [0, *range(max(1, self.since, done - newest + 1), done + 1)]

    @property
    def in_force(self) -> LiveValues:
        """The live values of the latest step; before the first one, those that it will begin with."""
        if self.step <= self.since * self.steps_per_epoch:
            return self.config.live_values()
        start = self.started.live_values()._asdict()
        return LiveValues(**start | {change.name: change.new for change in self.changes})

    @property
    def flags(self) -> list[tuple[float, Change]]:
        """The marked changes with the epochs at which they took effect; a branch has those of its own alone."""
        changes = [(self.epoch_of(change.step), change) for change in self.changes]
        return marked([one for one in changes if one[0] >= self.since], self.steps_per_epoch)

    @property
    def bounds(self) -> list[Bounds]:
        """The bounds of k as fractions, at the start and after each live change; empty while nothing is shown."""
        if self.training is None and self.preview is None:
            return []
        moved = [(self.epoch_of(change.step), change) for change in self.changes]
        return moving_bounds(self.started.k_min, self.started.k_max, moved)

    @property
    def unit(self) -> str:
        """What the k of the training counts: "pixels" or "patches"."""
        return k_unit(self.started.to_dict())

    @property
    def most_k(self) -> int:
        """How many of them an image has; 0 while nothing is shown."""
        return 0 if self.data is None else most_k(self.started.to_dict(), self.data.n_pixels)

    @property
    def start_k(self) -> float:
        """How many of them are masked at first."""
        return start_k(self.started.to_dict(), self.most_k)

    @property
    def counted_bounds(self) -> list[Bounds]:
        """The bounds of k in its unit; empty where k has none."""
        if self.data is None or self.started.method != "smoot":
            return []
        return counted_bounds(self.bounds, self.most_k)

    def epoch_of(self, step: int) -> float:
        """A step on the plots' axis."""
        return (step - 1) / self.steps_per_epoch if self.steps_per_epoch else 0.0

    def _k_start(self, n: int) -> np.ndarray | None:
        """k of n images before the first step; none for traditional training."""
        if self.started.method == "traditional" or self.data is None:
            return None
        return np.full(n, self.start_k)


_OF_SMOOT = {"alpha", "beta", "k_min", "k_max"}  # they do nothing in the other methods


def labels_of(trainings: Sequence[OneTraining]) -> list[str]:
    """What several trainings are called: the method, where a branch goes on, and the settings that differ.

    Those that are alike in all of these are numbered.
    """
    settings = [one.config.to_dict() for one in trainings]
    labels = list[str]()
    for one, own in zip(trainings, settings, strict=True):
        words = METHOD_NAMES[own["method"]] + (f" from epoch {one.since}" if one.since else "")
        for name in setting_names():
            among = [other[name] for other in settings if _counts(name, other)]
            if _counts(name, own) and any(value != own[name] for value in among):
                value = own[name]
                words += f" {symbol(name)} {value:g}" if isinstance(value, int | float) else f" {value}"
        labels.append(words)
    return [
        words if labels.count(words) == 1 else f"{words} ({labels[:i].count(words) + 1})"
        for i, words in enumerate(labels)
    ]


def _counts(name: str, settings: dict[str, Any]) -> bool:
    """Whether a setting makes a difference between trainings of these settings and others."""
    if name in ("method", "epochs", "device", "precision"):
        return False
    return settings["method"] == "smoot" or (
        name not in _OF_SMOOT and (settings["method"] == "sgt" or name not in ("kl_weight", "k_init"))
    )
