"""What a running training has told so far, thinned to what pictures are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from smoot_explore.core.records import Change, DropRecord, EpochRecord, StepRecord

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)  # of k over all images
MOST_MOMENTS = 240  # of k of all images that are kept; beyond, every second one goes
MOST_POINTS = 2000  # of the losses; beyond, every second one goes


class Moment(NamedTuple):
    """k of all training images at one time."""

    epoch: float
    k: np.ndarray  # (N,) pixels


class History:
    """Takes the records of `train` one by one and gives them as data sets, like those of a finished run.

    Parameters
    ----------
    k_start
        k of every image before the first step, in pixels; None for traditional training, which has none.
    """

    def __init__(self, k_start: np.ndarray | None) -> None:
        self.guided = k_start is not None
        self.moments: list[Moment] = [] if k_start is None else [Moment(0.0, k_start)]
        self.epochs: list[EpochRecord] = []
        self.drops: list[DropRecord] = []
        self.changes: list[tuple[float, Change]] = []  # with the epochs at which they took effect
        self.k: np.ndarray | None = k_start  # now
        self._points: list[tuple[float, float, float]] = []  # epoch, cross-entropy, KL
        self._spread: list[np.ndarray] = []  # the quantiles of k at these epochs
        self._stride = self._told = 1

    def add(self, record: StepRecord | EpochRecord | DropRecord, steps_per_epoch: int) -> None:
        """Take over a record; ``steps_per_epoch`` as its `StepRecord` says."""
        if isinstance(record, DropRecord):
            self.drops = [
                drop for drop in self.drops if drop.epoch == int(drop.epoch)
            ]  # those on pause are passing
            self.drops.append(record)
            return
        self.k = record.k
        for change in record.changes:
            self.changes.append(((change.step - 1) / steps_per_epoch, change))
        epoch = record.step / steps_per_epoch
        if isinstance(record, EpochRecord):
            self.epochs.append(record)
        else:
            self._point(epoch, record)
        self._remember(epoch, record.k, always=isinstance(record, EpochRecord))

    def steps(self) -> xr.Dataset:
        """``cross_entropy`` and ``kl`` over the ``epoch``, a fraction, as they came."""
        at, cross_entropy, kl = (
            (np.array(c, float) for c in zip(*self._points, strict=True))
            if self._points
            else (np.empty(0),) * 3
        )
        return xr.Dataset({"cross_entropy": ("epoch", cross_entropy), "kl": ("epoch", kl)}, {"epoch": at})

    def accuracies(self) -> xr.Dataset:
        """``train_accuracy`` and ``test_accuracy`` after each ``epoch``, in per cent."""
        names = ("train_accuracy", "test_accuracy")
        values = {name: ("epoch", [getattr(record, name) for record in self.epochs]) for name in names}
        return xr.Dataset(values, {"epoch": [record.epoch for record in self.epochs]})

    def k_quantiles(self) -> xr.DataArray:
        """The `QUANTILES` of k over all images, ``(quantile, epoch)``."""
        at = [0.0, *(point[0] for point in self._points)] if self.guided else []
        first = [] if not self.guided else [np.quantile(self.moments[0].k, QUANTILES)]
        spread = [*first, *self._spread] if self.guided else []
        values = np.array(spread, float).T if spread else np.empty((len(QUANTILES), 0))
        return xr.DataArray(values, {"quantile": list(QUANTILES), "epoch": at}, ("quantile", "epoch"), "k")

    def k_of(self, positions: Sequence[int]) -> xr.DataArray:
        """k of single images, ``(epoch, image)``, at the moments that are kept."""
        places = np.asarray(positions, int)
        values = np.array([moment.k[places] for moment in self.moments], float).reshape(-1, len(places))
        at = [moment.epoch for moment in self.moments]
        return xr.DataArray(values, {"epoch": at}, ("epoch", "image"), "k")

    def _point(self, epoch: float, record: StepRecord) -> None:
        self._points.append((epoch, record.cross_entropy, record.kl))
        if self.guided:
            self._spread.append(np.quantile(record.k, QUANTILES))
        if len(self._points) > MOST_POINTS:
            self._points, self._spread = self._points[::2], self._spread[::2]

    def _remember(self, epoch: float, k: np.ndarray, always: bool) -> None:
        self._told += 1
        due = always or self._told % self._stride == 0
        if not self.guided or not due or epoch <= self.moments[-1].epoch:
            return
        self.moments.append(Moment(epoch, k))
        if len(self.moments) > MOST_MOMENTS:
            self.moments = [*self.moments[:-1:2], self.moments[-1]]
            self._stride *= 2
