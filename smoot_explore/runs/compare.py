"""Runs side by side: the paper's table, each number with the protocol it was measured under."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import xarray as xr

from smoot_explore.core.classes import drop_auc, image_class
from smoot_explore.runs.run import Run


class Protocol(NamedTuple):
    """All that an area under the accuracy drop depends on."""

    fill: str
    attribution: str
    ranking: str  # "signed" or "magnitude"
    masked_first: str  # "highest" or "lowest"
    precision: str
    test_images: int


class Auc(NamedTuple):
    """Area under the accuracy drop, with the protocol it was measured under."""

    protocol: Protocol
    value: float  # per cent


class Row(NamedTuple):
    """One run in the table."""

    run: str
    method: str
    epochs: int
    seed: int
    k_min: float  # pixels, over the training images
    k_median: float
    k_max: float
    test_accuracy: float  # per cent
    n_test: int
    aucs: tuple[Auc, ...]
    class_ii_share: float  # per cent; NaN without curves
    class_ii_protocol: str


def compare_runs(runs: Iterable[Run], tolerance: float = 0.01, curves: str = "test") -> list[Row]:
    """A row for each run: k, accuracy, AUC for each fill and attribution, and the share of class II.

    Parameters
    ----------
    runs
        Runs with at least one completed epoch.
    tolerance
        Of class II, in probability.
    curves
        Name of the masking curves to read from each run; a run without them gets no AUC.
    """
    return [
        compare_run(run, run.curves(curves) if run.has_curves(curves) else None, tolerance) for run in runs
    ]


def compare_run(run: Run, measured: xr.Dataset | None, tolerance: float = 0.01) -> Row:
    """One run's row, with masking curves that were measured of it; None leaves AUC and class II out."""
    if run.epochs == 0:
        raise ValueError(f"{run.path} has no completed epoch to compare; resume its training first")
    record = run.record().isel(epoch=-1)
    aucs: tuple[Auc, ...] = ()
    share, protocol = np.nan, ""
    if measured is not None:
        aucs = tuple(_aucs(measured))
        # Class II by the first fill and attribution of the curves: the share depends on both, so it names them.
        first = measured.isel({d: 0 for d in ("fill", "attribution") if d in measured.dims})
        share = 100 * float((image_class(first, tolerance) == "II").mean())
        protocol = (
            f"{first.attribution.item()}, {first.attrs['ranking']}, {first.fill.item()} fill, "
            f"tolerance {tolerance:g}"
        )
    k = record.k.values
    return Row(
        run.name,
        run.start_config["method"],
        run.epochs,
        run.start_config["seed"],
        float(k.min()),
        float(np.median(k)),
        float(k.max()),
        float(record.test_accuracy),
        run.description["data"]["n_test"],
        aucs,
        share,
        protocol,
    )


def _aucs(curves: xr.Dataset) -> Iterable[Auc]:
    areas, attrs = drop_auc(curves), curves.attrs
    for name in ("attribution", "fill"):
        if name not in areas.dims:
            areas = areas.expand_dims(name)
    for attribution in areas.attribution.values:
        for fill in areas.fill.values:
            protocol = Protocol(
                fill=str(fill),
                attribution=str(attribution),
                ranking=attrs["ranking"],
                masked_first=attrs["order"],
                precision=attrs["precision"],
                test_images=curves.sizes["image"],
            )
            yield Auc(protocol, float(areas.sel(attribution=attribution, fill=fill)))
