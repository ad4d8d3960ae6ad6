"""A picture that moves: built once, and then its data are replaced.

Building a picture takes a hundred times as long as giving its layers new numbers, and would reset what the visitor has
zoomed to. So this file reaches into HoloViews' plots for their data sources, and no other does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import panel as pn
from bokeh.models import Range1d

from smoot_explore.views import looks
from smoot_explore.views.sketch import Layer, Sketch, columns, element, extent

_FEW = 12  # numbers: comparing these costs less than sending them


class Live:
    """A picture on a page, shown by ``pane``.

    Parameters
    ----------
    sketch
        What is shown first, for example ``views.losses.sketch(record)``: with all the layers that it will ever have;
        those without numbers draw nothing.
    name
        The figure's own on the page, and that of its files when it is saved.
    streams
        Of HoloViews, without a source: they tell what is tapped or selected.
    height
        In pixels; by default that of its looks.
    **options
        Of the pane.
    """

    def __init__(
        self,
        sketch: Sketch,
        name: str | None = None,
        streams: Sequence[Any] = (),
        height: int | None = None,
        **options: Any,
    ) -> None:
        looks.load()
        self.sketch = sketch
        self.name, self._height = name or sketch.name.lower().replace(" ", "-"), height
        self._streams = list(streams)
        sizing = "scale_width" if sketch.name == looks.PICTURES else "stretch_width"
        options = {"sizing_mode": sizing, "margin": 0} | options
        self.pane = pn.pane.HoloViews(self._element(), backend="bokeh", linked_axes=False, **options)

    @property
    def plots(self) -> list[Any]:
        """The plots of HoloViews, one for each page that shows it."""
        return [plot for plot, _ in self.pane._plots.values()]

    def show(self, sketch: Sketch) -> None:
        """Show another sketch of the same layers.

        One of other layers is built anew, which takes long and resets what the visitor has zoomed to.
        """
        before, self.sketch = self.sketch, sketch
        plots = self.plots
        if not plots or not same_layers(before, sketch):
            self.pane.object = self._element()
            return
        for plot in plots:
            replace(plot, before, sketch)

    def _element(self) -> Any:
        drawn = element(self.sketch)
        own = {} if self._height is None else {"height": self._height}
        drawn.opts(hooks=[looks.finishing(self.name)], clone=False, backend="bokeh", **own)
        for stream in self._streams:
            stream.source = drawn
        return drawn


def same_layers(one: Sketch, other: Sketch) -> bool:
    """Whether a plot of the one can take the numbers of the other."""

    def parts(sketch: Sketch) -> tuple:
        kinds = [(layer.kind, layer.role, tuple(layer.told)) for layer in sketch.layers]
        return sketch.name, sketch.x.name, sketch.y.name, kinds

    return parts(one) == parts(other)


def replace(plot: Any, before: Sketch | None, sketch: Sketch) -> None:
    """Give a Bokeh plot of HoloViews the numbers, texts and ranges of another sketch of the same layers.

    ``before`` is the one that it shows: what has not changed is not sent again.
    """
    figure = plot.state
    olds = before.layers if before is not None else (None,) * len(sketch.layers)
    for part, old, layer in zip(plot.subplots.values(), olds, sketch.layers, strict=True):
        if old is not layer and (old is None or not _same(old, layer)):
            part.handles["source"].data = columns(layer, sketch.x.name, sketch.y.name)
        if old is None or old.label != layer.label:
            _relabel(figure, part.handles.get("glyph_renderer"), layer.label)
    if figure.title is not None and figure.title.text != sketch.title:
        figure.title.text = sketch.title
    looks.show_legend_of_what_is_drawn(figure)
    for which, axis in enumerate((figure.x_range, figure.y_range)):
        reach = extent(sketch, which)
        asked = reach is not None and (before is None or reach != extent(before, which))
        if asked and isinstance(axis, Range1d):  # else the visitor's zoom stays
            axis.update(start=reach[0], end=reach[1], reset_start=reach[0], reset_end=reach[1])


def _same(old: Layer, new: Layer) -> bool:
    """Whether two layers hold the very same arrays, or few numbers, which are equal."""
    if old.told.keys() != new.told.keys() or any(old.told[n] is not new.told[n] for n in new.told):
        return False
    return all(a is b or _few_and_equal(a, b) for a, b in zip(old.numbers, new.numbers, strict=True))


def _few_and_equal(a: Any, b: Any) -> bool:
    return len(a) == len(b) <= _FEW and np.array_equal(a, b)


def _relabel(figure: Any, renderer: Any, label: str) -> None:
    for legend in figure.legend:
        for item in legend.items:
            if renderer in item.renderers and item.label != {"value": label}:
                item.label = {"value": label}
