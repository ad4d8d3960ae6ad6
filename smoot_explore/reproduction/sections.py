"""What reports share: what was run, what was measured of it, and on what."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from smoot_explore.core.config import TrainingConfig, setting_names
from smoot_explore.reproduction.experiments import ALL_FILLS, Experiment
from smoot_explore.reproduction.runner import Runner, Trial
from smoot_explore.reproduction.statistics import Spread, paired_difference, spread
from smoot_explore.runs.compare import Auc, Protocol, Row, compare_run
from smoot_explore.views.palette import METHOD_NAMES, in_words

BySeed = dict[int, float]

NOT_YET_RUN = "not yet run"
PAIRS = (("smoot", "sgt"), ("smoot", "traditional"), ("sgt", "traditional"))
_ROW_NUMBERS = ("epochs", "k_min", "k_median", "k_max", "test_accuracy", "n_test")


class Results:
    """The numbers of an experiment, by variant and seed.

    Parameters
    ----------
    trials
        All trainings of the experiment.
    curves
        Names of the masking curves to read from each run.
    """

    def __init__(self, trials: Sequence[Trial], curves: Sequence[str] = ()) -> None:
        self.trials, self.curves = trials, curves

    @property
    def variants(self) -> list[str]:
        """Names of the variants, in the experiment's order."""
        return list(dict.fromkeys(trial.variant for trial in self.trials))

    @property
    def n_seeds(self) -> int:
        """Number of seeds of each variant."""
        return len({trial.seed for trial in self.trials})

    @cached_property
    def rows(self) -> dict[str, dict[int, Row]]:
        """Variant → seed → the run's row, with the AUCs of all curves together."""
        rows: dict[str, dict[int, Row]] = {variant: {} for variant in self.variants}
        for trial in self.trials:
            row = compare_run(trial.run, None)
            aucs: list[Auc] = []
            for name in self.curves:
                aucs += compare_run(trial.run, trial.run.curves(name)).aucs
            rows[trial.variant][trial.seed] = row._replace(aucs=tuple(aucs))
        return rows

    @property
    def protocols(self) -> list[Protocol]:
        """Protocols of the AUCs, in the order of the curves."""
        row = next(iter(self.rows[self.variants[0]].values()))
        return [auc.protocol for auc in row.aucs]

    def value(self, variant: str, pick: Callable[[Row], float]) -> BySeed:
        """A number of each seed's row."""
        return {seed: pick(row) for seed, row in self.rows[variant].items()}

    def auc(self, variant: str, protocol: Protocol) -> BySeed:
        """The AUC of each seed under a protocol."""
        return self.value(variant, lambda row: next(a.value for a in row.aucs if a.protocol == protocol))

    def accuracy(self, variant: str) -> BySeed:
        """Test accuracy of each seed after the last epoch, in per cent."""
        return self.value(variant, lambda row: row.test_accuracy)

    def k(self, variant: str) -> list[Spread]:
        """Minimum, median and maximum of k over the training images after the last epoch."""
        picks: tuple[Callable[[Row], float], ...] = (
            lambda row: row.k_min,
            lambda row: row.k_median,
            lambda row: row.k_max,
        )
        return [spread(self.value(variant, pick).values()) for pick in picks]

    def numbers(self) -> list[dict[str, Any]]:
        """Every run's numbers with what it was trained with, for JSON."""
        return [
            {
                "variant": trial.variant,
                "seed": trial.seed,
                **{
                    name: value
                    for name, value in self.rows[trial.variant][trial.seed]._asdict().items()
                    if name in _ROW_NUMBERS
                },
                "aucs": [
                    {**auc.protocol._asdict(), "value": auc.value}
                    for auc in self.rows[trial.variant][trial.seed].aucs
                ],
                "settings": trial.run.start_config,
                "changes": trial.run.journal["changes"],
                **{
                    name: trial.run.description[name]
                    for name in ("data", "model", "device", "precision", "versions", "created")
                },
            }
            for trial in self.trials
        ]


def name_of(variant: str) -> str:
    """A training method's or a variant's name for people."""
    return METHOD_NAMES.get(variant, variant.replace("-", " "))


def k_text(k: Iterable[Spread]) -> str:
    """``"341 ± 3 / 386 ± 1 / 437 ± 5"``."""
    return " / ".join(part.text(0) for part in k)


