"""Class I and class II of many images, selected together: a scatter, mean curves, and the images themselves."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import ipywidgets as widgets
import numpy as np
import xarray as xr

from smoot_explore.core.classes import image_class
from smoot_explore.data.images import Split
from smoot_explore.notebook.page import replaces_former
from smoot_explore.notebook.picture import Picture, with_still
from smoot_explore.views.classes import class_scatter, start_and_rise
from smoot_explore.views.curves import class_means
from smoot_explore.views.pictures import picture_grid
from smoot_explore.views.pixels import picture_pixels
from smoot_explore.views.sketch import Sketch, element

_MOST_SHOWN = 24  # images
_COLUMNS = 12


class LinkedClasses(widgets.VBox):
    """Every image as a point; a box around some of them shows their mean curve and the images.

    Parameters
    ----------
    curves
        From `masking_curves`, of a single fill and attribution.
    split
        The images that were measured.
    tolerance
        Of the classes, as in `image_class`.

    Examples
    --------
    >>> from smoot_explore import bundled_runs
    >>> run = bundled_runs()[0]
    >>> black = run.curves().sel(attribution="gradient", fill="black")
    >>> linked = LinkedClasses(black, run.load_data().test[: black.sizes["image"]])
    >>> linked.select((0.0, 0.5), (0.3, 1.0))
    >>> linked.words.value
    '18 images of class II'
    """

    def __init__(self, curves: xr.Dataset, split: Split, tolerance: float = 0.01) -> None:
        several = [str(name) for name in curves.probability.dims if name not in ("image", "masked_fraction")]
        if several:
            raise ValueError(
                f"the curves have several of {', '.join(several)}; choose one of each, such as "
                f"curves.isel({several[0]}=0)"
            )
        if len(split) != curves.sizes["image"]:
            raise ValueError(
                f"the curves are of {curves.sizes['image']} images, but {len(split)} images were given; give those "
                "that were measured, such as data.test[:1000]"
            )
        self.selected = np.array([], int)  # positions
        self._curves, self._split, self._tolerance = curves, split, tolerance
        self._box = hv.streams.BoundsXY()
        self.words = widgets.Label(
            "Draw a box around some points: drag in the first picture, whose Box Select tool is on."
        )
        scatter, *others = self._sketches()
        drawn = element(scatter)
        self._box.source = drawn
        self._box.add_subscriber(lambda bounds: self._boxed(bounds))
        self.picture = Picture([[drawn, others[0]], others[1]])
        super().__init__([self.words, self.picture], layout={"width": "100%"})
        replaces_former(self)

    def select(self, start: tuple[float, float], rise: tuple[float, float]) -> None:
        """Select the images whose probability when clean, and its largest rise, lie between these."""
        x, y = start_and_rise(self._curves)
        inside = (x >= start[0]) & (x <= start[1]) & (y >= rise[0]) & (y <= rise[1])
        self.selected = np.flatnonzero(inside)
        kinds = image_class(self._curves, self._tolerance).values[self.selected]
        told = [
            f"{n} {'image' if n == 1 else 'images'} of class {name}"
            for name in ("I", "II")
            if (n := int((kinds == name).sum()))
        ]
        more = f"; the first {_MOST_SHOWN} are shown" if len(self.selected) > _MOST_SHOWN else ""
        self.words.value = (" and ".join(told) or "No image lies in the box") + more
        scatter, means, images = self._sketches()
        self.picture.show([[scatter, means], images])

    def _boxed(self, bounds: tuple[float, float, float, float] | None) -> None:
        if bounds is not None:
            left, bottom, right, top = bounds
            self.select((left, right), (bottom, top))

    def _sketches(self) -> tuple[Sketch, Sketch, Sketch]:
        chosen, split = self.selected.tolist(), self._split
        shown = self.selected[:_MOST_SHOWN]
        names = [split.class_names[int(split.labels[i])] for i in shown]
        grid = picture_grid.sketch(
            [picture_pixels(split.images.numpy()[shown])] if chosen else [],
            columns=_COLUMNS, n_rows=_MOST_SHOWN // _COLUMNS, texts=names, label="Selected images",
        )  # fmt: skip
        return (
            class_scatter.sketch(self._curves, self._tolerance, selected=chosen),
            class_means.sketch(self._curves, self._tolerance, selected=chosen),
            grid,
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return with_still(super()._repr_mimebundle_(**kwargs), self.picture.element)
