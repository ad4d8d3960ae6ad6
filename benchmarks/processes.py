"""What the benchmarks of the engine run in processes of their own: ``python -m benchmarks.processes <kind>``."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple

from psutil import NoSuchProcess
from psutil import Process as Watched

from smoot_explore.explorer.server import PATIENT_THREADS

PATIENCE = 120  # seconds, for the server to discard closed sessions


class Memory(NamedTuple):
    """Megabytes (MiB): resident ones, and those with shared pages shared out among who holds them (PSS)."""

    server: float
    server_pss: float
    workers: float
    workers_pss: float
    n_workers: int  # processes, Dask's helpers included


class Process:
    """A process of this module, with a temporary folder of its own that its runs are written to.

    Parameters
    ----------
    folder
        Its working and temporary folder.
    arguments
        Kind and options.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        here = Path(__file__).parents[1]
        own = {"TMPDIR": str(folder), "PYTHONPATH": str(here)}
        if arguments[0] in ("serve", "engine"):  # as the command does
            own |= PATIENT_THREADS
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.processes", *arguments], cwd=folder, env=os.environ | own,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.ready = self.line()

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended: {' '.join(map(str, self.process.args))}")  # type: ignore[arg-type]
        return line.strip()

    def order(self) -> None:
        """Have it train once, where that is what it is for."""
        assert self.process.stdin is not None
        print(file=self.process.stdin, flush=True)

    def training_seconds(
        self, start: Callable[[], object], meanwhile: AbstractContextManager | None = None
    ) -> tuple[float, float]:
        """Start a training and wait for its end.

        Parameters
        ----------
        start
            Whatever makes the process train.
        meanwhile
            Entered once the training has begun, left when it has ended.

        Returns
        -------
        whole, steps
            Seconds from the run's first file (before the first step) to its last, by the times of the files;
            and those of the training steps alone.
        """
        before = self._runs()
        start()
        while not (new := self._runs() - before):
            time.sleep(0.05)
        run = self.folder / new.pop()
        with meanwhile or nullcontext():
            while not (journal := json.loads((run / "journal.json").read_text("utf-8")))["finished"]:
                time.sleep(0.1)
        whole = (run / "journal.json").stat().st_mtime - (run / "config.json").stat().st_mtime
        return whole, sum(epoch["duration_seconds"] for epoch in journal["epochs"])

    def _runs(self) -> set[str]:
        return {
            os.path.dirname(path) for path in glob("**/config.json", root_dir=self.folder, recursive=True)
        }


class Server(Process):
    """``smoot-explore serve`` with options, on a free port."""

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.socket() as trial:
            trial.bind(("127.0.0.1", 0))
            self.port = trial.getsockname()[1]
        super().__init__(folder, "serve", "--port", str(self.port), *options)

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.port}/explorer"

    def alive(self) -> dict[str, int]:
        """How many sessions and pages its memory holds, after a garbage collection."""
        self.process.send_signal(signal.SIGUSR1)
        return json.loads(self.line())

    def wait_until_empty(self) -> dict[str, int]:
        """Wait for it to discard all sessions; what its memory holds then, or when that takes too long."""
        end = time.monotonic() + PATIENCE
        while (alive := self.alive())["sessions"] and time.monotonic() < end:
            time.sleep(2)
        return alive

    def megabytes(self) -> Memory:
        """Of the server, and of all its worker processes together."""
        server = Watched(self.process.pid)
        own, children = server.memory_full_info(), []
        for child in server.children(recursive=True):
            with suppress(NoSuchProcess):  # it has ended meanwhile
                children.append(child.memory_full_info())
        rss, pss = (
            [sum(getattr(info, kind) for info in infos) / 2**20 for infos in ([own], children)]
            for kind in ("rss", "pss")
        )
        return Memory(rss[0], pss[0], rss[1], pss[1], len(children))


@contextmanager
def running(kind: Callable[..., Any], *arguments: str) -> Iterator[Any]:
    """A `Server`, or a `Process`, which ends with the context."""
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as folder:
        started = kind(Path(folder), *arguments)
        try:
            yield started
        finally:
            started.process.terminate()
            started.process.wait()


