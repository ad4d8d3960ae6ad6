"""What a training has told so far, thinned to what pictures are drawn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import xarray as xr

from smoot_explore.core.bounds import recorded_changes
from smoot_explore.core.probe import recorded_drops
from smoot_explore.core.records import Change, DropRecord, EpochRecord, StepRecord
from smoot_explore.core.rules import start_k
from smoot_explore.schema import start_config

T = TypeVar("T")
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)  # of k over all images
MOST_MOMENTS = 240  # of k of all images
MOST_POINTS = 600  # of the losses


class Moment(NamedTuple):
    """k of all training images at one time."""

    epoch: float
    k: np.ndarray  # (N,)


class Point(NamedTuple):
    """Losses and the spread of k at one time."""

    epoch: float
    cross_entropy: float
    kl: float  # NaN for traditional training
    spread: np.ndarray | None  # the QUANTILES of k; None where they are not computed yet


class Thinned(Generic[T]):
    """What was told one after the other, evenly thinned to at most ``most``; always with the newest."""

    def __init__(self, most: int) -> None:
        self._most, self._stride, self._told = most, 1, 0
        self._kept: list[tuple[int, T]] = []  # with their places among all that was told

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[T]:
        return (value for _, value in self._kept)

    @property
    def newest(self) -> T | None:
        """The last one told; None before the first."""
        return self._kept[-1][1] if self._kept else None

    @property
    def stays(self) -> bool:
        """Whether the next one will be kept when another is told."""
        return self._told % self._stride == 0

    def add(self, value: T) -> None:
        """Tell the next one."""
        if self._kept and self._kept[-1][0] % self._stride:
            self._kept.pop()  # it was there as the newest alone
        self._kept.append((self._told, value))
        self._told += 1
        if len(self._kept) > self._most:
            self._stride *= 2
            newest = self._kept[-1]
            self._kept = [one for one in self._kept if one[0] % self._stride == 0 or one is newest]


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
        k of every image before the first step; None for traditional training, which has none.
    unit
        What k counts: "pixels" or "patches".
    since
        The epoch that ``k_start`` is of: 0, or for a branch where it leaves its original.

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

    def __init__(self, k_start: np.ndarray | None, unit: str = "pixels", since: int = 0) -> None:
        self.unit, self.since = unit, since
        self.guided = k_start is not None
        self.k = k_start  # now, of all images
        self._moments, self._points = Thinned[Moment](MOST_MOMENTS), Thinned[Point](MOST_POINTS)
        if k_start is not None:
            self._moments.add(Moment(float(since), k_start))
            self._first = np.quantile(k_start, QUANTILES)
        self.scores: list[Scores] = []
        self.drops: list[DropRecord] = []
        self.changes: list[tuple[float, Change]] = []  # with the epochs at which they took effect

    @classmethod
    def of(cls, record: xr.Dataset, since: int = 0) -> History:
        """The history that a run's record holds: its epochs, of a branch ``since`` it left its original."""
        start = start_config(record)
        first = np.full(record.sizes["image"], start_k(start, record.attrs["n_pixels"]))
        if since:
            first = record.k.sel(epoch=since).values
        history = cls(
            None if start["method"] == "traditional" else first, record.k.attrs.get("units", "pixels"), since
        )
        history.changes = [(at, change) for at, change in recorded_changes(record) if at >= since]
        history.drops = [drop for drop in recorded_drops(record) if drop.epoch >= since]
        for i, epoch in enumerate(record.epoch.values.tolist()):
            if epoch < since:
                continue
            one = record.isel(epoch=i)
            history.k = one.k.values
            history.scores.append(Scores(epoch, float(one.train_accuracy), float(one.test_accuracy)))
            if epoch > since:
                history._remember(float(epoch), one.k.values)
                history._point(float(epoch), float(one.cross_entropy), float(one.kl), one.k.values)
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
        self._remember(record.step / steps_per_epoch, record.k)

    @property
    def moments(self) -> list[Moment]:
        """k of all images, at the moments that are kept."""
        return list(self._moments)

    @property
    def points(self) -> list[Point]:
        """Losses, at the steps that are kept."""
        return list(self._points)

    def steps(self) -> xr.Dataset:
        """``cross_entropy`` and ``kl`` over the ``epoch``, a fraction, as they came."""
        names = ("cross_entropy", "kl")
        values = {name: ("epoch", [getattr(point, name) for point in self._points]) for name in names}
        return xr.Dataset(values, {"epoch": [point.epoch for point in self._points]})

    def accuracies(self) -> xr.Dataset:
        """``train_accuracy`` and ``test_accuracy`` after each ``epoch``, in per cent."""
        names = ("train_accuracy", "test_accuracy")
        values = {name: ("epoch", [getattr(scores, name) for scores in self.scores]) for name in names}
        return xr.Dataset(values, {"epoch": [scores.epoch for scores in self.scores]})

    def k_quantiles(self) -> xr.DataArray:
        """The `QUANTILES` of k over all images, ``(quantile, epoch)``; no epochs for traditional training."""
        spreads, at = list[np.ndarray](), list[float]()
        if self.guided:
            spreads, at = [self._first], [float(self.since)]
            for point in self._points:  # only the newest's may be missing, whose k is that of now
                spread = point.spread
                if spread is None:
                    spread = np.quantile(self.k, QUANTILES)  # type: ignore[arg-type]  # guided
                spreads.append(spread)
                at.append(point.epoch)
        values = np.array(spreads).reshape(len(at), len(QUANTILES)).T
        coords = {"quantile": list(QUANTILES), "epoch": at}
        return xr.DataArray(values, coords, ("quantile", "epoch"), "k", {"units": self.unit})

    def k_of(self, positions: Sequence[int] | np.ndarray) -> xr.DataArray:
        """k of single images, ``(epoch, image)``, at the moments that are kept."""
        places = np.asarray(positions, int)
        values = np.array([moment.k[places] for moment in self._moments], float)
        values = values.reshape(len(self._moments), len(places))
        at = [moment.epoch for moment in self._moments]
        return xr.DataArray(values, {"epoch": at}, ("epoch", "image"), "k", {"units": self.unit})

    def k_now(self) -> xr.DataArray:
        """k of all images ``(image,)``; no images for traditional training."""
        k = self.k if self.guided and self.k is not None else np.empty(0)
        return xr.DataArray(k, dims="image", name="k", attrs={"units": self.unit})

    def _point(self, epoch: float, cross_entropy: float, kl: float, k: np.ndarray) -> None:
        spread = np.quantile(k, QUANTILES) if self._points.stays else None
        self._points.add(Point(epoch, cross_entropy, kl, spread))

    def _remember(self, epoch: float, k: np.ndarray) -> None:
        newest = self._moments.newest
        if newest is not None and epoch > newest.epoch:  # an epoch's record comes after that of its last step
            self._moments.add(Moment(epoch, k))
