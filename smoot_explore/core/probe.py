"""The accuracy drop while a training runs: measured in slices that fit between its steps."""

from __future__ import annotations

import copy
import itertools
import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from smoot_explore.compute.ranks import present_ranks
from smoot_explore.core.choices import names
from smoot_explore.core.classes import accuracy_drop
from smoot_explore.core.config import TrainingConfig
from smoot_explore.core.curves import masking_curves
from smoot_explore.core.levels import checked_names, masked_fractions
from smoot_explore.core.records import DropRecord, DropStore, EpochRecord, StepRecord
from smoot_explore.data.images import ImageData, Split, in_turn
from smoot_explore.errors import reason

SLICE_SECONDS = 0.05  # that a slice may take, unless a single image takes longer
_AIM = 0.8  # of them: slices of one size differ
_REMEMBERED = 500  # images whose mean says what the next ones cost
_FOR_CURVES = 0.9  # of the share; the rest copies weights and writes files


@dataclass
class DropCurve:
    """A curve in the making: a copy of the weights, and how many images were right so far."""

    model: nn.Module
    epoch: float
    right: np.ndarray  # (levels,) images
    done: int = 0  # images
    protocol: dict[str, str] = field(default_factory=dict)


class AccuracyDropProbe:
    """Measures the accuracy drop of a model that is being trained, on the same balanced test images each time.

    The images are the first of each class in turn. The most salient pixels by the signed attribution are masked
    first (`masking_curves`). How many images is decided once, when what they cost is known: see `probed`.

    Parameters
    ----------
    test
        Images to choose from, for example ``data.test``.
    images
        How many are measured where their time allows it; all, where there are not so many.
    fewest
        How many are measured where it does not, at most ``images``.
    levels
        Number of equal steps from m = 0 to m = 1, or the fractions, as of `masking_curves`.
    fill, attribution
        As of `masking_curves`, a single one of each.
    precision
        Of the forward passes: ``"float32"``, ``"bfloat16"`` or ``"auto"``.

    Attributes
    ----------
    n_images
        How many images the curves of the training have; None until it is decided.
    problem
        Why it has given up, for people; empty while it measures. A model or an attribution that cannot be measured
        is also told by one warning, and no training ends because of it.

    Examples
    --------
    >>> from smoot_explore import create_model, load_data
    >>> data = load_data("shapes", train=12, test=6)
    >>> probe = AccuracyDropProbe(data.test, levels=4)
    >>> drop = probe.measure(probe.begin(create_model("cnn", data), epoch=0))
    >>> drop.n_images, drop.masked_fraction.tolist()
    (6, [0.0, 0.25, 0.5, 0.75, 1.0])
    """

    def __init__(
        self,
        test: Split,
        *,
        images: int = 200,
        fewest: int = 30,
        levels: int | Sequence[float] = 10,
        fill: str = "black",
        attribution: str = "gradient",
        precision: str = "float32",
    ) -> None:
        if not 1 <= fewest <= images:
            raise ValueError(
                f"fewest must lie between 1 and images, given fewest={fewest} and images={images}; "
                "give a smaller fewest or more images"
            )
        self.masked_fraction = masked_fractions(levels)
        (self.fill,) = checked_names(fill, "fill", names("fill"))
        (self.attribution,) = checked_names(attribution, "attribution method", names("attribution"))
        self.precision = precision
        self.n_images: int | None = None
        self.problem = ""
        self._test = test[in_turn(test)[:images]]
        self._fewest = min(fewest, len(self._test))
        self._slice_size = 1  # images; what they cost is not known yet
        self._seconds_per_image = 0.0
        self._timed, self._warm = 0, False  # images behind that number; whether anything was measured before

    @property
    def curve_seconds(self) -> float:
        """What a whole curve is expected to cost; 0 before anything was measured."""
        return self._goal * self._seconds_per_image

    def slice_seconds(self, curve: DropCurve) -> float:
        """What the next slice of a curve is expected to cost; 0 before anything was measured."""
        return self._next_slice(curve) * self._seconds_per_image

    def go_on(self, kept: dict[str, Any]) -> None:
        """Measure on as curves of before were, on their images.

        Parameters
        ----------
        kept
            Their description, `DropStore.probe`.

        Raises
        ------
        ValueError
            When fill, attribution or levels differ, or an image is not among the test images.
        """
        asked = {
            "fill": self.fill,
            "attribution": self.attribution,
            "masked_fraction": self.masked_fraction.tolist(),
        }
        different = [
            f"{name} {kept[name]!r} ≠ {asked[name]!r}" for name in asked if kept[name] != asked[name]
        ]
        if different:
            raise ValueError(
                f"the accuracy drops that are kept were measured otherwise ({'; '.join(different)}); "
                "give a probe like theirs, or none"
            )
        places = {int(image_id): i for i, image_id in enumerate(self._test.image_ids)}
        missing = [image_id for image_id in kept["image_ids"] if image_id not in places]
        if missing:
            raise ValueError(
                f"the accuracy drops that are kept were measured on test images that are not given, such as "
                f"number {missing[0]}; give the data that the training was started on, and at least "
                f"images={len(kept['image_ids'])}"
            )
        self._test = self._test[[places[image_id] for image_id in kept["image_ids"]]]
        self._fewest = self.n_images = len(self._test)
        self.precision = kept["precision"]

    def begin(self, model: nn.Module, epoch: float, frozen: nn.Module | None = None) -> DropCurve | None:
        """A new curve of the model's present weights, of which nothing is measured yet.

        Parameters
        ----------
        model
            Maps normalised images to logits, on any device. It is copied, and may be trained on meanwhile.
        epoch
            What the record will say.
        frozen
            The model of an earlier curve of the same model that is no longer needed: it takes the weights. None
            makes a new copy.

        Returns
        -------
        DropCurve or None
            None when the probe has given up.
        """
        if self.problem:
            return None
        try:
            frozen = copy.deepcopy(model).requires_grad_(False) if frozen is None else _taken(frozen, model)
        except Exception as error:  # the user's module may raise anything, and its training must go on
            self._give_up(error)
            return None
        return DropCurve(frozen, epoch, np.zeros(len(self.masked_fraction), int))

    def advance(self, curve: DropCurve, seconds: float = np.inf) -> DropRecord | None:
        """Measure the next slice of a training's curve; the record with the last one, None before.

        Parameters
        ----------
        curve
            From `begin`.
        seconds
            That a curve may take: decides, once, on how many images all are measured.
        """
        self._measure_slice(curve)
        if self.n_images is None and curve.done == self._fewest and not self.problem:
            affordable = seconds / self._seconds_per_image if self._seconds_per_image else np.inf
            self.n_images = int(np.clip(affordable, self._fewest, len(self._test)))
        return self._record(curve)

    def measure(
        self, curve: DropCurve | None, keep_going: Callable[[], bool] = lambda: True
    ) -> DropRecord | None:
        """Measure a curve to its end at once, as when a training pauses.

        It has as many images as the training's curves; while that is not decided, ``fewest``.

        Parameters
        ----------
        curve
            From `begin`.
        keep_going
            Asked before each slice; the curve is given up when it says False.

        Returns
        -------
        DropRecord or None
            None when it was given up.
        """
        while curve is not None and not self.problem and keep_going():
            self._measure_slice(curve)
            if (record := self._record(curve)) is not None:
                return record
        return None

    @property
    def _goal(self) -> int:
        return self.n_images or self._fewest

    def _next_slice(self, curve: DropCurve) -> int:
        """Images of the next slice: what is left of the curve in as few equal parts as there can be."""
        left = self._goal - curve.done
        return -(-left // -(-left // self._slice_size))

    def _measure_slice(self, curve: DropCurve) -> None:
        started = time.perf_counter()
        end = min(curve.done + self._next_slice(curve), len(self._test))
        part = self._test[np.arange(curve.done, end)]  # a slice of one class would be warned of
        try:
            curves = masking_curves(
                curve.model, part, self.masked_fraction.tolist(), "highest", self.fill, self.attribution,
                precision=self.precision,
            )  # fmt: skip
        except Exception as error:  # as in `begin`
            self._give_up(error)
            return
        curve.right += curves.correct.sum("image").values
        curve.done += len(part)
        curve.protocol = {name: curves.attrs[name] for name in ("ranking", "order", "precision")}
        self._learn(len(part), time.perf_counter() - started)

    def _learn(self, n_images: int, seconds: float) -> None:
        """Take the time of a slice into account. The first of all is slow and counts only until there is another."""
        weight = n_images / (self._timed + n_images)
        self._seconds_per_image += weight * (seconds / n_images - self._seconds_per_image)
        self._timed = min(self._timed + n_images, _REMEMBERED) if self._warm else 0
        self._warm = True
        if 2 * n_images >= self._slice_size:  # in small ones each image costs more
            self._slice_size = max(1, int(n_images * _AIM * SLICE_SECONDS / seconds))

    def _record(self, curve: DropCurve) -> DropRecord | None:
        if self.problem or curve.done < self._goal:
            return None
        return DropRecord(
            epoch=float(curve.epoch),
            masked_fraction=self.masked_fraction,
            accuracy=100 * curve.right / curve.done,
            image_ids=self._test.image_ids[: curve.done].numpy(),
            fill=self.fill,
            attribution=self.attribution,
            **curve.protocol,
        )

    def _give_up(self, error: Exception) -> None:
        self.problem = f"the accuracy drop is not measured while training: {reason(error)}"
        warnings.warn(self.problem, stacklevel=2)


def probed(
    records: Iterator[EpochRecord | StepRecord],
    model: nn.Module,
    data: ImageData,
    config: TrainingConfig,
    *,
    run: DropStore | None = None,
    probe: AccuracyDropProbe | None = None,
    share: float = 0.03,
    keep_going: Callable[[], bool] = lambda: True,
) -> Iterator[EpochRecord | StepRecord | DropRecord]:
    """The records of a training, and between them its accuracy drop after its epochs.

    Training gives the same numbers with it and without. A curve is measured on a copy of the weights, in slices of at
    most 50 ms (or of one image). After each record there is one slice, and more of them only while they take at most
    ``share`` of the time since the record before: with ``every=1`` no step waits longer than for one slice.

    A slice is measured only when all of them have taken at most ``share`` of the training's time; a new curve is begun
    only when the one before is done and enough time is left for the last epoch's. So epochs are left out where a curve
    costs more than ``share`` of an epoch. The last epoch's curve alone is measured whatever it costs, before the
    training is finished: trainings so short that it does not fit take longer by that curve. A run whose process ends
    while it is measured has no curve of its last epoch. Where several processes train together, the first one measures,
    and the others get the records of the training alone.

    Parameters
    ----------
    records
        From `train`, with the arguments that follow. Closing the result closes it.
    model, data, config
        Those of the training.
    run
        Keeps the curves. One that holds curves already gets the next ones of the same images, levels, fill and
        attribution.
    probe
        Images and protocol; None takes 200 test images (30 or more where 200 take longer than ``share`` of the first
        epoch), 10 equal steps, black, the gradient, and the training's number format.
    share
        Of the training's time that measuring may take, above 0 and at most 1.
    keep_going
        Asked before each slice: measuring is left out when it says False, the last curve too.

    Yields
    ------
    EpochRecord, StepRecord or DropRecord
        A `DropRecord` may come many steps after the epoch that it names.

    Raises
    ------
    ValueError
        At the call, for a share out of range, and for a probe other than the one that ``run`` was measured with.

    Examples
    --------
    >>> from smoot_explore import DropRecord, TrainingConfig, create_model, load_data, train
    >>> data, config = load_data("shapes", train=12, test=6), TrainingConfig(epochs=1, device="cpu")
    >>> model = create_model("cnn", data)
    >>> for record in probed(train(model, data, config), model, data, config):
    ...     print(type(record).__name__, record.epoch)
    EpochRecord 1
    DropRecord 1.0
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie above 0 and at most at 1, given {share}; the default is 0.03")
    if present_ranks().rank > 0:
        return records
    kept = None if run is None else run.probe
    if probe is None:
        protocol: dict[str, Any] = {"precision": config.precision}
        if kept is not None:
            protocol |= {"levels": kept["masked_fraction"], "images": max(200, len(kept["image_ids"]))}
            protocol |= {name: kept[name] for name in ("fill", "attribution")}
        probe = AccuracyDropProbe(data.test, **protocol)
    if kept is not None:
        probe.go_on(kept)
    return _probed(records, model, config.epochs, run, probe, share, keep_going)


def _probed(
    records: Iterator[EpochRecord | StepRecord],
    model: nn.Module,
    epochs: int,
    run: DropStore | None,
    probe: AccuracyDropProbe,
    share: float,
    keep_going: Callable[[], bool],
) -> Iterator[EpochRecord | StepRecord | DropRecord]:
    account = _Account(share)
    curve, frozen, last = None, None, False
    seconds = np.inf  # that a curve may take
    try:
        while True:
            with account.training():
                record = next(records, None)
            if record is None:
                return
            yield record
            if isinstance(record, EpochRecord):
                left = epochs - record.epoch
                last = left <= 0
                epoch_seconds = min(record.duration_seconds, account.smooth_epoch())
                seconds = _FOR_CURVES * share * epoch_seconds
                in_all = share * (account.trained + left * epoch_seconds)
                if last or (curve is None and account.measured + 2 * probe.curve_seconds <= in_all):
                    with account.measuring():
                        curve = probe.begin(model, record.epoch, frozen)
                    frozen = None if curve is None else curve.model
            while curve is not None and keep_going() and (last or account.allows(probe.slice_seconds(curve))):
                with account.measuring():
                    drop = probe.advance(curve, seconds)
                    if drop is not None and run is not None:
                        _save(drop, run, probe)
                if drop is not None or probe.problem:
                    curve = None
                if drop is not None:
                    yield drop
    finally:
        records.close()  # type: ignore[attr-defined]  # a generator


def _save(drop: DropRecord, run: DropStore, probe: AccuracyDropProbe) -> None:
    try:
        run.save_accuracy_drop(drop)
    except (OSError, ValueError) as error:  # a full disk must not end the training
        probe._give_up(error)


class _Account:
    """Seconds of a training, and of what is measured beside it."""

    def __init__(self, share: float) -> None:
        self.trained = self.measured = 0.0
        self._share = share
        self._step = self._since = 0.0  # the latest training, and what was measured after it
        self._steps: list[float] = []  # of the epoch

    @contextmanager
    def training(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._step, self._since = time.perf_counter() - started, 0.0
        self._steps.append(self._step)
        self.trained += self._step

    def smooth_epoch(self) -> float:
        """Seconds of the epoch that is over, without its hiccups: the first one's first steps may take for ever."""
        steps, self._steps = self._steps, []
        return len(steps) * float(np.median(steps))

    @contextmanager
    def measuring(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self._since += seconds
        self.measured += seconds

    def allows(self, seconds: float) -> bool:
        """Whether so many may be spent on measuring now: of all, and before the training goes on."""
        now = self._since == 0 or self._since + seconds <= self._share * self._step
        return now and self.measured + seconds <= self._share * self.trained


@torch.no_grad()
def _taken(frozen: nn.Module, model: nn.Module) -> nn.Module:
    """``frozen`` with the model's weights, and with its buffers, also those that no state_dict holds."""
    pairs = zip(
        itertools.chain(frozen.parameters(), frozen.buffers()),
        itertools.chain(model.parameters(), model.buffers()),
        strict=True,
    )
    for mine, theirs in pairs:
        mine.copy_(theirs)
    return frozen


def drop_of(curves: xr.Dataset, epoch: float) -> DropRecord:
    """The accuracy drop that masking curves of one protocol hold, as if a probe had measured it on their images.

    Parameters
    ----------
    curves
        Of one fill and one attribution, from `masking_curves` or `Run.curves`.
    epoch
        After which the model was measured.
    """
    return DropRecord(
        epoch=float(epoch),
        masked_fraction=curves.masked_fraction.values,
        accuracy=accuracy_drop(curves).values,
        image_ids=curves.image_id.values,
        fill=str(curves.fill.item()),
        attribution=str(curves.attribution.item()),
        **{name: curves.attrs[name] for name in ("ranking", "order", "precision")},
    )


def recorded_drops(record: xr.Dataset) -> list[DropRecord]:
    """The accuracy drops that a training record holds, one for each epoch that was measured.

    Parameters
    ----------
    record
        As of `Run.record`.
    """
    if "accuracy_drop" not in record:
        return []
    probe = json.loads(record.attrs["probe"])
    ids, fractions = np.array(probe.pop("image_ids")), record.masked_fraction.values
    measured = record.accuracy_drop.dropna("epoch")
    return [
        DropRecord(float(epoch), fractions, accuracy, ids, **probe)
        for epoch, accuracy in zip(measured.epoch.values, measured.values, strict=True)
    ]
