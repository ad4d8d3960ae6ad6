"""Workers for tests: threads of this process in the place of processes."""

import threading
import uuid
from collections import deque
from contextlib import contextmanager

import torch

from smoot_explore.engine.channel import Channel, JobEnded
from smoot_explore.engine.workers import Ended, Started
from smoot_explore.errors import reason


class ThreadWorkers:
    """Does jobs in threads, as many at once as ``n``. A thread cannot be ended: `restart` notes that it was asked."""

    def __init__(self, n=1):
        self.n, self.restarted = n, []
        self._waiting, self._channels, self._unwanted = deque(), {}, set()
        self._places = threading.Semaphore(n)

    def listen(self, heard, failed):
        self._heard, self._failed = heard, failed

    def submit(self, name, work):
        self._waiting.append((name, work))
        threading.Thread(target=self._serve, daemon=True).start()

    def deliver(self, worker, attempt, order):
        if attempt in self._channels:
            self._channels[attempt].deliver(order)

    def forget(self, name):
        self._unwanted.add(name)

    def restart(self, worker):
        self.restarted.append(worker)

    def close(self):
        pass

    def lose(self, name, work):
        """Begin a job again, as when its worker is lost."""
        self.submit(name, work)

    def _serve(self):
        torch.set_num_threads(1)
        with self._places:
            name, work = self._waiting.popleft()
            if name not in self._unwanted:
                self._carry_out(name, work)

    def _carry_out(self, name, work):
        attempt = uuid.uuid4().hex
        channel = _InThread(
            lambda report: self._heard(name, attempt, report), lambda: name not in self._unwanted
        )
        channel.places = self._places
        self._channels[attempt] = channel
        self._heard(name, attempt, Started("thread"))
        try:
            end = Ended(work(channel))
        except JobEnded:
            return
        except Exception as error:
            end = Ended(problem=reason(error))
        self._heard(name, attempt, end)


class _InThread(Channel):
    @contextmanager
    def aside(self):
        self.places.release()
        try:
            yield
        finally:
            self.places.acquire()
