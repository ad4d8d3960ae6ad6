"""What a visitor has chosen and what follows from it."""

import copy
import functools
import gc
import io
import json
import math
import re
import tempfile
import threading
import weakref
from types import SimpleNamespace

import h5netcdf
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from waiting import after_step, until
from workers import ThreadWorkers

from smoot_explore import (
    TrainingConfig,
    bundled_runs,
    create_model,
    image_class,
    load_data,
    masking_curves,
    open_run,
    peak_fraction,
    saliency,
    simulate_k,
    views,
)
from smoot_explore.core.adaptation import k_change
from smoot_explore.core.choices import REGISTERED
from smoot_explore.core.classes import class_changes, less_random
from smoot_explore.core.effect import masking_effect
from smoot_explore.core.landscape import next_k
from smoot_explore.core.records import Change, DropRecord
from smoot_explore.core.rules import KSettings, move_by_magnitude, register_k_rule
from smoot_explore.engine.background import OPENING
from smoot_explore.engine.engine import Engine
from smoot_explore.engine.watching import WATCH, choose
from smoot_explore.explorer.equation import equation_html
from smoot_explore.explorer.export import compare_page
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state.address import IMAGES, IMAGES_BEFORE
from smoot_explore.explorer.state.compare import CompareState, missing_maps
from smoot_explore.explorer.state.dynamics import seen_of
from smoot_explore.explorer.state.image import HALVES, PAGE, predicted
from smoot_explore.explorer.state.move import k_move
from smoot_explore.explorer.state.session import SessionState
from smoot_explore.explorer.state.train import TrainState
from smoot_explore.explorer.state.whatif import WhatIfState
from smoot_explore.explorer.tabs.image import verdict
from smoot_explore.explorer.tabs.images import ImagesTab, share_html
from smoot_explore.explorer.tabs.train import TrainTab
from smoot_explore.runs.compare import compare_runs
from smoot_explore.views.palette import SERIES
from smoot_explore.views.pictures import SCALES, map_limits

load_shapes = functools.cache(functools.partial(load_data, "shapes"))


def small_model(data, seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=3), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(400, data.n_classes)
    )


class Gate:
    """Makes models, and keeps the worker before it when closed."""

    def __init__(self):
        self.opened, self.reached = threading.Event(), threading.Event()
        self.opened.set()

    def __call__(self, data, seed):
        self.reached.set()
        assert self.opened.wait(30)
        return small_model(data, seed)


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    """All of the shapes are sixty training and 24 test images."""

    def shapes(name, n_train=60, n_test=24, *, root):
        assert name == "shapes"
        return load_shapes(n_train, n_test)

    monkeypatch.setattr("smoot_explore.engine.recipe.shared_data", shapes)
    monkeypatch.setattr("smoot_explore.explorer.state.train.TEST_IMAGES", 24)


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def visit(tmp_path, gate):
    """A visitor's state; trainings have two epochs of two steps."""
    sessions = []

    def visit(engine=None, **options):
        operator = ServerSettings(runs=tmp_path / "runs", max_trainings=1, **options)
        made = SessionState(
            operator, engine or Engine(ThreadWorkers()), {"small": small_model, "gated": gate}
        )
        made.train.param.update(data_name="shapes", model_name="small", train_images=40)
        made.train.config.param.update(epochs=2, batch_size=20, device="cpu", precision="float32")
        made.address.remember_defaults()
        sessions.append(made)
        return made

    yield visit
    gate.opened.set()
    for session in sessions:
        session.close()


@pytest.fixture
def session(visit):
    return visit()


@pytest.fixture(autouse=True)
def every_step(monkeypatch):
    """Every step is reported."""
    monkeypatch.setattr("smoot_explore.engine.training_work.REPORT_SECONDS", 0)


def poll_to_end(state):
    until(lambda: state.poll() is None or state.training.ended)
    while state.poll():
        pass


def train_to_end(state):
    state.start()
    poll_to_end(state)
    assert (state.status, state.problem) == ("finished", "")


def record_of(state):
    """What the run of the training holds by now."""
    return open_run(state.run.path).record()


# Train


@pytest.mark.parametrize("method", ["traditional", "sgt", "smoot"])
def test_a_training_fills_the_plots_with_what_its_run_records(session, method):
    state = session.train
    state.config.param.update(method=method, alpha=100.0)
    assert (state.status, state.busy, state.share, state.run) == ("new", False, 0.0, None)
    train_to_end(state)
    record = record_of(state)
    assert (state.step, state.steps_per_epoch, state.share, state.seconds_left) == (4, 2, 1.0, 0.0)
    assert not state.busy
    assert [scores.epoch for scores in state.history.scores] == [1, 2]
    np.testing.assert_allclose([s.test_accuracy for s in state.history.scores], record.test_accuracy)
    np.testing.assert_allclose([s.train_accuracy for s in state.history.scores], record.train_accuracy)
    assert [point.epoch for point in state.history.points] == [0.5, 1.0, 1.5, 2.0]
    np.testing.assert_array_equal(state.history.k, record.k[-1])
    last = sorted(float(k) for k in state.history.k)
    assert state.history.points[-1].spread[[0, 3, 6]].tolist() == [
        last[0],
        pytest.approx((last[19] + last[20]) / 2),
        last[-1],
    ]
    both = np.mean([point.cross_entropy for point in state.history.points[:2]])
    assert both == pytest.approx(float(record.cross_entropy[0]), rel=1e-5)
    assert np.isnan(state.history.points[0].kl) == (method == "traditional")
    if method == "traditional":
        assert state.history.moments == []
    else:
        assert [moment.epoch for moment in state.history.moments] == [0, 0.5, 1, 1.5, 2]
        np.testing.assert_array_equal(state.history.moments[0].k, np.full(40, 512))
        np.testing.assert_array_equal(state.history.moments[2].k, record.k[0])


def test_live_changes_are_told_of_marked_and_recorded(session, gate):
    state = session.train
    state.model_name = "gated"
    state.config.param.update(epochs=20, alpha=10.0)
    gate.opened.clear()
    state.start()
    for step, moved in ((2, {"alpha": 20.0}), (4, {"alpha": 30.0}), (25, {"alpha": 5.0, "k_min": 0.3})):
        next_one = functools.partial(state.config.param.update, **moved)
        if step == 2:
            orders = []
        orders.append((step, next_one))

    def act(at=0):
        orders[at][1]()
        if at + 1 < len(orders):
            after_step(state.training, orders[at + 1][0], lambda: act(at + 1))

    after_step(state.training, 2, act)
    gate.opened.set()
    until(lambda: state.training.ended)
    while state.poll():
        pass
    expected = [
        Change(3, 2, "alpha", 10.0, 20.0),
        Change(5, 3, "alpha", 20.0, 30.0),
        Change(26, 13, "alpha", 30.0, 5.0),
        Change(26, 13, "k_min", 0.2, 0.3),
    ]
    assert state.changes == expected == open_run(state.run.path).changes
    assert [change for _, change in state.flags] == [Change(5, 3, "alpha", 10.0, 30.0), *expected[2:]]
    assert state.bounds == [(0.0, 0.2, 0.8), (12.5, 0.3, 0.8)]
    assert (state.started.alpha, state.config.alpha) == (10.0, 5.0)


def test_what_is_moved_while_a_training_waits_is_how_it_starts(visit, gate):
    engine = Engine(ThreadWorkers())
    other, mine = visit(engine).train, visit(engine).train
    other.model_name = "gated"
    gate.opened.clear()
    other.start()
    assert gate.reached.wait(30)
    mine.start()
    assert (mine.status, mine.place) == ("queued", 1)
    mine.config.param.update(alpha=33.0, k_min=0.1)
    gate.opened.set()
    poll_to_end(mine)
    assert mine.run.start_config["alpha"] == mine.started.alpha == 33.0
    assert mine.bounds == [(0.0, 0.1, 0.8)]
    assert mine.changes == []


def test_a_training_is_followed_while_something_large_is_opened(session):
    opened = threading.Event()
    OPENING.submit(opened.wait, 60)
    try:
        train_to_end(session.train)
        assert len(session.train.history.scores) == 2
    finally:
        opened.set()


def test_a_paused_training_frees_the_worker_for_another_visitor_and_goes_on_as_if_nothing_was(visit, gate):
    engine = Engine(ThreadWorkers())
    first, second, straight = (visit(engine).train for _ in range(3))
    for state in (first, straight):
        state.config.alpha = 100.0
    first.model_name = "gated"
    gate.opened.clear()
    first.start()
    after_step(first.training, 1, first.pause)
    training = first.training
    gate.opened.set()
    until(lambda: training.status == "paused")
    first.poll()
    assert (first.status, first.step, first.busy) == ("paused", 1, True)
    train_to_end(second)
    train_to_end(straight)
    first.start()
    assert first.training is training
    poll_to_end(first)
    np.testing.assert_array_equal(record_of(first).k, record_of(straight).k)
    np.testing.assert_array_equal(record_of(first).train_loss, record_of(straight).train_loss)


def test_a_training_whose_worker_is_lost_goes_on_with_all_that_was_shown(visit, gate):
    workers = ThreadWorkers()
    state = visit(Engine(workers)).train
    state.model_name = "gated"
    state.config.param.update(epochs=3, alpha=10.0)
    gate.opened.clear()
    state.start()
    training = state.training

    def move():
        state.config.alpha = 100.0
        after_step(training, 3, lambda: workers.lose(training._job))

    after_step(training, 1, move)
    gate.opened.set()
    until(lambda: training.ended)
    while state.poll():
        pass
    assert (state.status, state.problem, state.step) == ("finished", "", 6)
    assert state.lost == "Its worker process was lost: another went on after epoch 1"
    assert [scores.epoch for scores in state.history.scores] == [1, 2, 3]
    assert state.changes == open_run(state.run.path).changes == [Change(2, 1, "alpha", 10.0, 100.0)]
    np.testing.assert_array_equal(state.history.k, record_of(state).k[-1])


