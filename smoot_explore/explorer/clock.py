"""The page's clock: takes over what goes on beside the page, and keeps drawing from slowing a training down."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import panel as pn
from bokeh.document import Document

from smoot_explore.explorer.page_ready import page_takes_changes
from smoot_explore.explorer.state.train import TrainState

TICK_MILLISECONDS = 250
DRAWING_SECONDS = 1.5  # at most between two drawings of a training
DRAWING_SHARE = 0.02  # of the time that drawing a training may take away from it
ALONE_SECONDS = 60  # a page that lost its browser for so long is given up


class Clock:
    """Ticks while the page lives.

    Parameters
    ----------
    document
        The page's; None where there is no browser.
    training
        Drawn by ``draw_training``, when there is something new and enough time has gone by; it is called with
        whether the status is another than at the last drawing.
    before, after
        Called at each tick, in order, before the training is drawn and after it.
    afterwards
        Called when all that has changed is sent.
    """

    def __init__(
        self,
        document: Document | None,
        training: TrainState,
        draw_training: Callable[[bool], None],
        before: Sequence[Callable[[], object]],
        after: Sequence[Callable[[], object]],
        afterwards: Callable[[], object],
    ) -> None:
        self._document, self._training, self._draw_training = document, training, draw_training
        self._before, self._after, self._afterwards = before, after, afterwards
        self._seen_time = time.monotonic()
        self._statuses = list[str]()
        self._news = False
        self._next_drawing = 0.0

    def start(self) -> None:
        """Tick from now on."""
        pn.state.add_periodic_callback(self.tick, TICK_MILLISECONDS)

    def tick(self) -> None:
        """Take over what trainings, measurements and others have done."""
        self._give_up_when_alone()
        if not page_takes_changes():
            return
        began = time.monotonic()
        with pn.io.hold():
            for duty in self._before:
                duty()
            drawn = self._follow_training(began)
            for duty in self._after:
                duty()
        if drawn:
            now = time.monotonic()
            self._next_drawing = now + min((now - began) / DRAWING_SHARE, DRAWING_SECONDS)
        self._afterwards()

    def _follow_training(self, now: float) -> bool:
        """Draw what is new of the training, in its time; gives whether it was drawn."""
        self._news = self._training.poll() or self._news
        turned = self._training.statuses != self._statuses
        draws = self._news and (turned or now >= self._next_drawing)
        if draws:
            self._news, self._statuses = False, self._training.statuses
            self._draw_training(turned)
        return draws

    def has_browser(self) -> bool:
        """Whether a browser shows the page."""
        context = self._document.session_context if self._document is not None else None
        session = getattr(context, "session", None)
        return session is None or session.connection_count > 0

    def _give_up_when_alone(self) -> None:
        """Stop the trainings of a page that has no browser, should its session live on all the same."""
        now = time.monotonic()
        if self.has_browser():
            self._seen_time = now
        elif now - self._seen_time > ALONE_SECONDS:
            self._training.stop_all()
