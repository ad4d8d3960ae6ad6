"""The trainings of a class as points over a setting: together they are a sweep."""

from __future__ import annotations

import numpy as np
import xarray as xr

from smoot_explore.core.config import TrainingConfig
from smoot_explore.views.palette import METHOD_NAMES
from smoot_explore.views.sketch import Axis, Sketch, points
from smoot_explore.views.view import view

QUANTITIES = {  # label and unit by the variable's name
    "test_accuracy": ("accuracy on test images", "%"),
    "drop_auc": ("area under the accuracy drop", "%"),
    "k_median": ("median k", "pixels or patches"),
}


@view(drawn={"run"})
def class_board(record: xr.Dataset, across: str = "beta", quantity: str = "test_accuracy") -> Sketch:
    """Trainings as points: a setting to the right, what came of it upwards, in the colours of the methods.

    Parameters
    ----------
    record
        For each ``run``, which names it: its settings, the `QUANTITIES`, ``method``, and whether it is ``live``, which
        gives it a ring.
    across
        A setting.
    quantity
        One of `QUANTITIES`.
    """
    x, y = record[across].values, record[quantity].values
    known = np.isfinite(x) & np.isfinite(y)
    method, live, names = record.method.values, record.live.values.astype(bool), record.run.values
    layers = []
    for name, role in METHOD_NAMES.items():
        those = known & (method == name)
        layers.append(points(role, x[those], y[those], role, {"training": names[those]}))
    going = known & live
    layers.append(points("Selected", x[going], y[going], "going on"))
    label, unit = QUANTITIES[quantity]
    return Sketch(
        "Class board", f"Trainings of this class, n = {int(known.sum())}",
        Axis(across, TrainingConfig.param[across].label), Axis(quantity, label, unit), tuple(layers),
    )  # fmt: skip
