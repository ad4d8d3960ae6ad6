"""Runs as the tabs see them."""

import itertools
import json
import shutil
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from waiting import until
from workers import ThreadWorkers

from smoot_explore import (
    ImageData,
    Split,
    bundled_runs,
    create_model,
    k_landscape,
    load_data,
    masking_curves,
    open_run,
    train,
    views,
)
from smoot_explore.engine import shared_data as shared_data_module
from smoot_explore.engine.channel import Channel, JobStopped
from smoot_explore.engine.engine import Engine
from smoot_explore.engine.shared_data import shared_data
from smoot_explore.explorer import opened_runs
from smoot_explore.explorer.opened_runs import OpenedRun, balanced
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state.compare import CompareState
from smoot_explore.explorer.state.train import TrainState
from smoot_explore.explorer.state.whatif import WhatIfState
from smoot_explore.runs.compare import compare_runs
from smoot_explore.runs.run import Run
from smoot_explore.runs.table import notes


@pytest.fixture
def trained(data, linear, config, tmp_path):
    """A run of one epoch, of a model of its own."""
    settings = config(epochs=1)
    run = Run.create(tmp_path / "run", settings, linear, data)
    list(train(linear, data, settings, run=run))
    return run


@pytest.fixture
def opened(trained, data, linear):
    return OpenedRun.open("mine/1", "my run", trained, data=data, model=linear)


@pytest.fixture(scope="module")
def bundled():
    return OpenedRun.open("bundled/sgt", "SGT", next(run for run in bundled_runs() if run.name == "sgt"))


def test_a_bundled_run_brings_data_weights_curves_and_landscape(bundled):
    run = bundled.run
    assert (bundled.method, bundled.n_measured, len(bundled.test)) == ("sgt", 1000, 1000)
    assert bundled.data.fingerprint == run.description["data"]["fingerprint"]
    assert not bundled.model.training
    for fill, method in itertools.product(
        ("black", "mean", "remaining"), ("gradient", "integrated_gradients")
    ):
        stored = run.curves().sel(fill=fill, attribution=method)
        found = bundled.curves(fill, method)
        assert found.probability.dims == ("image", "masked_fraction")
        np.testing.assert_array_equal(found.probability, stored.probability)
    np.testing.assert_array_equal(bundled.landscape.label_change, run.landscape().label_change)


def test_the_curves_of_a_bundled_run_are_those_of_its_weights(bundled):
    measured = masking_curves(bundled.model, bundled.data.test[:20], 20, precision="float32")
    stored = bundled.curves("black", "gradient").probability.values[:20]
    np.testing.assert_allclose(stored, measured.probability, atol=2e-3)


def test_a_run_without_curves_measures_its_own_with_progress(opened, data, linear):
    assert (opened.curves("mean", "gradient"), opened.landscape) == (None, None)
    told = []
    opened.take_curves("mean", "random", opened.curves_work("mean", "random")(Channel(told.append)))
    curves = opened.curves("mean", "random")
    assert told[-1] == (24, 24)
    assert opened.curves("mean", "gradient") is None
    expected = masking_curves(linear.eval(), data.test, 20, "highest", "mean", "random")
    np.testing.assert_allclose(curves.probability, expected.probability, atol=1e-5)
    assert (curves.attrs["run"], curves.attrs["epoch"]) == ("run", 1)
    assert (opened.curves("mean", "random") is not None, opened.n_measured) == (True, 24)


def test_a_landscape_is_measured_under_the_settings_of_the_run(opened, data):
    told = []
    land = opened.landscape_work()(Channel(told.append))
    opened.take_landscape(land)
    assert opened.landscape is land
    assert told[-1][0] == told[-1][1]
    config = opened.run.config
    expected = k_landscape(
        opened.model, data.train[balanced(data.train, 200)], 32, draws=2, fill=config.fill,
        signed=config.signed, top_n=config.top_n, precision="float32",
    )  # fmt: skip
    np.testing.assert_allclose(land.label_change, expected.label_change, atol=1e-5)
    assert land.image_id.values.tolist() == data.train.image_ids.tolist()


def test_measuring_works_on_a_copy_of_the_model(opened):
    assert opened.curves_work("mean", "random").model is not opened.model
    assert opened.landscape_work().model is not opened.model


def test_why_something_cannot_be_measured_is_remembered(opened):
    opened.take_curves("mean", "random", None, "no memory")
    opened.take_landscape(None, "no time")
    assert (opened.problem(("mean", "random")), opened.problem("landscape")) == ("no memory", "no time")
    assert opened.problem(("black", "random")) == ""
    assert (opened.curves("mean", "random"), opened.landscape) == (None, None)


