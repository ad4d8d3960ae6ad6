"""Reports on what the paper leaves open: one choice at a time, and where k ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from smoot_explore.reproduction import paper
from smoot_explore.reproduction.document import Document, Picture, Table
from smoot_explore.reproduction.experiments import MAIN_FILLS, Experiment
from smoot_explore.reproduction.runner import Runner
from smoot_explore.reproduction.sections import (
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
from smoot_explore.reproduction.statistics import Spread, paired_difference, spread
from smoot_explore.reproduction.targets import Target
from smoot_explore.runs.compare import Protocol
from smoot_explore.schema import start_config
from smoot_explore.views import figures


def choices_report(document: Document, target: Target, runner: Runner) -> None:
    (experiment,) = target.experiments
    results = Results(runner.trials(experiment), ("test", "magnitude"))
    document.numbers["runs"] = results.numbers()
    signed, magnitude = ({p.fill: p for p in drop_protocols(results, s)} for s in (True, False))
    published = paper.RESULTS["fashion-mnist"]
    shown = [signed[fill] for fill in MAIN_FILLS] + [magnitude[fill] for fill in MAIN_FILLS]
    rows = [
        [
            f"{name_of(variant)}{_changed(experiment, variant)}",
            k_text(results.k(variant)),
            spread(results.accuracy(variant).values()).text(),
            *(spread(results.auc(variant, p).values()).text(1) for p in shown),
        ]
        for variant in results.variants
    ]
    rows += [
        [f"paper, {name_of(m)}, {paper.EPOCHS} epochs", " / ".join(map(str, row.k)), f"{row.accuracy:.2f}",
         f"{row.auc:.2f} (protocol not named)", *["–"] * (len(shown) - 1)]
        for m, row in published.items()
    ]  # fmt: skip
    heads = ["variant", "k min / median / max", "accuracy %"]
    heads += [f"AUC {p.fill}, {p.ranking}" for p in shown]
    protocol = protocol_text(shown[0], ("fill", "ranking"))
    document.parts += [
        "## What was run\n\n" + what_was_run(runner, experiment),
        "## Table",
        Table(
            f"k in pixels after the last epoch; AUC: {protocol}; mean ± standard deviation of {results.n_seeds} seeds. "
            "SMOOT where nothing else is said",
            heads,
            rows,
        ),
        "## Each choice against the default, seed by seed",
        _choices_differences(results, shown),
        _choices_finding(results),
        _choices_order_finding(results, shown),
    ]


def k_spread_report(document: Document, target: Target, runner: Runner) -> None:
    (experiment,) = target.experiments
    trials = runner.trials(experiment)
    results = Results(trials)
    document.numbers["runs"] = results.numbers()
    published = paper.RESULTS["fashion-mnist"]["smoot"].k
    records = {(t.variant, t.seed): t.run.record() for t in trials}
    epochs = next(iter(records.values())).epoch.values
    shown = [int(e) for e in epochs if e in (1, 10, 25, 50, 75, paper.EPOCHS, epochs[-1])]
    rows, ends = [], {}
    for variant in results.variants:
        of_variant = [record for (name, _), record in records.items() if name == variant]
        for epoch in shown:
            ks = [record.k.sel(epoch=epoch).values for record in of_variant]
            parts = [spread(float(pick(k)) for k in ks) for pick in (np.min, np.median, np.max)]
            at_bounds = [_at_a_bound(k, record) for k, record in zip(ks, of_variant, strict=True)]
            rows.append([f"{name_of(variant)}{_changed(experiment, variant)}", str(epoch), k_text(parts),
                         spread(at_bounds).text(1)])  # fmt: skip
        ends[variant] = parts
    rows.append(["paper, SMOOT", str(paper.EPOCHS), " / ".join(map(str, published)), "–"])
    first = trials[0]
    document.parts += [
        "## What was run\n\n" + what_was_run(runner, experiment),
        "## Table",
        Table(
            f"k in pixels of {experiment.n_pixels} over the training images, mean ± standard deviation of "
            f"{results.n_seeds} seeds; the last column: images whose k lies at a bound, in per cent",
            ["variant", "epoch", "k min / median / max", "at a bound %"],
            rows,
        ),
        *(_k_spread_finding(name_of(variant), parts, published) for variant, parts in ends.items()),
        *_k_spread_caution(runner, experiment),
        Picture(
            "trajectories",
            figures.k_trajectories_figure(records[first.variant, first.seed]),
            f"k over the epochs, {name_of(first.variant)}, seed {first.seed}",
        ),
    ]


def _changed(experiment: Experiment, variant: str) -> str:
    changes = {n: v for n, v in experiment.variants[variant].items() if n != "method"}
    return f" ({', '.join(f'{n}={v}' for n, v in changes.items())})" if changes else ""


def _choices_differences(results: Results, shown: Sequence[Protocol]) -> Table:
    rows = []
    for variant in results.variants[1:]:
        width = [results.value(v, lambda row: row.k_max - row.k_min) for v in (variant, results.variants[0])]
        rows.append([
            name_of(variant),
            paired_difference(*width).text(0),
            paired_difference(results.accuracy(variant), results.accuracy("default")).text(),
            *(auc_difference(results, variant, "default", p) for p in shown),
        ])  # fmt: skip
    heads = [
        "variant − default",
        "range of k (pixels)",
        "accuracy",
        *(f"AUC {p.fill}, {p.ranking}" for p in shown),
    ]
    return Table("Paired differences, mean ± standard deviation over the seeds", heads, rows)


def _choices_finding(results: Results) -> str:
    """Which variants already left the range of k that the paper ends with; no k is carried forward in time."""
    low, _, high = paper.RESULTS["fashion-mnist"]["smoot"].k
    moving = [v for v in results.variants if next(iter(results.rows[v].values())).method == "smoot"]
    beyond = [v for v in moving if (k := results.k(v))[0].mean < low or k[2].mean > high]
    within = [v for v in moving if v not in beyond]
    epochs = next(iter(results.rows[moving[0]].values())).epochs
    told = []
    if beyond:
        fits = "These do not fit." if epochs >= paper.EPOCHS else "These fit only if k comes back."
        told.append(
            f"After {epochs} of the paper's {paper.EPOCHS} epochs, k has left the paper's final range ({low} … {high}) "
            f"with: {listed([name_of(v) for v in beyond])}. {fits}"
        )
    if within:
        decided = "" if epochs >= paper.EPOCHS else ", so neither confirmed nor excluded"
        told.append(f"Within it{decided}: {listed([name_of(v) for v in within])}.")
    return " ".join(told)


def _choices_order_finding(results: Results, shown: Sequence[Protocol]) -> str:
    """Under which protocols training by either ranking gives the paper's order of the AUC."""
    told = []
    for name, variants in (
        ("signed", ("default", "sgt", "traditional")),
        ("magnitude", ("magnitude", "sgt-magnitude", "traditional")),
    ):
        wanted = " < ".join(map(name_of, variants))
        fitting = [
            f"{p.fill} fill, {p.ranking}" for p in shown if order_of_auc(results, variants, p) == wanted
        ]
        told.append(f"training by {name} gradient: {'; '.join(fitting) if fitting else 'none'}")
    return (
        "The paper's order of the AUC (SMOOT < SGT < traditional) appears in the means under these protocols. "
        f"{told[0][0].upper()}{told[0][1:]}. {told[1][0].upper()}{told[1][1:]}. Means over few seeds can fall into an "
        "order by chance, and no protocol is chosen by it."
    )


