"""The records of a training in the logs that people have: TensorBoard, Weights & Biases, MLflow."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from smoot_explore.core.records import DropRecord, EpochRecord, StepRecord

Record = EpochRecord | StepRecord | DropRecord
Log = Callable[[Record], None]


def log_to_tensorboard(writer: Any) -> Log:
    """A function that writes each record of a training to a ``torch.utils.tensorboard.SummaryWriter``.

    For ``train(…, log=log)``, or called in the loop over the records of `train` or `probed`. Numbers are named after
    the record's fields, ``"epoch/test_accuracy"`` or ``"step/cross_entropy"``, over the training step; k and Δ of
    all images are histograms. What is not there (NaN) is left out.

    Examples
    --------
    >>> class Writer:  # stands for SummaryWriter()
    ...     def add_scalar(self, tag, scalar_value, global_step=None):
    ...         print(tag, round(scalar_value, 1), global_step)
    ...
    ...     def add_histogram(self, tag, values, global_step=None):
    ...         print(tag, values.shape, global_step)
    >>> log = log_to_tensorboard(Writer())
    >>> log(StepRecord(1, 5, 5, 8, 2.0, 1.5, 0.5, np.array([300.0, 400.0]), 90.0))
    step/loss 2.0 5
    step/cross_entropy 1.5 5
    step/kl 0.5 5
    step/images_per_second 90.0 5
    step/k_smallest 300.0 5
    step/k_median 350.0 5
    step/k_largest 400.0 5
    step/k (2,) 5
    """

    def write(numbers: dict[str, float], arrays: dict[str, np.ndarray], step: int) -> None:
        for name, value in numbers.items():
            writer.add_scalar(name, value, global_step=step)
        for name, values in arrays.items():
            writer.add_histogram(name, values, global_step=step)

    return _log(write)


def log_to_wandb(run: Any) -> Log:
    """A function that logs each record of a training to a ``wandb.Run``, for example ``wandb.run``.

    As `log_to_tensorboard`, but numbers alone. Steps may only grow in a run of Weights & Biases: a training that is
    resumed from an earlier step needs a new one.
    """
    return _log(lambda numbers, arrays, step: run.log(numbers, step=step))


def log_to_mlflow(mlflow: Any) -> Log:
    """A function that logs each record of a training to MLflow's active run.

    As `log_to_tensorboard`, but numbers alone. ``mlflow`` is the module.
    """
    return _log(lambda numbers, arrays, step: mlflow.log_metrics(numbers, step=step))


def _log(write: Callable[[dict[str, float], dict[str, np.ndarray], int], object]) -> Log:
    step = 0  # of the record before: an accuracy drop tells its epoch alone

    def log(record: Record) -> None:
        nonlocal step
        arrays: dict[str, np.ndarray] = {}
        if isinstance(record, DropRecord):
            numbers = {"probe/drop_auc": record.auc, "probe/epoch": float(record.epoch)}
        else:
            step = record.step
            numbers, arrays = _content(record)
        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
        write(finite, {name: values for name, values in arrays.items() if np.isfinite(values).all()}, step)

    return log


def _content(record: EpochRecord | StepRecord) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Numbers and arrays of a record by name; a live change under the name of its setting."""
    kind = "epoch" if isinstance(record, EpochRecord) else "step"
    values = {f"{kind}/{field.name}": getattr(record, field.name) for field in fields(record)}
    numbers = {name: value for name, value in values.items() if isinstance(value, float)}
    numbers |= {
        f"{kind}/k_smallest": float(record.k.min()),
        f"{kind}/k_median": float(np.median(record.k)),
        f"{kind}/k_largest": float(record.k.max()),
        **{f"live/{change.name}": change.new for change in record.changes},
    }
    return numbers, {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
