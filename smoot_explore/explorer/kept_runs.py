"""The runs and sweeps kept on the server: one look at their folder for all pages."""

from __future__ import annotations

import threading
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

import xarray as xr

from smoot_explore.engine.background import FILES
from smoot_explore.runs.checkpoint import RunError
from smoot_explore.runs.run import Run, open_run
from smoot_explore.sweeps.manifest import AREAS, Sweep
from smoot_explore.sweeps.results import open_sweep

LOOK_SECONDS = 2.0  # between two looks at the folder, however many pages there are


@cache
def kept_runs(folder: Path) -> KeptRuns:
    """The kept runs of a folder, the same for all pages; looked at when first asked for."""
    kept = KeptRuns(folder)
    kept.look()
    return kept


class _Found(NamedTuple):
    """A folder in the folder of runs."""

    time_ns: int
    run: Run | None
    is_sweep: bool


class KeptRuns:
    """What a folder of runs holds: other lists when it changes.

    Attributes
    ----------
    runs
        Those that have an epoch or were adopted, the oldest first.
    sweeps
        The names of the sweeps.
    """

    def __init__(self, folder: Path) -> None:
        self.runs: list[Run] = []
        self.sweeps: list[str] = []
        self._folder = folder
        self._found: dict[Path, _Found] = {}
        self._lock = threading.Lock()
        self._next_look = 0.0

    def look(self) -> None:
        """Open what is new in the folder, or has changed. Reads the disk: not for the event loop."""
        with self._lock:
            found = {}
            for path in self._subfolders():
                try:
                    time_ns = path.stat().st_mtime_ns  # a run in training changes it with each epoch
                except FileNotFoundError:  # deleted just now
                    continue
                known = self._found.get(path)
                found[path] = known if known and known.time_ns == time_ns else self._look_into(path, time_ns)
            if found != self._found:
                self._found = found
                runs = [one.run for one in found.values() if one.run and (one.run.epochs or one.run.adopted)]
                # First the sweeps: a page meanwhile, on its own thread, takes both when the runs are others.
                self.sweeps = [path.name for path, one in found.items() if one.is_sweep]
                self.runs = sorted(runs, key=lambda run: run.description["created"])

    def look_soon(self) -> None:
        """Look beside the page, when the last look was some seconds ago."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            # Its error is nobody's: what was found before stays, and the next look, or the next page, finds it too.
            FILES.submit(self.look)

    def open_sweep(self, name: str) -> xr.Dataset:
        """A sweep of the folder, as of `open_sweep`. Reads the disk: not for the event loop.

        Raises
        ------
        ValueError
            When it is not there any more, or a link in it leads out of the folder of runs.
        RunError
            When it is damaged.
        """
        if name not in self.sweeps:
            raise ValueError(f"there is no sweep {name!r} any more; choose another")
        path = self._folder / name
        runs = [path / cell.name for cell in Sweep.read(path).cells]
        for folder in (
            path / AREAS,
            *(run / part for run in runs for part in ("", "epochs", "accuracy_drop")),
        ):
            if not self._holds(folder):
                raise ValueError(f"{folder} is a link out of the folder of runs; put what it leads to there")
        return open_sweep(path)

    def _look_into(self, path: Path, time_ns: int) -> _Found:
        is_sweep = (path / "sweep.json").is_file() and self._holds(path)
        return _Found(time_ns, None if is_sweep else _run_in(path), is_sweep)

    def _holds(self, path: Path) -> bool:
        """Whether a path, after all links, lies in the folder."""
        return path.resolve().is_relative_to(self._folder.resolve())

    def _subfolders(self) -> list[Path]:
        if not self._folder.is_dir():  # made when the first run is kept
            return []
        return sorted(p for p in self._folder.iterdir() if not p.name.startswith(".") and p.is_dir())


def _run_in(path: Path) -> Run | None:
    try:
        return open_run(path)
    except (RunError, OSError):  # a folder that is no run is simply not offered
        return None
