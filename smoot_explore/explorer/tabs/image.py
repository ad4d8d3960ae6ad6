"""The Image tab: one image, its saliency, what masking leaves of it and what the model says then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
import xarray as xr
from holoviews.streams import Tap

from smoot_explore import views
from smoot_explore.data.images import Split
from smoot_explore.engine.background import QUICK
from smoot_explore.engine.coalesce import Coalescer
from smoot_explore.errors import reason
from smoot_explore.explorer.controls import control, number, small_text, text
from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.gestures import gesture
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.explorer.state.image import HALVES, PAGE, Curve, ImageState, View, predicted
from smoot_explore.explorer.uploads import read_picture
from smoot_explore.views.curves import NO_CURVE
from smoot_explore.views.live import Live
from smoot_explore.views.pictures import cell_at
from smoot_explore.views.pixels import picture_pixels, saliency_limit, saliency_pixels

COLUMNS = 6  # of the thumbnails
_NO_K = xr.DataArray(np.empty((0, 1)), {"epoch": np.empty(0, int)}, ("epoch", "image"), "k")
_OF_THE_PICTURE = [
    "half", "image", "masked_fraction", "order", "fill", "attribution", "signed",
]  # fmt: skip


class ImageTab:
    """Redraws one image whenever a choice moves. ``schedule`` runs a function where the page may be changed."""

    def __init__(
        self,
        state: ImageState,
        schedule: Callable[[Callable[[], None]], object],
        measure: Callable[[], None],
        complain: Callable[[str], None],
        upload_megabytes: float,
    ) -> None:
        self.state, self._measure, self._complain = state, measure, complain
        self._upload_megabytes = upload_megabytes
        self.latest = Coalescer(state.view, self._show, QUICK, schedule)
        tap = gesture(Tap, self._tapped, schedule)
        self.thumbnails = Live(
            views.picture_grid.sketch([], columns=COLUMNS, n_rows=PAGE // COLUMNS, label="Pick an image", cell=58),
            "thumbnails", [tap], margin=(0, 5),
        )  # fmt: skip
        self.pictures = Live(
            views.picture_grid.sketch([], columns=3, n_rows=1, titled=True, cell=190), "image", margin=(0, 10)
        )
        self.bars = Live(
            views.probabilities.sketch([], np.empty(0), np.empty(0)), "probabilities", height=240
        )
        self.curve = Live(views.masking_curve.sketch(NO_CURVE), "masking-curve", height=240)
        self.k = Live(views.single_k.sketch(_NO_K, at=np.nan), "k-image", height=200)
        self.told_k = text(margin=(0, 10))
        self.trajectory = pn.Column(self.told_k, self.k.pane, sizing_mode="stretch_width", visible=False)
        self.verdict = text(margin=(0, 10))
        self.count = small_text(margin=(10, 4))
        self.back = pmui.Button(
            label="‹ Back", size="small", variant="text", margin=(6, 0), on_click=lambda e: self._turn(-1)
        )
        self.next = pmui.Button(
            label="Next ›", size="small", variant="text", margin=(6, 0), on_click=lambda e: self._turn(1)
        )
        self.upload = pmui.FileInput(
            label="Upload a picture", accept=".png,.jpg,.jpeg,.webp,.bmp,.gif", multiple=False, size="small",
            variant="outlined", margin=(6, 10), sizing_mode="stretch_width",
            max_file_size=round(upload_megabytes * 1e6),
            description="A picture of your own, cut and resized to the data's shape. It stays on this server's memory "
            "until you leave.",
        )  # fmt: skip
        self._reading = Coalescer(self._read, self._show_upload, QUICK, schedule)
        self.upload.param.watch(self._uploaded, "value")
        filters = [control(state, n, width=w, sizing_mode=None) for n, w in (("half", 140), ("label", 125))]
        self.position = number(state, "image", width=94)
        self._test_filters = [
            control(state, n, width=w, sizing_mode=None) for n, w in (("of_class", 70), ("prediction", 88))
        ]
        chooser = pn.Column(
            pn.Row(*filters, margin=0),
            pn.Row(*self._test_filters, self.position, margin=0),
            self.thumbnails.pane,
            pn.Row(self.back, self.count, self.next, margin=0),
            self.upload,
            width=310,
        )
        self._shown: list[int] = []
        self._split: Split | None = None  # that these are of
        self._texts: list[str] = []  # of the thumbnails
        self._thumbnails: list[np.ndarray] = []
        self._curve: Curve | None = None  # the one drawn
        self.slider = control(state, "masked_fraction")
        self.panel = pn.Row(
            chooser,
            pn.Column(
                self.pictures.pane,
                self.slider,
                pn.Row(
                    *(control(state, n) for n in ("order", "fill", "attribution")),
                    control(state, "signed", sizing_mode=None, width=110, margin=(14, 10)),
                    sizing_mode="stretch_width",
                ),
                self.verdict,
                pn.Row(
                    self.curve.pane,
                    self.bars.pane,
                    sizing_mode="stretch_width",
                ),
                self.trajectory,
                sizing_mode="stretch_width",
            ),
            sizing_mode="stretch_width",
        )
        state.param.watch(lambda *e: self._ask(), _OF_THE_PICTURE)
        state.param.watch(self._filtered, ["half", "label", "of_class", "prediction"])
        state.param.watch(lambda *e: self.show_thumbnails(), "page")
        state.param.watch(lambda *e: self._frame(), "image")

    def refresh(self) -> None:
        """Draw everything anew, for another run."""
        if self.state.opened is None:
            return
        self.show_thumbnails()
        self._ask()

    def _ask(self) -> None:
        self.latest.ask(self.state.question())

    def show_thumbnails(self) -> None:
        """Draw the page of thumbnails."""
        state = self.state
        chosen, split = state.thumbnails(), state.split
        if list(chosen) != self._shown or split is not self._split:  # another epoch has the same images
            self._shown, self._split = list(chosen), split
            names = split.class_names
            self._texts = [f"{int(i)}: {names[int(split.labels[i])]}" for i in chosen]
            self._thumbnails = [picture_pixels(split.images[chosen].numpy())] if len(chosen) else []
            self._frame()
        n, pages = len(state.positions()), state.pages
        page = min(state.page, pages - 1)
        self.count.object = (
            f"{n:,} images, page {page + 1} of {pages}" if n else "No image passes the filters"
        )
        self.back.disabled, self.next.disabled = page == 0, page >= pages - 1

    def _frame(self) -> None:
        framed = None
        if self.state.image in self._shown:
            row, column = divmod(self._shown.index(self.state.image), COLUMNS)
            framed = column, row, 1, 1
        self.thumbnails.show(
            views.picture_grid.sketch(
                self._thumbnails, columns=COLUMNS, n_rows=PAGE // COLUMNS, texts=self._texts, framed=framed,
                label="Pick an image", cell=58,
            )
        )  # fmt: skip

    def _filtered(self, *events: Any) -> None:
        self.state.page = 0
        for widget in self._test_filters:
            widget.disabled = self.state.half != HALVES[0]
        self.show_thumbnails()
        self._measure()

    def _turn(self, pages: int) -> None:
        self.state.page = max(0, min(self.state.page, self.state.pages - 1) + pages)

    def _tapped(self, x: float | None, y: float | None) -> None:
        cell = cell_at(x, y, COLUMNS, PAGE // COLUMNS)
        if cell is not None and cell < len(self._shown):
            self.state.image = int(self._shown[cell])

    def _uploaded(self, event: Any) -> None:
        if event.new and self.state.opened is not None:
            self._reading.ask(event.new, self.state.opened)

    def _read(self, content: bytes, opened: OpenedRun) -> tuple[bytes, OpenedRun, Split]:
        picture = read_picture(content, opened.data.image_shape, self._upload_megabytes)
        return content, opened, predicted(picture.unsqueeze(0), opened)

    def _show_upload(self, answer: tuple[bytes, OpenedRun, Split] | BaseException) -> None:
        if isinstance(answer, BaseException):
            self._complain(reason(answer))
            return
        content, opened, picture = answer
        if opened is not self.state.opened:  # another one was opened meanwhile, which predicts for itself
            self._reading.ask(content, self.state.opened)
            return
        self.state.show_upload(picture)
        self.refresh()

    def _show(self, view: View | BaseException) -> None:
        if isinstance(view, BaseException):
            self._complain(reason(view))
            return
        limit = saliency_limit([view.effect.saliency])
        percent = 100 * view.masked_pixels / view.picture[0, 0].size
        pictures = [
            picture_pixels(view.picture),
            saliency_pixels(view.effect.saliency, limit),
            picture_pixels(view.effect.masked_images),
        ]
        titles = ["image", "saliency: red for, blue against"]
        titles += [f"{percent:.0f} % masked ({view.masked_pixels} pixels)"]
        self.pictures.show(
            views.picture_grid.sketch(
                [np.concatenate(pictures)], columns=3, titles=titles, label=view.title, cell=190
            )
        )
        explained = view.class_names[view.explained]
        if view.curve is not self._curve:
            self._curve = view.curve
            self.verdict.object = verdict(view.curve, escaped(explained))
        probability = float(view.effect.masked_probabilities[0, view.explained])
        label = f"Masking curve: probability of {explained}"
        self.curve.show(
            views.masking_curve.sketch(
                view.curve.measured, percent / 100, label=label, probability=probability
            )
        )
        clean, masked = view.effect.clean_probabilities[0], view.effect.masked_probabilities[0]
        self.bars.show(views.probabilities.sketch(view.class_names, clean, masked))
        self.trajectory.visible = view.k is not None
        if view.k is not None:
            self.told_k.object = told_k(view.k, view.epoch)
            self.k.show(views.single_k.sketch(view.k, at=view.epoch, label="k of this image"))


def told_k(k: xr.DataArray, epoch: int) -> str:
    """How many pixels of an image training masked then, as Markdown; k ``(epoch, image)`` of one."""
    when = f"at epoch {epoch}" if epoch else "at the start"
    return f"**k {when}: {float(k.sel(epoch=epoch).item()):.0f}** {k.units}"


def verdict(curve: Curve, explained: str) -> str:
    """Class I or II with its reason, as Markdown."""
    probability = curve.measured.probability.values[0]
    start, top = float(probability[0]), float(probability.max())
    which = "strongest" if curve.order == "highest" else "weakest"
    if curve.image_class == "I":
        return (
            f"**Class I**: masking its {which} pixels never raises the probability of {explained} "
            f"above that of the clean image ({start:.2f}) by more than 0.01."
        )
    return (
        f"**Class II**: with its {which} {100 * curve.peak_fraction:.0f} % masked, the probability of {explained} "
        f"rises from {start:.2f} to {top:.2f}."
    )
