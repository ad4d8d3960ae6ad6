"""What the engine costs and gives: trainings, sweeps and orders on worker processes, without a page."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from psutil import Process as Watched

from benchmarks.amount import Amount
from benchmarks.processes import Process, running
from benchmarks.tables import LATENCY, Table, latency, milliseconds, spread, summary
from benchmarks.works import ChatterWork, NotedWork, SilentWork, notes, nothing
from smoot_explore import TrainingConfig, load_data, open_run, sweep
from smoot_explore.compute.cores import cores
from smoot_explore.engine import trainings
from smoot_explore.engine.cluster import Scheduler
from smoot_explore.engine.engine import Engine, Job
from smoot_explore.engine.recipe import Recipe
from smoot_explore.engine.training_work import REPORT_SECONDS
from smoot_explore.engine.trainings import Training
from smoot_explore.engine.watching import WATCH, choose
from smoot_explore.engine.workers import DaskWorkers

TESTS = 200  # images
PATIENCE = 300  # seconds
SIMULATED = (1, 8, 64)  # workers
TRAFFIC = ("report", "order")
REPORT_BYTES = 8_000  # k of 2,000 images


@contextmanager
def engine_of(workers: DaskWorkers) -> Iterator[tuple[Engine, Path]]:
    """An engine and a folder for its runs."""
    trainings.TrainingWork = NotedWork  # type: ignore[misc,assignment]
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as folder:
        engine = Engine(workers)
        try:
            yield engine, Path(folder)
        finally:
            engine.close()


def settings(amount: Amount, **others: Any) -> TrainingConfig:
    """Of all trainings here: the explorer's, for fewer epochs."""
    return TrainingConfig(**{"epochs": amount.epochs, "batch_size": 64, **others})


def recipe_of(path: Path, amount: Amount) -> Recipe:
    """The bundled data and the paper's CNN."""
    return Recipe(path, "fashion-mnist-sample", amount.images, TESTS, "cnn")


def until(wanted: Callable[[], object], every: float = 0.001) -> None:
    """Wait, but not for ever."""
    end = time.monotonic() + PATIENCE
    while not wanted():
        if time.monotonic() > end:
            raise TimeoutError(f"nothing has happened for {PATIENCE} s")
        time.sleep(every)


def at_once(amount: Amount) -> list[Table]:
    """As many trainings as there are cores, against one of them alone."""
    n = cores()
    found: dict[str, dict[str, list[float]]] = {
        how: {"alone": [], "at once": []} for how in ("workers of the engine", "plain processes")
    }
    plain = [str(amount.images), str(amount.epochs)]
    with ExitStack() as stack:
        engine, folder = stack.enter_context(engine_of(DaskWorkers(n, threads=1)))
        processes = [stack.enter_context(running(Process, "plain", *plain)) for _ in range(n)]
        for i in range(1 + amount.rounds):  # the first one warms up
            for name, count in (("alone", 1), ("at once", n)):
                paths = [folder / f"{i}-{name}-{j}" for j in range(count)]
                together = [Training(engine, settings(amount), recipe_of(path, amount)) for path in paths]
                for training in together:
                    training.start()
                _finished(together)
                for process in processes[:count]:
                    process.order()
                seconds = [float(process.line()) for process in processes[:count]]
                if i:
                    found["workers of the engine"][name].append(max(map(_step_seconds, paths)))
                    found["plain processes"][name].append(max(seconds))
    rows = []
    for how, times in found.items():
        ratios = np.divide(times["at once"], times["alone"]).tolist()
        rows.append(
            [how, spread(times["alone"], unit=" s"), spread(times["at once"], unit=" s"), spread(ratios)]
        )
    return [
        Table(
            f"{n} trainings at once",
            f"Seconds of the training steps (the slowest training's) of {n} trainings of one thread each at once, and "
            f"of one of them alone; {_size(amount)}. The plain processes loop over `train` without the engine: what "
            f"they take longer at once is the computer's. Median (least … greatest) of {amount.rounds} rounds in turn, "
            "the ratio round by round. Wanted: at most 1.25.",
            ["", "alone", "at once", "at once / alone"],
            rows,
            found,
        )
    ]


