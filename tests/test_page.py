"""The page without a browser: between its being sent and its being drawn, and what it does beside itself."""

import asyncio
import html
import shutil
import threading
import time
from collections import OrderedDict
from functools import partial
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import panel as pn
import panel_material_ui as pmui
import pytest
from bokeh.document import Document
from panel.io.state import set_curdoc
from PIL import Image
from test_class_board import training
from waiting import until
from workers import ThreadWorkers

from smoot_explore import bundled_runs, open_run
from smoot_explore.engine.background import QUICK
from smoot_explore.engine.engine import Engine
from smoot_explore.explorer import changes, clock, kept_runs, location, messages
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.explorer.page import ExplorerPage
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state import catalogue
from smoot_explore.explorer.state.class_board import ClassBoard, told_of
from smoot_explore.explorer.state.compare import CompareState
from smoot_explore.explorer.state.session import SessionState
from smoot_explore.explorer.tabs import class_tab, compare, image
from smoot_explore.explorer.training_bar import status_text


@pytest.fixture
def visit(tmp_path):
    """Opens pages of one server."""
    states = []

    def visit(board: ClassBoard | None = None) -> ExplorerPage:
        states.append(SessionState(ServerSettings(runs=tmp_path / "runs"), Engine(ThreadWorkers())))
        return ExplorerPage(states[-1], board=board)

    yield visit
    for state in states:
        state.close()


@pytest.fixture
def page(visit):
    return visit()


def test_pages_of_one_server_see_each_others_trainings(visit):
    board = ClassBoard()
    page = visit(board)
    page.state.tab = "class"
    tab = page.layout.made["class"]
    assert "No page of this server has a training yet" in tab.table.object
    board.report("another page", [told_of(training(beta=0.5), "Ada")])
    page._tell_class()
    assert "Ada" in tab.table.object
    assert "β 0.5" in tab.table.object
    assert tab.scatter.sketch.layers[-1].numbers[0].tolist() == [0.5]
    tab.state.across = "alpha"
    assert tab.scatter.sketch.layers[-1].numbers[0].tolist() == [10.0]


def test_the_class_tab_is_drawn_anew_only_when_there_is_something_new(visit, monkeypatch):
    drawn, board = [], ClassBoard()
    monkeypatch.setattr(
        class_tab, "class_table", lambda trainings: drawn.append(len(trainings)) or str(len(trainings))
    )
    page = visit(board)
    page.state.tab = "class"
    page._tell_class()
    drawn.clear()
    tab, points, asked = page.layout.made["class"], page._class.points, []
    monkeypatch.setattr(page._class, "points", lambda: asked.append(1) or points())
    for _ in range(3):
        page._tell_class()
    assert drawn == []
    board.report("another page", [told_of(training())])
    for _ in range(3):
        page._tell_class()
    assert (drawn, len(asked), tab.table.object) == ([1], 1, "1")
    board.report("another page", [told_of(training(epochs=4))])
    page._tell_class()
    assert (drawn, len(asked)) == ([1, 1], 2)


def test_where_the_operator_switched_it_off_there_is_no_class(page):
    assert "class" not in page.layout._places
    with pytest.raises(ValueError, match="class"):
        page.state.tab = "class"
    assert page._class is None


def test_what_the_background_computes_waits_until_the_page_is_drawn_and_keeps_its_order(page, monkeypatch):
    made, drawn = [], False
    monkeypatch.setattr(changes, "page_takes_changes", lambda: drawn)
    monkeypatch.setattr(clock, "page_takes_changes", lambda: drawn)
    page.changes.make(lambda: made.append("first"))
    page.clock.tick()
    assert made == []
    drawn = True
    page.changes.make(lambda: made.append("second"))
    assert made == []  # the first is older
    page.clock.tick()
    assert made == ["first", "second"]
    page.changes.make(lambda: made.append("third"))
    assert made == ["first", "second", "third"]


def test_a_change_that_fails_takes_no_other_with_it(page, monkeypatch):
    made, drawn = [], False
    monkeypatch.setattr(changes, "page_takes_changes", lambda: drawn)
    monkeypatch.setattr(clock, "page_takes_changes", lambda: drawn)
    page.changes.make(lambda: 1 / 0)
    page.changes.make(lambda: made.append("next"))
    drawn = True
    with pytest.raises(ZeroDivisionError):
        page.clock.tick()
    page.clock.tick()
    assert made == ["next"]


