"""Colours, type and widths of the page. Colour belongs to the data: controls are ink, in both themes."""

from __future__ import annotations

from typing import Any

from smoot_explore.explorer.grid import MIDDLE, NARROW, WIDE

TEXT, LARGE_TEXT, SMALL = 13, 18, 11  # pixels; the larger in projector mode
FONT = 'Roboto, "Helvetica Neue", Arial, sans-serif'
SIDEBAR = 280  # pixels
HEAD, HEAD_RIGHT = 440, 112  # pixels of the header for run and epoch, and right of them
_COLOURS = {
    "light": {"page": "#f4f5f7", "card": "#ffffff", "ink": "#1d2126", "ink2": "#59616b", "line": "#d9dde2"},
    "dark": {"page": "#121417", "card": "#1c1f24", "ink": "#e9ebee", "ink2": "#a9b0b9", "line": "#343a42"},
}
_RING = {"outline": "2px solid currentColor", "outlineOffset": "-2px"}  # where the keyboard is
_SLIDER = {
    # Where fingers move it, Material UI gives it more room.
    "root": {"@media (pointer: fine)": {"padding": "9px 0"}},
    "rail": {"height": 2},
    "track": {"height": 4},
    "thumb": {"width": 14, "height": 14, "&.Mui-focusVisible": {**_RING, "outlineOffset": "2px"}},
}


def theme(text: int = TEXT) -> dict[str, Any]:
    """Of Material UI, for light and dark; ``text`` is the size of words in pixels."""
    return {name: _theme(colours, text) for name, colours in _COLOURS.items()}


def _theme(colours: dict[str, str], text: int) -> dict[str, Any]:
    words = {"fontSize": f"{text}px", "lineHeight": 1.4}  # Panel has Material UI scale them down twice
    ink = {"main": colours["ink"], "contrastText": colours["card"]}
    return {
        "palette": {
            "primary": ink,
            "default": ink,
            "background": {"default": colours["page"], "paper": colours["card"]},
            "text": {"primary": colours["ink"], "secondary": colours["ink2"]},
            "divider": colours["line"],
        },
        "typography": {
            "fontSize": text, "fontFamily": FONT, **{name: words for name in ("body1", "body2", "subtitle2")},
            "button": {"textTransform": "none", "fontWeight": 600},
        },
        "breakpoints": {"values": {"xs": 0, "sm": NARROW, "md": MIDDLE, "lg": WIDE, "xl": 2200}},
        "shape": {"borderRadius": 6},
        "components": {
            "MuiSlider": {"styleOverrides": _SLIDER},
            "MuiButtonBase": {"styleOverrides": {"root": {"&.Mui-focusVisible": _RING}}},
            "MuiButton": {"styleOverrides": {"root": {"fontSize": f"{text}px", "lineHeight": 1.4}}},
            "MuiToggleButton": {"styleOverrides": {"root": {"fontSize": f"{text - 1}px", "lineHeight": 1.4}}},
            "MuiInputAdornment": {"styleOverrides": {"root": {"& .MuiIconButton-root": {"color": colours["ink2"]}}}},
            # What explains a control is not its name.
            "MuiTooltip": {"defaultProps": {"describeChild": True}},
        },
    }  # fmt: skip


PAGE_SX: dict[str, Any] = {
    # The names that Material UI's page looks for before it colours what stands in its header otherwise.
    ".MuiAppBar-root": {"bgcolor": "primary.contrastText", "color": "primary.main", "boxShadow": "none"},
    "& .header": {
        "borderBottom": "1px solid", "borderColor": "divider", "backgroundImage": "none", "height": "48px",
        "boxSizing": "border-box", "overflow": "hidden",
    },
    "& .header .MuiToolbar-root": {"minHeight": "48px"},
    # The tabs scroll; nothing is pushed out.
    "& .header .MuiToolbar-root > .MuiBox-root": {"minWidth": 0, "alignItems": "center"},
    **{  # without the margin of a header that tells whether the server is busy
        f"& .{part} > .MuiBox-root > .MuiToolbar-root, & .{part} > .MuiToolbar-root": {"minHeight": "48px", "margin": 0}
        for part in ("main", "sidebar")
    },
    "& .header .title": {
        "fontSize": "16px", "fontWeight": 700, "color": "primary.main", "display": {"xs": "none", "md": "block"},
    },
    "& .main": {"backgroundColor": "background.default"},
}  # fmt: skip
