"""Work beside the page: computations for a slider, maps of several runs, long measurements, runs and files."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

from smoot_explore.compute.cores import compute_on_one_core
from smoot_explore.errors import reason

# One thread each, for all sessions: neither a long measurement nor maps by occlusion (seconds for each run) nor a
# run with large data keep a slider waiting, and none takes more than a core from trainings.
QUICK = ThreadPoolExecutor(1, "quick", initializer=compute_on_one_core)
MAPS = ThreadPoolExecutor(1, "maps", initializer=compute_on_one_core)
SLOW = ThreadPoolExecutor(1, "slow", initializer=compute_on_one_core)
OPENING = ThreadPoolExecutor(1, "opening", initializer=compute_on_one_core)  # runs, with their data
FILES = ThreadPoolExecutor(1, "files", initializer=compute_on_one_core)  # what is listed, kept, downloaded


class Measurement:
    """A long measurement with its progress.

    Parameters
    ----------
    what
        For the page: "masking curves of SMOOT".
    measure
        Called in the background with a progress function ``(done, total)``.
    """

    def __init__(self, what: str, measure: Callable[[Callable[[int, int], None]], Any]) -> None:
        self.what = what
        self.share = 0.0  # done, 0 … 1
        self._cancelled = False
        self._future: Future = SLOW.submit(measure, self._progress)

    @property
    def done(self) -> bool:
        """Whether it has ended, well or badly."""
        return self._future.done()

    @property
    def problem(self) -> str:
        """Why it failed; empty when it did not."""
        if not self.done or self._future.cancelled():
            return ""
        error = self._future.exception()
        return "" if error is None or isinstance(error, CancelledError) else reason(error)

    def cancel(self) -> None:
        """End it as soon as possible."""
        self._cancelled = True
        self._future.cancel()

    def _progress(self, done: int, total: int) -> None:
        self.share = done / total
        if self._cancelled:
            raise CancelledError
