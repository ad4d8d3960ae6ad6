"""Looking at some training images while the model trains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from smoot_explore.core.classes import image_class
from smoot_explore.core.config import TrainingConfig
from smoot_explore.core.curves import masking_curves
from smoot_explore.core.effect import MaskingEffect, masking_effect
from smoot_explore.data.images import Split, balanced

N_WATCHED = 8
WATCH = ("class I and class II", "one of each label", "k rose most", "k fell most", "at random")
N_JUDGED = 40  # training images among which those of class II are looked for


@dataclass(frozen=True)
class WatchReport:
    """The watched images as the model sees them now."""

    positions: np.ndarray  # (W,) in data.train
    step: int
    k: np.ndarray  # (W,) pixels
    effect: MaskingEffect
    classes: np.ndarray | None  # (W,) "I" or "II", at the last verdict


def choose(watch: str, model: nn.Module, train: Split, k: np.ndarray, n_judged: int = N_JUDGED) -> np.ndarray:
    """Positions of the images to watch among the training images; one of `WATCH`, or nothing for none.

    By class, half of them are the images of class II that rise most among the first ``n_judged``, as far as there
    are any; the others come from class I, a label each.
    """
    n = min(N_WATCHED, len(train))
    if not watch:
        return np.empty(0, int)
    if watch == "k rose most":
        return np.argsort(-k, kind="stable")[:n]
    if watch == "k fell most":
        return np.argsort(k, kind="stable")[:n]
    if watch == "at random":
        return np.sort(np.random.default_rng().choice(len(train), n, replace=False))
    if watch == "one of each label":
        return balanced(train, n)
    judged = balanced(train, min(n_judged, len(train)))
    curves = masking_curves(model, train[judged], levels=10)  # coarse: it only has to find some
    rise = (curves.probability.max("masked_fraction") - curves.probability.isel(masked_fraction=0)).values
    second = image_class(curves).values == "II"
    risen = judged[np.argsort(-rise, kind="stable")][: min(n // 2, int(second.sum()))]
    first = judged[~second]
    rest = first[balanced(train[first], min(n - len(risen), len(first)))] if len(first) else first
    return np.concatenate([risen, rest])


def look(
    model: nn.Module,
    train: Split,
    positions: np.ndarray,
    k: np.ndarray,
    step: int,
    config: TrainingConfig,
    classes: np.ndarray | None,
) -> WatchReport:
    """The images at ``positions`` masked as training masks them, each at its own k."""
    effect = masking_effect(
        model,
        train[positions],
        k[positions],
        fill=config.fill,
        signed=config.signed,
        top_n=config.top_n,
        delta_class=config.delta_class,
        patch=config.patch,
    )
    return WatchReport(positions, step, k[positions], effect, classes)


def classes_of(model: nn.Module, images: Split) -> np.ndarray:
    """``"I"`` or ``"II"`` of each image, ``(n,)``."""
    return image_class(masking_curves(model, images, levels=20)).values
