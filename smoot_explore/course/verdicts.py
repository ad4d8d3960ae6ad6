"""How an exercise is checked: what a check may require of an answer, and the verdict that it ends with."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, NoReturn, ParamSpec

import numpy as np
import torch
import xarray as xr

_NUMBERS = (int, float, np.number, np.ndarray, torch.Tensor, xr.DataArray)
_Given = ParamSpec("_Given")


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


def check(
    judge: Callable[Concatenate[Any, _Given], Verdict],
) -> Callable[Concatenate[Any, _Given], Verdict]:
    """Make a check of a function that takes an answer, requires what it must fulfil, and says why it is right.

    The first requirement that does not hold ends the check. None and ``...`` are no answer yet.

    Examples
    --------
    >>> @check
    ... def half_of(answer, whole):
    ...     require_number(answer, whole / 2, "Divide by two.")
    ...     return Verdict(True, "Twice that is the whole.")
    >>> half_of(3, 6), half_of(12, 6), half_of("3", 6)
    (✓ Right. Twice that is the whole., ✗ Not yet. Divide by two., ✗ Not yet. One number is wanted, this is a str.)
    """

    @functools.wraps(judge)
    def checked(answer: Any, *given: _Given.args, **named: _Given.kwargs) -> Verdict:
        try:
            return no_answer() if answer is None or answer is ... else judge(answer, *given, **named)
        except _EndedError as ended:
            return ended.verdict

    return checked


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


def number(found: Any) -> float:
    """An answer, or what a function returned, as a number; ends the check when it is none."""
    is_number = isinstance(found, _NUMBERS) and not isinstance(found, bool | np.bool_)
    require(is_number, f"One number is wanted, this is a {type(found).__name__}.")
    size = found.numel() if isinstance(found, torch.Tensor) else np.size(found)
    require(size == 1, f"One number is wanted, these are {size}. Is a sum missing?")
    try:
        return float(found if isinstance(found, int | float) else found.item())
    except (TypeError, ValueError):
        not_yet(f"One number is wanted, this is {found!r}.")


def require_number(
    answer: Any,
    expected: float,
    hint: str,
    tolerance: float = 0.005,
    mistakes: Mapping[str, float] | None = None,
) -> None:
    """Require a number to be the expected one, up to a tolerance (absolute).

    ``mistakes`` are numbers that usual mistakes lead to, by their own hint; ``hint`` is for all others.
    """
    found = number(answer)
    if not abs(found - expected) <= tolerance:  # NaN is not right either
        near = [words for words, mistaken in (mistakes or {}).items() if abs(found - mistaken) <= tolerance]
        not_yet(near[0] if near else hint)


def require_pair(answer: Any, expected: tuple[float, float], hint: str, tolerance: float) -> None:
    """As `require_number`, of two numbers (lowest, highest)."""
    is_pair = isinstance(answer, tuple | list | np.ndarray | torch.Tensor) and len(answer) == 2
    require(is_pair, "Two numbers are wanted: (lowest, highest).")
    found = [number(value) for value in answer]  # what is no number is told before what is wrong
    require(np.allclose(found, expected, rtol=0, atol=tolerance), hint)


def returned(function: Any, arguments: tuple, words: str, *, or_nothing: bool = False) -> Any:
    """What a learner's function returns; ends the check when it is no function, raises or returns nothing.

    Parameters
    ----------
    function
        The answer.
    arguments
        What it is called with.
    words
        The call in words, for the verdict.
    or_nothing
        Whether it may return nothing: that gives None.
    """
    require(callable(function), "A function is wanted: def …")
    try:
        found = function(*arguments)
    except Exception as error:  # whatever a learner writes
        not_yet(f"With {words} it raises {type(error).__name__}: {error}")
    if found is not None and found is not ...:
        return found
    if or_nothing:
        return None
    no_answer(f"With {words} the function returns nothing: replace ... and return a value in every case.")
