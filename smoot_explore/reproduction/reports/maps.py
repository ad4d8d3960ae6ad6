"""Reports on saliency maps: Figures 2 and 4, the true objects of shapes, and sanity checks."""

from __future__ import annotations

from collections.abc import Iterator

from smoot_explore import views
from smoot_explore.core.choices import METHODS
from smoot_explore.core.saliency import saliency
from smoot_explore.reproduction.circumstances import what_was_run
from smoot_explore.reproduction.document import Part, Picture, Table
from smoot_explore.reproduction.reports.tables import by_method
from smoot_explore.reproduction.results import Results
from smoot_explore.reproduction.runner import Runner, Use
from smoot_explore.reproduction.statistics import number, spread
from smoot_explore.reproduction.words import name_of
from smoot_explore.views.palette import in_words

SHOWN_CLASSES = 10


def saliency_report(runner: Runner, *uses: Use) -> Iterator[Part]:
    numbers = {}
    for use in uses:
        name = use.experiment
        results = Results(runner, use)
        numbers[name] = results.numbers()
        yield what_was_run(runner, results.experiment, results.experiment.title)
        yield _saliency_picture(results)
        if "background" not in use.metrics:
            continue
        shares = results.metric("background", "gradient")
        numbers[f"{name}, background"] = shares.to_dict()
        black = spread(results.metric("background", "pixels")["smoot"]).mean
        yield by_method(
            f"Share of the gradient's magnitude on black pixels, which are {black:.1f} % of all; a background gradient "
            f"close to zero would be a low share. {_images(results)}",
            {"on black pixels %": shares},
        )
    yield {"experiments": numbers}
    if not any(use.metrics for use in uses):
        yield "Nothing is measured on these maps, in the paper or here: they are pictures."


def shapes_report(runner: Runner, use: Use) -> Iterator[Part]:
    results = Results(runner, use)
    rates = {key: results.metric("hits", key) for key in ("gradient", "integrated_gradients", "random")}
    objects = spread(results.metric("hits", "objects")["smoot"]).mean
    yield {"runs": results.numbers(), "hit_rates": {key: rate.to_dict() for key, rate in rates.items()}}
    yield {"object_share": objects}
    yield what_was_run(runner, results.experiment)
    yield "## Table"
    yield by_method(
        "Hit rate: of as many of the most salient pixels (by magnitude) as the object has, the share on the object, in "
        f"per cent. Objects cover {objects:.1f} % of the pixels: chance hits as often. {_images(results)}",
        {
            "test accuracy": results["test_accuracy"],
            **{f"hit rate, {in_words(key)}": r for key, r in rates.items()},
        },
    )
    yield _saliency_picture(results)


def sanity_report(runner: Runner, use: Use) -> Iterator[Part]:
    results = Results(runner, use)
    values = {key: results.metric("sanity", key) for key in runner.metric(results.trials[0], "sanity")}
    kinds, depths = (dict.fromkeys(key.rsplit(", ", 1)[i] for key in values) for i in (0, 1))
    layers = list(depths)[-1]
    whole = {
        f"{name_of(m)}, {in_words(kind)}": spread(values[f"{kind}, {layers}"][m]).mean
        for kind in kinds
        for m in METHODS
    }
    largest = max(whole, key=lambda name: abs(whole[name]))
    yield {
        "runs": results.numbers(),
        "rank_correlations": {key: correlation.to_dict() for key, correlation in values.items()},
    }
    yield what_was_run(runner, results.experiment)
    yield "## Table"
    yield Table(
        "Rank correlation (Spearman's ρ) of the maps with those of the same model whose last 1, 2, … layers have "
        f"random weights: 1 the same order of pixels, 0 none in common. {_images(results)}, mean ± standard deviation "
        f"of {len(results.seeds)} seeds",
        ["method, map, ranking", *(f"{n} of {layers} layers" for n in depths)],
        [
            [f"{name_of(m)}, {in_words(kind)}", *(spread(values[f"{kind}, {n}"][m]).text() for n in depths)]
            for kind in kinds
            for m in METHODS
        ],
    )
    yield (
        f"With all layers random, the correlation farthest from 0 is {number(whole[largest])} ({largest}). What "
        "remains there is told by the image and the architecture, not by what was learned."
    )


def _images(results: Results) -> str:
    return f"{len(results.runner.few(results.experiment)):,} test images"


def _saliency_picture(results: Results) -> Picture:
    runner, experiment = results.runner, results.experiment
    data, seed = runner.data(experiment), results.seeds[0]
    labels = data.test.labels
    present = [label for label in range(data.n_classes) if bool((labels == label).any())][:SHOWN_CLASSES]
    shown = data.test[[int((labels == label).nonzero()[0]) for label in present]]
    maps = {}
    for trial in (t for t in results.trials if t.seed == seed):
        model = runner.model(trial.run)
        device = next(model.parameters()).device
        found = saliency(model, shown.normalize().to(device), shown.labels.to(device))
        maps[trial.variant] = found.cpu().numpy()
    picture = views.saliency_maps(shown, maps, scale="one for each run")
    classes = "each class" if len(present) == data.n_classes else f"{len(present)} classes"
    caption = (
        f"{runner.data_title(experiment)}: the first test image of {classes} and the signed gradient of its "
        f"label's logit by the three methods, each with its own colour scale, seed {seed}"
    )
    return Picture(f"{experiment.name}-saliency", picture, caption)
