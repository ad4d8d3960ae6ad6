"""Accuracy drops of several runs, with their areas."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr
from bokeh.models import ColumnDataSource, Range1d

from smoot_explore.curves import accuracy_drop, drop_auc
from smoot_explore.views.canvas import legend, new_figure


class DropsView:
    """Accuracy against the masked share, a line for each run."""

    def __init__(self, height: int = 330) -> None:
        self.figure = new_figure(
            "Accuracy drop", "masked pixels (%)", "test accuracy (%)", name="accuracy-drop", height=height,
            x_range=Range1d(0, 100), y_range=Range1d(0, 100), zoom=True,
            tooltips=[("", "@label"), ("masked", "$x{0} %"), ("accuracy", "$y{0.0} %")],
        )  # fmt: skip
        self.source = ColumnDataSource({"xs": [], "ys": [], "label": [], "colour": []})
        self.figure.multi_line(
            "xs", "ys", source=self.source, color="colour", line_width=2.5, legend_field="label"
        )
        legend(self.figure)

    def show(self, title: str, curves: Mapping[str, xr.Dataset], colours: Mapping[str, str]) -> None:
        """``curves`` (image, masked_fraction) and a colour of each run by its label."""
        self.figure.title.text = title
        self.source.data = {
            "xs": [100 * dataset.masked_fraction.values for dataset in curves.values()],
            "ys": [accuracy_drop(dataset).values for dataset in curves.values()],
            "label": [f"{label}: AUC {float(drop_auc(data)):.2f} %" for label, data in curves.items()],
            "colour": [colours[label] for label in curves],
        }