def test_maps_that_take_long_keep_no_slider_waiting(page, monkeypatch):
    begun, gate = threading.Event(), threading.Event()

    def long_maps(*asked):
        begun.set()
        gate.wait(30)
        return {}

    monkeypatch.setattr(page.state.compare, "maps", long_maps)

    async def ask() -> str:
        page.layout.make("compare")._ask()
        assert await asyncio.to_thread(begun.wait, 10)
        picture = asyncio.get_running_loop().run_in_executor(QUICK, lambda: "the slider's picture")
        return await asyncio.wait_for(picture, 10)

    try:
        assert asyncio.run(ask()) == "the slider's picture"
    finally:
        gate.set()


# What takes long is done beside the page


@pytest.fixture
def nothing_open(monkeypatch):
    """No bundled run is open yet; to be asked for when the page is there."""
    return lambda: monkeypatch.setattr(catalogue, "_opened_runs", OrderedDict())


@pytest.fixture
def beside():
    """Wraps functions that must be called, and never on the page's own thread: that would keep everybody waiting."""
    threads = []

    def watched(function):
        def called(*arguments, **options):
            threads.append(threading.current_thread())
            return function(*arguments, **options)

        return called

    yield watched
    assert threads
    assert threading.main_thread() not in threads


def wait_for(act, done, seconds=30):
    """Act on the event loop, and let it go on until something is done."""

    async def wait():
        act()
        while not done():
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(wait(), seconds))


def test_a_run_that_takes_long_to_open_keeps_nobody_waiting(page, nothing_open, monkeypatch, beside):
    nothing_open()
    monkeypatch.setattr(OpenedRun, "open", beside(OpenedRun.open))
    line, told = page.activity.line(), []

    def choose():
        page.state.run_key = "bundled/sgt"
        told.append(line.object)

    wait_for(choose, lambda: page.state.image.opened.key == "bundled/sgt")
    assert told == ["Opening SGT, bundled …"]
    assert not line.visible


def test_runs_that_take_long_to_open_for_compare_keep_nobody_waiting(page, nothing_open, monkeypatch, beside):
    page.state.tab = "compare"
    page.state.tab = "train"
    nothing_open()
    monkeypatch.setattr(OpenedRun, "open", beside(OpenedRun.open))
    page.state.compared = ["bundled/sgt"]
    shown = page.state.compare

    def look():
        page.state.tab = "compare"

    opened = lambda: [run.key for run in shown.opened_runs] == ["bundled/sgt"]  # noqa: E731
    wait_for(look, opened)


def test_the_table_of_compare_is_read_beside_the_page(page, monkeypatch, beside):
    page.state.tab = "compare"
    tab = page.layout.made["compare"]
    before = tab.table.object
    monkeypatch.setattr(CompareState, "table", beside(lambda state: (["run", "of"], [["SGT", "here"]])))
    wait_for(tab.show_measured, lambda: tab.table.object != before)
    assert "SGT" in tab.table.object


def test_the_run_chosen_last_is_shown_also_when_an_earlier_one_fails(page, nothing_open, monkeypatch):
    nothing_open()
    real, opening, gate = OpenedRun.open, threading.Event(), threading.Event()

    def open_run(key, *arguments, **options):
        if key == "bundled/sgt":
            opening.set()
            assert gate.wait(30)
            raise ValueError("it is damaged")
        return real(key, *arguments, **options)

    monkeypatch.setattr(OpenedRun, "open", open_run)

    async def choose():
        page.state.run_key = "bundled/sgt"
        assert await asyncio.to_thread(opening.wait, 30)
        page.state.run_key = "bundled/traditional"
        gate.set()
        while page.state.image.opened.key != "bundled/traditional":
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(choose(), 30))
    assert page.state.run_key == "bundled/traditional"
    assert "damaged" not in page.messages.panel.object


def test_a_run_that_cannot_be_opened_is_told_of_and_the_one_shown_stays_chosen(
    page, nothing_open, monkeypatch
):
    nothing_open()
    real = OpenedRun.open

    def open_run(key, *arguments, **options):
        if key == "bundled/sgt":
            raise ValueError("it is damaged")
        return real(key, *arguments, **options)

    monkeypatch.setattr(OpenedRun, "open", open_run)
    page.state.run_key = "bundled/sgt"
    assert page.messages.panel.object == "SGT, bundled cannot be opened: it is damaged"
    assert (page.state.run_key, page.state.image.opened.key) == ("bundled/smoot", "bundled/smoot")


