import gzip
import struct

import numpy as np
import pytest
import torch

from smoot_explore import ImageData, Split, load_data
from smoot_explore.data.images import channel_statistics, first_images


def test_the_bundled_sample_is_balanced_and_is_the_one_described():
    data = load_data("fashion-mnist-sample")
    assert data.image_shape == (1, 28, 28)
    assert data.train.labels.bincount().tolist() == [1000] * 10
    assert data.test.labels.bincount().tolist() == [200] * 10
    assert data.fingerprint == "266fb82bb6e94190c1cfbbb408ee47fc324d11c8f4ac41b6251a8006b5fc30d9"


def test_limits_keep_the_classes_balanced_and_the_seed_chooses():
    one, two, other = (load_data("fashion-mnist-sample", 205, 30, seed=seed) for seed in (1, 1, 2))
    assert sorted(one.train.labels.bincount().tolist()) == [20] * 5 + [21] * 5
    assert one.test.labels.bincount().tolist() == [3] * 10
    assert torch.equal(one.train.image_ids, two.train.image_ids)
    assert not torch.equal(one.train.image_ids, other.train.image_ids)


def test_a_limit_takes_what_a_small_class_has_and_fills_up_from_the_others():
    from smoot_explore.data.images import _balanced

    labels = torch.tensor([0] * 50 + [1] * 3 + [2] * 50)
    split = Split(torch.zeros(103, 1, 2, 2, dtype=torch.uint8), labels)
    assert _balanced(split, 33, "train", 0).labels.bincount().tolist() == [15, 3, 15]


def test_image_ids_point_into_the_full_set():
    full, part = (
        load_data("fashion-mnist-sample").train,
        load_data("fashion-mnist-sample", 50).train,
    )
    where = [int((full.image_ids == i).nonzero()) for i in part.image_ids]
    assert torch.equal(full.images[where], part.images)


def test_normalised_training_images_have_mean_zero_and_deviation_one(data):
    images = data.normalize(data.train.images).double()
    assert images.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert images.std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], abs=1e-4)


def test_test_images_are_normalised_with_the_training_images_statistics(data):
    assert torch.equal(data.test.mean, data.train.mean)
    assert torch.equal(data.test.normalize(), data.normalize(data.test.images))
    plain = (data.test.images / 255 - data.mean.view(3, 1, 1)) / data.std.view(3, 1, 1)
    torch.testing.assert_close(data.test.normalize(), plain, rtol=1e-4, atol=1e-5)


def test_black_is_what_normalising_makes_of_zero(data):
    zero = data.normalize(torch.zeros(1, 3, 1, 1, dtype=torch.uint8)).flatten()
    torch.testing.assert_close(zero, data.black)


def test_channel_statistics_equal_the_plain_mean_and_deviation():
    images = torch.randint(0, 256, (7, 2, 5, 4), dtype=torch.uint8)
    mean, std = channel_statistics(images)
    values = images.double() / 255
    assert mean.tolist() == pytest.approx(values.mean((0, 2, 3)).tolist(), abs=1e-6)
    assert std.tolist() == pytest.approx(values.std((0, 2, 3), correction=0).tolist(), abs=1e-6)


def test_a_constant_channel_normalises_to_zero():
    split = Split(torch.full((3, 1, 4, 4), 9, dtype=torch.uint8), torch.tensor([0, 1, 0]))
    assert (split.normalize() == 0).all()


