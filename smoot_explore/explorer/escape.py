"""Text that is safe to show."""

import html


def escaped(text: str) -> str:
    """A text from an address, a folder or a file, so that the page shows it and never runs it."""
    return html.escape(text)
