"""Results in a terminal: masking curves measured, runs side by side, the table of both."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from smoot_explore.cli.terminal import progress_bar, stderr, stdout
from smoot_explore.core.curves import masking_curves
from smoot_explore.runs.compare import Protocol, Row, compare_runs
from smoot_explore.runs.run import Run, list_runs, open_run


def measure_runs(
    folders: Sequence[Path],
    name: str,
    images: int | None,
    root: Path | None,
    tolerance: float,
    as_json: bool,
    **protocol: Any,
) -> None:
    """Measure masking curves of runs, keep them in the runs, and print the table."""
    runs = [open_run(folder) for folder in folders]
    for run in runs:
        data = run.load_data(root)
        split = data.test if images is None else data.test[:images]
        measure(run, run.load_model(), split, name, **protocol)
    print_rows(compare_runs(runs, tolerance, name), as_json)


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
    for run in (run for run in runs if not run.epochs):
        stderr.print(
            f"left out: {run.path} has no completed epoch; train --resume goes on with it", soft_wrap=True
        )
    compared = [run for run in runs if run.epochs]
    if not compared:
        raise ValueError("none of these runs has a completed epoch to compare")
    print_rows(compare_runs(compared, tolerance, name), as_json)


def measure(run: Run, model: Any, split: Any, name: str, **protocol: Any) -> None:
    with progress_bar(f"curves of {run.name}", len(split), "") as update:
        curves = masking_curves(model, split, **protocol, progress=lambda done, _: update(completed=done))
    run.save_curves(curves, name)


def print_rows(rows: list[Row], as_json: bool, folder: Path | None = None) -> None:
    if as_json:
        content = {
            "runs": [_plain(row) for row in rows],
            **({"folder": str(folder)} if folder else {}),
        }
        click.echo(json.dumps(content, indent=2, allow_nan=False))
        return
    named_by_method = all(row.run == row.method for row in rows)
    one_length = len({row.epochs for row in rows}) == 1
    protocols = list(dict.fromkeys(auc.protocol for row in rows for auc in row.aucs))
    varying = [name for name in Protocol._fields[1:] if len({getattr(p, name) for p in protocols}) > 1]
    with_curves = bool(protocols)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run" if not named_by_method else "method")
    if not named_by_method:
        table.add_column("method")
    columns = [] if one_length else ["epochs"]
    columns += ["k\nmin", "\nmedian", "\nmax", "accuracy\n%"]
    columns += ["\n".join(["AUC", p.fill, *(str(getattr(p, name)) for name in varying)]) for p in protocols]
    for column in columns + (["class II\n%"] if with_curves else []):
        table.add_column(column, justify="right")
    for row in rows:
        values = {auc.protocol: f"{auc.value:.2f}" for auc in row.aucs}
        share = "–" if math.isnan(row.class_ii_share) else f"{row.class_ii_share:.1f}"
        table.add_row(
            row.run,
            *([] if named_by_method else [row.method]),
            *([] if one_length else [str(row.epochs)]),
            *(f"{k:.0f}" for k in (row.k_min, row.k_median, row.k_max)),
            f"{row.test_accuracy:.2f}",
            *(values.get(protocol, "–") for protocol in protocols),
            *([share] if with_curves else []),
        )
    stdout.print()
    # As wide as its numbers need, also on a narrow terminal: a cut number is worth nothing.
    Console(width=max(stdout.width, Console(width=1000).measure(table).maximum)).print(table)
    tests = " / ".join(f"{n:,}" for n in dict.fromkeys(row.n_test for row in rows))
    seeds = ", ".join(str(seed) for seed in dict.fromkeys(row.seed for row in rows))
    length = f"{counted(rows[0].epochs, 'epoch')}, " if one_length else ""
    notes = [f"k in pixels over the training images; accuracy on {tests} test images; {length}seed {seeds}."]
    if with_curves:
        first = protocols[0]
        same = {name: getattr(first, name) for name in Protocol._fields[1:] if name not in varying}
        told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in same.items())
        notes.append(
            f"AUC: area under the accuracy drop in per cent, lower is steeper ({told}). It depends on all of these "
            "and on the fill: compare within a column only."
        )
        shares = "; ".join(dict.fromkeys(row.class_ii_protocol for row in rows if row.aucs))
        notes.append(f"class II: the label's probability rises when pixels are masked ({shares}).")
    else:
        notes.append("No masking curves yet: smoot-explore curves RUN measures AUC and class II.")
    for note in notes:
        stdout.print(f"\n{note}" if note is notes[0] else note, highlight=False)


def counted(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def _plain(row: Row) -> dict[str, Any]:
    content = row._asdict() | {"aucs": [{**a.protocol._asdict(), "value": a.value} for a in row.aucs]}
    return {n: None if isinstance(v, float) and math.isnan(v) else v for n, v in content.items()}
