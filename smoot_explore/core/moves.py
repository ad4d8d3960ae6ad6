"""Why the k of one image stands where it does: its moves, epoch by epoch, as a record tells them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from smoot_explore.core.bounds import recorded_changes
from smoot_explore.core.records import Change
from smoot_explore.core.rules import start_k
from smoot_explore.schema import start_config


class _Live(NamedTuple):
    """Values of equation (4) that were in force; bounds in the unit of k."""

    alpha: float
    k_min: float
    k_max: float

    def moves(self, k: float, delta: float) -> float:
        """Equation (4)."""
        return float(np.clip(k + self.alpha * delta, self.k_min, self.k_max))


def k_moves(record: xr.Dataset, position: int) -> xr.Dataset:
    """The moves of one image's k over a training with equation (4).

    Parameters
    ----------
    record
        A training record.
    position
        Of the image in it.

    Returns
    -------
    xarray.Dataset
        Over ``epoch``: ``before`` and ``k``, in the record's unit; ``delta``, Δ of the epoch; ``alpha``, the α in
        force at the image's visit, and ``step``, α·Δ; ``held``, whether a bound took some of it; ``probability`` and
        ``correct`` where the record has them. Where α or a bound was moved within an epoch, the record does not say
        whether the image was visited before or after that: the values are those that explain its k best. Another rule
        of k than equation (4) has no α: there ``alpha`` and ``step`` are NaN. Without epochs where k does not move:
        traditional training and SGT.

    Examples
    --------
    >>> from smoot_explore import bundled_runs
    >>> moves = k_moves(bundled_runs()[2].record(), 0)
    >>> bool(abs(moves.before + moves.step - moves.k).where(~moves.held).max() < 0.01)
    True
    """
    start = start_config(record)
    own = ["k", "delta", *(name for name in ("probability", "correct") if name in record)]
    one = record[own].isel(image=position)
    if start["method"] != "smoot":
        one = one.isel(epoch=slice(0))
    k = one.k.values.astype(float)
    n_pixels = record.attrs["n_pixels"]
    before = np.concatenate([[start_k(start, n_pixels)], k])[: len(k)]
    alpha = np.full(len(k), np.nan)
    held = np.zeros(len(k), bool)
    if start.get("k_rule", "smoot") == "smoot":
        changes = recorded_changes(record)
        for i, epoch in enumerate(one.epoch.values.tolist()):
            delta = float(one.delta[i])
            lives = _in_force(start, changes, epoch, n_pixels)
            live = min(lives, key=lambda live: abs(live.moves(before[i], delta) - k[i]))  # used at once
            alpha[i] = live.alpha
            held[i] = not live.k_min <= before[i] + live.alpha * delta <= live.k_max
    told = {
        "before": ("epoch", before, one.k.attrs), "alpha": ("epoch", alpha), "held": ("epoch", held),
        "step": ("epoch", alpha * one.delta.values, {"units": one.k.attrs.get("units", "pixels")}),
    }  # fmt: skip
    return one.assign(told)


def _in_force(
    start: dict[str, Any], changes: Sequence[tuple[float, Change]], epoch: int, n_pixels: int
) -> list[_Live]:
    """The values at the beginning of an epoch, counted from 1, and after each change within it."""
    values = {name: float(start[name]) for name in _Live._fields}
    found = list[dict[str, float]]()
    for place, change in changes:
        if place >= epoch:
            break
        if place > epoch - 1:
            found.append(dict(values))
        if change.name in values:
            values[change.name] = change.new
    found.append(values)
    return [_Live(one["alpha"], one["k_min"] * n_pixels, one["k_max"] * n_pixels) for one in found]
