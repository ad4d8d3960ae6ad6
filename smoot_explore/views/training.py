"""What a training shows while it runs: losses, accuracy, k of all images, k of the watched ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from bokeh.models import ColumnDataSource, Range1d

from smoot_explore.views.canvas import Marks, class_legend, legend, new_figure
from smoot_explore.views.palette import (
    CLASS_COLOURS,
    COLOURS,
    NEUTRAL,
    SERIES,
    UNKNOWN_CLASS_COLOUR,
)

_ROLLOVER = 4000  # points of a streamed curve; the oldest go first


def _append(source: ColumnDataSource, new: dict[str, list]) -> None:
    """Append points to a curve, once within a hold.

    The first ones replace the data: were they streamed in the hold that emptied the curve, the browser would get them
    twice, because what replaces data is sent as it is at the end of the hold.
    """
    if source.data["epoch"]:
        source.stream(new, _ROLLOVER)
    else:
        source.data = {name: values[-_ROLLOVER:] for name, values in new.items()}


class LossView:
    """Cross-entropy and KL term against the epoch, as they come."""

    def __init__(self, height: int = 200) -> None:
        self.epochs = Range1d(0, 1)
        self.figure = new_figure(
            "Loss", "epoch", "loss (nat)", name="loss", height=height, x_range=self.epochs
        )
        self.source = ColumnDataSource({"epoch": [], "cross_entropy": [], "kl": []})
        curves = [
            self.figure.line(
                "epoch", column, source=self.source, color=colour, legend_label=label, line_width=1.5
            )
            for column, label, colour in (
                ("cross_entropy", "cross-entropy", SERIES[1]),
                ("kl", "KL before λ", SERIES[0]),
            )
        ]
        self.figure.y_range.renderers, self.figure.y_range.start = curves, 0
        legend(self.figure)
        self.marks = Marks(self.figure)

    def add(self, epoch: Sequence[float], cross_entropy: Sequence[float], kl: Sequence[float]) -> None:
        """Append points."""
        _append(self.source, {"epoch": list(epoch), "cross_entropy": list(cross_entropy), "kl": list(kl)})

    def clear(self, epochs: int) -> None:
        """Empty it, for a training of so many epochs."""
        self.epochs.end = epochs
        self.source.data = {"epoch": [], "cross_entropy": [], "kl": []}
        self.marks.show([], [])


class AccuracyView:
    """Accuracy on training and test images after each epoch."""

    def __init__(self, height: int = 200) -> None:
        self.epochs = Range1d(0, 1)
        self.figure = new_figure(
            "Accuracy", "epoch", "accuracy (%)", name="accuracy", height=height,
            x_range=self.epochs, y_range=Range1d(0, 100),
            tooltips=[("epoch", "@epoch"), ("test", "@test{0.0} %"), ("training", "@train{0.0} %")],
        )  # fmt: skip
        self.source = ColumnDataSource({"epoch": [], "train": [], "test": []})
        for column, label, colour in (
            ("test", "test images", SERIES[0]),
            ("train", "training images, during the epoch", SERIES[1]),
        ):
            self.figure.line(
                "epoch", column, source=self.source, color=colour, legend_label=label, line_width=2
            )
            self.figure.scatter("epoch", column, source=self.source, color=colour, legend_label=label, size=5)
        legend(self.figure, "bottom_right")
        self.marks = Marks(self.figure)

    def add(self, epoch: Sequence[int], train: Sequence[float], test: Sequence[float]) -> None:
        """Append epochs."""
        _append(self.source, {"epoch": list(epoch), "train": list(train), "test": list(test)})

    def clear(self, epochs: int) -> None:
        """Empty it, for a training of so many epochs."""
        self.epochs.end = epochs
        self.source.data = {"epoch": [], "train": [], "test": []}
        self.marks.show([], [])


class KRangeView:
    """k of all training images over the epochs: lowest, median, highest, and the bounds."""

    def __init__(self, height: int = 230) -> None:
        self.epochs, self.pixels = Range1d(0, 1), Range1d(0, 1)
        self.figure = new_figure(
            "k of all training images", "epoch", "k (pixels)", name="k-range", height=height,
            x_range=self.epochs, y_range=self.pixels,
        )  # fmt: skip
        self.source = ColumnDataSource({"epoch": [], "low": [], "median": [], "high": []})
        self.figure.varea(
            "epoch", "low", "high", source=self.source, color=COLOURS["smoot"], alpha=0.25,
            legend_label="range",
        )  # fmt: skip
        self.figure.line(
            "epoch", "median", source=self.source, color=COLOURS["smoot"], line_width=2, legend_label="median"
        )
        self.bounds = ColumnDataSource({"x": [], "k_min": [], "k_max": []})
        for bound in ("k_min", "k_max"):
            self.figure.step(
                "x", bound, source=self.bounds, color=NEUTRAL, line_dash="dotted", mode="after",
                legend_label="bounds",
            )  # fmt: skip
        legend(self.figure, "top_left")
        self.figure.legend.orientation = "horizontal"
        self.marks = Marks(self.figure)

    def add(
        self, epoch: Sequence[float], low: Sequence[float], median: Sequence[float], high: Sequence[float]
    ) -> None:
        """Append points."""
        new = {"epoch": list(epoch), "low": list(low), "median": list(median), "high": list(high)}
        _append(self.source, new)

    def show_bounds(self, places: Sequence[float], k_min: Sequence[float], k_max: Sequence[float]) -> None:
        """The bounds in pixels, from each place (in epochs) on."""
        self.bounds.data = {"x": list(places), "k_min": list(k_min), "k_max": list(k_max)}
        if len(k_min):
            self.show_range(min(k_min), max(k_max))

    def show_range(self, low: float, high: float) -> None:
        """Show the pixels from ``low`` to ``high``, with room for the legend above."""
        margin = 0.05 * (high - low) + 1
        self.pixels.start, self.pixels.end = low - margin, high + 3 * margin

    def clear(self, epochs: int, n_pixels: int) -> None:
        """Empty it, for a training of so many epochs."""
        self.epochs.end, self.pixels.start, self.pixels.end = epochs, 0, n_pixels
        self.source.data = {"epoch": [], "low": [], "median": [], "high": []}
        self.show_bounds([], [], [])
        self.marks.show([], [])


class WatchedKView:
    """k of the watched images over the epochs, coloured by their class now."""

    def __init__(self, height: int = 230) -> None:
        self.epochs = Range1d(0, 1)
        self.figure = new_figure(
            "k of the watched images", "epoch", "k (pixels)", name="k-watched", height=height,
            x_range=self.epochs, tooltips=[("image", "@name"), ("class", "@group")],
        )  # fmt: skip
        self.source = ColumnDataSource({"xs": [], "ys": [], "name": [], "colour": [], "group": []})
        lines = self.figure.multi_line(
            "xs", "ys", source=self.source, color="colour", line_width=2, alpha=0.85
        )
        self.figure.y_range.renderers, self.figure.y_range.range_padding = [lines], 0.25
        class_legend(self.figure)
        legend(self.figure, "top_left")
        self.figure.legend.orientation = "horizontal"
        self.marks = Marks(self.figure)

    def show(
        self,
        epochs: Sequence[float],
        k: Mapping[int, Sequence[float]],
        names: Sequence[str],
        classes: Sequence[str] | None,
    ) -> None:
        """Trajectories of k by image, all over the same ``epochs``."""
        groups = [f"class {c}" for c in classes] if classes is not None else ["not judged"] * len(names)
        self.source.data = {
            "xs": [np.asarray(epochs, float)] * len(k),
            "ys": [np.asarray(values, float) for values in k.values()],
            "name": list(names),
            "group": groups,
            "colour": [CLASS_COLOURS.get(g.removeprefix("class "), UNKNOWN_CLASS_COLOUR) for g in groups],
        }

    def clear(self, epochs: int) -> None:
        """Empty it, for a training of so many epochs."""
        self.epochs.end = epochs
        self.show([], {}, [], [])
        self.marks.show([], [])
