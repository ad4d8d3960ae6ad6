"""Numbered flags where a hyper-parameter was moved while training ran."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smoot_explore.core.records import Change
from smoot_explore.views.sketch import Layer, upright, words

SYMBOLS = {
    "alpha": "α", "beta": "β", "kl_weight": "λ", "learning_rate": "τ", "k_min": "k min", "k_max": "k max",
}  # fmt: skip


def change_text(change: Change) -> str:
    """A live change as a flag says it: "β 0.95 → 0.5".

    Examples
    --------
    >>> change_text(Change(step=4, epoch=2, name="beta", old=0.95, new=0.5))
    'β 0.95 → 0.5'
    """
    return f"{SYMBOLS[change.name]} {change.old:g} → {change.new:g}"


def flags(changes: Sequence[tuple[float, Change]], top: float) -> list[Layer]:
    """A line for each change and its number, at the height ``top``.

    ``changes`` with the epochs at which they took effect; `change_text` says what a number stands for.
    """
    epochs = np.array([epoch for epoch, _ in changes], float)
    numbers = [f" {i}" for i in range(1, len(changes) + 1)]
    return [upright("Flag", epochs), words("Flag text", epochs, np.full(len(epochs), top), numbers)]
