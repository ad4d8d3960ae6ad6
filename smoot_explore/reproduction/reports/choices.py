"""Reports on what the paper leaves open: one choice at a time, and where k ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from smoot_explore import views
from smoot_explore.core.training import count_steps
from smoot_explore.reproduction import paper
from smoot_explore.reproduction.circumstances import what_was_run
from smoot_explore.reproduction.document import Part, Picture, Table
from smoot_explore.reproduction.experiments import MAIN_FILLS, Experiment
from smoot_explore.reproduction.results import Results, order_of_means
from smoot_explore.reproduction.runner import Runner, Use
from smoot_explore.reproduction.statistics import Spread, paired_difference, spread
from smoot_explore.reproduction.words import k_text, listed, name_of, protocol_text, upper_first
from smoot_explore.schema import start_config

_PUBLISHED = paper.RESULTS["fashion-mnist"]
_PUBLISHED_K = _PUBLISHED["smoot"].k


def choices_report(runner: Runner, use: Use) -> Iterator[Part]:
    results = Results(runner, use.of, use.curves)
    accuracy = results["test_accuracy"]
    drops = [*results.drops("signed"), *results.drops("magnitude")]
    shown = [p for p in drops if p.fill in MAIN_FILLS]
    rows = [
        [
            _described(use.of, variant),
            k_text(results.k(variant)),
            spread(accuracy[variant]).text(),
            *(spread(results.auc(p)[variant]).text(1) for p in shown),
        ]
        for variant in results.variants
    ]
    rows += [
        [f"paper, {name_of(m)}, {paper.EPOCHS} epochs", k_text(row.k), f"{row.accuracy:.2f}",
         f"{row.auc:.2f} (protocol not named)", *["–"] * (len(shown) - 1)]
        for m, row in _PUBLISHED.items()
    ]  # fmt: skip
    aucs = [f"AUC {p.fill}, {p.ranking}" for p in shown]
    yield {"runs": results.numbers()}
    yield what_was_run(runner, use.of)
    yield "## Table"
    yield Table(
        f"k in pixels after the last epoch; AUC: {protocol_text(shown[0], ('fill', 'ranking'))}; mean ± standard "
        f"deviation of {len(results.seeds)} seeds. SMOOT where nothing else is said",
        ["variant", "k min / median / max", "accuracy %", *aucs],
        rows,
    )
    yield "## Each choice against the default, seed by seed"
    compared = [(results["k_largest"] - results["k_smallest"], 0), (accuracy, 2)]
    compared += [(results.auc(p), 1) for p in shown]
    yield Table(
        "Paired differences, mean ± standard deviation over the seeds",
        ["variant − default", "range of k (pixels)", "accuracy", *aucs],
        [
            [name_of(v), *(paired_difference(q[v], q["default"]).text(digits) for q, digits in compared)]
            for v in results.variants[1:]
        ],
    )
    yield _range_finding(results)
    yield _order_finding(results, shown)


def k_spread_report(runner: Runner, use: Use) -> Iterator[Part]:
    experiment = use.of
    results = Results(runner, experiment)
    records = [trial.run.record() for trial in results.trials]
    first, epochs = results.trials[0], records[0].epoch.values
    shown = [int(e) for e in epochs if e in (1, 10, 25, 50, 75, paper.EPOCHS, epochs[-1])]
    rows, findings = [], []
    for variant in results.variants:
        of_variant = [
            record for trial, record in zip(results.trials, records, strict=True) if trial.variant == variant
        ]
        for epoch in shown:
            ks = [record.k.sel(epoch=epoch).values for record in of_variant]
            parts = [spread(float(pick(k)) for k in ks) for pick in (np.min, np.median, np.max)]
            at_bounds = spread(_at_a_bound(k, record) for k, record in zip(ks, of_variant, strict=True))
            rows.append([_described(experiment, variant), str(epoch), k_text(parts), at_bounds.text(1)])
        findings.append(_spread_finding(name_of(variant), parts))
    yield {"runs": results.numbers()}
    yield what_was_run(runner, experiment)
    yield "## Table"
    yield Table(
        f"k in pixels of {experiment.n_pixels} over the training images, mean ± standard deviation of "
        f"{len(results.seeds)} seeds; the last column: images whose k lies at a bound, in per cent",
        ["variant", "epoch", "k min / median / max", "at a bound %"],
        [*rows, ["paper, SMOOT", str(paper.EPOCHS), k_text(_PUBLISHED_K), "–"]],
    )
    yield from findings
    if runner.scale != "paper":
        yield _spread_caution(runner, experiment)
    yield Picture(
        "trajectories",
        views.k_spread(records[0]),
        f"k over the epochs, {name_of(first.variant)}, seed {first.seed}",
    )


def _described(experiment: Experiment, variant: str) -> str:
    """The variant's name, with the settings that set it apart."""
    changes = ", ".join(f"{n}={v}" for n, v in experiment.variants[variant].items() if n != "method")
    return name_of(variant) + (f" ({changes})" if changes else "")


