"""How an exercise is checked: what a check may require of an answer, and the verdict that it ends with."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any, Concatenate, NoReturn, ParamSpec

import numpy as np
import torch
import xarray as xr

from smoot_explore.course import score

_ARRAYS = (np.ndarray, torch.Tensor, xr.DataArray)
_Given = ParamSpec("_Given")
_Check = Callable[Concatenate[Any, _Given], "Verdict"]

EXERCISES: dict[str, list[str]] = {}
"""The names of each notebook's checks, in the order of their definition."""


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right (None: there is none yet), in words."""

    right: bool | None
    words: str

    def __repr__(self) -> str:
        sign = {True: "✓ Right.", False: "✗ Not yet.", None: "… No answer yet."}[self.right]
        return f"{sign} {self.words}"


class _EndedError(Exception):
    """Ends a check early, with its verdict."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict)
        self.verdict = verdict


def check(notebook: str) -> Callable[[_Check[_Given]], _Check[_Given]]:
    """Make a check of a function that takes an answer, requires what it must fulfil, and says why it is right.

    The first requirement that does not hold ends the check. None and ``...`` are no answer yet. The verdict is kept
    in the learner's score.

    Parameters
    ----------
    notebook
        The notebook that asks for the answer. The check has it as its attribute ``notebook``, and `EXERCISES` lists
        the check under it.

    Examples
    --------
    >>> @check("an_example")
    ... def half_of(answer, whole):
    ...     require_number(answer, whole / 2, "Divide by two.")
    ...     return Verdict(True, "Twice that is the whole.")
    >>> half_of(3, 6), half_of(12, 6), half_of("3", 6)
    (✓ Right. Twice that is the whole., ✗ Not yet. Divide by two., ✗ Not yet. One number is wanted, this is a str.)
    >>> half_of.notebook, EXERCISES.pop("an_example")
    ('an_example', ['half_of'])
    """

    def decorated(judge: _Check[_Given]) -> _Check[_Given]:
        @functools.wraps(judge)
        def checked(answer: Any, *given: _Given.args, **named: _Given.kwargs) -> Verdict:
            try:
                verdict = no_answer() if answer is None or answer is ... else judge(answer, *given, **named)
            except _EndedError as ended:
                verdict = ended.verdict
            score.note_check(notebook, judge.__name__, verdict.right, verdict.words)
            return verdict

        checked.notebook = notebook  # type: ignore[attr-defined]
        EXERCISES.setdefault(notebook, []).append(judge.__name__)
        return checked

    return decorated


def require(holds: object, hint: str) -> None:
    """End the check with a hint unless this holds."""
    if not holds:
        not_yet(hint)


def not_yet(hint: str) -> NoReturn:
    """End the check: the answer is not right."""
    raise _EndedError(Verdict(False, hint))


def no_answer(words: str = "Replace None or ... by your answer and run both cells again.") -> NoReturn:
    """End the check: there is nothing to judge yet."""
    raise _EndedError(Verdict(None, words))


def size(found: Any) -> int:
    """How many values an answer holds; what is no collection is one."""
    if isinstance(found, _ARRAYS):
        return math.prod(found.shape)
    return len(found) if isinstance(found, Collection) and not isinstance(found, str) else 1


def number(found: Any) -> float:
    """An answer, or what a function returned, as a number; ends the check when it is none."""
    is_number = isinstance(found, (Real, Decimal, *_ARRAYS)) and not isinstance(found, bool)
    require(is_number, f"One number is wanted, this is a {type(found).__name__}.")
    require(size(found) == 1, f"One number is wanted, these are {size(found)}. Is a sum missing?")
    value = found.item() if hasattr(found, "item") else found
    is_number = isinstance(value, Real | Decimal) and not isinstance(value, bool)
    require(is_number, f"One number is wanted, this is {value!r}.")
    try:
        return float(value)
    except (ValueError, OverflowError):
        not_yet("One number is wanted, and none so large.")


def require_number(
    answer: Any,
    expected: float,
    hint: str,
    tolerance: float = 0.005,
    mistakes: Mapping[str, float] | None = None,
) -> None:
    """Require a number to be the expected one, up to a tolerance (absolute).

    ``mistakes`` are numbers that usual mistakes lead to, by their own hint; ``hint`` is for all others. A number that
    is a hundred times the expected one, or a hundredth of it, is told with the hint.
    """
    found = number(answer)
    if not abs(found - expected) <= tolerance:  # NaN is not right either
        near = [words for words, mistaken in (mistakes or {}).items() if abs(found - mistaken) <= tolerance]
        not_yet(near[0] if near else hint + _in_per_cent(found, expected))


