"""How many images lie where, in bars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from bokeh.models import ColumnDataSource, Range1d, Span

from smoot_explore.views.canvas import new_figure
from smoot_explore.views.palette import NEUTRAL


class Histogram:
    """Bars over one quantity, with dotted lines at its bounds where there are any.

    Parameters
    ----------
    title, x_label, name
        As in `new_figure`.
    unit
        Behind the numbers under the pointer.
    colour
        Of the bars.
    """

    def __init__(
        self, title: str, x_label: str, *, name: str, colour: str, unit: str = "", height: int = 230
    ) -> None:
        self.range = Range1d(0, 1)
        self.figure = new_figure(
            title, x_label, "images", name=name, height=height, x_range=self.range,
            tooltips=[("from", f"@left{{0}} to @right{{0}} {unit}"), ("images", "@top")],
        )  # fmt: skip
        self.figure.y_range.start = 0
        self.source = ColumnDataSource({"left": [], "right": [], "top": []})
        self.figure.quad(
            left="left", right="right", top="top", bottom=0, source=self.source, color=colour, alpha=0.8,
            line_alpha=0,
        )  # fmt: skip
        self.bounds = [
            Span(dimension="height", line_color=NEUTRAL, line_dash="dotted", visible=False) for _ in range(2)
        ]
        for bound in self.bounds:
            self.figure.add_layout(bound)

    def show(self, values: np.ndarray, edges: np.ndarray, bounds: Sequence[float] = ()) -> None:
        """Count the values between the edges."""
        counts, _ = np.histogram(values, bins=edges)
        self.range.start, self.range.end = float(edges[0]), float(edges[-1])
        self.source.data = {"left": edges[:-1], "right": edges[1:], "top": counts}
        for span, bound in zip(self.bounds, bounds, strict=False):
            span.location, span.visible = bound, True

    def clear(self) -> None:
        """Empty it."""
        self.source.data = {"left": [], "right": [], "top": []}