def listed(words: Sequence[object]) -> str:
    """``"a, b and c"``."""
    texts = [str(word) for word in words]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def what_was_run(runner: Runner, experiment: Experiment) -> str:
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
    stand_in = experiment.stand_in(scale)
    if stand_in is not None and stand_in != experiment.data:
        lines.append(
            f"- data: **{stand_in} stands in for {experiment.title}**; {size.train} training and {size.test} test "
            "images"
        )
    else:
        lines.append(
            f"- data: {experiment.title}{_copy(runner, experiment)}, {of_train} training and {of_test} test "
            "images" + (", classes balanced" if size.train or size.test else "")
        )
    lines.append(f"- model: {_against(experiment.architecture_at(scale), experiment.architecture)}")
    if experiment.architecture.pretrained and not experiment.architecture_at(scale).pretrained:
        lines.append(
            "- trained from scratch: accuracies cannot be held against the paper's, at most the signs of differences"
        )
    first = next(iter(experiment.variants))
    here, paper = (experiment.config(first, s, 0).to_dict() for s in (scale, "paper"))
    differing = [name for name in setting_names() if here[name] != paper[name]]
    told = [f"{_label(name)} {_against(here[name], paper[name])}" for name in differing]
    told += [
        f"{_label(name)} {here[name]}"
        for name in ("epochs", "batch_size", "optimizer", "learning_rate")
        if name not in differing
    ]
    lines.append(f"- schedule: {'; '.join(told)}")
    if size.slow_down:
        lines.append(
            "- the last quarter of the epochs goes at a tenth of the learning rate (the paper names no schedule)"
        )
    seeds = runner.seeds(experiment)
    several = len(experiment.variants) > 1
    lines.append(
        f"- {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
        + (
            "; trainings of one seed start from the same weights and see the images in the same order"
            * several
        )
    )
    return f"Scale `{scale}`.\n\n" + "\n".join(lines)


def hardware_and_versions(trials: Sequence[Trial]) -> str:
    """On what the trainings ran."""
    found = [
        f"{run['device']}, {run['precision']}; "
        + ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        for run in (trial.run.description for trial in trials)
    ]
    return "## Hardware and versions\n\n" + "\n".join(f"- {line}" for line in dict.fromkeys(found))


def protocol_text(protocol: Protocol, but: Sequence[str] = ()) -> str:
    """Everything an AUC depends on, in words, without the fields in ``but``."""
    words: Mapping[str, str] = {
        "fill": f"{in_words(protocol.fill)} fill",
        "attribution": in_words(protocol.attribution),
        "ranking": protocol.ranking,
        "masked_first": f"{protocol.masked_first} first",
        "precision": protocol.precision,
        "test_images": f"{protocol.test_images:,} test images",
    }
    return ", ".join(text for name, text in words.items() if name not in but)


def drop_protocols(results: Results, signed: bool) -> list[Protocol]:
    """Protocols of the accuracy drop by gradient on the most images, one for each fill."""
    wanted = ("gradient", "signed" if signed else "magnitude", "highest")
    found = [p for p in results.protocols if (p.attribution, p.ranking, p.masked_first) == wanted]
    most = max(p.test_images for p in found)
    return [next(p for p in found if p.fill == fill and p.test_images == most) for fill in ALL_FILLS]


def auc_difference(results: Results, first: str, second: str, protocol: Protocol) -> str:
    difference = paired_difference(results.auc(first, protocol), results.auc(second, protocol))
    return difference.text(1)


def order_of_auc(results: Results, variants: Sequence[str], protocol: Protocol) -> str:
    """The variants by their mean AUC: "SMOOT < SGT = traditional"."""
    means = {v: spread(results.auc(v, protocol).values()).mean for v in variants}
    ordered = sorted(variants, key=lambda v: means[v])
    text = name_of(ordered[0])
    for lower, higher in itertools.pairwise(ordered):
        text += f" {'<' if means[lower] < means[higher] else '='} {name_of(higher)}"
    return text


def _against(here: object, paper: object) -> str:
    return str(here) if str(here) == str(paper) else f"{here} (paper: {paper})"


def _label(setting: str) -> str:
    return TrainingConfig.param[setting].label.lower()


def _copy(runner: Runner, experiment: Experiment) -> str:
    """Says where images are not the originals."""
    if experiment.data != "cifar10" or runner.cifar10 is None:
        return ""
    first = next(runner.cifar10.glob("train/*/*.*"), None)
    is_jpeg = first is not None and first.suffix.lower() in (".jpg", ".jpeg")
    return " as JPEG files (compression has changed the pixels)" if is_jpeg else " as image files"
