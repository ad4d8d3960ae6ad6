"""How masking changed the output, and how SMOOT moves every image's k: equations (1) to (4)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from smoot_explore.core.masking import check_pixels
from smoot_explore.core.rules import KChange, KSettings, move_by_delta


class KUpdate(NamedTuple):
    """Result of `update_k`."""

    k: Tensor  # (N,) pixels
    delta: Tensor  # (N,) Δ of equation (3)


class ProbabilityChange(NamedTuple):
    """What masking did to the softmax, equations (1) and (2)."""

    label: Tensor  # (N,) Δ₁
    runners_up: Tensor  # (N,) Δ₂..ₙ


def probability_change(
    clean_probabilities: Tensor, masked_probabilities: Tensor, labels: Tensor, top_n: int = 5
) -> ProbabilityChange:
    """Change of the label's probability, and of its runners-up together, when an image is masked.

    Δ₁ = p_y(x̃) − p_y(x) and Δ₂..ₙ = Σ_{j=2..n} [p_{c_j}(x̃) − p_{c_j}(x)], where c₂ … c_n are the n − 1 classes
    other than y with the highest clean probability (equal ones in the order of their index).

    Parameters
    ----------
    clean_probabilities, masked_probabilities
        ``(N, n_classes)`` softmax of the clean and of the masked images.
    labels
        int64 ``(N,)``.
    top_n
        n, at least 1; cut to the number of classes. With 1 there are no runners-up and Δ₂..ₙ is 0.

    Returns
    -------
    ProbabilityChange
        ``label`` and ``runners_up``, each ``(N,)``.
    """
    if clean_probabilities.ndim != 2 or clean_probabilities.shape != masked_probabilities.shape:
        raise ValueError(
            "clean and masked probabilities must both have shape (N, n_classes), given "
            f"{tuple(clean_probabilities.shape)} and {tuple(masked_probabilities.shape)}"
        )
    if labels.shape != clean_probabilities.shape[:1]:
        raise ValueError(f"labels must have shape ({len(clean_probabilities)},), given {tuple(labels.shape)}")
    if top_n < 1:
        raise ValueError(f"top_n must be at least 1, given {top_n}")
    n_runners_up = min(top_n, clean_probabilities.shape[1]) - 1
    label = labels.unsqueeze(1)  # (N, 1)
    change = masked_probabilities - clean_probabilities
    others = clean_probabilities.scatter(1, label, -torch.inf)
    runners_up = others.sort(dim=1, descending=True, stable=True).indices[:, :n_runners_up]
    return ProbabilityChange(
        label=change.gather(1, label).squeeze(1), runners_up=change.gather(1, runners_up).sum(1)
    )


def class_of_delta(clean_probabilities: Tensor, labels: Tensor, delta_class: str) -> Tensor:
    """The class of each image that Δ₁ follows, ``(N,)``: `TrainingConfig.delta_class`."""
    return labels if delta_class == "label" else clean_probabilities.argmax(1)


def k_change(
    clean_probabilities: Tensor,
    masked_probabilities: Tensor,
    labels: Tensor,
    *,
    beta: float | Tensor,
    top_n: int = 5,
) -> KChange:
    """Equations (1) to (3): what a rule of k sees. Parameters as in `update_k`."""
    label, runners_up = probability_change(clean_probabilities, masked_probabilities, labels, top_n)
    delta = beta * label + (1 - beta) * runners_up
    return KChange(label, runners_up, delta, clean_probabilities, masked_probabilities)


def update_k(
    k: Tensor,
    clean_probabilities: Tensor,
    masked_probabilities: Tensor,
    labels: Tensor,
    *,
    alpha: float | Tensor,
    beta: float | Tensor,
    k_min: float | Tensor,
    k_max: float | Tensor,
    top_n: int = 5,
) -> KUpdate:
    """The k of each image for its next visit, and the Δ that moved it.

    Δ = β Δ₁ + (1 − β) Δ₂..ₙ (3), k ← clip(k + α Δ, k_min, k_max) (4). Masking that raised the label's
    probability masks more next time.

    Parameters
    ----------
    k
        ``(N,)`` pixels, real numbers.
    clean_probabilities, masked_probabilities, labels, top_n
        As in `probability_change`.
    alpha
        α, pixels per unit of Δ.
    beta
        β, 0 … 1.
    k_min, k_max
        Bounds on k **in pixels**, k_min ≤ k_max (`TrainingConfig` and `simulate_k` take fractions of the pixels).
        All four may also be tensors ``()`` on the device of ``k``; on an accelerator such bounds are not checked,
        because that would wait for the device.

    Returns
    -------
    KUpdate
        ``k`` and ``delta``, each ``(N,)``.

    Examples
    --------
    >>> clean, masked = torch.tensor([[0.6, 0.4]]), torch.tensor([[0.8, 0.2]])
    >>> k, delta = update_k(torch.tensor([50.0]), clean, masked, torch.tensor([0]),
    ...                     alpha=10, beta=1, k_min=20, k_max=80)
    >>> round(k.item(), 4), round(delta.item(), 4)
    (52.0, 0.2)
    """
    bounds = {"k_min": k_min, "k_max": k_max}
    for name, bound in bounds.items():
        check_pixels(name, bound, "n_pixels")
    known = all(not isinstance(bound, Tensor) or bound.device.type == "cpu" for bound in bounds.values())
    if known and k_min > k_max:
        raise ValueError(f"k_min={k_min} is above k_max={k_max}; both are numbers of pixels")
    change = k_change(clean_probabilities, masked_probabilities, labels, beta=beta, top_n=top_n)
    # Equation (4) looks neither at the epoch nor at the number of pixels.
    settings = KSettings(alpha, k_min, k_max, n_pixels=0)
    return KUpdate(move_by_delta(k, change, labels, labels, settings), change.delta)
