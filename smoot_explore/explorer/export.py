"""The Compare view as one HTML file that opens anywhere."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from datetime import date

from bokeh.embed import components
from bokeh.layouts import column
from bokeh.resources import Resources
from jinja2 import Template

from smoot_explore import views
from smoot_explore.explorer.state.compare import CompareState, missing_maps
from smoot_explore.explorer.state.picking import named
from smoot_explore.views.live import figure_of

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
    style = "padding: 3px 6px; border-bottom: 1px solid #8886; text-align:"
    # Texts wrap, however long they are, so that all columns stay in sight; numbers do not.
    texts = {"run": "left; min-width: 7em; overflow-wrap: anywhere", "method": "left", "data": "left"}
    texts["differs in"] = "left; min-width: 9em"
    sides = [texts.get(head, "right; white-space: nowrap") for head in heads]
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
    table = f'<table style="border-collapse: collapse; width: 100%; font-size: 13px"><tr>{head}</tr>{body}</table>'
    return f'<div style="overflow-x: auto">{table}</div>'


def compare_page(state: CompareState) -> Callable[[], str]:
    """The table, the accuracy drops and the saliency of the runs compared, as an HTML page without a server.

    Everything that takes long is computed here; the function that it gives draws the figures, where HoloViews may
    draw. Bokeh's code is part of the file, which has about 1.5 MB; it asks for nothing from anywhere.
    """
    images, maps = state.images(), state.maps()
    sketches = {"accuracy-drop": state.drops(f"Accuracy drop: {state.protocol}")}
    if images is not None and maps:
        sketches["saliency"] = views.saliency_maps.sketch(images, maps, named(images), scale=state.scale)
    texts = {
        "title": f"Saliency-guided training compared, {date.today():%d %B %Y}",
        "table": table_html(*state.table()),
        "note": html.escape(state.note()),
        "missing": html.escape(missing_maps(maps.problems)),
    }

    def drawn() -> str:
        figures = [figure_of(sketch, name) for name, sketch in sketches.items()]
        # Not file_html: in a process that uses Panel it would ask the server for Panel's own scripts too.
        script, placed = components(column(*figures, sizing_mode="stretch_width"))
        bokeh = "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)
        return _PAGE.render(**texts, bokeh=bokeh, figures=placed, script=script)

    return drawn
