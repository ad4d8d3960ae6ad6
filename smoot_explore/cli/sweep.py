"""Sweeps from a terminal: many trainings under one bar, and a table of what came of them."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import param
import xarray as xr
from rich.table import Table

from smoot_explore.cli.terminal import INTERRUPTED, print_whole, progress_bar, stderr, stdout
from smoot_explore.cli.training import name_and_value
from smoot_explore.core.config import TrainingConfig, setting_names
from smoot_explore.data.load import load_data
from smoot_explore.engine.cluster import Scheduler
from smoot_explore.engine.makers import load_makers
from smoot_explore.errors import unknown_name
from smoot_explore.sweeps.sweep import sweep

_FAILED = r"\d+ of \d+ trainings failed"


@contextmanager
def connected(scheduler: Scheduler | None, workers: int | None) -> Iterator[dict[str, Any]]:
    """Where to train, as arguments of `sweep`: on a scheduler's workers, or on this computer's."""
    if scheduler is None:
        yield {"workers": workers}
        return
    if workers is not None:
        raise click.UsageError("--workers is for this computer; a --scheduler has workers of its own")
    with scheduler.connect() as client:
        yield {"client": client}


def run_sweep(
    folder: Path,
    config: TrainingConfig,
    over: Sequence[str],
    seeds: int | None,
    source: Sequence[Any],
    model: tuple[str, bool | Path, Sequence[str]],
    keep: Any,
    curves: tuple[Sequence[str], int | None],
    place: dict[str, Any],
    as_json: bool,
) -> int:
    """Train a sweep, or go on with it, and print its table; the exit code.

    ``source`` are the arguments of `load_data`, ``model`` name or place, whether pretrained or by which file, and
    options, ``curves`` fills and number of images, ``place`` what `connected` gives.
    """
    values = dict(_setting_and_values(text) for text in over)
    if seeds is not None:
        if "seed" in values:
            raise click.UsageError("give --seeds or --over seed=…, not both")
        values["seed"] = list(range(config.seed, config.seed + seeds))
    if not values:
        raise click.UsageError("a sweep needs values to go over: --over alpha=1,10,100, or --seeds 3")
    name, pretrained, options = model
    made = next(iter(load_makers([name]).values())) if ":" in name else name
    data = load_data(*source)
    try:
        with progress_bar(f"sweep {folder.name}", 1, "workers start") as update, warnings.catch_warnings():
            warnings.filterwarnings("ignore", _FAILED)  # said below, a line each
            found = sweep(
                folder, config, values, data=data, model=made, pretrained=pretrained,
                options=dict(name_and_value(text) for text in options), keep=keep, root=source[3],
                curves=curves[0], curve_images=curves[1], progress=_progress(update), **place,
            )  # fmt: skip
    except KeyboardInterrupt:
        stderr.print(f"stopped; all epochs in {folder} are kept, the same command goes on", soft_wrap=True)
        return INTERRUPTED
    _print(found, folder, as_json)
    failed = found.problem.values != ""
    for run, problem in zip(found.run.values[failed], found.problem.values[failed], strict=True):
        stderr.print(f"left out: {run}: {problem}", highlight=False, soft_wrap=True)
    if failed.any():
        stderr.print("the same command tries these again", soft_wrap=True)
    return int(failed.any())


def _progress(update: Callable[..., None]) -> Callable[[int, int], None]:
    """Move the bar; in a log, which shows none, a line for each tenth."""
    tenths = [0]

    def progress(done: int, total: int) -> None:
        update(completed=done, total=max(total, 1), state=f"{done:,} of {total:,} epochs")
        if not stderr.is_terminal and (tenth := 10 * done // max(total, 1)) > tenths[-1]:
            tenths.append(tenth)
            stderr.print(f"{done:,} of {total:,} epochs done", highlight=False)

    return progress


def _setting_and_values(text: str) -> tuple[str, list[Any]]:
    name, equals, values = text.partition("=")
    name = name.replace("-", "_")
    if not equals or not values:
        raise click.BadParameter(f"{text!r} is not SETTING=A,B,…", param_hint="--over")
    if name not in setting_names():
        raise unknown_name("setting", name, setting_names())
    return name, [_value(name, one.strip()) for one in values.split(",")]


def _value(name: str, text: str) -> Any:
    setting = TrainingConfig.param[name]
    if isinstance(setting, param.Boolean):
        named = {"on": True, "true": True, "off": False, "false": False}
        if text not in named:
            raise click.BadParameter(f"{name} is on or off, given {text!r}", param_hint="--over")
        return named[text]
    if not isinstance(setting, param.Number):
        return text
    try:
        return int(text) if isinstance(setting, param.Integer) else float(text)
    except ValueError:
        kind = "a whole number" if isinstance(setting, param.Integer) else "a number"
        raise click.BadParameter(f"{name} is {kind}, given {text!r}", param_hint="--over") from None


def _last(found: xr.Dataset, values: xr.DataArray) -> xr.DataArray:
    """Values over epochs, after each cell's last completed one."""
    return values.isel(epoch=found.epochs_done.clip(min=1) - 1).drop_vars("epoch").compute()


