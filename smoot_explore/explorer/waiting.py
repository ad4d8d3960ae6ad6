"""What stands in the place of a tab whose run is still being opened, and of the page itself before it is drawn."""

from __future__ import annotations

from typing import Any

import panel as pn

_SHAPE = {"background": "color-mix(in srgb, currentColor 7%, transparent)", "border-radius": "8px"}

# A page is inert until it is drawn (`page_ready`).
BEFORE_DRAWN = """
html[inert] body::before {
  content: "The explorer is being opened …"; position: fixed; z-index: -1; inset: 40% 0 auto; text-align: center;
  font: 16px system-ui, sans-serif; color: #757575;
}
"""


def waiting_tab(words: Any) -> pn.Column:
    """Empty places as large as the pictures that will be there, under ``words`` that say what is waited for."""
    gallery = pn.Spacer(width=310, height=480, styles=_SHAPE, margin=(0, 10))
    pictures = [pn.Spacer(height=height, sizing_mode="stretch_width", styles=_SHAPE, margin=(0, 10, 16, 10))
                for height in (220, 244)]  # fmt: skip
    return pn.Column(
        words, pn.Row(gallery, pn.Column(*pictures, sizing_mode="stretch_width"), sizing_mode="stretch_width"),
        sizing_mode="stretch_width", name="waiting",
    )  # fmt: skip
