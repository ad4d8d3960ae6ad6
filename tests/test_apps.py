"""The small pages in apps/, served together as docs/teaching.md says."""

import http.client
import re

import pytest

pytest.importorskip("panel_material_ui")

import browser

APPS = sorted((browser.ROOT / "apps").glob("*.py"))


@pytest.fixture(scope="module")
def address():
    """The address of a server of all apps."""
    with browser.serving_apps(*APPS) as url:
        yield url


def test_the_small_apps_are_short_enough_to_be_read_in_a_lecture():
    assert [app.stem for app in APPS] == ["explorer", "k_landscape", "masking", "slides"]
    assert all(len(app.read_text().splitlines()) <= 40 for app in APPS)


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.stem)
def test_every_app_answers_with_a_page_that_loads_all_from_the_server(address, app):
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
    connection.request("GET", f"/{app.stem}")
    answer = connection.getresponse()
    page = answer.read().decode()
    connection.close()
    assert answer.status == 200
    assert re.findall(r'(?:src|rel="stylesheet" href)="(https?://[^"]*)', page) == []


@pytest.fixture(scope="module")
def chromium():
    if browser.CHROMIUM is None:
        pytest.skip("needs Chromium")
    with browser.chromium() as one:
        yield one


@pytest.mark.parametrize(
    ("app", "which", "figure", "role"),
    [
        ("masking", 1, "masking-curve", "Marker"), ("k_landscape", 1, "cobweb", "SMOOT"),
        ("k_landscape", 2, "landscape", "Mean"),
    ],
)  # fmt: skip
def test_a_slider_moves_the_numbers_of_a_picture_and_nothing_is_asked_of_the_internet(
    chromium, address, app, which, figure, role
):
    visitor = browser.Visitor(chromium, f"{address}/{app}")
    visitor.page.goto(visitor.address)
    visitor.page.wait_for_function("window.Bokeh?.documents?.[0] != null")
    visitor.wait_until(lambda: visitor.data(figure, role))
    before = visitor.settled(lambda: visitor.data(figure, role))
    visitor.move(visitor.page.locator(".noUi-handle").nth(which), 5)
    visitor.wait_until(lambda: visitor.data(figure, role) != before)
    assert visitor.outside == []
    assert visitor.errors == []
    visitor.close()
