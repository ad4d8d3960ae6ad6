"""What goes on beside the page, in words."""

from __future__ import annotations

from typing import Any

from smoot_explore.explorer.controls import small_text


class Activity:
    """Says what is opened and measured, on a line above each tab that waits for it."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}
        self._lines: list[Any] = []

    def line(self, **options: Any) -> Any:
        """Another line, for another tab."""
        self._lines.append(small_text("", **options))
        self._show()
        return self._lines[-1]

    def say(self, about: str, words: str) -> None:
        """What goes on about something; nothing when it is over."""
        self._words[about] = words
        self._show()

    def _show(self) -> None:
        text = " ".join(filter(None, self._words.values()))
        for line in self._lines:
            if (line.object, line.visible) != (text, bool(text)):
                line.param.update(object=text, visible=bool(text))
