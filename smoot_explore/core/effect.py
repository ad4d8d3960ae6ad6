"""The effect of masking on some images: their saliency, what is left of them, and what it does to the output."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from smoot_explore.compute.device import hardware_of
from smoot_explore.core.adaptation import class_of_delta, probability_change
from smoot_explore.core.masking import mask_pixels, rank_pixels
from smoot_explore.core.saliency import saliency, untouched
from smoot_explore.data.images import Split


class MaskingEffect(NamedTuple):
    """What `masking_effect` finds, as arrays on the host."""

    saliency: np.ndarray  # (N, H, W)
    masked_images: np.ndarray  # uint8 (N, C, H, W)
    clean_probabilities: np.ndarray  # (N, n_classes)
    masked_probabilities: np.ndarray  # (N, n_classes)
    label_change: np.ndarray  # (N,) Δ₁ of equation (1)
    runners_up_change: np.ndarray  # (N,) Δ₂..ₙ of equation (2)


def masking_effect(
    model: nn.Module,
    split: Split,
    k: np.ndarray | float,
    *,
    order: str = "lowest",
    fill: str = "remaining",
    attribution: str = "gradient",
    signed: bool = True,
    top_n: int = 5,
    delta_class: str = "label",
    patch: int = 1,
    maps: np.ndarray | None = None,
    seed: int = 0,
) -> MaskingEffect:
    """Mask k pixels of each image and see what changes. The model runs in eval mode and is left as it was.

    Parameters
    ----------
    model
        Maps normalised images to logits; used on the device it is on.
    split
        The images, with labels and the statistics that the model was trained with.
    k
        Number of masked pixels (or patches), one for all or ``(N,)``; from 0 to H·W, rounded.
    order, fill, patch
        As in `rank_pixels` and `mask_pixels`; the defaults are those of training.
    attribution, signed, seed
        As in `saliency`; the seed also fixes the random fills, so that the picture moves with k alone.
    top_n, delta_class
        As in `TrainingConfig`: n of equation (2), and the class whose change is Δ₁.
    maps
        Saliency ``(N, H, W)`` from an earlier call, to spare computing it again; None computes it.

    Returns
    -------
    MaskingEffect

    Examples
    --------
    >>> from smoot_explore import create_model, load_data
    >>> data = load_data("shapes", train=12, test=6)
    >>> seen = masking_effect(create_model("cnn", data), data.test[:2], k=0)
    >>> bool((seen.masked_images == data.test.images[:2].numpy()).all()), seen.label_change.tolist()
    (True, [0.0, 0.0])
    """
    hardware = hardware_of(model)
    device = hardware.device
    images, labels = split.batch(slice(None), hardware)
    if maps is None:
        ranked = saliency(model, images, labels, attribution, signed=signed, seed=seed)
    else:
        ranked = torch.as_tensor(maps, device=device)
    generator = torch.Generator(device).manual_seed(seed)
    ranks = rank_pixels(ranked, order, patch)
    masked = mask_pixels(images, ranks, torch.as_tensor(k), fill, generator, black=split.black)
    with untouched(model), torch.no_grad():
        clean_p, masked_p = model.eval()(torch.cat([images, masked])).float().softmax(1).chunk(2)
    change = probability_change(clean_p, masked_p, class_of_delta(clean_p, labels, delta_class), top_n)
    pictures = _pictures(split, masked)
    return MaskingEffect(
        *(
            array.cpu().numpy()
            for array in (ranked, pictures, clean_p, masked_p, change.label, change.runners_up)
        )
    )


def _pictures(split: Split, images: Tensor) -> Tensor:
    """Normalised images as uint8 again."""
    mean, std = (values.view(-1, 1, 1).to(images.device) for values in (split.mean, split.std))
    return ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
