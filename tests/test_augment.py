"""Augmentation: named by a run, and the same until its end."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms import v2
from waiting import in_a_thread

from smoot_explore import Run, RunError, adopt, create_model, open_run, replay, train, validate
from smoot_explore.core.augment import augment_name
from smoot_explore.runs.compare import compare_runs
from smoot_explore.runs.table import notes

RANDOM = v2.Compose([v2.RandomHorizontalFlip(0.5), v2.RandomCrop(32, padding=4)])


def flip(images):
    return images.flip(3)


class Shift:
    def __call__(self, images):
        return images.roll(1, 3)


@pytest.fixture
def trained(tmp_path, data, config):
    """A run trained with an augmentation, to its end or for so many epochs."""

    def trained(name="run", augment=RANDOM, epochs=None, model=None, run=None):
        chosen = config(epochs=3, batch_size=20)
        model = model or create_model("cnn", data)
        run = run or Run.create(tmp_path / name, chosen, model, data, "all")

        def work():
            going = train(model, data, run.config, run=run, augment=augment)
            for record in going:
                if record.epoch == epochs:
                    going.close()

        in_a_thread(work)()
        return run

    return trained


def assert_same(one, two):
    for name in ("k", "delta", "train_loss", "test_accuracy"):
        np.testing.assert_array_equal(one.record()[name], two.record()[name], err_msg=name)
    weights = zip(one.load_model().parameters(), two.load_model().parameters(), strict=True)
    assert all(torch.equal(mine, other) for mine, other in weights)


@pytest.mark.parametrize(
    ("augment", "name"),
    [
        (None, None),
        (flip, "flip"),
        (Shift().__call__, "Shift.__call__"),
        (nn.ZeroPad2d(1), "ZeroPad2d((1, 1, 1, 1))"),
        (partial(flip), "functools.partial(<function flip>)"),
        (Shift(), "<test_augment.Shift object>"),
    ],
)
def test_an_augmentation_is_named_without_addresses(augment, name):
    assert augment_name(augment) == name


class Roll(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, images):
        return images.roll(self.by, 3)


class ToldRoll(Roll):
    def extra_repr(self):
        return f"by={self.by}"


class Held(Shift):
    def __init__(self, by):
        self.by = by


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (lambda images: images, "all lambdas have one name.*define a function"),
        (partial(lambda images, by: images, by=2), "all lambdas have one name"),
        (Roll(2), "does not tell what Roll holds; give Roll an extra_repr"),
        (nn.Sequential(nn.Identity(), Roll(2)), "give Roll an extra_repr"),
        (Held(2), "give Held a __repr__"),
    ],
)
def test_an_augmentation_whose_name_says_nothing_is_refused_with_a_run_alone(
    data, config, tmp_path, augment, message
):
    model, chosen = create_model("cnn", data), config(epochs=1)
    run = Run.create(tmp_path / "run", chosen, model, data)
    with pytest.raises(ValueError, match=message):
        next(train(model, data, chosen, run=run, augment=augment))
    assert open_run(run.path).augment is None


def test_modules_that_tell_what_they_hold_are_told_apart():
    assert augment_name(ToldRoll(2)) == "ToldRoll(by=2)"
    assert (
        augment_name(nn.Sequential(nn.Identity(), ToldRoll(3)))
        == "Sequential( (0): Identity() (1): ToldRoll(by=3) )"
    )


def test_a_transform_of_several_lines_is_named_in_one():
    assert augment_name(RANDOM).startswith("Compose( RandomHorizontalFlip(p=0.5) RandomCrop(size=(32, 32)")


def test_a_run_says_how_its_images_were_augmented(trained, tmp_path, capsys):
    run = trained()
    name = augment_name(RANDOM)
    for one in (run, open_run(run.path), run.publish(tmp_path / "published")):
        assert one.augment == name
        assert validate(one.record()).attrs["augment"] == name
    plain = trained("plain", augment=None)
    assert plain.augment is None
    assert "augment" not in plain.record().attrs
    table = compare_runs([run, plain])
    assert table.augment.values.tolist() == [name, ""]
    assert f"Trained with an augmentation: run ({name})." in notes(table)
    assert not any("augmentation" in note for note in notes(compare_runs([plain])))


def test_a_resumed_training_with_a_random_augmentation_equals_an_uninterrupted_one(trained, data):
    whole, stopped = trained("whole"), trained("stopped", epochs=1)
    again = open_run(stopped.path)
    assert again.epochs == 1
    resumed = trained(run=again, model=create_model("cnn", data))
    assert_same(whole, resumed)
    assert (whole.record().train_loss != trained("plain", augment=None).record().train_loss).all()


@pytest.mark.parametrize(("first", "then"), [(RANDOM, None), (RANDOM, flip), (None, flip)])
@pytest.mark.parametrize("epochs", [1, 2])
def test_a_training_goes_on_with_the_same_augmentation_alone(trained, data, first, then, epochs):
    run = trained(augment=first, epochs=epochs)
    told = {None: "no augmentation", flip: "the augmentation flip", RANDOM: "the augmentation Compose"}
    with pytest.raises(RunError, match=f"is trained with {told[first]}.*, given {told[then]}"):
        list(train(run.load_model(), data, run.config, run=run, augment=then))
    assert open_run(run.path).epochs == epochs


def test_a_run_that_was_stopped_in_its_first_epoch_keeps_its_augmentation(trained, data, tmp_path, config):
    model, chosen = create_model("cnn", data), config(batch_size=20)
    run = Run.create(tmp_path / "early", chosen, model, data)
    going = train(model, data, chosen, run=run, augment=flip, every=1)
    next(going)
    going.close()
    with pytest.raises(RunError, match="is trained with the augmentation flip, given no augmentation"):
        next(train(model, data, chosen, run=open_run(run.path)))


def test_a_branch_carries_the_augmentation_along(trained, tmp_path, data):
    run = trained()
    branch = run.branch(1, tmp_path / "branch")
    assert open_run(branch.path).augment == augment_name(RANDOM)
    with pytest.raises(RunError, match="given no augmentation"):
        list(train(branch.load_model(), data, branch.config, run=branch))
    assert_same(run, trained(run=branch, model=branch.load_model()))


def test_a_replay_needs_the_same_augmentation(trained, tmp_path):
    run = trained()
    with pytest.raises(RunError, match="is trained with the augmentation Compose.*given no augmentation"):
        replay(run, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    again = in_a_thread(lambda: replay(run, tmp_path / "again", augment=RANDOM))()
    assert_same(run, again)
    assert again.augment == run.augment


def test_runs_of_before_it_was_recorded_have_none(trained, tmp_path, data):
    run = trained(augment=None, epochs=1)
    journal = json.loads((run.path / "journal.json").read_text())
    del journal["augment"]
    (run.path / "journal.json").write_text(json.dumps(journal))
    with pytest.raises(RunError, match="is trained with no augmentation, given the augmentation flip"):
        list(train(run.load_model(), data, run.config, run=open_run(run.path), augment=flip))
    assert trained(run=open_run(run.path), model=run.load_model(), augment=None).finished
    assert adopt(run.load_model(), data, tmp_path / "adopted").augment is None


def test_an_augmentation_that_is_no_text_is_damage(trained):
    run = trained(epochs=1)
    journal = json.loads((run.path / "journal.json").read_text())
    (run.path / "journal.json").write_text(json.dumps({**journal, "augment": ["flip"]}))
    with pytest.raises(RunError, match="its augmentation is no text"):
        open_run(run.path)