def scheduler(amount: Amount) -> list[Table]:
    """What the scheduler and the engine cost with many workers, which are simulated."""
    rows: list[list[str]] = []
    costs, numbers = [], {}
    for n in SIMULATED:
        numbers[n] = found = _simulated(n, amount)
        rows += [[f"{n}, {kind}", *latency(found[kind])] for kind in TRAFFIC]
        rate = found["reports a second"]
        costs.append([
            f"{n}", f"{found['jobs a second']:.0f}", f"{rate:.0f}",
            *(f"{100 * found[k]:.1f} %" for k in ("scheduler idle", "scheduler", "engine")),
            f"{1000 * (found['scheduler'] - found['scheduler idle']) / rate:.2f} ms",
        ])  # fmt: skip
    text = (
        "The scheduler is a process of its own, with TLS as always. The workers are simulated: Dask's `Worker` objects "
        "in one process, with a thread each for its job, which computes nothing. Each job reports "
        f"{REPORT_BYTES / 1000:.0f} kB every {REPORT_SECONDS:g} s, as a training on 2,000 images does, through "
        f"`Engine` and `DaskWorkers`; one order after the other goes to them meanwhile, for {amount.seconds} s. "
    )
    return [
        Table(
            "Reports and orders with many workers",
            f"{text}A report's time is from the job to the engine, an order's from the engine to the job. All workers "
            "share the cores here, which real ones do not: an upper limit.",
            ["workers", *LATENCY],
            rows,
            {
                str(n): found | {kind: summary(found[kind]) for kind in TRAFFIC}
                for n, found in numbers.items()
            },
        ),
        Table(
            "The scheduler's cost",
            f"As above, without orders: jobs that do nothing, {amount.jobs} of them, from the first submitted to the "
            "last ended; processor time of the scheduler while no job is there, and while each reports; of the "
            "engine's process, which hears them; in per cent of one core, the last column for one report.",
            ["workers", "jobs / s", "reports / s", "scheduler, idle", "with reports", "engine", "a report"],
            costs,
        ),
    ]


