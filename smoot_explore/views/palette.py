"""Colours and names that all pictures share."""

# After Okabe and Ito, which colour-blind readers tell apart; all of them show on white and on black.
COLOURS = {"traditional": "#888888", "sgt": "#0072B2", "smoot": "#D55E00"}
CLASS_COLOURS = {"I": "#0072B2", "II": "#E69F00"}
UNKNOWN_CLASS_COLOUR = "#888888"
NEUTRAL = "#7a7a7a"  # bounds, diagonals, medians: seen on white and on black
INK = "#222222"  # on what has a pale colour of its own
SELECTED = "#CC79A7"
SERIES = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888", "#B59A00")
# Of other trainings than the one that a picture is about: at least 4 : 1 on white and on black.
RIVALS = ("#00875F", "#8E63CE", "#8A7400", "#0A7E94")
SHADES = ("#3B6FB6", "#6E8FB8", "#9A9A9A", "#CF8A55", "#D55E00")  # from little to much
METHOD_NAMES = {"traditional": "traditional", "sgt": "SGT", "smoot": "SMOOT"}


_SYMBOLS = {"alpha": "α", "beta": "β", "kl_weight": "λ", "learning_rate": "τ"}


def symbol(setting: str) -> str:
    """A setting as pictures name it: "α", "k max"."""
    return _SYMBOLS.get(setting, in_words(setting))


def in_words(name: str) -> str:
    """``"integrated_gradients"`` as "integrated gradients"."""
    return name.replace("_", " ")
