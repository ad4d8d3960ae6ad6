"""The explorer in a real browser: python -m benchmarks.explorer (or make benchmark-explorer)."""

from __future__ import annotations

import http.client
import json
import os
import platform
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.processes import Process, Server, halted, running
from smoot_explore.compute.device import describe_hardware
from smoot_explore.explorer.settings import ServerSettings

HERE = Path(__file__).parent
CHROMIUM = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
# Where the sliders start, so that each has room for all moves to the right.
ADDRESS = {"masked": 0.05, "whatif_alpha": 10, "whatif_beta": 0.05, "whatif_k_min": 0.02}
PAUSE_MS = 300  # between a picture and the next move
TABS = {"Image": "image", "Images": "classes", "What if": "what-if", "Compare": "accuracy-drop"}


class Amount(NamedTuple):
    """How much of everything is measured."""

    moves: int = 40
    rounds: int = 3
    epochs: int = 10  # the explorer's default
    warm_visits: int = 3
    visits: int = 50
    sessions: int = 30


QUICK = Amount(moves=5, rounds=1, epochs=1, warm_visits=1, visits=3, sessions=3)


class Slider(NamedTuple):
    """A slider, and the tab and model whose picture it moves."""

    tab: str
    label: str
    place: int  # among those of this label, from the end: the sidebar has some of them too


SLIDERS = {
    "Image: masked share of the pixels": Slider("Image", "Masked share of the pixels", -1),
    "What if: α": Slider("What if", "α, speed of k (pixels)", -1),
    "What if: β": Slider("What if", "β, weight of the label", -1),
    "What if: lower bound of k": Slider("What if", "Bounds of k (fraction of the pixels)", -2),
}

# Each key press makes a promise, kept when the picture's data have changed and the frame is drawn.
_WATCH = """name => {
    const model = Bokeh.documents[0].get_model_by_name(name)
    let pressed, drawn
    addEventListener("keydown", event => {
        pressed = event.timeStamp
        window.picture = new Promise(resolve => drawn = resolve)
    }, true)
    for (const renderer of model.renderers)  // whichever layer moves
        renderer.data_source.properties.data.change.connect(() =>
            requestAnimationFrame(() => setTimeout(() => drawn?.(performance.now() - pressed))))
}"""
_PICTURE = "() => Promise.race([picture, new Promise(resolve => setTimeout(() => resolve(null), 5000))])"


def main() -> None:
    """Measure, print and write. ``--quick`` only tries everything out, and writes nothing."""
    from playwright.sync_api import sync_playwright

    quick = "--quick" in sys.argv[1:]
    amount = QUICK if quick else Amount()
    started = time.monotonic()
    with sync_playwright() as playwright:
        results: dict[str, Any] = {"n": amount._asdict()}
        for measure in (sliders, training, memory, thirty):
            # Each its own browser: one that was halted or had many pages is not as quick as before.
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
            results["chromium"] = browser.version
            with running(Server) as server:
                results[measure.__name__] = measure(server, browser, amount)
            browser.close()
            print(measure.__name__, results[measure.__name__], flush=True)
    results["minutes"] = (time.monotonic() - started) / 60
    results["machine"] = (
        f"{describe_hardware(torch.device('cpu'))}, for server and browser together; Python "
        f"{platform.python_version()}, PyTorch {torch.__version__}, Panel {version('panel')}, Bokeh "
        f"{version('bokeh')}, headless Chromium {results['chromium']} without GPU; {datetime.now(UTC):%Y-%m-%d}"
    )
    text = page_text(results)
    print(text)
    if not quick:
        (HERE / "explorer.md").write_text(text, encoding="utf-8")
        (HERE / "explorer.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", "utf-8")


def sliders(server: Server, browser: Any, amount: Amount) -> dict[str, dict[str, dict]]:
    """From key press to drawn picture, with the server idle and with a training in another page."""
    rows = {}
    for row in ("nothing else", "a training in another page"):
        other = None
        if row != "nothing else":
            other = opened(browser, server, epochs=100)
            press(other, "Train")
            told(other, "images/s")
        page = opened(browser, server, **ADDRESS)
        rows[row] = {name: summary(latencies(page, name, amount.moves)) for name in SLIDERS}
        page.close()
        if other:
            press(other, "Stop")
            told(other, "Stopped")
            other.close()
    return rows


def training(server: Server, browser: Any, amount: Amount) -> dict[str, dict[str, list[float]]]:
    """Seconds of the same training: whole and its steps alone, for each round of each variant."""
    variants = ("plain loop", "pool, nobody looking", "page open, browser halted", "page open")
    seconds: dict[str, dict[str, list[float]]] = {name: {"whole": [], "steps": []} for name in variants}
    settings = str(amount.epochs)
    inspector = browser.new_browser_cdp_session()
    with running(Process, "plain", settings) as plain, running(Process, "engine", settings) as pool:
        for i in range(1 + amount.rounds):  # the first one warms up
            page = opened(browser, server, epochs=amount.epochs)
            information = inspector.send("SystemInfo.getProcessInfo")["processInfo"]
            everyone = [process["id"] for process in information]
            measured = []
            for meanwhile in (halted(everyone), None):
                measured.append(server.training_seconds(partial(press, page, "Train"), meanwhile))
                told(page, "Finished")
            page.close()
            server.wait_until_empty()
            measured = [process.training_seconds(process.order) for process in (plain, pool)] + measured
            if i:
                for name, (whole, steps) in zip(variants, measured, strict=True):
                    seconds[name]["whole"].append(whole)
                    seconds[name]["steps"].append(steps)
    return seconds


