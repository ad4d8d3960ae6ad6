"""The command ``smoot-explore reproduce``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
from rich.table import Table as TerminalTable

from smoot_explore.console import INTERRUPTED, json_option, progress_bar, root_option, stderr, stdout
from smoot_explore.errors import unknown_name
from smoot_explore.hardware import choose_hardware
from smoot_explore.reproduction.experiments import SCALES
from smoot_explore.reproduction.laboratory import Laboratory, UnavailableError
from smoot_explore.reproduction.recipes import RECIPES, Recipe
from smoot_explore.reproduction.reports import not_yet_run, report

ALL = "all"


@click.command("reproduce", short_help="Reproduce the paper's tables and figures.")
@click.argument("targets", metavar="TARGET...", nargs=-1)
@click.option(
    "--scale",
    type=click.Choice(SCALES),
    default="quick",
    show_default=True,
    help="smoke: only to see that it works; quick: reduced, for two CPU cores; paper: in full, for a GPU.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Folder for runs, tables and figures; each scale has a folder of its own in it.",
)
@root_option
@click.option(
    "--cifar10",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with CIFAR-10 as image files, train/<class>/ and test/<class>/. [torchvision's files]",
)
@click.option("--seeds", "n_seeds", type=click.IntRange(1), help="Number of seeds. [the recipe's: 3]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option("--list", "only_list", is_flag=True, help="Print the targets with what they need, and stop.")
@json_option
@click.pass_context
def reproduce_command(
    ctx: click.Context,
    targets: tuple[str, ...],
    scale: str,
    out: Path,
    root: Path | None,
    cifar10: Path | None,
    n_seeds: int | None,
    device: str,
    only_list: bool,
    as_json: bool,
) -> None:
    """Reproduce the paper's tables and figures, each with its report beside the paper's numbers.

    TARGET is one of those that --list prints, several of them, or all. What is done is used again, what was stopped
    goes on: repeat the command.

    \b
    smoot-explore reproduce --list
    smoot-explore reproduce table3 figure3
    smoot-explore reproduce all --scale paper --device cuda
    """
    laboratory = Laboratory(out / scale, scale, root=root, cifar10=cifar10, n_seeds=n_seeds, device=device)
    chosen = _recipes(targets or ((ALL,) if only_list else ()))
    if only_list:
        _print_list(chosen, laboratory, as_json)
        return
    choose_hardware(device)  # a device that is not there is said at once
    done, missing = [], {}
    try:
        for recipe in chosen:
            try:
                _work(recipe, laboratory)
                document = report(recipe, laboratory)
            except UnavailableError as error:
                missing[recipe.target] = str(error)
                document = not_yet_run(recipe, laboratory, str(error))
                if document.file(laboratory.folder).exists():  # an earlier report may hold numbers
                    stderr.print(
                        f"{document.file(laboratory.folder)} is left as it was",
                        highlight=False,
                        soft_wrap=True,
                    )
                    continue
            written = document.write(laboratory.folder)
            done.append(
                {
                    "target": recipe.target,
                    "done": recipe.target not in missing,
                    "files": [str(path) for path in written],
                }
            )
            if not as_json:
                state = "not yet run" if recipe.target in missing else "done"
                stdout.print(f"{recipe.target:<9} {state:<12} {written[0]}", highlight=False, soft_wrap=True)
    except KeyboardInterrupt:
        stderr.print("stopped; the same command goes on from here")
        ctx.exit(INTERRUPTED)
    if as_json:
        click.echo(json.dumps({"scale": scale, "targets": done, "not_yet_run": missing}, indent=2))
    for target, reason in missing.items():
        stderr.print(f"{target} could not be run: {reason}", highlight=False, soft_wrap=True)
    if missing:
        ctx.exit(1)


def _recipes(targets: Sequence[str]) -> list[Recipe]:
    """The recipes asked for, each once, in the order of `RECIPES`."""
    if not targets:
        raise click.UsageError(f"name a target: {', '.join(RECIPES)}, or {ALL}")
    for target in targets:
        if target not in (*RECIPES, ALL):
            raise unknown_name(
                "target", target, (*RECIPES, ALL), "smoot-explore reproduce --list says what they are"
            )
    return [recipe for name, recipe in RECIPES.items() if ALL in targets or name in targets]


def _work(recipe: Recipe, laboratory: Laboratory) -> None:
    """Carry out a recipe under one bar; in a log, which shows no bar, with a line for each piece of work."""
    doing = "done"
    with progress_bar(recipe.target, 1, "") as update:
        for progress in laboratory.work(recipe.uses):
            total = progress.total or 1
            update(total=total, completed=progress.done, state=progress.doing)
            if not stderr.is_terminal and progress.doing not in (doing, "done"):
                share = f"{100 * progress.done / total:.0f} % done"
                stderr.print(f"{recipe.target}: {share}; {progress.doing}", highlight=False, soft_wrap=True)
            doing = progress.doing


class _Entry(NamedTuple):
    """A target in the list."""

    target: str
    title: str
    needs: list[str]
    runs: int
    image_visits: float
    minutes_on_two_cpu_cores: float | None  # None where nothing was measured to estimate it by


def _entry(recipe: Recipe, laboratory: Laboratory) -> _Entry:
    experiments = recipe.experiments
    pretrained = any(e.architecture_at(laboratory.scale).pretrained for e in experiments)
    needs = [e.stand_in(laboratory.scale) or e.title for e in experiments]
    return _Entry(
        recipe.target,
        recipe.title,
        [*dict.fromkeys(needs), *(["pretrained weights"] if pretrained else [])],
        sum(len(e.variants) * len(laboratory.seeds(e)) for e in experiments),
        laboratory.cost(recipe.uses),
        None if laboratory.scale == "paper" else laboratory.minutes(recipe.uses),
    )


def _print_list(recipes: Sequence[Recipe], laboratory: Laboratory, as_json: bool) -> None:
    entries = [_entry(recipe, laboratory) for recipe in recipes]
    if as_json:
        content = {"scale": laboratory.scale, "targets": [entry._asdict() for entry in entries]}
        click.echo(json.dumps(content, indent=2))
        return
    table = TerminalTable(box=None, pad_edge=False, header_style="bold")
    for column in ("target", "what", "needs", "runs", "time"):
        table.add_column(column, justify="right" if column in ("runs", "time") else "left")
    for entry in entries:
        minutes = entry.minutes_on_two_cpu_cores
        if minutes is None:
            time = f"{entry.image_visits / 1e6:,.0f} M visits"
        else:
            time = f"{minutes:.0f} min" if minutes >= 1 else "< 1 min"
        needs = ", ".join(entry.needs) or "nothing"
        table.add_row(entry.target, entry.title, needs, str(entry.runs), time)
    stdout.print(table)
    unit = (
        "A visit is that of one image in traditional training."
        if laboratory.scale == "paper"
        else "Times are estimates for two CPU cores."
    )
    stdout.print(f"\nScale {laboratory.scale}, from nothing; targets share runs. {unit}", highlight=False)
