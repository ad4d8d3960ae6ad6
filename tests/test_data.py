import gzip
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from smoot_explore import ImageData, Split, load_data
from smoot_explore.data.images import channel_statistics, first_images, limit_data


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
            r"object_masks must be a bool tensor \(2, 3, 3\)",
        ),
        (lambda: image_data(names=("one",)), ValueError, "at least two classes"),
        (lambda: image_data(names=("a", "b"), labels=[0, 2]), ValueError, "label 2 has no class name"),
        (lambda: image_data(test_size=4), ValueError, r"same shape .* \(1, 3, 3\) and \(1, 4, 4\)"),
        (lambda: pixels_split().normalize(torch.rand(1, 1, 3, 3)), TypeError, "takes uint8 images"),
        (lambda: split_of(np.zeros((2, 1, 3, 3))), ValueError, "given <class 'numpy.ndarray'>; ImageData.from_arrays"),
        (lambda: split_of(torch.zeros(2, 28, 28, 1, dtype=torch.uint8)), ValueError, r"permute\(0, 3, 1, 2\)"),
        (lambda: split_of(labels=torch.eye(2).long()), ValueError, r"one-hot rows give labels.argmax\(1\)"),
        (lambda: split_of(labels=torch.tensor([0.5, 1.5])), ValueError, "no classes in a regression"),
        (lambda: split_of(mean=torch.zeros(1)), ValueError, "both mean and std, or neither"),
        (lambda: split_of(mean=[0.5], std=[0.0]), ValueError, "std must be above 0"),
        (lambda: split_of(mean=[0.5, 0.5], std=[1.0, 1.0]), ValueError, "each of the 1 channels"),
        (lambda: split_of(mean=[float("nan")], std=[1.0]), ValueError, "mean must hold one number"),
        (lambda: split_of(class_names=("a",)), ValueError, "label 1 has no class name: there are 1"),
        (lambda: split_of(image_ids=torch.arange(3)), ValueError, r"image_ids must be an int64 tensor \(2,\)"),
        (lambda: split_of().sample(3), ValueError, "n must lie between 1 and the number of images, 2; given 3"),
        (lambda: image_data().hold_out(2), ValueError, "must leave images to train on: between 1 and 1"),
        (lambda: from_arrays(np.full((2, 3, 3), -1.0)), ValueError, "leave normalising out"),
        (lambda: from_arrays(np.full((2, 3, 3), 300)), ValueError, "given torch.int64 from 300 to 300"),
        (lambda: from_arrays(np.full((2, 3, 3), np.nan)), ValueError, "from nan"),
        (lambda: from_arrays([np.ones((2, 2)), np.ones((3, 3))]), ValueError, "images of one size"),
        (lambda: from_arrays(labels=["cat", "dog"]), ValueError, "return_inverse=True"),
        (lambda: from_arrays(labels=[0.1, 0.7]), ValueError, "no classes in a regression"),
        (lambda: from_arrays(labels=[[0, 1], [1, 1]]), ValueError, "several labels for an image cannot work"),
        (lambda: from_arrays(labels=[0, 1, 1]), ValueError, "given 2 images and 3 labels"),
        (lambda: from_arrays(labels=[0, 9]), ValueError, "no training image has the label 1"),
        (lambda: from_dataset([(torch.rand(1, 4, 4), 0), (torch.rand(1, 4, 5), 1)]), ValueError, "item 1 is .1, 4, 5."),
        (lambda: from_dataset([(torch.rand(1, 4, 4), torch.rand(3))]), ValueError, "several labels"),
        (lambda: from_dataset([(torch.rand(1, 4, 4), 0.3)]), ValueError, "regression"),
        (lambda: from_dataset([("cat.png", 0)]), ValueError, "image of item 0 cannot be used: a str is neither"),
        (lambda: from_dataset([torch.rand(4)]), ValueError, "item 0 is no pair"),
        (lambda: from_dataset([]), ValueError, "the data set is empty"),
        (lambda: from_dataset(iter([])), TypeError, "must have a length"),
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


