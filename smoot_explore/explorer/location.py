"""The browser's address: read when the page begins or the visitor goes back, and kept in step with what is shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode

import panel as pn
import param
from panel.custom import JSComponent
from panel.io.location import Location as PanelLocation
from panel.util import parse_query

from smoot_explore.explorer.state.address import Address

REST_SECONDS = 0.5  # everything must rest so long before the address follows: that costs the browser time
PLACES = ("tab", "run")  # choosing another of these is a step that Back undoes; all else moves within one


def _query(location: Any) -> dict[str, Any]:
    try:
        return parse_query(location.search)
    except ValueError:  # a digit such as ①, or thousands of them: no page would come
        return {}


# Panel reads the values of every address too, also of names that no page has.
PanelLocation.query_params = property(_query)


class BrowserHistory(JSComponent):
    """Writes the address into the browser's history, and tells when the visitor goes back or forward in it."""

    entry = param.Dict(
        default={},
        doc="``search``, the address from its ?; ``view``, all of it; and whether it is a ``step``.",
    )
    went = param.Dict(
        default={}, doc="``view``, or else ``search``, that was gone to, and how often that was done."
    )

    _esm = """
    let listens = false // it may be drawn again
    export function render({ model }) {
      const write = () => {
        const { search, view, step } = model.entry
        if (search === undefined) return
        const address = location.pathname + search + location.hash
        if (step) history.pushState({ view }, "", address)
        else history.replaceState({ view }, "", address)
      }
      model.on("entry", write)
      if (listens) return
      listens = true
      let times = 0
      window.addEventListener("popstate", ({ state }) => {
        model.went = { search: location.search, view: state?.view ?? null, times: ++times }
      })
    }
    """

    def __init__(self, **params: object) -> None:
        super().__init__(width=0, height=0, margin=0, **params)


class Location:
    """Reads the address that a visitor came by, and writes that of the present view.

    ``went`` is called with what the address says that the visitor has gone back or forward to.
    """

    def __init__(self, address: Address, went: Callable[[dict[str, str]], None]) -> None:
        self._address, self._went = address, went
        self.browser = BrowserHistory()
        self.browser.param.watch(self._go, "went")
        self._written: dict[str, str] | None = None
        self._moved_to: dict[str, str] = {}
        self._moved_time = time.monotonic()

    def asked(self) -> dict[str, str]:
        """What the visitor's address says."""
        arguments = pn.state.session_args or {}
        return {name: values[0].decode("utf-8", "replace") for name, values in arguments.items() if values}

    def follow(self) -> None:
        """Write the address of the present view, once that has come to rest; called by the clock."""
        now, address = time.monotonic(), self._address.write(own=True)
        if address != self._moved_to:
            self._moved_to, self._moved_time = address, now
        elif address != self._written and now - self._moved_time > REST_SECONDS:
            before, self._written = self._written, address
            step = before is not None and any(before.get(name) != address.get(name) for name in PLACES)
            shared = self._address.write()
            search = f"?{urlencode(shared)}" if shared else ""
            self.browser.entry = {"search": search, "view": address, "step": step}

    def _go(self, event: param.parameterized.Event) -> None:
        search = parse_qs(event.new["search"].removeprefix("?"), keep_blank_values=True)
        view = event.new["view"] or {name: values[0] for name, values in search.items()}
        self._written = dict(view)
        self._went(dict(view))
