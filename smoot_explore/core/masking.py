"""Masking: which pixels of an image go first, and what takes their place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from smoot_explore.core.choices import FILLS, ORDERS, RANDOM_FILLS, REGISTERED, names
from smoot_explore.core.config import TrainingConfig
from smoot_explore.errors import unknown_name

Fill = Callable[[Tensor, Tensor, Tensor, Tensor | float], Tensor]
_OWN_FILLS = REGISTERED["fill"]


def register_fill(name: str, fill: Fill) -> None:
    """Make a fill of one's own known under a name, wherever a fill is named.

    Parameters
    ----------
    name
        Any text. The fill of a name that was registered before is replaced; `FILLS` keep theirs.
    fill
        ``fill(images, mask, noise, black)`` gives what stands at the masked pixels, broadcastable to the images
        ``(N, C, H, W)``. ``mask`` is bool ``(N, 1, H, W)``, True where masked; ``noise`` uniform random numbers in
        0 … 1 in the shape of the images; ``black`` a number or ``(C,)``. It runs at each training step on the
        device: no ``.item()``, no ``if`` on a tensor.

    Examples
    --------
    >>> register_fill("white", lambda images, mask, noise, black: images.amax((2, 3), keepdim=True))
    >>> images, ranks = torch.tensor([[[[0.2, 0.9]]]]), torch.tensor([[[0, 1]]])
    >>> mask_pixels(images, ranks, 1, "white").tolist() == torch.tensor([[[[0.9, 0.9]]]]).tolist()
    True
    """
    if name in FILLS:
        raise ValueError(f"{name!r} is a fill that is here already; choose another name")
    if not callable(fill):
        raise TypeError(
            f"a fill is a function (images, mask, noise, black) → values, given {type(fill).__name__}"
        )
    _OWN_FILLS[name] = fill
    TrainingConfig.accept("fill", name)


def own_fills() -> dict[str, Fill]:
    """The fills that were registered, for another process to register them too."""
    return dict(_OWN_FILLS)


def check_fill(name: str) -> None:
    """Raise ``ValueError`` unless a fill of this name is there or registered."""
    if name not in FILLS and name not in _OWN_FILLS:
        raise unknown_name(
            "fill", name, names("fill"), "register_fill(name, fill) makes one of your own known"
        )


def draws_noise(fill: str) -> bool:
    """Whether the fill is given random numbers."""
    return fill in RANDOM_FILLS or fill in _OWN_FILLS


def depends_on_mask(fill: str) -> bool:
    """Whether what stands at a pixel may depend on which others are masked."""
    return fill == "remaining" or fill in _OWN_FILLS


def rank_pixels(saliency: Tensor, order: str = "lowest", patch: int = 1) -> Tensor:
    """Rank of every pixel in its image: 0 is masked first.

    Parameters
    ----------
    saliency
        ``(N, H, W)``.
    order
        ``"lowest"``: the least salient pixel is masked first, as in training. ``"highest"``: the most
        salient first, as in masking curves. Equal values go in reading order (left to right, then
        down), whichever the order.
    patch
        Side of the squares that are ranked as one, by their mean saliency. All pixels of a square have its rank, and
        `mask_pixels` then counts patches. The default 1 ranks pixels.

    Returns
    -------
    Tensor
        int32 ``(N, H, W)``, on the device of ``saliency``: for each image a permutation of 0 … H·W − 1, or of its
        H·W / patch² patches.

    Raises
    ------
    ValueError
        When H or W is no multiple of ``patch``.

    Examples
    --------
    >>> rank_pixels(torch.tensor([[[0.3, 0.1], [0.1, 0.2]]])).tolist()
    [[[3, 0], [1, 2]]]
    """
    if patch != 1:
        check_patch(patch, saliency.shape[1], saliency.shape[2])
        ranks = rank_pixels(F.avg_pool2d(saliency.detach().float().unsqueeze(1), patch).squeeze(1), order)
        return ranks.repeat_interleave(patch, 1).repeat_interleave(patch, 2)
    pixels = order_pixels(saliency, order)
    places = torch.arange(pixels.shape[1], dtype=torch.int32, device=pixels.device)
    ranks = torch.empty_like(pixels, dtype=torch.int32)
    return ranks.scatter_(1, pixels, places.expand_as(pixels)).view_as(saliency)


def check_patch(patch: int, height: int, width: int) -> None:
    """Raise ``ValueError`` when images of this size are not made of whole patches."""
    if patch < 1 or height % patch or width % patch:
        raise ValueError(
            f"images of {height}×{width} pixels are not made of whole patches of {patch}×{patch}; "
            f"use a patch that divides both sides, such as {max(1, math.gcd(height, width, max(patch, 0)))}"
        )


def order_pixels(saliency: Tensor, order: str = "lowest", patch: int = 1) -> Tensor:
    """The pixels of every image in the order in which they are masked, the inverse of `rank_pixels`; those of a
    patch, in reading order, one after the other.

    Returns
    -------
    Tensor
        int64 ``(N, H·W)``: positions in the flattened image.
    """
    if order not in ORDERS:
        raise unknown_name("order", order, ORDERS)
    if saliency.ndim != 3:
        raise ValueError(f"saliency must have shape (N, H, W), given {tuple(saliency.shape)}")
    if patch != 1:
        return order_pixels(rank_pixels(saliency, order, patch).float())
    flat = saliency.detach().flatten(1)
    # On a CPU, NumPy's vectorised sort of integers takes half the time of PyTorch's stable sort.
    if flat.device.type == "cpu" and flat.dtype in (torch.float32, torch.bfloat16, torch.float16):
        keys = _integer_keys(flat, order)
        keys.numpy().sort(axis=1)  # in place: array and tensor are the same memory
        return keys.bitwise_and_(2**32 - 1)
    return flat.sort(dim=1, descending=order == "highest", stable=True).indices


def mask_pixels(
    images: Tensor,
    ranks: Tensor,
    k: Tensor | float | Sequence[float],
    fill: str = "remaining",
    generator: torch.Generator | None = None,
    *,
    black: Tensor | float = 0.0,
) -> Tensor:
    """Images with the k first-ranked pixels of each replaced, M_k(x) of ``method``.

    A pixel is one spatial position; all its channels are masked together.

    Parameters
    ----------
    images
        ``(N, C, H, W)`` floating point.
    ranks
        ``(N, H, W)`` from `rank_pixels`.
    k
        How many pixels to mask (patches, if they were ranked), not a fraction of them: one number for all images
        or ``(N,)``, from 0 to H·W, rounded to the nearest integer (halves to even). On an accelerator a tensor's
        range is not checked, because that would wait for the device: values outside act like 0 or H·W. Of a tensor
        ``(N,)`` no value is taken for a fraction.
    fill
        What a masked pixel becomes, per channel:

        - ``"remaining"``: uniform random between the minimum and maximum of the image's unmasked
          pixels (SMOOT, §4.1); of the whole image when no pixel remains;
        - ``"image_range"``: uniform random between the minimum and maximum of the whole image (SGT code);
        - ``"mean"``: the mean of the whole image;
        - ``"black"``: the value given as ``black``;
        - ``"blur"``: the image under a Gaussian blur, σ = an eighth of its shorter side;
        - or the name of a fill of your own, by `register_fill`.
    generator
        Source of the random fills, on the device of ``images``; None is PyTorch's global one.
    black
        Value of black in the scale of ``images``, a number or ``(C,)``. The default 0 is right for images
        in 0 … 1; for normalised images pass ``data.black``.

    Returns
    -------
    Tensor
        ``(N, C, H, W)``; unmasked pixels are unchanged.

    Raises
    ------
    ValueError
        For shapes that do not go together, an unknown fill, a fraction for k, or k outside 0 … H·W (of plain numbers,
        the number of patches).
    TypeError
        For images that are not floating point.
    """
    _check_shapes(images, ranks)
    mask = (ranks < _whole_pixels(k, ranks)).unsqueeze(1)  # (N, 1, H, W)
    noise = draw_noise(images, generator) if draws_noise(fill) else None
    return torch.where(mask, fill_values(images, mask, fill, noise, black), images)


def draw_noise(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Uniform random numbers in 0 … 1 for a random fill, in the shape of the images."""
    return torch.rand(images.shape, dtype=images.dtype, device=images.device, generator=generator)


