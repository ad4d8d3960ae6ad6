"""Labelled images: a split of a data set, and its two halves together."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smoot_explore.compute.device import Hardware
from smoot_explore.data.convert import channels_last, image_tensor, label_tensor, no_classes, read_dataset

_TELLING = 8  # images of one class in a row that are no chance
_OTHER_FORMS = "ImageData.from_arrays takes NumPy arrays, lists, floating numbers and channels last"


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
        ``(C,)`` of the *training* images in 0 … 1, used by `normalize`; both, or neither for those of these images.
    class_names
        A name for each label; by default "0", "1", …

    Raises
    ------
    ValueError
        For what cannot work, with the reason; nothing is converted silently.

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
        if self.mean is None:
            defaults["mean"], defaults["std"] = channel_statistics(self.images)
        else:
            defaults |= {name: _per_channel(self, name) for name in ("mean", "std")}
        if not self.class_names:
            defaults["class_names"] = tuple(str(i) for i in range(int(self.labels.max()) + 1))
        for name, value in defaults.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: slice | Tensor | np.ndarray | list[int]) -> Split:
        """The images at ``index``, with the same statistics. A slice of one class out of several is warned of."""
        if isinstance(index, int):
            raise TypeError("index a Split with a slice, a list or a tensor: split[3:4], split[[3]]")
        chosen = index if isinstance(index, slice) else torch.as_tensor(index)
        masks = self.object_masks
        if isinstance(index, slice):
            self._warn_of_one_class(self.labels[index])
        return replace(
            self,
            images=self.images[chosen],
            labels=self.labels[chosen],
            object_masks=None if masks is None else masks[chosen],
            image_ids=self.image_ids[chosen],
        )

    def _warn_of_one_class(self, labels: Tensor) -> None:
        if (
            len(labels) >= _TELLING
            and bool((labels == labels[0]).all())
            and bool((self.labels != labels[0]).any())
        ):
            warnings.warn(
                f"the slice holds {len(labels)} images of one class, {self.class_names[int(labels[0])]!r}: they lie "
                f"class by class; split.sample({len(labels)}) takes as many of all classes",
                stacklevel=3,
            )

    def sample(self, n: int, seed: int = 0) -> Split:
        """``n`` images with the classes as equal as they can be, in their order here.

        Parameters
        ----------
        n
            How many; every class occurs where ``n`` is at least their number.
        seed
            Fixes which.

        Raises
        ------
        ValueError
            When there are not so many.

        Examples
        --------
        >>> from smoot_explore import load_data
        >>> load_data("shapes", train=60, test=12).train.sample(6).labels.sort().values.tolist()
        [0, 1, 2, 3, 4, 5]
        """
        if not 1 <= n <= len(self):
            raise ValueError(f"n must lie between 1 and the number of images, {len(self)}; given {n}")
        return self[_drawn(self.labels.cpu().numpy(), n, np.random.default_rng(seed))]

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
        The arguments of `load_data` that give these images again, and under ``"hold_out"`` those of `hold_out`; empty
        for data put together by hand.
    validation
        `Split` that `hold_out` set apart from the training images, to choose settings or an epoch by; None without.
        Training never looks at it.

    Examples
    --------
    >>> images = torch.randint(0, 256, (20, 3, 16, 16), dtype=torch.uint8)
    >>> labels = torch.arange(20) % 2
    >>> ImageData(Split(images, labels), Split(images[:4], labels[:4]), ("cat", "dog")).n_classes
    2
    """

    train: Split
    test: Split
    class_names: tuple[str, ...] = ()
    source: dict[str, Any] = field(default_factory=dict)
    validation: Split | None = None

    @classmethod
    def from_arrays(
        cls,
        train_images: Any,
        train_labels: Any,
        test_images: Any,
        test_labels: Any,
        class_names: Sequence[str] = (),
    ) -> ImageData:
        """Data from arrays, tensors or lists.

        Parameters
        ----------
        train_images, test_images
            ``(N, H, W)``, ``(N, C, H, W)`` or ``(N, H, W, C)``, square or not: whole numbers in 0 … 255, or floating
            numbers in 0 … 1, kept to 1/255. Not normalised: that is done here.
        train_labels, test_labels
            One whole number for each image, from 0.
        class_names
            A name for each label; by default "0", "1", …, where every label up to the largest occurs.

        Raises
        ------
        ValueError
            For other values, and for what cannot work: regression, several labels for an image.

        Examples
        --------
        >>> images = np.random.default_rng(0).random((20, 12, 16, 3))  # channels last, not square
        >>> ImageData.from_arrays(images, np.arange(20) % 2, images[:4], [0, 1, 0, 1]).image_shape
        (3, 12, 16)
        """
        halves = []
        for images, labels in ((train_images, train_labels), (test_images, test_labels)):
            tensor = image_tensor(images)
            halves.append((tensor, label_tensor(labels, len(tensor))))
        return cls._of_tensors(halves, class_names)

    @classmethod
    def from_dataset(cls, train: Any, test: Any, class_names: Sequence[str] = ()) -> ImageData:
        """Data from data sets as torchvision has them: with a length, and (image, label) for ``[i]``.

        All images are read once and kept in memory.

        Parameters
        ----------
        train, test
            Give PIL images (of mode L or RGB, or what converts to it), tensors or arrays as of `from_arrays`; of one
            size. Leave normalising and random transforms out: the first is done here, and an image is read once.
        class_names
            A name for each label; by default ``train.classes`` where there is such a list. Where ``test.classes`` are
            others, the test labels are numbered anew, by name.

        Raises
        ------
        ValueError
            For images and labels as of `from_arrays`, and for ``test.classes`` that ``train.classes`` lack.

        Examples
        --------
        >>> pairs = [(torch.rand(1, 8, 10), i % 2) for i in range(12)]
        >>> data = ImageData.from_dataset(pairs, pairs[:4], ("even", "odd"))
        >>> len(data.train), data.image_shape
        (12, (1, 8, 10))
        """
        names, test_names = (tuple(map(str, getattr(half, "classes", ()))) for half in (train, test))
        halves = [read_dataset(train), read_dataset(test)]
        if names and test_names and names != test_names:
            halves[1] = halves[1][0], _renumbered(halves[1][1], test_names, names)
        return cls._of_tensors(halves, class_names or names)

    @classmethod
    def _of_tensors(cls, halves: list[tuple[Tensor, Tensor]], class_names: Sequence[str]) -> ImageData:
        train, test = (Split(images, labels) for images, labels in halves)
        if not class_names:
            occurring = train.labels.bincount(minlength=int(test.labels.max()) + 1)
            if (absent := (occurring == 0).nonzero().flatten().tolist()) != []:
                raise ValueError(
                    f"no training image has the label {absent[0]}, though labels go up to {len(occurring) - 1}; give "
                    "class_names if that is meant, or number the classes: np.unique(labels, return_inverse=True)"
                )
        return cls(train, test, tuple(class_names))

    def hold_out(self, n: int, seed: int = 0, *, as_test: bool = False) -> ImageData:
        """The same data with ``n`` of the training images, balanced, set apart as ``validation``.

        ``accuracy(model, data.validation)`` between two records of `train` says when to stop, without a look at the
        test images. Statistics that were those of the training images become those of the images that are left;
        a mean and std that were given stay.

        Parameters
        ----------
        n
            How many; fewer than there are training images.
        seed
            Fixes which.
        as_test
            Put them in the place of the test images instead, which are left out: all that is measured while settings
            are chosen is then measured on them.

        Examples
        --------
        >>> from smoot_explore import load_data
        >>> data = load_data("shapes", train=60, test=12).hold_out(18)
        >>> len(data.train), len(data.validation), data.validation.labels.bincount().tolist()
        (42, 18, [3, 3, 3, 3, 3, 3])
        """
        if self.validation is not None or "hold_out" in self.source:
            held = self.test if self.validation is None else self.validation
            raise ValueError(f"{len(held)} images are held out already; hold_out is called once")
        if not 1 <= n < len(self.train):
            raise ValueError(
                f"n must leave images to train on: between 1 and {len(self.train) - 1}, given {n} of {len(self.train)}"
            )
        chosen = _drawn(self.train.labels.numpy(), n, np.random.default_rng([seed, 2]))
        left = self.train[np.setdiff1d(np.arange(len(self.train)), chosen)]
        lost = sorted(set(self.train.labels.tolist()) - set(left.labels.tolist()))
        if lost:
            names = ", ".join(self.class_names[label] for label in lost)
            raise ValueError(
                f"holding out {n} balanced images leaves none of {names} to train on; hold out fewer"
            )
        left = _normalised_as(self.train, left)
        asked = {"n": int(n), "seed": int(seed), **({"as_test": True} if as_test else {})}
        source = {**self.source, "hold_out": asked} if self.source else {}
        place = "test" if as_test else "validation"
        return replace(self, train=left, source=source, **{place: self.train[chosen]})  # type: ignore[arg-type]

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
        if bool((self.train.labels == self.train.labels[0]).all()):
            warnings.warn(
                f"all {len(self.train)} training images are of one class, {names[int(self.train.labels[0])]!r}, of "
                f"{len(names)}: nothing can be learnt from them; data.train.sample(n) takes images of all classes",
                stacklevel=3,
            )
        object.__setattr__(self, "train", replace(self.train, class_names=names))
        like_train: dict[str, Any] = {"class_names": names, "mean": self.train.mean, "std": self.train.std}
        object.__setattr__(self, "test", replace(self.test, **like_train))
        if self.validation is not None:
            object.__setattr__(self, "validation", replace(self.validation, **like_train))

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


