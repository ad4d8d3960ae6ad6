import json
import os
import pickle
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import smoot_explore.core.training as training_module
import smoot_explore.data.load as data_module
import smoot_explore.runs.run as runs_module
from smoot_explore import (
    DropRecord,
    ImageData,
    Run,
    RunError,
    Split,
    TrainingConfig,
    TrainingError,
    accuracy,
    bundled_runs,
    create_model,
    k_landscape,
    list_runs,
    load_data,
    masking_curves,
    open_run,
    train,
    validate,
)


@pytest.fixture
def start(tmp_path, data):
    def start(name="run", data=data, **settings):
        config = TrainingConfig(
            **({"epochs": 3, "batch_size": 25, "device": "cpu", "precision": "float32"} | settings)
        )
        model = create_model("cnn", data)
        return Run.create(tmp_path / name, config, model, data), model, config

    return start


@pytest.fixture
def finished(start, data):
    run, model, config = start()
    list(train(model, data, config, run=run))
    return run


def test_a_finished_run_opens_with_all_that_was_recorded(start, data):
    run, model, config = start()
    records = list(train(model, data, config, run=run))
    opened = open_run(run.path)
    record = opened.record()
    assert validate(record) is record
    assert (opened.epochs, opened.finished) == (3, True)
    np.testing.assert_array_equal(record.k, [r.k for r in records])
    np.testing.assert_array_equal(record.delta, [r.delta for r in records])
    np.testing.assert_array_equal(record.probability, [r.probability for r in records])
    np.testing.assert_array_equal(record.correct, [r.correct for r in records])
    assert record.correct.dtype == bool
    np.testing.assert_allclose(record.test_accuracy, [r.test_accuracy for r in records])
    np.testing.assert_array_equal(record.label, data.train.labels)
    np.testing.assert_array_equal(record.image_id, data.train.image_ids)
    assert json.loads(record.attrs["data"])["fingerprint"] == data.fingerprint
    assert json.loads(record.attrs["config"])["start"] == config.to_dict()
    loaded = opened.load_model()
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight)


def test_a_run_with_epochs_of_old_that_tell_k_and_delta_alone_opens_and_goes_on(start, data):
    run, model, config = start()
    records = train(model, data, config, run=run)
    first = next(records)
    records.close()
    np.save(run.path / "epochs" / "0001.npy", np.stack([first.k, first.delta]))
    opened = open_run(run.path)
    (*_, last) = train(opened.load_model(), data, opened.config, run=opened)
    record = open_run(run.path).record()
    assert validate(record) is record
    assert "probability" not in record
    assert "correct" not in record
    np.testing.assert_array_equal(record.k[-1], last.k)


def test_a_run_is_readable_while_it_trains(start, data):
    run, model, config = start()
    records = train(model, data, config, run=run)
    assert open_run(run.path).record().sizes["epoch"] == 0
    first = next(records)
    record = open_run(run.path).record()
    np.testing.assert_array_equal(record.k[0], first.k)
    assert validate(record) is record
    records.close()


def test_a_run_of_before_a_setting_was_there_has_its_default(finished):
    described = json.loads((finished.path / "config.json").read_text())
    del described["config"]["delta_class"]
    (finished.path / "config.json").write_text(json.dumps(described))
    opened = open_run(finished.path)
    assert opened.start_config["delta_class"] == "label"
    assert opened.config.delta_class == "label"


def test_a_new_run_holds_the_initial_weights(start):
    run, model, _ = start()
    assert torch.equal(run.load_model().dense1.weight, model.dense1.weight)


@pytest.mark.parametrize(
    ("optimizer", "saliency_pass"),
    [*((name, "shared") for name in ("adadelta", "sgd", "adam", "adamw")), ("adadelta", "harvested")],
)
def test_resuming_gives_the_same_numbers_as_never_having_stopped(start, data, optimizer, saliency_pass):
    settings = {"optimizer": optimizer, "saliency_pass": saliency_pass, "learning_rate": 0.02, "alpha": 50.0}
    straight, model, config = start("straight", **settings)
    expected = list(train(model, data, config, run=straight))
    stopped, model, config = start("stopped", **settings)
    records = train(model, data, config, run=stopped, every=1)
    for _ in range(5):  # one epoch (three steps and the epoch's record) and a step of the second
        next(records)
    records.close()

    run = open_run(stopped.path)
    assert run.epochs == 1
    fresh = create_model("cnn", data, seed=99)
    resumed = list(train(fresh, run.load_data(), run.config, run=run))
    assert [r.epoch for r in resumed] == [2, 3]
    assert [r.step for r in resumed] == [r.step for r in expected[1:]]
    for one, two in zip(resumed, expected[1:], strict=True):
        assert one.train_loss == two.train_loss
        np.testing.assert_array_equal(one.k, two.k)
        np.testing.assert_array_equal(one.delta, two.delta)
    for one, two in zip(run.load_model().parameters(), straight.load_model().parameters(), strict=True):
        assert torch.equal(one, two)
    np.testing.assert_array_equal(run.record().k, straight.record().k)


