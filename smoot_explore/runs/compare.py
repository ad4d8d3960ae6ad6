"""Runs side by side: the paper's table, each number with the protocol it was measured under."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from smoot_explore.core.classes import drop_auc, image_class
from smoot_explore.core.rules import k_unit
from smoot_explore.runs.run import Run

PROTOCOL = ("fill", "attribution", "ranking", "masked_first", "precision", "test_images", "levels")
"""All that an area under the accuracy drop depends on."""

_ATTRS = {  # variable → long_name, units
    "method": ("training method", ""),
    "epochs": ("completed epochs", "1"),
    "seed": ("seed", "1"),
    "augment": ("augmentation in training; empty for none", ""),
    "patch": ("side of what is masked as one; k counts these", "pixels"),
    "k_smallest": ("smallest k of the training images", ""),
    "k_median": ("median k of the training images", ""),
    "k_largest": ("largest k of the training images", ""),
    "test_accuracy": ("test accuracy", "%"),
    "trained_in": ("number format of the training", ""),
    "held_out": ("whether these are held-out training images", ""),
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
        A run without an epoch has no k; an adopted one has the accuracy measured when it was adopted.
    tolerance
        Of class II, in probability.
    curves
        Name of the masking curves to read from each run; a run without them, or with those of an earlier epoch, gets no
        AUC.

    Returns
    -------
    xarray.Dataset
        As of `compare_measured`.

    Warns
    -----
    UserWarning
        As `compare_measured`, and when curves are left out because the run was trained on since.
    """
    return compare_measured([(run, _present_curves(run, curves)) for run in runs], tolerance)


def _present_curves(run: Run, name: str) -> list[xr.Dataset]:
    """The curves of that name that tell of the weights that the accuracy tells of: one or none."""
    if not run.has_curves(name):
        return []
    curves = run.curves(name)
    if (epoch := curves.attrs.get("epoch", run.epochs)) == run.epochs:
        return [curves]
    warnings.warn(
        f"the curves {name!r} of {run.name} are left out: they were measured after epoch {epoch}, and it has "
        f"{run.epochs} now; smoot-explore curves {run.path} measures them again",
        stacklevel=4,
    )
    return []


def align_images(*datasets: xr.Dataset) -> tuple[xr.Dataset, ...]:
    """Records, curves or landscapes with the images that all of them hold, in the order of the first.

    xarray matches images by position; two runs may have been trained, or measured, on others. Afterwards
    ``one.k - two.k`` is a difference image by image.

    Raises
    ------
    ValueError
        When they have no image in common, hold an image twice, or the same ids have other labels (other data).

    Examples
    --------
    >>> from smoot_explore import bundled_runs
    >>> one, two = (run.record() for run in bundled_runs()[:2])
    >>> part, _ = align_images(one.isel(image=[5, 3, 4]), two)
    >>> (part.image_id == one.image_id[[5, 3, 4]]).all().item()
    True
    """
    ids = [dataset.image_id.values for dataset in datasets]
    if any(len(np.unique(own)) < len(own) for own in ids):
        raise ValueError("a data set holds an image twice, so images cannot be told apart by their id")
    common = set.intersection(*(set(own.tolist()) for own in ids)) if ids else set()
    if not common:
        raise ValueError(f"these {len(datasets)} data sets have no image in common (by image_id)")
    order = [image for image in ids[0].tolist() if image in common]
    aligned = []
    for dataset, own in zip(datasets, ids, strict=True):
        place = {image: i for i, image in enumerate(own.tolist())}
        aligned.append(dataset.isel(image=[place[image] for image in order]))
    if any((one.label.values != aligned[0].label.values).any() for one in aligned):
        raise ValueError(
            "the same image ids have other labels: they are of other data, or of training and test images"
        )
    return tuple(aligned)


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

    Warns
    -----
    UserWarning
        When runs were measured under one protocol on different images.
    """
    columns: dict[str, list] = {name: [] for name in ("run", *_ATTRS)}
    areas: list[dict[tuple, float]] = columns.pop("drop_auc")
    images: dict[tuple, tuple[str, set[int]]] = {}  # of each protocol: the first run under it, and its images
    for run, curves in measured:
        areas.append({})
        others = set[str]()  # runs that were measured on other images
        for one in curves:
            measured_on = run.name, set(one.image_id.values.tolist())
            for protocol, area in _areas(one):
                areas[-1].setdefault(protocol, area)
                first = images.setdefault(protocol, measured_on)
                others |= {first[0]} if first[1] != measured_on[1] else set()
        if others:
            warnings.warn(
                f"{run.name} was measured on other test images than {', '.join(sorted(others))}, so their areas differ "
                "by the images too; align_images(…) gives curves of those in common",
                stacklevel=3,
            )
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
    units = " or ".join(sorted({k_unit({"patch": patch}) for patch in columns["patch"]}, reverse=True))
    for name in ("k_smallest", "k_median", "k_largest"):
        table[name].attrs["units"] = units or "pixels"
    return table


def _numbers(run: Run, curves: xr.Dataset | None, tolerance: float) -> dict[str, Any]:
    k, accuracy = np.full(1, np.nan), run.origin.get("test_accuracy", np.nan)
    if run.epochs:
        record = run.record().isel(epoch=-1)
        k, accuracy = record.k.values, float(record.test_accuracy)
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
        "method": "adopted" if run.adopted else run.start_config["method"],
        "epochs": run.epochs,
        "seed": run.start_config["seed"],
        "augment": run.augment or "",
        "patch": run.start_config["patch"],
        "k_smallest": float(k.min()),
        "k_median": float(np.median(k)),
        "k_largest": float(k.max()),
        "test_accuracy": accuracy,
        "n_test": run.description["data"]["n_test"],
        "held_out": run.description["data"].get("hold_out", {}).get("as_test", False),
        "trained_in": "" if run.adopted else _trained_in(run),
        "class_ii_share": share,
        "class_ii_protocol": protocol,
    }


def _trained_in(run: Run) -> str:
    """The number format, and the one that it was resumed with, as far as the run tells."""
    first = run.description["precision"]
    last = run.journal["resumed"].get("precision", run.start_config["precision"])
    return first if last in (first, run.start_config["precision"]) else f"{first}, then {last}"


def _areas(curves: xr.Dataset) -> Iterable[tuple[tuple, float]]:
    """The areas under the accuracy drop, each with its values of `PROTOCOL`."""
    areas, attrs = drop_auc(curves), curves.attrs
    areas = areas.expand_dims([name for name in ("attribution", "fill") if name not in areas.dims])
    for area in areas.stack(one=("attribution", "fill")).transpose("one"):
        sizes = curves.sizes["image"], curves.sizes["masked_fraction"] - 1
        measured = (attrs["ranking"], attrs["order"], attrs["precision"], *sizes)
        yield (area.fill.item(), area.attribution.item(), *measured), float(area)
