"""Pictures that visitors upload."""

from io import BytesIO

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from smoot_explore.explorer import uploads
from smoot_explore.explorer.uploads import MAX_PIXELS, read_picture, unlike

COLOURS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


def encoded(image, format="PNG", **options):
    buffer = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])  # the second announces further pictures
def test_a_jpeg_of_too_many_scans_is_refused_before_it_is_decoded(kind):
    file, picture = BytesIO(), Image.new("L", (64, 64), 128)
    several = {"save_all": True, "append_images": [picture]} if kind == "MPO" else {}
    picture.save(file, kind, progressive=True, **several)
    content = file.getvalue()
    with Image.open(BytesIO(content)) as opened:
        assert opened.format == kind
    assert read_picture(content, (1, 28, 28), 1).shape == (1, 28, 28)
    last = content.rindex(b"\xff\xda")
    many = content[:-2] + 60 * content[last:-2] + content[-2:]
    with pytest.raises(ValueError, match="more than 40 scans; save it again, without steps"):
        read_picture(many, (1, 28, 28), 1)


def test_a_picture_of_the_datas_size_comes_back_as_it_is():
    picture = read_picture(encoded(COLOURS), (3, 32, 32), 1)
    assert picture.dtype == torch.uint8
    assert torch.equal(picture, torch.from_numpy(COLOURS.transpose(2, 0, 1).copy()))
    assert picture.is_contiguous()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_every_accepted_format_is_read(format):
    picture = read_picture(encoded(np.full((20, 20, 3), (200, 100, 50), np.uint8), format), (3, 8, 8), 1)
    assert (picture.float().mean((1, 2)) - torch.tensor([200.0, 100, 50])).abs().max() <= 4


@pytest.mark.parametrize("format", ["PPM", "ICO", "TGA", "PDF", "EPS"])
def test_other_formats_are_refused_though_pillow_reads_or_writes_them(format):
    with pytest.raises(ValueError, match="is not a PNG, JPEG, WebP, BMP, GIF or TIFF picture"):
        read_picture(encoded(COLOURS, format), (3, 32, 32), 1)


def test_gray_data_get_one_channel():
    picture = read_picture(encoded(COLOURS), (1, 32, 32), 1)
    assert torch.equal(picture[0], torch.from_numpy(np.array(Image.fromarray(COLOURS).convert("L"))))


def test_a_gray_picture_becomes_three_equal_channels():
    picture = read_picture(encoded(COLOURS[:, :, 0]), (3, 32, 32), 1)
    assert torch.equal(picture, torch.from_numpy(COLOURS[:, :, 0].copy()).expand(3, -1, -1))


def test_what_is_transparent_becomes_white():
    transparent = np.zeros((8, 8, 4), np.uint8)
    transparent[:4, :, 3] = 255  # the upper half is opaque black
    picture = read_picture(encoded(transparent), (1, 8, 8), 1)
    assert (picture[0, :4] == 0).all()
    assert (picture[0, 4:] == 255).all()


def test_a_wide_picture_is_cut_to_its_middle_not_squeezed():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    assert (read_picture(encoded(wide), (3, 10, 10), 1) == 255).all()
    assert (read_picture(encoded(wide.transpose(1, 0, 2).copy()), (3, 10, 10), 1) == 255).all()


def test_fine_detail_is_averaged_not_picked():
    checkerboard = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    picture = read_picture(encoded(checkerboard), (1, 8, 8), 1).float()
    assert (picture[0, 1:-1, 1:-1] - 127.5).abs().max() < 3


def test_a_photo_taken_upright_stands_upright():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # to be turned by 90° clockwise
    picture = read_picture(encoded(COLOURS, exif=exif), (3, 32, 32), 1)
    assert torch.equal(picture, torch.from_numpy(np.rot90(COLOURS, -1).transpose(2, 0, 1).copy()))


def test_sixteen_bits_become_eight():
    steps = (np.arange(64).reshape(8, 8) * 1000).astype(np.uint16)
    picture = read_picture(encoded(steps), (1, 8, 8), 1)
    assert picture[0].tolist() == (steps >> 8).tolist()


