"""JupyterLab on a copy of the course, for tests in a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browser import ROOT, Visitor
from playwright.sync_api import Page

COURSE = ROOT / "notebooks"
LONGEST = 120  # seconds, for whatever takes longest on a busy machine


@contextmanager
def jupyterlab(folder: Path, base: str = "", **environment: str) -> Iterator[str]:
    """JupyterLab as ``make lab`` starts it, on the notebooks copied to the folder; gives its address.

    ``base`` is where a hub would have it: ``/user/NAME``.
    """
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}",
            "--IdentityProvider.token=", "--notebook-dir", str(folder / "notebooks"), f"--ServerApp.base_url={base}/",
        ],
        env={**os.environ, "HOME": str(folder), "JUPYTER_CONFIG_DIR": str(folder / "config"), **environment},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}{base}"
    try:
        _wait_for(f"{address}/api/status")
        yield address
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


class Notebook:
    """A notebook that is open in JupyterLab, with its kernel running."""

    settled = Visitor.settled  # of the page

    def __init__(self, page: Page, address: str, name: str) -> None:
        self.page = page
        page.set_default_timeout(1000 * LONGEST)
        self._sources = ["".join(cell["source"]) for cell in json.loads((COURSE / name).read_text())["cells"]]
        page.goto(f"{address}/lab/tree/{name}?reset")
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()

    def run_through(self, words: str) -> None:
        """Run all cells from the first to the one whose code contains the words."""
        n = 1 + next(i for i, source in enumerate(self._sources) if words in source)
        self.page.locator(".jp-Notebook .jp-Cell").first.click()
        self.page.keyboard.press("Escape")
        for _ in range(n):
            self.page.keyboard.press("Shift+Enter")
            self.page.wait_for_timeout(100)

    def cells_to_run(self) -> int:
        """How many cells run or wait for their turn."""
        return self.page.locator(".jp-InputPrompt", has_text="[*]").count()

    def run(self, code: str) -> None:
        """Run some code in a new cell above the last one."""
        self.page.locator(".jp-Notebook .jp-CodeCell").last.locator(".jp-InputPrompt").click()
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("a")
        self.page.keyboard.press("Enter")
        self.page.keyboard.type(code)
        self.page.keyboard.press("Shift+Enter")

    def slider(self, label: str):
        """The handle of a slider, by the start of its label."""
        row = self.page.locator(".widget-inline-hbox", has=self.page.get_by_text(re.compile(f"^{label}")))
        return row.locator(".noUi-handle").first

    def wait_until(self, condition, seconds: float = LONGEST):
        """Ask again and again until the answer is true; gives the answer."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if answer := condition():
                return answer
            self.page.wait_for_timeout(100)
        raise AssertionError(f"still not so after {seconds} s")


def _wait_for(url: str) -> None:
    for _ in range(10 * LONGEST):
        try:
            urllib.request.urlopen(url, timeout=5)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer")
