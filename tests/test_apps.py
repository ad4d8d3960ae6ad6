"""The small pages in apps/, served together as docs/teaching.md says."""

import http.client
import re
import socket
import subprocess
import sys

import pytest

pytest.importorskip("panel_material_ui")

import browser

APPS = sorted((browser.ROOT / "apps").glob("*.py"))


@pytest.fixture(scope="module")
def address():
    """The address of a server of all apps."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    command = [sys.executable, "-m", "panel", "serve", *APPS, "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert any("is running" in line or "Starting Bokeh server" in line for line in process.stderr or ())
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def test_the_small_apps_are_short_enough_to_be_read_in_a_lecture():
    assert [app.stem for app in APPS] == ["explorer", "k_landscape", "masking"]
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
    ("app", "which", "figure"),
    [("masking", 1, "masking-curve"), ("k_landscape", 1, "cobweb"), ("k_landscape", 2, "landscape")],
)
def test_a_slider_moves_the_numbers_of_a_picture_and_nothing_is_asked_of_the_internet(
    chromium, address, app, which, figure
):
    visitor = browser.Visitor(chromium, f"{address}/{app}")
    visitor.page.goto(visitor.address)

    def shown():
        renderers = visitor.page.evaluate(
            "(name) => window.Bokeh?.documents?.[0]?.get_model_by_name(name)?.renderers.length ?? 0", figure
        )
        return [visitor.data(figure, i) for i in range(renderers)]

    visitor.wait_until(shown)
    before = visitor.settled(shown)
    visitor.move(visitor.page.locator(".noUi-handle").nth(which), 5)
    visitor.wait_until(lambda: shown() != before)
    assert visitor.outside == []
    assert visitor.errors == []
    visitor.close()
