"""Trainings again from their own record."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from waiting import in_a_thread

from smoot_explore import ImageData, Run, RunError, create_model, open_run, replay, train


@pytest.fixture
def moved(tmp_path, data, config):
    """A run in which live values were moved: at the very start, in an epoch, and between two."""

    def moved(name="run", records=None, model=None, data=data, **settings):
        model = model or create_model("cnn", data)
        chosen = config(**({"epochs": 3, "batch_size": 25} | settings))
        run = Run.create(tmp_path / name, chosen, model, data)
        moves = {4: {"beta": 0.5, "k_max": 0.6}, 7: {"learning_rate": 0.3}, 9: {"alpha": 3.0}}

        def work():
            going = train(model, data, chosen, run=run, every=1)
            chosen.alpha = 40.0
            for i, _ in enumerate(going):
                chosen.param.update(**moves.get(i, {}))
                if i + 1 == records:
                    going.close()

        in_a_thread(work)()
        return run

    return moved


def in_own_thread(*arguments, **options):
    return in_a_thread(lambda: replay(*arguments, **options))()


def assert_same(one, two):
    first, second = one.record(), two.record()
    for name in (
        "k",
        "delta",
        "probability",
        "correct",
        "train_loss",
        "kl",
        "train_accuracy",
        "test_accuracy",
    ):
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert (one.changes, one.finished) == (two.changes, two.finished)
    weights = zip(one.load_model().parameters(), two.load_model().parameters(), strict=True)
    assert all(torch.equal(mine, other) for mine, other in weights)


@pytest.mark.parametrize("settings", [{}, {"schedule": "cosine", "warm_up": 1.0}, {"batch_size": 30}])
def test_a_run_with_live_changes_is_trained_again_bit_by_bit(moved, tmp_path, settings):
    run = open_run(moved(**settings).path)
    assert {change.name for change in run.changes} >= {"alpha", "beta", "k_max"}
    again = in_own_thread(run, tmp_path / "again", keep="all")
    assert_same(run, again)
    assert again.epochs_kept == [0, 1, 2, 3]
    assert again.origin["how"] == "replay"
    assert open_run(again.path).finished


def test_a_replay_goes_as_far_as_the_run_has_come(moved, tmp_path):
    run = moved(records=9)
    assert run.epochs == 2
    again = in_own_thread(run, tmp_path / "again")
    assert (again.epochs, again.finished) == (2, False)
    assert_same(run, again)


def test_a_replay_that_was_stopped_goes_on_when_it_is_asked_for_again(moved, tmp_path):
    run = moved()

    def stop(record):
        if record.step == 4:
            raise KeyboardInterrupt

    def begin():
        with pytest.raises(KeyboardInterrupt):
            replay(run, tmp_path / "again", log=stop)

    in_a_thread(begin)()
    assert open_run(tmp_path / "again").epochs == 1
    assert_same(run, in_own_thread(run, tmp_path / "again"))
    told = []
    assert_same(run, in_own_thread(run, tmp_path / "again", log=told.append))
    assert not told
    with pytest.raises(FileExistsError, match="holds another run"):
        replay(run, run.path)


def test_a_branch_and_a_run_that_was_prolonged_are_replayed_as_a_whole(moved, data, tmp_path):
    run = moved()
    branch = run.branch(3, tmp_path / "branch", beta=0.1)
    config = branch.config
    config.epochs = 4
    in_a_thread(lambda: list(train(branch.load_model(), data, config, run=branch)))()
    assert branch.changes[-1].name == "beta"
    assert_same(branch, in_own_thread(branch, tmp_path / "again"))


def test_an_own_model_on_own_data_is_replayed(moved, data, tmp_path):
    torch.manual_seed(1)
    by_hand = ImageData(data.train, data.test)
    run = moved(model=nn.Sequential(nn.Flatten(), nn.Linear(3072, 6)), data=by_hand, learning_rate=0.01)
    again = in_own_thread(run, tmp_path / "again")
    np.testing.assert_array_equal(run.record().k, again.record().k)


def test_a_replay_that_differs_says_from_which_epoch_on(moved, tmp_path):
    run = moved()
    run.journal["epochs"][1]["train_loss"] += 1e-12

    def warned():
        with pytest.warns(UserWarning, match=r"not bit by bit .*run from epoch 2 on: another processor"):
            return replay(run, tmp_path / "again")

    assert in_a_thread(warned)().finished


def test_what_cannot_be_replayed_says_why(moved, data, config, tmp_path):
    run = moved()
    new = Run.create(tmp_path / "new", config(), create_model("cnn", data), data)
    published = run.publish(tmp_path / "published")
    with pytest.raises(RunError, match=r"new cannot be trained again: it holds no completed epoch"):
        replay(new, tmp_path / "again")
    with pytest.raises(RunError, match="holds no initial weights, as published and older runs"):
        replay(published, tmp_path / "again")
    for setting in ({"precision": "bfloat16"}, {"epochs": 2}):
        journal = run.journal | {"resumed": setting}
        description = json.loads(json.dumps(run.description))
        description["config"]["schedule"] = "settle"
        other = Run(run.path, description, journal)
        with pytest.raises(RunError, match=f"resumed with other {next(iter(setting))}"):
            replay(other, tmp_path / "again")
    assert not (tmp_path / "again").exists()
