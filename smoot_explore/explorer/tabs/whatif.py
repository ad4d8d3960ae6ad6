"""The What if tab: how every k would move, without training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
import xarray as xr
from holoviews.streams import Tap

from smoot_explore import views
from smoot_explore.core.bounds import Bounds
from smoot_explore.explorer.controls import bounds_control, control, image_field, label_in, small_text, text
from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.gestures import gesture
from smoot_explore.explorer.grid import Grid, part
from smoot_explore.explorer.state.train import TrainState
from smoot_explore.explorer.state.whatif import SETTINGS, WhatIfState
from smoot_explore.views.captioned import Captioned
from smoot_explore.views.sketch import Sketch

_NO_K = xr.DataArray(np.empty((1, 0)), {"epoch": [0]}, ("epoch", "image"), "k")


class WhatIfTab:
    """Redraws all trajectories whenever a slider moves, and the rest soon after."""

    def __init__(
        self,
        state: WhatIfState,
        trainings: TrainState,
        schedule: Callable[[Callable[[], None]], object],
        complain: Callable[[str], None],
    ) -> None:
        self.state, self._trainings, self._complain = state, trainings, complain
        tap = gesture(Tap, self._tapped, schedule)
        self.trajectories = Captioned(self._trajectories(None), "what-if", [tap])
        self.cobweb = Captioned(self._cobweb(None), "cobweb")
        self.settled = Captioned(self._settled(None), "settled")
        self._k: xr.DataArray | None = None  # the trajectories drawn
        self._detailed: xr.DataArray | None = None  # those that the details are of
        self.summary = text(margin=(4, 0))
        self.picked = text(margin=(4, 0))
        sliders = [control(state.config, name) for name in ("alpha", "beta", "k_init")]
        self.alpha = sliders[0]
        sliders += [bounds_control(state.config), control(state, "epochs")]
        button = {"size": "small", "variant": "outlined", "margin": (4, 0)}
        self.train = pmui.Button(label="Train it for real", on_click=self._train, **button)
        self.stop = pmui.Button(label="Stop the training", on_click=self._stop, **button)
        self.real = small_text(margin=0)
        self.plots = Grid(
            part(self.trajectories.panel, self.summary, span=6, lead=True, alone=True),
            part(self.cobweb.panel, span=6, alone=True),
            part(self.settled.panel, span=4),
            part(
                image_field(state, complain, width=130, margin=(8, 0, 4, 0)), self.picked,
                small_text("Click near a trajectory to pick its image.", margin=0),
                span=4,
            ),
            part(pn.FlexBox(self.train, self.stop, gap="8px"), self.real, span=4),
        )  # fmt: skip
        self.waiting = text("The k-landscape of this run is being measured.", visible=False, margin=10)
        self.controls = sliders
        self.panel = Grid(part(self.waiting, self.plots, span=12, card=False, lead=True))
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
        self.show_training()

    def show_training(self) -> None:
        """Draw how far the training for real is."""
        real = self.state.of_this_run(self._trainings.for_real)
        self.real.object = self.state.describe_real(real)
        self.stop.disabled = real is None or not real.busy
        if self._k is not None and real is not None:
            self.trajectories.show(self._trajectories(self._k))

    def _train(self, *events: Any) -> None:
        try:
            self.state.train_for_real(self._trainings)
        except (ValueError, RuntimeError, OSError) as error:
            self._complain(str(error))
        self.show_training()

    def _stop(self, *events: Any) -> None:
        if self._trainings.for_real is not None:
            self._trainings.for_real.stop()

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
        return views.frozen_and_trained.sketch(
            k, state.trained(self._trainings.for_real), picked=picked, bounds=[Bounds(0.0, *state.bounds)],
            n_pixels=state.n_pixels or 1,
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