def test_a_part_of_a_split_keeps_ids_masks_and_statistics(data):
    part = data.test[[5, 2]]
    assert part.image_ids.tolist() == [5, 2]
    assert torch.equal(part.object_masks[1], data.test.object_masks[2])
    assert torch.equal(part.mean, data.mean)


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_torchvisions_files_are_read_from_root_without_a_download(tmp_path, name, folder):
    rng = np.random.default_rng(0)
    for half, n in (("train", 30), ("t10k", 20)):
        write_idx(
            tmp_path / folder / "raw" / f"{half}-images-idx3-ubyte",
            rng.integers(0, 255, (n, 28, 28)),
        )
        write_idx(tmp_path / folder / "raw" / f"{half}-labels-idx1-ubyte", np.arange(n) % 10)
    data = load_data(name, root=tmp_path)
    assert (len(data.train), len(data.test), data.n_classes) == (30, 20, 10)
    assert data.image_shape == (1, 28, 28)


def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    def unreachable(*args, **options):
        raise RuntimeError("Error downloading train-images")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", unreachable)
    with pytest.raises(RuntimeError, match=r"mnist cannot be read from .*fashion-mnist-sample"):
        load_data("mnist", root=tmp_path)


def test_a_download_that_is_no_gzip_says_what_to_do(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for half in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (raw / f"{half}-{kind}-ubyte").write_bytes(gzip.compress(b"not an image")[:9])
    with pytest.raises(RuntimeError, match="mnist cannot be read from .* or downloaded"):
        load_data("mnist", root=tmp_path)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: load_data("fashion-mnits"), ValueError, "did you mean 'fashion-mnist'"),
        (lambda: load_data("./nowhere"), FileNotFoundError, "there is no folder nowhere"),
        (lambda: load_data("fashion-mnist-sample", train=0), ValueError, "train must be at least 1"),
        (lambda: load_data("fashion-mnist-sample", test=2001), ValueError, "more images than there are, 2000"),
        (lambda: load_data("shapes", image_size=64), ValueError, "image_size is for folders"),
        (lambda: Split(torch.rand(2, 1, 3, 3), torch.zeros(2)), ValueError, "uint8 tensor .* given torch.float32"),
        (lambda: Split(pixels(), torch.zeros(2)), ValueError, r"int64 tensor \(2,\), given torch.float32"),
        (lambda: Split(pixels(), torch.tensor([0, -1])), ValueError, "labels count from 0, given -1"),
        (lambda: Split(pixels()[:0], torch.zeros(0, dtype=torch.int64)), ValueError, "at least one image"),
        (
            lambda: Split(pixels(), torch.tensor([0, 1]), torch.ones(2, 9, 9, dtype=torch.bool)),
            ValueError,
            r"object_masks must be bool \(2, 3, 3\)",
        ),
        (lambda: image_data(names=("one",)), ValueError, "at least two classes"),
        (lambda: image_data(names=("a", "b"), labels=[0, 2]), ValueError, "label 2 has no class name"),
        (lambda: image_data(test_size=4), ValueError, r"same shape .* \(1, 3, 3\) and \(1, 4, 4\)"),
        (lambda: pixels_split().normalize(torch.rand(1, 1, 3, 3)), TypeError, "takes uint8 images"),
        (lambda: pixels_split()[0], TypeError, "slice, a list or a tensor"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_what_to_do(call, error, message):
    with pytest.raises(error, match=message):
        call()


def pixels(size=3):
    return torch.zeros(2, 1, size, size, dtype=torch.uint8)


def pixels_split(size=3, labels=(0, 1)):
    return Split(pixels(size), torch.tensor(labels))


def image_data(names=("a", "b"), labels=(0, 1), test_size=3):
    return ImageData(pixels_split(labels=labels), pixels_split(test_size), names)


def test_the_first_images_of_a_folder_are_of_all_classes():
    """Folders list class after class; other data sets are mixed, and keep their order."""
    labels = torch.arange(12) // 4
    images = torch.zeros(12, 1, 2, 2, dtype=torch.uint8)
    sorted_by_class, mixed = Split(images, labels), Split(images, labels.flip(0))
    assert first_images(sorted_by_class, 6).labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert first_images(mixed, 6).image_ids.tolist() == list(range(6))
    assert len(first_images(mixed, None)) == len(first_images(mixed, 99)) == 12
