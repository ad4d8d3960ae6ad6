"""Reports on class I and class II: Figure 1 and the share of class II."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from smoot_explore.curves import image_class, peak_fraction
from smoot_explore.reproduction import paper
from smoot_explore.reproduction.document import Document, Picture, Table
from smoot_explore.reproduction.experiments import (
    MAIN_FILLS,
)
from smoot_explore.reproduction.laboratory import Laboratory, Trial
from smoot_explore.reproduction.recipes import Recipe
from smoot_explore.reproduction.sections import (
    Results,
    what_was_run,
)
from smoot_explore.reproduction.statistics import spread
from smoot_explore.views import figures

TOLERANCES = (0.01, 0.1)


_CURVES_OF = {"signed": "test", "magnitude": "magnitude"}


def figure1_report(document: Document, recipe: Recipe, laboratory: Laboratory) -> None:
    (experiment,) = recipe.experiments
    trials = laboratory.trials(experiment)
    document.parts.append("## What was run\n\n" + what_was_run(laboratory, experiment))
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
    document.parts.append(_class_table(trials))
    document.numbers["runs"] = Results(trials).numbers()


def class_ii_report(document: Document, recipe: Recipe, laboratory: Laboratory) -> None:
    (experiment,) = recipe.experiments
    trials = laboratory.trials(experiment)
    results = Results(trials)
    accuracy = spread(results.accuracy("traditional").values())
    table = _class_table(trials)
    means = _class_shares(trials)
    values = [spread(shares).mean for shares in means.values()]
    near = [_class_protocol(key) for key, shares in means.items() if _covers(shares, paper.CLASS_II_SHARE)]
    document.numbers["runs"] = results.numbers()
    document.numbers["class_ii_shares"] = {_class_protocol(key): shares for key, shares in means.items()}
    document.parts += [
        "## What was run\n\n" + what_was_run(laboratory, experiment),
        "## Table",
        table,
        f"Test accuracy {accuracy.text()} %. Over these protocols the share of class II lies between {min(values):.0f} "
        f"and {max(values):.0f} %. The paper's {paper.CLASS_II_SHARE:.0f} % "
        + (
            f"lies within the seeds' range of: {'; '.join(near)}."
            if near
            else "is within the seeds' range of none of them."
        ),
        Picture("curves", figures.masking_curves_figure(_one(trials[0].run.curves(), "black")),
                f"Masking curves of both classes, seed {trials[0].seed}"),
    ]  # fmt: skip


def _class_table(trials: Sequence[Trial]) -> Table:
    rows = []
    for name, fill in _class_settings():
        cells = [f"{name}, {fill}"]
        measured = [_one(trial.run.curves(_CURVES_OF[name]), fill) for trial in trials]
        for tolerance in TOLERANCES:
            members = [(image_class(curves, tolerance) == "II").values for curves in measured]
            cells.append(spread(100 * m.mean() for m in members).text(1))
        right = [curves.correct.isel(masked_fraction=0).values for curves in measured]
        members = [(image_class(curves, TOLERANCES[0]) == "II").values for curves in measured]
        for group in (right, [~r for r in right]):
            cells.append(
                spread(
                    100 * m[g].mean() if g.any() else np.nan for m, g in zip(members, group, strict=True)
                ).text(1)
            )
        peaks = [peak_fraction(curves).values[m] for curves, m in zip(measured, members, strict=True)]
        cells.append(spread(100 * (p <= 0.5).mean() if len(p) else np.nan for p in peaks).text(1))
        rows.append(cells)
    heads = ["ranking, fill", *(f"class II %, tolerance {t:g}" for t in TOLERANCES), "of the rightly classified %",
             "of the wrongly classified %", "peak at or before half of the pixels %"]  # fmt: skip
    n = trials[0].run.curves().sizes["image"]
    caption = (
        f"Share of class II: gradient, highest first, float32, {n:,} test images; mean ± standard deviation of "
        f"{len(trials)} seeds. The last three columns: tolerance {TOLERANCES[0]:g}; the last one is a share of class II"
    )
    return Table(caption, heads, rows)


def _class_settings() -> list[tuple[str, str]]:
    return [(ranking, fill) for ranking in _CURVES_OF for fill in MAIN_FILLS]


def _class_shares(trials: Sequence[Trial]) -> dict[tuple[str, str, float], list[float]]:
    return {
        (ranking, fill, tolerance): [
            100 * float((image_class(_one(t.run.curves(_CURVES_OF[ranking]), fill), tolerance) == "II").mean())
            for t in trials
        ]
        for ranking, fill in _class_settings()
        for tolerance in TOLERANCES
    }  # fmt: skip


def _class_protocol(key: tuple[str, str, float]) -> str:
    return f"{key[0]}, {key[1]} fill, tolerance {key[2]:g}"


def _covers(values: Sequence[float], value: float) -> bool:
    return min(values) <= value <= max(values)


def _one(curves: xr.Dataset, fill: str) -> xr.Dataset:
    """The curves of the gradient with one fill."""
    return curves.sel({"method": "gradient", "fill": fill})