def test_a_killed_training_goes_on_with_the_numbers_it_would_have_had(tmp_path, start, data):
    """kill -9 at a random moment, again and again, until the run is finished."""
    straight, model, config = start("straight", epochs=6)
    list(train(model, data, config, run=straight))
    killed, *_ = start("killed", epochs=6)
    script = """
import sys
from smoot_explore import *
import torch; torch.set_num_threads(int(sys.argv[2]))
run = open_run(sys.argv[1])
print("ready", flush=True)
for _ in train(run.load_model(), run.load_data(), run.config, run=run): print("epoch", flush=True)
"""
    rng = np.random.default_rng(0)
    for _ in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(killed.path), str(torch.get_num_threads())],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for _ in range(int(rng.integers(2, 4))):
            process.stdout.readline()
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.wait()
        if open_run(killed.path).finished:
            break
    run = open_run(killed.path)
    assert run.finished
    np.testing.assert_array_equal(run.record().k, straight.record().k)
    np.testing.assert_array_equal(run.record().train_loss, straight.record().train_loss)


def test_live_changes_are_in_the_record_and_survive_resuming(start, data):
    run, model, config = start()
    records = train(model, data, config, run=run, every=1)
    next(records)
    config.alpha, config.learning_rate = 77.0, 0.5
    for _ in range(3):
        next(records)
    records.close()
    opened = open_run(run.path)
    assert [(c.step, c.name, c.new) for c in opened.changes] == [
        (2, "alpha", 77.0),
        (2, "learning_rate", 0.5),
    ]
    assert (opened.config.alpha, opened.start_config["alpha"]) == (77.0, 10.0)
    list(train(opened.load_model(), data, opened.config, run=opened))
    assert [(c.step, c.name) for c in opened.changes] == [(2, "alpha"), (2, "learning_rate")]
    assert json.loads(opened.record().attrs["config"])["changes"][0]["step"] == 2


def test_a_finished_run_can_go_on_for_more_epochs(finished, data):
    config = finished.config
    config.epochs = 5
    more = list(train(finished.load_model(), data, config, run=finished))
    assert [r.epoch for r in more] == [4, 5]
    assert open_run(finished.path).record().sizes["epoch"] == 5


def test_an_extension_that_was_stopped_goes_on_to_its_own_end(finished, data):
    config = finished.config
    config.epochs = 6
    records = train(finished.load_model(), data, config, run=finished)
    next(records)
    records.close()
    run = open_run(finished.path)
    assert (run.epochs, run.finished, run.config.epochs) == (4, False, 6)
    list(train(run.load_model(), data, run.config, run=run))
    assert (run.epochs, run.finished) == (6, True)


def test_a_kill_before_the_weights_are_written_loses_no_weights(start, data, monkeypatch):
    run, model, config = start(epochs=1)

    def killed(path, tensors, epoch):
        if path.name == "model.safetensors":
            raise KeyboardInterrupt
        return write(path, tensors, epoch)

    write = runs_module.write_tensors
    with monkeypatch.context() as patched:
        patched.setattr(runs_module, "write_tensors", killed)
        with pytest.raises(KeyboardInterrupt):
            list(train(model, data, config, run=run))
    opened = open_run(run.path)
    assert opened.epochs == 1
    assert torch.equal(opened.load_model().dense1.weight, model.dense1.weight)
    assert list(train(create_model("cnn", data, seed=5), data, opened.config, run=opened)) == []
    assert torch.equal(open_run(run.path).load_model().dense1.weight, model.dense1.weight)