class Idle(ThreadWorkers):
    """Begins with nothing."""

    def submit(self, name, work):
        self._works[name] = work


def test_what_failed_with_a_worker_is_tried_again_later(opened, monkeypatch):
    monkeypatch.setattr(opened_runs, "AGAIN_SECONDS", 0.3)
    workers = Idle()
    engine = Engine(workers)
    measurement = opened.measure_curves(engine, "mean", "random")
    until(lambda: workers._works)
    workers._failed(*workers._works, "the connection to the workers is lost")
    assert measurement.done
    assert opened.problem(("mean", "random")) == "the connection to the workers is lost"
    until(lambda: not opened.problem(("mean", "random")))
    broken = opened.measure_curves(Engine(ThreadWorkers()), "mean", "no such method")
    until(lambda: broken.done)
    time.sleep(0.4)
    assert "no such method" in opened.problem(("mean", "no such method"))


def test_pages_that_want_the_same_wait_for_one_measurement_until_the_last_has_left(opened):
    workers = Idle()
    engine = Engine(workers)
    first, second = (opened.measure_landscape(engine) for _ in range(2))
    assert first is second
    other = opened.measure_curves(engine, "mean", "random")
    assert other is not first
    first.cancel()
    assert not first.done
    until(lambda: len(workers._works) == 2)
    second.cancel()
    assert first.done
    again = opened.measure_landscape(engine)
    assert again is not first
    assert opened.problem("landscape") == ""


def test_measuring_stops_when_it_is_told_to(opened):
    channel = Channel(list)
    channel.deliver("stop")
    with pytest.raises(JobStopped):
        opened.landscape_work()(channel)


@pytest.mark.parametrize(
    ("order", "signed", "images", "epoch", "fits"),
    [("highest", True, slice(0, 10), 1, True), ("lowest", True, slice(0, 10), 1, False),
     ("highest", False, slice(0, 10), 1, False), ("highest", True, slice(1, 10), 1, False),
     ("highest", True, slice(0, 10), 0, False)],
)  # fmt: skip
def test_stored_curves_are_taken_over_only_where_they_fit(
    trained, data, linear, order, signed, images, epoch, fits
):
    curves = masking_curves(linear, data.test[images], 4, order, ["mean", "black"], signed=signed)
    path = trained.save_curves(curves)
    from smoot_explore.schema import write_dataset

    write_dataset(path, trained.curves().assign_attrs(epoch=epoch))
    opened = OpenedRun.open("mine/1", "my run", trained, data=data, model=linear)
    assert (opened.curves("mean", "gradient") is not None) == fits
    assert opened.n_measured == (10 if fits else 24)
    if fits:
        np.testing.assert_allclose(opened.curves("black", "gradient").probability, curves.probability[1])


def test_a_landscape_of_older_weights_is_not_taken_over(trained, data, linear):
    from smoot_explore.schema import write_dataset

    path = trained.save_landscape(k_landscape(linear, data.train[:3], 2, draws=1))
    opened = [OpenedRun.open("x", "x", trained, data=data, model=linear).landscape is not None]
    write_dataset(path, trained.landscape().assign_attrs(epoch=0))
    opened.append(OpenedRun.open("x", "x", trained, data=data, model=linear).landscape is not None)
    assert opened == [True, False]


def test_the_model_given_is_copied_and_gets_the_weights_of_the_disk(trained, data, linear):
    with torch.no_grad():
        linear[1].weight.zero_()
    opened = OpenedRun.open("mine/1", "my run", trained, data=data, model=linear)
    assert opened.model is not linear
    assert not linear[1].weight.any()
    assert opened.model[1].weight.any()


def test_a_run_without_an_epoch_is_opened_with_its_initial_weights(data, linear, config, tmp_path):
    run = Run.create(tmp_path / "run", config(), linear, data)
    opened = OpenedRun.open("mine/1", "my run", run)
    assert torch.equal(opened.model[1].weight, linear[1].weight)
    opened.take_curves("black", "gradient", opened.curves_work("black", "gradient")(Channel(list)))
    assert opened.curves("black", "gradient").attrs["epoch"] == 0


def test_data_put_together_by_hand_cannot_be_loaded_again(config, tmp_path):
    images = torch.randint(0, 256, (8, 1, 9, 9), dtype=torch.uint8)
    labels = torch.arange(8) % 2
    by_hand = ImageData(Split(images, labels), Split(images, labels), ("a", "b"))
    model, settings = create_model("cnn", by_hand), config(epochs=1)
    run = Run.create(tmp_path / "run", settings, model, by_hand)
    list(train(model, by_hand, settings, run=run))
    assert OpenedRun.open("given/1", "my run", run).data is by_hand  # it was made with them
    run = open_run(run.path)
    with pytest.raises(ValueError, match="my run was trained on data put together by hand"):
        OpenedRun.open("kept/run", "my run", run)
    assert OpenedRun.open("kept/run", "my run", run, data=by_hand).data is by_hand


