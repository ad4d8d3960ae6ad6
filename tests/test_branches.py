"""Going back in time in a run: weights of earlier epochs, and trainings that branch off there."""

import json
import shutil
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from waiting import in_a_thread

import smoot_explore.runs.run as runs_module
from smoot_explore import (
    Run,
    RunError,
    bundled_runs,
    create_model,
    k_landscape,
    masking_curves,
    open_run,
    replay,
    train,
    validate,
)
from smoot_explore.runs.checkpoint import packed, unpacked


@pytest.fixture
def start(tmp_path, data, config):
    """A new run, and its training to an end or for so many records."""

    def start(name="run", keep="all", records=None, moves=(), **settings):
        model, chosen = create_model("cnn", data), config(**({"epochs": 4} | settings))
        run = Run.create(tmp_path / name, chosen, model, data, keep)
        weights = [weights_of(model)]

        def work():
            going = train(model, data, chosen, run=run, every=1)
            for i, record in enumerate(going):
                if hasattr(record, "test_accuracy"):
                    weights.append(weights_of(model))
                chosen.param.update(**dict(moves).get(i, {}))
                if i + 1 == records:
                    going.close()

        in_a_thread(work)()
        return run, weights

    return start


def weights_of(model):
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def go_on(run, data, config=None):
    model = run.load_model()
    records = in_a_thread(lambda: list(train(model, data, config or run.config, run=run)))()
    return records, weights_of(model)


def assert_equal(one, two):
    for name in one:
        assert torch.equal(one[name], two[name]), name


@pytest.mark.parametrize(
    ("keep", "kept"), [("all", [0, 1, 2, 3, 4]), ("last", [0, 4]), (2, [0, 3, 4]), (np.int64(9), [0, 1, 2, 3, 4])]
)  # fmt: skip
def test_a_run_holds_the_weights_of_the_epochs_it_was_told_to_keep(start, keep, kept):
    run, weights = start(keep=keep)
    for opened in (run, open_run(run.path)):
        assert opened.epochs_kept == kept
        for epoch in kept:
            assert_equal(opened.model_at(epoch).state_dict(), weights[epoch])
        for epoch in {1, 2, 5} - set(kept):
            with pytest.raises(
                RunError, match=rf"no weights of epoch {epoch}; it holds those of 0, .*keep='all'"
            ):
                opened.model_at(epoch)


@pytest.mark.parametrize("keep", ["none", 0, -1, True, 1.5, None])
def test_another_way_to_keep_is_refused(start, tmp_path, data, config, keep):
    with pytest.raises(ValueError, match=f"'last', 'all', or how many .* given {keep!r}"):
        Run.create(tmp_path / "run", config(), create_model("cnn", data), data, keep)
    assert not list(tmp_path.iterdir())


def test_a_run_whose_way_to_keep_is_damaged_is_refused(start):
    run, _ = start(epochs=1)
    (run.path / "config.json").write_text(json.dumps(run.description | {"keep": "some"}))
    with pytest.raises(RunError, match="damaged: .*keep must be"):
        open_run(run.path)


@pytest.mark.parametrize(
    ("epoch", "settings"),
    [
        (0, {}), (1, {}), (4, {}), (2, {"saliency_pass": "harvested"}),
        (2, {"optimizer": "adam", "learning_rate": 0.01}),
    ],
)  # fmt: skip
def test_a_branch_with_nothing_changed_is_the_original_bit_by_bit(start, data, tmp_path, epoch, settings):
    run, weights = start(**settings)
    branch = run.branch(epoch, tmp_path / "branch")
    assert (branch.epochs, branch.finished) == (epoch, False)
    assert_equal(branch.load_model().state_dict(), weights[epoch])
    opened = open_run(branch.path)
    records, after = go_on(opened, data)
    assert [record.epoch for record in records] == list(range(epoch + 1, 5))
    assert_equal(after, weights[4])
    one, two = run.record(), open_run(branch.path).record()
    for name in ("k", "delta", "probability", "correct", "train_loss", "test_accuracy"):
        np.testing.assert_array_equal(one[name], two[name])
    assert opened.epochs_kept == sorted({0, *range(max(epoch, 1), 5)})