def test_a_file_above_the_limit_is_refused_before_it_is_opened(monkeypatch):
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(ValueError, match=r"the file has 2\.0 MB, at most 1\.5 MB are accepted"):
        read_picture(bytes(2_000_000), (3, 32, 32), 1.5)


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch):
    huge = encoded(Image.new("1", (MAX_PIXELS // 1000 + 1, 1000)))
    assert len(huge) < 100_000
    monkeypatch.setattr("smoot_explore.explorer.uploads.plain_image", None)
    with pytest.raises(ValueError, match="more than 16 million pixels"):
        read_picture(huge, (3, 32, 32), 5)


def test_a_small_webp_of_many_pixels_is_refused_by_its_header(monkeypatch):
    huge = encoded(Image.new("RGB", (6300, 6300), "white"), "WEBP", lossless=True)
    assert len(huge) < 10_000
    monkeypatch.setattr("smoot_explore.explorer.uploads.plain_image", None)
    with pytest.raises(ValueError, match="more than 16 million pixels"):
        read_picture(huge, (3, 32, 32), 5)


def test_a_large_photo_is_decoded_small(monkeypatch):
    decoded = []
    plain = uploads.plain_image
    monkeypatch.setattr(
        uploads, "plain_image", lambda image, *a, **b: decoded.append(image.size) or plain(image, *a, **b)
    )
    photo = encoded(Image.new("RGB", (6000, 4000), (200, 100, 50)), "JPEG")
    picture = read_picture(photo, (3, 28, 28), 5)
    assert decoded == [(750, 500)]
    assert (picture.float().mean((1, 2)) - torch.tensor([200.0, 100, 50])).abs().max() <= 4
    with pytest.raises(ValueError, match="more than 64 million pixels"):
        read_picture(encoded(Image.new("L", (8100, 8000)), "JPEG"), (3, 28, 28), 5)


def test_a_drawing_is_told_from_a_picture():
    with pytest.raises(ValueError, match="an SVG drawing has no pixels; save it as a PNG"):
        read_picture(b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', (3, 32, 32), 1)


def framed(edge, inside=128, n=1):
    images = torch.full((n, 1, 8, 8), edge, dtype=torch.uint8)
    images[..., 1:-1, 1:-1] = inside
    return images


def test_a_background_unlike_the_datas_is_told_with_its_number():
    told = unlike(framed(250)[0], framed(4, n=5))
    assert "lighter" in told
    assert "is 250 of 255, theirs 4 ± 0" in told
    assert "on a dark background" in told
    assert "darker" in unlike(framed(4)[0], framed(250, n=5))


def test_what_is_inside_a_picture_is_no_background():
    assert unlike(framed(4, inside=255)[0], framed(4, inside=0, n=5)) == ""
    assert unlike(framed(40)[0], framed(4, n=5)) == ""


def test_where_backgrounds_differ_anyway_none_is_unlike():
    assert unlike(framed(250)[0], torch.cat([framed(0, n=5), framed(200, n=5)])) == ""


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 20_000])  # Pillow warns of the first and refuses the second
def test_a_picture_that_pillow_calls_a_bomb_is_refused_in_the_same_words(side):
    with pytest.raises(ValueError, match="more than 16 million pixels"):
        read_picture(encoded(Image.new("1", (side, side))), (3, 32, 32), 5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"hello", "is not a PNG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "is not a PNG|is damaged"),
        (encoded(COLOURS)[:600], "is damaged and cannot be read"),
        (encoded(COLOURS, "JPEG")[:700], "is damaged and cannot be read"),
    ],
)
def test_what_is_no_whole_picture_is_refused_plainly(content, message):
    with pytest.raises(ValueError, match=message) as raised:
        read_picture(content, (3, 32, 32), 1)
    assert "BytesIO" not in str(raised.value)


def test_data_of_other_channels_take_no_picture():
    with pytest.raises(ValueError, match="1 or 3 channels; these have 4"):
        read_picture(encoded(COLOURS), (4, 32, 32), 1)


@settings(max_examples=200)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"]), st.data())
def test_a_damaged_file_gives_a_picture_or_a_plain_error_and_nothing_else(format, data):
    content = bytearray(encoded(COLOURS[:16, :12], format))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = read_picture(bytes(content), (3, 9, 7), 1)
    except ValueError as error:
        message = str(error)
    else:
        message = "picture"
        assert picture.shape == (3, 9, 7)
    assert "picture" in message


@settings(max_examples=60)
@given(*(st.integers(1, 40) for _ in range(4)))
def test_the_shape_is_the_datas_whatever_the_pictures(h, w, height, width):
    assert read_picture(encoded(np.zeros((h, w), np.uint8)), (1, height, width), 1).shape == (
        1,
        height,
        width,
    )