def test_reset_and_train_start_from_identical_weights(session, gate, monkeypatch):
    state, weights = session.train, []
    state.models["gated"] = lambda data, seed: (gate(data, seed), create_model("cnn", data, seed=seed))[1]
    state.model_name = "gated"
    for seed in (0, 0, 1):
        state.reset()
        state.config.seed = seed
        gate.opened.clear()
        gate.reached.clear()
        state.start()
        assert gate.reached.wait(30)
        state.pause()
        gate.opened.set()
        until(lambda: state.training.status == "paused")
        state.poll()
        assert (state.status, state.step, state.run.epochs) == ("paused", 0, 0)
        weights.append(safetensors.torch.load_file(state.run.path / "model.safetensors"))
    first, again, other = (torch.cat([w.flatten() for w in each.values()]) for each in weights)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_same_settings_train_to_the_same_numbers_again(session):
    state, records = session.train, []
    state.param.update(model_name="cnn", train_images=20)
    state.config.epochs = 1
    for _ in range(2):
        train_to_end(state)
        records.append(record_of(state))
    assert float(records[0].train_loss[0]) == float(records[1].train_loss[0])
    np.testing.assert_array_equal(*(record.k for record in records))


def test_reset_empties_the_plots_and_leaves_the_sliders(session):
    state = session.train
    state.config.alpha = 77.0
    train_to_end(state)
    state.reset()
    history = state.history
    shown = (history.points, history.scores, history.moments, history.drops, state.changes, state.bounds)
    assert shown == ([], [], [], [], [], [])
    assert (state.status, state.history.k, state.seen, state.run, state.share) == (
        "new",
        None,
        None,
        None,
        0.0,
    )
    assert state.move() is None
    assert state.config.alpha == 77.0
    assert not state.poll()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k_min": 0.9}, "k_min=0.9 is above k_max=0.8"),
        ({"model_name": "resnet188"}, "unknown model 'resnet188'"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_what_is_shown_stays(session, changes, message):
    state = session.train
    state.show_preview(session.catalogue.open("bundled/smoot"))
    for name, value in changes.items():
        setattr(state if name == "model_name" else state.config, name, value)
    with pytest.raises(ValueError, match=message):
        state.start()
    assert (state.preview.key, len(state.history.scores), state.training) == ("bundled/smoot", 8, None)


def test_the_preview_of_a_run_without_a_probe_has_the_accuracy_drop_of_its_curves(session, monkeypatch):
    opened = session.catalogue.open("bundled/smoot")
    unprobed = opened.run.record().drop_vars(["accuracy_drop", "masked_fraction"])
    monkeypatch.setattr(opened, "record", unprobed)
    session.train.show_preview(opened)
    (drop,) = session.train.history.drops
    correct = opened.run.curves().correct.sel(fill="black", attribution="gradient")
    assert drop.accuracy == pytest.approx([100 * right.mean() for right in correct.values.T])
    assert (drop.epoch, drop.n_images, drop.fill, drop.attribution) == (8, 1000, "black", "gradient")


def test_a_training_refused_by_a_full_queue_leaves_what_is_shown(visit, gate):
    engine = Engine(ThreadWorkers(), max_queue=0)
    other, mine = visit(engine).train, visit(engine)
    other.model_name = "gated"
    gate.opened.clear()
    other.start()
    assert gate.reached.wait(30)
    mine.train.show_preview(mine.catalogue.open("bundled/smoot"))
    with pytest.raises(RuntimeError, match="try again when one has finished"):
        mine.train.start()
    assert (mine.train.preview.key, len(mine.train.history.scores)) == ("bundled/smoot", 8)
    assert (mine.train.training, mine.train.busy) == (None, False)


def test_a_folder_of_images_is_offered_only_where_the_operator_allows_some(visit, tmp_path):
    with pytest.raises(ValueError, match="does not accept 'a folder of images'"):
        visit().train.data_name = "a folder of images"
    state = visit(data_folders=(tmp_path,)).train
    state.param.update(data_name="a folder of images", folder="/etc")
    with pytest.raises(ValueError, match="'/etc' is not among the folders"):
        state.start()
    assert state.training is None


def test_a_training_that_fails_says_why_and_another_can_follow(session):
    state = session.train
    state.config.param.update(optimizer="sgd", learning_rate=1e30)
    state.start()
    poll_to_end(state)
    assert state.status == "failed"
    assert "Try a smaller learning_rate" in state.problem
    state.config.param.update(learning_rate=0.01)
    train_to_end(state)


def test_closing_ends_the_training_and_deletes_its_files(visit, gate, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    session = visit()
    train_to_end(session.train)
    session.train.config.epochs = 1000
    session.train.start()
    training = session.train.training
    until(lambda: session.train.poll() and session.train.step > 2)
    assert len(list(tmp_path.glob("smoot_explore-*"))) == 1
    training.pause()
    until(lambda: training.status == "paused")
    session.close()
    until(lambda: training.status == "stopped")
    until(lambda: not list(tmp_path.glob("smoot_explore-*")))


def test_closing_while_a_training_prepares_leaves_no_file(visit, gate, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    session = visit()
    session.train.model_name = "gated"
    gate.opened.clear()
    session.train.start()
    training = session.train.training
    assert gate.reached.wait(30)
    session.close()
    gate.opened.set()
    until(lambda: training.ended)
    until(lambda: not list(tmp_path.glob("smoot_explore-*")))


def test_closing_frees_models_and_data(visit, monkeypatch):
    monkeypatch.setattr(
        "smoot_explore.engine.recipe.shared_data", lambda *a, **o: copy.copy(load_shapes(60, 24))
    )
    session = visit()
    train_to_end(session.train)
    session.run_key = session.adopt_training()
    session.show_run()
    session.show_compared()
    kept = [weakref.ref(session.train.data), weakref.ref(session.image.opened.model)]
    assert all(one() is not None for one in kept)
    session.close()
    gc.collect()
    assert [one() for one in kept] == [None, None]


def test_thinning_the_history_keeps_its_ends_and_its_order(session, monkeypatch):
    monkeypatch.setattr("smoot_explore.core.history.MOST_MOMENTS", 10)
    state = session.train
    state.config.param.update(epochs=30, alpha=100.0)
    train_to_end(state)
    epochs = [moment.epoch for moment in state.history.moments]
    assert (epochs[0], epochs[-1]) == (0, 30)
    assert 5 <= len(epochs) <= 10
    assert epochs == sorted(set(epochs))
    assert (state.history.moments[0].k == 512).all()
    record = record_of(state)
    for moment in state.history.moments:
        if moment.epoch in record.epoch.values:
            np.testing.assert_array_equal(moment.k, record.k.sel(epoch=moment.epoch))
    state.seen = state.watch_now()
    k = state.history.k_of(state.seen.positions)
    assert k.epoch.values.tolist() == epochs
    for i, position in enumerate(state.seen.positions):
        assert k.values[:, i].tolist() == [moment.k[position] for moment in state.history.moments]


steps = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from(["alpha", "beta"]), st.floats(0, 1)), max_size=20
)


@given(steps, st.sampled_from([0, 8, 200]))
def test_marks_join_the_steps_of_a_sliders_way(moves, steps_per_epoch):
    """Against a plain grouping: a way of one slider ends where it rests for a quarter of an epoch, or ten steps, or
    where it would come back to its start."""
    state = TrainState(ServerSettings(), Engine(ThreadWorkers()))
    state.steps_per_epoch = steps_per_epoch
    value, step = {"alpha": 10.0, "beta": 0.5}, 1
    for pause, name, new in moves:
        step += pause
        state.changes.append(Change(step, 1, name, value[name], new))
        value[name] = new
    near = max(10, steps_per_epoch // 4)
    ways: list[list[Change]] = []
    for change in state.changes:
        own = [way for way in ways if way[0].name == change.name]
        if own and change.step - own[-1][-1].step <= near and change.new != own[-1][0].old:
            own[-1].append(change)
        else:
            ways.append([change])
    expected = [Change(w[-1].step, w[-1].epoch, w[0].name, w[0].old, w[-1].new) for w in ways]
    assert [change for _, change in state.flags] == expected


def moved(k=400.0, change=(0.5, -0.2), **given):
    """The move of one image of 1,000 pixels whose masking changes its probabilities by ``change``."""
    first, others = change
    clean = np.array([[0.3, 0.5, 0.2]], np.float32)
    masked = clean + np.array([[first, others, -first - others]], np.float32)
    effect = SimpleNamespace(clean_probabilities=clean, masked_probabilities=masked)
    asked = {"image": "Image 7 (boot)", "image_class": "II", **given}
    names = {"image", "image_class"}
    config = TrainingConfig(**{"top_n": 2, **{n: v for n, v in asked.items() if n not in names}})
    own = [asked[name] for name in ("image", "image_class")]
    return k_move(own[0], 0, own[1], k, effect, 0, ["boot", "<bag>", "coat"], config, config, 1000, 4)


def words(html):
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_the_card_has_the_numbers_of_the_equations():
    move = moved(alpha=10, beta=0.75)  # Δ = 0.75·0.5 + 0.25·(−0.2) = 0.325
    assert (move.delta, move.step, move.next_k) == tuple(
        pytest.approx(v, abs=1e-4) for v in (0.325, 3.25, 403.25)
    )
    card = equation_html(move)
    text = words(card)
    assert "Image 7 (boot), class II (masking some of its strongest pixels raises its probability)." in text
    assert "k 403.2 ← clip( k 400.0 + α 10 · Δ +0.325 , bounds 200 … 800 )" in text
    assert "Δ +0.325 = β 0.75 · Δ₁ +0.500 + 1−β 0.25 · Δ₂…₂ −0.200" in text
    assert "Without the 400 pixels of lowest saliency the probability of boot changes by Δ₁ = +0.500" in text
    assert text.endswith("k moves by α·Δ = +3.25 pixels a visit, so more is masked next time.")
    assert 'aria-label="k becomes 403.2: 400.0 plus α 10 times Δ +0.325, between 200 … 800"' in card
    assert 'aria-label="Δ +0.325 is β 0.75 times +0.500 plus 0.25 times −0.200"' in card


@pytest.mark.parametrize(
    ("given", "end"),
    [
        ({"change": (-0.5, 0), "beta": 1, "alpha": 10}, "−5.00 pixels a visit, so less is masked next time."),
        ({"alpha": 0.0}, "+0.00 pixels a visit, so k stays."),
        ({"change": (0.0, 0.0)}, "+0.00 pixels a visit, so k stays."),
        ({"k": 799.0, "alpha": 10, "beta": 1.0}, "Its bounds (200 to 800 pixels) hold it at 800."),
        ({"k": 795.0, "alpha": 10, "beta": 1.0}, "so more is masked next time."),
        ({"k": 790.0, "alpha": 10, "beta": 1.0, "k_min": 0.9}, "Its bounds (800 to 900 pixels) hold it at 800."),
        ({"patch": 5, "alpha": 10, "beta": 1.0}, "+5.00 patches a visit, so more is masked next time."),
        ({"method": "sgt"}, "SGT keeps the same k for all images."),
        ({"method": "traditional"}, "Traditional training masks nothing: there is no k to move."),
        ({"k_rule": "magnitude"}, "This rule uses neither α and β nor the bounds."),
    ],
)  # fmt: skip
def test_the_card_ends_with_what_follows(given, end):
    assert words(equation_html(moved(**given))).endswith(end)


@pytest.mark.parametrize(
    ("image_class", "told"), [("I", "class I (masking its strongest"), (None, "not judged yet.")]
)
def test_the_card_tells_the_class(image_class, told):
    assert told in words(equation_html(moved(image_class=image_class)))


def test_the_next_k_is_that_of_the_rule_of_the_training():
    clean, masked = torch.tensor([[0.3, 0.5, 0.2]]), torch.tensor([[0.8, 0.3, -0.3]])
    change = k_change(clean, masked, torch.tensor([0]), beta=0.95, top_n=2)
    settings = KSettings(10.0, 200.0, 800.0, 1000)
    expected = move_by_magnitude(
        torch.tensor([400.0]), change, torch.tensor([0]), torch.tensor([4]), settings
    )
    assert moved(k_rule="magnitude").next_k == pytest.approx(float(expected))


def test_a_rule_of_ones_own_is_named_with_what_it_gives(monkeypatch):
    register_k_rule("<half>", lambda k, change, labels, epoch, settings: k / 2 + epoch)
    try:
        text = equation_html(moved(k_rule="<half>"))
    finally:
        del REGISTERED["k_rule"]["<half>"]
    assert "&lt;half&gt;" in text
    assert "<half>" not in text
    assert "k 204.0 ← &lt;half&gt;( k 400.0 , Δ" in words(text)
    assert moved().rule == "smoot"


def test_the_class_that_is_followed_may_be_the_predicted_one_and_names_are_escaped():
    text = words(equation_html(moved(delta_class="predicted", image="<script>")))
    assert " &lt;script&gt;, class II (" in text
    assert "the probability of &lt;bag&gt; changes by Δ₁ = −0.200" in text


def test_the_explained_image_is_the_framed_one_of_the_strip(session):
    state = session.train
    state.show_preview(session.catalogue.open("bundled/smoot"))
    for chosen in (1, len(state.seen.positions)):
        state.explained = chosen
        position = int(state.seen.positions[chosen - 1])
        label = state.data.class_names[int(state.data.train.labels[position])]
        move = state.move()
        assert move.image == f"Training image {int(state.data.train.image_ids[position])} ({label})"
        assert (move.followed, move.image_class) == (label, str(state.seen.classes[chosen - 1]))
        assert move.k == pytest.approx(float(state.history.k[position]))
        effect = state.seen.effect
        numbers = effect.label_change[chosen - 1], effect.runners_up_change[chosen - 1]
        assert (move.first, move.others) == tuple(pytest.approx(float(n), abs=1e-6) for n in numbers)
        assert state.framed_position == position


def test_the_framed_image_is_told_why_its_k_has_moved(session):
    state = session.train
    state.show_preview(session.catalogue.open("bundled/smoot"))
    tab = TrainTab(state, [], lambda position: None, lambda act: act(), lambda problem: None)
    record = state.preview.run.record()
    for chosen in (2, 3):
        state.explained = chosen
        k = record.k.values[:, state.framed_position]
        assert f"from 392.0 to {k[-1]:.1f} pixels over {len(k)} epochs" in tab.past.object
        (framed,) = (layer for layer in tab.pictures["k-watched"].sketch.layers if layer.role == "Framed")
        np.testing.assert_allclose(framed.numbers[1][:-1][-len(k) :], k)
        np.testing.assert_allclose(tab.moves.sketch.layers[-1].numbers[1][1:], k)
    state.reset()
    tab.clear()
    assert tab.past.object == tab.explanation.object == ""


@pytest.mark.parametrize("watch", WATCH)
def test_the_watched_images_are_those_asked_for(data, model, watch):
    k = np.random.default_rng(1).permutation(60).astype(float)
    found = choose(watch, model, data.train, k, n_judged=60)
    labels = data.train.labels.numpy()
    assert len(set(found.tolist())) == len(found) == 8
    if watch == "k rose most":
        assert k[found].tolist() == sorted(k, reverse=True)[:8]
    elif watch == "k fell most":
        assert k[found].tolist() == sorted(k)[:8]
    elif watch == "one of each label":
        first, second = ([int(np.flatnonzero(labels == y)[turn]) for y in range(6)] for turn in (0, 1))
        assert found.tolist() == sorted(first + sorted(second)[:2])
    elif watch == "class I and class II":
        probability = masking_curves(model, data.train, 10).probability.values
        rise = [max(row) - row[0] for row in probability.tolist()]
        second = [i for i in range(60) if rise[i] > 0.01]
        n = min(4, len(second))
        assert found[:n].tolist() == sorted(second, key=lambda i: -rise[i])[:n]
        assert not set(found[n:].tolist()) & set(second)


def test_fewer_images_than_the_strip_holds_are_all_watched(data, model):
    for watch in WATCH:
        few = data.train[:3]
        assert sorted(choose(watch, model, few, np.arange(3.0)).tolist()) == [0, 1, 2]


def test_a_preview_shows_a_finished_run_until_a_training_starts(session):
    state, opened = session.train, session.catalogue.open("bundled/smoot")
    state.show_preview(opened)
    record = opened.run.record()
    assert len(state.history.scores) == record.sizes["epoch"] == 8
    assert [moment.epoch for moment in state.history.moments] == list(range(9))
    np.testing.assert_array_equal(state.history.k, record.k[-1])
    np.testing.assert_allclose(state.history.points[2].spread[3], np.median(record.k[2]))
    assert not state.choose_watched()
    assert state.watch_now() is state.seen
    train_to_end(state)
    assert (state.preview, len(state.history.scores), len(state.history.k)) == (None, 2, 40)


def test_the_accuracy_drops_come_in_one_after_the_other_and_the_next_replaces_that_of_a_pause(session):
    def drop(epoch):
        protocol = ("black", "gradient", "signed", "highest", "float32")
        return DropRecord(epoch, np.array([0.0, 1.0]), np.array([50.0, epoch]), np.arange(3), *protocol)

    state = session.train
    told = [drop(1.0), drop(1.5), drop(2.0), drop(2.0), drop(3.0)]
    state.training = SimpleNamespace(
        reports=lambda: [told.pop(0)], changes=[], ended=False, status="running", stop=list
    )
    seen = []
    while told:
        assert state.poll()
        seen.append([drop.epoch for drop in state.history.drops])
    assert seen == [[1.0], [1.0, 1.5], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0, 3.0]]
    state.reset()
    assert state.history.drops == []


def test_a_preview_shows_the_accuracy_drops_of_its_record(session):
    state = session.train
    state.start()
    until(lambda: (state.poll(), state.training.ended)[1])
    state.poll()
    trained = state.history.drops
    assert trained[-1].epoch == 2.0
    run = open_run(state.run.path)
    state.show_preview(OpenedRun.open("own", "own", run, data=state.data, makers=state.models))
    assert state.history.drops[-1].epoch == 2.0
    np.testing.assert_array_equal(state.history.drops[-1].accuracy, trained[-1].accuracy)
    state.show_preview(session.catalogue.open("bundled/smoot"))
    measured = bundled_runs()[2].record().accuracy_drop.dropna("epoch")
    assert [drop.epoch for drop in state.history.drops] == measured.epoch.values.tolist()
    assert measured.epoch[-1] == 8


def test_the_bounds_of_a_preview_move_where_they_moved_in_its_training(session):
    train_to_end(session.train)
    opened = session.catalogue.open(session.adopt_training())
    changes = [
        Change(2, 1, "alpha", 10.0, 20.0),
        Change(3, 2, "k_min", 0.2, 0.3),
        Change(4, 2, "k_max", 0.8, 0.6),
    ]
    opened.run.journal["changes"] = [vars(change) for change in changes]
    opened.run.journal["live"] |= {"k_min": 0.3, "k_max": 0.6}
    session.train.show_preview(opened)
    assert session.train.bounds == [(0.0, 0.2, 0.8), (1.0, 0.3, 0.8), (1.5, 0.3, 0.6)]
    assert [mark.name for _, mark in session.train.flags] == ["alpha", "k_min", "k_max"]


def test_after_a_training_the_watched_images_are_looked_at_without_a_worker(session):
    state = session.train
    state.watch = "k rose most"
    train_to_end(state)
    assert not state.choose_watched()
    seen = state.watch_now()
    expected = np.argsort(-state.history.k, kind="stable")[:8]
    np.testing.assert_array_equal(seen.positions, expected)
    model = open_run(state.run.path).load_model(small_model(state.data, 0)).eval()
    wanted = masking_effect(model, state.data.train[expected], state.history.k[expected])
    np.testing.assert_allclose(seen.effect.label_change, wanted.label_change, atol=1e-6)


# Runs of a session


def test_a_run_is_offered_to_the_other_tabs_after_its_first_epoch(session, gate):
    state = session.train
    state.model_name = "gated"
    gate.opened.clear()
    state.start()
    assert session.adopt_training() is None
    after_step(state.training, 4, state.pause)
    gate.opened.set()
    until(lambda: state.training.status == "paused")
    state.poll()
    assert len(state.history.scores) == 1
    assert session.adopt_training() == session.adopt_training() == "mine/1"
    assert session.catalogue.label_of("mine/1") == "SMOOT, trained here (1)"
    assert session.compared[-1] == "mine/1"
    early = session.catalogue.open("mine/1")
    assert (early.run.epochs, session.catalogue.open("mine/1")) == (1, early)
    state.start()
    poll_to_end(state)
    late = session.catalogue.open("mine/1")
    assert (late.run.epochs, late.data) == (2, state.data)
    weights = safetensors.torch.load_file(state.run.path / "model.safetensors")
    assert all(torch.equal(value, weights[name]) for name, value in late.model.state_dict().items())
    train_to_end(state)
    assert session.adopt_training() == "mine/2"


def test_two_visitors_do_not_see_each_others_runs(visit):
    one, two = visit(), visit()
    train_to_end(one.train)
    one.run_key = one.adopt_training()
    assert "mine/1" in one.param.run_key.objects.values()
    assert "mine/1" not in two.param.run_key.objects.values()
    with pytest.raises(ValueError, match="there is no run 'mine/1' any more"):
        two.catalogue.open("mine/1")
    complaints = two.address.read({"run": "mine/1", "runs": "mine/1"})
    assert len(complaints) == 2
    assert all("trained on a page of their own, which nobody else can open" in told for told in complaints)
    assert "mine" not in str(one.address.write())
    assert one.address.write(own=True)["run"] == "mine/1"
    assert (two.run_key, len(two.compared)) == ("bundled/smoot", 3)
    assert two.train.config is not one.train.config
    one.images.tolerance = 0.3
    assert two.images.tolerance == 0.01


def test_an_address_to_share_holds_nothing_of_a_run_that_nobody_else_can_open(session):
    train_to_end(session.train)
    session.run_key = session.adopt_training()
    session.epoch = 0
    session.show_run()
    session.image.label = session.image.param.label.objects[1]
    for state in (session.image, session.images):
        state.pick(state.passing.at(1))
    session.image.masked_fraction = 0.3
    own, shared = session.address.write(own=True), session.address.write()
    assert own.keys() - shared.keys() == {"run", "runs", "at", "label", "image_id", "picked_id"}
    assert shared["masked"] == "0.3"


def test_a_kept_run_is_found_by_everyone_and_stays_when_its_visitor_goes(visit, tmp_path):
    one = visit()
    train_to_end(one.train)
    key = one.adopt_training()
    record = record_of(one.train)
    one.catalogue.keep(key, "lesson-1.2")
    one.close()
    two = visit()
    assert two.catalogue.label_of("kept/lesson-1.2") == "lesson-1.2, kept"
    np.testing.assert_array_equal(open_run(tmp_path / "runs" / "lesson-1.2").record().k, record.k)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["lesson-1.2"]


def test_weights_too_large_for_the_server_are_trained_but_not_opened(visit):
    state = visit(weights_megabytes=1e-4)
    train_to_end(state.train)
    with pytest.raises(
        ValueError, match=r"take \d+ MB, and this server opens at most 0.0001 MB; .*--weights-megabytes"
    ):
        state.catalogue.open(state.adopt_training())
    with pytest.raises(ValueError, match="opens at most 0.0001 MB"):
        state.train.watch_now()
    assert state.catalogue.open("bundled/smoot").label == "SMOOT, bundled"  # the operator's own


def test_a_name_is_proposed_that_no_kept_run_has(session):
    train_to_end(session.train)
    key = session.adopt_training()
    for name in ("smoot-1", "smoot-2", "smoot-3"):
        assert session.catalogue.free_name(key) == name
        session.catalogue.keep(key, name)
    assert session.catalogue.free_name("bundled/sgt") == "sgt-1"


@pytest.mark.parametrize(
    "name", ["../x", "", " ", ".hidden", "a/b", "a\\b", "-rf", "x" * 61, "a,b", "a\n", "..", "a\0"]
)
def test_a_name_that_could_lead_elsewhere_is_refused(session, tmp_path, name):
    train_to_end(session.train)
    with pytest.raises(ValueError, match="a name is letters, digits, spaces and . _ - "):
        session.catalogue.keep(session.adopt_training(), name)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["my best run (α=10)", "naïve", "3rd try"])
