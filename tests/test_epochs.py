"""Looking at a run as it was after an earlier epoch, and playing through its epochs."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from waiting import until
from workers import ThreadWorkers

from smoot_explore import k_landscape, masking_curves, open_run, train
from smoot_explore.engine.engine import Engine
from smoot_explore.explorer import opened_runs
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.explorer.opening import Opening
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state import playing as playing_module
from smoot_explore.explorer.state.image import HALVES
from smoot_explore.explorer.state.playing import Playing
from smoot_explore.explorer.state.session import SessionState
from smoot_explore.explorer.tabs.image import told_k
from smoot_explore.runs.checkpoint import RunError
from smoot_explore.runs.run import Run


@pytest.fixture
def make(data, linear, config, tmp_path):
    """A run of three epochs, of a linear model."""

    def make(keep="all", method="smoot"):
        settings = config(epochs=3, method=method, alpha=100.0)
        run = Run.create(tmp_path / f"{method}-{keep}", settings, linear, data, keep=keep)
        list(train(linear, data, settings, run=run))
        return run

    return make


@pytest.fixture
def run(make):
    return make()


@pytest.fixture
def opened(run):
    return OpenedRun.open("given/1", "my run", run)


@pytest.fixture
def last(make, linear, tmp_path):
    """A run that holds its last weights alone."""
    return open_run(make("last").publish(tmp_path / "my_run").path, model=linear)


@pytest.fixture
def visit(tmp_path):
    """A visitor's state, with these runs to look at."""
    sessions = []

    def visit(*runs):
        session = SessionState(ServerSettings(runs=tmp_path / "runs"), Engine(ThreadWorkers()), runs=runs)
        sessions.append(session)
        return session

    yield visit
    for session in sessions:
        session.close()


def weight_of(model):
    return next(iter(model.state_dict().values()))


# The run at an epoch


def test_each_epoch_has_the_weights_that_training_had_then(opened, run):
    assert opened.epochs == [0, 1, 2, 3]
    for epoch in opened.epochs:
        at = opened.at(epoch)
        assert (at.epoch, at.model.training, at.key, at.label) == (epoch, False, "given/1", "my run")
        assert at.data is opened.data
        assert torch.equal(weight_of(at.model), weight_of(run.model_at(epoch)))
    assert opened.at(3) is opened
    assert opened.at(1).at(3) is opened
    assert opened.at(2).at(1) is opened.at(1)
    with pytest.raises(RunError, match="holds no weights of epoch 4; it holds those of 0, 1, 2, 3"):
        opened.at(4)


def test_few_epochs_are_held_and_those_looked_at_last(opened, monkeypatch):
    monkeypatch.setattr(opened_runs, "EPOCHS_MEGABYTES", 0)
    first = opened.at(0)
    opened.at(1)
    assert opened.held(0) is first  # looked at again
    opened.at(2)
    assert [epoch for epoch in opened.epochs if opened.held(epoch)] == [0, 2, 3]


def test_each_epoch_has_what_was_measured_of_it(run, data):
    for epoch in (1, 3):
        model = run.model_at(epoch).eval()
        run.save_curves(masking_curves(model, data.test[:10], 4, fill=["black", "mean"]), epoch=epoch)
        run.save_landscape(k_landscape(model, data.train[:6], 2), epoch=epoch)
    opened = OpenedRun.open("given/1", "my run", run)
    for epoch in (1, 3):
        at = opened.at(epoch)
        np.testing.assert_array_equal(
            at.curves("mean", "gradient").probability, run.curves(epoch=epoch).sel(fill="mean").probability
        )
        assert at.landscape.identical(run.landscape(epoch))
    before = opened.at(2)
    assert (before.curves("mean", "gradient"), before.landscape) == (None, None)
    assert before.n_measured == 10  # positions mean the same images at all epochs
    assert before.landscape_work().split.image_ids.tolist() == data.train.image_ids[:6].tolist()
    before.measure_curves(Engine(ThreadWorkers()), "mean", "gradient")
    until(lambda: before.curves("mean", "gradient") is not None)
    curves = before.curves("mean", "gradient")
    assert curves.attrs["epoch"] == 2
    expected = masking_curves(run.model_at(2).eval(), data.test[:10], 20, fill="mean", precision="float32")
    np.testing.assert_allclose(curves.probability, expected.probability, atol=1e-5)


