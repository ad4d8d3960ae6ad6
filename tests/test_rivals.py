"""Several trainings over the same axes: rivals, branches, and What if trained for real."""

import functools
import math

import numpy as np
import pytest
import torch
from torch import nn
from waiting import after_step, until
from workers import ThreadWorkers

from smoot_explore import ImageData, TrainingConfig, adopt, k_landscape, load_data, open_run
from smoot_explore.core.history import History
from smoot_explore.core.records import Change
from smoot_explore.data.images import balanced
from smoot_explore.engine.engine import Engine
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state.class_board import told_of
from smoot_explore.explorer.state.one_training import OneTraining, labels_of
from smoot_explore.explorer.state.session import SessionState
from smoot_explore.explorer.tabs.rivals import Rivals
from smoot_explore.views.rivals import LINES

load_shapes = functools.cache(functools.partial(load_data, "shapes"))


def small_model(data, seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(math.prod(data.image_shape), data.n_classes)
    )


@pytest.fixture(autouse=True)
def every_step(monkeypatch):
    monkeypatch.setattr("smoot_explore.engine.training_work.REPORT_SECONDS", 0)
    monkeypatch.setattr(
        "smoot_explore.engine.recipe.shared_data",
        lambda name, n_train=60, n_test=24, *, root: load_shapes(n_train, 24),
    )


@pytest.fixture
def session(tmp_path):
    """Trainings have two epochs of two steps."""
    made = SessionState(
        ServerSettings(runs=tmp_path / "runs"), Engine(ThreadWorkers()), {"small": small_model}
    )
    made.train.param.update(data_name="shapes", model_name="small", train_images=40)
    made.train.config.param.update(
        epochs=2, batch_size=20, device="cpu", precision="float32", alpha=100.0, beta=0.9
    )
    yield made
    made.close()


@pytest.fixture
def state(session):
    return session.train


def to_end(state):
    until(lambda: state.poll() is None or not any(one.busy for one in state.every))
    while state.poll():
        pass
    assert [one.problem for one in state.every] == [""] * len(state.every)


def train_to_end(state):
    state.start()
    to_end(state)


def pause_after(state, step):
    training = state.training
    after_step(training, step, training.pause)
    until(lambda: training.status == "paused")
    state.poll()  # not before: it has others watched


def weights(one):
    run = open_run(one.run.path)
    return torch.cat([weight.flatten() for weight in run._weights(run.epochs).values()])


def test_a_rival_begins_with_the_same_weights_and_its_own_settings_and_is_chosen(state):
    train_to_end(state)
    first = state.chosen
    state.config.beta = 0.5
    assert (first.config.beta, state.labels) == (0.9, ["SMOOT"])
    state.add_rival()
    to_end(state)
    assert (state.all, state.chosen.started.beta) == ([first, state.chosen], 0.5)
    assert state.labels == ["SMOOT β 0.9", "SMOOT β 0.5"]
    one, two = (open_run(each.run.path) for each in state.all)
    for name, weight in one._weights(0).items():
        assert torch.equal(weight, two._weights(0)[name])
    assert one.changes == two.changes == []
    assert not torch.equal(weights(first), weights(state.chosen))


def test_the_sliders_and_orders_are_for_the_chosen_training_alone(session, state):
    state.config.epochs = 10_000
    state.start()
    until(lambda: state.poll() and state.status == "running")
    state.setting_up = True
    state.config.beta = 0.5  # waits for the rival
    state.add_rival()
    first, second = state.all
    assert (state.chosen, state.setting_up, first.config.beta) == (second, False, 0.9)
    state.config.alpha = 50.0
    assert second.place == 1  # one worker: it waits
    assert (first.config.alpha, second.config.alpha) == (100.0, 50.0)
    state.choose(0)
    assert (state.config.alpha, state.config.beta) == (100.0, 0.9)
    state.config.alpha = 70.0
    until(lambda: state.poll() and state.changes)
    assert [change.new for change in state.changes] == [70.0]
    state.stop()
    until(lambda: state.poll() and state.status == "stopped")
    until(lambda: state.poll() and second.status == "running")
    assert second.started.alpha == 50.0
    assert second.changes == []
    state.reset()
    assert (len(state.all), state.status) == (1, "new")
    until(lambda: second.training.ended)


