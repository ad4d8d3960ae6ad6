"""Waiting for what threads do."""

import time
from collections.abc import Callable

import numpy as np

from smoot_explore.engine.trainings import Training


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait for a condition; a failure when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("waited in vain")
        time.sleep(0.003)


def after_step(training: Training, step: int, act: Callable[[], object]) -> None:
    """Have the worker do something right after a step: the choice of watched images is made there."""

    def chooser(model, train, k):
        if training.step >= step:
            act()
        else:
            training.watch(chooser)
        return np.empty(0, int)

    training.watch(chooser)
