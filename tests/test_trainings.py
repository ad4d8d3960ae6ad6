"""Trainings in the background."""

import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from waiting import after_step, until

from smoot_explore import DropRecord, EpochRecord, create_model, image_class, masking_curves, open_run, train
from smoot_explore.core.effect import masking_effect
from smoot_explore.core.probe import AccuracyDropProbe
from smoot_explore.engine.trainings import Prepared, StepReport, Training, TrainingPool, WatchReport
from smoot_explore.runs.run import Run


def small_model():
    """With dropout, so that every random number counts."""
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=3), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(400, 6)
    )


@pytest.fixture
def pool():
    return TrainingPool(workers=1)


@pytest.fixture
def make(data, config, tmp_path):
    """A training of six steps; `before` is called by the worker when it prepares."""
    made: list[Training] = []

    def make(before=lambda: None, max_minutes=60, **settings):
        chosen = config(**settings)
        number = len(made)

        def prepare():
            before()
            model = small_model()
            return Prepared(model, data, Run.create(tmp_path / str(number), chosen, model, data))

        made.append(Training(chosen, prepare, max_minutes))
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


def finish(pool, *trainings):
    for training in trainings:
        pool.submit(training)
    until(lambda: all(training.ended for training in trainings))


def straight(data, config):
    """The epochs of a plain `train`, with as many threads as a worker has."""

    def work():
        torch.set_num_threads(os.cpu_count() or 1)
        return list(train(small_model(), data, config))

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


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


def test_a_training_of_the_pool_equals_a_plain_one_and_is_on_disk(pool, make, data, config):
    training = make(alpha=100.0)
    assert (training.status, training.ended) == ("queued", False)
    finish(pool, training)
    assert (training.status, training.problem, training.step) == ("finished", "", 6)
    reports = training.reports()
    expected = straight(data, config(alpha=100.0))
    same_epochs(epochs_of(reports), expected)
    run = open_run(training.prepared.run.path)
    assert run.finished
    np.testing.assert_array_equal(run.record().k.values, [record.k for record in expected])
    assert isinstance(reports[0], StepReport)
    assert reports[0].record.step == 1
    assert 0 < reports[0].seconds_left <= 5 * training.seconds
    assert training.reports() == []


def test_a_paused_training_lets_the_next_one_of_the_queue_run(pool, make):
    first, second = make(), make()
    after_step(first, 1, first.pause)
    pool.submit(first)
    finish(pool, second)
    assert (first.status, first.step) == ("paused", 1)
    assert second.status == "finished"


@pytest.mark.parametrize("step", [1, 3, 5])
def test_going_on_gives_the_numbers_of_a_training_that_was_never_paused(pool, make, data, config, step):
    """With watched images, so that looking at them changes nothing either."""
    first, second = make(alpha=100.0), make(method="sgt")

    def pause():
        first.pause()
        first.watch(lambda model, train, k: np.arange(4))

    after_step(first, step, pause)
    pool.submit(first)
    finish(pool, second)
    assert (first.status, first.step) == ("paused", step)
    finish(pool, first)
    assert first.status == "finished"
    reports = first.reports()
    same_epochs(epochs_of(reports), straight(data, config(alpha=100.0)))
    assert any(isinstance(report, WatchReport) for report in reports)


def test_the_accuracy_drop_of_the_last_epoch_is_reported_and_in_the_run(pool, make):
    training = make()
    finish(pool, training)
    drop = drops_of(training.reports())[-1]
    assert (drop.epoch, drop.n_images) == (2.0, 24)
    record = open_run(training.prepared.run.path).record()
    np.testing.assert_array_equal(record.accuracy_drop[-1], drop.accuracy)
    assert not training.probe.problem


