"""Answers for a control that moves faster than pictures can be made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from typing import Any


class Coalescer:
    """Computes in the background and shows the newest answer; questions in between replace each other.

    Parameters
    ----------
    compute
        Called in the background with the question; it must not read anything that the page may change.
    show
        Called with the answer, or with the exception, through ``schedule``.
    executor
        Where it computes.
    schedule
        Runs a function where the page may be changed.
    """

    def __init__(
        self,
        compute: Callable[..., Any],
        show: Callable[[Any], None],
        executor: Executor,
        schedule: Callable[[Callable[[], None]], object],
    ) -> None:
        self._compute, self._show, self._executor, self._schedule = compute, show, executor, schedule
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wanted = self._running = False
        self._question: tuple = ()

    def ask(self, *question: Any) -> None:
        """Ask anew; called on the event loop. Without one, nobody else is kept waiting: the answer is waited for."""
        self._wanted, self._question = True, question
        if not self._running:
            self._begin()

    @property
    def busy(self) -> bool:
        """Whether an answer is still to be shown."""
        return self._running

    def _begin(self) -> None:
        self._running, self._wanted = True, False
        future = self._executor.submit(self._compute, *self._question)
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            wait([future])
            self._finish(future)
        else:
            future.add_done_callback(self._computed)

    def _computed(self, future: Future) -> None:
        if (
            self._loop is not None and not self._loop.is_closed()
        ):  # else the page is gone, and nobody would see it
            self._loop.call_soon_threadsafe(self._finish, future)

    def _finish(self, future: Future) -> None:
        self._running = False
        answer = future.exception() or future.result()
        self._schedule(lambda: self._show(answer))
        if self._wanted:
            self._begin()