def _measured(found: xr.Dataset) -> xr.Dataset:
    areas = {_area_of(fill): found.curves_auc.sel(curve_fill=fill, drop=True) for fill in _fills(found)}
    return xr.Dataset(
        {
            **areas,
            "test_accuracy": _last(found, found.test_accuracy),
            "k_median": _last(found, found.k_median),
            "drop_auc": found.drop_auc,
            "epochs_done": found.epochs_done,
            "problem": found.problem,
            "run": found.run,
        }
    )


def _fills(found: xr.Dataset) -> list[str]:
    return found.curve_fill.values.tolist() if "curves_auc" in found else []


def _area_of(fill: str) -> str:
    return f"curves_auc_{fill}"


def _cells(found: xr.Dataset) -> list[dict[str, Any]]:
    """A row for each training, as plain values; null where it has none."""
    measured, over = _measured(found), json.loads(found.attrs["over"])
    rows = []
    for place in np.ndindex(*(len(values) for values in over.values())):
        cell = measured.isel(dict(zip(over, place, strict=True)))
        chosen = {name: values[i] for (name, values), i in zip(over.items(), place, strict=True)}
        numbers = {name: cell[name].item() for name in measured.data_vars}
        rows.append({**chosen, **{n: _or_none(v) for n, v in numbers.items()}})
    return rows


def _print(found: xr.Dataset, folder: Path, as_json: bool) -> None:
    if as_json:
        content = {"folder": str(folder), "over": json.loads(found.attrs["over"]), "cells": _cells(found)}
        click.echo(json.dumps(content, indent=2, allow_nan=False))
        return
    measured, over = _measured(found), json.loads(found.attrs["over"])
    dims = [name for name in over if name != "seed"]
    table = Table(box=None, pad_edge=False, header_style="bold")
    fills = _fills(found)
    heads = [*dims, "trained", "accuracy (%)", f"k median ({found.k.attrs['units']})", "AUC (%)"]
    heads += [f"AUC, {fill} (%)" for fill in fills]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for place in np.ndindex(*(len(over[name]) for name in dims)):
        row = measured.isel(dict(zip(dims, place, strict=True)))
        values = [str(over[name][i]) for name, i in zip(dims, place, strict=True)]
        trained = (row.epochs_done > 0) & (row.problem == "")
        counted = f"{int(trained.sum())} of {trained.size}"
        numbers = [(row.test_accuracy, 2), (row.k_median, 1), (row.drop_auc, 2)]
        numbers += [(row[_area_of(fill)], 2) for fill in fills]
        table.add_row(*values, counted, *(_mean(one.where(trained), digits) for one, digits in numbers))
    print_whole(table)
    of = f", ± standard deviation over {len(over['seed'])} seeds" if len(over.get("seed", ())) > 1 else ""
    stdout.print(f"\nMeans over the trainings{of}.{_of_areas(found)}", highlight=False)


def _of_areas(found: xr.Dataset) -> str:
    told = ""
    if "probe" in found.attrs:
        probe = json.loads(found.attrs["probe"])
        told += (
            f" AUC: area under the accuracy drop on {len(probe['image_ids'])} test images ({probe['fill']} fill, "
            f"{probe['attribution']}), lower is steeper."
        )
    if "curves" in found.attrs:
        curves = json.loads(found.attrs["curves"])
        data = json.loads(found.attrs["data"])
        n = min(curves["images"] or data["n_test"], data["n_test"])
        told += (
            f" AUC with a fill: of the masking curves on {n:,} test images ({curves['attribution']}, signed)."
        )
    return told


def _mean(values: xr.DataArray, digits: int) -> str:
    known = values.values[np.isfinite(values.values)]
    if not known.size:
        return "–"
    spread = f" ± {known.std(ddof=1):.{digits}f}" if known.size > 1 else ""
    return f"{known.mean():.{digits}f}{spread}"


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
