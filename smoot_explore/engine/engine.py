"""The engine: jobs that take long, in worker processes, with their reports and orders."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from smoot_explore.engine.channel import Channel, JobEnded
from smoot_explore.engine.cluster import close_workers, start_workers
from smoot_explore.errors import reason

if TYPE_CHECKING:
    from distributed import Client, Future, Queue

Work = Callable[[Channel], Any]
ENDED = ("finished", "failed", "stopped")
GRACE_SECONDS = 1.0  # that a job has to end by itself before its process is ended
FRUITLESS = 3  # attempts without progress after which a job is given up
_HOPELESS = (
    f"its worker process was lost {FRUITLESS} times before anything was finished. It may need more memory than a "
    "worker has: try fewer or smaller images, a smaller model or a smaller batch"
)


@dataclass(frozen=True)
class Started:
    """A worker has begun with a job."""

    worker: str  # its address
    attempt: str  # tells the attempts at a job apart


@dataclass(frozen=True)
class Ended:
    """A job has ended by itself."""

    result: Any = None
    problem: str = ""


@dataclass
class Job:
    """A piece of work for a worker process.

    Parameters
    ----------
    work
        Called in a worker with a `Channel`; picklable. It may be called again in another worker when the first is lost,
        and must then go on from what is on the disk.
    heard
        Called with each of its reports, in order, by a thread of the engine.
    begun
        Called likewise at each attempt, with its number from 1: it may send orders.
    ended
        Called likewise at the end.
    """

    work: Work
    heard: Callable[[Any], object] = lambda report: None
    begun: Callable[[int], object] = lambda attempt: None
    ended: Callable[[], object] = lambda: None
    name: str = field(default_factory=lambda: f"job-{uuid.uuid4().hex}")
    status: str = "queued"  # queued, working, finished, failed, stopped
    result: Any = None
    problem: str = ""  # why it failed
    attempts: int = 0
    fruitless: int = 0  # attempts since `progressed`
    worker: Started | None = None
    future: Future | None = None

    @property
    def over(self) -> bool:
        """Whether it will never work again."""
        return self.status in ENDED

    def progressed(self) -> None:
        """What was done so far will not be lost: another attempt goes on from it."""
        self.fruitless = 0


class Engine:
    """Carries out jobs in worker processes, first come, first served. It starts with its first job.

    Parameters
    ----------
    workers
        Processes on this computer, a job each.
    threads, memory
        Of each, as for `start_workers`.
    connect
        Gives a client of a Dask cluster to compute on in their place.
    max_queue
        How many jobs may wait; one more is refused with a ``RuntimeError``.
    """

    def __init__(
        self,
        workers: int = 1,
        *,
        threads: int | None = None,
        memory: int | None = None,
        connect: Callable[[], Client] | None = None,
        max_queue: int | None = None,
    ) -> None:
        self.workers, self.max_queue = workers, max_queue
        self._threads, self._memory, self._connect = threads, memory, connect
        self._jobs: dict[str, Job] = {}  # those that are not over, in the order they came
        self._lock = threading.RLock()
        self._hands = ThreadPoolExecutor(1, "engine")  # what Dask is asked may take seconds
        self._closed = False
        self._client: Client | None = None
        self._reports: Queue | None = None

    def submit(self, job: Job) -> None:
        """Queue a job. Nothing is waited for."""
        with self._lock:
            waiting = sum(known.status == "queued" for known in self._jobs.values())
            idle = self.workers - (len(self._jobs) - waiting)
            if self.max_queue is not None and waiting - idle >= self.max_queue:
                raise RuntimeError(
                    f"{self.max_queue} jobs are waiting already, the most that are taken here; "
                    "try again when one has finished"
                )
            self._jobs[job.name] = job
        self._ask(self._submit, job)

    def order(self, job: Job, order: Any) -> None:
        """Give a working job an order; one that waits gets none: ``begun`` is the time for these."""
        if job.worker is not None and not job.over:
            self._ask(self._deliver, job.worker, order)

    def stop(self, job: Job, order: Any = None) -> None:
        """End a job: by ``order``, if it takes it in time; otherwise with its process."""
        if job.worker is None:
            self._finish(job, "stopped")
            self._ask(self._forget, job)
            return
        if order is not None:
            self.order(job, order)
        timer = threading.Timer(0 if order is None else GRACE_SECONDS, self._end_process, [job, job.worker])
        timer.daemon = True
        timer.start()

    def place(self, job: Job) -> int:
        """1 for the job that starts next, 2 for the one after it, …; 0 when it does not wait."""
        with self._lock:
            waiting = [known.name for known in self._jobs.values() if known.status == "queued"]
        return waiting.index(job.name) + 1 if job.name in waiting else 0

    def close(self) -> None:
        """End everything, the workers too where they are the engine's own."""
        with self._lock:
            jobs, self._closed = list(self._jobs.values()), True
        for job in jobs:
            self._finish(job, "stopped")
        self._hands.shutdown(cancel_futures=True)
        client, self._client = self._client, None
        if client is not None:
            close_workers(client)

    def _ask(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the thread that talks to Dask do something."""
        with self._lock:
            if not self._closed:
                self._hands.submit(function, *arguments)

    # What is asked of Dask, one after the other, on a thread of its own

    def _submit(self, job: Job) -> None:
        if job.over:
            return
        try:
            client = self._started()
            job.future = client.submit(
                _carry_out, job.name, job.work, self._reports, self._threads, key=job.name, pure=False
            )
            job.future.add_done_callback(lambda future: self._unheard(job, future))
        except Exception as error:
            self._finish(job, "failed", reason(error))

    def _started(self) -> Client:
        if self._client is None:
            from distributed import Queue

            client = (
                self._connect()
                if self._connect
                else start_workers(self.workers, threads=self._threads, memory=self._memory)
            )
            self._reports = Queue(f"reports-{uuid.uuid4().hex}", client=client)
            self._client = client
            threading.Thread(
                target=self._listen, args=[client, self._reports], name="reports", daemon=True
            ).start()
        return self._client

    def _deliver(self, worker: Started, order: Any) -> None:
        if self._client is None:
            return
        try:
            self._client.run(_deliver, worker.attempt, order, workers=[worker.worker], on_error="ignore")
        except Exception:  # the worker is lost: another one begins anew, and is told then
            return

    def _forget(self, job: Job) -> None:
        if job.future is not None:
            job.future.cancel()

    def _end_process(self, job: Job, worker: Started) -> None:
        if not job.over and job.worker is worker:
            self._finish(job, "stopped")
            self._ask(self._restart, job, worker)

    def _restart(self, job: Job, worker: Started) -> None:
        self._forget(job)
        if self._client is not None:
            self._client.restart_workers([worker.worker], raise_for_error=False)

    # What is heard

    def _listen(self, client: Client, reports: Queue) -> None:
        while self._client is client:
            try:
                messages = reports.get(batch=True) or [reports.get()]
            except (Exception, CancelledError) as error:
                if self._client is client:
                    self._lost(error)
                return
            for name, attempt, report in messages:
                with self._lock:
                    job = self._jobs.get(name)
                if job is None:
                    continue
                if isinstance(report, Started):
                    self._begun(job, report)
                elif job.worker is not None and job.worker.attempt == attempt:  # not one that was given up
                    if isinstance(report, Ended):
                        self._take(job, report)
                    else:
                        job.heard(report)

    def _begun(self, job: Job, started: Started) -> None:
        with self._lock:
            if job.over:
                return
            job.worker, job.status = started, "working"
            job.attempts += 1
            job.fruitless += 1
            hopeless = job.fruitless > FRUITLESS
        if hopeless:
            self._finish(job, "failed", _HOPELESS)
            self._ask(self._restart, job, started)
        else:
            job.begun(job.attempts)

    def _take(self, job: Job, end: Ended) -> None:
        job.result = end.result
        self._finish(job, "failed" if end.problem else "finished", end.problem)
        self._ask(self._forget, job)  # a finished job whose result is lost would be done again

    def _unheard(self, job: Job, future: Future) -> None:
        """A job's end that the job itself cannot tell."""
        if future.status == "error":
            self._finish(job, "failed", reason(future.exception()))
        elif future.status in ("cancelled", "lost"):
            self._finish(job, "failed", "the worker processes are no longer there")

    def _lost(self, error: Exception) -> None:
        with self._lock:
            for job in list(self._jobs.values()):
                self._finish(job, "failed", f"the connection to the workers is lost ({reason(error)})")

    def _finish(self, job: Job, status: str, problem: str = "") -> None:
        with self._lock:
            if job.over:
                return
            job.status, job.problem = status, problem
            self._jobs.pop(job.name, None)
        job.ended()


# What a worker does

_channels: dict[str, Channel] = {}  # of the attempts that this process is at


def _carry_out(name: str, work: Work, reports: Queue, threads: int | None) -> None:
    """A job, in a worker."""
    import torch
    from distributed import get_worker

    worker, attempt = get_worker(), uuid.uuid4().hex
    torch.set_num_threads(threads or worker.state.nthreads)

    def send(report: Any) -> None:
        reports.put((name, attempt, report))

    def wanted() -> bool:
        task = worker.state.tasks.get(name)
        return task is not None and task.state != "cancelled"

    _channels[attempt] = channel = _PlaceOnWorker(send, wanted)
    try:
        send(Started(worker.address, attempt))
        end = Ended(work(channel))
    except JobEnded:
        return
    except Exception as error:  # whatever it is, the one who gave the job reads it
        end = Ended(problem=reason(error))
    finally:
        del _channels[attempt]
    send(end)


class _PlaceOnWorker(Channel):
    @contextmanager
    def aside(self) -> Iterator[None]:
        from distributed import rejoin, secede

        secede()
        yield
        rejoin()  # not after an error: nobody waits for a place to end at


def _deliver(attempt: str, order: Any) -> None:
    """Called in the worker, beside its job."""
    channel = _channels.get(attempt)
    if channel is not None:
        channel.deliver(order)
