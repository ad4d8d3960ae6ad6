"""The course in a real JupyterLab: sliders answer while a network trains, and nothing asks the internet."""

import os

import browser
import pytest
from browser import CHROMIUM, Visitor

REQUIRED = os.environ.get("SMOOT_EXPLORE_REQUIRE_BROWSER") == "1"
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not REQUIRED, reason="there is no Chromium (Debian: apt-get install chromium)"
)

if CHROMIUM is not None or REQUIRED:
    from lab import Notebook, jupyterlab


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with jupyterlab(tmp_path_factory.mktemp("lab")) as address:
        yield address


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as opened:
        yield opened


@pytest.fixture
def notebook(chromium, address):
    """Opens notebooks; nothing outside is reached, and no script fails."""
    visitors = []

    def open_notebook(name):
        visitor = Visitor(chromium, f"{address}/lab")
        visitors.append(visitor)
        return Notebook(visitor.page, address, name)

    yield open_notebook
    for visitor in visitors:
        assert visitor.outside == []
        assert [e for e in visitor.errors if "\n" in e] == []  # with a stack: a script that failed
        visitor.close()


def picture(notebook, which=-1):
    """The address of the picture shown by the last live figure, or another."""
    return notebook.page.locator(".widget-image").nth(which).get_attribute("src")


def words(notebook):
    return " ".join(notebook.page.locator(".jp-OutputArea").all_inner_texts())


def test_the_first_slider_of_the_quickstart_moves_its_picture(notebook):
    lesson = notebook("00_quickstart.ipynb")
    lesson.run_through("untrained = ")
    before = lesson.wait_until(lambda: lesson.page.locator(".widget-image").count() and picture(lesson))
    handle = lesson.slider("k \\(pixels\\)")
    handle.focus()
    for _ in range(5):
        lesson.page.keyboard.press("ArrowRight")
    lesson.wait_until(lambda: picture(lesson) != before, 20)
    lesson.wait_until(lambda: "397" in words(lesson), 20)


@pytest.mark.parametrize("name", ["00_quickstart.ipynb", "03_smoot.ipynb"])
def test_a_slider_moved_while_the_network_trains_takes_effect(notebook, name):
    lesson = notebook(name)
    lesson.run_through("live.start()")
    lesson.wait_until(lambda: "images/s" in words(lesson))
    before = picture(lesson)
    lesson.slider("α, speed of k").focus()
    lesson.page.keyboard.press("ArrowRight")
    lesson.wait_until(lambda: picture(lesson) != before, 30)
    lesson.page.get_by_role("button", name="Pause").click()
    lesson.wait_until(lambda: lesson.page.get_by_role("button", name="Go on").count() == 1, 20)
    lesson.page.get_by_role("button", name="Go on").click()
    lesson.page.get_by_role("button", name="Stop").click()
    lesson.wait_until(lambda: "Stopped" in words(lesson), 20)
    lesson.run("live.changes")
    lesson.wait_until(lambda: "name='alpha', old=10.0, new=11.0" in words(lesson), 20)


def test_showing_a_slider_moves_no_setting(notebook):
    """A page moves a value that lies between two steps of its slider: the learning rate here is 0.003."""
    lesson = notebook("06_your_own_images_and_model.ipynb")
    lesson.run_through("live.start()")
    lesson.wait_until(lambda: "images/s" in words(lesson))
    lesson.run("('τ', live.config.learning_rate, live.changes)")
    lesson.wait_until(lambda: "('τ', 0.003, [])" in words(lesson), 30)


def test_interrupting_the_wait_stops_the_training_and_the_notebook_goes_on(notebook):
    lesson = notebook("00_quickstart.ipynb")
    lesson.run_through("live.result()")
    lesson.wait_until(lambda: lesson.cells_to_run() == 1 and "images/s" in words(lesson))
    lesson.page.wait_for_timeout(6000)  # JupyterLab loses what comes while it still draws the sliders
    lesson.page.get_by_role("button", name="Interrupt the kernel").click()
    lesson.wait_until(lambda: "KeyboardInterrupt" in words(lesson), 30)
    lesson.wait_until(lambda: "Stopped" in words(lesson), 30)
    lesson.page.get_by_role("button", name="Train", exact=True).click()
    lesson.wait_until(lambda: "images/s" in words(lesson), 30)
    lesson.page.get_by_role("button", name="Stop").click()
    lesson.wait_until(lambda: "Stopped" in words(lesson), 30)
