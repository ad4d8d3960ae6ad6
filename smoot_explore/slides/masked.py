"""Slides on images that are masked: what is left of them, and what the network then says."""

from __future__ import annotations

import functools

import numpy as np
import xarray as xr

from smoot_explore.core.curves import masking_curves
from smoot_explore.core.effect import MaskingEffect, masking_effect
from smoot_explore.data.images import Split
from smoot_explore.slides import bundled
from smoot_explore.slides.slide import Picture, choice, slider, values
from smoot_explore.views import masking_curve
from smoot_explore.views.palette import METHOD_NAMES
from smoot_explore.views.pictures import masking, picture_grid
from smoot_explore.views.pixels import picture_pixels, saliency_limit, saliency_pixels
from smoot_explore.views.sketch import Axis, Sketch, curve, points

N_MEASURED = 50  # test images whose KL divergence is averaged
# A row of text takes so much of a cell that large letters have room.
_CELL, _CELL_OF_ONE = 73, 100
_LEVELS = np.linspace(0, 784, 9).round().astype(int)
_KL = Axis("kl", "KL(p(x) ‖ p(x̃)), mean", "nat", (-0.2, None))  # with room below a marker at 0
_K = Axis("k", "masked pixels k, lowest saliency first", None, (-16, 800))


def masked_images() -> Picture:
    """Images, their saliency, and what is left of them when k pixels are masked."""
    some, network = bundled.data().train[:6], bundled.model("smoot")

    def sketches(k: int) -> list[Sketch]:
        return [_several(some, masking_effect(network, some, k))]

    return Picture({"k": slider("k, masked pixels of 784", 0, 784, 100)}, sketches)


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
        # With room for a marker at 0.
        x, y = drawn.x._replace(range=(-2, 102)), drawn.y._replace(range=(-0.03, 1.03))
        return [_single(one, seen), drawn._replace(x=x, y=y)]

    controls = {
        "image": slider("Test image", 0, 99, 17),
        "masked": slider("Masked share (%)", 0, 100, 0, 5),
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
        return [_single(one, seen), drawn]

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
        return [_several(some, masking_effect(network, some, masked / 100 * n, patch=side))]

    controls = {
        "side": values("Side of a patch (pixels)", [1, 2, 4, 7, 14], 7),
        "masked": slider("Masked share (%)", 0, 100, 50, 5),
    }
    return Picture(controls, sketches)


def _several(images: Split, seen: MaskingEffect) -> Sketch:
    """Images, saliency and what is left in three rows; below them per cent, whose sign would take the room."""
    footers = [[f"{before:.0f} → {after:.0f}"] for before, after in _per_cent(images, seen)]
    return masking.sketch(images, seen, footers=footers, cell=_CELL)


def _single(image: Split, seen: MaskingEffect) -> Sketch:
    """The same of one image, two and two: larger than one above the other."""
    (before, after), maps = _per_cent(image, seen)[0], seen.saliency
    rows = [
        np.concatenate([picture_pixels(image.images.numpy()), saliency_pixels(maps, saliency_limit([maps]))]),
        picture_pixels(seen.masked_images),
    ]
    titles = [image.class_names[int(image.labels[0])], "saliency"]
    footers = [["masked:", f"{before:.0f} → {after:.0f} %"]]
    return picture_grid.sketch(rows, titles=titles, footers=footers, cell=_CELL_OF_ONE)


def _per_cent(images: Split, seen: MaskingEffect) -> list[tuple[float, float]]:
    """The probability of each image's label, clean and masked."""
    labels = images.labels.numpy()
    rows = np.arange(len(labels))
    pairs = np.stack([seen.clean_probabilities[rows, labels], seen.masked_probabilities[rows, labels]], 1)
    return [(100 * before, 100 * after) for before, after in pairs]
