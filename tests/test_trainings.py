"""Trainings in the background."""

import re
import threading
import time
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from waiting import after_step, delivered, in_a_thread, until
from workers import ThreadWorkers

from smoot_explore import DropRecord, EpochRecord, create_model, image_class, masking_curves, open_run, train
from smoot_explore.core.effect import masking_effect
from smoot_explore.core.probe import AccuracyDropProbe
from smoot_explore.engine import trainings
from smoot_explore.engine.engine import FRUITLESS, Engine
from smoot_explore.engine.recipe import Prepared
from smoot_explore.engine.training_work import TELLING_STEPS, Ready, StepReport
from smoot_explore.engine.trainings import Training
from smoot_explore.engine.watching import WatchReport
from smoot_explore.runs.run import Run


def small_model():
    """With dropout, so that every random number counts."""
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=3), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(400, 6)
    )


class SmallRecipe:
    """Calls ``before`` in the worker, and keeps the model that it made last."""

    def __init__(self, path, images, before):
        self.path, self.images, self.before = path, images, before
        self.claim = path.with_name(f".{path.name}.claim")

    def prepare(self, config):
        self.before()
        self.model = small_model()
        if self.path.exists():
            run = open_run(self.path, model=self.model, data=self.images)
        else:
            run = Run.create(self.path, config, self.model, self.images)
        return Prepared(self.model, self.images, run)


@pytest.fixture(autouse=True)
def every_step(monkeypatch):
    """Every step is reported."""
    monkeypatch.setattr("smoot_explore.engine.training_work.REPORT_SECONDS", 0)


@pytest.fixture
def workers():
    return ThreadWorkers(1)


@pytest.fixture
def engine(workers):
    return Engine(workers)


@pytest.fixture
def make(engine, data, config, tmp_path):
    """A training of six steps; `before` is called by the worker when it prepares."""
    made: list[Training] = []

    def make(before=lambda: None, max_minutes=60, engine=engine, **settings):
        recipe = SmallRecipe(tmp_path / str(len(made)), data, before)
        made.append(Training(engine, config(**settings), recipe, max_minutes))
        return made[-1]

    yield make
    for training in made:
        training.stop()


class Gate:
    """Keeps a worker while it prepares."""

    def __init__(self):
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self):
        self.reached.set()
        assert self.opened.wait(30)


def finish(*trainings):
    for training in trainings:
        training.start()
    until(lambda: all(training.ended for training in trainings))


def straight(data, config):
    """The epochs of a plain `train`, with as many threads as a worker has."""
    return in_a_thread(lambda: list(train(small_model(), data, config)))()


def epochs_of(reports):
    return [report for report in reports if isinstance(report, EpochRecord)]


def drops_of(reports):
    return [report for report in reports if isinstance(report, DropRecord)]


def same_epochs(found, expected):
    assert len(found) == len(expected) > 0
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.k, two.k)
        np.testing.assert_array_equal(one.delta, two.delta)
        assert (one.train_loss, one.test_accuracy) == (two.train_loss, two.test_accuracy)


def test_a_training_of_the_engine_equals_a_plain_one_and_is_on_disk(make, data, config):
    training = make(alpha=100.0)
    assert (training.status, training.ended) == ("new", False)
    finish(training)
    assert (training.status, training.problem, training.step) == ("finished", "", 6)
    reports = training.reports()
    expected = straight(data, config(alpha=100.0))
    same_epochs(epochs_of(reports), expected)
    run = open_run(training.recipe.path)
    assert run.finished
    np.testing.assert_array_equal(run.record().k.values, [record.k for record in expected])
    ready, first = reports[:2]
    assert ready == training.ready == Ready(training.config.to_dict(), epochs=0, steps_per_epoch=3)
    assert isinstance(first, StepReport)
    assert first.record.step == 1
    assert training.reports() == []