def test_a_branch_with_other_live_values_records_them_as_changes_and_goes_its_own_way(start, data, tmp_path):
    run, _ = start(moves=[(0, {"alpha": 30.0}), (9, {"beta": 0.4})])  # before the 2nd step, and in epoch 3
    branch = run.branch(2, tmp_path / "branch", alpha=77.0, kl_weight=0.0)
    assert [(c.step, c.name) for c in branch.changes] == [(2, "alpha")]
    assert (branch.config.alpha, branch.config.kl_weight, branch.config.beta) == (77.0, 0.0, 0.95)
    branch = open_run(branch.path)
    go_on(branch, data)
    changes = [(c.step, c.epoch, c.name, c.old, c.new) for c in open_run(branch.path).changes]
    assert changes == [
        (2, 1, "alpha", 10.0, 30.0),
        (7, 3, "alpha", 30.0, 77.0),
        (7, 3, "kl_weight", 1.0, 0.0),
    ]
    assert open_run(branch.path).config.alpha == 77.0
    one, two = run.record(), branch.record()
    np.testing.assert_array_equal(one.k[:2], two.k[:2])
    assert (one.k[3] != two.k[3]).any()
    assert validate(two) is two
    assert json.loads(two.attrs["origin"]) == branch.origin
    assert {**branch.origin, "created": ""} == {"how": "branch", "run": "run", "created": "", "epoch": 2}


def test_values_wanted_of_a_branch_outlast_a_stop_before_its_first_epoch(start, data, tmp_path):
    run, _ = start(epochs=2)
    branch = run.branch(1, tmp_path / "branch", beta=0.2)
    records = train(branch.load_model(), data, branch.config, run=branch, every=1)
    next(records)
    records.close()
    assert open_run(branch.path).config.beta == 0.2


def test_a_branch_of_a_branch_and_of_an_unfinished_run(start, data, tmp_path):
    run, _ = start(records=8)  # in the middle of the third epoch: four records for each
    assert run.epochs == 2
    second = run.branch(1, tmp_path / "second").branch(1, tmp_path / "third")
    go_on(second, data)
    np.testing.assert_array_equal(second.record().k[:2], run.record().k)
    assert second.origin["run"] == "second"


def test_accuracy_drops_up_to_the_epoch_come_along(start, tmp_path):
    from test_runs import drop_after

    run, _ = start(epochs=2)
    for epoch in (1, 2):
        run.save_accuracy_drop(drop_after(epoch))
    branch = run.branch(1, tmp_path / "branch")
    assert branch.probe == run.probe
    assert branch.record().accuracy_drop.shape == (1, 3)


def test_what_cannot_be_branched_says_why_and_leaves_nothing(start, tmp_path):
    run, _ = start(keep="last", epochs=2)
    target = tmp_path / "branch"
    with pytest.raises(RunError, match="no weights of epoch 1"):
        run.branch(1, target)
    with pytest.raises(ValueError, match=r"unknown live value 'betta'; did you mean 'beta'"):
        run.branch(2, target, betta=1)
    with pytest.raises(ValueError, match="beta"):
        run.branch(2, target, beta=3)
    with pytest.raises(ValueError, match=r"k_min=0\.7 is above k_max=0\.2"):
        run.branch(2, target, k_min=0.7, k_max=0.2)
    with pytest.raises(RunError, match="is published"):
        run.publish(tmp_path / "published").branch(2, target)
    with pytest.raises(FileExistsError, match="not empty"):
        run.branch(2, run.path)
    shutil.copytree(run.path, tmp_path / "damaged")
    (tmp_path / "damaged" / "epochs" / "0001.npy").unlink()
    (tmp_path / "damaged" / "epochs" / "0001.npy").symlink_to(run.path / "images.npy")
    with pytest.raises(ValueError, match=r"0001\.npy cannot be read \(it is no regular file"):
        Run(tmp_path / "damaged", run.description, run.journal).branch(2, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "published", "run"]


def test_a_kill_while_a_branch_is_made_leaves_none_and_the_next_try_makes_it(start, tmp_path, monkeypatch):
    run, _ = start(epochs=2)

    def killed(*_):
        raise KeyboardInterrupt

    for name in ("copy_file", "write_tensors", "write_json"):
        with monkeypatch.context() as patched:
            patched.setattr(runs_module, name, killed)
            with pytest.raises(KeyboardInterrupt):
                run.branch(1, tmp_path / "branch")
        assert not (tmp_path / "branch").exists()
    assert run.branch(1, tmp_path / "branch").epochs == 1


