"""What a saliency map can be held against: chance, another model, and a true mask of the object."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from smoot_explore.compute.device import hardware_of
from smoot_explore.compute.randomness import RandomStream
from smoot_explore.core.masking import rank_pixels


def rank_correlation(maps: Tensor, others: Tensor) -> Tensor:
    """How alike two saliency maps of each image order its pixels: Spearman's ρ.

    Parameters
    ----------
    maps, others
        ``(N, H, W)``, of the same images.

    Returns
    -------
    Tensor
        ``(N,)``: 1 the same order, 0 none in common, −1 the opposite one. Equal values are ranked in
        reading order, as masking ranks them.

    Examples
    --------
    >>> maps = torch.arange(4.0).view(1, 2, 2)
    >>> rank_correlation(maps, maps).item(), rank_correlation(maps, -maps).item()
    (1.0, -1.0)
    """
    if maps.ndim != 3 or maps.shape != others.shape:
        raise ValueError(
            f"both groups of maps must have shape (N, H, W), given {tuple(maps.shape)} and {tuple(others.shape)}"
        )
    places = [rank_pixels(m).flatten(1).double() for m in (maps, others)]
    first, second = (p - p.mean(1, keepdim=True) for p in places)
    # Both hold the same numbers 0 … P−1, so their variances are equal.
    return ((first * second).sum(1) / (first * first).sum(1)).float()


def hit_rate(maps: Tensor, object_masks: Tensor) -> Tensor:
    """Share of an image's most salient pixels that lie on its object, counting as many as the object has.

    Relevance rank accuracy of Arras, Osman and Samek (2022), "CLEVR-XAI". A map of chance gets the
    object's share of the image, on average.

    Parameters
    ----------
    maps
        ``(N, H, W)``; the highest values count. Give magnitudes where the sign does not matter.
    object_masks
        bool ``(N, H, W)``, True on the object, for example ``data.test.object_masks`` of ``"shapes"``.

    Returns
    -------
    Tensor
        ``(N,)``, 0 … 1; NaN for an image without an object.

    Examples
    --------
    >>> maps = torch.tensor([[[9.0, 8.0], [1.0, 0.0]]])
    >>> hit_rate(maps, maps > 5).item(), hit_rate(-maps, maps > 5).item()
    (1.0, 0.0)
    """
    if maps.ndim != 3 or maps.shape != object_masks.shape or object_masks.dtype != torch.bool:
        raise ValueError(
            "maps must have shape (N, H, W) and object_masks the same, as bool; given "
            f"{tuple(maps.shape)} and {tuple(object_masks.shape)} of {object_masks.dtype}"
        )
    sizes = object_masks.flatten(1).sum(1, keepdim=True)  # (N, 1)
    on_object = object_masks.flatten(1).gather(
        1, maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    )
    counted = torch.arange(on_object.shape[1], device=maps.device) < sizes
    return (on_object & counted).sum(1) / sizes.squeeze(1)


def randomize_layers(model: nn.Module, n_layers: int | None = None, seed: int = 0) -> nn.Module:
    """A copy of the model in which the last layers have fresh random weights, as before training.

    The cascading randomisation of Adebayo et al. (2018), "Sanity Checks for Saliency Maps": a map that
    explains what the model learned must change with it.

    Parameters
    ----------
    model
        Left as it is.
    n_layers
        How many layers with weights of their own, counted from the output; None takes all.
    seed
        Fixes the new weights.

    Raises
    ------
    ValueError
        When the model has fewer layers, or one that cannot be initialised again.
    """
    changed = copy.deepcopy(model)
    layers = [m for m in changed.modules() if next(m.parameters(recurse=False), None) is not None]
    n_layers = len(layers) if n_layers is None else n_layers
    if not 0 <= n_layers <= len(layers):
        raise ValueError(
            f"the model has {len(layers)} layers with weights, n_layers={n_layers} must lie in 0 … that"
        )
    with RandomStream(seed, hardware_of(changed).device):
        for layer in layers[len(layers) - n_layers :]:
            reset = getattr(layer, "reset_parameters", None)
            if reset is None:
                raise ValueError(
                    f"{type(layer).__name__} has weights but no reset_parameters() to draw them again"
                )
            reset()
    return changed
