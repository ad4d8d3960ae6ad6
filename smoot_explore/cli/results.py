"""Results in a terminal: masking curves measured, runs side by side, the table of both."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import xarray as xr
from rich.table import Table

from smoot_explore.cli.terminal import print_whole, progress_bar, stderr, stdout
from smoot_explore.core.curves import masking_curves
from smoot_explore.data.images import first_images
from smoot_explore.engine.cluster import Scheduler
from smoot_explore.runs.compare import compare_runs
from smoot_explore.runs.run import Run, list_runs, open_run
from smoot_explore.runs.table import columns, notes, records, varying


def measure_runs(
    folders: Sequence[Path],
    name: str,
    images: int | None,
    root: Path | None,
    scheduler: Scheduler | None,
    tolerance: float,
    as_json: bool,
    **protocol: Any,
) -> None:
    """Measure masking curves of runs, here or by a scheduler's workers, keep them in the runs, and print the table."""
    runs = [open_run(folder) for folder in folders]
    with contextlib.nullcontext() if scheduler is None else scheduler.connect() as client:
        for run in runs:
            data = run.load_data(root)
            measure(run, run.load_model(), first_images(data.test, images), name, client=client, **protocol)
    print_table(compare_runs(runs, tolerance, name), as_json)


def print_runs(folders: Sequence[Path], tolerance: float, name: str, as_json: bool) -> None:
    """Print the table of runs, or of folders of runs."""
    runs: list[Run] = []
    for folder in folders:
        if (folder / "config.json").is_file():
            runs.append(open_run(folder))
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said below, a line each
            found = list_runs(folder)
        for reason in found.refused.values():
            stderr.print(f"left out: {reason}", soft_wrap=True)
        if not found:
            raise ValueError(f"{folder} holds no run; train one with: smoot-explore train {folder}/NAME")
        runs += found
    compared = [run for run in runs if run.epochs or run.adopted]
    for run in (run for run in runs if run not in compared):
        stderr.print(
            f"left out: {run.path} has no completed epoch; train --resume goes on with it", soft_wrap=True
        )
    if not compared:
        raise ValueError("none of these runs has a completed epoch to compare")
    print_table(compare_runs(compared, tolerance, name), as_json)


def measure(run: Run, model: Any, split: Any, name: str, **protocol: Any) -> None:
    with progress_bar(f"curves of {run.name}", len(split), "") as update:
        curves = masking_curves(model, split, **protocol, progress=lambda done, _: update(completed=done))
    run.save_curves(curves, name)


def print_table(table: xr.Dataset, as_json: bool, folder: Path | None = None) -> None:
    """Print a table from `compare_runs`."""
    if as_json:
        content = {"runs": records(table), **({"folder": str(folder)} if folder else {})}
        click.echo(json.dumps(content, indent=2, allow_nan=False))
        return
    names, methods = table.run.values.tolist(), table.method.values.tolist()
    shown = Table(box=None, pad_edge=False, header_style="bold")
    texts = [methods] if names == methods else [names, methods]
    for head in ("run", "method")[-len(texts) :]:
        shown.add_column(head)
    one_length = len(set(table.epochs.values.tolist())) == 1
    left_out = ["test images", *(["epochs"] if one_length else [])]
    left_out += [] if table.sizes["protocol"] else ["class II"]
    numbers = columns(table, ["fill", *varying(table)])
    numbers = [column for column in numbers if column.quantity not in left_out]
    for column in numbers:
        head = "" if column.of in (("median",), ("max",)) else column.quantity
        shown.add_column("\n".join(filter(None, [head, *(column.of or [column.unit])])), justify="right")
    for row in zip(*texts, *(column.cells for column in numbers), strict=True):
        shown.add_row(*row)
    stdout.print()
    print_whole(shown)
    stdout.print()
    for note in notes(table):
        stdout.print(note, highlight=False)
