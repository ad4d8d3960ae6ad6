"""What the operator of the explorer decides, and no visitor can change."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smoot_explore.compute.cores import cores
from smoot_explore.engine.cluster import Scheduler

PREFIX = "SMOOT_EXPLORE_"  # of the environment variables
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def _half_of_the_cores() -> int:
    """The other half draws the pages: one core for each training, one for its visitors."""
    return max(1, cores() // 2)


@dataclass(frozen=True)
class ServerSettings:
    """What the operator of the explorer decides.

    Parameters
    ----------
    runs
        Folder whose runs every visitor sees, and where kept runs are stored. Made when the first is kept.
    data_folders
        Visitors may open folders of images at or below these; by default none.
    root
        Where torchvision's data sets lie, as for `smoot_explore.load_data`; None is its default.
    keep_runs
        Whether visitors may keep a trained run in ``runs``, where all others see it.
    max_trainings
        Trainings that compute at the same time on this computer; the others wait. By default half of the cores. On a
        scheduler's workers it is as many as these have threads.
    max_minutes
        Computing time after which a training is stopped, in minutes.
    max_queue
        Trainings that may wait; further ones are refused.
    upload_megabytes
        Largest picture that a visitor may upload, in megabytes (1,000,000 bytes).
    weights_megabytes
        Largest weights of a visitor's or a kept run that the server itself opens for Image, Classes, What if and
        Compare, in megabytes. Larger models can be trained, since that is a worker's memory.
    work
        Folder for the runs of open pages, until they are kept; None is the system's for temporary files.
    scheduler
        Trainings and measurements are made by its workers, which must see ``work`` under the same path; None starts
        worker processes on this computer.
    class_tab
        Whether visitors see the trainings of all pages, in the tab Class.

    Raises
    ------
    ValueError
        When a number is out of range, or a folder is not one.

    Examples
    --------
    >>> ServerSettings(runs="lesson").runs.name
    'lesson'
    """

    runs: Path = Path("runs")
    data_folders: tuple[Path, ...] = ()
    root: Path | None = None
    keep_runs: bool = True
    max_trainings: int = field(default_factory=_half_of_the_cores)
    max_minutes: float = 60
    max_queue: int = 100
    upload_megabytes: float = 5
    weights_megabytes: float = 400
    work: Path | None = None
    scheduler: Scheduler | None = None
    class_tab: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.data_folders, str | os.PathLike):
            raise ValueError(f"data_folders must be a list of folders, given {self.data_folders!r}")
        paths: dict[str, Any] = {
            "runs": Path(self.runs).expanduser(),
            "data_folders": tuple(Path(folder).expanduser() for folder in self.data_folders),
            "root": None if self.root is None else Path(self.root).expanduser(),
            "work": None if self.work is None else Path(self.work).expanduser(),
        }
        for name, value in paths.items():
            object.__setattr__(self, name, value)
        if self.runs.exists() and not self.runs.is_dir():
            raise ValueError(f"runs must be a folder, given the file {self.runs}")
        named = [("root", self.root), ("work folder", self.work)]
        for name, folder in [*named, *(("data folder", folder) for folder in self.data_folders)]:
            if folder is not None and not folder.is_dir():
                raise ValueError(f"the {name} {folder} is not there; make the folder, or name another")
        for name, low in (("max_trainings", 1), ("max_queue", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise ValueError(f"{name} must be a whole number of at least {low}, given {value!r}")
        for name in ("max_minutes", "upload_megabytes", "weights_megabytes"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):  # NaN is none either
                raise ValueError(f"{name} must be a number above 0, given {value!r}")

    @classmethod
    def from_environment(cls) -> ServerSettings:
        """The settings in environment variables, such as ``SMOOT_EXPLORE_MAX_TRAININGS=4``.

        A variable for each field; where there is none or an empty one, the default holds. ``DATA_FOLDERS``
        are separated like those of ``PATH``, ``KEEP_RUNS`` and ``CLASS_TAB`` are yes or no. The scheduler's address has
        its TLS files beside it: ``SCHEDULER``, ``TLS_CA``, ``TLS_CERT``, ``TLS_KEY``.

        Raises
        ------
        ValueError
            When a variable's text is not what its field takes.
        """
        given = {}
        for name, (read, what) in _READERS.items():
            variable = PREFIX + name.upper()
            text = os.environ.get(variable, "").strip()
            if not text:
                continue
            try:
                given[name] = read(text)
            except ValueError:
                raise ValueError(
                    f"the environment variable {variable} must be {what}, given {text!r}"
                ) from None
        address = [given.pop(name, None) for name in ("scheduler", "tls_ca", "tls_cert", "tls_key")]
        return cls(**given, scheduler=Scheduler.of(*address))


def _folders(text: str) -> tuple[Path, ...]:
    return tuple(Path(folder) for folder in text.split(os.pathsep) if folder)


def _yes_or_no(text: str) -> bool:
    if text.lower() not in (*_YES, *_NO):
        raise ValueError
    return text.lower() in _YES


_READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "runs": (Path, "a folder"),
    "data_folders": (_folders, f"folders separated by {os.pathsep!r}"),
    "root": (Path, "a folder"),
    "keep_runs": (_yes_or_no, "yes or no"),
    "max_trainings": (int, "a whole number"),
    "max_minutes": (float, "a number"),
    "max_queue": (int, "a whole number"),
    "upload_megabytes": (float, "a number"),
    "weights_megabytes": (float, "a number"),
    "work": (Path, "a folder"),
    "class_tab": (_yes_or_no, "yes or no"),
    "scheduler": (str, "an address"),
    "tls_ca": (Path, "a file"),
    "tls_cert": (Path, "a file"),
    "tls_key": (Path, "a file"),
}
