"""What a picture is made of, before HoloViews draws it: axes, and layers of plain arrays.

A view makes a `Sketch` of a record. `element` turns it into HoloViews for whoever composes pictures, `columns` gives
each layer's numbers as a Bokeh source holds them, for the pictures that move: making elements takes many times as
long.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

_TITLE_CHARACTERS = 52  # of a line


class Axis(NamedTuple):
    """One axis; ``range`` says where it begins and ends, None takes it from the data."""

    name: str
    label: str
    unit: str | None = None
    range: tuple[float | None, float | None] = (None, None)


class Layer(NamedTuple):
    """Curve, points or anything else of one `looks.ROLES` role. A layer without numbers draws nothing."""

    kind: str  # of KINDS
    role: str
    numbers: tuple[Any, ...]
    label: str = ""  # in the legend
    told: Mapping[str, Any] = {}  # under the pointer, by name: one for each point


def wrapped(title: str, characters: int = _TITLE_CHARACTERS) -> str:
    """A title in lines that fit above a picture: Bokeh cuts what is longer."""
    return "\n".join(textwrap.wrap(title, characters))


class Sketch(NamedTuple):
    """A picture to be drawn. All layers share its axes; ``name`` is that of its looks."""

    name: str
    title: str
    x: Axis
    y: Axis
    layers: tuple[Layer, ...]


def said(sketch: Sketch) -> str:
    """What a picture shows, in a sentence, for those who cannot see it."""
    title = " ".join(sketch.title.split()) or sketch.name
    drawn = list(
        dict.fromkeys(layer.label for layer in sketch.layers if layer.label and len(layer.numbers[0]))
    )
    axes = "" if sketch.x.label == "x" else f", {sketch.y.label} over {sketch.x.label}"
    return f"{title}{axes}{': ' if drawn else ''}{', '.join(drawn)}"


def curve(role: str, x: Any, y: Any, label: str = "", told: Mapping[str, Any] | None = None) -> Layer:
    """A line; NaN leaves a gap."""
    return Layer("Curve", role, (np.asarray(x), np.asarray(y)), label, told or {})


def points(role: str, x: Any, y: Any, label: str = "", told: Mapping[str, Any] | None = None) -> Layer:
    """Points."""
    return Layer("Scatter", role, (np.asarray(x), np.asarray(y)), label, told or {})


def band(role: str, x: Any, low: Any, high: Any, label: str = "") -> Layer:
    """What lies between two lines."""
    return Layer("Area", role, (np.asarray(x, float), np.asarray(low, float), np.asarray(high, float)), label)


def histogram(role: str, edges: Any, counts: Any, label: str = "") -> Layer:
    """Bars between edges ``(n + 1,)``, of heights ``(n,)``."""
    return Layer("Histogram", role, (np.asarray(edges, float), np.asarray(counts)), label)


def boxes(role: str, sides: Sequence[Any], label: str = "", told: Mapping[str, Any] | None = None) -> Layer:
    """Rectangles; ``sides`` are left, bottom, right and top of each."""
    left, bottom, right, top = (np.asarray(side, float) for side in sides)
    return Layer("Rectangles", role, (left, bottom, right, top), label, told or {})


def words(role: str, x: Any, y: Any, texts: Sequence[str]) -> Layer:
    """Texts at places."""
    return Layer("Labels", role, (np.asarray(x, float), np.asarray(y, float), list(texts)))


def upright(role: str, x: Any, label: str = "") -> Layer:
    """Lines from the bottom to the top."""
    return Layer("VLines", role, (np.asarray(x, float),), label)


def level(role: str, y: Any, label: str = "") -> Layer:
    """Lines from the left to the right."""
    return Layer("HLines", role, (np.asarray(y, float),), label)


def pixels(rgba: np.ndarray, left: float, bottom: float, right: float, top: float) -> Layer:
    """A picture, uint8 ``(H, W, 4)``, filling a rectangle."""
    return Layer("RGB", "Pixels", (rgba, (float(left), float(bottom), float(right), float(top))))


def element(sketch: Sketch) -> Any:
    """The picture as an overlay of HoloViews, which knows its sketch."""
    import holoviews as hv

    from smoot_explore.views import looks

    looks.load()
    x, y = (hv.Dimension(a.name, label=a.label, unit=a.unit, range=a.range) for a in (sketch.x, sketch.y))
    layers = [_element(layer, x, y) for layer in sketch.layers]
    drawn = hv.Overlay(layers, group=sketch.name, label=sketch.title)
    drawn.sketch = sketch
    return drawn


def _element(layer: Layer, x: Any, y: Any) -> Any:
    import holoviews as hv

    kind, numbers, told = getattr(hv, layer.kind), layer.numbers, list(layer.told)
    named: dict[str, Any] = {"group": layer.role, "label": layer.label}
    extra = tuple(np.asarray(values) for values in layer.told.values())
    match layer.kind:
        case "Curve" | "Scatter":
            return kind((*numbers, *extra), x, [y, *told], **named)
        case "Area":
            return kind(numbers, x, [y, f"{y.name}_high"], **named)
        case "Histogram":
            return kind(numbers, kdims=[x], vdims=[y], **named)
        case "Rectangles":
            ends = [x, y, f"{x.name}_end", f"{y.name}_end"]
            return kind((*numbers, *extra), ends, told, **named)
        case "Labels":
            return kind((*numbers[:2], np.asarray(numbers[2], str)), [x, y], "text", **named)
        case "VLines" | "HLines":
            return kind(numbers[0], kdims=[x if layer.kind == "VLines" else y], **named)
        case "RGB":
            return kind(numbers[0], kdims=[x, y], bounds=numbers[1], vdims=list("RGBA"), group=layer.role)
    raise ValueError(f"there is no layer of the kind {layer.kind!r}")


def columns(layer: Layer, x: str, y: str) -> dict[str, Any]:
    """A layer's numbers by the names that HoloViews gives them in a Bokeh source; ``x`` and ``y`` name the axes."""
    numbers, told = layer.numbers, {name: list(values) for name, values in layer.told.items()}
    match layer.kind:
        case "Curve" | "Scatter":
            return {x: numbers[0], y: numbers[1], **told}
        case "Area":
            at, low, high = numbers
            return {"x": np.concatenate([at, at[::-1]]), "y": np.concatenate([high, low[::-1]])}
        case "Histogram":
            edges, counts = numbers
            middles = (edges[1:] + edges[:-1]) / 2
            return {"left": edges[:-1], "right": edges[1:], "top": counts, x: middles, y: counts}
        case "Rectangles":
            left, bottom, right, top = numbers
            sides = {"left": left, "bottom": bottom, "right": right, "top": top}
            return {**sides, x: left, y: bottom, f"{x}_end": right, f"{y}_end": top, **told}
        case "Labels":
            return {x: numbers[0], y: numbers[1], "text": numbers[2]}
        case "VLines" | "HLines":
            return {x if layer.kind == "VLines" else y: numbers[0]}
        case "RGB":
            rgba, (left, bottom, right, top) = numbers
            upside_down = np.ascontiguousarray(rgba[::-1]).view(np.uint32)[..., 0]
            place = {"x": [left], "y": [bottom], "dw": [right - left], "dh": [top - bottom]}
            return {"image": [upside_down], **place}
    raise ValueError(f"there is no layer of the kind {layer.kind!r}")


