"""A picture on the explorer's page, which is narrow: its words stand around the figure, and names where lines end.

Its title is a heading above, and what the title says after a comma or a colon a note below. There is no legend: lines
that do not cross are named at their ends, the marks of other pictures in a row above. Notebooks and paper keep titles
and legends.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource, CustomJS, Title

from smoot_explore.views.live import Live, LivePane, sides
from smoot_explore.views.looks import CAPTIONED, PICTURES, ROLES, widest_grid
from smoot_explore.views.palette import on_dark, on_light, text_colour
from smoot_explore.views.sketch import Layer, Sketch, extent

WIDEST = 760  # pixels of a plot
APART = 12  # pixels from one name to the next
LOWEST = 120  # pixels of the narrowest plot's inside
# Pictures whose lines are named at their ends, with the room for that on their right and the digits of their values.
_AT_ENDS = {
    "K trajectories": (72, 0), "K of single images": (72, 0), "Losses": (82, 2), "Accuracies": (76, 1),
    "Sweep curves": (104, 2), "Class changes": (70, 0),
}  # fmt: skip
_SHORT = {
    "training images": "training",
    "test images": "test",
    "the framed image": "framed",
    "picked image": "picked",
    "KL before λ": "KL",
}
_FIRST = (
    "Framed",
    "Picked",
    "Median",
    "Test images",
    "Cross-entropy",
)  # where there is no room for all names
_MOST_ENDS = LOWEST // APART  # names beside a plot
_MOST_PARTS = 10  # of a layer, such as images, that have a name each
_LONG_KEY = 48  # letters: of what is longer, a part would lie on the lines
_LETTER, _OFF = 5.6, 6  # pixels: how wide one of a name is, and how far a name stands off
_FREE = ("Probe",)  # whose upper right no line crosses: the key stands there
_ENDS = "ends"
_FIGURE = 2  # where in the panel it stands
_EXPLAINED = re.compile(r"[,:\n] *")  # what follows explains what stands before
# The page may have its words larger.
_HEADING = "margin:0;font-size:calc(14px*var(--text-scale,1));line-height:1.43;font-weight:600"
_BESIDE = "display:flex;flex-wrap:wrap;align-items:baseline;gap:0 12px"
_INSIDE = "position:absolute;right:0;top:22px;z-index:1;flex-direction:column;pointer-events:none;"
_SMALL = "font-size:calc(11px*var(--text-scale,1));line-height:1.27;color:var(--mui-palette-text-secondary,inherit)"
# The page's theme gives the title its colour, light on dark.
_BY_THEME = """
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(cb_obj.text_color.slice(i, i + 2), 16))
    const dark = r + g + b > 384
    if (labels.text_color.field != (dark ? "dark" : "light")) labels.text_color = {field: dark ? "dark" : "light"}