def test_the_runs_of_an_address_are_opened_beside_the_page(visit, nothing_open, monkeypatch, beside):
    """And labels, which the run alone knows, are read when it is open."""
    visit()  # the first page of a process takes long itself
    asked = {"run": [b"bundled/sgt"], "label": [b"boot"], "alpha": [b"7"], "tab": [b"image"], "beta": [b"8"]}
    nothing_open()
    monkeypatch.setattr(type(pn.state), "session_args", asked)
    monkeypatch.setattr(OpenedRun, "open", beside(OpenedRun.open))
    pages = []

    def done() -> bool:
        return pages[0].state.image.label == "boot"

    wait_for(lambda: pages.append(visit()), done)
    state = pages[0].state
    assert (state.run_key, state.image.opened.key, state.train.config.alpha) == (
        "bundled/sgt",
        "bundled/sgt",
        7,
    )
    assert "weight of the label: the address asks for “8”" in pages[0].messages.panel.object
    assert (state.tab, "image" in pages[0].layout.made) == ("image", True)


def test_files_to_download_are_made_beside_the_page(page, monkeypatch, beside):
    page.state.tab = "image"
    monkeypatch.setattr(page.state.catalogue, "record_file", beside(page.state.catalogue.record_file))
    monkeypatch.setattr(CompareState, "to_csv", beside(CompareState.to_csv))
    monkeypatch.setattr(compare, "compare_page", beside(compare.compare_page))
    page.state.tab = "compare"
    tab = page.layout.made["compare"]
    for button in (page.run_row.record, tab.csv, tab.page):
        wait_for(button._handle_click, lambda button=button: button.data is not None)


def test_a_file_that_cannot_be_made_is_told_of(page, monkeypatch):
    page.state.tab = "image"
    monkeypatch.setattr(page.state.catalogue, "record_file", lambda key: 1 / 0)
    wait_for(page.run_row.record._handle_click, lambda: page.messages.panel.object == "division by zero")


def test_an_uploaded_picture_is_read_and_predicted_beside_the_page(page, monkeypatch, beside):
    page.state.tab = "image"
    content = BytesIO()
    Image.fromarray(np.arange(784, dtype=np.uint8).reshape(28, 28)).save(content, "PNG")
    monkeypatch.setattr(image, "read_picture", beside(image.read_picture))
    monkeypatch.setattr(image, "predicted", beside(image.predicted))
    tab, state = page.layout.made["image"], page.state.image

    def upload():
        tab._chosen("picture.png", len(content.getvalue()), content.getvalue())

    wait_for(upload, lambda: state.half == "own picture")
    assert state.upload.images.flatten().tolist() == [value % 256 for value in range(784)]


def test_a_picture_uploaded_while_a_run_is_opened_is_predicted_by_that_run(
    page, nothing_open, monkeypatch, beside
):
    page.state.tab = "image"
    nothing_open()
    tests = page.state.image.opened.data.test[:300]
    other = OpenedRun.open("x", "x", bundled_runs()[0])
    mine, theirs = (image.predicted(tests.images, run).labels for run in (page.state.image.opened, other))
    differs = int((mine != theirs).nonzero()[0])
    content = BytesIO()
    Image.fromarray(tests.images[differs, 0].numpy()).save(content, "PNG")
    monkeypatch.setattr(OpenedRun, "open", beside(OpenedRun.open))

    def choose_and_upload():
        page.state.run_key = "bundled/traditional"
        page.layout.made["image"]._chosen("picture.png", len(content.getvalue()), content.getvalue())

    wait_for(choose_and_upload, lambda: page.state.image.opened.key == "bundled/traditional")
    assert page.state.image.upload.labels.tolist() == [int(theirs[differs])]


# Kept runs


def kept_keys(page: ExplorerPage) -> list[str]:
    return [key for key in page.state.param.run_key.objects.values() if key.startswith("kept/")]


def test_a_run_that_one_page_keeps_is_offered_by_the_others_at_their_next_tick(
    visit, tmp_path, monkeypatch, beside
):
    one, two = visit(), visit()
    one.state.tab = "image"
    run = bundled_runs()[0]
    shutil.copytree(run.path, tmp_path / "own")  # as if it had been trained here
    one.state.run_key = one.state.catalogue.add(open_run(tmp_path / "own"), one.state.image.opened.data)
    monkeypatch.setattr(shutil, "copytree", beside(shutil.copytree))
    row = one.run_row.keeping
    row.name.value = "lesson"
    wait_for(row._keep, lambda: kept_keys(one) == ["kept/lesson"])
    two.clock.tick()
    assert kept_keys(two) == ["kept/lesson"]
    assert (row.name.value, row.button.disabled) == ("traditional-1", False)


