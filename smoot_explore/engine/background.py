"""Work beside the page: computations for a slider, maps of several runs, runs and files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait

from smoot_explore.compute.cores import compute_on_one_core

# One thread each, for all sessions: neither maps by occlusion (seconds for each run) nor a run with large data keep a
# slider waiting, and none takes more than a core from trainings.
QUICK = ThreadPoolExecutor(1, "quick", initializer=compute_on_one_core)
MAPS = ThreadPoolExecutor(1, "maps", initializer=compute_on_one_core)
OPENING = ThreadPoolExecutor(1, "opening", initializer=compute_on_one_core)  # runs, with their data
EPOCHS = ThreadPoolExecutor(1, "epochs", initializer=compute_on_one_core)  # weights of a run that is open
DATA = ThreadPoolExecutor(1, "data", initializer=compute_on_one_core)  # of trainings, which run meanwhile
FILES = ThreadPoolExecutor(1, "files", initializer=compute_on_one_core)  # what is listed, kept, downloaded
UPLOADS = ThreadPoolExecutor(1, "uploads", initializer=compute_on_one_core)  # pictures of visitors


def settle() -> None:
    """Wait for all that was asked of the pools. Python waits for it when it ends, and then Ctrl+C makes it crash."""
    wait([pool.submit(int) for pool in (QUICK, MAPS, OPENING, EPOCHS, DATA, FILES, UPLOADS)])
