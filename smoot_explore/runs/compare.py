"""Runs side by side: the paper's table, each number with the protocol it was measured under."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from smoot_explore.core.classes import drop_auc, image_class
from smoot_explore.runs.run import Run

PROTOCOL = ("fill", "attribution", "ranking", "masked_first", "precision", "test_images")
"""All that an area under the accuracy drop depends on."""

_ATTRS = {  # variable → long_name, units
    "method": ("training method", ""),
    "epochs": ("completed epochs", "1"),
    "seed": ("seed", "1"),
    "k_smallest": ("smallest k of the training images", "pixels"),
    "k_median": ("median k of the training images", "pixels"),
    "k_largest": ("largest k of the training images", "pixels"),
    "test_accuracy": ("test accuracy", "%"),
    "n_test": ("test images of the accuracy", "1"),
    "drop_auc": ("area under the accuracy drop", "%"),
    "class_ii_share": ("share of class II", "%"),
    "class_ii_protocol": ("protocol of the share of class II", ""),
}


def compare_runs(runs: Iterable[Run], tolerance: float = 0.01, curves: str = "test") -> xr.Dataset:
    """k, accuracy, AUC for each fill and attribution, and the share of class II, of each run.

    Parameters
    ----------
    runs
        Runs with at least one completed epoch.
    tolerance
        Of class II, in probability.
    curves
        Name of the masking curves to read from each run; a run without them gets no AUC.

    Returns
    -------
    xarray.Dataset
        As of `compare_measured`.
    """
    return compare_measured(
        ((run, [run.curves(curves)] if run.has_curves(curves) else []) for run in runs), tolerance
    )


def compare_measured(
    measured: Iterable[tuple[Run, Sequence[xr.Dataset]]], tolerance: float = 0.01
) -> xr.Dataset:
    """`compare_runs` with masking curves that are given with each run.

    Parameters
    ----------
    measured
        Runs, each with any number of masking curves; the first of them tell the share of class II.
    tolerance
        Of class II, in probability.

    Returns
    -------
    xarray.Dataset
        A number for each ``run``; ``drop_auc`` for each ``run`` and ``protocol``, NaN where a run was not measured
        under a protocol. `PROTOCOL` names the coordinates of a protocol.
    """
    columns: dict[str, list] = {name: [] for name in ("run", *_ATTRS)}
    areas: list[dict[tuple, float]] = columns.pop("drop_auc")
    for run, curves in measured:
        areas.append({})
        for one in curves:
            for protocol, area in _areas(one):
                areas[-1].setdefault(protocol, area)
        for name, value in _numbers(run, curves[0] if curves else None, tolerance).items():
            columns[name].append(value)
    protocols = list(dict.fromkeys(protocol for found in areas for protocol in found))
    values = [[found.get(protocol, np.nan) for protocol in protocols] for found in areas]
    table = xr.Dataset(
        {name: ("run", column) for name, column in columns.items()}
        | {"drop_auc": (("run", "protocol"), np.reshape(values, (len(areas), len(protocols))))},
        {name: ("protocol", [p[i] for p in protocols]) for i, name in enumerate(PROTOCOL)},
    )
    for name, (long_name, units) in _ATTRS.items():
        table[name].attrs = {"long_name": long_name, **({"units": units} if units else {})}
    return table


def _numbers(run: Run, curves: xr.Dataset | None, tolerance: float) -> dict[str, Any]:
    if run.epochs == 0:
        raise ValueError(f"{run.path} has no completed epoch to compare; resume its training first")
    record = run.record().isel(epoch=-1)
    k = record.k.values
    share, protocol = np.nan, ""
    if curves is not None:
        # Class II by the first fill and attribution of the curves: the share depends on both, so it names them.
        first = curves.isel({d: 0 for d in ("fill", "attribution") if d in curves.dims})
        share = 100 * float((image_class(first, tolerance) == "II").mean())
        protocol = (
            f"{first.attribution.item()}, {first.attrs['ranking']}, {first.fill.item()} fill, "
            f"tolerance {tolerance:g}"
        )
    return {
        "run": run.name,
        "method": run.start_config["method"],
        "epochs": run.epochs,
        "seed": run.start_config["seed"],
        "k_smallest": float(k.min()),
        "k_median": float(np.median(k)),
        "k_largest": float(k.max()),
        "test_accuracy": float(record.test_accuracy),
        "n_test": run.description["data"]["n_test"],
        "class_ii_share": share,
        "class_ii_protocol": protocol,
    }


def _areas(curves: xr.Dataset) -> Iterable[tuple[tuple, float]]:
    """The areas under the accuracy drop, each with its values of `PROTOCOL`."""
    areas, attrs = drop_auc(curves), curves.attrs
    areas = areas.expand_dims([name for name in ("attribution", "fill") if name not in areas.dims])
    for area in areas.stack(one=("attribution", "fill")).transpose("one"):
        measured = (attrs["ranking"], attrs["order"], attrs["precision"], curves.sizes["image"])
        yield (area.fill.item(), area.attribution.item(), *measured), float(area)
