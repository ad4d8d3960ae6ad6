"""The pace of a short training: a smaller learning rate at its end."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from smoot_explore.core.config import TrainingConfig
from smoot_explore.core.records import EpochRecord, EpochStore, StepRecord
from smoot_explore.core.training import train
from smoot_explore.data.images import ImageData


def settled_learning_rate(start: float, epochs_done: int, epochs: int) -> float:
    """The learning rate of the next epoch: a tenth of the start's in the last quarter of the epochs.

    Examples
    --------
    >>> [settled_learning_rate(1.0, done, 8) for done in (0, 5, 6, 7)]
    [1.0, 1.0, 0.1, 0.1]
    """
    return start / (10 if epochs_done >= epochs - epochs // 4 else 1)


def train_and_settle(
    model: nn.Module, data: ImageData, config: TrainingConfig, *, run: EpochStore, every: int | None = None
) -> Iterator[EpochRecord | StepRecord]:
    """`train`, with a tenth of the learning rate for the last quarter of the epochs, so that accuracies settle.

    The learning rate moves as a live change, which the run keeps with its step. Parameters, records and errors
    are those of `train`; ``run`` says how far the training is, and with which learning rate it started.
    """
    records = train(model, data, config, run=run, every=every)
    return _settling(records, config, run)


def _settling(
    records: Iterator[EpochRecord | StepRecord], config: TrainingConfig, run: EpochStore
) -> Iterator[EpochRecord | StepRecord]:
    def set_pace() -> None:
        start = run.start_config["learning_rate"]
        config.learning_rate = settled_learning_rate(start, run.epochs, config.epochs)

    set_pace()
    try:
        for record in records:
            if isinstance(record, EpochRecord):
                set_pace()
            yield record
    finally:
        records.close()  # type: ignore[attr-defined]
