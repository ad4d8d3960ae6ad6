"""The Compare tab: runs side by side, and the pictures of a sweep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn

from smoot_explore import views
from smoot_explore.engine.background import FILES, MAPS
from smoot_explore.engine.coalesce import Coalescer
from smoot_explore.errors import reason
from smoot_explore.explorer.controls import control, small_text
from smoot_explore.explorer.download import download
from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.export import compare_page, table_html
from smoot_explore.explorer.grid import Grid, part
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.explorer.state.compare import (
    N_COMPARED_IMAGES,
    CompareState,
    compared_images,
    missing_maps,
)
from smoot_explore.explorer.tabs.sweep import SweepPart
from smoot_explore.views.captioned import Captioned
from smoot_explore.views.curves import no_drop
from smoot_explore.views.palette import in_words


class CompareTab:
    """Draws the table, the accuracy drops and the saliency of several runs."""

    def __init__(
        self,
        state: CompareState,
        chooser: Any,
        sweeps: SweepPart,
        going_on: Any,
        measure: Callable[[], None],
        schedule: Callable[[Callable[[], None]], object],
        complain: Callable[[str], None],
    ) -> None:
        self.state, self.sweeps, self._measure, self._complain = state, sweeps, measure, complain
        self.drops = Captioned(no_drop("Accuracy drop"), "accuracy-drop")
        self.latest = Coalescer(self._compute, self._show_maps, MAPS, schedule)
        self._tabulating = Coalescer(self._tabulate, self._show_table, FILES, schedule)
        self.table = pn.pane.HTML("", sizing_mode="stretch_width", margin=(4, 0))
        self.note = small_text(margin=0)
        self.maps = Captioned(views.picture_grid.sketch([], columns=N_COMPARED_IMAGES), "saliency", margin=0)
        self.missing = small_text(margin=0, visible=False)
        self.csv = download("Table as CSV", "comparison.csv", self._csv, FILES, schedule, complain)
        self.page = download(
            "This view as one HTML file", "comparison.html", self._page, MAPS, schedule, complain
        )
        self.controls = [
            chooser,
            *(control(state, n) for n in ("fill", "attribution", "scale", "less_random", "seeds_together")),
        ]
        self.panel = Grid(
            sweeps.panel,
            part(going_on, self.table, self.note, pn.FlexBox(self.csv, self.page), span=12),
            part(self.drops.panel, span=6, lead=True, alone=True),
            part(self.missing, self.maps.panel, span=6, alone=True),
        )
        state.param.watch(self._protocol_chosen, ["fill", "attribution", "less_random"])
        state.param.watch(lambda *e: self.refresh(), "seeds_together")
        state.param.watch(lambda *e: self._ask(), "scale")

    def refresh(self) -> None:
        """Draw everything anew."""
        self.sweeps.refresh()
        self.show_measured()
        self._ask()

    def show_measured(self) -> None:
        """Draw the table and the accuracy drops."""
        state = self.state
        self._tabulating.ask(state.snapshot())
        curves, others = state.comparable()
        n = {c.sizes["image"] for c in curves.values()}
        missing = [s.label for s in state.missing]
        problems = [f"{label} cannot be measured ({why})" for label, why in state.problems().items()]
        title = (
            f"Accuracy drop: {state.protocol}"
            f"{', n = ' + ', '.join(f'{x:,}' for x in sorted(n)) if n else ''}"
            f"{'; of other test images and left out: ' + ', '.join(others) if others else ''}"
            f"{'; being measured: ' + ', '.join(missing) if missing else ''}"
            f"{'; ' + '; '.join(problems) if problems else ''}"
        )
        self.drops.show(state.drops(title))

    def _tabulate(self, state: CompareState) -> tuple[str, str]:
        """The table and its note; beside the page, because it reads the runs' records."""
        if not state.opened_runs:
            return (
                "No run is open yet. The chosen ones are being opened; where there is none, choose one.",
                "",
            )
        return table_html(*state.table()), escaped(state.note())

    def _show_table(self, answer: tuple[str, str] | BaseException) -> None:
        if isinstance(answer, BaseException):
            self._complain(reason(answer))
        else:
            self.table.object, self.note.object = answer

    def _ask(self) -> None:
        state = self.state
        self.latest.ask(tuple(state.opened_runs), state.attribution, state.scale)

    def _compute(self, opened_runs: tuple[OpenedRun, ...], attribution: str, scale: str) -> Any:
        images = compared_images(opened_runs[0]) if opened_runs else None
        return images, self.state.maps(opened_runs, attribution), attribution, scale

    def _show_maps(self, answer: Any) -> None:
        if isinstance(answer, BaseException):
            self._complain(reason(answer))
            return
        images, maps, attribution, scale = answer
        missing = missing_maps(maps.problems)
        self.missing.param.update(object=escaped(missing), visible=bool(missing))
        if images is None:
            self.maps.show(views.picture_grid.sketch([], columns=N_COMPARED_IMAGES))
            return
        ids = ", ".join(str(i) for i in images.image_ids.tolist())
        label = f"Saliency of the label by {in_words(attribution)}: test images {ids}"
        self.maps.show(views.saliency_maps.sketch(images, maps, scale=scale, label=label, cell=54))

    def _protocol_chosen(self, *events: Any) -> None:
        self.refresh()
        self._measure()

    def _csv(self) -> Callable[[], bytes]:
        shown = self.state.snapshot()
        return lambda: shown.to_csv().encode()

    def _page(self) -> Callable[[], Callable[[], bytes]]:
        shown = self.state.snapshot()

        def made() -> Callable[[], bytes]:
            drawn = compare_page(shown)
            return lambda: drawn().encode()

        return made
