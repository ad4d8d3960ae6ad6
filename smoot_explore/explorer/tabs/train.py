"""The Train tab: losses, accuracy, k of all and of the watched images, and what the model sees of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
import xarray as xr
from holoviews.streams import DoubleTap, Tap

from smoot_explore import views
from smoot_explore.core.config import TrainingConfig
from smoot_explore.core.moves import k_moves
from smoot_explore.engine.background import FILES, QUICK
from smoot_explore.engine.coalesce import Coalescer
from smoot_explore.engine.watching import N_WATCHED, WatchReport
from smoot_explore.errors import reason
from smoot_explore.explorer.controls import control, small_text, text
from smoot_explore.explorer.equation import equation_html
from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.gestures import gesture
from smoot_explore.explorer.grid import Grid, part
from smoot_explore.explorer.past import past_of_k
from smoot_explore.explorer.state.train import TrainState
from smoot_explore.explorer.switched import Switched
from smoot_explore.runs.run import Run, open_run
from smoot_explore.views.captioned import Captioned
from smoot_explore.views.flags import change_text
from smoot_explore.views.live import Kept
from smoot_explore.views.palette import METHOD_NAMES
from smoot_explore.views.pictures import MASKING_ROWS, cell_at
from smoot_explore.views.pixels import saliency_limit
from smoot_explore.views.sketch import Sketch

_NO_MOVES = xr.Dataset(
    {name: ("epoch", np.empty(0)) for name in ("before", "k", "step", "delta")}, {"epoch": np.empty(0, int)}
)


class TrainTab:
    """Redraws what a training reports. ``open_image`` is called with the image_id of a training image."""

    def __init__(
        self,
        state: TrainState,
        controls: Sequence[Any],
        open_image: Callable[[int], None],
        schedule: Callable[[Callable[[], None]], object],
        complain: Callable[[str], None],
    ) -> None:
        self.state, self._open_image, self._complain = state, open_image, complain
        self.controls = controls
        self._latest = Coalescer(self._look_anew, self._show_anew, QUICK, schedule)
        self._looking_back = Coalescer(_moves_of, self._show_past, FILES, schedule)
        self._past: tuple = ()  # what is asked for, or shown
        self.moves = Captioned(views.single_moves.sketch(_NO_MOVES), "k-moves")
        self.past = pn.pane.HTML("", sizing_mode="stretch_width", margin=0)
        self._limit = 0.0  # where the saliency's colours end
        self._limited: WatchReport | None = None  # the look that it was set at
        self._kept = Kept()
        sketches = self._sketches()
        taps = [gesture(Tap, self._tapped, schedule), gesture(DoubleTap, self._opened, schedule)]
        self.strip = Captioned(sketches.pop("watched"), "watched", taps)
        self.pictures = {name: Captioned(sketch, name) for name, sketch in sketches.items()}
        self.explanation = pn.pane.HTML("", sizing_mode="stretch_width", margin=0)
        self.moved = small_text(margin=0)
        self.headline = text(margin=(0, 0, 8, 0))
        self.problem = pmui.Alert("", severity="error", sizing_mode="stretch_width")
        button = {"size": "small", "margin": 0}
        again = pmui.Button(label="Choose again", variant="outlined", on_click=self.watch_anew, **button)
        before, after = (
            pmui.Button(
                label=label, variant="outlined", on_click=lambda event, by=by: self._step(by), **button
            )
            for label, by in (("‹ Framed", -1), ("Next ›", 1))
        )
        self.open = pmui.Button(label="Open in Image", variant="outlined", on_click=self._open, **button)
        beside = pn.Column(
            self.headline, control(state, "watch", margin=(4, 0, 8, 0)),
            pn.FlexBox(before, after, self.open, again, gap="6px"), sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        state.param.watch(self.watch_anew, "watch")
        state.param.watch(self._explain_another, "explained")
        state.config.param.watch(
            lambda *events: self._show_explanation(), ["alpha", "beta", "k_min", "k_max"]
        )
        drop = self.pictures["accuracy-drop-while-training"].panel
        of = {name: self.pictures[name] for name in ("k-range", "k-watched", "k-now", "losses", "accuracies")}
        k = Switched({"all": of["k-range"], "watched": of["k-watched"], "now": of["k-now"]}, "Which k")
        scores = Switched({"accuracy": of["accuracies"], "loss": of["losses"]}, "Accuracy or loss")
        # Parts that are there only when they have something to tell.
        self._failed = part(self.problem, span=12, card=False)
        self._explained = part(self.explanation, span=12, wide=3)
        self._flagged = part(self.moved, span=12, card=False)
        self._moved = [part(self.past, span=8), part(self.moves.panel, span=4)]
        self.panel = Grid(
            self._failed,
            part(
                Grid(part(self.strip.panel, span=9, card=False), part(beside, span=3, card=False)),
                span=12, wide=9, lead=True,
            ),
            part(drop, span=4),
            part(k.panel, span=4),
            part(scores.panel, span=4),
            self._flagged,
            self._explained,
            *self._moved,
        )  # fmt: skip
        self.clear()

    def clear(self) -> None:
        """Begin anew with what the state holds."""
        self._limit, self._limited = 0.0, None
        self.refresh()

    def refresh(self) -> None:
        """Draw what the state holds; what has not changed is not sent again."""
        state = self.state
        sketches = self._sketches()
        self.strip.show(sketches.pop("watched"))
        for name, sketch in sketches.items():
            self.pictures[name].show(sketch)
        self._show_explanation()
        self._look_back()
        self.headline.object = self._headline()
        flags = state.flags
        moved = [
            f"**{i}** {change_text(change)} from step {change.step}"
            for i, (_, change) in enumerate(flags, start=1)
        ]
        self.moved.object, self._flagged.visible = f"Flags: {'; '.join(moved)}", bool(moved)
        self.problem.object, self._failed.visible = escaped(state.problem), bool(state.problem)

    def _sketches(self) -> dict[str, Sketch]:
        """All pictures of the tab by their names."""
        state, history, flags, epochs = self.state, self.state.history, self.state.flags, self._epochs
        method, bounds = state.started.method, state.counted_bounds
        reference = state.reference if state.data is not None else None
        newest = state.others(lambda one: one.history.drops[-1:])
        drops = [other and (other[0], other[1][0]) if other and other[1] else None for other in newest]
        label = state.label if len(state.all) > 1 else None
        dropped = [part for other in drops for part in other or [None]]
        scores = state.others(lambda one: one.history.accuracies())
        told = [None if other is None else f"{other[0]} {other[1].sizes['epoch']}" for other in scores]
        return {
            "watched": self._strip(),
            "accuracy-drop-while-training": self._kept(
                "drop", [*history.drops[-1:], len(history.drops), method, reference, label, *dropped],
                lambda: views.probe_drop.sketch(history.drops, method, reference, drops, label),
            ),
            "k-range": views.k_trajectories.sketch(
                history.k_quantiles(), bounds=bounds, changes=flags, epochs=epochs, label="k of all images",
                others=state.others(lambda one: one.history.k_quantiles()),
            ),
            "k-watched": self._watched_k(),
            "losses": views.losses.sketch(
                history.steps(), flags, epochs, state.others(lambda one: one.history.steps())
            ),
            "accuracies": self._kept(
                "accuracies", [*history.scores[-1:], repr(flags), epochs, *told],
                lambda: views.accuracies.sketch(history.accuracies(), flags, epochs, scores),
            ),
            "k-now": views.k_histogram.sketch(
                history.k_now(), bounds[-1][1:] if bounds else (), label="k now"
            ),
        }  # fmt: skip

    @property
    def _epochs(self) -> float:
        """Where the axes of the epochs end."""
        state = self.state
        if state.preview is not None and state.history.scores:
            return state.epochs_done
        return max(one.started.epochs for one in state.all) if state.training else state.config.epochs

    def _watched_k(self) -> Sketch:
        state, history = self.state, self.state.history
        seen = state.seen if history.guided else None
        classes = None if seen is None else seen.classes  # judged soon after the watched images are chosen
        watched = history.k_of([] if seen is None else seen.positions)
        return views.single_k.sketch(
            watched, ["?"] * watched.sizes["image"] if classes is None else classes,
            names=self._watched_names() if watched.size else None, changes=state.flags, epochs=self._epochs,
            framed=state.framed,
        )  # fmt: skip

    def _watched_names(self) -> list[str]:
        state, seen = self.state, self.state.seen
        if seen is None or state.data is None:
            return []
        watched = state.data.train[seen.positions]
        return [
            f"{state.data.class_names[int(label)]} {int(i)}"
            for label, i in zip(watched.labels, watched.image_ids, strict=True)
        ]

    def _strip(self) -> Sketch:
        state = self.state
        return self._kept("strip", [state.seen, state.data, state.explained, state.started], self._new_strip)

    def _new_strip(self) -> Sketch:
        state, seen = self.state, self.state.seen
        label = "Watched training images: their number and class, k at the start → now"
        if state.unit != "pixels":
            label += f" ({state.unit})"
        room = {"cell": 84, "label": label}
        if seen is None or state.data is None:
            return views.picture_grid.sketch(
                [], columns=N_WATCHED, n_rows=3, titled=True, footer_lines=2, row_labels=MASKING_ROWS, **room
            )
        watched = state.data.train[seen.positions]
        # The scale may widen at once but shrinks slowly: colours then do not flicker from look to look.
        if seen is not self._limited:
            self._limit = max(saliency_limit([seen.effect.saliency]), 0.95 * self._limit)
            self._limited = seen
        classes = ["?"] * len(watched) if seen.classes is None else list(seen.classes)
        guided = state.started.method != "traditional"
        footers = [
            (
                f"{i}" + (f" · {c}" if c != "?" else ""),
                f"{state.start_k:.0f} → {k:.0f}" if guided else "no masking",
            )
            for i, c, k in zip(watched.image_ids.tolist(), classes, seen.k, strict=True)
        ]
        framed = min(state.explained, len(watched)) - 1
        return views.masking.sketch(
            watched, seen.effect, footers=footers, limit=self._limit, framed=framed, columns=N_WATCHED, **room
        )

    def _explain_another(self, *events: Any) -> None:
        self.strip.show(self._strip())
        self.pictures["k-watched"].show(self._watched_k())
        self._show_explanation()
        self._look_back()

    def _show_explanation(self) -> None:
        card = equation_html(self.state.move())
        if self.explanation.object != card:
            self.explanation.object = card
        self._explained.visible = bool(card)

    def _look_back(self) -> None:
        """Tell why the framed image's k has moved so far; its record is read beside the page."""
        state, run = self.state, self.state.moved_run
        asked = (run, state.framed_position, state.epochs_done)
        if state.seen is None or run is None:
            self._past, self.past.object = (), ""
            self.moves.show(views.single_moves.sketch(_NO_MOVES))
            self._show_moved(False)
        elif asked != self._past:
            self._past = asked
            self._looking_back.ask(run, state.framed_position, state.framed_name)

    def _show_past(self, answer: tuple[str, xr.Dataset] | BaseException) -> None:
        if isinstance(answer, BaseException):
            self._complain(f"How k has moved cannot be told: {reason(answer)}")
            return
        image, moves = answer
        if not self._past:  # meanwhile it was begun anew
            return
        image = f"{image[:1].lower()}{image[1:]}"  # within a sentence
        self.past.object = past_of_k(moves, image)
        self._show_moved(bool(self.past.object))
        self.moves.show(views.single_moves.sketch(moves, label=f"What moved k of {image}"))

    def _show_moved(self, told: bool) -> None:
        for one in (*self._moved, self.moves):
            one.visible = told

    def _headline(self) -> str:
        state = self.state
        if state.preview is not None:
            label, n = escaped(state.preview.label), len(state.preview.data.train)
            return (
                f"Shown until you press **Train**: {label}, {n:,} images, {state.epochs_done} epochs. "
                "Move α or β and read below how the k of a watched image would move."
            )  # fmt: skip
        if state.training is None:
            return "Choose a method and press **Train**. Every training starts from the same initial weights."
        text = f"{describe(state.started)}."
        if len(state.all) > 1:
            text = f"**{state.label}** is chosen; {text}"
        return text

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
            self.refresh()

    def _tapped(self, x: float | None, y: float | None) -> None:
        cell = cell_at(x, y, N_WATCHED, 3)
        if cell is not None and self.state.seen is not None:
            self.state.explained = min(cell % N_WATCHED + 1, len(self.state.seen.positions))

    def _step(self, by: int) -> None:
        """Frame the next of the watched images, or the one before."""
        if self.state.seen is not None:
            self.state.explained = (self.state.explained - 1 + by) % len(self.state.seen.positions) + 1

    def _opened(self, x: float | None, y: float | None) -> None:
        if cell_at(x, y, N_WATCHED, 3) is not None:
            self._open()

    def _open(self, *events: Any) -> None:
        if self.state.seen is not None and self.state.data is not None:
            self._open_image(int(self.state.data.train.image_ids[self.state.framed_position]))


def _moves_of(run: Run, position: int, image: str) -> tuple[str, xr.Dataset]:
    return image, k_moves(open_run(run.path).record(), position)


def describe(config: TrainingConfig) -> str:
    """The settings at the start, in one line."""
    text = f"**{METHOD_NAMES[config.method]}**, seed {config.seed}, {config.optimizer}"
    if config.method == "smoot":
        text += f", started with α {config.alpha:g}, β {config.beta:g}, λ {config.kl_weight:g}"
    elif config.method == "sgt":
        text += f", started with λ {config.kl_weight:g}"
    return text + f", τ {config.learning_rate:g}"
