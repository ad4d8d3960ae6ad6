"""What the commands share to talk to a terminal: where text goes, the progress bar, interrupts."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

ONE_PRESS_SECONDS = 0.5  # within which a program that starts this one may pass the same Ctrl+C on
INTERRUPTED = 130  # exit code: 128 + SIGINT, as shells have it

stdout = Console()
stderr = Console(stderr=True)


@contextmanager
def heeded_interrupts() -> Iterator[Callable[[], None]]:
    """A function that raises ``KeyboardInterrupt`` if Ctrl+C was pressed since the start.

    Python raises it at the keypress; where that is inside an extension that clears errors, it would be lost and the
    work would go on. Long loops call the function in between. Inside an import it is raised by the function alone:
    a library that runs text as code while it is imported would make Python end by the signal, whoever caught it.
    """
    pressed: list[bool] = []

    def note(number: int, frame: FrameType | None) -> None:
        pressed.append(True)
        if not _imports(frame):
            signal.default_int_handler(number, frame)

    def heed() -> None:
        if pressed:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only there are signals handled
        yield heed
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield heed
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def second_press_ends() -> Iterator[None]:
    """End the process at a second Ctrl+C whatever it computes: Python itself would wait for the end of that step."""
    is_rank = "TORCHELASTIC_RUN_ID" in os.environ  # torchrun passes on what the terminal has sent already
    if is_rank or threading.current_thread() is not threading.main_thread():
        yield
        return
    ours, told = socket.socketpair()
    told.setblocking(False)

    def listen() -> None:
        first = float("inf")
        while number := ours.recv(1):
            if number[0] != signal.SIGINT:
                continue
            if time.monotonic() - first > ONE_PRESS_SECONDS:
                os._exit(INTERRUPTED)
            first = min(first, time.monotonic())

    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    listener = threading.Thread(target=listen, name="second press", daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        told.close()
        listener.join()
        ours.close()


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported where the frame stands."""
    return any(
        each.f_globals.get("__name__") == "importlib._bootstrap" for each, _ in traceback.walk_stack(frame)
    )


def print_whole(table: Table) -> None:
    """Print a table as wide as its numbers need, also on a narrow terminal: a cut number is worth nothing."""
    Console(width=max(stdout.width, Console(width=1000).measure(table).maximum)).print(table)


@contextmanager
def progress_bar(what: str, total: float, state: str) -> Iterator[Callable[..., None]]:
    """A progress bar on standard error with the time left; gives the function that moves it.

    The function takes ``completed``, ``total`` and ``state``. It raises ``KeyboardInterrupt`` where Ctrl+C was
    pressed and lost.
    """
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=stderr, transient=True,
    )  # fmt: skip
    with progress, heeded_interrupts() as heed:
        task = progress.add_task(what, total=total, state=state)

        def update(**changes: Any) -> None:
            heed()
            progress.update(task, **changes)

        yield update
