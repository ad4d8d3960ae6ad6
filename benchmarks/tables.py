"""What a benchmark gives back: a table for the page, its numbers for the JSON file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


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
