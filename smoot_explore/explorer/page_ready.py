"""When the page may change: not between being sent and being drawn by the browser.

Between the moment when the page is sent and the browser's report that it is drawn, Panel loses most of what changes:
whatever is held back (`panel.io.hold`), and with it what it changes in its layouts and components. The browser would
even be told of models that it never got. So nothing changes then: the page takes no input (`close_until_drawn`),
and what the background has computed waits (`page_takes_changes`).
"""

from __future__ import annotations

import panel as pn
from bokeh.document import Document
from bokeh.models import CustomJS


def close_until_drawn(document: Document) -> None:
    """Let the page take no input, by mouse or keyboard, until the browser has drawn it."""
    document.template_variables["html_attrs"] = "inert"
    document.js_on_event("document_ready", CustomJS(code="document.documentElement.inert = false"))


def page_takes_changes() -> bool:
    """Whether the browser has reported the page as drawn; also true where there is no browser."""
    return bool(pn.state.loaded)