def memory(server: Server, browser: Any, amount: Amount) -> dict[str, Any]:
    """Resident megabytes of the server after some, and after many opened and closed pages."""
    found: dict[str, Any] = {"trainings": 0}
    for i in range(amount.visits):
        page = opened(browser, server, images=500, epochs=1)
        if i % 10 == 0:
            press(page, "Train")
            told(page, "Finished")
            found["trainings"] += 1
        for tab in TABS:
            show(page, tab)
        if i == 0:
            found["one open"] = server.megabytes()
        page.close()
        if i + 1 == amount.warm_visits:
            server.wait_until_empty()
            found["before"] = server.megabytes()
    found["alive"] = server.wait_until_empty()
    found["after"] = server.megabytes()
    found["for each visit"] = (found["after"] - found["before"]) / (amount.visits - amount.warm_visits)
    return found


def thirty(server: Server, browser: Any, amount: Amount) -> dict[str, Any]:
    """Many pages at once, all of which train: how long, which places, and how one page feels meanwhile."""
    pages = [opened(browser, server, **ADDRESS, images=500, epochs=1) for _ in range(amount.sessions)]
    mine = pages[-1]
    show(mine, "Image")
    show(mine, "What if")
    names = ("Image: masked share of the pixels", "What if: α")
    found: dict[str, Any] = {"megabytes": server.megabytes()}
    with answering(server) as waits:
        start = time.monotonic()
        for page in pages:
            press(page, "Train")
        found["all pressed"] = time.monotonic() - start
        mine.wait_for_timeout(1000)  # until every page has drawn its place
        first = places(pages)
        found["sliders"] = {name: summary(latencies(mine, name, amount.moves // 2)) for name in names}
        found["places"] = [p for p in (first, places(pages)) if p is not None]
        for page in pages:
            told(page, "Finished")
        found["all finished"] = time.monotonic() - start
    found["answers"] = summary(waits)
    for page in pages:
        page.close()
    return found


def places(pages: Sequence[Any], trials: int = 10) -> dict[str, int] | None:
    """How many pages wait, and how many of them say their right place: in the order of the key presses.

    Read at one time, between two moves of the queue, which two equal readings tell; None when it never stood still.
    """

    def read() -> list[int]:
        texts = [page.get_by_text("in the queue").all_inner_texts() for page in pages]
        return [int("".join(filter(str.isdigit, text[0]))) for text in texts if text]

    shown = read()
    for _ in range(trials):
        before, shown = shown, read()
        if before == shown:
            return {"waiting": len(shown), "right": sum(i == n for n, i in enumerate(shown, start=1))}
    return None


def opened(browser: Any, server: Server, **address: Any) -> Any:
    """A page that a visitor could use now."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(600_000)
    page.goto(f"{server.url}?{'&'.join(f'{name}={value}' for name, value in address.items())}")
    page.get_by_role("button", name="Train", exact=True).wait_for()
    return page


def press(page: Any, button: str) -> None:
    """Press a button of the sidebar."""
    page.get_by_role("button", name=button, exact=True).click()


def told(page: Any, words: str) -> None:
    """Wait for words on the page."""
    page.get_by_text(words).first.wait_for()


def show(page: Any, tab: str) -> None:
    """Open a tab and wait for its figures."""
    page.get_by_role("tab", name=tab, exact=True).click()
    page.wait_for_function("name => Bokeh.documents[0].get_model_by_name(name)", arg=TABS[tab])
    page.wait_for_timeout(1000)


def latencies(page: Any, name: str, moves: int) -> list[float | None]:
    """Seconds from the key press to the drawn picture for each move; None where none came within 5 s."""
    slider = SLIDERS[name]
    show(page, slider.tab)
    page.evaluate(_WATCH, TABS[slider.tab])
    page.get_by_role("slider", name=slider.label, exact=True).nth(slider.place).focus()
    seconds = []
    for i in range(3 + moves):  # the first ones warm up
        page.keyboard.press("ArrowRight")
        milliseconds = page.evaluate(_PICTURE)
        if i >= 3:
            seconds.append(None if milliseconds is None else milliseconds / 1000)
        page.wait_for_timeout(PAUSE_MS)
    return seconds


@contextmanager
def answering(server: Server) -> Iterator[list[float]]:
    """Seconds that the server takes for its smallest answer, a redirection, asked ten times a second."""
    seconds: list[float] = []
    over = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        while not over.wait(0.1):
            start = time.perf_counter()
            connection.request("GET", "/")
            connection.getresponse().read()
            seconds.append(time.perf_counter() - start)
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seconds
    finally:
        over.set()
        thread.join()


def summary(seconds: Sequence[float | None]) -> dict[str, float]:
    """Median, 95th percentile and longest, in milliseconds; ``lost`` is how many never ended."""
    known = [1000 * s for s in seconds if s is not None]
    if not known:
        return {"n": 0, "lost": len(seconds)}
    p50, p95, longest = np.percentile(known, (50, 95, 100)).tolist()
    return {"n": len(known), "lost": len(seconds) - len(known), "p50": p50, "p95": p95, "longest": longest}


def page_text(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    n, trained, held, many = (Amount(**results["n"]), *(results[k] for k in ("training", "memory", "thirty")))
    base = trained["pool, nobody looking"]

    def times(name: str, found: dict[str, float]) -> str:
        lost = f", {found['lost']} lost" if found["lost"] else ""
        if not found["n"]:
            return f"| {name} | – | – | – | 0{lost} |\n"
        cells = " | ".join(f"{found[key]:.0f} ms" for key in ("p50", "p95", "longest"))
        return f"| {name} | {cells} | {found['n']}{lost} |\n"

    def variant(name: str) -> str:
        medians = {kind: np.median(trained[name][kind]) for kind in ("whole", "steps")}
        ratios = np.divide(trained[name]["whole"], base["whole"])
        return (
            f"| {name} | {medians['whole']:.2f} s | {medians['steps']:.2f} s | {np.median(ratios):.3f} "
            f"({ratios.min():.3f} … {ratios.max():.3f}) |\n"
        )

    workers = ServerSettings().max_trainings
    head = "| p50 | p95 | longest | moves |\n|---|---|---|---|---|\n"
    waiting = (
        "; ".join(f"{p['right']} of {p['waiting']} right" for p in many["places"]) or "never stood still"
    )
    return (
        f"# Benchmarks of the explorer\n\n{results['machine']}. A visitor's browser mostly runs on a computer of its "
        "own; here it takes its time from the same cores. "
        f"{results['minutes']:.0f} minutes in all.\n\n"
        "## From slider to picture\n\n"
        f"From a press of the right arrow key (its event's time stamp) to the frame with the new picture, "
        f"{PAUSE_MS} ms after the picture before; the bundled SMOOT run. The training, in another page of the same "
        "server that is shown and updating too, has the explorer's defaults.\n\n"
        + "".join(
            f"| with {row} {head}" + "".join(times(name, f) for name, f in found.items()) + "\n"
            for row, found in results["sliders"].items()
        )
        + "## A training with and without the page\n\n"
        f"SMOOT on 2,000 images of the bundled sample, {n.epochs} epochs, CNN, batches of 64, "
        f"{max(1, (os.cpu_count() or 1) // workers)} torch threads; medians of {n.rounds} interleaved rounds after a "
        "first that does not count. From the run's first file to its last: steps, tests, writing, looks at the "
        "watched images. The plain loop is `for record in train(...)` in a process of its own, with OpenMP as it "
        "comes; in all others its threads spin for a shorter time, as `serve` sets it. “Nobody looking” is the same "
        "`TrainState` and `Engine` without server and page. “Browser halted” is an open page, as far as the "
        "server knows: it "
        "computes and sends all updates, but Chromium is stopped (SIGSTOP) from the first step to the last. The "
        "ratio is taken round by round: median (least … greatest).\n\n"
        "| | whole | its steps | whole / nobody looking |\n|---|---|---|---|\n"
        + "".join(variant(name) for name in trained)
        + "\n## Memory\n\n"
        f"{n.visits} pages opened one after the other, each with all five tabs, and closed; {held['trainings']} of "
        "them trained (500 images, 1 epoch). Resident memory of the server once it has discarded the closed "
        "sessions and collected garbage.\n\n"
        "| | |\n|---|---|\n"
        f"| first page open | {held['one open']:.0f} MB |\n"
        f"| after {n.warm_visits} pages | {held['before']:.0f} MB |\n"
        f"| after {n.visits} pages | {held['after']:.0f} MB |\n"
        f"| growth for each page | {held['for each visit']:.2f} MB |\n"
        f"| sessions, pages still in memory | {held['alive']['sessions']}, {held['alive']['pages']} |\n"
        f"\n## {n.sessions} pages at once\n\n"
        f"All of them real pages in one Chromium on the same cores, each of which trains on 500 images for 1 epoch; "
        f"{workers} training at a time. The sliders are those of the last page, which waits in the queue. The "
        "answer is that to the smallest request, ten times a second: how long the server's event loop is busy.\n\n"
        "| | |\n|---|---|\n"
        f"| until all had pressed Train | {many['all pressed']:.0f} s |\n"
        f"| until all had finished and said so | {many['all finished']:.0f} s |\n"
        f"| places in the queue shown, at two times | {waiting} |\n"
        f"| server's memory, all pages open | {many['megabytes']:.0f} MB |\n\n"
        f"| meanwhile {head}"
        + "".join(times(name, f) for name, f in many["sliders"].items())
        + times("answer", many["answers"])
        + "\nRun again: `make benchmark-explorer`.\n"
    )


if __name__ == "__main__":
    main()