"""


class Captioned(Live):
    """A `Live` picture with its heading, key and note; ``panel`` holds all of them.

    Parameters
    ----------
    aspect
        Width by height, as wide as there is room up to `WIDEST`; a grid of pictures knows its own.
    tools
        Whether it can be saved and zoomed into.
    """

    def __init__(
        self,
        sketch: Sketch,
        name: str | None = None,
        streams: Sequence[Any] = (),
        aspect: float = 1.6,
        tools: bool = True,
        **options: Any,
    ) -> None:
        self._aspect, self._tools = aspect, tools
        super().__init__(sketch, name, streams, **options)
        self.heading, self.key, self.note = (
            pn.pane.HTML("", sizing_mode="stretch_width", margin=0) for _ in range(3)
        )
        self._room = pn.Spacer(sizing_mode="stretch_width", margin=0, styles=_room(sketch, aspect))
        self._waits = False
        self.panel = pn.Column(
            self.heading, self.key, self.pane, self.note, sizing_mode="stretch_width", margin=0
        )
        self._tell()

    @property
    def visible(self) -> bool:
        """Whether it is seen."""
        return self.panel.visible

    @visible.setter
    def visible(self, seen: bool) -> None:
        # The figure too: the page would wait for one that only its surroundings hide to be drawn. Not the pane:
        # Panel then asks the figure for what it does not have.
        self.panel.visible = self.pane.shown = seen
        for plot in self.plots:
            plot.state.visible = seen
        self._fill()

    def wait(self) -> None:
        """Keep the figure's room free until `build`: building it takes up to half a second."""
        self._waits = True
        self._fill()

    def build(self) -> None:
        """Build the figure, or let it be built when it is seen first."""
        self._waits = False
        self._fill()

    def _fill(self) -> None:
        stays = self.plots or (self.visible and not self._waits)
        part = self.pane if stays else self._room
        if self.panel[_FIGURE] is not part:
            self.panel[_FIGURE] = part

    def show(self, sketch: Sketch) -> None:
        """Show another sketch of the same layers."""
        if sketch is self.sketch:
            return
        super().show(sketch)
        named = ends(sketch)
        for plot in self.plots:
            for part in plot.state.renderers:
                if part.name == _ENDS and part.data_source.data != named:
                    part.data_source.data = named
        self._tell()

    def _hooks(self) -> list[Callable[[Any, Any], None]]:
        finish = functools.partial(_finish, aspect=self._aspect, tools=self._tools, named=ends(self.sketch))
        return [*super()._hooks(), finish]

    def _tell(self) -> None:
        heading, note = in_two(self.sketch.title)
        head = heading and f'<h2 style="{_HEADING}">{escape(heading)}</h2>'
        below = _line([note, *_unnamed(self.sketch)])
        if self.sketch.name == PICTURES and head:  # it is as wide as the page
            head, below = f'<div style="{_BESIDE}">{head}{below}</div>', ""
        words = {self.heading: head, self.key: key_html(self.sketch), self.note: below}
        for pane, html in words.items():
            if pane.object != html:
                pane.object = html


def captioned_in(panel: Any) -> list[Captioned]:
    """The pictures within a panel whose figures are built as soon as it is shown."""
    return [pane.live for pane in panel.select(LivePane) if isinstance(pane.live, Captioned)]


def _room(sketch: Sketch, aspect: float) -> dict[str, str]:
    """The room of a figure, as CSS."""
    width, height = sides(sketch) if sketch.name == PICTURES else (aspect, 1.0)
    widest = widest_grid(width) if sketch.name == PICTURES else WIDEST
    return {"aspect-ratio": f"{width / height:g}", "max-width": f"{widest}px"}


def in_two(title: str) -> tuple[str, str]:
    """A title's heading, and what it says after the first comma, colon or line.

    Examples
    --------
    >>> in_two("Every image, n = 1,000")
    ('Every image', 'n = 1,000')
    """
    heading, *rest = _EXPLAINED.split(title, maxsplit=1)
    return heading, ", ".join(line.strip(", ") for line in " ".join(rest).splitlines())


def _line(parts: Sequence[str]) -> str:
    """The note: one line, whose room is there before its words."""
    words = "; ".join(part for part in parts if part)
    if not words.startswith("n = "):
        words = words[:1].upper() + words[1:]
    return f'<p style="margin:2px 0 0;min-height:14px;{_SMALL}">{escape(words)}</p>'


def _unnamed(sketch: Sketch) -> list[str]:
    """What has no name beside it: bands, and the bounds of k."""
    told, areas = (
        list[str](),
        [layer.label for layer in sketch.layers if layer.kind == "Area" and _some(layer)],
    )
    if any(areas):
        told.append(f"bands: {', '.join(filter(None, areas))}")
    bounds = [layer.numbers[1] for layer in sketch.layers if layer.role == "Bound" and layer.kind == "Curve"]
    if len(bounds) == 2 and all(map(len, bounds)) and sketch.name == "K trajectories":
        told.append(f"bounds {bounds[0][-1]:.0f} and {bounds[1][-1]:.0f}")
    return told


