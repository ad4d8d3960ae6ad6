"""Reproducing from a terminal: targets listed, carried out and reported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.table import Table as TerminalTable

from smoot_explore.cli.terminal import (
    INTERRUPTED,
    progress_bar,
    stderr,
    stdout,
)
from smoot_explore.compute.device import choose_hardware
from smoot_explore.errors import unknown_name
from smoot_explore.reproduction.reports import not_yet_run, report
from smoot_explore.reproduction.runner import Runner, UnavailableError
from smoot_explore.reproduction.targets import TARGETS, Target

ALL = "all"


def list_targets(
    targets: Sequence[str], scale: str, out: Path, options: dict[str, Any], as_json: bool
) -> None:
    """Print the targets with what they need; all where none is named."""
    _print_list(_targets(targets or (ALL,)), Runner(out / scale, scale, **options), as_json)


def reproduce(targets: Sequence[str], scale: str, out: Path, options: dict[str, Any], as_json: bool) -> int:
    """Carry out the targets and write their reports; the exit code."""
    runner = Runner(out / scale, scale, **options)
    chosen = _targets(targets)
    choose_hardware(options["device"])  # a device that is not there is said at once
    done, missing = [], {}
    try:
        for target in chosen:
            try:
                _work(target, runner)
                document = report(target, runner)
            except UnavailableError as error:
                missing[target.target] = str(error)
                document = not_yet_run(target, runner, str(error))
                if document.file(runner.folder).exists():  # an earlier report may hold numbers
                    stderr.print(
                        f"{document.file(runner.folder)} is left as it was",
                        highlight=False,
                        soft_wrap=True,
                    )
                    continue
            written = document.write(runner.folder)
            done.append(
                {
                    "target": target.target,
                    "done": target.target not in missing,
                    "files": [str(path) for path in written],
                }
            )
            if not as_json:
                state = "not yet run" if target.target in missing else "done"
                stdout.print(f"{target.target:<9} {state:<12} {written[0]}", highlight=False, soft_wrap=True)
    except KeyboardInterrupt:
        stderr.print("stopped; the same command goes on from here")
        return INTERRUPTED
    if as_json:
        click.echo(json.dumps({"scale": scale, "targets": done, "not_yet_run": missing}, indent=2))
    for name, reason in missing.items():
        stderr.print(f"{name} could not be run: {reason}", highlight=False, soft_wrap=True)
    return 1 if missing else 0


def _targets(targets: Sequence[str]) -> list[Target]:
    """The targets asked for, each once, in the order of `TARGETS`."""
    if not targets:
        raise click.UsageError(f"name a target: {', '.join(TARGETS)}, or {ALL}")
    for name in targets:
        if name not in (*TARGETS, ALL):
            raise unknown_name(
                "target", name, (*TARGETS, ALL), "smoot-explore reproduce --list says what they are"
            )
    return [target for name, target in TARGETS.items() if ALL in targets or name in targets]


def _work(target: Target, runner: Runner) -> None:
    """Carry out a target under one bar; in a log, which shows no bar, with a line for each piece of work."""
    doing = "done"
    with progress_bar(target.target, 1, "") as update:
        for progress in runner.work(target.uses):
            total = progress.total or 1
            update(total=total, completed=progress.done, state=progress.doing)
            if not stderr.is_terminal and progress.doing not in (doing, "done"):
                share = f"{100 * progress.done / total:.0f} % done"
                stderr.print(f"{target.target}: {share}; {progress.doing}", highlight=False, soft_wrap=True)
            doing = progress.doing


class _Entry(NamedTuple):
    """A target in the list."""

    target: str
    title: str
    needs: list[str]
    runs: int
    image_visits: float
    minutes_on_two_cpu_cores: float | None  # None where nothing was measured to estimate it by


def _entry(target: Target, runner: Runner) -> _Entry:
    experiments = [runner.experiment(use) for use in target.uses]
    pretrained = any(e.architecture_at(runner.scale).pretrained for e in experiments)
    needs = [e.stand_in(runner.scale) or e.title for e in experiments]
    return _Entry(
        target.target,
        target.title,
        [*dict.fromkeys(needs), *(["pretrained weights"] if pretrained else [])],
        sum(len(e.variants) * len(runner.seeds(e)) for e in experiments),
        runner.cost(target.uses),
        None if pretrained else runner.minutes(target.uses),
    )


def _print_list(targets: Sequence[Target], runner: Runner, as_json: bool) -> None:
    entries = [_entry(target, runner) for target in targets]
    if as_json:
        content = {"scale": runner.scale, "targets": [entry._asdict() for entry in entries]}
        click.echo(json.dumps(content, indent=2))
        return
    table = TerminalTable(box=None, pad_edge=False, header_style="bold")
    for column in ("target", "what", "needs", "runs", "time"):
        table.add_column(column, justify="right" if column in ("runs", "time") else "left")
    for entry in entries:
        needs = ", ".join(entry.needs) or "nothing"
        table.add_row(
            entry.target, entry.title, needs, str(entry.runs), _duration(entry.minutes_on_two_cpu_cores)
        )
    stdout.print(table)
    stdout.print(
        f"\nScale {runner.scale}, from nothing; targets share runs. Times are estimates for two CPU cores in float32.",
        highlight=False,
    )


def _duration(minutes: float | None) -> str:
    if minutes is None:
        return "not measured"
    if minutes < 1:
        return "< 1 min"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
