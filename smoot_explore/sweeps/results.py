"""A sweep as one data set over the settings that it goes over."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from smoot_explore.core.config import TrainingConfig
from smoot_explore.core.levels import masked_fractions
from smoot_explore.core.records import drop_area
from smoot_explore.core.rules import k_unit, most_k
from smoot_explore.engine.cluster import check_installed
from smoot_explore.files import FileError, read_array
from smoot_explore.runs.checkpoint import RunError
from smoot_explore.runs.run import open_run
from smoot_explore.schema import RECORD, SCHEMA_VERSION, SWEEP, as_json
from smoot_explore.sweeps.manifest import Sweep

_LAZY = ("k", "delta", "probability", "correct", "accuracy_drop")
# Folder, completed epochs, and by what its k are multiplied, by the place of a cell.
_Told = Mapping[tuple[int, ...], tuple[str, int, int]]
_LEVELS = 10  # of the accuracy drop, as `AccuracyDropProbe` measures it


def open_sweep(path: str | Path) -> xr.Dataset:
    """A sweep's results over the swept settings, epochs and images; see docs/schema.md.

    Numbers of an epoch are read from the journals. Those of each image, and the accuracy drops, are Dask arrays with a
    chunk for each run and variable: what is computed with them reads a run's record when it gets to it, so that a sweep
    may be larger than the memory. ``sweep.k.isel(epoch=-1).quantile(0.9, "image").compute()`` is an example;
    ``sweep.sel({"method": "sgt"})`` chooses a training method, which xarray takes ``method=`` for something else.

    k counts what each training masks, pixels or patches; where ``patch`` is swept, pixels in all of them.

    Parameters
    ----------
    path
        Folder of the sweep; it may be in work.

    Returns
    -------
    xarray.Dataset
        NaN where a cell has no such epoch, because it was not trained yet or failed: ``epochs_done`` and ``problem``
        tell.

    Raises
    ------
    RunError
        When the folder holds no sweep.
    ModuleNotFoundError
        When Dask is not installed.
    """
    check_installed()
    sweep = Sweep.read(Path(path))
    shape = tuple(len(values) for values in sweep.over.values())
    epochs, n_images = max(cell.epochs for cell in sweep.cells), sweep.data["n_train"]
    fractions = masked_fractions(_LEVELS)
    scalars = {
        name: np.full((*shape, epochs), np.nan)
        for name, variable in RECORD.variables.items()
        if variable.dims == ("epoch",)
    }
    k_median = np.full((*shape, epochs), np.nan)
    runs = np.array([cell.name for cell in sweep.cells], object).reshape(shape)
    done, area, problem = np.zeros(shape, int), np.full(shape, np.nan), np.full(shape, "", object)
    curves = np.full((*shape, len(sweep.curve_fills)), np.nan)
    problems, told = sweep.problems, dict[tuple[int, ...], tuple[str, int, int]]()
    for place, cell in zip(np.ndindex(*shape), sweep.cells, strict=True):
        folder, pixels = sweep.folder(cell), cell.settings["patch"] ** 2 if "patch" in sweep.over else 1
        problem[place] = problems.get(cell.name, "")
        try:
            if (measured := sweep.areas(cell)) is not None:
                curves[place] = measured
            entries = sweep.journal(cell)["epochs"][: cell.epochs]
            for name, values in scalars.items():
                values[place][: len(entries)] = [math.nan if e[name] is None else e[name] for e in entries]
            k_median[place][: len(entries)] = [pixels * e.get("k_median", math.nan) for e in entries]
            done[place] = len(entries)
            area[place] = _area(folder, len(entries), fractions)
        except (RunError, KeyError, TypeError, ValueError) as error:
            problem[place] = problem[place] or f"{folder} is damaged: {error}"
        told[place] = str(folder), int(done[place]), pixels
    images = dict.fromkeys(_LAZY, n_images) | {"accuracy_drop": len(fractions)}
    lazy = {name: _lazy(name, told, shape, (epochs, n)) for name, n in images.items()}
    image_id, label = sweep.images()
    coords = {
        **{name: np.array(values) for name, values in sweep.over.items()},
        "epoch": np.arange(1, epochs + 1), "image_id": image_id, "label": label, "masked_fraction": fractions,
    }  # fmt: skip
    probe = None
    for place in zip(*np.nonzero(np.isfinite(area)), strict=True):
        try:
            probe = open_run(sweep.path / runs[place]).probe
            break
        except RunError as error:
            problem[place] = problem[place] or str(error)
    variables = {
        **lazy, **scalars, "k_median": k_median, "epochs_done": done, "drop_auc": area, "problem": problem, "run": runs,
    }  # fmt: skip
    if sweep.curves is not None:
        variables["curves_auc"], coords["curve_fill"] = curves, np.array(sweep.curve_fills)
    return _labelled(sweep, variables, coords, probe)


def _area(folder: Path, epoch: int, fractions: np.ndarray) -> float:
    """Area under the accuracy drop after an epoch, in per cent; NaN where it was not measured."""
    try:
        accuracy = read_array(folder / "accuracy_drop" / f"{epoch:04d}.npy", fractions.shape)
    except FileError:
        return math.nan
    return drop_area(accuracy, fractions)


def _lazy(name: str, told: _Told, shape: tuple[int, ...], tail: tuple[int, int]) -> Any:
    """One variable of all cells: a chunk for each, which reads it when it is computed."""
    import dask.array
    from dask.base import tokenize

    dtype = float if name == "accuracy_drop" else np.float32
    chunks = (*((1,) * n for n in shape), *((n,) for n in tail))
    load, empty = functools.partial(_chunk, name, told, tail, dtype), np.empty((0,) * len(chunks), dtype)
    token = f"{name}-{tokenize(told, tail)}"
    return dask.array.map_blocks(load, chunks=chunks, dtype=dtype, meta=empty, name=token)


def _chunk(
    name: str, told: _Told, tail: tuple[int, int], dtype: Any, block_id: tuple[int, ...]
) -> np.ndarray:
    folder, epochs, pixels = told[block_id[:-2]]
    values = np.full(tail, np.nan, dtype)
    if epochs:
        run = open_run(folder)
        is_measured = name != "accuracy_drop" or run.probe is not None  # in work, no curve may be done yet
        values[:epochs] = run.values(name)[:epochs] if is_measured else np.nan
        if name == "k":
            values *= pixels
    return values.reshape((1,) * (len(block_id) - 2) + tail)


def _labelled(
    sweep: Sweep, variables: Mapping[str, Any], coords: Mapping[str, Any], probe: Mapping[str, Any] | None
) -> xr.Dataset:
    dims = tuple(sweep.over)
    known = {**SWEEP.all_variables, **SWEEP.all_coords}
    settings = {name: value for name, value in sweep.settings.items() if name not in dims}

    def described(name: str, values: Any) -> xr.Variable:
        if name in dims:
            return xr.Variable(name, values, {"units": "1", "long_name": TrainingConfig.param[name].label})
        over = dims if name in SWEEP.all_variables else ()
        return xr.Variable((*over, *known[name].dims), values, known[name].told(k_unit(settings)))

    _, height, width = sweep.data["image_shape"]
    attrs = {
        "schema": SWEEP.name, "schema_version": SCHEMA_VERSION, "created": sweep.created,
        "n_pixels": most_k(settings, height * width), "over": as_json(sweep.over),
        "config": as_json({"start": settings, "changes": [], "now": settings}),
        "data": as_json(sweep.data), "model": as_json(sweep.model),
    }  # fmt: skip
    if sweep.curves is not None:
        attrs["curves"] = as_json(sweep.curves)
    if probe is not None:
        attrs["probe"] = as_json({name: value for name, value in probe.items() if name != "masked_fraction"})
    return xr.Dataset(
        {name: described(name, values) for name, values in variables.items()},
        {name: described(name, values) for name, values in coords.items()},
        attrs,
    )
