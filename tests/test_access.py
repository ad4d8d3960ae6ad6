"""The explorer for those who use no mouse, see little of it, or have a small screen."""

import os
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import CHROMIUM, Visitor, chromium, serving

if CHROMIUM is None:
    if os.environ.get("SMOOT_EXPLORE_REQUIRE_BROWSER"):
        pytest.fail("there is no Chromium, and SMOOT_EXPLORE_REQUIRE_BROWSER asks for it", pytrace=False)
    pytest.skip("needs Chromium: apt-get install chromium", allow_module_level=True)

pytestmark = pytest.mark.flaky(reruns=1)  # told in the summary; why: docs/why.md

TABS = ("Train", "Image", "Classes", "What if", "Compare", "Class")
AXE = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
    "preload": False,
}
FOCUSED = (
    "let e = document.activeElement; while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement; "
)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with serving("--runs", str(tmp_path_factory.mktemp("runs"))) as url:
        yield url


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def visit(address, browser):
    visitors = []

    def open_page(query: str = "", size: tuple[int, int] = (1280, 800), **context) -> Visitor:
        visitors.append(Visitor(browser, address, **context))
        visitors[-1].page.set_viewport_size({"width": size[0], "height": size[1]})
        return visitors[-1].open(query)

    yield open_page
    for visitor in visitors:
        visitor.close()
    assert [error for visitor in visitors for error in visitor.errors] == []


def focus(visitor: Visitor, figure: str) -> None:
    """Focus a figure by keyboard, else no ring is wanted; a page that is still being laid out takes it away."""

    def focused() -> bool:
        canvas = (
            f"Bokeh.index.find_one(Bokeh.documents[0].get_model_by_name('{figure}')).canvas_view.events_el"
        )
        visitor.page.evaluate(f"{canvas}.focus()")
        for key in ("Shift+Tab", "Tab"):
            visitor.page.keyboard.press(key)
        return visitor.page.evaluate(f"() => {{ {FOCUSED} return e === {canvas} }}")

    visitor.wait_until(focused)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_tab(visit, scheme):
    visitor = visit(color_scheme=scheme)
    for tab in TABS:
        visitor.tab(tab).page.wait_for_timeout(1000)
        found = Axe().run(visitor.page, options=AXE).response["violations"]
        told = [
            (one["id"], node["html"][:200], node["failureSummary"])
            for one in found
            for node in one["nodes"]
            if node["impact"] in ("serious", "critical")
        ]
        assert told == [], tab


def test_the_canvas_of_each_picture_says_what_it_shows(visit):
    visitor = visit()
    for tab in TABS:
        visitor.tab(tab).page.wait_for_timeout(500)
        names = [
            canvas.get_attribute("aria-label")
            for canvas in visitor.page.locator(".bk-events").locator("visible=true").all()
        ]
        assert names or tab == "Class", tab  # of which no training is told yet
        assert all(name and len(name) > 2 for name in names), (tab, names)
    visitor.tab("Image")
    curve = visitor.page.get_by_role("img", name="Masking curve: probability of")
    visitor.wait_until(lambda: curve.count() == 1)  # figures are drawn one after the other


def test_both_handles_of_the_bounds_have_a_name_of_their_own(visit):
    visitor = visit()
    for handle in ("lowest", "highest"):
        assert visitor.slider(f"Bounds of k (share): {handle}").count() == 1


def test_arrow_keys_move_the_frame_of_a_gallery_and_of_the_strip_and_enter_opens(visit):
    visitor = visit().tab("Image")
    frame = lambda figure: [round(side[0]) for side in visitor.data(figure, "Frame").values()][:4]  # noqa: E731
    visitor.wait_until(lambda: visitor.data("thumbnails", "Frame").get("left"))
    focus(visitor, "thumbnails")
    assert visitor.page.evaluate(f"() => {{ {FOCUSED} return getComputedStyle(e).outlineWidth }}") == "2px"
    for key, sides in (
        ("ArrowRight", [1, -1, 2, 0]),
        ("ArrowDown", [1, -2, 2, -1]),
        ("ArrowLeft", [0, -2, 1, -1]),
    ):
        visitor.page.keyboard.press(key)
        visitor.wait_until(lambda sides=sides: frame("thumbnails") == sides)
    visitor.tab("Train")
    visitor.wait_until(lambda: visitor.data("watched", "Frame").get("left"))
    focus(visitor, "watched")
    visitor.page.keyboard.press("ArrowRight")
    visitor.wait_until(lambda: frame("watched") == [1, -3, 2, 0])
    visitor.page.keyboard.press("Enter")
    chosen = visitor.page.get_by_role("tab", selected=True)
    visitor.wait_until(lambda: chosen.inner_text() == "Image")


def test_every_stop_of_the_tab_key_has_a_name_and_a_ring(visit):
    visitor = visit()
    for tab in ("Train", "Image", "What if"):
        visitor.tab(tab).page.evaluate("document.activeElement?.blur()")
        for _ in range(60):
            visitor.page.keyboard.press("Tab")
            tag, name, ring = visitor.page.evaluate(
                f"""() => {{ {FOCUSED}
                    const named = e.ariaLabel || e.labels?.[0]?.innerText || e.innerText
                    const around = e.closest(".MuiSlider-thumb, .MuiOutlinedInput-root, .MuiSwitch-switchBase") ?? e
                    const line = around.querySelector(".MuiOutlinedInput-notchedOutline") ?? around
                    const style = getComputedStyle(line)
                    const ring = (of) => parseFloat(of.outlineWidth) * (of.outlineStyle != "none")
                    return [e.tagName, (named || "").trim(),
                            Math.max(ring(getComputedStyle(e)), ring(style),
                                     line === around ? 0 : parseFloat(style.borderTopWidth))] }}"""
            )
            if tag == "BODY":
                break
            assert name, (tab, tag)
            assert ring >= 2, (tab, name)


@pytest.mark.parametrize("size", [(390, 844), (640, 400), (700, 800), (900, 800), (1100, 800)])
def test_on_a_small_page_nothing_scrolls_sideways_and_run_and_epoch_are_in_sight(visit, size):
    width, height = size
    visitor = visit("?tab=image", size=size).tab("Image")
    visitor.wait_until(lambda: visitor.data("image", "Pixels").get("image"))
    page = visitor.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for part in (
        page.get_by_role("combobox", name=re.compile("^Run")), visitor.slider("Epoch"),
        page.get_by_label("Toggle theme"), visitor.button("Train"),
    ):  # fmt: skip
        box = part.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width + 1
        assert box["y"] + box["height"] <= height
    drawer = page.get_by_role("combobox", name="Fill").locator("visible=true")
    assert (drawer.count() > 0) == (width >= 700)  # closed where it would cover the page
    page.get_by_role("tab", name="Compare", exact=True).click()
    visitor.tab("Compare")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
