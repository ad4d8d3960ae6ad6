"""Colours and names that all pictures share."""

# After Okabe and Ito, which colour-blind readers tell apart, each as light as shows on white and on a dark page: lines
# and marks have a contrast of at least 3 on both.
COLOURS = {"traditional": "#7A7A7A", "sgt": "#1A7EC2", "smoot": "#D55E00"}
CLASS_COLOURS = {"I": "#1A7EC2", "II": "#BB8500"}
UNKNOWN_CLASS_COLOUR = "#7A7A7A"
NEUTRAL = "#7A7A7A"  # bounds, diagonals, medians
INK = "#222222"  # on what has a pale colour of its own
SELECTED = "#C9689F"
SERIES = ("#D55E00", "#1A7EC2", "#00875F", "#C9689F", "#BB8500", "#3D94C8", "#7A7A7A", "#7A6A00")
# Of other trainings than the one that a picture is about: at least 4 : 1 on white and on black.
RIVALS = ("#00875F", "#8E63CE", "#8A7400", "#0A7E94")
SHADES = ("#2F6CB5", "#5E84B4", "#848484", "#B8733B", "#D55E00")  # from little to much
METHOD_NAMES = {"traditional": "traditional", "sgt": "SGT", "smoot": "SMOOT"}


_SYMBOLS = {"alpha": "α", "beta": "β", "kl_weight": "λ", "learning_rate": "τ"}


def symbol(setting: str) -> str:
    """A setting as pictures name it: "α", "k max"."""
    return _SYMBOLS.get(setting, in_words(setting))


def in_words(name: str) -> str:
    """``"integrated_gradients"`` as "integrated gradients"."""
    return name.replace("_", " ")


def on_light(colour: str) -> str:
    """A colour of the palette for words on a light page, where a style sheet cannot mix it: as of `text_colour`."""
    return _mixed(colour, "#1d2126")


def on_dark(colour: str) -> str:
    """A colour of the palette for words on a dark page."""
    return _mixed(colour, "#e9ebee")


def _mixed(colour: str, ink: str) -> str:
    pairs = [(int(colour[i : i + 2], 16), int(ink[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(0.7 * a + 0.3 * b):02x}" for a, b in pairs)


def text_colour(colour: str) -> str:
    """A colour of the palette for words, in CSS: nearer to the page's own, so that it reads at 4.5 in both themes."""
    return f"color-mix(in srgb, {colour} 70%, var(--panel-on-background-color, currentColor))"
