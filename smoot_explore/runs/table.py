"""The table of runs as text: its columns, its notes, and its content for JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from smoot_explore.runs.compare import PROTOCOL

ABSENT = "–"


class Column(NamedTuple):
    """One quantity of all runs."""

    quantity: str
    of: tuple[str, ...]  # what sets it apart from others of the quantity
    unit: str
    cells: list[str]


def columns(table: xr.Dataset, by: Sequence[str]) -> list[Column]:
    """The columns of numbers of a table, from `compare_runs`, as text.

    Parameters
    ----------
    table
        From `compare_runs`.
    by
        Names of `PROTOCOL`: the AUCs that agree in these stand in one column.
    """
    found = [
        Column("epochs", (), "", _cells(table.epochs, 0)),
        Column("k", ("min",), "", _cells(table.k_smallest, 0)),
        Column("k", ("median",), "", _cells(table.k_median, 0)),
        Column("k", ("max",), "", _cells(table.k_largest, 0)),
        Column("accuracy", (), "%", _cells(table.test_accuracy, 2)),
    ]
    kinds = list(zip(*(table[name].values.tolist() for name in by), strict=True))
    for kind in dict.fromkeys(kinds):
        areas = table.drop_auc[:, [one == kind for one in kinds]]
        found.append(Column("AUC", tuple(map(str, kind)), "%", _cells(_present(areas), 2)))
    images = table.test_images.where(table.drop_auc.notnull())
    return [
        *found,
        Column("class II", (), "%", _cells(table.class_ii_share, 1)),
        Column("test images", (), "", _cells(_present(images), 0)),
    ]


def varying(table: xr.Dataset) -> list[str]:
    """In what the protocols of a table differ, beside the fill."""
    return [name for name in PROTOCOL[1:] if len(_distinct(table[name])) > 1]


def counted_in(runs: Iterable[tuple[str, int]]) -> str:
    """What k counts in runs that are given with their ``patch``.

    Examples
    --------
    >>> counted_in([("a", 1)]), counted_in([("a", 4), ("b", 4)]), counted_in([("a", 1), ("b", 4)])
    ('pixels', 'patches of 4×4 pixels', 'pixels (b: in patches of 4×4 pixels)')
    """
    sides = {run: f"patches of {patch}×{patch} pixels" if patch > 1 else "pixels" for run, patch in runs}
    if len(set(sides.values())) == 1:
        return next(iter(sides.values()))
    return f"pixels ({'; '.join(f'{run}: in {side}' for run, side in sides.items() if side != 'pixels')})"


def augmented(runs: Iterable[tuple[str, str | None]]) -> list[str]:
    """Which runs were trained with which augmentation, of those given with theirs: one line, or none."""
    told = [f"{run} ({augment})" for run, augment in runs if augment]
    return [f"Trained with an augmentation: {'; '.join(told)}."] if told else []


def notes(table: xr.Dataset) -> list[str]:
    """What the numbers of a table depend on, line by line."""
    kinds = zip(table.n_test.values.tolist(), table.held_out.values.tolist(), strict=True)
    tests = " / ".join(
        f"{n:,} {'held-out training' if out else 'test'} images" for n, out in dict.fromkeys(kinds)
    )
    seeds = ", ".join(map(str, _distinct(table.seed)))
    lengths = _distinct(table.epochs)
    length = f"{counted(lengths[0], 'epoch')}, " if len(lengths) == 1 else ""
    formats = " / ".join(filter(None, _distinct(table.trained_in)))
    number_format = f", trained in {formats}" if formats else ""
    unit = counted_in(zip(table.run.values, table.patch.values, strict=True))
    training = f"{length}seed {seeds}{number_format}"
    first = f"k in {unit} over the training images; accuracy on {tests}; {training}."
    trained = [first, *augmented(zip(table.run.values, table.augment.values, strict=True))]
    if not table.sizes["protocol"]:
        return [*trained, "No masking curves yet: smoot-explore curves RUN measures AUC and class II."]
    same = [name for name in PROTOCOL[1:] if name not in varying(table)]
    told = ", ".join(f"{name.replace('_', ' ')} {table[name].values[0]}" for name in same)
    return [
        *trained,
        f"AUC: area under the accuracy drop in per cent, lower is steeper ({told}). It depends on all of these "
        "and on the fill: compare within a column only.",
        "class II: the label's probability rises when pixels are masked "
        f"({'; '.join(filter(None, _distinct(table.class_ii_protocol)))}).",
    ]


def records(table: xr.Dataset) -> list[dict[str, Any]]:
    """The table as plain values for JSON, an object for each run; null where a run has no value."""
    names = (
        "run",
        "method",
        "epochs",
        "seed",
        "augment",
        "patch",
        "k_smallest",
        "k_median",
        "k_largest",
        "test_accuracy",
        "n_test",
    )
    found = []
    for row in (table.isel(run=i) for i in range(table.sizes["run"])):
        areas = row.drop_auc.dropna("protocol")
        aucs = [{**{name: one[name].item() for name in PROTOCOL}, "value": one.item()} for one in areas]
        found.append({
            **{name: _present_or_none(row[name].item()) for name in names},
            "aucs": aucs,
            "class_ii_share": _present_or_none(row.class_ii_share.item()),
            "class_ii_protocol": row.class_ii_protocol.item(),
        })  # fmt: skip
    return found


def counted(n: int, thing: str) -> str:
    """``"1 epoch"``, ``"2 epochs"``."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def _present_or_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _present(values: xr.DataArray) -> xr.DataArray:
    """The value of each run under the protocol, of several, that it was measured under; NaN under none."""
    return values.reduce(np.fmax.reduce, "protocol", initial=np.nan)


def _cells(values: xr.DataArray, digits: int) -> list[str]:
    return [ABSENT if math.isnan(value) else f"{value:.{digits}f}" for value in values.values]


def _distinct(values: xr.DataArray) -> list:
    return list(dict.fromkeys(values.values.tolist()))
