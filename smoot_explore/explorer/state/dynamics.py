"""State of "over epochs": which training images are looked at in the map of a run's training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import param
import xarray as xr

from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.runs.run import Run
from smoot_explore.views.dynamics import training_dynamics


class Seen(NamedTuple):
    """The training of a run, to look at."""

    opened: OpenedRun
    dynamics: xr.Dataset | None
    names: list[str]
    problem: str = ""
    curves: xr.Dataset | None = (
        None  # masking curves of test images after several epochs; None of fewer than two
    )


def seen_of(opened: OpenedRun) -> Seen:
    """What the map of a run is drawn from. Reads its record: not for the event loop."""
    record, labels = opened.run.record(), opened.data.class_names
    if not record.sizes["epoch"]:
        return Seen(opened, None, [], "This run has no epochs of its own: it was trained elsewhere.")
    if "probability" not in record:
        return Seen(
            opened, None, [], "This run's record holds no probability of each image: train it again to see them over "
            "the epochs.",
        )  # fmt: skip
    pairs = zip(record.image_id.values.tolist(), record.label.values.tolist(), strict=True)
    names = [f"{image}: {labels[label]}" for image, label in pairs]
    return Seen(opened, training_dynamics(record), names, curves=_curves_over_epochs(opened.run))


def _curves_over_epochs(run: Run) -> xr.Dataset | None:
    protocol = {"fill": "black", "attribution": "gradient"}
    found = {}
    for epoch in run.epochs_kept:
        if run.has_curves(epoch=epoch):
            kept = run.curves(epoch=epoch)
            if all(value in kept[name] for name, value in protocol.items()):
                chosen = {name: value for name, value in protocol.items() if name in kept.dims}
                found[epoch] = kept[["probability"]].sel(chosen).drop_vars(protocol)
    if len(found) < 2:
        return None
    return xr.concat(
        list(found.values()), xr.DataArray(list(found), dims="epoch", name="epoch"), join="inner"
    )


class DynamicsState(param.Parameterized):
    """Positions are those among the training images."""

    picked = param.Integer(
        default=0, bounds=(0, None), label="Picked training image", doc="Position of the image."
    )
    selected = param.List(default=[], item_type=int, doc="Positions of the images in the box.")

    def __init__(self) -> None:
        super().__init__()
        self.opened: OpenedRun | None = None
        self.problem = ""  # why there is no map
        self.names: list[str] = []  # number in the full data set and label of each training image
        self.dynamics: xr.Dataset | None = None  # of the opened run; None where there is no map
        self.curves: xr.Dataset | None = None  # as of `Seen`

    def show(self, seen: Seen) -> None:
        """Look at the training of a run."""
        self.opened, self.dynamics, self.names, self.problem, self.curves = seen
        self.selected = []

    @property
    def position(self) -> int:
        """The picked image; the last one where there are not so many."""
        return 0 if self.dynamics is None else min(self.picked, self.dynamics.sizes["image"] - 1)

    @property
    def image_id(self) -> int:
        """Number of the picked image in the full data set."""
        return 0 if self.dynamics is None else int(self.dynamics.image_id[self.position])

    @property
    def shown(self) -> np.ndarray:
        """Positions for the thumbnails: the selected images, else those about which the model changed its mind most."""
        if self.dynamics is None:
            return np.empty(0, int)
        return (
            np.array(self.selected)
            if self.selected
            else np.argsort(-self.dynamics.spread.values, kind="stable")
        )

    def near(self, spread: float, mean: float, reach: float) -> int | None:
        """The image whose point is nearest; None where none is within ``reach``."""
        if self.dynamics is None:
            return None
        x, y = self.dynamics.spread.values, self.dynamics["mean"].values
        distance = np.hypot(2 * (x - spread), y - mean)  # the axis of the spread is half as long
        return int(distance.argmin()) if len(distance) and distance.min() <= reach else None

    def inside(self, left: float, bottom: float, right: float, top: float) -> list[int]:
        """Positions of the images whose points lie in a box."""
        if self.dynamics is None:
            return []
        x, y = self.dynamics.spread.values, self.dynamics["mean"].values
        return np.flatnonzero((x >= left) & (x <= right) & (y >= bottom) & (y <= top)).tolist()

    def describe_picked(self) -> str:
        """The picked image in a line of plain text; empty without a map."""
        if self.dynamics is None:
            return ""
        one, n = self.dynamics.isel(image=self.position), self.dynamics.attrs["epochs"]
        return (
            f"Training image {self.names[self.position]}: mean probability {float(one['mean']):.2f}, spread "
            f"{float(one.spread):.2f}, recognised in {float(one.right) * n:.0f} of {n} epochs."
        )
