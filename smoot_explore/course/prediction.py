"""A question that is answered before the result is seen, and held against it afterwards."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path

import ipywidgets as widgets
from IPython import get_ipython

from smoot_explore.course import score


class Prediction(widgets.VBox):
    """What a learner predicts, one of several options, and later what was found.

    In a notebook the choice is kept in the score file, so it is there again when the cell runs again.

    Parameters
    ----------
    question
        What is asked. HTML is shown as text.
    options
        What one may choose, at least two.

    Examples
    --------
    >>> guess = Prediction("Which is larger?", ["the sun", "the moon"])
    >>> guess.choices.value = "the sun"
    >>> guess.resolve("the sun", "1,391,000 against 3,475 km.")
    As predicted: the sun. 1,391,000 against 3,475 km.
    """

    def __init__(self, question: str, options: Sequence[str]) -> None:
        if isinstance(options, str) or len(set(options)) < 2:
            raise ValueError(f"a prediction is a choice between two options or more, given {options!r}")
        self.question = question
        kept = score.predicted(question).get("predicted")
        self.choices = widgets.RadioButtons(
            options=list(options), value=kept if kept in options else None, layout={"width": "max-content"}
        )
        self.answer = widgets.HTML()
        self.choices.observe(lambda change: self._note(predicted=change["new"]), "value")
        asked = widgets.HTML(f"<b>Predict first.</b> {html.escape(question)}")
        super().__init__([asked, self.choices, self.answer])

    def resolve(self, found: str, words: str = "") -> None:
        """Say what was found, and whether it was predicted.

        Parameters
        ----------
        found
            One of the options.
        words
            The measurement, in a sentence.
        """
        if found not in self.choices.options:
            raise ValueError(f"{found!r} is none of the options: {', '.join(self.choices.options)}")
        told = {
            None: f"Not predicted; it is: {found}.",
            found: f"As predicted: {found}.",
        }.get(self.choices.value, f"Predicted: {self.choices.value}. Found: {found}.")
        self.answer.value = f"<b>{html.escape(told)}</b> {html.escape(words)}".rstrip()
        print(f"{told} {words}".rstrip())
        self.choices.disabled = True  # a prediction is made before
        self._note(predicted=self.choices.value, found=found, words=words)

    def _note(self, **told: str | None) -> None:
        score.note_prediction(self.question, notebook=_notebook(), **told)


def _notebook() -> str:
    """The notebook's name, as Jupyter's server or VS Code tells it; empty where neither does."""
    shell = get_ipython()
    path = shell.user_ns.get("__vsc_ipynb_file__", "") if shell is not None else ""
    return Path(os.environ.get("JPY_SESSION_NAME", path)).stem


def ask(question: str, options: Sequence[str]) -> Prediction:
    """Ask for a prediction; a later cell calls its ``resolve``. Nobody judges it.

    Parameters
    ----------
    question, options
        As of `Prediction`.
    """
    return Prediction(question, options)
