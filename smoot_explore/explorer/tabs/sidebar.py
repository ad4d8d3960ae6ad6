"""The sidebar: what to train, the orders, and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from smoot_explore.compute.device import available_devices
from smoot_explore.core.config import TrainingConfig, setting_names
from smoot_explore.core.rules import k_unit
from smoot_explore.explorer.controls import (
    bounds_control,
    button_group,
    choice,
    control,
    label_in,
    small_text,
)
from smoot_explore.explorer.state.train import OWN_FOLDER, TrainState
from smoot_explore.explorer.tabs.rivals import Rivals
from smoot_explore.views.palette import METHOD_NAMES

_ABOVE = {"method", "epochs"}
_LIVE = ("alpha", "beta", "kl_weight", "learning_rate")
_BELOW = [n for n in setting_names() if n not in {*_ABOVE, *_LIVE, "k_min", "k_max", "device"}]


class Sidebar:
    """Controls of a `TrainState`. ``cleared`` is called after the plots have to start anew."""

    def __init__(
        self, state: TrainState, cleared: Callable[[], None], complain: Callable[[str], None]
    ) -> None:
        self.state, self._cleared, self._complain = state, cleared, complain
        config = state.config
        self.method = button_group(
            config, "method", {METHOD_NAMES[m]: m for m in TrainingConfig.param.method.objects}
        )
        self.fixed = [
            self.method,
            control(state, "data_name"),
            control(state, "train_images"),
            control(config, "epochs"),
        ]
        self.folder = pn.Column(control(state, "folder"), control(state, "image_size"), visible=False)
        self.live = [*(control(config, name) for name in _LIVE), bounds_control(config)]
        self.names = dict(
            zip(self.live, [*_LIVE, "k_min"], strict=True)
        )  # the settings of the widgets that may idle
        self.why_idle = small_text("", margin=(0, 10), visible=False)
        self.fixed += self.folder
        self.more = pn.Column(sizing_mode="stretch_width")  # filled when it is opened
        accordion = pmui.Accordion(
            ("More settings", self.more), sizing_mode="stretch_width", margin=(8, 10), elevation=0,
            title_variant="subtitle2", disable_gutters=True,
        )  # fmt: skip
        accordion.param.watch(self._open_more, "active")
        buttons = {}
        for name, color, variant in (
            ("Train", "primary", "contained"),
            ("Pause", "default", "outlined"),
            ("Stop", "default", "outlined"),
            ("Reset", "default", "outlined"),
        ):
            buttons[name] = pmui.Button(
                label=name, color=color, variant=variant, size="small", margin=(4, 3), width=66
            )
            buttons[name].on_click(getattr(self, f"_{name.lower()}"))
        self.buttons = buttons
        self.bar = pmui.LinearProgress(
            value=0, variant="determinate", sizing_mode="stretch_width", margin=(4, 10),
            # Gliding to the next value would keep the browser painting for half of a training.
            sx={"& .MuiLinearProgress-bar": {"transition": "none"}},
        )  # fmt: skip
        self.status = small_text("", margin=(0, 10), min_height=36)
        self.rivals = Rivals(state, self._chosen, complain)
        self.objects = [
            pn.Row(*buttons.values(), margin=(6, 7, 0, 7)),
            self.bar,
            self.status,
            self.method,
            *self.fixed[1:3],
            self.folder,
            self.fixed[3],
            small_text("**These move while it trains**", margin=(8, 10, 0, 10)),
            *self.live,
            self.why_idle,
            self.rivals.panel,
            accordion,
        ]  # fmt: skip
        config.param.watch(self._patch_chosen, "patch")
        config.param.watch(self._show_acting, ["method", "optimizer", "k_rule"])
        state.param.watch(self._data_chosen, "data_name")
        state.param.watch(lambda event: self.refresh(), "looked_for")
        state.param.watch(lambda event: self.refresh(), "setting_up")
        self._data_chosen()
        self.refresh()

    def refresh(self) -> None:
        """Show how far the training is, and which orders make sense now."""
        state = self.state
        self.bar.value = round(100 * state.share)
        text = self._status_text()
        if self.status.object != text:
            self.status.object = text
        going = state.status in ("queued", "preparing", "running")
        enabled = {
            "Train": not going and not state.looked_for,
            "Pause": going and state.status != "preparing",
            "Stop": state.busy,
            "Reset": state.training is not None or state.preview is not None or state.can_undo_reset,
        }
        for name, button in self.buttons.items():
            if button.disabled == enabled[name]:
                button.disabled = not enabled[name]
        labels = {
            "Train": "Go on" if state.status == "paused" else "Train",
            "Reset": "Undo" if state.can_undo_reset else "Reset",
        }
        for name, label in labels.items():
            if self.buttons[name].label != label:
                self.buttons[name].label = label
        self._show_acting()
        self.rivals.refresh()

    def _show_acting(self, *events: Any) -> None:
        """Grey what cannot be changed now, and what would do nothing."""
        idle, held = self.state.config.idle(), self.state.busy and not self.state.setting_up
        for widget in self.fixed:
            _disable(widget, held or self.names.get(widget) in idle)
        for widget in self.live:
            _disable(widget, self.names[widget] in idle)
        why = " ".join(dict.fromkeys(idle[name] for name in (*_LIVE, "k_min") if name in idle))
        if self.why_idle.object != why:
            self.why_idle.param.update(object=why, visible=bool(why))

    def _status_text(self) -> str:
        state = self.state
        where = ""
        if state.steps_per_epoch:
            total = state.steps_per_epoch * state.started.epochs
            epoch = min(-(-state.step // state.steps_per_epoch), state.started.epochs)
            where = f"epoch {epoch} of {state.started.epochs}, step {state.step:,} of {total:,}"
        if state.status == "queued":
            place = state.place
            if place:
                return f"Waiting: place {place} in the queue"
            return "Starting a worker" if state.run is None else "Waiting for a free worker to go on"
        if state.status == "preparing":
            return state.lost or "Loading data and model"
        if state.status == "running":
            speed = (
                f"{state.images_per_second:,.0f} images/s"
                if state.images_per_second == state.images_per_second
                else ""
            )
            lost = f"<br>{state.lost}" if state.lost else ""
            return f"{where}<br>{speed}, {time_left(state.seconds_left)} left{lost}" if where else "Starting"
        if state.status == "paused":
            return f"Paused at {where}" if where else "Paused"
        if state.status == "stopped":
            return f"Stopped at {where}" if where else "Stopped"
        if state.status == "finished":
            return f"Finished: {where}"
        if state.status == "failed":
            return "Training failed: see the message on the right"
        if state.looked_for:
            return "Looking for your training …"
        return "Reset; Undo brings back what was shown" if state.can_undo_reset else "Ready"

    def _chosen(self) -> None:
        self._cleared()
        self.refresh()

    def _train(self, *events: Any) -> None:
        anew = self.state.status != "paused"
        try:
            self.state.start()
        except (ValueError, RuntimeError, OSError) as error:
            self._complain(str(error))
            return
        self._complain("")
        if anew:
            self._cleared()
        self.refresh()

    def _pause(self, *events: Any) -> None:
        self.state.pause()

    def _stop(self, *events: Any) -> None:
        self.state.stop()

    def _reset(self, *events: Any) -> None:
        if self.state.can_undo_reset:
            self.state.undo_reset()
        else:
            self.state.reset()
        self._complain("")
        self._cleared()
        self.refresh()

    def _open_more(self, *events: Any) -> None:
        if not self.more.objects:
            more = [control(self.state, "model_name"), *(control(self.state.config, name) for name in _BELOW)]
            more.append(choice(self.state.config, "device", available_devices()))
            self.names |= dict(zip(more[1:], _BELOW, strict=False))
            self.fixed += more
            self._show_acting()
            self.more.objects = more

    def _patch_chosen(self, *events: Any) -> None:
        label_in(self.live[0], k_unit(self.state.config.to_dict()))

    def _data_chosen(self, *events: Any) -> None:
        self.folder.visible = self.state.data_name == OWN_FOLDER


def _disable(widget: Any, disabled: bool) -> None:
    if widget.disabled != disabled:
        widget.disabled = disabled


def time_left(seconds: float) -> str:
    """A duration as people say it."""
    if seconds != seconds:
        return "…"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