def test_a_name_as_people_write_it_is_shown_as_typed_and_in_the_address(visit, name):
    session = visit()
    train_to_end(session.train)
    session.catalogue.keep(session.adopt_training(), name)
    other = visit()
    assert other.catalogue.label_of(f"kept/{name}") == f"{name}, kept"
    other.run_key = f"kept/{name}"
    third = visit()
    assert third.address.read(other.address.write()) == []
    assert third.run_key == f"kept/{name}"


def test_a_name_of_sixty_letters_is_kept_once(session, tmp_path):
    train_to_end(session.train)
    key = session.adopt_training()
    session.catalogue.keep(key, "x" * 60)
    with pytest.raises(ValueError, match=r"there is a run 'x+' already; choose another name"):
        session.catalogue.keep(key, "x" * 60)


def test_only_own_runs_are_kept_and_only_where_the_operator_allows_it(visit, tmp_path):
    session = visit()
    with pytest.raises(ValueError, match="only a run trained on this page"):
        session.catalogue.keep("bundled/smoot", "mine")
    with pytest.raises(ValueError, match="this server keeps no runs; download the record"):
        visit(keep_runs=False).catalogue.keep("bundled/smoot", "mine")
    assert not (tmp_path / "runs").exists()


def test_why_a_run_could_not_be_copied_is_told(session, monkeypatch):
    import shutil

    def full(source, target):
        raise shutil.Error([("a", "b", "No space left on device"), ("c", "d", "No space left on device")])

    train_to_end(session.train)
    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(ValueError, match=r"try again \(No space left on device\)"):
        session.catalogue.keep(session.adopt_training(), "full")