def _in_per_cent(found: float, expected: float) -> str:
    """What is told of a number that looks like per cent in place of a fraction, or the other way round."""
    if expected and math.isclose(found, 100 * expected, rel_tol=0.01):
        return " This is a hundred times as much: is a fraction wanted, not per cent?"
    if expected and math.isclose(100 * found, expected, rel_tol=0.01):
        return " This is a hundredth of it: is it a fraction where per cent are wanted?"
    return ""


def require_pair(
    answer: Any,
    expected: tuple[float, float],
    hint: str,
    tolerance: float,
    mistakes: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """As `require_number`, of two numbers (lowest, highest)."""
    is_collection = isinstance(answer, (tuple, list, *_ARRAYS))
    require(is_collection and size(answer) == 2 == len(answer), "Two numbers are wanted: (lowest, highest).")
    found = [number(value) for value in answer]  # what is no number is told before what is wrong
    told = {**(mistakes or {}), "The lowest comes first: (lowest, highest).": expected[::-1]}

    def is_near(pair: tuple[float, float]) -> bool:
        return np.allclose(found, pair, rtol=0, atol=tolerance)

    if not is_near(expected):
        not_yet(next((words for words, mistaken in told.items() if is_near(mistaken)), hint))


def plain(name: str) -> str:
    """A name as it is compared: "integrated gradients" and "integrated_gradients", "SMOOT" and "smoot" are one."""
    return "".join(filter(str.isalnum, name.casefold().replace("×", "x")))


def names(answer: Any) -> list[str]:
    """The `plain` names that an answer holds: one name, or a collection of them; ends the check at anything else.

    Of a mapping these are the keys, without those whose value is False.
    """
    if isinstance(answer, Mapping):
        answer = [
            key for key, value in answer.items() if not (isinstance(value, bool | np.bool_) and not value)
        ]
    elif isinstance(answer, _ARRAYS):
        answer = (answer.values if isinstance(answer, xr.DataArray) else answer).tolist()
    given = list(answer) if isinstance(answer, Collection) and not isinstance(answer, str) else [answer]
    require(all(isinstance(name, str) for name in given), "Names are wanted, in quotes.")
    return [plain(name) for name in given]


def _copied(argument: Any) -> Any:
    """The argument itself, where a function may write into it."""
    if isinstance(argument, torch.Tensor):
        return argument.clone()
    return argument.copy() if isinstance(argument, np.ndarray) else argument


def _as_array(argument: Any) -> Any:
    return argument.numpy(force=True).copy() if isinstance(argument, torch.Tensor) else _copied(argument)


def _as_tensor(argument: Any) -> Any:
    return torch.tensor(argument) if isinstance(argument, np.ndarray) else _copied(argument)


def _number_as_tensor(argument: Any) -> Any:
    """Numbers that are no index too: for ``k.clamp(low, high)``."""
    number = isinstance(argument, float)
    return torch.tensor(argument, dtype=torch.float64) if number else _as_tensor(argument)


def _as_list(argument: Any) -> Any:
    return argument.tolist() if isinstance(argument, np.ndarray | torch.Tensor) else argument


def returned(
    function: Any, arguments: tuple, words: str, *, or_nothing: bool = False, advice: str | None = None
) -> Any:
    """What a learner's function returns; ends the check when it is no function, raises or returns nothing.

    A function that raises is tried again with arrays in place of tensors, with tensors in place of arrays, with
    numbers as tensors too, and with lists.

    Parameters
    ----------
    function
        The answer.
    arguments
        What it is called with, first in this form: that of the notebook. It gets copies.
    words
        The call in words, for the verdict.
    or_nothing
        Whether it may return nothing: that gives None.
    advice
        What is told where it raises. With it the arguments are given in their own form alone.
    """
    require(callable(function), "A function is wanted: def …")
    forms = [_copied] if advice else [_copied, _as_array, _as_tensor, _number_as_tensor, _as_list]
    errors = list[str]()
    for form in forms:
        given = map(form, arguments)
        try:
            found = function(*given)
            break
        except Exception as error:  # whatever a learner writes
            errors.append(f"{type(error).__name__}: {error}")
    else:
        not_yet(f"With {words} it raises {errors[0]}" + (f". {advice}" if advice else ""))
    if found is not None and found is not ...:
        return found
    if or_nothing:
        return None
    no_answer(f"With {words} the function returns nothing: replace ... and return a value in every case.")