def test_no_rival_after_all_puts_the_sliders_back(state):
    state.config.epochs = 10_000
    state.start()
    state.setting_up = True
    state.config.param.update(beta=0.5, method="sgt")
    state.setting_up = False
    assert (state.config.beta, state.config.method) == (0.9, "smoot")
    assert state.chosen.config.beta == 0.9


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"train_images": 60}, "training images 40 ≠ 60"), ({"model_name": "cnn"}, "model small ≠ cnn"),
     ({"seed": 3}, "seed 0 ≠ 3")],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_and_what_there_is_stays(state, changed, words):
    with pytest.raises(ValueError, match="no training yet that a rival could go beside; press Train"):
        state.add_rival()
    train_to_end(state)
    first = state.chosen
    for name, value in changed.items():
        setattr(state.config if name == "seed" else state, name, value)
    with pytest.raises(ValueError, match=rf"would differ: {words}\. Set that back, or press Reset"):
        state.add_rival()
    assert state.all == [first]


def test_there_are_three_rivals_at_most_and_each_keeps_its_line(state):
    train_to_end(state)
    for _ in range(LINES - 1):
        state.add_rival()
    with pytest.raises(ValueError, match="4 trainings already, the most .* remove one first"):
        state.add_rival()
    assert [one.line for one in state.all] == [1, 2, 3, 4]
    assert state.labels == ["SMOOT (1)", "SMOOT (2)", "SMOOT (3)", "SMOOT (4)"]
    second = state.all[1]
    state.remove(1)
    until(lambda: second.training.ended)
    state.add_rival()
    assert [one.line for one in state.all] == [1, 3, 4, 2]
    state.choose(0)
    others = state.others(lambda one: one.line)
    assert others == [None, ("SMOOT (4)", 2), ("SMOOT (2)", 3), ("SMOOT (3)", 4)]


def test_the_neighbour_of_a_removed_training_is_chosen_on_a_page_too(state):
    rivals = Rivals(state, lambda: rivals.refresh(), pytest.fail)
    rivals.panel.get_root()
    train_to_end(state)
    for _ in range(2):
        state.add_rival()
    to_end(state)
    rivals.refresh()
    second = state.all[1]
    rivals._remove()
    assert (state.chosen, rivals.shown.value) == (second, 1)


def test_train_takes_the_place_of_the_chosen_one_and_rivals_stay_where_they_can_be_compared(state):
    train_to_end(state)
    state.add_rival()
    to_end(state)
    rival, first = state.chosen, state.all[0]
    state.choose(0)
    train_to_end(state)
    assert (len(state.all), state.all[1]) == (2, rival)
    assert state.chosen is state.all[0] is not first
    state.train_images = 60
    train_to_end(state)
    assert state.all == [state.chosen]


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_branch_with_nothing_moved_lies_on_its_original_and_begins_where_it_leaves_it(state, epoch):
    state.config.epochs = 3
    train_to_end(state)
    assert state.epochs_kept == [0, 1, 2, 3]
    state.branch(epoch)
    to_end(state)
    original, branch = state.all
    assert torch.equal(weights(original), weights(branch))
    np.testing.assert_array_equal(original.history.k, branch.history.k)
    whole, part = original.history.k_quantiles(), branch.history.k_quantiles()
    assert part.epoch[0] == epoch
    np.testing.assert_array_equal(part, whole.sel(epoch=part.epoch))
    later = branch.history.steps()
    np.testing.assert_array_equal(
        later.cross_entropy, original.history.steps().sel(epoch=later.epoch).cross_entropy
    )
    assert [scores.epoch for scores in branch.history.scores] == list(range(max(epoch, 1), 4))
    assert original.history.scores[-1] == branch.history.scores[-1]
    assert original.history.drops[-1].accuracy.tolist() == branch.history.drops[-1].accuracy.tolist()
    assert branch.epochs_kept == [0, *range(max(epoch, 1), 4)]
    assert state.labels[1] == ("SMOOT from epoch 1" if epoch else "SMOOT (2)")