def fill_values(
    images: Tensor, mask: Tensor, fill: str, noise: Tensor | None, black: Tensor | float = 0.0
) -> Tensor:
    """What stands at the masked pixels, broadcastable to ``(N, C, H, W)``; the fills of `mask_pixels`.

    ``mask`` is bool ``(N, 1, H, W)``; of the fills here only ``"remaining"`` depends on it. ``noise`` comes
    from `draw_noise`; only `RANDOM_FILLS` and registered fills use it.
    """
    if draws_noise(fill) and noise is None:
        raise ValueError(f"the fill {fill!r} needs noise; draw_noise(images) makes it")
    if fill == "remaining" and noise is not None:
        # A fully masked image has no pixels left: its range is that of the whole image.
        hidden = mask & ~mask.flatten(1).all(1).view(-1, 1, 1, 1)
        low = images.masked_fill(hidden, math.inf).amin((2, 3), keepdim=True)
        high = images.masked_fill(hidden, -math.inf).amax((2, 3), keepdim=True)
        return torch.lerp(low, high, noise)
    if fill == "image_range" and noise is not None:
        low = images.amin((2, 3), keepdim=True)
        high = images.amax((2, 3), keepdim=True)
        return torch.lerp(low, high, noise)
    if fill == "mean":
        return images.mean((2, 3), keepdim=True)
    if fill == "black":
        value = torch.as_tensor(black, dtype=images.dtype, device=images.device)
        if value.numel() not in (1, images.shape[1]):
            raise ValueError(
                f"black must be a number or hold one value for each of the {images.shape[1]} channels, "
                f"given {value.numel()} values"
            )
        return value.view(1, -1, 1, 1)
    if fill == "blur":
        sigma = min(images.shape[2:]) / 8
        from torchvision.transforms.functional import (
            gaussian_blur,  # a second of loading, for this fill alone
        )

        return gaussian_blur(images, 2 * int(2 * sigma) + 1, sigma)
    check_fill(fill)
    return _OWN_FILLS[fill](images, mask, noise, black)


