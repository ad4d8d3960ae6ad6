"""What the page tells its visitor."""

from __future__ import annotations

import panel_material_ui as pmui

from smoot_explore.explorer.escape import escaped


class Messages:
    """The line above the tabs, for what went wrong and what went well; a new message replaces the last."""

    def __init__(self) -> None:
        self.panel = pmui.Alert(
            "", severity="warning", visible=False, closeable=True, sizing_mode="stretch_width"
        )

    def tell(self, text: str, complaint: bool = True) -> None:
        """Tell the visitor something, by default what went wrong and what to do."""
        if text:
            severity = "warning" if complaint else "success"
            self.panel.param.update(object=escaped(text), severity=severity, visible=True, closed=False)