@pytest.mark.parametrize("files_written", range(5))
def test_a_kill_anywhere_in_an_epoch_leaves_every_epoch_that_the_run_says_it_keeps(
    start, data, monkeypatch, files_written
):
    """Checkpoint, array, journal, weights: each file may be the last; then old checkpoints are deleted."""
    run, _ = start(keep=2, epochs=3)
    expected = run.record()
    killed, _ = start("killed", keep=2, epochs=3, records=8)
    written = []

    def counting(write):
        def counted(path, *content):
            if len(written) == files_written:
                raise KeyboardInterrupt
            written.append(path.name)
            write(path, *content)

        return counted

    with monkeypatch.context() as patched:
        for name in ("write_tensors", "write_array", "write_json"):
            patched.setattr(runs_module, name, counting(getattr(runs_module, name)))
        with pytest.raises(KeyboardInterrupt):
            list(train(killed.load_model(), data, killed.config, run=killed))
    assert len(written) == files_written
    opened = open_run(killed.path)
    assert opened.epochs in (2, 3)
    for epoch in opened.epochs_kept:
        opened.model_at(epoch)
    go_on(opened, data)
    assert opened.epochs_kept == [0, 2, 3]
    np.testing.assert_array_equal(opened.record().k, expected.k)


def test_a_run_of_before_there_were_initial_weights_opens_and_has_those_it_has(start, tmp_path):
    run, weights = start(keep="last", epochs=2)
    (run.path / "initial.safetensors").unlink()
    old = {name: value for name, value in run.description.items() if name != "keep"}
    (run.path / "config.json").write_text(json.dumps(old))
    opened = open_run(run.path)
    assert (opened.keep, opened.epochs_kept, opened.origin) == ("last", [2], {"how": "new"})
    assert_equal(opened.load_model().state_dict(), weights[2])
    assert opened.branch(2, tmp_path / "branch").epochs_kept == [2]
    assert bundled_runs()[0].epochs_kept == [8]


def test_a_model_and_data_that_cannot_be_made_again_are_remembered_or_given(data, config, tmp_path):
    from smoot_explore import ImageData

    by_hand = ImageData(data.train, data.test)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 6))
    run = Run.create(tmp_path / "run", config(epochs=1), model, by_hand)
    list(train(model, by_hand, run.config, run=run))
    assert run.load_data() is by_hand
    assert_equal(run.load_model().state_dict(), model.state_dict())
    assert run.load_model() is not model
    opened = open_run(run.path)
    with pytest.raises(RunError, match=r"put together by hand; pass that data: open_run\(path, data=…\)"):
        opened.load_data()
    opened = open_run(run.path, model=nn.Sequential(nn.Flatten(), nn.Linear(3072, 6)), data=by_hand)
    assert opened.load_data() is by_hand
    assert_equal(opened.model_at(1).state_dict(), model.state_dict())
    other = ImageData(data.test, data.train)
    with pytest.raises(RunError, match=r"the data given are others than those of .*run"):
        open_run(run.path, data=other)


def test_data_normalised_in_another_way_come_back_so(data, config, tmp_path):
    half = torch.full((3,), 0.5)
    other = replace(data, train=replace(data.train, mean=half, std=half / 2))
    run = Run.create(tmp_path / "run", config(), create_model("cnn", other), other)
    again = open_run(run.path).load_data()
    assert torch.equal(again.test.normalize(), other.test.normalize())
    assert not torch.equal(again.test.normalize(), data.test.normalize())
    with pytest.raises(RunError, match="normalised by another mean or std"):
        open_run(run.path, data=data)


def test_training_does_not_go_on_with_data_normalised_otherwise(start, data):
    run, _ = start(records=4)
    other = replace(data, train=replace(data.train, mean=data.mean / 2, std=data.std))
    with pytest.raises(RunError, match="normalised by another mean or std"):
        list(train(run.load_model(), other, run.config, run=run))
    assert open_run(run.path).epochs == run.epochs


