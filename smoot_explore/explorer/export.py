"""The Compare view as one HTML file that opens anywhere."""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import date

from bokeh.embed import components
from bokeh.layouts import column
from bokeh.resources import Resources
from jinja2 import Template

from smoot_explore.explorer.state.compare import N_COMPARED_IMAGES, CompareState, map_limits, missing_maps
from smoot_explore.views.drops import DropsView
from smoot_explore.views.maps import SaliencyGrid

_PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{{ title }}</title>
<script>{{ bokeh }}</script>
<style>
body { font: 15px/1.5 sans-serif; max-width: 1000px; margin: 24px auto; padding: 0 16px; color: #222; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{{ table }}
<p><small>{{ note }}</small></p>
{% if missing %}<p><small>{{ missing }}</small></p>
{% endif %}{{ figures }}{{ script }}
</body>
</html>
"""
)


def table_html(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A table of text as HTML; everything in it is escaped."""
    style = "padding: 3px 8px; border-bottom: 1px solid #8886; text-align:"
    # Names wrap, however long they are, so that all columns stay in sight; numbers do not.
    sides = ["left; min-width: 8em; overflow-wrap: anywhere", "left"]
    sides += ["right; white-space: nowrap" for _ in heads[2:]]
    head = "".join(
        f'<th scope="col" style="{style} {side}; white-space: normal">{html.escape(text)}</th>'
        for text, side in zip(heads, sides, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="{style} {side}">{html.escape(text)}</td>'
            for text, side in zip(row, sides, strict=True)
        )
        + "</tr>"
        for row in cells
    )
    return f'<table style="border-collapse: collapse; width: 100%; font-size: 13px"><tr>{head}</tr>{body}</table>'


def compare_page(state: CompareState) -> str:
    """The table, the accuracy drops and the saliency of the runs compared, as an HTML page without a server.

    Bokeh's code is part of the file, which has about 1.5 MB; it asks for nothing from anywhere.
    """
    drops = DropsView(height=360)
    drops.show(f"Accuracy drop: {state.protocol}", state.curves(), state.colours())
    figures = [drops.figure]
    images, maps = state.images(), state.maps()
    if images is not None and maps:
        grid = SaliencyGrid(list(maps), N_COMPARED_IMAGES)
        grid.show_maps(
            f"Saliency of the label, colour scale: {state.scale}",
            images.images.numpy(),
            [images.class_names[int(i)] for i in images.labels],
            maps,
            map_limits(maps, state.scale),
        )
        figures.append(grid.figure)
    title = f"Saliency-guided training compared, {date.today():%d %B %Y}"
    # Not file_html: in a process that uses Panel it would ask the server for Panel's own scripts too.
    script, placed = components(column(*figures, sizing_mode="stretch_width"))
    return _PAGE.render(
        title=title,
        bokeh="\n".join(Resources(mode="inline", components=["bokeh"]).js_raw),
        table=table_html(*state.table()),
        note=html.escape(state.note()),
        missing=html.escape(missing_maps(maps.problems)),
        figures=placed,
        script=script,
    )
