import os

import numpy as np
import pytest
import torch
from PIL import Image

from smoot_explore import load_data


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array, **options).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes, three training images and one test image of each, RGB 12×10 (width × height)."""
    rng = np.random.default_rng(0)
    for half, n in (("train", 3), ("test", 1)):
        for name in ("cat", "dog"):
            for i in range(n):
                save(
                    tmp_path / "pets" / half / name / f"{i}.png",
                    rng.integers(0, 256, (10, 12, 3), np.uint8),
                )
    return tmp_path / "pets"


@pytest.fixture
def load(tmp_path):
    return lambda path, **options: load_data(path, root=tmp_path / "root", **options)


def test_a_folder_per_class_gives_its_pixels_and_labels(folder, load):
    data = load(folder)
    assert data.class_names == ("cat", "dog")
    assert data.image_shape == (3, 10, 12)
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    pixels = np.asarray(Image.open(folder / "train" / "dog" / "1.png")).transpose(2, 0, 1)
    assert torch.equal(data.train.images[4], torch.tensor(pixels))


def test_grayscale_images_have_one_channel_unless_one_is_in_colour(tmp_path, load):
    for half in ("train", "test"):
        for name in "ab":
            save(tmp_path / "gray" / half / name / "0.png", np.full((8, 8), 7, np.uint8))
    assert load(tmp_path / "gray").image_shape == (1, 8, 8)
    save(tmp_path / "gray" / "test" / "a" / "1.png", np.zeros((8, 8, 3), np.uint8))
    assert load(tmp_path / "gray").image_shape == (3, 8, 8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_common_mode_is_read(tmp_path, load, mode):
    picture = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    if mode == "I;16":
        picture = Image.fromarray((np.arange(64).reshape(8, 8) * 1000).astype(np.uint16))
    else:
        picture = picture.convert(mode)
    suffix = "tif" if mode == "CMYK" else "png"
    for half in ("train", "test"):
        for name in "ab":
            (tmp_path / "x" / half / name).mkdir(parents=True)
            picture.save(tmp_path / "x" / half / name / f"0.{suffix}")
    data = load(tmp_path / "x")
    assert data.image_shape[1:] == (8, 8)
    if mode == "I;16":
        assert data.train.images[0, 0, 7, 7] == 63_000 // 256


def test_images_of_different_sizes_are_resized_when_asked(folder, load):
    save(folder / "train" / "cat" / "9.png", np.zeros((30, 20, 3), np.uint8))
    assert load(folder, image_size=16).image_shape == (3, 16, 16)
    assert load(folder, image_size=(8, 20)).image_shape == (3, 8, 20)
    with pytest.raises(
        ValueError, match=r"9\.png is 30×20 pixels, but .*0\.png is 10×12 \(height×width\).*image_size=32"
    ):
        load(folder)


def test_the_second_time_comes_from_the_cache_and_a_changed_image_is_seen(folder, load, monkeypatch):
    first = load(folder)
    with monkeypatch.context() as patched:
        patched.setattr("smoot_explore.data.folder._decode", None)  # must not be needed
        assert load(folder).fingerprint == first.fingerprint
    image = folder / "train" / "cat" / "0.png"
    save(image, np.zeros((10, 12, 3), np.uint8))
    os.utime(image, ns=(1, 1))
    assert load(folder).fingerprint != first.fingerprint


def test_a_damaged_cache_is_made_again(folder, load, tmp_path):
    first = load(folder)
    (cached,) = (tmp_path / "root" / "cache").iterdir()
    cached.write_bytes(cached.read_bytes()[:50])
    assert load(folder).fingerprint == first.fingerprint


def test_hidden_files_and_files_that_are_no_images_are_passed_over(folder, load):
    (folder / "train" / "cat" / "notes.txt").write_text("a note")
    (folder / "train" / "cat" / ".thumb.png").write_bytes(b"hidden")
    (folder / "train" / ".git").mkdir()
    assert len(load(folder).train) == 6


def test_a_photo_taken_upright_is_turned(folder, load):
    exif = Image.Exif()
    exif[274] = 6  # turn by 90° to see it upright
    pixels = np.zeros((12, 10, 3), np.uint8)
    pixels[:, :3] = 255
    Image.fromarray(pixels).save(folder / "train" / "cat" / "0.png", exif=exif)
    data = load(folder)
    assert data.image_shape == (3, 10, 12)
    assert data.train.images[0, 0, :3].min() == 255


def test_what_shows_through_a_transparent_image_is_black(folder, load):
    pixels = np.full((10, 12, 4), 200, np.uint8)
    pixels[:, :, 3] = 0
    save(folder / "train" / "cat" / "0.png", pixels)
    assert load(folder).train.images[0].max() == 0


def test_limits_and_the_source_work_for_folders(folder, load):
    data = load(folder, train=4)
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    assert data.source["name"] == str(folder)


def corrupt(folder):
    path = folder / "train" / "dog" / "2.png"
    path.write_bytes(path.read_bytes()[:60])


def empty_file(folder):
    (folder / "test" / "dog" / "0.png").write_bytes(b"")


def no_image_at_all(folder):
    (folder / "train" / "cat" / "1.png").write_text("<html>not found</html>")


def empty_class(folder):
    (folder / "train" / "bird").mkdir()


def one_class(folder):
    for path in list((folder / "train" / "dog").iterdir()):
        path.unlink()
    (folder / "train" / "dog").rmdir()


def unknown_test_class(folder):
    save(folder / "test" / "bird" / "0.png", np.zeros((10, 12, 3), np.uint8))


def no_test(folder):
    (folder / "test").rename(folder / "tset")


def images_without_class(folder):
    for name in ("cat", "dog"):
        for path in list((folder / "train" / name).iterdir()):
            path.rename(folder / "train" / f"{name}{path.name}")
        (folder / "train" / name).rmdir()


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (corrupt, ValueError, r"the image .*dog/2\.png cannot be read .*replace it"),
        (empty_file, ValueError, r"the image .*test/dog/0\.png is empty; replace it"),
        (no_image_at_all, ValueError, r"the image .*cat/1\.png cannot be read"),
        (empty_class, ValueError, r"train/bird holds no image; add images, or remove"),
        (one_class, ValueError, r"train holds one class, 'cat'; .* at least two"),
        (unknown_test_class, ValueError, r"test/bird is a class that .*train does not have"),
        (no_test, FileNotFoundError, r"has no folder test/; the layout is"),
        (
            images_without_class,
            ValueError,
            r"train holds no class folder with images; the layout is",
        ),
    ],
)
def test_damage_is_named_with_its_file_and_what_to_do(folder, load, damage, error, message):
    damage(folder)
    with pytest.raises(error, match=message):
        load(folder)


@pytest.mark.parametrize("size", [0, -3, (4,), (4, 5, 6), (4, 0), 3.5])
def test_an_impossible_size_is_refused(folder, load, size):
    with pytest.raises((ValueError, TypeError), match="image_size|iterable"):
        load(folder, image_size=size)


def test_images_that_would_not_fit_in_memory_ask_for_a_smaller_size(folder, load, monkeypatch):
    monkeypatch.setattr("smoot_explore.data.folder.MAX_BYTES", 100)
    with pytest.raises(ValueError, match=r"8 images of 10×12 pixels, such as .* pass a smaller image_size"):
        load(folder)
