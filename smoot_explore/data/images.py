"""Labelled images: a split of a data set, and its two halves together."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smoot_explore.compute.device import Hardware


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels: the training or the test half of a data set, or a part of one.

    Attributes
    ----------
    images
        uint8 ``(N, C, H, W)``, 0 … 255.
    labels
        int64 ``(N,)``.
    object_masks
        bool ``(N, H, W)``, True where the labelled object is; None where that is unknown.
    image_ids
        int64 ``(N,)``: the position of each image in the full data set; by default 0 … N − 1.
    mean, std
        ``(C,)`` of the *training* images in 0 … 1, used by `normalize`; by default those of these images.
    class_names
        A name for each label; by default "0", "1", …

    Examples
    --------
    >>> from smoot_explore import load_data
    >>> split = load_data("shapes", train=60, test=12).test
    >>> len(split), split[:5].normalize().shape
    (12, torch.Size([5, 3, 32, 32]))
    """

    images: Tensor
    labels: Tensor
    object_masks: Tensor | None = None
    image_ids: Tensor = None  # type: ignore[assignment]  # None until __post_init__ puts the default
    mean: Tensor = None  # type: ignore[assignment]
    std: Tensor = None  # type: ignore[assignment]
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_split(self)
        defaults: dict[str, Any] = {}
        if self.image_ids is None:
            defaults["image_ids"] = torch.arange(len(self.images))
        if self.mean is None or self.std is None:
            defaults["mean"], defaults["std"] = channel_statistics(self.images)
        if not self.class_names:
            defaults["class_names"] = tuple(str(i) for i in range(int(self.labels.max()) + 1))
        for name, value in defaults.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: slice | Tensor | np.ndarray | list[int]) -> Split:
        """The images at ``index``, with the same statistics."""
        if isinstance(index, int):
            raise TypeError("index a Split with a slice, a list or a tensor: split[3:4], split[[3]]")
        chosen = index if isinstance(index, slice) else torch.as_tensor(index)
        masks = self.object_masks
        return replace(
            self,
            images=self.images[chosen],
            labels=self.labels[chosen],
            object_masks=None if masks is None else masks[chosen],
            image_ids=self.image_ids[chosen],
        )

    @property
    def n_classes(self) -> int:
        """Number of classes of the data set, whether or not each occurs here."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def n_pixels(self) -> int:
        """P = H·W."""
        return self.images.shape[2] * self.images.shape[3]

    @property
    def black(self) -> Tensor:
        """The normalised value of black, ``(C,)``."""
        return -self.mean / self.std

    def normalize(self, images: Tensor | None = None) -> Tensor:
        """uint8 images as float32 with the training set's mean 0 and standard deviation 1.

        ``images`` is ``(…, C, H, W)`` on any device; None takes the split's own.
        """
        images = self.images if images is None else images
        if images.dtype != torch.uint8:
            raise TypeError(f"normalize takes uint8 images (0 … 255), given {images.dtype}")
        scale = (1 / (255 * self.std)).view(-1, 1, 1).to(images.device)
        return images.float().mul_(scale).add_(self.black.view(-1, 1, 1).to(images.device))

    def batch(self, index: slice | Tensor, hardware: Hardware) -> tuple[Tensor, Tensor]:
        """Normalised images and labels of those at ``index``, on the device, in the layout that it likes."""
        images = self.images[index]
        if images.device.type == "cpu" and hardware.device.type == "cuda":
            images = images.pin_memory()
        images = self.normalize(images.to(hardware.device, non_blocking=True))
        rows = index.to(self.labels.device) if isinstance(index, Tensor) else index
        return images.to(memory_format=hardware.layout), self.labels[rows].to(hardware.device)


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set: training and test images, and how they were had.

    Attributes
    ----------
    train, test
        `Split`; the test images are normalised with the training images' statistics.
    class_names
        A name for each label.
    source
        The arguments of `load_data` that give these images again; empty for data put together by hand.

    Examples
    --------
    Images of one's own, as arrays:

    >>> images = torch.randint(0, 256, (20, 3, 16, 16), dtype=torch.uint8)
    >>> labels = torch.arange(20) % 2
    >>> ImageData(Split(images, labels), Split(images[:4], labels[:4]), ("cat", "dog")).n_classes
    2
    """

    train: Split
    test: Split
    class_names: tuple[str, ...] = ()
    source: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = tuple(self.class_names) or self.train.class_names
        if self.train.image_shape != self.test.image_shape:
            raise ValueError(
                "training and test images must have the same shape (C, H, W), given "
                f"{self.train.image_shape} and {self.test.image_shape}"
            )
        if len(names) < 2:
            raise ValueError(f"a data set needs at least two classes, given {len(names)}: {names}")
        highest = int(max(self.train.labels.max(), self.test.labels.max()))
        if highest >= len(names):
            raise ValueError(
                f"label {highest} has no class name: there are {len(names)} class names, labels count from 0"
            )
        object.__setattr__(self, "class_names", names)
        object.__setattr__(self, "train", replace(self.train, class_names=names))
        test = replace(self.test, class_names=names, mean=self.train.mean, std=self.train.std)
        object.__setattr__(self, "test", test)

    @property
    def mean(self) -> Tensor:
        """Mean of the training images in 0 … 1, ``(C,)``."""
        return self.train.mean

    @property
    def std(self) -> Tensor:
        """Standard deviation of the training images in 0 … 1, ``(C,)``."""
        return self.train.std

    @property
    def black(self) -> Tensor:
        """The normalised value of black, ``(C,)``."""
        return self.train.black

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.train.image_shape

    @property
    def n_pixels(self) -> int:
        """P = H·W."""
        return self.train.n_pixels

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 images as float32 with the training set's mean 0 and standard deviation 1."""
        return self.train.normalize(images)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all images and labels: tells whether two runs saw the same data."""
        digest = hashlib.sha256()
        for split in (self.train, self.test):
            digest.update(repr(tuple(split.images.shape)).encode())
            digest.update(split.images.numpy().tobytes())
            digest.update(split.labels.numpy().tobytes())
        return digest.hexdigest()


def limit_data(
    data: ImageData, train: int | None = None, test: int | None = None, seed: int = 0
) -> ImageData:
    """A part of a data set with the classes kept balanced: what `load_data` gives for these limits.

    ``source`` of the result says the limits. The statistics become those of the training images taken.
    """
    limited_train = _balanced(data.train, train, "train", seed)
    if limited_train is not data.train:  # the statistics are those of the images trained on
        mean, std = channel_statistics(limited_train.images)
        limited_train = replace(limited_train, mean=mean, std=std)
    source = {**data.source, "train": train, "test": test, "seed": seed} if data.source else {}
    return ImageData(limited_train, _balanced(data.test, test, "test", seed), data.class_names, source)


def balanced(split: Split, n: int) -> np.ndarray:
    """Positions of about ``n`` images, the first of each class in turn."""
    return np.sort(in_turn(split)[:n])


def in_turn(split: Split) -> np.ndarray:
    """Positions of all images, ``(N,)``: the first of each class, then the second of each, …

    However many are taken from its beginning, the classes are as equal as they can be.
    """
    labels = split.labels.numpy()
    turn = np.empty(len(labels), int)
    for label in range(split.n_classes):
        members = np.flatnonzero(labels == label)
        turn[members] = np.arange(len(members))
    return np.argsort(turn, kind="stable")


def first_images(split: Split, n: int | None) -> Split:
    """The first n images, None for all; where they lie class by class, as in folders, the first of each class."""
    if n is None or n >= len(split):
        return split
    labels = split.labels
    return split[balanced(split, n)] if bool((labels.diff() >= 0).all()) else split[:n]


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel of uint8 images in 0 … 1; a constant channel gets std 1.

    Exact, from a histogram of the 256 values, in the memory of one channel.
    """
    values = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in range(images.shape[1]):
        counts = torch.bincount(images[:, channel].flatten(), minlength=256).double()
        share = counts / counts.sum()
        mean = (share * values).sum()
        means.append(mean)
        stds.append((share * (values - mean) ** 2).sum().sqrt())
    std = torch.stack(stds)
    return torch.stack(means).float(), torch.where(std > 0, std, 1.0).float()