def test_data_that_changed_since_are_noticed(data, model, config, tmp_path, monkeypatch):
    settings = config(epochs=1)
    run = Run.create(tmp_path / "run", settings, model, data)
    list(train(model, data, settings, run=run))
    monkeypatch.setattr(opened_runs, "shared_data", lambda *source: load_data("shapes", 60, 18))
    with pytest.raises(ValueError, match="the data of my run have changed since it was trained"):
        OpenedRun.open("kept/run", "my run", run)


def test_a_damaged_run_is_not_opened(trained, data, linear):
    shutil.rmtree(trained.path / "epochs")
    with pytest.raises(ValueError, match="is damaged"):
        OpenedRun.open("mine/1", "my run", trained, data=data, model=linear)
    with pytest.raises(ValueError, match="is damaged"):
        open_run(trained.path)


def test_data_are_loaded_once_for_all_sessions_and_only_the_last_few_are_kept(monkeypatch):
    loaded = []
    monkeypatch.setattr(
        shared_data_module, "load_data", lambda *source, **options: loaded.append(source) or object()
    )
    monkeypatch.setattr(shared_data_module, "_data", type(shared_data_module._data)())
    first = shared_data("a", root=None)
    assert shared_data("a", root=None) is first
    for name in "bcd":
        shared_data(name, root=None)
    assert shared_data("a", root=None) is first
    shared_data("e", root=None)  # b goes, which was used longest ago
    assert shared_data("a", root=None) is first
    assert len(loaded) == 5
    shared_data("b", root=None)
    assert [name for (name,) in loaded] == ["a", "b", "c", "d", "e", "b"]
    assert len(shared_data_module._data) == shared_data_module._KEPT


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(0, 35))
def test_balanced_takes_the_first_of_each_class_in_turn(labels, n):
    split = Split(torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8), torch.tensor(labels))
    by_turn = sorted(range(len(labels)), key=lambda i: (labels[:i].count(labels[i]), i))
    assert balanced(split, n).tolist() == sorted(by_turn[:n])


def test_a_run_whose_names_are_not_registered_opens_in_every_tab(trained, data, linear, tmp_path):
    curves = masking_curves(linear, data.test, 4, fill=["mean", "black"], attribution=["gradient", "random"])
    renamed = {"fill": ["lost", "black"], "attribution": ["gradient", "missing"]}
    trained.save_curves(curves.assign_coords({n: (n, v, curves[n].attrs) for n, v in renamed.items()}))
    file = trained.path / "config.json"
    description = json.loads(file.read_text())
    description["config"] |= {"fill": "lost", "k_rule": "lost-rule"}
    file.write_text(json.dumps(description))
    (trained.path / "record.nc").unlink()

    opened = OpenedRun.open("mine/1", "my run", open_run(trained.path), data=data, model=linear)
    compare = CompareState()
    compare.opened_runs = [opened]
    heads, _ = compare.table()
    assert heads[-4:-2] == ["AUC black (%)", "AUC lost (%)"]
    assert "lost" in compare.to_csv()
    table = compare_runs([opened.run])
    assert {"lost", "black"} == set(table.fill.values)
    assert any("lost" in line or "AUC" in line for line in notes(table))
    assert views.k_trajectories(opened.run.record()) is not None
    assert views.accuracy_drop(opened.run.curves().sel(fill="lost", attribution="missing")) is not None

    train_state = TrainState(ServerSettings(runs=tmp_path / "runs"), Engine(ThreadWorkers()))
    train_state.show_preview(opened, look=False)
    assert train_state.started.fill == "lost"
    assert len(train_state.history.scores) == 1
    with pytest.raises(ValueError, match=r"unknown fill 'lost'.*register_fill"):
        train_state.watch_now()
    whatif = WhatIfState()
    whatif.show(opened)
    with pytest.raises(ValueError, match="unknown fill 'lost'") as error:
        opened.landscape_work()(Channel(list))
    opened.take_landscape(None, str(error.value))
    assert "unknown fill 'lost'" in whatif.problem
    with pytest.raises(ValueError, match=r"unknown rule of k 'lost-rule'.*register_k_rule"):
        train(linear, data, opened.run.config, run=opened.run)
