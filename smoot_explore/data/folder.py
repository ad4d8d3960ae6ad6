"""Own images: a folder per class below ``train/`` and ``test/``, resized once and cached."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image
from tqdm import tqdm

from smoot_explore.data.convert import is_gray, plain_image
from smoot_explore.data.images import ImageData, Split
from smoot_explore.files import write_array

LAYOUT = (
    "the layout is FOLDER/train/<class>/*.jpg and FOLDER/test/<class>/*.jpg "
    "(PNG, JPEG and every other format that Pillow reads)"
)
MAX_BYTES = 8 * 2**30  # of the decoded images; beyond that a smaller image_size is asked for
_CACHE_VERSION = 1
_ORIENTATION = ExifTags.Base.Orientation


class ImageFile(NamedTuple):
    """An image file and the class that its folder says."""

    path: Path
    class_name: str


class Header(NamedTuple):
    """What a file says of its image before it is decoded."""

    size: tuple[int, int]  # (height, width)
    gray: bool


def load_folder(folder: Path, cache: Path, image_size: int | tuple[int, int] | None = None) -> ImageData:
    """The images of a folder per class; see `smoot_explore.data.load.load_data`.

    Grayscale when every image is, else RGB. The decoded images are kept in ``cache``, under a name that
    changes with any file's name, size or date, so the second time is fast.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; {LAYOUT}")
    size = _checked_size(image_size)
    train, test = _image_files(folder, "train"), _image_files(folder, "test")
    class_names = sorted({file.class_name for file in train})
    if len(class_names) < 2:
        raise ValueError(
            f"{folder / 'train'} holds one class, {class_names[0]!r}; "
            "a model needs at least two to tell apart: add a folder for each class"
        )
    unknown = sorted({file.class_name for file in test} - set(class_names))
    if unknown:
        raise ValueError(
            f"{folder / 'test' / unknown[0]} is a class that {folder / 'train'} does not have; "
            "give it training images, or remove it"
        )
    cached = cache / f"{folder.resolve().name}-{_key(folder, train + test, size)}.npy"
    pixels = _read_cache(cached, len(train) + len(test))
    if pixels is None:
        pixels = _decode([file.path for file in train + test], size)
        cached.parent.mkdir(parents=True, exist_ok=True)
        write_array(cached, pixels)
    images = torch.from_numpy(pixels)
    labels = torch.tensor([class_names.index(file.class_name) for file in train + test])
    return ImageData(
        Split(images[: len(train)], labels[: len(train)]),
        Split(images[len(train) :], labels[len(train) :]),
        tuple(class_names),
    )


def _checked_size(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """(height, width), or None."""
    if image_size is None:
        return None
    pair = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(pair) != 2 or not all(isinstance(n, int) and n >= 1 for n in pair):
        raise ValueError(
            f"image_size must be a positive whole number of pixels, or two (height, width); given {image_size}"
        )
    return pair[0], pair[1]


def _image_files(folder: Path, half: str) -> list[ImageFile]:
    """Image files of one half, by class and then by name. An image in a subfolder belongs to the class above."""
    if not (folder / half).is_dir():
        raise FileNotFoundError(f"{folder} has no folder {half}/; {LAYOUT}")
    suffixes = {suffix for suffix, format in Image.registered_extensions().items() if format in Image.OPEN}
    files = []
    for class_folder in sorted((folder / half).iterdir()):
        if not class_folder.is_dir() or class_folder.name.startswith((".", "__MACOSX")):
            continue
        images = sorted(
            path
            for path in class_folder.rglob("*")
            if path.suffix.lower() in suffixes
            and not any(part.startswith(".") for part in path.relative_to(class_folder).parts)
        )
        if not images:
            raise ValueError(f"{class_folder} holds no image; add images, or remove the folder")
        files += [ImageFile(path, class_folder.name) for path in images]
    if not files:
        raise ValueError(f"{folder / half} holds no class folder with images; {LAYOUT}")
    return files


def _key(folder: Path, files: list[ImageFile], size: tuple[int, int] | None) -> str:
    digest = hashlib.sha256(repr((_CACHE_VERSION, str(folder.resolve()), size)).encode())
    for file in files:
        stat = file.path.stat()
        name = file.path.relative_to(folder)
        digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _read_cache(cached: Path, n_images: int) -> np.ndarray | None:
    """The cached pixels, or None when there are none to rely on."""
    try:
        pixels = np.load(cached, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    usable = pixels.ndim == 4 and len(pixels) == n_images and pixels.dtype == np.uint8
    return pixels if usable else None


def _decode(paths: list[Path], size: tuple[int, int] | None) -> np.ndarray:
    """uint8 ``(N, C, H, W)``."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        headers = list(_progress(pool.map(_read_header, paths), "reading sizes", len(paths)))
        first = headers[0].size
        if size is None:
            for path, header in zip(paths, headers, strict=True):
                if header.size != first:
                    raise ValueError(
                        f"{path} is {_text(header.size)} pixels, but {paths[0]} is {_text(first)} "
                        "(height×width). Images of different sizes must be resized: "
                        "pass image_size, for example image_size=32"
                    )
        height, width = size or first
        gray = all(header.gray for header in headers)
        shape = (len(paths), 1 if gray else 3, height, width)
        if np.prod(shape, dtype=float) > MAX_BYTES:
            raise ValueError(
                f"{len(paths)} images of {_text((height, width))} pixels, such as {paths[0]}, would take "
                f"{np.prod(shape, dtype=float) / 2**30:.0f} GiB; pass a smaller image_size"
            )
        pixels = np.empty(shape, np.uint8)

        def decode(i: int) -> None:
            pixels[i] = _read_pixels(paths[i], gray, (height, width))

        for _ in _progress(pool.map(decode, range(len(paths))), "reading images", len(paths)):
            pass
    return pixels


def _read_header(path: Path) -> Header:
    def header(image: Image.Image) -> Header:
        height, width = image.height, image.width
        if image.getexif().get(_ORIENTATION, 1) >= 5:  # the camera was held upright
            height, width = width, height
        return Header((height, width), is_gray(image))

    return _with_image(path, header)


def _read_pixels(path: Path, gray: bool, size: tuple[int, int]) -> np.ndarray:
    """uint8 ``(C, H, W)``."""

    def pixels(image: Image.Image) -> np.ndarray:
        image = plain_image(image, gray, behind="black")
        if (image.height, image.width) != size:
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        array = np.asarray(image)
        return array[None] if gray else array.transpose(2, 0, 1)

    return _with_image(path, pixels)


def _with_image(path: Path, read: Callable[[Image.Image], Any]) -> Any:
    """``read`` of the opened image, with an error that names the file when Pillow cannot read it."""
    try:
        with Image.open(path) as image:
            return read(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        what = "is empty" if path.exists() and path.stat().st_size == 0 else f"cannot be read ({error})"
        raise ValueError(f"the image {path} {what}; replace it with a whole image, or remove it") from error


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def _progress(items: Iterable[Any], what: str, total: int) -> Iterable[Any]:
    """A progress bar on a terminal, for work of more than a second."""
    return tqdm(items, desc=what, total=total, unit=" images", delay=1, disable=None)
