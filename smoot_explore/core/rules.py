"""Rules of k: how many pixels of an image are masked at its next visit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from smoot_explore.core.choices import K_RULES, REGISTERED, Registry
from smoot_explore.core.config import TrainingConfig
from smoot_explore.errors import unknown_name


class KChange(NamedTuple):
    """What masking did to each image: what a rule of k sees, on the device, without gradients."""

    label: Tensor  # (N,) Δ₁ of equation (1)
    runners_up: Tensor  # (N,) Δ₂..ₙ of equation (2)
    delta: Tensor  # (N,) Δ of equation (3)
    clean: Tensor  # (N, n_classes) probabilities of the clean images
    masked: Tensor  # (N, n_classes) of the masked images


class KSettings(NamedTuple):
    """The settings that a rule of k may use. Numbers or tensors ``()``; k in pixels, or patches if masked so."""

    alpha: float | Tensor
    k_min: float | Tensor
    k_max: float | Tensor
    n_pixels: int  # pixels (or patches) of an image


MAGNITUDE_BOUNDS = (
    150 / 1024,
    900 / 1024,
)  # of `move_by_magnitude` from the fourth visit on, shares of the pixels

KRule = Callable[[Tensor, KChange, Tensor, Tensor, KSettings], Tensor]


def register_k_rule(name: str, rule: KRule, start: float | None = None) -> None:
    """Make a rule of k of one's own known under a name, for ``TrainingConfig(k_rule=name)``.

    Runs record the name alone: register the rule again before going on with one.

    Parameters
    ----------
    name
        Any text. The rule of a name that was registered before is replaced; `K_RULES` keep theirs.
    rule
        ``rule(k, change, labels, epoch, settings)`` gives the k of each image for its next visit. ``k`` is ``(N,)``
        pixels, real; ``change`` a `KChange`; ``labels`` int64 ``(N,)``; ``epoch`` int64 ``(N,)``, the how-manieth
        visit of the image this is, from 1; ``settings`` a `KSettings`. It runs at each step on the device: no
        ``.item()``, no ``if`` on a tensor. What it gives, ``(N,)`` or one number for all, is clipped to 0 … P.
    start
        Share of the pixels that is masked at the first visit; None is the setting ``k_init``.

    Examples
    --------
    Half-way to the upper bound whenever masking did not lower the label's probability:

    >>> def patient(k, change, labels, epoch, settings):
    ...     return torch.where(change.label >= 0, (k + settings.k_max) / 2, k)
    >>> register_k_rule("patient", patient)
    >>> TrainingConfig(k_rule="patient").k_rule
    'patient'
    """
    if name in K_RULES:
        raise ValueError(f"{name!r} is a rule that is here already; choose another name")
    if not callable(rule):
        raise TypeError(
            f"a rule of k is a function (k, change, labels, epoch, settings) → k, given {type(rule).__name__}"
        )
    if start is not None and not 0 <= start <= 1:
        raise ValueError(f"start is a share of the pixels, 0 … 1, given {start}")
    REGISTERED["k_rule"][name], _STARTS[name] = rule, start
    TrainingConfig.accept("k_rule", name)


def k_rule(name: str) -> KRule:
    """The rule of that name.

    Raises
    ------
    ValueError
        When no rule of the name is registered.
    """
    known = {**_RULES, **REGISTERED["k_rule"]}
    if name not in known:
        raise unknown_name(
            "rule of k", name, known, "register_k_rule(name, rule) makes one of your own known"
        )
    return known[name]


def k_unit(settings: Mapping[str, Any]) -> str:
    """What k counts in a training with these settings: "pixels", or "patches" where they are masked whole."""
    return "pixels" if settings.get("patch", 1) == 1 else "patches"


def most_k(settings: Mapping[str, Any], n_pixels: int) -> int:
    """How many pixels, or patches of them, an image of ``n_pixels`` has: what k counts up to.

    Examples
    --------
    >>> most_k({}, 1024), most_k({"patch": 4}, 1024)
    (1024, 64)
    """
    return n_pixels // settings.get("patch", 1) ** 2


def own_k_rules() -> dict[str, tuple[KRule, float | None]]:
    """Rule and start of each name that was registered, for another process to register them too."""
    return {name: (rule, _STARTS[name]) for name, rule in REGISTERED["k_rule"].items()}


def start_k(settings: Mapping[str, Any], n_pixels: int) -> float:
    """How many of the pixels (or patches, `most_k` of them) are masked at the first visit in a training.

    A run's settings may record under ``k_start`` the share at which its rule starts, None for ``k_init``: it then
    holds where the rule is not registered. Otherwise it is the rule's own.

    Examples
    --------
    >>> start_k({"method": "sgt", "k_init": 0.5}, 784), start_k({"method": "traditional", "k_init": 0.5}, 784)
    (392.0, 0.0)
    """
    if settings["method"] == "traditional":
        return 0.0
    start = None
    if settings["method"] == "smoot":
        start = settings.get("k_start", _STARTS.get(settings.get("k_rule", "smoot")))
    return (settings["k_init"] if start is None else start) * n_pixels


def checked_k(moved: Tensor | float, k: Tensor, name: str, n_pixels: int) -> Tensor:
    """What the rule of that name has made of k, as float32 ``(N,)`` in 0 … P.

    Raises
    ------
    TypeError
        When it gave something else than real numbers ``(N,)`` or one for all.
    """
    if isinstance(moved, int | float):
        moved = torch.full_like(k, moved)
    if not isinstance(moved, Tensor) or moved.is_complex() or moved.shape not in (k.shape, ()):
        given = f"{moved.dtype} {tuple(moved.shape)}" if isinstance(moved, Tensor) else type(moved).__name__
        raise TypeError(
            f"the rule of k {name!r} must give the k of each image for its next visit, real numbers {tuple(k.shape)}, "
            f"or one number for all; given {given}"
        )
    return moved.detach().to(k).expand_as(k).clamp(0, n_pixels)


def move_by_delta(k: Tensor, change: KChange, labels: Tensor, epoch: Tensor, settings: KSettings) -> Tensor:
    """k ← clip(k + α Δ, k_min, k_max), equation (4)."""
    return (k + settings.alpha * change.delta).clamp(settings.k_min, settings.k_max)  # type: ignore[arg-type]


def move_by_magnitude(
    k: Tensor, change: KChange, labels: Tensor, epoch: Tensor, settings: KSettings
) -> Tensor:
    """k ← clip(k + ⌊5 ℓ⌋), ℓ = |Σ_c w_c (log p_c(x) − log p_c(x̃))| / C, w_y = e and 1 for the other classes.

    The rule of github.com/alikabadi/Masking_Based_Grad (February 2023), the paper's likely precursor: k can only
    rise. Its start and bounds belong to it, so α, k_init, k_min and k_max are not used: nothing is masked at the
    first two visits, then k begins at 150 of 1,024 pixels; bounds 100 and 450 at the third visit, 150 and 900 later.
    These scale with P; the 5 pixels per unit of ℓ do not. Its epochs count from 0, ours from 1.
    """
    smallest = torch.finfo(change.clean.dtype).tiny
    ratio = change.clean.clamp(min=smallest).log() - change.masked.clamp(min=smallest).log()  # (N, C)
    ratio = ratio.scatter_add(1, labels[:, None], (math.e - 1) * ratio.gather(1, labels[:, None]))
    moved = k + (5 * (ratio.sum(1).abs() / ratio.shape[1])).floor()
    share = settings.n_pixels / 1024
    low, high = (bound * settings.n_pixels for bound in MAGNITUDE_BOUNDS)
    third = moved.clamp(100 * share, 450 * share)
    later = moved.clamp(low, high)
    unmasked = torch.where(epoch == 2, 150 * share, torch.zeros_like(k))
    return torch.where(epoch <= 2, unmasked, torch.where(epoch == 3, third, later))


_RULES: dict[str, KRule] = {"smoot": move_by_delta, "magnitude": move_by_magnitude}
_STARTS = Registry("k_start")
_STARTS.update(smoot=None, magnitude=0.0)
