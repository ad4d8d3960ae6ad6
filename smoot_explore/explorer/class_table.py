"""The trainings of a class as a table with small pictures, as HTML."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.state.class_board import Told
from smoot_explore.views.palette import COLOURS, METHOD_NAMES, NEUTRAL, symbol

_WIDTH, _HEIGHT = 96, 28  # of a small picture, pixels
_CELL = "padding:4px 8px;border-bottom:1px solid #8886;text-align:"
_HEADS = ("training", "state", "method", "settings", "accuracy (%)", "over epochs", "k of all images")
_EMPTY = """
<h2 style="margin:0 0 8px;font-size:14px;line-height:20px;font-weight:600">Trainings of this class</h2>
<div style="font-size:13px;line-height:18px">
<p style="margin:0 0 4px"><b>No page of this server has a training yet.</b> To begin: open Train, press Train, come
back.</p>
<ul style="margin:0;padding-left:20px">
<li>Every training appears here as a row while it runs, from whichever page: its settings, accuracy and k.</li>
<li>Below, each is a point over the setting chosen on the left: many students make one sweep.</li>
<li>A training has the name that is typed on the left, or none.</li>
</ul></div>
"""


def class_table(trainings: Sequence[tuple[str, Told]]) -> str:
    """A row for each training, given with its name; names are escaped."""
    if not trainings:
        return _EMPTY
    heads = "".join(f'<th scope="col" style="{_CELL}left">{head}</th>' for head in _HEADS)
    rows = "".join(_row(name, told) for name, told in trainings)
    return (
        '<div style="overflow-x:auto"><table style="border-collapse:collapse;width:100%;font-size:13px">'
        f"<tr>{heads}</tr>{rows}</table></div>"
    )


def _row(name: str, told: Told) -> str:
    accuracy = f"{told.accuracy:.1f}" if told.accuracies else "–"
    cells = [
        escaped(name), _state(told), METHOD_NAMES.get(str(told.settings["method"]), ""), _settings(told), accuracy,
        _line(told), _bands(told),
    ]  # fmt: skip
    return "<tr>" + "".join(f'<td style="{_CELL}left">{cell}</td>' for cell in cells) + "</tr>"


def _state(told: Told) -> str:
    if told.place:
        return f"waits, place {told.place}"
    return f"{escaped(told.status)}, epoch {told.epoch} of {told.epochs}"


def _settings(told: Told) -> str:
    """What matters for the method."""
    names = {"traditional": (), "sgt": ("kl_weight",)}.get(
        str(told.settings["method"]), ("alpha", "beta", "kl_weight")
    )
    words = [f"{symbol(name)} {told.settings[name]:g}" for name in (*names, "learning_rate")]
    return ", ".join(filter(None, [*words, escaped(told.data)]))


def _line(told: Told) -> str:
    values = np.array(told.accuracies) / 100
    if len(values) < 2:
        return ""
    colour = COLOURS.get(str(told.settings["method"]), NEUTRAL)
    words = f"accuracy from {told.accuracies[0]:.1f} to {told.accuracies[-1]:.1f} per cent"
    return _picture(
        words, f'<polyline points="{_places(values)}" fill="none" stroke="{colour}" stroke-width="2"/>'
    )


def _bands(told: Told) -> str:
    """Nine tenths of the images, half of them, and their median; up to the whole image."""
    bands = told.k_bands
    if bands.shape[1] < 2:
        return ""
    colour = COLOURS["smoot"]
    shapes = list[str]()
    for low, high, opacity in ((0, 4, 0.25), (1, 3, 0.4)):
        outline = f"{_places(bands[low])} {_places(bands[high], back=True)}"
        shapes.append(f'<polygon points="{outline}" fill="{colour}" opacity="{opacity}"/>')
    median = f'<polyline points="{_places(bands[2])}" fill="none" stroke="{colour}" stroke-width="2"/>'
    words = f"median of k, from {100 * bands[2, 0]:.0f} to {100 * bands[2, -1]:.0f} per cent of the image"
    return _picture(words, "".join([*shapes, median]))


def _places(values: np.ndarray, back: bool = False) -> str:
    """Shares 0 … 1 from the left to the right, or back."""
    x = np.linspace(1, _WIDTH - 1, len(values))
    y = _HEIGHT - 1 - (_HEIGHT - 2) * np.clip(values, 0, 1)
    places = [f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)]
    return " ".join(reversed(places) if back else places)


def _picture(words: str, shapes: str) -> str:
    return (
        f'<svg role="img" aria-label="{words}" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f"{shapes}</svg>"
    )
