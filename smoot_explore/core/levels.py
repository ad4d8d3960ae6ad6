"""Images at every level of masking: what masking curves and the k-landscape share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from smoot_explore.compute.device import Hardware
from smoot_explore.core.masking import depends_on_mask, draws_noise, fill_values
from smoot_explore.core.models import activation_bytes, check_logits, check_no_probabilities
from smoot_explore.core.saliency import input_gradient, saliency
from smoot_explore.data.images import Split
from smoot_explore.errors import unknown_name

Progress = Callable[[int, int], object]  # called with (images done, images in all)
# Images: larger chunks run slower on a CPU, because a layer's output then exceeds what glibc keeps (32 MB).
_LARGEST_CHUNK = {torch.float32: 128, torch.bfloat16: 256}


def masked_fractions(levels: int | Sequence[float]) -> np.ndarray:
    """Masked fractions, increasing."""
    if isinstance(levels, int | np.integer):
        if levels < 1:
            raise ValueError(f"levels must be at least 1 step, given {levels}")
        return np.arange(levels + 1) / levels
    fractions = np.asarray(levels, float)
    increasing = fractions.ndim == 1 and len(fractions) > 1 and (np.diff(fractions) > 0).all()
    if not increasing or fractions[0] < 0 or fractions[-1] > 1:
        raise ValueError(
            f"levels must be a number of steps, or at least two increasing fractions in 0 … 1; given {levels}"
        )
    return fractions


def checked_names(given: str | Sequence[str], kind: str, accepted: Collection[str]) -> list[str]:
    names = [given] if isinstance(given, str) else list(given)
    if not names:
        raise ValueError(f"give at least one {kind} of: {', '.join(accepted)}")
    for name in names:
        if name not in accepted:
            raise unknown_name(kind, name, accepted)
    return names


def chunks_of(model: nn.Module, split: Split, hardware: Hardware, memory_budget: int) -> Iterator[slice]:
    """Slices of the images, each as large as the memory budget allows."""
    images, _ = split.batch(slice(1), hardware)
    with torch.no_grad():
        logits = model(images)
    check_logits(logits, 1)
    check_no_probabilities(logits)
    if split.labels.max() >= logits.shape[1]:
        raise ValueError(
            f"the model knows {logits.shape[1]} classes, but there is a label {int(split.labels.max())}; "
            "evaluate it on the data it was made for"
        )
    # The gradient keeps every layer's output and needs about as much again on the way back.
    bytes_per_image = 2 * activation_bytes(model, images)
    largest = _LARGEST_CHUNK[hardware.dtype] if hardware.device.type == "cpu" else len(split)
    size = int(np.clip(memory_budget // bytes_per_image, 1, largest))
    for start in range(0, len(split), size):
        yield slice(start, min(start + size, len(split)))


def draw_noise_for(rng: np.random.Generator, images: Tensor, fills: Sequence[str]) -> Tensor | None:
    """Random numbers for random fills, drawn image after image: how images are chunked changes nothing."""
    if not any(map(draws_noise, fills)):
        return None
    return torch.from_numpy(rng.random(images.shape, np.float32)).to(images.device)


def skip_noise(
    rng: np.random.Generator, n_images: int, image_shape: tuple[int, int, int], fills: Sequence[str]
) -> None:
    """Draw what `draw_noise_for` draws for the images before those that are measured, and drop it."""
    if any(map(draws_noise, fills)):
        for start in range(0, n_images, 1000):
            rng.random((min(1000, n_images - start), *image_shape), np.float32)


@torch.no_grad()
def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    return model(images).float()


def saliency_and_logits(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    attribution: str,
    signed: bool,
    seed: int,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """Saliency maps and the clean logits; the gradient needs one forward pass for both."""
    if attribution != "gradient" or options:
        maps = saliency(model, images, labels, attribution, signed=signed, seed=seed, **options)
        return maps, logits_of(model, images)
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(images).float()
    return input_gradient(logits, images, labels, signed=signed), logits.detach()


@torch.no_grad()
def masked_batches(
    images: Tensor, ordered: Tensor, pixels: list[int], fill: str, noise: Tensor | None, black: Tensor
) -> Iterator[Tensor]:
    """The images with each number of pixels masked, one after the other in the same memory. Images that are
    black all over are all the same: one stands for them.

    Equals `mask_pixels` at every level, with what the levels share computed once: a level masks the pixels of the
    one before and some more. ``ordered`` is from `order_pixels`.
    """
    n, channels = images.shape[:2]
    places = ordered.unsqueeze(1)  # (N, 1, P)
    new_pixels = [places[..., low:high] for low, high in itertools.pairwise([0, *pixels])]
    if fill == "remaining" and noise is not None:
        low, high = _remaining_ranges(images, ordered, pixels)
        mask = torch.zeros_like(images[:, :1], dtype=torch.bool)
        # Into a buffer with the images' own strides: where() forgets channels last when there is one channel, and
        # convolutions are then half as fast.
        masked = torch.empty_like(images)
        for i, new in enumerate(new_pixels):
            mask.view(n, 1, -1).scatter_(2, new, True)
            yield torch.where(mask, torch.lerp(low[i], high[i], noise), images, out=masked)
        return
    if depends_on_mask(fill):
        mask = torch.zeros_like(images[:, :1], dtype=torch.bool)
        for new in new_pixels:
            mask.view(n, 1, -1).scatter_(2, new, True)
            yield torch.where(mask, fill_values(images, mask, fill, noise, black), images)
        return
    everything = torch.ones_like(images[:, :1], dtype=torch.bool)
    values = fill_values(images, everything, fill, noise, black).expand_as(images).reshape(n, channels, -1)
    masked = images.clone()
    for k, new in zip(pixels, new_pixels, strict=True):
        new = new.expand(n, channels, -1)
        masked.view(n, channels, -1).scatter_(2, new, values.gather(2, new))
        yield masked[:1] if fill == "black" and k == ordered.shape[1] else masked


def _remaining_ranges(images: Tensor, ordered: Tensor, pixels: list[int]) -> tuple[Tensor, Tensor]:
    """Minimum and maximum of the unmasked pixels at each level, each ``(levels, N, C, 1, 1)``.

    With the pixels in the order of their rank, a level's range is that of its tail: the extremes of the
    stretches between levels, accumulated from the end. At k = P it is the whole image's.
    """
    n, channels = images.shape[:2]
    values = images.flatten(2).gather(2, ordered.unsqueeze(1).expand(n, channels, -1))  # (N, C, P)
    stretches = torch.tensor_split(values, pixels, dim=2)[1:]
    extremes = []
    for pick, neutral in ((torch.amin, torch.inf), (torch.amax, -torch.inf)):
        tails = [
            pick(part, 2) if part.shape[2] else part.new_full((n, channels), neutral) for part in stretches
        ]
        for i in reversed(range(len(tails) - 1)):
            tails[i] = pick(torch.stack(tails[i : i + 2]), 0)
        tails = [
            pick(values, 2) if k == values.shape[2] else tail for k, tail in zip(pixels, tails, strict=True)
        ]
        extremes.append(torch.stack(tails)[..., None, None])
    return extremes[0], extremes[1]


def image_coords(split: Split) -> dict[str, np.ndarray]:
    return {"image_id": split.image_ids.numpy(), "label": split.labels.numpy()}
