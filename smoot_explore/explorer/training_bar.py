"""The training bar, seen on every tab: the orders to a training, and how far it is."""

from __future__ import annotations

from collections.abc import Callable

import panel as pn
import panel_material_ui as pmui

from smoot_explore.explorer.controls import small_text
from smoot_explore.explorer.state.train import TrainState

_BUTTONS = {
    "Train": ("primary", "contained"),
    "Pause": ("default", "outlined"),
    "Stop": ("default", "outlined"),
}


class TrainingBar:
    """Orders to the training of a `TrainState`. ``cleared`` is called after the plots have to start anew."""

    def __init__(
        self, state: TrainState, cleared: Callable[[], None], complain: Callable[[str], None]
    ) -> None:
        self.state, self._cleared, self._complain = state, cleared, complain
        orders = {"Train": self.train, "Pause": state.pause, "Stop": state.stop}
        self.buttons = {
            name: pmui.Button(
                label=name, color=color, variant=variant, size="small", margin=(0, 3), width=80,
                on_click=lambda event, order=orders[name]: order(),
            )
            for name, (color, variant) in _BUTTONS.items()
        }  # fmt: skip
        self.progress = pmui.LinearProgress(
            value=0, variant="determinate", sizing_mode="stretch_width", margin=(2, 12),
            # Gliding to the next value would keep the browser painting for half of a training.
            sx={"& .MuiLinearProgress-bar": {"transition": "none"}},
        )  # fmt: skip
        self.status = small_text("", margin=(2, 12, 6, 12), min_height=36)
        self.panel = pn.Column(
            pn.Row(*self.buttons.values(), margin=(8, 9, 4, 9)), self.progress, self.status,
            sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        state.param.watch(lambda event: self.refresh(), "looked_for")
        self.refresh()

    def refresh(self) -> None:
        """Show how far the training is, and which orders make sense now."""
        state = self.state
        self.progress.value = round(100 * state.share)
        words = status_text(state)
        if self.status.object != words:
            self.status.object = words
        going = state.status in ("queued", "preparing", "running")
        enabled = {
            "Train": not going and not state.looked_for,
            "Pause": going and state.status != "preparing",
            "Stop": state.busy,
        }
        for name, button in self.buttons.items():
            if button.disabled == enabled[name]:
                button.disabled = not enabled[name]
        label = "Go on" if state.status == "paused" else "Train"
        if self.buttons["Train"].label != label:
            self.buttons["Train"].label = label

    def train(self) -> None:
        """Begin, or go on after a pause."""
        anew = self.state.status != "paused"
        try:
            self.state.start()
        except (ValueError, RuntimeError, OSError) as error:
            self._complain(str(error))
            return
        self._complain("")
        if anew:
            self._cleared()
        else:
            self.refresh()


def status_text(state: TrainState) -> str:
    """How a training stands, in one line."""
    where = ""
    if state.steps_per_epoch:
        total = state.steps_per_epoch * state.started.epochs
        epoch = min(-(-state.step // state.steps_per_epoch), state.started.epochs)
        where = f"epoch {epoch} of {state.started.epochs}, step {state.step:,} of {total:,}"
    match state.status:
        case "queued":
            if place := state.place:
                return f"Waiting: place {place} in the queue"
            return "Starting a worker" if state.run is None else "Waiting for a free worker to go on"
        case "preparing":
            return state.lost or "Loading data and model"
        case "running" if state.share == 1:
            return f"{where}, measuring the accuracy drop"
        case "running" if where:
            speed = state.images_per_second
            told = f", {speed:,.0f} images/s" if speed == speed else ""
            lost = f". {state.lost}" if state.lost else ""
            return f"{where}{told}, {time_left(state.seconds_left)} left{lost}"
        case "running":
            return "Starting"
        case "paused" | "stopped":
            return f"{state.status.capitalize()} at {where}" if where else state.status.capitalize()
        case "finished":
            return f"Finished: {where}"
        case "failed":
            return "Training failed: see the message"
    if state.looked_for:
        return "Looking for your training …"
    return "Reset; Undo brings back what was shown" if state.can_undo_reset else "Ready"


def time_left(seconds: float) -> str:
    """A duration as people say it."""
    if seconds != seconds:
        return "…"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
