"""The Class tab: the trainings of all pages of this server."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import panel as pn
import xarray as xr

from smoot_explore import views
from smoot_explore.engine.background import FILES
from smoot_explore.engine.coalesce import Coalescer
from smoot_explore.explorer.class_table import class_table
from smoot_explore.explorer.controls import control
from smoot_explore.explorer.grid import Grid, part
from smoot_explore.explorer.state.class_board import LONGEST_NAME, Told
from smoot_explore.explorer.state.class_state import ClassState, points_of
from smoot_explore.runs.run import Run
from smoot_explore.views.captioned import Captioned
from smoot_explore.views.sketch import Sketch


class ClassTab:
    """Draws the table and the scatter. ``runs`` gives the kept runs: another list when they are others."""

    def __init__(
        self,
        state: ClassState,
        runs: Callable[[], Sequence[Run]],
        schedule: Callable[[Callable[[], None]], object],
    ) -> None:
        self.state, self._runs = state, runs
        self._read: Sequence[Run] | None = None  # whose numbers are read, or being read
        self._reading = Coalescer(points_of, self._show_kept, FILES, schedule)
        self._drawn: list[tuple[str, Told]] | None = None
        self.table = pn.pane.HTML("", sizing_mode="stretch_width", margin=0)
        self.scatter = Captioned(self._sketch(state.points()), "class-board")
        self.points = part(self.scatter.panel, span=12, wide=8)
        self.controls = [
            control(state, "name_here", max_length=LONGEST_NAME), *(control(state, n) for n in ("across", "quantity"))
        ]  # fmt: skip
        self.panel = Grid(part(self.table, span=12, lead=True), self.points)
        self._draw()
        state.param.watch(lambda *e: self._draw(), ["across", "quantity"])

    def refresh(self) -> None:
        """Draw what the class tells now, when it is something new."""
        runs = self._runs()
        if runs is not self._read:
            self._read = runs
            self._reading.ask(list(runs))
        if self.state.trainings() != self._drawn:
            self._draw()

    def _draw(self) -> None:
        self._drawn, points = self.state.trainings(), self.state.points()
        self.table.object = class_table(self._drawn)
        self.scatter.show(self._sketch(points))
        # Axes without a point say nothing.
        self.points.visible = self.scatter.visible = bool(points.sizes["run"])

    def _show_kept(self, answer: xr.Dataset | BaseException) -> None:
        if not isinstance(answer, BaseException):
            self.state.kept = answer
            self._draw()

    def _sketch(self, points: xr.Dataset) -> Sketch:
        return views.class_board.sketch(points, self.state.across, self.state.quantity)
