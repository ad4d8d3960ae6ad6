"""Reports that compare the training methods: Tables 2 to 5 and the accuracy drop of Figure 3."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from smoot_explore.reproduction.reports.tables import PAIRS, by_method, heads, paper_row
from smoot_explore.reproduction.results import Results
from smoot_explore.reproduction.runner import Runner, Use
from smoot_explore.reproduction.statistics import number
from smoot_explore.reproduction.words import NOT_YET_RUN, k_text, protocol_text
from smoot_explore.runs.compare import PROTOCOL
from smoot_explore.runs.table import counted
from smoot_explore.views.palette import in_words


def methods_report(runner: Runner, use: Use) -> Iterator[Part]:
    results = Results(runner, use)
    yield {"runs": results.numbers()}
    yield what_was_run(runner, results.experiment)
    yield "## Table"
    yield methods_table(results, ("signed", "magnitude"))
    yield _k_finding(results)
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
        yield methods_table(results, ("signed",))
    yield {"experiments": numbers}


def methods_table(results: Results, rankings: Sequence[str]) -> Table:
    """k, accuracy and AUC by these rankings, beside the paper's."""
    published = paper.RESULTS[results.experiment.name]
    quantities = {"accuracy %": results["test_accuracy"]}
    drops = [protocol for ranking in rankings for protocol in results.drops(ranking)]
    quantities |= {f"AUC {in_words(p.fill)}, {p.ranking}": results.auc(p) for p in drops}
    papers = {"accuracy %": {method: row.accuracy for method, row in published.items()}}
    aucs = {method: row.auc for method, row in published.items() if row.auc is not None}
    if aucs:
        papers["AUC"] = aucs
    caption = f"k in pixels over the training images after the last epoch. {results['n_test'].iloc[0, 0]:,} test images"
    if drops:
        caption += f". AUC, lower is steeper: {protocol_text(drops[0], ('fill', 'ranking'))}"
    k = [["k min / median / max", *(k_text(results.k(method)) for method in METHODS)], _paper_k(published)]
    return by_method(caption, quantities, 2, papers, k)


def paper_table(experiment: Experiment) -> Table:
    """The paper's numbers alone, where ours are not yet run."""
    published = paper.RESULTS[experiment.name]
    rows = [[*_paper_k(published), *[""] * len(PAIRS)]]
    rows.append(paper_row("accuracy %", {method: row.accuracy for method, row in published.items()}, 2))
    return Table(f"Ours: {NOT_YET_RUN}", heads(), rows)


def _paper_k(published: Mapping[str, paper.PublishedRow]) -> list[str]:
    return ["the paper, k", *(k_text(published[method].k) for method in METHODS)]


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
    ranked, below_random = results.less_random()
    gains = pd.DataFrame({protocol: below.mean() for protocol, below in below_random.items()}).T
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
        f"{ranked.test_images.iloc[0]:,} test images, highest first, {ranked.ranking.iloc[0]}",
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