def test_a_run_that_comes_into_the_folder_otherwise_is_offered_soon(page, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_runs, "LOOK_SECONDS", 0.05)
    shutil.copytree(bundled_runs()[0].path, tmp_path / "runs" / "elsewhere")
    until(lambda: page.clock.tick() or kept_keys(page) == ["kept/elsewhere"])
    shutil.rmtree(tmp_path / "runs" / "elsewhere")
    until(lambda: page.clock.tick() or kept_keys(page) == [])


def test_an_address_leads_to_a_run_that_came_into_the_folder_just_now(visit, tmp_path, monkeypatch):
    visit()
    shutil.copytree(bundled_runs()[0].path, tmp_path / "runs" / "new")
    monkeypatch.setattr(
        type(pn.state), "session_args", {"run": [b"kept/new"], "runs": [b"kept/new,bundled/sgt"]}
    )
    state = visit().state
    assert (state.run_key, state.image.opened.key) == ("kept/new", "kept/new")
    assert state.compared == ["kept/new", "bundled/sgt"]


def test_however_many_pages_there_are_the_folder_is_looked_at_every_few_seconds(visit, monkeypatch):
    pages, looks = [visit() for _ in range(3)], []
    shared = pages[0].state.catalogue.shared
    monkeypatch.setattr(shared, "look", lambda: looks.append(threading.current_thread().name))
    for _ in range(20):
        for page in pages:
            page.clock.tick()
    until(lambda: looks)
    assert [name.split("_")[0] for name in looks] == ["files"]


# Errors are told


def test_a_message_shows_a_path_as_it_is_and_leaves(page, monkeypatch):
    page.messages.tell("no folder /a_b_c/*.png [x](y) here")
    shown = pmui.Alert(page.messages.panel.object)._process_param_change(
        {"object": page.messages.panel.object}
    )
    assert "/a_b_c/*.png [x](y)" in html.unescape(html.unescape(shown["object"]))
    page.messages.follow()
    assert page.messages.panel.visible
    later = time.monotonic() + messages.COMPLAINT_SECONDS + 1
    monkeypatch.setattr(messages.time, "monotonic", lambda: later)
    page.clock.tick()
    assert not page.messages.panel.visible


def test_a_message_leaves_when_what_it_complains_of_is_mended(page):
    page.messages.tell("the model 'x' is unknown")
    page.state.train.data_name, page.state.train.train_images = "shapes", 40
    page.bar.train()
    assert not page.messages.panel.visible
    page.state.train.stop()


@pytest.mark.parametrize(
    ("method", "idle"),
    [("traditional", ["α", "β", "λ", "Bounds"]), ("sgt", ["α", "β", "Bounds"]), ("smoot", [])],
)
def test_settings_that_do_nothing_are_grey_and_the_page_says_why(page, method, idle):
    page.state.train.config.method = method
    grey = [widget.label.split(",")[0].split(" ")[0] for widget in page.sidebar.live if widget.disabled]
    assert grey == idle
    assert page.sidebar.why_idle.visible == bool(idle)
    assert ("same k for all images" in page.sidebar.why_idle.object) == (method == "sgt")


def test_going_back_shows_what_the_address_said_and_leaves_a_training_alone(page, monkeypatch):
    state = page.state
    state.tab = "image"
    state.image.masked_fraction = 0.5
    state.train.config.alpha = 20.0
    page._go({"run": "bundled/sgt", "masked": "0.3", "image_id": str(state.image.ids.at(40))})
    assert (state.tab, state.run_key, state.image.opened.key) == ("train", "bundled/sgt", "bundled/sgt")
    assert (state.image.masked_fraction, state.image.position, state.train.config.alpha) == (0.3, 40, 10.0)
    state.train.config.alpha = 20.0
    monkeypatch.setattr(type(state.train), "busy", True)
    page._go({"tab": "image", "alpha": "3"})
    assert (state.tab, state.run_key, state.train.config.alpha) == ("image", "bundled/smoot", 20.0)


def test_going_back_to_an_epoch_of_another_run_asks_that_run_for_it(page):
    state = page.state
    state.run_key = "bundled/sgt"  # which holds its last epoch alone
    page._go({"run": "bundled/smoot", "at": "2"})
    assert (state.image.opened.key, state.image.opened.epoch, state.epoch) == ("bundled/smoot", 2, 2)
    assert not page.messages.panel.visible
    page._go({"run": "bundled/sgt"})
    assert (state.image.opened.key, state.image.opened.epoch, state.epoch) == ("bundled/sgt", 8, None)
    assert not page.messages.panel.visible


