"""The What if tab: how every k would move, without training."""

from __future__ import annotations

from typing import Any

import numpy as np
import panel as pn
import xarray as xr
from bokeh.events import Tap

from smoot_explore.explorer.controls import bounds_control, control, number, small_text, text
from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.state.whatif import SETTINGS, WhatIfState
from smoot_explore.views.histogram import Histogram
from smoot_explore.views.palette import COLOURS
from smoot_explore.views.whatif import CobwebView, TrajectoriesView


class WhatIfTab:
    """Redraws all trajectories whenever a slider moves, and the rest soon after."""

    def __init__(self, state: WhatIfState) -> None:
        self.state = state
        self.trajectories, self.cobweb = TrajectoriesView(height=270), CobwebView(height=270)
        self.settled = Histogram(
            "Where k ends", "k (pixels)", name="settled", colour=COLOURS["smoot"], unit="pixels", height=180
        )
        self._k: xr.DataArray | None = None  # the trajectories drawn
        self._detailed: xr.DataArray | None = None  # those that the details are of
        self.summary = text(margin=(4, 10))
        self.picked = text(margin=(4, 10))
        self.trajectories.figure.on_event(Tap, self._tapped)
        sliders = [control(state.config, name) for name in ("alpha", "beta", "k_init")]
        sliders += [bounds_control(state.config), control(state, "epochs")]
        self.plots = pn.Column(
            self.summary,
            pn.Row(
                pn.pane.Bokeh(self.trajectories.figure, sizing_mode="stretch_width", margin=0),
                pn.pane.Bokeh(self.cobweb.figure, sizing_mode="stretch_width", margin=0),
                sizing_mode="stretch_width",
            ),
            pn.Row(
                pn.pane.Bokeh(self.settled.figure, sizing_mode="stretch_width", margin=0),
                pn.Column(
                    pn.Row(number(state, "picked", width=130), self.picked, sizing_mode="stretch_width"),
                    small_text(
                        "Click near a trajectory to pick its image. The model is frozen here: training would "
                        "also change the map.",
                        margin=(0, 10),
                    ),
                    sizing_mode="stretch_width",
                ),
                sizing_mode="stretch_width",
            ),
            sizing_mode="stretch_width",
        )
        self.waiting = text("The k-landscape of this run is being measured.", visible=False, margin=10)
        self.panel = pn.Column(
            pn.Row(*sliders[:3], sizing_mode="stretch_width"),
            pn.Row(*sliders[3:], sizing_mode="stretch_width"),
            self.waiting,
            self.plots,
            sizing_mode="stretch_width",
        )
        state.config.param.watch(self._moved, list(SETTINGS))
        state.param.watch(self._moved, ["epochs", "picked"])

    def refresh(self) -> None:
        """Draw everything."""
        state = self.state
        ready = state.landscape is not None
        self.plots.visible, self.waiting.visible = ready, not ready
        if state.problem:
            self.waiting.object = f"The k-landscape of this run cannot be measured: {escaped(state.problem)}"
        if not ready:
            return
        self._k = state.trajectories()
        self.trajectories.show(self._k, state.position, state.n_pixels, state.bounds)

    def show_details(self) -> None:
        """Draw what follows from the trajectories. Called by the clock: the picture itself comes first."""
        state, k = self.state, self._k
        if k is None or k is self._detailed:
            return
        self._detailed = k
        self.settled.show(k.values[-1], np.linspace(0, state.n_pixels, 50), state.bounds)
        self.cobweb.show(*state.map(), k.values[:, state.position])
        self.summary.object = state.summary(k)
        self.picked.object = state.describe_picked(k)

    def _moved(self, *events: Any) -> None:
        with pn.io.hold():
            self.refresh()

    def _tapped(self, event: Tap) -> None:
        if event.x is None or event.y is None:
            return
        image = self.trajectories.image_at(event.x, event.y)
        if image is not None:
            self.state.picked = image
