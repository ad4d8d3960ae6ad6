"""What the pages of one server share: who computes for them, and the visits of their browsers."""

from __future__ import annotations

from functools import cache

from smoot_explore.engine.engine import Engine
from smoot_explore.engine.workers import DaskWorkers
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state.class_board import ClassBoard
from smoot_explore.explorer.visits import Visits


class Host:
    """What the pages of one server share. Workers are started with the first job.

    Parameters
    ----------
    settings
        What the operator decided.

    Attributes
    ----------
    trainings, measurements
        The engines: measurements need not wait for trainings.
    visits
        The pages, and those that have lost their browser.
    board
        What the pages tell each other of their trainings; None where the operator does not want that.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings, n = settings, settings.max_trainings
        connect = None if settings.scheduler is None else settings.scheduler.connect
        trainings = DaskWorkers(n, beside=1, connect=connect)
        measurements = DaskWorkers(
            beside=n, threads=1, connect=connect, priority=1
        )  # before trainings that wait
        self.trainings = Engine(trainings, max_queue=settings.max_queue)
        self.measurements = Engine(measurements)
        self.visits = Visits()
        self.board = ClassBoard() if settings.class_tab else None

    def close(self) -> None:
        """End the trainings of all pages, and the worker processes, if there are any."""
        self.visits.close()
        for engine in (self.trainings, self.measurements):
            engine.close()


@cache
def shared_host(settings: ServerSettings) -> Host:
    """The host of these settings in this process, for a server that makes its pages by a script: `panel serve`."""
    return Host(settings)