def test_only_another_tab_or_run_is_a_step_in_the_history(page, monkeypatch):
    monkeypatch.setattr(location, "REST_SECONDS", -1.0)
    page.location.follow()
    steps = []
    for change in (
        lambda: setattr(page.state.image, "masked_fraction", 0.4),
        lambda: setattr(page.state, "tab", "image"),
        lambda: setattr(page.state.image, "masked_fraction", 0.6),
        lambda: setattr(page.state, "run_key", "bundled/sgt"),
    ):
        change()
        page.location.follow()
        page.location.follow()
        steps.append(page.location.browser.entry["step"])
    assert steps == [False, True, False, True]
    assert page.location.browser.entry["search"].startswith("?tab=image&run=bundled%2Fsgt&masked=0.6")


def test_watched_images_that_cannot_be_looked_at_are_told_of(page, monkeypatch):
    monkeypatch.setattr(page.state.train, "watch_now", lambda: 1 / 0)
    page.train.watch_anew()
    assert page.messages.panel.object == "The watched images cannot be shown: division by zero"


def test_a_training_that_goes_on_after_a_pause_is_not_said_to_start(page):
    train = page.state.train
    train.status = "queued"
    assert status_text(train) == "Starting a worker"
    train.run = bundled_runs()[0]
    assert status_text(train) == "Waiting for a free worker to go on"


def test_a_run_that_has_no_maps_in_compare_is_told_of(page, monkeypatch):
    real = compare.CompareState.maps

    def maps(state, opened_runs, attribution):
        found = real(state, opened_runs, attribution)
        del found["SGT, bundled"]
        found.problems["SGT, bundled"] = "it has no <layer>"
        return found

    monkeypatch.setattr(compare.CompareState, "maps", maps)
    page.state.tab = "compare"
    missing = page.layout.made["compare"].missing
    assert (missing.object, missing.visible) == (
        "no saliency of SGT, bundled (it has no &lt;layer&gt;)",
        True,
    )


def test_a_training_moves_pictures_only_where_they_are_seen(page):
    train, pictures = page.state.train, page.train.pictures
    train.data_name, train.train_images = "shapes", 40
    train.config.param.update(epochs=1, batch_size=20)
    page.state.tab = "image"
    train.start()
    before = pictures["accuracies"].sketch
    until(lambda: train.training.ended, 60)
    page.clock.tick()
    assert len(train.history.scores) == 1
    assert pictures["accuracies"].sketch is before
    page.state.tab = "train"
    shown = next(layer for layer in pictures["accuracies"].sketch.layers if layer.role == "Test images")
    assert shown.numbers[1].tolist() == [train.history.scores[0].test_accuracy]


def test_what_is_found_out_after_a_page_has_ended_changes_nothing(monkeypatch):
    monkeypatch.setattr(changes, "page_takes_changes", lambda: False)
    document, made = Document(), []
    page = changes.Changes(document)
    page.schedule(lambda: made.append("before"))
    assert len(document.session_callbacks) == 1
    page.make(lambda: made.append("waits"))
    page.end()
    page.schedule(lambda: made.append("after"))
    page.catch_up()
    assert (len(document.session_callbacks), made) == (1, [])


def test_a_tab_whose_run_is_not_open_yet_shows_its_places(page):
    line = page.activity.line()
    opened, page.state.image.opened = page.state.image.opened, None
    page.state.tab = "images"
    (waiting,) = page.layout._places["images"]
    assert waiting.name == "waiting"
    page.activity.say("run", "Opening SMOOT, bundled …")
    assert [waiting[0].object, line.object] == ["Opening SMOOT, bundled …"] * 2
    page.layout.show("images", ready=False)
    assert list(page.layout._places["images"]) == [waiting]
    page.state.image.opened = opened
    page.layout.show("images", ready=True)
    assert list(page.layout._places["images"]) == [page.layout.made["images"].panel]


def test_an_event_that_follows_a_moved_control_at_once_acts_under_the_lock_of_the_page():
    taken = []

    class Page:
        session_context = SimpleNamespace(request=SimpleNamespace(arguments={}))
        add_next_tick_callback = taken.append

    with set_curdoc(Page()) as page:
        pn.state.execute(partial(pn.widgets.Button()._event_coroutine, page, None), schedule=True)
    assert [getattr(callback, "nolock", False) for callback in taken] == [False]
