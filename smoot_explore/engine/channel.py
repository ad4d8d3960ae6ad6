"""What a job and the one who gave it tell each other while it works."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any


class JobEnded(BaseException):  # no error: it must pass whoever catches those
    """Nobody wants what the job does any more."""


class JobStopped(JobEnded):
    """It was ordered to stop, and does."""


class Channel:
    """A job's end of the line: reports go out, orders come in.

    Parameters
    ----------
    send
        Takes a report.
    wanted
        Whether somebody still waits for the job.
    """

    def __init__(self, send: Callable[[Any], object], wanted: Callable[[], bool] = lambda: True) -> None:
        self._send, self._wanted = send, wanted
        self.has_place = True  # to compute at
        self._orders: deque[Any] = deque()
        self._ended = False
        self._changed = threading.Condition()

    def report(self, what: Any) -> None:
        """Tell something, which must be picklable."""
        self._send(what)

    def deliver(self, order: Any) -> None:
        """Give the job an order. From another thread."""
        with self._changed:
            self._orders.append(order)
            self._changed.notify_all()

    def orders(self) -> list[Any]:
        """The orders that came since the last call, in their order.

        Raises
        ------
        JobEnded
            When nobody waits for the job any more.
        """
        if not self._wanted():
            raise JobEnded
        taken = []
        while self._orders:
            taken.append(self._orders.popleft())
        return taken

    def wait(self, seconds: float = float("inf"), *, for_place: bool = False) -> bool:
        """Wait until there is an order, or a place; False when none came in time. `JobEnded` as for `orders`."""
        end = time.monotonic() + seconds

        def come() -> bool:
            return bool(self._orders) or (for_place and self.has_place)

        while not come():
            if not self._wanted():
                raise JobEnded
            if time.monotonic() > end:
                return False
            with self._changed:
                self._changed.wait_for(come, min(1, seconds))
        return True

    def step_aside(self) -> None:
        """Let other jobs have the place of this one. ``has_place`` turns True when it may go on."""
        with self._changed:
            self.has_place = False
            self._changed.notify_all()

    def hold_place(self) -> None:
        """Give the job a place, for as long as it keeps it. In a thread that has one, such as a task of its worker."""
        with self._changed:
            if self.has_place or self._ended:
                return
            self.has_place = True
            self._changed.notify_all()
            while self.has_place and not self._ended:
                self._changed.wait()

    def end(self) -> None:
        """The job is over: whoever holds a place for it need not any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
