"""The row above a tab that looks at one run: which run, its record, keeping it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import panel as pn

from smoot_explore.engine.background import FILES
from smoot_explore.explorer.controls import control
from smoot_explore.explorer.download import download
from smoot_explore.explorer.state.session import SessionState
from smoot_explore.explorer.tabs.keeping import Keeping


class RunRow:
    """Chooses the run that a tab looks at.

    ``tell`` is called with a message and whether it is a complaint; ``going_on`` says what the run waits for.
    """

    def __init__(
        self,
        state: SessionState,
        schedule: Callable[[Callable[[], None]], object],
        tell: Callable[[str, bool], None],
        going_on: Any,
    ) -> None:
        self.state = state
        self.keeping = Keeping(state, schedule, tell)
        self.record = download(
            "Download record", "record.nc", lambda: partial(state.catalogue.record_file, state.run_key), FILES,
            schedule, lambda text: tell(text, True),
        )  # fmt: skip
        self.panel = pn.Row(
            control(state, "run_key", width=260, sizing_mode=None),
            self.record, self.keeping.panel, going_on, sizing_mode="stretch_width", margin=(8, 0, 0, 0),
        )  # fmt: skip
        state.param.watch(self._chosen, "run_key")
        self._chosen()

    def _chosen(self, *events: Any) -> None:
        key = self.state.run_key
        self.keeping.show(key)
        self.record.filename = f"{key.replace('/', '-')}-record.nc"
