"""The Image tab: one image, its saliency, what masking leaves of it and what the model says then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import panel as pn
import panel_material_ui as pmui
import xarray as xr
from holoviews.streams import Tap

from smoot_explore import views
from smoot_explore.data.images import Split
from smoot_explore.engine.background import QUICK, UPLOADS
from smoot_explore.engine.coalesce import Coalescer
from smoot_explore.errors import reason
from smoot_explore.explorer.controls import control, image_field, small_text, text
from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.gestures import gesture
from smoot_explore.explorer.grid import Grid, part
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.explorer.picture_input import PictureInput
from smoot_explore.explorer.state.image import HALVES, PAGE, Curve, ImageState, View, predicted
from smoot_explore.explorer.state.picking import named
from smoot_explore.explorer.uploads import ENDINGS, check_size, read_picture, unlike
from smoot_explore.views.captioned import Captioned
from smoot_explore.views.curves import NO_CURVE
from smoot_explore.views.palette import in_words
from smoot_explore.views.pictures import cell_at
from smoot_explore.views.pixels import picture_pixels, saliency_limit, saliency_pixels

COLUMNS = 6  # of the thumbnails
_NO_K = xr.DataArray(np.empty((0, 1)), {"epoch": np.empty(0, int)}, ("epoch", "image"), "k")
_OF_THE_PICTURE = [
    "half", "image_id", "masked_fraction", "order", "fill", "attribution", "signed",
]  # fmt: skip


class _Upload(NamedTuple):
    """A picture of the visitor's own, as a run predicts it."""

    name: str
    content: bytes
    opened: OpenedRun
    picture: Split
    note: str


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
        self.thumbnails = Captioned(
            views.picture_grid.sketch([], columns=COLUMNS, n_rows=PAGE // COLUMNS, label="Pick an image", cell=58),
            "thumbnails", [tap], margin=0,
        )  # fmt: skip
        self.pictures = Captioned(
            views.picture_grid.sketch([], columns=3, n_rows=1, titled=True, cell=190), "image", margin=0
        )
        self.bars = Captioned(
            views.probabilities.sketch([], np.empty(0), np.empty(0)), "probabilities", aspect=1.33
        )
        self.curve = Captioned(views.masking_curve.sketch(NO_CURVE), "masking-curve", aspect=1.33)
        self.k = Captioned(views.single_k.sketch(_NO_K, at=np.nan), "k-image", aspect=2)
        self.told_k = text(margin=0)
        self.trajectory = part(self.told_k, self.k.panel, span=8, visible=False)
        self.verdict = text(margin=0)
        self.count = small_text(margin=(10, 4))
        self.back = pmui.Button(
            label="‹ Back", size="small", variant="text", margin=(6, 0), on_click=lambda e: self._turn(-1)
        )
        self.next = pmui.Button(
            label="Next ›", size="small", variant="text", margin=(6, 0), on_click=lambda e: self._turn(1)
        )
        self.upload = PictureInput(
            self._chosen, accept=ENDINGS, most=round(upload_megabytes * 1e6), margin=(6, 10),
            sizing_mode="stretch_width",
            description="A picture of your own, cut and resized to the data's shape. It stays in this server's memory "
            "until you leave.",
        )  # fmt: skip
        self._reading = Coalescer(self._read, self._show_upload, UPLOADS, schedule)
        self.number = image_field(state, complain, width=94)
        label = control(state, "label", margin=(8, 8, 4, 0))
        self._test_filters = [
            control(state, n, width=w, sizing_mode=None, margin=(8, 8 * (n == "of_class"), 4, 0))
            for n, w in (("of_class", 76), ("prediction", 92))
        ]
        gallery = pn.Column(
            pn.Row(label, *self._test_filters, margin=0, sizing_mode="stretch_width"),
            self.thumbnails.panel,
            pn.Row(self.back, self.count, self.next, margin=0),
            sizing_mode="stretch_width",
        )
        self._shown: list[int] = []
        self._split: Split | None = None  # that these are of
        self._texts: list[str] = []  # of the thumbnails
        self._thumbnails: list[np.ndarray] = []
        self._curve: Curve | None = None  # the one drawn
        self.slider = control(state, "masked_fraction")
        self.controls = [
            control(state, "half"),
            self.number,
            *(control(state, n) for n in ("order", "fill", "attribution", "signed")),
            self.upload,
        ]
        self.panel = Grid(
            part(gallery, span=4, tall=True, late=True),
            part(self.verdict, self.pictures.panel, self.slider, span=8, lead=True),
            part(self.curve.panel, span=4),
            part(self.bars.panel, span=4),
            self.trajectory,
        )
        state.param.watch(lambda *e: self._ask(), _OF_THE_PICTURE)
        state.param.watch(self._filtered, ["half", "label", "of_class", "prediction"])
        state.param.watch(lambda *e: self.show_thumbnails(), "page")
        state.param.watch(lambda *e: self._frame(), "image_id")

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
        if chosen.tolist() != self._shown or split is not self._split:  # another epoch has the same images
            self._shown, self._split = chosen.tolist(), split
            self._texts = named(split[chosen])
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
        if self.state.position in self._shown:
            row, column = divmod(self._shown.index(self.state.position), COLUMNS)
            framed = column, row, 1, 1
        self.thumbnails.show(
            views.picture_grid.sketch(
                self._thumbnails, columns=COLUMNS, n_rows=PAGE // COLUMNS, texts=self._texts, framed=framed,
                label="Pick an image", cell=58,
            )
        )  # fmt: skip

    def _filtered(self, *events: Any) -> None:
        for widget in self._test_filters:
            widget.disabled = self.state.half != HALVES[0]
        self.show_thumbnails()
        self._measure()

    def _turn(self, pages: int) -> None:
        self.state.page = max(0, min(self.state.page, self.state.pages - 1) + pages)

    def _tapped(self, x: float | None, y: float | None) -> None:
        cell = cell_at(x, y, COLUMNS, PAGE // COLUMNS)
        if cell is not None and cell < len(self._shown):
            self.state.image_id = self.state.ids.at(self._shown[cell])

    def _chosen(self, name: str, size: int, content: bytes | None) -> None:
        self.upload.note = ""
        try:
            check_size(size, self._upload_megabytes)
        except ValueError as error:
            self._complain(f"{name}: {error}")
        else:
            if content is not None and self.state.opened is not None:
                self.upload.note = f"Reading {name} …"
                self._reading.ask(name, content, self.state.opened)

    def _read(self, name: str, content: bytes, opened: OpenedRun) -> _Upload:
        try:
            picture = read_picture(content, opened.data.image_shape, self._upload_megabytes)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        note = f"{name}. {unlike(picture, opened.data.train.images)}"
        return _Upload(name, content, opened, predicted(picture.unsqueeze(0), opened), note)

    def _show_upload(self, upload: _Upload | BaseException) -> None:
        if isinstance(upload, BaseException):
            self.upload.note = ""
            self._complain(reason(upload))
        elif upload.opened is not self.state.opened:  # another one, which predicts for itself
            self._reading.ask(upload.name, upload.content, self.state.opened)
        else:
            self._complain("")  # whatever was wrong with the one before
            self.upload.note = upload.note
            self.state.show_upload(upload.picture)
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
        titles = ["image", "saliency", f"{percent:.0f} % masked"]
        label = f"{view.title}; saliency: red for, blue against; {view.masked_pixels} pixels masked"
        self.pictures.show(
            views.picture_grid.sketch(
                [np.concatenate(pictures)], columns=3, titles=titles, label=label, cell=190
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
    measured = curve.measured
    by = f"by its own masking curve ({in_words(measured.fill.item())} fill, {in_words(measured.attribution.item())})"
    which = "strongest" if curve.order == "highest" else "weakest"
    if curve.image_class == "I":
        return (
            f"**Class I**, {by}: masking its {which} pixels never raises the probability of {explained} "
            f"above that of the clean image ({start:.2f}) by more than 0.01."
        )
    return (
        f"**Class II**, {by}: with its {which} {100 * curve.peak_fraction:.0f} % masked, the probability of "
        f"{explained} rises from {start:.2f} to {top:.2f}."
    )
