"""Still figures by Matplotlib, for reports and papers."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from smoot_explore.core.bounds import recorded_bounds
from smoot_explore.core.classes import accuracy_drop, drop_auc, image_class, peak_fraction
from smoot_explore.files import write_atomically
from smoot_explore.schema import start_config
from smoot_explore.views.palette import CLASS_COLOURS, COLOURS, METHOD_NAMES, in_words
from smoot_explore.views.pixels import saliency_limit


def accuracy_drop_figure(curves: Mapping[str, xr.Dataset]) -> Figure:
    """Accuracy against the masked share, a panel for each fill, a line for each training method.

    ``curves`` maps a training method to the masking curves of its model.
    """
    first = next(iter(curves.values()))
    fills = np.atleast_1d(first.fill.values)
    figure = Figure(figsize=(3.6 * len(fills) + 0.6, 3.6), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(fills), sharey=True))
    for axis, fill in zip(axes, fills, strict=True):
        for name, dataset in curves.items():
            chosen = dataset.sel(fill=fill) if "fill" in dataset.dims else dataset
            axis.plot(
                100 * chosen.masked_fraction,
                accuracy_drop(chosen),
                color=COLOURS[name],
                label=f"{METHOD_NAMES[name]}, AUC {float(drop_auc(chosen)):.1f}",
            )
        axis.set(title=f"{fill} fill", xlabel="masked pixels (%)", xlim=(0, 100), ylim=(0, 100))
        axis.legend(frameon=False, fontsize="small")
        plain(axis)
    axes[0].set_ylabel("test accuracy (%)")
    figure.suptitle(
        f"Accuracy drop: {_protocol(first)}, n = {first.sizes['image']:,} test images",
        fontsize="medium",
    )
    return figure


def accuracy_drop_spread_figure(curves: Mapping[str, Sequence[xr.Dataset]], title: str) -> Figure:
    """Accuracy against the masked share over several seeds: the mean as a line, one standard deviation as a band.

    Parameters
    ----------
    curves
        For each training method, the masking curves of its models, one for each seed, with the same fills and one
        attribution method. One seed has no band.
    title
        Said above, before the protocol: which data.
    """
    first = next(iter(curves.values()))[0]
    fills = np.atleast_1d(first.fill.values)
    figure = Figure(figsize=(3.6 * len(fills) + 0.6, 3.6), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(fills), sharey=True))
    for axis, fill in zip(axes, fills, strict=True):
        for name, datasets in curves.items():
            chosen = [d.sel(fill=fill) if "fill" in d.dims else d for d in datasets]
            drops = np.stack([np.squeeze(accuracy_drop(d).values) for d in chosen])  # (seeds, levels)
            area = np.mean([float(drop_auc(d).squeeze()) for d in chosen])
            percent, mean = 100 * first.masked_fraction.values, drops.mean(0)
            label = f"{METHOD_NAMES[name]}, AUC {area:.1f}"
            axis.plot(percent, mean, color=COLOURS[name], label=label)
            if len(drops) > 1:
                sd = drops.std(0, ddof=1)
                axis.fill_between(percent, mean - sd, mean + sd, color=COLOURS[name], alpha=0.2, lw=0)
        axis.set(title=f"{fill} fill", xlabel="masked pixels (%)", xlim=(0, 100), ylim=(0, 100))
        axis.legend(frameon=False, fontsize="small")
        plain(axis)
    axes[0].set_ylabel("test accuracy (%)")
    n_seeds = len(next(iter(curves.values())))
    band = f"mean ± standard deviation of {n_seeds} seeds" if n_seeds > 1 else "one seed"
    figure.suptitle(
        f"{title}: {_protocol(first)}, n = {first.sizes['image']:,} test images, {band}", fontsize="medium"
    )
    return figure


def k_trajectories_figure(record: xr.Dataset, n_images: int = 40, seed: int = 0) -> Figure:
    """k of every training image over the epochs: range, median and some single images; and where it ends."""
    k, n_pixels = record.k, record.attrs["n_pixels"]
    config = start_config(record)
    start = config["k_init"] * n_pixels
    epochs = np.concatenate([[0], record.epoch.values])
    values = np.vstack([np.full(k.sizes["image"], start), k.values])
    some = np.random.default_rng(seed).choice(values.shape[1], min(n_images, values.shape[1]), replace=False)
    figure = Figure(figsize=(7.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    left.fill_between(
        epochs, values.min(1), values.max(1), color="#D55E00", alpha=0.15, lw=0, label="all images"
    )
    left.plot(epochs, values[:, some], color="#D55E00", alpha=0.35, lw=0.7)
    left.plot(epochs, np.median(values, 1), color="black", lw=1.8, label="median")
    left.set(xlabel="epoch", ylabel="k (pixels)", xlim=(0, epochs[-1]))
    left.legend(frameon=True, framealpha=1, edgecolor="none", fontsize="small", loc="upper left")
    right.hist(values[-1], bins=40, orientation="horizontal", color="#D55E00", alpha=0.7)
    right.set_xlabel(f"images at epoch {epochs[-1]}")
    bounds = recorded_bounds(record)
    margin = 0.1 * n_pixels
    lowest, highest = max(b.k_min for b in bounds) + margin, min(b.k_max for b in bounds) - margin
    bounds_in_view = values.min() < lowest or values.max() > highest
    places = [*(b.epoch for b in bounds), epochs[-1]]
    for path in zip(*((b.k_min, b.k_max) for b in (*bounds, bounds[-1])), strict=True):
        if bounds_in_view:
            left.step(places, path, where="post", color="#555555", lw=0.8, ls=":")
            right.axhline(path[-1], color="#555555", lw=0.8, ls=":")
    for axis in (left, right):
        plain(axis)
    told = f"{bounds[0].k_min:.0f} and {bounds[0].k_max:.0f}"
    if len(bounds) > 1:
        told += f", in the end {bounds[-1].k_min:.0f} and {bounds[-1].k_max:.0f}"
    figure.suptitle(
        f"k of {values.shape[1]:,} training images, bounds {told} of {n_pixels} pixels", fontsize="medium"
    )
    return figure


def masking_curves_figure(curves: xr.Dataset) -> Figure:
    """The paper's Figure 1: mean curves of class I and class II, and three single images of each.

    Of class I the surest images; of class II, for each third of the masked share, the image that rises most
    with its peak there, marked by a dot.
    """
    classes, peaks = image_class(curves), peak_fraction(curves)
    start = curves.probability.isel(masked_fraction=0)
    rise = (curves.probability.max("masked_fraction") - start).values
    percent = 100 * curves.masked_fraction
    figure = Figure(figsize=(8, 4.1), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, name in zip(axes, ("I", "II"), strict=True):
        members = np.flatnonzero(classes == name)
        if name == "I":
            shown = list(members[np.argsort(-start.values[members], kind="stable")][:3])
        else:
            third = np.minimum((3 * peaks.values[members]).astype(int), 2)
            shown = [max(members[third == t], key=lambda i: rise[i]) for t in range(3) if (third == t).any()]
        for i in shown:
            one = curves.probability.isel(image=i)
            label = f"images of class {name}" if i == shown[0] else None
            axis.plot(percent, one, color=CLASS_COLOURS[name], lw=1, alpha=0.9, label=label)
            if name == "II":
                axis.plot(100 * peaks[i], one.max(), "o", color=CLASS_COLOURS[name], ms=5)
        if len(members):
            mean = curves.probability.isel(image=members).mean("image")
            label = "mean of the class" if name == "I" else None
            axis.plot(percent, mean, color="black", lw=2, label=label)
        share = 100 * len(members) / curves.sizes["image"]
        axis.set(title=f"class {name}: {share:.0f} % of the images", xlabel="masked pixels (%)")
        axis.set(xlim=(0, 100), ylim=(0, 1.02))
        plain(axis)
    axes[0].set_ylabel("probability of the label")
    of_run = f" of {curves.attrs['run']}" if "run" in curves.attrs else ""
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    figure.suptitle(
        f"Masking curves{of_run}\n{_protocol(curves)}, {curves.fill.item()} fill, tolerance "
        f"{classes.attrs['tolerance']:g}, n = {curves.sizes['image']:,}",
        fontsize="medium",
    )
    return figure


def saliency_figure(
    images: np.ndarray, maps: Mapping[str, np.ndarray], titles: Sequence[str], own_scales: bool = False
) -> Figure:
    """Images above their saliency by each training method.

    Colour scales are symmetric about 0 and end at the 99.5th percentile of the magnitudes.

    Parameters
    ----------
    images
        uint8 ``(N, C, H, W)``.
    maps
        For each training method, signed saliency ``(N, H, W)``.
    titles
        A title for each image.
    own_scales
        By default all methods share one colour scale, that of the method with the largest saliency: it shows
        how much they differ in size. Otherwise each has its own: it shows where their saliency lies.
    """
    n = len(images)
    rows = 1 + len(maps)
    figure = Figure(figsize=(1.15 * n + 1.3, 1.25 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, n, squeeze=False)
    for column in range(n):
        picture = np.moveaxis(images[column], 0, -1)
        axes[0, column].imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255)
        axes[0, column].set_title(titles[column], fontsize="small")
    axes[0, 0].set_ylabel("image", fontsize="small")
    shared_limit = saliency_limit(maps.values())
    for row, (name, saliency) in enumerate(maps.items(), start=1):
        limit = saliency_limit([saliency]) if own_scales else shared_limit
        for column in range(n):
            drawn = axes[row, column].imshow(saliency[column], cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes[row, 0].set_ylabel(METHOD_NAMES[name], fontsize="small")
        if own_scales:
            _colour_bar(figure, drawn, axes[row], aspect=12)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    if maps and not own_scales:
        bar = _colour_bar(figure, drawn, axes[1:], shrink=0.8, aspect=30)
        bar.set_label("gradient of the label's logit")
    return figure


def _colour_bar(figure: Figure, drawn: AxesImage, axes: np.ndarray, **options: Any) -> Colorbar:
    bar = figure.colorbar(drawn, ax=axes, pad=0.01, **options)
    bar.ax.tick_params(labelsize="small")
    return bar


def save_figure(figure: Figure, path: Path) -> list[Path]:
    """Write the figure as PNG and SVG beside each other; ``path`` has no suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = [path.with_name(f"{path.name}.{kind}") for kind in ("png", "svg")]
    for target in written:
        write_atomically(target, functools.partial(figure.savefig, format=target.suffix[1:], dpi=150))
    return written


def png(figure: Figure) -> bytes:
    """A figure as a PNG for the screen."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def plain(axis: Axes) -> None:
    """A light grid, and no frame above and on the right."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)


def _protocol(curves: xr.Dataset) -> str:
    attributions = ", ".join(in_words(str(m)) for m in np.atleast_1d(curves.attribution.values))
    return f"{attributions} ({curves.attrs['ranking']}), {curves.attrs['order']} first"
