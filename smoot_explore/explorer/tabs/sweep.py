"""The part of the Compare tab that shows a sweep: a map, curves and parallel coordinates of its trainings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui
import xarray as xr

from smoot_explore.engine.background import OPENING
from smoot_explore.engine.coalesce import Coalescer
from smoot_explore.errors import reason
from smoot_explore.explorer.controls import control, small_text, values_slider
from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.grid import part
from smoot_explore.explorer.state.sweep import Pictures, SweepState, pictures
from smoot_explore.views.captioned import Captioned
from smoot_explore.views.view import Frames

_MOST_BESIDE = 5  # columns of a map that has the curves beside it


class SweepPart:
    """Draws a sweep. Opening one, and reading what its pictures need, goes on beside the page.

    Parameters
    ----------
    open_sweep
        Gives the sweep of a name; called beside the page.
    """

    def __init__(
        self,
        state: SweepState,
        open_sweep: Callable[[str], xr.Dataset],
        schedule: Callable[[Callable[[], None]], object],
        complain: Callable[[str], None],
    ) -> None:
        self.state, self._complain = state, complain
        self._opening = Coalescer(lambda name: (name, open_sweep(name)), self._opened, OPENING, schedule)
        self._reading = Coalescer(
            lambda name, *asked: (name, pictures(*asked)), self._show, OPENING, schedule
        )
        self._asked = ""  # the sweep that is opened, or being opened
        self.note = small_text(margin=(0, 10, 8, 10))
        self.again = pmui.Button(
            label="Look again", variant="text", size="small", margin=(12, 4),
            on_click=lambda e: self._open(), visible=False,
            description="Read the sweep's folder once more; it may be in work.",
        )  # fmt: skip
        self.map, self.curves, self.coordinates = (
            _Framed(name) for name in ("sweep-map", "sweep-curves", "sweep-coordinates")
        )
        self.upper = pn.Column(sizing_mode="stretch_width")
        self._beside = pn.Row(self.map.panel, self.curves.panel, sizing_mode="stretch_width")
        self.pictures = pn.Column(
            pn.Row(
                *(control(state, n) for n in ("quantity", "across", "down", "along")),
                sizing_mode="stretch_width",
            ),
            self.upper,
            self.coordinates.panel,
            sizing_mode="stretch_width",
            visible=False,
        )
        self.panel = part(
            pn.Row(control(state, "chosen", margin=(10, 10, 4, 10)), self.again, sizing_mode="stretch_width"),
            self.note,
            self.pictures,
            span=12,
        )
        self._offered()
        state.param.watch(self._offered, "chosen", what="objects")
        state.param.watch(lambda event: self.refresh(), "chosen")
        state.param.watch(lambda *events: self._read(), ["opened", "quantity", "across", "down", "along"])

    def refresh(self) -> None:
        """Show the chosen sweep."""
        if self.state.chosen != self._asked:
            self._open()

    def _offered(self, *events: Any) -> None:
        self.panel.visible = len(self.state.param.chosen.objects) > 1

    def _open(self) -> None:
        self._asked = name = self.state.chosen
        self.again.visible = bool(name)
        self.note.object = f"Opening {escaped(name)} …" if name else ""
        if name:
            self._opening.ask(name)
        else:
            self.state.opened, self.pictures.visible = None, False

    def _opened(self, answer: tuple[str, xr.Dataset] | BaseException) -> None:
        if isinstance(answer, BaseException):
            self.state.opened, self.pictures.visible = None, False
            self.note.object = f"It cannot be opened: {escaped(reason(answer))}"
            return
        name, found = answer
        if name == self.state.chosen:
            self.state.show(found)

    def _read(self) -> None:
        if self.state.opened is not None:
            self.note.object = f"Reading {escaped(self._asked)} …"
            self._reading.ask(self._asked, self.state.opened, *self.state.choices)

    def _show(self, answer: tuple[str, Pictures] | BaseException) -> None:
        if isinstance(answer, BaseException):
            self.note.object = escaped(self.state.standing())
            self._complain(reason(answer))
            return
        name, drawn = answer
        if (
            name != self.state.chosen or self.state.opened is None
        ):  # another one, or none, was chosen meanwhile
            return
        with pn.io.hold():
            for framed, frames in zip((self.map, self.curves, self.coordinates), drawn, strict=True):
                framed.show(frames)
            wide = self.state.opened.sizes[self.state.across] > _MOST_BESIDE
            arranged = [self.map.panel, self.curves.panel] if wide else [self._beside]
            if self.upper.objects != arranged:
                self.upper.objects = arranged
            self.note.object = escaped(self.state.standing())
            self.pictures.visible = True


class _Framed:
    """A picture with a slider for each dimension that it does not draw."""

    def __init__(self, name: str) -> None:
        self.live: Captioned | None = None
        self.sliders = pn.Row(sizing_mode="stretch_width")
        self.why = small_text(margin=(4, 10), visible=False)
        self.panel = pn.Column(self.sliders, self.why, sizing_mode="stretch_width")
        self._name = name
        self._frames: Frames | None = None

    def show(self, frames: Frames | str) -> None:
        """Show a picture; or why there is none."""
        if isinstance(frames, str):
            self.why.param.update(object=escaped(frames), visible=True)
            self.sliders.visible = False
            if self.live is not None:
                self.live.visible = False
            return
        if self._frames is None or frames.keys != self._frames.keys:
            self.sliders.objects = [values_slider(*key) for key in frames.keys.items()]
            for slider in self.sliders:
                slider.param.watch(lambda event: self._draw(), "value")
        self._frames = frames
        self.why.visible, self.sliders.visible = False, True
        self._draw()

    def _draw(self) -> None:
        assert self._frames is not None
        chosen = [slider.value for slider in self.sliders]
        sketch = self._frames.at(**dict(zip(self._frames.keys, chosen, strict=True)))
        if self.live is None:
            self.live = Captioned(sketch, self._name)
            self.panel.append(self.live.panel)
        else:
            self.live.show(sketch)
        self.live.visible = True
