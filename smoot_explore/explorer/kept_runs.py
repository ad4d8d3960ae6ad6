"""The runs kept on the server: one look at their folder for all pages."""

from __future__ import annotations

import threading
import time
from functools import cache
from pathlib import Path

from smoot_explore.engine.background import FILES
from smoot_explore.runs.checkpoint import RunError
from smoot_explore.runs.run import Run, open_run

LOOK_SECONDS = 2.0  # between two looks at the folder, however many pages there are


@cache
def kept_runs(folder: Path) -> KeptRuns:
    """The kept runs of a folder, the same for all pages; looked at when first asked for."""
    kept = KeptRuns(folder)
    kept.look()
    return kept


class KeptRuns:
    """The runs of a folder that have an epoch or were adopted, the oldest first, in ``runs``: another list when they
    change."""

    def __init__(self, folder: Path) -> None:
        self.runs: list[Run] = []
        self._folder = folder
        self._found: dict[
            Path, tuple[int, Run | None]
        ] = {}  # each subfolder's time, and its run if it is one
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
                found[path] = known if known and known[0] == time_ns else (time_ns, _run_in(path))
            if found != self._found:
                self._found = found
                runs = [run for _, run in found.values() if run is not None and (run.epochs or run.adopted)]
                self.runs = sorted(runs, key=lambda run: run.description["created"])

    def look_soon(self) -> None:
        """Look beside the page, when the last look was some seconds ago."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            # Its error is nobody's: what was found before stays, and the next look, or the next page, finds it too.
            FILES.submit(self.look)

    def _subfolders(self) -> list[Path]:
        if not self._folder.is_dir():  # made when the first run is kept
            return []
        return sorted(p for p in self._folder.iterdir() if not p.name.startswith(".") and p.is_dir())


def _run_in(path: Path) -> Run | None:
    try:
        return open_run(path)
    except (RunError, OSError):  # a folder that is no run is simply not offered
        return None
