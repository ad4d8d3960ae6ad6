import io
import logging
import os
import signal

import pytest
from waiting import until

from smoot_explore.engine import cluster, own_worker
from smoot_explore.engine.cluster import close_workers, start_workers
from smoot_explore.engine.engine import Engine, Job
from smoot_explore.engine.own_worker import take_turn_at_gpus
from smoot_explore.engine.workers import DaskWorkers

torch = pytest.importorskip("torch")
pytest.importorskip("distributed")


def manners():
    """Of the process that this is called in."""
    group = own_worker._AUTOGROUP
    return {
        "session": os.getsid(0),
        "process": os.getpid(),
        "niceness": os.nice(0),
        "group": group.read_text() if group.exists() else None,
        "interrupt": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
    }


@pytest.mark.skipif(not hasattr(os, "setsid"), reason="sessions are Unix'")
def test_a_worker_of_this_computer_stands_back_behind_the_page_and_the_browser():
    client = start_workers(1, threads=1)
    try:
        found = client.submit(manners).result(timeout=60)
    finally:
        close_workers(client)
    assert found["session"] == found["process"]  # Linux shares the cores among sessions
    assert found["niceness"] == min(19, os.nice(0) + own_worker.NICENESS)
    assert found["group"] is None or found["group"].endswith(f"nice {own_worker.NICENESS}\n")
    assert found["interrupt"]


def test_the_workers_of_this_computer_take_turns_at_its_gpus(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    for number in range(3):
        monkeypatch.setattr(own_worker, "_numbers", [number])
        take_turn_at_gpus()
    monkeypatch.setattr(own_worker, "_numbers", [])  # of somebody's cluster, which chooses by itself
    take_turn_at_gpus()
    assert taken == [0, 1, 0]


def torch_threads(channel):
    return torch.get_num_threads()


def test_the_workers_of_this_computer_share_its_cores_by_default(monkeypatch):
    monkeypatch.setattr(cluster, "cores", lambda: 6)
    engine, job = Engine(DaskWorkers(2)), Job(torch_threads)
    try:
        engine.submit(job)
        until(lambda: job.over, 60)
    finally:
        engine.close()
    assert (job.result, job.problem) == (3, "")


def test_dask_writes_nothing_on_the_terminal_while_workers_end_and_writes_afterwards():
    log, written = logging.getLogger("distributed"), io.StringIO()
    terminal = logging.StreamHandler(written)
    client = start_workers(1, threads=1)
    before = log.level
    log.addHandler(terminal)
    log.setLevel(logging.DEBUG)
    try:
        close_workers(client)
        assert written.getvalue() == ""
        log.info("heard")
    finally:
        log.removeHandler(terminal)
        log.setLevel(before)
    assert written.getvalue() == "heard\n"
