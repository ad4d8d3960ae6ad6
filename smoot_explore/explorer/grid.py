"""A grid of twelve columns, whose parts take more of them on a narrow page."""

from __future__ import annotations

from typing import Any

import panel as pn

COLUMNS = 12
NARROW, MIDDLE, WIDE = (
    700,
    1100,
    1600,
)  # pixels of a page: one column, two, twelve, and room for more side by side
_SPANS = range(1, COLUMNS + 1)


def _spans(name: str) -> str:
    return "".join(f".{name}-{n} {{ grid-column: span {n} }}" for n in _SPANS)


# Bokeh would have a part no higher than the room that it finds, which here depends on the part itself; and the button
# with which Panel scrolls a column would take a row.
_STYLE = f"""
:host {{
  display: grid !important; grid-template-columns: repeat({COLUMNS}, minmax(0, 1fr)); gap: 16px;
  max-height: none !important;
}}
[class*='span-'] {{ max-height: none !important; height: auto !important; align-self: stretch !important }}
.scroll-button {{ display: none !important }}
.card {{ background: var(--panel-surface-color); border-radius: 8px; padding: 12px 16px; box-sizing: border-box }}
{_spans("span")}
@media (min-width: {WIDE}px) {{ :host {{ grid-auto-flow: dense }} {_spans("wide")} }}
@media (min-width: {MIDDLE}px) {{ .tall {{ grid-row: span 2 }} }}
@media (max-width: {MIDDLE - 1}px) {{
  {"".join(f".span-{n} {{ grid-column: span 6 }}" for n in _SPANS if n < 7)}
  .alone {{ grid-column: 1 / -1 }}
  .late {{ order: 1 }}
}}
@media (max-width: {NARROW - 1}px) {{ [class*='span-'] {{ grid-column: 1 / -1 }} }}
:host(.projector) {{ --text-scale: 1.4 }}
:host(.projector) > :not(.lead) {{ display: none !important }}
:host(.projector) > .lead {{ grid-column: 1 / -1 }}
"""


class Grid(pn.Column):
    """Parts side by side and below each other; in projector mode, the leading ones alone."""

    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*parts, sizing_mode="stretch_width", **options)
        self.param.watch(self._style, "visible")
        self._style()

    def _style(self, *events: Any) -> None:
        self.stylesheets = [_STYLE] if self.visible else []  # it would outdo the rule by which Bokeh hides it


def part(
    *objects: Any,
    span: int,
    wide: int | None = None,
    lead: bool = False,
    card: bool = True,
    tall: bool = False,
    alone: bool = False,
    late: bool = False,
    **options: Any,
) -> pn.Column:
    """A part of a `Grid`.

    Parameters
    ----------
    span
        Columns that it takes, of twelve; on a page of less than 1,100 pixels half of them where it is less than seven,
        below 700 all.
    wide
        Columns on a page of 1,600 pixels and more; None takes as many.
    lead
        Whether it stays in projector mode.
    card
        Whether it lies on a card.
    tall
        Whether it takes two rows, where there is room.
    alone
        Whether it takes all columns on a page of less than 1,100 pixels.
    late
        Whether it comes last on a page of less than 1,100 pixels.
    """
    chosen = {"lead": lead, "card": card, "tall": tall, "alone": alone, "late": late}
    classes = [f"span-{span}", f"wide-{wide or span}", *(name for name, is_so in chosen.items() if is_so)]
    return pn.Column(*objects, css_classes=classes, sizing_mode="stretch_width", **options)