def _balanced(split: Split, limit: int | None, half: str, seed: int) -> Split:
    """``limit`` images with the classes as equal as they can be, in their original order."""
    if limit is None or limit == len(split):
        return split
    if limit > len(split):
        raise ValueError(
            f"{half}={limit} asks for more images than there are, {len(split)}; give less, or None for all"
        )
    labels = split.labels.numpy()
    shuffled = np.random.default_rng([seed, half == "test"]).permutation(len(labels))
    # The how-manieth image of its class each one is; taking the lowest first fills all classes evenly.
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    counts = np.bincount(labels)
    turn = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = by_class[np.argsort(turn, kind="stable")[:limit]]
    return split[np.sort(chosen)]


def _check_split(split: Split) -> None:
    images, labels, masks = split.images, split.labels, split.object_masks
    if not isinstance(images, Tensor) or images.ndim != 4 or images.dtype != torch.uint8:
        given = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images)
        raise ValueError(f"images must be a uint8 tensor (N, C, H, W), given {given}")
    if len(images) == 0:
        raise ValueError("a split needs at least one image, given none")
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        given = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels)
        raise ValueError(f"labels must be an int64 tensor ({len(images)},), given {given}")
    if labels.min() < 0:
        raise ValueError(f"labels count from 0, given {int(labels.min())}")
    if masks is not None and (masks.dtype != torch.bool or masks.shape != (len(images), *images.shape[2:])):
        raise ValueError(
            f"object_masks must be bool {(len(images), *images.shape[2:])}, "
            f"given {masks.dtype} {tuple(masks.shape)}"
        )
