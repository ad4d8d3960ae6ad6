"""Still figures by Matplotlib for the course: one idea each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from smoot_explore.core.classes import image_class
from smoot_explore.core.effect import MaskingEffect
from smoot_explore.data.images import Split
from smoot_explore.views.figures import plain
from smoot_explore.views.palette import CLASS_COLOURS, COLOURS, NEUTRAL, SERIES
from smoot_explore.views.pixels import saliency_limit


def images_figure(split: Split, titles: Sequence[str] | None = None) -> Figure:
    """Images in one row, by default with their labels."""
    titles = titles or [split.class_names[int(label)] for label in split.labels]
    figure = Figure(figsize=(1.2 * len(split), 1.5), layout="constrained")
    for axis, image, title in zip(
        np.atleast_1d(figure.subplots(1, len(split))), split.images.numpy(), titles, strict=True
    ):
        show_picture(axis, image, title)
    return figure


def effect_figure(split: Split, seen: MaskingEffect, titles: Sequence[str] | None = None) -> Figure:
    """Images, their saliency, and what masking leaves of them, in three rows."""
    titles = titles or [split.class_names[int(label)] for label in split.labels]
    figure = Figure(figsize=(1.2 * len(split) + 0.6, 4.1), layout="constrained")
    axes = figure.subplots(3, len(split), squeeze=False)
    limit = saliency_limit([seen.saliency])
    for i, column in enumerate(axes.T):
        label = int(split.labels[i])
        show_picture(column[0], split.images[i].numpy(), titles[i])
        show_saliency(column[1], seen.saliency[i], limit)
        show_picture(column[2], seen.masked_images[i])
        clean, masked = (100 * p[i, label] for p in (seen.clean_probabilities, seen.masked_probabilities))
        column[2].set_xlabel(f"{clean:.0f} → {masked:.0f} %", fontsize="small")
    for axis, name in zip(axes[:, 0], ("image", "saliency", "masked"), strict=True):
        axis.set_ylabel(name, fontsize="small")
    return figure


def class_share_figure(curves: xr.Dataset) -> Figure:
    """Share of class II against the tolerance, a line for each fill."""
    tolerances = np.linspace(0, 0.3, 31)
    figure = Figure(figsize=(5.6, 3.2), layout="constrained")
    axis = figure.subplots()
    for fill, colour in zip(np.atleast_1d(curves.fill.values), SERIES, strict=False):
        one = curves.sel(fill=fill) if "fill" in curves.dims else curves
        shares = [100 * float((image_class(one, t) == "II").mean()) for t in tolerances]
        axis.plot(tolerances, shares, color=colour, label=f"{fill} fill")
    axis.set(
        xlabel="tolerance (probability)", ylabel="class II (% of the images)", xlim=(0, 0.3), ylim=(0, None)
    )
    axis.axhline(16, color=NEUTRAL, ls=":", lw=1, label="the paper's 16 % (CIFAR-10)")
    axis.legend(frameon=False, fontsize="small")
    plain(axis)
    return figure


def curve_figure(split: Split, seen: MaskingEffect, curves: xr.Dataset, masked_fraction: float) -> Figure:
    """One image at one masked share beside its masking curve.

    ``split``, ``seen`` and ``curves`` hold one image each; ``seen`` is of that share.
    """
    figure = Figure(figsize=(7.6, 2.5), layout="constrained")
    picture, saliency, masked, axis = figure.subplots(1, 4, width_ratios=(1, 1, 1, 2))
    name = split.class_names[int(split.labels[0])]
    show_picture(picture, split.images[0].numpy(), name)
    show_saliency(saliency, seen.saliency[0], saliency_limit([seen.saliency]), "saliency")
    show_picture(masked, seen.masked_images[0], f"{100 * masked_fraction:.0f} % masked")
    kind = str(image_class(curves).values[0])
    percent, probability = 100 * curves.masked_fraction.values, curves.probability.values[0]
    axis.plot(percent, probability, color=CLASS_COLOURS[kind], marker="o", ms=3)
    axis.axvline(100 * masked_fraction, color=NEUTRAL, ls="--", lw=1)
    axis.set(
        xlabel="masked pixels (%)", ylabel=f"probability of {name}", ylim=(0, 1.02), title=f"class {kind}"
    )
    plain(axis)
    return figure


def steps_figure(pictures: Mapping[str, np.ndarray]) -> Figure:
    """Stages of one image by title: uint8 images ``(C, H, W)``, boolean masks or saliency maps ``(H, W)``."""
    figure = Figure(figsize=(1.9 * len(pictures), 2.2), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(pictures)))
    for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
        if picture.ndim == 3:
            show_picture(axis, picture, title)
        elif picture.dtype == bool:
            axis.imshow(picture, cmap="gray_r", vmin=0, vmax=1.6)
            axis.set(title=title, xticks=[], yticks=[])
        else:
            show_saliency(axis, picture, saliency_limit([picture]), title)
        axis.title.set_fontsize("small")
    return figure


def cobweb_figure(
    landscape: xr.Dataset, image: int, trajectory: np.ndarray, alpha: float, beta: float
) -> Figure:
    """One image of a k-landscape: Δ(k) with its two parts, and the way that its k takes.

    Parameters
    ----------
    landscape
        From `k_landscape`.
    image
        Position among its images.
    trajectory
        k of this image at each epoch, from `simulate_k`.
    alpha, beta
        Of the trajectory.
    """
    one = landscape.isel(image=image)
    delta = beta * one.label_change + (1 - beta) * one.runners_up_change
    figure = Figure(figsize=(7.8, 3.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.axhline(0, color=NEUTRAL, lw=0.8)
    left.plot(one.k, one.label_change, color=SERIES[1], lw=1, label="Δ₁, the label")
    left.plot(one.k, one.runners_up_change, color=SERIES[2], lw=1, label="Δ₂…ₙ, the runners-up")
    left.plot(one.k, delta, color="black", lw=2, label=f"Δ with β = {beta:.2f}")
    at_k = np.interp(trajectory, one.k, delta)
    left.plot(trajectory, at_k, "o", color=COLOURS["smoot"], ms=3, label="k, epoch by epoch")
    left.set(xlabel="k (pixels)", ylabel="change of probability", xlim=(0, landscape.attrs["n_pixels"]))
    left.legend(frameon=False, fontsize="x-small")
    right.plot(trajectory, color=COLOURS["smoot"])
    right.set(
        xlabel="epoch", ylabel="k (pixels)", title=f"α = {alpha:g}", ylim=(0, landscape.attrs["n_pixels"])
    )
    name = json.loads(landscape.attrs["class_names"])[int(one.label)]
    figure.suptitle(f"training image {int(one.image_id)} ({name})", fontsize="medium")
    for axis in (left, right):
        plain(axis)
    return figure


def trajectories_figure(k: xr.DataArray, n_pixels: int, bounds: tuple[float, float]) -> Figure:
    """k of all images from `simulate_k`: every trajectory, the median, and the bounds (fractions)."""
    figure = Figure(figsize=(7.6, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    left.plot(k.epoch, k, color=COLOURS["smoot"], lw=0.5, alpha=0.25)
    left.plot(k.epoch, k.median("image"), color="black", lw=1.8, label="median")
    right.hist(k.isel(epoch=-1), bins=40, orientation="horizontal", color=COLOURS["smoot"], alpha=0.7)
    for axis in (left, right):
        for bound in bounds:
            axis.axhline(bound * n_pixels, color=NEUTRAL, lw=0.8, ls=":")
        plain(axis)
    left.set(xlabel="epoch", ylabel="k (pixels)", ylim=(0, n_pixels), title=f"{k.sizes['image']} images")
    left.legend(frameon=False, fontsize="small")
    right.set(xlabel=f"images at epoch {int(k.epoch[-1])}")
    return figure


def maps_figure(split: Split, maps: Mapping[str, np.ndarray], titles: Sequence[str] | None = None) -> Figure:
    """Images above rows of saliency maps, each row on its own scale, for maps of different units.

    ``maps`` holds ``(N, H, W)`` by the row's name.
    """
    rows = 1 + len(maps)
    figure = Figure(figsize=(1.2 * len(split) + 1.1, 1.25 * rows), layout="constrained")
    axes = figure.subplots(rows, len(split), squeeze=False)
    titles = titles or [split.class_names[int(label)] for label in split.labels]
    for i in range(len(split)):
        show_picture(axes[0, i], split.images[i].numpy(), titles[i])
    for row, (name, saliency) in zip(axes[1:], maps.items(), strict=True):
        limit = saliency_limit([saliency])
        for axis, one in zip(row, saliency, strict=True):
            show_saliency(axis, one, limit)
        row[0].set_ylabel(name, fontsize="small")
    return figure


def bars_figure(values: Mapping[str, float], label: str, chance: float | None = None) -> Figure:
    """One horizontal bar for each name, with a line where chance lies."""
    figure = Figure(figsize=(7.4, 0.8 + 0.32 * len(values)), layout="constrained")
    axis = figure.subplots()
    axis.barh(list(values), list(values.values()), color=SERIES[1])
    if chance is not None:
        axis.axvline(chance, color=NEUTRAL, ls="--", label="chance")
        axis.legend(frameon=False, fontsize="small")
    axis.invert_yaxis()
    axis.set(xlabel=label)
    plain(axis)
    return figure


def show_picture(axis: Axes, image: np.ndarray, title: str = "") -> None:
    """A uint8 image ``(C, H, W)``."""
    axis.imshow(np.moveaxis(image, 0, -1).squeeze(), cmap="gray", vmin=0, vmax=255)
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize="small")


def show_saliency(axis: Axes, saliency: np.ndarray, limit: float, title: str = "") -> None:
    """Signed saliency ``(H, W)``: blue −limit, white 0, red limit."""
    axis.imshow(saliency, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize="small")
