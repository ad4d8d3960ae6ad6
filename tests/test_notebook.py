"""Controls and live training without a browser: what a control sets, what a training tells, how it ends."""

import threading
import time

import numpy as np
import param
import pytest
import torch
from matplotlib.figure import Figure

from smoot_explore import TrainingConfig, create_model, load_data
from smoot_explore.core.config import LiveValues
from smoot_explore.notebook import controls
from smoot_explore.notebook import live as nb

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def data():
    return load_data("shapes", train=60, test=12)


@pytest.fixture
def live(data):
    made = []

    def make(watch=None, on_epoch=None, **settings):
        settings = {"epochs": 2, "batch_size": 20, "device": "cpu", "precision": "float32", **settings}
        made.append(
            nb.LiveTraining(
                create_model("cnn", data), data, TrainingConfig(**settings), watch=watch, on_epoch=on_epoch
            )
        )
        return made[-1]

    yield make
    for training in made:
        training.stop()


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "still not so"
        time.sleep(0.01)


@pytest.mark.parametrize("name", LiveValues._fields)
def test_a_control_has_the_parameters_range_and_sets_it_and_follows_it(name):
    config = TrainingConfig()
    parameter = config.param[name]
    control = controls.setting(config, name)
    low, high = parameter.softbounds or parameter.bounds
    assert (control.min, control.max, control.step) == (low, high, parameter.step)
    assert (control.description, control.tooltip) == (parameter.label, parameter.doc)
    control.value = (low + high) / 4
    assert getattr(config, name) == control.value
    setattr(config, name, (low + high) / 2)
    assert control.value == (low + high) / 2


def test_a_value_beyond_the_slider_widens_it_and_stays():
    config = TrainingConfig()
    control = controls.setting(config, "alpha")
    config.alpha = 500.0
    assert (config.alpha, control.value, control.max) == (500, 500, 500)
    assert controls.setting(config, "alpha").max == 500


@pytest.mark.parametrize("value", [0.003, 0.0001, 1.0, 0.37])
def test_a_value_lies_on_a_step_of_its_slider(value):
    config = TrainingConfig(learning_rate=value)
    control = controls.setting(config, "learning_rate")
    assert control.value / control.step == pytest.approx(round(control.value / control.step))
    config.learning_rate = value / 8
    assert control.value / control.step == pytest.approx(round(control.value / control.step))


def test_every_setting_that_is_no_text_has_a_control():
    config = TrainingConfig()
    for name in config.to_dict():
        if isinstance(config.param[name], param.String):
            with pytest.raises(
                ValueError, match=f"there is no control for '{name}'; set it as config.{name}"
            ):
                controls.setting(config, name)
        else:
            assert controls.setting(config, name).value == getattr(config, name)


def test_the_bounds_are_one_slider_whose_ends_cannot_cross():
    config = TrainingConfig(k_min=0.3, k_max=0.6)
    (control,) = controls.settings(config, ["k_min", "k_max"])
    assert control.value == (0.3, 0.6)
    control.value = (0.1, 0.9)
    assert (config.k_min, config.k_max) == (0.1, 0.9)
    config.k_min = 0.5
    assert control.value == (0.5, 0.9)


def test_numbers_that_are_whole_stay_whole():
    assert isinstance(controls.slider("k", 0, 784, 10).value, int)
    assert controls.slider("m", 0.0, 1.0, 0.5).step == 0.01


def test_a_figure_is_drawn_at_once_and_whenever_a_control_moves():
    drawn = []

    def draw(k, fill):
        drawn.append((k, fill))
        return Figure(figsize=(1 + k / 10, 1))

    figure = nb.LiveFigure(
        draw, k=controls.slider("k", 0, 10, 2), fill=controls.choice("Fill", ["black", "mean"])
    )
    first = figure.picture.value
    assert bytes(first).startswith(PNG)
    figure.controls["k"].value = 9
    figure.controls["fill"].value = "mean"
    assert drawn == [(2, "black"), (9, "black"), (9, "mean")]
    assert figure.picture.value != first


def test_moves_that_come_fast_are_answered_by_one_drawing_of_the_newest():
    import asyncio

    drawn = []
    figure = nb.LiveFigure(
        lambda k: drawn.append(k) or Figure(figsize=(1, 1)), k=controls.slider("k", 0, 100, 0)
    )

    async def drag():
        for k in range(1, 51):
            figure.controls["k"].value = k
        await asyncio.sleep(4 * nb.REDRAW_SECONDS)

    asyncio.run(drag())
    assert drawn == [0, 50]


