"""Names as people read them, safe to show."""

import html


def in_words(name: str) -> str:
    """``"integrated_gradients"`` as "integrated gradients"."""
    return name.replace("_", " ")


def safe(text: str) -> str:
    """A text from an address, a folder or a file, so that the page shows it and never runs it."""
    return html.escape(text)
