"""Masking curves: what happens to every image's class probability as more of it is masked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import nn

from smoot_explore.compute.device import hardware_of
from smoot_explore.compute.memory import retained_memory
from smoot_explore.compute.randomness import derived_seed
from smoot_explore.core.choices import ATTRIBUTIONS
from smoot_explore.core.levels import (
    Progress,
    checked_names,
    chunks_of,
    draw_noise_for,
    image_coords,
    logits_of,
    masked_batches,
    masked_fractions,
    saliency_and_logits,
)
from smoot_explore.core.masking import fill_names, order_pixels
from smoot_explore.core.saliency import untouched
from smoot_explore.data.images import Split
from smoot_explore.schema import CURVES, labelled


def masking_curves(
    model: nn.Module,
    split: Split,
    levels: int | Sequence[float] = 20,
    order: str = "highest",
    fill: str | Sequence[str] = "black",
    attribution: str | Sequence[str] = "gradient",
    *,
    signed: bool = True,
    precision: str = "float32",
    memory_budget: int = 2**30,
    seed: int = 0,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Probability of the label, and whether the prediction is right, as each image is masked step by step.

    Pixels are ranked once, on the clean image. At the fraction m, round(m·P) pixels are masked (halves to
    even). Random fills use the same random numbers at every level, so that a curve moves because of what
    is masked and not because of the draw.

    Parameters
    ----------
    model
        Maps normalised images to logits; evaluated on the device it is on, in eval mode, and left as it was.
    split
        Images and labels, for example ``data.test`` or ``data.test[:100]``.
    levels
        Number of equal steps from m = 0 to m = 1, which gives ``levels + 1`` points; or the fractions.
    order, fill
        As in `rank_pixels` and `mask_pixels`. A list of fills adds the dimension ``fill``.
    attribution, signed
        As in `saliency`. A list of attributions adds the dimension ``attribution``.
    precision
        ``"float32"``, ``"bfloat16"`` or ``"auto"``, of the forward passes.
    memory_budget
        Bytes that one chunk of images may take while the model runs. Results depend on it only for the
        attribution methods that draw at random.
    seed
        Fixes the random fills and attribution methods.
    progress
        Called after each chunk with the images done and the images in all.

    Returns
    -------
    xr.Dataset
        ``probability`` and ``correct``, ``(image, masked_fraction)``; see docs/schema.md.

    Examples
    --------
    >>> from smoot_explore import create_model, load_data
    >>> data = load_data("shapes", train=12, test=6)
    >>> curves = masking_curves(create_model("cnn", data), data.test, levels=4)
    >>> curves.probability.dims, curves.masked_fraction.values.tolist()
    (('image', 'masked_fraction'), [0.0, 0.25, 0.5, 0.75, 1.0])
    """
    fractions = masked_fractions(levels)
    fills, attributions = (
        checked_names(fill, "fill", fill_names()),
        checked_names(attribution, "attribution method", ATTRIBUTIONS),
    )
    pixels = np.rint(fractions * split.n_pixels).astype(int).tolist()
    hardware = hardware_of(model, precision)
    shape = (len(attributions), len(fills), len(split), len(fractions))
    probability, correct = np.empty(shape, np.float32), np.empty(shape, bool)
    rng = np.random.default_rng(seed)
    with untouched(model), retained_memory(hardware.device), hardware.autocast():
        model.eval()
        for chunk in chunks_of(model, split, hardware, memory_budget):
            images, labels = split.batch(chunk, hardware)
            noise = draw_noise_for(rng, images, fills)
            for i, name in enumerate(attributions):
                maps, clean = saliency_and_logits(
                    model, images, labels, name, signed, derived_seed(seed, chunk.start)
                )
                ordered = order_pixels(maps, order)
                for j, fill_name in enumerate(fills):
                    batches = masked_batches(images, ordered, pixels, fill_name, noise, split.black)
                    levels_p, levels_correct = [], []
                    for k, batch in zip(pixels, batches, strict=True):
                        logits = clean if k == 0 else logits_of(model, batch).expand_as(clean)
                        levels_p.append(logits.softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1))
                        levels_correct.append(logits.argmax(1) == labels)
                    probability[i, j, chunk] = torch.stack(levels_p, 1).cpu().numpy()
                    correct[i, j, chunk] = torch.stack(levels_correct, 1).cpu().numpy()
            if progress is not None:
                progress(chunk.stop, len(split))
    drop = tuple(n for n, given in enumerate((attribution, fill)) if isinstance(given, str))
    return labelled(
        CURVES,
        {"probability": probability.squeeze(drop), "correct": correct.squeeze(drop)},
        {
            "masked_fraction": fractions,
            "attribution": attribution if isinstance(attribution, str) else attributions,
            "fill": fill if isinstance(fill, str) else fills,
            **image_coords(split),
        },
        {
            "order": order,
            "ranking": "signed" if signed else "magnitude",
            "precision": str(hardware.dtype).removeprefix("torch."),
            "seed": int(seed),
            "class_names": split.class_names,
        },
    )
