"""Playing through the epochs of a run, as a film of every picture."""

from __future__ import annotations

import time

import param

from smoot_explore.explorer.state.session import SessionState

_EARLY_SECONDS = 0.05  # a step may come so much before its time: the page's clock is not exact


class Playing(param.Parameterized):
    """Goes through the epochs that a session can choose from, no faster than their pictures are shown."""

    on = param.Boolean(
        default=False,
        label="Play",
        doc="Show one epoch after the other, up to the last; from the first, if it is that.",
    )
    speed = param.Number(
        default=2, bounds=(0.25, 4), step=0.25, label="Speed (epochs a second)",
        doc="How many epochs are shown in a second, where their pictures can be made so fast.",
    )  # fmt: skip

    def __init__(self, session: SessionState) -> None:
        super().__init__()
        self._session = session
        self._next_time = 0.0
        self.param.watch(self._turned, "on")
        session.param.watch(lambda event: self.param.update(on=False), "run_key")

    def tick(self, drawn: bool = True) -> None:
        """Show the next epoch when it is time; called by the page's clock, with whether all that was asked is drawn."""
        session, now = self._session, time.monotonic()
        if not self.on or not drawn or not session.shows_epoch or now < self._next_time:
            return
        later = [epoch for epoch in session.epochs if epoch > session.epoch_shown]
        self._next_time = now + 1 / self.speed - _EARLY_SECONDS
        if later:
            session.epoch_shown = later[0]
        if len(later) <= 1:
            self.on = False

    def step(self, epochs: int) -> None:
        """So many of the epochs to choose from later, or earlier; as far as there are some."""
        there, now = self._session.epochs, self._session.epoch_shown
        if now in there:
            self._session.epoch_shown = there[min(max(there.index(now) + epochs, 0), len(there) - 1)]

    def _turned(self, event: param.parameterized.Event) -> None:
        session = self._session
        if not self.on:
            return
        if len(session.epochs) < 2:
            self.on = False
            return
        if session.epoch_shown == session.epochs[-1]:
            session.epoch_shown = session.epochs[0]
        self._next_time = time.monotonic() + 1 / self.speed - _EARLY_SECONDS
