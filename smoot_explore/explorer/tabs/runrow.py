"""Of a tab that looks at one run: in the header which run, at which epoch; below the tab its record, keeping it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import panel as pn
import panel_material_ui as pmui

from smoot_explore.engine.background import FILES
from smoot_explore.explorer.controls import control, values_slider
from smoot_explore.explorer.download import download
from smoot_explore.explorer.grid import MIDDLE
from smoot_explore.explorer.state.playing import Playing
from smoot_explore.explorer.state.session import SessionState
from smoot_explore.explorer.tabs.keeping import Keeping
from smoot_explore.explorer.theme import HEAD_RIGHT

# In the header where it fits beside the tabs, else the first line below.
_HEAD = f"""
:host {{
  width: 100%; align-items: center; padding: 0 12px; box-sizing: border-box; flex-wrap: wrap;
  background: var(--panel-surface-color);
}}
@media (min-width: {MIDDLE}px) {{
  :host {{
    position: fixed; top: 0; right: {HEAD_RIGHT}px; width: auto; height: 48px; padding: 0; z-index: 1250;
    flex-wrap: nowrap;
  }}
}}
"""
_PLAY = {"label": "Play", "description": "Play through the epochs of the run."}
_HOLD = {"label": "Hold", "description": "Hold at this epoch."}


class RunRow:
    """Chooses the run that a tab looks at, and the epoch.

    ``tell`` is called with a message and whether it is a complaint; ``going_on`` says what the run waits for.
    """

    def __init__(
        self,
        state: SessionState,
        playing: Playing,
        schedule: Callable[[Callable[[], None]], object],
        tell: Callable[[str, bool], None],
        going_on: Any,
    ) -> None:
        self.state = state
        self.epoch = values_slider("Epoch", [0])
        self.epoch.param.update(
            width=150, sizing_mode=None, margin=(4, 10, 0, 10), description=state.param.epoch.doc
        )
        self.play = pmui.Button(size="small", variant="text", margin=0, width=56, align="center", **_PLAY)
        self.play.on_click(lambda event: playing.param.update(on=not playing.on))
        playing.param.watch(lambda event: self.play.param.update(**(_HOLD if event.new else _PLAY)), "on")
        self.keeping = Keeping(state, schedule, tell)
        self.record = download(
            "Download record", "record.nc", lambda: partial(state.catalogue.record_file, state.run_key), FILES,
            schedule, lambda text: tell(text, True),
        )  # fmt: skip
        run = control(state, "run_key", width=190, sizing_mode=None, margin=(12, 4, 0, 4))
        self.head = pn.Row(run, self.play, self.epoch, margin=0, stylesheets=[_HEAD])
        # Between the cards, which its words do not move.
        self.above = pn.Row(
            going_on, height=0, margin=(0, 16), styles={"overflow": "visible", "z-index": "1"}
        )
        self.below = pn.FlexBox(self.record, self.keeping.panel, align_items="center", margin=(0, 8, 8, 8))
        state.param.watch(self._chosen, "run_key")
        state.param.watch(self._show_epoch, ["epoch", "epochs"])
        self.epoch.param.watch(lambda event: setattr(state, "epoch_shown", event.new), "value")
        self._chosen()
        self._show_epoch()

    def show(self, seen: bool) -> None:
        """Show all of it, or nothing."""
        self.head.visible = self.above.visible = self.below.visible = seen

    def _show_epoch(self, *events: Any) -> None:
        epochs, epoch = self.state.epochs, self.state.epoch_shown
        few = len(epochs) < 2
        if epoch in epochs:
            self.epoch.param.update(options=epochs, value=epoch)
        self.epoch.disabled = self.play.disabled = few

    def _chosen(self, *events: Any) -> None:
        key = self.state.run_key
        self.keeping.show(key)
        self.record.filename = f"{key.replace('/', '-')}-record.nc"
