"""Spread over seeds, and differences between methods that share a seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pandas as pd


class Spread(NamedTuple):
    """Mean and sample standard deviation over seeds."""

    mean: float
    sd: float  # NaN for one value: one value has no spread
    n: int

    def text(self, digits: int = 2) -> str:
        """``"12.34 ± 0.56"``, or the mean alone where there is no spread to tell."""
        mean = number(self.mean, digits)
        constant = self.sd == 0 and self.mean.is_integer()
        return mean if math.isnan(self.sd) or constant else f"{mean} ± {number(self.sd, digits)}"


class Difference(NamedTuple):
    """What one method has more than another, seed by seed."""

    mean: float
    sd: float  # of the differences, not of the methods
    n: int
    below: int  # seeds in which the difference is negative
    above: int

    def text(self, digits: int = 2) -> str:
        """``"−1.20 ± 0.30 (3 of 3 below 0)"``: how many seeds are on the mean's side."""
        if self.below == self.above == 0:
            side, count = "equal to", self.n
        else:
            side, count = ("above", self.above) if self.mean > 0 else ("below", self.below)
        sign = "+" if self.mean > 0 else ""
        of_seeds = f" ({count} of {self.n} {side} 0)" if self.n > 1 else ""
        return f"{sign}{Spread(*self[:3]).text(digits)}{of_seeds}"


def spread(values: Iterable[float]) -> Spread:
    """Mean and sample standard deviation (n − 1) of the values of several seeds; NaN when one of them is.

    Examples
    --------
    >>> spread([1.0, 2.0, 3.0])
    Spread(mean=2.0, sd=1.0, n=3)
    """
    series = pd.Series(list(values), dtype=float)
    if series.empty:
        raise ValueError("a mean over seeds needs at least one seed, given none")
    return Spread(float(series.mean(skipna=False)), float(series.std(skipna=False)), len(series))


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Difference:
    """The differences ``first − second`` of each seed. Both start from that seed's initial weights, so that
    what the seed does to both cancels.

    Parameters
    ----------
    first, second
        A value for each seed, of the same seeds; also a `pandas.Series`.

    Examples
    --------
    >>> paired_difference({0: 1.0, 1: 2.0}, {0: 3.0, 1: 3.0}).text(1)
    '−1.5 ± 0.7 (2 of 2 below 0)'
    """
    one, other = pd.Series(first), pd.Series(second)
    if set(one.index) != set(other.index):
        raise ValueError(
            f"paired methods need the same seeds, given {sorted(one.index)} and {sorted(other.index)}"
        )
    differences = one - other
    return Difference(*spread(differences), int((differences < 0).sum()), int((differences > 0).sum()))


def number(value: float, digits: int = 2) -> str:
    """A number for a table, with a proper minus; an en dash for NaN."""
    if math.isnan(value):
        return "–"
    rounded = round(float(value), digits) + 0.0  # no −0.00; NumPy's own rounding is not exact
    return f"{rounded:,.{digits}f}".replace("-", "−")
