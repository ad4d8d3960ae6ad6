"""Jobs of the engine's benchmarks, in a module that workers can import."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from smoot_explore import TrainingConfig, train
from smoot_explore.core.probe import AccuracyDropProbe, probed
from smoot_explore.engine.channel import Channel
from smoot_explore.engine.recipe import Recipe
from smoot_explore.engine.training_work import Move, Ready, TrainingWork


class Note(NamedTuple):
    """When a worker did something."""

    what: str
    at: float  # seconds since 1970
    processor: float  # seconds of the whole process: what it takes to send reports counts


def notes(run: Path, what: str) -> list[Note]:
    """What the worker of a run has noted beside its folder so far."""
    file = run.with_suffix(".notes")
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    return [note for line in lines if (note := Note(*json.loads(line))).what == what]


def _note(run: Path, what: str) -> None:
    note = Note(what, time.time(), time.process_time())
    with run.with_suffix(".notes").open("a", encoding="utf-8") as file:
        file.write(json.dumps(note) + "\n")


@dataclass(frozen=True)
class NotedWork(TrainingWork):
    """A training as any other that also notes when it begins, takes live values over, and ends."""

    recipe: Recipe  # with a folder

    def __call__(self, channel: Channel) -> str:
        result = super().__call__(_Noting(channel, self.recipe.path))
        _note(self.recipe.path, "ended")
        return result


class _Noting(Channel):
    def __init__(self, inner: Channel, run: Path) -> None:  # all else is the inner one's
        self._inner, self._run = inner, run
        self._deliver = inner.deliver
        inner.deliver = self._delivered  # type: ignore[method-assign]

    def report(self, what: Any) -> None:
        if isinstance(what, Ready):
            _note(self._run, "ready")
        self._inner.report(what)

    def _delivered(self, order: Any) -> None:
        if isinstance(order, Move):
            _note(self._run, "delivered")
        self._deliver(order)

    def orders(self) -> list[Any]:
        taken = self._inner.orders()
        for order in taken:
            if isinstance(order, Move):  # the next step uses it
                _note(self._run, "moved")
        return taken

    def wait(self, seconds: float = float("inf"), *, for_place: bool = False) -> bool:
        return self._inner.wait(seconds, for_place=for_place)

    def step_aside(self) -> None:
        self._inner.step_aside()

    @property
    def has_place(self) -> bool:  # type: ignore[override]
        return self._inner.has_place


@dataclass(frozen=True)
class SilentWork:
    """The same training for nobody: it takes no orders, reports nothing and looks at no images."""

    recipe: Recipe
    settings: dict[str, Any]

    def __call__(self, channel: Channel) -> None:
        config = TrainingConfig.recorded(self.settings)
        model, data, run = self.recipe.prepare(config)
        _note(self.recipe.path, "ready")
        probe = AccuracyDropProbe(data.test, precision=config.precision)
        for _ in probed(
            train(model, data, config, run=run, every=1), model, data, config, run=run, probe=probe
        ):
            pass
        _note(self.recipe.path, "ended")


@dataclass(frozen=True)
class ChatterWork:
    """No training, but the traffic of one: reports of a size at a rate, and an answer to each order.

    Parameters
    ----------
    size
        Bytes of a report.
    interval
        Seconds between two.
    """

    size: int
    interval: float

    def __call__(self, channel: Channel) -> None:
        over = threading.Event()
        talking = threading.Thread(target=self._talk, args=[channel.report, over])
        talking.start()
        try:
            while True:
                channel.wait()
                for asked in channel.orders():
                    if asked is None:
                        return
                    channel.report(("order", asked, time.time()))
        finally:
            over.set()
            talking.join()

    def _talk(self, report: Callable[[Any], object], over: threading.Event) -> None:
        content = bytes(self.size)
        while not over.wait(self.interval):
            report(("report", time.time(), content))


def nothing(channel: Channel) -> None:
    """A job that is over at once."""
