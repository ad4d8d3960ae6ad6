"""How changes of the page reach the browser: together, in their order, and not before it can take them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import panel as pn


def page_takes_changes() -> bool:
    """Whether the browser has drawn the page.

    Between the moment when the page is sent and this one, Panel loses what is held back (`together`) or put
    into a layout: the page would refer to models that the browser never heard of.
    """
    return bool(pn.state.loaded)


@contextmanager
def together() -> Iterator[None]:
    """Send what is changed within as one message.

    On a slow connection Panel queues its messages, and what is changed in a Bokeh figure outside of this
    overtakes them: it would refer to models that the browser does not know yet.
    """
    if not page_takes_changes():
        yield
        return
    with pn.io.hold():
        yield
