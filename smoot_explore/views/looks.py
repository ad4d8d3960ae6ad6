"""How pictures look, in Bokeh on screens and in Matplotlib for print: every option of both is set here.

A layer's group names its role (``hv.Curve(…, group="Class II")``), and a role looks the same in every picture; the
group of the whole names the picture. They are style sheets of HoloViews itself, so that ``.opts(…)`` changes what
somebody wants to have otherwise.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import holoviews as hv
import holoviews.plotting.bokeh
import holoviews.plotting.mpl
import numpy as np
from bokeh.models import BoxSelectTool, CustomAction, CustomJS, HoverTool, PanTool, SaveTool, Text
from holoviews.core.options import Options, Store

from smoot_explore.views.palette import (
    CLASS_COLOURS,
    COLOURS,
    INK,
    METHOD_NAMES,
    NEUTRAL,
    RIVALS,
    SELECTED,
    SERIES,
    SHADES,
    UNKNOWN_CLASS_COLOUR,
)

PICTURES = "Pictures"  # a grid of pictures, which takes its size from its cells
CAPTIONED = "captioned"  # the tag of figures whose title and legend stand beside them
_PIXELS_PER_INCH = 75
_WIDEST = 9.5  # inches on paper
_SMALLER = (
    (1.0, 1.0),
    (0.82, 0.95),
    (0.66, 0.92),
)  # width and height in one, two and more columns of a sheet
_BOKEH, _MATPLOTLIB = "bokeh", "matplotlib"
_NAMED = ("Probabilities", "Amounts")  # bars with their names
_BARE = ("Parallel coordinates",)  # pictures that draw their axes themselves
_EACH_EPOCH = ("Sweep curves",)  # with values at whole epochs alone
_LEGEND, _LETTER = 7.5, 4.4  # points: of the legend's texts on paper, and how wide a letter of them is
_DASHES = {"solid": "-", "dashed": "--", "dotted": ":", "dotdash": "-."}
_OF_RIVALS = ("solid", "dashed", "dotdash", "dotted")
_MARKERS = {"circle": "o", "star": "*"}
_AXIS_LABELS: WeakKeyDictionary[Any, tuple[str, str]] = WeakKeyDictionary()  # of Matplotlib's axes


class Role(NamedTuple):
    """What a layer stands for, whatever it is made of: curve, points, area or bars."""

    colour: str
    width: float = 2  # of lines, pixels
    dash: str = "solid"
    size: float = 6  # of points, pixels
    marker: str = "circle"
    ring: bool = False  # points without a filling
    opacity: float | None = None  # the kind of layer decides
    ink: bool = False  # black on paper; a page may be dark
    hover: bool = True
    brush: str | None = None  # the tool that selects; HoloViews takes tools from layers


ROLES: dict[str, Role] = {
    **{METHOD_NAMES[method]: Role(colour, 2.5) for method, colour in COLOURS.items()},
    **{f"Series {i}": Role(colour, 2.5) for i, colour in enumerate(SERIES, start=1)},
    **{f"Shade {i}": Role(colour, 1.5, hover=False) for i, colour in enumerate(SHADES, start=1)},
    **{
        f"Rival {i}": Role(*look)
        for i, look in enumerate(zip(RIVALS, itertools.repeat(2.0), _OF_RIVALS), start=1)
    },
    **{f"Class {name}": Role(colour) for name, colour in CLASS_COLOURS.items()},
    "Not judged": Role(UNKNOWN_CLASS_COLOUR),
    # These lie on each other: what holds more of the images is drawn first, and looks paler.
    **{
        f"Band {share}": Role(COLOURS["smoot"], opacity=opacity, hover=False)
        for share, opacity in {"all": 0.15, "90 %": 0.25, "50 %": 0.4}.items()
    },
    "Every image": Role(COLOURS["smoot"], 1, opacity=0.3, hover=False),
    "Median": Role(NEUTRAL, 2, ink=True),
    "Mean": Role(NEUTRAL, 2.5, ink=True),
    "Trained": Role(RIVALS[1], 2.5),
    "Trained image": Role(SELECTED, 2.5, "dashed"),
    "K": Role(COLOURS["smoot"]),
    "Amount": Role(SERIES[1]),
    "Chosen": Role(NEUTRAL, opacity=0.9, brush="xbox_select"),
    "Steps": Role(SELECTED, 1.4, hover=False),
    "Way": Role(COLOURS["smoot"], size=5),
    "Chance": Role(NEUTRAL, 1.2, "dashed", hover=False),
    "Clean": Role(NEUTRAL, opacity=0.9),
    "Masked": Role(SERIES[0]),
    "Label": Role(SERIES[1], 1.5),
    "Cross-entropy": Role(SERIES[1], 1.5),
    "KL": Role(SERIES[0], opacity=0.9),
    "Training images": Role(SERIES[1], 1.5),
    "Test images": Role(SERIES[0], opacity=0.9),
    "Runners-up": Role(SERIES[2], 1.5),
    "Peak": Role(CLASS_COLOURS["II"], size=12, marker="star"),
    "Marker": Role(SERIES[0], size=10),
    "Selected": Role(NEUTRAL, 2, "dashed", size=8, ring=True, hover=False, brush="box_select"),
    "Picked": Role(SELECTED, 2.5, size=15, ring=True, hover=False),
    "Framed": Role(SELECTED, 3.5, hover=False),
    "Never right": Role(SHADES[4]),
    "Seldom right": Role(SHADES[3]),
    "Mostly right": Role(SHADES[1]),
    "Always right": Role(SHADES[0]),
    "Rose": Role(SERIES[0]),
    "Fell": Role(SERIES[1]),
    "Start": Role(SELECTED, size=8, hover=False),
    "Reference": Role(NEUTRAL, 1.5, "dashed"),
    **{f"Faded {age}": Role(NEUTRAL, 1.5, opacity=0.8 / age, hover=False) for age in (1, 2, 3)},
    "Bound": Role(NEUTRAL, 1.2, "dotted", hover=False),
    "Flag": Role(NEUTRAL, 1, "dashed", hover=False),
}
ROLES |= {f"{name} band": role._replace(opacity=0.2, hover=False) for name, role in ROLES.items()}
# Width and height on paper in inches; a screen takes the height, and the width that there is.
SIZES: dict[str, tuple[float, float]] = {
    "Accuracy drop": (5.2, 3.5), "Probe": (5.2, 3.5), "Masking curve": (5.2, 3.2), "Masking curves": (4.4, 3.5),
    "Class share": (5.4, 3.2), "Losses": (4.4, 3), "Accuracies": (4.4, 3), "K trajectories": (5.6, 3.5),
    "K of single images": (5.6, 3.5), "K moves": (5.6, 3.5), "Dataset map": (4.6, 3.8),
    "Class changes": (4.4, 3),
    "Class board": (5.2, 3.5), "K histogram": (4, 3.2), "Class scatter": (4.6, 3.8),
    "Class means": (4.6, 3.5), "Class peaks": (4.6, 3.2), "Probabilities": (4.4, 3.4), "Landscape": (4.6, 3.4),
    "Cobweb": (4, 3.8), "Amounts": (6.4, 3.2),
    "Sweep curves": (5.2, 3.5), "Parallel coordinates": (6.4, 3.6),
}  # fmt: skip
_LEGEND_COLUMNS = {
    "Probe": 1,
    "Accuracies": 1,
    "Landscape": 2,
    "Class means": 2,
}  # on a screen; others have four
# Small enough to stand side by side in the narrowest figure, on the colour of what the figure stands on.
_TOOLS = """
:host(.bk-inner) { zoom: 0.68; background: var(--panel-surface-color, white); border-radius: 6px; opacity: 0.9 }
"""
_ICON = (
    "data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'>"
    "<text x='12' y='16' font-family='sans-serif' font-size='10' font-weight='bold' text-anchor='middle' "
    "fill='rgb(136,136,136)'>{}</text></svg>"
)
# Title and key, which may stand beside the figure, belong to it where it is alone.
_BESIDE = """
    const view = Bokeh.index.find_one(figure)
    const named = figure.renderers.some((one) => one.name == "ends")
    const legends = [...figure.above, ...figure.center].filter((one) => one.type == "Legend" && !named)
    const beside = [figure.title, ...legends].filter((one) => !one.visible && one.text != "")
    const show = (visible) => {
        for (const one of beside) one.setv({ visible }, { sync: false })
        view.invalidate_layout()
    }
