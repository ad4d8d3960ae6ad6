"""Attacks: the small change of an image that misleads a model most, and how many images withstand it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smoot_explore.compute.device import hardware_of
from smoot_explore.core.levels import logits_of
from smoot_explore.core.models import check_logits, check_no_probabilities, kept_modes
from smoot_explore.core.saliency import check_images
from smoot_explore.data.images import Split
from smoot_explore.errors import unknown_name


def pgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilon: Tensor | float,
    *,
    low: Tensor | float,
    high: Tensor | float,
    steps: int = 20,
    loss: str = "cross_entropy",
    seed: int = 0,
) -> Tensor:
    """Images changed by at most ε in each value so that the model mistakes them: projected gradient descent.

    The attack of Madry et al. (2018), "Towards Deep Learning Models Resistant to Adversarial Attacks": from a random
    point at most ε away, ``steps`` steps of 2.5·ε / steps along the sign of the loss's gradient, each followed by the
    way back to within ε and the valid range. The last point counts.

    Parameters
    ----------
    model
        Maps images to logits; attacked in eval mode, and left as it was: its modes, and its weights' ``.grad``.
    images
        ``(N, C, H, W)`` floating point, on the model's device, in the scale that the model takes: normalised ones for
        a model trained here.
    labels
        int64 ``(N,)``: the right classes, which the attack leads away from.
    epsilon
        ε in the scale of the images, a number or one for each channel, ``(C,)``. An ε in levels of 256 is
        ``epsilon / (255 * split.std)`` in normalised images.
    low, high
        Smallest and largest valid value in the scale of the images, a number or ``(C,)``: 0 and 1, or ``split.black``
        and ``(1 - split.mean) / split.std`` for normalised images.
    steps
        Number of steps, at least 1.
    loss
        ``"cross_entropy"``, or ``"margin"``: the highest other logit minus the label's (Carlini and Wagner 2017,
        "Towards Evaluating the Robustness of Neural Networks"). The margin has a gradient also where the model is so
        sure that the gradient of the cross-entropy rounds to 0.
    seed
        Fixes the random start; the same on every device.

    Returns
    -------
    Tensor
        float32 ``(N, C, H, W)``, detached.

    Raises
    ------
    ValueError
        For shapes that do not go together, a negative ε, images outside the valid range, fewer than 1 step, an unknown
        loss, and a model that returns no logits.
    TypeError
        For images that are not floating point.

    Examples
    --------
    >>> model = nn.Flatten()  # an image of two pixels: each is the logit of its class
    >>> attacked = pgd(model, torch.tensor([[[[0.75, 0.5]]]]), torch.tensor([0]), 0.25, low=0, high=1)
    >>> attacked.tolist()
    [[[[0.5, 0.75]]]]
    """
    check_images(images, labels)
    if steps < 1:
        raise ValueError(f"steps must be at least 1, given {steps}")
    if loss not in _LOSSES:
        raise unknown_name("loss", loss, _LOSSES)
    images = images.detach().float()
    epsilon, low, high = (
        _per_channel(name, value, images)
        for name, value in (("epsilon", epsilon), ("low", low), ("high", high))
    )
    if not (epsilon >= 0).all():
        raise ValueError(f"epsilon must not be negative, given {epsilon.min().item():g}")
    _check_range(images, low, high)
    if len(images) == 0:
        return images
    with kept_modes(model):
        model.eval()
        _check_model(model, images, labels)
        start = _uniform(np.random.default_rng(seed), images)
        return _attack(model, images, labels, epsilon, low, high, steps, loss, start)


def robust_accuracy(
    model: nn.Module,
    split: Split,
    epsilons: Sequence[float],
    steps: int = 20,
    seed: int = 0,
    chunk: int = 256,
) -> Tensor:
    """Which images the model recognises, and still recognises when they are attacked.

    An image withstands ε when it is recognised as it is, under `pgd` with the cross-entropy and under `pgd` with the
    margin. That is an upper bound: a stronger attack may find more. Every ε is attacked from the same random
    directions, and nothing forces a larger ε to do more harm than a smaller one.

    Parameters
    ----------
    model
        Maps normalised images to logits; attacked on the device it is on, in eval mode, and left as it was.
    split
        Images and labels, for example ``data.test.sample(100)``.
    epsilons
        The largest change of each value, in levels of 256: 8 means 8/255 of the range from black to white. 0 is no
        attack.
    steps
        As in `pgd`.
    seed
        Fixes the random starts.
    chunk
        Images that are attacked at a time; the numbers drawn do not depend on it.

    Returns
    -------
    Tensor
        bool ``(n_epsilons, N)`` on the CPU, True where recognised; ``.float().mean(1)`` is the robust accuracy.

    Raises
    ------
    ValueError
        For a negative ε, and for a list whose largest one is a fraction of a level; for fewer than 1 step or image at a
        time, and for a model that does not go with the data.

    Examples
    --------
    >>> from smoot_explore import create_model, load_data
    >>> data = load_data("shapes", train=12, test=6)
    >>> robust_accuracy(create_model("cnn", data), data.test, [0, 4], steps=2).shape
    torch.Size([2, 6])
    """
    levels = _checked_levels(epsilons)
    if steps < 1 or chunk < 1:
        raise ValueError(f"steps and chunk must be at least 1, given steps={steps} and chunk={chunk}")
    hardware = hardware_of(model)
    std, low, high = (
        values.view(-1, 1, 1).to(hardware.device)
        for values in (split.std, split.black, (1 - split.mean) / split.std)
    )
    rng = np.random.default_rng(seed)
    found = torch.empty(len(levels), len(split), dtype=torch.bool)
    with kept_modes(model):
        model.eval()
        _check_model(model, split.batch(slice(8), hardware)[0], split.labels)
        for first in range(0, len(split), chunk):
            part = slice(first, first + chunk)
            images, labels = split.batch(part, hardware)
            start = _uniform(rng, images)
            clean = logits_of(model, images).argmax(1) == labels
            for i, level in enumerate(levels):
                right = clean.clone()
                for loss in _LOSSES if level else ():
                    left = right.nonzero().flatten()  # the wrong ones need no attack
                    if len(left):
                        x, y = images[left], labels[left]
                        x = _attack(model, x, y, level / (255 * std), low, high, steps, loss, start[left])
                        right[left] = logits_of(model, x).argmax(1) == y
                found[i, part] = right.cpu()
    return found


def _attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilon: Tensor,
    low: Tensor,
    high: Tensor,
    steps: int,
    loss: str,
    start: Tensor,
) -> Tensor:
    """`pgd` with a model in eval mode, for what has been checked; ``start`` is uniform in 0 … 1."""
    # An image that rounding has put a little outside the valid range may stay where it is.
    lowest = torch.minimum(images, (images - epsilon).clamp(min=low))
    highest = torch.maximum(images, (images + epsilon).clamp(max=high))
    attacked = (images + epsilon * (2 * start - 1)).clamp(lowest, highest)
    for _ in range(steps):
        attacked.requires_grad_()
        with torch.enable_grad():
            harm = _LOSSES[loss](model(attacked).float(), labels)
        (gradient,) = torch.autograd.grad(harm, attacked)
        step = 2.5 / steps * epsilon * gradient.sign()
        attacked = (attacked.detach() + step).clamp(lowest, highest)
    return attacked


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="sum")


def _margin(logits: Tensor, labels: Tensor) -> Tensor:
    """How far the highest other logit is above the label's, summed over the images."""
    places = labels.unsqueeze(1)
    others = logits.scatter(1, places, -torch.inf)
    return (others.amax(1) - logits.gather(1, places).squeeze(1)).sum()