@contextmanager
def halted(processes: Iterable[int]) -> Iterator[None]:
    """Processes that do nothing meanwhile, but keep their connections."""
    processes = list(processes)
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def serve(*arguments: str) -> None:
    """``smoot-explore serve``, which on SIGUSR1 also prints how many sessions and pages its memory holds.

    Its trainings note when they take live values over.
    """
    from bokeh.server.session import ServerSession

    from benchmarks.works import NotedWork
    from smoot_explore.cli.commands import main
    from smoot_explore.engine import trainings
    from smoot_explore.explorer.page import ExplorerPage

    def count(*_: object) -> None:
        gc.collect()
        kinds = [type(thing) for thing in gc.get_objects()]
        alive = {"sessions": kinds.count(ServerSession), "pages": kinds.count(ExplorerPage)}
        print(json.dumps(alive), flush=True)

    signal.signal(signal.SIGUSR1, count)
    trainings.TrainingWork = NotedWork  # type: ignore[misc,assignment]
    main(["serve", *arguments])


def engine(epochs: str) -> None:
    """Trainings as the page starts them, through the engine, for nobody to look at; one for each line read."""
    from smoot_explore.engine.engine import Engine
    from smoot_explore.engine.workers import DaskWorkers
    from smoot_explore.explorer.settings import ServerSettings
    from smoot_explore.explorer.state.train import TrainState

    settings = ServerSettings()
    state = TrainState(settings, Engine(DaskWorkers(settings.max_trainings)))
    state.config.epochs = int(epochs)
    print("ready", flush=True)
    for _ in sys.stdin:
        while state.busy:  # its run is on the disk before its end is told
            time.sleep(0.01)
        state.start()


def plain(images: str, epochs: str) -> None:
    """For each line read, a training by a plain loop over `train` with one thread; prints the seconds of its steps."""
    import torch

    from smoot_explore import Run, TrainingConfig, create_model, load_data, train

    torch.set_num_threads(1)
    data = load_data("fashion-mnist-sample", train=int(images), test=200)
    print("ready", flush=True)
    for i, _ in enumerate(sys.stdin):
        config = TrainingConfig(epochs=int(epochs), batch_size=64)
        model = create_model("cnn", data, seed=config.seed)
        run = Run.create(f"plain-{i}", config, model, data)
        print(sum(record.duration_seconds for record in train(model, data, config, run=run)), flush=True)


def scheduler() -> None:
    """A scheduler as the engine's own, with the TLS files ``ca.pem``, ``cert.pem`` and ``key.pem`` in its folder."""
    import dask
    from distributed import Scheduler, Security

    from smoot_explore.engine.cluster import _CONFIG, LOOPBACK

    logging.disable()
    security = Security.temporary()
    for name, content in (
        ("ca", security.tls_ca_file), ("cert", security.tls_client_cert), ("key", security.tls_client_key),
    ):  # fmt: skip
        Path(f"{name}.pem").write_text(content, "ascii")

    async def run() -> None:
        with dask.config.set(_CONFIG):
            where = {"host": LOOPBACK, "port": 0, "protocol": "tls://", "dashboard_address": f"{LOOPBACK}:0"}
            async with Scheduler(**where, dashboard=False, security=security) as started:
                print(started.address, flush=True)
                await started.finished()

    asyncio.run(run())


def workers(n: str, address: str, folder: str) -> None:
    """Many workers in one process, with a thread each."""
    import dask
    from distributed import Security, Worker

    from smoot_explore.engine.cluster import _CONFIG

    logging.disable()
    ca, cert, key = (f"{folder}/{name}.pem" for name in ("ca", "cert", "key"))
    security = Security(
        tls_ca_file=ca, tls_worker_cert=cert, tls_worker_key=key, tls_client_cert=cert, tls_client_key=key,
        require_encryption=True,
    )  # fmt: skip

    async def run() -> None:
        with dask.config.set(_CONFIG):
            made = [
                Worker(address, nthreads=1, security=security, dashboard=False, name=i) for i in range(int(n))
            ]
            await asyncio.gather(*made)
            print("ready", flush=True)
            await asyncio.gather(*(worker.finished() for worker in made))

    asyncio.run(run())


KINDS: dict[str, Callable[..., None]] = {
    kind.__name__: kind for kind in (serve, engine, plain, scheduler, workers)
}

if __name__ == "__main__":
    KINDS[sys.argv[1]](*sys.argv[2:])
