"""Classifiers trained elsewhere, as runs."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from smoot_explore import (
    ImageData,
    RunError,
    accuracy,
    adopt,
    create_model,
    k_landscape,
    list_runs,
    masking_curves,
    open_run,
    replay,
    train,
    validate,
)
from smoot_explore.engine.channel import Channel
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.runs.compare import compare_runs
from smoot_explore.runs.table import columns, notes, records


@pytest.fixture
def by_hand(data):
    return ImageData(data.train, data.test)


@pytest.fixture
def adopted(linear, by_hand, tmp_path):
    return adopt(linear, by_hand, tmp_path / "theirs")


def test_an_adopted_classifier_is_a_run_without_an_epoch(adopted, linear, by_hand):
    opened = open_run(adopted.path, model=nn.Sequential(nn.Flatten(), nn.Linear(3072, 6)), data=by_hand)
    for run in (adopted, opened):
        assert (run.adopted, run.epochs, run.finished, run.epochs_kept) == (True, 0, True, [0])
        assert torch.equal(run.load_model()[1].weight, linear[1].weight)
        assert run.load_data() is by_hand
        record = run.record()
        assert validate(record) is record
        assert record.sizes["epoch"] == 0
    assert repr(opened) == f"<Run {adopted.path}: trained elsewhere>"
    assert [run.name for run in list_runs(adopted.path.parent)] == ["theirs"]


def test_the_weights_are_those_of_when_it_was_adopted(adopted, linear):
    before = linear[1].weight.clone()
    with torch.no_grad():
        linear[1].weight.zero_()
    assert torch.equal(adopted.load_model()[1].weight, before)


def test_curves_landscape_comparison_and_publishing_work_with_it(adopted, linear, data, tmp_path):
    adopted.save_curves(masking_curves(linear, data.test, 4))
    adopted.save_landscape(k_landscape(linear, data.train[:4], 2))
    copy = adopted.publish(tmp_path / "copy")
    assert copy.adopted
    assert copy.record().sizes == {"epoch": 0, "image": 60}
    table = compare_runs([adopted, copy])
    assert table.method.values.tolist() == ["adopted"] * 2
    assert table.test_accuracy.values.tolist() == [accuracy(linear, data.test)] * 2
    assert np.isnan(table.k_median).all()
    assert json.loads(json.dumps(records(table), allow_nan=False))[0]["k_median"] is None
    assert next(column for column in columns(table, []) if column.of == ("median",)).cells == ["–"] * 2
    assert notes(table)
    assert columns(table, ["fill"])[-1].cells == ["24"] * 2


def test_the_explorer_opens_it_with_what_it_was_adopted_with(adopted, linear):
    opened = OpenedRun.open("given/1", "theirs", adopted)
    opened.take_curves("black", "gradient", opened.curves_work("black", "gradient")(Channel(list)))
    opened.take_landscape(opened.landscape_work()(Channel(list)))
    assert opened.curves("black", "gradient").attrs["epoch"] == 0
    with pytest.raises(ValueError, match="put together by hand"):
        OpenedRun.open("kept/theirs", "theirs", open_run(adopted.path))


def test_training_goes_on_from_it_as_a_new_run_alone(adopted, by_hand, tmp_path):
    for going_on in (
        lambda: list(train(adopted.load_model(), by_hand, adopted.config, run=adopted)),
        lambda: adopted.branch(0, tmp_path / "branch"),
    ):
        with pytest.raises(
            RunError, match=r"was trained elsewhere .*Run\.create\(path, config, run\.load_model"
        ):
            going_on()
    with pytest.raises(RunError, match="no completed epoch"):
        replay(adopted, tmp_path / "again")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


@pytest.mark.parametrize("origin", [{}, {"how": 3}, {"how": "adopted", "test_accuracy": "high"}, ["adopted"]])
def test_an_origin_that_cannot_be_is_damage(adopted, origin):
    (adopted.path / "config.json").write_text(json.dumps(adopted.description | {"origin": origin}))
    with pytest.raises(RunError, match="is damaged"):
        open_run(adopted.path)


def test_a_model_that_gives_no_logits_for_the_data_is_refused(data, tmp_path):
    for model, message in (
        (nn.Sequential(nn.Flatten(), nn.Linear(3072, 5)), r"logits of shape \(2, 6\), it returned \(2, 5\)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(7, 6)), "cannot take images of shape"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3072, 6), nn.Softmax(1)), "returns probabilities"),
    ):
        with pytest.raises(ValueError, match=message):
            adopt(model, data, tmp_path / "theirs")
    assert not list(tmp_path.iterdir())


def test_a_model_by_name_needs_not_be_given_again(data, tmp_path):
    model = create_model("cnn", data)
    run = open_run(adopt(model, data, tmp_path / "theirs").path)
    assert torch.equal(run.load_model().dense1.weight, model.dense1.weight)
    assert run.load_data().fingerprint == data.fingerprint
