"""The explorer in a real browser: sliders, trainings with and without a page, memory, many pages."""

from __future__ import annotations

import http.client
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks.amount import Amount
from benchmarks.processes import Memory, Process, Server, halted, running
from benchmarks.tables import LATENCY, Table, latency, spread, summary
from benchmarks.works import notes
from smoot_explore.compute.cores import cores
from smoot_explore.explorer.settings import ServerSettings

CHROMIUM = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
# Where the sliders start, so that each has room for all moves to the right.
ADDRESS = {"masked": 0.05, "whatif_alpha": 10, "whatif_beta": 0.05, "whatif_k_min": 0.02}
PAUSE_MS = 300  # between a picture and the next move
SETTLED_MS = 3000  # after which memory is looked at
TABS = {  # and a picture of each; Class may have nothing to draw
    "Image": "image", "Classes": "classes", "What if": "what-if", "Compare": "accuracy-drop", "Class": "",
}  # fmt: skip


class Slider(NamedTuple):
    """A slider that is seen, and the tab and model whose picture it moves."""

    tab: str
    label: str


SLIDERS = {
    "Image: masked share of the pixels": Slider("Image", "Masked share of the pixels"),
    "What if: α": Slider("What if", "α, speed of k (pixels)"),
    "What if: β": Slider("What if", "β, weight of the label"),
    "What if: lower bound of k": Slider("What if", "Bounds of k (share)"),
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


@contextmanager
def visited(*options: str) -> Iterator[tuple[Server, Any]]:
    """A server and a browser of its own: one that was halted or had many pages is not as quick as before."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, running(Server, *options) as server:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        yield server, browser
        browser.close()


def sliders(amount: Amount) -> list[Table]:
    """From key press to drawn picture, with the server idle and with a training in another page; and to the step."""
    tables = []
    with visited() as (server, browser):
        for words in ("nothing else", "a training in another page"):
            if words != "nothing else":
                other = opened(browser, server, epochs=100, beta=0)
                press(other, "Train")
                told(other, "images/s")
            page = opened(browser, server, **ADDRESS)
            found = {name: latencies(page, name, amount.moves) for name in SLIDERS}
            page.close()
            tables.append(
                Table(
                    f"From slider to picture, with {words}",
                    "From a press of the right arrow key (its event's time stamp) to the frame with the new picture, "
                    f"{PAUSE_MS} ms after the picture before; the bundled SMOOT run, headless Chromium "
                    f"{browser.version} without GPU. The training, in another page of the same server that is shown "
                    "and updating too, has the explorer's defaults. Wanted: at most 100 ms (p95).",
                    ["", *LATENCY],
                    [[name, *latency(seconds)] for name, seconds in found.items()],
                    {name: summary(seconds) for name, seconds in found.items()},
                )
            )
        seconds = moved(other, server, amount.moves)
    tables.append(
        Table(
            "From the slider of β to the step that uses it",
            "From the same key press on Train's β, in the page that trains, to the worker's taking β over, which "
            f"the first step that uses it follows; {PAUSE_MS} ms or more between two. Wanted: at most 100 ms (p95).",
            ["", *LATENCY],
            [["β", *latency(seconds)]],
            summary(seconds),
        )
    )
    return tables


def moved(page: Any, server: Server, moves: int) -> list[float | None]:
    """Seconds from the key press on β to the worker's taking it over; None where it has not within 5 s."""
    run = next(server.folder.glob("**/config.json")).parent
    page.evaluate(
        "addEventListener('keydown', event => window.pressed = performance.timeOrigin + event.timeStamp, true)"
    )
    focus(page, SLIDERS["What if: β"].label)
    seconds: list[float | None] = []
    for i in range(3 + moves):  # the first ones warm up
        before = len(notes(run, "moved"))
        page.keyboard.press("ArrowRight")
        pressed = page.evaluate("pressed") / 1000
        end = time.monotonic() + 5
        while len(taken := notes(run, "moved")) == before and time.monotonic() < end:
            time.sleep(0.005)
        if i >= 3:
            seconds.append(taken[before].at - pressed if len(taken) > before else None)
        page.wait_for_timeout(PAUSE_MS)
    return seconds


def training(amount: Amount) -> list[Table]:
    """The same training for nobody, for a page whose browser is halted, and for one that draws."""
    variants = ("nobody looking", "page open, browser halted", "page open")
    found: dict[str, dict[str, list[float]]] = {name: {"whole": [], "steps": []} for name in variants}
    epochs = amount.page_epochs
    with visited() as (server, browser), running(Process, "engine", str(epochs)) as engine:
        inspector = browser.new_browser_cdp_session()
        for i in range(1 + amount.page_rounds):  # the first one warms up
            page = opened(browser, server, epochs=epochs)
            information = inspector.send("SystemInfo.getProcessInfo")["processInfo"]
            everyone = [process["id"] for process in information]
            measured = []
            for meanwhile in (halted(everyone), None):
                measured.append(server.training_seconds(partial(press, page, "Train"), meanwhile))
                told(page, "Finished")
            page.close()
            server.wait_until_empty()
            measured = [engine.training_seconds(engine.order), *measured]
            if i:
                for name, (whole, steps) in zip(variants, measured, strict=True):
                    found[name]["whole"].append(whole)
                    found[name]["steps"].append(steps)
    rows = [
        [
            name, *(spread(seconds[kind], unit=" s") for kind in ("whole", "steps")),
            spread(np.divide(seconds["whole"], found["nobody looking"]["whole"]).tolist(), ".3f"),
        ]
        for name, seconds in found.items()
    ]  # fmt: skip
    return [
        Table(
            "A training with and without the page",
            f"The explorer's defaults, {epochs} epochs, on a worker with {_threads()} torch threads; median (least … "
            f"greatest) of {amount.page_rounds} rounds in turn, the ratio round by round. From the run's first file to "
            "its last: steps, tests, writing, looks at the watched images. “Nobody looking” is the same `TrainState` "
            "and `Engine` without server and page. “Browser halted” is an open page, as far as the server knows: it "
            "computes and sends all updates, but Chromium is stopped (SIGSTOP) from the first step to the last. "
            "Wanted: with the browser halted at most 1.05.",
            ["", "whole", "its steps", "whole / nobody looking"],
            rows,
            found,
        )
    ]


def memory(amount: Amount) -> list[Table]:
    """What server and workers hold: without a page, with some, during and after a training, after many visits."""
    found: dict[str, Memory] = {}
    with visited() as (server, browser):
        found["no page"] = server.megabytes()
        pages = [opened(browser, server, images=500, epochs=100)]
        for tab in TABS:
            show(pages[0], tab)
        found["1 page, all tabs"] = server.megabytes()
        pages += [opened(browser, server, images=500) for _ in range(amount.pages - 1)]
        found[f"{amount.pages} pages"] = server.megabytes()
        for i in range(1, 3):
            press(pages[0], "Train")
            told(pages[0], "images/s")
            pages[0].wait_for_timeout(SETTLED_MS)
            found[f"the same, during training {i}"] = server.megabytes()
            press(pages[0], "Stop")
            told(pages[0], "Stopped")
            pages[0].wait_for_timeout(SETTLED_MS)
            found[f"the same, after training {i}"] = server.megabytes()
        for page in pages:
            page.close()
        alive = server.wait_until_empty()
        found["all pages closed"] = server.megabytes()
        for _ in range(amount.visits):
            page = opened(browser, server, images=500)
            for tab in TABS:
                show(page, tab)
            page.close()
        alive = server.wait_until_empty()
        found[f"after {amount.visits} more visits"] = server.megabytes()
    rows = [
        [name, *(f"{value:.0f}" for value in (m.server, m.server_pss, m.workers, m.workers_pss, m.n_workers))]
        for name, m in found.items()
    ]
    return [
        Table(
            "Memory",
            "MiB: resident (RSS), and with what processes share shared out among them (PSS). The worker processes are "
            "those of trainings and measurements together, with Python's helper processes; they start with the first "
            f"job. A visit sees all six tabs. In the end the server holds {alive['sessions']} sessions and "
            f"{alive['pages']} pages. One measurement each.",
            ["", "server, RSS", "server, PSS", "workers, RSS", "workers, PSS", "processes"],
            rows,
            {name: m._asdict() for name, m in found.items()} | {"alive": alive},
        )
    ]


def thirty(amount: Amount) -> list[Table]:
    """Many pages at once, all of which train: how long, which places, and how one page feels meanwhile."""
    n = cores()
    with visited("--max-trainings", str(n)) as (server, browser):
        pages = [opened(browser, server, **ADDRESS, images=500, epochs=1) for _ in range(amount.sessions)]
        mine = pages[-1]
        show(mine, "Image")
        show(mine, "What if")
        names = ("Image: masked share of the pixels", "What if: α")
        held = [server.megabytes()]
        with answering(server) as waits:
            start = time.monotonic()
            for page in pages:
                press(page, "Train")
            pressed = time.monotonic() - start
            mine.wait_for_timeout(1000)  # until every page has drawn its place
            first = places(pages)
            meanwhile: dict[str, list[float | None]] = {
                name: latencies(mine, name, amount.moves // 2) for name in names
            }
            shown = [place for place in (first, places(pages)) if place is not None]
            for page in pages:
                told(page, "Finished")
            finished = time.monotonic() - start
        meanwhile["answer"] = [*waits]
        held.append(server.megabytes())
    waiting = "; ".join(f"{p['right']} of {p['waiting']} right" for p in shown) or "never stood still"
    facts = {
        "until all had pressed Train": f"{pressed:.0f} s",
        "until all had finished and said so": f"{finished:.0f} s",
        "places in the queue shown, at two times": waiting,
        "server's memory before and after (RSS)": " and ".join(f"{m.server:.0f} MiB" for m in held),
        "workers' memory after (RSS)": f"{held[1].workers:.0f} MiB",
    }
    return [
        Table(
            f"{amount.sessions} pages at once",
            "All of them real pages in one Chromium on the same cores, each of which trains on 500 images for 1 "
            f"epoch, on {n} workers.",
            ["", ""],
            [[name, value] for name, value in facts.items()],
            {
                "pressed": pressed,
                "finished": finished,
                "places": shown,
                "memory": [m._asdict() for m in held],
            },
        ),
        Table(
            "Meanwhile",
            "The sliders are those of the last page, which waits in the queue. The answer is that to the smallest "
            "request, ten times a second: how long the server's event loop is busy.",
            ["", *LATENCY],
            [[name, *latency(seconds)] for name, seconds in meanwhile.items()],
            {name: summary(seconds) for name, seconds in meanwhile.items()},
        ),
    ]


def _threads() -> int:
    return max(1, cores() // ServerSettings().max_trainings)


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
    """Press a button of the training bar."""
    page.get_by_role("button", name=button, exact=True).click()


def focus(page: Any, slider: str) -> None:
    """Let the keys move a slider: of those of this label the one that is seen."""
    page.get_by_role("slider", name=slider, exact=True).locator("visible=true").first.focus()


def told(page: Any, words: str) -> None:
    """Wait for words on the page."""
    page.get_by_text(words).first.wait_for()


def show(page: Any, tab: str) -> None:
    """Open a tab and wait for its figures."""
    page.get_by_role("tab", name=tab, exact=True).click()
    page.wait_for_function("name => !name || Bokeh.documents[0].get_model_by_name(name)", arg=TABS[tab])
    page.wait_for_timeout(1000)


def latencies(page: Any, name: str, moves: int) -> list[float | None]:
    """Seconds from the key press to the drawn picture for each move; None where none came within 5 s."""
    slider = SLIDERS[name]
    show(page, slider.tab)
    page.evaluate(_WATCH, TABS[slider.tab])
    focus(page, slider.label)
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
