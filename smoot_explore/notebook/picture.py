"""Pictures in notebooks: HoloViews drawn by Bokeh as ipywidgets, whose numbers are then replaced.

Everything comes from the kernel: BokehJS with `page.load_page`, the numbers with the widgets' messages.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import holoviews as hv
import ipywidgets as widgets
from bokeh.core.json_encoder import serialize_json
from bokeh.core.serialization import Serializer
from bokeh.document import Document
from bokeh.document.events import ModelChangedEvent
from bokeh.models import Column, Range1d, Row
from bokeh.protocol.messages.patch_doc import patch_doc
from jupyter_bokeh import BokehModel

from smoot_explore.notebook.page import can_move, replaces_former
from smoot_explore.views import looks, paper
from smoot_explore.views.live import replace, same_layers
from smoot_explore.views.sketch import Sketch, element

SETTLING_SECONDS = 1.0  # that a page may need until it shows a new picture
REPEATING_SECONDS = 2.0  # until everything is sent again to a page that has not answered yet
_CELL = 120  # pixels, of a picture beside another figure
_EDGE, _ABOVE = 11, 40  # pixels around pictures: at their sides, and for the tools above them
_SIZES = ("inner_width", "inner_height")  # told by a page when it has laid out a figure
_ACCEPTED = "an element, an overlay or a layout of HoloViews, such as views.losses(record)"


class Picture(widgets.VBox):
    """A picture, or several of them in rows, that can show other numbers; for the main thread alone.

    Where no widgets are, as in a notebook on GitHub, a PNG stands for it, and so it does in Google Colab.

    Parameters
    ----------
    what
        An element, an overlay or a layout of HoloViews; a `Sketch`; or rows of these, which are sequences.

    Examples
    --------
    >>> from smoot_explore import bundled_runs, views
    >>> record = bundled_runs()[2].record()
    >>> picture = Picture(views.losses(record))
    >>> picture.show(views.losses.sketch(record.isel(epoch=slice(2))))
    """

    def __init__(self, what: Any) -> None:
        super().__init__(layout={"width": "100%"})
        self._parts: list[_Part] = []
        self._plots: _Plots | None = None
        self.show(what)
        replaces_former(self)

    def close(self) -> None:
        """Take it from the page and free its memory."""
        super().close()
        self._parts, self._plots = [], None

    @property
    def element(self) -> Any:
        """What it shows now."""
        elements = [part.element for part in self._parts]
        return elements[0] if len(elements) == 1 else hv.Layout(elements).cols(self._columns)

    def show(self, what: Any) -> None:
        """Show something else.

        Pictures of the same layers take over the new numbers, in about a millisecond; others are built anew.

        Raises
        ------
        TypeError
            For what is no picture, or has sliders of its own.
        """
        rows = _rows(what)
        before, self._parts = self._parts, [part for row in rows for part in row]
        shape, self._shape = getattr(self, "_shape", None), [len(row) for row in rows]
        self._columns = max(self._shape)
        if not can_move():
            self.children = [_still(self.png())]
            return
        moves = shape == self._shape and all(
            old.sketch is not None and new.sketch is not None and same_layers(old.sketch, new.sketch)
            for old, new in zip(before, self._parts, strict=True)
        )
        if self._plots is None or not moves:
            self._build(rows)
            return
        with self._plots.together():
            for old, new in zip(before, self._parts, strict=True):
                new.plot = old.plot
                if new.sketch is not old.sketch:
                    replace(new.plot, old.sketch, new.sketch)  # type: ignore[arg-type]  # both have one

    def png(self) -> bytes:
        """What it shows now as a PNG, drawn by Matplotlib in a few tenths of a second."""
        return paper.png(self.element)

    def _build(self, rows: Sequence[Sequence[_Part]]) -> None:
        looks.load()
        renderer = hv.renderer("bokeh").instance(mode="server")
        for part in self._parts:
            part.plot = renderer.get_plot(part.element)
        root = _laid_out([[part.plot.state for part in row] for row in rows])
        if self._plots is None:
            self._plots = _Plots(root, layout={"width": "100%"})
            self.children = [self._plots]
        else:
            self._plots.update_from_model(root)
        for part in self._parts:
            part.plot.document = root.document

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return with_still(super()._repr_mimebundle_(**kwargs), self.element)


class _Part:
    """One picture of several; a sketch of it if there is one, and its plot once it is built."""

    def __init__(self, what: Any) -> None:
        self.sketch: Sketch | None
        self._element: Any
        if isinstance(what, Sketch):
            self.sketch, self._element = what, None
        elif isinstance(what, hv.Element | hv.Overlay | hv.NdOverlay):
            self.sketch, self._element = sketch_of(what), what
        else:
            shown = "has sliders: choose one of its pictures first" if _has_keys(what) else "is none"
            raise TypeError(f"a picture is {_ACCEPTED}; {type(what).__name__} {shown}")
        self.plot: Any = None

    @property
    def element(self) -> Any:
        if self._element is None:
            self._element = element(self.sketch)  # type: ignore[arg-type]  # one of both is there
        return self._element


class _Plots(BokehModel):
    """Bokeh models whose changes reach the page: all of an update in one message, and none of them lost.

    A page that is still making the view hears nothing, and one that makes another view of it begins with what there
    was at first. So what has changed since is sent again to a view that has just laid out its figures.
    """

    def __init__(self, model: Any, **kwargs: Any) -> None:
        self._events: list[Any] = []
        self._collects = self._answered = False
        # Models by their id and attribute, since the page has all.
        self._changed: dict[tuple[str, str], Any] = {}
        self._ours: set[tuple[str, str]] = set()  # attributes that the kernel sets
        self._speaks_from = self._repeats_at = time.monotonic() + SETTLING_SECONDS
        super().__init__(model, combine_events=True, **kwargs)

    def close(self) -> None:
        if self.comm is not None:  # closing it twice would fail
            super().close()

    def update_from_model(self, model: Any) -> None:
        self._changed, self._ours, self._events = {}, set(), []
        super().update_from_model(model)

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if self._changed:  # a page that is loaded again begins with what there is now
            self._changed = {}
            with self.hold_trait_notifications():
                self.set_trait("render_bundle", self._model_to_traits(self._model))
        return super().get_state(*args, **kwargs)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send what changes as one message."""
        self._collects = True
        try:
            yield
        finally:
            self._collects = False
            self._send_events()

    def _document_patched(self, event: Any) -> None:
        if event.setter is self:
            return
        self._events.append(event)
        if not self._collects:
            self._send_events()

    def _send_events(self) -> None:
        events, self._events = self._events, []
        for event in events:
            attr = "data" if event.kind == "ColumnDataChanged" else getattr(event, "attr", None)
            if attr is not None:
                self._changed[event.model.id, attr] = event.model
                if not isinstance(event.model, Range1d):  # the visitor zooms
                    self._ours.add((event.model.id, attr))
        now = time.monotonic()
        if not self._answered and now >= self._repeats_at:
            self._repeats_at = now + REPEATING_SECONDS
            self._send_all()
        elif self._answered or now >= self._speaks_from:
            self._patch(events)

    def _send_all(self) -> None:
        """Everything that is no longer as it was in the beginning."""
        self._patch(
            [
                ModelChangedEvent(self._document, model, attr, getattr(model, attr))
                for (_, attr), model in self._changed.items()
            ]
        )

    def _patch(self, events: list[Any]) -> None:
        document = self._document
        if not events or document is None:
            return
        # Arrays inside of the text: each buffer of its own would cost two more messages.
        serializer = Serializer(references=document.models.synced_references, deferred=False)
        content = {"events": serializer.encode(events)}
        document.models.flush_synced(lambda model: not serializer.has_ref(model))
        for fragment in (patch_doc.create_header(), {}, content):
            self.send({"msg": "patch", "payload": serialize_json(fragment)})

    def _sync_model(self, model: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        changed = content.get("model", {}).get("id", ""), content.get("attr", "")
        if changed not in self._ours:  # the page tells back whatever it was told, which may be old by now
            super()._sync_model(model, content, buffers)
        laid_out, now = changed[1] in _SIZES, time.monotonic()
        if not self._answered or (laid_out and now >= self._repeats_at):
            self._answered, self._repeats_at = True, now + REPEATING_SECONDS
            self._send_all()


def sketch_of(drawn: Any) -> Sketch | None:
    """The sketch that an element was made of; None for one that is not a view's, or has options of its own."""
    return getattr(drawn, "sketch", None) if drawn.id is None else None


def with_still(bundle: dict[str, Any], drawn: Any) -> dict[str, Any]:
    """What a notebook gets of a widget, with a title and a PNG of its picture for whoever shows no widgets."""
    return bundle | {"text/plain": " ".join(_titles(drawn)), "image/png": paper.png(drawn)}


def _titles(drawn: Any) -> list[str]:
    parts = list(drawn) if isinstance(drawn, hv.Layout) else [drawn]
    return [part.label.replace("\n", " ") for part in parts if part.label] or ["A picture"]


def _rows(what: Any) -> list[list[_Part]]:
    if isinstance(what, hv.Layout):
        parts = [_Part(one) for one in what]
        return [parts[i : i + what._max_cols] for i in range(0, len(parts), what._max_cols)]
    if isinstance(what, list | tuple) and not isinstance(what, Sketch):
        return [_rows(row)[0] if isinstance(row, hv.Layout) else _row(row) for row in what]
    return [[_Part(what)]]


def _row(what: Any) -> list[_Part]:
    several = isinstance(what, list | tuple) and not isinstance(what, Sketch)
    return [_Part(one) for one in (what if several else [what])]


def _laid_out(rows: list[list[Any]]) -> Any:
    """Figures in rows that take the width that there is."""
    root = Column(children=[_side_by_side(row) for row in rows], sizing_mode="stretch_width")
    Document().add_root(root)
    return root


def _side_by_side(figures: list[Any]) -> Any:
    if len(figures) == 1:
        return figures[0]
    highest = max((f.height for f in figures if not looks.has_square_cells(f)), default=None)
    children = list[Any]()
    for figure in figures:
        if looks.has_square_cells(figure):
            width, height = (round(_CELL * (r.end - r.start)) for r in (figure.x_range, figure.y_range))
            figure.update(sizing_mode="fixed", width=width + 2 * _EDGE, height=height + _ABOVE)
            children.append(Column(children=[figure]))  # else it takes over its neighbour's margins
        else:
            figure.height = highest
            children.append(figure)
    return Row(children=children, sizing_mode="stretch_width")


def _has_keys(what: Any) -> bool:
    return isinstance(what, hv.HoloMap) and bool(what.kdims)


def _still(png: bytes) -> widgets.Image:
    return widgets.Image(value=png, format="png", layout={"max_width": "100%", "object_fit": "contain"})
