"""State of the What if tab: k on a frozen model's k-landscape."""

from __future__ import annotations

import numpy as np
import param
import xarray as xr

from smoot_explore.core.config import TrainingConfig
from smoot_explore.core.landscape import simulate_k
from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.opened_runs import LANDSCAPE, OpenedRun
from smoot_explore.explorer.state.one_training import OneTraining
from smoot_explore.explorer.state.picking import ImageIds, PicksImage
from smoot_explore.explorer.state.train import TrainState
from smoot_explore.views.palette import symbol

SETTINGS = ("alpha", "beta", "k_init", "k_min", "k_max")


class WhatIfState(PicksImage):
    """α, β, bounds and start of k, in ``config``, and what follows from them without any training."""

    epochs = param.Integer(
        default=40,
        bounds=(1, None),
        softbounds=(5, 200),
        label="Epochs",
        doc="How often every image is visited.",
    )
    image_id = param.Integer(
        default=None,
        allow_None=True,
        bounds=(0, None),
        label="Picked image",
        doc="Number of the picked training image in the full data set. Or click near a trajectory.",
    )

    def __init__(self) -> None:
        super().__init__()
        self.config = TrainingConfig(alpha=40)  # α large enough for a movement that is seen in 40 epochs
        self.opened: OpenedRun | None = None

    def train_for_real(self, trainings: TrainState) -> None:
        """Queue a training with these settings that begins with the weights of the run after the epoch looked at, as
        the frozen picture does.

        Raises
        ------
        ValueError, RuntimeError
            As of `TrainState.train_for_real`.
        """
        if self.opened is None:
            raise ValueError("there is no run to begin with; choose one above")
        trainings.train_for_real(self.opened, self._settings_for_real(self.opened))

    def _settings_for_real(self, opened: OpenedRun) -> TrainingConfig:
        values = {name: getattr(self.config, name) for name in SETTINGS}
        values["k_min"], values["k_max"] = sorted((values["k_min"], values["k_max"]))
        values |= {"method": "smoot", "k_rule": "smoot", "epochs": self.epochs}
        return TrainingConfig.recorded({**opened.run.start_config, **values})

    def of_this_run(self, real: OneTraining | None) -> OneTraining | None:
        """The training for real, where it is that of the run shown."""
        if real is None or real.training is None or self.opened is None:
            return None
        return real if real.training.recipe.source == self.opened.run.path.absolute() else None

    def trained(self, real: OneTraining | None) -> xr.DataArray | None:
        """k of the landscape's images in the training for real so far; None without one of this run."""
        real = self.of_this_run(real)
        if real is None or real.run is None or self.landscape is None or self.opened is None:
            return None
        ids = self.opened.data.train.image_ids.numpy()
        order = np.argsort(ids, kind="stable")
        return real.history.k_of(order[np.searchsorted(ids, self.landscape.image_id.values, sorter=order)])

    def describe_real(self, real: OneTraining | None) -> str:
        """How far the training for real is and with which settings, as Markdown."""
        frozen = (
            "Thin lines: the model stays **frozen** as the run left it, and only k moves. A real training moves the "
            "model too, and with it the map that k moves on."
        )
        real = self.of_this_run(real)
        if real is None or real.training is None:
            return frozen
        told = ", ".join(f"{symbol(name)} {getattr(real.config, name):g}" for name in SETTINGS)
        where = "waits for a worker" if not real.steps_per_epoch else (
            f"is at epoch {real.step / real.steps_per_epoch:.1f} of {real.started.epochs}"
        )  # fmt: skip
        ends = {
            "finished": f"has trained {real.started.epochs} epochs", "failed": f"has failed: {escaped(real.problem)}",
            "stopped": f"was stopped after {real.step / max(real.steps_per_epoch, 1):.1f} epochs",
        }  # fmt: skip
        return (
            f"{frozen} **Trained** (violet: median and 90 % of the same images; dashed: the picked one) begins with "
            f"the weights after epoch {real.training.recipe.epoch} and the same k, with {told}; "
            f"it {ends.get(real.status, where)}."
        )

    def show(self, opened: OpenedRun) -> None:
        """Take another run's landscape."""
        self.opened = opened
        if opened.landscape is not None and self.image_id not in self.ids:
            self.image_id = self.first_pick

    @property
    def first_pick(self) -> int | None:
        """As `PicksImage.first_pick`: an image that goes far by the first settings shows more than one that stays.

        The same at all epochs of a run.
        """
        if self.opened is None or self.opened.newest.landscape is None:
            return None
        fresh = WhatIfState()
        fresh.opened = self.opened.newest
        k = fresh.trajectories().values
        return self.ids.at(int(np.abs(k[-1] - k[0]).argsort()[-len(k[0]) // 20]))

    @property
    def ids(self) -> ImageIds:
        """The training images of the k-landscape."""
        if self.opened is None:
            return ImageIds()
        return ImageIds(
            self.opened.landscape_ids, f"training images in the k-landscape of {self.opened.label}"
        )

    @property
    def landscape(self) -> xr.Dataset | None:
        """Δ₁ and Δ₂..ₙ as functions of k; None where not measured yet."""
        return self.opened.landscape if self.opened is not None else None

    @property
    def problem(self) -> str:
        """Why the landscape cannot be measured; empty when it can."""
        return "" if self.opened is None else self.opened.problem(LANDSCAPE)

    @property
    def lacks_landscape(self) -> bool:
        """Whether there is a landscape to measure."""
        return self.opened is not None and self.landscape is None and not self.problem

    @property
    def n_pixels(self) -> int:
        """P, or the number of patches."""
        return int(self.landscape.attrs["n_pixels"]) if self.landscape is not None else 0

    @property
    def unit(self) -> str:
        """What k counts: "pixels" or "patches"."""
        return "pixels" if self.landscape is None else self.landscape.k.attrs.get("units", "pixels")

    @property
    def bounds(self) -> tuple[float, float]:
        """Bounds on k, in order also while one is moved past the other."""
        low, high = sorted((self.config.k_min, self.config.k_max))
        return low * self.n_pixels, high * self.n_pixels

    def trajectories(self) -> xr.DataArray:
        """k of every image ``(epoch, image)``."""
        if self.landscape is None:
            raise ValueError("the run has no k-landscape yet; measure it first")
        values = {name: getattr(self.config, name) for name in SETTINGS}
        values["k_min"], values["k_max"] = sorted((values["k_min"], values["k_max"]))
        return simulate_k(self.landscape, **values, epochs=self.epochs)

    def summary(self, k: xr.DataArray) -> str:
        """Where the images settle, as Markdown."""
        last, (low, high) = k.values[-1], self.bounds
        at_low, at_high = float((last <= low + 0.5).mean()), float((last >= high - 0.5).mean())
        between = float(((last > low + 0.5) & (last < high - 0.5)).mean())  # the bounds may coincide
        moving = float((np.abs(k.values[-1] - k.values[-2]) > 0.5).mean()) if len(k) > 1 else 0.0
        return (
            f"After {self.epochs} epochs: **{_percent(at_low)}** of {k.shape[1]} images at the lower bound "
            f"({low:.0f} {self.unit}), **{_percent(at_high)}** at the upper ({high:.0f}), "
            f"**{_percent(between)}** between; {_percent(moving)} still move by more than half a "
            f"{'pixel' if self.unit == 'pixels' else 'patch'} a visit. "
            f"k min / median / max: {last.min():.0f} / {np.median(last):.0f} / {last.max():.0f}."
        )

    def describe_picked(self, k: xr.DataArray) -> str:
        """The picked image and where it goes, as Markdown."""
        if self.landscape is None or self.opened is None:
            return ""
        path = k.values[:, self.position]
        label = escaped(self.opened.data.class_names[int(self.landscape.label[self.position])])
        direction = "rises" if path[-1] > path[0] + 0.5 else "falls" if path[-1] < path[0] - 0.5 else "stays"
        image = int(self.landscape.image_id[self.position])
        return (
            f"**Training image {image} ({label})**: k {direction} from {path[0]:.0f} to "
            f"{path[-1]:.0f} {self.unit}. Where the curve lies below the dotted diagonal, Δ is below 0 and k falls; "
            "above it, k rises; where they cross, k comes to rest."
        )


def _percent(share: float) -> str:
    """A share in words: some are not none, and nearly all are not all."""
    if 0 < share < 0.005:
        return "under 1 %"
    return "over 99 %" if 0.995 < share < 1 else f"{100 * share:.0f} %"
