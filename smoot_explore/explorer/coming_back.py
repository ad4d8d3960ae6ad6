"""Coming back: the tab of the browser showed a page before, which may have trained something."""

from __future__ import annotations

import time
from collections.abc import Callable

from smoot_explore.explorer.state.session import SessionState
from smoot_explore.explorer.visits import BrowserTab, Visits

LOOKS_SECONDS = (
    5  # for which the visitor is kept waiting; after that, the tab was rather copied than loaded again
)
ASKS_SECONDS = 60  # for which is asked again whether the page before has lost its browser


class ComingBack:
    """Has a page take over what the pages before have trained. ``found`` is called when it has."""

    def __init__(
        self, visits: Visits, browser: BrowserTab, state: SessionState, found: Callable[[], None]
    ) -> None:
        self._visits, self._browser, self._state, self._found = visits, browser, state, found
        self._asks_until = 0.0
        self._looks_until = 0.0

    def expect(self) -> None:
        """The page is sent: the browser will say which pages it showed before."""
        self._look(True)
        self._looks_until = float("inf")

    def begin(self) -> None:
        """The browser has said it."""
        now = time.monotonic()
        self._looks_until, self._asks_until = now + LOOKS_SECONDS, now + ASKS_SECONDS
        self.follow()

    def follow(self) -> None:
        """Ask again; called by the clock."""
        now = time.monotonic()
        if now <= self._asks_until and not self._state.has_trained:
            left, later = self._visits.find(self._browser.before.split())
            if not later:
                self._asks_until = self._looks_until = 0.0
            if left is not None:
                self._state.take_over(left)
                left.close()
                self._found()
        self._look(now < self._looks_until)

    def _look(self, looks: bool) -> None:
        if self._state.train.looked_for != looks:
            self._state.train.looked_for = looks
