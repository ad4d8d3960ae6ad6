"""Measuring what a tab lacks, and telling how far it is."""

from __future__ import annotations

from collections.abc import Callable

from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.state.session import SessionState


class Measuring:
    """Has measured what the tab seen lacks. ``measured`` is called when something was; ``say`` with how far."""

    def __init__(
        self,
        state: SessionState,
        say: Callable[[str, str], None],
        complain: Callable[[str], None],
        measured: Callable[[], None],
    ) -> None:
        self._state, self._say, self._complain, self._measured = state, say, complain, measured

    def begin(self) -> None:
        """Begin to measure what the tab seen lacks, if anything."""
        self._state.measure_missing(self._state.tab)
        self._show()

    def follow(self) -> None:
        """Take over what a measurement has done; called by the clock."""
        measurement = self._state.measurement
        if measurement is None:
            return
        if measurement.done:
            self._state.measurement = None
            if measurement.problem:
                self._complain(f"Measuring the {measurement.what} failed: {measurement.problem}")
            else:
                self._state.take_measured()
            self._measured()
        self._show()

    def _show(self) -> None:
        one = self._state.measurement
        words = "" if one is None else f"Measuring the {escaped(one.what)}: {100 * one.share:.0f} %"
        self._say("measurement", words)
