"""Reports on class I and class II: Figure 1 and the share of class II."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from smoot_explore.core.classes import image_class, peak_fraction
from smoot_explore.reproduction import paper
from smoot_explore.reproduction.document import Document, Picture, Table
from smoot_explore.reproduction.experiments import MAIN_FILLS
from smoot_explore.reproduction.runner import Runner, Trial
from smoot_explore.reproduction.sections import Results, what_was_run
from smoot_explore.reproduction.statistics import spread
from smoot_explore.reproduction.targets import Target
from smoot_explore.views import figures

TOLERANCES = (0.01, 0.1)


_CURVES_OF = {"signed": "test", "magnitude": "magnitude"}


def figure1_report(document: Document, target: Target, runner: Runner) -> None:
    (experiment,) = target.experiments
    trials = runner.trials(experiment)
    document.parts.append("## What was run\n\n" + what_was_run(runner, experiment))
    for name, fill in (("test", "black"), ("magnitude", "mean")):
        trial = trials[0]
        curves = _one(trial.run.curves(name), fill)
        figure = figures.masking_curves_figure(curves)
        ranking = curves.attrs["ranking"]
        document.parts.append(
            Picture(f"{ranking}-{fill}", figure, f"{ranking} gradient, {fill} fill, seed {trial.seed}")
        )
    document.parts.append(
        "Both pictures show the same model: which images are of class II, and how many, depends on ranking and fill. "
        "The target `class-ii` measures by how much."
    )
    document.parts.append(_class_table(trials, _class_shares(trials)))
    document.numbers["runs"] = Results(trials).numbers()


def class_ii_report(document: Document, target: Target, runner: Runner) -> None:
    (experiment,) = target.experiments
    trials = runner.trials(experiment)
    results = Results(trials)
    accuracy = spread(results.accuracy("traditional").values())
    shares = _class_shares(trials)
    by_protocol = {
        f"{s.ranking}, {s.fill} fill, tolerance {tolerance:g}": values
        for s in shares
        for tolerance, values in s.by_tolerance.items()
    }
    means = [spread(values).mean for values in by_protocol.values()]
    near = [name for name, values in by_protocol.items() if _covers(values, paper.CLASS_II_SHARE)]
    document.numbers["runs"] = results.numbers()
    document.numbers["class_ii_shares"] = by_protocol
    document.parts += [
        "## What was run\n\n" + what_was_run(runner, experiment),
        "## Table",
        _class_table(trials, shares),
        f"Test accuracy {accuracy.text()} %. Over these protocols the share of class II lies between {min(means):.0f} "
        f"and {max(means):.0f} %. The paper's {paper.CLASS_II_SHARE:.0f} % "
        + (
            f"lies within the seeds' range of: {'; '.join(near)}."
            if near
            else "is within the seeds' range of none of them."
        ),
        Picture("curves", figures.masking_curves_figure(_one(trials[0].run.curves(), "black")),
                f"Masking curves of both classes, seed {trials[0].seed}"),
    ]  # fmt: skip


class _Shares(NamedTuple):
    """Shares of class II in per cent under one ranking and fill; a value for each seed."""

    ranking: str
    fill: str
    by_tolerance: dict[float, list[float]]
    of_right: list[float]  # among the images that are classified rightly; NaN where there are none
    of_wrong: list[float]
    early_peaks: list[float]  # of class II: the peak lies at or before half of the pixels


def _class_shares(trials: Sequence[Trial]) -> list[_Shares]:
    """Shares for each ranking and fill. All but ``by_tolerance`` use the first of `TOLERANCES`."""
    found = []
    for ranking, name in _CURVES_OF.items():
        for fill in MAIN_FILLS:
            shares = _Shares(ranking, fill, {t: [] for t in TOLERANCES}, [], [], [])
            for trial in trials:
                curves = _one(trial.run.curves(name), fill)
                members = {t: (image_class(curves, t) == "II").values for t in TOLERANCES}
                for tolerance, chosen in members.items():
                    shares.by_tolerance[tolerance].append(_per_cent(chosen))
                chosen = members[TOLERANCES[0]]
                right = curves.correct.isel(masked_fraction=0).values
                shares.of_right.append(_per_cent(chosen[right]))
                shares.of_wrong.append(_per_cent(chosen[~right]))
                shares.early_peaks.append(_per_cent(peak_fraction(curves).values[chosen] <= 0.5))
            found.append(shares)
    return found


def _per_cent(members: np.ndarray) -> float:
    return 100 * float(members.mean()) if len(members) else np.nan


def _class_table(trials: Sequence[Trial], shares: Sequence[_Shares]) -> Table:
    rows = [
        [f"{s.ranking}, {s.fill}",
         *(spread(values).text(1) for values in (*s.by_tolerance.values(), s.of_right, s.of_wrong, s.early_peaks))]
        for s in shares
    ]  # fmt: skip
    heads = ["ranking, fill", *(f"class II %, tolerance {t:g}" for t in TOLERANCES), "of the rightly classified %",
             "of the wrongly classified %", "peak at or before half of the pixels %"]  # fmt: skip
    n = trials[0].run.curves().sizes["image"]
    caption = (
        f"Share of class II: gradient, highest first, float32, {n:,} test images; mean ± standard deviation of "
        f"{len(trials)} seeds. The last three columns: tolerance {TOLERANCES[0]:g}; the last one is a share of class II"
    )
    return Table(caption, heads, rows)


def _covers(values: Sequence[float], value: float) -> bool:
    return min(values) <= value <= max(values)


def _one(curves: xr.Dataset, fill: str) -> xr.Dataset:
    """The curves of the gradient with one fill."""
    return curves.sel(attribution="gradient", fill=fill)
