"""Class I and class II over many images: a scatter to pick from, and where class II peaks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from smoot_explore.core.classes import image_class, peak_fraction
from smoot_explore.views.palette import CLASS_COLOURS
from smoot_explore.views.sketch import Axis, Layer, Sketch, histogram, points
from smoot_explore.views.view import view

_START = Axis("start", "probability of the label, clean image", None, (-0.07, 1.07))
_RISE = Axis("rise", "largest rise of the probability", None, (-0.07, 1.07))
_PEAK = Axis("peak", "masked share at the peak", "%")
_IMAGES = Axis("images", "images", None, (0, None))


@view(drawn={"image", "masked_fraction"})
def class_scatter(
    curves: xr.Dataset,
    tolerance: float = 0.01,
    names: Sequence[str] | None = None,
    selected: Sequence[int] = (),
    picked: int | None = None,
) -> Sketch:
    """Every image: how sure the model is, and by how much masking raises that.

    Parameters
    ----------
    curves
        From `masking_curves`; fills and attributions become sliders where there are several.
    tolerance
        Of the classes, as in `image_class`.
    names
        Told by the pointer; by default the image's number in the full data set.
    selected, picked
        Positions of images to mark.
    """
    named = np.array(curves.image_id.values if names is None else list(names), str)
    start, rise = start_and_rise(curves)
    kinds = known_classes(curves, tolerance)
    layers = list[Layer]()
    for c in CLASS_COLOURS:
        those = kinds == c
        layers.append(points(f"Class {c}", start[those], rise[those], f"class {c}", {"image": named[those]}))
    for role, chosen in (("Selected", list(selected)), ("Picked", [] if picked is None else [picked])):
        layers.append(points(role, start[chosen], rise[chosen]))
    return Sketch("Class scatter", f"Every image, n = {len(start):,}", _START, _RISE, tuple(layers))


@view(drawn={"image", "masked_fraction"})
def class_peaks(curves: xr.Dataset, tolerance: float = 0.01, selected: Sequence[int] = ()) -> Sketch:
    """How many images of class II are surest of their label at which masked share, a bar around each level.

    The parameters are those of `class_scatter`.
    """
    levels = 100 * curves.masked_fraction.values
    middles = (levels[1:] + levels[:-1]) / 2
    edges = np.concatenate([[2 * levels[0] - middles[0]], middles, [2 * levels[-1] - middles[-1]]])
    second = known_classes(curves, tolerance) == "II"
    peaks = 100 * peak_fraction(curves, tolerance).values
    chosen = np.isin(np.arange(len(second)), list(selected))
    layers = tuple(
        histogram(role, edges, np.histogram(peaks[which], edges)[0])
        for role, which in (("Class II", second), ("Chosen", second & chosen))
    )
    x = _PEAK._replace(range=(edges[0], edges[-1]))
    return Sketch("Class peaks", f"Where class II peaks, n = {int(second.sum()):,}", x, _IMAGES, layers)


def known_classes(curves: xr.Dataset, tolerance: float) -> np.ndarray:
    """``"I"`` or ``"II"`` of each image as `image_class` has it, and ``"?"`` where its curve is not known."""
    known = np.isfinite(curves.probability.values).all(1)
    return np.where(known, image_class(curves, tolerance).values, "?")


def start_and_rise(curves: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Of each image the probability of its label when nothing is masked, and the largest rise above it."""
    probability = curves.probability.values
    return probability[:, 0], probability.max(1, initial=-np.inf) - probability[:, 0]
