"""One picture of a training while it runs, for notebooks: made once, its lines moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from smoot_explore.core.bounds import Bounds
from smoot_explore.core.effect import MaskingEffect
from smoot_explore.core.records import Change
from smoot_explore.data.images import Split
from smoot_explore.views.figures import plain
from smoot_explore.views.lessons import show_picture, show_saliency
from smoot_explore.views.palette import COLOURS, NEUTRAL, SERIES
from smoot_explore.views.pixels import saliency_limit


class Moment(NamedTuple):
    """Where a training stands; k in pixels."""

    epoch: float
    cross_entropy: float
    kl: float  # NaN for traditional training
    k_smallest: float
    k_median: float
    k_largest: float
    watched: np.ndarray  # (W,) k of the watched images


class ProgressFigure:
    """Losses, k of all and of the watched images, and what the model sees of these.

    Parameters
    ----------
    watched
        The watched images.
    epochs
        How many there will be.
    n_pixels
        P, the end of the axis of k.
    """

    def __init__(self, watched: Split, epochs: int, n_pixels: int) -> None:
        self._watched, self._epochs, self._n_pixels = watched, epochs, n_pixels
        n = len(watched)
        self.figure = Figure(figsize=(10.6, 5.6), layout="constrained")
        above, below = self.figure.subfigures(2, 1, height_ratios=(1, 1.15))  # type: ignore[misc]
        loss, k, single = above.subplots(1, 3)
        self._pictures = below.subplots(3, n, squeeze=False)
        self._losses = {
            name: loss.plot([], [], color=colour, lw=1.3, label=label)[0]
            for name, colour, label in (
                ("cross_entropy", SERIES[1], "cross-entropy"),
                ("kl", SERIES[0], "KL before λ"),
            )
        }
        self._loss, self._k, self._watched_k = loss, k, single
        loss.set(xlabel="epoch", ylabel="loss (nat)", xlim=(0, epochs))
        k.set(xlabel="epoch", ylabel="k (pixels)", xlim=(0, epochs), ylim=(0, 1.25 * n_pixels))
        single.set(xlabel="epoch", xlim=(0, epochs), title="k of the watched images")
        k.set(title="k of all training images")
        loss.set(title="loss")
        self._range = k.fill_between([], [], [], color=COLOURS["smoot"], alpha=0.2, lw=0, label="all images")
        self._median = k.plot([], [], color=COLOURS["smoot"], lw=2, label="median")[0]
        self._single = [
            single.plot([], [], color=SERIES[i % len(SERIES)], lw=1.3, label=self._name(i))[0]
            for i in range(n)
        ]
        self._bounds = [k.step([], [], where="post", color=NEUTRAL, ls=":", lw=1)[0] for _ in range(2)]
        self._bounds[0].set_label("bounds")
        loss.legend(frameon=False, fontsize="x-small", loc="upper right")
        k.legend(frameon=False, fontsize="x-small", loc="upper center", ncols=3)
        single.legend(frameon=False, fontsize="x-small", loc="upper left", ncols=2)
        for axis in (loss, k, single):
            axis.title.set_fontsize("medium")
            plain(axis)
        self._marks: list = []

    def show(
        self,
        history: Sequence[Moment],
        seen: MaskingEffect | None,
        changes: Sequence[tuple[float, Change]] = (),
        bounds: Sequence[Bounds] = (),
    ) -> None:
        """Draw all that there is: ``changes`` with the epochs at which they took effect, bounds as fractions."""
        if history:
            columns = _columns(history)
            for name, line in self._losses.items():
                line.set_data(columns["epoch"], columns[name])
            self._median.set_data(columns["epoch"], columns["k_median"])
            self._range.set_data(columns["epoch"], columns["k_smallest"], columns["k_largest"])
            for line, one in zip(self._single, columns["watched"].T, strict=True):
                line.set_data(columns["epoch"], one)
            self._loss.relim()
            self._loss.autoscale_view(scalex=False)
            self._loss.set_ylim(bottom=0)
            low, high = columns["watched"].min(), columns["watched"].max()
            reach = max(high - low, 10.0)  # so that small moves of k do not look large
            self._watched_k.set_ylim(low - 0.1 * reach, high + 0.9 * reach)  # room for the legend
        for line, name in zip(self._bounds, ("k_min", "k_max"), strict=True):
            levels = [self._n_pixels * getattr(one, name) for one in (*bounds, *bounds[-1:])]
            line.set_data([*(one.epoch for one in bounds), self._epochs][: len(levels)], levels)
        for mark in self._marks:
            mark.remove()
        self._marks = [
            axis.axvline(epoch, color=NEUTRAL, ls="--", lw=0.8)
            for epoch, _ in changes
            for axis in (self._loss, self._k, self._watched_k)
        ]
        if seen is not None:
            self._show_effect(seen, history[-1].watched if history else None)

    def _show_effect(self, seen: MaskingEffect, k: np.ndarray | None) -> None:
        limit = saliency_limit([seen.saliency])
        for i, column in enumerate(self._pictures.T):
            for axis in column:
                axis.clear()
            show_picture(column[0], self._watched.images[i].numpy(), self._name(i))
            show_saliency(column[1], seen.saliency[i], limit)
            show_picture(column[2], seen.masked_images[i])
            if k is not None:
                column[2].set_xlabel(f"k {k[i]:.0f}", fontsize="small")
        for axis, name in zip(self._pictures[:, 0], ("image", "saliency", "masked"), strict=True):
            axis.set_ylabel(name, fontsize="small")

    def _name(self, i: int) -> str:
        return self._watched.class_names[int(self._watched.labels[i])]


def _columns(history: Sequence[Moment]) -> dict[str, np.ndarray]:
    """The moments' values over time, by name."""
    return {name: np.array([getattr(moment, name) for moment in history]) for name in Moment._fields}