@pytest.mark.parametrize("accident", ["lost file", "no space"])
def test_nothing_half_written_is_left_when_keeping_fails(session, tmp_path, monkeypatch, accident):
    """A training may write to the run, or the disk be full, while it is copied."""
    import shutil

    train_to_end(session.train)
    key, copytree = session.adopt_training(), shutil.copytree

    def copy(source, target, *recursive, **options):
        copytree(source, target, *recursive, **options)
        if recursive or options:
            return
        if accident == "no space":
            raise OSError(28, "No space left on device")
        max((target / "checkpoint").iterdir()).unlink()  # the newest, that the run cannot do without

    monkeypatch.setattr(shutil, "copytree", copy)
    message = "the training wrote to the run just now" if accident == "lost file" else "No space left"
    with pytest.raises((ValueError, OSError), match=message):
        session.catalogue.keep(key, "half")
    assert list((tmp_path / "runs").iterdir()) == []
    assert "kept/half" not in session.param.run_key.objects.values()


def test_the_record_is_a_netcdf_file_of_the_run(session):
    train_to_end(session.train)
    trained = open_run(session.train.run.path)
    for key, run in ((session.adopt_training(), trained), ("bundled/sgt", bundled_runs()[1])):
        content = session.catalogue.record_file(key)
        with h5netcdf.File(io.BytesIO(content)) as file:
            np.testing.assert_array_equal(file["k"][...], run.record().k)
            assert json.loads(file.attrs["config"])["start"]["method"] == run.start_config["method"]


def test_a_folder_that_is_no_run_is_not_offered(visit, tmp_path):
    (tmp_path / "runs" / "notes").mkdir(parents=True)
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "config.json").write_text("{")
    keys = set(visit().param.run_key.objects.values())
    assert keys == {"bundled/traditional", "bundled/sgt", "bundled/smoot"}


def test_a_run_is_compared_once_and_of_many_the_first_ones(visit, monkeypatch):
    session = visit()
    session.compared = ["bundled/smoot"] * 4000
    assert session.compared == ["bundled/smoot"]
    monkeypatch.setattr("smoot_explore.explorer.state.session.MOST_COMPARED", 2)
    session.compared = ["bundled/smoot", "bundled/sgt", "bundled/smoot", "bundled/traditional"]
    assert session.compared == ["bundled/smoot", "bundled/sgt"]
    assert session.message == "At most 2 runs are compared; these are the first of 3."


def test_a_run_that_went_away_is_left_out_of_the_comparison_with_a_message(visit, tmp_path):
    import shutil

    session = visit()
    train_to_end(session.train)
    session.catalogue.keep(session.adopt_training(), "gone")
    session.compared = ["bundled/sgt", "kept/gone"]
    session.catalogue._runs.pop("kept/gone")
    session.show_compared()
    assert [opened.key for opened in session.compare.opened_runs] == ["bundled/sgt"]
    assert "there is no run 'kept/gone' any more" in session.message
    shutil.rmtree(tmp_path / "runs" / "gone")
    session.run_key = "kept/gone"
    session.catalogue.refresh()
    assert session.run_key in session.param.run_key.objects.values()
    assert session.compared == ["bundled/sgt"]


# Measurements


def test_what_a_tab_lacks_is_measured_one_after_the_other(session):
    train_to_end(session.train)
    session.run_key = session.adopt_training()
    opened = session.show_run()
    assert session.measure_missing("image") is None
    measurement = session.measure_missing("images")
    assert measurement.what == "masking curves of SMOOT, trained here (1) (black fill, gradient)"
    assert session.measure_missing("images") is None  # it is being measured
    until(lambda: measurement.done)
    assert (measurement.problem, measurement.share) == ("", 1.0)
    expected = masking_curves(opened.model, session.train.data.test, 20)
    np.testing.assert_allclose(session.images.curves.probability, expected.probability, atol=1e-5)
    landscape = session.measure_missing("what-if")
    until(lambda: landscape.done)
    assert session.whatif.landscape.sizes["image"] == 40
    assert session.measure_missing("images") is None
    assert session.measure_missing("what-if") is None
    session.compare.fill = "blur"
    session.compared = ["mine/1"]
    session.show_compared()
    until(lambda: session.measure_missing("compare") is None and session.measurement.done)
    assert session.compare.missing == []
    assert session.compare.opened_runs[0].curves("blur", "gradient").fill.item() == "blur"


def test_what_is_asked_for_last_is_measured_and_the_one_before_given_up(session):
    train_to_end(session.train)
    session.run_key = session.adopt_training()
    session.show_run()
    session.images.fill = "blur"
    first = session.measure_missing("images")
    session.images.fill = "mean"
    second = session.measure_missing("images")
    assert second is not first
    assert "mean fill" in second.what
    until(lambda: first.done and second.done)
    assert session.images.curves is not None
    session.images.fill = "blur"
    assert session.images.curves is None or first.share == 1.0  # unless it was faster


# After a training