def test_the_first_step_which_prepares_much_says_nothing_about_the_time_that_is_left(make, monkeypatch):
    monkeypatch.setattr("smoot_explore.engine.training_work.REPORT_SECONDS", 0)
    monkeypatch.setattr("smoot_explore.engine.training_work.TELLING_STEPS", 1)
    training = make()
    finish(training)
    first, *others = [r.seconds_left for r in training.reports() if isinstance(r, StepReport)]
    assert np.isnan(first)
    assert all(0 <= left <= 5 * training.seconds for left in others)
    assert others[0] > 0


def test_nothing_is_said_of_the_time_left_before_enough_steps(make, monkeypatch):
    monkeypatch.setattr("smoot_explore.engine.training_work.REPORT_SECONDS", 0)
    training = make(epochs=4)
    finish(training)
    told = {r.record.step: r.seconds_left for r in training.reports() if isinstance(r, StepReport)}
    assert all(np.isnan(left) == (step < 1 + TELLING_STEPS) for step, left in told.items())
    assert {np.isnan(left) for left in told.values()} == {True, False}


def test_who_waits_for_a_worker_to_start_waits_for_no_other_training(make):
    starting = threading.Event()

    class Slow(ThreadWorkers):
        def submit(self, *job):
            assert starting.wait(30)
            super().submit(*job)

    made = partial(make, engine=Engine(Slow(1)))
    first, second = made(epochs=1), made(epochs=1)
    first.start()
    second.start()
    assert (first.status, first.place, second.place) == ("queued", 0, 1)
    starting.set()
    until(lambda: second.ended)


def test_a_paused_training_lets_the_next_one_of_the_queue_run(make):
    first, second = make(), make()
    after_step(first, 1, first.pause)
    first.start()
    finish(second)
    assert (first.status, first.step) == ("paused", 1)
    assert second.status == "finished"


@pytest.mark.parametrize("step", [1, 3, 5])
def test_going_on_gives_the_numbers_of_a_training_that_was_never_paused(make, data, config, step):
    """With watched images, so that looking at them changes nothing either."""
    first, second = make(alpha=100.0), make(method="sgt")

    def pause():
        first.pause()
        first.watch(lambda model, train, k: np.arange(4))

    after_step(first, step, pause)
    first.start()
    finish(second)
    assert (first.status, first.step) == ("paused", step)
    finish(first)
    assert first.status == "finished"
    reports = first.reports()
    same_epochs(epochs_of(reports), straight(data, config(alpha=100.0)))
    assert any(isinstance(report, WatchReport) for report in reports)


def test_the_accuracy_drop_of_the_last_epoch_is_reported_and_in_the_run(make):
    training = make()
    finish(training)
    drop = drops_of(training.reports())[-1]
    assert (drop.epoch, drop.n_images) == (2.0, 24)
    record = open_run(training.recipe.path).record()
    np.testing.assert_array_equal(record.accuracy_drop[-1], drop.accuracy)
    assert not training.probe_problem


def test_a_paused_training_tells_the_accuracy_drop_of_its_weights_and_keeps_it_to_itself(make, data):
    training = make()
    after_step(training, 4, training.pause)
    training.start()
    reports = []
    until(lambda: reports.extend(training.reports()) or any(d.epoch % 1 for d in drops_of(reports)))
    drop = drops_of(reports)[-1]
    assert (training.status, drop.epoch) == ("paused", pytest.approx(4 / 3))
    ids = drop.image_ids
    curves = masking_curves(training.recipe.model, data.test[ids], 10)
    np.testing.assert_allclose(drop.accuracy, 100 * curves.correct.mean("image"))
    record = open_run(training.recipe.path).record()
    assert "accuracy_drop" not in record or np.isnan(record.accuracy_drop).any()


@pytest.fixture
def slow_at_pauses(monkeypatch):
    """Measuring at a pause waits: two events, that it has begun and that it may go on."""
    begun, allowed = threading.Event(), threading.Event()
    measure = AccuracyDropProbe._measure_slice

    def slow(self, curve):
        if curve.epoch % 1:
            begun.set()
            assert allowed.wait(30)
        measure(self, curve)

    monkeypatch.setattr(AccuracyDropProbe, "_measure_slice", slow)
    yield begun, allowed
    allowed.set()


