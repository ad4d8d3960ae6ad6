"""The k-landscape: how one image's masking moves its k, and the way that k takes."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from smoot_explore.core.landscape import next_k
from smoot_explore.views.sketch import Axis, Sketch, curve, level, points
from smoot_explore.views.view import axis, view

_CHANGE = Axis("change", "change of probability")
_NOTHING = np.empty(0)


@view(drawn={"k"})
def k_landscape(record: xr.Dataset, beta: float = 0.95, trajectory: np.ndarray | None = None) -> Sketch:
    """Δ and its two parts against k.

    Parameters
    ----------
    record
        From `k_landscape`; its images become a slider where there are several.
    beta
        Weight of the label's part.
    trajectory
        k of one image epoch by epoch, from `simulate_k`, for points on its Δ.
    """
    k, first, others = record.k.values, record.label_change.values, record.runners_up_change.values
    delta = beta * first + (1 - beta) * others
    way = np.array([]) if trajectory is None else np.asarray(trajectory, float)
    name = json.loads(record.attrs["class_names"])[int(record.label)]
    layers = (
        level("Bound", [0.0]),
        curve("Label", k, first, "Δ₁, the label"),
        curve("Runners-up", k, others, "Δ₂…ₙ, the runners-up"),
        curve("Mean", k, delta, f"Δ with β = {beta:.2f}"),
        points("Way", way, np.interp(way, k, delta), "k, epoch by epoch"),
    )
    x = axis(record.k, (0, float(record.attrs["n_pixels"])))
    return Sketch("Landscape", f"Image {int(record.image_id)} ({name})", x, _CHANGE, layers)


@view(drawn={"k"})
def cobweb(
    record: xr.Dataset | None,
    trajectory: np.ndarray = _NOTHING,
    alpha: float = 0.0,
    beta: float = 0.0,
    bounds: tuple[float, float] = (0.0, 1.0),
    label: str | None = None,
) -> Sketch:
    """One image's map from k to the next k, with the steps that its k takes on it.

    Parameters
    ----------
    record
        A k-landscape of one image; None draws nothing but the axes.
    trajectory
        Its k epoch by epoch, from `simulate_k`.
    alpha, beta
        Of the trajectory.
    bounds
        Of k, in its unit.
    label
        The title.
    """
    n_pixels = 1.0 if record is None else float(record.attrs["n_pixels"])
    grid, k = np.linspace(0, n_pixels, 393), np.asarray(trajectory, float)
    following = grid if record is None else next_k(record, grid, alpha, beta, bounds)
    reach = _near(k, n_pixels)
    layers = (
        curve("Bound", grid[[0, -1]], grid[[0, -1]], "k stays"),
        curve("SMOOT", grid, following, "next k"),
        curve("Steps", np.repeat(k, 2)[:-1], np.concatenate([k[:1], np.repeat(k[1:], 2)]), "steps"),
        points("Start", k[:1], k[:1], "start"),
    )
    unit = "pixels" if record is None else record.k.attrs.get("units", "pixels")
    x = Axis("k", "k now", unit, reach)
    y = Axis("next_k", "k after the next visit", unit, reach)
    return Sketch("Cobweb", label or "One image's map", x, y, layers)


def _near(trajectory: np.ndarray, n_pixels: float) -> tuple[float, float]:
    """Where the steps are: close to the diagonal, at most α off it.

    In whole steps, because every change of an axis makes the browser lay out the figure anew.
    """
    if not len(trajectory):
        return 0.0, n_pixels
    margin, unit = max(0.15 * float(np.ptp(trajectory)), 0.03 * n_pixels), n_pixels / 20
    low = max(np.floor((float(trajectory.min()) - margin) / unit) * unit, 0.0)
    high = min(np.ceil((float(trajectory.max()) + margin) / unit) * unit, n_pixels)
    return float(low), float(high)