def test_a_compiled_model_makes_a_run_like_any_other(data, config, tmp_path):
    plain = nn.Sequential(nn.Flatten(), nn.Linear(3072, 6))
    compiled = torch.compile(plain, backend="eager")
    run = Run.create(tmp_path / "run", config(), compiled, data, "all")
    going = train(compiled, data, run.config, run=run)
    next(going)
    going.close()
    opened = open_run(run.path, model=deepcopy(plain))
    for one in (run, opened):
        assert_equal(one.load_model().state_dict(), plain.state_dict())
    assert run.description["model"]["class"].endswith("Sequential")
    again = torch.compile(opened.load_model(), backend="eager")
    list(train(again, data, opened.config, run=opened))
    assert_equal(opened.model_at(2).state_dict(), again._orig_mod.state_dict())


def test_a_compiled_model_of_a_name_is_made_again_by_it(data, config, tmp_path):
    model = create_model("cnn", data)
    model.dropout1.eval()
    Run.create(tmp_path / "run", config(), torch.compile(model, backend="eager"), data)
    again = open_run(tmp_path / "run").load_model()
    assert_equal(again.state_dict(), model.state_dict())
    assert [name for name, module in again.named_modules() if not module.training] == ["dropout1"]


def test_weights_that_were_written_with_the_names_of_a_compiled_model_load(start, data):
    run, _ = start(records=4)
    file = run.path / "model.safetensors"
    tensors = {f"_orig_mod.{name}": tensor for name, tensor in runs_module.read_tensors(file).items()}
    runs_module.write_tensors(file, tensors, 1)
    assert_equal(open_run(run.path).load_model().state_dict(), run.model_at(1).state_dict())


@pytest.fixture
def frozen_run(data, config, tmp_path):
    """A run of a model with a layer in eval mode and another without gradients, after one of two epochs."""
    model = create_model("cnn", data)
    run = Run.create(tmp_path / "frozen", config(), model, data, "all")
    model.dropout1.eval()
    model.convolution1.requires_grad_(False)
    whole, half = deepcopy(model), Run.create(tmp_path / "half", config(), model, data, "all")

    def work():
        list(train(whole, data, run.config, run=run))
        going = train(model, data, half.config, run=half)
        next(going)
        going.close()

    in_a_thread(work)()
    return run, half


def test_frozen_parts_stay_frozen_when_training_goes_on_branches_off_and_is_done_again(
    frozen_run, data, tmp_path
):
    run, half = frozen_run
    frozen = {"modules": ["dropout1"], "weights": ["convolution1.bias", "convolution1.weight"]}
    assert open_run(run.path).frozen == frozen
    expected = run.load_model().state_dict()
    assert torch.equal(run.model_at(0).convolution1.weight, expected["convolution1.weight"])
    branch = run.branch(1, tmp_path / "branch")
    for other in (open_run(half.path), branch):
        _, weights = go_on(other, data)
        assert_equal(weights, expected)
    again = in_a_thread(lambda: replay(run, tmp_path / "again"))()
    assert_equal(again.load_model().state_dict(), expected)


def test_a_model_that_is_frozen_otherwise_is_refused(frozen_run, data):
    _, half = frozen_run
    model = half.load_model()
    model.dropout1.train()
    model.dense1.bias.requires_grad_(False)
    message = r"frozen in the run alone: dropout1; in the model given alone: dense1\.bias"
    with pytest.raises(RunError, match=message):
        list(train(model, data, half.config, run=half))


def test_runs_of_before_frozen_parts_were_recorded_go_on(frozen_run, data):
    _, half = frozen_run
    journal = json.loads((half.path / "journal.json").read_text())
    del journal["frozen"]
    (half.path / "journal.json").write_text(json.dumps(journal))
    old = open_run(half.path)
    model = old.load_model()
    assert (old.frozen, model.dropout1.training) == (None, True)
    model.convolution1.requires_grad_(False)
    list(train(model, data, old.config, run=old))
    assert open_run(half.path).finished


