"""State of "over epochs": which training images are looked at in the map of a run's training."""

from __future__ import annotations

import numpy as np
import param
import xarray as xr

from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.views.dynamics import right_share, spread_and_mean


class DynamicsState(param.Parameterized):
    """Positions are those among the training images."""

    picked = param.Integer(
        default=0, bounds=(0, None), label="Picked training image", doc="Position of the image."
    )
    selected = param.List(default=[], item_type=int, doc="Positions of the images in the box.")

    def __init__(self) -> None:
        super().__init__()
        self.opened: OpenedRun | None = None
        self.record: xr.Dataset | None = None  # of the opened run, once it was read

    def show(self, opened: OpenedRun, record: xr.Dataset) -> None:
        """Look at the training of a run with its record."""
        self.opened, self.record = opened, record
        self.selected = []

    @property
    def problem(self) -> str:
        """Why there is no map; empty when there is, or when the record was not read yet."""
        if self.record is None:
            return ""
        if not self.record.sizes["epoch"]:
            return "This run has no epochs of its own: it was trained elsewhere."
        if "probability" not in self.record:
            return "This run's record holds no probability of each image: train it again to see them over the epochs."
        return ""

    @property
    def is_there(self) -> bool:
        """Whether there is a map to draw."""
        return self.record is not None and not self.problem

    @property
    def position(self) -> int:
        """The picked image; the last one where there are not so many."""
        return 0 if self.record is None else min(self.picked, self.record.sizes["image"] - 1)

    @property
    def image_id(self) -> int:
        """Number of the picked image in the full data set."""
        return 0 if self.record is None else int(self.record.image_id[self.position])

    @property
    def names(self) -> list[str]:
        """Number in the full data set and label of each training image."""
        if self.opened is None or self.record is None:
            return []
        labels = self.opened.data.class_names
        pairs = zip(self.record.image_id.values.tolist(), self.record.label.values.tolist(), strict=True)
        return [f"{image}: {labels[label]}" for image, label in pairs]

    @property
    def shown(self) -> np.ndarray:
        """Positions for the thumbnails: the selected images, else those about which the model changed its mind most."""
        if self.record is None or self.problem:
            return np.empty(0, int)
        if self.selected:
            return np.array(self.selected)
        return np.argsort(-spread_and_mean(self.record)[0], kind="stable")

    def near(self, spread: float, mean: float, reach: float) -> int | None:
        """The image whose point is nearest; None where none is within ``reach``."""
        if self.record is None or self.problem:
            return None
        x, y = spread_and_mean(self.record)
        distance = np.hypot(2 * (x - spread), y - mean)  # the axis of the spread is half as long
        return int(distance.argmin()) if len(distance) and distance.min() <= reach else None

    def inside(self, left: float, bottom: float, right: float, top: float) -> list[int]:
        """Positions of the images whose points lie in a box."""
        if self.record is None or self.problem:
            return []
        x, y = spread_and_mean(self.record)
        return np.flatnonzero((x >= left) & (x <= right) & (y >= bottom) & (y <= top)).tolist()

    def describe_picked(self) -> str:
        """The picked image in a line of plain text; empty without a map."""
        if self.record is None or self.problem:
            return ""
        (spread, mean), position = spread_and_mean(self.record), self.position
        n, share = self.record.sizes["epoch"], right_share(self.record)[position]
        return (
            f"Training image {self.names[position]}: mean probability {mean[position]:.2f}, spread "
            f"{spread[position]:.2f}, recognised in {share * n:.0f} of {n} epochs."
        )
