"""What the page tells its visitor."""

from __future__ import annotations

import time

import panel_material_ui as pmui

from smoot_explore.explorer.escape import escaped

COMPLAINT_SECONDS, SUCCESS_SECONDS = 30, 10  # for which a message stands


class Messages:
    """The line above the tabs, for what went wrong and what went well; a new message replaces the last."""

    def __init__(self) -> None:
        self.panel = pmui.Alert(
            "", severity="warning", visible=False, closeable=True, sizing_mode="stretch_width"
        )
        self._until = 0.0

    def tell(self, text: str, complaint: bool = True) -> None:
        """Tell the visitor something, by default what went wrong and what to do; nothing when that is mended."""
        if not text:
            self.clear()
        else:
            severity = "warning" if complaint else "success"
            self._until = time.monotonic() + (COMPLAINT_SECONDS if complaint else SUCCESS_SECONDS)
            self.panel.param.update(object=escaped(text), severity=severity, visible=True, closed=False)

    def clear(self) -> None:
        """Take the message away: what it says holds no more."""
        if self.panel.visible:
            self.panel.visible = False

    def follow(self) -> None:
        """Take it away when it has stood for long enough; called by the clock."""
        if self.panel.visible and time.monotonic() > self._until:
            self.clear()