def test_after_a_training_the_other_tabs_look_at_it_unless_another_run_was_chosen(session):
    train_to_end(session.train)
    session.look_at_trained()
    assert session.run_key == "mine/1"
    session.train.start()
    session.run_key = "bundled/sgt"
    poll_to_end(session.train)
    session.look_at_trained()
    assert session.run_key == "bundled/sgt"
    train_to_end(session.train)
    session.look_at_trained()
    assert session.run_key == "mine/3"


def test_a_reset_can_be_undone_until_something_else_is_shown(session):
    train_to_end(session.train)
    state = session.train
    run, history, step = state.run, state.history, state.step
    state.reset()
    assert (state.run, state.step, state.can_undo_reset) == (None, 0, True)
    state.undo_reset()
    assert (state.run, state.history, state.step, state.status) == (run, history, step, "finished")
    assert not state.can_undo_reset
    state.reset()
    train_to_end(state)
    assert not state.can_undo_reset
    assert state.run != run
    assert "mine/1" in session.param.run_key.objects.values() or session.adopt_training() == "mine/1"


def test_an_epoch_more_outdates_the_compared_run_once(session):
    train_to_end(session.train)
    session.compared = [session.adopt_training()]
    session.show_compared()
    assert not session.outdates_compared()
    shown = session.compare.opened_runs[0]
    scores = session.train.history.scores
    scores.append(scores[-1]._replace(epoch=3))  # as while it trains on
    assert session.outdates_compared()
    assert not session.outdates_compared()
    assert session.compare.opened_runs == [shown]


# The address

OWN = {
    "tab": st.sampled_from(["train", "image", "images", "what-if", "compare"]),
    "run": st.sampled_from(["bundled/smoot", "bundled/sgt", "bundled/traditional"]),
    "at": st.integers(0, 8),
    "method": st.sampled_from(["traditional", "sgt", "smoot"]),
    "alpha": st.floats(0, 1e6),
    "beta": st.floats(0, 1),
    "k_min": st.floats(0, 1),
    "epochs": st.integers(1, 10**6),
    "images": st.integers(20, 10**6),
    "half": st.sampled_from(HALVES[:2]),
    "image_id": st.integers(0, 1999),
    "masked": st.floats(0, 1),
    "fill": st.sampled_from(["remaining", "mean", "blur"]),
    "attribution": st.sampled_from(["random", "smoothgrad"]),
    "signed": st.booleans(),
    "label": st.sampled_from(["boot", "T-shirt", "(all)"]),
    "class": st.sampled_from(["(all)", "I", "II"]),
    "prediction": st.sampled_from(["(all)", "right", "wrong"]),
    "tolerance": st.floats(0, 1),
    "picked_id": st.integers(0, 999),
    "whatif_k_max": st.floats(0, 1),
    "whatif_epochs": st.integers(1, 500),
    "whatif_image_id": st.integers(1, 499),
    "compare_fill": st.sampled_from(["mean", "black"]),
    "scale": st.sampled_from(SCALES),
}


@settings(max_examples=25)
@example({"at": 0, "class": "II"}, None)
@given(
    st.fixed_dictionaries({}, optional=OWN),
    st.none() | st.lists(st.sampled_from(["bundled/smoot", "bundled/sgt"]), unique=True),
)
def test_an_address_leads_a_fresh_page_to_the_same_view(values, runs):
    here, there = (SessionState(ServerSettings(runs="nowhere"), Engine(ThreadWorkers())) for _ in range(2))
    here.run_key = values.get("run", here.run_key)
    here.show_run()
    values = {name: value for name, value in values.items() if name != "at" or value in here.epochs}
    if "at" in values:
        here.epoch = values["at"]
        here.show_run()
        if here.epoch != here.epochs[-1]:
            values.pop("class", None)  # the run holds no masking curves of another epoch
    for name, value in sorted(values.items(), key=lambda item: item[0].endswith("image_id")):
        owner, parameter = here.address.parameters[name]
        if name in IMAGES:  # drawn as a position: ids are those of the run
            owner.pick(owner.ids.at(value))
        else:
            setattr(owner, parameter, value)
    if runs is not None:
        here.compared = runs
    address = here.address.write()
    assert all(isinstance(text, str) for text in address.values())
    assert there.address.read(address) == []
    there.show_run()
    for name in here.address.parameters:
        (owner, parameter), (other, _) = here.address.parameters[name], there.address.parameters[name]
        value = getattr(owner, parameter)
        expected = pytest.approx(value, rel=1e-5) if isinstance(value, float) else value
        assert getattr(other, parameter) == expected, name
    assert there.compared == here.compared
    assert there.address.write() == address


def test_a_fresh_page_has_an_empty_address(session):
    assert session.address.write() == {}
    session.image.masked_fraction = 0.2 + 1e-9
    session.show_run()
    upload(session.image, torch.zeros((1, 28, 28), dtype=torch.uint8))  # this cannot be linked to
    assert set(session.address.write()) == {"masked"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((number, text) for number in ("alpha", "masked", "tolerance", "whatif_k_min")
          for text in ("nan", "inf", "-inf", "1e999", "", "a", "-0.5", "0x1")),
        ("masked", "1.0001"), ("beta", "2"),
        *((whole, text) for whole in ("at", "epochs", "image", "image_id", "images", "picked_id", "whatif_epochs")
          for text in ("", "1.5", "nan", "-1", "1e3", "9" * 5000)),
        ("epochs", "0"), ("images", "19"),
        *((choice, "nonsense") for choice in
          ("tab", "run", "method", "half", "order", "fill", "attribution", "label", "class", "prediction", "scale",
           "curves_fill", "curves_attribution", "compare_fill", "compare_attribution", "runs")),
        ("signed", "yes"), ("signed", "true"), ("signed", ""), ("fill", "x" * 10_000),
        ("run", "mine/1"), ("runs", "bundled/smoot,mine/1"), ("run", "../../etc/passwd"), ("runs", "kept/x"),
    ],
)  # fmt: skip
def test_an_address_that_says_nonsense_changes_nothing_and_is_complained_of(visit, name, text):
    session = visit()
    session.show_run()
    before = {n: getattr(owner, p) for n, (owner, p) in session.address.parameters.items()}
    compared = list(session.compared)
    (complaint,) = session.address.read({name: text})
    now = IMAGES[IMAGES_BEFORE.index(name)] if name in IMAGES_BEFORE else name
    owner, parameter = session.address.parameters.get(now, (session, "compared"))
    asked = text if len(text) < 40 else text[:40] + "…"
    assert complaint.startswith(f"{owner.param[parameter].label}: the address asks for “{asked}”. ")
    assert "It stays as it was: " in complaint
    assert {n: getattr(owner, p) for n, (owner, p) in session.address.parameters.items()} == before
    assert session.compared == compared


@pytest.mark.parametrize("name", ["", "x", "param", "__class__", "train", "settings", "runs_folder", "name"])
def test_names_that_an_address_does_not_have_are_ignored(session, name):
    assert session.address.read({name: "bundled/sgt"}) == []
    assert session.address.write() == {}


def test_one_wrong_value_does_not_keep_the_others_from_being_taken(session):
    complaints = session.address.read({"label": "boot", "alpha": "nan", "run": "bundled/sgt", "beta": "0.5"})
    assert len(complaints) == 1
    assert (session.run_key, session.train.config.beta, session.image.label) == ("bundled/sgt", 0.5, "boot")


# Image


@pytest.fixture
def image(session):
    session.show_run()
    return session.image


@pytest.mark.parametrize("half", HALVES[:2])
@pytest.mark.parametrize("label", ["(all)", "coat"])
@pytest.mark.parametrize("of_class", ["(all)", "I", "II"])
@pytest.mark.parametrize("prediction", ["(all)", "right", "wrong"])
def test_filters_keep_what_a_plain_loop_keeps(image, half, label, of_class, prediction):
    image.param.update(half=half, label=label, of_class=of_class, prediction=prediction)
    opened = image.opened
    split = opened.data.test if half == HALVES[0] else opened.data.train
    curves = opened.curves("black", "gradient")
    probability, correct = curves.probability.values.tolist(), curves.correct.values[:, 0].tolist()
    expected = []
    for i, y in enumerate(split.labels.tolist()):
        keep = label == "(all)" or split.class_names[y] == label
        if half == HALVES[0] and of_class != "(all)":  # classes are known of the measured test images alone
            rises = i < 1000 and max(probability[i]) > probability[i][0] + 0.01
            keep = keep and i < 1000 and rises == (of_class == "II")
        if half == HALVES[0] and prediction != "(all)":
            keep = keep and i < 1000 and correct[i] == (prediction == "right")
        if keep:
            expected.append(i)
    assert image.positions().tolist() == expected
    assert image.pages == max(1, math.ceil(len(expected) / PAGE))
    shown = []
    for page in range(image.pages):
        image.page = page
        shown += image.thumbnails().tolist()
    assert shown == expected
    image.page = image.pages + 5
    assert image.thumbnails().tolist() == expected[(image.pages - 1) * PAGE :]


