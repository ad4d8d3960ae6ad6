"""Worker processes: own ones on this computer, or those of a Dask cluster that the user already has."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smoot_explore.compute.cores import cores
from smoot_explore.engine import own_worker

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

LOOPBACK = "127.0.0.1"
ATTEMPTS = 3  # workers that a job may take along before it is given up
ANSWER_SECONDS = 10  # that a scheduler has to answer
_TLS = ("ca", "cert", "key")
_CONFIG = {
    "distributed.scheduler.worker-saturation": 1.0,  # first come, first served: none waits at a busy worker
    "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
    "distributed.worker.memory.target": False,  # what jobs give back is small: nothing to put on the disk
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.preload": [own_worker.__name__],
    "distributed.nanny.preload": [],
    "distributed.scheduler.preload": [],
    "distributed.scheduler.http.routes": [],  # Dask opens a port for each whatever one says: nothing is behind it
    "distributed.worker.http.routes": [],
}


_one_at_a_time = threading.Lock()  # Dask's configuration is the whole process's


@dataclass(frozen=True)
class Scheduler:
    """Where a Dask scheduler is that is there already, and who may talk to it.

    Parameters
    ----------
    address
        Such as ``tls://host:8786``.
    ca, cert, key
        PEM files of TLS, as Dask takes them: the scheduler's certificate authority, this computer's certificate, and
        its key. None, all three, for a scheduler without TLS.

    Raises
    ------
    ValueError
        When a file is not there, or only some of the three are given.
    """

    address: str
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        files = {name: getattr(self, name) for name in _TLS}
        missing = [name for name, file in files.items() if file is None]
        if 0 < len(missing) < len(files):
            raise ValueError(
                f"TLS needs the files ca, cert and key together; name the {' and the '.join(missing)} too"
            )
        for name, file in files.items():
            if file is not None and not Path(file).is_file():
                raise ValueError(f"the TLS file {file} is not there; name the {name} of the scheduler")

    @classmethod
    def of(
        cls, address: str | None, ca: Path | None = None, cert: Path | None = None, key: Path | None = None
    ) -> Scheduler | None:
        """The scheduler that options name, None when they name none; ``ValueError`` for files without an address."""
        if address is not None:
            return cls(address, ca, cert, key)
        if ca or cert or key:
            raise ValueError("TLS files are for a scheduler; name its address too, such as tls://host:8786")
        return None

    def connect(self) -> Client:
        """A client of it.

        Raises
        ------
        OSError
            When nobody answers there.
        ValueError
            When it is encrypted, and TLS files are given neither here nor in Dask's configuration.
        ModuleNotFoundError
            When Dask is not installed.
        """
        check_installed()
        import dask
        from distributed import Client, Security

        own = dask.config.get("distributed.comm.tls.client.cert")
        if self.address.startswith("tls:") and self.ca is None and not own:
            raise ValueError(
                f"the scheduler at {self.address} is encrypted; give --tls-ca, --tls-cert and --tls-key "
                "(ca, cert and key of Scheduler)"
            )
        security = self.ca and Security(
            tls_ca_file=str(self.ca),
            tls_client_cert=str(self.cert),
            tls_client_key=str(self.key),
            require_encryption=True,
        )
        try:
            return Client(self.address, security=security, timeout=ANSWER_SECONDS, set_as_default=False)
        except (OSError, ValueError, RuntimeError) as error:
            raise OSError(
                f"the scheduler at {self.address} does not answer ({error}); is it running, and are its TLS files "
                "given?"
            ) from error


def start_workers(
    workers: int, *, threads: int | None = None, memory: int | None = None, beside: int = 0
) -> Client:
    """A client of new worker processes on this computer; `close_workers` ends them.

    Scheduler and workers talk on loopback alone, encrypted with keys made for them: a scheduler executes what it is
    sent, and other users of the computer reach loopback too. No dashboard is served.

    Parameters
    ----------
    workers
        Processes, each with one job at a time.
    threads
        That PyTorch computes with in each; None shares the cores.
    memory
        Bytes that each may take before it is ended; None shares nine tenths of the computer's.
    beside
        Other workers of this computer, which have their share of it too.

    Raises
    ------
    RuntimeError
        In a script that the processes would run once more; it says what to write.
    ModuleNotFoundError
        When Dask is not installed.
    """
    check_installed()
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(
            "worker processes read the script that starts them: put what it does below\n"
            '    if __name__ == "__main__":'
        )
    import dask
    from distributed import Client, LocalCluster, Security
    from distributed.deploy import Cluster
    from distributed.system import MEMORY_LIMIT

    threads = threads or share_of_cores(workers)
    scratch = tempfile.mkdtemp(prefix="smoot_explore-workers-")
    starting = contextlib.ExitStack()
    with starting, _one_at_a_time, dask.config.set({**_CONFIG, "temporary-directory": scratch}):
        starting.callback(shutil.rmtree, scratch, ignore_errors=True)
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host=LOOPBACK,
            protocol="tls://",
            security=Security.temporary(),
            dashboard_address=f"{LOOPBACK}:0",
            worker_dashboard_address=None,
            scheduler_kwargs={"dashboard": False},
            memory_limit=memory or int(0.9 * MEMORY_LIMIT / (workers + beside)),
            local_directory=scratch,
            silence_logs=logging.CRITICAL,
            env={"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
        )
        starting.callback(cluster.close)
        cluster.scratch = weakref.finalize(cluster, shutil.rmtree, scratch, ignore_errors=True)
        # Dask's own gives a worker up for good that happens to be down again 15 seconds after it was.
        cluster._update_worker_status = functools.partial(Cluster._update_worker_status, cluster)
        client = Client(cluster, set_as_default=False)
        starting.pop_all()  # nothing failed
    return client


def share_of_cores(workers: int) -> int:
    """Threads that PyTorch computes with in each of some workers of this computer."""
    return max(1, cores() // workers)


def close_workers(client: Client) -> None:
    """End a client, and the workers that were started with it, whatever these are at: a job survives a kill."""
    cluster = client.cluster
    if cluster is None:
        client.close()
        return
    with _quiet():
        client.close()
        cluster.sync(_kill, cluster)  # Dask would wait 4 seconds for a step that takes longer
        cluster.close()
        cluster.scratch()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of Dask on the terminal: that each worker ends is no news to whoever ends them."""
    handlers = list(logging.getLogger("distributed").handlers)
    for handler in handlers:
        handler.addFilter(_nothing)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False


async def _kill(cluster: LocalCluster) -> None:
    for nanny in cluster.workers.values():
        nanny.close_gracefully()  # so that no other process takes the place of the one that ends
        process = nanny.process and nanny.process.process
        if process is not None and process.is_alive():
            await process.kill()


def kill_process(client: Client, worker: str) -> None:
    """Kill the process of a worker of `start_workers`, by its address, whatever it does; another takes its place."""
    for nanny in list(client.cluster.workers.values()):
        if nanny.worker_address == worker and (pid := nanny.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows ends it by either


def check_installed() -> None:
    """Raise ``ModuleNotFoundError`` where Dask is missing."""
    for module in ("distributed", "cryptography"):
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(
                f'worker processes need {module}, which is not installed; try: pip install "smoot-explore[cluster]"'
            )


def another(client: Client) -> Client:
    """One more client of a client's scheduler: closing it leaves the first. ``TypeError`` for what is none."""
    from distributed import Client

    from smoot_explore.core.parts import check_client  # with PyTorch

    check_client(client)
    return Client(
        client.scheduler.address, security=client.security, timeout=ANSWER_SECONDS, set_as_default=False
    )