def test_what_is_measured_of_an_earlier_epoch_says_so(opened):
    engine = Engine(ThreadWorkers())
    assert opened.measure_landscape(engine).what == "k-landscape of my run"
    what = opened.at(1).measure_curves(engine, "mean", "random").what
    assert what == "masking curves of my run, epoch 1 (mean fill, random)"


def test_k_of_an_image_is_that_of_the_record_after_its_start(opened):
    k = opened.at(1).k_of(7)
    assert k.epoch.values.tolist() == [0, 1, 2, 3]
    assert k.values[0, 0] == 0.5 * 1024
    np.testing.assert_array_equal(k.values[1:, 0], opened.run.record().k[:, 7])
    assert told_k(k, 2) == f"**k at epoch 2: {k.values[2, 0]:.0f}** pixels"
    assert told_k(k, 0) == "**k at the start: 512** pixels"


def test_traditional_training_has_no_k(make):
    assert OpenedRun.open("given/1", "my run", make(method="traditional")).k_of(0) is None


# The epoch as a choice


def test_the_last_epoch_is_shown_by_default_and_others_may_be_chosen(visit, run):
    session = visit(run)
    session.show_run()
    assert (session.epoch, session.epochs, session.epoch_shown) == (None, [0, 1, 2, 3], 3)
    session.epoch_shown = 1
    assert session.address.write()["at"] == "1"
    session.show_run()
    assert {state.opened.epoch for state in (session.image, session.images, session.whatif)} == {1}
    session.epoch_shown = 3
    assert session.epoch is None  # and it will follow a training


def test_a_run_that_holds_its_last_epoch_alone_has_one_choice(visit, last):
    session = visit(last)
    session.show_run()
    assert session.epochs == [3]


def test_the_images_tab_keeps_what_is_selected_from_epoch_to_epoch(visit, run):
    session = visit(run)
    session.show_run()
    session.images.selected = [2, 3]
    session.epoch_shown = 1
    session.show_run()
    assert session.images.selected == [2, 3]
    session.run_key = "bundled/sgt"
    session.epoch = None
    session.show_run()
    assert session.images.selected == []


def test_the_image_tab_shows_the_model_of_the_epoch_and_k_of_training_images(visit, run):
    session = visit(run)
    opened = session.show_run()
    image = session.image
    assert image.view().k is None  # a test image has none
    image.open(HALVES[1], image.opened.data.train.image_ids[4].item())
    maps = []
    for epoch in (3, 1):
        session.epoch_shown = epoch
        session.show_run()
        view = image.view()
        assert (view.epoch, view.k.sel(epoch=3).item()) == (epoch, opened.run.record().k[-1, 4])
        maps.append(view.effect.saliency)
    assert not np.array_equal(*maps)


class Shown:
    """An opening as a page has it, with what it shows and says."""

    def __init__(self, session, schedule=lambda change: change()):
        self.session, self.complaints, self.epochs = session, [], []
        self.opening = Opening(
            session,
            schedule,
            lambda *words: None,
            self.complaints.append,
            self._look,
            lambda: None,
        )
        session.param.watch(lambda event: self.opening.open_epoch(), "epoch")
        session.param.watch(lambda event: self.opening.open_run(), "run_key")

    def _look(self):
        self.epochs.append(self.session.image.opened.epoch)


