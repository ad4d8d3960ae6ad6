"""Slides on the k-landscape of a network that stays as it is: where rules lead k, without any training."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import xarray as xr

from smoot_explore.core.bounds import Bounds
from smoot_explore.core.landscape import simulate_k
from smoot_explore.slides import bundled
from smoot_explore.slides.slide import Picture, choice, slider, values
from smoot_explore.views import k_landscape, k_trajectories, sweep_map
from smoot_explore.views.sketch import Axis, Sketch, curve

EPOCHS, ALPHA, BETA = 100, 200, 0.95  # so the k of the image that is shown first comes to rest
_START, _LOW, _HIGH = 0.5, 0.2, 0.8
_SWEPT: dict[str, list[Any]] = {
    "alpha": [10, 50, 100, 200, 400],
    "beta": [0.0, 0.5, 0.95],
    "epoch": list(range(EPOCHS + 1)),
}
_ROOM = 0.25  # of a cell, for names of rows in large letters
_DELTA, _STEP = Axis("delta", "Δ", None, (-1, 1)), Axis("step", "step of k", "pixels")
# By what is pressed: the step of k that a rule makes of Δ and α.
RULES = {
    "α·Δ, as SMOOT": lambda delta, alpha: alpha * delta,
    "α·sign(Δ)": lambda delta, alpha: alpha * np.sign(delta),
    "α·|Δ|": lambda delta, alpha: alpha * np.abs(delta),
}


def where_k_settles() -> Picture:
    """One image's Δ over k, with the places that its k visits, and the k of all images."""
    landscape = bundled.landscape()
    images = landscape.image_id.values.tolist()

    def sketches(image: int, alpha: float, beta: float) -> list[Sketch]:
        k, at = _simulated(alpha, beta), images.index(image)
        one = k_landscape.sketch(landscape.isel(image=at), beta, k.values[:, at])
        words = one.title.replace("Image", "Training image")
        return [
            one._replace(title=words, x=one.x._replace(label="masked pixels k", unit=None)),
            _every(k, at),
        ]

    controls = {
        "image": values("Training image", images, 923),
        "alpha": slider("α (pixels)", 0, 400, ALPHA, 5),
        "beta": slider("β", 0.0, 1.0, BETA, 0.05),
    }
    return Picture(controls, sketches)


def what_settings_do() -> Picture:
    """The median of k over a grid of α and β."""
    found = [
        [np.median(_simulated(alpha, beta), axis=1) for beta in _SWEPT["beta"]] for alpha in _SWEPT["alpha"]
    ]
    told = {"long_name": "median k", "units": "pixels"}
    medians = xr.DataArray(np.array(found), _SWEPT, list(_SWEPT), "median_k", told)
    grid = xr.Dataset({"problem": xr.full_like(medians, "", "<U1")}, attrs={"over": json.dumps(_SWEPT)})
    frames = sweep_map.frames(grid, medians, x="alpha", y="beta")  # of one colour scale

    def sketches(epoch: int) -> list[Sketch]:
        drawn = frames.at(epoch=epoch)
        left, right = drawn.x.range
        return [drawn._replace(x=drawn.x._replace(range=((left or 0) - _ROOM, right)))]

    return Picture({"epoch": slider("Epochs", 1, EPOCHS, EPOCHS)}, sketches)


def where_a_rule_leads() -> Picture:
    """A rule of k: the step that it makes of Δ, and where it leads the k of all images."""
    delta = np.linspace(-1, 1, 201)

    def sketches(rule: str, alpha: float) -> list[Sketch]:
        line = curve("SMOOT", delta, RULES[rule](delta, alpha), rule)
        step = Sketch("Losses", "", _DELTA, _STEP, (curve("Bound", [-1, 1], [0, 0]), line))
        return [step, _every(followed(rule, alpha))]

    controls = {
        "rule": choice("Rule", list(RULES), next(iter(RULES))),
        "alpha": slider("α (pixels)", 0, 100, 20),
    }
    return Picture(controls, sketches)


def followed(rule: str, alpha: float) -> xr.DataArray:
    """The k of all images ``(epoch, image)`` under one of `RULES`."""
    landscape = bundled.landscape()
    grid, n_pixels = landscape.k.values.astype(float), landscape.attrs["n_pixels"]
    deltas = BETA * landscape.label_change.values + (1 - BETA) * landscape.runners_up_change.values
    k = [np.full(len(deltas), _START * n_pixels)]
    for _ in range(EPOCHS):
        here = np.array([np.interp(at, grid, delta) for at, delta in zip(k[-1], deltas, strict=True)])
        k.append(np.clip(k[-1] + RULES[rule](here, alpha), _LOW * n_pixels, _HIGH * n_pixels))
    return _simulated(alpha, BETA).copy(data=np.array(k))


@functools.lru_cache(maxsize=64)
def _simulated(alpha: float, beta: float) -> xr.DataArray:
    bounds = {"k_init": _START, "k_min": _LOW, "k_max": _HIGH}
    return simulate_k(bundled.landscape(), alpha=alpha, beta=beta, **bounds, epochs=EPOCHS)


def _every(k: xr.DataArray, picked: int | None = None) -> Sketch:
    """The k of all images, a line each, between the bounds."""
    n_pixels = bundled.landscape().attrs["n_pixels"]
    bounds = [Bounds(0, _LOW * n_pixels, _HIGH * n_pixels)]
    return k_trajectories.sketch(k, picked=picked, every_image=True, bounds=bounds, n_pixels=n_pixels)