def test_a_config_that_a_page_watches_can_be_trained_with(start, data):
    class Page:
        def __init__(self):
            self.lock = threading.Lock()

        def redraw(self, event):
            self.seen = event.new

    page, (_, model, config) = Page(), start(epochs=1)
    config.param.watch(page.redraw, "alpha")
    records = train(model, data, config, every=1)
    next(records)
    config.alpha = 3.0
    assert page.seen == 3.0
    assert [change.name for record in records for change in record.changes] == ["alpha"]


def test_weights_ruined_by_the_last_step_of_an_epoch_are_not_kept(start, data, monkeypatch):
    run, model, config = start(batch_size=60)

    def ruinous_step(loss, *arguments):
        result = step(loss, *arguments)
        loss.model.dense1.weight.data[0, 0] = torch.inf
        return result

    step = training_module.training_step
    monkeypatch.setattr(training_module, "training_step", ruinous_step)
    with pytest.raises(TrainingError, match=r"weights are not finite after the last step of epoch 1\. Try"):
        list(train(model, data, config, run=run))
    assert open_run(run.path).epochs == 0


def test_a_run_cannot_make_timm_read_a_file(start, data, tmp_path):
    model = create_model("test_vit", data, img_size=32)
    run = Run.create(tmp_path / "vit", TrainingConfig(), model, data)
    run.description["model"]["options"]["checkpoint_path"] = "/tmp/x.pth"
    with pytest.raises(ValueError, match="options checkpoint_path are not accepted"):
        run.load_model()


def test_resuming_with_other_data_or_settings_is_refused(finished, data):
    with pytest.raises(RunError, match=r"other settings \(method 'smoot' ≠ 'sgt'; seed 0 ≠ 3\)"):
        list(
            train(
                create_model("cnn", data),
                data,
                settings_like(finished, method="sgt", seed=3),
                run=finished,
            )
        )
    other = load_data("shapes", 60, 24, seed=1)
    with pytest.raises(RunError, match="the data given are others than those of .*other fingerprint"):
        list(train(create_model("cnn", other), other, finished.config, run=finished))


def settings_like(run, **changes):
    return TrainingConfig(**(run.config.to_dict() | changes))


def test_a_folder_in_use_is_not_overwritten(finished, data):
    with pytest.raises(FileExistsError, match="not empty; choose another folder"):
        Run.create(finished.path, finished.config, create_model("cnn", data), data)


def test_curves_are_kept_in_the_run(finished, data):
    curves = masking_curves(finished.load_model(), data.test[:4], 2)
    assert not finished.has_curves()
    finished.save_curves(curves)
    assert open_run(finished.path).curves().identical(curves.assign_attrs(run="run", epoch=3))
    with pytest.raises(FileNotFoundError, match="holds no curves 'other'"):
        finished.curves("other")
    with pytest.raises(ValueError, match="name must be letters"):
        finished.save_curves(curves, "../outside")


def test_a_landscape_is_kept_in_the_run(finished, data):
    with pytest.raises(FileNotFoundError, match=r"run holds no landscape; make one: run\.save_landscape"):
        finished.landscape()
    landscape = k_landscape(finished.load_model(), data.train[:4], 2)
    assert not finished.has_landscape()
    assert finished.save_landscape(landscape) == finished.path / "landscape.nc"
    opened = open_run(finished.path)
    assert opened.has_landscape()
    assert opened.landscape().identical(landscape.assign_attrs(run="run", epoch=3))


def test_a_users_own_model_and_data_make_a_run(tmp_path):
    torch.manual_seed(0)
    images = torch.randint(0, 256, (8, 1, 6, 6), dtype=torch.uint8)
    data = ImageData(*[Split(images, torch.arange(8) % 2)] * 2, ("a", "b"))
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    config = TrainingConfig(epochs=1, device="cpu")
    run = Run.create(tmp_path / "own", config, model, data)
    list(train(model, data, config, run=run))
    opened = open_run(tmp_path / "own")
    with pytest.raises(RunError, match=r"own trained a model of its own \(torch.*Sequential\)"):
        opened.load_model()
    assert torch.equal(
        opened.load_model(nn.Sequential(nn.Flatten(), nn.Linear(36, 2)))[1].weight, model[1].weight
    )
    with pytest.raises(RunError, match="do not fit the model Linear"):
        opened.load_model(nn.Linear(3, 2))
    with pytest.raises(RunError, match="put together by hand"):
        opened.load_data()


