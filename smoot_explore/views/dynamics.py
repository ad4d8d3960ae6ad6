"""How training goes for each image: a map of the data set over the epochs, and how many images change class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from smoot_explore.core.classes import class_changes as changes_of
from smoot_explore.views.palette import CLASS_COLOURS
from smoot_explore.views.sketch import Axis, Layer, Sketch, curve, points
from smoot_explore.views.view import axis, view

MOST_POINTS = 5000  # of a map; of more images some are drawn, evenly chosen
_SPREAD = Axis("spread", "spread of the probability over the epochs", None, (-0.02, 0.52))
_MEAN = Axis("mean", "mean probability of the label", None, (-0.04, 1.04))
_CHANGES = Axis("images", "images that change class", None, (0, None))
# By the share of the epochs in which an image was recognised, up to and with the number.
_OFTEN = {"Never right": 0.0, "Seldom right": 0.5, "Mostly right": 1 - 1e-9, "Always right": 1.0}


def training_dynamics(record: xr.Dataset) -> xr.Dataset:
    """How training went for each image: ``mean`` and ``spread`` of its label's probability over the epochs, and the
    ``right`` share of the epochs in which it was recognised, (image). The spread is the standard deviation.

    Raises
    ------
    ValueError
        When the record does not hold the probability of each image.
    """
    if "mean" in record:
        return record
    if "probability" not in record:
        raise ValueError(
            "the record holds no probability of each image, as those of before November 2026; train the run again"
        )
    probability, n = record.probability, record.sizes["epoch"]
    found = {
        "mean": probability.mean("epoch"), "spread": probability.std("epoch"), "right": record.correct.mean("epoch"),
    } if n else {name: probability.sum("epoch") * np.nan for name in ("mean", "spread", "right")}  # fmt: skip
    return xr.Dataset(found, attrs={"epochs": n})


@view(drawn={"image"}, prepare=training_dynamics)
def dataset_map(
    record: xr.Dataset,
    classes: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    selected: Sequence[int] = (),
    picked: int | None = None,
) -> Sketch:
    """Every training image: mean and spread of its label's probability over the epochs (Swayamdipta et al. 2020).

    Above are the images that are easy from the start, below those that are never learnt, on the right those about
    which the model changes its mind.

    Parameters
    ----------
    record
        A training record with ``probability`` and ``correct``, or its `views.dynamics.training_dynamics`.
    classes
        ``"I"`` or ``"II"`` of each image, for the colours; by default how often the image was recognised.
    names
        Told by the pointer; by default the image's number in the full data set.
    selected, picked
        Positions of images to mark.
    """
    spread, mean = record.spread.values, record["mean"].values
    n = len(mean)
    drawn = (
        np.unique(np.linspace(0, n - 1, min(n, MOST_POINTS)).round().astype(int)) if n else np.empty(0, int)
    )
    named = np.array(record.image_id.values if names is None else list(names), str)
    if classes is not None:
        kinds = np.array(list(classes), str)
        groups = {f"Class {c}": (kinds == c, f"class {c}") for c in CLASS_COLOURS}
        groups["Not judged"] = ~np.isin(kinds, list(CLASS_COLOURS)), "not judged"
    else:
        # As of all roles, the same layers whatever the numbers are.
        often = np.searchsorted(list(_OFTEN.values()), record.right.values)
        groups = {role: (often == i, role.lower()) for i, role in enumerate(_OFTEN)}
    layers = list[Layer]()
    for role, (which, words) in groups.items():
        those = drawn[which[drawn]]
        layers.append(points(role, spread[those], mean[those], words, {"image": named[those]}))
    for role, chosen in (("Selected", list(selected)), ("Picked", [] if picked is None else [picked])):
        layers.append(points(role, spread[chosen], mean[chosen]))
    told = f"n = {n:,}" if len(drawn) == n else f"{len(drawn):,} of {n:,}"
    epochs = record.attrs["epochs"]
    title = f"Training images over {epochs} epoch{'s' if epochs != 1 else ''}, {told}"
    return Sketch("Dataset map", title, _SPREAD, _MEAN, tuple(layers))


@view(drawn={"epoch", "image", "masked_fraction"})
def class_changes(curves: xr.Dataset, tolerance: float = 0.01) -> Sketch:
    """How many images became class II, and how many class I, since the epoch before.

    Parameters
    ----------
    curves
        Masking curves of the same images after several epochs, along a dimension ``epoch``.
    tolerance
        Of the classes, as in `image_class`.
    """
    changes, n = changes_of(curves, tolerance), curves.sizes["image"]
    layers = list[Layer]()
    for role, name, words in (("Class II", "to_second", "I → II"), ("Class I", "to_first", "II → I")):
        layers.append(curve(role, changes.epoch.values, changes[name].values, words))
        layers.append(points(role, changes.epoch.values, changes[name].values))
    return Sketch(
        "Class changes",
        f"Images that change class, of {n:,}",
        axis(changes.epoch, (0, None)),
        _CHANGES,
        tuple(layers),
    )
