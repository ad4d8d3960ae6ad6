"""Reports that compare the training methods: Tables 2 to 5 and the accuracy drop of Figure 3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import xarray as xr

from smoot_explore.core.choices import METHODS
from smoot_explore.core.classes import accuracy_drop
from smoot_explore.reproduction import paper
from smoot_explore.reproduction.document import Document, Picture, Table
from smoot_explore.reproduction.experiments import ALL_FILLS, MAIN_FILLS, Experiment
from smoot_explore.reproduction.runner import Runner
from smoot_explore.reproduction.sections import (
    NOT_YET_RUN,
    PAIRS,
    BySeed,
    Results,
    auc_difference,
    drop_protocols,
    k_text,
    listed,
    name_of,
    order_of_auc,
    protocol_text,
    what_was_run,
)
from smoot_explore.reproduction.statistics import (
    Difference,
    number,
    paired_difference,
    signed_number,
    spread,
)
from smoot_explore.reproduction.targets import Target
from smoot_explore.runs.compare import Protocol
from smoot_explore.views import figures
from smoot_explore.views.palette import in_words


def methods_report(document: Document, target: Target, runner: Runner) -> None:
    (experiment,) = target.experiments
    (use,) = target.uses
    results = Results(runner.trials(experiment), use.curves)
    document.numbers["runs"] = results.numbers()
    document.parts += [
        "## What was run\n\n" + what_was_run(runner, experiment),
        "## Table",
        methods_table(experiment, results),
        "## Differences between methods, seed by seed",
        _differences_table(experiment, results),
        _signs_finding(experiment, results),
        _by_chance(results.n_seeds),
        _k_finding(experiment, results),
    ]
    if "attributions" in use.curves:
        document.parts += _every_protocol(results)
    trial = next(t for t in results.trials if t.variant == "smoot" and t.seed == runner.seeds(experiment)[0])
    figure = figures.k_trajectories_figure(trial.run.record())
    caption = f"k of all training images under SMOOT, seed {trial.seed}"
    document.parts.append(Picture("k", figure, caption))


def drop_report(document: Document, target: Target, runner: Runner) -> None:
    for experiment in target.experiments:
        trials = runner.trials(experiment)
        results = Results(trials, ("test",))
        drops = {t.run.name: _drops(t.run.curves()) for t in trials}
        document.numbers["experiments"][experiment.name] = {"runs": results.numbers(), "accuracy_drop": drops}
        curves = {
            m: [t.run.curves().sel({"fill": list(MAIN_FILLS)}) for t in trials if t.variant == m]
            for m in METHODS
        }
        title = runner.data_title(experiment)
        figure = figures.accuracy_drop_spread_figure(curves, title)
        document.parts += [
            f"## {experiment.title}\n\n{what_was_run(runner, experiment)}",
            Picture(
                experiment.name,
                figure,
                f"Accuracy drop on {title}, masking the highest first",
            ),
            methods_table(experiment, results),
            _order_finding(results),
        ]


def methods_table(experiment: Experiment, results: Results | None) -> Table:
    """The paper's table beside ours; without results, with "not yet run" in our cells."""
    published = paper.RESULTS[experiment.name]
    with_auc = published["smoot"].auc is not None
    drop = [] if results is None else drop_protocols(results, signed=True)
    heads = ["method", "k min / median / max", "paper", "accuracy %", "paper"]
    heads += [f"AUC {in_words(p.fill)}" for p in drop] or (["AUC"] if with_auc else [])
    heads += ["paper's AUC"] if with_auc else []
    rows = []
    for method, row in published.items():
        cells = [name_of(method)]
        if results is None:
            ours_k, ours_accuracy, ours_auc = NOT_YET_RUN, NOT_YET_RUN, [NOT_YET_RUN] * with_auc
        else:
            ours_k = k_text(results.k(method))
            ours_accuracy = spread(results.accuracy(method).values()).text()
            ours_auc = [spread(results.auc(method, p).values()).text() for p in drop]
        cells += [ours_k, " / ".join(map(str, row.k)), ours_accuracy, f"{row.accuracy:.2f}", *ours_auc]
        cells += [f"{row.auc:.2f}"] if row.auc is not None else []
        rows.append(cells)
    n_seeds = "" if results is None else f"; mean ± standard deviation of {results.n_seeds} seeds"
    protocol = f"; {protocol_text(drop[0], ('fill',))}" if drop else ""
    auc = (
        f". AUC: area under the accuracy drop in per cent, lower is steeper{protocol}"
        if drop or with_auc
        else ""
    )
    caption = (
        f"k in pixels over the training images after the last epoch. The paper's accuracy: {paper.TEST_IMAGES:,} test "
        f"images{auc}{n_seeds}"
    )
    return Table(caption, heads, rows)


class _Compared(NamedTuple):
    """A difference between two methods beside the paper's."""

    quantity: str
    pair: tuple[str, str]
    here: Difference
    paper: float | None

    @property
    def pair_name(self) -> str:
        return f"{name_of(self.pair[0])} − {name_of(self.pair[1])}"