def describe_data(data: ImageData) -> dict[str, Any]:
    """What a file says of data, ready for JSON: their source, and what tells whether they are the same."""
    return {
        **data.source,
        "fingerprint": data.fingerprint,
        "image_shape": list(data.image_shape),
        "class_names": list(data.class_names),
        "n_train": len(data.train),
        "n_test": len(data.test),
        "mean": data.mean.tolist(),
        "std": data.std.tolist(),
    }


def as_described(data: ImageData, description: Mapping[str, Any]) -> ImageData:
    """Data of the same source with the images held out, and normalised, as those that `describe_data` was given."""
    if "hold_out" in description:
        data = data.hold_out(**description["hold_out"])
    other = other_statistics(data, description)
    return replace(data, train=replace(data.train, **other)) if other else data  # type: ignore[arg-type]


def other_statistics(data: ImageData, description: Mapping[str, Any]) -> dict[str, Tensor]:
    """Mean and standard deviation of a description, where the data have others; those of old do not tell them."""
    own = {name: torch.tensor(description[name]) for name in ("mean", "std") if name in description}
    return {name: values for name, values in own.items() if not torch.equal(values, getattr(data, name))}


def limit_data(
    data: ImageData, train: int | None = None, test: int | None = None, seed: int = 0
) -> ImageData:
    """A part of a data set with the classes kept balanced: what `load_data` gives for these limits.

    ``source`` of the result says the limits. Statistics that were those of the training images become those of the
    images taken; a mean and std that were given stay.
    """
    limited_train = _balanced(data.train, train, "train", seed)
    if limited_train is not data.train:
        limited_train = _normalised_as(data.train, limited_train)
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
    return split[_drawn(split.labels.numpy(), limit, np.random.default_rng([seed, half == "test"]))]


