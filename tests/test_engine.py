"""Jobs in worker processes."""

import os
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from waiting import in_a_thread, until
from workers import ThreadWorkers

from smoot_explore import EpochRecord, create_model, load_data, open_run, train
from smoot_explore.engine.channel import JobStopped
from smoot_explore.engine.engine import Engine, Job
from smoot_explore.engine.recipe import Recipe
from smoot_explore.engine.trainings import Training
from smoot_explore.engine.workers import DaskWorkers, Ended, Started

pytest.importorskip("distributed")

PATIENCE = 60  # seconds: processes start slowly on a busy computer


@pytest.fixture(scope="module")
def engine():
    made = Engine(DaskWorkers(2, threads=1))
    yield made
    made.close()


@dataclass(frozen=True)
class Wait:
    """Tells its process, and works until a file is there."""

    file: Path

    def __call__(self, channel):
        channel.report(os.getpid())
        until(self.file.exists, PATIENCE)


def obedient(channel):
    channel.report("begun")
    channel.wait()
    raise JobStopped


@dataclass(frozen=True)
class Meet:
    """Works until another does at the same time."""

    mine: Path
    other: Path

    def __call__(self, channel):
        self.mine.touch()
        until(self.other.exists, PATIENCE)


def sleep(channel):
    """Looks at no order for a minute."""
    channel.report(os.getpid())
    time.sleep(60)


def explode(what):
    raise KeyError(what)


class Unreadable:
    def __reduce__(self):
        return explode, ("a class of one's own",)


def unreadable(channel):
    channel.report(Unreadable())
    channel.wait()


def gluttony(channel):
    eaten = []
    while True:
        eaten.append(np.ones(10 * 2**20, np.uint8))
        time.sleep(0.01)


def told(work, **callbacks):
    """A job and the list of what it reports."""
    reports = []
    return Job(work, reports.append, **callbacks), reports


def processes():
    """Those of this one, but for Python's own that removes what others leave behind."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]


def workers_pids(engine):
    return engine._workers._client.run(os.getpid)


@pytest.fixture
def make(engine, config, tmp_path):
    """A training of the paper's network on shapes."""
    made = []

    def make(engine=engine, **settings):
        recipe = Recipe(tmp_path / f"run-{len(made)}", "shapes", 60, 24, "cnn")
        made.append(Training(engine, config(batch_size=20, alpha=100.0, **settings), recipe))
        return made[-1]

    yield make
    for training in made:
        training.stop()


def same_as_plain(training):
    """Whether a run on the disk has the numbers of a plain training."""
    config = training.config
    data = load_data("shapes", 60, 24)
    expected = in_a_thread(lambda: list(train(create_model("cnn", data, seed=config.seed), data, config)))()
    run = open_run(training.recipe.path)
    record = run.record()
    np.testing.assert_array_equal(record.k.values, [epoch.k for epoch in expected])
    np.testing.assert_array_equal(record.train_loss, np.float32([epoch.train_loss for epoch in expected]))
    return run.finished


def test_an_engine_that_is_not_used_starts_nothing():
    before = processes()
    unused = Engine(DaskWorkers(2))
    assert unused._workers._client is None
    unused.close()
    assert processes() == before


def test_a_training_in_a_process_equals_a_plain_one_and_is_on_the_disk(engine, make):
    training = make(epochs=2)
    training.start()
    until(lambda: training.ended, PATIENCE)
    assert (training.status, training.problem, training.step) == ("finished", "", 6)
    assert [report.epoch for report in training.reports() if isinstance(report, EpochRecord)] == [1, 2]
    assert same_as_plain(training)


def test_a_training_whose_process_is_killed_goes_on_from_its_last_epoch_bit_by_bit(engine, make):
    training, reports = make(epochs=12), []
    training.start()

    def first_epoch():
        reports.extend(training.reports())
        return any(isinstance(report, EpochRecord) for report in reports)

    until(first_epoch, PATIENCE)
    os.kill(workers_pids(engine)[training._job.worker], signal.SIGKILL)
    until(lambda: training.lost, 5)
    until(lambda: training.ended, PATIENCE)
    assert (training.status, training.problem, training.lost) == ("finished", "", 1)
    assert training.ready.epochs >= 1
    assert same_as_plain(training)


