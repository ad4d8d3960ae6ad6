"""What a worker makes for a training: new runs that keep epochs to go back to, and branches of others."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from waiting import after_step, in_a_thread, until
from workers import ThreadWorkers

from smoot_explore import RunError, TrainingConfig, bundled_runs, open_run, train
from smoot_explore.core.records import Change
from smoot_explore.engine.engine import Engine
from smoot_explore.engine.recipe import FromWeights, Recipe
from smoot_explore.engine.trainings import Training
from smoot_explore.runs import run as runs_module


def small_model(data, seed):
    """With dropout, so that every random number counts."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=3), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(400, data.n_classes)
    )


@pytest.fixture(autouse=True)
def every_step(monkeypatch):
    monkeypatch.setattr("smoot_explore.engine.training_work.REPORT_SECONDS", 0)


@pytest.fixture
def recipe(tmp_path):
    return Recipe(tmp_path / "run", "shapes", 60, 24, "small", maker=small_model, checkpoint_megabytes=10)


def trained(recipe, config, moved=None):
    """Trained to its end by a worker; ``moved`` after the first step here."""
    engine = Engine(ThreadWorkers())
    training = Training(engine, config, recipe)
    if moved:
        after_step(training, 1, lambda: config.param.update(**moved))
    training.start()
    until(lambda: training.ended)
    engine.close()
    assert (training.status, training.problem) == ("finished", "")
    return open_run(recipe.path)


def branch_of(recipe, epoch):
    return replace(recipe, path=recipe.path.with_name(f"branch-{epoch}"), parent=recipe.path, epoch=epoch)


@pytest.mark.parametrize("epoch", [0, 2, 3])
def test_a_branch_with_nothing_moved_is_its_original_bit_by_bit(recipe, config, epoch):
    run = trained(recipe, config(epochs=3, alpha=100.0))
    branch = trained(branch_of(recipe, epoch), config(epochs=3, alpha=100.0))
    assert branch.origin["epoch"] == epoch
    assert branch.changes == []
    for name, weight in branch._weights(3).items():
        assert torch.equal(weight, run._weights(3)[name])
    one, two = run.record(), branch.record()
    for name in ("k", "delta", "train_loss", "test_accuracy"):
        np.testing.assert_array_equal(one[name], two[name])


def test_a_branch_begins_with_the_values_of_now_and_tells_of_those_that_were_moved(recipe, config):
    run = trained(recipe, config(epochs=3, alpha=100.0, beta=0.9), moved={"beta": 0.8})
    assert run.changes == [Change(2, 1, "beta", 0.9, 0.8)]
    branch = trained(branch_of(recipe, 2), config(epochs=4, alpha=50.0, beta=0.8))
    assert branch.changes == [*run.changes, Change(7, 3, "alpha", 100.0, 50.0)]
    assert (branch.epochs, branch.config.alpha, run.config.alpha) == (4, 50.0, 100.0)
    np.testing.assert_array_equal(branch.record().k[:2], run.record().k[:2])
    assert not np.array_equal(branch.record().k[2], run.record().k[2])


@pytest.mark.parametrize(
    ("megabytes", "kept"), [(None, [0, 4]), (0.0, [0, 4]), (0.07, [0, 3, 4]), (10, range(5))]
)
def test_as_many_epochs_are_kept_as_there_is_room_for(recipe, config, megabytes, kept):
    # Weights of 2,710 numbers, three times: 33 kB an epoch.
    run = trained(replace(recipe, checkpoint_megabytes=megabytes), config(epochs=4))
    assert run.epochs_kept == list(kept)


def test_a_run_in_training_is_branched_with_the_weights_of_the_epoch_that_is_meant(
    recipe, config, monkeypatch
):
    model, data, run = recipe.prepare(config(epochs=4))
    begun, goes_on = threading.Event(), threading.Event()

    def work():
        for record in train(model, data, config(epochs=4), run=run):
            if record.epoch == 2:
                begun.set()
                assert goes_on.wait(60)

    until_ended = in_a_thread(work)
    assert begun.wait(60)
    second = {name: weight.clone() for name, weight in model.state_dict().items()}
    epoch_of = runs_module.epoch_of

    def slowly(path):  # two epochs go by after the look at which epoch the weights are of
        epoch = epoch_of(path)
        if not goes_on.is_set():
            goes_on.set()
            until_ended()
        return epoch

    opened = open_run(recipe.path)
    monkeypatch.setattr(runs_module, "epoch_of", slowly)
    opened.branch(2, recipe.path.with_name("branch"))
    assert open_run(recipe.path).epochs == 4
    branch = open_run(recipe.path.with_name("branch"))
    assert branch.epochs_kept == [0, 2]
    for name, weight in branch._weights(2).items():
        assert torch.equal(weight, second[name])


def test_a_branch_of_a_run_that_is_gone_says_so(recipe, config):
    with pytest.raises(RunError, match=f"there is no folder {recipe.path}"):
        branch_of(recipe, 1).prepare(config())


def test_a_bundled_run_gives_its_weights_to_another_and_is_only_read(tmp_path, config):
    source = bundled_runs()[2]
    before = {file: file.stat().st_mtime_ns for file in source.path.rglob("*")}
    settings = TrainingConfig.recorded({**source.start_config, "alpha": 40.0, "k_init": 0.4, "epochs": 3})
    recipe = FromWeights(tmp_path / "new", source.path.absolute(), source.epochs, checkpoint_megabytes=60)
    model, data, run = recipe.prepare(settings)
    assert {file: file.stat().st_mtime_ns for file in source.path.rglob("*")} == before
    for name, weight in source.load_model().state_dict().items():
        assert torch.equal(weight, model.state_dict()[name])
        assert torch.equal(weight, run._weights(0)[name])
    assert (run.path, run.epochs, run.keep) == (recipe.path, 0, 4)  # of 14 MB each
    assert (run.start_config["alpha"], run.start_config["k_init"]) == (40.0, 0.4)
    assert data.fingerprint == source.description["data"]["fingerprint"]
    assert recipe.prepare(settings).run.description == run.description  # another worker goes on with it
