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
from smoot_explore.reproduction.results import PAIRS, Results, order_of_means
from smoot_explore.reproduction.runner import Runner, Use
from smoot_explore.reproduction.statistics import Difference, number, paired_difference, spread
from smoot_explore.reproduction.words import NOT_YET_RUN, k_text, listed, name_of, protocol_text
from smoot_explore.runs.compare import PROTOCOL
from smoot_explore.runs.table import counted
from smoot_explore.views.palette import in_words

_NOT_IN_THE_PAPER = "not in the paper"


def methods_report(runner: Runner, use: Use) -> Iterator[Part]:
    experiment = use.of
    results = Results(runner, experiment, use.curves)
    differences = _differences(results)
    yield {"runs": results.numbers()}
    yield what_was_run(runner, experiment)
    yield "## Table"
    yield methods_table(experiment, results)
    yield "## Differences between methods, seed by seed"
    yield Table(
        "Differences in points of per cent: mean ± standard deviation over the seeds",
        list(differences),
        differences.values.tolist(),
    )
    yield _signs_finding(differences)
    yield _by_chance(len(results.seeds))
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
        experiment, title = use.of, runner.data_title(use.of)
        results = Results(runner, experiment, use.curves)
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
        yield _order_finding(results)
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


def _differences(results: Results) -> pd.DataFrame:
    """Differences in accuracy, and in the AUC of every fill by both rankings, beside the paper's; as text."""
    published = pd.DataFrame(paper.RESULTS[results.experiment.name], ["k", "accuracy", "auc"]).T
    quantities = [("accuracy", results["test_accuracy"], published.accuracy)]
    for ranking in ("signed", "magnitude"):
        for protocol in results.drops(ranking):
            name = f"AUC {in_words(protocol.fill)} ({ranking})"
            quantities.append((name, results.auc(protocol), published.auc))
    rows = []
    for name, measured, reported in quantities:
        for first, second in PAIRS:
            expected = None if reported.isna().any() else reported[first] - reported[second]
            here = paired_difference(measured[first], measured[second])
            there = "–" if expected is None else number(expected)
            rows.append(
                [name, f"{name_of(first)} − {name_of(second)}", here.text(), there, _verdict(here, expected)]
            )
    return pd.DataFrame(rows, columns=["quantity", "pair", "here", "paper", "sign"])


def _signs_finding(differences: pd.DataFrame) -> str:
    """What agrees with the paper and what does not."""
    told = []
    for pair, of_pair in differences[differences.sign != _NOT_IN_THE_PAPER].groupby("pair", sort=False):
        by_sign = of_pair.groupby("sign", sort=False).quantity.agg(", ".join)
        told.append(f"- {pair}: {'; '.join(f'{sign}: {quantities}' for sign, quantities in by_sign.items())}")
    return "The signs of the differences, against the paper's:\n\n" + "\n".join(told)


def _verdict(difference: Difference, expected: float | None) -> str:
    """Whether all seeds have the paper's sign."""
    if expected is None:
        return _NOT_IN_THE_PAPER
    if round(expected, 6) == 0:
        return "none in the paper"
    if difference.n == 1:
        return "one seed decides nothing"
    agreeing, opposite = difference.above, difference.below
    if expected < 0:
        agreeing, opposite = opposite, agreeing
    if agreeing == difference.n:
        return "as in the paper"
    return "against the paper" if opposite == difference.n else "undecided"


