"""Waiting for what threads do."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from smoot_explore.engine.trainings import Training


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait for a condition; a failure when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("waited in vain")
        time.sleep(0.003)


def in_a_thread(function: Callable[[], Any]) -> Callable[[], Any]:
    """A thread of its own: how many threads PyTorch computes with, which sets the last bits, is the thread's.

    What is given back waits for the result.
    """
    pool = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,))
    result = pool.submit(function).result
    pool.shutdown(wait=False)
    return result


def delivered(training: Training) -> None:
    """Wait until what was ordered has reached the worker."""
    training._engine._hands.submit(int).result()


def after_step(training: Training, step: int, act: Callable[[], object]) -> None:
    """Have the worker do something once, right after a step: the choice of watched images is made there.

    What is ordered there is obeyed before the next step. Every step must be reported.
    """
    acted = False

    def chooser(model, train, k):
        nonlocal acted
        if acted:
            return np.empty(0, int)
        if training.step < step:
            training.watch(chooser)
        else:
            acted = True
            act()
        delivered(training)
        return np.empty(0, int)

    training.watch(chooser)