def extent(sketch: Sketch, which: int) -> tuple[float, float] | None:
    """Where the axis along x (0) or y (1) begins and ends: as it says, else where the data do, with some room."""
    low, high = (sketch.x, sketch.y)[which].range
    if low is None or high is None:
        values = [v for layer in sketch.layers for v in _along(layer, which) if v.size]
        finite = [v[np.isfinite(v)] for v in values]
        finite = [v for v in finite if v.size]
        if not finite:
            return None
        first, last = min(float(v.min()) for v in finite), max(float(v.max()) for v in finite)
        room = _ROOM * (last - first) or 0.5
        low = first - room if low is None else low
        high = last + room if high is None else high
    return float(low), float(high)


_ROOM = 0.06  # of an axis' length, beyond the data


def _along(layer: Layer, which: int) -> list[np.ndarray]:
    """The numbers of a layer that lie along an axis."""
    numbers = layer.numbers
    match layer.kind:
        case "Curve" | "Scatter":
            return [np.asarray(numbers[which], float)]
        case "Area":
            return [numbers[0]] if which == 0 else list(numbers[1:])
        case "Histogram":
            return [np.asarray(numbers[which], float)]
        case "Rectangles":
            return [numbers[which], numbers[which + 2]]
        case "VLines" | "HLines":
            return [numbers[0]] if which == ("VLines", "HLines").index(layer.kind) else []
    return []