def test_a_view_is_what_the_core_computes(image):
    image.param.update(
        image_id=image.ids.at(17),
        masked_fraction=0.3,
        order="lowest",
        fill="mean",
        attribution="input_x_gradient",
        signed=False,
    )
    view = image.view()
    model, one = image.opened.model, image.opened.data.test[[17]]
    options = {"fill": "mean", "attribution": "input_x_gradient", "signed": False}
    assert view.masked_pixels == round(0.3 * 784)
    expected = masking_effect(model, one, view.masked_pixels, order="lowest", **options)
    for found, wanted in zip(view.effect, expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    curves = masking_curves(model, one, 20, "lowest", "mean", "input_x_gradient", signed=False)
    np.testing.assert_allclose(
        view.curve.measured.probability.values[0], curves.probability.values[0], atol=1e-6
    )
    assert view.curve.image_class == image_class(curves).item()
    assert view.curve.peak_fraction == peak_fraction(curves).item()
    label, predicted = int(one.labels[0]), int(expected.clean_probabilities[0].argmax())
    names = image.opened.data.class_names
    assert view.title == f"Test image {int(one.image_ids[0])}: {names[label]}, predicted {names[predicted]}"
    assert view.explained == label


def test_moving_the_slider_computes_saliency_and_curve_only_once(image, monkeypatch):
    counted = []
    module = "smoot_explore.explorer.state.image"
    for name in ("masking_effect", "masking_curves"):
        real = {"masking_effect": masking_effect, "masking_curves": masking_curves}[name]

        def counting(*arguments, real=real, name=name, **options):
            counted.append(name if options.get("maps") is None else "quick effect")
            return real(*arguments, **options)

        monkeypatch.setattr(f"{module}.{name}", counting)
    first = image.view()
    assert counted == ["masking_effect", "masking_curves"]
    image.masked_fraction = 0.5
    second = image.view()
    assert counted[2:] == ["quick effect"]
    np.testing.assert_array_equal(first.effect.saliency, second.effect.saliency)
    image.pick(image.ids.at(3))
    image.view()
    assert counted[3:] == ["masking_effect", "masking_curves"]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_masking_nothing_or_everything_has_a_view(image, share):
    image.masked_fraction = share
    view = image.view()
    same = (view.effect.masked_images == view.picture).all()
    assert same if share == 0 else (view.effect.masked_images == 0).all()


def test_another_run_of_the_same_data_shows_the_same_image(image, session):
    image.pick(image.ids.at(1234))
    label = image.view().title.split(",")[0]
    session.run_key = "bundled/sgt"
    session.show_run()
    assert image.opened.key == "bundled/sgt"
    assert image.view().title.startswith(f"{label}, predicted ")
    assert label.startswith(f"Test image {image.split.image_ids[1234]}: ")


def test_an_image_that_there_is_not_is_refused_with_those_there_are(image, session):
    before = image.image_id
    first, last = int(image.split.image_ids.min()), int(image.split.image_ids.max())
    with pytest.raises(
        ValueError, match=f"no image {last + 1}: the 2,000 test images .* from {first} to {last}"
    ):
        image.pick(last + 1)
    assert image.image_id == before
    train_to_end(session.train)
    session.run_key = session.adopt_training()
    session.show_run()
    image.half = HALVES[1]
    missing = next(i for i in range(60) if i not in image.split.image_ids)
    with pytest.raises(ValueError, match="not all of them; the nearest are|from .* to "):
        image.pick(missing)


def test_a_link_to_an_image_that_there_is_not_says_which_there_are(session):
    (complaint,) = session.address.read({"image_id": "999999"})
    assert (
        "Image: the address asks for “999999”. There is no image 999999: the 2,000 test images of SMOOT"
        in complaint
    )


@pytest.mark.parametrize(("before", "now"), list(zip(IMAGES_BEFORE, IMAGES, strict=True)))
def test_an_address_of_before_names_an_image_by_its_position(session, before, now):
    assert session.address.read({before: "23"}) == []
    state, _ = session.address.parameters[now]
    assert state.image_id == state.ids.at(23)
    assert session.address.write() == {now: str(state.image_id)}


def test_a_step_leads_to_the_next_image_that_passes_the_filters(image):
    image.param.update(of_class="II", label="shirt")
    ids = sorted(int(image.split.image_ids[i]) for i in image.positions())
    assert image.image_id in ids
    assert len(ids) > 2
    image.pick(ids[0])
    walked = [image.image_id]
    for _ in ids:
        image.step(1)
        walked.append(image.image_id)
    assert walked == [*ids, ids[-1]]  # stays at the end
    image.step(-1)
    assert image.image_id == ids[-2]
    assert (image.of_class, image.label) == ("II", "shirt")


def test_filters_that_exclude_the_image_shown_show_the_first_that_passes(image):
    curves = image.opened.curves("black", "gradient")
    classes = image_class(curves).values
    image.pick(int(curves.image_id[classes == "I"][5]))
    image.of_class = "II"
    assert image.image_id == int(curves.image_id[classes == "II"][0])
    assert image.position in image.thumbnails()


def test_an_image_from_elsewhere_or_typed_clears_the_filters_that_hide_it(image):
    curves = image.opened.curves("black", "gradient")
    second, first = (int(curves.image_id[image_class(curves).values == c][-1]) for c in ("II", "I"))
    image.param.update(of_class="II", prediction="wrong", label="bag")
    image.pick(first)
    assert (image.image_id, image.of_class, image.prediction, image.label) == (
        first,
        "(all)",
        "(all)",
        "(all)",
    )
    image.of_class = "II"
    image.pick(second)
    assert image.of_class == "II"
    image.open(HALVES[1], int(image.opened.data.train.image_ids[7]))
    assert (image.half, image.position, image.of_class) == (HALVES[1], 7, "(all)")


def test_filters_of_test_images_are_cleared_for_others_and_a_training_image_has_a_class_of_its_own(image):
    image.param.update(of_class="II", prediction="wrong")
    image.half = HALVES[1]
    assert (image.of_class, image.prediction) == ("(all)", "(all)")
    assert len(image.positions()) == len(image.opened.data.train)
    curve = image.view().curve
    one = image.opened.data.train[[image.position]]
    assert curve.image_class == image_class(masking_curves(image.opened.model, one, 20)).item()
    assert verdict(curve, "bag").startswith(
        f"**Class {curve.image_class}**, by its own masking curve (black fill, "
    )
    image.half = HALVES[0]
    assert image.of_class == "(all)"


def upload(image, own):
    image.show_upload(predicted(own.unsqueeze(0), image.opened))


def picture(value):
    return torch.full((1, 28, 28), value, dtype=torch.uint8)


def test_an_uploaded_picture_is_explained_for_the_predicted_class(image):
    own = torch.from_numpy(image.opened.data.test.images[5].numpy()[:, ::-1].copy())
    upload(image, own)
    assert (image.half, image.image_id, len(image.split)) == (HALVES[2], 0, 1)
    view = image.view()
    np.testing.assert_array_equal(view.picture[0], own)
    expected = int(image.opened.model(image.opened.data.normalize(own[None])).argmax())
    assert view.explained == expected
    assert view.title == f"Own picture, predicted {image.opened.data.class_names[expected]}"
    maps = saliency(image.opened.model, image.opened.data.normalize(own[None]), torch.tensor([expected]))
    np.testing.assert_allclose(view.effect.saliency, maps, atol=1e-6)
    upload(image, picture(200))
    assert (image.view().picture == 200).all()


def test_another_run_explains_an_uploaded_picture_by_what_it_predicts_itself(image, session):
    tests = image.opened.data.test[:300]
    other = session.catalogue.open("bundled/traditional")
    with torch.no_grad():
        mine, theirs = (s.model(s.data.normalize(tests.images)).argmax(1) for s in (image.opened, other))
    differs = int((mine != theirs).nonzero()[0])
    upload(image, tests.images[differs])
    assert image.view().explained == int(mine[differs])
    session.run_key = "bundled/traditional"
    session.show_run()
    assert image.half == HALVES[2]
    assert image.view().explained == int(theirs[differs])


def test_a_run_of_other_images_forgets_the_uploaded_picture(image, session):
    upload(image, picture(0))
    train_to_end(session.train)
    session.run_key = session.adopt_training()
    session.show_run()
    assert (image.half, image.upload) == (HALVES[0], None)
    assert image.param.label.objects[1:] == list(load_shapes(40, 24).class_names)
    assert image.view().picture.shape == (1, 3, 32, 32)


def test_a_picture_uploaded_while_another_is_looked_at_gets_its_own_saliency(image, monkeypatch):
    upload(image, image.opened.data.test.images[0])
    second = image.opened.data.test.images[1]

    def slow(*arguments, **options):
        seen = masking_effect(*arguments, **options)
        monkeypatch.setattr("smoot_explore.explorer.state.image.masking_effect", masking_effect)
        image.opened._lock.release()
        upload(image, second)
        image.opened._lock.acquire()
        return seen

    monkeypatch.setattr("smoot_explore.explorer.state.image.masking_effect", slow)
    image.view()
    found = image.view()
    image._kept.clear()
    np.testing.assert_array_equal(found.effect.saliency, image.view().effect.saliency)
    np.testing.assert_array_equal(found.picture[0], second)


def test_without_a_run_there_is_nothing_to_view(session):
    with pytest.raises(ValueError, match="no run is open; choose one"):
        session.image.view()


# Images


@pytest.mark.parametrize("tolerance", [0.0, 0.01, 0.3, 1.0])
def test_the_share_of_class_two_is_that_of_a_plain_count(session, tolerance):
    session.show_run()
    state = session.images
    state.tolerance = tolerance
    probability = state.curves.probability.values.tolist()
    rises = [max(row) - row[0] for row in probability]
    second = [i for i, row in enumerate(probability) if max(row) > row[0] + tolerance]
    share = state.share()
    assert (share.second, share.n) == (len(second), 1000)
    assert share.percent == pytest.approx(100 * len(second) / len(rises))
    assert share.protocol == f"gradient, signed, highest first, black fill, tolerance {tolerance:g}"
    assert [rises[i] for i in state.shown] == sorted((rises[i] for i in second), reverse=True)
    assert set(state.shown.tolist()) == set(second)
    late = sum(row.index(max(row)) > 10 for row in (probability[i] for i in second))
    assert np.isnan(share.late) == (not second)
    text = words(share_html(share))
    assert text.startswith(f"{share.percent:.1f} % class II ({len(second)} of 1,000 test images")
    if second:
        assert share.late == pytest.approx(100 * late / len(second))
        assert f"{share.late:.0f} % of these peak after half" in text
    for i in (*second[:2], 0):
        state.pick(state.ids.at(i))
        assert ("**Class II**" in state.describe_picked()) == (i in second)
        assert f"probability {probability[i][0]:.2f}" in state.describe_picked()


def test_selected_images_are_shown_and_another_run_forgets_them(session):
    session.show_run()
    session.images.selected = [9, 4]
    assert session.images.shown.tolist() == [9, 4]
    last = session.images.ids.at(999)
    session.images.pick(last)
    session.run_key = "bundled/sgt"
    session.show_run()
    assert session.images.selected == []
    assert f"Test image {last}:" in session.images.describe_picked()


def test_a_protocol_that_is_not_measured_shows_nothing_yet(session):
    state = session.images
    assert (state.share(), state.describe_picked(), len(state.shown)) == (None, "", 0)
    session.show_run()
    state.fill = "blur"
    assert (state.curves, state.share(), state.describe_picked(), len(state.shown)) == (None, None, "", 0)


# Over epochs


def test_the_map_of_a_run_is_picked_from_and_brushed(session):
    opened = session.show_run()
    tab = ImagesTab(
        session.images, lambda i: None, lambda i: None, lambda: None, lambda act: act(), pytest.fail
    )
    state = session.images.dynamics
    assert (state.dynamics, state.near(0.1, 0.5, 1.0), state.inside(0, 0, 1, 1)) == (None, None, [])
    session.images.over_epochs = True
    record = opened.run.record()
    probability = record.probability.values.astype(float)
    mean, spread = probability.mean(0), probability.std(0)
    assert state.shown[0] == spread.argmax()
    tab.dynamics._boxed((0.0, 0.0, float(np.median(spread)), float(np.median(mean))))
    inside = (spread <= np.median(spread)) & (mean <= np.median(mean))
    assert len(state.selected) == pytest.approx(inside.sum(), abs=2)
    assert set(tab.dynamics._shown) <= set(state.selected)
    state.picked = 17
    assert f"{int(record.image_id[17])}: " in state.describe_picked()
    assert f"mean probability {mean[17]:.2f}, spread {spread[17]:.2f}" in tab.dynamics.picked.object
    marked = tab.dynamics.map.sketch.layers[-1]
    assert marked.numbers[1].tolist() == [pytest.approx(mean[17], abs=1e-6)]
    assert state.near(float(spread[17]), float(mean[17]), 0.01) is not None
    assert state.near(0.9, -0.5, 0.01) is None


def test_a_box_in_the_map_stays_until_another_run_is_looked_at(session):
    session.show_run()
    tab = ImagesTab(
        session.images, lambda i: None, lambda i: None, lambda: None, lambda act: act(), pytest.fail
    )
    state = session.images.dynamics
    session.images.over_epochs = True
    state.selected, read = [3, 5], state.dynamics
    tab.refresh()
    assert state.selected == [3, 5]
    assert state.dynamics is read  # its record is not read again
    session.run_key = "bundled/sgt"
    session.show_run()
    tab.refresh()
    assert (state.selected, state.opened.key) == ([], "bundled/sgt")


def test_over_the_epochs_the_tolerance_counts_and_what_does_not_is_grey_and_not_measured(session):
    session.show_run()
    state, lacked = session.images, []
    tab = ImagesTab(
        state, lambda i: None, lambda i: None, lambda: lacked.append(state.lacks_curves), lambda act: act(),
        pytest.fail,
    )  # fmt: skip
    state.fill = "blur"
    state.over_epochs = True
    assert [widget.disabled for widget in tab.controls] == [True, True, False, False]
    state.tolerance = 0.3
    expected = views.class_changes.sketch(state.dynamics.curves, 0.3)
    for drawn, layer in zip(tab.dynamics.changes.sketch.layers, expected.layers, strict=True):
        np.testing.assert_array_equal(drawn.numbers[1], layer.numbers[1])
    state.over_epochs = False
    assert not any(widget.disabled for widget in tab.controls)
    assert lacked == [True, False, True]


@pytest.mark.parametrize(
    ("lacks", "told"), [("probability", "train it again"), ("epoch", "was trained elsewhere")]
)
def test_a_run_without_a_map_says_why(session, lacks, told):
    opened = session.show_run()
    record = opened.run.record()
    record = record.isel(epoch=slice(0)) if lacks == "epoch" else record.drop_vars(lacks)
    run = SimpleNamespace(record=lambda: record)
    state = session.images.dynamics
    state.show(seen_of(SimpleNamespace(run=run, data=opened.data)))
    assert state.dynamics is None
    assert told in state.problem
    assert state.describe_picked() == ""
    if lacks == "probability":
        with pytest.raises(ValueError, match="no probability of each image"):
            views.dataset_map(record)


# What if


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.8), (0.8, 0.2), (0.5, 0.5), (0.0, 1.0)])
def test_what_if_is_the_simulation_with_the_bounds_in_order(session, low, high):
    session.show_run()
    state = session.whatif
    state.config.param.update(alpha=300.0, beta=0.7, k_init=0.45, k_min=low, k_max=high)
    state.epochs = 12
    k = state.trajectories()
    expected = simulate_k(
        session.catalogue.open("bundled/smoot").run.landscape(), alpha=300.0, beta=0.7, k_init=0.45,
        k_min=min(low, high), k_max=max(low, high), epochs=12,
    )  # fmt: skip
    np.testing.assert_array_equal(k, expected)
    assert state.bounds == (min(low, high) * 784, max(low, high) * 784)
    last = k.values[-1].tolist()
    at_low = sum(x <= state.bounds[0] + 0.5 for x in last)
    at_high = sum(x >= state.bounds[1] - 0.5 for x in last)
    between = sum(state.bounds[0] + 0.5 < x < state.bounds[1] - 0.5 for x in last)
    text = state.summary(k)
    assert f"**{100 * at_low / 500:.0f} %** of 500 images at the lower bound" in text
    assert f"**{100 * at_high / 500:.0f} %** at the upper" in text
    assert f"**{100 * between / 500:.0f} %** between" in text
    assert f"{min(last):.0f} / {np.median(last):.0f} / {max(last):.0f}." in text


