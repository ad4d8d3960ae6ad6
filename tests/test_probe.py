"""The accuracy drop while a training runs."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import smoot_explore.core.probe as probe_module
from smoot_explore import (
    AccuracyDropProbe,
    DropRecord,
    EpochRecord,
    Run,
    StepRecord,
    accuracy_drop,
    create_model,
    drop_auc,
    masking_curves,
    open_run,
    probed,
    train,
)
from smoot_explore.core.probe import SLICE_SECONDS, recorded_drops
from smoot_explore.data.images import in_turn


def drops_of(records):
    return [record for record in records if isinstance(record, DropRecord)]


def test_training_is_the_same_to_the_bit_with_the_probe_and_without(data, config):
    plain, watched = create_model("cnn", data), create_model("cnn", data)
    settings = {"alpha": 100.0, "epochs": 3}
    expected = list(train(plain, data, config(**settings), every=1))
    random_numbers = torch.get_rng_state()
    found = list(probed(train(watched, data, config(**settings), every=1), watched, data, config(**settings)))
    assert torch.equal(torch.get_rng_state(), random_numbers)
    assert drops_of(found)
    told = [record for record in found if not isinstance(record, DropRecord)]
    assert [type(record) for record in told] == [type(record) for record in expected]
    for one, two in zip(told, expected, strict=True):
        np.testing.assert_array_equal(one.k, two.k)
    for one, two in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("every", [None, 1])
def test_a_drop_is_that_of_the_weights_after_its_epoch(data, model, config, every):
    settings, weights = config(epochs=2, batch_size=10), {}
    probe = AccuracyDropProbe(data.test, images=12, fewest=12, levels=4, fill="mean")
    records = train(model, data, settings, every=every)
    told = []
    for record in probed(records, model, data, settings, probe=probe, share=1.0):
        told.append(record)
        if isinstance(record, EpochRecord):
            weights[record.epoch] = copy.deepcopy(model)
    drops = drops_of(told)
    assert [drop.epoch for drop in drops] == [1.0, 2.0]
    for drop in drops:
        curves = masking_curves(weights[drop.epoch], data.test[in_turn(data.test)[:12]], 4, fill="mean")
        np.testing.assert_allclose(drop.accuracy, accuracy_drop(curves))
        np.testing.assert_array_equal(drop.image_ids, curves.image_id)
        assert drop.auc == pytest.approx(float(drop_auc(curves)))
        protocol = drop.n_images, drop.fill, drop.attribution, drop.ranking, drop.order, drop.precision
        assert protocol == (12, "mean", "gradient", "signed", "highest", "float32")


def test_however_many_images_are_taken_the_classes_are_equal(data):
    order = in_turn(data.test)
    assert sorted(order) == list(range(24))
    for n in range(1, 25):
        counts = np.bincount(data.test.labels[order[:n]], minlength=6)
        assert counts.max() - counts.min() <= 1


class Clock:
    """Time that passes only when something is said to take it."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def simulate(data, linear, monkeypatch):
    """A training of steps of ``step`` seconds, and slices that take ``overhead``, and ``image`` for each image."""

    def simulate(
        step, overhead, image, *, epochs=10, steps=30, every=1, first_step=None, share=0.03, n_test=300
    ):
        clock, held_up = Clock(), []

        def curves(model, split, levels, order, fill, attribution, precision):
            clock.now += overhead + image * len(split)
            held_up[-1].append(overhead + image * len(split))
            shape = (len(split), len(levels))
            attrs = {"ranking": "signed", "order": order, "precision": precision}
            return xr.Dataset({"correct": (("image", "masked_fraction"), np.ones(shape, bool))}, attrs=attrs)

        def training():
            for epoch in range(1, epochs + 1):
                for i in range(steps):
                    clock.now += first_step if first_step and (epoch, i) == (1, 0) else step
                    if every and (i + 1) % every == 0:
                        held_up.append([])
                        yield StepRecord(epoch, 0, i + 1, steps, 0, 0, 0, np.zeros(1), 0)
                held_up.append([])
                none = np.zeros(1)
                yield EpochRecord(epoch, 0, 0, 0, 0, 0, 0, none, none, none, none > 0, step * steps, 0)

        monkeypatch.setattr(probe_module, "time", clock)
        monkeypatch.setattr(probe_module, "masking_curves", curves)
        probe = AccuracyDropProbe(data.test[np.arange(n_test) % 24])
        settings = SimpleNamespace(epochs=epochs)
        found = list(probed(training(), linear, data, settings, probe=probe, share=share))
        spent = sum(map(sum, held_up))
        return SimpleNamespace(
            drops=drops_of(found), spent=spent / (clock.now - spent), held_up=held_up, found=found
        )

    return simulate


