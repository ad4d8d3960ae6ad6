"""A picture that can be read from the last row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bokeh.models import CustomJS

from smoot_explore.views.live import Live
from smoot_explore.views.looks import has_square_cells

_LINES, _POINTS = 2.2, 1.8  # as many times as wide as on a desk
_MOST_IN_CELLS = "0.019 * Math.min(innerWidth, 16 / 9 * innerHeight)"  # letters, in pixels
# Bokeh's canvas knows no sizes that go with the window.
_TEXTS = """
    const size = `${Math.round(1.5 * Math.min(innerWidth, 16 / 9 * innerHeight)) / 100}px`
    const give = (model, ...names) => {
        for (const name of names) {
            const now = model[`${name}_font_size`]
            if ((now?.value ?? now) != size) model.setv({ [`${name}_font_size`]: size }, { sync: false })
        }
    }
    give(figure.title, "text")
    if (square) return
    for (const axis of [...figure.below, ...figure.left]) give(axis, "axis_label_text", "major_label_text")
    for (const legend of [...figure.above, ...figure.center]) if (legend.type == "Legend") give(legend, "label_text")
    for (const { glyph } of figure.renderers) if (glyph.type == "Text") give(glyph, "text")
"""


class Projected(Live):
    """A `Live` picture with large texts and thick lines, as high as the place that it stands in, without tools."""

    def _hooks(self) -> list[Callable[[Any, Any], None]]:
        return [*super()._hooks(), _enlarge]


def _enlarge(plot: Any, element: Any) -> None:
    figure = plot.state
    if plot.overlaid:
        return
    figure.toolbar_location = None
    square = has_square_cells(figure)
    if square:
        _enlarge_words_in_cells(figure)
    else:
        figure.update(sizing_mode="stretch_both", height=None)
        for legend in figure.legend:
            legend.update(ncols=2, glyph_width=30, spacing=0, label_height=10)
        for renderer in figure.renderers:
            _thicken(renderer.glyph)
    enlarge = CustomJS(args={"figure": figure, "square": square}, code=_TEXTS)
    for size in ("inner_width", "inner_height"):
        figure.js_on_change(size, enlarge)
    figure.title.js_on_change("text_font_size", enlarge)  # a change of the theme gives all texts its own


def _thicken(glyph: Any) -> None:
    for name, times in {"line_width": _LINES, "size": _POINTS}.items():
        if isinstance(width := getattr(glyph, name, None), int | float) and width > 1:
            setattr(glyph, name, times * width)


def _enlarge_words_in_cells(figure: Any) -> None:
    """Words in a grid of pictures grow with its cells; on a desk they end at a size."""
    for callbacks in figure.js_property_callbacks.values():
        for callback in callbacks:
            callback.code = callback.code.replace("Math.min(11.5,", f"Math.min({_MOST_IN_CELLS},").replace(
                "cell / 6", "cell / 5.5"
            )
    figure.update(max_width=None, frame_align=False)  # a plot beside it must not push its pictures in
