"""The training images of a run over its epochs: a map to brush and to pick from, and thumbnails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
import xarray as xr
from holoviews.streams import BoundsXY, Tap

from smoot_explore import views
from smoot_explore.engine.background import FILES
from smoot_explore.engine.coalesce import Coalescer
from smoot_explore.errors import reason
from smoot_explore.explorer.controls import text
from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.gestures import gesture
from smoot_explore.explorer.grid import Grid, part
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.explorer.state.dynamics import DynamicsState, Seen, seen_of
from smoot_explore.views.captioned import Captioned
from smoot_explore.views.pictures import cell_at
from smoot_explore.views.pixels import picture_pixels
from smoot_explore.views.sketch import Sketch

_SHOWN, _COLUMNS = 20, 10  # thumbnails
_REACH = 0.05  # of a tap, in probability
_NO_MAP = xr.Dataset(
    {name: ("image", np.empty(0)) for name in ("mean", "spread", "right")},
    {"image_id": ("image", np.empty(0, int))}, {"epochs": 0},
)  # fmt: skip
_NO_CURVES = xr.Dataset(
    {"probability": (("epoch", "image", "masked_fraction"), np.empty((0, 0, 1)))},
    {"epoch": np.empty(0, int), "masked_fraction": [0.0]},
)


class DynamicsPart:
    """Draws the map. ``open_image`` is called with a position among the training images."""

    def __init__(
        self,
        state: DynamicsState,
        open_image: Callable[[int], None],
        schedule: Callable[[Callable[[], None]], object],
    ) -> None:
        self.state = state
        self._reading = Coalescer(seen_of, self._read, FILES, schedule)
        self._looked_at: tuple = ()  # the run, and its number of epochs
        self._tolerance = 0.0  # of the classes
        self._shown: list[int] = []
        tap, box = gesture(Tap, self._tapped_map, schedule), gesture(BoundsXY, self._boxed, schedule)
        self.map = Captioned(views.dataset_map.sketch(_NO_MAP), "dataset-map", [tap, box], aspect=1.4)
        self.changes = Captioned(views.class_changes.sketch(_NO_CURVES), "class-changes", aspect=1.4)
        self.gallery = Captioned(
            self._gallery(), "trained-gallery", [gesture(Tap, self._tapped_picture, schedule)], margin=(0, 10)
        )
        self.words = text(
            "Each point is a training image. Above: easy from the start. Below: never learnt. On the right: the model "
            "changes its mind about it. Draw a box to see images, tap one to pick it."
        )
        self.picked = text(sizing_mode=None)
        self.open = pmui.Button(
            label="Open in Image", variant="contained", size="small", margin=(4, 10), width=140,
            on_click=lambda e: open_image(self.state.image_id),
        )  # fmt: skip
        self.none = pmui.Button(
            label="Select none", variant="text", size="small", margin=(4, 4), visible=False,
            on_click=lambda e: state.param.update(selected=[]),
        )  # fmt: skip
        self._changing = part(self.changes.panel, span=6, visible=False)
        self.panel = Grid(
            part(self.words, self.map.panel, span=6, lead=True),
            self._changing,
            part(pn.FlexBox(self.picked, self.open, self.none), self.gallery.panel, span=12),
        )
        state.param.watch(lambda *e: self.draw(), ["picked", "selected"])

    def look(self, opened: OpenedRun, tolerance: float) -> None:
        """Draw the map of a run; its record is read beside the page, and again when it has more epochs."""
        self._tolerance = tolerance
        looked_at = opened.run.path, opened.run.epochs
        if looked_at == self._looked_at:
            self._draw_changes()
        else:
            self._looked_at = looked_at
            self._reading.ask(opened)

    def _read(self, answer: Seen | BaseException) -> None:
        if isinstance(answer, BaseException):
            self._looked_at = ()  # it may be read the next time
            self.picked.object = escaped(f"The record of this run cannot be read: {reason(answer)}")
            return
        self.state.show(answer)
        self.draw()

    def draw(self) -> None:
        """Draw what the state holds."""
        state = self.state
        dynamics = state.dynamics
        self.open.disabled = dynamics is None
        self.none.visible = bool(state.selected)
        self.picked.object = escaped(state.problem or state.describe_picked())
        if dynamics is None:
            self.map.show(views.dataset_map.sketch(_NO_MAP))
        else:
            chosen = {"selected": state.selected, "picked": state.position}
            self.map.show(views.dataset_map.sketch(dynamics, None, state.names, **chosen))
        self._draw_changes()
        self._shown = [int(i) for i in state.shown[:_SHOWN]]
        self.gallery.show(self._gallery())

    def _draw_changes(self) -> None:
        curves = self.state.curves
        self._changing.visible = curves is not None
        if curves is not None:
            self.changes.show(views.class_changes.sketch(curves, self._tolerance))

    def _gallery(self) -> Sketch:
        state, shown = self.state, self._shown
        rows, texts, framed = [], [], None
        if shown and state.opened is not None:
            rows, names = [picture_pixels(state.opened.data.train.images[shown].numpy())], state.names
            texts = [names[i] for i in shown]
            if state.position in shown:
                row, column = divmod(shown.index(state.position), _COLUMNS)
                framed = column, row, 1, 1
        what = "the selected images" if state.selected else "the largest spread first"
        return views.picture_grid.sketch(
            rows, columns=_COLUMNS, n_rows=_SHOWN // _COLUMNS, texts=texts, framed=framed, cell=70,
            label=f"{len(shown)} of {len(state.shown):,}: {what}",
        )  # fmt: skip

    def _tapped_map(self, x: float | None, y: float | None) -> None:
        if x is not None and y is not None and (nearest := self.state.near(x, y, _REACH)) is not None:
            self.state.picked = nearest

    def _boxed(self, bounds: tuple[float, float, float, float] | None) -> None:
        if bounds is not None:
            self.state.selected = self.state.inside(*bounds)

    def _tapped_picture(self, x: float | None, y: float | None) -> Any:
        cell = cell_at(x, y, _COLUMNS, _SHOWN // _COLUMNS)
        if cell is not None and cell < len(self._shown):
            self.state.picked = self._shown[cell]
