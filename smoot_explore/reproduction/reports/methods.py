"""Reports that compare the training methods: Tables 2 to 5 and the accuracy drop of Figure 3."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd
import xarray as xr

from smoot_explore import views
from smoot_explore.core.choices import METHODS
from smoot_explore.core.classes import accuracy_drop
from smoot_explore.reproduction import paper
from smoot_explore.reproduction.circumstances import what_was_run
from smoot_explore.reproduction.document import Part, Picture, Table
from smoot_explore.reproduction.experiments import ALL_FILLS, MAIN_FILLS, Experiment
from smoot_explore.reproduction.results import PAIRS, Results
from smoot_explore.reproduction.runner import Runner, Use
from smoot_explore.reproduction.statistics import Difference, number, paired_difference, spread
from smoot_explore.reproduction.words import NOT_YET_RUN, k_text, name_of, protocol_text
from smoot_explore.runs.compare import PROTOCOL
from smoot_explore.runs.table import counted
from smoot_explore.views.palette import in_words


def methods_report(runner: Runner, use: Use) -> Iterator[Part]:
    results = Results(runner, use)
    yield {"runs": results.numbers()}
    yield what_was_run(runner, results.experiment)
    yield "## Table"
    yield methods_table(results.experiment, results)
    yield _k_finding(results)
    yield "## Differences between methods, seed by seed"
    yield _differences(results)
    yield _by_chance(len(results.seeds))
    if "attributions" in use.curves:
        yield from _every_protocol(results)
    trial = next(trial for trial in results.trials if trial.variant == "smoot")
    yield Picture(
        "k", views.k_spread(trial.run.record()), f"k of all training images under SMOOT, seed {trial.seed}"
    )


def drop_report(runner: Runner, *uses: Use) -> Iterator[Part]:
    numbers = {}
    for use in uses:
        results = Results(runner, use)
        experiment, title = results.experiment, runner.data_title(results.experiment)
        curves = [(trial, trial.run.curves()) for trial in results.trials]
        numbers[experiment.name] = {
            "runs": results.numbers(),
            "accuracy_drop": {trial.run.name: _drops(measured) for trial, measured in curves},
        }
        shown = {
            m: [measured.sel(fill=list(MAIN_FILLS)) for trial, measured in curves if trial.variant == m]
            for m in METHODS
        }
        yield what_was_run(runner, experiment, experiment.title)
        yield Picture(
            experiment.name,
            views.accuracy_drop(shown, title),
            f"Accuracy drop on {title}, masking the highest first",
        )
        yield methods_table(experiment, results)
    yield {"experiments": numbers}


def methods_table(experiment: Experiment, results: Results | None) -> Table:
    """The paper's table beside ours; without results, with "not yet run" in our cells."""
    published = paper.RESULTS[experiment.name]
    with_auc = published["smoot"].auc is not None
    drops = [] if results is None else results.drops("signed")
    auc_heads = [f"AUC {in_words(p.fill)}" for p in drops] or ["AUC"] * with_auc
    heads = ["method", "k min / median / max", "paper", "accuracy %", "paper", *auc_heads]
    rows = []
    for method, row in published.items():
        k, accuracy, *aucs = [NOT_YET_RUN] * (2 + len(auc_heads))
        if results is not None:
            k = k_text(results.k(method))
            accuracy, *aucs = (
                spread(quantity[method]).text()
                for quantity in (results["test_accuracy"], *map(results.auc, drops))
            )
        rows.append([name_of(method), k, k_text(row.k), accuracy, f"{row.accuracy:.2f}", *aucs])
        rows[-1] += [f"{row.auc:.2f}"] if with_auc else []
    caption = (
        f"k in pixels over the training images after the last epoch. The paper's accuracy: {paper.TEST_IMAGES:,} test "
        "images"
    )
    if auc_heads:
        caption += ". AUC: area under the accuracy drop in per cent, lower is steeper"
    if drops:
        caption += f"; {protocol_text(drops[0], ('fill',))}"
    if results is not None:
        caption += f"; mean ± standard deviation of {len(results.seeds)} seeds"
    return Table(caption, heads + ["paper's AUC"] * with_auc, rows)


def _differences(results: Results) -> Table:
    """Differences in accuracy, and in the AUC of every fill by both rankings, above the paper's."""
    published = pd.DataFrame(paper.RESULTS[results.experiment.name], ["k", "accuracy", "auc"]).T
    quantities = [("accuracy", results["test_accuracy"], published.accuracy)]
    for ranking in ("signed", "magnitude"):
        quantities += [
            (f"AUC {in_words(protocol.fill)}, {ranking}", results.auc(protocol), published.auc)
            for protocol in results.drops(ranking)
        ]
    rows = []
    for name, measured, reported in quantities:
        here = [paired_difference(measured[a], measured[b]) for a, b in PAIRS]
        expected = [None if reported.isna().any() else reported[a] - reported[b] for a, b in PAIRS]
        rows.append([name, *(d.text() + _verdict(d, e) for d, e in zip(here, expected, strict=True))])
    for name, reported in (("accuracy", published.accuracy), ("AUC", published.auc)):
        if not reported.isna().any():
            rows.append([f"the paper, {name}", *(number(reported[a] - reported[b]) for a, b in PAIRS)])
    return Table(
        "In points of per cent, mean ± standard deviation over the seeds; ✓ all seeds have the paper's sign, ✗ none",
        ["", *(f"{name_of(a)} − {name_of(b)}" for a, b in PAIRS)],
        rows,
    )


