"""The engine: jobs that take long, in worker processes, with their reports and orders."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from smoot_explore.engine.workers import Ended, Failed, Gone, Heard, Started, Work
from smoot_explore.errors import reason

GRACE_SECONDS = 1.0  # that a job has to end by itself before its process is ended
FRUITLESS = 3  # attempts without progress after which a job is given up
_HOPELESS = (
    f"its worker process was lost {FRUITLESS} times before anything was finished. It may need more memory than a "
    "worker has: try fewer or smaller images, a smaller model or a smaller batch"
)


class Workers(Protocol):
    """Who does the jobs; see `DaskWorkers`."""

    n: int

    def listen(self, heard: Heard, failed: Failed, gone: Gone) -> None: ...
    def submit(self, name: str, work: Work) -> None: ...
    def deliver(self, worker: str, attempt: str, order: Any) -> None: ...
    def forget(self, name: str) -> None: ...
    def come_back(self, name: str, worker: str, attempt: str) -> None: ...
    def restart(self, worker: str, name: str) -> None: ...
    def close(self) -> None: ...


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
    lost
        Called when its worker is lost: another is to begin with it again.
    begun
        Called likewise at each attempt, with its number from 1: it may send orders.
    ended
        Called likewise at the end.
    """

    work: Work
    heard: Callable[[Any], object] = lambda report: None
    lost: Callable[[], object] = lambda: None
    begun: Callable[[int], object] = lambda attempt: None
    ended: Callable[[], object] = lambda: None
    name: str = field(default_factory=lambda: f"job-{uuid.uuid4().hex}")
    status: str = "queued"  # queued, working, finished, failed, stopped
    aside: bool = False  # whether others may have its place: see `Channel.step_aside`
    result: Any = None
    problem: str = ""  # why it failed
    raised: bool = False  # whether its work itself did, so that another attempt would fail too
    attempts: int = 0
    fruitless: int = 0  # attempts since `progressed`
    worker: str = ""  # its address, while the job is worked on
    attempt: str = ""  # the name of the present one

    @property
    def over(self) -> bool:
        """Whether it will never work again."""
        return self.status in ("finished", "failed", "stopped")

    def progressed(self) -> None:
        """What was done so far will not be lost: another attempt goes on from it."""
        self.fruitless = 0


