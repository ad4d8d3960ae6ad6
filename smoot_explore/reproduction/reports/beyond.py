"""Reports on what the paper does not ask: other ways to judge a map, attacks, and how classes I and II are learned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from smoot_explore.reproduction.circumstances import what_was_run
from smoot_explore.reproduction.document import Part, Table
from smoot_explore.reproduction.experiments import ALL_FILLS, MAIN_FILLS, ROAD_FILL
from smoot_explore.reproduction.metrics import (
    ATTACKED_IMAGES,
    DYNAMICS_IMAGES,
    EPSILONS,
    REMOVED,
    RETRAINED,
    RETRAINING,
)
from smoot_explore.reproduction.reports.tables import by_method
from smoot_explore.reproduction.results import Results
from smoot_explore.reproduction.runner import Runner, Use
from smoot_explore.reproduction.statistics import number, paired_difference, spread
from smoot_explore.reproduction.words import name_of
from smoot_explore.views.palette import in_words


def road_report(runner: Runner, use: Use) -> Iterator[Part]:
    results = Results(runner, use)
    ranked, below = results.less_random()
    shown = ranked[ranked.fill == ROAD_FILL]
    imputed = results.protocols[results.protocols.fill == ROAD_FILL]
    yield {
        "runs": results.numbers(),
        "below_random": {_key(ranked, i): below[i].to_dict() for i in ranked.index},
    }
    yield what_was_run(runner, results.experiment)
    yield "## Table"
    yield Table(
        "AUC of the accuracy drop, masked pixels imputed from their neighbours (noisy linear imputation); lower is "
        f"steeper. {imputed.test_images.iloc[0]:,} test images, mean ± standard deviation of {len(results.seeds)} "
        "seeds; signed, highest first",
        ["ranked by", *map(name_of, results.variants)],
        [
            [
                in_words(row.attribution),
                *(spread(results.auc(row.Index)[v]).text(1) for v in results.variants),
            ]
            for row in imputed.itertuples()
        ],
    )
    yield by_method(
        "The same below a random order of the same images: higher is better, below 0 is worse than chance",
        {in_words(row.attribution): below[row.Index] for row in shown.itertuples()},
    )
    orders = [
        [
            in_words(row.attribution),
            *(_first(ranked, below, row.attribution, fill) for fill in (*ALL_FILLS, ROAD_FILL)),
        ]
        for row in shown.itertuples()
    ]
    yield Table(
        "Does the fill decide the winner? The method whose ranking falls farthest below a random order, in the mean",
        ["ranked by", *map(in_words, (*ALL_FILLS, ROAD_FILL))],
        orders,
    )


def roar_report(runner: Runner, use: Use) -> Iterator[Part]:
    results = Results(runner, use)
    whole = results.metric("retrained", "none, 0")
    left = {
        f"{ranking}, {share:g}": results.metric("retrained", f"{ranking}, {share:g}")
        for ranking in ("signed", "magnitude", "random")
        for share in REMOVED
    }
    accuracy = {key: quantity.to_dict() for key, quantity in left.items()}
    yield {"runs": results.numbers(), "accuracy": accuracy, "without_removal": whole.to_dict()}
    yield what_was_run(runner, results.experiment)
    yield (
        f"Each number is a fresh network's: at most {RETRAINED[0]:,} training images, {RETRAINING['epochs']} epochs of "
        f"traditional training, at most {RETRAINED[1]:,} test images, the same seed as the run whose maps rank the "
        f"pixels. With nothing removed it reaches {spread(whole.iloc[:, 0]).text(1)} %; more than that means that "
        "the shape of what was removed tells the class that the model predicts."
    )
    yield "## Table"
    yield by_method(
        "Test accuracy in per cent after training without this share of the pixels, the highest-ranked, by the method "
        "whose maps ranked them; lower: more of what tells the classes apart was removed. Gradient of the predicted "
        "class",
        left,
    )


def attack_report(runner: Runner, *uses: Use) -> Iterator[Part]:
    numbers: dict[str, Any] = {}
    for use in uses:
        results = Results(runner, use)
        title = runner.data_title(results.experiment)
        right = {epsilon: results.metric("robustness", str(epsilon)) for epsilon in EPSILONS}
        numbers[use.experiment] = {str(epsilon): accuracy.to_dict() for epsilon, accuracy in right.items()}
        numbers[f"{use.experiment}, runs"] = results.numbers()
        yield what_was_run(runner, results.experiment, results.experiment.title)
        n_images = min(ATTACKED_IMAGES, len(runner.data(results.experiment).test))
        yield by_method(
            f"{title}: test accuracy in per cent under attack, by ε in levels of 256: projected gradient descent, 20 "
            "steps from a random start, on the cross-entropy and on the margin; right only where both fail. "
            f"{n_images:,} test images",
            {f"ε = {epsilon}": accuracy for epsilon, accuracy in right.items()},
        )
    yield {"experiments": numbers}


def dynamics_report(runner: Runner, use: Use) -> Iterator[Part]:
    results = Results(runner, use)
    (variant,) = results.variants
    rows = []
    for ranking in ("signed", "magnitude"):
        for fill in MAIN_FILLS:
            for images in ("all", "right"):
                key = f"{ranking}, {fill}, {images}"
                of = {n: results.metric("dynamics", f"{key}, {n}")[variant] for n in _DYNAMICS}
                rows.append(
                    [key, spread(of["share of II"]).text(1)]
                    + [spread(of[n]).text() for n in _DYNAMICS[1:]]
                    + [paired_difference(of[f"{n} II"], of[f"{n} I"]).text() for n in ("mean", "sd")]
                )
    yield {"runs": results.numbers()}
    yield what_was_run(runner, results.experiment)
    n_images = min(DYNAMICS_IMAGES, len(runner.data(results.experiment).train))
    yield (
        "Mean and standard deviation, over the epochs, of the label's probability at each visit of a training image "
        "(dropout on, before the step), averaged over the images of class I and of class II. “right”: of the images "
        "that the trained network classifies rightly. Tolerance 0.01."
    )
    yield "## Table"
    yield Table(
        f"{n_images:,} training images; classes by gradient, highest first; mean ± standard deviation of "
        f"{len(results.seeds)} seeds",
        [
            "ranking, fill, images",
            "class II %",
            "mean, I",
            "mean, II",
            "sd, I",
            "sd, II",
            "mean, II − I",
            "sd, II − I",
        ],
        rows,
    )


_DYNAMICS = ("share of II", "mean I", "mean II", "sd I", "sd II")


def _first(ranked: pd.DataFrame, below: dict[int, pd.DataFrame], attribution: str, fill: str) -> str:
    """The method that gains most, with "all seeds" where it does so in each."""
    (index,) = ranked.index[(ranked.attribution == attribution) & (ranked.fill == fill)]
    gains = below[index]
    best = gains.mean().idxmax()
    always = (gains.idxmax(axis=1) == best).all()
    return f"{name_of(best)} {number(gains.mean()[best], 1)}" + (
        " (all seeds)" if always and len(gains) > 1 else ""
    )


def _key(protocols: pd.DataFrame, index: int) -> str:
    return f"{protocols.attribution[index]}, {protocols.fill[index]}"
