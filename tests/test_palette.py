"""Colours are read by everyone: on white and on the dark page, and by eyes that lack red or green."""

import itertools
import re

import numpy as np
import pytest

from smoot_explore.views import looks, palette

WHITE, DARK = (255, 255, 255), (18, 18, 18)  # of the page's two themes
LINE_OPACITY = 0.95
GIVEN = {
    **palette.COLOURS, **palette.CLASS_COLOURS, "?": palette.UNKNOWN_CLASS_COLOUR, "neutral": palette.NEUTRAL,
    "selected": palette.SELECTED, **dict(enumerate(palette.SERIES)), **dict(enumerate(palette.RIVALS, 100)),
    **dict(zip("abcde", palette.SHADES, strict=True)),
}  # fmt: skip
# Machado, Oliveira and Fernandes (2009), full severity, on linear RGB.
EYES = {
    "usual": np.eye(3),
    "without red": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "without green": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
}


def rgb(colour):
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], float)


def linear(values):
    shares = np.asarray(values, float) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """The ratio of WCAG 2."""
    low, high = sorted(float(linear(values) @ [0.2126, 0.7152, 0.0722]) for values in (one, other))
    return (high + 0.05) / (low + 0.05)


def oklab(light):
    to_cones = [[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]]
    to_lab = [[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]]
    return np.cbrt(np.clip(light @ np.transpose(to_cones), 0, None)) @ np.transpose(to_lab)


def test_the_ratio_is_that_of_wcag():
    assert contrast(WHITE, (0, 0, 0)) == pytest.approx(21)
    assert contrast(WHITE, (118, 118, 118)) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("page", [WHITE, DARK])
@pytest.mark.parametrize("name", GIVEN)
def test_lines_show_in_both_themes(name, page):
    drawn = LINE_OPACITY * rgb(GIVEN[name]) + (1 - LINE_OPACITY) * np.array(page)
    assert contrast(drawn, page) >= 3


@pytest.mark.parametrize(
    ("page", "ink", "opacity"), [(WHITE, (0, 0, 0), 0.87), (DARK, WHITE, 1.0), ((38, 38, 38), WHITE, 1.0)]
)
@pytest.mark.parametrize("name", GIVEN)
def test_words_in_colour_read_in_both_themes(name, page, ink, opacity):
    colour, share = re.match(
        r"color-mix\(in srgb, (#\w+) (\d+)%, ", palette.text_colour(GIVEN[name])
    ).groups()
    share = float(share) / 100
    covered = share + (1 - share) * opacity
    mixed = share * rgb(colour) + (1 - share) * opacity * np.array(ink)
    assert contrast(mixed + (1 - covered) * np.array(page), page) >= 4.5


@pytest.mark.parametrize("eyes", EYES)
def test_no_two_series_look_the_same(eyes):
    seen = [oklab(linear(rgb(colour)) @ np.transpose(EYES[eyes])) for colour in palette.SERIES]
    nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
    assert nearest > 0.025  # of Okabe's and Ito's own colours with grey and yellow-green: 0.0252


def test_lines_are_drawn_in_colours_of_the_palette():
    assert {role.colour for role in looks.ROLES.values()} <= set(GIVEN.values())
