"""k over the epochs: all images as bands, some as lines, and how many end where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from smoot_explore.core.bounds import Bounds, bounds_at, recorded_bounds, recorded_changes
from smoot_explore.core.history import QUANTILES
from smoot_explore.core.records import Change
from smoot_explore.core.rules import start_k
from smoot_explore.schema import start_config
from smoot_explore.views.flags import flags
from smoot_explore.views.rivals import Others, rival_lines
from smoot_explore.views.sketch import (
    Axis,
    Layer,
    Sketch,
    band,
    curve,
    element,
    extent,
    histogram,
    points,
    upright,
)
from smoot_explore.views.view import axis, view

MOST_LINES = 1000  # images of which each can have a line of its own
_MOST_POINTS = 22  # of such a line
_LEAST = 0.04  # of the way from bound to bound: what the axis of k shows
_BANDS = {"all": "all images", "90 %": "90 %", "50 %": "half of them"}  # by the role that draws them
_IMAGES = Axis("images", "images", None, (0, None))


def k_quantiles(k: xr.DataArray, quantiles: Sequence[float] = QUANTILES) -> xr.DataArray:
    """Quantiles of k ``(epoch, image)`` over the images, ``(quantile, epoch)``; by default those that bands show."""
    values = np.asarray(k.transpose("image", "epoch"), float)
    found = np.full((len(quantiles), k.sizes["epoch"]), np.nan)
    if np.isfinite(values).all() and len(values):
        found = np.quantile(values, quantiles, axis=0)
    else:
        for epoch, finite in enumerate(column[np.isfinite(column)] for column in values.T):
            found[:, epoch] = np.quantile(finite, quantiles) if len(finite) else np.nan
    coords = {"quantile": list(quantiles), "epoch": k.epoch}
    return xr.DataArray(found, coords, ("quantile", "epoch"), "k", k.attrs)


@view(drawn={"epoch", "image", "quantile"}, uses={"k"})
def k_trajectories(
    record: xr.Dataset | xr.DataArray,
    images: Sequence[int] = (),
    classes: Sequence[str] | None = None,
    *,
    picked: int | None = None,
    bounds: Sequence[Bounds] | None = None,
    changes: Sequence[tuple[float, Change]] | None = None,
    epochs: float | None = None,
    every_image: bool = False,
    n_pixels: int | None = None,
    label: str | None = None,
    others: Others = (),
) -> Sketch:
    """k of all images as bands, and of chosen ones as lines, coloured by their class.

    Parameters
    ----------
    record
        A training record; or k ``(epoch, image)``, for example from `simulate_k`; or its `k_quantiles`.
    images
        Positions of the images with lines of their own.
    classes
        ``"I"`` or ``"II"`` of each of them; by default not judged.
    picked
        Position of one image that stands out.
    bounds
        Of k, in its unit, from an epoch on; by default the record's. Those far from all k lie beyond the axis.
    changes, epochs
        As in `losses`.
    every_image
        A thin line for each image instead of bands, where there are not more than a thousand.
    n_pixels
        Where the axis of k ends; None ends it with the data.
    label
        The title; by default the number of images.
    others
        Other trainings, as of `rival_lines`, with k or its `k_quantiles`: their medians.

    Examples
    --------
    >>> from smoot_explore import bundled_runs, views
    >>> [layer.label for layer in views.k_trajectories(bundled_runs()[2].record())][:4]
    ['all images', '90 %', 'half of them', 'median']
    """
    if isinstance(record, xr.Dataset):
        k = _from_the_start(record)
        bounds = recorded_bounds(record) if bounds is None else bounds
        changes = recorded_changes(record) if changes is None else changes
    else:
        k = record
    n_images, at = k.sizes.get("image"), k.epoch.values.astype(float)
    if every_image and n_images is not None and n_images <= MOST_LINES:
        layers = [_lines("Every image", k, "every image", _MOST_POINTS)]
        quantiles = k_quantiles(k, (0.5, 1.0))
    else:
        quantiles = k if "quantile" in k.dims else k_quantiles(k)
        layers = [
            band(f"Band {share}", at, quantiles.values[i], quantiles.values[-1 - i], text)
            for i, (share, text) in enumerate(_BANDS.items())
        ]
    end = epochs if epochs is not None else at[-1] if len(at) else 0.0
    layers += [
        *rival_lines(others, _median, "median"),
        curve("Median", at, quantiles.sel(quantile=0.5).values, "median"),
        *_bound_lines(bounds or (), end),
        *flags(changes or (), float(np.nanmax(quantiles.values, initial=1.0))),
        *_class_lines(k.isel(image=list(images)) if len(images) else None, classes),
        _lines("Picked", None if picked is None else k.isel(image=[picked]), "picked image", None),
    ]
    if label is None:
        label = "k of all images" if n_images is None else f"k of {n_images:,} images"
    y = _k_axis(k, _followed(layers, bounds or ()) if n_pixels is None else (0, n_pixels))
    return Sketch("K trajectories", label, axis(k.epoch, (0, epochs)), y, tuple(layers))


@view(drawn={"epoch", "image"})
def single_k(
    k: xr.DataArray,
    classes: Sequence[str] | None = None,
    *,
    names: Sequence[str] | None = None,
    changes: Sequence[tuple[float, Change]] = (),
    epochs: float | None = None,
    framed: int | None = None,
    at: float | None = None,
    label: str = "k of the watched images",
) -> Sketch:
    """k ``(epoch, image)`` of a few images, a line each, coloured by their class.

    Parameters
    ----------
    classes
        ``"I"`` or ``"II"`` of each of them; by default not judged.
    names
        Of the images, told by the pointer.
    changes, epochs
        As in `losses`.
    framed
        Place of one that stands out among them.
    at
        An epoch at which each line has a mark; NaN for none yet.
    label
        The title.
    """
    top = float(np.nanmax(k.values, initial=1.0))
    there = framed is not None and framed < k.sizes["image"]
    one = _lines("Framed", k.isel(image=[framed]) if there else None, "the framed image", None)
    layers = [*_class_lines(k, classes, names), one, *flags(changes, top)]
    if at is not None:
        now = k.sel(epoch=[at] if at in k.epoch else []).transpose("epoch", "image")
        layers.append(
            points("Marker", np.repeat(now.epoch, now.sizes["image"]), now.values.ravel(), "this epoch")
        )
    return Sketch("K of single images", label, axis(k.epoch, (0, epochs)), _k_axis(k), tuple(layers))


def _one_epoch(record: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """A record as what the histogram draws: k, with the bounds and where the axis ends, for all epochs."""
    if isinstance(record, xr.DataArray):
        return record.rename("k").to_dataset()
    attrs = {"bounds": recorded_bounds(record), "reach": _reach(record.k.values, None)}
    return record[["k"]].drop_vars(["image_id", "label"], errors="ignore").assign_attrs(attrs)


@view(drawn={"image"}, prepare=_one_epoch)
def k_histogram(
    record: xr.Dataset | xr.DataArray,
    bounds: Sequence[float] | None = None,
    *,
    n_pixels: int | None = None,
    bins: int = 40,
    label: str = "k of the images",
) -> Sketch:
    """How many images have which k.

    Parameters
    ----------
    record
        A training record, whose epochs become a slider; or k of the images at one time, ``(image,)``.
    bounds
        Lowest and highest k allowed, in its unit; by default the record's at the epoch.
    n_pixels
        Where the axis ends; None takes the part of it where images are.
    bins
        Number of bars.
    label
        The title.
    """
    values = record.k.values
    reach = record.attrs.get("reach") if n_pixels is None else None
    counts, edges = np.histogram(values[np.isfinite(values)], bins, reach or _reach(values, n_pixels))
    at = bounds if bounds is not None else ()
    if bounds is None and "bounds" in record.attrs and record.k.size:
        at = bounds_at(record.attrs["bounds"], float(record.epoch))[1:]
    layers = (histogram("K", edges, counts), upright("Bound", at))
    return Sketch("K histogram", label, _k_axis(record.k, (edges[0], edges[-1])), _IMAGES, layers)


def k_spread(record: xr.Dataset, n_images: int = 40, seed: int = 0) -> Any:
    """How k spreads over a training: all images as bands with some single ones, and beside them where they end.

    Bounds of k are drawn where it comes near them; the title tells them all.

    Parameters
    ----------
    record
        A training record with at least one epoch and image.
    n_images
        Single images shown.
    seed
        Of their choice.

    Raises
    ------
    ValueError
        When the record has no k.

    Examples
    --------
    >>> from smoot_explore import bundled_runs, views
    >>> views.k_spread(bundled_runs()[2].record()).label
    'k of 10,000 training images, bounds 157 and 627 of 784 pixels'
    """
    import holoviews as hv

    if not record.k.size:
        raise ValueError(
            f"k has not moved yet in a record of {dict(record.k.sizes)}; give at least one epoch and image"
        )
    n, n_pixels, bounds = record.sizes["image"], record.attrs["n_pixels"], recorded_bounds(record)
    some = np.sort(np.random.default_rng(seed).choice(n, min(n_images, n), replace=False))
    k, margin = _from_the_start(record), 0.1 * n_pixels
    near = (
        float(k.min()) < max(b.k_min for b in bounds) + margin
        or float(k.max()) > min(b.k_max for b in bounds) - margin
    )
    way = k_trajectories.sketch(record, bounds=bounds if near else (), changes=(), label="over the epochs")
    outermost, _, _, *lines = way.layers
    singles = _lines("Every image", k.isel(image=some), f"{len(some)} of them", None)
    ends = record.k.isel(epoch=-1)
    told = " and ".join(f"{value:.0f}" for value in bounds[0][1:])
    if len(bounds) > 1:
        told += ", in the end " + " and ".join(f"{value:.0f}" for value in bounds[-1][1:])
    return hv.Layout(
        [
            element(way._replace(layers=(outermost, singles, *lines))),
            k_histogram(ends, bounds[-1][1:] if near else (), label=f"after epoch {int(ends.epoch)}"),
        ],
        label=f"k of {n:,} training images, bounds {told} of {n_pixels} {_k_axis(k).unit}",
    )


def _median(k: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    quantiles = k if "quantile" in k.dims else k_quantiles(k)
    return k.epoch.values.astype(float), quantiles.sel(quantile=0.5).values


def _k_axis(k: xr.DataArray, range: tuple[float | None, float | None] = (None, None)) -> Axis:
    """The axis of k: pixels, or patches."""
    return Axis("k", "k", k.attrs.get("units", "pixels"), range)


def _followed(layers: Sequence[Layer], bounds: Sequence[Bounds]) -> tuple[float | None, float | None]:
    """Where the axis of k begins and ends: with the data, and with a bound that they come near; a far one would
    flatten them."""
    free = Axis("k", "k")
    found = extent(Sketch("", "", free, free, tuple(one for one in layers if one.role != "Bound")), 1)
    if found is None:
        return None, None
    low, high = found
    levels = [level for bound in bounds for level in bound[1:]]
    least = _LEAST * (max(levels) - min(levels)) if levels else 0.0
    room = max(0.0, least - (high - low)) / 2
    low, high = low - room, high + room
    near = (high - low) / 4
    return (
        min([low, *(level for level in levels if low - near < level)]),
        max([high, *(level for level in levels if level < high + near)]),
    )


def _bound_lines(bounds: Sequence[Bounds], end: float) -> list[Layer]:
    """The lower and the upper bound of k as steps, until the epoch ``end``."""
    layers = []
    for name, label in (("k_min", "bounds"), ("k_max", "")):
        places, levels = list[float](), list[float]()
        ends = [*(b.epoch for b in bounds[1:]), max([end, *(b.epoch for b in bounds)])]
        for bound, until in zip(bounds, ends, strict=False):
            places += [bound.epoch, until]
            levels += [getattr(bound, name)] * 2
        layers.append(curve("Bound", places, levels, label))
    return layers


def _class_lines(
    k: xr.DataArray | None, classes: Sequence[str] | None, names: Sequence[str] | None = None
) -> list[Layer]:
    """Trajectories ``(epoch, image)`` of class I, of class II, and of those not judged."""
    n = 0 if k is None else k.sizes["image"]
    kinds = np.array(["?"] * n if classes is None else list(classes), str)
    named = np.array([str(i) for i in range(n)] if names is None else list(names), str)
    first, second = kinds == "I", kinds == "II"
    groups = {"Class I": first, "Class II": second, "Not judged": ~first & ~second}
    return [
        _lines(role, None if k is None else k.isel(image=np.flatnonzero(chosen)),
               role[0].lower() + role[1:] if classes is not None else "", None, named[chosen])
        for role, chosen in groups.items()
    ]  # fmt: skip


def _lines(
    role: str, k: xr.DataArray | None, label: str, most: int | None, names: np.ndarray | None = None
) -> Layer:
    """A line for each image, as one curve with gaps: one array to send and one path to draw, however many."""
    if k is None or not k.size:
        return curve(role, [], [], label, None if names is None else {"image": []})
    values, epochs = np.asarray(k.transpose("image", "epoch"), np.float32), k.epoch.values.astype(np.float32)
    if most is not None and len(epochs) > most:
        # Two epochs in a row each time: k that jumps to and fro must be seen to do so.
        first = np.linspace(0, len(epochs) - 2, most // 2).round().astype(int)
        rows = np.unique([first, first + 1])
        values, epochs = values[:, rows], epochs[rows]
    gap = np.full((len(values), 1), np.nan, np.float32)
    at, height = np.tile(np.append(epochs, np.nan), len(values)), np.hstack([values, gap]).ravel()
    return curve(
        role, at, height, label, None if names is None else {"image": np.repeat(names, len(epochs) + 1)}
    )


def _from_the_start(record: xr.Dataset) -> xr.DataArray:
    """k of a record with where it began, as epoch 0."""
    start = start_config(record)
    if not record.sizes["epoch"]:
        return record.k
    value = start_k(start, record.attrs["n_pixels"])
    first = xr.full_like(record.k.isel(epoch=slice(1)), value).assign_coords(epoch=[0])
    return xr.concat([first, record.k], "epoch")


def _reach(values: np.ndarray, n_pixels: int | None) -> tuple[float, float]:
    if n_pixels is not None:
        return 0.0, float(n_pixels)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    middle = float(np.median(finite))
    reach = max(20.0, 1.1 * float(np.abs(finite - middle).max()))
    return max(0.0, middle - reach), middle + reach
