"""The report of each target, put together from what the runner keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from smoot_explore.reproduction import paper
from smoot_explore.reproduction.circumstances import hardware_and_versions, what_was_run
from smoot_explore.reproduction.document import Document, Part
from smoot_explore.reproduction.reports.beyond import attack_report, dynamics_report, road_report, roar_report
from smoot_explore.reproduction.reports.choices import choices_report, k_spread_report
from smoot_explore.reproduction.reports.classes import class_ii_report, figure1_report
from smoot_explore.reproduction.reports.maps import saliency_report, sanity_report, shapes_report
from smoot_explore.reproduction.reports.methods import drop_report, methods_report, paper_table
from smoot_explore.reproduction.reports.settings import settings_report
from smoot_explore.reproduction.runner import Runner
from smoot_explore.reproduction.targets import Target
from smoot_explore.reproduction.words import NOT_YET_RUN, upper_first

# What a target tells of its experiments, from a runner that has carried them out.
_REPORTS: dict[str, Callable[..., Iterator[Part]]] = {
    "table1": settings_report,
    **dict.fromkeys(("table2", "table3", "table4", "table5"), methods_report),
    "figure1": figure1_report,
    "class-ii": class_ii_report,
    **dict.fromkeys(("figure2", "figure4"), saliency_report),
    "figure3": drop_report,
    "choices": choices_report,
    **dict.fromkeys(("k-spread", "two-rules"), k_spread_report),
    "shapes": shapes_report,
    "sanity": sanity_report,
    "road": road_report,
    "roar": roar_report,
    "attack": attack_report,
    "dynamics": dynamics_report,
}


def report(target: Target, runner: Runner) -> Document:
    """The report of a target whose work is done."""
    document = _begun(target, runner)
    document.parts += _REPORTS[target.target](runner, *target.uses)
    if target.uses:
        document.parts += [
            "## Open these runs\n\n"
            "Where this file was written, its runs lie beside it in `runs/`: `smoot-explore serve --runs runs` shows "
            "them in the explorer's Compare tab, `open_run` opens one in a notebook.",
            hardware_and_versions(
                [trial for use in target.uses for trial in runner.trials(runner.experiment(use))]
            ),
        ]
    return document


def not_yet_run(target: Target, runner: Runner, reason: str) -> Document:
    """The report of a target that could not be run: the paper's numbers, and none of ours."""
    document = _begun(target, runner)
    document.parts += [f"**{upper_first(NOT_YET_RUN)}:** {reason.splitlines()[0]}", {"not_yet_run": reason}]
    for experiment in map(runner.experiment, target.uses):
        document.parts.append(what_was_run(runner, experiment, experiment.title))
        if experiment.name in paper.RESULTS:
            document.parts.append(paper_table(experiment))
    return document


def _begun(target: Target, runner: Runner) -> Document:
    numbers = {"scale": runner.scale, "claim": target.claim, "experiments": {}}
    return Document(target.target, target.title, [numbers, target.claim])
