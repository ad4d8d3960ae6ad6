"""Saliency of several runs for the same images, a row for each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from smoot_explore.views.grid import PictureGrid
from smoot_explore.views.pixels import picture_pixels, saliency_pixels


class SaliencyGrid(PictureGrid):
    """Images above their saliency by each run; ``labels`` name the runs, ``columns`` is the number of images."""

    def __init__(self, labels: Sequence[str], columns: int, cell: int = 100) -> None:
        super().__init__(
            "saliency", "", columns, 1 + len(labels), cell=cell,
            row_labels=["image", *(label.replace(", ", "\n") for label in labels)],
        )  # fmt: skip
        self.labels = list(labels)

    def show_maps(
        self,
        title: str,
        images: np.ndarray,
        names: Sequence[str],
        maps: Mapping[str, np.ndarray],
        limits: Mapping[str, np.ndarray],
    ) -> None:
        """uint8 ``images`` (n, C, H, W) with a name each; saliency (n, H, W) and where each map's colour scale
        ends (n,), by the run's label."""
        self.figure.title.text = title
        rows = [
            [saliency_pixels(m[None], x)[0] for m, x in zip(maps[label], limits[label], strict=True)]
            for label in self.labels
        ]
        self.show([picture_pixels(images), *rows], titles=names)
