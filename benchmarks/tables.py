"""What a benchmark gives back: a table for the page, its numbers for the JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Table:
    """One table with the text above it."""

    title: str
    text: str  # what was measured, on how much, how often
    head: list[str]
    rows: list[list[str]]
    numbers: dict[str, Any] = field(default_factory=dict)  # unrounded, for results.json

    def markdown(self) -> str:
        """The table as a section of a page."""
        lines = [self.head, ["---", *["---:"] * (len(self.head) - 1)], *self.rows]
        return f"## {self.title}\n\n{self.text}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def milliseconds(seconds: float) -> str:
    """A duration as it stands in a table."""
    return f"{1000 * seconds:,.0f} ms" if seconds < 10 else f"{seconds:,.1f} s"


def spread(values: Sequence[float], form: str = ".2f", unit: str = "") -> str:
    """Median, least and greatest, as they stand in a table."""
    least, median, greatest = (f"{value:{form}}" for value in np.percentile(values, (0, 50, 100)))
    return f"{median}{unit} ({least} … {greatest})"


LATENCY = ["p50", "p95", "longest", "n"]


def summary(seconds: Sequence[float | None]) -> dict[str, float]:
    """Median, 95th percentile and longest, in milliseconds; ``lost`` is how many never ended, which None stands for."""
    known = [1000 * s for s in seconds if s is not None]
    found = np.percentile(known, (50, 95, 100)).tolist() if known else []
    return {**dict(zip(LATENCY, found, strict=False)), "n": len(known), "lost": len(seconds) - len(known)}


def latency(seconds: Sequence[float | None]) -> list[str]:
    """The cells below `LATENCY`."""
    found = summary(seconds)
    times = [found.get(name) for name in LATENCY[:-1]]
    cells = ["–" if ms is None else f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms" for ms in times]
    return [*cells, f"{found['n']}" + (f", {found['lost']} lost" if found["lost"] else "")]