def _verdict(difference: Difference, expected: float | None) -> str:
    """Whether all seeds have the paper's sign, or none; nothing where that cannot be said."""
    if expected is None or round(expected, 6) == 0 or difference.n == 1:
        return ""
    agreeing, opposite = difference.above, difference.below
    if expected < 0:
        agreeing, opposite = opposite, agreeing
    return " ✓" if agreeing == difference.n else " ✗" if opposite == difference.n else ""


def _by_chance(n_seeds: int) -> str:
    if n_seeds == 1:
        return "One seed has no spread, and decides nothing."
    agreeing = 200 * 0.5**n_seeds
    return (
        f"Where there is no difference at all, {n_seeds} seeds still agree in {agreeing:.2g} % of the cases."
    )


def _k_finding(results: Results) -> str:
    epochs = int(results["epochs"]["smoot"].iloc[0])
    ours, theirs = results.k("smoot"), paper.RESULTS[results.experiment.name]["smoot"].k
    differing = ". The lengths differ, so these k cannot be held against each other."
    return (
        f"k of SMOOT after {counted(epochs, 'epoch')}: {k_text(ours)}, a range of "
        f"{ours[2].mean - ours[0].mean:.0f} pixels. The paper, after {paper.EPOCHS} epochs: {k_text(theirs)}, a range "
        f"of {theirs[2] - theirs[0]} pixels{'.' if epochs == paper.EPOCHS else differing}"
    )


def _every_protocol(results: Results) -> Iterator[Part]:
    """AUC under every attribution, ranking and fill; and how far each falls below that of a random order."""
    p, means = results.protocols, results.aucs.mean().unstack("variant")
    auc = results.aucs
    below = {
        m: auc.xs("smoot", axis=1, level="variant") - auc.xs(m, axis=1, level="variant")
        for m in ("sgt", "traditional")
    }
    # The gradient is also measured on fewer images, beside the others: once is enough to count.
    most = (p.attribution != "gradient") | (p.test_images == p.test_images.max())
    drops = (p.masked_first == "highest") & (p.attribution != "random") & most
    lowest = drops & (means.smoot < means[["sgt", "traditional"]].min(axis=1))
    always = drops & (below["sgt"] < 0).all() & (below["traditional"] < 0).all()
    random = p[p.attribution == "random"]
    ranked = p[
        (p.masked_first == "highest") & (p.attribution != "random") & p.test_images.isin(random.test_images)
    ]
    chance = means.loc[random.index].set_index(random.fill).loc[ranked.fill].set_index(ranked.index)
    gains = chance - means.loc[ranked.index]
    best = (gains.smoot > gains[["sgt", "traditional"]].max(axis=1)).sum()
    three = "traditional / SGT / SMOOT, means over the seeds"

    def of_three(values: pd.DataFrame) -> Callable[[int], str]:
        return lambda protocol: " / ".join(number(values.loc[protocol, m], 1) for m in METHODS)

    yield "## Every protocol"
    yield (
        f"SMOOT has the lowest mean AUC of the three in {lowest.sum()} of {drops.sum()} protocols of the accuracy "
        f"drop, and in all seeds in {always.sum()}; the random order is not counted. “Lowest first” is insertion "
        "read backwards: the most salient pixels are shown first, and higher is better."
    )
    yield _protocol_table(
        f"AUC: {three}", p, of_three(means), named=["attribution", "ranking", "masked_first", "test_images"]
    )
    yield (
        "A random order has an AUC too: how the network takes masking as such. What a ranking adds is how far it falls "
        f"below that; in this SMOOT is best of the three in {best} of {len(ranked)} protocols."
    )
    yield _protocol_table(
        f"AUC of a random order minus AUC of the ranking, {three}; higher is better, below 0 is worse than chance; "
        f"{random.test_images.iloc[0]:,} test images, highest first, {ranked.ranking.iloc[0]}",
        ranked,
        of_three(gains),
        named=["attribution"],
    )


def _protocol_table(
    caption: str,
    protocols: pd.DataFrame,
    cell: Callable[[int], str],
    named: Sequence[str],
) -> Table:
    """A row for each of what is ``named`` of the protocols, a column for each fill."""
    but = [name for name in PROTOCOL if name not in named]
    rows = [
        [protocol_text(of_row.iloc[0], but), *map(cell, of_row.index)]
        for _, of_row in protocols.groupby(list(named), sort=False)
    ]
    return Table(caption, ["ranked by", *map(in_words, ALL_FILLS)], rows)


def _drops(curves: xr.Dataset) -> dict[str, Any]:
    """The accuracy drop of each fill in per cent, and its levels."""
    drop = accuracy_drop(curves.sel(attribution="gradient"))
    by_fill = {str(fill): drop.sel(fill=fill).values.round(4).tolist() for fill in drop.fill.values}
    return {"masked_fraction": drop.masked_fraction.values.tolist(), **by_fill}
