"""A browser that loads the page again finds what it has trained; one that stays away is given up."""

import gc
import math
import weakref
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from waiting import until
from workers import ThreadWorkers

from smoot_explore.engine.engine import Engine
from smoot_explore.explorer import coming_back as coming_back_module
from smoot_explore.explorer import visits
from smoot_explore.explorer.coming_back import ComingBack
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state.session import SessionState
from smoot_explore.explorer.visits import Visits


def small_model(data, seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(data.image_shape), data.n_classes))


@pytest.fixture(autouse=True)
def few_test_images(monkeypatch):
    monkeypatch.setattr("smoot_explore.explorer.state.train.TEST_IMAGES", 24)


def state_of(engine, folder):
    made = SessionState(ServerSettings(runs=folder), engine, {"small": small_model})
    made.train.param.update(data_name="shapes", model_name="small", train_images=40)
    made.train.config.param.update(epochs=1000, batch_size=20, device="cpu", precision="float32")
    return made


@pytest.fixture
def new_state(tmp_path):
    engine, states = Engine(ThreadWorkers()), []

    def make():
        states.append(state_of(engine, tmp_path / "runs"))
        return states[-1]

    yield make
    for state in states:
        state.close()
    engine.close()


@pytest.fixture
def training(new_state):
    """A state whose training has an epoch."""
    state = new_state()
    state.train.start()
    until(lambda: state.train.poll() and state.train.history.scores)
    state.adopt_training()
    return state


def test_another_page_goes_on_with_a_training_its_history_and_its_sliders(training, new_state):
    training.train.config.alpha = 20
    until(lambda: training.train.poll() and training.train.changes)
    epochs = len(training.train.history.scores)
    new = new_state()
    new.take_over(training)
    training.close()
    assert [new.train.status, new.train.config.alpha] == ["running", 20]
    assert len(new.train.history.scores) == epochs
    new.train.config.alpha = 30
    until(lambda: new.train.poll() and len(new.train.changes) == 2)
    assert [change.new for change in new.train.changes] == [20, 30]
    assert "mine/1" in new.compared
    assert new.catalogue.open("mine/1").run.path.is_dir()
    assert not training.has_trained


def test_another_page_looks_at_the_same_images_and_epoch_of_the_run(training, new_state):
    training.param.update(run_key="mine/1", epoch=1)
    training.show_run()
    training.image.image_id, training.images.image_id = 3, 5
    new = new_state()
    new.take_over(training)
    new.show_run()
    assert (new.run_key, new.epoch, new.image.image_id, new.images.image_id) == ("mine/1", 1, 3, 5)


def test_sliders_of_a_page_that_lost_its_training_do_not_move_it(training, new_state):
    new = new_state()
    new.take_over(training)
    training.train.config.alpha = 99
    new.train.config.alpha = 30
    until(lambda: new.train.poll() and new.train.changes)
    assert [c.new for c in new.train.changes] == [30]


def test_what_was_chosen_for_a_training_that_waits_is_kept(training, new_state):
    waiting, new = new_state(), new_state()
    waiting.train.param.update(train_images=60)
    waiting.train.start()
    new.take_over(waiting)
    waiting.close()
    assert (new.train.train_images, new.train.place) == (60, 1)


def test_a_page_that_a_browser_shows_is_left_alone(training):
    there = [True]
    known = Visits()
    known.begin("a name", training, lambda: there[0])
    assert known.find(["a name"]) == (None, True)
    there[0] = False
    assert known.find(["another name"]) == (None, False)
    assert known.find(["a name"]) == (training, False)
    assert known.find(["a name"]) == (None, False)  # it is found once


def test_of_many_pages_that_browsers_have_left_the_first_are_given_up(new_state, monkeypatch):
    monkeypatch.setattr(visits, "MOST_KEPT", 1)
    known = Visits()
    for name in ("first", "second"):
        state = new_state()
        state.train.start()
        known.begin(name, state, lambda: False)
    for name in ("first", "second"):
        known.leave(name)
    assert known.find(["first"]) == (None, False)
    assert known.find(["second"])[0].has_trained
    known.close()