def split_of(images=None, labels=None, **settings):
    images = pixels() if images is None else images
    return Split(images, torch.tensor([0, 1]) if labels is None else labels, **settings)


def from_arrays(images=None, labels=(0, 1)):
    images = pixels() if images is None else images
    return ImageData.from_arrays(images, labels, images, labels)


def from_dataset(items):
    return ImageData.from_dataset(items, items)


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


def test_a_sample_is_balanced_repeats_with_its_seed_and_keeps_the_order(data):
    one, two, other = (data.train.sample(20, seed=seed) for seed in (1, 1, 2))
    assert sorted(one.labels.bincount().tolist()) == [3, 3, 3, 3, 4, 4]
    assert torch.equal(one.image_ids, two.image_ids)
    assert not torch.equal(one.image_ids, other.image_ids)
    assert bool((one.image_ids.diff() > 0).all())
    assert data.train.sample(6).labels.unique().tolist() == list(range(6))


def sorted_split():
    return Split(
        torch.zeros(40, 1, 2, 2, dtype=torch.uint8), torch.arange(40) // 20, class_names=("cat", "dog")
    )


def test_a_slice_of_one_class_is_warned_of_and_a_choice_is_not():
    split = sorted_split()
    with pytest.warns(UserWarning, match=r"10 images of one class, 'dog'.*split.sample\(10\)"):
        split[30:]
    assert len(split[split.labels == 1]) == 20  # pytest makes errors of warnings
    assert split[15:25].labels.bincount().tolist() == [5, 5]
    assert len(split[:3]) == 3


def test_training_images_of_one_class_are_warned_of():
    one = split_of(labels=torch.tensor([1, 1]))
    with pytest.warns(UserWarning, match="all 2 training images are of one class, 'b', of 2"):
        ImageData(one, one, ("a", "b"))


def test_mean_and_std_may_be_lists_and_are_used():
    split = split_of(mean=[0.5], std=[0.25])
    assert (split.normalize() == -2).all()


@given(
    arrays(np.uint8, st.tuples(st.just(3), st.sampled_from([1, 3]), st.integers(5, 9), st.integers(5, 9))),
    st.booleans(),
    st.sampled_from(["uint8", "uint16", "int64", "float32", "tensor", "list"]),
)
def test_every_form_of_the_same_images_is_the_same_data(images, last, form):
    expected = torch.from_numpy(images.copy())
    given_images = images.transpose(0, 2, 3, 1) if last else images
    given_images = {
        "uint8": lambda a: a,
        "uint16": lambda a: a.astype(np.uint16),
        "int64": lambda a: a.astype(np.int64),
        "float32": lambda a: (a / 255).astype(np.float32),
        "tensor": lambda a: torch.from_numpy(a.copy()),
        "list": lambda a: a.tolist(),
    }[form](given_images)
    data = ImageData.from_arrays(given_images, [0, 1, 0], given_images, np.array([0, 1, 1]))
    assert torch.equal(data.train.images, expected)
    assert data.test.labels.tolist() == [0, 1, 1]


class Pictures:
    """As of torchvision: PIL images, class names, a length."""

    classes = ("gray", "light")

    def __init__(self, mode, n=6):
        self.mode, self.n = mode, n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return Image.fromarray(np.full((7, 11), 40 * i, np.uint8)).convert(self.mode), i % 2


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 3), ("1", 1)])
def test_a_data_set_of_pictures_gives_their_pixels_labels_and_names(mode, channels):
    data = ImageData.from_dataset(Pictures(mode), Pictures(mode, 2))
    assert (data.image_shape, data.class_names) == ((channels, 7, 11), ("gray", "light"))
    assert data.train.labels.tolist() == [0, 1] * 3
    assert mode == "1" or data.train.images[2].unique().tolist() == [80]