def test_a_job_that_obeys_nothing_is_over_within_two_seconds_and_its_neighbour_goes_on(engine, tmp_path):
    stubborn, pids = told(sleep)
    other, others = told(Wait(tmp_path / "go"))
    engine.submit(stubborn)
    engine.submit(other)
    until(lambda: pids and others, PATIENCE)
    asked = time.monotonic()
    engine.stop(stubborn, "stop")
    until(lambda: stubborn.over, 2)
    assert time.monotonic() - asked < 2
    assert stubborn.status == "stopped"
    until(lambda: not psutil.pid_exists(pids[0]), 5)  # 1 s when nothing else goes on
    (tmp_path / "go").touch()
    until(lambda: other.over, PATIENCE)
    assert (other.status, other.attempts, len(pids)) == ("finished", 1, 1)


def test_a_job_that_stops_as_ordered_keeps_its_process(monkeypatch):
    monkeypatch.setattr("smoot_explore.engine.engine.GRACE_SECONDS", 0.5)
    workers = ThreadWorkers()
    engine, (job, reports) = Engine(workers), told(obedient)
    engine.submit(job)
    until(lambda: reports)
    engine.stop(job, "stop")
    until(lambda: job.over)
    time.sleep(0.6)
    engine.close()
    assert (job.status, workers.restarted) == ("stopped", [])


@pytest.mark.parametrize("listener", ["heard", "begun"])
def test_a_listener_that_fails_ends_its_job_with_the_reason_and_no_other(listener, caplog):
    def fails(*what):
        raise KeyError("unheard of")

    engine = Engine(ThreadWorkers(2))
    job, (other, reports) = Job(obedient, **{listener: fails}), told(obedient)
    engine.submit(job)
    until(lambda: job.over)
    assert (job.status, "cannot be taken: " in job.problem, "unheard of" in job.problem) == (
        "failed",
        True,
        True,
    )
    engine.submit(other)
    until(lambda: reports)
    engine.stop(other, "stop")
    until(lambda: other.over)
    assert other.status == "stopped"
    assert "unheard of" in caplog.text
    engine.close()


def test_a_report_that_the_server_cannot_read_fails_its_job_and_no_other(engine, tmp_path):
    secretive, (other, _) = Job(unreadable), told(Wait(tmp_path / "go"))
    (tmp_path / "go").touch()
    engine.submit(secretive)
    engine.submit(other)
    until(lambda: secretive.over and other.over, PATIENCE)
    assert (secretive.status, other.status) == ("failed", "finished")
    assert "what it reports cannot be read: " in secretive.problem