def _some(layer: Layer) -> bool:
    return bool(len(layer.numbers[0]))


def key_html(sketch: Sketch) -> str:
    """A row that names the marks of a picture that does not name its lines at their ends."""
    if sketch.name in (*_AT_ENDS, PICTURES):
        return ""
    items, longest = list[str](), 0
    for layer in sketch.layers:
        if not layer.label or not _some(layer) or layer.role not in ROLES:
            continue
        role, longest = ROLES[layer.role], max(longest, len(layer.label))
        if layer.kind in ("Curve", "VLines", "HLines"):
            dash = "dotted" if role.dash == "dotted" else "solid" if role.dash == "solid" else "dashed"
            mark = f"width:16px;border-top:{max(role.width, 2):g}px {dash} {role.colour}"
        elif layer.kind == "Scatter":
            filling = "transparent" if role.ring else role.colour
            mark = f"width:7px;height:7px;border-radius:50%;border:1.5px solid {role.colour};background:{filling}"
        else:
            mark = f"width:10px;height:10px;background:{role.colour};opacity:{role.opacity or 0.8}"
        items.append(
            '<span style="display:inline-flex;align-items:center;gap:5px">'
            f'<i style="display:inline-block;flex:none;box-sizing:border-box;{mark}"></i>'
            f'<span style="color:{text_colour(role.colour)}">{escape(layer.label)}</span></span>'
        )
    where = _INSIDE if sketch.name in _FREE and longest <= _LONG_KEY else "flex-wrap:wrap;min-height:14px;"
    return f'<div style="{where}display:flex;gap:0 12px;{_SMALL}">{"".join(items)}</div>'


class _End(NamedTuple):
    """Where a line ends, and what it is."""

    x: float
    y: float
    text: str
    colour: str
    first: int  # the lower, the sooner it gets a place


def ends(sketch: Sketch) -> dict[str, list]:
    """Names of the lines at their ends, as columns of a Bokeh source: those for which there is room.

    Names are moved up and down until they are `APART` in a plot as low as `LOWEST`; in a higher one there is more
    between them. The columns are always as long: Bokeh measures the names while it changes their colours, and takes
    those of the longer one from beyond the end of the shorter.
    """
    reach = extent(sketch, 1)
    found = sorted(_all_ends(sketch), key=lambda end: end.first) if reach else []
    several = {(end.x, end.y): end for end in reversed(found)}  # of the same place, the first
    chosen = sorted(sorted(several.values(), key=lambda end: end.first)[:_MOST_ENDS], key=lambda end: end.y)
    low, high = reach or (0.0, 1.0)
    at = [LOWEST * (end.y - low) / (high - low) for end in chosen]
    offsets = [true - placed for placed, true in zip(_apart(at), at, strict=True)]
    free = _MOST_ENDS - len(chosen)
    chosen += [_End(np.nan, np.nan, "", "#000000", 0)] * free
    return {
        "x": [end.x for end in chosen], "y": [end.y for end in chosen], "text": [end.text for end in chosen],
        "offset": offsets + [0.0] * free,
        "light": [on_light(end.colour) for end in chosen], "dark": [on_dark(end.colour) for end in chosen],
    }  # fmt: skip


def _apart(heights: Sequence[float]) -> list[float]:
    """Rising heights, moved so that each is `APART` above the one before, and none leaves the plot."""
    placed = list[float]()
    for i, height in enumerate(heights):
        placed.append(max(height, placed[-1] + APART if i else 0.0))
    ceiling = float(LOWEST)
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - APART
    return placed


