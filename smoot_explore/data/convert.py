"""What people hold images and labels in, as the tensors of a `Split`; what cannot work is refused with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

_CHANNELS = (1, 3, 4)  # of an image whose channels are its last dimension
_SIXTEEN_BIT_MODES = {"I", "I;16", "I;16B", "I;16L"}
_GRAY_MODES = {"1", "L", "LA", "F", *_SIXTEEN_BIT_MODES}


def image_tensor(images: Any) -> Tensor:
    """Images as uint8 ``(N, C, H, W)``.

    Parameters
    ----------
    images
        Array, tensor or nested list, ``(N, H, W)``, ``(N, C, H, W)`` or ``(N, H, W, C)`` with C of 1, 3 or 4: whole
        numbers in 0 … 255, or floating numbers in 0 … 1, which are rounded to 1/255.

    Raises
    ------
    ValueError
        For other shapes and other values, such as normalised ones.
    """
    try:
        # PyTorch wants arrays that it may write to, without negative strides.
        values = (
            images if isinstance(images, Tensor) else torch.from_numpy(np.require(images, None, ["C", "W"]))
        )
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the images cannot be one array of numbers ({error}); give images of one size, (N, C, H, W)"
        ) from None
    if values.ndim == 3:
        values = values.unsqueeze(1)
    if values.ndim != 4 or values.numel() == 0:
        raise ValueError(
            f"images must be (N, C, H, W), (N, H, W, C) or (N, H, W), with at least one image and pixel; given "
            f"{tuple(values.shape)}"
        )
    if channels_last(values.shape):
        values = values.permute(0, 3, 1, 2)
    return _as_bytes(values.detach().cpu()).contiguous()


def channels_last(shape: Sequence[int]) -> bool:
    """Whether a shape of four must be (N, H, W, C): its second number is no number of channels, its last one is."""
    return shape[1] > max(_CHANNELS) and shape[3] in _CHANNELS


def label_tensor(labels: Any, n_images: int) -> Tensor:
    """Labels as int64 ``(N,)``.

    Raises
    ------
    ValueError
        For what is no class for each image: numbers to be predicted (regression), several labels for an image.
    """
    values = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if (reason := no_classes(values.shape, values.dtype.kind)) is not None:
        raise ValueError(f"labels must be one whole number for each image, {reason}")
    if len(values) != n_images:
        raise ValueError(
            f"there must be a label for each image, given {n_images} images and {len(values)} labels"
        )
    return torch.from_numpy(values.astype(np.int64))


def no_classes(shape: Sequence[int], kind: str) -> str | None:
    """Why values of this shape and NumPy kind of dtype cannot be labels; None where they can."""
    if len(shape) == 2:
        return (
            f"given {tuple(shape)}: saliency-guided training explains the one class of each image, so several labels "
            "for an image cannot work; of one-hot rows give labels.argmax(1), of a column labels.reshape(-1)"
        )
    if kind == "f":
        return (
            "given floating numbers: there are no classes in a regression, and k moves by a class's probability; "
            "where the numbers are classes, convert them to integers"
        )
    if len(shape) != 1 or kind not in "iub":
        return (
            f"given shape {tuple(shape)} of kind {kind!r}; names become numbers with "
            "np.unique(names, return_inverse=True)"
        )
    return None


def read_dataset(dataset: Any) -> tuple[Tensor, Tensor]:
    """Images uint8 ``(N, C, H, W)`` and labels int64 ``(N,)`` of anything with a length and ``[i]`` → (image, label).

    Raises
    ------
    ValueError, TypeError
        Naming the first item that cannot be used.
    """
    try:
        n = len(dataset)
    except TypeError:
        raise TypeError(
            f"a data set must have a length and give (image, label) for [i], as torchvision's do; given "
            f"{type(dataset).__name__}"
        ) from None
    if n == 0:
        raise ValueError("the data set is empty; a split needs at least one image")
    labels, images = [], torch.empty(0, dtype=torch.uint8)
    for i in tqdm(range(n), desc="reading images", unit=" images", delay=1, disable=None):
        try:
            image, label = dataset[i]
        except (TypeError, ValueError) as error:
            raise ValueError(f"item {i} is no pair (image, label): {error}") from error
        if np.ndim(label) == 1:
            raise ValueError(
                f"the label of item {i} must be one whole number, {no_classes((n, len(label)), 'i')}"
            )
        pixels = _pixels(image, i)
        if i == 0:
            images = torch.empty((n, *pixels.shape), dtype=torch.uint8)
        if pixels.shape != images.shape[1:]:
            raise ValueError(
                f"item {i} is {tuple(pixels.shape)} (C, H, W), but item 0 is {tuple(images.shape[1:])}; give the "
                "data set a transform that brings all to one size and mode, such as torchvision's Resize and Grayscale"
            )
        images[i] = pixels
        labels.append(label.item() if hasattr(label, "item") else label)
    return images, label_tensor(labels, n)


def plain_image(image: Image.Image, gray: bool, behind: str) -> Image.Image:
    """An opened image as it is meant to be seen, in mode L or RGB; ``behind`` is the colour that shows through."""
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("it holds floating-point numbers, whose range is unknown; save it with 8 or 16 bits")
    if image.mode in _SIXTEEN_BIT_MODES:  # Pillow would clip these to 255
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, behind), image)
    return image.convert("L" if gray else "RGB")


def is_gray(image: Image.Image) -> bool:
    """Whether an image has no colours, by its mode."""
    return image.mode in _GRAY_MODES


def _pixels(image: Any, i: int) -> Tensor:
    """uint8 ``(C, H, W)`` of one item."""
    try:
        if isinstance(image, Image.Image):
            image = np.asarray(plain_image(image, is_gray(image), behind="black"))
        elif not isinstance(image, Tensor | np.ndarray):
            raise ValueError(f"a {type(image).__name__} is neither a PIL image nor a tensor nor an array")
        return image_tensor(image[None])[0]
    except ValueError as error:
        raise ValueError(f"the image of item {i} cannot be used: {error}") from error


def _as_bytes(values: Tensor) -> Tensor:
    """Whole numbers in 0 … 255 and floating numbers in 0 … 1 as uint8."""
    if values.dtype in (torch.uint8, torch.bool):
        return values if values.dtype == torch.uint8 else values * torch.tensor(255, dtype=torch.uint8)
    if values.is_complex():
        raise ValueError("images must be real numbers, given complex ones")
    if values.dtype in (torch.uint16, torch.uint32, torch.uint64):  # of which PyTorch knows no minimum
        values = values.long()
    low, high = values.min().item(), values.max().item()
    most = 1 if values.is_floating_point() else 255
    if not 0 <= low <= high <= most:
        raise ValueError(
            f"images must be whole numbers in 0 … 255 or floating numbers in 0 … 1, given {values.dtype} from {low:g} "
            f"to {high:g}; leave normalising out, it is done here, or scale them, as images / 255"
        )
    return (values * 255).round().to(torch.uint8) if values.is_floating_point() else values.to(torch.uint8)
