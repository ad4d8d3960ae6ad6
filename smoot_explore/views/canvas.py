"""The one way to make a Bokeh figure here: its looks, its saving as PNG and SVG, its marks of live changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bokeh.models import (
    BoxZoomTool,
    ColumnDataSource,
    CustomAction,
    CustomJS,
    HoverTool,
    Range1d,
    ResetTool,
    SaveTool,
)
from bokeh.plotting import figure as bokeh_figure

from smoot_explore.views.palette import CLASS_COLOURS, NEUTRAL

_SVG_ICON = (
    "data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'>"
    "<text x='12' y='16' font-family='sans-serif' font-size='10' font-weight='bold' text-anchor='middle' "
    "fill='rgb(136,136,136)'>SVG</text></svg>"
)
_SAVE_SVG = """
    Bokeh.index.find_one(figure).export("svg", false).to_blob().then((blob) => {
        const link = document.createElement("a")
        link.href = URL.createObjectURL(blob)
        link.download = name + ".svg"
        link.click()
        setTimeout(() => URL.revokeObjectURL(link.href), 10000)
    })
"""


def new_figure(
    title: str,
    x_label: str = "",
    y_label: str = "",
    *,
    name: str,
    height: int = 220,
    x_range: Any = None,
    y_range: Any = None,
    tooltips: Any = None,
    zoom: bool = False,
) -> bokeh_figure:
    """An empty figure. ``name`` is its own on the page, and its file's name when it is saved."""
    ranges = {n: r for n, r in (("x_range", x_range), ("y_range", y_range)) if r is not None}
    figure = bokeh_figure(
        title=title,
        x_axis_label=x_label,
        y_axis_label=y_label,
        height=height,
        sizing_mode="stretch_width",
        toolbar_location="above",
        tools=[],
        name=name,
        styles={"font-size": "12px"},  # the page's theme gives all texts of a figure in parts of it
        **ranges,
    )
    figure.add_tools(
        *([BoxZoomTool(), ResetTool()] if zoom else []),
        SaveTool(filename=name, description="Save as PNG"),
        CustomAction(
            icon=_SVG_ICON,
            description="Save as SVG",
            callback=CustomJS(args={"figure": figure, "name": name}, code=_SAVE_SVG),
        ),
        *([HoverTool(tooltips=tooltips, visible=False)] if tooltips else []),
    )
    figure.toolbar.logo = None
    figure.toolbar.active_drag = None  # dragging or scrolling the page must not move a plot by surprise
    figure.toolbar.active_scroll = None
    figure.min_border_right = 12
    return figure


def legend(figure: bokeh_figure, location: str = "top_right") -> None:
    """A small legend that does not hide the curves."""
    if not figure.legend:
        return
    figure.legend.location = location
    figure.legend.background_fill_alpha = 0.6
    figure.legend.border_line_alpha = 0
    figure.legend.padding = 2
    figure.legend.styles = {"font-size": "12px"}
    figure.legend.click_policy = "hide"


def class_legend(figure: bokeh_figure) -> None:
    """Entries for class I and class II, from glyphs that draw nothing.

    Bokeh can take the entries from the data instead, but then reads beyond their end when they get fewer.
    """
    for name, colour in CLASS_COLOURS.items():
        figure.line([math.nan], [math.nan], color=colour, line_width=2, legend_label=f"class {name}")


class Marks:
    """Vertical lines with a text, where a hyper-parameter was moved."""

    def __init__(self, figure: bokeh_figure) -> None:
        self.source = ColumnDataSource({"x": [], "text": [], "top": []})
        figure.extra_y_ranges = {"marks": Range1d(0, 1)}
        figure.vspan(x="x", source=self.source, line_color=NEUTRAL, line_dash="dashed", line_width=1)
        figure.text(
            x="x",
            y="top",
            text="text",
            source=self.source,
            y_range_name="marks",
            text_font_size="10px",
            text_color=NEUTRAL,
            text_align="left",
            text_baseline="bottom",
            angle=1.5708,
        )

    def show(self, places: Sequence[float], texts: Sequence[str]) -> None:
        """Replace all marks; ``places`` in the figure's x."""
        self.source.data = {"x": list(places), "text": list(texts), "top": [0.03] * len(places)}