class Engine:
    """Has jobs done by worker processes, first come, first served.

    Parameters
    ----------
    workers
        Who do them.
    max_queue
        How many jobs may wait; one more is refused with a ``RuntimeError``. None: any number.
    """

    def __init__(self, workers: Workers, *, max_queue: int | None = None) -> None:
        self.max_queue = max_queue
        self._workers = workers
        self._jobs: dict[str, Job] = {}  # those that are not over, in the order they came
        self._lock = threading.RLock()
        self._hands = ThreadPoolExecutor(1, "engine")  # what the workers are asked may take seconds
        self._closed = False
        self._endings: dict[str, threading.Timer] = {}  # of attempts at jobs that were given up
        workers.listen(self._heard, self._failed, self._gone)

    def submit(self, job: Job) -> None:
        """Queue a job. Nothing is waited for."""
        with self._lock:
            if self._closed:
                raise RuntimeError("this explorer has been stopped; start it again")
            waiting = sum(other.status == "queued" for other in self._jobs.values())
            if self.max_queue is not None and waiting - self._idle() >= self.max_queue:
                raise RuntimeError(
                    f"{self.max_queue} trainings are waiting already, the most that this server takes; "
                    "try again when one has finished"
                )
            self._jobs[job.name] = job
        self._ask(self._submit, job)

    def order(self, job: Job, order: Any) -> None:
        """Give a working job an order; one that waits gets none: ``begun`` is the time for these."""
        if job.worker and not job.over:
            self._ask(self._workers.deliver, job.worker, job.attempt, order)

    def come_back(self, job: Job, order: Any) -> None:
        """Have a job that stepped aside go on by an order, once there is a place for it at its worker."""
        if job.worker and not job.over:
            self._ask(self._workers.deliver, job.worker, job.attempt, order)
            self._ask(self._workers.come_back, job.name, job.worker, job.attempt)

    def stop(self, job: Job, order: Any = None) -> None:
        """End a job: by ``order``, if it takes it in time; otherwise with its process."""
        if not job.worker:
            self._finish(job, "stopped")
            return
        if order is not None:
            self.order(job, order)
        _later(0 if order is None else GRACE_SECONDS, self._end_process, job)

    def place(self, job: Job) -> int:
        """1 for the job that starts when another ends, 2 for the one after it, …; 0 when it waits for none."""
        with self._lock:
            waiting = [known.name for known in self._jobs.values() if known.status == "queued"]
            idle = self._idle()
        return max(0, waiting.index(job.name) + 1 - idle) if job.name in waiting else 0

    def _idle(self) -> int:
        return self._workers.n - sum(job.status == "working" and not job.aside for job in self._jobs.values())

    def close(self) -> None:
        """End everything, the workers too where they are the engine's own."""
        with self._lock:
            jobs, self._closed = list(self._jobs.values()), True
        for job in jobs:
            self._finish(job, "stopped")
        self._hands.shutdown(cancel_futures=True)
        self._workers.close()

    def _ask(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the thread that talks to the workers do something."""
        with self._lock, suppress(RuntimeError):  # when the interpreter ends
            if not self._closed:
                self._hands.submit(function, *arguments)

    def _submit(self, job: Job) -> None:
        if job.over:
            return
        try:
            self._workers.submit(job.name, job.work)
        except Exception as error:
            self._finish(job, "failed", reason(error))

    def _end_process(self, job: Job) -> None:
        if not job.over:
            self._free(job.worker, job.name)
            self._finish(job, "stopped")

    def _heard(self, name: str, attempt: str, report: Any) -> None:
        with self._lock:
            job = self._jobs.get(name)
        if job is None:
            self._unwanted(name, attempt, report)
        elif isinstance(report, Started):
            self._begun(job, attempt, report.worker)
        elif attempt != job.attempt:  # of a worker that was given up
            return
        elif isinstance(report, Ended):
            job.result, job.raised = report.result, bool(report.problem)
            status = "stopped" if report.stopped else "failed" if report.problem else "finished"
            self._finish(job, status, report.problem)
        else:
            self._tell(job, job.heard, report)

    def _unwanted(self, name: str, attempt: str, report: Any) -> None:
        """What a job reports that was given up just when it began: its worker is wanted for others."""
        if isinstance(report, Started):
            self._endings[attempt] = _later(GRACE_SECONDS, self._end_unwanted, report.worker, name, attempt)
        elif isinstance(report, Ended) and attempt in self._endings:
            self._endings.pop(attempt).cancel()

    def _end_unwanted(self, worker: str, name: str, attempt: str) -> None:
        if self._endings.pop(attempt, None) is not None:
            self._free(worker, name)

    def _free(self, worker: str, name: str) -> None:
        """End the process of a worker for the sake of a job that does not obey."""
        with self._lock:
            for neighbour in self._jobs.values():  # that it goes is no fault of theirs
                if neighbour.worker == worker:
                    neighbour.progressed()
        self._workers.restart(worker, name)  # at once: others may be asked to do something that takes long

    def _tell(self, job: Job, listener: Callable[..., object], *what: Any) -> None:
        """A listener that fails ends its job, not what others hear."""
        try:
            listener(*what)
        except Exception as error:
            logging.getLogger(__name__).exception("what %s reports cannot be taken", job.name)
            self._finish(job, "failed", f"what it reports cannot be taken: {reason(error)}")

    def _begun(self, job: Job, attempt: str, worker: str) -> None:
        with self._lock:
            if job.over:
                return
            job.worker, job.attempt, job.status, job.aside = worker, attempt, "working", False
            job.attempts += 1
            job.fruitless += 1
        if job.fruitless > FRUITLESS:
            self._finish(job, "failed", _HOPELESS)  # it ends there as soon as it looks whether it is wanted
        else:
            self._tell(job, job.begun, job.attempts)

    def _failed(self, name: str, problem: str) -> None:
        with self._lock:
            job = self._jobs.get(name)
        if job is not None:
            self._finish(job, "failed", problem)

    def _gone(self, worker: str) -> None:
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.worker == worker]
        for job in jobs:
            self._tell(job, job.lost)

    def _finish(self, job: Job, status: str, problem: str = "") -> None:
        with self._lock:
            if job.over:
                return
            job.status, job.problem = status, problem
            self._jobs.pop(job.name, None)
        self._ask(self._workers.forget, job.name)  # a job whose result is lost would be done again
        self._tell(job, job.ended)


def _later(seconds: float, act: Callable[..., object], *arguments: Any) -> threading.Timer:
    timer = threading.Timer(seconds, act, arguments)
    timer.daemon = True
    timer.start()
    return timer
