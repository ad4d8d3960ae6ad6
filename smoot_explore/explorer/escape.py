"""Text that is safe to show."""

import html
import re

_MARKS = re.compile(r"[\\`*_\[\]~#\"']")  # that Markdown, or an attribute, may take for its own


def escaped(text: str) -> str:
    """A text from an address, a folder or a file, so that the page shows it as it is, and never runs it.

    Examples
    --------
    >>> escaped("<my_run*>")
    '&lt;my&#95;run&#42;&gt;'
    """
    return _MARKS.sub(lambda mark: f"&#{ord(mark.group())};", html.escape(text, quote=False))