def test_the_map_leads_from_each_k_of_a_trajectory_to_the_next(session):
    session.show_run()
    state = session.whatif
    state.config.alpha = 200.0
    for image in (0, 499):
        state.pick(state.ids.at(image))
        k = state.trajectories().values[:, image]
        one = state.landscape.isel(image=state.position)
        grid = np.linspace(0, 784, 393)
        after = next_k(one, grid, 200.0, 0.95, state.bounds)
        np.testing.assert_allclose(np.interp(k[:-1], grid, after), k[1:], atol=3)
        assert np.isin(grid, state.landscape.k.values).sum() > 2
        delta = 0.95 * one.label_change.values + 0.05 * one.runners_up_change.values
        for node, change in zip(one.k.values, delta, strict=True):
            wanted = min(max(node + 200 * change, 0.2 * 784), 0.8 * 784)
            if node in grid:
                assert after[grid.tolist().index(node)] == pytest.approx(wanted)
        assert f"{k[0]:.0f} to {k[-1]:.0f} pixels" in state.describe_picked(state.trajectories())


def test_without_a_landscape_what_if_says_what_to_do():
    state = WhatIfState()
    with pytest.raises(ValueError, match="no k-landscape yet; measure it first"):
        state.trajectories()
    assert (state.n_pixels, state.position) == (0, 0)


def test_how_many_images_change_class_is_known_where_a_run_keeps_the_curves_of_its_epochs(session):
    opened = session.catalogue.open("bundled/smoot")
    found = class_changes(seen_of(opened).curves)
    second = {}
    for epoch in (2, 3):
        curves = opened.run.curves(epoch=epoch).sel(fill="black").squeeze()
        second[epoch] = image_class(curves).values == "II"
    assert int(found.to_second.sel(epoch=3)) == int((second[3] & ~second[2]).sum()) > 0
    assert int(found.to_first.sel(epoch=3)) == int((second[2] & ~second[3]).sum()) > 0
    assert seen_of(session.catalogue.open("bundled/sgt")).curves is None


# Compare


def test_less_a_random_order_is_the_difference_of_two_areas(session):
    session.show_compared()
    state, known = session.compare, session.compare.opened_runs[0]
    opened = OpenedRun(
        "kept/own", "own", known.run, known.data, known.model, known.run.epochs
    )  # the others are for all tests
    opened.take_curves("black", "gradient", known.curves("black", "gradient"))
    state.opened_runs = [opened]
    state.less_random = True
    assert state.missing == state.opened_runs
    assert state.lacking[0] == (opened, "black", "random")
    assert state.curves() == {}
    opened.take_curves("black", "random", None, "out of memory", passing=False)
    assert state.problems() == {"own": "out of memory"}
    own = opened.curves("black", "gradient")
    random = masking_curves(opened.model, opened.data.test[:40], levels=20, attribution="random")
    own = own.isel(image=slice(40))
    opened.take_curves("black", "gradient", own)
    opened.take_curves("black", "random", random)
    assert opened not in state.missing
    drop = [100 * (own.correct.values[:, m].mean() - random.correct.values[:, m].mean()) for m in range(21)]
    area = sum((drop[i] + drop[i + 1]) / 2 * 0.05 for i in range(20))
    sketch = state.drops("title")
    (line,) = (layer for layer in sketch.layers if len(layer.numbers[0]))
    np.testing.assert_allclose(line.numbers[1], drop, atol=1e-9)
    assert line.label.endswith(f"AUC {area:.1f} %")
    assert (sketch.y.unit, sketch.y.range) == ("points", (None, None))
    heads, rows = state.table()
    assert dict(zip(heads, rows[0], strict=True))["AUC black (%)"] == f"{area:.2f}"
    assert "less that of a random order" in state.note()
    with pytest.raises(ValueError, match="other values of image_id; measure both with one protocol"):
        less_random(own.isel(image=slice(3)), random)


def made_of(opened, label, curves, seed=0, changes=(), origin=None):
    """A run like another one, as far as lines are put together."""
    run = SimpleNamespace(
        start_config={**opened.run.start_config, "seed": seed}, description=opened.run.description,
        epochs=opened.run.epochs, changes=list(changes), origin=origin or {"how": "new"}, path=label,
    )  # fmt: skip
    made = OpenedRun(f"kept/{label}", label, run, opened.data, opened.model, run.epochs)
    made._curves["black", "gradient"] = curves
    return made


def test_runs_that_differ_in_more_than_their_seed_are_no_band(session):
    session.show_compared()
    state, opened = session.compare, session.compare.opened_runs[2]
    curves, moved = opened.curves("black", "gradient"), [Change(1000, 2, "beta", 0.95, 0.5)]
    made = functools.partial(made_of, opened, curves=curves)
    weights = {"how": "weights", "run": "a", "created": "today", "epoch": 2}
    state.seeds_together = True
    state.opened_runs = [
        made("original"), made("branch", changes=moved, origin={"how": "branch", "run": "original"}),
        made("what if", origin=weights), made("rerun"), made("seed 1", seed=1),
        made("branch of seed 1", seed=1, changes=moved, origin={"how": "branch", "run": "seed 1"}),
        made("what if of seed 1", seed=1, origin={**weights, "run": "b"}),
    ]  # fmt: skip
    assert {name: len(several) for name, several in state.lines().items()} == {
        "original and 1 more": 2, "branch and 1 more": 2, "what if": 1, "rerun": 1, "what if of seed 1": 1,
    }  # fmt: skip


