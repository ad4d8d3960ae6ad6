"""What keeps a served page's event loop for more than 20 ms, while a visitor clicks through the tabs.

``python -m benchmarks.lag [ROUNDS]``: the server in a thread of this process, Chromium as its visitor. Every callback
of the loop is timed. A second thread looks, each few milliseconds, at where a long one is.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from smoot_explore.explorer.explore import Explorer, explore

LONG_SECONDS, LOOK_SECONDS = 0.02, 0.005
CLICKS = ("Image", "Classes", "What if", "Compare", "Class", "Train")  # tabs
_OWN = "/smoot_explore/"


class Watch:
    """Times the callbacks of the loop of one thread; ``long`` has the seconds of each long one, by where it was."""

    def __init__(self, thread: str) -> None:
        self.long: dict[str, list[float]] = defaultdict(list)
        self.doing = ""  # the visitor's present step
        self._thread, self._began, self._seen = thread, 0.0, Counter[str]()
        self._id: int | None = None
        plain = asyncio.Handle._run

        def timed(handle: Any) -> Any:
            if threading.current_thread().name != thread:
                return plain(handle)
            self._id, self._began = threading.get_ident(), time.perf_counter()
            try:
                return plain(handle)
            finally:
                seconds, self._began = time.perf_counter() - self._began, 0.0
                if seconds > LONG_SECONDS:
                    places = self._seen.most_common(1)
                    self.long[f"{self.doing}: {places[0][0] if places else '?'}"].append(seconds)
                self._seen = Counter()

        asyncio.Handle._run = timed  # type: ignore[assignment, method-assign]
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            frame = sys._current_frames().get(self._id or 0)
            if self._began and frame is not None:
                self._seen[_place(frame)] += 1


def _place(frame: FrameType | None) -> str:
    """The two innermost functions of ours, the outer one first; else what is outermost."""
    own, names = [], []
    while frame is not None:
        code = frame.f_code
        name = f"{Path(code.co_filename).stem}.{code.co_qualname}"
        names.append(name)
        if _OWN in code.co_filename:
            own.append(name)
        frame = frame.f_back
    return " > ".join(own[1::-1]) or " > ".join(names[2::-1])


def click_through(explorer: Explorer, watch: Watch, rounds: int) -> None:
    """What a visitor does: arrive, see each tab, train, upload, choose other runs."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for number in range(1, rounds + 1):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(30_000)
            watch.doing = f"{number}: arriving"
            page.goto(explorer.url)
            page.wait_for_function("window.Bokeh?.documents?.[0] && !document.documentElement.inert")
            page.wait_for_timeout(3000)
            for again in ("", " again"):
                for tab in CLICKS:
                    watch.doing = f"{number}: {tab}{again}"
                    page.get_by_role("tab", name=tab, exact=True).click()
                    page.wait_for_timeout(2000)
            watch.doing = f"{number}: training"
            page.get_by_role("button", name="Train", exact=True).click()
            page.wait_for_timeout(20_000)
            page.get_by_role("button", name="Stop", exact=True).click()
            page.wait_for_timeout(3000)
            watch.doing = f"{number}: Image, sliders"
            page.get_by_role("tab", name="Image", exact=True).click()
            page.wait_for_timeout(1000)
            page.get_by_role("slider", name="Masked share").locator("visible=true").first.focus()
            for _ in range(10):
                page.keyboard.press("ArrowRight")
                page.wait_for_timeout(200)
            page.close()
        browser.close()


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    watch = Watch("explorer")

    async def served() -> Explorer | None:
        return explore()

    explorer = asyncio.run(served())
    assert explorer is not None
    try:
        click_through(explorer, watch, rounds)
    finally:
        explorer.stop()
    print(f"callbacks of the event loop of more than {1000 * LONG_SECONDS:.0f} ms, {rounds} rounds")
    for place, seconds in sorted(watch.long.items(), key=lambda item: -sum(item[1])):
        milliseconds = 1000 * np.array(seconds)
        print(
            f"{len(seconds):4d} × median {np.median(milliseconds):6.0f} ms, most {milliseconds.max():6.0f}  {place}"
        )


if __name__ == "__main__":
    main()