def test_an_error_in_drawing_is_told_and_the_next_move_draws_again():
    figure = nb.LiveFigure(lambda k: Figure(figsize=(10 // k, 1)), k=controls.slider("k", 0, 10, 2))
    figure.controls["k"].value = 0
    assert figure.problem.layout.display is None
    assert figure.problem.value.startswith("ZeroDivisionError")
    figure.controls["k"].value = 1
    assert figure.problem.layout.display == "none"


def test_a_training_gives_its_records_and_its_pictures(live):
    told = []
    training = live(on_epoch=told.append)
    empty = training.picture.value
    assert bytes(empty).startswith(PNG)
    assert training.start() is training
    records = training.result()
    assert [record.epoch for record in records] == [1, 2]
    assert told == records
    assert training.picture.value != empty
    assert (training.status, training.words.value) == ("finished", "Finished after 2 epochs")
    assert not [t for t in threading.enumerate() if t.name == "live-training"]


def test_training_again_begins_with_the_same_weights_and_gives_the_same(live):
    training = live()
    first = training.start().result()
    second = training.start().result()
    np.testing.assert_array_equal(first[-1].k, second[-1].k)
    assert first[-1].train_loss == second[-1].train_loss


def test_a_slider_moved_while_it_trains_is_in_the_record(live):
    training = live(epochs=400)
    training.start()
    until(lambda: training.records)
    training.controls[0].value = 0.25
    moved = training.config.beta, training.config.alpha
    until(lambda: training.changes)
    assert training.changes[0].new in moved
    training.stop()
    assert training.status == "stopped"


def test_bounds_moved_while_it_trains_are_drawn_from_where_they_moved(live):
    training = live(epochs=400)
    training.start()
    until(lambda: training.records)
    training.config.k_min = 0.3
    until(lambda: training.changes)
    training.stop()
    ((epoch, _),) = training._changes
    lowest = training._figure._bounds[0]
    assert lowest.get_drawstyle() == "steps-post"
    np.testing.assert_allclose(lowest.get_xdata(), [0, epoch, 400])
    np.testing.assert_allclose(lowest.get_ydata(), np.array([0.2, 0.3, 0.3]) * training.data.n_pixels)


def test_paused_it_stands_still_and_goes_on(live):
    training = live(epochs=400)
    training.start()
    until(lambda: training.records)
    training.pause_button.click()
    assert (training.status, training.train_button.description) == ("paused", "Go on")
    time.sleep(0.2)
    n = len(training._history)
    time.sleep(0.3)
    assert len(training._history) == n
    training.train_button.click()
    until(lambda: len(training._history) > n)
    training.stop_button.click()
    assert training.status == "stopped"
    assert training.records == training.result()


def test_a_second_training_stops_the_first(live):
    first, second = live(epochs=400), live()
    first.start()
    second.start()
    assert first.status == "stopped"
    assert len(second.result()) == 2


@pytest.mark.parametrize(
    ("method", "n"), [("traditional", 1), ("sgt", 2), ("smoot", 5)], ids=["traditional", "sgt", "smoot"]
)
def test_only_the_sliders_that_a_method_heeds_are_shown(live, method, n):
    training = live(method=method)
    assert len(training.controls) == n
    assert len(training.start().result()) == 2


def test_a_training_that_fails_says_so_and_can_be_started_again(live):
    training = live()
    training.config.learning_rate = 1e30
    training.config.optimizer = "sgd"
    with pytest.raises(RuntimeError, match="training failed: the (loss|weights)"):
        training.start().result()
    assert training.words.value.startswith("Failed: the ")
    training.config.learning_rate = 0.01
    assert len(training.start().result()) == 2


def test_stopped_before_an_epoch_was_over_there_is_no_result(live):
    training = live(batch_size=1, epochs=1)
    training.start()
    training.stop()
    if not training.records:
        with pytest.raises(RuntimeError, match="stopped before an epoch was over; press Train"):
            training.result()


def test_a_training_of_the_same_model_is_stopped_before_its_weights_are_read(live, data):
    first = live(epochs=400)
    first.start()
    until(lambda: first.records)
    second = nb.LiveTraining(first.model, data, TrainingConfig(epochs=1, batch_size=20))
    assert first.status == "stopped"
    assert len(second.start().result()) == 1


def test_one_bound_may_be_set_before_the_other():
    config = TrainingConfig()
    (control,) = controls.settings(config, ["k_min", "k_max"])
    config.k_min = 0.9
    config.k_max = 0.95
    assert (config.k_min, config.k_max, control.value) == (0.9, 0.95, (0.9, 0.95))


def test_nothing_to_wait_for_is_an_error(live):
    with pytest.raises(RuntimeError, match="nothing was trained yet; press Train"):
        live().result()


def test_interrupting_the_wait_ends_the_training(live, monkeypatch):
    training = live(epochs=400)
    training.start()
    until(lambda: training.records)
    join = training._thread.join
    calls = []

    def interrupted(timeout=None):
        calls.append(timeout)
        if len(calls) == 1:
            raise KeyboardInterrupt
        join(timeout)

    monkeypatch.setattr(training._thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        training.result()
    assert training.status == "stopped"


def test_the_watched_images_are_the_first_of_each_label_or_those_asked_for(live, data):
    labels = data.train.labels.tolist()
    assert sorted(live()._positions.tolist()) == sorted(labels.index(label) for label in range(6))
    assert live(watch=[5, 2])._positions.tolist() == [5, 2]


def test_a_training_leaves_the_callers_random_numbers_alone(live):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    live().start().result()
    assert torch.equal(torch.rand(3), expected)
