"""What visitors do in pictures: taps and boxes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any


def gesture(kind: type, react: Callable[..., None], schedule: Callable[[Callable[[], None]], object]) -> Any:
    """A stream of HoloViews whose values ``react`` is called with.

    HoloViews tells of them outside of the document's lock: ``schedule`` brings them where the page may be changed.
    """
    stream = kind()
    stream.add_subscriber(lambda **values: schedule(partial(react, **values)))
    return stream
