"""State of the Classes tab: class I and II over a run's test images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import param
import xarray as xr

from smoot_explore.core.choices import ATTRIBUTIONS, FILLS, names
from smoot_explore.core.classes import image_class, peak_fraction
from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.explorer.state.dynamics import DynamicsState
from smoot_explore.explorer.state.picking import ImageIds, PicksImage
from smoot_explore.views.palette import in_words


@dataclass(frozen=True)
class ClassShare:
    """How many of ``n`` test images are of class II, with what the number depends on."""

    second: int
    n: int
    late: float  # per cent of those of class II that peak after half of the pixels; NaN of none
    protocol: str

    @property
    def percent(self) -> float:
        """The share of class II; NaN of no images."""
        return 100 * self.second / self.n if self.n else float("nan")


class ImagesState(PicksImage):
    """Under which protocol the classes are judged, and which images are selected."""

    fill = param.Selector(
        default="black",
        objects=list(FILLS),
        label="Fill",
        doc="What masked pixels become while the curves are measured. The share of class II depends on it.",
    )
    attribution = param.Selector(
        default="gradient",
        objects=list(ATTRIBUTIONS),
        label="Attribution method",
        doc="Which saliency ranks the pixels. The share of class II depends on it.",
    )
    tolerance = param.Number(
        default=0.01,
        bounds=(0, 1),
        softbounds=(0, 0.5),
        step=0.01,
        label="Tolerance (probability)",
        doc="An image is class II when masking raises its label's probability by more than this.",
    )
    image_id = param.Integer(
        default=None,
        allow_None=True,
        bounds=(0, None),
        label="Picked image",
        doc="Number of the picked test image in the full data set. Or click a point or a picture.",
    )
    over_epochs = param.Boolean(
        default=False,
        label="Over epochs",
        doc="How training went for each training image: mean and spread of its probability over the epochs. Classes "
        "are those of black fill and the gradient here.",
    )
    selected = param.List(default=[], item_type=int, doc="Positions of the images in the box.")

    def __init__(self) -> None:
        super().__init__()
        for name in ("fill", "attribution"):
            self.param[name].objects = list(names(name))
        self.opened: OpenedRun | None = None
        self.dynamics = DynamicsState()

    def show(self, opened: OpenedRun) -> None:
        """Judge the test images of another run."""
        before, self.opened = self.opened, opened
        if before is None or before.run is not opened.run:  # else another epoch of the same
            self.selected = []
        if self.image_id not in self.ids:
            self.image_id = self.ids.at(0)

    @property
    def ids(self) -> ImageIds:
        """The test images whose curves are measured."""
        if self.opened is None:
            return ImageIds()
        return ImageIds(self.opened.test.image_ids, f"measured test images of {self.opened.label}")

    @property
    def curves(self) -> xr.Dataset | None:
        """The masking curves under the chosen protocol; None where they are not measured yet."""
        return self.opened.curves(self.fill, self.attribution) if self.opened is not None else None

    @property
    def problem(self) -> str:
        """Why the curves cannot be measured under this protocol; empty when they can."""
        return "" if self.opened is None else self.opened.problem((self.fill, self.attribution))

    @property
    def lacks_curves(self) -> bool:
        """Whether there are curves to measure, and to be seen then."""
        return self.opened is not None and not self.over_epochs and self.curves is None and not self.problem

    @property
    def shown(self) -> np.ndarray:
        """Positions for the thumbnails: the selected images, else those of class II that rise most."""
        if self.selected:
            return np.array(self.selected)
        curves = self.curves
        if curves is None:
            return np.empty(0, int)
        probability = curves.probability.values
        rise = probability.max(1) - probability[:, 0]
        second = np.flatnonzero(image_class(curves, self.tolerance).values == "II")
        return second[np.argsort(-rise[second], kind="stable")]

    def share(self) -> ClassShare | None:
        """The share of class II and its protocol; None where the curves are not measured yet."""
        curves = self.curves
        if curves is None or self.opened is None:
            return None
        second = image_class(curves, self.tolerance).values == "II"
        peaks = peak_fraction(curves, self.tolerance).values[second]
        return ClassShare(
            int(second.sum()), len(second), 100 * float((peaks > 0.5).mean()) if len(peaks) else float("nan"),
            f"{in_words(self.attribution)}, signed, highest first, {in_words(self.fill)} fill, tolerance "
            f"{self.tolerance:g}",
        )  # fmt: skip

    def describe_picked(self) -> str:
        """The picked image and its verdict, as Markdown."""
        curves = self.curves
        if curves is None or self.opened is None:
            return ""
        one = curves.isel(image=[self.position])
        label = escaped(self.opened.data.class_names[int(one.label[0])])
        start = float(one.probability[0, 0])
        head = f"**Test image {int(one.image_id[0])}: {label}**, probability {start:.2f}."
        if image_class(one, self.tolerance).item() == "I":
            return f"{head} **Class I**: masking never raises it by more than {self.tolerance:g}."
        peak, top = float(peak_fraction(one, self.tolerance).item()), float(one.probability.max())
        return f"{head} **Class II**: with its strongest {100 * peak:.0f} % masked it rises to {top:.2f}."