def test_pages_loaded_again_too_soon_to_find_a_training_do_not_lose_it(training, new_state):
    seen = {"trains": True, "between": True, "too soon": False}
    known = Visits()
    for name, state in zip(seen, (training, new_state(), new_state()), strict=True):
        known.begin(name, state, lambda name=name: seen[name])
    before = ["too soon", "between", "trains"]
    known.leave("too soon")  # its session is over
    assert known.find(before) == (None, True)
    seen["between"] = False
    assert known.find(before) == (None, True)
    seen["trains"] = False
    assert known.find(before) == (training, False)


def test_a_page_without_a_browser_keeps_its_runs_but_not_its_place(training, monkeypatch):
    monkeypatch.setattr(visits, "TRAINS_ON_SECONDS", 0.1)
    running = training.train.training
    known = Visits()
    known.begin("a name", training, lambda: False)
    known.leave("a name")
    until(lambda: running.status == "stopped")
    left, _ = known.find(["a name"])
    assert left.catalogue.open("mine/1").run.epochs >= 1
    left.close()


def test_what_nobody_comes_back_for_is_deleted(training, monkeypatch):
    monkeypatch.setattr(visits, "KEPT_SECONDS", 0.1)
    folder = training.train.training.recipe.path.parent
    known = Visits()
    known.begin("a name", training, lambda: False)
    known.leave("a name")
    until(lambda: not folder.exists())
    assert known.find(["a name"]) == (None, False)


def test_a_page_that_trained_nothing_is_forgotten_at_once(new_state):
    known = Visits()
    known.begin("a name", new_state(), lambda: False)
    known.leave("a name")
    assert known.find(["a name"]) == (None, False)


def test_what_a_page_has_drawn_is_not_kept_in_memory_with_its_runs(tmp_path):
    known = Visits()
    state = state_of(Engine(ThreadWorkers()), tmp_path)
    state.train.start()
    known.begin("a name", state, lambda: False)
    known.leave("a name")
    drawn = weakref.ref(state)  # the page holds on to it
    del state
    gc.collect()
    assert drawn() is None
    left, _ = known.find(["a name"])
    assert left.has_trained
    left.close()


# Coming back


def coming_back(known, state, found):
    browser = SimpleNamespace(before="")
    return browser, ComingBack(known, browser, state, lambda: found.append(1))


def test_a_page_says_that_it_looks_until_it_has_found_what_was_left(training, new_state):
    there, known, new, found = [True], Visits(), new_state(), []
    known.begin("before", training, lambda: there[0])
    browser, back = coming_back(known, new, found)
    back.expect()
    back.follow()
    assert new.train.looked_for  # the browser has not said anything yet
    browser.before = "before"
    back.begin()
    assert new.train.looked_for  # the page before has not gone yet
    there[0] = False
    back.follow()
    assert (new.train.looked_for, found, new.has_trained) == (False, [1], True)


def test_a_page_looks_no_longer_than_it_takes_to_hear_that_it_is_the_first(new_state):
    new, found = new_state(), []
    browser, back = coming_back(Visits(), new, found)
    back.expect()
    browser.before = "-"
    back.begin()
    assert (new.train.looked_for, found) == (False, [])


def test_a_copy_of_a_tab_keeps_its_visitor_waiting_for_a_moment_only(training, new_state, monkeypatch):
    monkeypatch.setattr(coming_back_module, "LOOKS_SECONDS", 0.0)
    there, known, new, found = [True], Visits(), new_state(), []
    known.begin("before", training, lambda: there[0])
    browser, back = coming_back(known, new, found)
    back.expect()
    browser.before = "before"
    back.begin()
    assert not new.train.looked_for
    there[0] = False  # the original is closed later
    back.follow()
    assert found == [1]
