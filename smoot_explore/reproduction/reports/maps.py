"""Reports on saliency maps: Figures 2 and 4, the true objects of shapes, and sanity checks."""

from __future__ import annotations

from collections.abc import Sequence

from smoot_explore.core.choices import METHODS
from smoot_explore.core.saliency import saliency
from smoot_explore.reproduction.document import Document, Picture, Table
from smoot_explore.reproduction.experiments import Experiment
from smoot_explore.reproduction.runner import Runner, Trial
from smoot_explore.reproduction.sections import PAIRS, Results, name_of, what_was_run
from smoot_explore.reproduction.statistics import number, paired_difference, spread
from smoot_explore.reproduction.targets import Target
from smoot_explore.views import figures
from smoot_explore.views.palette import in_words

SHOWN_CLASSES = 10


def saliency_report(document: Document, target: Target, runner: Runner) -> None:
    for experiment, use in zip(target.experiments, target.uses, strict=True):
        trials = runner.trials(experiment)
        document.parts += [
            f"## {experiment.title}\n\n{what_was_run(runner, experiment)}",
            _saliency_picture(runner, experiment, trials),
        ]
        document.numbers["experiments"][experiment.name] = Results(trials).numbers()
        if "background" in use.map_metrics:
            document.parts += _background(document, runner, experiment, trials)
    if not any(use.map_metrics for use in target.uses):
        document.parts.append("Nothing is measured on these maps, in the paper or here: they are pictures.")


def shapes_report(document: Document, target: Target, runner: Runner) -> None:
    (experiment,) = target.experiments
    trials = runner.trials(experiment)
    results = Results(trials)
    kinds = ("gradient", "integrated_gradients", "random")
    rates = {kind: _examined(runner, trials, "hits", kind) for kind in kinds}
    objects = spread(_examined(runner, trials, "hits", "objects")["smoot"].values()).mean
    document.numbers |= {"runs": results.numbers(), "hit_rates": rates, "object_share": objects}
    rows = [
        [name_of(m), spread(results.accuracy(m).values()).text(),
         *(spread(rates[kind][m].values()).text(1) for kind in kinds)]
        for m in results.variants
    ]  # fmt: skip
    n = len(runner.few(experiment))
    told = []
    for kind in kinds[:2]:
        differences = [
            f"{name_of(a)} − {name_of(b)} {paired_difference(rates[kind][a], rates[kind][b]).text(1)}"
            for a, b in PAIRS
        ]
        told.append(f"{in_words(kind)}: {'; '.join(differences)}")
    document.parts += [
        "## What was run\n\n" + what_was_run(runner, experiment),
        "## Table",
        Table(
            "Hit rate: of as many of the most salient pixels (by magnitude) as the object has, the share on the "
            f"object; {n:,} test images, mean ± standard deviation of {results.n_seeds} seeds. Objects cover "
            f"{objects:.1f} % of the pixels: chance hits as often",
            ["method", "accuracy %", "gradient %", "integrated gradients %", "random map %"],
            rows,
        ),
        "Differences in hit rate, in points of per cent. "
        + ". ".join(t[0].upper() + t[1:] for t in told)
        + ".",
        _saliency_picture(runner, experiment, trials),
    ]


def sanity_report(document: Document, target: Target, runner: Runner) -> None:
    (experiment,) = target.experiments
    trials = runner.trials(experiment)
    keys = list(runner.map_metric(trials[0], "sanity"))
    values = {key: _examined(runner, trials, "sanity", key) for key in keys}
    document.numbers |= {"runs": Results(trials).numbers(), "rank_correlations": values}
    kinds = list(dict.fromkeys(key.rsplit(", ", 1)[0] for key in keys))
    depths = list(dict.fromkeys(key.rsplit(", ", 1)[1] for key in keys))
    rows = [
        [
            f"{name_of(method)}, {in_words(kind)}",
            *(spread(values[f"{kind}, {n}"][method].values()).text() for n in depths),
        ]
        for kind in kinds
        for method in METHODS
    ]  # fmt: skip
    n_images = len(runner.few(experiment))
    whole = {
        (kind, m): spread(values[f"{kind}, {depths[-1]}"][m].values()).mean for kind in kinds for m in METHODS
    }
    (kind, method), largest = max(whole.items(), key=lambda item: abs(item[1]))
    document.parts += [
        "## What was run\n\n" + what_was_run(runner, experiment),
        "## Table",
        Table(
            "Rank correlation (Spearman's ρ) of the maps with those of the same model whose last 1, 2, … layers have "
            f"random weights: 1 the same order of pixels, 0 none in common. {n_images:,} test images, mean ± standard "
            f"deviation of {len(runner.seeds(experiment))} seeds",
            ["method, map, ranking", *(f"{n} of {depths[-1]} layers" for n in depths)],
            rows,
        ),
        f"With all layers random, the correlation farthest from 0 is {number(largest)} ({name_of(method)}, "
        f"{in_words(kind)}). What remains there is told by the image and the architecture, not by what was learned.",
    ]


def _saliency_picture(runner: Runner, experiment: Experiment, trials: Sequence[Trial]) -> Picture:
    data = runner.data(experiment)
    labels = data.test.labels
    present = [label for label in range(data.n_classes) if bool((labels == label).any())][:SHOWN_CLASSES]
    shown = data.test[[int((labels == label).nonzero()[0]) for label in present]]
    seed = trials[0].seed
    maps = {}
    for trial in (t for t in trials if t.seed == seed):
        model = runner.model(trial.run)
        device = next(model.parameters()).device
        maps[trial.variant] = (
            saliency(model, shown.normalize().to(device), shown.labels.to(device)).cpu().numpy()
        )
    titles = [data.class_names[label] for label in present]
    figure = figures.saliency_figure(shown.images.numpy(), maps, titles, own_scales=True)
    classes = "each class" if len(present) == data.n_classes else f"{len(present)} classes"
    caption = (
        f"{runner.data_title(experiment)}: the first test image of {classes} and the signed gradient of its "
        f"label's logit by the three methods, each with its own colour scale, seed {seed}"
    )
    return Picture(f"{experiment.name}-saliency", figure, caption)


def _background(
    document: Document, runner: Runner, experiment: Experiment, trials: Sequence[Trial]
) -> list[str | Table | Picture]:
    shares = _examined(runner, trials, "background", "gradient")
    pixels = spread(_examined(runner, trials, "background", "pixels")["smoot"].values())
    document.numbers["experiments"][f"{experiment.name}, background"] = shares
    rows = [[name_of(method), spread(values.values()).text(1)] for method, values in shares.items()]
    n = len(runner.few(experiment))
    table = Table(
        f"Share of the gradient's magnitude on black pixels, which are {pixels.mean:.1f} % of all; {n:,} test images, "
        f"mean ± standard deviation of {len(runner.seeds(experiment))} seeds",
        ["method", "on black pixels %"],
        rows,
    )
    told = []
    for first, second in PAIRS:
        difference = paired_difference(shares[first], shares[second])
        told.append(f"{name_of(first)} − {name_of(second)} {difference.text(1)}")
    return [
        table,
        f"A background gradient close to zero would be a low share. Differences: {'; '.join(told)}.",
    ]


def _examined(runner: Runner, trials: Sequence[Trial], name: str, key: str) -> dict[str, dict[int, float]]:
    """A number of a map metric: variant → seed → value."""
    values: dict[str, dict[int, float]] = {}
    for trial in trials:
        values.setdefault(trial.variant, {})[trial.seed] = runner.map_metric(trial, name)[key]
    return values