def test_data_that_changed_since_is_noticed(finished):
    finished.description["data"]["seed"] = 8
    with pytest.raises(RunError, match="no longer the data"):
        finished.load_data()


def drop_after(epoch, accuracy=(80.0, 40.0, 10.0), **changes):
    """An accuracy drop as a probe would tell it."""
    protocol = {"fill": "black", "attribution": "gradient", "ranking": "signed", "order": "highest"}
    protocol |= {"precision": "float32", "image_ids": np.array([4, 2])} | changes
    return DropRecord(epoch, np.array([0.0, 0.5, 1.0]), np.array(accuracy), **protocol)


def test_accuracy_drops_are_in_the_record_and_epochs_without_one_are_not_numbers(start, data):
    run, model, config = start()
    records = train(model, data, config, run=run)
    next(records)
    assert "accuracy_drop" not in run.record()
    assert run.probe is None
    next(records)
    run.save_accuracy_drop(drop_after(2.0))
    for record in (open_run(run.path).record(), (list(records), open_run(run.path).record())[1]):
        assert validate(record) is record
        np.testing.assert_array_equal(record.accuracy_drop[:2], [[np.nan] * 3, [80, 40, 10]])
        np.testing.assert_array_equal(record.masked_fraction, [0, 0.5, 1])
        probe = json.loads(record.attrs["probe"])
        assert (probe["image_ids"], probe["fill"], probe["precision"]) == ([4, 2], "black", "float32")
    assert record.sizes == {"epoch": 3, "image": 60, "masked_fraction": 3}
    assert open_run(run.path).probe == {**probe, "masked_fraction": [0.0, 0.5, 1.0]}


def test_a_published_run_keeps_its_accuracy_drops_in_the_record(finished, tmp_path):
    finished.save_accuracy_drop(drop_after(3))
    finished.finish()
    copy = finished.publish(tmp_path / "copy")
    assert copy.record().accuracy_drop[2].values.tolist() == [80, 40, 10]
    assert not list(copy.path.glob("accuracy_drop*"))


def test_an_accuracy_drop_that_does_not_go_with_the_others_is_refused(finished):
    for epoch in (0, 2.5, 4):
        with pytest.raises(ValueError, match=rf"completed epochs, 1 to 3; given one of epoch {epoch:g}"):
            finished.save_accuracy_drop(drop_after(epoch))
    finished.save_accuracy_drop(drop_after(1))
    with pytest.raises(ValueError, match="were measured with other image_ids, fill; measure this one alike"):
        finished.save_accuracy_drop(drop_after(2, fill="mean", image_ids=np.array([1])))
    finished.save_accuracy_drop(drop_after(1, (70.0, 30.0, 10.0)))
    assert finished._gathered().accuracy_drop[0].values.tolist() == [70, 30, 10]