def _integer_keys(flat: Tensor, order: str) -> Tensor:
    """int64 ``(N, P)`` in the order of the values, a pixel's position in the lower half to settle ties.

    The bits of a float, read as an integer, are in the order of the floats; those of negative numbers backwards.
    """
    values = (flat if order == "lowest" else -flat).float() + 0.0  # −0 becomes 0: they are equal
    bits = values.view(torch.int32)
    keys = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()
    return keys.bitwise_left_shift_(32).bitwise_or_(torch.arange(flat.shape[1]))


def _whole_pixels(k: Tensor | float | Sequence[float], ranks: Tensor) -> Tensor:
    """k as integers, ``(N, 1, 1)`` or ``(1, 1, 1)``, on the device of ``ranks``."""
    n_pixels, unit = ranks.shape[1] * ranks.shape[2], "pixels"
    check_pixels("k", k, n_pixels)
    if not isinstance(k, Tensor) and ranks.device.type == "cpu" and ranks.numel():
        n_ranked = int(ranks.max()) + 1
        if n_ranked < n_pixels:
            n_pixels, unit = n_ranked, "patches"
    k = torch.as_tensor(k)
    if k.ndim > 1 or k.numel() not in (1, len(ranks)):
        raise ValueError(f"k must be one number or have shape ({len(ranks)},), given shape {tuple(k.shape)}")
    if k.device.type == "cpu" and not ((k >= 0) & (k <= n_pixels)).all():
        raise ValueError(
            f"k must lie between 0 and the number of {unit}, {n_pixels}; "
            f"given values from {k.min().item():g} to {k.max().item():g}"
        )
    whole = k.round() if k.is_floating_point() else k
    return whole.to(ranks.device, torch.int32).view(-1, 1, 1)


def check_pixels(name: str, given: Any, n_pixels: int | str) -> None:
    """Raise ``ValueError`` where a fraction, or a list of them, is given for a number of pixels.

    Arrays and tensors with a value for each image are taken as they are, as k is real; so is what lies on an
    accelerator, because looking would wait for it.
    """
    if getattr(given, "ndim", 0) or (isinstance(given, Tensor) and given.device.type != "cpu"):
        return
    values = np.asarray(given)
    if values.any() and ((values >= 0) & (values < 1)).all():
        raise ValueError(
            f"{name} is a number of pixels, given {given}; for a fraction of the pixels multiply it by {n_pixels}"
        )


def _check_shapes(images: Tensor, ranks: Tensor) -> None:
    if images.ndim != 4:
        raise ValueError(f"images must have shape (N, C, H, W), given {tuple(images.shape)}")
    if not images.is_floating_point():
        raise TypeError(
            f"images must be floating point, given {images.dtype}; data.normalize(images) makes them so"
        )
    expected = (images.shape[0], *images.shape[2:])
    if tuple(ranks.shape) != expected:
        raise ValueError(
            f"ranks must have shape {expected} for images of shape {tuple(images.shape)}, "
            f"given {tuple(ranks.shape)}"
        )