def test_where_there_is_time_every_epoch_has_the_curve_of_all_images(simulate):
    seen = simulate(step=1.0, overhead=0.004, image=0.001)
    assert [drop.epoch for drop in seen.drops] == list(range(1, 11))
    assert {drop.n_images for drop in seen.drops} == {200}
    assert seen.spent <= 0.03


def test_where_there_is_less_time_there_are_fewer_images_and_then_fewer_epochs(simulate):
    fewer = simulate(step=0.1, overhead=0.004, image=0.0005)
    assert 30 < fewer.drops[0].n_images < 200
    assert len(fewer.drops) >= 9
    left_out = simulate(step=0.03, overhead=0.008, image=0.001)
    assert {drop.n_images for drop in left_out.drops} == {30}
    assert 3 <= len(left_out.drops) < 10
    assert left_out.drops[-1].epoch == 10
    assert max(fewer.spent, left_out.spent) <= 0.03


def test_no_step_waits_longer_than_a_slice(simulate):
    seen = simulate(step=0.06, overhead=0.008, image=0.001)
    last = len(seen.held_up) - 1
    assert all(len(slices) <= 1 and sum(slices) <= SLICE_SECONDS for slices in seen.held_up[:last])


def test_an_image_that_takes_longer_than_a_slice_is_a_slice(simulate):
    seen = simulate(step=5.0, overhead=0.0, image=0.3, steps=150)
    assert all(sum(slices) <= 0.3 for slices in seen.held_up[:-1])
    assert seen.spent <= 0.03
    assert len(seen.drops) == 10


def test_where_only_epochs_are_told_several_slices_follow_one_record(simulate):
    seen = simulate(step=0.3, overhead=0.004, image=0.001, every=None)
    assert [drop.epoch for drop in seen.drops] == list(range(1, 11))
    assert max(len(slices) for slices in seen.held_up) > 1
    assert seen.spent <= 0.03


def test_a_slow_first_step_does_not_make_the_curves_larger(simulate):
    slow, steady = (
        simulate(step=0.1, overhead=0.004, image=0.0005, first_step=first) for first in (20.0, None)
    )
    assert slow.drops[0].n_images == steady.drops[0].n_images


def test_the_last_curve_comes_before_the_training_is_finished(simulate):
    """However short the training is: finishing a run gathers its record."""
    seen = simulate(step=0.001, overhead=0.004, image=0.001, epochs=1)
    assert isinstance(seen.found[-1], DropRecord)
    assert (seen.drops[0].epoch, seen.drops[0].n_images) == (1.0, 30)


def test_closing_it_closes_the_training(data, model, config):
    records = train(model, data, config(), every=1)
    watched = probed(records, model, data, config())
    next(watched)
    watched.close()
    assert next(records, None) is None


def test_a_probe_that_cannot_measure_gives_up_once_and_training_goes_on(data, linear, config):
    probe = AccuracyDropProbe(data.test, attribution="grad_cam")
    with pytest.warns(
        UserWarning, match="not measured while training: Grad-CAM needs a convolution"
    ) as warned:
        records = list(probed(train(linear, data, config()), linear, data, config(), probe=probe))
    assert [record.epoch for record in records] == [1, 2]
    assert len(warned) == 1
    assert probe.problem == str(warned[0].message)
    assert probe.begin(linear, 3) is None


def test_a_model_that_cannot_be_copied_is_trained_all_the_same(data, config):
    class Single(nn.Sequential):
        def __deepcopy__(self, memo):
            raise NotImplementedError("there is one of it")

    model = Single(nn.Flatten(), nn.Linear(3 * 32 * 32, 6))
    with pytest.warns(UserWarning, match="there is one of it"):
        assert len(list(probed(train(model, data, config()), model, data, config()))) == 2


