"""The Classes tab: class I and II over the test images, and the way to each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
from holoviews.streams import BoundsX, BoundsXY, DoubleTap, Tap

from smoot_explore import views
from smoot_explore.core.classes import image_class, peak_fraction
from smoot_explore.explorer.controls import control, image_field, text
from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.gestures import gesture
from smoot_explore.explorer.grid import Grid, part
from smoot_explore.explorer.state.images import ClassShare, ImagesState
from smoot_explore.explorer.state.picking import named
from smoot_explore.explorer.tabs.dynamics import DynamicsPart
from smoot_explore.views.captioned import Captioned
from smoot_explore.views.classes import start_and_rise
from smoot_explore.views.curves import NO_CURVES
from smoot_explore.views.palette import CLASS_COLOURS, text_colour
from smoot_explore.views.pictures import cell_at
from smoot_explore.views.pixels import picture_pixels
from smoot_explore.views.sketch import Sketch

_SHOWN, _COLUMNS = 20, 10  # thumbnails
_REACH = 0.05  # of a tap, in probability


class ImagesTab:
    """Draws the classes. ``open_image`` is called with the image_id of a test image, ``open_trained`` with that of a
    training image."""

    def __init__(
        self,
        state: ImagesState,
        open_image: Callable[[int], None],
        open_trained: Callable[[int], None],
        measure: Callable[[], None],
        schedule: Callable[[Callable[[], None]], object],
        complain: Callable[[str], None],
    ) -> None:
        self.state, self._open_image, self._measure = state, open_image, measure
        self._shown: list[int] = []  # positions of the thumbnails
        pick, box = gesture(Tap, self._picked, schedule), gesture(BoundsXY, self._scatter_boxed, schedule)
        across, between = (
            gesture(BoundsXY, self._curves_boxed, schedule),
            gesture(BoundsX, self._peaks_boxed, schedule),
        )
        taps = [gesture(Tap, self._tapped, schedule), gesture(DoubleTap, self._opened, schedule)]
        curves = NO_CURVES
        self.scatter = Captioned(
            views.class_scatter.sketch(curves),
            "classes",
            [pick, box],
            aspect=1.25,
        )
        self.means = Captioned(views.class_means.sketch(curves), "mean-curves", [across], aspect=1.25)
        self.peaks = Captioned(views.class_peaks.sketch(curves), "peaks", [between], aspect=1.25)
        self.gallery = Captioned(self._gallery(), "gallery", taps, margin=0)
        self.headline = pn.pane.HTML("", sizing_mode="stretch_width", margin=0)
        self.dynamics = DynamicsPart(state.dynamics, open_trained, schedule)
        self.dynamics.panel.visible = False
        self.picked = text(margin=(4, 10, 4, 0), sizing_mode=None)
        self.open = pmui.Button(
            label="Open in Image", variant="contained", size="small", margin=(4, 10), width=140,
            on_click=lambda e: self._open(),
        )  # fmt: skip
        self.none = pmui.Button(
            label="Select none",
            variant="text",
            size="small",
            margin=(4, 4),
            on_click=self._select_none,
            visible=False,
        )
        picking = pn.FlexBox(
            self.picked, image_field(state, complain, width=110), self.open, self.none, align_items="center"
        )  # fmt: skip
        self.plots = Grid(
            part(self.scatter.panel, span=4, lead=True),
            part(self.means.panel, span=4),
            part(self.peaks.panel, span=4),
            part(picking, self.gallery.panel, span=12),
        )
        self.controls = [control(state, n) for n in ("fill", "attribution", "tolerance", "over_epochs")]
        self.panel = Grid(
            part(self.headline, span=12, lead=True),
            part(self.plots, self.dynamics.panel, span=12, card=False, lead=True),
        )
        state.param.watch(self._protocol_chosen, ["fill", "attribution"])
        state.param.watch(lambda *e: self.refresh(), ["tolerance", "over_epochs"])
        state.param.watch(lambda *e: measure(), "over_epochs")
        state.param.watch(lambda *e: self._show_selection(), ["selected", "image_id"])

    def refresh(self) -> None:
        """Draw everything anew."""
        state, curves = self.state, self.state.curves
        over = state.over_epochs
        self.plots.visible = curves is not None and not over
        self.dynamics.panel.visible, self.headline.visible = over, not over
        for protocol in self.controls[:2]:
            protocol.disabled = over
        if over and state.opened is not None:
            self.dynamics.look(state.opened, state.tolerance)
            return
        if curves is None or state.opened is None:
            why = f"cannot be measured: {escaped(state.problem)}" if state.problem else "are being measured."
            self.headline.object = f"<p>The masking curves of this protocol {why}</p>"
            return
        share = state.share()
        self.headline.object = "" if share is None else share_html(share)
        self._show_selection()

    def _show_selection(self) -> None:
        state, curves = self.state, self.state.curves
        if curves is None or state.opened is None:
            return
        classes = state.opened.data.class_names
        names = [
            f"{i}: {classes[int(label)]}"
            for i, label in zip(curves.image_id.values, curves.label.values, strict=True)
        ]
        chosen = {"selected": state.selected, "picked": state.position}
        self.scatter.show(views.class_scatter.sketch(curves, state.tolerance, names, **chosen))
        self.means.show(views.class_means.sketch(curves, state.tolerance, **chosen))
        self.peaks.show(views.class_peaks.sketch(curves, state.tolerance, state.selected))
        self._shown = [int(i) for i in state.shown[:_SHOWN]]
        self.gallery.show(self._gallery())
        self.picked.object = state.describe_picked()
        self.none.visible = bool(state.selected)

    def _gallery(self) -> Sketch:
        state, shown = self.state, self._shown
        rows, texts, framed = [], [], None
        if shown and state.opened is not None:
            test = state.opened.test[shown]
            rows, texts = [picture_pixels(test.images.numpy())], named(test)
            if state.position in shown:
                row, column = divmod(shown.index(state.position), _COLUMNS)
                framed = column, row, 1, 1
        what = "Selected images" if state.selected else "Class II, the largest rise first"
        label = f"{what}: {len(shown)} of {len(state.shown)}"
        return views.picture_grid.sketch(
            rows,
            columns=_COLUMNS,
            n_rows=_SHOWN // _COLUMNS,
            texts=texts,
            framed=framed,
            label=label,
            cell=70,
        )

    def _protocol_chosen(self, *events: Any) -> None:
        self.state.selected = []
        self.refresh()
        self._measure()

    # Linked brushing: a box in any picture selects images, and all pictures show them

    def _open(self) -> None:
        if self.state.image_id is not None:
            self._open_image(self.state.image_id)

    def _select_none(self, *events: Any) -> None:
        self.state.selected = []

    def _scatter_boxed(self, bounds: tuple[float, float, float, float] | None) -> None:
        if bounds is not None and self.state.curves is not None:
            start, rise = start_and_rise(self.state.curves)
            left, bottom, right, top = bounds
            self._select((start >= left) & (start <= right) & (rise >= bottom) & (rise <= top))

    def _curves_boxed(self, bounds: tuple[float, float, float, float] | None) -> None:
        """Select the images whose own curves pass through the box."""
        if bounds is None or self.state.curves is None:
            return
        left, bottom, right, top = bounds
        percent = 100 * self.state.curves.masked_fraction.values
        inside = (percent >= left) & (percent <= right)
        heights = self.state.curves.probability.values[:, inside]
        self._select(((heights >= bottom) & (heights <= top)).any(1))

    def _peaks_boxed(self, boundsx: tuple[float, float] | None) -> None:
        """Select the images of class II that peak between two masked shares."""
        if boundsx is None or self.state.curves is None:
            return
        second = image_class(self.state.curves, self.state.tolerance).values == "II"
        peaks = 100 * peak_fraction(self.state.curves, self.state.tolerance).values
        self._select(second & (peaks >= boundsx[0]) & (peaks <= boundsx[1]))

    def _select(self, which: np.ndarray) -> None:
        self.state.selected = [int(i) for i in np.flatnonzero(which)]

    def _picked(self, x: float | None, y: float | None) -> None:
        """Pick the image whose point is nearest: points lie on each other."""
        if x is None or y is None or self.state.curves is None:
            return
        start, rise = start_and_rise(self.state.curves)
        distance = np.hypot(start - x, rise - y)
        if len(distance) and distance.min() <= _REACH:
            self.state.image_id = self.state.ids.at(int(distance.argmin()))

    def _tapped(self, x: float | None, y: float | None) -> None:
        cell = cell_at(x, y, _COLUMNS, _SHOWN // _COLUMNS)
        if cell is not None and cell < len(self._shown):
            self.state.image_id = self.state.ids.at(self._shown[cell])

    def _opened(self, x: float | None, y: float | None) -> None:
        if cell_at(x, y, _COLUMNS, _SHOWN // _COLUMNS) is not None:
            self._open()


def share_html(share: ClassShare) -> str:
    """The share of class II in one large number, with what it depends on below."""
    late = "" if share.late != share.late else f", {share.late:.0f} % of these peak after half of the pixels"
    return (
        f'<div><b style="font-size:34px;line-height:1.1;color:{text_colour(CLASS_COLOURS["II"])}">'
        f'{share.percent:.1f} %</b> <span style="font-size:16px">class II</span> '
        f'<span style="font-size:13px">({share.second:,} of {share.n:,} test images{late})</span></div>'
        f'<p style="margin:2px 0;font-size:13px">Measured with {escaped(share.protocol)}. The paper reports 16 % for '
        "CIFAR-10 and does not name its fill or ranking.</p>"
    )