def test_an_epoch_may_be_an_integer_of_numpy_and_is_no_other_number(start, tmp_path):
    run, _ = start()
    branch = run.branch(np.int64(1), tmp_path / "branch")
    assert open_run(branch.path).origin["epoch"] == 1
    for epoch in (1.0, True, "1"):
        with pytest.raises(TypeError, match="epoch must be a whole number"):
            run.branch(epoch, tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_a_run_finished_as_it_is_stays_finished(start, data):
    run, _ = start(records=4)
    config = run.config
    config.epochs = run.epochs
    in_a_thread(lambda: list(train(run.load_model(), data, config, run=run)))()
    opened = open_run(run.path)
    assert (opened.finished, opened.epochs, opened.config.epochs) == (True, 1, 1)
    list(train(opened.load_model(), data, opened.config, run=opened))
    assert opened.epochs == 1


def test_a_published_run_holds_the_weights_of_the_epochs_asked_for(start, tmp_path):
    run, weights = start()
    published = run.publish(tmp_path / "published", keep="all")
    assert open_run(published.path).epochs_kept == [0, 1, 2, 3, 4]
    assert run.publish(tmp_path / "last").epochs_kept == [4]
    assert run.publish(tmp_path / "two", keep=2).epochs_kept == [3, 4]
    for epoch in range(4):
        found = published.model_at(epoch).state_dict()
        for name, weight in weights[epoch].items():
            if weight.dim() == 1:
                assert torch.equal(found[name], weight.half().float()), name
                continue
            for row, exact in zip(found[name], weight, strict=True):
                assert (row - exact).abs().max() <= exact.abs().max() / 253.9, name
    assert_equal(
        published.load_model().state_dict(), run.publish(tmp_path / "again").load_model().state_dict()
    )
    size = (published.path / "checkpoint" / "0003.safetensors").stat().st_size
    assert size < 0.27 * (run.path / "model.safetensors").stat().st_size


def test_publishing_again_changes_the_weights_of_no_epoch(start, tmp_path):
    published = start(epochs=2)[0].publish(tmp_path / "published", keep="all")
    again = published.publish(tmp_path / "again", keep="all")
    for epoch in (0, 1, 2):
        one, other = (run.model_at(epoch).state_dict() for run in (published, again))
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=1e-6, atol=0)


def test_a_row_that_has_no_scale_is_published_as_it_is():
    weights = {
        "zeros": torch.zeros(2, 3), "infinite": torch.tensor([[torch.inf, 1.0]]), "counts": torch.tensor([[70_000]])
    }  # fmt: skip
    assert_equal(unpacked(packed(weights)), {**weights})


def test_a_scale_that_fits_no_weight_is_named(start, tmp_path):
    published = start(epochs=2)[0].publish(tmp_path / "published", keep="all")
    file = published.path / "checkpoint" / "0001.safetensors"
    tensors = runs_module.read_tensors(file)
    tensors["scale.dense1.weight"] = tensors["scale.dense1.weight"][:3].clone()
    runs_module.write_tensors(file, tensors, 1)
    with pytest.raises(RunError, match=r"published is damaged: the scale of dense1\.weight fits no weight"):
        published.model_at(1)


def test_curves_and_landscapes_of_each_epoch_are_kept_beside_each_other(start, data, tmp_path):
    run, _ = start(epochs=2)
    measured = {}
    for epoch in run.epochs_kept:
        model = run.model_at(epoch).eval()
        measured[epoch] = masking_curves(model, data.test[:4], 2), k_landscape(model, data.train[:4], 2)
        run.save_curves(measured[epoch][0], epoch=epoch)
        run.save_landscape(measured[epoch][1], epoch=epoch)
    published = run.publish(tmp_path / "published", keep="all")
    for one in (run, published):
        for epoch, (curves, landscape) in measured.items():
            told = {"run": one.name, "epoch": epoch}
            assert one.curves(epoch=epoch).identical(curves.assign_attrs(told))
            assert one.landscape(epoch=epoch).identical(landscape.assign_attrs(told))
        assert one.curves().identical(one.curves(epoch=2))
        assert one.landscape().identical(one.landscape(epoch=2))
        assert (one.has_curves(epoch=1), one.has_curves("other", 1), one.has_landscape(3)) == (
            True,
            False,
            False,
        )
    with pytest.raises(FileNotFoundError, match="holds no landscape of epoch 3; make one"):
        run.landscape(3)
    with pytest.raises(FileNotFoundError, match="holds no curves 'test' of epoch 3; make them"):
        run.curves(epoch=3)
    with pytest.raises(RunError, match="holds no weights of epoch 3; it holds those of 0, 1, 2"):
        run.save_curves(measured[1][0], epoch=3)
