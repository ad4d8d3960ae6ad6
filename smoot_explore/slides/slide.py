"""One slide: a question, and a picture that a few controls move."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import panel_material_ui as pmui

from smoot_explore.views.sketch import Sketch

_DEBOUNCE_MILLISECONDS = 5  # Panel waits 50 ms for further moves before it tells the server of one


class Picture(NamedTuple):
    """What a slide shows: ``sketches`` takes the values of the controls by name, and gives pictures side by side."""

    controls: Mapping[str, Any]
    sketches: Callable[..., Sequence[Sketch]]


class Slide(NamedTuple):
    """A notebook's slide."""

    notebook: str  # the name of its file, without the ending
    title: str  # the notebook's own
    question: str  # for the room, before the slider is moved
    note: str  # what is seen, and of how many images
    picture: Callable[[], Picture]  # made when the slide is first shown


def slider(label: str, start: float, end: float, value: float, step: float = 1) -> Any:
    """A control for a number; whole steps are whole numbers."""
    kind = pmui.IntSlider if isinstance(step, int) else pmui.FloatSlider
    made = kind(label=label, start=start, end=end, value=value, step=step, **_LOOKS)
    made._debounce = _DEBOUNCE_MILLISECONDS
    return made


def values(label: str, options: Sequence[float], value: float) -> Any:
    """A slider over a few values."""
    made = pmui.DiscreteSlider(label=label, options=list(options), value=value, **_LOOKS)
    made._debounce = _DEBOUNCE_MILLISECONDS
    return made


def choice(label: str, options: Sequence[str] | Mapping[str, str], value: str) -> Any:
    """A row of buttons, of which one is pressed."""
    named = (
        dict(options) if isinstance(options, Mapping) else {name.replace("_", " "): name for name in options}
    )
    return pmui.RadioButtonGroup(
        label=label, options=named, value=value, size="medium", color="primary", margin=(0, 24, 0, 0), sx=_BUTTONS,
        stylesheets=[f"label {{ font-size: {_TEXT} !important }}"],
    )  # fmt: skip


_TEXT = "calc(1.5 * var(--u))"
_BUTTONS = {
    "& .MuiToggleButton-root": {
        "fontSize": _TEXT, "lineHeight": 1.2, "padding": "0.35em 0.8em", "textTransform": "none",
        "whiteSpace": "nowrap",
    },
}  # fmt: skip
_LOOKS: dict[str, Any] = {
    "sizing_mode": "stretch_width", "margin": (0, 32, 0, 0), "size": "medium",
    "sx": {
        "& .MuiTypography-root, & .MuiFormLabel-root": {"fontSize": _TEXT},
        "& .MuiSlider-thumb": {"width": "calc(1.7 * var(--u))", "height": "calc(1.7 * var(--u))"},
    },
}  # fmt: skip
