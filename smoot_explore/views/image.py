"""One image under masking: the output as bars, and its masking curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from bokeh.models import ColumnDataSource, Range1d

from smoot_explore.views.canvas import legend, new_figure
from smoot_explore.views.palette import CLASS_COLOURS, NEUTRAL, SERIES


class ProbabilityBars:
    """Probability of each class for the clean and the masked image."""

    def __init__(self, height: int = 300) -> None:
        self.figure = new_figure(
            "What the model says", "probability", name="probabilities", height=height,
            x_range=Range1d(0, 1), y_range=["–"],
            tooltips=[("", "@name"), ("clean", "@clean{0.000}"), ("masked", "@masked{0.000}")],
        )  # fmt: skip
        self.source = ColumnDataSource({"name": [], "upper": [], "lower": [], "clean": [], "masked": []})
        for place, column, colour in (("upper", "clean", NEUTRAL), ("lower", "masked", SERIES[0])):
            self.figure.hbar(
                y=place, right=column, height=0.36, source=self.source, color=colour, legend_label=column
            )
        legend(self.figure, "bottom_right")
        self.figure.ygrid.visible = False

    def show(self, names: Sequence[str], clean: np.ndarray, masked: np.ndarray) -> None:
        """Probabilities ``(n_classes,)``. Of more than twelve classes, those highest in either."""
        highest = np.argsort(-np.maximum(clean, masked), kind="stable")[:12]
        shown = [int(i) for i in (np.sort(highest) if len(names) > 12 else range(len(names)))]
        labels = [names[i] for i in shown]
        if list(self.figure.y_range.factors) != labels[::-1]:
            self.figure.y_range.factors = labels[::-1]
        self.source.data = {
            "name": labels,
            "upper": [(label, 0.2) for label in labels],
            "lower": [(label, -0.2) for label in labels],
            "clean": clean[shown],
            "masked": masked[shown],
        }


class CurveView:
    """The masking curve of one image, with its peak, and a marker where the slider stands."""

    def __init__(self, height: int = 230) -> None:
        self.figure = new_figure(
            "Masking curve", "masked pixels (%)", "probability of the class", name="masking-curve",
            height=height, x_range=Range1d(0, 100), y_range=Range1d(0, 1.03),
            tooltips=[("masked", "@x{0} %"), ("probability", "@y{0.000}")],
        )  # fmt: skip
        self.curve = ColumnDataSource({"x": [], "y": []})
        self.line = self.figure.line("x", "y", source=self.curve, line_width=2, color=CLASS_COLOURS["I"])
        self.peak = ColumnDataSource({"x": [], "y": []})
        self.figure.scatter(
            "x", "y", source=self.peak, size=11, marker="star", color=CLASS_COLOURS["II"],
            legend_label="peak",
        )  # fmt: skip
        self.marker = ColumnDataSource({"x": [], "y": []})
        self.figure.scatter(
            "x", "y", source=self.marker, size=10, color=SERIES[0], line_color=NEUTRAL,
            legend_label="where the slider stands",
        )  # fmt: skip
        legend(self.figure)

    def show(self, masked_fraction: np.ndarray, probability: np.ndarray, image_class: str) -> None:
        """The curve; its peak is drawn for class II."""
        self.curve.data = {"x": 100 * masked_fraction, "y": probability}
        self.line.glyph.line_color = CLASS_COLOURS[image_class]
        highest = int(np.argmax(probability))
        peak = [highest] if image_class == "II" else []
        self.peak.data = {"x": 100 * masked_fraction[peak], "y": probability[peak]}

    def mark(self, masked_fraction: float, probability: float) -> None:
        """Move the marker."""
        self.marker.data = {"x": [100 * masked_fraction], "y": [probability]}
