"""Slides on images that are masked: what is left of them, and what the network then says."""

from __future__ import annotations

import functools

import numpy as np
import xarray as xr

from smoot_explore.core.curves import masking_curves
from smoot_explore.core.effect import masking_effect
from smoot_explore.slides import bundled
from smoot_explore.slides.slide import Picture, choice, slider, values
from smoot_explore.views import masking_curve
from smoot_explore.views.palette import METHOD_NAMES
from smoot_explore.views.pictures import masking
from smoot_explore.views.sketch import Axis, Sketch, curve, points

N_MEASURED = 50  # test images whose KL divergence is averaged
_CELL = 73  # a row of text takes so much of a cell that large letters have room
_LEVELS = np.linspace(0, 784, 9).round().astype(int)
_KL = Axis("kl", "KL(p(x) ‖ p(x̃)), mean", "nat", (0, None))
_K = Axis("k", "masked pixels k, lowest saliency first", None, (0, 784))


def masked_images() -> Picture:
    """Images, their saliency, and what is left of them when k pixels are masked."""
    some, network = bundled.data().train[:6], bundled.model("smoot")

    def sketches(k: int) -> list[Sketch]:
        return [masking.sketch(some, masking_effect(network, some, k), cell=_CELL)]

    return Picture({"k": slider("k, masked pixels of 784", 0, 784, 392)}, sketches)


def one_curve() -> Picture:
    """One test image with its strongest pixels masked, and its masking curve."""
    network, images = bundled.model("traditional"), bundled.data().test

    @functools.cache
    def curve_of(image: int, fill: str) -> xr.Dataset:
        return masking_curves(network, images[[image]], fill=fill)

    def sketches(image: int, masked: int, fill: str) -> list[Sketch]:
        one, share = images[[image]], masked / 100
        seen = masking_effect(network, one, share * images.n_pixels, order="highest", fill=fill)
        drawn = masking_curve.sketch(curve_of(image, fill), share, label=" ")
        return [masking.sketch(one, seen, cell=_CELL), drawn]

    controls = {
        "image": slider("Test image", 0, 99, 3),
        "masked": slider("Masked share (%)", 0, 100, 25, 5),
        "fill": choice("Fill", ["black", "mean", "remaining"], "black"),
    }
    return Picture(controls, sketches)


def kl_of_masking() -> Picture:
    """How much the output changes with k, for a network that was trained to keep it and for one that was not."""
    images = bundled.data().test
    one, kl = images[[0]], {name: _kl(name) for name in ("traditional", "sgt")}

    def sketches(k: int, name: str) -> list[Sketch]:
        seen = masking_effect(bundled.model(name), one, k)
        lines = [curve(METHOD_NAMES[of], _LEVELS, line, METHOD_NAMES[of]) for of, line in kl.items()]
        here = points("Marker", [k], [np.interp(k, _LEVELS, kl[name])], f"k = {k}")
        drawn = Sketch("Losses", "", _K, _KL, (*lines, here))
        return [masking.sketch(one, seen, cell=_CELL), drawn]

    controls = {
        "k": slider("k, masked pixels of 784", 0, 784, 392),
        "name": choice("Trained", {"without masking": "traditional", "with SGT": "sgt"}, "traditional"),
    }
    return Picture(controls, sketches)


@functools.cache
def _kl(name: str) -> np.ndarray:
    """The mean KL divergence of test images from themselves with k pixels masked, at each level of k, in nat."""
    network, images = bundled.model(name), bundled.data().test[:N_MEASURED]
    maps, found = masking_effect(network, images, 0).saliency, list[float]()
    for k in _LEVELS:
        seen = masking_effect(network, images, k, maps=maps)
        p, q = (np.clip(x, 1e-12, 1) for x in (seen.clean_probabilities, seen.masked_probabilities))
        found.append(float((p * np.log(p / q)).sum(1).mean()))
    return np.array(found)


def patches() -> Picture:
    """Whole squares of pixels masked in the place of single ones."""
    some, network = bundled.data().test[:6], bundled.model("smoot")

    def sketches(side: int, masked: int) -> list[Sketch]:
        n = some.n_pixels // side**2
        return [masking.sketch(some, masking_effect(network, some, masked / 100 * n, patch=side), cell=_CELL)]

    controls = {
        "side": values("Side of a patch (pixels)", [1, 2, 4, 7, 14], 7),
        "masked": slider("Masked share (%)", 0, 100, 50, 5),
    }
    return Picture(controls, sketches)
