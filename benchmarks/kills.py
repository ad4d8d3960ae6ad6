"""Kills processes of a sweep at random moments, and looks for what is lost: ``python -m benchmarks.kills``."""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from smoot_explore import TrainingConfig, create_model, load_data, open_sweep, train

ALPHAS, SEEDS, EPOCHS, IMAGES, BATCH = (1, 30), 2, 4, 600, 50
OPTIONS = (
    "--over", f"alpha={','.join(map(str, ALPHAS))}", "--seeds", str(SEEDS), "--epochs", str(EPOCHS), "--data", "shapes",
    "--train-images", str(IMAGES), "--test-images", "60", "--batch-size", str(BATCH),
)  # fmt: skip
GAPS = 2.0, 9.0  # seconds between two kills


class Cluster:
    """A scheduler and two workers on this computer, and the command that uses them; what has ended is started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._folder, self._log = folder, (folder / "log").open("a")
        self._processes: dict[str, subprocess.Popen] = {}
        self.sweep = 0

    @property
    def target(self) -> Path:
        return self._folder / f"sweep-{self.sweep}"

    def keep_up(self) -> bool:
        """Start what is not there; whether the sweep has finished."""
        address = f"tcp://127.0.0.1:{self._port}"
        self._start("scheduler", "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port",
                    str(self._port), "--no-dashboard", "--no-show")  # fmt: skip
        for number in (1, 2):
            self._start(
                f"worker {number}", "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--nworkers", "1",
                "--no-dashboard", "--local-directory", str(self._folder / "scratch"),
            )  # fmt: skip
        command = self._processes.get("command")
        if command is not None and command.poll() == 0:
            return True
        self._start(
            "command", "-m", "smoot_explore", "sweep", str(self.target), *OPTIONS, "--scheduler", address
        )
        return False

    def kill(self, kind: str) -> bool:
        """Kill one of this kind, with SIGKILL; whether there was one."""
        process = self._processes[kind]
        if process.poll() is not None:
            return False
        victim = psutil.Process(process.pid)
        if kind.startswith("worker"):  # that which computes, not the one that watches over it
            computing = [c for c in victim.children(recursive=True) if "spawn_main" in " ".join(c.cmdline())]
            if not computing:
                return False
            victim = computing[0]
        victim.send_signal(signal.SIGKILL)
        return True

    def end(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                process.kill()
            process.wait()

    def _start(self, kind: str, *command: str) -> None:
        process = self._processes.get(kind)
        if process is None or process.poll() is not None:
            self._processes[kind] = subprocess.Popen(
                [sys.executable, *command], stdout=self._log, stderr=self._log, cwd=self._folder
            )


def is_what_it_would_have_been(folder: Path) -> bool:
    """Whether all trainings of a sweep have the numbers of plain ones, bit by bit."""
    found = open_sweep(folder)
    if (found.problem.values != "").any():
        print(found.problem.values)
        return False
    data = load_data("shapes", IMAGES, 60)
    for alpha in ALPHAS:
        for seed in range(SEEDS):
            config = TrainingConfig(alpha=alpha, seed=seed, epochs=EPOCHS, batch_size=BATCH, device="cpu")
            expected = np.stack(
                [epoch.k for epoch in train(create_model("cnn", data, seed=seed), data, config)]
            )
            k = found.k.sel(alpha=alpha, seed=seed).transpose("epoch", "image").values
            if not np.array_equal(k, expected):
                return False
    return True


def main() -> None:
    """Kill until enough were killed and the last sweep has ended; exit code 1 when something was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    import torch

    torch.set_num_threads(1)  # as each worker computes: other numbers otherwise
    chance, ends = random.Random(given.seed), list[bool]()
    done = dict.fromkeys(("worker 1", "worker 2", "scheduler", "command"), 0)
    folder = Path(tempfile.mkdtemp(prefix="smoot_explore-kills-"))
    cluster = Cluster(folder)
    try:
        while sum(done.values()) < given.kills or len(ends) <= cluster.sweep:
            until = time.monotonic() + chance.uniform(*GAPS)
            finished = cluster.keep_up()
            while not finished and time.monotonic() < until:
                time.sleep(0.2)
                finished = cluster.keep_up()
            if finished:
                ends.append(is_what_it_would_have_been(cluster.target))
                print(
                    f"sweep {cluster.sweep}: {'equal' if ends[-1] else 'DIFFERENT'} after {done}", flush=True
                )
                if sum(done.values()) >= given.kills:
                    break
                cluster.sweep += 1
                cluster._processes.pop("command")
            elif sum(done.values()) < given.kills and cluster.kill(kind := chance.choice(list(done))):
                done[kind] += 1
    finally:
        cluster.end()
        if all(ends):
            shutil.rmtree(folder)
        else:
            print(f"kept: {folder}")
    sys.exit(not all(ends))


if __name__ == "__main__":
    main()
