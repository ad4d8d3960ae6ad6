"""The runs that one visitor can look at: bundled ones, those kept on the server, those trained on the page."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from smoot_explore.engine.trainings import Prepared
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.runs.checkpoint import RunError
from smoot_explore.runs.run import Run, bundled_runs, list_runs, open_run
from smoot_explore.schema import write_dataset
from smoot_explore.views.palette import METHOD_NAMES

MOST_OWN_RUNS = 8  # of one page; the oldest are forgotten
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
_KEPT_OPEN = 12

_opened_runs: OrderedDict[tuple, OpenedRun] = OrderedDict()  # bundled and kept runs, for all sessions
_opening_lock = threading.Lock()
_bundled = cache(bundled_runs)  # they are checked once: nobody writes there while the server runs


class _Own(NamedTuple):
    """A run trained on this page."""

    label: str
    run: Run
    prepared: Prepared


class Catalogue:
    """Runs by key, with labels for people. ``changed`` is called when there are others than before."""

    def __init__(self, settings: ServerSettings, changed: Callable[[], None]) -> None:
        self.labels: dict[str, str] = {}  # by key
        self._settings, self._changed = settings, changed
        self._runs: dict[str, Run] = {}
        self._kept: list[Run] = []
        self._own: dict[str, _Own] = {}
        self._own_opened: dict[str, OpenedRun] = {}
        self._trained = 0  # runs so far

    def refresh(self) -> None:
        """Look into the server's folder again."""
        self._kept = []
        if self._settings.runs.is_dir():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # folders that are no runs are simply not offered
                self._kept = [run for run in list_runs(self._settings.runs) if run.epochs]
        self._collect()

    def label_of(self, key: str) -> str:
        """A run's name for people."""
        return self.labels.get(key, key)

    def open(self, key: str) -> OpenedRun:
        """The run of a key with model, data and measurements.

        Raises
        ------
        ValueError
            When it cannot be opened, with the reason.
        """
        run = self._runs.get(key)
        if run is None:
            raise ValueError(f"there is no run {key!r} any more; choose another")
        try:
            return self._opened(key, run)
        except (OSError, RuntimeError, ValueError) as error:
            raise ValueError(f"{self.label_of(key)} cannot be opened: {error}") from error

    def key_of(self, run: Run) -> str | None:
        """The key of a run trained on this page; None before it was added."""
        return next((key for key, own in self._own.items() if own.run.path == run.path), None)

    def add(self, prepared: Prepared) -> str:
        """Offer a run trained on this page; its key."""
        self._trained += 1
        key = f"mine/{self._trained}"
        method = METHOD_NAMES[prepared.run.start_config["method"]]
        self._own[key] = _Own(f"{method}, trained here ({self._trained})", prepared.run, prepared)
        for old in list(self._own)[:-MOST_OWN_RUNS]:  # models and data are large
            forgotten = self._own.pop(old)
            self._own_opened.pop(old, None)
            shutil.rmtree(forgotten.run.path, ignore_errors=True)
        self._collect()
        return key

    def keep(self, key: str, name: str) -> None:
        """Copy a run trained here to the server's folder, where every visitor finds it.

        Raises
        ------
        ValueError
            When the operator does not allow it, or for a name that cannot be.
        """
        if not self._settings.keep_runs:
            raise ValueError("this server keeps no runs; download the record instead")
        if key not in self._own:
            raise ValueError("only a run trained on this page can be kept; train one first")
        if not _NAME.fullmatch(name):
            raise ValueError(f"a name is letters, digits, '.', '_' and '-', 60 at most; given {name!r}")
        target = self._settings.runs / name
        if target.exists():
            raise ValueError(f"there is a run {name!r} already; choose another name")
        hidden = target.with_name(f".{name}.{os.getpid()}.new")
        self._settings.runs.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copytree(self._own[key].run.path, hidden)
            open_run(hidden)
            os.replace(hidden, target)
        except (shutil.Error, RunError) as error:
            raise ValueError("the training wrote to the run just now; pause it, or try again") from error
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
        self.refresh()

    def free_name(self, key: str) -> str:
        """A name that no kept run has yet, to propose: the method and a number."""
        method = self._runs[key].start_config["method"]
        numbers = range(1, 2 + len(self._kept))
        taken = {run.name for run in self._kept}
        return next(name for n in numbers if (name := f"{method}-{n}") not in taken)

    def record_file(self, key: str) -> bytes:
        """A run's record as the content of a NetCDF file."""
        run = open_run(self._runs[key].path)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "record.nc"
            write_dataset(path, run.record())
            return path.read_bytes()

    def clear(self) -> None:
        """Free what was held; the session is over."""
        for held in (self._runs, self._own, self._own_opened):
            held.clear()

    def _collect(self) -> None:
        self._runs, self.labels = {}, {}
        for run in _bundled():
            self._runs[f"bundled/{run.name}"] = run
            self.labels[f"bundled/{run.name}"] = f"{METHOD_NAMES[run.start_config['method']]}, bundled"
        for run in self._kept:
            self._runs[f"kept/{run.name}"] = run
            self.labels[f"kept/{run.name}"] = f"{run.name}, kept"
        for key, own in self._own.items():
            self._runs[key], self.labels[key] = own.run, own.label
        self._changed()

    def _opened(self, key: str, run: Run) -> OpenedRun:
        label = self.label_of(key)
        if key in self._own:
            opened = self._own_opened.get(key)
            if opened is None or opened.run.epochs != open_run(run.path).epochs:
                prepared = self._own[key].prepared
                model = prepared.model if run.description["model"]["name"] is None else None
                opened = OpenedRun.open(key, label, run, data=prepared.data, model=model)
                self._own_opened[key] = opened
            return opened
        with _opening_lock:
            stamp = (key, str(run.path), (run.path / "journal.json").stat().st_mtime_ns)
            if stamp not in _opened_runs:
                _opened_runs[stamp] = OpenedRun.open(key, label, run, settings=self._settings)
            _opened_runs.move_to_end(stamp)
            while len(_opened_runs) > _KEPT_OPEN:
                _opened_runs.popitem(last=False)
            return _opened_runs[stamp]
