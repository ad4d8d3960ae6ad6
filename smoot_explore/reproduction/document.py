"""A report on disk: one Markdown file that is complete in itself, its numbers as JSON, and its pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from smoot_explore import views
from smoot_explore.files import write_atomically, write_json

LARGEST_SVG = 500_000  # bytes; of a larger picture the PNG is kept alone


@dataclass(frozen=True)
class Table:
    """A table with its caption, all cells as text."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table in Markdown, its caption above; columns of words to the left, of numbers to the right."""
        columns = zip(*self.rows, strict=True)
        rules = ["---" if any(cell[:1].isalpha() for cell in column) else "---:" for column in columns]
        lines = [self.heads, ["---", *rules[1:]], *self.rows]
        return "\n".join([f"*{self.caption}*", "", *("| " + " | ".join(line) + " |" for line in lines)])


@dataclass(frozen=True)
class Picture:
    """A picture of `smoot_explore.views`, kept as ``<target>-<name>.png`` and ``.svg``."""

    name: str
    element: Any
    caption: str


Part = str | Table | Picture | Mapping[str, Any]


@dataclass
class Document:
    """What a target reports.

    Attributes
    ----------
    target, title
        The target's name, and its title for people.
    parts
        Markdown texts, tables and pictures, in their order; and mappings of numbers, which stand in the JSON alone.
    """

    target: str
    title: str
    parts: list[Part] = field(default_factory=list)

    def file(self, folder: Path) -> Path:
        """Its Markdown file in a folder."""
        return folder / f"{self.target}.md"

    def write(self, folder: Path) -> list[Path]:
        """Write the pictures, ``<target>.json`` and ``<target>.md`` to a folder, each file in one step.

        Returns
        -------
        list of Path
            What was written, the Markdown first.
        """
        folder.mkdir(parents=True, exist_ok=True)
        pictures: list[Path] = []
        texts = [f"# {self.title}"]
        content: dict[str, Any] = {"target": self.target, "title": self.title}
        tables = []
        for part in self.parts:
            if isinstance(part, Picture):
                stem = f"{self.target}-{part.name}"
                pictures += views.save(part.element, folder / stem)
                texts.append(f"![{part.caption}]({stem}.png)\n\n*{part.caption}*")
            elif isinstance(part, Table):
                tables.append(asdict(part))
                texts.append(part.markdown())
            elif isinstance(part, str):
                texts.append(part)
            else:
                content |= part
        for picture in pictures:
            if picture.suffix == ".svg" and picture.stat().st_size > LARGEST_SVG:
                picture.unlink()
        numbers, text = folder / f"{self.target}.json", self.file(folder)
        write_json(numbers, _plain({**content, "tables": tables}))
        markdown = "\n\n".join(texts) + "\n"
        write_atomically(text, lambda temporary: temporary.write_text(markdown, encoding="utf-8"))
        return [text, numbers, *filter(Path.exists, pictures)]


def _plain(value: Any) -> Any:
    """The value for JSON, which has no NaN: null stands for a number that is not there."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(entry) for entry in value]
    return json.loads(json.dumps(value))