def _compared(experiment: Experiment, results: Results) -> list[_Compared]:
    """Accuracy, and the AUC of every fill by both rankings, of each pair of methods."""
    published = paper.RESULTS[experiment.name]
    quantities: list[tuple[str, Callable[[str], BySeed], dict[str, float | None]]] = [
        ("accuracy", results.accuracy, {m: published[m].accuracy for m in METHODS})
    ]
    for signed in (True, False) if _has_magnitude(results) else (True,):
        for protocol in drop_protocols(results, signed):
            name = f"AUC {in_words(protocol.fill)} ({protocol.ranking})"
            aucs = {m: published[m].auc for m in METHODS}
            quantities.append((name, partial(results.auc, protocol=protocol), aucs))
    compared = []
    for name, measured, reported in quantities:
        for first, second in PAIRS:
            one, other = reported[first], reported[second]
            expected = None if one is None or other is None else one - other
            here = paired_difference(measured(first), measured(second))
            compared.append(_Compared(name, (first, second), here, expected))
    return compared


def _differences_table(experiment: Experiment, results: Results) -> Table:
    rows = [
        [
            c.quantity,
            c.pair_name,
            c.here.text(),
            "–" if c.paper is None else number(c.paper),
            _verdict(c.here, c.paper),
        ]
        for c in _compared(experiment, results)
    ]
    heads = ["quantity", "pair", "here", "paper", "sign"]
    return Table("Differences in points of per cent: mean ± standard deviation over the seeds", heads, rows)


def _signs_finding(experiment: Experiment, results: Results) -> str:
    """What agrees with the paper and what does not, from the table above."""
    told = []
    for pair in PAIRS:
        by_verdict: dict[str, list[str]] = {}
        for c in _compared(experiment, results):
            if c.pair == pair and c.paper is not None:
                by_verdict.setdefault(_verdict(c.here, c.paper), []).append(c.quantity)
        signs = "; ".join(f"{verdict}: {', '.join(quantities)}" for verdict, quantities in by_verdict.items())
        told.append(f"- {name_of(pair[0])} − {name_of(pair[1])}: {signs}")
    return "The signs of the differences, against the paper's:\n\n" + "\n".join(told)


def _has_magnitude(results: Results) -> bool:
    return any(p.ranking == "magnitude" for p in results.protocols)


def _verdict(difference: Difference, expected: float | None) -> str:
    """Whether all seeds have the paper's sign."""
    if expected is None:
        return "not in the paper"
    if round(expected, 6) == 0:
        return "none in the paper"
    if difference.n == 1:
        return "one seed decides nothing"
    agreeing = difference.below if expected < 0 else difference.above
    opposite = difference.above if expected < 0 else difference.below
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


def _k_finding(experiment: Experiment, results: Results) -> str:
    epochs = next(iter(results.rows["smoot"].values())).epochs
    ours, theirs = results.k("smoot"), paper.RESULTS[experiment.name]["smoot"].k
    widths = ours[2].mean - ours[0].mean, theirs[2] - theirs[0]
    return (
        f"k of SMOOT after {epochs} {'epoch' if epochs == 1 else 'epochs'}: {k_text(ours)}, a range of "
        f"{widths[0]:.0f} pixels. The paper, after {paper.EPOCHS} epochs: {' / '.join(map(str, theirs))}, a range of "
        f"{widths[1]} pixels"
        + (
            ". The lengths differ, so these k cannot be held against each other."
            if epochs != paper.EPOCHS
            else "."
        )
    )


def _every_protocol(results: Results) -> list[str | Table | Picture]:
    """AUC under every attribution, ranking and fill, and where SMOOT does not have the lowest."""
    parts: list[str | Table | Picture] = ["## What the paper does not report: every protocol"]
    most = max(p.test_images for p in results.protocols)
    drops = [  # the gradient is also measured on fewer images, beside the others: once is enough to count
        p
        for p in results.protocols
        if p.masked_first == "highest"
        and p.attribution != "random"
        and (p.attribution != "gradient" or p.test_images == most)
    ]
    means = {p: {m: spread(results.auc(m, p).values()).mean for m in METHODS} for p in results.protocols}
    lowest = [p for p in drops if means[p]["smoot"] < min(means[p]["sgt"], means[p]["traditional"])]
    always = [p for p in drops if all(_below(results, "smoot", m, p) for m in ("sgt", "traditional"))]
    lost = [f for f in ALL_FILLS if not any(p.fill == f for p in lowest)]
    parts.append(
        f"Of {len(drops)} protocols of the accuracy drop (attribution × ranking × fill, the random control left out), "
        f"SMOOT has the lowest mean AUC of the three in {len(lowest)}, and in all seeds in {len(always)}. It does "
        f"**not** win in the other {len(drops) - len(lowest)}"
        + (
            f"; with no attribution at all for the fill {listed([in_words(f) for f in lost])}."
            if lost
            else "."
        )
    )
    for heading, cell in (
        ("traditional / SGT / SMOOT, means over the seeds",
         lambda p: " / ".join(number(means[p][m], 1) for m in METHODS)),
        ("SMOOT − SGT", lambda p: auc_difference(results, "smoot", "sgt", p)),
        ("SMOOT − traditional", lambda p: auc_difference(results, "smoot", "traditional", p)),
    ):  # fmt: skip
        parts.append(_protocol_table(f"AUC of the accuracy drop: {heading}", results, "highest", cell))
    parts += _against_random(results, means)
    insertions = [p for p in results.protocols if p.masked_first == "lowest"]
    best = [p for p in insertions if means[p]["smoot"] > max(means[p]["sgt"], means[p]["traditional"])]
    parts.append(
        "Insertion: the lowest-ranked share m of the pixels is masked, which leaves the highest-ranked 1 − m; read "
        "backwards, the most salient pixels are inserted first. The area under this accuracy is better when it is "
        f"**higher**. SMOOT has the highest mean of the three with {len(best)} of {len(insertions)} fills."
    )
    cell = lambda p: " / ".join(number(means[p][m], 1) for m in METHODS)  # noqa: E731
    heading = "Area under insertion: traditional / SGT / SMOOT, means over the seeds"
    parts.append(_protocol_table(heading, results, "lowest", cell))
    return parts