def _all_ends(sketch: Sketch) -> Iterator[_End]:
    if sketch.name not in _AT_ENDS:
        return
    room, digits = _AT_ENDS[sketch.name]
    most = int((room - _OFF) / _LETTER)  # characters
    for layer in sketch.layers:
        if (
            layer.kind != "Curve"
            or not layer.label
            or layer.role == "Bound"
            or layer.role.startswith("Faded")
        ):
            continue
        x, y = (np.asarray(values, float) for values in layer.numbers)
        known = np.isfinite(x) & np.isfinite(y)
        last = np.flatnonzero(known & ~np.append(known[1:], False))
        if len(last) > _MOST_PARTS:
            continue
        name = _EXPLAINED.split(layer.label)[0]
        name = _SHORT.get(name, name)
        short = _shortened(name, most)
        first = _FIRST.index(layer.role) if layer.role in _FIRST else len(_FIRST)
        for i in last[-1:] if layer.role in _FIRST else last:
            text = f"{y[i]:.{digits}f} {name}"
            text = text if len(text) <= most + 1 else short  # digits are narrow
            yield _End(float(x[i]), float(y[i]), text, ROLES[layer.role].colour, first)


def _shortened(name: str, most: int) -> str:
    """A name of so many characters at most: what tells trainings apart stands last."""
    words = name.split(" ")
    while len(" ".join(words)) >= most and len(words) > 2:
        words = words[1:]
    short = " ".join(words)
    return short if len(short) <= most else f"{short[: most - 1]}…"


def _finish(plot: Any, element: Any, aspect: float, tools: bool, named: dict[str, list]) -> None:
    """What a figure on the page has otherwise."""
    figure = plot.state
    if plot.overlaid or CAPTIONED in figure.tags:
        return
    figure.tags = [*figure.tags, CAPTIONED]
    figure.title.visible = False
    for legend in figure.legend:
        legend.visible = False
    if not tools:
        figure.toolbar_location = None
    if element.group == PICTURES:
        figure.toolbar_location = "right" if tools else None
        return
    figure.toolbar_inner = True  # it is seen under the pointer alone
    figure.update(sizing_mode="scale_width", aspect_ratio=aspect, height=None, max_width=WIDEST)
    room, _ = _AT_ENDS.get(element.group, (12, 0))
    figure.update(
        outline_line_color=None,
        min_border_right=room,
        min_border_left=34,
        min_border_top=2,
        min_border_bottom=36,
    )
    figure.xgrid.visible = False
    small = {"text_font_size": "11px", "text_font_style": "normal"}
    for axis in figure.axis:
        axis.update(major_tick_line_color=None, minor_tick_line_color=None, major_label_standoff=4)
        axis.update(axis_label_standoff=1)
        _keep(axis, {"axis_label_text_font_size": "11px", "axis_label_standoff": 1})
        if hasattr(axis.ticker, "desired_num_ticks"):
            axis.ticker.update(desired_num_ticks=4)
    figure.yaxis.axis_line_color = None
    if words := figure.yaxis[0].axis_label if figure.yaxis[0].visible else None:
        figure.yaxis.axis_label = None
        above = Title(text=words, standoff=4, **small)
        _keep(above, {"text_font_size": "11px"})
        figure.add_layout(above, "above")
        figure.title.js_on_change(
            "text_color", CustomJS(args={"above": above}, code="above.text_color = cb_obj.text_color")
        )
    if element.group in _AT_ENDS:
        labels = figure.text(
            x="x", y="y", text="text", x_offset=_OFF, y_offset="offset", text_color="light", text_font_size="11px",
            text_baseline="middle", source=ColumnDataSource(named), name=_ENDS, level="overlay",
        )  # fmt: skip
        copy = CustomJS(args={"labels": labels.glyph}, code=_BY_THEME)
        figure.title.js_on_change("text_color", copy)


def _keep(model: Any, kept: dict[str, Any]) -> None:
    """Have a model keep what the page's theme would set otherwise."""
    model.update(**kept)
    code = "for (const [name, value] of Object.entries(kept)) if (cb_obj[name] != value) cb_obj[name] = value"
    for name in kept:
        model.js_on_change(name, CustomJS(args={"kept": kept}, code=code))
