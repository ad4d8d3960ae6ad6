"""The table of most reports: a row for each quantity, a column for each method and for each pair of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from smoot_explore.core.choices import METHODS
from smoot_explore.reproduction.document import Table
from smoot_explore.reproduction.statistics import Difference, number, paired_difference, spread
from smoot_explore.reproduction.words import name_of

PAIRS = (("smoot", "sgt"), ("smoot", "traditional"), ("sgt", "traditional"))
SIGNS = "✓ all seeds have the sign of the paper's difference, ✗ none"

Row = list[str]


def by_method(
    caption: str,
    quantities: Mapping[str, pd.DataFrame],
    digits: int = 1,
    published: Mapping[str, Mapping[str, float]] | None = None,
    above: Sequence[Row] = (),
) -> Table:
    """A table of the three methods.

    Parameters
    ----------
    caption
        What was measured, on how many images; that the numbers are of several seeds is added.
    quantities
        Name → a row for each seed, a column for each method.
    digits
        Decimal places.
    published
        How names of quantities begin → the paper's value for each method, which is put below the last of them.
    above
        Rows of text above the others: a cell for the name and each method.
    """
    published = published or {}
    n_seeds = {len(quantity) for quantity in quantities.values()}
    rows = [[*row, *[""] * len(PAIRS)] for row in above]
    last = {key: name for name in quantities for key in published if name.startswith(key)}
    for name, measured in quantities.items():
        papers = next((values for key, values in published.items() if name.startswith(key)), None)
        pairs = [paired_difference(measured[a], measured[b]) for a, b in PAIRS]
        expected = [None if papers is None else papers[a] - papers[b] for a, b in PAIRS]
        marked = [d.text(digits) + sign(d, e) for d, e in zip(pairs, expected, strict=True)]
        rows.append([name, *(spread(measured[method]).text(digits) for method in METHODS), *marked])
        rows += [paper_row(key, published[key], digits) for key, at in last.items() if at == name]
    seeds = "".join(
        f"; mean ± standard deviation of {n} seeds, differences seed by seed" for n in n_seeds if n > 1
    )
    signs = f"; {SIGNS}" if published and n_seeds != {1} else ""
    return Table(f"{caption}{seeds or '; one seed, which decides nothing'}{signs}", heads(), rows)


def heads() -> Row:
    """The heads of the columns."""
    return ["", *map(name_of, METHODS), *(f"{name_of(a)} − {name_of(b)}" for a, b in PAIRS)]


def paper_row(name: str, papers: Mapping[str, float], digits: int) -> Row:
    """The paper's values of a quantity, and their differences."""
    differences = (number(papers[a] - papers[b], digits) for a, b in PAIRS)
    return [f"the paper, {name}", *(number(papers[method], digits) for method in METHODS), *differences]


def sign(difference: Difference, expected: float | None) -> str:
    """Whether all seeds have the expected sign, or none; nothing where that cannot be said."""
    if expected is None or round(expected, 6) == 0 or difference.n == 1:
        return ""
    agreeing, opposite = difference.above, difference.below
    if expected < 0:
        agreeing, opposite = opposite, agreeing
    return " ✓" if agreeing == difference.n else " ✗" if opposite == difference.n else ""
