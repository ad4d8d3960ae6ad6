"""A picture that moves: built once, and then its data are replaced.

Building a picture takes hundreds of times as long as giving its layers new numbers, and would reset what the visitor
has zoomed to. So this file reaches into HoloViews' plots for their data sources, and no other does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import panel as pn
import param
from bokeh.models import Range1d

from smoot_explore.views import looks
from smoot_explore.views.sketch import Layer, Sketch, columns, element, extent, said


class Live:
    """A picture on a page, shown by ``pane``. HoloViews is made for one thread: use it on the event loop alone.

    Parameters
    ----------
    sketch
        What is shown first, for example ``views.losses.sketch(record)``: with all the layers that it will ever have;
        those without numbers draw nothing.
    name
        The figure's own on the page, and that of its files when it is saved.
    streams
        Of HoloViews, without a source: they tell what is tapped or selected.
    **options
        Of the pane.
    """

    def __init__(
        self,
        sketch: Sketch,
        name: str | None = None,
        streams: Sequence[Any] = (),
        **options: Any,
    ) -> None:
        looks.load()
        self.sketch = sketch
        self.name = name or sketch.name.lower().replace(" ", "-")
        self._streams = list(streams)
        options = {"sizing_mode": "stretch_width", "margin": 0} | options
        self.pane = LivePane(None, backend="bokeh", linked_axes=False, **options)
        self.pane.live = self

    @property
    def plots(self) -> list[Any]:
        """The plots of HoloViews, one for each page that shows it."""
        return [plot for plot, _ in self.pane._plots.values()]

    def show(self, sketch: Sketch) -> None:
        """Show another sketch of the same layers.

        One of other layers is built anew, which takes long and resets what the visitor has zoomed to.
        """
        before, self.sketch = self.sketch, sketch
        if not same_layers(before, sketch):
            self.pane.object = self._element()
            return
        for plot in self.plots:  # of one that is not on a page yet, the pane draws what it shows then
            replace(plot, before, sketch)

    def _element(self) -> Any:
        drawn = element(self.sketch).opts(hooks=self._hooks(), clone=False, backend="bokeh")
        for stream in self._streams:
            stream.source = drawn
        return drawn

    def _hooks(self) -> list[Callable[[Any, Any], None]]:
        """What finishes the figure. They hold nothing of this object: HoloViews keeps them, and so would keep it."""
        return [looks.finishing(self.name, said(self.sketch))]


class Kept:
    """Sketches that are made anew only when what they are of is something else."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[list[Any], Sketch]] = {}

    def __call__(self, name: str, of: Sequence[Any], make: Callable[[], Sketch]) -> Sketch:
        """The sketch of this name; ``of`` are all the objects that it depends on."""
        before, sketch = self._made.get(name, (None, None))
        if sketch is None or before is None or not _all_same(before, of):
            sketch = make()
            self._made[name] = list(of), sketch
        return sketch


def _all_same(before: Sequence[Any], now: Sequence[Any]) -> bool:
    """Whether they are the same objects, or equal numbers and texts."""
    plain = int | float | str | None
    return len(before) == len(now) and all(
        a is b or (isinstance(a, plain) and isinstance(b, plain) and a == b)
        for a, b in zip(before, now, strict=True)
    )


class LivePane(pn.pane.HoloViews):
    """Shows what its `Live` shows now, wherever and however often it is put into a page."""

    live: Live | None = None
    shown = True  # whether its figures are seen when they are built
    object: Any

    def _get_model(self, doc: Any, *args: Any, **kwargs: Any) -> Any:
        if self.live is not None and getattr(self.object, "sketch", None) is not self.live.sketch:
            with param.parameterized.discard_events(self):
                self.object = self.live._element()
        return super()._get_model(doc, *args, **kwargs)

    def _render(self, doc: Any, comm: Any, root: Any) -> Any:
        plot = super()._render(doc, comm, root)
        plot.state.visible = self.shown
        if getattr(doc, "session_context", None) is not None:
            doc.on_session_destroyed(lambda session_context: _forget(plot))
        return plot

    def _sync_viewable_param(self, *events: Any) -> None:
        for (
            _,
            inner,
        ) in self._plots.values():  # it would tell the figure of its design, and fail: no figure has one
            inner._overrides = [name for name in inner._overrides if name != "design"]
        super()._sync_viewable_param(*events)

    def _cleanup(self, root: Any = None) -> None:
        plot, _ = self._plots.get(root.ref["id"], (None, None)) if root else (None, None)
        super()._cleanup(root)
        if plot is not None:
            _forget(plot)