def _simulated(n: int, amount: Amount) -> dict[str, Any]:
    times: dict[str, list[float]] = {kind: [] for kind in TRAFFIC}

    def heard(report: tuple) -> None:
        times[report[0]].append(time.time() - report[1] if report[0] == "report" else report[2] - report[1])

    with running(Process, "scheduler") as process:
        address, folder = process.ready, process.folder
        there = Scheduler(address, folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
        dask, own = Watched(process.process.pid), Watched()
        with running(Process, "workers", str(n), address, str(folder)):
            workers = DaskWorkers(connect=there.connect)
            with engine_of(workers) as (engine, _):
                jobs = [Job(ChatterWork(REPORT_BYTES, REPORT_SECONDS), heard) for _ in range(n)]
                _do_nothing(engine, 2 * n)  # every worker connects
                throughput = _do_nothing(engine, amount.jobs)
                idle = _processor_share([dask], amount.seconds / 2)
                for job in jobs:
                    engine.submit(job)
                until(lambda: all(job.worker for job in jobs))
                time.sleep(1)
                times["report"].clear()
                busy = _processor_share([dask, own], amount.seconds)
                reports = len(times["report"])
                end = time.monotonic() + amount.seconds
                for job in itertools.cycle(jobs):
                    if time.monotonic() > end:
                        break
                    before = len(times["order"])
                    engine.order(job, time.time())
                    until(lambda: len(times["order"]) > before)  # noqa: B023  # waited for here
                for job in jobs:
                    engine.order(job, None)
                until(lambda: all(job.over for job in jobs))
    return {
        **times, "jobs a second": throughput, "scheduler idle": idle[0], "scheduler": busy[0], "engine": busy[1],
        "reports a second": reports / amount.seconds,
    }  # fmt: skip


def _do_nothing(engine: Engine, n: int) -> float:
    """Jobs that do nothing, a second."""
    jobs = [Job(nothing) for _ in range(n)]
    start = time.monotonic()
    for job in jobs:
        engine.submit(job)
    until(lambda: all(job.over for job in jobs), 0.01)
    return n / (time.monotonic() - start)


def _processor_share(processes: Iterable[Watched], seconds: float) -> list[float]:
    """Of one core, of each process, over a time."""

    def used() -> np.ndarray:
        return np.array([sum(process.cpu_times()[:2]) for process in processes])

    before, start = used(), time.monotonic()
    time.sleep(seconds)
    return ((used() - before) / (time.monotonic() - start)).tolist()


def sweeps(amount: Amount) -> list[Table]:
    """A sweep on as many workers as there are cores, against one training after the other."""
    n = cores()
    several = f"sweep, {n} workers"
    found: dict[str, list[float]] = {"plain loop": [], "sweep, 1 worker": [], several: []}
    inner: dict[str, list[float]] = {"sweep, 1 worker": [], several: []}
    data = load_data("fashion-mnist-sample", train=amount.images, test=TESTS)
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        running(Process, "plain", str(amount.images), str(amount.epochs)) as plain,
    ):
        for i in range(amount.sweeps):
            for name, workers in ((several, n), ("sweep, 1 worker", 1)):
                path, over = Path(folder) / f"{i}-{workers}", {"seed": range(amount.cells)}
                start = time.monotonic()
                sweep(path, settings(amount), over, data=data, workers=workers)
                found[name].append(time.monotonic() - start)
                inner[name].append(_span(path))
            start = time.monotonic()
            for _ in range(amount.cells):
                plain.order()
                plain.line()
            found["plain loop"].append(time.monotonic() - start)
    inner["plain loop"] = found["plain loop"]
    rows = []
    for name in found:
        row = [name]
        for times in (found, inner):
            ratios = np.divide(times[name], times[several]).tolist()
            row += [spread(times[name], ".1f", " s"), spread(ratios)]
        rows.append(row)
    return [
        Table(
            f"A sweep of {amount.cells} runs",
            f"Over {amount.cells} seeds; each {_size(amount)}, one thread. The whole of `sweep`: it starts "
            "worker processes, measures accuracy drops too and opens the result; and from the first file of a run to "
            "the last, without that start. The plain loop is `train` with a run, in a process that is there "
            f"already. Median (least … greatest) of {amount.sweeps} rounds in turn, the ratio to {n} workers round by "
            f"round. Wanted: at least 1.8 for one worker against {n}.",
            ["", "whole", "ratio", "without the start", "ratio"],
            rows,
            {"whole": found, "without the start": inner},
        )
    ]


def _span(path: Path) -> float:
    """Seconds from the first file of a sweep's first run to the last of its last."""
    first, last = (
        [file.stat().st_mtime for file in path.glob(f"*/{name}")] for name in ("config.json", "journal.json")
    )
    return max(last) - min(first)


def orders(amount: Amount) -> list[Table]:
    """From a moved β to the first step that uses it."""
    rows: list[list[str]] = []
    numbers: dict[str, dict[str, Any]] = {}
    steps = []
    for n in dict.fromkeys((1, cores())):
        seconds, step = _moved(n, amount)
        name = f"{n} trainings" if n > 1 else "1 training"
        rows += [[f"{name}: {moment}", *latency(found)] for moment, found in seconds.items()]
        numbers[name] = {moment: summary(found) for moment, found in seconds.items()} | {"step": step}
        steps.append(milliseconds(step))
    return [
        Table(
            "From a moved β to the step that uses it",
            "From setting `config.beta` of a `Training` until its worker has the order, until it takes the order over, "
            "between two steps, and the first step that uses it begins; and until the report of that step, with which "
            f"it is in `changes`. Moved at any time in a step; a step of 64 images with one thread takes "
            f"{', '.join(steps)}. Wanted: the step begins within 100 ms (p95).",
            ["", *LATENCY],
            rows,
            numbers,
        )
    ]


