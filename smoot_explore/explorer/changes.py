"""Changes of a page that are asked for beside it: made in their order, once the page takes them."""

from __future__ import annotations

from collections.abc import Callable

import panel as pn
from bokeh.document import Document
from panel.reactive import Syncable

from smoot_explore.explorer.page_ready import page_takes_changes


class Changes:
    """Lets the background change a page; ``document`` is None where there is no browser."""

    def __init__(self, document: Document | None) -> None:
        if document is not None:
            _have_events_take_the_lock()
        self._document = document
        self._waiting: list[Callable[[], None]] = []
        self._ended = False

    def schedule(self, change: Callable[[], None]) -> None:
        """Make a change under the document's lock, once the page is drawn."""
        if self._document is None:
            change()
        elif not self._ended:
            self._document.add_next_tick_callback(lambda: self.make(change))

    def make(self, change: Callable[[], None]) -> None:
        """Make a change now, or later when the page takes none yet."""
        if self._waiting or not page_takes_changes():  # those that wait come first: they are older
            self._waiting.append(change)
            return
        # Held, as all that makes new models is: what changes a figure outside of a hold can overtake them.
        with pn.io.hold():
            change()

    def end(self) -> None:
        """The visitor has left: what the background still finds out changes nothing."""
        self._ended = True
        self._waiting.clear()

    def catch_up(self) -> None:
        """Make what waits; called by the clock, in its hold."""
        while self._waiting:
            self._waiting.pop(0)()


def _have_events_take_the_lock() -> None:
    """Panel acts on an event that closely follows a moved control without the document's lock.

    Figures, which the explorer changes itself, then refuse what is given to them.
    """
    Syncable._event_coroutine.lock = Syncable._change_coroutine.lock = True
