"""The score as a table, and as a file for whoever collects those of a class."""

from __future__ import annotations

import csv
import html
import io
from pathlib import Path
from typing import Any

import smoot_explore.course.exercises  # noqa: F401  # fills EXERCISES
from smoot_explore.course.score import note_name, read_score, score_path
from smoot_explore.course.verdicts import EXERCISES
from smoot_explore.files import write_atomically

COLUMNS = ("name", "notebook", "kind", "item", "answer", "right", "tries", "time")


class Scorecard:
    """A learner's score; shown as a table by a notebook.

    Attributes
    ----------
    score
        See `read_score`.
    files
        The two that hold it: JSON and CSV.
    """

    def __init__(self, score: dict[str, Any], files: tuple[Path, Path]) -> None:
        self.score, self.files = score, files

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """By notebook: its name, exercises that are right, predictions that came true."""
        rows = list[tuple[str, str, str]]()
        predictions = self.score["predictions"].values()
        others = {p.get("notebook", "") for p in predictions} | set(self.score["checks"])
        for notebook in [*EXERCISES, *sorted(others - set(EXERCISES))]:
            checks = self.score["checks"].get(notebook, {})
            known = EXERCISES.get(notebook, list(checks))
            right = sum(checks.get(name, {}).get("right", False) for name in known)
            of_it = [p for p in predictions if p.get("notebook", "") == notebook]
            found = [p for p in of_it if p.get("found") and p.get("predicted")]
            true = sum(p["found"] == p["predicted"] for p in found)
            rows.append(
                (
                    notebook or "elsewhere",
                    f"{right} of {len(known)}",
                    f"{true} of {len(found)}" if of_it else "–",
                )
            )
        return rows

    def _repr_html_(self) -> str:
        head = "<tr><th>notebook</th><th>exercises right</th><th>predictions true</th></tr>"
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows
        )
        files = " and ".join(f"<code>{html.escape(_near(file))}</code>" for file in self.files)
        name = html.escape(self.score["name"]) or "To add your name: report('Ada')"
        return f"<p>{name}</p><table>{head}{body}</table><p>Kept in {files}.</p>"

    def __repr__(self) -> str:
        lines = [
            f"{name}: {right} exercises right, {true} predictions true" for name, right, true in self.rows
        ]
        return "\n".join([*lines, f"Kept in {self.files[0]} and {self.files[1].name}."])


def report(name: str | None = None) -> Scorecard:
    """Show the score and write it as CSV beside its JSON, one line for each exercise and each prediction.

    Parameters
    ----------
    name
        The learner's, kept from now on; None leaves it as it is.

    Returns
    -------
    Scorecard
        With columns ``name, notebook, kind (exercise or prediction), item, answer, right, tries, time`` in the CSV.

    Raises
    ------
    FileError
        When the score file is damaged.
    """
    if name is not None:
        note_name(name)
    score, path = read_score(), score_path()
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([_plain(cell) for cell in row] for row in _lines(score))
    table = path.with_suffix(".csv")
    write_atomically(table, lambda temporary: temporary.write_text(text.getvalue(), encoding="utf-8"))
    return Scorecard(score, (path, table))


def _lines(score: dict[str, Any]) -> list[tuple[Any, ...]]:
    name = score["name"]
    exercises = [
        (name, notebook, "exercise", item, "", entry["right"], entry["tries"], entry.get("time", ""))
        for notebook, checks in score["checks"].items()
        for item, entry in checks.items()
    ]
    predictions = [
        (
            name, entry.get("notebook", ""), "prediction", question, entry.get("predicted") or "",
            entry["predicted"] == entry["found"] if entry.get("found") and entry.get("predicted") else "", "",
            entry.get("time", ""),
        )
        for question, entry in score["predictions"].items()
    ]  # fmt: skip
    return sorted(exercises + predictions, key=lambda line: (line[1], line[2]))


def _near(file: Path) -> str:
    """Its name where it is beside the notebook, else its path."""
    return file.name if file.parent == Path.cwd() else str(file)


def _plain(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