def test_a_kill_between_the_two_files_of_the_first_accuracy_drop_leaves_a_sound_run(finished, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(runs_module, "write_array", killed)
        with pytest.raises(KeyboardInterrupt):
            finished.save_accuracy_drop(drop_after(1))
    opened = open_run(finished.path)
    assert np.isnan(opened._gathered().accuracy_drop).all()
    opened.save_accuracy_drop(drop_after(1))
    assert not np.isnan(opened._gathered().accuracy_drop[0]).any()


PROBE_DAMAGE = {
    r"damaged: probe\.json cannot be read": lambda path: (path / "probe.json").write_bytes(b"{"),
    r"damaged: probe\.json cannot be used \(KeyError 'image_ids'": lambda path: (
        path / "probe.json"
    ).write_text("{}"),
    "damaged: .*image_ids are no positions": lambda path: edit("probe.json", image_ids=["a"])(path),
    "damaged: .*increasing fractions": lambda path: edit("probe.json", masked_fraction=[1, 0])(path),
    "damaged: .*TypeError": lambda path: edit("probe.json", masked_fraction=3)(path),
    "damaged: .*are not all text": lambda path: edit("probe.json", fill=3)(path),
    r"probe\.json cannot be read \(it is no regular file": lambda path: pipe("probe.json")(path),
    r"accuracy_drop is damaged: 0001\.npy has the shape \(2,\)": lambda path: np.save(
        path / "accuracy_drop" / "0001.npy", np.ones(2)
    ),
    r"accuracy_drop is damaged: 0001\.npy cannot be read \(it has 10,000": lambda path: grow(
        "accuracy_drop/0001.npy"
    )(path),
}


@pytest.mark.parametrize("message", PROBE_DAMAGE)
def test_damage_of_what_the_probe_measured_is_named_with_its_folder(finished, message):
    finished.save_accuracy_drop(drop_after(1))
    PROBE_DAMAGE[message](finished.path)
    with pytest.raises(RunError, match=message) as raised:
        open_run(finished.path)._gathered()
    assert str(finished.path) in str(raised.value)


def replace(name, content):
    def damage(path):
        target = path / name
        target.write_bytes(content(target.read_bytes()) if callable(content) else content)

    return damage


def edit(name, **changes):
    def damage(path):
        content = json.loads((path / name).read_text())
        (path / name).write_text(json.dumps({**content, **changes}))

    return damage


def flip_a_bracket(content):
    """One bit of the header, so that the shape's bracket is never closed."""
    return content.replace(b"), }", b"\x28, }", 1)


def grow(name):
    """A file of 10 GB that takes no room on the disk."""
    return lambda path: os.truncate(path / name, 10_000_000_000)


def pipe(name):
    """A file whose reader waits for ever."""

    def damage(path):
        (path / name).unlink()
        os.mkfifo(path / name)

    return damage


def link_to_a_device(name):
    def damage(path):
        (path / name).unlink()
        (path / name).symlink_to("/dev/zero")

    return damage


def hold_out(held):
    def damage(path):
        data = json.loads((path / "config.json").read_text())["data"]
        edit("config.json", data={**data, "hold_out": held})(path)

    return damage


class Danger:
    def __reduce__(self):
        return (exit, ("a pickle was loaded",))


DAMAGE = {
    "is not a run: it has no config.json": lambda path: (path / "config.json").unlink(),
    "is not a run: its config.json is not smoot_explore's": edit("config.json", format="other"),
    "has the schema version 99": edit("config.json", schema_version=99),
    r"damaged: config\.json cannot be read": replace("config.json", lambda b: b[:40]),
    r"damaged: config\.json holds no JSON object": replace("config.json", b"[1]"),
    r"damaged: journal\.json cannot be read": replace("journal.json", b""),
    r"damaged: journal\.json cannot be read .*": replace("journal.json", b"\xff\xfe"),
    "damaged: .*alhpa": edit("config.json", config={"alhpa": 3}),
    "damaged: .*beta": edit("config.json", config={"beta": 3}),
    "damaged: KeyError 'image_shape'": edit("config.json", data={}),
    "no complete entry for epoch 1": edit("journal.json", epochs=[{}], **{}),
    "no complete entry for epoch 1 ?": edit("journal.json", epochs=[{"epoch": 1}]),
    r"0002\.npy of epochs/ is missing": lambda path: (path / "epochs" / "0002.npy").unlink(),
    r"hold_out must have n, seed and at most as_test, given \[3\]": hold_out([3]),
    "damaged: .*at most as_test, given {'n': 3}": hold_out({"n": 3}),
    "damaged: .*at most as_test, given .*root": hold_out({"n": 3, "seed": 0, "root": "/"}),
    r"hold_out must have whole numbers .*1\.5": hold_out({"n": 1.5, "seed": 0}),
    "hold_out must have whole numbers .*True": hold_out({"n": True, "seed": 0}),
    "hold_out must have whole numbers .*'yes'": hold_out({"n": 3, "seed": 0, "as_test": "yes"}),
    "hold_out must have n of 1 or more,.*'n': 0": hold_out({"n": 0, "seed": 0}),
    "hold_out must have n of 1 or more,.*-1": hold_out({"n": 3, "seed": -1}),
    r"hold_out must have n of 1 or more, .*n_train=60 .*loaded \(60\)": hold_out({"n": 3, "seed": 0}),
    r"model\.safetensors cannot be read": replace("model.safetensors", lambda b: b[:-1]),
    r"model\.safetensors cannot be read ": replace("model.safetensors", pickle.dumps(Danger())),
    r"images\.npy cannot be read": replace("images.npy", pickle.dumps(Danger())),
    r"images\.npy has the shape \(3,\)": lambda path: np.save(path / "images.npy", np.ones(3)),
    r"images\.npy cannot be read \(TokenError": replace("images.npy", flip_a_bracket),
    r"config\.json cannot be read \(it has 10,000,000,000 bytes": grow("config.json"),
    r"journal\.json cannot be read \(it has 10,000,000,000 bytes": grow("journal.json"),
    r"images\.npy cannot be read \(it has 10,000,000,000 bytes": grow("images.npy"),
    r"config\.json cannot be read \(it is no regular file": pipe("config.json"),
    r"journal\.json cannot be read \(it is no regular file": link_to_a_device("journal.json"),
    r"images\.npy cannot be read \(it is no regular file": pipe("images.npy"),
    r"config\.json cannot be read \(it is no regular file ?": lambda path: (
        (path / "config.json").rename(path / "elsewhere"),
        (path / "config.json").symlink_to(path / "elsewhere"),
    ),
    r"model\.safetensors cannot be read \(it is no regular file": pipe("model.safetensors"),
    r"journal\.json cannot be read \(maximum recursion": replace("journal.json", b"[" * 100_000),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_a_damaged_run_is_refused_by_name_and_reason_and_the_rest_still_list(finished, start, message):
    start("sound")
    DAMAGE[message](finished.path)
    with pytest.raises(RunError, match=message.rstrip(" ?*")) as raised:
        open_run(finished.path)
    assert str(finished.path) in str(raised.value)
    with pytest.warns(UserWarning, match=message.rstrip(" ?*")):
        runs = list_runs(finished.path.parent)
    assert [run.name for run in runs] == ["sound"]
    assert list(runs.refused) == [finished.path]


def test_a_pickle_in_an_epoch_file_is_refused_when_it_is_read(start, data):
    run, model, config = start(epochs=1)
    records = train(model, data, config, run=run)
    next(records)
    (run.path / "epochs" / "0001.npy").write_bytes(pickle.dumps(Danger()))
    with pytest.raises(RunError, match=r"0001\.npy cannot be read"):
        open_run(run.path).record()


def test_a_damaged_checkpoint_is_refused_when_training_goes_on(start, data):
    run, model, config = start()
    records = train(model, data, config, run=run)
    next(records)
    records.close()
    (checkpoint,) = (run.path / "checkpoint").iterdir()
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    with pytest.raises(RunError, match=r"0001\.safetensors cannot be read"):
        list(train(create_model("cnn", data), data, config, run=open_run(run.path)))


def test_runs_are_listed_oldest_first_without_a_warning(start, tmp_path):
    for name in ("b", "a"):
        run, *_ = start(name)
        run.description["created"] = {"b": "2026-01-01T00:00:00", "a": "2026-02-01T00:00:00"}[name]
        (run.path / "config.json").write_text(json.dumps(run.description))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [run.name for run in list_runs(tmp_path)] == ["b", "a"]


def test_a_loss_that_is_not_finite_leaves_the_last_good_checkpoint(start, data):
    run, model, config = start()
    records = train(model, data, config, run=run)
    good = next(records)
    config.learning_rate = 1e35
    with pytest.raises(RuntimeError, match="epoch 2"):
        list(records)
    opened = open_run(run.path)
    assert opened.epochs == 1
    assert all(weight.isfinite().all() for weight in opened.load_model().parameters())
    config.learning_rate = 1.0
    resumed = list(train(create_model("cnn", data), data, config, run=opened))
    assert [r.epoch for r in resumed] == [2, 3]
    np.testing.assert_array_equal(opened.record().k[0], good.k)


@pytest.fixture
def published(finished, tmp_path):
    return finished.publish(tmp_path / "shared" / "copy")


def test_a_published_run_holds_all_that_was_measured(finished, data, tmp_path):
    finished.save_curves(masking_curves(finished.load_model(), data.test[:4], 2))
    finished.save_landscape(k_landscape(finished.load_model(), data.train[:4], 2))
    published = finished.publish(tmp_path / "shared" / "copy")
    assert (published.finished, published.published, finished.published) == (True, True, False)
    assert published.description == finished.description
    assert published.journal == finished.journal | {"published": True}
    assert published.record().identical(finished.record())
    assert published.curves().identical(finished.curves().assign_attrs(run="copy"))
    assert published.landscape().identical(finished.landscape().assign_attrs(run="copy"))
    assert published.load_data().fingerprint == data.fingerprint
    assert [run.name for run in list_runs(tmp_path / "shared")] == ["copy"]
    assert sorted(str(file.relative_to(published.path)) for file in published.path.rglob("*")) == [
        "config.json", "curves", "curves/test.nc", "journal.json", "landscape.nc", "model.safetensors",
        "record.nc",
    ]  # fmt: skip


def test_published_curves_keep_the_epoch_they_were_measured_at(finished, data, tmp_path):
    finished.save_curves(masking_curves(finished.load_model(), data.test[:4], 2))
    config = finished.config
    config.epochs = 4
    list(train(finished.load_model(), data, config, run=finished))
    published = finished.publish(tmp_path / "copy")
    assert (published.epochs, published.curves().attrs["epoch"]) == (4, 3)


def test_published_weights_take_half_the_room_and_give_the_same_answers(finished, published, data):
    model, rounded = finished.load_model(), published.load_model()
    for exact, weight in zip(model.parameters(), rounded.parameters(), strict=True):
        assert torch.equal(weight, exact.half().float())
    images = data.test.normalize()
    with torch.no_grad():
        torch.testing.assert_close(
            rounded.eval()(images).softmax(1), model.eval()(images).softmax(1), atol=2e-3, rtol=0
        )
    assert accuracy(rounded, data.test) == pytest.approx(accuracy(model, data.test), abs=100 / 24 + 1e-9)
    sizes = [(run.path / "model.safetensors").stat().st_size for run in (finished, published)]
    assert sizes[1] < 0.51 * sizes[0]


def test_numbers_that_float16_cannot_hold_are_published_as_they_are():
    large, counter = torch.tensor([1e6, 1.0]), torch.tensor(70_000)
    assert runs_module.rounded(large) is large
    assert runs_module.rounded(counter) is counter
    assert runs_module.rounded(large / 100).dtype == torch.float16


def test_whoever_may_read_the_settings_may_read_the_weights(published):
    modes = {(published.path / name).stat().st_mode for name in ("config.json", "model.safetensors")}
    assert len(modes) == 1


def test_a_published_run_can_be_published_again(published, tmp_path):
    again = published.publish(tmp_path / "again")
    assert again.record().identical(published.record())
    for one, two in zip(again.load_model().parameters(), published.load_model().parameters(), strict=True):
        assert torch.equal(one, two)


def test_an_unfinished_run_is_not_published(start, data, tmp_path):
    run, model, config = start()
    next(train(model, data, config, run=run))
    with pytest.raises(RunError, match=r"run has 1 of 3 epochs .* finish it first: .* --resume"):
        run.publish(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_publishing_overwrites_nothing_and_leaves_nothing_half_done(finished, tmp_path):
    with pytest.raises(FileExistsError, match="not empty; choose another folder, or delete it"):
        finished.publish(finished.path)
    (finished.path / "curves").mkdir()
    (finished.path / "curves" / "test.nc").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"test\.nc cannot be read"):
        finished.publish(tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_training_does_not_go_on_from_a_published_run(published, data):
    config = published.config
    config.epochs = 5
    with pytest.raises(RunError, match="published runs hold no state to resume from; train a new run"):
        list(train(published.load_model(), data, config, run=published))
    assert open_run(published.path).epochs == 3


def keep_first_epochs(path):
    record = runs_module.read_dataset(path / "record.nc").isel(epoch=slice(0, 2))
    runs_module.write_dataset(path / "record.nc", record)


def give_older_weights(path):
    weights = open_run(path).load_model().state_dict()
    runs_module.write_tensors(path / "model.safetensors", weights, epoch=2)


PUBLISHED_DAMAGE = {
    r"damaged: it is published and its record\.nc is missing": lambda path: (path / "record.nc").unlink(),
    r"damaged: .*record\.nc cannot be read": replace("record.nc", lambda b: b[:900]),
    r"damaged: .*record\.nc has the sizes \{'epoch': 2": keep_first_epochs,
    "damaged: .*says that it is not finished": edit("journal.json", finished=False),
    "damaged: .*its weights are those after epoch 2, not 3": give_older_weights,
    r"model\.safetensors cannot be read": replace("model.safetensors", lambda b: b[:-1]),
    r"record\.nc cannot be read .*it is no regular file": pipe("record.nc"),
    r"damaged: 0001\.npy of epochs/ is missing": edit("journal.json", published=False),
}


@pytest.mark.parametrize("message", PUBLISHED_DAMAGE)
def test_a_damaged_published_run_is_refused_by_name_and_reason(published, message):
    PUBLISHED_DAMAGE[message](published.path)
    with pytest.raises(RunError, match=message) as raised:
        open_run(published.path).record()
    assert str(published.path) in str(raised.value)


def test_listing_reads_no_hdf5_which_a_damaged_file_can_keep_busy_for_ever(published, monkeypatch):
    monkeypatch.setattr("smoot_explore.schema.h5py.File", lambda *_: 1 / 0)
    assert published.path.name in [run.name for run in list_runs(published.path.parent)]


def test_the_bundled_runs_open_with_curves_and_landscape_and_weigh_little():
    runs = bundled_runs()
    assert [run.start_config["method"] for run in runs] == ["traditional", "sgt", "smoot"]
    assert not runs.refused
    for run in runs:
        curves, landscape = run.curves(), run.landscape()
        assert {(d.attrs["run"], d.attrs["epoch"]) for d in (curves, landscape)} == {(run.name, 8)}
        assert dict(curves.sizes) == {"attribution": 2, "fill": 3, "image": 1000, "masked_fraction": 21}
        assert np.bincount(landscape.label).tolist() == [50] * 10
        assert run.load_model().dense1.weight.dtype == torch.float32
    files = [file for file in runs[0].path.parent.parent.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 30e6


def test_the_bundled_smoot_run_has_weights_curves_and_a_landscape_of_each_epoch():
    run = bundled_runs()[-1]
    assert run.epochs_kept == list(range(9))
    data, recorded = run.load_data(), run.record().test_accuracy.values
    for epoch in range(8):
        curves, landscape = run.curves(epoch=epoch), run.landscape(epoch)
        assert {(d.attrs["run"], d.attrs["epoch"]) for d in (curves, landscape)} == {("smoot", epoch)}
        np.testing.assert_array_equal(curves.image_id, run.curves().image_id)
        np.testing.assert_array_equal(landscape.image_id, run.landscape().image_id)
        right = 100 * float(curves.correct.isel(fill=0, masked_fraction=0).mean())
        if epoch:  # of half of the test images
            assert right == pytest.approx(recorded[epoch - 1], abs=3)
    assert accuracy(run.model_at(3), data.test) == pytest.approx(recorded[2], abs=0.2)


def test_bundled_curves_were_measured_with_the_bundled_weights():
    run = bundled_runs()[-1]
    kept = run.curves().sel(attribution="gradient", fill="black").isel(masked_fraction=0)
    split = run.load_data().test[:1000]
    np.testing.assert_array_equal(kept.image_id, split.image_ids)
    with torch.no_grad():
        probabilities = run.load_model().eval()(split.normalize()).softmax(1)
    mine = probabilities.gather(1, split.labels[:, None]).squeeze(1)
    np.testing.assert_allclose(kept.probability, mine, atol=0.05)  # kept in bfloat16
    assert float(kept.correct.mean()) == pytest.approx(
        float((probabilities.argmax(1) == split.labels).float().mean()), abs=0.01
    )


def test_an_installed_package_finds_its_bundled_runs(published, tmp_path, monkeypatch):
    monkeypatch.setattr(data_module, "_CHECKOUT_DATA", tmp_path / "no checkout")
    monkeypatch.setattr(data_module, "_PACKAGE", tmp_path)
    with pytest.raises(FileNotFoundError, match="bundled as runs is missing: neither .*no checkout"):
        bundled_runs()
    published.publish(tmp_path / "bundled" / "runs" / "smoot")
    assert [run.name for run in bundled_runs()] == ["smoot"]


@pytest.mark.parametrize("as_test", [False, True])
def test_held_out_images_are_held_out_again_when_the_data_are_loaded(tmp_path, config, as_test):
    data = load_data("shapes", train=np.int64(30), test=6).hold_out(np.int64(6), seed=2, as_test=as_test)
    settings = config(epochs=np.int64(1), alpha=np.float32(2.5), batch_size=12)  # of a sweep
    run = Run.create(tmp_path / "run", settings, create_model("cnn", data), data)
    opened = open_run(run.path)
    assert opened.config == settings
    again = opened.load_data()
    held, held_again = (one.test if as_test else one.validation for one in (data, again))
    assert torch.equal(held_again.image_ids, held.image_ids)
    assert again.fingerprint == data.fingerprint