def _forget(plot: Any) -> None:
    """Have HoloViews forget who listens to a plot that is gone: it would keep the whole page for ever."""
    for part in plot.traverse(lambda one: one):
        for callback in list(getattr(part, "callbacks", ())):
            callback.cleanup()


def figure_of(sketch: Sketch, name: str) -> Any:
    """A sketch as a Bokeh figure of this name, to be put into a page of one's own."""
    import holoviews as hv

    looks.load()
    named = element(sketch).opts(hooks=[looks.finishing(name, said(sketch))], clone=False, backend="bokeh")
    return hv.renderer("bokeh").get_plot(named).state


def same_layers(one: Sketch, other: Sketch) -> bool:
    """Whether a plot of the one can take the numbers of the other."""

    def parts(sketch: Sketch) -> tuple:
        # A legend has no place for what had no label when it was built.
        kinds = [(layer.kind, layer.role, tuple(layer.told), bool(layer.label)) for layer in sketch.layers]
        return sketch.name, sketch.x[:3], sketch.y[:3], kinds

    return parts(one) == parts(other)


def replace(plot: Any, before: Sketch | None, sketch: Sketch) -> None:
    """Give a Bokeh plot of HoloViews the numbers, texts and ranges of another sketch of the same layers.

    ``before`` is the one that it shows: what has not changed is not sent again.
    """
    figure = plot.state
    olds = before.layers if before is not None else (None,) * len(sketch.layers)
    for part, old, layer in zip(plot.subplots.values(), olds, sketch.layers, strict=True):
        if old is not layer and (old is None or not _same(old, layer)):
            _give(part.handles["source"], columns(layer, sketch.x.name, sketch.y.name))
        if old is None or old.label != layer.label:
            _relabel(figure, part.handles.get("glyph_renderer"), layer.label)
    if figure.title is not None and figure.title.text != sketch.title:
        figure.title.text = sketch.title
    if before is None or said(before) != said(sketch):
        figure.html_attributes = {"data-says": said(sketch)}
    looks.show_legend_of_what_is_drawn(figure)
    if sketch.name == looks.PICTURES and before is not None and sides(before) != sides(sketch):
        looks.square_cells(figure, *sides(sketch))
    for which, axis in enumerate((figure.x_range, figure.y_range)):
        reach = extent(sketch, which)
        if reach is None or (before is not None and reach == extent(before, which)):
            continue  # the visitor's zoom stays
        if isinstance(axis, Range1d):
            axis.update(start=reach[0], end=reach[1], reset_start=reach[0], reset_end=reach[1])


def _give(source: Any, data: dict[str, Any]) -> None:
    """Give a Bokeh source new columns; where one of them has changed and is as long as before, that one alone."""
    held = source.data
    if held.keys() == data.keys() and all(len(held[name]) == len(data[name]) for name in data):
        arrays = {name for name in data if isinstance(held[name], np.ndarray)}
        changed = [name for name in data if name not in arrays or not _equal(held[name], data[name])]
        if len(changed) == 1:
            held[changed[0]] = data[changed[0]]
            return
    source.data = data


def sides(sketch: Sketch) -> tuple[float, float]:
    """Width and height of a grid of pictures, in cells."""
    (left, right), (bottom, top) = sketch.x.range, sketch.y.range
    return (right or 0.0) - (left or 0.0), (top or 0.0) - (bottom or 0.0)


def _same(old: Layer, new: Layer) -> bool:
    """Whether two layers hold the same numbers: comparing them takes less than sending them."""
    if old.told.keys() != new.told.keys() or not all(_equal(old.told[n], new.told[n]) for n in new.told):
        return False
    return all(_equal(a, b) for a, b in zip(old.numbers, new.numbers, strict=True))


def _equal(a: Any, b: Any) -> bool:
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return a is b or list(a) == list(b)
    return a is b or np.array_equal(a, b, equal_nan=a.dtype.kind == b.dtype.kind == "f")


def _relabel(figure: Any, renderer: Any, label: str) -> None:
    for legend in figure.legend:
        for item in legend.items:
            if renderer in item.renderers and item.label != {"value": label}:
                item.label = {"value": label}
