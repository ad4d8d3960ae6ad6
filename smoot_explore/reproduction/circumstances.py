"""How an experiment was run: its scale beside the paper's settings, and on what."""

from __future__ import annotations

from collections.abc import Sequence

from smoot_explore.core.config import TrainingConfig, setting_names
from smoot_explore.reproduction.experiments import Experiment
from smoot_explore.reproduction.runner import Runner, Trial


def what_was_run(runner: Runner, experiment: Experiment, heading: str = "What was run") -> str:
    """How the experiment was run, and in what it differs from the paper's settings."""
    scale, size = runner.scale, runner.size(experiment)
    of_train, of_test = (
        f"{taken or whole:,} of {whole:,}"
        for taken, whole in zip((size.train, size.test), experiment.full, strict=True)
    )
    lines = []
    if scale == "smoke":
        lines.append(
            "**This is a smoke run: it shows that the target works, and its numbers mean nothing.**\n"
        )
    if experiment.stand_in(scale) not in (None, experiment.data):
        lines.append(
            f"- data: **{experiment.stand_in(scale)} stands in for {experiment.title}**; {size.train} training and "
            f"{size.test} test images"
        )
    else:
        balanced = ", classes balanced" if size.train or size.test else ""
        lines.append(
            f"- data: {experiment.title}{_copy(runner, experiment)}, {of_train} training and {of_test} test "
            f"images{balanced}"
        )
    architecture, papers = experiment.architecture_at(scale), experiment.architecture
    lines.append(f"- model: {_against(architecture, papers)}")
    if papers.pretrained and not architecture.pretrained:
        lines.append(
            "- trained from scratch: accuracies cannot be held against the paper's, at most the signs of differences"
        )
    first = next(iter(experiment.variants))
    here, paper = (experiment.config(first, s, 0).to_dict() for s in (scale, "paper"))
    told = [name for name in setting_names() if here[name] != paper[name] and name != "schedule"]
    told += [name for name in ("epochs", "batch_size", "optimizer", "learning_rate") if name not in told]
    labels = {name: TrainingConfig.param[name].label.lower() for name in told}
    schedule = "; ".join(f"{label} {_against(here[name], paper[name])}" for name, label in labels.items())
    lines.append(f"- schedule: {schedule}")
    if here["schedule"] == "settle":
        lines.append(
            "- the last quarter of the epochs goes at a tenth of the learning rate (the paper names no schedule)"
        )
    seeds = runner.seeds(experiment)
    same = "; trainings of one seed start from the same weights and see the images in the same order"
    lines.append(
        f"- {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
        + (same if len(experiment.variants) > 1 else "")
    )
    return f"## {heading}\n\nScale `{scale}`.\n\n" + "\n".join(lines)


def hardware_and_versions(trials: Sequence[Trial]) -> str:
    """On what the trainings ran."""
    found = [
        f"- {run['device']}, {run['precision']}; "
        + ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        for run in (trial.run.description for trial in trials)
    ]
    return "## Hardware and versions\n\n" + "\n".join(dict.fromkeys(found))


def _against(here: object, paper: object) -> str:
    return str(here) if str(here) == str(paper) else f"{here} (paper: {paper})"


def _copy(runner: Runner, experiment: Experiment) -> str:
    """Says where images are not the originals."""
    if experiment.data != "cifar10" or runner.cifar10 is None:
        return ""
    first = next(runner.cifar10.glob("train/*/*.*"), None)
    is_jpeg = first is not None and first.suffix.lower() in (".jpg", ".jpeg")
    return " as JPEG files (compression has changed the pixels)" if is_jpeg else " as image files"
