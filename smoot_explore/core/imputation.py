"""Imputation: masked pixels guessed from their neighbours, so that the shape of the mask tells little."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NOISE = 0.01
"""Standard deviation of the noise, in the scale of the images."""


@torch.no_grad()
def noisy_linear(images: Tensor, mask: Tensor, noise: Tensor, black: Tensor | float) -> Tensor:
    """Every masked pixel as the weighted mean of its eight neighbours, plus a little noise.

    The noisy linear imputation of ROAD (Rong et al. 2022, "A Consistent and Efficient Evaluation Strategy for
    Attribution Methods"). Direct neighbours weigh 1/6, diagonal ones 1/12; at the border of the image the weights of
    those that exist are scaled to sum to 1. Neighbours that are masked too are unknowns of the same linear system,
    which 3·max(H, W) steps of conjugate gradients solve: measured in float32, off by less than 10⁻⁴ of the
    remaining pixels' range for images of 28 to 64 pixels a side, 5 to 99 % of them masked, scattered or in one piece.

    It is a fill for `register_fill`, and none of `FILLS`.

    Parameters
    ----------
    images
        ``(N, C, H, W)`` floating point; half precision is computed in float32.
    mask
        bool ``(N, 1, H, W)``, True where masked. An image without remaining pixels becomes its own mean, per channel.
    noise
        Uniform random numbers in 0 … 1, in the shape of the images. They become normal ones of standard deviation 0.01
        in the scale of the images, whatever that is, as in the authors' code (whose ``noise`` is absolute). Their
        benchmark imputes before it normalises: its noise is 1 / std times as strong as it is in normalised images.
        0.5 everywhere adds none.
    black
        Not used; every fill is given it.

    Returns
    -------
    Tensor
        ``(N, C, H, W)`` in the number format of the images, without a gradient; to be taken at the masked pixels.

    Examples
    --------
    >>> from smoot_explore import mask_pixels, register_fill
    >>> register_fill("noisy linear", noisy_linear)
    >>> images = torch.arange(25.0).view(1, 1, 5, 5)
    >>> ranks = torch.arange(25).roll(13).view(1, 5, 5)  # the pixel in the middle, 12, goes first
    >>> masked = mask_pixels(images, ranks, 1, "noisy linear", torch.Generator().manual_seed(0))
    >>> bool((masked != images).sum() == 1), round(masked[0, 0, 2, 2].item(), 1)
    (True, 12.0)
    """
    values = images if images.dtype == torch.float64 else images.float()
    limit = torch.finfo(noise.dtype).eps
    normal = torch.special.ndtri(noise.clamp(limit, 1 - limit).to(values.dtype))
    return (_harmonic(values, mask) + NOISE * normal).to(images.dtype)


def _harmonic(images: Tensor, mask: Tensor) -> Tensor:
    """The solution at the masked pixels, ``(N, C, H, W)``.

    Unknown is the difference to the mean of the remaining pixels. Its system, the weights' sum on the diagonal and
    minus the weights beside it, is symmetric and positive definite where at least one pixel remains; in an image
    without any, the right side is 0 and so is the solution.
    """
    hidden = mask & ~mask.flatten(1).all(1).view(-1, 1, 1, 1)
    mean = images.masked_fill(hidden, 0).sum((2, 3), keepdim=True) / (~hidden).sum((2, 3), keepdim=True)
    total = _neighbours(torch.ones_like(images[:1, :1]))  # 1, less at the border
    tiny = torch.finfo(images.dtype).tiny

    residual = _neighbours((images - mean).masked_fill(mask, 0)) * hidden
    direction = residual
    solution = torch.zeros_like(residual)
    size = _dot(residual, residual)
    solved = size * torch.finfo(images.dtype).eps ** 2  # going on would only round, and then divide by 0
    for _ in range(3 * max(images.shape[2:])):
        image = (total * direction - _neighbours(direction)) * hidden
        unsolved = size > solved
        step = unsolved * size / _dot(direction, image).clamp_min(tiny)
        solution = solution + step * direction
        residual = residual - step * image
        before, size = size, _dot(residual, residual)
        direction = residual + unsolved * size / before.clamp_min(tiny) * direction
    return mean + solution


def _neighbours(values: Tensor) -> Tensor:
    """Weighted sum of the eight neighbours, 0 beyond the border.

    Shifted sums rather than a convolution, which autocast and TF32 would round to fewer digits than the solution needs.
    """
    padded = F.pad(values, (1, 1, 1, 1))
    columns = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    squares = columns[..., :-2] + 2 * columns[..., 1:-1] + columns[..., 2:]  # weights 1 2 1, 2 4 2, 1 2 1
    return (squares - 4 * values) / 12


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """Inner product of each image's channels, ``(N, C, 1, 1)``."""
    return (first * second).sum((2, 3), keepdim=True)
