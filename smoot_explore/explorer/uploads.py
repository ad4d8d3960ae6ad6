"""A picture that a visitor uploads, as an image of the data set."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from smoot_explore.data.convert import plain_image

FORMATS = (
    "PNG",
    "JPEG",
    "WEBP",
    "BMP",
    "GIF",
    "TIFF",
)  # no other reader of Pillow's is let near a visitor's file
ENDINGS = ".png,.jpg,.jpeg,.webp,.bmp,.gif,.tif,.tiff"
# A small file may say that it is huge; told by its header, before it is decoded. A photo is decoded at an eighth.
MAX_PIXELS, MAX_PHOTO_PIXELS = 16_000_000, 64_000_000
MAX_SCANS = 40  # of a JPEG: each is decoded over the whole picture, and a repeated one takes a hundred bytes
UNLIKE_DEVIATIONS, UNLIKE_LEVELS = (
    3,
    40,
)  # by which the edge of a picture must differ from the data's to be told
_COMPARED_IMAGES = 1000
_ACCEPTED = "a PNG, JPEG, WebP, BMP, GIF or TIFF picture"
_JPEG, _JPEG_SCAN = b"\xff\xd8\xff", b"\xff\xda"


def check_size(n_bytes: int, max_megabytes: float) -> None:
    """Raise ``ValueError`` for a file of more than so many megabytes (1,000,000 bytes)."""
    if n_bytes > max_megabytes * 1e6:
        raise ValueError(
            f"the file has {n_bytes / 1e6:.1f} MB, at most {max_megabytes:g} MB are accepted; make it smaller"
        )


def read_picture(content: bytes, image_shape: tuple[int, int, int], max_megabytes: float) -> Tensor:
    """A picture as uint8 ``(C, H, W)``.

    Turned upright, on white where it is transparent, cut to the middle in the data's shape, and resized like
    the images of a folder. Of a moving picture the first image is taken.

    Parameters
    ----------
    content
        The bytes of a PNG, JPEG, WebP, BMP, GIF or TIFF file.
    image_shape
        ``(C, H, W)`` of the data set; gray for one channel, RGB for three.
    max_megabytes
        Largest file, in megabytes (1,000,000 bytes).

    Raises
    ------
    ValueError
        When the file is too large, has more than `MAX_PIXELS` pixels (a JPEG: `MAX_PHOTO_PIXELS`, in more than
        `MAX_SCANS`), or cannot be read.
    """
    channels, height, width = image_shape
    if channels not in (1, 3):
        raise ValueError(f"pictures can be uploaded for data of 1 or 3 channels; these have {channels}")
    if not content:
        raise ValueError(f"the file is empty; choose {_ACCEPTED}")
    check_size(len(content), max_megabytes)
    # By its first bytes: Pillow calls a JPEG that announces further pictures by another name.
    if content.startswith(_JPEG) and content.count(_JPEG_SCAN) > MAX_SCANS:
        raise ValueError(f"the JPEG has more than {MAX_SCANS} scans; save it again, without steps")
    most = MAX_PIXELS
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            if image.format == "JPEG":
                most = MAX_PHOTO_PIXELS
            if image.width * image.height > most:
                raise Image.DecompressionBombError
            image.draft(None, (4 * width, 4 * height))  # what is finer would be averaged away
            plain = plain_image(image, channels == 1, behind="white")
    except Image.DecompressionBombError:
        raise ValueError(
            f"the picture has more than {most / 1e6:.0f} million pixels; make it smaller"
        ) from None
    except UnidentifiedImageError:
        if b"<svg" in content[:1000]:
            raise ValueError(f"an SVG drawing has no pixels; save it as {_ACCEPTED}") from None
        raise ValueError(f"the file is not {_ACCEPTED}; save it as one of these") from None
    except Exception:  # Pillow reports a damaged file by many types
        raise ValueError(
            "the picture is damaged and cannot be read; save it again, or choose another"
        ) from None
    fitted = ImageOps.fit(plain, (width, height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(fitted))
    return pixels[None] if channels == 1 else pixels.permute(2, 0, 1).contiguous()


def unlike(picture: Tensor, images: Tensor) -> str:
    """What a visitor must know whose picture has another background than the images a model was trained on.

    The number it goes by is the mean of the outermost pixels, from 0 (black) to 255 (white). A picture is unlike when
    its own is further from the images' than `UNLIKE_DEVIATIONS` standard deviations and `UNLIKE_LEVELS`.

    Parameters
    ----------
    picture
        uint8 ``(C, H, W)``.
    images
        uint8 ``(N, C, H, W)``; the first ones are looked at.

    Returns
    -------
    str
        A sentence; empty where there is nothing to tell.
    """
    own = float(_edge(picture[None])[0])
    edges = _edge(images[:_COMPARED_IMAGES])
    mean, deviation = float(edges.mean()), float(edges.std(correction=0))
    if abs(own - mean) <= max(UNLIKE_DEVIATIONS * deviation, UNLIKE_LEVELS):
        return ""
    word, other = ("lighter", "dark") if own > mean else ("darker", "light")
    return (
        f"Its background is {word} than that of the images this model was trained on: the mean of its outermost pixels "
        f"is {own:.0f} of 255, theirs {mean:.0f} ± {deviation:.0f}. What the model says of it means little; try one "
        f"on a {other} background."
    )


def _edge(images: Tensor) -> Tensor:
    """Mean of the outermost pixels of each image."""
    inner = torch.zeros(images.shape[-2:], dtype=torch.bool)
    inner[1:-1, 1:-1] = True
    return images[..., ~inner].float().mean((1, 2))
