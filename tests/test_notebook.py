"""Controls and live training without a browser: what a control sets, what a training tells, how it ends."""

import asyncio
import json
import re
import signal
import threading
import time
from types import SimpleNamespace

import holoviews as hv
import ipywidgets as widgets
import numpy as np
import param
import pytest
import torch
from bokeh.models import HoverTool
from ipywidgets.widgets.widget import _instances
from matplotlib.figure import Figure
from waiting import in_a_thread
from workers import ThreadWorkers

from smoot_explore import TrainingConfig, bundled_runs, create_model, load_data, train
from smoot_explore.core.config import LiveValues
from smoot_explore.core.records import Change
from smoot_explore.notebook import LinkedClasses, LiveFigure, LiveTraining, Picture, controls, shown
from smoot_explore.notebook import figure as figures
from smoot_explore.notebook import picture as pictures
from smoot_explore.notebook.page import sliders_answered
from smoot_explore.notebook.training import NoResultError
from smoot_explore.views.sketch import Axis, Sketch, curve, element, points

PNG = b"\x89PNG"
IMAGE, WIDGET = "image/png", "application/vnd.jupyter.widget-view+json"


def sketch_of(y, title=""):
    return Sketch(
        "Losses", title, Axis("epoch", "epoch"), Axis("loss", "loss"), (curve("Label", [0, 1], [0, y]),)
    )


def drawn(y, title=""):
    return element(sketch_of(y, title))


def numbers(picture, part=0, layer=0):
    """What a picture shows last: the second column of a layer's Bokeh source."""
    plot = list(picture._parts[part].plot.subplots.values())[layer]
    return list(plot.handles["source"].data.values())[1].tolist()


class Page:
    """What is sent to the page by a picture, message by message."""

    def __init__(self, picture, monkeypatch):
        self.messages = []
        monkeypatch.setattr(picture._plots, "send", lambda content, *_: self.messages.append(content))
        self.plots = picture._plots

    def patches(self):
        return [json.loads(message["payload"])["events"] for message in self.messages[2::3]]

    def tells(self, model, attr, new):
        content = {
            "event": "jsevent",
            "kind": "ModelChanged",
            "model": {"id": model.id},
            "attr": attr,
            "new": new,
        }
        self.plots._sync_model(None, content, [])


@pytest.fixture(scope="module")
def data():
    return load_data("shapes", train=60, test=12)