def test_two_jobs_work_at_the_same_time(engine, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    jobs = [Job(Meet(one, two)), Job(Meet(two, one))]
    for job in jobs:
        engine.submit(job)
    until(lambda: all(job.over for job in jobs), PATIENCE)
    assert [job.status for job in jobs] == ["finished", "finished"]


def test_jobs_begin_first_come_first_served_at_whichever_worker_is_free(engine, tmp_path):
    begun, jobs = [], []
    for number in range(6):
        job, _ = told(Wait(tmp_path / str(number)), begun=lambda attempt, number=number: begun.append(number))
        engine.submit(job)
        jobs.append(job)
        until(lambda number=number: number > 1 or number in begun, PATIENCE)
    for number in range(1, 6):  # the first one keeps its worker
        (tmp_path / str(number)).touch()
    until(lambda: all(job.over for job in jobs[1:]), PATIENCE)
    assert begun == list(range(6))
    (tmp_path / "0").touch()
    until(lambda: jobs[0].over, PATIENCE)


def test_a_paused_training_gives_its_process_to_others_and_goes_on_as_if_nothing_was(engine, make, tmp_path):
    busy, _ = told(Wait(tmp_path / "go"))
    engine.submit(busy)
    training, other, stopped = make(epochs=4), make(epochs=1), make(epochs=1000)
    training.start()
    until(lambda: training.step > 0, PATIENCE)
    training.pause()
    until(lambda: training.status == "paused", PATIENCE)
    other.start()
    until(lambda: other.ended, PATIENCE)
    assert (other.status, training.status) == ("finished", "paused")
    training.start()
    until(lambda: training.ended, PATIENCE)
    assert (training.status, training.lost) == ("finished", 0)
    assert same_as_plain(training)
    stopped.start()
    until(lambda: stopped.step > 0, PATIENCE)
    stopped.pause()
    until(lambda: stopped.status == "paused", PATIENCE)
    stopped.stop()
    until(lambda: stopped.ended, 2)
    (tmp_path / "go").touch()
    until(lambda: busy.over, PATIENCE)
    assert (stopped.status, busy.status, busy.attempts) == ("stopped", "finished", 1)


def test_after_a_pause_no_worker_is_given_more_than_it_has_place_for(engine, make, tmp_path):
    """Dask's own ``rejoin`` leaves the scheduler believing that the worker is free."""
    training = make(epochs=1000)
    training.start()
    until(lambda: training.step > 0, PATIENCE)
    training.pause()
    until(lambda: training.status == "paused", PATIENCE)
    training.start()
    until(lambda: training.status == "running", PATIENCE)
    jobs = [told(Wait(tmp_path / str(number)))[0] for number in range(3)]
    for number, job in enumerate(jobs):
        engine.submit(job)
        until(lambda job=job: job.worker, PATIENCE)  # on the other worker
        assert job.worker != training._job.worker
        (tmp_path / str(number)).touch()
        until(lambda job=job: job.over, PATIENCE)
    training.stop()
    until(lambda: training.ended, PATIENCE)
    assert (training.status, training.lost) == ("stopped", 0)


def test_one_that_waits_for_its_place_after_a_pause_is_stopped_without_harm_to_who_has_it(
    engine, make, tmp_path
):
    training, others = make(epochs=1000), [told(Wait(tmp_path / "go"))[0] for _ in range(2)]
    training.start()
    until(lambda: training.step > 0, PATIENCE)
    training.pause()
    until(lambda: training.status == "paused", PATIENCE)
    for other in others:
        engine.submit(other)
    until(lambda: all(other.worker for other in others), PATIENCE)
    training.start()
    time.sleep(1)
    assert training.status == "queued"
    training.stop()
    until(lambda: training.ended, 5)
    (tmp_path / "go").touch()
    until(lambda: all(other.over for other in others), PATIENCE)
    assert [(other.status, other.attempts) for other in others] == [("finished", 1)] * 2


def test_a_job_given_up_just_as_it_begins_ends_or_its_process_does(monkeypatch):
    monkeypatch.setattr("smoot_explore.engine.engine.GRACE_SECONDS", 0.2)

    class Slow(ThreadWorkers):
        """Tells that a job begins when the engine has given it up already."""

        def submit(self, name, work):
            pass

        def restart(self, worker, name):
            self.restarted.append(worker)

    workers = Slow()
    engine, jobs = Engine(workers), {worker: Job(str) for worker in ("obeys", "works on")}
    for worker, job in jobs.items():
        engine.submit(job)
        engine.stop(job, "stop")
        workers._heard(job.name, f"attempt that {worker}", Started(worker))
    workers._heard(jobs["obeys"].name, "attempt that obeys", Ended(stopped=True))
    until(lambda: workers.restarted, 5)
    time.sleep(0.3)
    assert workers.restarted == ["works on"]


def test_a_frozen_worker_keeps_nobody_waiting_and_is_ended(engine, make, tmp_path):
    frozen, frozen_pids = told(sleep)
    engine.submit(frozen)
    until(lambda: frozen_pids, PATIENCE)
    os.kill(frozen_pids[0], signal.SIGSTOP)
    engine.order(frozen, "an order that nobody takes")
    other, pids = told(Wait(tmp_path / "go"))
    engine.submit(other)
    until(lambda: pids, PATIENCE)
    engine.stop(frozen, "stop")
    until(lambda: not psutil.pid_exists(frozen_pids[0]), 5)
    (tmp_path / "go").touch()
    until(lambda: other.over, PATIENCE)
    assert (frozen.status, other.status) == ("stopped", "finished")


def test_a_job_whose_worker_retires_goes_on_at_another(make):
    own = Engine(DaskWorkers(2, threads=1))
    training = make(own, epochs=200)
    training.start()
    until(lambda: training.step > 0, PATIENCE)
    client, first = own._workers._client, training._job.worker
    client.wait_for_workers(2, timeout=PATIENCE)
    held = client.scatter(
        "what somebody needs", workers=[first]
    )  # to be moved first: the job sees that it retires
    client.sync(client.scheduler.retire_workers, workers=[first], close_workers=True)
    until(lambda: training.lost == 1 and training.status == "running", PATIENCE)
    assert training._job.worker != first
    training.stop()
    until(lambda: training.ended, PATIENCE)
    assert (training.status, training.problem) == ("stopped", "")
    del held
    own.close()


def test_what_ends_with_another_job_is_not_taken_for_hopeless():
    workers = ThreadWorkers(2)
    engine, (job, reports) = Engine(workers), told(obedient)
    engine.submit(job)
    until(lambda: reports)
    for attempt in range(5):
        neighbour = Job(obedient, worker=job.worker)  # at the same worker, and does not obey
        engine._jobs[neighbour.name] = neighbour
        engine._end_process(neighbour)
        workers.lose(job)
        until(lambda attempt=attempt: job.attempts == attempt + 2)
    assert job.status == "working"
    engine.stop(job, "stop")
    until(lambda: job.over)
    engine.close()


def test_an_engine_that_is_closed_takes_no_jobs():
    engine = Engine(ThreadWorkers())
    engine.close()
    with pytest.raises(RuntimeError, match="has been stopped"):
        engine.submit(Job(obedient))


def test_an_order_to_a_process_that_is_lost_keeps_nobody_waiting(engine, tmp_path):
    job, pids = told(Wait(tmp_path / "go"))
    engine.submit(job)
    until(lambda: pids, PATIENCE)
    lost = job.worker
    os.kill(pids[0], signal.SIGKILL)
    until(lambda: lost not in engine._workers._client.scheduler_info()["workers"], PATIENCE)
    engine._workers.deliver(lost, job.attempt, "order")
    (tmp_path / "go").touch()
    until(lambda: job.over, PATIENCE)
    assert (job.status, job.attempts) == ("finished", 2)


def test_all_processes_listen_on_loopback_alone(engine):
    workers_pids(engine)
    me = psutil.Process()
    addresses = {
        connection.laddr.ip
        for process in (me, *me.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


def test_a_client_without_the_keys_is_refused(engine):
    from distributed import Client

    address = engine._workers._client.scheduler.address
    assert address.startswith("tls://127.0.0.1:")
    with pytest.raises(OSError, match="Timed out|closed|connect"):
        Client(address.replace("tls:", "tcp:"), timeout=2, set_as_default=False)


def test_a_job_that_takes_too_much_memory_fails_with_advice_and_closing_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(processes())
    small = Engine(DaskWorkers(1, threads=1, memory=900 * 10**6))
    greedy, (other, _) = Job(gluttony), told(Wait(tmp_path / "go"))
    (tmp_path / "go").touch()
    small.submit(greedy)
    small.submit(other)
    until(lambda: greedy.over and other.over, 2 * PATIENCE)
    assert (greedy.status, other.status) == ("failed", "finished")
    assert "was lost 3 times before anything was finished. It may need more memory" in greedy.problem
    small.close()
    until(lambda: set(processes()) <= before, PATIENCE)
    assert [path.name for path in tmp_path.iterdir()] == ["go"]


def test_any_number_of_jobs_may_be_submitted_at_once(engine):
    """Dask's scheduler and its client, in one process, once waited for each other."""
    jobs = [Job(str) for _ in range(100)]
    for job in jobs:
        engine.submit(job)
    until(lambda: all(job.over for job in jobs), PATIENCE)
    assert {job.status for job in jobs} == {"finished"}
