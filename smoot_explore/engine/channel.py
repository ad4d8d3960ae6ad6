"""What a job and the one who gave it tell each other while it works."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        self._orders: deque[Any] = deque()
        self._came = threading.Condition()

    def report(self, what: Any) -> None:
        """Tell something, which must be picklable."""
        self._send(what)

    def deliver(self, order: Any) -> None:
        """Give the job an order. From another thread."""
        with self._came:
            self._orders.append(order)
            self._came.notify()

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

    def wait(self) -> None:
        """Wait until there is an order; `JobEnded` as for `orders`."""
        while not self._orders:
            if not self._wanted():
                raise JobEnded
            with self._came:
                if not self._orders:
                    self._came.wait(1)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """A block in which other jobs may have this one's place; it ends when there is a place again, or an error."""
        yield
