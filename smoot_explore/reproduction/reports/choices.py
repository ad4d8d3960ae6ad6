"""Reports on what the paper leaves open: one choice at a time, and where k ends."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from smoot_explore import views
from smoot_explore.core.rules import MAGNITUDE_BOUNDS
from smoot_explore.core.training import count_steps
from smoot_explore.reproduction import paper
from smoot_explore.reproduction.circumstances import what_was_run
from smoot_explore.reproduction.document import Part, Picture, Table
from smoot_explore.reproduction.experiments import MAIN_FILLS, Experiment
from smoot_explore.reproduction.results import Results
from smoot_explore.reproduction.runner import Runner, Use
from smoot_explore.reproduction.statistics import paired_difference, spread
from smoot_explore.reproduction.words import k_text, name_of, protocol_text
from smoot_explore.schema import start_config
from smoot_explore.views.palette import in_words

_PUBLISHED = paper.RESULTS["fashion-mnist"]
_PUBLISHED_K = _PUBLISHED["smoot"].k
_PRINTED = {
    "k-spread": ("the paper, Fashion-MNIST", {paper.EPOCHS: _PUBLISHED_K}),
    "two-rules": ("printed by the precursor's code", paper.PRECURSOR_K),
}
_SHOWN_EPOCHS = (1, 3, 10, 20, 30, 50, 75, 100)


def choices_report(runner: Runner, use: Use) -> Iterator[Part]:
    results = Results(runner, use)
    accuracy = results["test_accuracy"]
    drops = [*results.drops("signed"), *results.drops("magnitude")]
    shown = [p for p in drops if p.fill in MAIN_FILLS]
    rows = [
        [
            _described(results.experiment, variant),
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
    yield what_was_run(runner, results.experiment)
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


def k_spread_report(runner: Runner, use: Use) -> Iterator[Part]:
    results = Results(runner, use)
    experiment = results.experiment
    source, printed = _PRINTED[experiment.name]
    records = {(trial.variant, trial.seed): trial.run.record() for trial in results.trials}
    last = int(results["epochs"].iloc[0, 0])
    rows = []
    for variant in results.variants:
        of_variant = [records[variant, seed] for seed in results.seeds]
        for epoch in sorted({e for e in _SHOWN_EPOCHS if e < last} | {last}):
            ks = [record.k.sel(epoch=epoch).values for record in of_variant]
            parts = [spread(float(pick(k)) for k in ks) for pick in (np.min, np.median, np.max)]
            at_bounds = spread(map(_at_a_bound, ks, of_variant))
            rows.append([_described(experiment, variant), str(epoch), k_text(parts), at_bounds.text(1)])
    rows += [[source, str(epoch), k_text(k), "–"] for epoch, k in printed.items()]
    yield {"runs": results.numbers()}
    yield what_was_run(runner, experiment)
    yield "## Table"
    yield Table(
        f"k in pixels of {experiment.n_pixels:,} over the training images, mean ± standard deviation of "
        f"{len(results.seeds)} seeds; the last column: images whose k lies at a bound, in per cent",
        ["variant", "epoch", "k min / median / max", "at a bound %"],
        rows,
    )
    yield _steps_between_visits(runner, experiment)
    drops = results.drops("signed")
    yield Table(
        "Test accuracy"
        + (f", and AUC of the accuracy drop: {protocol_text(drops[0], ('fill',))}" if drops else ""),
        ["variant", "accuracy %", *(f"AUC {in_words(p.fill)}" for p in drops)],
        [
            [
                name_of(v),
                spread(results["test_accuracy"][v]).text(),
                *(spread(results.auc(p)[v]).text(1) for p in drops),
            ]
            for v in results.variants
        ],
    )
    for variant in results.variants:
        seed = results.seeds[0]
        yield Picture(
            f"trajectories-{variant}",
            views.k_spread(records[variant, seed]),
            f"k over the epochs, {name_of(variant)}, seed {seed}",
        )


def _described(experiment: Experiment, variant: str) -> str:
    """The variant's name, with the settings that set it apart."""
    changes = ", ".join(f"{n}={v}" for n, v in experiment.variants[variant].items() if n != "method")
    return name_of(variant) + (f" ({changes})" if changes else "")


def _at_a_bound(k: np.ndarray, record: xr.Dataset) -> float:
    """Share of the images whose k lies at a bound, in per cent; clipped k are the bounds rounded to float32."""
    start, n_pixels = start_config(record), record.attrs["n_pixels"]
    shares = MAGNITUDE_BOUNDS if start["k_rule"] == "magnitude" else (start["k_min"], start["k_max"])
    bounds = [share * n_pixels for share in shares]
    return 100 * float(np.isclose(k[:, None], bounds, rtol=1e-6).any(1).mean())


def _steps_between_visits(runner: Runner, experiment: Experiment) -> str:
    """What sets the comparison with the printed k apart at a smaller scale."""
    variant = next(iter(experiment.variants))
    images = {
        scale: experiment.scales[scale].train or experiment.full[0] for scale in (runner.scale, "paper")
    }
    steps = {s: count_steps(n, experiment.config(variant, s, 0).batch_size) for s, n in images.items()}
    return (
        f"{images[runner.scale]:,} images and {steps[runner.scale]} steps between two visits of an image; at scale "
        f"paper {images['paper']:,} and {steps['paper']}. Among fewer images the smallest and the largest k are less "
        "extreme."
    )
