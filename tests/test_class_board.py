"""What the pages of one server tell each other of their trainings, and how a class sees it."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from smoot_explore import TrainingConfig, bundled_runs
from smoot_explore.core.history import History
from smoot_explore.core.records import Change, EpochRecord
from smoot_explore.explorer.class_table import class_table
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state import class_board
from smoot_explore.explorer.state.class_board import ClassBoard, all_told, class_settings, told_of
from smoot_explore.explorer.state.class_state import ClassState, points_of
from smoot_explore.explorer.state.one_training import OneTraining
from smoot_explore.explorer.state.train import TrainState
from smoot_explore.runs.run import Run
from smoot_explore.views import class_board as scatter


def epoch_record(epoch, k):
    n = len(k)
    return EpochRecord(
        epoch, 10 * epoch, 1.0, 1.0, 0.1, 50.0, 60.0 + epoch, np.array(k), np.zeros(n), np.zeros(n), np.zeros(n, bool),
        1.0, 10.0,
    )  # fmt: skip


def training(method="smoot", epochs=3, status="running", place=0, **settings):
    """A training of four images of 100 pixels, whose settings were moved in its second epoch."""
    one = OneTraining(TrainingConfig(method=method, epochs=9))
    one.changes = [Change(11, 2, name, getattr(one.config, name), new) for name, new in settings.items()]
    one.config.param.update(**settings)
    one.training = SimpleNamespace(
        ended=status == "finished", place=place, recipe=SimpleNamespace(data_name="shapes")
    )
    one.status, one.data = status, SimpleNamespace(n_pixels=100)
    one.step, one.steps_per_epoch = 10 * epochs, 10
    one.history = history = History(None if method == "traditional" else np.full(4, 50.0))
    for epoch in range(1, epochs + 1):
        history.add(epoch_record(epoch, [50.0 + epoch, 40, 60, 70]))
        if method != "traditional":
            history._point(epoch, 1.0, 0.1, history.k)
    return one


def page_of(*trainings):
    """The state of a page with these trainings."""
    train = TrainState(ServerSettings(), None)
    train.all, train.chosen = list(trainings), trainings[0]
    return train


def test_a_page_tells_its_training_and_leaves_without_a_trace():
    board = ClassBoard()
    board.report("a", [told_of(training(beta=0.5))])
    board.report("b", [])
    (told,) = board.trainings()["a"]
    assert list(board.trainings()) == ["a"]
    assert (told.accuracy, told.epoch, told.epochs, told.k_median) == (63.0, 3, 9, 56.5)
    assert (told.settings["beta"], told.settings["method"], told.name) == (0.5, "smoot", "")
    np.testing.assert_allclose(told.k_bands[2], np.array([50, 55.5, 56, 56.5]) / 100)
    board.leave("a")
    board.leave("a")
    assert board.trainings() == {}


def test_a_training_is_told_with_the_settings_that_it_was_moved_to_also_when_it_has_finished():
    finished = told_of(training(status="finished", beta=0.5))
    assert (finished.settings["beta"], finished.data) == (0.5, "shapes")
    assert all_told(page_of(OneTraining())) == []


def test_sliders_that_wait_for_a_rival_and_data_chosen_since_are_not_those_of_the_training():
    train = page_of(training(beta=0.5))
    train.setting_up = True
    train.config.beta = 0.1
    train.param.data_name.objects = ["shapes", "others"]
    train.data_name = "others"
    board = ClassBoard()
    ClassState(board, "a", train).tell()
    (told,) = board.trainings()["a"]
    assert (told.settings["beta"], told.data) == (0.5, "shapes")


def test_a_page_tells_its_rivals_and_what_ifs_training_too():
    train, board = page_of(training(), training(beta=0.5)), ClassBoard()
    train.for_real = training(alpha=3.0, status="finished")
    state = ClassState(board, "a", train)
    state.name_here = "Ada"
    state.tell()
    assert [name for name, _ in state.trainings()] == [
        "Ada: SMOOT β 0.95 (yours)", "Ada: SMOOT β 0.5 (yours)", "Ada: What if (yours)",
    ]  # fmt: skip
    assert class_table(state.trainings()).count("<tr>") == 4
    assert state.points().beta.values.tolist() == [0.95, 0.5, 0.95]
    train.all[1].status = "paused"  # another than the chosen one
    state.tell()
    assert [told.status for _, told in state.trainings()] == ["running", "paused", "finished"]
    board.report("b", [told_of(training())] * 100)
    assert len(board.trainings()["b"]) == class_board.MOST_OF_A_PAGE


def test_a_folder_of_images_is_told_without_its_name():
    one = training()
    one.training.recipe.data_name = "/home/ada/thesis"
    assert told_of(one).data == "a folder of images"
    one.run = SimpleNamespace(description={"data": {"name": "/home/ada/thesis"}})
    assert told_of(one).data == "a folder of images"


def test_a_kept_run_is_a_point_at_the_settings_that_it_was_moved_to():
    run = bundled_runs()[2]
    moved = Run(run.path, run.description, {**run.journal, "live": {**run.journal["live"], "beta": 0.5}})
    assert points_of([moved]).beta.values.tolist() == [0.5]


def test_traditional_training_has_no_k():
    told = told_of(training("traditional"))
    assert np.isnan(told.k_median)
    assert told.k_bands.shape[1] == 0


def test_pages_that_tell_nothing_any_more_are_gone_and_there_are_only_so_many(monkeypatch):
    monkeypatch.setattr(class_board, "MOST_PAGES", 2)
    now = [0.0]
    board = ClassBoard(lambda: now[0])
    told = [told_of(training())]
    for page in ("a", "b", "c"):
        board.report(page, told)
    assert list(board.trainings()) == ["a", "b"]
    now[0] = 20.0
    board.report("b", told)
    now[0] = 31.0
    assert list(board.trainings()) == ["b"]
    board.report("c", told)
    assert list(board.trainings()) == ["b", "c"]


def test_many_threads_may_tell_at_once():
    board, told, errors = ClassBoard(), [told_of(training())], []

    def act(page):
        try:
            for _ in range(200):
                board.report(page, told)
                board.trainings()
                board.leave(page)
            board.report(page, told)
        except RuntimeError as error:
            errors.append(error)

    threads = [threading.Thread(target=act, args=[str(i)]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert set(board.trainings()) == {"0", "1", "2", "3"}


def test_the_table_has_no_names_but_those_that_were_typed_and_these_are_escaped():
    board = ClassBoard()
    states = {page: ClassState(board, page, page_of(training(place=i))) for i, page in enumerate("abc")}
    states["b"].name_here = "  <b>Ada\n& Bob</b> of the third row, left "
    for state in states.values():
        state.tell()
    names = [name for name, _ in states["a"].trainings()]
    assert names == ["training 1 (yours)", "<b>Ada & Bob</b> of the third", "training 3"]
    assert all(len(name) <= class_board.LONGEST_NAME for name in names[1:])
    table = class_table(states["a"].trainings())
    assert "&lt;b&gt;Ada &amp; Bob&lt;/b&gt;" in table
    assert "<b>" not in table
    assert "waits, place 2" in table
    assert "running, epoch 3 of 9" in table
    assert table.count("<svg") == 6
    assert 'aria-label="median of k, from 50 to 56 per cent of the image"' in table
    assert "No page of this server has a training yet" in class_table([])


def test_what_is_told_is_gathered_anew_only_when_there_is_something_new(monkeypatch):
    gathered = []
    monkeypatch.setattr(
        "smoot_explore.explorer.state.class_state.all_told",
        lambda train, name: gathered.append(name) or all_told(train, name),
    )
    board, one = ClassBoard(), training()
    state = ClassState(board, "a", page_of(one))
    for _ in range(3):
        state.tell()
    assert len(gathered) == 1
    one.history.add(epoch_record(4, [50.0] * 4))
    state.tell()
    assert len(gathered) == 2
    assert board.trainings()["a"][0].epoch == 4


def test_kept_runs_are_points_over_the_settings_that_count_for_them():
    runs = bundled_runs()
    points = points_of(runs)
    assert points.run.values.tolist() == [run.name for run in runs]
    for i, run in enumerate(runs):
        record = run.record()
        assert float(points.test_accuracy[i]) == pytest.approx(float(record.test_accuracy[-1]))
        if run.start_config["method"] == "smoot":
            assert float(points.k_median[i]) == pytest.approx(float(np.median(record.k.values[-1])))
            assert float(points.beta[i]) == run.start_config["beta"]
        else:
            assert np.isnan(points.beta[i])
    assert set(class_settings().values()) <= set(points.data_vars)
    assert points_of([]).sizes["run"] == 0


def test_running_trainings_are_points_with_a_ring(tmp_path):
    board = ClassBoard()
    state = ClassState(board, "a", page_of(training(beta=0.5)))
    state.kept = points_of(bundled_runs())
    assert state.points().sizes["run"] == len(bundled_runs())
    state.tell()
    layers = {layer.role: layer for layer in scatter.sketch(state.points()).layers}
    assert layers["Selected"].numbers[0].tolist() == [0.5]
    assert layers["Selected"].numbers[1].tolist() == [63.0]
    assert len(layers["SMOOT"].numbers[0]) == 2
    assert "training 1 (yours)" in layers["SMOOT"].told["training"].tolist()


@pytest.mark.parametrize("name", ["Eve (yours)", "(yours) Eve", "\u202eEve", "E\u200bve"])
def test_a_name_cannot_pass_for_ones_own(name):
    state = ClassState(ClassBoard(), "a", page_of(training()))
    state.name_here = name
    assert state.given_name == "Eve"


@pytest.mark.parametrize("odd", ["high", [1.0], None])
def test_a_run_whose_journal_says_nonsense_hides_no_other(odd):
    good = bundled_runs()[2]
    *before, last = good.journal["epochs"]
    damaged = Run(
        good.path, good.description, good.journal | {"epochs": [*before, last | {"test_accuracy": odd}]}
    )
    assert points_of([damaged, good]).run.values.tolist() == [good.name]


class Damaged(Run):
    def has_accuracy_drop(self, epoch):
        raise OSError("gone")


def test_a_damaged_run_is_left_out():
    good = bundled_runs()[2]
    damaged = Damaged(good.path, good.description, good.journal)
    assert points_of([damaged, good]).run.values.tolist() == [good.name]