def test_choosing_an_epoch_shows_it(visit, run):
    session = visit(run)
    shown = Shown(session)
    session.epoch = 2  # the address says so
    shown.opening.open_run()
    session.epoch_shown = 1
    session.epoch_shown = 3
    assert (shown.epochs, shown.complaints) == ([2, 1, 3], [])


def test_an_epoch_that_a_run_does_not_hold_is_told_of_and_the_last_is_shown(visit, run, last):
    session = visit(run, last)
    shown = Shown(session)
    session.epoch = 2
    shown.opening.open_run()
    session.run_key = "given/2"
    (complaint,) = shown.complaints
    assert (
        complaint == "my_run holds no weights of epoch 2, but of epoch 3 alone; those of epoch 3 are shown."
    )
    assert (session.epoch, session.epoch_shown, shown.epochs) == (None, 3, [2, 3])


def test_an_epoch_that_comes_after_another_run_was_chosen_is_not_shown(visit, run, last):
    session, late = visit(run, last), []
    shown = Shown(session, late.append)
    shown.opening.open_run()
    late.pop()()
    session.epoch_shown = 1
    session.param.update(run_key="given/2", epoch=1)
    of_epoch, of_run = late
    of_epoch()
    assert (shown.epochs, session.image.opened.key) == ([3], "given/1")
    of_run()
    assert (shown.epochs, session.image.opened.key) == ([3, 3], "given/2")


def test_weights_that_cannot_be_loaded_are_told_of_and_what_is_shown_stays(visit, run):
    session = visit(run)
    shown = Shown(session)
    shown.opening.open_run()
    (run.path / "checkpoint" / "0001.safetensors").write_bytes(b"damaged")
    session.epoch_shown = 1
    assert "0001.safetensors cannot be read" in shown.complaints[0]
    assert (session.epoch_shown, session.image.opened.epoch) == (3, 3)


# Playing


@pytest.fixture
def clock(monkeypatch):
    """The time, to be moved by hand."""
    now = [0.0]
    monkeypatch.setattr(playing_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def film(visit, run, clock):
    """A session that shows the Image tab at once, and what plays it."""
    session = visit(run)
    session.tab = "image"
    session.param.watch(lambda event: session.show_run(), "epoch")
    session.show_run()
    return session, Playing(session)


def epochs_played(session, playing, clock, seconds, step=0.25):
    seen = [session.epoch_shown]
    for _ in range(round(seconds / step)):
        clock[0] += step
        playing.tick()
        seen.append(session.epoch_shown)
    return seen


def test_playing_begins_anew_at_the_end_and_stops_there(film, clock):
    session, playing = film
    playing.on = True
    assert epochs_played(session, playing, clock, 2) == [0, 0, 1, 1, 2, 2, 3, 3, 3]  # two in a second
    assert (playing.on, session.epoch) == (False, None)


def test_playing_goes_on_from_where_it_is(film, clock):
    session, playing = film
    session.epoch_shown = 1
    playing.param.update(speed=1, on=True)
    assert epochs_played(session, playing, clock, 2, 0.5) == [1, 1, 2, 2, 3]
    playing.on = False
    assert epochs_played(session, playing, clock, 2, 0.5) == [3] * 5


def test_playing_waits_until_the_picture_of_an_epoch_is_there(film, clock):
    session, playing = film
    playing.on = True
    clock[0] += 10
    playing.tick(drawn=False)
    assert session.epoch_shown == 0
    session.tab = "what-if"  # whose landscape is not measured
    playing.tick()
    assert session.epoch_shown == 0
    session.measure_missing("what-if")
    until(lambda: not session.whatif.lacks_landscape)
    playing.tick()
    assert session.epoch_shown == 1


def test_another_run_ends_the_playing_and_one_epoch_is_not_played(film):
    session, playing = film
    playing.on = True
    session.run_key = "bundled/sgt"
    assert not playing.on
    session.epoch = None
    session.show_run()
    playing.on = True
    assert not playing.on