def _by_chance(n_seeds: int) -> str:
    if n_seeds == 1:
        return "One seed has no spread: repeat with more before comparing methods."
    return (
        f"“As in the paper” and “against the paper”: all {n_seeds} seeds have that sign. Where there is no difference "
        f"at all, they still agree in {200 * 0.5**n_seeds:.2g} % of the cases, and this table has many rows."
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
    """AUC under every attribution, ranking and fill, and where SMOOT does not have the lowest."""
    p, means = results.protocols, results.aucs.mean().unstack("variant")
    smoot, others = means["smoot"], means[["sgt", "traditional"]]
    below = {
        m: results.aucs.xs("smoot", axis=1, level="variant") - results.aucs.xs(m, axis=1, level="variant")
        for m in others
    }
    highest = p.masked_first == "highest"
    # The gradient is also measured on fewer images, beside the others: once is enough to count.
    most = (p.attribution != "gradient") | (p.test_images == p.test_images.max())
    drops = highest & (p.attribution != "random") & most
    lowest = drops & (smoot < others.min(axis=1))
    always = drops & (below["sgt"] < 0).all() & (below["traditional"] < 0).all()
    lost = [in_words(fill) for fill in ALL_FILLS if not lowest[p.fill == fill].any()]
    yield "## What the paper does not report: every protocol"
    yield (
        f"Of {drops.sum()} protocols of the accuracy drop (attribution × ranking × fill, the random control left out), "
        f"SMOOT has the lowest mean AUC of the three in {lowest.sum()}, and in all seeds in {always.sum()}. It does "
        f"**not** win in the other {drops.sum() - lowest.sum()}"
        + (f"; with no attribution at all for the fill {listed(lost)}." if lost else ".")
    )

    def of_three(values: pd.DataFrame) -> Callable[[int], str]:
        return lambda protocol: " / ".join(number(values.loc[protocol, m], 1) for m in METHODS)

    def against(other: str) -> Callable[[int], str]:
        return lambda i: paired_difference(results.auc(i)["smoot"], results.auc(i)[other]).text(1)

    three = "traditional / SGT / SMOOT, means over the seeds"
    caption = "AUC of the accuracy drop: "
    yield _protocol_table(caption + three, p[highest], of_three(means))
    yield _protocol_table(caption + "SMOOT − SGT", p[highest], against("sgt"))
    yield _protocol_table(caption + "SMOOT − traditional", p[highest], against("traditional"))

    # How far each attribution falls below a random order of the same images: what is due to the ranking.
    random = p[p.attribution == "random"]
    n_images = random.test_images.iloc[0]
    ranked = p[highest & (p.attribution != "random") & (p.test_images == n_images)]
    by_fill = means.loc[random.index].set_index(random.fill)
    gains = by_fill.loc[ranked.fill].set_index(ranked.index) - means.loc[ranked.index]
    best = (gains["smoot"] > gains[["sgt", "traditional"]].max(axis=1)).sum()
    moved = "; ".join(
        f"{in_words(fill)} {'+' if round(float(value), 1) > 0 else ''}{number(value, 1)}"
        for fill, value in (by_fill["smoot"] - by_fill["traditional"]).items()
    )
    yield (
        "How much of an AUC is due to the saliency? A random order of the pixels has an AUC too, and it differs "
        f"between the networks: from traditional training to SMOOT it moves by {moved} points (by fill). That is how "
        "the networks take masking as such. What a ranking adds is how far it falls **below the random order** of the "
        f"same images; by that measure SMOOT is best of the three in {best} of {len(ranked)} combinations of "
        "attribution and fill."
    )
    yield _protocol_table(
        f"AUC of a random order minus AUC of the ranking, {three}; higher is better, below 0 is worse than chance; "
        f"{n_images:,} test images, highest first, {ranked.ranking.iloc[0]}",
        ranked,
        of_three(gains),
        named=["attribution"],
    )

    insertions = p[~highest]
    best = (smoot > others.max(axis=1))[insertions.index].sum()
    yield (
        "Insertion: the lowest-ranked share m of the pixels is masked, which leaves the highest-ranked 1 − m; read "
        "backwards, the most salient pixels are inserted first. The area under this accuracy is better when it is "
        f"**higher**. SMOOT has the highest mean of the three with {best} of {len(insertions)} fills."
    )
    yield _protocol_table(f"Area under insertion: {three}", insertions, of_three(means))


def _protocol_table(
    caption: str,
    protocols: pd.DataFrame,
    cell: Callable[[int], str],
    named: Sequence[str] = ("attribution", "ranking", "test_images"),
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


def _order_finding(results: Results) -> str:
    """With which fills the three methods fall in the paper's order."""
    orders: dict[str, list[str]] = {}
    for protocol in results.drops("signed"):
        order = order_of_means(results.auc(protocol), METHODS)
        orders.setdefault(order, []).append(in_words(protocol.fill))
    told = "; ".join(f"{order} with {listed(fills)} fill" for order, fills in orders.items())
    return f"The paper's order of the AUC is SMOOT < SGT < traditional. The order of the means here: {told}."
