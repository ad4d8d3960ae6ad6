"""How the k of one image would move at its next visit: the numbers of equations (1) to (4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from smoot_explore.core.adaptation import class_of_delta, k_change
from smoot_explore.core.config import TrainingConfig
from smoot_explore.core.effect import MaskingEffect
from smoot_explore.core.rules import KSettings, checked_k, k_rule, k_unit


@dataclass(frozen=True)
class KMove:
    """One image's numbers. α, β and the bounds are those of now, all else is the training's.

    Attributes
    ----------
    image
        Its name for people, such as "Training image 3208 (boot)".
    followed
        The class whose probability Δ₁ follows: the label, or the predicted one.
    image_class
        ``"I"`` or ``"II"``; None where it is not judged.
    k, next_k
        In ``unit``, before and after the next visit; ``next_k`` is None where the rule is not known here.
    first, others
        Δ₁ and Δ₂…ₙ; ``n`` is the last class that enters.
    k_min, k_max
        Bounds in ``unit``, the lower one first.
    rule
        Name of the rule of k; equation (4) is that of "smoot".
    """

    image: str
    followed: str
    image_class: str | None
    method: str
    rule: str
    unit: str
    k: float
    next_k: float | None
    first: float
    others: float
    n: int
    alpha: float
    beta: float
    k_min: float
    k_max: float

    @property
    def delta(self) -> float:
        """Δ, equation (3)."""
        return self.beta * self.first + (1 - self.beta) * self.others

    @property
    def step(self) -> float:
        """α·Δ, what equation (4) adds to k before it is clipped."""
        return self.alpha * self.delta

    @property
    def held(self) -> bool:
        """Whether a bound keeps k from moving by all of α·Δ."""
        return self.rule == "smoot" and not self.k_min <= self.k + self.step <= self.k_max


def k_move(
    image: str,
    label: int,
    image_class: str | None,
    k: float,
    effect: MaskingEffect,
    column: int,
    class_names: list[str],
    started: TrainingConfig,
    live: TrainingConfig,
    most_k: int,
    visit: int,
) -> KMove:
    """How k of one of the images of a masking effect would move.

    Parameters
    ----------
    label
        Class of the image.
    k
        Now, in the unit that the training counts in.
    column
        Its place in ``effect``.
    started
        The training's settings.
    live
        For α, β and the bounds.
    most_k
        What k counts up to.
    visit
        Number of the next visit, from 1.
    """
    clean, masked = (
        torch.as_tensor(values[column : column + 1], dtype=torch.float32)
        for values in (effect.clean_probabilities, effect.masked_probabilities)
    )
    labels = torch.tensor([label])
    followed = class_of_delta(clean, labels, started.delta_class)
    change = k_change(clean, masked, followed, beta=live.beta, top_n=started.top_n)
    low, high = sorted((live.k_min * most_k, live.k_max * most_k))
    next_k: float | None = k
    if started.method == "smoot":
        try:
            rule = k_rule(started.k_rule)
        except ValueError:  # registered where it was trained, not here
            next_k = None
        else:
            now = torch.tensor([k], dtype=torch.float32)
            moved = rule(now, change, labels, torch.tensor([visit]), KSettings(live.alpha, low, high, most_k))
            next_k = float(checked_k(moved, now, started.k_rule, most_k))
    return KMove(
        image, class_names[int(followed)], image_class, started.method, started.k_rule,
        k_unit(started.to_dict()), k, next_k, float(change.label), float(change.runners_up),
        min(started.top_n, clean.shape[1]), live.alpha, live.beta, low, high,
    )  # fmt: skip
