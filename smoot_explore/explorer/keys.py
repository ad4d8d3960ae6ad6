"""The keys of the page, and the window that shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import panel_material_ui as pmui

from smoot_explore.explorer.controls import text


class Key(NamedTuple):
    """A key, what it does in words, and what is called."""

    key: str
    words: str
    act: Callable[[], object]


class Keys:
    """A window with all keys, opened by ``?``; the last row of the table is its own."""

    def __init__(self, keys: list[Key]) -> None:
        self._keys = [*keys, Key("?", "show these keys", self.show)]
        rows = "".join(f"| **{key.key}** | {key.words} |\n" for key in self._keys)
        self.window = pmui.Dialog(
            text(f"| Key | |\n|---|---|\n{rows}"), title="Keys", open=False, close_on_click=True, width_option="sm"
        )  # fmt: skip
        self.button = pmui.Button(
            label="?", variant="text", size="small", width=40, margin=0, description="Keys",
            sx={"fontSize": "18px", "lineHeight": "48px", "padding": 0}, on_click=lambda event: self.show(),
        )  # fmt: skip

    @property
    def acts(self) -> Mapping[str, Callable[[], object]]:
        """What each key does."""
        return {key.key: key.act for key in self._keys}

    def show(self, *events: Any) -> None:
        """Open the window."""
        self.window.open = True
