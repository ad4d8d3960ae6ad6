"""Where a visitor's data may come from: installed data sets, and folders that the operator allowed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from smoot_explore.data.load import downloads_folder, torchvision_class
from smoot_explore.data.names import DATASETS
from smoot_explore.explorer.settings import ServerSettings

_ALWAYS_THERE = ("fashion-mnist-sample", "shapes")


def installed_datasets(root: Path | None = None) -> list[str]:
    """Names for `smoot_explore.load_data` that need no download.

    Looks for torchvision's files below ``root``, extracted or as they are downloaded, without reading them.
    """
    folder = downloads_folder(root)
    return [name for name in DATASETS if name in _ALWAYS_THERE or _has_files(name, folder)]


def _has_files(name: str, folder: Path) -> bool:
    dataset = torchvision_class(name)
    if name.startswith("cifar"):
        parts = [file for file, _ in (*dataset.train_list, *dataset.test_list)]
        parts.append(dataset.meta["filename"])
        extracted = folder / dataset.base_folder
        return all((extracted / part).is_file() for part in parts) or (folder / dataset.filename).is_file()
    raw = folder / dataset.__name__ / "raw"
    archives = [raw / file for file, _ in dataset.resources]
    extracted = [archive.with_suffix("") for archive in archives]
    # torchvision extracts all archives when one file is missing: a mixture is as good as nothing
    return any(all(path.is_file() for path in paths) for paths in (extracted, archives))


def allowed_folder(text: str, settings: ServerSettings) -> Path:
    """The folder that a visitor named, when the operator allows it.

    Parameters
    ----------
    text
        A path, absolute or relative to one of ``settings.data_folders``.
    settings
        ``data_folders``: the folder must lie at or below one of these, also after its links are followed.

    Returns
    -------
    Path
        Absolute, without links.

    Raises
    ------
    ValueError
        When no folder is allowed, or this one is not; whether it exists is not told.
    FileNotFoundError
        When it would be allowed and is no folder.
    """
    if not settings.data_folders:
        raise ValueError(
            "this server opens no folders of images. Whoever runs it can allow some: "
            "smoot-explore serve --data-folder FOLDER"
        )
    text = text.strip()
    inside = _allowed_meanings(text, settings.data_folders)
    for path in inside:
        if os.path.isdir(path):
            return path
    allowed = ", ".join(str(folder) for folder in settings.data_folders)
    if inside:
        raise FileNotFoundError(f"there is no folder {text!r}; look for its name in {allowed}")
    raise ValueError(f"{text!r} is not among the folders that this server opens; they lie in {allowed}")


def _allowed_meanings(text: str, folders: Iterable[Path]) -> list[Path]:
    """What ``text`` means below each of the folders, links followed, where it stays below one of them."""
    if not text or "\0" in text:
        return []
    tops = [os.path.abspath(folder) for folder in folders]
    real_tops = [os.path.realpath(top) for top in tops]
    # First by the names alone, so that nothing outside is even looked at; then with the links followed.
    named = (os.path.normpath(os.path.join(top, text)) for top in tops)
    inside = [os.path.realpath(path) for path in named if _is_below(path, tops + real_tops)]
    return [Path(path) for path in inside if _is_below(path, real_tops)]


def _is_below(path: str, tops: list[str]) -> bool:
    return any(Path(path).is_relative_to(top) for top in tops)
