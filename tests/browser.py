"""A real browser on a real server, for the tests of the explorer and for its screenshots."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Locator, Page, sync_playwright
from waiting import until

ROOT = Path(__file__).parent.parent
CHROMIUM = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
VIEWPORT = {"width": 1280, "height": 800}
SECONDS = 60_000  # milliseconds, for whatever takes longest on a busy machine


@contextmanager
def serving(*options: str, environment: dict[str, str] | None = None) -> Iterator[str]:
    """The explorer, served; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "smoot_explore.cli", "serve", "--port", str(port), *options]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
    )
    try:
        for line in process.stdout or ():
            if found := re.search(r"http://\S+", line):
                yield found.group()
                break
        else:
            raise RuntimeError(f"the server ended with {process.wait()} before it served")
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def serving_apps(*apps: Path) -> Iterator[str]:
    """Pages of ``panel serve``; gives the address of their server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "panel", "serve", *apps, "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _answers(port), 90)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Visitor:
    """One visitor's page, which notes every request that leaves this computer and every error."""

    def __init__(self, browser: Browser, address: str, **context: Any) -> None:
        self.address = address
        self.context = browser.new_context(**{"viewport": VIEWPORT} | context)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(SECONDS)
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.page.route("**/*", self._route)
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.errors.append(f"{e}\n{e.stack}"))

    def go(self, query: str = "") -> Visitor:
        """Open the page."""
        self.page.goto(self.address + query)
        self.page.get_by_role("tab", name="Train", exact=True).wait_for()
        return self

    def open(self, query: str = "") -> Visitor:
        """Open the page and wait until it is drawn and takes input."""
        self.go(query)
        self.page.wait_for_function("window.Bokeh?.documents?.[0]?.get_model_by_name('accuracies') != null")
        self.page.locator("canvas").first.wait_for(state="attached")
        self.page.wait_for_function("!document.documentElement.inert")
        return self

    def turn_to(self, button: str, figure: str) -> None:
        """Turn to another picture of a card, and wait for it."""
        self.button(button).click()
        self.page.wait_for_function(f"Bokeh.documents[0].get_model_by_name('{figure}') != null")

    def tab(self, name: str) -> Visitor:
        """Go to a tab and wait for its pictures."""
        figure = {
            "Train": "accuracies", "Image": "image", "Classes": "classes", "What if": "what-if",
            "Compare": "accuracy-drop", "Class": None,  # which may have nothing to draw
        }[name]  # fmt: skip
        self.page.get_by_role("tab", name=name, exact=True).click()
        if figure is None:
            self.page.get_by_text("Trainings of this class").locator("visible=true").first.wait_for()
            return self
        return self.drawn(figure)

    def drawn(self, figure: str) -> Visitor:
        """Wait until a figure is drawn: those of a tab come one after the other."""
        self.page.wait_for_function(f"Bokeh.documents[0].get_model_by_name('{figure}') != null")
        self.page.wait_for_function(
            f"Bokeh.index.find_one(Bokeh.documents[0].get_model_by_name('{figure}')) != null"
        )
        return self

    def data(self, figure: str, role: str) -> dict[str, list]:
        """What a figure draws: the data of the layer of a role, as plain lists; nothing where there is none."""
        return self.page.evaluate(
            """([name, role]) => {
                const model = Bokeh.documents[0].get_model_by_name(name)
                if (model == null) return {}
                const plain = (x) => typeof x === "number" || typeof x === "string" || x == null ? x
                    : Array.from(x.array ?? x, plain)
                const layer = model.renderers.find(renderer => renderer.name == role)
                if (layer == null) return {}
                const data = layer.data_source.data
                const columns = data instanceof Map ? [...data.entries()] : Object.entries(data)
                return Object.fromEntries(columns.map(([k, v]) => [k, plain(v)]))
            }""",
            [figure, role],
        )

    def wait_until(self, condition: Any, seconds: float = 60) -> Any:
        """Ask again and again until the answer is true; gives the answer."""
        for _ in range(int(seconds * 10)):
            if answer := condition():
                return answer
            self.page.wait_for_timeout(100)
        raise AssertionError(f"still not so after {seconds} s")

    def settled(self, reading: Callable[[], Any]) -> Any:
        """A reading that stays the same for 300 ms."""
        value, before = reading(), None
        for _ in range(200):
            if value == before:
                return value
            self.page.wait_for_timeout(300)
            value, before = reading(), value
        raise AssertionError("it does not come to rest")

    def slider(self, name: str, which: int = 0) -> Locator:
        """A slider by the start of its label, among those that are seen."""
        pattern = re.compile("^" + re.escape(name))
        return self.page.get_by_role("slider", name=pattern).locator("visible=true").nth(which)

    def move(self, slider: Locator, keys: int = 1, key: str = "ArrowRight") -> None:
        """Move a slider by the keyboard; each press takes the focus, which a page still being drawn takes away."""
        for _ in range(keys):
            slider.press(key)

    def move_until(self, slider: Locator, key: str, changed: Callable[[], Any]) -> None:
        """Move a slider until something has changed: a page draws its controls once more, and forgets a press then."""

        def moves() -> Any:
            self.move(slider, 2, key)
            self.page.wait_for_timeout(500)
            return changed()

        self.wait_until(moves)

    def button(self, name: str) -> Locator:
        """A button that is seen."""
        return self.page.get_by_role("button", name=name, exact=True).locator("visible=true").first

    def choose(self, label: str, option: str) -> None:
        """Take an option of a list that is seen."""
        self.page.get_by_role("combobox", name=re.compile(label)).locator("visible=true").first.click()
        self.page.get_by_text(option, exact=True).last.click()

    def text(self) -> str:
        """All that can be read on the page, in the shadow trees too."""
        return self.page.evaluate(
            """() => {
                const texts = []
                const walk = (node) => {
                    if (node.nodeType === Node.TEXT_NODE) { texts.push(node.textContent); return }
                    if (node.nodeType === Node.ELEMENT_NODE) {
                        if (["STYLE", "SCRIPT"].includes(node.tagName)) return
                        if (getComputedStyle(node).display === "none") return
                        if (node.shadowRoot) walk(node.shadowRoot)
                    }
                    node.childNodes.forEach(walk)
                }
                walk(document.body)
                return texts.join(" ").replace(/\\s+/g, " ").replace(/ ([:,])/g, "$1")
            }"""
        )

    def click_in(self, figure: str, x: float, y: float) -> None:
        """Click at a place in a figure, in its own coordinates, once the page's layout has come to rest."""
        self.page.mouse.click(*self.settled(lambda: self.place_in(figure, x, y)))

    def hover(self, figure: str, x: float, y: float) -> None:
        """Move the pointer to a place in a figure, in its own coordinates."""
        self.page.mouse.move(*self.settled(lambda: self.place_in(figure, x, y)))

    def drag_in(self, figure: str, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw a box in a figure, from one place in its own coordinates to another."""
        self.page.mouse.move(*self.settled(lambda: self.place_in(figure, *start)))
        self.page.mouse.down()
        self.page.mouse.move(*self.place_in(figure, *end), steps=8)
        self.page.mouse.up()

    def place_in(self, figure: str, x: float, y: float) -> list[float]:
        """Where a place in a figure, in its own coordinates, is on the screen: pixels."""
        return self.drawn(figure).page.evaluate(
            """([name, x, y]) => {
                const view = Bokeh.index.find_one(Bokeh.documents[0].get_model_by_name(name))
                view.canvas_view.el.scrollIntoView({block: "nearest"})
                const box = view.canvas_view.el.getBoundingClientRect()
                const frame = view.frame
                return [box.x + frame.x_scale.compute(x), box.y + frame.y_scale.compute(y)]
            }""",
            [figure, x, y],
        )

    def close(self) -> None:
        """Leave."""
        self.context.close()

    def _route(self, route: Any) -> None:
        url = route.request.url
        if url.startswith(("data:", "blob:", self.address.rsplit("/", 1)[0])):
            route.continue_()
        else:
            self.outside.append(url)
            route.abort()
