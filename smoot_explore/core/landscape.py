"""The k-landscape: Δ as a function of k for a model that stays as it is, and the trajectories on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from torch import nn

from smoot_explore.compute.device import hardware_of
from smoot_explore.compute.memory import retained_memory
from smoot_explore.compute.randomness import derived_seed
from smoot_explore.core.adaptation import probability_change
from smoot_explore.core.choices import names
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
    skip_noise,
)
from smoot_explore.core.masking import check_patch, draws_noise, order_pixels
from smoot_explore.core.parts import in_parts
from smoot_explore.core.rules import k_unit
from smoot_explore.core.saliency import untouched
from smoot_explore.data.images import Split
from smoot_explore.schema import LANDSCAPE, labelled

if TYPE_CHECKING:
    from distributed import Client


def k_landscape(
    model: nn.Module,
    split: Split,
    levels: int = 32,
    *,
    draws: int = 3,
    fill: str = "remaining",
    attribution: str = "gradient",
    signed: bool = True,
    top_n: int = 5,
    patch: int = 1,
    precision: str = "float32",
    memory_budget: int = 2**30,
    seed: int = 0,
    first: int = 0,
    progress: Progress | None = None,
    client: Client | None = None,
) -> xr.Dataset:
    """Δ₁ and Δ₂..ₙ of every image as functions of k, for a model that stays as it is.

    With these, equation (4) is a map k → clip(k + αΔ(k)) that `simulate_k` follows without any training.
    Pixels are masked lowest first, as in training.

    Parameters
    ----------
    model, split, attribution, signed, precision, memory_budget, seed, first, progress, client
        As in `masking_curves`.
    levels
        Number of equal steps from k = 0 to k = P, the number of pixels, or of patches.
    draws
        How many random fills the changes are averaged over; one is enough for fills without chance.
    fill, top_n, patch
        As in training. With a ``patch`` above 1, k counts patches.

    Returns
    -------
    xr.Dataset
        ``label_change`` and ``runners_up_change``, ``(image, k)``; see docs/schema.md.
    """
    if client is not None:
        return in_parts(
            k_landscape, client, model, split, first, progress, levels=levels, draws=draws, fill=fill,
            attribution=attribution, signed=signed, top_n=top_n, patch=patch, precision=precision,
            memory_budget=memory_budget, seed=seed,
        )  # fmt: skip
    if draws < 1:
        raise ValueError(f"draws must be at least 1, given {draws}")
    checked_names(fill, "fill", names("fill"))
    checked_names(attribution, "attribution method", names("attribution"))
    check_patch(patch, *split.image_shape[1:])
    most = split.n_pixels // patch**2
    k = np.unique(np.rint(masked_fractions(levels) * most).astype(int))
    pixels = (k * patch**2).tolist()
    hardware = hardware_of(model, precision)
    draws = draws if draws_noise(fill) else 1
    rngs = [np.random.default_rng([seed, draw]) for draw in range(draws)]
    for rng in rngs:
        skip_noise(rng, first, split.image_shape, [fill])
    label_change = np.zeros((len(split), len(pixels)), np.float32)
    runners_up_change = np.zeros_like(label_change)
    with untouched(model), retained_memory(hardware.device), hardware.autocast():
        model.eval()
        for chunk in chunks_of(model, split, hardware, memory_budget):
            images, labels = split.batch(chunk, hardware)
            maps, logits = saliency_and_logits(
                model, images, labels, attribution, signed, derived_seed(seed, first + chunk.start)
            )
            clean = logits.softmax(1)
            ordered = order_pixels(maps, "lowest", patch)
            for rng in rngs:
                noise = draw_noise_for(rng, images, [fill])
                batches = masked_batches(images, ordered, pixels, fill, noise, split.black)
                for i, batch in enumerate(batches):
                    if pixels[i] == 0:
                        continue  # nothing masked, nothing changed
                    masked = logits_of(model, batch).expand_as(logits).softmax(1)
                    change = probability_change(clean, masked, labels, top_n)
                    label_change[chunk, i] += change.label.cpu().numpy() / draws
                    runners_up_change[chunk, i] += change.runners_up.cpu().numpy() / draws
            if progress is not None:
                progress(chunk.stop, len(split))
    return labelled(
        LANDSCAPE,
        {"label_change": label_change, "runners_up_change": runners_up_change},
        {"k": k, "attribution": attribution, "fill": fill, **image_coords(split)},
        {
            "n_pixels": most,
            "ranking": "signed" if signed else "magnitude",
            "top_n": top_n,
            "patch": patch,
            "draws": draws,
            "precision": str(hardware.dtype).removeprefix("torch."),
            "seed": int(seed),
            "class_names": split.class_names,
        },
        k_unit({"patch": patch}),
    )


def simulate_k(
    landscape: xr.Dataset,
    *,
    alpha: float,
    beta: float,
    k_init: float,
    k_min: float,
    k_max: float,
    epochs: int,
) -> xr.DataArray:
    """Trajectories of k that equation (4) takes on a landscape, without training.

    Δ between two grid points is interpolated linearly.

    Parameters
    ----------
    landscape
        From `k_landscape`.
    alpha
        α, pixels (or patches) per unit of Δ.
    beta
        β, 0 … 1.
    k_init, k_min, k_max
        Fractions of the pixels, 0 … 1, as in `TrainingConfig`. The start is not clipped, the steps are.
    epochs
        Number of steps.

    Returns
    -------
    xr.DataArray
        k, ``(epoch, image)``, epoch 0 … ``epochs``; epoch 0 is ``k_init``.
    """
    for name, value in {"k_init": k_init, "k_min": k_min, "k_max": k_max, "beta": beta}.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie between 0 and 1, given {value}")
    if k_min > k_max:
        raise ValueError(f"k_min={k_min} is above k_max={k_max}; give fractions with k_min ≤ k_max")
    if epochs < 0:
        raise ValueError(f"epochs must not be negative, given {epochs}")
    n_pixels = landscape.attrs["n_pixels"]
    grid = landscape.k.values.astype(float)
    label = landscape.label_change.transpose("image", "k").values
    runners_up = landscape.runners_up_change.transpose("image", "k").values
    delta = beta * label.astype(float) + (1 - beta) * runners_up.astype(float)  # (image, k)
    k = np.empty((epochs + 1, len(delta)))
    k[0] = k_init * n_pixels
    rows = np.arange(len(delta))
    for epoch in range(epochs):
        place = np.interp(k[epoch], grid, np.arange(len(grid)))
        left = np.minimum(place.astype(int), max(len(grid) - 2, 0))
        right = np.minimum(left + 1, len(grid) - 1)
        share = place - left
        change = (1 - share) * delta[rows, left] + share * delta[rows, right]
        k[epoch + 1] = np.clip(k[epoch] + alpha * change, k_min * n_pixels, k_max * n_pixels)
    return xr.DataArray(
        k,
        dims=("epoch", "image"),
        coords={"epoch": np.arange(epochs + 1), **landscape.label.coords},
        name="k",
        attrs={"units": "pixels", "long_name": "number of masked pixels", **landscape.k.attrs},
    )


def next_k(
    one: xr.Dataset, k: np.ndarray, alpha: float, beta: float, bounds: tuple[float, float]
) -> np.ndarray:
    """The map of one image of a landscape: k after the next visit as a function of k, by equation (4).

    ``bounds`` in the unit of k; the other parameters as in `simulate_k`.
    """
    delta = beta * one.label_change.values + (1 - beta) * one.runners_up_change.values
    return np.clip(k + alpha * np.interp(k, one.k.values, delta), *bounds)
