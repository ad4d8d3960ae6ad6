"""The Train tab: losses, accuracy, k of all and of the watched images, and what the model sees of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
from bokeh.events import Tap

from smoot_explore.core.config import TrainingConfig
from smoot_explore.core.records import Change
from smoot_explore.engine.background import QUICK
from smoot_explore.engine.coalesce import Coalescer
from smoot_explore.engine.trainings import WatchReport
from smoot_explore.errors import reason
from smoot_explore.explorer.controls import control, small_text, text
from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.state.train import N_WATCHED, TrainState
from smoot_explore.views.grid import PictureGrid
from smoot_explore.views.histogram import Histogram
from smoot_explore.views.palette import COLOURS, METHOD_NAMES
from smoot_explore.views.pixels import picture_pixels, saliency_limit, saliency_pixels
from smoot_explore.views.training import AccuracyView, KRangeView, LossView, WatchedKView

SYMBOLS = {
    "alpha": "α", "beta": "β", "kl_weight": "λ", "learning_rate": "τ", "k_min": "k min", "k_max": "k max",
}  # fmt: skip


class TrainTab:
    """Redraws what a training reports. ``open_image`` is called with a position among the training images."""

    def __init__(
        self,
        state: TrainState,
        open_image: Callable[[int], None],
        schedule: Callable[[Callable[[], None]], object],
        complain: Callable[[str], None],
    ) -> None:
        self.state, self._open_image, self._complain = state, open_image, complain
        self._latest = Coalescer(self._look_anew, self._show_anew, QUICK, schedule)
        self.loss, self.accuracy = LossView(height=158), AccuracyView(height=158)
        self.k_range, self.k_watched = KRangeView(height=190), WatchedKView(height=190)
        self.k_now = Histogram(
            "k now", "k (pixels)", name="k-now", colour=COLOURS["smoot"], unit="pixels", height=190
        )
        self.strip = PictureGrid(
            "watched", "The watched images as the model sees them", N_WATCHED, 3, cell=66,
            row_labels=("image", "saliency", "masked"), footer_lines=2,
        )  # fmt: skip
        self.strip.figure.on_event(Tap, self._tapped)
        self.explanation = small_text(margin=(0, 10))
        self.headline = text(margin=(6, 10, 0, 10))
        self.problem = pmui.Alert("", severity="error", visible=False, sizing_mode="stretch_width")
        self.watch = control(state, "watch", width=190, sizing_mode=None)
        again = pmui.Button(
            label="Choose again", variant="text", size="small", margin=(8, 2), on_click=self.watch_anew
        )
        self.open = pmui.Button(
            label="Open in Image", variant="outlined", size="small", margin=(12, 4), on_click=self._open
        )
        self._drawn_points = self._drawn_epochs = 0
        self._limit = 0.0
        state.param.watch(self.watch_anew, "watch")
        state.param.watch(self._explain_another, "explained")
        state.config.param.watch(
            lambda *events: self._show_explanation(), ["alpha", "beta", "k_min", "k_max"]
        )
        figures = [
            pn.pane.Bokeh(view.figure, sizing_mode="stretch_width", margin=0)
            for view in (self.loss, self.accuracy, self.k_now, self.k_range, self.k_watched)
        ]
        loss, accuracy, k_now, k_range, k_watched = figures
        chooser = pn.Column(
            pn.Row(self.watch, again, margin=0),
            self.explanation,
            pn.Row(control(state, "explained", width=190, sizing_mode=None), self.open, margin=0),
            width=330,
        )
        self.panel = pn.Column(
            self.problem,
            self.headline,
            pn.Row(loss, accuracy, sizing_mode="stretch_width"),
            pn.Row(k_range, k_watched, k_now, sizing_mode="stretch_width"),
            pn.Row(
                pn.pane.Bokeh(self.strip.figure, sizing_mode="scale_width", margin=(0, 4)),
                chooser,
                sizing_mode="stretch_width",
            ),
            sizing_mode="stretch_width",
        )
        self.clear()

    def clear(self) -> None:
        """Empty all plots and draw what the state holds."""
        state = self.state
        epochs = state.started.epochs if state.preview or state.busy else state.config.epochs
        if state.preview is not None:
            epochs = state.epochs[-1].epoch if state.epochs else epochs
        n_pixels = state.data.n_pixels if state.data is not None else 784
        for view in (self.loss, self.accuracy, self.k_watched):
            view.clear(epochs)
        self.k_range.clear(epochs, n_pixels)
        self.k_now.clear()
        self.strip.show([])
        self.strip.select(None)
        self._drawn_points = self._drawn_epochs = 0
        self._limit = 0.0
        self.refresh()

    def refresh(self) -> None:
        """Draw what is new."""
        state = self.state
        new = state.points[self._drawn_points :]
        if new:
            self._drawn_points = len(state.points)
            epochs = [point.epoch for point in new]
            self.loss.add(epochs, [p.cross_entropy for p in new], [p.kl for p in new])
            if state.started.method != "traditional":
                self.k_range.add(
                    epochs, *zip(*((p.k_smallest, p.k_median, p.k_largest) for p in new), strict=True)
                )
        scores = state.epochs[self._drawn_epochs :]
        if scores:
            self._drawn_epochs = len(state.epochs)
            self.accuracy.add(*(list(column) for column in zip(*scores, strict=True)))
        self._show_bounds_and_marks()
        if state.k is not None and state.data is not None and state.started.method != "traditional":
            n_pixels = state.data.n_pixels
            _, low, high = state.bounds[-1]
            middle, reach = np.median(state.k), max(20.0, 1.1 * np.abs(state.k - np.median(state.k)).max())
            edges = np.linspace(max(0.0, middle - reach), min(float(n_pixels), middle + reach), 40)
            self.k_now.show(state.k, edges, (low * n_pixels, high * n_pixels))
        self._show_watched()
        self.headline.object = self._headline()
        self.problem.param.update(object=escaped(state.problem), visible=bool(state.problem))

    def _show_bounds_and_marks(self) -> None:
        state = self.state
        if state.data is not None and state.started.method == "sgt":
            k = state.started.k_init * state.data.n_pixels
            self.k_range.show_range(0.8 * k, 1.2 * k)
        elif state.data is not None and state.bounds and state.started.method == "smoot":
            n_pixels = state.data.n_pixels
            places, low, high = (list(column) for column in zip(*state.bounds, strict=True))
            last = max([state.started.epochs, *places])
            self.k_range.show_bounds(
                [*places, last],
                [x * n_pixels for x in (*low, low[-1])],
                [x * n_pixels for x in (*high, high[-1])],
            )
        marks = state.marks()
        places = [state.epoch_of(change.step) for change in marks]
        texts = [mark_text(change) for change in marks]
        for view in (self.loss, self.accuracy, self.k_range, self.k_watched):
            if list(view.marks.source.data["text"]) != texts:
                view.marks.show(places, texts)

    def _show_watched(self) -> None:
        state, seen = self.state, self.state.seen
        if seen is None or state.data is None:
            return
        watched = state.data.train[seen.positions]
        names = [state.data.class_names[int(label)] for label in watched.labels]
        # The scale may widen at once but shrinks slowly: colours then do not flicker from look to look.
        self._limit = max(saliency_limit([seen.effect.saliency]), 0.95 * self._limit)
        classes = ["?"] * len(names) if seen.classes is None else list(seen.classes)
        guided = state.started.method != "traditional"
        starts = state.started.k_init * state.data.n_pixels
        footers = [
            (f"class {c}", f"k {starts:.0f} → {k:.0f}" if guided else "no masking")
            for c, k in zip(classes, seen.k, strict=True)
        ]
        self.strip.show(
            [
                picture_pixels(watched.images.numpy()),
                saliency_pixels(seen.effect.saliency, self._limit),
                picture_pixels(seen.effect.masked_images),
            ],
            titles=names,
            footers=footers,
        )
        self.strip.select_column(min(state.explained, len(names)) - 1)
        epochs, k = state.trajectories()
        ids = [int(i) for i in watched.image_ids]
        if guided and k:
            self.k_watched.show(
                epochs, k, [f"{n} {i}" for n, i in zip(names, ids, strict=True)],
                None if seen.classes is None else classes,
            )  # fmt: skip
        self._show_explanation()

    def _explain_another(self, *events: Any) -> None:
        if self.state.seen is not None:
            self.strip.select_column(min(self.state.explained, len(self.state.seen.positions)) - 1)
        self._show_explanation()

    def _show_explanation(self) -> None:
        self.explanation.object = self.state.explain()

    def _headline(self) -> str:
        state = self.state
        if state.preview is not None:
            label, n = escaped(state.preview.label), len(state.preview.data.train)
            return (
                f"Shown until you press **Train**: {label}, {n:,} images, {len(state.epochs)} epochs. "
                "Move α or β and read below how the k of a watched image would move."
            )  # fmt: skip
        if state.training is None:
            return "Choose a method and press **Train**. Every training starts from the same initial weights."
        told = [f"{mark_text(change)} from step {change.step}" for change in state.marks()[-3:]]
        moved = f" Moved: {'; '.join(told)}." if told else ""
        return f"{describe(state.started)}.{moved}"

    def watch_anew(self, *events: Any) -> None:
        """Look at the watched images again: others, or the same as the model sees them now."""
        if not self.state.choose_watched():
            self._latest.ask(self.state.training, self.state.preview)

    def _look_anew(self, *shown: Any) -> tuple[tuple, WatchReport | None]:
        return shown, self.state.watch_now()

    def _show_anew(self, answer: tuple[tuple, WatchReport | None] | BaseException) -> None:
        if isinstance(answer, BaseException):
            self._complain(f"The watched images cannot be shown: {reason(answer)}")
            return
        shown, seen = answer
        if seen is not None and shown == (self.state.training, self.state.preview):  # still the same training
            self.state.seen = seen
            self._show_watched()

    def _tapped(self, event: Tap) -> None:
        cell = self.strip.cell_at(event.x, event.y)
        if cell is not None and self.state.seen is not None:
            self.state.explained = min(cell % N_WATCHED + 1, len(self.state.seen.positions))

    def _open(self, *events: Any) -> None:
        seen = self.state.seen
        if seen is not None:
            self._open_image(int(seen.positions[min(self.state.explained, len(seen.positions)) - 1]))


def mark_text(change: Change) -> str:
    """A live change as a mark says it: "β 0.95 → 0.5"."""
    return f"{SYMBOLS[change.name]} {change.old:g} → {change.new:g}"


def describe(config: TrainingConfig) -> str:
    """The settings at the start, in one line."""
    text = f"**{METHOD_NAMES[config.method]}**, seed {config.seed}, {config.optimizer}"
    if config.method == "smoot":
        text += f", started with α {config.alpha:g}, β {config.beta:g}, λ {config.kl_weight:g}"
    elif config.method == "sgt":
        text += f", started with λ {config.kl_weight:g}"
    return text + f", τ {config.learning_rate:g}"