def test_tensors_and_arrays_of_a_data_set_are_read_alike():
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 6, 9), np.uint8)
    as_tensors = [(torch.from_numpy(one) / 255, torch.tensor(i % 2)) for i, one in enumerate(images)]
    as_arrays = [(one.transpose(1, 2, 0), np.int64(i % 2)) for i, one in enumerate(images)]
    assert from_dataset(as_tensors).fingerprint == from_dataset(as_arrays).fingerprint


def test_held_out_images_are_not_trained_on_and_normalised_as_those_that_are(data):
    part = data.hold_out(12, seed=3)
    ids = [set(split.image_ids.tolist()) for split in (part.train, part.validation)]
    assert (len(ids[0]), len(ids[1]), ids[0] | ids[1]) == (48, 12, set(range(60)))
    mean, std = channel_statistics(part.train.images)
    for split in (part.train, part.validation, part.test):
        assert torch.equal(split.mean, mean)
        assert torch.equal(split.std, std)
    assert part.source["hold_out"] == {"n": 12, "seed": 3}
    with pytest.raises(ValueError, match="12 images are held out already"):
        part.hold_out(6)


def test_held_out_images_may_take_the_place_of_the_test_images(data):
    beside, instead = data.hold_out(12, seed=3), data.hold_out(12, seed=3, as_test=True)
    assert torch.equal(instead.test.images, beside.validation.images)
    assert torch.equal(instead.test.std, instead.train.std)
    assert torch.equal(instead.train.images, beside.train.images)
    assert instead.validation is None
    assert instead.source["hold_out"] == {"n": 12, "seed": 3, "as_test": True}
    with pytest.raises(ValueError, match="12 images are held out already"):
        instead.hold_out(6)


def test_limits_may_be_numpys_numbers():
    data = load_data("shapes", train=np.int64(12), test=np.int32(6), seed=np.int64(0))
    assert json.loads(json.dumps(data.source))["train"] == 12


def test_a_mean_and_std_that_were_given_outlast_holding_out_and_limiting(data):
    given = {"mean": torch.full((3,), 0.5), "std": torch.full((3,), 0.25)}
    named = replace(data, train=replace(data.train, **given))
    for part in (named.hold_out(12), named.hold_out(12, as_test=True), limit_data(named, 30, 6)):
        for split in filter(None, (part.train, part.validation, part.test)):
            assert torch.equal(split.mean, given["mean"])
            assert torch.equal(split.std, given["std"])


class Named(list):
    """Pairs (image, label), with the names of the classes as torchvision's data sets have them."""

    def __init__(self, classes, labels):
        super().__init__((torch.full((1, 4, 4), label / 10), label) for label in labels)
        self.classes = classes


def test_test_labels_are_those_of_the_training_images_by_name():
    train = Named(["cat", "cow", "dog"], [0, 1, 2])
    data = ImageData.from_dataset(train, Named(["dog", "cat"], [0, 1, 0]))
    assert data.class_names == ("cat", "cow", "dog")
    assert data.test.labels.tolist() == [2, 0, 2]
    called = ImageData.from_dataset(train, Named(["dog", "cat"], [0]), ["Katze", "Kuh", "Hund"])
    assert called.test.class_names[called.test.labels[0]] == "Hund"
    assert ImageData.from_dataset(train, [*Named([], [0, 1])]).test.labels.tolist() == [0, 1]
    with pytest.raises(
        ValueError, match=r"among those of the training images, \['cat', .* given \['fox', 'cat'\]"
    ):
        ImageData.from_dataset(train, Named(["fox", "cat"], [0, 1]))
    with pytest.raises(ValueError, match="label 2 of the test images has no name"):
        ImageData.from_dataset(train, Named(["dog", "cat"], [0, 2]))


def test_holding_out_a_whole_class_is_refused(data):
    circles = (data.train.labels == 0).nonzero().flatten().tolist()
    few = np.setdiff1d(np.arange(60), circles[2:])
    unbalanced = ImageData(data.train[few], data.test)
    with pytest.raises(ValueError, match="leaves none of circle to train on; hold out fewer"):
        unbalanced.hold_out(20)
