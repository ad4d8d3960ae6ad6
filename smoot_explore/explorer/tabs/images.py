"""The Images tab: class I and II over the test images, and the way to each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
from bokeh.events import Tap

from smoot_explore.core.classes import image_class, peak_fraction
from smoot_explore.explorer.controls import control, number, text
from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.state.images import ImagesState
from smoot_explore.views.classes import ClassScatter, MeanCurvesView
from smoot_explore.views.grid import PictureGrid
from smoot_explore.views.histogram import Histogram
from smoot_explore.views.palette import CLASS_COLOURS
from smoot_explore.views.pixels import picture_pixels

_SHOWN = 20  # thumbnails


class ImagesTab:
    """Draws the classes. ``open_image`` is called with a position among the test images."""

    def __init__(
        self, state: ImagesState, open_image: Callable[[int], None], measure: Callable[[], None]
    ) -> None:
        self.state, self._open_image, self._measure = state, open_image, measure
        self.scatter, self.means = ClassScatter(height=290), MeanCurvesView(height=290)
        self.peaks = Histogram(
            "Where class II peaks", "masked pixels at the peak (%)", name="peaks", colour=CLASS_COLOURS["II"],
            unit="%", height=290,
        )  # fmt: skip
        self.gallery = PictureGrid(
            "gallery", "", 10, 2, cell=70, titled=False, tooltips=True
        )  # fmt: skip
        self.headline = text(margin=(4, 10))
        self.picked = text(margin=(4, 10))
        self.open = pmui.Button(
            label="Open in Image", variant="contained", size="small", margin=(4, 10), width=140,
            on_click=lambda e: self._open_image(self.state.position),
        )  # fmt: skip
        self.scatter.source.selected.on_change("indices", self._selected)
        self.scatter.figure.on_event(Tap, self._point_tapped)
        self.gallery.figure.on_event(Tap, self._tapped)
        self.plots = pn.Column(
            pn.Row(
                pn.pane.Bokeh(self.scatter.figure, sizing_mode="stretch_width", margin=0),
                pn.pane.Bokeh(self.means.figure, sizing_mode="stretch_width", margin=0),
                pn.pane.Bokeh(self.peaks.figure, sizing_mode="stretch_width", margin=0),
                sizing_mode="stretch_width",
            ),
            pn.Row(self.picked, number(state, "picked", width=110), self.open, sizing_mode="stretch_width"),
            pn.pane.Bokeh(self.gallery.figure, sizing_mode="scale_width", margin=(0, 10)),
            sizing_mode="stretch_width",
        )
        self.panel = pn.Column(
            pn.Row(
                *(control(state, n) for n in ("fill", "attribution", "tolerance")),
                sizing_mode="stretch_width",
            ),
            self.headline,
            self.plots,
            sizing_mode="stretch_width",
        )
        state.param.watch(self._protocol_chosen, ["fill", "attribution"])
        state.param.watch(lambda *e: self.refresh(), "tolerance")
        state.param.watch(lambda *e: self._show_selection(), ["selected", "picked"])
        self._shown: list[int] = []

    def refresh(self) -> None:
        """Draw everything anew."""
        state, curves = self.state, self.state.curves
        self.plots.visible = curves is not None
        if curves is None or state.opened is None:
            why = f"cannot be measured: {escaped(state.problem)}" if state.problem else "are being measured."
            self.headline.object = f"The masking curves of this protocol {why}"
            return
        names = [
            f"{i}: {state.opened.data.class_names[int(label)]}" for i, label in enumerate(curves.label.values)
        ]
        self.headline.object = state.headline()
        self.scatter.source.selected.indices = list(state.selected)
        self.scatter.show(curves, state.tolerance, names, state.position)
        second = image_class(curves, state.tolerance).values == "II"
        peaks = 100 * peak_fraction(curves, state.tolerance).values[second]
        levels = 100 * curves.masked_fraction.values
        edges = np.concatenate([[0], (levels[1:] + levels[:-1]) / 2, [100]])  # a bar around each level
        self.peaks.show(peaks, edges)
        self._show_selection()

    def _show_selection(self) -> None:
        state, curves = self.state, self.state.curves
        if curves is None or state.opened is None:
            return
        self.means.show(curves, state.tolerance, np.array(state.selected, int), state.position)
        self.scatter.pick(state.position)
        shown = state.shown[:_SHOWN]
        self._shown = [int(i) for i in shown]
        test = state.opened.data.test
        names = state.opened.data.class_names
        self.gallery.show(
            [picture_pixels(test.images[shown].numpy())] if len(shown) else [],
            texts=[f"{i}: {names[int(test.labels[i])]}" for i in self._shown],
        )
        what = "the selected images" if state.selected else "class II, the largest rise first"
        self.gallery.figure.title.text = f"{len(self._shown)} of {len(state.shown)}: {what}"
        self.gallery.select(self._shown.index(state.position) if state.position in self._shown else None)
        self.picked.object = state.describe_picked()

    def _protocol_chosen(self, *events: Any) -> None:
        self.state.selected = []
        self.refresh()
        self._measure()

    def _selected(self, attribute: str, old: list[int], new: list[int]) -> None:
        self.state.selected = [int(i) for i in new]

    def _point_tapped(self, event: Tap) -> None:
        image = (
            self.scatter.image_at(event.x, event.y) if event.x is not None and event.y is not None else None
        )
        if image is not None:
            self.state.picked = image

    def _tapped(self, event: Tap) -> None:
        cell = self.gallery.cell_at(event.x, event.y)
        if cell is not None and cell < len(self._shown):
            self.state.picked = self._shown[cell]
