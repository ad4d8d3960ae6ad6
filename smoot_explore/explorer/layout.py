"""How the page is laid out: its sidebar, and tabs that are made when they are first seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import panel as pn
import panel_material_ui as pmui

from smoot_explore.explorer.state.session import TABS
from smoot_explore.explorer.waiting import BEFORE_DRAWN, waiting_tab

TAB_NAMES = ("Train", "Image", "Images", "What if", "Compare", "Class")


class Layout:
    """The page with its tabs. A tab stays once made: the first page is there sooner, and costs less memory.

    Parameters
    ----------
    sidebar
        What stands in the sidebar.
    above
        What stands above the tabs.
    first
        The tab that is there from the beginning; a tab has a ``panel``, and ``refresh`` draws it.
    heads
        What stands above each of the other tabs, made when it is first seen.
    makers
        Make the other tabs.
    chosen
        Called with the tab that the visitor chose.
    waits_for
        Makes a line that says what a tab waits for.
    """

    def __init__(
        self,
        sidebar: Sequence[Any],
        above: Sequence[Any],
        first: Any,
        heads: Mapping[str, Callable[[], Any]],
        makers: Mapping[str, Callable[[], Any]],
        chosen: Callable[[str], None],
        waits_for: Callable[[], Any],
    ) -> None:
        self._heads, self._makers, self._waits_for = heads, makers, waits_for
        self.made: dict[str, Any] = {TABS[0]: first}
        self._names = [tab for tab in TABS if tab in (TABS[0], *makers)]
        self._stale = set(self._names[1:])
        self._places = {tab: pn.Column(sizing_mode="stretch_width") for tab in self._names}
        self._places[TABS[0]].append(first.panel)
        self._tabs = pmui.Tabs(
            *((TAB_NAMES[TABS.index(tab)], place) for tab, place in self._places.items()),
            dynamic=False,
            sizing_mode="stretch_width",
            sx={
                "& .MuiTab-root": {"textTransform": "none", "fontSize": "15px", "minHeight": "40px"},
                "minHeight": "40px",
            },
        )
        self._tabs.param.watch(lambda event: chosen(self._names[event.new]), "active")
        self.page = pmui.Page(
            title="smoot_explore",
            sidebar=list(sidebar),
            sidebar_width=320,
            main=[pn.Column(*above, self._tabs, sizing_mode="stretch_width", margin=(0, 12))],
            raw_css=[BEFORE_DRAWN],
            theme_config={"typography": {"fontSize": 12}},
            sx={"& .MuiToolbar-root": {"minHeight": "48px"}},
        )
        # The page would be told at each tick that the server is busy, and walk through all its models for that;
        # and the watcher on Panel's own state would keep it in memory for ever.
        self.page.param._update_ref("busy", None)

    def outdate(self, *tabs: str) -> None:
        """Have tabs drawn anew when they are seen next."""
        self._stale.update(tabs)

    def show(self, tab: str, ready: bool) -> None:
        """Bring a tab to the front; it is drawn when it is outdated and ``ready``: what it shows is opened."""
        self._tabs.active = self._names.index(tab)
        if tab not in self._stale:
            return
        place = self._places[tab]
        with pn.io.hold():
            head, *body = list(place.objects) or [
                self._heads[tab]() if tab in self._heads else pn.Spacer(height=0)
            ]
            if ready:
                if tab not in self.made:
                    self.made[tab] = self.make(tab)
                self.made[tab].refresh()
                self._stale.discard(tab)
                body = [self.made[tab].panel]
            shown = [head, *(body or [waiting_tab(self._waits_for())])]
            if shown != list(place.objects):
                place.objects = shown

    def make(self, tab: str) -> Any:
        """A tab of this kind."""
        return self._makers[tab]()
