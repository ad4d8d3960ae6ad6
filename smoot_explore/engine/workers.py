"""Worker processes by Dask, as the engine uses them."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smoot_explore.core.registered import Registered
from smoot_explore.engine.channel import Channel, JobEnded, JobStopped
from smoot_explore.engine.cluster import close_workers, kill_process, share_of_cores, start_workers
from smoot_explore.engine.own_worker import take_turn_at_gpus
from smoot_explore.errors import reason, reason_and_place

if TYPE_CHECKING:
    from distributed import Client, Future, Nanny, Queue

CALL_SECONDS = 10  # that a worker has to take an order
_AT_WORK = ("running", "paused")  # states of a worker; in others it closes

Work = Callable[[Channel], Any]
Heard = Callable[[str, str, Any], object]  # (job, attempt, report)
Failed = Callable[[str, str], object]  # (job, why)
Gone = Callable[[str], object]  # (worker)


CONNECTION_LOST = "the connection to the workers is lost"  # how a problem begins that is not the job's


@dataclass(frozen=True)
class Started:
    """A worker has begun with a job: the first report of an attempt."""

    worker: str  # its address


@dataclass(frozen=True)
class Ended:
    """A job has ended by itself: the last report of an attempt."""

    result: Any = None
    problem: str = ""
    stopped: bool = False  # as it was ordered


class DaskWorkers:
    """Worker processes on this computer, started with the first job, or those of a cluster that is there.

    All calls but of `listen` may take seconds, and come from one thread.

    Parameters
    ----------
    n
        Processes on this computer, a job each; those of a cluster are counted when it is given one.
    threads, memory, beside
        Of each, as for `start_workers`.
    connect
        Gives a client of a Dask cluster to compute on in their place. It is asked again after the connection was lost.
    priority
        Jobs of a higher one begin before those of others on the same cluster.
    """

    def __init__(
        self,
        n: int = 1,
        *,
        threads: int | None = None,
        memory: int | None = None,
        beside: int = 0,
        connect: Callable[[], Client] | None = None,
        priority: int = 0,
    ) -> None:
        self.n = n
        self._threads = threads or (share_of_cores(n) if connect is None else None)  # None: as many as Dask's
        self._memory, self._beside, self._connect, self._priority = memory, beside, connect, priority
        self._client: Client | None = None
        self._reports: Queue | None = None
        self._futures: dict[str, Future] = {}
        self._places: dict[str, list[Future]] = {}  # that are held for jobs, by their names
        self._turns: dict[str, asyncio.Lock] = {}  # of the orders to a worker

    def listen(self, heard: Heard, failed: Failed, gone: Gone) -> None:
        """Say who is told what jobs report, that one of them or its connection has failed, and that a worker is lost.

        What that was at is begun again: that takes longer than the news, since another process must come up first.
        """
        self._heard, self._failed, self._gone = heard, failed, gone

    def submit(self, name: str, work: Work) -> None:
        """Have a job done, after those that were submitted before it."""
        import dask
        from dask._task_spec import Task

        client = self._started()
        if self._connect is not None:
            self.n = max(1, sum(client.nthreads().values()))
        # The mark has Dask keep the job until a worker is free. It places others at once, behind busy workers too.
        # The queue goes by its name: Dask makes a copy of each argument while it holds a lock that a scheduler in this
        # process waits for (Python before 3.12), and a copy of a queue waits for the scheduler.
        assert self._reports is not None
        arguments = (name, work, self._reports.name, self._threads, Registered())
        task = Task(name, carry_out, *arguments, _data_producer=True)
        # A model, and data at hand, go with their job: Dask would warn of some megabytes.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            future = client.get({name: task}, name, sync=False, priority=self._priority)
        self._futures[name] = future
        future.add_done_callback(lambda done: self._over(name, done))

    def deliver(self, worker: str, attempt: str, order: Any) -> None:
        """Give the job of an attempt an order, after those before. Where its worker is lost, nothing happens."""
        self._call(worker, _deliver, attempt, order)

    def come_back(self, name: str, worker: str, attempt: str) -> None:
        """Give a job that stepped aside a place at its worker, when there is one."""
        client = self._client
        if client is not None:
            key = f"place-{uuid.uuid4().hex}"
            place = client.submit(hold_place, attempt, key=key, workers=[worker], pure=False)
            held = [future for future in self._places.get(name, ()) if not future.done()]
            self._places[name] = [*held, place]

    def forget(self, name: str) -> None:
        """Do not want a job any more: it does not begin, and is not begun again."""
        future = self._futures.pop(name, None)
        self._places.pop(name, None)  # the last of them ends with the job
        if future is not None:
            future.cancel()

    def restart(self, worker: str, name: str) -> None:
        """End the process of a worker for the sake of a job that does not obey. Nothing is waited for.

        Other jobs there are begun again. In a cluster that is there already nothing happens while the worker has other
        work, or threads for it: that may be somebody else's.
        """
        client = self._client
        if client is not None and self._connect is None:
            kill_process(client, worker)  # Dask would ask first, for seconds
        elif client is not None:
            client.loop.add_callback(_restart, client, worker, name)

    def close(self) -> None:
        """End the processes, where they were started here."""
        client, self._client = self._client, None
        if client is not None:
            close_workers(client)

    def _started(self) -> Client:
        if self._client is None:
            from distributed import Queue

            if self._connect is not None:
                client = self._connect()
            else:
                client = start_workers(
                    self.n, threads=self._threads, memory=self._memory, beside=self._beside
                )
            self._client, self._reports = client, Queue(f"reports-{uuid.uuid4().hex}", client=client)
            threading.Thread(
                target=self._hear, args=[client, self._reports], name="reports", daemon=True
            ).start()
            client.subscribe_topic("all", self._follow)
        return self._client

    def _follow(self, event: tuple[float, Any]) -> None:
        _, news = event
        if isinstance(news, dict) and news.get("action") == "remove-worker":
            self._gone(news["worker"])

    def _call(self, worker: str, function: Callable[..., None], *arguments: Any) -> None:
        """Call functions in a worker, in their order. Nothing is waited for: it may be lost, or frozen."""
        client = self._client
        if client is not None:
            client.loop.add_callback(self._call_in_turn, client, worker, function, *arguments)

    async def _call_in_turn(self, client: Client, worker: str, function: Callable, *arguments: Any) -> None:
        async with self._turns.setdefault(worker, asyncio.Lock()):
            with suppress(Exception):  # its loss is told otherwise
                called = client._run(function, *arguments, workers=[worker], on_error="ignore")
                await asyncio.wait_for(called, CALL_SECONDS)

    def _hear(self, client: Client, reports: Queue) -> None:
        while self._client is client:
            try:
                messages = reports.get(batch=True) or [reports.get()]
            except (Exception, CancelledError) as error:
                if self._client is client:
                    logging.getLogger(__name__).info("%s: %s", CONNECTION_LOST, reason(error))
                    self._lost(client)
                return
            for name, attempt, report in messages:
                try:
                    self._heard(name, attempt, pickle.loads(report))
                except Exception as error:  # such as a class that this process does not know
                    self._failed(name, f"what it reports cannot be read: {reason(error)}")

    def _lost(self, client: Client) -> None:
        """Give up a client that has no scheduler any more: the next job looks for one anew."""
        names, self._futures, self._client = list(self._futures), {}, None
        for name in names:
            self._failed(name, CONNECTION_LOST)
        close_workers(client)

    def _over(self, name: str, future: Future) -> None:
        """What a job itself cannot tell. Its own end comes with its reports, after the last of them."""
        from distributed import KilledWorker

        if future.status == "error" and isinstance(future.exception(), KilledWorker):
            if name in self._futures:  # whether it is hopeless is the engine's to say
                future.retry()
                future.add_done_callback(lambda done: self._over(name, done))
        elif future.status == "error":
            self._failed(name, reason(future.exception()))
        elif future.status in ("cancelled", "lost"):
            self._failed(name, CONNECTION_LOST)


_channels: dict[str, Channel] = {}  # of the attempts that this process is at


def carry_out(name: str, work: Work, reports: str, threads: int | None, registered: Registered) -> None:
    """Do a job, in a worker; ``reports`` names the queue for what it tells."""
    import torch
    from distributed import Queue, Reschedule, get_worker

    worker, queue, attempt = get_worker(), Queue(reports), uuid.uuid4().hex
    torch.set_num_threads(threads or worker.state.nthreads)
    take_turn_at_gpus()
    registered.register()

    def send(report: Any) -> None:
        queue.put((name, attempt, pickle.dumps(report)))  # the scheduler only passes it on

    def wanted() -> bool:
        task = worker.state.tasks.get(name)
        is_there = worker.status.name in _AT_WORK  # not closing, having lost its scheduler, or retired
        return is_there and task is not None and task.state != "cancelled"

    _channels[attempt] = channel = _OnWorker(send, wanted)
    try:
        send(Started(worker.address))
        end = Ended(work(channel))
    except JobStopped:
        end = Ended(stopped=True)
    except JobEnded:
        if worker.status.name not in _AT_WORK:  # another is to go on
            raise Reschedule from None
        end = Ended(stopped=True)
    except Exception as error:  # whatever it is, the one who gave the job reads it
        end = Ended(problem=reason_and_place(error))
    finally:
        del _channels[attempt]
        channel.end()
    send(end)


class _OnWorker(Channel):
    _seceded = False

    def step_aside(self) -> None:
        """As of `Channel`. Dask is told once; from then on a task of its own holds the job's place (`hold_place`)."""
        from distributed import secede

        if not self._seceded:
            secede()
            self._seceded = True
        super().step_aside()


def hold_place(attempt: str) -> None:
    """Take a place of the worker for a job that stepped aside, until it does so again or ends. A task of the worker.

    Dask's own ``rejoin`` takes a thread's place without telling the scheduler, which then sends more than fits.
    """
    channel = _channels.get(attempt)
    if channel is not None:
        channel.hold_place()


async def _restart(client: Client, worker: str, name: str) -> None:
    with suppress(Exception):
        threads = (await client.scheduler.ncores(workers=[worker])).get(worker)
        tasks = (await client.scheduler.processing(workers=[worker])).get(worker, ())
        if threads == 1 and set(tasks) <= {name}:
            await client._run(_kill, workers=[worker], nanny=True, on_error="ignore")


async def _kill(dask_worker: Nanny) -> None:
    """Called in what watches over a worker. Dask's own restart would wait 4 seconds for a step to end."""
    await dask_worker.kill(timeout=0.1)


def _deliver(attempt: str, order: Any) -> None:
    """Called in the worker, beside its job."""
    channel = _channels.get(attempt)
    if channel is not None:
        channel.deliver(order)
