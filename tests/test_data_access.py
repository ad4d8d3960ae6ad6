"""Which data a visitor may open."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smoot_explore import load_data
from smoot_explore.data.load import downloads_folder, torchvision_class
from smoot_explore.explorer.data_access import allowed_folder, installed_datasets
from smoot_explore.explorer.settings import ServerSettings

MNIST_FILES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]
ALWAYS = ["fashion-mnist-sample", "shapes"]


def touch(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_without_downloads_the_bundled_sample_and_the_shapes_are_there(tmp_path):
    assert installed_datasets(tmp_path) == ALWAYS
    assert installed_datasets(tmp_path / "nowhere") == ALWAYS


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_mnists_files_count_extracted_or_not_but_only_all_of_them(tmp_path, name, folder, suffix):
    raw = tmp_path / folder / "raw"
    touch(raw, [file + suffix for file in MNIST_FILES[:-1]])
    assert installed_datasets(tmp_path) == ALWAYS
    touch(raw, [MNIST_FILES[-1] + suffix])
    assert installed_datasets(tmp_path) == [*ALWAYS, name]


def test_cifar_counts_as_its_archive_or_as_all_its_files(tmp_path):
    touch(tmp_path, ["cifar-10-python.tar.gz"])
    batches = ["train", "test"]
    touch(tmp_path / "cifar-100-python", batches)
    assert installed_datasets(tmp_path) == [*ALWAYS, "cifar10"]
    touch(tmp_path / "cifar-100-python", ["meta"])
    assert installed_datasets(tmp_path) == [*ALWAYS, "cifar10", "cifar100"]


def test_what_is_installed_is_what_load_data_finds_without_a_download(tmp_path, monkeypatch):
    """torchvision's own check agrees for extracted files, below the folder that load_data uses."""
    touch(tmp_path / "MNIST" / "raw", MNIST_FILES)
    dataset = torchvision_class("mnist")
    monkeypatch.setattr("smoot_explore.data.load._CHECKOUT_DATA", tmp_path)
    assert downloads_folder() == tmp_path / "downloads"
    assert "mnist" not in installed_datasets()
    (tmp_path / "MNIST").rename(tmp_path / "moved")
    touch(tmp_path / "downloads" / "MNIST" / "raw", MNIST_FILES)
    assert "mnist" in installed_datasets()
    probe = dataset.__new__(dataset)
    probe.root = str(downloads_folder())
    assert probe._check_exists()


@pytest.mark.parametrize("name", ALWAYS)
def test_data_sets_that_are_always_there_load_without_a_root(name, tmp_path):
    assert len(load_data(name, 20, 10, root=tmp_path).test) == 10


@pytest.fixture
def places(tmp_path):
    """An allowed folder with photos, a secret beside it, and links both ways."""
    allowed, secret = tmp_path / "allowed", tmp_path / "secret"
    (allowed / "photos").mkdir(parents=True)
    (allowed / "notes.txt").touch()
    (secret / "diary").mkdir(parents=True)
    (allowed / "way_out").symlink_to(secret)
    (allowed / "dangling").symlink_to(tmp_path / "nothing")
    (allowed / "shortcut").symlink_to(allowed / "photos")
    (allowed / "loop").symlink_to(allowed / "loop")
    (tmp_path / "allowed2").mkdir()
    return allowed


@pytest.fixture
def operator(places):
    return ServerSettings(data_folders=(places,))


@pytest.mark.parametrize(
    "text", ["photos", " photos ", "photos/../photos", "{allowed}/photos", "shortcut", "../allowed/photos"]
)
def test_a_folder_below_an_allowed_one_is_opened(places, operator, text):
    assert allowed_folder(text.format(allowed=places), operator) == places.resolve() / "photos"


def test_the_allowed_folder_itself_is_opened_also_through_a_link(places, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(places)
    operator = ServerSettings(data_folders=(link,))
    for text in (".", str(link), str(places), "./photos/.."):
        assert allowed_folder(text, operator) == places.resolve()


def test_a_link_from_one_allowed_folder_into_another_is_followed(places, tmp_path):
    operator = ServerSettings(data_folders=(places, tmp_path / "secret"))
    assert allowed_folder("way_out/diary", operator) == tmp_path.resolve() / "secret" / "diary"


@pytest.mark.parametrize(
    "text",
    ["", "  ", "..", "/", "../secret", "../nothing", "{allowed}/../secret", "{allowed}2", "way_out", "way_out/diary",
     "way_out/no_diary", "dangling", "dangling/x", "~", "/etc", "/no/such/folder", "photos/../../secret", "pho\0tos"],
)  # fmt: skip
def test_outside_is_refused_in_the_same_words_whether_or_not_it_exists(places, operator, text):
    if text == "~":  # a name like any other: not the home of whoever runs the server
        with pytest.raises(FileNotFoundError, match="there is no folder '~'"):
            allowed_folder(text, operator)
        return
    text = text.format(allowed=places)
    with pytest.raises(ValueError, match="is not among the folders") as raised:
        allowed_folder(text, operator)
    assert (
        str(raised.value)
        == f"{text.strip()!r} is not among the folders that this server opens; they lie in {places}"
    )


@pytest.mark.parametrize("text", ["phots", "notes.txt", "photos/cats", "loop", "x" * 5000])
def test_a_folder_that_is_missing_inside_is_said_to_be_missing(operator, text):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        allowed_folder(text, operator)


def test_with_no_allowed_folder_the_message_says_how_to_allow_one():
    with pytest.raises(ValueError, match=r"opens no folders.*--data-folder"):
        allowed_folder("photos", ServerSettings())


def test_nothing_outside_is_looked_at(operator, monkeypatch):
    for name in ("stat", "lstat", "readlink"):
        looked = getattr(os, name)

        def look(path, *arguments, looked=looked, **options):
            assert "passwd" not in os.fspath(path)
            return looked(path, *arguments, **options)

        monkeypatch.setattr(os, name, look)
    with pytest.raises(ValueError, match="is not among"):
        allowed_folder("/etc/passwd", operator)


PARTS = st.sampled_from(
    ["..", ".", "", "photos", "way_out", "diary", "secret", "allowed", "allowed2", "dangling", "loop"]
)


@settings(max_examples=300)
@given(st.lists(PARTS, max_size=7), st.booleans())
def test_whatever_is_typed_the_result_lies_below_the_allowed_folder(tree, parts, absolute):
    text = "/".join(parts)
    text = f"{tree}/{text}" if absolute else text
    try:
        found = allowed_folder(text, ServerSettings(data_folders=(tree,)))
    except (ValueError, FileNotFoundError):
        return
    assert found == found.resolve()
    assert found.is_dir()
    assert found.is_relative_to(tree.resolve())


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    base = tmp_path_factory.mktemp("tree")
    for folder in ("allowed/photos/allowed", "secret/diary", "allowed2"):
        (base / folder).mkdir(parents=True)
    for name, target in (("way_out", "secret"), ("dangling", "nothing"), ("loop", "allowed/loop")):
        (base / "allowed" / name).symlink_to(base / target)
    return base / "allowed"