def _drawn(labels: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of ``n`` images drawn with the classes as equal as they can be, increasing."""
    shuffled = rng.permutation(len(labels))
    # The how-manieth image of its class each one is; taking the lowest first fills all classes evenly.
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    counts = np.bincount(labels)
    turn = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(by_class[np.argsort(turn, kind="stable")[:n]])


def _normalised_as(whole: Split, part: Split) -> Split:
    """A part normalised by its own images where the whole is by its own; else by what was given."""
    mean, std = channel_statistics(whole.images)
    if not (torch.equal(mean, whole.mean) and torch.equal(std, whole.std)):
        return part
    mean, std = channel_statistics(part.images)
    return replace(part, mean=mean, std=std)


def _renumbered(labels: Tensor, names: tuple[str, ...], wanted: tuple[str, ...]) -> Tensor:
    """Labels that count in ``names`` as labels that count in ``wanted``."""
    if not set(names) <= set(wanted):
        raise ValueError(
            f"the classes of the test images must be among those of the training images, {list(wanted)}; given "
            f"{list(names)}"
        )
    if labels.max() >= len(names):
        raise ValueError(
            f"label {int(labels.max())} of the test images has no name among their classes {list(names)}"
        )
    return torch.tensor([wanted.index(name) for name in names])[labels]


def _check_split(split: Split) -> None:
    images, labels, masks, ids = split.images, split.labels, split.object_masks, split.image_ids
    if not isinstance(images, Tensor) or images.ndim != 4 or images.dtype != torch.uint8:
        raise ValueError(f"images must be a uint8 tensor (N, C, H, W), given {_told(images)}; {_OTHER_FORMS}")
    if images.numel() == 0:
        raise ValueError(f"a split needs at least one image with pixels, given none: {tuple(images.shape)}")
    if channels_last(images.shape):
        raise ValueError(
            f"images must be (N, C, H, W), given {tuple(images.shape)}, which looks like (N, H, W, C): give "
            "images.permute(0, 3, 1, 2)"
        )
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        kind = "f" if isinstance(labels, Tensor) and labels.is_floating_point() else "i"
        why = no_classes(labels.shape, kind) if isinstance(labels, Tensor) else None
        raise ValueError(
            f"labels must be an int64 tensor ({len(images)},), given {_told(labels)}; {why or _OTHER_FORMS}"
        )
    if labels.min() < 0:
        raise ValueError(f"labels count from 0, given {int(labels.min())}")
    if split.class_names and labels.max() >= len(split.class_names):
        raise ValueError(
            f"label {int(labels.max())} has no class name: there are {len(split.class_names)} class names, "
            "labels count from 0"
        )
    shape = (len(images), *images.shape[2:])
    if masks is not None and (
        not isinstance(masks, Tensor) or masks.dtype != torch.bool or masks.shape != shape
    ):
        raise ValueError(f"object_masks must be a bool tensor {shape}, given {_told(masks)}")
    if ids is not None and (
        not isinstance(ids, Tensor) or ids.dtype != torch.int64 or ids.shape != labels.shape
    ):
        raise ValueError(f"image_ids must be an int64 tensor ({len(images)},), given {_told(ids)}")
    if (split.mean is None) != (split.std is None):
        raise ValueError("give both mean and std, or neither: images are normalised with both")


def _per_channel(split: Split, name: str) -> Tensor:
    """The mean or the standard deviation as float32 ``(C,)``."""
    values, channels = torch.as_tensor(getattr(split, name), dtype=torch.float32), split.images.shape[1]
    if values.shape != (channels,) or not values.isfinite().all():
        raise ValueError(
            f"{name} must hold one number for each of the {channels} channels, given {values.tolist()}"
        )
    if name == "std" and not (values > 0).all():
        raise ValueError(
            f"std must be above 0, given {values.tolist()}: images are divided by it; of a constant channel 1"
        )
    return values


def _told(value: Any) -> str:
    """What was given, for an error."""
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else str(type(value))
