"""Labelled images: the bundled sample, generated shapes, torchvision's sets, folders of one's own."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smoot_explore.data.images import ImageData, Split, limit_data
from smoot_explore.data.names import DATASETS, FASHION_CLASSES
from smoot_explore.errors import unknown_name

SAMPLE_FILE = "fashion-mnist-sample.npz"
_PACKAGE = Path(__file__).parent.parent
_CHECKOUT_DATA = _PACKAGE.parent / "data"


def load_data(
    name: str | Path,
    train: int | None = None,
    test: int | None = None,
    root: str | Path | None = None,
    seed: int = 0,
    image_size: int | tuple[int, int] | None = None,
) -> ImageData:
    """A data set by name, or one's own images from a folder.

    Parameters
    ----------
    name
        ``"fashion-mnist-sample"`` (bundled), ``"shapes"`` (generated, with the true object masks),
        ``"mnist"``, ``"fashion-mnist"``, ``"cifar10"``, ``"cifar100"`` (torchvision, downloaded on first use),
        or the path of a folder that holds ``train/<class>/…`` and ``test/<class>/…`` image files.
    train, test
        How many images to take of each half, the classes kept balanced; None takes all (of ``"shapes"``
        10,000 and 2,000).
    root
        Where downloads and the cache of resized images live; None is ``data/`` of the checkout, or the
        user's cache folder where the package was installed without one.
    seed
        Fixes which images a limit takes, and what ``"shapes"`` generates.
    image_size
        Height and width to resize a folder's images to, one number or two; None keeps their size, which
        must then be the same for all. Only for folders.

    Returns
    -------
    ImageData

    Raises
    ------
    ValueError
        For an unknown name, limits that cannot be met, or a folder with unusable images: the message
        names the file and what to do.
    FileNotFoundError
        When a folder is not there.
    RuntimeError
        When a download fails.
    """
    from smoot_explore.data.folder import load_folder
    from smoot_explore.data.shapes import generate_shapes

    for half, limit in (("train", train), ("test", test)):
        if limit is not None and limit < 1:
            raise ValueError(f"{half} must be at least 1 image, given {limit}; None takes all")
    if image_size is not None and name in DATASETS:
        raise ValueError(f"image_size is for folders of images; {name} has its own size")
    # NumPy's numbers, of a sweep for example, are no JSON.
    train, test = (None if limit is None else operator.index(limit) for limit in (train, test))
    seed = operator.index(seed)
    source: dict[str, Any] = {"name": str(name), "train": train, "test": test, "seed": seed}
    if name == "shapes":
        return replace(generate_shapes(train or 10_000, test or 2_000, seed), source=source)
    if name == "fashion-mnist-sample":
        data = _load_sample()
    elif name in DATASETS:
        data = _load_torchvision(str(name), downloads_folder(root))
    elif isinstance(name, Path) or "/" in name or "\\" in name or Path(name).exists():
        data = load_folder(Path(name), _root(root) / "cache", image_size)
        source |= {"name": str(Path(name).resolve()), "image_size": image_size}
    else:
        raise unknown_name("data set", name, DATASETS, "A folder of images is given as a path: ./photos")
    return limit_data(replace(data, source=source), train, test, seed)


def load_source(source: Mapping[str, Any], root: str | Path | None = None) -> ImageData:
    """The data that an `ImageData.source` names, with all its training images: those held out are among them."""
    size = source.get("image_size")
    return load_data(
        source["name"], source.get("train"), source.get("test"), root, source.get("seed", 0),
        tuple(size) if isinstance(size, list) else size,
    )  # fmt: skip


def bundled_path(name: str) -> Path:
    """A file or folder that comes with the project: in ``data/`` of the checkout, or in the installed package.

    Raises
    ------
    FileNotFoundError
        When it is in neither.
    """
    checkout, package = _CHECKOUT_DATA / name, _PACKAGE / "bundled" / name
    for path in (checkout, package):
        if path.exists():
            return path
    raise FileNotFoundError(
        f"what is bundled as {name} is missing: neither {checkout} nor {package} is there; install the package again"
    )


def downloads_folder(root: str | Path | None = None) -> Path:
    """Where torchvision's files lie when `load_data` is given this ``root``."""
    return _root(None) / "downloads" if root is None else Path(root)


def torchvision_class(name: str) -> Any:
    """The class of torchvision that reads the data set of this name."""
    from torchvision import datasets

    return {
        "mnist": datasets.MNIST,
        "fashion-mnist": datasets.FashionMNIST,
        "cifar10": datasets.CIFAR10,
        "cifar100": datasets.CIFAR100,
    }[name]


def _root(root: str | Path | None) -> Path:
    if root is not None:
        return Path(root)
    if _CHECKOUT_DATA.is_dir():
        return _CHECKOUT_DATA
    return Path(torch.hub.get_dir()).parent.parent / "smoot_explore"


def _load_sample() -> ImageData:
    with np.load(bundled_path(SAMPLE_FILE), allow_pickle=False) as arrays:
        halves = [
            Split(
                torch.from_numpy(arrays[f"{half}_images"]).unsqueeze(1),
                torch.from_numpy(arrays[f"{half}_labels"]).long(),
                image_ids=torch.from_numpy(arrays[f"{half}_ids"]).long(),
            )
            for half in ("train", "test")
        ]
    return ImageData(halves[0], halves[1], FASHION_CLASSES)


def _load_torchvision(name: str, root: Path) -> ImageData:
    dataset = torchvision_class(name)
    try:
        halves = [dataset(str(root), train=half, download=True) for half in (True, False)]
    except Exception as error:  # torchvision reports a failed download or a damaged file by many types
        raise RuntimeError(
            f"{name} cannot be read from {root} or downloaded to it ({type(error).__name__}: {error}). Connect to the "
            "internet once, copy torchvision's files there, or use the bundled 'fashion-mnist-sample'"
        ) from error
    splits = []
    for half in halves:
        pixels = torch.as_tensor(half.data)
        images = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()
        splits.append(Split(images, torch.as_tensor(half.targets).long()))
    names = FASHION_CLASSES if name == "fashion-mnist" else tuple(halves[0].classes)
    return ImageData(splits[0], splits[1], names)
