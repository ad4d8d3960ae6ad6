"""The slides of the course: what they show without a browser, and one walk through them in a real one."""

import json
import socket
import subprocess
import sys
from statistics import NormalDist

import numpy as np
import pytest

pytest.importorskip("panel_material_ui")

import browser
from waiting import until

from smoot_explore import bundled_runs, simulate_k
from smoot_explore.slides import accuracy, frozen, masked
from smoot_explore.slides.course import COURSE
from smoot_explore.slides.deck import Deck
from smoot_explore.slides.projected import Projected
from smoot_explore.views.live import same_layers

NAMES = [slide.notebook for slide in COURSE]


def drawn(picture, **moved):
    values = {name: control.value for name, control in picture.controls.items()} | moved
    return picture.sketches(**values)


def numbers(sketch):
    return [(layer.label, [np.asarray(part).tolist() for part in layer.numbers]) for layer in sketch.layers]


def test_every_notebook_has_a_slide_with_its_title():
    titles = {}
    for path in sorted((browser.ROOT / "notebooks").glob("*.ipynb")):
        first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
        titles[path.stem] = first.splitlines()[0].removeprefix("# ")
    assert {slide.notebook: slide.title for slide in COURSE} == titles


@pytest.mark.parametrize("slide", COURSE, ids=NAMES)
def test_a_slide_asks_one_question_that_fits_in_two_lines(slide):
    assert "?" in slide.question or "before you answer" in slide.question
    assert len(slide.question) <= 100


@pytest.mark.parametrize("slide", COURSE, ids=NAMES)
def test_each_control_of_a_slide_moves_its_picture_without_building_it_anew(slide):
    picture = slide.picture()
    assert 1 <= len(picture.controls) <= 3
    before = drawn(picture)
    for name, control in picture.controls.items():
        options = getattr(control, "options", None)
        values = list(
            options.values() if isinstance(options, dict) else options or [control.start, control.end]
        )
        after = drawn(picture, **{name: next(value for value in values if value != control.value)})
        assert all(same_layers(a, b) for a, b in zip(before, after, strict=True)), name
        assert [numbers(sketch) for sketch in before] != [numbers(sketch) for sketch in after], name


def test_where_nothing_is_masked_the_output_does_not_move_and_sgt_moves_it_less():
    _, lines = drawn(masked.kl_of_masking())
    by_label = {layer.label: layer.numbers[1] for layer in lines.layers}
    assert by_label["traditional"][0] == pytest.approx(0, abs=1e-6)
    assert by_label["SGT"][0] == pytest.approx(0, abs=1e-6)
    assert (by_label["SGT"][1:] < by_label["traditional"][1:]).all()


def test_smoots_rule_leads_k_where_equation_4_does_and_the_unsigned_one_only_upwards():
    landscape = bundled_runs()[-1].landscape()
    expected = simulate_k(
        landscape, alpha=30, beta=frozen.BETA, k_init=0.5, k_min=0.2, k_max=0.8, epochs=frozen.EPOCHS
    )
    np.testing.assert_allclose(frozen.followed("α·Δ, as SMOOT", 30), expected, rtol=1e-6)
    assert (np.diff(frozen.followed("α·|Δ|", 30), axis=0) >= 0).all()


def test_the_band_of_a_measured_accuracy_is_that_of_counting():
    low, high, mean = accuracy._spread("traditional")
    share, n = mean / 100, accuracy._SIZES
    half = NormalDist().inv_cdf(0.95) * 100 * np.sqrt(share * (1 - share) / n)
    many = n >= 100
    np.testing.assert_allclose(low[many], (mean - half)[many], atol=1.1)
    np.testing.assert_allclose(high[many], (mean + half)[many], atol=1.1)


def test_a_deck_ends_at_both_sides_and_an_address_beyond_them_is_the_nearest_slide():
    deck = Deck(COURSE[3:5], number=99)
    assert deck.number == 2
    deck.turn(1)
    assert deck.number == 2
    deck.turn(-1)
    deck.turn(-1)
    assert deck.number == deck.turning.number == 1


def test_words_in_a_grid_of_pictures_grow_with_its_cells():
    shown = Projected(drawn(COURSE[0].picture())[0])
    shown.pane.get_root()
    (plot,) = shown.plots
    codes = [callback.code for several in plot.state.js_property_callbacks.values() for callback in several]
    assert any("Math.min(99," in code and "cell / 7" in code for code in codes)
    assert not any("Math.min(11.5," in code for code in codes)


@pytest.fixture(scope="module")
def address():
    """The address of a server of the slides."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "panel",
        "serve",
        browser.ROOT / "apps" / "slides.py",
        "--port",
        str(port),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        until(lambda: answers(port), 90)
        yield f"http://127.0.0.1:{port}/slides"
    finally:
        process.kill()
        process.wait()


def answers(port):
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def test_slides_are_turned_their_sliders_move_pictures_and_nothing_is_asked_of_the_internet(address):
    if browser.CHROMIUM is None:
        pytest.skip("needs Chromium")
    with browser.chromium() as chromium:
        visitor = browser.Visitor(chromium, address, viewport={"width": 1280, "height": 720})
        page = visitor.page
        page.goto(f"{address}?slide=4")
        visitor.wait_until(
            lambda: page.evaluate("window.Bokeh?.documents?.length") and visitor.data("landscape", "Mean")
        )
        before = visitor.settled(lambda: visitor.data("landscape", "Mean"))
        visitor.move(visitor.slider("β"), 3, "ArrowLeft")  # moves the slider, and does not turn
        visitor.wait_until(lambda: visitor.data("landscape", "Mean") != before)
        assert "slide=4" in page.url
        visitor.button("Next slide").click()
        visitor.wait_until(lambda: "slide=5" in page.url and visitor.data("accuracy-drop", "SMOOT"))
        page.keyboard.press("ArrowLeft")
        visitor.wait_until(lambda: "slide=4" in page.url)
        page.keyboard.press("PageDown")
        visitor.wait_until(lambda: "slide=5" in page.url)
        root = "document.documentElement"
        assert page.evaluate(f"[{root}.scrollHeight <= innerHeight, {root}.scrollWidth <= innerWidth]") == [
            True,
            True,
        ]
        visitor.close()
    assert (visitor.outside, visitor.errors) == ([], [])
