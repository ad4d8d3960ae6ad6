"""The row above a tab that looks at one run: which run, its record, keeping it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from smoot_explore.explorer.controls import control, small_text
from smoot_explore.explorer.state.session import SessionState


class RunRow:
    """Chooses the run that a tab looks at. ``tell`` is called with a message and whether it is a complaint."""

    def __init__(self, state: SessionState, tell: Callable[[str, bool], None]) -> None:
        self.state, self._tell = state, tell
        self.measuring = small_text("", margin=(14, 10), visible=False)
        self.name = pmui.TextInput(
            label="Keep it as", width=160, size="small", margin=(4, 6),
            description="Kept runs are seen by everyone who uses this server; others end with this page.",
        )  # fmt: skip
        button = pmui.Button(
            label="Keep", size="small", variant="outlined", margin=(8, 4), on_click=self._keep
        )
        self.keeping = pn.Row(self.name, button, visible=False, margin=0)
        self.record = pmui.FileDownload(
            label="Download record", filename="record.nc", callback=self._record, size="small",
            variant="outlined", margin=(8, 6), auto=True,
        )  # fmt: skip
        self.panel = pn.Row(
            control(state, "run_key", width=260, sizing_mode=None),
            self.record, self.keeping, self.measuring, sizing_mode="stretch_width", margin=(8, 0, 0, 0),
        )  # fmt: skip
        state.param.watch(self._chosen, "run_key")
        self._chosen()

    def show_measuring(self, words: str) -> None:
        """What is being measured, or nothing."""
        if self.measuring.object != words:
            self.measuring.param.update(object=words, visible=bool(words))

    def _chosen(self, *events: Any) -> None:
        key = self.state.run_key
        self.keeping.visible = key.startswith("mine/") and self.state.settings.keep_runs
        if self.keeping.visible:
            self.name.value = self.state.catalogue.free_name(key)
        self.record.filename = f"{key.replace('/', '-')}-record.nc"

    def _keep(self, *events: Any) -> None:
        try:
            self.state.catalogue.keep(self.state.run_key, name := self.name.value.strip())
        except (ValueError, OSError) as error:
            self._tell(str(error), True)
        else:
            self._tell(f"Kept. Everyone who uses this server finds it among the runs: {name}, kept.", False)
            self._chosen()  # another name for the next one

    def _record(self) -> io.BytesIO | None:
        try:
            return io.BytesIO(self.state.catalogue.record_file(self.state.run_key))
        except (ValueError, OSError) as error:
            self._tell(str(error), True)
            return None
