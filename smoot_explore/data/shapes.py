"""Generated images whose label depends on the drawn shape alone, with the true mask of the shape."""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sin, sqrt
from typing import NamedTuple

import numpy as np
import torch

from smoot_explore.data.images import ImageData, Split

SIZE = 32  # pixels
_SAMPLES = 2  # per pixel and axis, so that edges are smooth
_CHUNK = 500  # images drawn at once
_NOTCH = 0.42  # of the star: distance of its inner corners where the tips are at 1

Field = np.ndarray  # one number per point, (n, h, w)


class Shape(NamedTuple):
    """A shape around the origin, at a scale of its own."""

    contains: Callable[[Field, Field], Field]
    area: float


def generate_shapes(n_train: int, n_test: int, seed: int = 0) -> ImageData:
    """RGB images of 32×32 pixels, each with one labelled shape before a textured background.

    Place, size, rotation and colour of the shape, the background's texture and colours, and the
    distractors (short bars and dots) are drawn alike for every class, so nothing but the shape tells the
    label. ``object_masks`` is True where at least half of a pixel belongs to the shape.

    Parameters
    ----------
    n_train, n_test
        Number of images; the classes take turns, so they are balanced.
    seed
        The same seed gives the same images.
    """
    streams = np.random.SeedSequence(seed).spawn(2)
    return ImageData(
        _draw(n_train, np.random.default_rng(streams[0])),
        _draw(n_test, np.random.default_rng(streams[1])),
        tuple(SHAPES),
    )


def _draw(n: int, rng: np.random.Generator) -> Split:
    labels = rng.permutation(np.arange(n) % len(SHAPES))
    parts = [_draw_chunk(labels[i : i + _CHUNK], rng) for i in range(0, n, _CHUNK)]
    images, masks = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Split(torch.from_numpy(images), torch.from_numpy(labels), torch.from_numpy(masks))


def _draw_chunk(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """uint8 ``(n, 3, 32, 32)`` and bool ``(n, 32, 32)``."""
    n = len(labels)
    grid = ((np.arange(SIZE * _SAMPLES) + 0.5) / _SAMPLES).astype(np.float32)
    y, x = grid[:, None], grid[None, :]  # pixels from the top left corner

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return rng.uniform(low, high, (n, *shape)).astype(np.float32)

    def placed(cx: np.ndarray, cy: np.ndarray, angle: np.ndarray) -> tuple[Field, Field]:
        """Coordinates (n, h, w) with the origin at the centre given, turned by the angle."""
        dx, dy = x - cx[:, None, None], y - cy[:, None, None]
        cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
        return cos * dx + sin * dy, cos * dy - sin * dx

    # Background: two colours mixed by a grating of random direction, wavelength and contrast, plus noise.
    along, _ = placed(uniform(0, SIZE), uniform(0, SIZE), uniform(0, np.pi))
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * along / uniform(3, 12)[:, None, None])
    first, second = uniform(0, 1, 3, 1, 1), uniform(0, 1, 3, 1, 1)
    picture = first + uniform(0.1, 0.6, 1, 1, 1) * (second - first) * wave[:, None]

    # Distractors: three bars and three dots in colours of their own.
    for i in range(6):
        across, down = placed(uniform(0, SIZE), uniform(0, SIZE), uniform(0, np.pi))
        if i < 3:
            inside = (np.abs(across) < uniform(2, 4)[:, None, None]) & (np.abs(down) < 0.6)
        else:
            inside = across**2 + down**2 < uniform(0.7, 1.3)[:, None, None] ** 2
        picture = np.where(inside[:, None], uniform(0, 1, 3, 1, 1), picture)

    # The shape: its colour keeps a distance from the background's so that it can be seen.
    side = uniform(6.5, 12)  # of a square with the shape's area: all classes are equally large
    margin = 0.9 * side + 1
    u, v = placed(
        margin + uniform(0, 1) * (SIZE - 2 * margin),
        margin + uniform(0, 1) * (SIZE - 2 * margin),
        uniform(0, 2 * np.pi),
    )
    inside = np.zeros_like(u, dtype=bool)
    for label, shape in enumerate(SHAPES.values()):
        rows = labels == label
        unit = (side[rows] / np.sqrt(shape.area))[:, None, None]
        inside[rows] = shape.contains(u[rows] / unit, v[rows] / unit)
    colour = (first + uniform(0.35, 0.65, 3, 1, 1)) % 1.0
    picture = np.where(inside[:, None], colour, picture)

    picture = picture.reshape(n, 3, SIZE, _SAMPLES, SIZE, _SAMPLES).mean((3, 5))
    picture = picture + rng.normal(0, 0.04, picture.shape)
    covered = inside.reshape(n, SIZE, _SAMPLES, SIZE, _SAMPLES).mean((2, 4))
    return (picture.clip(0, 1) * 255).round().astype(np.uint8), covered >= 0.5


def _polygon(u: Field, v: Field, corners: int) -> Field:
    """Inside of a regular polygon with its corners at distance 1."""
    sector = 2 * np.pi / corners
    angle = (np.arctan2(v, u) % sector) - sector / 2
    return np.hypot(u, v) * np.cos(angle) < np.cos(sector / 2)


def _star(u: Field, v: Field) -> Field:
    """Inside of a five-pointed star."""
    sector = 2 * np.pi / 5
    angle = np.abs((np.arctan2(v, u) % sector) - sector / 2)  # 0 in a notch, sector/2 at a tip
    radius = np.hypot(u, v)
    # The straight edge from the notch (_NOTCH, 0) to the tip (cos, sin)(sector/2), in this half sector.
    tip_x, tip_y = np.cos(sector / 2), np.sin(sector / 2)
    px, py = radius * np.cos(angle), radius * np.sin(angle)
    return (px - _NOTCH) * tip_y < py * (tip_x - _NOTCH)


SHAPES = {
    "circle": Shape(lambda u, v: u**2 + v**2 < 1, pi),
    "square": Shape(lambda u, v: _polygon(u, v, 4), 2),
    "triangle": Shape(lambda u, v: _polygon(u, v, 3), 3 * sqrt(3) / 4),
    "star": Shape(_star, 5 * _NOTCH * sin(pi / 5)),
    "cross": Shape(
        lambda u, v: (np.minimum(abs(u), abs(v)) < 0.3) & (np.maximum(abs(u), abs(v)) < 1),
        4 * (2 * 0.3 - 0.3**2),
    ),
    "ring": Shape(lambda u, v: (u**2 + v**2 < 1) & (u**2 + v**2 > 0.3), 0.7 * pi),
}
