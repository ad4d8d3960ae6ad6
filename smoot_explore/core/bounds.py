"""The bounds of k over a training in which they may move."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import xarray as xr

from smoot_explore.core.records import Change
from smoot_explore.core.training import count_steps
from smoot_explore.schema import start_config


class Bounds(NamedTuple):
    """The bounds of k from an epoch on, until the next ones."""

    epoch: float
    k_min: float
    k_max: float


def moving_bounds(k_min: float, k_max: float, changes: Iterable[tuple[float, Change]]) -> list[Bounds]:
    """The bounds at the start and after each live change of one of them; ``changes`` with the epochs at which they
    took effect.

    Examples
    --------
    >>> moving_bounds(0.2, 0.8, [(1.5, Change(4, 2, "k_max", 0.8, 0.6)), (1.5, Change(4, 2, "alpha", 10, 20))])
    [Bounds(epoch=0.0, k_min=0.2, k_max=0.8), Bounds(epoch=1.5, k_min=0.2, k_max=0.6)]
    """
    path = [Bounds(0.0, k_min, k_max)]
    for epoch, change in changes:
        if change.name in ("k_min", "k_max"):
            path.append(path[-1]._replace(epoch=epoch, **{change.name: change.new}))
    return path


def counted_bounds(path: Iterable[Bounds], n_pixels: int) -> list[Bounds]:
    """Bounds that are fractions as numbers of pixels, or of patches (`most_k` of them)."""
    return [Bounds(epoch, low * n_pixels, high * n_pixels) for epoch, low, high in path]


def bounds_at(path: Sequence[Bounds], epoch: float) -> Bounds:
    """Those of a path that k obeyed last before this epoch was over."""
    return [bounds for bounds in path if bounds.epoch < epoch or bounds is path[0]][-1]


def recorded_changes(record: xr.Dataset) -> list[tuple[float, Change]]:
    """The live changes of a training record, each with the epoch at which it took effect."""
    if "config" not in record.attrs:
        return []
    steps_per_epoch = count_steps(record.sizes["image"], start_config(record)["batch_size"])
    changes = [Change(**change) for change in json.loads(record.attrs["config"])["changes"]]
    return [((change.step - 1) / steps_per_epoch, change) for change in changes]


def recorded_bounds(record: xr.Dataset) -> list[Bounds]:
    """The bounds of a training record, in the unit of its k."""
    start = start_config(record)
    path = moving_bounds(start["k_min"], start["k_max"], recorded_changes(record))
    return counted_bounds(path, record.attrs["n_pixels"])