def test_a_branch_of_a_paused_training_takes_what_the_sliders_were_moved_to_and_leaves_it_as_it_was(state):
    state.config.epochs = 4
    state.start()
    pause_after(state, 5)
    original = state.chosen
    state.config.beta = 0.5
    with pytest.raises(ValueError, match=r"from the epochs 0, 1, 2; given 3"):
        state.branch(3)
    state.branch(1)
    branch = state.chosen
    assert (original.config.beta, branch.config.beta) == (0.9, 0.5)
    until(lambda: state.poll() is None or not branch.busy)
    while state.poll():
        pass
    assert state.labels == ["SMOOT β 0.9", "SMOOT from epoch 1 β 0.5"]
    assert branch.changes == [Change(3, 2, "beta", 0.9, 0.5)]
    assert [epoch for epoch, _ in branch.flags] == [1.0]
    state.choose(0)
    state.start()
    to_end(state)
    assert original.changes == []
    assert not torch.equal(weights(original), weights(branch))


def test_a_training_that_runs_is_not_branched(state):
    with pytest.raises(ValueError, match="no training yet that a branch could go beside"):
        state.branch(0)
    state.config.epochs = 10_000
    state.start()
    until(lambda: state.poll() and state.history.scores)
    with pytest.raises(ValueError, match="paused or has ended; press Pause first"):
        state.branch(0)


def test_a_branch_of_the_last_epoch_needs_more_epochs(state):
    train_to_end(state)
    with pytest.raises(ValueError, match="epoch 2 is the last of 2: nothing is left to train; choose more"):
        state.branch(2)
    state.config.epochs = 3
    state.branch(2)
    to_end(state)
    assert (state.started.epochs, state.share, len(state.history.scores)) == (3, 1.0, 2)


def test_a_branch_counts_its_epochs_on_from_those_of_its_original(session, state):
    state.config.epochs = 3
    train_to_end(state)
    state.branch(2)
    assert state.epochs_done == 2
    to_end(state)
    assert [one.epochs_done for one in state.all] == [3, 3]
    assert told_of(state.chosen).epoch == 3
    session.compared = [session.adopt_training()]
    session.show_compared()
    state.history.scores.append(state.history.scores[-1]._replace(epoch=4))  # as while it trains on
    assert session.outdates_compared()


def test_every_training_outdates_its_run_in_compare(session, state):
    train_to_end(state)
    state.add_rival()
    to_end(state)
    session.adopt_training()
    session.show_compared()
    rival = state.all[0]
    assert rival is not state.chosen
    assert not session.outdates_compared()
    rival.history.scores.append(rival.history.scores[-1]._replace(epoch=3))  # as while it trains on
    assert session.outdates_compared()
    assert not session.outdates_compared()


def test_all_trainings_go_over_to_another_page_and_end_with_it(session, state, tmp_path):
    train_to_end(state)
    state.config.epochs = 10_000
    state.add_rival()
    until(lambda: state.poll() and state.chosen.history.scores)
    assert session.adopt_training() == "mine/2"
    kept = session.apart()
    assert (len(kept.train.all), kept.train.chosen.line, len(state.all)) == (2, 2, 1)
    assert not session.has_trained
    kept.train.config.alpha = 30.0
    until(lambda: kept.train.poll() and kept.train.changes)
    folder, running = kept.train.run.path.parent, kept.train.training
    kept.close()
    until(lambda: running.ended and not folder.exists())


def named(since=0, **settings):
    return OneTraining(TrainingConfig(**settings), since=since)


def test_trainings_are_called_by_what_differs_and_counts():
    trainings = [
        named(alpha=10, beta=0.9), named(alpha=10, beta=0.5), named(method="sgt", beta=0.3),
        named(method="traditional", kl_weight=3.0), named(since=4, beta=0.9, alpha=10, learning_rate=0.5),
    ]  # fmt: skip
    rate = TrainingConfig().learning_rate
    assert labels_of(trainings) == [
        f"SMOOT β 0.9 τ {rate:g}", f"SMOOT β 0.5 τ {rate:g}", f"SGT τ {rate:g}", f"traditional τ {rate:g}",
        "SMOOT from epoch 4 β 0.9 τ 0.5",
    ]  # fmt: skip
    assert labels_of(trainings[1:3]) == ["SMOOT", "SGT"]


