"""State of the Image tab: one image, how it is masked, and what the model says of it."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import param
import torch
import xarray as xr

from smoot_explore.core.choices import ATTRIBUTIONS, FILLS, ORDERS, names
from smoot_explore.core.classes import image_class, peak_fraction
from smoot_explore.core.curves import masking_curves
from smoot_explore.core.effect import MaskingEffect, masking_effect
from smoot_explore.data.images import Split
from smoot_explore.explorer.opened_runs import LEVELS, OpenedRun
from smoot_explore.explorer.state.picking import ImageIds, PicksImage

PAGE = 60  # thumbnails at once
FILTER_PROTOCOL = ("black", "gradient")  # of the curves that tell class and prediction
ALL = "(all)"  # no class is named like that
HALVES = ("test images", "training images", "own picture")


class Curve(NamedTuple):
    """The masking curve of one image, with its verdict."""

    measured: xr.Dataset  # masking curves of this image alone
    image_class: str
    peak_fraction: float
    order: str  # which pixels were masked first


class Question(NamedTuple):
    """What is to be seen, as it was when it was asked for: the page goes on while it is computed."""

    opened: OpenedRun
    split: Split
    half: str
    upload: int  # which of the uploads
    position: int
    masked_fraction: float
    order: str
    fill: str
    attribution: str
    signed: bool


class View(NamedTuple):
    """All that the tab shows of one image."""

    title: str
    picture: np.ndarray  # uint8 (1, C, H, W)
    effect: MaskingEffect
    class_names: tuple[str, ...]
    explained: int  # the class whose probability the curve follows
    masked_pixels: int
    curve: Curve
    epoch: int  # after which the model is
    k: xr.DataArray | None  # (epoch, image) of this one, for an image that was trained on


class ImageState(PicksImage):
    """Which image is looked at, and how it is masked. Choices that a control offers are its parameters."""

    half = param.Selector(
        default=HALVES[0],
        objects=list(HALVES[:2]),
        label="Images",
        doc="Test images, the images that the model was trained on, or, once uploaded, a picture of your own.",
    )
    image_id = param.Integer(
        default=None,
        allow_None=True,
        bounds=(0, None),
        label="Image",
        doc="Number of the image in the full data set: the same in every run. The arrows lead to the next image that "
        "passes the filters.",
    )
    masked_fraction = param.Number(
        default=0.2,
        bounds=(0, 1),
        step=0.01,
        label="Masked share of the pixels",
        doc="How many of the image's pixels are masked, from none (0) to all (1).",
    )
    order = param.Selector(
        default="highest",
        objects=list(ORDERS)[::-1],
        label="Masked first",
        doc="highest: the most salient pixels first, as in masking curves. lowest: the least salient first, "
        "as in training.",
    )
    fill = param.Selector(
        default="black",
        objects=list(FILLS),
        label="Fill",
        doc="What a masked pixel becomes: random values in the range of the remaining pixels or of the whole "
        "image, the image's mean, black, or a blur.",
    )
    attribution = param.Selector(
        default="gradient",
        objects=list(ATTRIBUTIONS),
        label="Attribution method",
        doc="How the saliency of a pixel is measured. random knows nothing: a control.",
    )
    signed = param.Boolean(
        default=True,
        label="Signed",
        doc="On: pixels that speak against the class count as least salient. Off: only the magnitude counts.",
    )
    label = param.Selector(default=ALL, objects=[ALL], label="Label", doc="Show images of this label only.")
    of_class = param.Selector(
        default=ALL,
        objects=[ALL, "I", "II"],
        label="Class",
        doc="Class II: masking raises the label's probability. Known once the run's curves are measured.",
    )
    prediction = param.Selector(
        default=ALL,
        objects=[ALL, "right", "wrong"],
        label="Prediction",
        doc="Show images that the model gets right, or wrong.",
    )
    page = param.Integer(default=0, bounds=(0, None), doc="Page of the thumbnails.")

    def __init__(self) -> None:
        super().__init__()
        for name in ("fill", "attribution"):
            self.param[name].objects = list(names(name))
        self.opened: OpenedRun | None = None
        self.upload: Split | None = None
        self._uploads = 0
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[Any, Any]] = {}  # the last saliency and curve, each with what it is of
        self.param.watch(self.settle, ["half", "label", "of_class", "prediction"])
        self.param.watch(self._turn_to_image, "image_id")

    def show(self, opened: OpenedRun, upload: Split | None = None) -> None:
        """Look at the images of another run; the place is kept where it exists.

        ``upload`` is the own picture as this run predicts it (`predicted`), where that was computed already.
        """
        self.opened = opened
        self.param.label.objects = [ALL, *opened.data.class_names]
        if self.label not in self.param.label.objects:
            self.label = ALL
        if self.upload is not None:
            fits = self.upload.image_shape == opened.data.image_shape
            self.upload = (upload or predicted(self.upload.images, opened)) if fits else None
            self._uploads += 1
        self._offer_upload()
        self.settle()

    def open(self, half: str, image_id: int, **choices: Any) -> None:
        """Look at an image that another tab has found, whatever the filters were."""
        self.param.update(half=half, image_id=image_id, label=ALL, of_class=ALL, prediction=ALL, **choices)

    def pick(self, image_id: int) -> None:
        """As `PicksImage.pick`; filters that it does not pass are cleared."""
        self.ids.position(image_id)
        if image_id in self.passing:
            self.image_id = image_id
        else:
            self.open(self.half, image_id)

    def settle(self, *events: Any) -> None:
        """Clear the filters that say nothing of these images, and look at one that passes the others."""
        if self.half != HALVES[0]:
            self.param.update(of_class=ALL, prediction=ALL)
        if self.half == HALVES[2]:
            self.label = ALL
        if self.opened is not None:
            passing, ids = self.passing, self.ids
            some = passing if len(passing) else ids
            if self.image_id not in some:
                self.image_id = some.at(0)
            self._turn_to_image()

    def _turn_to_image(self, *events: Any) -> None:
        """Show the page of thumbnails that has the image."""
        if self.opened is not None:
            passing = self.passing
            self.page = passing.position(self.image_id) // PAGE if self.image_id in passing else 0

    def show_upload(self, upload: Split) -> None:
        """Look at a picture of the visitor's own, as the run predicts it: the class explained is the predicted one."""
        self.upload = upload
        self._uploads += 1  # after it: a view in progress may keep what it computes as of the upload before
        self._offer_upload()
        self.half = HALVES[2]

    def _offer_upload(self) -> None:
        """Let the own picture be chosen while there is one."""
        if self.upload is None and self.half == HALVES[2]:
            self.half = HALVES[0]
        self.param.half.objects = list(HALVES if self.upload is not None else HALVES[:2])

    @property
    def split(self) -> Split:
        """The images chosen from."""
        opened = self._opened()
        if self.half == HALVES[2] and self.upload is not None:
            return self.upload
        return opened.data.train if self.half == HALVES[1] else opened.data.test

    @property
    def ids(self) -> ImageIds:
        """The images chosen from."""
        if self.opened is None:
            return ImageIds()
        return ImageIds(self.split.image_ids, f"{self.half} of {self.opened.label}")

    @property
    def first_pick(self) -> int | None:
        """As `PicksImage.first_pick`: the first test image."""
        return None if self.opened is None else int(self.opened.data.test.image_ids[0])

    @property
    def passing(self) -> ImageIds:
        """Those of them that pass the filters."""
        return ImageIds(self.split.image_ids[self.positions()], f"{self.half} that pass the filters")

    def positions(self) -> np.ndarray:
        """Positions of the images that pass the filters."""
        opened, split = self._opened(), self.split
        keep = np.ones(len(split), bool)
        if self.label != ALL:
            keep &= split.labels.numpy() == self.param.label.objects.index(self.label) - 1
        curves = opened.curves(*FILTER_PROTOCOL)
        if self.half == HALVES[0] and curves is not None and (self.of_class != ALL or self.prediction != ALL):
            passes = np.ones(curves.sizes["image"], bool)
            if self.of_class != ALL:
                passes &= image_class(curves).values == self.of_class
            if self.prediction != ALL:
                right = curves.correct.isel(masked_fraction=0).values
                passes &= right if self.prediction == "right" else ~right
            keep &= np.isin(split.image_ids.numpy(), curves.image_id.values[passes])
        return np.flatnonzero(keep)

    @property
    def lacks_curves(self) -> bool:
        """Whether a filter asks for curves that are still to be measured."""
        if self.opened is None or self.half != HALVES[0] or self.of_class == self.prediction == ALL:
            return False
        known = self.opened.curves(*FILTER_PROTOCOL) is not None
        return not known and not self.opened.problem(FILTER_PROTOCOL)

    def thumbnails(self) -> np.ndarray:
        """Positions on the present page; the last page where there are no more."""
        positions = self.positions()
        last = max(0, (len(positions) - 1) // PAGE)
        page = min(self.page, last)
        return positions[page * PAGE : (page + 1) * PAGE]

    @property
    def pages(self) -> int:
        """How many pages of thumbnails there are."""
        return max(1, -(-len(self.positions()) // PAGE))

    def question(self) -> Question:
        """What the tab shows now, for `view`."""
        split = self.split
        return Question(
            self._opened(), split, self.half, self._uploads, self.position,
            self.masked_fraction, self.order, self.fill, self.attribution, self.signed,
        )  # fmt: skip

    def view(self, question: Question | None = None) -> View:
        """Compute what the tab shows; saliency and curve only when they are of something new.

        May run beside the page; ``question`` is then from before, by default it is from now.
        """
        q = question or self.question()
        opened, one = q.opened, q.split[[q.position]]
        k = round(q.masked_fraction * one.n_pixels)
        of_image = (opened.key, opened.epoch, q.half, q.upload, q.position, q.attribution, q.signed)
        of_curve = (*of_image, q.order, q.fill)
        with self._lock, opened.borrowed(quick=q.attribution == "gradient") as model:
            kept_maps = self._kept.get("maps")
            maps = kept_maps[1] if kept_maps and kept_maps[0] == of_image else None
            seen = masking_effect(
                model,
                one,
                k,
                order=q.order,
                fill=q.fill,
                attribution=q.attribution,
                signed=q.signed,
                maps=maps,
            )
            self._kept["maps"] = (of_image, seen.saliency)
            if self._kept.get("curve", (None,))[0] != of_curve:
                curves = masking_curves(model, one, LEVELS, q.order, q.fill, q.attribution, signed=q.signed)
                kept = Curve(
                    curves,
                    str(image_class(curves).item()),
                    float(peak_fraction(curves).item()),
                    q.order,
                )
                self._kept["curve"] = (of_curve, kept)
            curve: Curve = self._kept["curve"][1]
        explained = int(one.labels[0])
        return View(
            _title(q, one, seen), one.images.numpy(), seen, opened.data.class_names, explained, k, curve,
            opened.epoch, opened.k_of(q.position) if q.half == HALVES[1] else None,
        )  # fmt: skip

    def _opened(self) -> OpenedRun:
        if self.opened is None:
            raise ValueError("no run is open; choose one")
        return self.opened


def predicted(images: torch.Tensor, opened: OpenedRun) -> Split:
    """Images without labels, labelled by what the run's model says of them."""
    data = opened.data
    split = Split(images, torch.zeros(len(images), dtype=torch.int64), mean=data.mean, std=data.std,
                  class_names=data.class_names)  # fmt: skip
    with opened.borrowed(quick=True) as model:
        labels = masking_effect(model, split, 0).clean_probabilities.argmax(1)
    return replace(split, labels=torch.from_numpy(labels))


def _title(q: Question, one: Split, seen: MaskingEffect) -> str:
    names = one.class_names
    predicted = names[int(seen.clean_probabilities[0].argmax())]
    if q.half == HALVES[2]:
        return f"Own picture, predicted {predicted}"
    kind = "Test" if q.half == HALVES[0] else "Training"
    return f"{kind} image {int(one.image_ids[0])}: {names[int(one.labels[0])]}, predicted {predicted}"
