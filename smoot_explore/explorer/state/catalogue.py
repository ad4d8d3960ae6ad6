"""The runs that one visitor can look at: those the operator gave, bundled ones, those kept on the server, own ones."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from smoot_explore.data.images import ImageData
from smoot_explore.engine.background import FILES
from smoot_explore.engine.makers import ModelMaker
from smoot_explore.errors import reason
from smoot_explore.explorer.kept_runs import kept_runs
from smoot_explore.explorer.opened_runs import OpenedRun, check_weights
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.runs.checkpoint import RunError
from smoot_explore.runs.run import Run, bundled_runs, open_run
from smoot_explore.schema import write_dataset
from smoot_explore.views.palette import METHOD_NAMES

MOST_OWN_RUNS = 8  # of one page; the oldest are forgotten
_NAME = re.compile(r"\w[\w .+=()-]{0,59}(?<! )")  # of a folder, in any script
_KEPT_OPEN = 12

_opened_runs: OrderedDict[tuple, OpenedRun] = OrderedDict()  # bundled and kept runs, for all sessions
_opening_lock = threading.Lock()
_bundled = cache(bundled_runs)  # they are checked once: nobody writes there while the server runs


class _Own(NamedTuple):
    """A run trained on this page."""

    label: str
    run: Run
    data: ImageData


class Catalogue:
    """Runs by key, with labels for people.

    Parameters
    ----------
    changed
        Called when there are others than before.
    given
        Runs that the operator offers, wherever they lie.
    makers
        Of the operator's own models, by name.
    """

    def __init__(
        self,
        settings: ServerSettings,
        changed: Callable[[], None],
        given: Sequence[Run] = (),
        makers: Mapping[str, ModelMaker] | None = None,
    ) -> None:
        self.labels: dict[str, str] = {}  # by key
        self.given = {f"given/{i}": run for i, run in enumerate(given, start=1)}
        self._makers = makers
        self.shared = kept_runs(settings.runs.absolute())
        self._settings, self._changed = settings, changed
        self._runs: dict[str, Run] = {}
        self._kept: list[Run] | None = None  # of the shared ones, those offered
        self.sweeps: list[str] = []  # of the server's folder, by name
        self._own: dict[str, _Own] = {}
        self._own_opened: dict[str, OpenedRun] = {}
        self._trained = 0  # runs so far

    def refresh(self) -> None:
        """Look into the server's folder again. Reads the disk: on a page, others have looked (`follow`)."""
        self.shared.look()
        self.follow()

    def follow(self) -> None:
        """Offer the kept runs and sweeps as they were last found, when these are others than before."""
        if self._kept is not self.shared.runs:
            self._kept, self.sweeps = self.shared.runs, self.shared.sweeps
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
        run = self._run(key)
        try:
            return self._opened(key, run)
        except (OSError, RuntimeError, ValueError) as error:
            raise ValueError(f"{self.label_of(key)} cannot be opened: {error}") from error

    def open_all(self, keys: Iterable[str]) -> tuple[list[OpenedRun], list[str]]:
        """The runs of some keys, and why others of them cannot be opened."""
        opened_runs, complaints = [], []
        for key in keys:
            try:
                opened_runs.append(self.open(key))
            except ValueError as error:
                complaints.append(str(error))
        return opened_runs, complaints

    def key_of(self, run: Run) -> str | None:
        """The key of a run trained on this page; None before it was added."""
        return next((key for key, own in self._own.items() if own.run.path == run.path), None)

    def add(self, run: Run, data: ImageData, in_use: Collection[Path] = ()) -> str:
        """Offer a run trained on this page; its key. Of too many the oldest are forgotten, but those ``in_use``."""
        self._trained += 1
        key = f"mine/{self._trained}"
        method = METHOD_NAMES[run.start_config["method"]]
        self._own[key] = _Own(f"{method}, trained here ({self._trained})", run, data)
        for old in list(self._own)[:-MOST_OWN_RUNS]:  # models and data are large
            if self._own[old].run.path in in_use:
                continue
            forgotten = self._own.pop(old)
            self._own_opened.pop(old, None)
            # Silently: what cannot be deleted goes with the session's folder.
            FILES.submit(shutil.rmtree, forgotten.run.path, ignore_errors=True)
        self._collect()
        return key

    @property
    def has_own(self) -> bool:
        """Whether there is a run trained on this page."""
        return bool(self._own)

    def take_over(self, left: Catalogue) -> None:
        """Offer the runs that were trained on another page, which loses them."""
        self._own, left._own = left._own, {}
        self._own_opened, left._own_opened = left._own_opened, {}
        self._trained = left._trained
        self._collect()

    def keep(self, key: str, name: str) -> None:
        """Copy a run trained here to the server's folder, where every visitor finds it, and offer it.

        Raises
        ------
        ValueError
            When the operator does not allow it, or for a name that cannot be.
        """
        self.store(key, name)
        self.follow()

    def store(self, key: str, name: str) -> None:
        """What `keep` does on the disk: all but to offer it, for a thread beside the page."""
        if not self._settings.keep_runs:
            raise ValueError("this server keeps no runs; download the record instead")
        if key not in self._own:
            raise ValueError("only a run trained on this page can be kept; train one first")
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"a name is letters, digits, spaces and . _ - + = ( ), 60 at most; given {name!r}"
            )
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
            raise ValueError(
                f"the training wrote to the run just now; pause it, or try again ({_reason(error)})"
            ) from error
        finally:
            shutil.rmtree(hidden, ignore_errors=True)  # there is none after a success
        self.shared.look()

    def free_name(self, key: str) -> str:
        """A name that no kept run has yet, to propose: the method and a number."""
        method = self._runs[key].start_config["method"]
        numbers = range(1, 2 + len(self._kept or ()))
        taken = {run.name for run in self._kept or ()}
        return next(name for n in numbers if (name := f"{method}-{n}") not in taken)

    def record_file(self, key: str) -> bytes:
        """A run's record as the content of a NetCDF file."""
        run = open_run(self._run(key).path)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "record.nc"
            write_dataset(path, run.record())
            return path.read_bytes()

    def clear(self) -> None:
        """Free what was held; the session is over."""
        for held in (self._runs, self._own, self._own_opened):
            held.clear()

    def _run(self, key: str) -> Run:
        run = self._runs.get(key)
        if run is None:
            raise ValueError(f"there is no run {key!r} any more; choose another")
        return run

    def _collect(self) -> None:
        names = [run.name for run in self.given.values()]
        offered = {
            key: (run, run.name if names.count(run.name) == 1 else str(run.path))
            for key, run in self.given.items()
        }
        for run in _bundled():
            offered[f"bundled/{run.name}"] = run, f"{METHOD_NAMES[run.start_config['method']]}, bundled"
        for run in self._kept or ():
            offered[f"kept/{run.name}"] = run, f"{run.name}, kept"
        for key, own in self._own.items():
            offered[key] = own.run, own.label
        # At once: a thread that opens a run reads them meanwhile.
        self._runs = {key: run for key, (run, _) in offered.items()}
        self.labels = {key: label for key, (_, label) in offered.items()}
        self._changed()

    def _opened(self, key: str, run: Run) -> OpenedRun:
        label, own = self.label_of(key), self._own.get(key)
        if key.startswith(("mine/", "kept/")):
            check_weights(run, self._settings)
        if own is not None:
            opened = self._own_opened.get(key)
            if opened is None or opened.run.epochs != open_run(run.path).epochs:
                opened = OpenedRun.open(key, label, run, data=own.data, makers=self._makers)
                if key in self._own:  # not forgotten meanwhile
                    self._own_opened[key] = opened
            return opened
        with _opening_lock:
            stamp = (key, str(run.path), (run.path / "journal.json").stat().st_mtime_ns)
            if stamp not in _opened_runs:
                _opened_runs[stamp] = OpenedRun.open(
                    key, label, run, settings=self._settings, makers=self._makers
                )
            _opened_runs.move_to_end(stamp)
            while len(_opened_runs) > _KEPT_OPEN:
                _opened_runs.popitem(last=False)
            return _opened_runs[stamp]


def _reason(error: Exception) -> str:
    """Why a folder was not copied: `shutil.Error` lists its files, each with from, to and why."""
    if isinstance(error, shutil.Error):
        return "; ".join(sorted({str(why) for _, _, why in error.args[0]}))
    return reason(error)
