"""How much of everything the benchmarks of engine and explorer measure."""

from __future__ import annotations

from typing import NamedTuple


class Amount(NamedTuple):
    """How much of everything is measured."""

    images: int = 2000  # of a training
    epochs: int = 1
    rounds: int = 5  # of trainings at once
    seconds: int = 10  # of the traffic of many workers
    jobs: int = 500  # that do nothing
    sweeps: int = 2
    cells: int = 12  # of a sweep
    pairs: int = 7  # of trainings with and without reports
    moves: int = 40  # of a slider
    page_rounds: int = 3  # of trainings with and without a page
    page_epochs: int = 3
    pages: int = 10  # that are open at once
    visits: int = 20  # one after the other
    sessions: int = 30  # that train at once


QUICK = Amount(
    images=200, rounds=1, seconds=2, jobs=50, sweeps=1, cells=3, pairs=1, moves=5, page_rounds=1, page_epochs=1,
    pages=2, visits=2, sessions=3,
)  # fmt: skip
