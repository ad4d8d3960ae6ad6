"""What the learning rate is multiplied by as training goes on."""

from __future__ import annotations

import math

from smoot_explore.core.config import TrainingConfig


def pace(config: TrainingConfig, epochs_done: float) -> float:
    """The factor of the step that begins after ``epochs_done`` epochs (a fraction within one), 0 … 1.

    Examples
    --------
    >>> config = TrainingConfig(schedule="cosine", epochs=10, warm_up=2)
    >>> [round(pace(config, done), 2) for done in (0.5, 2, 6, 9.9)]
    [0.25, 1.0, 0.5, 0.0]
    """
    total, warm_up = config.epochs, config.warm_up
    if epochs_done < warm_up:
        # Not 0 at the very first step, which would be wasted.
        return max(epochs_done, min(warm_up, 1) / 100) / warm_up
    if config.schedule == "settle":
        return 0.1 if epochs_done >= total - total // 4 else 1.0
    if config.schedule == "cosine":
        return (1 + math.cos(math.pi * (epochs_done - warm_up) / (total - warm_up))) / 2
    return 1.0
