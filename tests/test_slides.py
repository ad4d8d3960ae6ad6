"""The slides of the course: what they show without a browser, and one walk through them in a real one."""

import json
from statistics import NormalDist

import numpy as np
import pytest

pytest.importorskip("panel_material_ui")

import browser
import panel as pn
from bokeh.document import Document

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


def test_masking_can_make_the_label_of_the_image_that_is_shown_first_much_more_probable():
    _, line = drawn(masked.one_curve())
    (shown,) = (layer.numbers[1] for layer in line.layers if layer.kind == "Curve" and len(layer.numbers[0]))
    assert shown.max() > shown[0] + 0.5


@pytest.mark.parametrize("picture", [masked.one_curve, masked.kl_of_masking])
def test_a_marker_at_0_is_inside_its_plot(picture):
    low = {name: control.start for name, control in picture().controls.items() if name in ("k", "masked")}
    _, plot = drawn(picture(), **low)
    for axis, at in ((plot.x, 0), (plot.y, 0)):
        assert axis.range[0] < at


def test_notes_of_slides_that_fill_with_random_values_say_so_and_the_first_masks_few_pixels():
    for number in (0, 2, 5):
        assert "random values between the lowest and the highest of those that remain" in COURSE[number].note
    assert COURSE[0].picture().controls["k"].value == 100


@pytest.mark.parametrize("slide", COURSE, ids=NAMES)
def test_a_note_fits_in_two_lines(slide):
    assert len(slide.note) <= 255


def test_k_of_the_image_that_is_shown_first_comes_to_rest_and_the_image_has_one_name():
    picture = frozen.where_k_settles()
    change, _ = drawn(picture)
    (way,) = (layer.numbers[0] for layer in change.layers if layer.role == "Way")
    assert np.ptp(way[-10:]) < 0.5
    assert np.ptp(way) > 50
    assert change.title == f"Training image {picture.controls['image'].value} (coat)"
    assert (change.x.label, change.x.unit) == ("masked pixels k", None)


def test_not_even_a_thousand_test_images_tell_the_two_trainings_apart():
    assert "Even at 1,000 the bands overlap." in next(s.note for s in COURSE if s.notebook.startswith("06"))
    (better, worse) = (accuracy._spread(name) for name in ("traditional", "smoot"))
    assert better[2] > worse[2]
    assert better[0][-1] < worse[1][-1]


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


def test_a_slides_heading_is_shown_before_its_picture_is_made(monkeypatch):
    document = Document()
    monkeypatch.setattr(type(pn.state), "curdoc", property(lambda state: document))
    deck = Deck(COURSE[3:6])
    deck.turn(1)
    assert COURSE[4].title in deck._title.object
    assert deck._stage[0].object == "Computing …"
    assert not deck._made
    for later in document.session_callbacks:
        later.callback()
    assert list(deck._made) == [2]  # the first was left before it was made
    assert deck._stage[0] is deck._made[2]


@pytest.mark.parametrize("slide", COURSE, ids=NAMES)
def test_names_of_rows_in_large_letters_are_not_cut(slide):
    letter = 0.55 / 5.5  # of a cell
    for sketch in drawn(slide.picture()):
        for names in (layer.numbers[2] for layer in sketch.layers if layer.role == "Name"):
            longest = max((len(line) for name in names for line in name.split("\n")), default=0)
            assert -sketch.x.range[0] >= letter * longest + 0.05 * bool(names)


def test_words_in_a_grid_of_pictures_grow_with_its_cells():
    shown = Projected(drawn(COURSE[0].picture())[0])
    shown.pane.get_root()
    (plot,) = shown.plots
    codes = [callback.code for several in plot.state.js_property_callbacks.values() for callback in several]
    assert any("innerWidth" in code and "cell / 5.5" in code for code in codes)
    assert not any("Math.min(11.5," in code for code in codes)


@pytest.fixture(scope="module")
def address():
    """The address of a server of the slides."""
    with browser.serving_apps(browser.ROOT / "apps" / "slides.py") as url:
        yield f"{url}/slides"


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
        track = page.locator(".MuiSlider-root").nth(1)
        track.click()
        page.wait_for_timeout(300)
        page.keyboard.press("ArrowRight")  # turns: a click leaves the slider
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
