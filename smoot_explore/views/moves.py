"""Why one image's k stands where it does: what each epoch added to it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from smoot_explore.views.sketch import Axis, Sketch, boxes, curve
from smoot_explore.views.view import view

_WIDTH = 0.56  # of a bar, epochs
_EPOCH = Axis("epoch", "epoch", None)


@view(drawn={"epoch"})
def single_moves(
    moves: xr.Dataset, label: str = "What moved k of one image", epochs: float | None = None
) -> Sketch:
    """The moves of one image's k: its line, and for each epoch a bar from where it was to where α·Δ led.

    Parameters
    ----------
    moves
        From `core.moves.k_moves`. Of a rule of k without α·Δ, the bars end where k does.
    label
        The title.
    epochs
        Where the axis ends; None ends it with the data.
    """
    at, k, before = moves.epoch.values.astype(float), moves.k.values, moves.before.values
    to = np.where(np.isfinite(moves.step.values), before + moves.step.values, k)
    layers = []
    for role, which, words in (("Rose", to > before, "α·Δ above 0"), ("Fell", to <= before, "α·Δ below 0")):
        sides = at - _WIDTH / 2, np.minimum(before, to), at + _WIDTH / 2, np.maximum(before, to)
        told = {
            "visit": at.astype(int),
            "delta": moves.delta.values.round(3),
            "move": (to - before).round(2),
        }
        layers.append(
            boxes(role, [side[which] for side in sides], words, {name: v[which] for name, v in told.items()})
        )
    line = curve(
        "Framed", np.concatenate([[0.0], at])[: len(at) + (len(at) > 0)], [*before[:1], *k], "k of the image"
    )
    unit = moves.k.attrs.get("units", "pixels")
    x = _EPOCH._replace(range=(0, None if epochs is None else epochs + 0.5))
    return Sketch("K moves", label, x, Axis("k", "k", unit), (*layers, line))
