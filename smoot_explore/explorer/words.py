"""Text that is safe to show."""

import html


def safe(text: str) -> str:
    """A text from an address, a folder or a file, so that the page shows it and never runs it."""
    return html.escape(text)