def _against_random(results: Results, means: Mapping[Protocol, Mapping[str, float]]) -> list[str | Table]:
    """How far each attribution falls below a random order of the same images: what is due to the ranking."""
    random = {p.fill: p for p in results.protocols if p.attribution == "random"}
    n_images = random[ALL_FILLS[0]].test_images
    ranked = [
        p
        for p in results.protocols
        if p.test_images == n_images and p.masked_first == "highest" and p.attribution != "random"
    ]

    def gain(method: str, protocol: Protocol) -> float:
        return means[random[protocol.fill]][method] - means[protocol][method]

    rows = [
        [in_words(attribution),
         *(" / ".join(number(gain(m, p), 1) for m in METHODS)
           for fill in ALL_FILLS for p in ranked if (p.attribution, p.fill) == (attribution, fill))]
        for attribution in dict.fromkeys(p.attribution for p in ranked)
    ]  # fmt: skip
    moved = [
        f"{in_words(fill)} {signed_number(means[p]['smoot'] - means[p]['traditional'], 1)}"
        for fill, p in random.items()
    ]
    best = [p for p in ranked if gain("smoot", p) > max(gain("sgt", p), gain("traditional", p))]
    return [
        "How much of an AUC is due to the saliency? A random order of the pixels has an AUC too, and it differs "
        "between the networks: from traditional training to SMOOT it moves by "
        f"{'; '.join(moved)} points (by fill). That is how the networks take masking as such. What a ranking adds is "
        "how far it falls **below the random order** of the same images; by that measure SMOOT is best of the three in "
        f"{len(best)} of {len(ranked)} combinations of attribution and fill.",
        Table(
            "AUC of a random order minus AUC of the ranking, traditional / SGT / SMOOT, means over the seeds; higher "
            f"is better, below 0 is worse than chance; {n_images:,} test images, highest first, "
            f"{ranked[0].ranking}",
            ["ranked by", *map(in_words, ALL_FILLS)],
            rows,
        ),
    ]


def _protocol_table(
    caption: str, results: Results, masked_first: str, cell: Callable[[Protocol], str]
) -> Table:
    """A row for each attribution, ranking and number of images, a column for each fill."""
    by_row: dict[str, dict[str, str]] = {}
    for protocol in results.protocols:
        if protocol.masked_first == masked_first:
            row = protocol_text(protocol, ("fill", "masked_first", "precision"))
            by_row.setdefault(row, {})[protocol.fill] = cell(protocol)
    rows = [[row, *(cells[fill] for fill in ALL_FILLS)] for row, cells in by_row.items()]
    return Table(caption, ["ranked by", *map(in_words, ALL_FILLS)], rows)


def _below(results: Results, first: str, second: str, protocol: Protocol) -> bool:
    difference = paired_difference(results.auc(first, protocol), results.auc(second, protocol))
    return difference.below == difference.n


def _drops(curves: xr.Dataset) -> dict[str, Any]:
    """The accuracy drop of each fill in per cent, and its levels."""
    drop = accuracy_drop(curves.sel(attribution="gradient"))
    by_fill = {str(fill): drop.sel(fill=fill).values.round(4).tolist() for fill in drop.fill.values}
    return {"masked_fraction": drop.masked_fraction.values.tolist(), **by_fill}


def _order_finding(results: Results) -> str:
    """With which fills the three methods fall in the paper's order."""
    orders: dict[str, list[str]] = {}
    for protocol in drop_protocols(results, signed=True):
        orders.setdefault(order_of_auc(results, METHODS, protocol), []).append(in_words(protocol.fill))
    told = "; ".join(f"{order} with {listed(fills)} fill" for order, fills in orders.items())
    return f"The paper's order of the AUC is SMOOT < SGT < traditional. The order of the means here: {told}."
