"""Workers for tests: threads of this process in the place of processes."""

import threading
import uuid
from collections import deque

import torch

from smoot_explore.engine.channel import Channel, JobEnded, JobStopped
from smoot_explore.engine.workers import Ended, Started
from smoot_explore.errors import reason


class ThreadWorkers:
    """Does jobs in threads, as many at once as ``n``; each attempt is a worker of its own.

    A thread cannot be ended: an attempt that is lost or restarted ends when it looks for orders.
    """

    def __init__(self, n=1):
        self.n, self.restarted = n, []
        self._works, self._waiting, self._channels = {}, deque(), {}
        self._unwanted = set()  # jobs and attempts
        self._places = threading.Semaphore(n)

    def listen(self, heard, failed, gone):
        self._heard, self._failed, self._gone = heard, failed, gone

    def submit(self, name, work):
        self._works[name] = work
        self._waiting.append(name)
        threading.Thread(target=self._serve, daemon=True).start()

    def deliver(self, worker, attempt, order):
        channel = self._channels.get(attempt)
        if channel is not None:
            channel.deliver(order)

    def forget(self, name):
        self._unwanted.add(name)

    def come_back(self, name, worker, attempt):
        threading.Thread(target=self._hold, args=[attempt], daemon=True).start()

    def _hold(self, attempt):
        with self._places:
            channel = self._channels.get(attempt)
            if channel is not None:
                channel.hold_place()

    def restart(self, worker, name):
        self.restarted.append(worker)
        self._unwanted.add(worker)

    def close(self):
        self._unwanted.update(self._works)

    def lose(self, job):
        """As when the worker process of a job is lost: another begins with it."""
        self._unwanted.add(job.worker)
        self._gone(job.worker)
        self.submit(job.name, self._works[job.name])

    def _serve(self):
        torch.set_num_threads(1)
        self._places.acquire()
        name, attempt = self._waiting.popleft(), uuid.uuid4().hex
        channel = self._channels[attempt] = _InThread(
            self._places,
            lambda report: self._heard(name, attempt, report),
            lambda: self._unwanted.isdisjoint((name, attempt)),
        )
        if name not in self._unwanted:
            self._carry_out(name, attempt, channel)
        del self._channels[attempt]
        channel.end()
        if not channel.stepped_aside:
            self._places.release()

    def _carry_out(self, name, attempt, channel):
        self._heard(name, attempt, Started(attempt))
        try:
            end = Ended(self._works[name](channel))
        except JobStopped:
            end = Ended(stopped=True)
        except JobEnded:
            return
        except Exception as error:
            end = Ended(problem=reason(error))
        self._heard(name, attempt, end)


class _InThread(Channel):
    def __init__(self, places, send, wanted):
        super().__init__(send, wanted)
        self.places, self.stepped_aside = places, False

    def step_aside(self):
        if not self.stepped_aside:
            self.stepped_aside = True
            self.places.release()
        super().step_aside()
