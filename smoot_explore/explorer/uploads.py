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
)  # the rest of Pillow's many readers is not let near a visitor's file
MAX_PIXELS = 40_000_000  # a small file may say that it is huge; told before it is decoded
_ACCEPTED = "a PNG, JPEG, WebP, BMP or GIF picture"


def read_picture(content: bytes, image_shape: tuple[int, int, int], max_megabytes: float) -> Tensor:
    """A picture as uint8 ``(C, H, W)``.

    Turned upright, on white where it is transparent, cut to the middle in the data's shape, and resized like
    the images of a folder. Of a moving picture the first image is taken.

    Parameters
    ----------
    content
        The bytes of a PNG, JPEG, WebP, BMP or GIF file.
    image_shape
        ``(C, H, W)`` of the data set; gray for one channel, RGB for three.
    max_megabytes
        Largest file, in megabytes (1,000,000 bytes).

    Raises
    ------
    ValueError
        When the file is too large, has more than `MAX_PIXELS` pixels, or cannot be read.
    """
    channels, height, width = image_shape
    if channels not in (1, 3):
        raise ValueError(f"pictures can be uploaded for data of 1 or 3 channels; these have {channels}")
    if not content:
        raise ValueError(f"the file is empty; choose {_ACCEPTED}")
    if len(content) > max_megabytes * 1e6:
        raise ValueError(
            f"the file has {len(content) / 1e6:.1f} MB, at most {max_megabytes:g} MB are accepted; make it smaller"
        )
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            plain = plain_image(image, channels == 1, behind="white")
    except Image.DecompressionBombError:
        raise ValueError(
            f"the picture has more than {MAX_PIXELS / 1e6:.0f} million pixels; make it smaller"
        ) from None
    except UnidentifiedImageError:
        raise ValueError(f"the file is not {_ACCEPTED}; save it as one of these") from None
    except Exception:  # Pillow reports a damaged file by many types
        raise ValueError(
            "the picture is damaged and cannot be read; save it again, or choose another"
        ) from None
    fitted = ImageOps.fit(plain, (width, height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(fitted))
    return pixels[None] if channels == 1 else pixels.permute(2, 0, 1).contiguous()