_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cross_entropy": _cross_entropy, "margin": _margin}


def _uniform(rng: np.random.Generator, images: Tensor) -> Tensor:
    """Random numbers in 0 … 1, drawn image after image: how images are chunked changes nothing."""
    return torch.from_numpy(rng.random(images.shape, np.float32)).to(images.device)


def _per_channel(name: str, value: Tensor | float, images: Tensor) -> Tensor:
    """A finite number or ``(C,)`` as float32 ``(1, 1, 1)`` or ``(C, 1, 1)``."""
    values = torch.as_tensor(value, dtype=torch.float32, device=images.device)
    if values.ndim > 1 or values.numel() not in (1, images.shape[1]):
        raise ValueError(
            f"{name} must be a number or hold one value for each of the {images.shape[1]} channels, "
            f"given shape {tuple(values.shape)}"
        )
    if not values.isfinite().all():
        raise ValueError(f"{name} must be finite, given {value}")
    return values.view(-1, 1, 1)


def _check_range(images: Tensor, low: Tensor, high: Tensor) -> None:
    if not (low < high).all():
        raise ValueError(
            "low must be below high in every channel; low is the value of black, high that of white"
        )
    rounding = 1e-4 * (high - low)
    if not ((images >= low - rounding) & (images <= high + rounding)).all():
        raise ValueError(
            f"images must lie between low and high, given values from {images.min().item():g} to "
            f"{images.max().item():g}; for normalised images give low=split.black and "
            "high=(1 - split.mean) / split.std"
        )


def _check_model(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    few = images[:8]
    with torch.no_grad():
        logits = model(few)
    check_logits(logits, len(few))
    check_no_probabilities(logits)
    if not ((labels >= 0) & (labels < logits.shape[1])).all():
        raise ValueError(
            f"labels must lie between 0 and {logits.shape[1] - 1}, the classes that the model knows; given "
            f"{labels.min()} to {labels.max()}"
        )


def _checked_levels(epsilons: Sequence[float]) -> list[float]:
    levels = np.asarray(epsilons, float)
    if levels.ndim != 1 or not len(levels) or not (np.isfinite(levels) & (levels >= 0)).all():
        raise ValueError(f"epsilons must be a list of numbers that are not negative, given {epsilons}")
    if 0 < levels.max() < 1:
        raise ValueError(
            f"epsilons are in levels of 256, given {epsilons}; multiply fractions of the range by 255"
        )
    return levels.tolist()
