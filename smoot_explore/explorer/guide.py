"""The first visit: what this is about, and three ways to begin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import panel as pn
import panel_material_ui as pmui

from smoot_explore.explorer.controls import text
from smoot_explore.explorer.grid import Grid, part

_ABOUT = (
    "A **saliency map** shows which pixels moved a network's answer. **Guided training** masks those of lowest "
    "saliency and asks for the same answer. **SMOOT** gives each image its own number *k* of masked pixels, and "
    "moves it."
)


class Scenario(NamedTuple):
    """A way to begin: what the page is set to, as in an address, and what to do and to look for."""

    name: str
    address: Mapping[str, str]
    words: str


SCENARIOS = (
    Scenario(
        "See k move",
        {"tab": "train", "method": "smoot", "epochs": "6", "images": "2000", "alpha": "40", "beta": "0.95"},
        "Press **Train**. Below each watched image stands its k. While it trains, move **β** to 0.5: a flag marks the "
        "step, and the lines of k bend. Click a watched image: the card says why its k moves.",
    ),
    Scenario(
        "Find a class II image",
        {"tab": "images", "run": "bundled/smoot", "curves_fill": "black", "curves_attribution": "gradient"},
        "Each point is a test image. Those of **class II** become *more* probable when their strongest pixels are "
        "masked. Click one far above 0, press **Open in Image**, and move **Masked** to see it happen.",
    ),
    Scenario(
        "Does it make maps better?",
        {"tab": "compare", "runs": "bundled/traditional,bundled/sgt,bundled/smoot"},
        "The same images, three ways of training. Look at the maps, then at the curves: masking a good map's strongest "
        "pixels first lowers the accuracy fast. Then choose another **fill**: does the order of the three stay?",
    ),
)


class Guide:
    """A low card above the tabs, until it is closed.

    Parameters
    ----------
    begin
        Called with the address of the chosen scenario.
    closed
        Called when the visitor closes it.
    """

    def __init__(self, begin: Callable[[Mapping[str, str]], object], closed: Callable[[], object]) -> None:
        self._begin = begin
        self.words = text("", visible=False, margin=(4, 0, 0, 0))
        buttons = [
            pmui.Button(label=one.name, variant="outlined", size="small", margin=0, on_click=self._choose(one))
            for one in SCENARIOS
        ]  # fmt: skip
        close = pmui.Button(
            label="Close", variant="text", size="small", margin=0, on_click=lambda e: closed()
        )
        self.panel = Grid(
            part(
                pn.FlexBox(
                    text(_ABOUT, margin=0, styles={"flex": "1 1 360px"}),
                    pn.FlexBox(*buttons, close, gap="6px", styles={"flex": "0 1 auto"}, sizing_mode=None),
                    gap="8px 16px",
                    align_items="center",
                    flex_wrap="wrap",
                ),
                self.words,
                span=12,
            ),
            visible=False,
            margin=(12, 16, 0, 16),
        )

    def _choose(self, scenario: Scenario) -> Callable[[Any], None]:
        def chosen(event: Any) -> None:
            self._begin(scenario.address)
            self.words.param.update(object=f"**{scenario.name}.** {scenario.words}", visible=True)

        return chosen
