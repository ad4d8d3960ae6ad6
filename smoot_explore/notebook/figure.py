"""A picture with sliders: drawn anew when one of them moves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import holoviews as hv
import ipywidgets as widgets

from smoot_explore.notebook.controls import choice
from smoot_explore.notebook.page import LIVE, lost_kernel, projector_button, replaces_former
from smoot_explore.notebook.picture import Picture, with_still

REDRAW_SECONDS = 0.03  # a figure waits so long for further moves of its sliders
# A training step, or a look at a model, but never both: they switch the model's modes and gradients.
models = threading.RLock()


class LiveFigure(widgets.VBox):
    """A picture that is drawn anew whenever one of its controls moves.

    Moves that come while it draws are answered by one drawing, of the newest values.

    Parameters
    ----------
    draw
        Called with the controls' values by name; returns an element, an overlay or a layout of HoloViews, such as
        the functions of `smoot_explore.views` give. Its error is shown below.
    **controls
        From `slider`, `choice`, or any widget with a value.

    Examples
    --------
    >>> from smoot_explore import bundled_runs, views
    >>> from smoot_explore.notebook import slider
    >>> record = bundled_runs()[2].record()
    >>> figure = LiveFigure(
    ...     lambda epochs: views.losses(record.isel(epoch=slice(epochs))), epochs=slider("Epochs", 1, 8, 8)
    ... )
    >>> figure.controls["epochs"].value = 3
    """

    def __init__(self, draw: Callable[..., Any], **controls: widgets.Widget) -> None:
        self.controls = controls
        self.picture: Picture | None = None  # none before the first drawing that succeeds
        self.problem = widgets.Label()
        self.problem.layout.display = "none"
        self._draw, self._waits = draw, False
        self._above = [lost_kernel(), *([projector_button()] if controls else [])]
        super().__init__([*self._above, *controls.values(), self.problem], layout={"width": "100%"})
        self.add_class(LIVE)
        replaces_former(self)
        for control in controls.values():
            control.observe(self._moved, "value")
        self.redraw()

    def redraw(self) -> None:
        """Draw with the present values."""
        self._waits = False
        try:
            with models:
                drawn = self._draw(**{name: control.value for name, control in self.controls.items()})
            if self.picture is None:
                self.picture = Picture(drawn)
                self.children = [*self._above, *self.controls.values(), self.picture, self.problem]
            else:
                self.picture.show(drawn)
            self.problem.layout.display = "none"
        except Exception as error:  # whatever the notebook's function raises, the sliders stay alive
            self.problem.value = f"{type(error).__name__}: {error}"
            self.problem.layout.display = None

    def close(self) -> None:
        """Take it from the page; the controls live on, which may belong to others too."""
        if self.comm is None:
            return
        super().close()
        for control in self.controls.values():
            control.unobserve(self._moved, "value")
        self.children = [*self._above, *([self.picture] if self.picture else []), self.problem]

    def _moved(self, change: dict) -> None:
        if self._waits:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no kernel, or a thread of the caller's: nothing to wait for
            return self.redraw()
        self._waits = True
        loop.call_later(REDRAW_SECONDS, self.redraw)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs)
        return bundle if self.picture is None else with_still(bundle, self.picture.element)


def shown(picture: Any) -> Picture | LiveFigure:
    """A picture of HoloViews as a widget; each of its key dimensions gets a control.

    Parameters
    ----------
    picture
        An element, an overlay or a layout; or a `HoloMap` or `DynamicMap`, or a layout of these.

    Examples
    --------
    >>> from smoot_explore import bundled_runs, views
    >>> list(shown(views.accuracy_drop(bundled_runs()[2].curves())).controls)
    ['attribution', 'fill']
    """
    parts = list(picture) if isinstance(picture, hv.Layout) else [picture]
    keys = {key.name: key for part in parts if isinstance(part, hv.HoloMap) for key in part.kdims}
    if not keys:
        return Picture(picture)

    def draw(**values: Any) -> Any:
        chosen = [_chosen(part, values) for part in parts]
        return hv.Layout(chosen).cols(picture._max_cols) if isinstance(picture, hv.Layout) else chosen[0]

    return LiveFigure(draw, **{name: _control(key, parts) for name, key in keys.items()})


def _chosen(part: Any, values: dict[str, Any]) -> Any:
    if not isinstance(part, hv.HoloMap) or not part.kdims:
        return part
    return part[tuple(values[key.name] for key in part.kdims)]


def _control(key: Any, parts: list[Any]) -> widgets.Widget:
    """A list for texts, a slider for numbers; their values are the dimension's, or those that its pictures have."""
    values = list(key.values) or sorted(
        {value for part in parts if key in part.kdims for value in part.dimension_values(key, expanded=False)}
    )
    if any(isinstance(value, str) for value in values):
        return choice(key.label, values)
    return widgets.SelectionSlider(
        options=values, description=key.label, style={"description_width": "230px"}, layout={"width": "560px"}
    )


def show_in_notebooks() -> None:
    """Have a picture of HoloViews that ends a cell shown as a widget, until ``hv.extension`` takes that over."""
    if not getattr(hv.extension, "_loaded", False):
        hv.Store.set_display_hook("html+js", hv.core.dimension.LabelledData, _display)


def _display(picture: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return shown(picture)._repr_mimebundle_(), {}
