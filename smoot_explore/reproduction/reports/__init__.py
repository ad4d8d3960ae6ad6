"""The report of each target, put together from what the runner keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smoot_explore.reproduction import paper
from smoot_explore.reproduction.document import Document
from smoot_explore.reproduction.reports.choices import choices_report, k_spread_report
from smoot_explore.reproduction.reports.classes import class_ii_report, figure1_report
from smoot_explore.reproduction.reports.maps import saliency_report, sanity_report, shapes_report
from smoot_explore.reproduction.reports.methods import drop_report, methods_report, methods_table
from smoot_explore.reproduction.reports.settings import settings_report
from smoot_explore.reproduction.runner import Runner
from smoot_explore.reproduction.sections import NOT_YET_RUN, hardware_and_versions, what_was_run
from smoot_explore.reproduction.targets import Target


def report(target: Target, runner: Runner) -> Document:
    """The report of a target whose work is done."""
    document = _begun(target, runner)
    _REPORTS[target.target](document, target, runner)
    trials = [trial for e in target.experiments for trial in runner.trials(e)]
    if trials:
        document.parts.append(
            "## Open these runs\n\n"
            "Where this file was written, its runs lie beside it in `runs/`: `smoot-explore serve --runs runs` shows "
            "them in the explorer's Compare tab, `open_run` opens one in a notebook."
        )
        document.parts.append(hardware_and_versions(trials))
    return document


def not_yet_run(target: Target, runner: Runner, reason: str) -> Document:
    """The report of a target that could not be run: the paper's numbers, and none of ours."""
    document = _begun(target, runner)
    for experiment in target.experiments:
        document.parts.append(f"## {experiment.title}\n\n" + what_was_run(runner, experiment))
        if experiment.name in paper.RESULTS:
            document.parts.append(methods_table(experiment, None))
    document.parts.insert(1, f"**{NOT_YET_RUN.capitalize()}:** {reason.splitlines()[0]}")
    document.numbers["not_yet_run"] = reason
    return document


def _begun(target: Target, runner: Runner) -> Document:
    numbers = {"scale": runner.scale, "claim": target.claim, "experiments": {}}
    return Document(target.target, target.title, [target.claim], numbers)


_REPORTS: dict[str, Callable[[Document, Target, Runner], Any]] = {
    "table1": settings_report,
    **dict.fromkeys(("table2", "table3", "table4", "table5"), methods_report),
    "figure1": figure1_report,
    "class-ii": class_ii_report,
    **dict.fromkeys(("figure2", "figure4"), saliency_report),
    "figure3": drop_report,
    "choices": choices_report,
    "k-spread": k_spread_report,
    "shapes": shapes_report,
    "sanity": sanity_report,
}
