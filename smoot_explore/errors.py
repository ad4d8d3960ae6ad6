"""Error texts: for names that are not known, and for people."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


def unknown_name(kind: str, given: object, accepted: Iterable[str], hint: str = "") -> ValueError:
    """The error for a name that is none of the accepted ones, with the closest of them.

    Examples
    --------
    >>> unknown_name("fill", "blak", ["black", "mean"])
    ValueError("unknown fill 'blak'; did you mean 'black'? accepted: black, mean")
    """
    accepted = list(accepted)
    close = get_close_matches(str(given), accepted, n=1)
    guess = f"; did you mean {close[0]!r}?" if close else ";"
    tail = f". {hint}" if hint else ""
    return ValueError(f"unknown {kind} {given!r}{guess} accepted: {', '.join(accepted)}{tail}")


def reason(error: BaseException) -> str:
    """What an error says, for people; some say nothing but their name.

    Examples
    --------
    >>> reason(ValueError("no pixels")), reason(MemoryError())
    ('no pixels', 'MemoryError')
    """
    return str(error) or type(error).__name__


def reason_and_place(error: BaseException) -> str:
    """`reason`, with what a programmer needs where the error comes from code of their own: its kind, file and line."""
    libraries = {
        Path(__file__).parent,
        *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platlib", "purelib")),
    }
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and not libraries & set(Path(frame.filename).resolve().parents)
    ]
    if not own:
        return reason(error)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{text} ({own[-1].filename}, line {own[-1].lineno})"
