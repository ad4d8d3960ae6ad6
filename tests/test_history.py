"""What a training has told so far, as data sets."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from smoot_explore import Change, DropRecord, TrainingConfig, bundled_runs, create_model, load_data, train
from smoot_explore.core import history as module
from smoot_explore.core.history import QUANTILES, History
from smoot_explore.core.records import EpochRecord, StepRecord


def step(number, k, steps_per_epoch=4, changes=()):
    epoch = 1 + (number - 1) // steps_per_epoch
    place = 1 + (number - 1) % steps_per_epoch
    return StepRecord(
        epoch, number, place, steps_per_epoch, 1.0, 0.9, 0.1, np.asarray(k, float), 10.0, changes
    )


def drop(epoch):
    levels = np.linspace(0, 1, 3)
    return DropRecord(
        epoch, levels, 100 - 80 * levels, np.arange(5), "black", "gradient", "signed", "highest", "float32"
    )


@pytest.fixture(scope="module")
def told():
    data = load_data("shapes", train=24, test=6)
    config = TrainingConfig(method="smoot", epochs=3, batch_size=8)
    return list(train(create_model("cnn", data), data, config, every=1))


def test_every_record_is_taken_over_in_its_place(told):
    history = History(np.full(24, 512.0))
    for record in told:
        history.add(record)
    steps, epochs = ([r for r in told if isinstance(r, kind)] for kind in (StepRecord, EpochRecord))
    np.testing.assert_allclose(history.steps().epoch, [r.step / 3 for r in steps])
    np.testing.assert_array_equal(history.steps().kl, [r.kl for r in steps])
    np.testing.assert_array_equal(history.accuracies().test_accuracy, [r.test_accuracy for r in epochs])
    assert history.accuracies().epoch.values.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(history.k_of([3, 7]).sel(epoch=2.0), epochs[1].k[[3, 7]])
    np.testing.assert_array_equal(history.k, epochs[-1].k)
    quantiles = history.k_quantiles()
    assert (quantiles.sel(epoch=0.0) == 512).all()
    for q, value in zip(QUANTILES, quantiles.isel(epoch=-1).values, strict=True):
        assert value == pytest.approx(np.quantile(epochs[-1].k, q))


def test_a_finished_runs_history_is_that_of_its_record():
    run = bundled_runs()[2]
    record, history = run.record(), History.of(run.record())
    xr.testing.assert_equal(
        history.k_of(range(50)).sel(epoch=record.epoch.astype(float)).drop_vars("epoch"),
        record.k.isel(image=slice(50)).astype(float).drop_vars(["epoch", "image_id", "label"]),
    )
    np.testing.assert_allclose(history.steps().cross_entropy, record.cross_entropy)
    assert [scores.epoch for scores in history.scores] == record.epoch.values.tolist()
    assert [change for _, change in history.changes] == run.changes


def test_traditional_training_has_losses_and_no_k():
    history = History(None)
    history.add(step(1, np.zeros(5)))
    assert history.steps().sizes["epoch"] == 1
    assert history.k_quantiles().shape == (len(QUANTILES), 0)
    assert history.k_of([0, 1]).shape == (0, 2)


def test_nothing_told_is_empty_and_not_an_error():
    for history in (History(None), History(np.full(3, 7.0))):
        assert history.steps().sizes["epoch"] == history.accuracies().sizes["epoch"] == 0
        assert history.k_of([]).sizes["image"] == 0
    assert History(np.full(3, 7.0)).k_quantiles().values.tolist() == [[7.0]] * len(QUANTILES)


def test_a_change_is_placed_where_it_took_effect():
    history = History(np.zeros(2))
    history.add(step(7, np.zeros(2), changes=(Change(6, 2, "alpha", 10, 20),)))
    assert history.changes == [(5 / 4, Change(6, 2, "alpha", 10, 20))]


def test_an_accuracy_drop_of_a_pause_stands_in_for_the_next_one():
    history = History(None)
    for epoch in (1.0, 1.5, 1.75, 2.0, 2.0):
        history.add(drop(epoch))
    assert [told.epoch for told in history.drops] == [1.0, 2.0]


@given(st.integers(1, 400), st.integers(2, 12))
def test_what_is_kept_is_bounded_and_begins_and_ends_with_what_was_told(n, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_MOMENTS", most)
        patch.setattr(module, "MOST_POINTS", most)
        history = History(np.zeros(2))
        for i in range(1, n + 1):
            history.add(step(i, [i, 2 * i]))
    moments, spreads = history.k_of([0, 1]), history.k_quantiles()
    for kept, first in ((moments.epoch, 0), (history.steps().epoch, 1)):
        numbers = np.rint(4 * kept.values).astype(int).tolist()
        assert len(numbers) <= most
        assert (numbers[0], numbers[-1]) == (first, n)
        gaps = np.diff(numbers)
        assert len(set(gaps[:-1])) <= 1  # even, whatever was thinned; the newest comes when it comes
        assert (gaps > 0).all()
    np.testing.assert_array_equal(moments.values, np.outer(4 * moments.epoch.values, [1, 2]))
    np.testing.assert_allclose(spreads.sel(quantile=0.5), 6 * spreads.epoch)
    np.testing.assert_array_equal(history.k, [n, 2 * n])