def _at_a_bound(k: np.ndarray, record: xr.Dataset) -> float:
    """Share of the images whose k lies at a bound, in per cent; clipped k are the bounds rounded to float32."""
    start, n_pixels = start_config(record), record.attrs["n_pixels"]
    bounds = [start[name] * n_pixels for name in ("k_min", "k_max")]
    return 100 * float(np.isclose(k[:, None], bounds, rtol=1e-6).any(1).mean())


def _k_spread_caution(runner: Runner, experiment: Experiment) -> list[str]:
    """What sets the comparison with the paper apart at a smaller scale; nothing at the paper's."""
    if runner.scale == "paper":
        return []
    images = [runner.size(experiment).train or experiment.full[0], experiment.full[0]]
    variant = next(iter(experiment.variants))
    steps = [
        -(-n // experiment.config(variant, scale, 0).batch_size)
        for n, scale in zip(images, (runner.scale, "paper"), strict=True)
    ]
    return [
        f"Here are {images[0]:,} images, in the paper {images[1]:,}: among fewer, the smallest and the largest k are "
        f"less extreme. The model takes {steps[0]} steps between two visits of an image, the paper's {steps[1]}. So "
        "sizes can be compared, digits cannot."
    ]


def _k_spread_finding(name: str, ends: Sequence[Spread], published: Sequence[int]) -> str:
    ours = [part.mean for part in ends]
    ratio = (ours[2] - ours[0]) / (published[2] - published[0])
    return (
        f"{name[0].upper()}{name[1:]}: k ends in a range of {ours[2] - ours[0]:.0f} pixels, {ratio:.2f} times the "
        f"paper's {published[2] - published[0]}; the median is {ours[1]:.0f}, the paper's {published[1]}."
    )
