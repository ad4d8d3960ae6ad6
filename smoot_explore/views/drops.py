"""Accuracy drops of several runs, with their areas."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr
from bokeh.models import ColumnDataSource, Range1d

from smoot_explore.core.classes import accuracy_drop, drop_auc
from smoot_explore.views.canvas import legend, new_figure
from smoot_explore.views.palette import SERIES

MOST_RUNS = len(SERIES)  # side by side


class DropsView:
    """Accuracy against the masked share, a line for each run."""

    def __init__(self, height: int = 330) -> None:
        self.figure = new_figure(
            "Accuracy drop", "masked pixels (%)", "test accuracy (%)", name="accuracy-drop", height=height,
            x_range=Range1d(0, 100), y_range=Range1d(0, 100), zoom=True,
            tooltips=[("", "@label"), ("masked", "@x{0} %"), ("accuracy", "@y{0.0} %")],
        )  # fmt: skip
        self.sources = [ColumnDataSource({"x": [], "y": [], "label": []}) for _ in range(MOST_RUNS)]
        self.lines = [
            self.figure.line("x", "y", source=source, line_width=2.5, legend_label=str(i), visible=False)
            for i, source in enumerate(self.sources)
        ]
        legend(self.figure)

    def show(self, title: str, curves: Mapping[str, xr.Dataset], colours: Mapping[str, str]) -> None:
        """``curves`` (image, masked_fraction) and a colour of each run by its label; the first `MOST_RUNS`."""
        self.figure.title.text = title
        shown = list(curves.items())[:MOST_RUNS]
        for i, (line, entry) in enumerate(zip(self.lines, self.figure.legend[0].items, strict=True)):
            line.visible = entry.visible = i < len(shown)
            if i < len(shown):
                label, dataset = shown[i]
                drop = accuracy_drop(dataset)
                name = f"{label}: AUC {float(drop_auc(dataset)):.2f} %"
                line.glyph.line_color = colours[label]
                entry.label = {"value": name}
                self.sources[i].data = {
                    "x": 100 * dataset.masked_fraction.values,
                    "y": drop.values,
                    "label": [name] * len(drop),
                }
