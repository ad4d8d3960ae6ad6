"""Arrays as the coloured pixels that a page can draw."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from matplotlib import colormaps

_DIVERGING = (colormaps["RdBu_r"](np.linspace(0, 1, 256)) * 255).round().astype(np.uint8)  # (256, 4)


def picture_pixels(images: np.ndarray) -> np.ndarray:
    """uint8 images ``(N, C, H, W)``, gray or RGB, as RGBA ``(N, H, W, 4)``."""
    n, channels, height, width = images.shape
    rgba = np.full((n, height, width, 4), 255, np.uint8)
    rgba[..., :3] = np.moveaxis(images[:, :3] if channels >= 3 else images[:, :1], 1, -1)
    return rgba


def saliency_pixels(maps: np.ndarray, limit: float | np.ndarray) -> np.ndarray:
    """Signed saliency ``(N, H, W)`` as RGBA ``(N, H, W, 4)``: blue is −limit or less, white 0, red limit or more.

    ``limit`` is one for all maps, or ``(N,)``. NaN is drawn white.
    """
    ends = np.broadcast_to(np.asarray(limit, float), len(maps)).reshape(-1, 1, 1)
    shares = np.nan_to_num(maps / np.where(ends > 0, ends, 1.0))
    return _DIVERGING[np.clip(shares * 127.5 + 127.5, 0, 255).round().astype(np.uint8)]


def mask_pixels_drawn(masks: np.ndarray) -> np.ndarray:
    """Boolean masks ``(N, H, W)`` as RGBA: what is masked is dark."""
    return picture_pixels(np.where(masks[:, None], 90, 255).astype(np.uint8))


def saliency_limit(maps: Iterable[np.ndarray]) -> float:
    """Where a colour scale shared by several groups of maps ends: the 99.5th percentile of the magnitudes of
    the group where that is largest."""
    return max((float(np.nanquantile(np.abs(m), 0.995)) for m in maps if m.size), default=1.0) or 1.0
