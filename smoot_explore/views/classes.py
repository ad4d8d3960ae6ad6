"""Class I and class II over many images: where they peak, their mean curves, a scatter to pick from."""

from __future__ import annotations

import numpy as np
import xarray as xr
from bokeh.models import BoxSelectTool, ColumnDataSource, HoverTool, Range1d

from smoot_explore.core.classes import image_class
from smoot_explore.views.canvas import class_legend, legend, new_figure
from smoot_explore.views.palette import CLASS_COLOURS, NEUTRAL, SELECTED

CLASSES = ("I", "II")


class MeanCurvesView:
    """Mean masking curve of each class, of the selected images, and the picked image's own."""

    def __init__(self, height: int = 250) -> None:
        self.figure = new_figure(
            "Mean masking curves", "masked pixels (%)", "probability of the label", name="mean-curves",
            height=height, x_range=Range1d(0, 100), y_range=Range1d(0, 1.03),
        )  # fmt: skip
        self.sources = {}
        styles = {
            "class I": (CLASS_COLOURS["I"], "solid", 2.5),
            "class II": (CLASS_COLOURS["II"], "solid", 2.5),
            "selected images": (NEUTRAL, "dashed", 2),
            "picked image": (SELECTED, "solid", 2),
        }
        for name, (colour, dash, width) in styles.items():
            source = self.sources[name] = ColumnDataSource({"x": [], "y": []})
            self.figure.line(
                "x", "y", source=source, color=colour, line_dash=dash, line_width=width, legend_label=name
            )
        legend(self.figure)

    def show(self, curves: xr.Dataset, tolerance: float, selected: np.ndarray, picked: int) -> None:
        """``curves`` (image, masked_fraction); ``selected`` positions, ``picked`` one position."""
        percent = 100 * curves.masked_fraction.values
        probability = curves.probability.values
        classes = image_class(curves, tolerance).values
        groups = {f"class {c}": np.flatnonzero(classes == c) for c in CLASSES}
        groups |= {"selected images": selected, "picked image": np.array([picked])}
        for name, members in groups.items():
            mean = probability[members].mean(0) if len(members) else np.empty(0)
            self.sources[name].data = {"x": percent[: len(mean)], "y": mean}


class ClassScatter:
    """Every image: how sure the model is, and how much masking raises that. Tap to pick, drag to select."""

    def __init__(self, height: int = 330) -> None:
        self.figure = new_figure(
            "Every image", "probability of the label, clean image", "largest rise of the probability",
            name="classes", height=height, x_range=Range1d(-0.04, 1.04), y_range=Range1d(-0.04, 1.04),
        )  # fmt: skip
        self.source = ColumnDataSource({"x": [], "y": [], "name": [], "colour": [], "group": []})
        drawn = self.figure.scatter(
            "x", "y", source=self.source, size=6, color="colour", alpha=0.6, line_alpha=0,
            nonselection_alpha=0.15, selection_alpha=0.9,
        )  # fmt: skip
        class_legend(self.figure)
        self.picked = ColumnDataSource({"x": [], "y": []})
        self.figure.scatter(
            "x", "y", source=self.picked, size=15, fill_alpha=0, line_color=SELECTED, line_width=3
        )
        box = BoxSelectTool(renderers=[drawn], description="Select images by a box")
        self.figure.add_tools(
            box,
            HoverTool(renderers=[drawn], tooltips=[("", "@name"), ("class", "@group")], visible=False),
        )
        self.figure.toolbar.active_drag = box
        legend(self.figure)

    def show(self, curves: xr.Dataset, tolerance: float, names: list[str], picked: int) -> None:
        """``curves`` (image, masked_fraction); a name for each image."""
        start = curves.probability.values[:, 0]
        rise = curves.probability.values.max(1) - start
        classes = image_class(curves, tolerance).values
        self.source.data = {
            "x": start,
            "y": rise,
            "name": names,
            "colour": [CLASS_COLOURS[c] for c in classes],
            "group": [f"class {c}" for c in classes],
        }
        self.pick(picked)

    def image_at(self, x: float, y: float, reach: float = 0.05) -> int | None:
        """The image whose point is nearest to a place in the figure, not farther than ``reach``.

        Points lie on each other: asking for the nearest gives one, where a tap tool gives all that it touches.
        """
        distance = np.hypot(np.asarray(self.source.data["x"]) - x, np.asarray(self.source.data["y"]) - y)
        return int(distance.argmin()) if len(distance) and distance.min() <= reach else None

    def pick(self, image: int) -> None:
        """Ring one image."""
        x, y = self.source.data["x"], self.source.data["y"]
        inside = image < len(x)
        self.picked.data = {"x": [x[image]], "y": [y[image]]} if inside else {"x": [], "y": []}
