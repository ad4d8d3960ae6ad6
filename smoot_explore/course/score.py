"""What a learner has predicted and solved, kept in a file beside the notebooks.

Nothing is sent anywhere: the file is the learner's, who hands it in or not. It is plain text, so it is no examination.
"""

from __future__ import annotations

import os
import threading
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from IPython import get_ipython

from smoot_explore.files import FileError, read_json, write_json

VARIABLE = "SMOOT_EXPLORE_SCORE"  # the file's path, where it shall not be beside the notebooks
FORMAT = 1
_lock = threading.Lock()


def score_path() -> Path:
    """The file: the variable ``SMOOT_EXPLORE_SCORE``, by default ``score.json`` in the notebook's folder."""
    return Path(os.environ.get(VARIABLE) or "score.json").absolute()


def is_kept() -> bool:
    """Whether anything is kept: in a notebook, or where the variable asks for it."""
    return bool(os.environ.get(VARIABLE)) or hasattr(get_ipython(), "kernel")


def read_score() -> dict[str, Any]:
    """All that is kept: ``name``, ``checks`` by notebook and exercise, ``predictions`` by question.

    Raises
    ------
    FileError
        When the file is there and is no score.
    """
    path = score_path()
    if not path.exists():
        return {"format": FORMAT, "name": "", "checks": {}, "predictions": {}}
    content = read_json(path)
    if content.get("format") != FORMAT or not _is_score(content):
        raise FileError(f"{path.name} is no score file of this course (format {FORMAT} is)")
    return content


def note_check(notebook: str, exercise: str, right: bool | None, words: str) -> None:
    """Keep a verdict. Once right, an exercise stays so; no answer yet (None) is not counted as a try."""
    if right is None:
        return

    def note(score: dict[str, Any]) -> None:
        entry = score["checks"].setdefault(notebook, {}).setdefault(exercise, {"right": False, "tries": 0})
        if not entry["right"]:
            entry.update(right=right, tries=entry["tries"] + 1, words=words, time=_now())

    _change(note)


def note_prediction(question: str, **told: Any) -> None:
    """Keep what was told of a prediction: its ``notebook``, what was ``predicted``, what was ``found``.

    What was predicted before the answer was seen stays.
    """

    def note(score: dict[str, Any]) -> None:
        entry = score["predictions"].setdefault(question, {})
        first = {name: entry[name] for name in ("predicted", "time") if entry.get("found")}
        entry.update({"time": _now(), **told, **first})

    _change(note)


def predicted(question: str) -> dict[str, Any]:
    """What is kept of a prediction; empty where nothing is."""
    if not is_kept():
        return {}
    try:
        return dict(read_score()["predictions"].get(question, {}))
    except FileError:  # told when it is written
        return {}


def note_name(name: str) -> None:
    """Keep the learner's name, as it was typed."""
    _change(lambda score: score.update(name=name))


def reset() -> None:
    """Begin anew: the score so far stays beside it as ``score-1.json``, ``score-2.json`` and so on."""
    path = score_path()
    for file in (path, path.with_suffix(".csv")):
        if file.exists():
            _set_aside(file)


def _change(change: Any) -> None:
    """Read, change, write. An exercise goes on where a file cannot be kept, but says so."""
    if not is_kept():
        return
    path = score_path()
    with _lock:
        try:
            score = read_score()
        except FileError as error:
            aside = _set_aside(path)
            warnings.warn(f"{error}; it is now {aside.name}, and a new one begins", stacklevel=4)
            score = read_score()
        change(score)
        try:
            write_json(path, score)
        except OSError as error:
            warnings.warn(
                f"the score cannot be kept in {path} ({error.strerror}); "
                f"set {VARIABLE} to a file that can be written before the kernel starts",
                stacklevel=4,
            )


def _set_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.stem}-{number}{path.suffix}")).exists():
        number += 1
    return path.rename(aside)


def _is_score(content: dict[str, Any]) -> bool:
    checks, predictions = content.get("checks"), content.get("predictions")
    return (
        isinstance(content.get("name"), str)
        and isinstance(checks, dict)
        and all(
            isinstance(of_one, dict)
            and all(
                isinstance(e, dict) and isinstance(e.get("right"), bool) and isinstance(e.get("tries"), int)
                for e in of_one.values()
            )
            for of_one in checks.values()
        )
        and isinstance(predictions, dict)
        and all(isinstance(entry, dict) for entry in predictions.values())
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