def test_runs_that_differ_in_their_seed_alone_are_one_line_with_a_band(session):
    session.show_compared()
    state = session.compare
    opened = state.opened_runs[2]
    curves = opened.curves("black", "gradient")
    twin = made_of(opened, "twin", curves.assign(correct=~curves.correct), seed=99)
    state.opened_runs = [*state.opened_runs, twin]
    assert len(state.lines()) == 4
    state.seeds_together = True
    name = f"{opened.label} and 1 more"
    assert [len(several) for several in state.lines().values()] == [1, 1, 2]
    assert list(state.lines())[-1] == name
    (band,) = (layer for layer in state.drops("title").layers if layer.kind == "Area")
    accuracy = 100 * curves.correct.values.mean(0)
    sd = np.abs(2 * accuracy - 100) / np.sqrt(2)
    np.testing.assert_allclose(band.numbers[1], 50 - sd)
    np.testing.assert_allclose(band.numbers[2], 50 + sd)


def test_the_table_is_that_of_compare_runs(session):
    session.show_compared()
    state = session.compare
    results = compare_runs(bundled_runs())
    heads, cells = state.table()
    for i, cell in zip(range(results.sizes["run"]), cells, strict=True):
        row = results.isel(run=i)
        found = dict(zip(heads, cell, strict=True))
        assert found["run"] == session.catalogue.label_of(f"bundled/{row.run.item()}")
        assert found["accuracy (%)"] == f"{row.test_accuracy:.2f}"
        assert [found[f"k {n}"] for n in ("min", "median", "max")] == [
            f"{k:.0f}" for k in (row.k_smallest, row.k_median, row.k_largest)
        ]
        assert (found["class II (% of the test images)"], found["test images"]) == (
            f"{row.class_ii_share:.1f}",
            "1000",
        )
        for auc in row.drop_auc:
            if auc.attribution == "gradient":
                assert found[f"AUC {auc.fill.item()} (%)"] == f"{auc:.2f}"
        assert sum(head.startswith("AUC") for head in heads) == 3
    assert "Seed 0, one training each" in state.note()


def test_a_run_without_curves_gets_dashes_and_is_missing(session):
    train_to_end(session.train)
    session.adopt_training()
    session.show_compared()
    heads, cells = session.compare.table()
    row = dict(zip(heads, cells[-1], strict=True))
    assert row["run"] == "SMOOT, trained here (1)"
    assert {row[head] for head in heads if head.startswith("AUC")} == {"–"}
    assert (row["class II (% of the test images)"], row["test images"]) == ("–", "–")
    assert [opened.key for opened in session.compare.missing] == ["mine/1"]
    assert len(session.compare.curves()) == 3
    assert set(session.compare.maps()) == {
        session.catalogue.label_of(f"bundled/{r.name}") for r in bundled_runs()
    }


def test_the_table_tells_data_training_images_and_what_differs(session):
    session.train.config.param.update(alpha=3.0)
    train_to_end(session.train)
    session.compared = ["bundled/smoot", "bundled/traditional", session.adopt_training()]
    session.show_compared()
    heads, cells = session.compare.table()
    smoot, traditional, own = (dict(zip(heads, row, strict=True)) for row in cells)
    assert (smoot["data"], smoot["training images"]) == ("fashion-mnist-sample", "10,000")
    assert (own["data"], own["training images"]) == ("shapes", "40")
    assert "α 3" in own["differs in"]
    assert "α" in smoot["differs in"]
    assert "α" not in traditional["differs in"]  # where it does nothing
    assert "These runs are of different data (fashion-mnist-sample, shapes)" in session.compare.note()
    opened = session.compare.opened_runs[-1]
    measurement = opened.measure_curves(session._measuring, "black", "gradient")
    until(lambda: measurement.done)
    alike, others = session.compare.comparable()
    assert (len(alike), others) == (2, [opened.label])


def test_the_smallest_area_of_a_run_that_begins_low_is_no_merit(session):
    session.show_compared()
    state = session.compare
    assert "AUC is the mean accuracy over all masked shares" in state.note()
    bundled = state.opened_runs[0]
    poor = OpenedRun("x/1", "poor", bundled.run, bundled.data, bundled.model, bundled.run.epochs)
    curves = bundled.curves("black", "gradient").copy(deep=True)
    curves["correct"] = curves.correct & (curves["image"] % 4 > 0)  # wrong on a quarter of them
    poor.take_curves("black", "gradient", curves)
    state.opened_runs = [bundled, poor]
    assert "poor has the smallest AUC in the plot but also begins at" in state.note()
    assert "no sign of better saliency" in state.note()
    good = OpenedRun("x/2", "good", bundled.run, bundled.data, bundled.model, bundled.run.epochs)
    good.take_curves("black", "gradient", bundled.curves("black", "gradient"))
    for opened in (good, poor):
        opened.take_curves("black", "random", opened.curves("black", "gradient"))
    state.opened_runs, state.less_random = [good, poor], True
    assert len(state.lines()) == 2
    assert "starts from" not in state.note()


def test_new_epochs_keep_the_last_curve_until_theirs_is_measured(session):
    session.compared = ["bundled/smoot"]
    session.show_compared()
    state, before = session.compare, session.compare.curves()
    old = state.opened_runs[0]
    state.show([OpenedRun(old.key, old.label, old.run, old.data, old.model, old.run.epochs)])
    assert state.curves() == before
    assert state.missing == state.opened_runs


def test_the_csv_reads_back_as_the_table_and_its_note(session):
    import csv

    session.show_compared()
    heads, cells = session.compare.table()
    assert list(csv.reader(io.StringIO(session.compare.to_csv()))) == [
        heads,
        *cells,
        [session.compare.note()],
    ]


def test_every_compared_run_has_a_colour_of_its_own(session):
    session.show_compared()
    bundled = list(session.compare.opened_runs)
    assert len(set(session.compare.roles().values())) == 3
    assert session.compare.roles()[bundled[2].label] == "SMOOT"
    many = CompareState()
    for i in range(8):
        opened = type(bundled[0])(f"x/{i}", f"run {i}", bundled[2].run, bundled[2].data, bundled[2].model, 8)
        many.opened_runs.append(opened)
    assert len(set(many.roles().values())) == len(SERIES)


@pytest.mark.parametrize("place", ["compare", "image"])
def test_a_picture_under_a_slider_waits_for_no_long_attribution(session, visit, monkeypatch, place):
    other = visit()
    for one in (session, other):
        one.run_key = "bundled/smoot"
        one.show_run()
    session.show_compared()
    seen, waited = [], []

    def slow(model, images, labels, baseline):
        moved = threading.Thread(target=lambda: seen.append(other.image.view()))  # with the gradient
        moved.start()
        moved.join(20)
        waited.append(not seen)
        return images

    monkeypatch.setitem(REGISTERED["attribution"], "slow", slow)
    if place == "compare":
        session.compare.maps(attribution="slow")
    else:
        session.image.view(session.image.question()._replace(attribution="slow"))
    assert waited
    assert not any(waited)


def test_maps_are_the_saliency_of_one_image_of_each_class_and_scales_are_as_named(session):
    session.show_compared()
    state = session.compare
    images, maps = state.images(), state.maps()
    labels = images.labels.tolist()
    assert len(set(labels)) == len(labels) == 6
    for opened in state.opened_runs:
        expected = saliency(opened.model, opened.data.normalize(images.images), images.labels)
        np.testing.assert_array_equal(maps[opened.label], expected)
    limit = {(label, i): np.quantile(np.abs(m), 0.995) for label, g in maps.items() for i, m in enumerate(g)}
    for label, found in map_limits(maps, "one for each map").items():
        assert found.tolist() == pytest.approx([limit[label, i] for i in range(6)])
    each = {label: float(np.quantile(np.abs(group), 0.995)) for label, group in maps.items()}
    for label, found in map_limits(maps, "one for each run").items():
        assert found.tolist() == pytest.approx([each[label]] * 6)
    for found in map_limits(maps, "one for all").values():
        assert found.tolist() == pytest.approx([max(each.values())] * 6)


def test_runs_of_other_classes_have_no_maps_beside_these(session):
    """The same shape is not enough: a label stands for another class there."""
    session.show_compared()
    first, second = session.compare.opened_runs[:2]
    other = type(first)("x", "of others", first.run, second.data, first.model, first.run.epochs)
    names = ("zero", *first.data.class_names[1:])
    from dataclasses import replace

    other.data = replace(
        first.data, train=replace(first.data.train, class_names=names),
        test=replace(first.data.test, class_names=names), class_names=names,
    )  # fmt: skip
    session.compare.opened_runs = [first, other]
    maps = session.compare.maps()
    assert list(maps) == [first.label]
    assert maps.problems == {"of others": "it was trained on other images or classes"}


def test_a_map_that_cannot_be_made_says_which_and_why(session, monkeypatch):
    session.show_compared()
    labels = [opened.label for opened in session.compare.opened_runs]
    real = saliency

    def without_sgt(model, *arguments):
        if model is session.compare.opened_runs[1].model:
            raise RuntimeError("no layer to look at")
        return real(model, *arguments)

    monkeypatch.setattr("smoot_explore.explorer.state.compare.saliency", without_sgt)
    maps = session.compare.maps()
    assert list(maps) == [labels[0], labels[2]]
    assert maps.problems == {labels[1]: "no layer to look at"}
    told = "no saliency of SGT, bundled (no layer to look at)"
    assert missing_maps(maps.problems) == told
    assert told in compare_page(session.compare)()


def test_where_no_map_can_be_made_the_exported_page_says_so(session, monkeypatch):
    session.show_compared()

    def none(*arguments):
        raise ValueError("none")

    monkeypatch.setattr("smoot_explore.explorer.state.compare.saliency", none)
    assert compare_page(session.compare)().count("(none)") == 3


def test_comparing_nothing_is_an_empty_table(session):
    session.compared = []
    session.show_compared()
    state = session.compare
    assert (state.table()[1], state.curves(), state.images(), state.maps()) == ([], {}, None, {})
    assert state.to_csv().startswith("run,method,data,training images,differs in,epochs,")
