"""Pictures of which one is seen at a time."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from smoot_explore.views.captioned import Captioned

# A label names the group for those who hear the page; those who see it see what it switches.
_HEARD = ".MuiFormLabel-root { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }"


class Switched:
    """Pictures in one place, with a button for each.

    Parameters
    ----------
    pictures
        By the names on the buttons; the first is seen at first.
    label
        What the buttons choose, for those who cannot see it.
    """

    def __init__(self, pictures: dict[str, Captioned], label: str = "What is shown") -> None:
        self._pictures = pictures
        names = list(pictures)
        self.choice = pmui.RadioButtonGroup(
            options=names, value=names[0], label=label, size="small", margin=0, sizing_mode=None,
            stylesheets=[_HEARD],
            styles={"position": "absolute", "right": "0", "top": "-3px", "z-index": "1"},
            sx={"& .MuiButtonBase-root": {"fontSize": "11px", "padding": "2px 7px"}},
        )  # fmt: skip
        self.choice.param.watch(self._chosen, "value")
        self.panel = pn.Column(
            self.choice,
            *(live.panel for live in pictures.values()),
            sizing_mode="stretch_width",
            margin=0,
            styles={"position": "relative"},
        )
        self._chosen()

    def _chosen(self, *events: Any) -> None:
        for name, live in self._pictures.items():
            live.visible = name == self.choice.value
