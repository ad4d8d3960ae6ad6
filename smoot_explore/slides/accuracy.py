"""Slides on the accuracy of the bundled trainings: as pixels go, and as test images do."""

from __future__ import annotations

import functools

import numpy as np

from smoot_explore.slides import bundled
from smoot_explore.slides.slide import Picture, choice, slider
from smoot_explore.views import accuracy_drop
from smoot_explore.views.palette import METHOD_NAMES
from smoot_explore.views.sketch import Axis, Sketch, band, curve, upright

N_DRAWS = 2000  # of test images, for each number of them
_SIZES = np.array([10, 20, 50, 100, 150, 200, 300, 400, 500, 700, 1000])
_N = Axis("n", "test images", None, (0, 1000))
_ACCURACY = Axis("accuracy", "measured accuracy", "%", (60, 100))


def drop_by_fill() -> Picture:
    """The accuracy of the three trainings as the strongest pixels go, under a fill and an attribution."""
    curves = {name: bundled.curves(name) for name in METHOD_NAMES}

    def sketches(fill: str, attribution: str) -> list[Sketch]:
        chosen = {name: one.sel(fill=fill, attribution=attribution) for name, one in curves.items()}
        return [accuracy_drop.sketch(chosen, title="")]

    of_one = curves["smoot"]
    controls = {
        "fill": choice("Fill", of_one.fill.values.tolist(), "black"),
        "attribution": choice("Attribution", of_one.attribution.values.tolist(), "gradient"),
    }
    return Picture(controls, sketches)


def luck_of_test_images() -> Picture:
    """Between which values the accuracy of two trainings lies, measured on n test images."""
    names = ("traditional", "smoot")
    spread = {name: _spread(name) for name in names}

    def sketches(n: int) -> list[Sketch]:
        layers = []
        for name, (low, high, mean) in spread.items():
            role = METHOD_NAMES[name]
            at = f"{np.interp(n, _SIZES, low):.0f} … {np.interp(n, _SIZES, high):.0f} %"
            layers += [
                band(f"{role} band", _SIZES, low, high),
                curve(role, _SIZES, np.full(len(_SIZES), mean), f"{role}: {at}"),
            ]
        return [Sketch("Accuracies", "", _N, _ACCURACY, (*layers, upright("Flag", [n])))]

    return Picture({"n": slider("Test images n", 10, 1000, 100, 10)}, sketches)


@functools.cache
def _spread(name: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Where 90 % of the measured accuracies lie for each number of test images, and the mean, in per cent."""
    measured = bundled.curves(name).isel(fill=0, attribution=0, masked_fraction=0)
    right = measured.correct.values
    rng = np.random.default_rng(0)
    found = [100 * rng.choice(right, (N_DRAWS, n)).mean(1) for n in _SIZES]
    low, high = np.quantile(found, [0.05, 0.95], axis=1)
    return low, high, 100 * float(right.mean())
