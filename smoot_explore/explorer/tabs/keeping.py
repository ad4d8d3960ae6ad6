"""Keeping a run that was trained on this page: a name and a button."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from smoot_explore.engine.background import FILES
from smoot_explore.engine.coalesce import Coalescer
from smoot_explore.errors import reason
from smoot_explore.explorer.state.address import OWN
from smoot_explore.explorer.state.session import SessionState


class Keeping:
    """Keeps the run of a key. ``tell`` is called with a message and whether it is a complaint."""

    def __init__(
        self,
        state: SessionState,
        schedule: Callable[[Callable[[], None]], object],
        tell: Callable[[str, bool], None],
    ) -> None:
        self.state, self._tell = state, tell
        self._key: str | None = None
        self._storing = Coalescer(self._store, self._stored, FILES, schedule)
        self.name = pmui.TextInput(
            label="Keep it as", width=160, size="small", margin=(4, 6),
            description="Kept runs are seen by everyone who uses this server; others end with this page.",
        )  # fmt: skip
        self.button = pmui.Button(
            label="Keep", size="small", variant="outlined", margin=(8, 4), on_click=self._keep
        )
        self.panel = pn.Row(self.name, self.button, visible=False, margin=0)

    def show(self, key: str | None) -> None:
        """Offer to keep the run of a key; None, or a run of others, offers nothing."""
        if key is None or not key.startswith(OWN) or not self.state.settings.keep_runs:
            self._key, self.panel.visible = None, False
        elif key != self._key:
            self._key, self.panel.visible = key, True
            self.name.value = self.state.catalogue.free_name(key)

    def _keep(self, *events: Any) -> None:
        self.button.disabled = True
        self._storing.ask(self._key, self.name.value.strip())

    def _store(self, key: str, name: str) -> str:
        self.state.catalogue.store(key, name)
        return name

    def _stored(self, answer: str | BaseException) -> None:
        self.button.disabled = False
        if isinstance(answer, BaseException):
            self._tell(reason(answer), True)
            return
        self.state.catalogue.follow()
        self._tell(f"Kept. Everyone who uses this server finds it among the runs: {answer}, kept.", False)
        key, self._key = self._key, None
        self.show(key)  # another name for the next one
