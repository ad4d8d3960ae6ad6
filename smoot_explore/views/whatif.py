"""k on the k-landscape: every image's trajectory, where they settle, and one image's map with its cobweb."""

from __future__ import annotations

import numpy as np
import xarray as xr
from bokeh.models import ColumnDataSource, Range1d, Span

from smoot_explore.views.canvas import legend, new_figure
from smoot_explore.views.palette import COLOURS, NEUTRAL, SELECTED, SERIES

MOST_POINTS = 21  # of a trajectory of which hundreds are drawn; those picked out are drawn whole


class TrajectoriesView:
    """k of every image of a landscape over the epochs."""

    def __init__(self, height: int = 340) -> None:
        self.epochs, self.pixels = Range1d(0, 1), Range1d(0, 1)
        self.figure = new_figure(
            "k of every image", "epoch", "k (pixels)", name="what-if", height=height, x_range=self.epochs,
            y_range=self.pixels,
        )  # fmt: skip
        # One line with gaps: a single array to send and a single path to draw, whatever the number of images.
        self.all = ColumnDataSource({"epoch": [], "k": []}, name="what-if-trajectories")
        self.figure.line(
            "epoch", "k", source=self.all, color=COLOURS["smoot"], alpha=0.3, legend_label="every image"
        )
        self.median = ColumnDataSource({"epoch": [], "k": []})
        self.figure.line(
            "epoch", "k", source=self.median, color=SERIES[1], line_width=2.5, legend_label="median"
        )
        self.one = ColumnDataSource({"epoch": [], "k": []})
        self.figure.line(
            "epoch", "k", source=self.one, color=SELECTED, line_width=3, legend_label="picked image"
        )
        self.bounds = [
            Span(dimension="width", line_color=NEUTRAL, line_dash="dotted", visible=False) for _ in range(2)
        ]
        for bound in self.bounds:
            self.figure.add_layout(bound)
        legend(self.figure, "top_left")
        self.figure.legend.orientation = "horizontal"
        self._shape: tuple[int, int] | None = None

    def show(self, k: xr.DataArray, picked: int, n_pixels: int, bounds: tuple[float, float]) -> None:
        """Trajectories ``(epoch, image)`` from `simulate_k`, and the bounds, in pixels."""
        values = k.values.astype(np.float32)
        epochs = k.epoch.values.astype(np.float32)
        rows = np.unique(np.linspace(0, len(epochs) - 1, min(len(epochs), MOST_POINTS)).round().astype(int))
        drawn = values[rows]
        with_gaps = np.vstack([drawn, np.full(drawn.shape[1], np.nan, np.float32)]).T.ravel()
        if self._shape != values.shape:
            self._shape = values.shape
            self.all.data = {
                "epoch": np.tile(np.append(epochs[rows], np.nan), values.shape[1]),
                "k": with_gaps,
            }
        else:
            self.all.data["k"] = with_gaps  # the epochs need not be sent again
        self.epochs.end, self.pixels.end = float(epochs[-1]), n_pixels
        self.median.data = {"epoch": epochs, "k": np.median(values, 1)}
        self.one.data = {"epoch": epochs, "k": values[:, picked]}
        for span, bound in zip(self.bounds, bounds, strict=True):
            span.location, span.visible = bound, True

    def image_at(self, epoch: float, k: float) -> int | None:
        """The image whose trajectory passes closest to a place in the figure."""
        if self._shape is None:
            return None
        n_images = self._shape[1]
        values = np.asarray(self.all.data["k"]).reshape(n_images, -1)[:, :-1]
        epochs = np.asarray(self.all.data["epoch"]).reshape(n_images, -1)[0, :-1]
        return int(np.abs(values[:, np.abs(epochs - epoch).argmin()] - k).argmin())


class CobwebView:
    """One image's map from k to the next k, with the steps that its k takes on it."""

    def __init__(self, height: int = 300) -> None:
        self.now, self.next = Range1d(0, 1), Range1d(0, 1)
        self.figure = new_figure(
            "One image's map", "k now (pixels)", "k after the next visit (pixels)", name="cobweb",
            height=height, x_range=self.now, y_range=self.next,
        )  # fmt: skip
        self.map = ColumnDataSource({"x": [], "y": []})
        self.diagonal = ColumnDataSource({"x": [], "y": []})
        self.steps = ColumnDataSource({"x": [], "y": []})
        self.start = ColumnDataSource({"x": [], "y": []})
        for source, label, colour, dash, width in (
            (self.diagonal, "k stays", NEUTRAL, "dotted", 1.5),
            (self.map, "next k", COLOURS["smoot"], "solid", 2.5),
            (self.steps, "steps", SELECTED, "solid", 1.2),
        ):
            self.figure.line(
                "x", "y", source=source, color=colour, line_dash=dash, line_width=width, legend_label=label
            )
        self.figure.scatter("x", "y", source=self.start, color=SELECTED, size=8, legend_label="start")
        legend(self.figure, "top_left")

    def show(self, grid: np.ndarray, next_k: np.ndarray, k: np.ndarray) -> None:
        """The map ``grid`` → ``next_k`` and a trajectory ``k``, all in pixels."""
        self.map.data = {"x": grid, "y": next_k}
        self.diagonal.data = {"x": grid[[0, -1]], "y": grid[[0, -1]]}
        x = np.repeat(k, 2)[:-1]
        y = np.concatenate([[k[0]], np.repeat(k[1:], 2)])
        self.steps.data = {"x": x, "y": y}
        self.start.data = {"x": k[:1], "y": k[:1]}
        # Close to the diagonal at most α: zoom to where the steps are.
        # In whole steps, because every change of an axis makes the browser lay out the figure anew.
        margin = max(0.15 * float(np.ptp(k)), 0.03 * grid[-1])
        unit = grid[-1] / 20
        low = max(np.floor((float(k.min()) - margin) / unit) * unit, 0.0)
        high = min(np.ceil((float(k.max()) + margin) / unit) * unit, float(grid[-1]))
        for axis in (self.now, self.next):
            axis.start, axis.end = low, high
