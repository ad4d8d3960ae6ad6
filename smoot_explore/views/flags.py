"""Numbered flags where a hyper-parameter was moved while training ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from smoot_explore.core.records import Change
from smoot_explore.views.palette import symbol
from smoot_explore.views.sketch import Layer, upright, words


def change_text(change: Change) -> str:
    """A live change as a flag says it: "β 0.95 → 0.5".

    Examples
    --------
    >>> change_text(Change(step=4, epoch=2, name="beta", old=0.95, new=0.5))
    'β 0.95 → 0.5'
    """
    return f"{symbol(change.name)} {change.old:g} → {change.new:g}"


def marked(changes: Sequence[tuple[float, Change]], steps_per_epoch: int) -> list[tuple[float, Change]]:
    """The live changes that have a flag: a slider's way from one place to another is one change.

    Its steps lie within a quarter of an epoch, or ten steps. Back to where it began is a way of its own. The record
    keeps every single one.

    Parameters
    ----------
    changes
        With the place of each on the axis, such as its epoch.
    steps_per_epoch
        Of the training; 0 where that is not known yet.
    """
    marks = list[tuple[float, Change]]()
    near = max(10, steps_per_epoch // 4)
    for place, change in changes:
        before = next((mark for mark in reversed(marks) if mark[1].name == change.name), None)
        if before is not None and change.step - before[1].step <= near and change.new != before[1].old:
            marks[marks.index(before)] = place, replace(change, old=before[1].old)
        else:
            marks.append((place, change))
    return marks


def flags(changes: Sequence[tuple[float, Change]], top: float) -> list[Layer]:
    """A line for each change and its number, at the height ``top``.

    ``changes`` with the epochs at which they took effect; `change_text` says what a number stands for.
    """
    epochs = np.array([epoch for epoch, _ in changes], float)
    numbers = [f" {i}" for i in range(1, len(changes) + 1)]
    return [upright("Flag", epochs), words("Flag text", epochs, np.full(len(epochs), top), numbers)]