def _range_finding(results: Results) -> str:
    """Which variants already left the range of k that the paper ends with; no k is carried forward in time."""
    low, _, high = _PUBLISHED_K
    moving = [v for v, method in results["method"].iloc[0].items() if method == "smoot"]
    beyond = [v for v in moving if (k := results.k(v))[0].mean < low or k[2].mean > high]
    within = [v for v in moving if v not in beyond]
    epochs = int(results["epochs"][moving[0]].iloc[0])
    is_over = epochs >= paper.EPOCHS
    told = []
    if beyond:
        told.append(
            f"After {epochs} of the paper's {paper.EPOCHS} epochs, k has left the paper's final range ({low} … {high}) "
            f"with: {listed(list(map(name_of, beyond)))}. "
            + ("These do not fit." if is_over else "These fit only if k comes back.")
        )
    if within:
        decided = "" if is_over else ", so neither confirmed nor excluded"
        told.append(f"Within it{decided}: {listed(list(map(name_of, within)))}.")
    return " ".join(told)


def _order_finding(results: Results, shown: Sequence[Any]) -> str:
    """Under which protocols training by either ranking gives the paper's order of the AUC."""
    told = []
    for name, variants in (
        ("signed", ("default", "sgt", "traditional")),
        ("magnitude", ("magnitude", "sgt-magnitude", "traditional")),
    ):
        wanted = " < ".join(map(name_of, variants))
        fitting = [
            f"{p.fill} fill, {p.ranking}" for p in shown if order_of_means(results.auc(p), variants) == wanted
        ]
        told.append(f"Training by {name} gradient: {'; '.join(fitting) if fitting else 'none'}.")
    return (
        "The paper's order of the AUC (SMOOT < SGT < traditional) appears in the means under these protocols. "
        f"{' '.join(told)} Means over few seeds can fall into an order by chance, and no protocol is chosen by it."
    )


def _at_a_bound(k: np.ndarray, record: xr.Dataset) -> float:
    """Share of the images whose k lies at a bound, in per cent; clipped k are the bounds rounded to float32."""
    start, n_pixels = start_config(record), record.attrs["n_pixels"]
    bounds = [start[name] * n_pixels for name in ("k_min", "k_max")]
    return 100 * float(np.isclose(k[:, None], bounds, rtol=1e-6).any(1).mean())


def _spread_caution(runner: Runner, experiment: Experiment) -> str:
    """What sets the comparison with the paper apart at a smaller scale."""
    images = [runner.size(experiment).train or experiment.full[0], experiment.full[0]]
    variant = next(iter(experiment.variants))
    steps = [
        count_steps(n, experiment.config(variant, scale, 0).batch_size)
        for n, scale in zip(images, (runner.scale, "paper"), strict=True)
    ]
    return (
        f"Here are {images[0]:,} images, in the paper {images[1]:,}: among fewer, the smallest and the largest k are "
        f"less extreme. The model takes {steps[0]} steps between two visits of an image, the paper's {steps[1]}. So "
        "sizes can be compared, digits cannot."
    )


def _spread_finding(name: str, ends: Sequence[Spread]) -> str:
    smallest, median, largest = (part.mean for part in ends)
    papers = _PUBLISHED_K[2] - _PUBLISHED_K[0]
    return (
        f"{upper_first(name)}: k ends in a range of {largest - smallest:.0f} pixels, "
        f"{(largest - smallest) / papers:.2f} times the paper's {papers}; the median is {median:.0f}, the paper's "
        f"{_PUBLISHED_K[1]}."
    )