"""
_SAVE_PICTURE = f"""{_BESIDE}
    show(true)
    await new Promise((drawn) => setTimeout(drawn, 100))
    const blob = await view.export(kind, false).to_blob()
    show(false)
"""
# A row for each point, with the name of its layer. Other programs would compute a text that begins with =.
_SAVE_NUMBERS = """
    const layers = figure.renderers.filter((one) => one.data_source?.length > 0 && one.name != "ends")
    const names = [...new Set(layers.flatMap((one) => Object.keys(one.data_source.data)))]
    const cell = (value) => {
        if (value == null || Number.isNaN(value)) return ""
        if (typeof value == "number") return String(+value.toPrecision(7))
        const text = String(value).replace(/^[=+@-]/, "'$&")
        return /[",\\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
    }
    const line = (values) => values.map(cell).join() + "\\n"
    const items = [...figure.above, ...figure.center].flatMap((one) => one.items ?? [])
    const called = (layer) => items.find(({ renderers }) => renderers.includes(layer))?.label?.value || layer.name
    const parts = layers.map((layer) => {
        const { data, length } = layer.data_source, row = (i) => names.map((column) => data[column]?.[i])
        return Array.from({ length }, (_, i) => line([called(layer), ...row(i)])).join("")
    })
    const blob = new Blob([line(["layer", ...names]), ...new Set(parts)], { type: "text/csv" })
"""
_SAVE = """
    export default async ({ figure, name, kind }) => {
        MAKE
        const link = document.createElement("a")
        link.href = URL.createObjectURL(blob)
        link.download = `${name}.${kind}`
        link.click()
        setTimeout(() => URL.revokeObjectURL(link.href), 10000)
    }
"""
# Bokeh's own tool leaves the figure as large as it is, and does not notice within a component that it is left.
_ENLARGE = """
    export default async ({ figure, square }) => {
        BESIDE
        const { el } = view, alone = () => el.getRootNode().fullscreenElement == el
        if (alone()) return document.exitFullscreen()
        const { sizing_mode, width, height, max_width, aspect_ratio, x_range: x, y_range: y } = figure
        await el.requestFullscreen()
        el.style.backgroundColor = getComputedStyle(document.body).backgroundColor
        const widest = square ? (innerHeight - 80) * (x.end - x.start) / (y.end - y.start) : innerWidth
        const size = { width: Math.round(Math.min(innerWidth, widest)), height: innerHeight }
        figure.setv({ sizing_mode: "fixed", max_width: null, aspect_ratio: null, ...size }, { sync: false })
        show(true)
        const back = () => {
            if (alone()) return
            el.removeEventListener("fullscreenchange", back)
            el.style.backgroundColor = ""
            figure.setv({ sizing_mode, width, height, max_width, aspect_ratio }, { sync: false })
            show(false)
        }
        el.addEventListener("fullscreenchange", back)
    }
""".replace("BESIDE", _BESIDE.strip())
_SQUARE = "square cells"  # the tag of such figures
_FEW = 4  # pictures beside each other, which can be larger
_NAME_SIZE = 11.5  # pixels
_SQUARE_CELLS = """
    const {x_range: x, y_range: y, inner_width, inner_height, outer_height} = figure
    const cell = inner_width / (x.end - x.start)
    const height = Math.round(cell * (y.end - y.start) + outer_height - inner_height)
    if (inner_width > 0 && Math.abs(height - outer_height) > 1) figure.height = height
    const size = `${Math.min(SIZE, Math.round(2 * cell / 6) / 2)}px`  // smaller than what is named
    for (const { glyph } of figure.renderers) {
        if (inner_width > 0 && glyph.type == "Text" && glyph.text_font_size?.value != size) glyph.text_font_size = size
    }
""".replace("SIZE", str(_NAME_SIZE))


def _bokeh_options(role: Role) -> dict[str, dict[str, Any]]:
    """Options of a role by the kind of layer."""

    def opacity(usual: float) -> float:
        return usual if role.opacity is None else role.opacity

    line = {"color": role.colour, "line_width": role.width, "line_dash": role.dash, "alpha": opacity(0.95)}
    points = {
        "marker": role.marker, "size": role.size, "fill_color": role.colour, "line_color": role.colour,
        "fill_alpha": 0.0 if role.ring else opacity(0.85), "line_width": 2.5 if role.ring else 0,
    }  # fmt: skip
    surface = {"fill_color": role.colour, "fill_alpha": opacity(1.0), "line_alpha": 0}
    # What a box does not select stays as it is: pictures mark what is selected by a layer of its own.
    line["nonselection_alpha"] = line["alpha"]
    points |= {"nonselection_fill_alpha": points["fill_alpha"], "nonselection_line_alpha": 1.0}
    surface |= {"nonselection_fill_alpha": surface["fill_alpha"], "nonselection_line_alpha": 0}
    tools = [*(["hover"] if role.hover else []), *([role.brush] if role.brush else [])]
    hover = {"tools": tools} if tools else {}
    return {
        "Curve": line | hover, "VLines": line, "HLines": line, "Scatter": points | hover,
        "Area": surface, "Histogram": surface | hover, "Rectangles": surface | hover,
    }  # fmt: skip


def _matplotlib_options(role: Role) -> dict[str, dict[str, Any]]:
    def opacity(usual: float) -> float:
        return usual if role.opacity is None else role.opacity

    colour = "black" if role.ink else role.colour
    line = {
        "color": colour, "linewidth": 0.7 * role.width, "linestyle": _DASHES[role.dash], "alpha": opacity(0.95),
    }  # fmt: skip
    points = {"marker": _MARKERS[role.marker], "s": (0.75 * role.size) ** 2}
    if role.ring:
        points |= {"facecolors": "none", "edgecolors": colour, "linewidth": 1.8}
    else:
        points |= {"color": colour, "alpha": opacity(0.65), "linewidth": 0}
    surface = {"facecolor": colour, "alpha": opacity(0.8), "edgecolor": "none"}
    return {
        "Curve": line, "VLines": line, "HLines": line, "Scatter": points,
        "Area": surface | {"show_legend": True}, "Histogram": surface, "Rectangles": surface,
    }  # fmt: skip


def _set(backend: str, element: str, group: str | None, **options: Any) -> None:
    """Add options to the style sheet of a backend: to the plot's where it has them, else to the style's."""
    own = set(Store.registry[backend][getattr(hv, element)].param)
    kinds = {
        "plot": {name: value for name, value in options.items() if name in own},
        "style": {name: value for name, value in options.items() if name not in own},
    }
    path = (element,) if group is None else (element, hv.core.util.group_sanitizer(group, escape=False))
    Store.options(backend=backend)[path] = {
        kind: Options(**values) for kind, values in kinds.items() if values
    }


def _axis_labels(element: Any) -> tuple[str, str]:
    """Of x and y: HoloViews takes them from the first layer, which may be a line that knows one of them."""
    first = next(layer for layer in element if len(layer.dimensions()) > 1)
    x, y = (dimension.pprint_label for dimension in first.dimensions()[:2])
    return x, "" if element.group in _NAMED else y


def finishing(name: str, says: str = "") -> Callable[[Any, Any], None]:
    """The hook that finishes a Bokeh figure of this name; ``says`` is what it shows, in words."""
    return functools.partial(_finish_bokeh, name=name, says=says)


def _finish_bokeh(plot: Any, element: Any, name: str | None = None, says: str = "") -> None:
    """What HoloViews has no option for: a name, tools that wait until they are asked, saving."""
    figure = plot.state
    if plot.overlaid or any(isinstance(tool, CustomAction) for tool in figure.tools):
        return
    name = name or element.group.lower().replace(" ", "-")
    figure.name = name
    figure.html_attributes = {"data-says": says or name}
    figure.output_backend = "canvas"  # WebGL is shared by all pictures of a page, and waits for each
    figure.styles = {"font-size": "12px"}  # the page's theme gives all texts of a figure in parts of it
    for part in plot.subplots.values():
        part.handles["glyph_renderer"].name = part.current_frame.group
    for tool in figure.tools:
        if isinstance(tool, HoverTool):
            tool.update(visible=False, limit=1)  # where points lie close, one text and not all
    figure.tools = [
        tool for tool in figure.tools if not isinstance(tool, PanTool | SaveTool)
    ]  # of the layers
    saved = {"png": _SAVE_PICTURE, "svg": _SAVE_PICTURE} | (
        {} if element.group == PICTURES else {"csv": _SAVE_NUMBERS}
    )
    for kind, make in saved.items():
        save = CustomJS(
            args={"figure": figure, "name": name, "kind": kind}, code=_SAVE.replace("MAKE", make.strip())
        )
        icon = _ICON.format(kind.upper())
        figure.add_tools(CustomAction(icon=icon, description=f"Save as {kind.upper()}", callback=save))
    enlarge = CustomJS(args={"figure": figure, "square": element.group == PICTURES}, code=_ENLARGE)
    figure.add_tools(CustomAction(icon="fullscreen", description="Enlarge", callback=enlarge))
    boxes = [tool for tool in figure.tools if isinstance(tool, BoxSelectTool)]
    figure.toolbar.active_drag = boxes[0] if boxes else None  # dragging must not move a picture by surprise
    figure.toolbar.active_scroll = None
    figure.toolbar.update(logo=None, stylesheets=[_TOOLS])
    figure.min_border_right = 12
    if element.group in _BARE:
        figure.grid.visible = False
        figure.outline_line_color = None
    elif element.group != PICTURES:
        figure.xaxis.axis_label, figure.yaxis.axis_label = _axis_labels(element)
    if element.group in _EACH_EPOCH:
        figure.xaxis.ticker.min_interval = 1
    if element.group in _NAMED:  # the names of the bars stand left of 0
        figure.xaxis.bounds = figure.xgrid.bounds = (0, element.range("amount")[1])
        figure.ygrid.visible = False
    for legend in figure.legend:
        legend.click_policy = "hide"
        legend.background_fill_alpha = legend.border_line_alpha = 0
        legend.padding = legend.margin = 2
        legend.styles = {"font-size": "12px"}
    show_legend_of_what_is_drawn(figure)
    _write_as_the_title(figure, plot)
    if element.group == PICTURES:
        square_cells(figure, *_cells(element))


def _write_as_the_title(figure: Any, plot: Any) -> None:
    """Have labels in a picture take the colour of its title, which the page's theme sets: no one grey reads well on
    both. Those in cells with a colour of their own stay."""
    for part in plot.subplots.values():
        glyph = part.handles.get("glyph")
        if isinstance(glyph, Text) and part.current_frame.group != "Cell value":
            copy = CustomJS(args={"glyph": glyph}, code="glyph.text_color = cb_obj.text_color")
            figure.title.js_on_change("text_color", copy)


def show_legend_of_what_is_drawn(figure: Any) -> None:
    """A legend names no layer that is empty for now."""
    for legend in figure.legend:
        for item in legend.items:
            item.visible = any(
                len(values)
                for renderer in item.renderers
                for values in itertools.islice(renderer.data_source.data.values(), 1)
            )


def square_cells(figure: Any, width: float, height: float) -> None:
    """Cells stay squares: a grid of so many cells is as wide as there is room, and no wider than pictures are worth
    looking at."""
    figure.title.visible = bool(figure.title.text) and CAPTIONED not in figure.tags  # an empty one takes room
    figure.sizing_mode = "stretch_width"
    figure.update(height=round(100 * height) + 35, max_width=widest_grid(width))
    if has_square_cells(figure):
        return
    figure.tags = [*figure.tags, _SQUARE]
    figure.axis.visible = figure.grid.visible = False
    figure.outline_line_color = None
    figure.min_border = 0
    # Title and tools keep their height while the pictures grow and shrink, which no option of Bokeh allows for.
    for size in ("inner_width", "inner_height"):
        figure.js_on_change(size, CustomJS(args={"figure": figure}, code=_SQUARE_CELLS))


def widest_grid(width: float) -> int:
    """Pixels that a grid of so many pictures side by side takes at most."""
    return round((170 if width > _FEW else 260) * width)


def has_square_cells(figure: Any) -> bool:
    """Whether a figure of Bokeh is a grid of pictures."""
    return _SQUARE in figure.tags


def _finish_matplotlib(plot: Any, element: Any) -> None:
    axis = plot.handles["axis"]
    if plot.overlaid or axis is None:
        return
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
    if element.group in _BARE:
        axis.set_axis_off()
    axis.set_axisbelow(True)
    _AXIS_LABELS[axis] = _axis_labels(element)
    # HoloViews labels the first of them x and y when another has upright lines.
    for drawn in axis.figure.axes:
        drawn.set(**dict(zip(("xlabel", "ylabel"), _AXIS_LABELS.get(drawn, ()), strict=False)))
    if element.group in _NAMED:
        axis.set_xticks([tick for tick in axis.get_xticks() if tick >= 0])
    title, legend = axis.get_title(), axis.get_legend()
    axis.title.set_text("")
    below = 6.0  # of the title, points
    if legend is not None:
        handles, labels = legend.legend_handles, [text.get_text() for text in legend.get_texts()]
        columns = _legend_columns(labels, 80 * axis.get_position().width * axis.figure.get_figwidth())
        axis.legend(
            handles, labels, loc="lower left", bbox_to_anchor=(-0.02, 0.995), ncols=columns, frameon=False,
            fontsize=_LEGEND, borderpad=0, handlelength=1.6, columnspacing=1.2, labelspacing=0.25,
        )  # fmt: skip
        below += 1.45 * _LEGEND * -(-len(labels) // columns)
    axis.set_title(title, fontsize=9, pad=below, loc="left")


def _legend_columns(labels: list[str], room: float) -> int:
    """How many columns of a legend fit into ``room`` points, three at most."""
    for n in (3, 2):
        columns = np.array_split(labels, n) if n <= len(labels) else [labels]
        if sum(_LETTER * max(map(len, column)) + 30 for column in columns) < room:
            return n
    return 1


def _finish_matplotlib_pictures(plot: Any, element: Any) -> None:
    if plot.overlaid:
        return
    axis = plot.handles["axis"]
    axis.set_axis_off()
    axis.set_aspect("equal")
    title = axis.get_title().replace("\n", " ")
    if 5.5 * len(title) < 72 * axis.figure.get_figwidth():  # a screen's lines are shorter
        axis.set_title(title)


def size_on_paper(picture: Any, columns: int = 1) -> tuple[float, float]:
    """Width and height of a picture in inches; beside others it is smaller."""
    if picture.group == PICTURES:
        width, height = _cells(picture)
        scale = min(1.0, _WIDEST / width)
        return scale * width, scale * height + 0.3
    asked = Store.lookup_options(_MATPLOTLIB, picture, "plot").kwargs.get("fig_inches", (4.4, 3.4))
    width, height = asked if isinstance(asked, tuple | list) else (asked, asked)
    narrow, low = _SMALLER[min(columns, 3) - 1]
    return narrow * width, low * height


def _cells(element: Any) -> tuple[float, float]:
    """Width and height of a grid of pictures, in cells."""
    (left, right), (bottom, top) = element.range("x"), element.range("y")
    return float(right - left), float(top - bottom)


@functools.cache
def load() -> None:
    """Declare the style sheets of both backends, once."""
    for name, role in ROLES.items():
        for backend, options in ((_BOKEH, _bokeh_options(role)), (_MATPLOTLIB, _matplotlib_options(role))):
            for element, values in options.items():
                _set(backend, element, name, **values)
    for name, (width, height) in SIZES.items():
        _set(
            _BOKEH, "Overlay", name, responsive=True, height=round(_PIXELS_PER_INCH * height), toolbar="above",
            autohide_toolbar=True, default_tools=["box_zoom", "wheel_zoom", "reset"],
            active_tools=[], show_grid=True, legend_position="top",
            legend_cols=_LEGEND_COLUMNS.get(name, 4), title="{label}\n{dimensions}",
            fontsize={"title": "12px", "labels": "12px", "ticks": "11px", "legend": "11px"},
            shared_axes=False, hooks=[_finish_bokeh],
        )  # fmt: skip
        _set(
            _MATPLOTLIB, "Overlay", name, fig_inches=(width, height), aspect="auto", legend_position="top",
            legend_cols=3, legend_opts={"frameon": False}, title="{label}\n{dimensions}", sublabel_format="",
            fontsize={"title": 9.5, "labels": 9, "ticks": 8, "legend": 8}, hooks=[_finish_matplotlib],
        )  # fmt: skip
    _set(
        _BOKEH, "Overlay", PICTURES, xaxis=None, yaxis=None, show_legend=False, toolbar="above", shared_axes=False,
        autohide_toolbar=True, default_tools=[], active_tools=[], title="{label}\n{dimensions}",
        fontsize={"title": "12px"}, hooks=[_finish_bokeh],
    )  # fmt: skip
    _set(
        _MATPLOTLIB, "Overlay", PICTURES, xaxis=None, yaxis=None, show_legend=False, title="{label}\n{dimensions}",
        sublabel_format="", fontsize={"title": 9.5}, hooks=[_finish_matplotlib_pictures],
    )  # fmt: skip
    for group, sides in {
        "Cell text": "center",
        "Cell value": "center",
        "Flag text": "left",
        "Axis value": "left",
        "Name": "right",
    }.items():
        _set(
            _BOKEH, "Labels", group, text_color=INK if group == "Cell value" else NEUTRAL,
            text_font_size=f"{_NAME_SIZE}px", text_align=sides, text_baseline="middle",
        )  # fmt: skip
        _set(
            _MATPLOTLIB, "Labels", group, color="#333333", size=7.5, horizontalalignment=sides,
            verticalalignment="center",
        )  # fmt: skip
    for backend in (_BOKEH, _MATPLOTLIB):
        for name in _NAMED:
            _set(backend, "Overlay", name, yaxis=None)
        for name in _BARE:
            _set(backend, "Overlay", name, xaxis=None, yaxis=None)
    _set(
        _BOKEH, "Rectangles", "Frame", fill_alpha=0, line_color=SELECTED, line_width=3,
    )  # fmt: skip
    _set(_MATPLOTLIB, "Rectangles", "Frame", facecolor="none", edgecolor=SELECTED, linewidth=2)
    _set(
        _BOKEH,
        "Rectangles",
        "Cell",
        fill_alpha=0,
        line_alpha=0,
        tools=["hover"],
        hover_tooltips=[("", "@text")],
    )
    _set(_MATPLOTLIB, "Rectangles", "Cell", facecolor="none", edgecolor="none")
    if Store.current_backend not in (_BOKEH, _MATPLOTLIB):
        Store.set_current_backend(_BOKEH)
