"""The What if tab: how every k would move, without training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn
import xarray as xr
from holoviews.streams import Tap

from smoot_explore import views
from smoot_explore.core.bounds import Bounds
from smoot_explore.explorer.controls import bounds_control, control, image_field, label_in, small_text, text
from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.gestures import gesture
from smoot_explore.explorer.state.whatif import SETTINGS, WhatIfState
from smoot_explore.views.live import Live
from smoot_explore.views.sketch import Sketch

_NO_K = xr.DataArray(np.empty((1, 0)), {"epoch": [0]}, ("epoch", "image"), "k")


class WhatIfTab:
    """Redraws all trajectories whenever a slider moves, and the rest soon after."""

    def __init__(
        self,
        state: WhatIfState,
        schedule: Callable[[Callable[[], None]], object],
        complain: Callable[[str], None],
    ) -> None:
        self.state = state
        tap = gesture(Tap, self._tapped, schedule)
        self.trajectories = Live(self._trajectories(None), "what-if", [tap], height=270)
        self.cobweb = Live(self._cobweb(None), "cobweb", height=270)
        self.settled = Live(self._settled(None), "settled", height=200)
        self._k: xr.DataArray | None = None  # the trajectories drawn
        self._detailed: xr.DataArray | None = None  # those that the details are of
        self.summary = text(margin=(4, 10))
        self.picked = text(margin=(4, 10))
        sliders = [control(state.config, name) for name in ("alpha", "beta", "k_init")]
        self.alpha = sliders[0]
        sliders += [bounds_control(state.config), control(state, "epochs")]
        self.plots = pn.Column(
            self.summary,
            pn.Row(
                self.trajectories.pane,
                self.cobweb.pane,
                sizing_mode="stretch_width",
            ),
            pn.Row(
                self.settled.pane,
                pn.Column(
                    pn.Row(image_field(state, complain, width=130), self.picked, sizing_mode="stretch_width"),
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
        state.param.watch(self._moved, ["epochs", "image_id"])

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
        label_in(self.alpha, state.unit)
        self.trajectories.show(self._trajectories(self._k))

    def show_details(self) -> None:
        """Draw what follows from the trajectories. Called by the clock: the picture itself comes first."""
        state, k = self.state, self._k
        if k is None or k is self._detailed:
            return
        self._detailed = k
        self.settled.show(self._settled(k))
        self.cobweb.show(self._cobweb(k))
        self.summary.object = state.summary(k)
        self.picked.object = state.describe_picked(k)

    def _moved(self, *events: Any) -> None:
        with pn.io.hold():
            self.refresh()

    def _tapped(self, x: float | None, y: float | None) -> None:
        if x is None or y is None or self._k is None:
            return
        k, epochs = self._k.values, self._k.epoch.values
        nearest = int(np.abs(k[np.abs(epochs - x).argmin()] - y).argmin())
        self.state.image_id = self.state.ids.at(nearest)

    # The pictures

    def _trajectories(self, k: xr.DataArray | None) -> Sketch:
        state = self.state
        picked = None if k is None else state.position
        k = _NO_K if k is None else k
        last = float(k.epoch.values[-1])
        return views.k_trajectories.sketch(
            k, picked=picked, bounds=[Bounds(0.0, *state.bounds)], epochs=last, n_pixels=state.n_pixels or 1,
            every_image=True, label="k of every image",
        )  # fmt: skip

    def _settled(self, k: xr.DataArray | None) -> Sketch:
        last = _NO_K.isel(epoch=0) if k is None else k.isel(epoch=-1)
        return views.k_histogram.sketch(
            last, self.state.bounds, n_pixels=self.state.n_pixels or 1, bins=49, label="Where k ends"
        )

    def _cobweb(self, k: xr.DataArray | None) -> Sketch:
        state = self.state
        if k is None or state.landscape is None:
            return views.cobweb.sketch(None)
        one = state.landscape.isel(image=state.position)
        config = state.config
        return views.cobweb.sketch(one, k.values[:, state.position], config.alpha, config.beta, state.bounds)