@pytest.mark.parametrize("order", ["go on", "stop"])
def test_measuring_at_a_pause_is_given_up_as_soon_as_there_is_something_better_to_do(
    make, slow_at_pauses, order
):
    begun, allowed = slow_at_pauses
    training = make()
    after_step(training, 4, training.pause)
    training.start()
    assert begun.wait(30)
    until(lambda: training.status == "paused")
    {"go on": training.start, "stop": training.stop}[order]()
    delivered(training)
    allowed.set()
    until(lambda: training.ended)
    assert training.status == {"go on": "finished", "stop": "stopped"}[order]
    assert not [drop for drop in drops_of(training.reports()) if drop.epoch % 1]


def test_nobody_waits_while_a_pause_is_measured(make, slow_at_pauses):
    begun, allowed = slow_at_pauses
    training, other = make(), make(epochs=1)
    after_step(training, 4, training.pause)
    training.start()
    assert begun.wait(30)
    finish(other)
    assert (training.status, other.status) == ("paused", "finished")
    allowed.set()
    until(lambda: any(drop.epoch % 1 for drop in drops_of(training.reports())))


def test_a_model_that_cannot_be_measured_is_trained_and_says_why(make, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no memory for masking")

    monkeypatch.setattr("smoot_explore.core.probe.masking_curves", broken)
    training = make()
    with pytest.warns(UserWarning, match="no memory for masking"):
        finish(training)
    assert training.status == "finished"
    assert training.probe_problem == "the accuracy drop is not measured while training: no memory for masking"


def test_a_pause_while_it_prepares_holds_before_the_first_step(make):
    gate = Gate()
    training = make(gate)
    training.start()
    assert gate.reached.wait(30)
    assert training.status == "preparing"
    training.pause()
    gate.opened.set()
    until(lambda: training.status == "paused")
    assert training.step == 0
    finish(training)
    assert (training.status, training.step) == ("finished", 6)


def test_paused_while_queued_it_gives_up_its_place_and_runs_once_when_it_goes_on(make):
    gate, prepared = Gate(), []
    busy, waiting, other = make(gate), make(lambda: prepared.append(1)), make()
    for training in (busy, waiting, other):
        training.start()
    assert gate.reached.wait(30)
    waiting.pause()
    assert (waiting.status, waiting.place, other.place) == ("paused", 0, 1)
    waiting.start()
    assert (other.place, waiting.place) == (1, 2)
    waiting.pause()
    waiting.start()
    gate.opened.set()
    last = make()
    finish(last)
    assert [t.status for t in (busy, waiting, other)] == ["finished"] * 3
    assert prepared == [1]


def test_a_training_is_never_worked_on_by_two_workers(make):
    engine = Engine(ThreadWorkers(2))
    gates = [Gate(), Gate()]
    busy = [make(gate, engine=engine) for gate in gates]
    for training in busy:
        training.start()
    assert all(gate.reached.wait(30) for gate in gates)
    prepared = []
    waiting = make(lambda: prepared.append(1), engine=engine, epochs=4)
    waiting.start()
    for _ in range(3):
        waiting.pause()
        waiting.start()
    for gate in gates:
        gate.opened.set()
    until(lambda: waiting.ended)
    assert (waiting.status, waiting.problem, prepared) == ("finished", "", [1])


def test_a_training_stopped_in_the_queue_is_never_prepared(make):
    gate, prepared = Gate(), []
    busy, stopped, last = make(gate), make(lambda: prepared.append(1)), make()
    for training in (busy, stopped, last):
        training.start()
    assert gate.reached.wait(30)
    stopped.stop()
    assert (stopped.status, stopped.ended) == ("stopped", True)
    assert (stopped.place, last.place) == (0, 1)
    gate.opened.set()
    until(lambda: last.ended)
    assert (stopped.status, prepared, last.status) == ("stopped", [], "finished")


def test_a_stop_while_it_prepares_ends_before_the_first_step(make):
    gate = Gate()
    training = make(gate)
    training.start()
    assert gate.reached.wait(30)
    training.stop()
    assert not training.ended
    gate.opened.set()
    until(lambda: training.ended)
    assert (training.status, training.step) == ("stopped", 0)
    assert all(isinstance(report, Ready) for report in training.reports())


@pytest.mark.parametrize("pause_first", [True, False])
def test_a_stop_keeps_the_completed_epochs(make, pause_first):
    training = make()
    after_step(training, 4, training.pause if pause_first else training.stop)
    training.start()
    if pause_first:
        until(lambda: training.status == "paused")
        training.stop()
    until(lambda: training.ended)
    assert (training.status, training.step) == ("stopped", 4)
    run = open_run(training.recipe.path)
    assert (run.epochs, run.finished) == (1, False)
    np.testing.assert_array_equal(run.record().k.values[0], epochs_of(training.reports())[0].k)


@pytest.mark.parametrize("order", ["stop", "watch"])
def test_a_pause_is_stopped_and_looked_at_though_another_has_the_place(make, workers, order):
    gate = Gate()
    training, other = make(), make(gate)
    after_step(training, 4, training.pause)
    training.start()
    other.start()
    assert gate.reached.wait(30)
    if order == "stop":
        training.stop()
        until(lambda: training.ended)
        assert (training.status, training.step) == ("stopped", 4)
    else:
        training.reports()
        training.watch(lambda model, train, k: np.array([3, 1]))
        reports = []
        until(lambda: reports.extend(training.reports()) or any(isinstance(r, WatchReport) for r in reports))
        (seen,) = (report for report in reports if isinstance(report, WatchReport))
        assert (seen.positions.tolist(), seen.step, len(seen.classes)) == ([3, 1], 4, 2)
        assert training.status == "paused"
    assert workers.restarted == []
    gate.opened.set()


def test_a_training_that_does_not_obey_is_ended_with_its_process(make, workers, monkeypatch):
    monkeypatch.setattr("smoot_explore.engine.engine.GRACE_SECONDS", 0.05)
    gate = Gate()
    training = make(gate)
    training.start()
    assert gate.reached.wait(30)
    worker = training._job.worker
    training.stop()
    until(lambda: training.ended)
    delivered(training)
    assert (training.status, workers.restarted) == ("stopped", [worker])
    gate.opened.set()


# A worker is lost


@pytest.mark.parametrize("step", [2, 4, 5])
def test_a_training_whose_worker_is_lost_goes_on_from_its_last_epoch_bit_by_bit(
    make, workers, data, config, step
):
    training = make(alpha=100.0)
    after_step(training, step, lambda: workers.lose(training._job))
    finish(training)
    assert (training.status, training.lost, training.step) == ("finished", 1, 6)
    reports, expected = training.reports(), straight(data, config(alpha=100.0))
    assert [report.epochs for report in reports if isinstance(report, Ready)] == [0, step // 3]
    same_epochs(epochs_of(reports), expected)
    record = open_run(training.recipe.path).record()
    np.testing.assert_array_equal(record.k.values, [epoch.k for epoch in expected])
    assert training.changes == []


def test_a_worker_that_was_taken_for_lost_and_lives_on_never_trains_beside_its_successor(make):
    workers, gate, begun = ThreadWorkers(2), Gate(), []

    def before():
        begun.append(1)
        gate()

    training = make(before, engine=Engine(workers))
    training.start()
    assert gate.reached.wait(30)
    workers.lose(training._job)
    until(lambda: len(workers._channels) == 2)  # the successor has its place
    time.sleep(0.5)
    assert begun == [1]  # and waits
    gate.opened.set()
    until(lambda: training.ended)
    assert (training.status, len(begun), training.lost) == ("finished", 2, 1)


def test_the_loss_of_a_worker_is_told_before_another_has_begun(make, workers):
    training = make(epochs=1000)
    training.start()
    until(lambda: training.step > 0)
    workers.submit = lambda name, work: None  # another process takes its time
    workers.lose(training._job)
    assert (training.status, training.lost) == ("preparing", 1)


def test_live_changes_are_kept_when_a_worker_is_lost(make, workers):
    training = make(alpha=1.0, epochs=3)
    moves = [(2, {"alpha": 2.0}), (4, {"alpha": 3.0}), (5, None)]

    def chooser(model, train, k):
        training.watch(chooser)
        if moves and training.step == moves[0][0]:
            _, moved = moves.pop(0)
            if moved is None:
                workers.lose(training._job)
            else:
                training.config.param.update(**moved)
        delivered(training)
        return np.empty(0, int)

    training.watch(chooser)
    finish(training)
    found = [(change.step, change.name, change.old, change.new) for change in training.changes]
    assert found == [(3, "alpha", 1.0, 2.0), (4, "alpha", 2.0, 3.0)]  # epoch 2 was begun again
    assert training.changes == open_run(training.recipe.path).changes


def test_a_training_is_given_up_when_its_worker_is_lost_again_and_again_before_an_epoch(make, workers):
    lost = []

    def lose():
        lost.append(1)
        workers.lose(training._job)

    training, good = make(lose), make(epochs=1)
    finish(training, good)
    assert (training.status, len(lost), good.status) == ("failed", FRUITLESS, "finished")
    assert re.match(
        "its worker process was lost 3 times before .* try fewer or smaller images", training.problem
    )


def test_a_training_may_lose_any_number_of_workers_while_it_makes_progress(make, workers):
    training, losses = make(epochs=6), [4, 7, 10, 13, 16]

    def chooser(model, train, k):
        training.watch(chooser)
        delivered(training)
        if training.step in losses:
            losses.remove(training.step)
            workers.lose(training._job)
        return np.empty(0, int)

    training.watch(chooser)
    finish(training)
    assert (training.status, training.lost, losses) == ("finished", 5, [])


def test_what_a_worker_that_was_given_up_reports_is_not_heard(make):
    workers, gate, prepared = ThreadWorkers(2), Gate(), []

    def before():
        prepared.append(1)
        if len(prepared) == 1:
            gate()

    training = make(before, engine=Engine(workers))
    training.start()
    assert gate.reached.wait(30)
    after_step(training, 4, training.pause)
    first = training._job.attempt
    workers.lose(training._job)
    until(lambda: training._job.attempt != first)
    gate.opened.set()  # the successor waits for it: the first holds the run's folder
    until(lambda: first not in workers._channels)
    until(lambda: training.status == "paused")
    assert [report.epochs for report in training.reports() if isinstance(report, Ready)] == [0]
    assert (training.status, training.step) == ("paused", 4)


def test_a_stop_holds_when_the_worker_is_lost_before_it_obeys(make, monkeypatch):
    monkeypatch.setattr("smoot_explore.engine.engine.GRACE_SECONDS", 0.5)
    workers, gate, prepared = ThreadWorkers(2), Gate(), []

    def before():
        prepared.append(1)
        gate()

    training = make(before, engine=Engine(workers))
    training.start()
    assert gate.reached.wait(30)
    training.stop()
    workers.lose(training._job)
    until(lambda: training.ended)
    assert training.status == "stopped"
    gate.opened.set()


# The queue


def test_the_settings_at_the_time_a_worker_begins_count(make):
    gate = Gate()
    busy, waiting = make(gate), make(alpha=1.0)
    busy.start()
    waiting.start()
    assert gate.reached.wait(30)
    waiting.config.param.update(alpha=33.0, batch_size=30, epochs=1)
    gate.opened.set()
    until(lambda: waiting.ended)
    run = open_run(waiting.recipe.path)
    assert [run.start_config[name] for name in ("alpha", "batch_size", "epochs")] == [33.0, 30, 1]
    assert (waiting.step, waiting.changes, run.changes) == (2, [], [])


def test_a_training_that_was_refused_no_longer_follows_its_settings(make):
    make, gate = partial(make, engine=Engine(ThreadWorkers(1), max_queue=0)), Gate()
    make(gate).start()
    assert gate.reached.wait(30)
    refused = make()
    before = len(refused.config.param.watchers)
    with pytest.raises(RuntimeError):
        refused.start()
    assert len(refused.config.param.watchers) == before
    gate.opened.set()


def test_trainings_run_first_come_first_served(make):
    gate, order = Gate(), []
    busy = make(gate)
    busy.start()
    assert gate.reached.wait(30)
    trainings = [make(lambda i=i: order.append(i), epochs=1) for i in range(3)]
    for training in trainings:
        training.start()
    assert [t.place for t in (busy, *trainings)] == [0, 1, 2, 3]
    gate.opened.set()
    until(lambda: all(t.ended for t in trainings))
    assert order == [0, 1, 2]
    assert [t.place for t in trainings] == [0, 0, 0]


def test_one_more_than_may_wait_is_refused_and_stopped_ones_make_room(make):
    gate, make = Gate(), partial(make, engine=Engine(ThreadWorkers(1), max_queue=2))
    make(gate).start()
    assert gate.reached.wait(30)
    first, second, third = make(), make(), make()
    first.start()
    second.start()
    with pytest.raises(RuntimeError, match="2 trainings are waiting already, the most.*try again when one"):
        third.start()
    assert (third.status, third.place) == ("new", 0)
    first.stop()
    third.start()
    assert (second.place, third.place) == (1, 2)
    gate.opened.set()
    until(lambda: third.ended)
    assert [t.status for t in (first, second, third)] == ["stopped", "finished", "finished"]


@pytest.mark.parametrize("becomes_idle", ["at its end", "in a pause"])
def test_with_no_queue_at_all_an_idle_worker_is_still_given_work(make, becomes_idle):
    gate, make = Gate(), partial(make, engine=Engine(ThreadWorkers(1), max_queue=0))
    busy, refused = make(gate), make()
    busy.start()
    assert gate.reached.wait(30)
    with pytest.raises(RuntimeError, match="0 trainings are waiting already"):
        refused.start()
    if becomes_idle == "in a pause":
        busy.pause()
    gate.opened.set()
    until(lambda: busy.status in ("finished", "paused"))
    finish(refused)
    assert refused.status == "finished"


def test_as_many_trainings_compute_at_once_as_there_are_workers(make):
    together, engine = threading.Barrier(2), Engine(ThreadWorkers(2))
    one, two = (make(lambda: together.wait(30), engine=engine, epochs=1) for _ in range(2))
    finish(one, two)
    assert (one.status, two.status) == ("finished", "finished")


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (ValueError("the folder holds no images"), "the folder holds no images"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_what_cannot_be_prepared_fails_with_its_reason_and_the_worker_lives_on(make, error, problem):
    def fail():
        raise error

    bad, good = make(fail), make(epochs=1)
    finish(bad, good)
    assert (bad.status, bad.problem, bad.ready) == ("failed", problem, None)
    assert good.status == "finished"


def test_an_infinite_loss_fails_with_advice_and_the_worker_lives_on(make):
    bad, good = make(optimizer="sgd", learning_rate=1e30), make(epochs=1)
    finish(bad, good)
    assert bad.status == "failed"
    pattern = r"not finite \(epoch 1, step 2: (nan|inf)\)\. Try a smaller learning_rate \(now 1e\+30\)"
    assert re.search(pattern, bad.problem)
    assert good.status == "finished"
    assert open_run(bad.recipe.path).epochs == 0


def test_a_training_that_computes_too_long_is_ended_and_says_so(make):
    training = make(max_minutes=1e-9)
    finish(training)
    assert (training.status, training.step) == ("failed", 1)
    assert training.problem.startswith("stopped after 1e-09 minutes, the longest that this server trains")


def test_waiting_and_pausing_are_no_computing_time(make):
    training = make()
    after_step(training, 2, training.pause)
    training.start()
    until(lambda: training.status == "paused")
    before = training.seconds
    threading.Event().wait(0.2)
    assert training.seconds == before > 0


def test_a_live_change_takes_effect_at_the_next_step_and_is_in_the_record(make):
    training = make(alpha=0.0)
    after_step(training, 4, lambda: training.config.param.update(alpha=500.0, kl_weight=2.0))
    finish(training)
    first, second = epochs_of(training.reports())
    assert (first.k == 512).all()
    assert 0 < (second.k != 512).sum() <= 35  # the 25 and 10 images of the steps 5 and 6
    expected = [(5, 2, "alpha", 0.0, 500.0), (5, 2, "kl_weight", 1.0, 2.0)]
    run = open_run(training.recipe.path)
    for changes in (training.changes, run.changes):
        assert [(c.step, c.epoch, c.name, c.old, c.new) for c in changes] == expected


def test_a_model_that_has_hardly_begun_is_not_judged(make):
    training = make()
    training.watch(lambda model, train, k: np.arange(3))
    finish(training)
    seen = [report for report in training.reports() if isinstance(report, WatchReport)]
    assert seen
    assert [report.classes for report in seen] == [None] * len(seen)


def test_watched_images_are_looked_at_as_the_model_is(make, data, monkeypatch):
    monkeypatch.setattr("smoot_explore.engine.training_work.FIRST_VERDICT_SECONDS", 0)
    training = make(alpha=100.0, top_n=3, signed=False, fill="mean")
    ks = []

    def chooser(model, train, k):
        if training.step < 2:
            training.watch(chooser)
        else:
            ks.append(k.copy())
            training.pause()
        delivered(training)
        return np.array([5, 2])

    training.watch(chooser)
    training.start()
    until(lambda: training.status == "paused")
    seen = [report for report in training.reports() if isinstance(report, WatchReport)][-1]
    k = ks[0][[5, 2]]
    expected = masking_effect(
        training.recipe.model, data.train[[5, 2]], k, fill="mean", signed=False, top_n=3
    )
    assert (seen.positions.tolist(), seen.step) == ([5, 2], 2)
    np.testing.assert_array_equal(seen.k, k)
    for found, wanted in zip(seen.effect, expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    curves = masking_curves(training.recipe.model, data.train[[5, 2]], 20)
    assert seen.classes.tolist() == image_class(curves).values.tolist()


def test_the_last_look_at_the_watched_images_is_after_the_last_step(make, monkeypatch):
    monkeypatch.setattr("smoot_explore.engine.training_work.LOOK_SECONDS", 600)
    training = make(epochs=2)
    training.watch(lambda model, train, k: np.arange(3))
    finish(training)
    reports = training.reports()
    seen = [report.step for report in reports if isinstance(report, WatchReport)]
    assert seen == [epochs_of(reports)[-1].step]  # of several, the newest is kept


def test_a_page_that_is_asleep_misses_some_steps_and_no_epoch(make, monkeypatch):
    monkeypatch.setattr(trainings, "MOST_STEPS", 10)
    training = make(epochs=7, batch_size=1, method="traditional")
    training.watch(lambda model, images, k: np.array([5]))
    finish(training)
    reports = training.reports()
    assert isinstance(reports[0], Ready)
    assert [epoch.epoch for epoch in epochs_of(reports)] == [1, 2, 3, 4, 5, 6, 7]
    assert drops_of(reports)[-1].epoch == 7
    steps = [report.record.step for report in reports if isinstance(report, StepReport)]
    assert (steps[0], steps[-1], len(steps) <= 10) == (1, 7 * 60 - 1, True)
    assert steps == sorted(steps)
    assert sum(isinstance(report, WatchReport) for report in reports) <= 1


def test_initial_weights_are_the_same_while_another_training_draws_random_numbers(data, config):
    first = create_model("cnn", data, seed=3).state_dict()
    records = train(create_model("cnn", data), data, config(epochs=1000), every=1)
    ended = threading.Event()

    def draw() -> None:
        while not ended.is_set():
            next(records)

    drawing = threading.Thread(target=draw)
    drawing.start()
    try:
        for _ in range(20):
            again = create_model("cnn", data, seed=3).state_dict()
            assert all(torch.equal(first[name], again[name]) for name in first)
    finally:
        ended.set()
        drawing.join()