def test_the_history_of_a_branch_begins_with_the_k_of_its_epoch(state):
    state.config.epochs = 3
    train_to_end(state)
    record = open_run(state.run.path).record()
    whole, since = History.of(record), History.of(record, since=2)
    assert whole.k_of([5]).epoch.values.tolist() == [0, 1, 2, 3]
    assert since.k_of([5]).epoch.values.tolist() == [2, 3]
    np.testing.assert_array_equal(since.k_of([5]), whole.k_of([5])[2:])
    assert since.steps().epoch.values.tolist() == [3]
    assert [drop.epoch for drop in since.drops] == [d.epoch for d in whole.drops if d.epoch >= 2] != []


def test_what_if_is_trained_for_real_from_the_weights_that_were_frozen(session, state):
    train_to_end(state)
    session.run_key = session.adopt_training()
    opened, whatif = session.show_run(), session.whatif
    split = opened.data.train[balanced(opened.data.train, 12)]
    opened.take_landscape(k_landscape(opened.model, split, levels=4, draws=1))
    assert whatif.trained(state.for_real) is None
    assert "**frozen**" in whatif.describe_real(state.for_real)
    whatif.epochs = 3
    whatif.config.param.update(alpha=40.0, beta=0.7, k_init=0.4)
    whatif.train_for_real(state)
    real = state.for_real
    to_end(state)
    run = open_run(real.run.path)
    for name, weight in open_run(opened.run.path)._weights(2).items():
        assert torch.equal(weight, run._weights(0)[name])
    assert {**run.origin, "created": ""} == {"how": "weights", "run": "smoot-1", "created": "", "epoch": 2}
    frozen, trained = whatif.trajectories(), whatif.trained(real)
    np.testing.assert_allclose(trained.sel(epoch=0.0), frozen.sel(epoch=0), rtol=1e-6)
    ids = run.record().image_id.values.tolist()
    for i, image_id in enumerate(frozen.image_id.values):
        assert trained[-1, i] == run.record().k[-1, ids.index(image_id)]
    told = whatif.describe_real(real)
    assert "has trained 3 epochs" in told
    assert "α 40, β 0.7, k init 0.4" in told
    assert len(state.all) == 1  # beside those of the Train tab
    session.run_key = "bundled/smoot"
    session.show_run()
    assert whatif.trained(real) is None


def test_a_bundled_run_is_trained_on_in_the_folder_of_the_page(session, state, monkeypatch):
    begun = []
    monkeypatch.setattr(state, "_begin", lambda recipe, config, **more: begun.append((recipe, config)))
    session.run_key = "bundled/smoot"
    opened = session.show_run()
    session.whatif.config.param.update(alpha=40.0, beta=0.7, k_min=0.9, k_max=0.1)
    session.whatif.train_for_real(state)
    ((recipe, config),) = begun
    assert (recipe.source, recipe.epoch) == (opened.run.path.absolute(), opened.run.epochs)
    assert not recipe.path.is_relative_to(opened.run.path.parent)
    session.whatif.show(opened.at(3))
    session.whatif.train_for_real(state)
    assert begun.pop()[0].epoch == 3
    assert (config.method, config.alpha, config.k_min, config.k_max) == ("smoot", 40.0, 0.1, 0.9)
    assert config.epochs == session.whatif.epochs


def test_data_that_no_worker_can_load_are_told_of(session, state, data, linear, tmp_path):
    by_hand = ImageData(data.train, data.test, data.class_names)
    opened = OpenedRun.open("given/1", "mine", adopt(linear, by_hand, tmp_path / "adopted"))
    with pytest.raises(
        ValueError, match="the data of mine were put together by hand: no worker can load them"
    ):
        state.train_for_real(opened, TrainingConfig())
    assert state.for_real is None
