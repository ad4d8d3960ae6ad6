"""Several trainings over the same axes: which one is chosen, rivals of it, and branches that go on from its epochs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from smoot_explore.explorer.controls import control
from smoot_explore.explorer.state.train import TrainState


class Rivals:
    """Controls of the trainings of a `TrainState`. ``changed`` is called when another one is shown."""

    def __init__(
        self, state: TrainState, changed: Callable[[], None], complain: Callable[[str], None]
    ) -> None:
        self.state, self._changed, self._complain = state, changed, complain
        button = {"size": "small", "variant": "outlined", "margin": (4, 3)}
        self.shown = pmui.Select(
            label="Training shown",
            options={},
            size="small",
            margin=(10, 10, 4, 10),
            sizing_mode="stretch_width",
        )
        self.remove = pmui.Button(label="Remove it", on_click=self._remove, **button)
        self.set_up = control(state, "setting_up", label="The sliders set up a rival", sizing_mode=None)
        self.add = pmui.Button(label="Add a rival", on_click=self._add, **button)
        self.epoch = pmui.Select(label="Epoch", options=[], width=80, size="small", margin=(4, 3))
        self.go_on = pmui.Button(label="Go on from epoch", on_click=self._branch, **button)
        self.shown.param.watch(self._choose, "value")
        self.epoch.param.watch(self._name, "value")
        self.panel = pn.Column(
            self.shown,
            self.set_up,
            pn.Row(self.add, self.remove, margin=(0, 7)),
            pn.Row(self.epoch, self.go_on, margin=(4, 7)),
            sizing_mode="stretch_width",
            visible=False,
        )

    def refresh(self) -> None:
        """Show which trainings there are, and which orders make sense now."""
        state = self.state
        self.panel.visible = state.training is not None
        shown = {label: i for i, label in enumerate(state.labels)}
        # Together: of options without its value, a select would choose the first.
        self.shown.param.update(options=shown, value=state.all.index(state.chosen))
        self.set_up.visible = state.busy
        self.remove.disabled = len(state.all) == 1
        kept = [epoch for epoch in state.epochs_kept if epoch < state.config.epochs]
        if self.epoch.options != kept:
            newest = not self.epoch.options or self.epoch.value == self.epoch.options[-1]
            stays = self.epoch.value in kept and not newest
            last = kept[-1] if kept else None
            self.epoch.param.update(options=kept, value=self.epoch.value if stays else last)
        waits = state.busy and state.status != "paused"
        self.epoch.disabled = self.go_on.disabled = waits or not kept
        self._name()

    def _name(self, *events: Any) -> None:
        at = "" if self.epoch.value is None else f" {self.epoch.value}"
        label = f"Go on from epoch{at}"
        if self.go_on.label != label:
            self.go_on.label = label

    def _choose(self, *events: Any) -> None:
        state, number = self.state, self.shown.value
        if isinstance(number, int) and number < len(state.all) and state.all[number] is not state.chosen:
            state.choose(number)
            self._changed()

    def _add(self, *events: Any) -> None:
        self._order(self.state.add_rival)

    def _branch(self, *events: Any) -> None:
        self._order(lambda: self.state.branch(self.epoch.value))

    def _remove(self, *events: Any) -> None:
        self._order(lambda: self.state.remove(self.state.all.index(self.state.chosen)))

    def _order(self, order: Callable[[], None]) -> None:
        try:
            order()
        except (ValueError, RuntimeError, OSError) as error:
            self._complain(str(error))
        else:
            self._changed()
