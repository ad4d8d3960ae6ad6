"""What a visitor sees when the server is silent, lost or ended, and when a training or a file is too much for it."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
from browser import ROOT, Visitor
from PIL import Image

pytestmark = pytest.mark.flaky(reruns=1)

SILENT, STOPPED = "The server does not answer", "The explorer was stopped on its computer"
SECONDS_TO_TELL = 3


class Computer:
    """Serves the explorer at one port, again and again."""

    def __init__(self, folder, *options):
        self.folder, self.options, self.process = folder, options, None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}/explorer"

    def start(self):
        command = [sys.executable, "-m", "smoot_explore.cli", "serve", "--port", str(self.port)]
        command += ["--runs", str(self.folder / "runs"), "--max-trainings", "1", *self.options]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
        with open(self.folder / "errors", "a") as errors:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            )
        assert "is at" in self.process.stdout.readline(), self.errors

    @property
    def errors(self):
        return (self.folder / "errors").read_text()

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        if self.process is not None:
            self.process.communicate()


@pytest.fixture
def computer(tmp_path):
    """Gives a server that is started with some options."""
    made = []

    def start(*options):
        made.append(Computer(tmp_path, *options))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.end()


def takes_input(visitor):
    return visitor.page.evaluate("![...document.body.children].some(part => part.inert)")


def told_within(visitor, words):
    """Seconds until the page says something."""
    began = time.monotonic()
    visitor.wait_until(lambda: words in visitor.text(), 30)
    return time.monotonic() - began


def test_a_server_that_is_silent_or_lost_is_told_of_and_the_page_comes_back_by_itself(computer, browser):
    server = computer()
    visitor = Visitor(browser, server.address).open("?images=600")
    server.process.send_signal(signal.SIGSTOP)
    assert told_within(visitor, SILENT) < SECONDS_TO_TELL + 0.5  # of reading the page
    assert not takes_input(visitor)
    server.process.send_signal(signal.SIGCONT)
    visitor.wait_until(lambda: SILENT not in visitor.text() and takes_input(visitor), 30)
    visitor.move(visitor.slider("α"), 2)  # it is the page as it was
    visitor.wait_until(lambda: "alpha=12" in visitor.page.url)
    server.process.kill()
    server.process.wait()
    assert told_within(visitor, SILENT) < SECONDS_TO_TELL + 0.5
    assert not takes_input(visitor)
    with visitor.page.expect_navigation():  # it loads itself again
        server.start()
    visitor.wait_until(lambda: "Ready" in visitor.text(), 120)
    assert "images=600" in visitor.page.url
    assert "alpha=12" in visitor.page.url
    assert visitor.outside == []


def test_a_page_that_lost_its_connection_alone_finds_its_training_again(computer, browser):
    server = computer()
    visitor = Visitor(browser, server.address)
    visitor.page.add_init_script(
        """window.sockets = []
        window.WebSocket = class extends WebSocket { constructor(...given) { super(...given); sockets.push(this) } }"""
    )
    visitor.open("?images=500&epochs=400")
    visitor.button("Train").click()
    visitor.wait_until(lambda: "images/s" in visitor.text(), 120)
    with visitor.page.expect_navigation():
        visitor.page.evaluate("sockets.at(-1).close()")
    visitor.wait_until(lambda: "images/s" in visitor.text(), 60)


def test_an_ended_server_is_told_apart_from_a_lost_one_and_exits_with_0(computer, browser):
    server = computer()
    visitor = Visitor(browser, server.address).open()
    server.process.send_signal(signal.SIGINT)
    assert told_within(visitor, STOPPED) < SECONDS_TO_TELL + 0.5
    assert server.process.wait(20) == 0
    assert not takes_input(visitor)
    assert visitor.page.get_by_role("alert").filter(has_text=STOPPED).count() == 1


def test_a_page_that_is_loaded_again_says_that_it_looks_for_its_training(computer, browser):
    server = computer()
    visitor = Visitor(browser, server.address).open("?images=500&epochs=400")
    visitor.button("Train").click()
    visitor.wait_until(lambda: "images/s" in visitor.text(), 120)
    visitor.page.add_init_script(
        """window.said = new Set()
        const read = (node) => {
            if (node.nodeType === Node.TEXT_NODE && /^(Ready|Looking for your training)/.test(node.textContent))
                window.said.add(node.textContent)
            if (node.shadowRoot) read(node.shadowRoot)
            node.childNodes.forEach(read)
        }
        setInterval(() => document.body && read(document.body), 20)"""
    )
    visitor.page.reload()
    visitor.wait_until(lambda: "images/s" in visitor.text(), 60)
    assert visitor.page.evaluate("[...window.said]") == ["Looking for your training …"]


def memory(process):
    """Bytes of a process and all that it has started."""
    total = 0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += each.memory_info().rss
    return total


def test_a_model_that_is_too_large_is_stopped_at_once_and_keeps_nobody_waiting(computer, browser):
    server = computer("--model", "slow_model:slow")
    process = psutil.Process(server.process.pid)
    visitor = Visitor(browser, server.address).open("?images=500&epochs=1&model=cnn")
    visitor.button("Train").click()  # the workers come up
    visitor.wait_until(lambda: "Finished" in visitor.text(), 180)
    before = memory(process)
    visitor.open("?images=500&epochs=1&model=slow")
    visitor.wait_until(lambda: visitor.button("Train").is_enabled())
    visitor.button("Train").click()
    visitor.wait_until(lambda: memory(process) > before + 1_000_000_000, 120)  # it is at its step
    visitor.button("Stop").click()
    assert told_within(visitor, "Stopped") < 2.5
    visitor.wait_until(lambda: memory(process) < before + 300_000_000, 20)
    other = Visitor(browser, server.address).open("?images=500&epochs=1")
    other.button("Train").click()
    other.wait_until(lambda: "Finished" in other.text(), 60)
    other.close()
    visitor.button("Train").click()
    visitor.wait_until(lambda: memory(process) > before + 1_000_000_000, 120)
    server.process.send_signal(signal.SIGINT)  # in the middle of a step
    assert server.process.wait(20) == 0
    assert "terminate called" not in server.errors
    assert "Traceback" not in server.errors


@pytest.fixture
def files(tmp_path):
    """Pictures in files."""
    picture = Image.new("L", (28, 28), 255)
    picture.save(tmp_path / "white.tif")
    (tmp_path / "drawing.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    (tmp_path / "large.png").write_bytes(bytes(6_000_000))
    return tmp_path


def test_what_is_wrong_with_a_file_is_said_and_nothing_stays_of_it(computer, browser, files):
    server = computer()
    visitor = Visitor(browser, server.address).open("?tab=image").tab("Image")
    chooser = visitor.page.locator("input[type=file]").first
    chooser.set_input_files(files / "large.png")
    visitor.wait_until(lambda: "large.png: the file has 6.0 MB, at most 5 MB are accepted" in visitor.text())
    chooser.set_input_files(files / "drawing.svg")
    visitor.wait_until(lambda: "drawing.svg: an SVG drawing has no pixels" in visitor.text())
    chooser.set_input_files(files / "white.tif")
    visitor.wait_until(
        lambda: re.search(r"white\.tif\. Its background is lighter .* is 255 of 255", visitor.text())
    )
    chooser.set_input_files(files / "drawing.svg")
    visitor.wait_until(lambda: "white.tif" not in visitor.text())
    assert visitor.button("Upload a picture").count() == 1
    assert server.errors == ""
    assert visitor.errors == []


def test_a_tab_whose_run_is_not_open_yet_has_its_places_reserved(computer, browser):
    server = computer()
    visitor = Visitor(browser, server.address)
    visitor.page.goto(f"{server.address}?tab=image")
    visitor.wait_until(lambda: "Opening SMOOT, bundled …" in visitor.text())
    head = visitor.page.get_by_role("combobox", name="Run").first.bounding_box()
    visitor.wait_until(lambda: visitor.page.get_by_role("button", name="Upload").count())
    assert visitor.page.get_by_role("combobox", name="Run").first.bounding_box() == head