def test_a_copy_takes_buffers_over_that_no_state_holds(data):
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = nn.Linear(3 * 32 * 32, 6)
            self.register_buffer("shift", torch.zeros(6), persistent=False)

        def forward(self, images):
            return self.dense(images.flatten(1)) * 1e-6 + self.shift

    model, probe = Shifted(), AccuracyDropProbe(data.test, levels=2)
    first = probe.begin(model, 0)
    model.shift[3] = 5.0
    drop = probe.measure(probe.begin(model, 1, first.model))
    right = 100 * float((data.test.labels == 3).float().mean())
    np.testing.assert_allclose(drop.accuracy, right)


def test_what_is_measured_at_once_is_given_up_between_two_slices(data, model, monkeypatch):
    measured = []
    plain = masking_curves
    monkeypatch.setattr(
        probe_module, "masking_curves", lambda *a, **o: (measured.append(1), plain(*a, **o))[1]
    )
    probe = AccuracyDropProbe(data.test)
    assert probe.measure(probe.begin(model, 0.5), lambda: len(measured) < 1) is None
    assert len(measured) == 1
    assert probe.measure(probe.begin(model, 0.5)).n_images == 24


def test_told_to_stop_the_last_curve_is_left_out_and_the_run_is_finished(data, model, config, tmp_path):
    run = Run.create(tmp_path / "run", config(), model, data)
    records = train(model, data, config(), run=run)
    told = list(probed(records, model, data, config(), run=run, keep_going=lambda: False))
    assert [type(record) for record in told] == [EpochRecord] * 2
    assert run.finished
    assert "accuracy_drop" not in run.record()


@pytest.fixture
def watched(data, config, tmp_path):
    """Trains on in a run folder with a probe; the run and its drops."""

    def watched(epochs, probe=None):
        settings = config(epochs=epochs)
        if (tmp_path / "run").exists():
            run = open_run(tmp_path / "run")
        else:
            run = Run.create(tmp_path / "run", settings, create_model("cnn", data), data)
        model = run.load_model()
        records = train(model, data, settings, run=run)
        found = probed(records, model, data, settings, run=run, probe=probe, share=1.0)
        return run, drops_of(found)

    return watched


def test_a_run_keeps_the_drops_and_its_record_gives_them_back(watched):
    run, drops = watched(2)
    for record in (run.record(), run._gathered()):
        assert record.accuracy_drop.dims == ("epoch", "masked_fraction")
        assert record.accuracy_drop.attrs["units"] == "%"
        for one, two in zip(recorded_drops(record), drops, strict=True):
            for name, value in vars(two).items():
                np.testing.assert_array_equal(getattr(one, name), value)


def test_a_resumed_run_is_measured_on_the_same_images(watched, data):
    _, first = watched(1, AccuracyDropProbe(data.test, images=7, fewest=7, levels=3, fill="mean"))
    run, second = watched(2)
    assert [drop.epoch for drop in (*first, *second)] == [1.0, 2.0]
    np.testing.assert_array_equal(second[0].image_ids, first[0].image_ids)
    assert (second[0].fill, len(second[0].masked_fraction)) == ("mean", 4)
    assert not np.isnan(run.record().accuracy_drop).any()


def test_another_probe_than_that_of_the_run_is_refused_at_the_call(watched, data):
    watched(1)
    with pytest.raises(
        ValueError, match="measured otherwise .fill 'black' ≠ 'mean'.*; give a probe like theirs"
    ):
        watched(2, AccuracyDropProbe(data.test, fill="mean"))
    with pytest.raises(ValueError, match="on test images that are not given, such as number .*images=24"):
        watched(2, AccuracyDropProbe(data.test, images=12, fewest=12))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": 20}, "fewest must lie between 1 and images, given fewest=30 and images=20"),
        ({"fewest": 0}, "fewest must lie between 1 and images, given fewest=0"),
        ({"fill": "blak"}, "unknown fill 'blak'; did you mean 'black'"),
        ({"attribution": "gradients"}, "unknown attribution method 'gradients'"),
        ({"levels": 0}, "levels must be at least 1 step"),
    ],
)
def test_a_probe_that_cannot_be_is_refused(data, options, message):
    with pytest.raises(ValueError, match=message):
        AccuracyDropProbe(data.test, **options)


@pytest.mark.parametrize("share", [0, -1, 1.5, float("nan")])
def test_a_share_of_the_time_that_cannot_be_is_refused(data, model, config, share):
    with pytest.raises(ValueError, match="share must lie above 0 and at most at 1"):
        probed(train(model, data, config()), model, data, config(), share=share)
