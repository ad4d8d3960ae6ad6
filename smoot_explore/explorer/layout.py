"""How the page is laid out: header, a sidebar for each tab, and tabs that are made when they are first seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import panel as pn
import panel_material_ui as pmui

from smoot_explore.explorer.grid import MIDDLE, NARROW
from smoot_explore.explorer.state.session import TABS
from smoot_explore.explorer.theme import HEAD, LARGE_TEXT, PAGE_SX, SIDEBAR, TEXT, theme
from smoot_explore.explorer.waiting import BEFORE_DRAWN, waiting_tab
from smoot_explore.views.captioned import Captioned, captioned_in

TAB_NAMES = {
    "train": "Train", "image": "Image", "images": "Classes", "what-if": "What if", "compare": "Compare",
    "class": "Class",
}  # fmt: skip
# In its place whatever is scrolled; on a narrow page, whose sidebar is closed, along its lower edge.
_BAR = f"""
:host {{
  position: fixed; left: 0; bottom: 0; width: {SIDEBAR}px; z-index: 1250; box-sizing: border-box;
  background: var(--panel-surface-color); border-top: 1px solid var(--mui-palette-divider, #d9dde2);
}}
@media (max-width: {NARROW - 1}px) {{ :host {{ width: 100% }} }}
"""
_TABS = f":host {{ min-width: 0 }} @media (min-width: {MIDDLE}px) {{ :host {{ margin-right: {HEAD}px !important }} }}"
_ROOM_FOR_BAR = 112  # pixels below the controls of the sidebar, and on a narrow page below a tab
_ABOVE_BAR = (
    f"@media (max-width: {NARROW - 1}px) {{ :host {{ padding-bottom: {_ROOM_FOR_BAR}px !important }} }}"
    f":host(.projector) {{ padding-bottom: {_ROOM_FOR_BAR}px !important }}"
)


class Layout:
    """The page with its tabs. A tab stays once made: the first page is there sooner, and costs less memory.

    Parameters
    ----------
    head
        What stands in the header beside the tabs.
    bar
        What is always seen at the foot of the sidebar.
    above, below
        What stands above the tabs, such as messages, and below them.
    first
        The tab that is there from the beginning; a tab has a ``panel``, ``controls`` for the sidebar, and ``refresh``
        draws it.
    makers
        Make the other tabs.
    chosen
        Called with the tab that the visitor chose.
    schedule
        Lets a change of the page come after what waits for the event loop.
    waits_for
        Makes the words that stand in a tab whose run is still being opened.
    dark
        Whether the page begins in the dark theme.
    """

    def __init__(
        self,
        head: Sequence[Any],
        bar: Any,
        above: Sequence[Any],
        below: Sequence[Any],
        first: Any,
        makers: Mapping[str, Callable[[], Any]],
        chosen: Callable[[str], None],
        schedule: Callable[[Callable[[], None]], object],
        waits_for: Callable[[], Any],
        dark: bool = False,
    ) -> None:
        self._makers, self._schedule, self._waits_for = makers, schedule, waits_for
        self.made: dict[str, Any] = {}
        self.projector, self._had_sidebar = False, True
        self._names = [tab for tab in TABS if tab in (TABS[0], *makers)]
        self._stale = set(self._names[1:])
        self._places = {tab: _column("12px 16px") for tab in self._names}
        self._controls = {tab: _column(f"8px 6px {_ROOM_FOR_BAR}px 6px") for tab in self._names}
        self._place(TABS[0], first)
        self._tabs = pmui.TabMenu(
            items=[TAB_NAMES[tab] for tab in self._names], active=0, variant="scrollable", margin=(0, 8),
            align="center", sizing_mode="stretch_width", stylesheets=[_TABS],
            sx={"& .MuiTab-root": {"fontSize": "13px", "minHeight": "48px", "minWidth": 0, "padding": "0 12px"}},
        )  # fmt: skip
        self._tabs.param.watch(lambda event: chosen(self._names[event.new]), "active")
        self._main = pn.Column(
            *above, *self._places.values(), *below, sizing_mode="stretch_width", margin=0, stylesheets=[_ABOVE_BAR]
        )  # fmt: skip
        self.page = pmui.Page(
            title="smoot_explore",
            header=[self._tabs, *head],
            sidebar=list(self._controls.values()),
            sidebar_width=SIDEBAR,
            sidebar_resizable=False,
            main=[
                self._main,
                pn.Column(bar, stylesheets=[_BAR], margin=0),
            ],
            theme_config=theme(),
            dark_theme=dark,
            busy_indicator=None,
            raw_css=[BEFORE_DRAWN],
            sx=PAGE_SX,
        )
        # The page would be told at each tick that the server is busy, and walk through all its models for that;
        # and the watcher on Panel's own state would keep it in memory for ever.
        self.page.param._update_ref("busy", None)
        self.show(TABS[0], ready=True)

    def _place(self, tab: str, made: Any) -> None:
        self.made[tab] = made
        self._dress(made.panel)
        pictures = captioned_in(made.panel)
        for picture in pictures:
            picture.wait()
        self._places[tab].objects = [made.panel]
        self._controls[tab].objects = list(made.controls)
        self._build(pictures)

    def _build(self, pictures: list[Captioned]) -> None:
        """Build figures one after the other: all at once would keep every page of the server waiting."""
        if pictures:
            self._schedule(partial(self._build_next, pictures))

    def _build_next(self, pictures: list[Captioned]) -> None:
        pictures.pop(0).build()
        self._build(pictures)

    def outdate(self, *tabs: str) -> None:
        """Have tabs drawn anew when they are seen next."""
        self._stale.update(tabs)

    def show(self, tab: str, ready: bool) -> None:
        """Bring a tab to the front; it is drawn when it is outdated and ``ready``: what it shows is opened."""
        with pn.io.hold():
            for name in self._names:
                self._places[name].visible = self._controls[name].visible = name == tab
            self._tabs.active = self._names.index(tab)
            if tab not in self._stale:
                return
            if ready:
                if tab not in self.made:
                    self._place(tab, self.make(tab))
                self.made[tab].refresh()
                self._stale.discard(tab)
            elif not self._places[tab].objects:
                self._places[tab].objects = [waiting_tab(self._waits_for())]

    def make(self, tab: str) -> Any:
        """A tab of this kind."""
        return self._makers[tab]()

    def project(self) -> None:
        """Into projector mode, or out of it: larger, the leading picture alone, and no sidebar."""
        self.projector = not self.projector
        if self.projector:
            self._had_sidebar = self.page.sidebar_open
        with pn.io.hold():
            self.page.theme_config = theme(LARGE_TEXT if self.projector else TEXT)
            self.page.sidebar_open = self._had_sidebar and not self.projector
            for panel in (self._main, *(made.panel for made in self.made.values())):
                self._dress(panel)

    def _dress(self, panel: Any) -> None:
        panel.css_classes = ["projector"] if self.projector else []


def _column(padding: str) -> pn.Column:
    styles = {"padding": padding, "box-sizing": "border-box", "max-height": "none", "width": "100%"}
    return pn.Column(sizing_mode="stretch_width", visible=False, margin=0, styles=styles)
