"""What a training has told so far, thinned to what pictures are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from smoot_explore.core.bounds import recorded_changes
from smoot_explore.core.probe import recorded_drops
from smoot_explore.core.records import Change, DropRecord, EpochRecord, StepRecord
from smoot_explore.schema import start_config

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)  # of k over all images
MOST_MOMENTS = 240  # of k of all images that are kept; beyond, every second one goes
MOST_POINTS = 600  # of the losses; beyond, every second one goes


class Moment(NamedTuple):
    """k of all training images at one time."""

    epoch: float
    k: np.ndarray  # (N,) pixels


class Point(NamedTuple):
    """Losses and the spread of k at one time."""

    epoch: float
    cross_entropy: float
    kl: float  # NaN for traditional training
    spread: np.ndarray  # the QUANTILES of k


class Scores(NamedTuple):
    """Accuracy of one epoch in per cent."""

    epoch: int
    train_accuracy: float
    test_accuracy: float


class History:
    """Takes the records of `train` one by one, and gives them as data sets like those of a finished run.

    Parameters
    ----------
    k_start
        k of every image before the first step, in pixels; None for traditional training, which has none.

    Examples
    --------
    >>> from smoot_explore import TrainingConfig, create_model, load_data, train
    >>> data = load_data("shapes", train=12, test=6)
    >>> history = History(np.full(12, 512.0))
    >>> for record in train(create_model("cnn", data), data, TrainingConfig(epochs=2, batch_size=6), every=1):
    ...     history.add(record)
    >>> history.steps().epoch.values.tolist(), history.k_of([0, 3]).sizes
    ([0.5, 1.0, 1.5, 2.0], Frozen({'epoch': 5, 'image': 2}))
    """

    def __init__(self, k_start: np.ndarray | None) -> None:
        self.guided = k_start is not None
        self.k = k_start  # now, of all images
        self.moments: list[Moment] = [] if k_start is None else [Moment(0.0, k_start)]
        self.points: list[Point] = []
        self.scores: list[Scores] = []
        self.drops: list[DropRecord] = []
        self.changes: list[tuple[float, Change]] = []  # with the epochs at which they took effect
        self._stride, self._told = 1, 0

    @classmethod
    def of(cls, record: xr.Dataset) -> History:
        """The history that a finished run's record holds: its epochs."""
        start = start_config(record)
        first = np.full(record.sizes["image"], start["k_init"] * record.attrs["n_pixels"])
        history = cls(None if start["method"] == "traditional" else first)
        history.changes = recorded_changes(record)
        history.drops = recorded_drops(record)
        for i, epoch in enumerate(record.epoch.values.tolist()):
            one = record.isel(epoch=i)
            history.k = one.k.values
            history._remember(float(epoch), one.k.values, always=True)
            history._point(float(epoch), float(one.cross_entropy), float(one.kl), one.k.values)
            history.scores.append(Scores(epoch, float(one.train_accuracy), float(one.test_accuracy)))
        return history

    def add(self, record: StepRecord | EpochRecord | DropRecord) -> None:
        """Take over what training has told."""
        if isinstance(record, DropRecord):
            # One of a pause only stands in for the next one.
            if self.drops and (self.drops[-1].epoch % 1 or self.drops[-1].epoch == record.epoch):
                self.drops.pop()
            self.drops.append(record)
            return
        self.k = record.k
        if isinstance(record, EpochRecord):
            steps_per_epoch = record.step / record.epoch
            self.scores.append(Scores(record.epoch, record.train_accuracy, record.test_accuracy))
        else:
            steps_per_epoch = record.steps_per_epoch
            self._point(record.step / steps_per_epoch, record.cross_entropy, record.kl, record.k)
        self.changes += [((change.step - 1) / steps_per_epoch, change) for change in record.changes]
        self._remember(record.step / steps_per_epoch, record.k, always=isinstance(record, EpochRecord))

    def steps(self) -> xr.Dataset:
        """``cross_entropy`` and ``kl`` over the ``epoch``, a fraction, as they came."""
        names = ("cross_entropy", "kl")
        values = {name: ("epoch", [getattr(point, name) for point in self.points]) for name in names}
        return xr.Dataset(values, {"epoch": [point.epoch for point in self.points]})

    def accuracies(self) -> xr.Dataset:
        """``train_accuracy`` and ``test_accuracy`` after each ``epoch``, in per cent."""
        names = ("train_accuracy", "test_accuracy")
        values = {name: ("epoch", [getattr(scores, name) for scores in self.scores]) for name in names}
        return xr.Dataset(values, {"epoch": [scores.epoch for scores in self.scores]})

    def k_quantiles(self) -> xr.DataArray:
        """The `QUANTILES` of k over all images, ``(quantile, epoch)``; no epochs for traditional training."""
        first = [np.quantile(self.moments[0].k, QUANTILES)] if self.guided else []
        points = self.points if self.guided else []
        values = np.empty((len(QUANTILES), len(first) + len(points)))
        for i, spread in enumerate([*first, *(point.spread for point in points)]):
            values[:, i] = spread
        at = [*[0.0][: len(first)], *(point.epoch for point in points)]
        return xr.DataArray(values, {"quantile": list(QUANTILES), "epoch": at}, ("quantile", "epoch"), "k")

    def k_of(self, positions: Sequence[int] | np.ndarray) -> xr.DataArray:
        """k of single images, ``(epoch, image)``, at the moments that are kept."""
        places = np.asarray(positions, int)
        values = np.array([moment.k[places] for moment in self.moments], float).reshape(
            len(self.moments), len(places)
        )
        at = [moment.epoch for moment in self.moments]
        return xr.DataArray(values, {"epoch": at}, ("epoch", "image"), "k")

    def _point(self, epoch: float, cross_entropy: float, kl: float, k: np.ndarray) -> None:
        self.points.append(Point(epoch, cross_entropy, kl, np.quantile(k, QUANTILES)))
        if len(self.points) > MOST_POINTS:
            self.points = [*self.points[:-1:2], self.points[-1]]

    def _remember(self, epoch: float, k: np.ndarray, always: bool) -> None:
        self._told += 1
        due = always or self._told % self._stride == 0
        if not self.guided or not due or epoch <= self.moments[-1].epoch:
            return
        self.moments.append(Moment(epoch, k))
        if len(self.moments) > MOST_MOMENTS:
            self.moments = [*self.moments[:-1:2], self.moments[-1]]
            self._stride *= 2
