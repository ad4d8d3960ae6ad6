"""Visits: a browser that loads the page again, or comes back to it, finds what was trained there."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

import param
from panel.custom import JSComponent

from smoot_explore.explorer.state.session import SessionState

TRAINS_ON_SECONDS = 30  # without a browser; then others need the place
KEPT_SECONDS = 1800  # what was trained, without a browser
MOST_KEPT = 30  # pages without a browser: the one left first is given up


class BrowserTab(JSComponent):
    """Remembers in the tab of the browser which page it shows; tells the server which ones it showed before."""

    page = param.String(doc="A name of this page that nobody can guess.")
    before = param.String(
        doc="The names of the pages before, the latest first; '-' when there was none; empty until it is known."
    )

    _esm = """
    export function render({ model }) {
      const key = "smoot_explore-page"
      let before = []
      try {
        before = (sessionStorage.getItem(key) ?? "").split(" ").filter(Boolean)
        if (before[0] === model.page) return
        sessionStorage.setItem(key, [model.page, ...before].slice(0, 8).join(" "))
      } catch {} // a browser may refuse to remember anything
      model.before = before.join(" ") || "-"
    }
    """

    def __init__(self, **params: object) -> None:
        super().__init__(page=secrets.token_urlsafe(16), width=0, height=0, margin=0, **params)


class _Visit(NamedTuple):
    state: SessionState
    there: Callable[[], bool]  # whether a browser shows it
    left: bool = False  # whether its session is over


class Visits:
    """The pages of a server by their names, and for a while those that have lost their browser."""

    def __init__(self) -> None:
        self._visits: dict[str, _Visit] = {}
        self._lock = threading.Lock()

    def begin(self, page: str, state: SessionState, there: Callable[[], bool]) -> None:
        """A page is sent; ``there`` tells whether a browser shows it."""
        with self._lock:
            self._visits[page] = _Visit(state, there)

    def find(self, pages: Iterable[str]) -> tuple[SessionState | None, bool]:
        """What the latest of some pages has left that no browser shows any more, and whether to ask again later.

        A page that was loaded again too soon to find anything itself leaves nothing: then it is the one before.
        """
        with self._lock:
            for page in pages:
                visit = self._visits.get(page)
                if visit is not None and visit.there():  # seen still, or shown by a copy of the tab
                    return None, True
                if visit is not None and visit.state.has_trained:
                    del self._visits[page]
                    return visit.state, False
        return None, False

    def leave(self, page: str) -> None:
        """The session of a page is over: what it has trained is kept for a while, in case its browser comes back."""
        with self._lock:
            visit = self._visits.pop(page, None)
            if visit is None:
                return
            if visit.state.has_trained:
                kept = visit.state.apart()  # the other is held by all that its page has drawn
                self._visits[page] = _Visit(kept, lambda: False, left=True)
                self._later(TRAINS_ON_SECONDS, page, kept, kept.train.stop_all)
                self._later(KEPT_SECONDS, page, kept, lambda: self._end(page))
            left = [name for name, one in self._visits.items() if one.left]
        visit.state.close()
        for name in left[:-MOST_KEPT]:
            self._end(name)

    def close(self) -> None:
        """Forget all of them."""
        with self._lock:
            visits = list(self._visits.values())
            self._visits.clear()
        for visit in visits:
            visit.state.close()

    def _later(self, seconds: float, page: str, state: SessionState, act: Callable[[], object]) -> None:
        def unless_found() -> None:
            with self._lock:
                left = self._visits.get(page)
            if left is not None and left.state is state:
                act()

        timer = threading.Timer(seconds, unless_found)
        timer.daemon = True
        timer.start()

    def _end(self, page: str) -> None:
        with self._lock:
            visit = self._visits.pop(page, None)
        if visit is not None:
            visit.state.close()
