"""The page of all slides: one at a time, as large as the screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import panel as pn
import panel_material_ui as pmui

from smoot_explore.slides.course import COURSE
from smoot_explore.slides.projected import Projected
from smoot_explore.slides.slide import Slide
from smoot_explore.slides.turning import Turning
from smoot_explore.views.live import sides
from smoot_explore.views.looks import PICTURES

# A hundredth of the width of the largest 16:9 that the window holds.
_UNIT = ":root { --u: min(1vw, 1.7778vh) }"
_GRID, _PLOT = 34, 36  # units: how high pictures are
_FONT = 'Roboto, "Helvetica Neue", Arial, sans-serif'
_COLOURS = {
    "light": {"page": "#ffffff", "ink": "#1d2126", "soft": "#59616b", "line": "#d9dde2"},
    "dark": {"page": "#121417", "ink": "#e9ebee", "soft": "#a9b0b9", "line": "#343a42"},
}
_SX = {
    ".MuiAppBar-root": {"bgcolor": "primary.contrastText", "color": "primary.main", "boxShadow": "none"},
    "& .header": {"backgroundImage": "none", "borderBottom": "1px solid", "borderColor": "divider"},
    "& .header, & .MuiToolbar-root": {
        "minHeight": "calc(4 * var(--u)) !important",
        "height": "calc(4 * var(--u))",
    },
    "& .header .title": {"display": "none"},
    "& .main > .MuiBox-root > .MuiToolbar-root, & .main > .MuiToolbar-root": {"margin": 0},
    "& .main": {"backgroundColor": "background.default"},
}
_QUESTION = {"fontSize": "max(28px, calc(2.7 * var(--u)))", "fontWeight": 600, "lineHeight": 1.2}
_NOTE = {"fontSize": "calc(1.5 * var(--u))", "lineHeight": 1.25, "color": "text.secondary"}
_STAGE = {"padding": "calc(1 * var(--u)) calc(2 * var(--u))", "box-sizing": "border-box"}
_BAR = {"fontSize": "calc(1.5 * var(--u))", "lineHeight": 1.2}


class Deck:
    """Slides to turn; each is made when it is first shown, and stays as it was left.

    Parameters
    ----------
    slides
        By default those of the course.
    number
        The one that is shown first, from 1; the nearest where there is none of that number.
    """

    def __init__(self, slides: Sequence[Slide] = COURSE, number: int = 1) -> None:
        self.slides = slides
        self._made: dict[int, pn.Column] = {}
        self._title = _words("", _BAR)
        self._buttons = [
            _button("←", "Slide before", -1, self.turn),
            _button("→", "Next slide", 1, self.turn),
        ]
        self._stage = pn.Column(sizing_mode="stretch_both", margin=0, styles=_STAGE)
        self.turning = Turning(self.turn)
        self.page = pmui.Page(
            title="Slides", header=[pn.Row(self._title, *self._buttons, sizing_mode="stretch_width", margin=0)],
            main=[self._stage, self.turning], theme_config=_theme(), sx=_SX, raw_css=[_UNIT], busy_indicator=None,
        )  # fmt: skip
        self.page.param._update_ref("busy", None)  # else the page would be told at each tick that it is busy
        self.number = 0
        self.show(number)

    def turn(self, by: int) -> None:
        """Go so many slides on, or back; the first and the last are the ends."""
        self.show(self.number + by)

    def show(self, number: int) -> None:
        """Show the slide of this number, from 1."""
        number = min(max(number, 1), len(self.slides))
        if number == self.number:
            return
        self.number = self.turning.number = number
        slide = self.slides[number - 1]
        self._title.object = (
            f"{number} / {len(self.slides)} · **{slide.title}** (notebook {slide.notebook[:2]})"
        )
        for button, end in zip(self._buttons, (1, len(self.slides)), strict=True):
            button.disabled = number == end
        if number in self._made:
            self._stage.objects = [self._made[number]]
            return
        self._stage.objects = [_words("Computing …", _BAR)]
        # At the next tick: what is shown by now reaches the page first.
        document = pn.state.curdoc
        (document.add_next_tick_callback if document else _at_once)(lambda: self._make(number))

    def _make(self, number: int) -> None:
        """Make the picture of a slide, unless the visitor has turned on."""
        if number != self.number:
            return
        if number not in self._made:
            self._made[number] = _made(self.slides[number - 1])
        self._stage.objects = [self._made[number]]


def asked() -> int:
    """The number in the visitor's address, ``?slide=3``; 1 where there is none."""
    values = (pn.state.session_args or {}).get("slide", [b"1"])
    try:
        return int(values[0])
    except ValueError:
        return 1


def _at_once(call: Callable[[], None]) -> None:
    call()


def _made(slide: Slide) -> pn.Column:
    picture = slide.picture()

    def sketches() -> Sequence[Any]:
        return picture.sketches(**{name: control.value for name, control in picture.controls.items()})

    shown = [Projected(sketch, **_place(sketch)) for sketch in sketches()]

    def move(*events: Any) -> None:
        with pn.io.hold():
            for one, sketch in zip(shown, sketches(), strict=True):
                one.show(sketch)

    for control in picture.controls.values():
        control.param.watch(move, "value")
    row, middle = {"align-items": "center", "width": "100%"}, {"justify-content": "center"}
    return pn.Column(
        _words(slide.question, _QUESTION),
        pn.Row(*picture.controls.values(), sizing_mode="stretch_width", margin=(4, 0), styles=row),
        pn.Row(*(one.pane for one in shown), sizing_mode="stretch_both", margin=0, styles=middle),
        _words(slide.note, _NOTE),
        sizing_mode="stretch_both",
        margin=0,
    )  # fmt: skip


def _place(sketch: Any) -> dict[str, Any]:
    """How a picture fills its place: a grid of pictures by its cells, a plot all the room that there is."""
    if sketch.name == PICTURES:
        width, height = sides(sketch)
        wide = f"calc({_GRID * width / height:.2f} * var(--u))"
        return {"styles": {"width": wide, "max-width": "100%", "flex": "none"}}
    return {
        "sizing_mode": "stretch_both",
        "styles": {"height": f"calc({_PLOT} * var(--u))", "min-width": "0"},
    }


def _words(words: str, sx: dict[str, Any], **options: Any) -> pmui.Typography:
    return pmui.Typography(words, sx=sx, margin=(4, 0), **({"sizing_mode": "stretch_width"} | options))


def _button(label: str, words: str, by: int, turn: Any) -> pmui.Button:
    return pmui.Button(
        label=label,
        description=words,
        variant="text",
        margin=0,
        width=64,
        sx={**_BAR, "color": "text.primary"},
        on_click=lambda event: turn(by),
    )


def _theme() -> dict[str, Any]:
    return {
        name: {
            "palette": {
                **{
                    kind: {"main": one["ink"], "contrastText": one["page"]} for kind in ("primary", "default")
                },
                "background": {"default": one["page"], "paper": one["page"]},
                "text": {"primary": one["ink"], "secondary": one["soft"]},
                "divider": one["line"],
            },
            "typography": {"fontFamily": _FONT},
        }
        for name, one in _COLOURS.items()
    }