def test_a_paused_training_tells_the_accuracy_drop_of_its_weights_and_keeps_it_to_itself(pool, make, data):
    training = make()
    after_step(training, 4, training.pause)
    pool.submit(training)
    reports = []
    until(lambda: reports.extend(training.reports()) or any(d.epoch % 1 for d in drops_of(reports)))
    drop = drops_of(reports)[-1]
    assert (training.status, drop.epoch) == ("paused", pytest.approx(4 / 3))
    ids = drop.image_ids
    curves = masking_curves(training.prepared.model, data.test[ids], 10)
    np.testing.assert_allclose(drop.accuracy, 100 * curves.correct.mean("image"))
    record = open_run(training.prepared.run.path).record()
    assert "accuracy_drop" not in record or np.isnan(record.accuracy_drop).any()


@pytest.mark.parametrize("order", ["go on", "stop", "another waits"])
def test_measuring_at_a_pause_is_given_up_as_soon_as_there_is_something_better_to_do(
    pool, make, monkeypatch, order
):
    measuring, given = threading.Event(), threading.Event()
    training, other = make(), make(epochs=1)
    begin = AccuracyDropProbe._measure_slice

    def slow(self, curve):
        if curve.epoch % 1:
            measuring.set()
            assert given.wait(30)
        begin(self, curve)

    monkeypatch.setattr(AccuracyDropProbe, "_measure_slice", slow)
    after_step(training, 4, training.pause)
    pool.submit(training)
    assert measuring.wait(30)
    assert training.status == "paused"
    orders = {
        "go on": lambda: pool.submit(training),
        "stop": training.stop,
        "another waits": lambda: pool.submit(other),
    }
    orders[order]()
    given.set()
    finish(pool, *{"go on": [training], "stop": [], "another waits": [other]}[order])
    if order == "stop":
        finish(pool, other)
        assert training.status == "stopped"
    assert not [drop for drop in drops_of(training.reports()) if drop.epoch % 1]


