"""Losses and accuracy over a training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from smoot_explore.core.bounds import recorded_changes
from smoot_explore.core.records import Change
from smoot_explore.views.flags import flags
from smoot_explore.views.rivals import Others, rival_lines
from smoot_explore.views.sketch import Axis, Sketch, curve, points
from smoot_explore.views.view import axis, view

Changes = Sequence[tuple[float, Change]]


@view(drawn={"epoch"}, uses={"cross_entropy", "kl"})
def losses(
    record: xr.Dataset, changes: Changes | None = None, epochs: float | None = None, others: Others = ()
) -> Sketch:
    """Cross-entropy and KL term against the epoch, with flags where a setting was moved.

    Parameters
    ----------
    record
        From `Run.record`, or with ``cross_entropy`` and ``kl`` over any ``epoch``, such as `History.steps`.
    changes
        Live changes with the epochs at which they took effect; by default those of the record.
    epochs
        Where the axis ends; None ends it with the data.
    others
        Other trainings, as of `rival_lines`, with records like the first: their cross-entropy.

    Examples
    --------
    >>> from smoot_explore import bundled_runs, views
    >>> [layer.label for layer in views.losses(bundled_runs()[2].record())][:2]
    ['cross-entropy', 'KL before λ']
    """
    lines = {"cross_entropy": ("Cross-entropy", "cross-entropy"), "kl": ("KL", "KL before λ")}
    layers = rival_lines(
        others, lambda other: (other.epoch.values, other.cross_entropy.values), "cross-entropy"
    )
    finite = [0.0]
    for name, (role, words) in lines.items():
        values = record[name].values.astype(float)
        layers.append(curve(role, record.epoch.values, values, words))
        finite += values[np.isfinite(values)].tolist()
    layers += flags(recorded_changes(record) if changes is None else changes, 0.97 * max(finite))
    return Sketch(
        "Losses", "Loss", _epochs(record, epochs), Axis("loss", "loss", "nat", (0, None)), tuple(layers)
    )


@view(drawn={"epoch"}, uses={"train_accuracy", "test_accuracy"})
def accuracies(
    record: xr.Dataset, changes: Changes | None = None, epochs: float | None = None, others: Others = ()
) -> Sketch:
    """Accuracy on test and training images after each epoch. The parameters are those of `losses`.

    Of other trainings it is the accuracy on test images.
    """
    lines = {
        "test_accuracy": ("Test images", "test images"),
        "train_accuracy": ("Training images", "training images, during the epoch"),
    }
    layers = rival_lines(
        others, lambda other: (other.epoch.values, other.test_accuracy.values), "test images"
    )
    for name, (role, words) in lines.items():
        at, values = record.epoch.values, record[name].values.astype(float)
        layers += [curve(role, at, values, words), points(role, at, values)]
    layers += flags(recorded_changes(record) if changes is None else changes, 97)
    y = Axis("accuracy", "accuracy", "%", (0, 100))
    return Sketch("Accuracies", "Accuracy", _epochs(record, epochs), y, tuple(layers))


def _epochs(record: xr.Dataset, end: float | None) -> Axis:
    return axis(record.epoch, (0, end))
