"""The controls of the Train tab: what to train, and how."""

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
        self.reset = pmui.Button(label="Reset", variant="outlined", size="small", margin=(6, 10))
        self.reset.on_click(self._reset)
        self.rivals = Rivals(state, cleared, complain)
        self.objects = [
            self.method,
            *self.fixed[1:3],
            self.folder,
            self.fixed[3],
            small_text("**These move while it trains**", margin=(8, 10, 0, 10)),
            *self.live,
            self.why_idle,
            self.rivals.panel,
            accordion,
            self.reset,
        ]  # fmt: skip
        config.param.watch(self._patch_chosen, "patch")
        config.param.watch(self._show_acting, ["method", "optimizer", "k_rule"])
        state.param.watch(self._data_chosen, "data_name")
        state.param.watch(lambda event: self.refresh(), "setting_up")
        self._data_chosen()
        self.refresh()

    def refresh(self) -> None:
        """Show which choices may be made now."""
        state = self.state
        none = state.training is None and state.preview is None and not state.can_undo_reset
        label = "Undo reset" if state.can_undo_reset else "Reset"
        if (self.reset.disabled, self.reset.label) != (none, label):
            self.reset.param.update(disabled=none, label=label)
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

    def _reset(self, *events: Any) -> None:
        if self.state.can_undo_reset:
            self.state.undo_reset()
        else:
            self.state.reset()
        self._complain("")
        self._cleared()

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