def _moved(n: int, amount: Amount) -> tuple[dict[str, list[float]], float]:
    random = np.random.default_rng(0)
    moved, told = [], []
    with engine_of(DaskWorkers(n, threads=1)) as (engine, folder):
        together = [
            Training(engine, settings(amount, epochs=1000, beta=0.0), recipe_of(folder / f"{i}", amount))
            for i in range(n)
        ]
        for training in together:
            training.start()
        until(lambda: all(training.step > 5 or training.ended for training in together))
        mine = together[0]
        first = mine.seconds, mine.step
        for i in range(1, 1 + amount.moves):
            time.sleep(random.uniform(0.1, 0.4))
            moved.append(time.time())
            mine.config.beta = i / amount.moves
            until(lambda: len(mine.changes) == i or mine.ended)  # noqa: B023  # waited for here
            told.append(time.time() - moved[-1])
        step = (mine.seconds - first[0]) / (mine.step - first[1])
        for training in together:
            training.stop()
        until(lambda: all(training.ended for training in together))
        delivered, begins = (
            [note.at - at for note, at in zip(notes(mine.recipe.path, what), moved, strict=True)]
            for what in ("delivered", "moved")
        )
    return {"the worker has it": delivered, "the step begins": begins, "the change is told": told}, step


def reports(amount: Amount) -> list[Table]:
    """What it costs a training to report, and to look at the watched images too."""
    names = ("silent", "reports", "reports and looks")
    found: dict[str, dict[str, list[float]]] = {name: {"whole": [], "processor": []} for name in names}
    hearing, images = [], []
    with engine_of(DaskWorkers(1, threads=1)) as (engine, folder):
        for i in range(1 + amount.pairs):
            for name in names if i % 2 else names[::-1]:
                path = folder / f"{i}-{name}"
                recipe, config = recipe_of(path, amount), settings(amount, epochs=2 * amount.epochs)
                before = time.process_time()
                if name == "silent":
                    _wait_for(engine, SilentWork(recipe, config.to_dict()))
                else:
                    training = Training(engine, config, recipe)
                    if name == "reports and looks":
                        training.watch(partial(choose, WATCH[1]))
                    training.start()
                    _finished([training])
                heard = time.process_time() - before
                (ready,), (ended,) = notes(path, "ready"), notes(path, "ended")
                if i:
                    found[name]["whole"].append(ended.at - ready.at)
                    found[name]["processor"].append(ended.processor - ready.processor)
                if i and name == "reports and looks":
                    hearing.append(heard / (ended.at - ready.at))
                    images.append(len(training.reports()))
    rows = []
    for kind, words in (("whole", "from first step to end"), ("processor", "processor time of the worker")):
        silent, *told = (found[name][kind] for name in names)
        percent = [(100 * (np.divide(seconds, silent) - 1)).tolist() for seconds in told]
        rows.append([words, spread(silent, unit=" s"), *(spread(each, "+.1f", " %") for each in percent)])
    return [
        Table(
            "The cost of reports",
            "A training with all reports, and one that looks at eight watched images too, as that of a page does, "
            "against the same that takes no orders, reports nothing and looks at none; on the same worker with one "
            f"thread, {_size(amount, 2)}, all with the accuracy drop of the probe. Median (least … greatest) of "
            f"{amount.pairs} rounds in turn, the cost round by round. The process that hears all takes "
            f"{100 * np.median(hearing):.1f} % of a core. Wanted of the reports: at most 1 %.",
            ["", "silent", "reports", "reports and looks"],
            rows,
            {**found, "hearing": hearing, "reports": images},
        )
    ]


def _wait_for(engine: Engine, work: Callable[..., Any]) -> None:
    job = Job(work)
    engine.submit(job)
    until(lambda: job.over, 0.02)
    if job.problem:
        raise RuntimeError(job.problem)


def _finished(together: Iterable[Training]) -> None:
    until(lambda: all(training.ended for training in together), 0.02)
    for training in together:
        if training.status != "finished":
            raise RuntimeError(f"a training has {training.status}: {training.problem}")


def _step_seconds(path: Path) -> float:
    return sum(epoch["duration_seconds"] for epoch in open_run(path).journal["epochs"])


def _size(amount: Amount, times: int = 1) -> str:
    epochs = times * amount.epochs
    return f"SMOOT on {amount.images:,} images, {epochs} epoch{'s' if epochs > 1 else ''}, CNN, batches of 64"