@pytest.fixture
def live(data):
    made = []

    def make(watch=None, on_epoch=None, client=None, **settings):
        settings = {"epochs": 2, "batch_size": 20, "device": "cpu", "precision": "float32", **settings}
        made.append(
            LiveTraining(
                create_model("cnn", data),
                data,
                TrainingConfig(**settings),
                watch=watch,
                on_epoch=on_epoch,
                client=client,
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


def test_a_picture_takes_over_new_numbers_in_one_message(monkeypatch):
    picture = Picture(sketch_of(1))
    plots = picture._plots
    page = Page(picture, monkeypatch)
    page.tells(picture._parts[0].plot.state, "inner_width", 500)  # it is shown
    picture.show(drawn(3, "another"))
    assert picture._plots is plots
    assert numbers(picture) == [0, 3]
    (events,) = page.patches()
    assert {event["kind"] for event in events} == {"ColumnDataChanged", "ModelChanged"}
    assert "another" in [event.get("new") for event in events]


def test_what_a_page_missed_while_it_was_made_is_sent_when_it_answers(monkeypatch):
    picture = Picture(sketch_of(1))
    page = Page(picture, monkeypatch)
    picture.show(sketch_of(3))
    assert page.messages == []
    page.tells(picture._parts[0].plot.state, "inner_width", 500)
    (events,) = page.patches()
    assert [event["attr"] for event in events].count("data") == 1


def test_what_a_page_tells_back_late_changes_nothing(monkeypatch):
    picture = Picture(sketch_of(1))
    page = Page(picture, monkeypatch)
    picture.show(sketch_of(3))
    source = next(iter(picture._parts[0].plot.subplots.values())).handles["source"]
    page.tells(source, "data", {"epoch": [0, 1], "loss": [0, 1]})
    assert numbers(picture) == [0, 3]


def test_a_page_that_is_loaded_again_begins_with_the_newest_numbers():
    picture = Picture(sketch_of(1, "first"))
    picture.show(sketch_of(1, "second"))
    assert "second" in json.dumps(picture._plots.get_state()["render_bundle"])


def test_another_picture_is_built_anew_and_keeps_its_place():
    picture = Picture(sketch_of(1))
    plots = picture._plots
    other = Sketch(
        "Losses", "", Axis("epoch", "epoch"), Axis("loss", "loss"), (points("Label", [0, 1], [4, 5]),)
    )
    picture.show([[other, other], other])
    assert picture._plots is plots
    assert numbers(picture, 2) == [4, 5]


def test_options_of_ones_own_are_heeded():
    picture = Picture(drawn(1))
    picture.show(drawn(1).opts(height=123))
    assert picture._parts[0].plot.state.height == 123


@pytest.mark.parametrize("what", [Figure(), 3, "text"])
def test_what_is_no_picture_is_refused(what):
    with pytest.raises(
        TypeError, match=f"a picture is an element, an overlay or a layout.*; {type(what).__name__}"
    ):
        Picture(what)


def test_without_widgets_a_picture_is_a_png_and_its_title():
    bundle = Picture(drawn(1, "How it goes"))._repr_mimebundle_()
    assert bundle[IMAGE].startswith(PNG)
    assert bundle["text/plain"] == "How it goes"
    assert WIDGET in bundle


def test_in_colab_a_picture_is_a_png_from_the_start(monkeypatch):
    monkeypatch.setattr(pictures, "can_move", lambda: False)
    picture = Picture(drawn(1))
    (first,) = picture.children
    assert bytes(first.value).startswith(PNG)
    picture.show(drawn(5))
    assert picture.children[0].value != first.value


def test_a_figure_is_drawn_at_once_and_whenever_a_control_moves():
    asked = []

    def draw(k, fill):
        asked.append((k, fill))
        return drawn(k)

    figure = LiveFigure(
        draw, k=controls.slider("k", 0, 10, 2), fill=controls.choice("Fill", ["black", "mean"])
    )
    assert numbers(figure.picture) == [0, 2]
    figure.controls["k"].value = 9
    figure.controls["fill"].value = "mean"
    assert asked == [(2, "black"), (9, "black"), (9, "mean")]
    assert numbers(figure.picture) == [0, 9]
    assert figure._repr_mimebundle_()[IMAGE].startswith(PNG)


def test_moves_that_come_fast_are_answered_by_one_drawing_of_the_newest():
    asked = []
    figure = LiveFigure(lambda k: asked.append(k) or drawn(k), k=controls.slider("k", 0, 100, 0))

    async def drag():
        for k in range(1, 51):
            figure.controls["k"].value = k
        await asyncio.sleep(4 * figures.REDRAW_SECONDS)

    asyncio.run(drag())
    assert asked == [0, 50]


def test_an_error_in_drawing_is_told_and_the_next_move_draws_again():
    figure = LiveFigure(lambda k: drawn(10 // k), k=controls.slider("k", 0, 10, 2))
    figure.controls["k"].value = 0
    assert figure.problem.layout.display is None
    assert figure.problem.value.startswith("ZeroDivisionError")
    figure.controls["k"].value = 1
    assert figure.problem.layout.display == "none"


def test_a_figure_of_matplotlib_is_told_to_be_none():
    figure = LiveFigure(lambda: Figure())
    assert figure.problem.value.startswith("TypeError: a picture is an element")
    assert figure.picture is None


def test_key_dimensions_become_controls_lists_for_texts_and_sliders_for_numbers():
    frames = {(fill, level): drawn(level) for fill in ("black", "mean") for level in (1, 2, 5)}
    figure = shown(hv.HoloMap(frames, kdims=["fill", "level"]))
    assert [type(control) for control in figure.controls.values()] == [
        widgets.Dropdown,
        widgets.SelectionSlider,
    ]
    figure.controls["level"].value = 5
    assert numbers(figure.picture) == [0, 5]
    both = shown(hv.Layout([hv.HoloMap({1: drawn(1), 2: drawn(2)}, kdims=["level"]), drawn(7)]))
    both.controls["level"].value = 2
    assert (numbers(both.picture), numbers(both.picture, 1)) == ([0, 2], [0, 7])
    live = shown(hv.DynamicMap(lambda level: drawn(level), kdims=[hv.Dimension("level", values=[3, 4])]))
    assert numbers(live.picture) == [0, 3]


def test_a_box_selects_images_and_shows_their_curve_and_themselves():
    run = bundled_runs()[0]
    black = run.curves().sel(attribution="gradient", fill="black").isel(image=slice(100))
    linked = LinkedClasses(black, run.load_data().test[:100])
    linked._box.event(bounds=(0.0, 0.0, 0.5, 1.0))
    expected = np.flatnonzero(black.probability.values[:, 0] <= 0.5)
    np.testing.assert_array_equal(linked.selected, expected)
    tools = linked.picture._parts[0].plot.state.tools
    assert {tool.limit for tool in tools if isinstance(tool, HoverTool)} == {1}  # points lie close
    means = linked.picture._parts[1].sketch.layers[2]
    np.testing.assert_allclose(means.numbers[1], black.probability.values[expected].mean(0))
    assert len(linked.picture._parts[2].sketch.layers[3].told["text"]) == min(len(expected), 24)
    with pytest.raises(ValueError, match="the curves are of 100 images, but 99 images were given"):
        LinkedClasses(black, run.load_data().test[:99])


def test_a_training_gives_its_records_and_its_pictures(live):
    told = []
    training = live(on_epoch=told.append)
    assert training.start() is training
    records = training.result()
    assert [record.epoch for record in records] == [1, 2]
    assert told == records
    assert (training.status, training.words.value) == ("finished", "Finished after 2 epochs")
    assert not [t for t in threading.enumerate() if t.name == "live-training"]
    watched, k, single, drop, losses = (part.sketch for part in training.picture._parts)
    assert len(losses.layers[0].numbers[0]) == 6
    assert re.match(r"Accuracy drop, AUC \d+\.\d %, n = 12\n", drop.title)
    assert watched.layers[0].numbers[0].any()
    assert numbers(training.picture, 1, 3) == k.layers[3].numbers[1].tolist()
    assert single.title == "k of the watched images"
    assert training._repr_mimebundle_()[IMAGE].startswith(PNG)


def test_a_live_training_gives_bit_for_bit_the_weights_of_a_plain_one(live, data):
    training = live()
    settings = {"epochs": 2, "batch_size": 20, "device": "cpu", "precision": "float32"}
    model = create_model("cnn", data)
    model.load_state_dict(training.model.state_dict())
    training.start().result()
    # In a thread of its own too: PyTorch may compute with fewer cores in one that draws pages, and round otherwise.
    plain_training = threading.Thread(target=lambda: list(train(model, data, TrainingConfig(**settings))))
    plain_training.start()
    plain_training.join()
    for mine, plain in zip(training.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, plain)


def test_pictures_are_drawn_in_the_main_thread_alone(live):
    training = live()
    show, threads = training.picture.show, set()
    training.picture.show = lambda what: (threads.add(threading.current_thread()), show(what))
    training.start().result()
    assert threads == {threading.main_thread()}


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
    training._draw()
    ((epoch, _),) = training._history.changes
    lowest = next(layer for layer in training.picture._parts[1].sketch.layers if layer.role == "Bound")
    np.testing.assert_allclose(lowest.numbers[0], [0, epoch, epoch, 400])
    np.testing.assert_allclose(lowest.numbers[1], np.array([0.2, 0.2, 0.3, 0.3]) * training.data.n_pixels)


def test_paused_it_stands_still_and_goes_on(live):
    training = live(epochs=400)
    training.start()
    until(lambda: training.records)
    training.pause_button.click()
    assert (training.status, training.train_button.description) == ("paused", "Go on")

    def stands():
        k = training._history.k
        time.sleep(0.3)
        return training._history.k is k

    until(stands)  # after the step in progress
    k = training._history.k
    training.train_button.click()
    until(lambda: training._history.k is not k)
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
    second = LiveTraining(first.model, data, TrainingConfig(epochs=1, batch_size=20))
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


@pytest.fixture
def interrupted(live):
    """A training whose wait is interrupted once the condition holds."""

    def interrupt(condition):
        training = live(epochs=400).start()

        def press():
            until(lambda: condition(training))
            signal.raise_signal(signal.SIGINT)

        threading.Thread(target=press).start()
        return training

    return interrupt


def test_interrupting_the_wait_ends_the_training_and_gives_the_epochs_until_then(interrupted, capsys):
    before = signal.getsignal(signal.SIGINT)
    training = interrupted(lambda training: training.records)
    records = training.result()
    assert (training.status, len(records)) == ("stopped", training.records[-1].epoch)
    assert capsys.readouterr().out == f"{training.words.value}: the records end there.\n"
    assert signal.getsignal(signal.SIGINT) is before


def test_interrupted_in_its_first_step_a_training_has_ended_when_the_wait_is_over(interrupted, monkeypatch):
    """An interrupted `Thread.join` took the thread for ended, and the next training began beside it."""
    first, go, take = threading.Event(), threading.Event(), LiveTraining._collect
    monkeypatch.setattr(LiveTraining, "_collect", lambda *one: (first.set(), go.wait(30), take(*one)))
    training = interrupted(lambda training: first.is_set())
    threading.Timer(1, go.set).start()
    with pytest.raises(NoResultError, match="stopped before an epoch was over; press Train") as told:
        training.result()
    assert not training._thread.is_alive()
    assert (training.status, training.words.value) == ("stopped", "Stopped")
    assert told.value._render_traceback_() == [str(told.value)]
    assert len(training.picture._parts[4].sketch.layers[0].numbers[0]) == 1
    training.config.epochs = 1
    assert len(training.start().result()) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # it is meant to leave
def test_nobody_waits_for_ever_for_a_thread_that_has_left(live):
    def leave(record):
        raise SystemExit

    assert [record.epoch for record in live(on_epoch=leave).start().result()] == [1]


def test_a_training_can_be_awaited_and_its_sliders_answer_meanwhile(live):
    async def cell():
        training = live().start()
        asyncio.get_running_loop().call_later(0.1, setattr, training.controls[0], "value", 0.25)
        return training, await training

    training, records = asyncio.run(cell())
    assert len(records) == 2
    assert 0.25 in (training.config.alpha, training.config.beta)
    assert len(training.picture._parts[4].sketch.layers[0].numbers[0]) == 6


def test_an_awaited_training_that_is_interrupted_stops(live):
    async def cell():
        training = live(epochs=400).start()
        waiting = asyncio.ensure_future(training._awaited())
        while not training.records:
            await asyncio.sleep(0.01)
        waiting.cancel()  # as a kernel does
        return training, await waiting

    training, records = asyncio.run(cell())
    assert (training.status, records) == ("stopped", training.records)


def test_while_a_cell_awaits_a_slider_is_told_that_its_message_is_dealt_with(monkeypatch):
    told, dealt = [], []
    session = SimpleNamespace(
        send=lambda socket, kind, content, parent: told.append((*content.values(), parent))
    )
    handlers = {"comm_msg": lambda *message: dealt.append(message)}
    kernel = SimpleNamespace(
        session=session, iopub_socket=None, shell_handlers=handlers, get_parent=lambda: "cell"
    )
    monkeypatch.setattr("smoot_explore.notebook.page.get_ipython", lambda: SimpleNamespace(kernel=kernel))
    with sliders_answered():
        handlers["comm_msg"]("stream", "ident", "moved")
    handlers["comm_msg"]("stream", "ident", "later")
    assert [message for _, _, message in dealt] == ["moved", "later"]
    assert told == [("idle", "moved"), ("busy", "cell")]


def test_a_slider_s_way_is_one_move(live):
    training = live()
    steps = ((1, 10.0, 12.0), (2, 12.0, 20.0), (4, 20.0, 60.0))
    training._history.changes = [(step / 3, Change(step, 1, "alpha", old, new)) for step, old, new in steps]
    assert [(move.old, move.new) for move in training.moves] == [(10, 60)]
    training._draw()
    assert training.flags.value == "1: α 10 → 60"
    assert len(training.changes) == 3


def test_a_cell_that_runs_again_frees_what_it_made_before(live, monkeypatch):
    run = {"metadata": {"cellId": "a"}, "header": {"msg_id": "1"}}
    outputs = {}
    names = {"_oh": outputs}
    shell = SimpleNamespace(
        kernel=SimpleNamespace(get_parent=lambda: run), user_ns=names, user_ns_hidden={},
        displayhook=SimpleNamespace(_=None),
    )  # fmt: skip
    monkeypatch.setattr("smoot_explore.notebook.page.get_ipython", lambda: shell)
    k = controls.slider("k", 0, 10, 2)
    before = set(_instances)
    shown = live(), LiveFigure(drawn, y=k), Picture(drawn(1))
    outputs |= enumerate(shown)
    shell.displayhook._ = names["_"] = names["_2"] = shell.user_ns_hidden["_2"] = names["mine"] = shown[2]
    made = set(_instances) - before
    run["header"] = {"msg_id": "2"}
    second = Picture(drawn(1))
    assert len(made) > 30
    assert names == {"_oh": {}, "mine": shown[2]}
    assert (shell.user_ns_hidden, shell.displayhook._) == ({}, None)
    assert not made & set(_instances)
    k.value = 5  # lives on, and nobody listens
    assert k.model_id in _instances
    run["metadata"] = {"cellId": "b"}
    Picture(drawn(1))
    assert second.comm is not None


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


# By a worker of a cluster: one of threads, which needs no client


@pytest.fixture
def there(monkeypatch):
    """What `live` makes is trained by these workers."""
    workers = ThreadWorkers()
    monkeypatch.setattr("smoot_explore.notebook.training.DaskWorkers", lambda connect: workers)
    monkeypatch.setattr("smoot_explore.engine.training_work.REPORT_SECONDS", 0)
    return {"client": workers}


def test_a_worker_s_training_shows_what_the_kernel_s_does_and_leaves_its_weights_here(live, there, data):
    told = []
    training = live(on_epoch=told.append, **there)
    model = create_model("cnn", data)
    model.load_state_dict(training.model.state_dict())
    records = training.start().result()
    assert told == records
    assert (training.status, training.words.value) == ("finished", "Finished after 2 epochs")
    watched, k, _, drop, losses = (part.sketch for part in training.picture._parts)
    assert len(losses.layers[0].numbers[0]) == 6
    assert re.match(r"Accuracy drop, AUC \d+\.\d %, n = 12\n", drop.title)
    assert watched.layers[0].numbers[0].any()
    assert numbers(training.picture, 1, 3) == k.layers[3].numbers[1].tolist()
    settings = {"epochs": 2, "batch_size": 20, "device": "cpu", "precision": "float32"}
    expected = in_a_thread(lambda: list(train(model, data, TrainingConfig(**settings))))()
    np.testing.assert_array_equal([record.k for record in records], [record.k for record in expected])
    for mine, plain in zip(training.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, plain)


def test_sliders_pause_and_stop_reach_a_worker(live, there, monkeypatch):
    monkeypatch.setattr("smoot_explore.engine.training_work.LOOK_SECONDS", 0)
    training = live(epochs=1000, **there)
    initial, seen = training._initial_weights, training._seen
    training.start()
    until(lambda: training.records and training._seen is not seen)
    training.config.k_min = 0.3
    until(lambda: training.changes)
    assert [(change.name, change.new) for change in training.changes] == [("k_min", 0.3)]
    training.pause_button.click()
    assert (training.status, training.train_button.description) == ("paused", "Go on")
    time.sleep(0.5)
    k = training._history.k
    time.sleep(0.3)
    assert training._history.k is k
    training.train_button.click()
    until(lambda: training._history.k is not k)
    training.stop_button.click()
    assert training.status == "stopped"
    assert training.records == training.result()
    weights = training.model.state_dict()
    assert not all(torch.equal(weights[name], initial[name]) for name in initial)


def test_a_worker_that_is_lost_is_told_of_and_another_begins_anew(live, there):
    training = live(epochs=1000, **there)
    training.start()
    until(lambda: training.records)
    first, (job,) = training.records, there["client"]._works
    there["client"].lose(SimpleNamespace(name=job, worker=next(iter(there["client"]._channels))))
    until(lambda: training.records is not first and training.records)
    training.stop()
    assert training.records[0].epoch == 1
    np.testing.assert_array_equal(training.records[0].k, first[0].k)


def test_a_worker_s_training_that_fails_says_so_and_can_be_started_again(live, there):
    training = live(optimizer="sgd", learning_rate=1e30, **there)
    with pytest.raises(RuntimeError, match="training failed: the (loss|weights)"):
        training.start().result()
    assert training.words.value.startswith("Failed: the ")
    training.config.learning_rate = 0.01
    assert len(training.start().result()) == 2
