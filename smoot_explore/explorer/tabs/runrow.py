"""The row above a tab that looks at one run: which run, at which epoch, its record, keeping it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import panel as pn
import panel_material_ui as pmui

from smoot_explore.engine.background import FILES
from smoot_explore.engine.coalesce import Coalescer
from smoot_explore.errors import reason
from smoot_explore.explorer.controls import control, values_slider
from smoot_explore.explorer.download import download
from smoot_explore.explorer.state.playing import Playing
from smoot_explore.explorer.state.session import SessionState


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
        self.state, self._tell = state, tell
        self.epoch = values_slider("Epoch", [0])
        self.epoch.param.update(width=200, sizing_mode=None, description=state.param.epoch.doc)
        self.play = pmui.Button(label="Play", size="small", variant="outlined", margin=(8, 4), width=70)
        self.play.on_click(lambda event: playing.param.update(on=not playing.on))
        playing.param.watch(lambda event: self.play.param.update(label="Hold" if event.new else "Play"), "on")
        self._storing = Coalescer(self._store, self._stored, FILES, schedule)
        self.name = pmui.TextInput(
            label="Keep it as", width=160, size="small", margin=(4, 6),
            description="Kept runs are seen by everyone who uses this server; others end with this page.",
        )  # fmt: skip
        self.keep = pmui.Button(
            label="Keep", size="small", variant="outlined", margin=(8, 4), on_click=self._keep
        )
        self.keeping = pn.Row(self.name, self.keep, visible=False, margin=0)
        self.record = download(
            "Download record", "record.nc", lambda: partial(state.catalogue.record_file, state.run_key), FILES,
            schedule, lambda text: tell(text, True),
        )  # fmt: skip
        self.panel = pn.Row(
            control(state, "run_key", width=260, sizing_mode=None),
            self.play, self.epoch, self.record, self.keeping, going_on,
            sizing_mode="stretch_width", margin=(8, 0, 0, 0),
        )  # fmt: skip
        state.param.watch(self._chosen, "run_key")
        state.param.watch(self._show_epoch, ["epoch", "epochs"])
        self.epoch.param.watch(lambda event: setattr(state, "epoch_shown", event.new), "value")
        self._chosen()
        self._show_epoch()

    def _show_epoch(self, *events: Any) -> None:
        epochs, epoch = self.state.epochs, self.state.epoch_shown
        few = len(epochs) < 2
        if epoch in epochs:
            self.epoch.param.update(options=epochs, value=epoch)
        self.epoch.disabled = self.play.disabled = few

    def _chosen(self, *events: Any) -> None:
        key = self.state.run_key
        self.keeping.visible = key.startswith("mine/") and self.state.settings.keep_runs
        if self.keeping.visible:
            self.name.value = self.state.catalogue.free_name(key)
        self.record.filename = f"{key.replace('/', '-')}-record.nc"

    def _keep(self, *events: Any) -> None:
        self.keep.disabled = True
        self._storing.ask(self.state.run_key, self.name.value.strip())

    def _store(self, key: str, name: str) -> str:
        self.state.catalogue.store(key, name)
        return name

    def _stored(self, answer: str | BaseException) -> None:
        self.keep.disabled = False
        if isinstance(answer, BaseException):
            self._tell(reason(answer), True)
            return
        self.state.catalogue.follow()
        self._tell(f"Kept. Everyone who uses this server finds it among the runs: {answer}, kept.", False)
        self._chosen()  # another name for the next one
