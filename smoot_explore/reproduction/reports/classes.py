"""Reports on class I and class II: Figure 1 and the share of class II."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from smoot_explore import views
from smoot_explore.core.classes import image_class, peak_fraction
from smoot_explore.reproduction import paper
from smoot_explore.reproduction.circumstances import what_was_run
from smoot_explore.reproduction.document import Part, Picture, Table
from smoot_explore.reproduction.experiments import MAIN_FILLS
from smoot_explore.reproduction.results import Results
from smoot_explore.reproduction.runner import Runner, Use
from smoot_explore.reproduction.statistics import spread

TOLERANCES = (0.01, 0.1)
_BY_TOLERANCE = {f"class II %, tolerance {tolerance:g}": tolerance for tolerance in TOLERANCES}
_CURVES_OF = {"signed": "test", "magnitude": "magnitude"}


def figure1_report(runner: Runner, use: Use) -> Iterator[Part]:
    results = Results(runner, use)
    first = results.trials[0]
    yield what_was_run(runner, results.experiment)
    for ranking, fill in (("signed", "black"), ("magnitude", "mean")):
        motive = views.masking_curves(_one(first.run.curves(_CURVES_OF[ranking]), fill))
        yield Picture(f"{ranking}-{fill}", motive, f"{ranking} gradient, {fill} fill, seed {first.seed}")
    yield (
        "Both pictures show the same model: which images are of class II, and how many, depends on ranking and fill. "
        "The target `class-ii` measures by how much."
    )
    yield _class_table(results, _class_shares(results))
    yield {"runs": results.numbers()}


def class_ii_report(runner: Runner, use: Use) -> Iterator[Part]:
    results = Results(runner, use)
    shares = _class_shares(results)
    by_protocol = {
        f"{ranking}, {fill} fill, tolerance {tolerance:g}": measured[head]
        for (ranking, fill), measured in shares.groupby(["ranking", "fill"], sort=False)
        for head, tolerance in _BY_TOLERANCE.items()
    }
    means = [spread(values).mean for values in by_protocol.values()]
    near = [name for name, s in by_protocol.items() if s.min() <= paper.CLASS_II_SHARE <= s.max()]
    within = "is within the seeds' range of none of them"
    if near:
        within = f"lies within the seeds' range of: {'; '.join(near)}"
    first = results.trials[0]
    yield {"runs": results.numbers(), "class_ii_shares": {n: list(s) for n, s in by_protocol.items()}}
    yield what_was_run(runner, results.experiment)
    yield "## Table"
    yield _class_table(results, shares)
    yield (
        f"Test accuracy {spread(results['test_accuracy']['traditional']).text()} %. Over these protocols the share of "
        f"class II lies between {min(means):.0f} and {max(means):.0f} %. The paper's {paper.CLASS_II_SHARE:.0f} % "
        f"{within}."
    )
    motive = views.masking_curves(_one(first.run.curves(), "black"))
    yield Picture("curves", motive, f"Masking curves of both classes, seed {first.seed}")


def _class_shares(results: Results) -> pd.DataFrame:
    """Shares of class II in per cent, a row for each ranking, fill and seed; NaN of no images."""
    rows = []
    for ranking, name in _CURVES_OF.items():
        for fill in MAIN_FILLS:
            for trial in results.trials:
                curves = _one(trial.run.curves(name), fill)
                members = {t: (image_class(curves, t) == "II").values for t in TOLERANCES}
                chosen = members[TOLERANCES[0]]
                right = curves.correct.isel(masked_fraction=0).values
                rows.append({
                    "ranking": ranking,
                    "fill": fill,
                    **{head: _per_cent(members[tolerance]) for head, tolerance in _BY_TOLERANCE.items()},
                    "of the rightly classified %": _per_cent(chosen[right]),
                    "of the wrongly classified %": _per_cent(chosen[~right]),
                    "peak at or before half of the pixels %": _per_cent(peak_fraction(curves).values[chosen] <= 0.5),
                })  # fmt: skip
    return pd.DataFrame(rows)


def _per_cent(members: np.ndarray) -> float:
    return 100 * float(members.mean()) if len(members) else np.nan


def _class_table(results: Results, shares: pd.DataFrame) -> Table:
    heads = [head for head in shares if head not in ("ranking", "fill")]
    rows = [
        [f"{ranking}, {fill}", *(spread(measured[head]).text(1) for head in heads)]
        for (ranking, fill), measured in shares.groupby(["ranking", "fill"], sort=False)
    ]
    n = results.trials[0].run.curves().sizes["image"]
    caption = (
        f"Share of class II: gradient, highest first, float32, {n:,} test images; mean ± standard deviation of "
        f"{len(results.trials)} seeds. The last three columns: tolerance {TOLERANCES[0]:g}; the last one is a share of "
        "class II"
    )
    return Table(caption, ["ranking, fill", *heads], rows)


def _one(curves: xr.Dataset, fill: str) -> xr.Dataset:
    """The curves of the gradient with one fill."""
    return curves.sel(attribution="gradient", fill=fill)