def test_a_model_that_cannot_be_measured_is_trained_and_says_why(pool, make, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no memory for masking")

    monkeypatch.setattr("smoot_explore.core.probe.masking_curves", broken)
    training = make()
    with pytest.warns(UserWarning, match="no memory for masking"):
        finish(pool, training)
    assert training.status == "finished"
    assert training.probe.problem == "the accuracy drop is not measured while training: no memory for masking"


def test_a_pause_while_it_prepares_holds_before_the_first_step(pool, make):
    gate = Gate()
    training = make(gate)
    pool.submit(training)
    assert gate.reached.wait(30)
    assert training.status == "preparing"
    training.pause()
    gate.opened.set()
    until(lambda: training.status == "paused")
    assert training.step == 0
    finish(pool, training)
    assert (training.status, training.step) == ("finished", 6)


def test_paused_while_queued_it_gives_up_its_place_and_runs_once_when_it_goes_on(pool, make):
    gate, prepared = Gate(), []
    busy, waiting, other = make(gate), make(lambda: prepared.append(1)), make()
    for training in (busy, waiting, other):
        pool.submit(training)
    assert gate.reached.wait(30)
    waiting.pause()
    assert (waiting.status, pool.place(waiting), pool.place(other)) == ("paused", 0, 1)
    pool.submit(waiting)
    assert (pool.place(other), pool.place(waiting)) == (1, 2)
    waiting.pause()
    pool.submit(waiting)
    gate.opened.set()
    last = make()
    finish(pool, last)
    assert [t.status for t in (busy, waiting, other)] == ["finished"] * 3
    assert prepared == [1]


def test_a_training_is_never_worked_on_by_two_workers(make):
    pool = TrainingPool(workers=2)
    gates = [Gate(), Gate()]
    busy = [make(gate) for gate in gates]
    for training in busy:
        pool.submit(training)
    prepared = []
    waiting = make(lambda: prepared.append(1), epochs=4)
    pool.submit(waiting)
    for _ in range(3):
        waiting.pause()
        pool.submit(waiting)
    for gate in gates:
        gate.opened.set()
    until(lambda: waiting.ended)
    assert (waiting.status, waiting.problem, prepared) == ("finished", "", [1])


def test_a_training_stopped_in_the_queue_is_never_prepared(pool, make):
    gate, prepared = Gate(), []
    busy, stopped, last = make(gate), make(lambda: prepared.append(1)), make()
    for training in (busy, stopped, last):
        pool.submit(training)
    assert gate.reached.wait(30)
    stopped.stop()
    assert (stopped.status, stopped.ended) == ("stopped", True)
    assert (pool.place(stopped), pool.place(last)) == (0, 1)
    gate.opened.set()
    until(lambda: last.ended)
    assert (stopped.status, prepared, last.status) == ("stopped", [], "finished")


def test_a_stop_while_it_prepares_ends_before_the_first_step(pool, make):
    gate = Gate()
    training = make(gate)
    pool.submit(training)
    assert gate.reached.wait(30)
    training.stop()
    assert not training.ended
    gate.opened.set()
    until(lambda: training.ended)
    assert (training.status, training.step, training.reports()) == ("stopped", 0, [])


@pytest.mark.parametrize("pause_first", [True, False])
def test_a_stop_keeps_the_completed_epochs(pool, make, pause_first):
    training = make()
    after_step(training, 4, training.pause if pause_first else training.stop)
    pool.submit(training)
    if pause_first:
        until(lambda: training.status == "paused")
        training.stop()
    until(lambda: training.ended)
    assert (training.status, training.step) == ("stopped", 4)
    run = open_run(training.prepared.run.path)
    assert (run.epochs, run.finished) == (1, False)
    np.testing.assert_array_equal(run.record().k.values[0], epochs_of(training.reports())[0].k)


def test_trainings_run_first_come_first_served(pool, make):
    gate, order = Gate(), []
    busy = make(gate)
    pool.submit(busy)
    assert gate.reached.wait(30)
    trainings = [make(lambda i=i: order.append(i), epochs=1) for i in range(3)]
    for training in trainings:
        pool.submit(training)
    assert [pool.place(t) for t in (busy, *trainings)] == [0, 1, 2, 3]
    gate.opened.set()
    until(lambda: all(t.ended for t in trainings))
    assert order == [0, 1, 2]
    assert [pool.place(t) for t in trainings] == [0, 0, 0]


def test_one_more_than_may_wait_is_refused_and_stopped_ones_make_room(make):
    pool, gate = TrainingPool(workers=1, max_queue=2), Gate()
    pool.submit(make(gate))
    assert gate.reached.wait(30)
    first, second, third = make(), make(), make()
    pool.submit(first)
    pool.submit(second)
    with pytest.raises(RuntimeError, match="2 trainings are waiting already, the most.*try again when one"):
        pool.submit(third)
    assert pool.place(third) == 0
    first.stop()
    pool.submit(third)
    assert (pool.place(second), pool.place(third)) == (1, 2)
    gate.opened.set()
    until(lambda: third.ended)
    assert [t.status for t in (first, second, third)] == ["stopped", "finished", "finished"]


def test_with_no_queue_at_all_an_idle_worker_is_still_given_work(make):
    pool, gate = TrainingPool(workers=1, max_queue=0), Gate()
    busy, refused = make(gate), make()
    pool.submit(busy)
    assert gate.reached.wait(30)
    with pytest.raises(RuntimeError, match="0 trainings are waiting already"):
        pool.submit(refused)
    gate.opened.set()
    until(lambda: busy.ended and pool._working == 0)
    finish(pool, refused)
    assert refused.status == "finished"


def test_as_many_trainings_compute_at_once_as_there_are_workers(make):
    together = threading.Barrier(2)
    one, two = (make(lambda: together.wait(30), epochs=1) for _ in range(2))
    finish(TrainingPool(workers=2), one, two)
    assert (one.status, two.status) == ("finished", "finished")


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (ValueError("the folder holds no images"), "the folder holds no images"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_what_cannot_be_prepared_fails_with_its_reason_and_the_worker_lives_on(pool, make, error, problem):
    def fail():
        raise error

    bad, good = make(fail), make(epochs=1)
    finish(pool, bad, good)
    assert (bad.status, bad.problem, bad.prepared) == ("failed", problem, None)
    assert (good.status, len(pool._threads)) == ("finished", 1)


def test_an_infinite_loss_fails_with_advice_and_the_worker_lives_on(pool, make):
    bad, good = make(optimizer="sgd", learning_rate=1e30), make(epochs=1)
    finish(pool, bad, good)
    assert bad.status == "failed"
    pattern = r"not finite \(epoch 1, step 2: (nan|inf)\)\. Try a smaller learning_rate \(now 1e\+30\)"
    assert re.search(pattern, bad.problem)
    assert good.status == "finished"
    assert open_run(bad.prepared.run.path).epochs == 0


def test_a_training_that_computes_too_long_is_ended_and_says_so(pool, make):
    training = make(max_minutes=1e-9)
    finish(pool, training)
    assert (training.status, training.step) == ("failed", 1)
    assert training.problem.startswith("stopped after 1e-09 minutes, the longest that this server trains")


def test_waiting_and_pausing_are_no_computing_time(pool, make):
    training = make()
    after_step(training, 2, training.pause)
    pool.submit(training)
    until(lambda: training.status == "paused")
    before = training.seconds
    threading.Event().wait(0.2)
    assert training.seconds == before > 0


def test_a_live_change_takes_effect_at_the_next_step_and_is_in_the_record(pool, make):
    training = make(alpha=0.0)
    after_step(training, 4, lambda: training.config.param.update(alpha=500.0, kl_weight=2.0))
    finish(pool, training)
    first, second = epochs_of(training.reports())
    assert (first.k == 512).all()
    assert 0 < (second.k != 512).sum() <= 35  # the 25 and 10 images of the steps 5 and 6
    expected = [(5, 2, "alpha", 0.0, 500.0), (5, 2, "kl_weight", 1.0, 2.0)]
    run = open_run(training.prepared.run.path)
    for changes in (training.changes, run.changes):
        assert [(c.step, c.epoch, c.name, c.old, c.new) for c in changes] == expected


def test_a_model_that_has_hardly_begun_is_not_judged(pool, make):
    training = make()
    training.watch(lambda model, train, k: np.arange(3))
    finish(pool, training)
    seen = [report for report in training.reports() if isinstance(report, WatchReport)]
    assert seen
    assert [report.classes for report in seen] == [None] * len(seen)


def test_watched_images_are_looked_at_as_the_model_is(pool, make, data, monkeypatch):
    monkeypatch.setattr("smoot_explore.engine.trainings.FIRST_VERDICT_SECONDS", 0)
    training = make(alpha=100.0, top_n=3, signed=False, fill="mean")
    after_two = []

    def chooser(model, train, k):
        if training.step < 2:
            training.watch(chooser)
            return np.array([5, 2])
        after_two.append(k.copy())
        training.stop()
        return np.array([5, 2])

    training.watch(chooser)
    finish(pool, training)
    seen = [report for report in training.reports() if isinstance(report, WatchReport)][-1]
    k = after_two[0][[5, 2]]
    expected = masking_effect(
        training.prepared.model, data.train[[5, 2]], k, fill="mean", signed=False, top_n=3
    )
    assert (seen.positions.tolist(), seen.step) == ([5, 2], 2)
    np.testing.assert_array_equal(seen.k, k)
    for found, wanted in zip(seen.effect, expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    curves = masking_curves(training.prepared.model, data.train[[5, 2]], 20)
    assert seen.classes.tolist() == image_class(curves).values.tolist()


def test_a_page_that_is_asleep_loses_the_oldest_reports_not_the_memory(pool, make, monkeypatch):
    monkeypatch.setattr("smoot_explore.engine.trainings.REPORT_SECONDS", 0)
    training = make(epochs=7, batch_size=1, method="traditional")
    finish(pool, training)
    reports = training.reports()
    assert len(reports) == 400
    assert reports[-1].epoch == 7


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
