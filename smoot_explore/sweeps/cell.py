"""One cell of a sweep, trained to its end in a worker process."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from smoot_explore.compute.cores import compute_on_one_core
from smoot_explore.compute.device import choose_hardware
from smoot_explore.core.classes import drop_auc
from smoot_explore.core.config import TrainingConfig, setting_names
from smoot_explore.core.curves import masking_curves
from smoot_explore.core.models import create_model
from smoot_explore.core.probe import AccuracyDropProbe, probed
from smoot_explore.core.registered import Registered
from smoot_explore.core.training import count_steps, train
from smoot_explore.data.images import ImageData, first_images
from smoot_explore.engine.makers import ModelMaker, make
from smoot_explore.runs.checkpoint import RunError
from smoot_explore.runs.claim import claimed
from smoot_explore.runs.run import Run, open_run
from smoot_explore.sweeps.grid import Cell
from smoot_explore.sweeps.manifest import Sweep

_PROBE_IMAGES = 200  # the same in all cells, so that their accuracy drops can be compared


class UnseenFolderError(RuntimeError):
    """A worker does not see the folder of the sweep that it is to work for."""


def new_model(model: Mapping[str, Any], maker: ModelMaker | None, data: ImageData, seed: int) -> nn.Module:
    """The model of a cell with its initial weights; ``model`` as of `Sweep`."""
    if maker is not None:
        return make(model["maker"], maker, data, seed)
    return create_model(model["name"], data, model["pretrained"], seed, **model["options"])


def check_folder(path: str, identity: str) -> None:
    """Raise `UnseenFolderError` in a process that does not see the sweep's folder."""
    try:
        seen = Sweep.read(Path(path)).identity == identity
    except (RunError, OSError):
        seen = False
    if not seen:
        raise UnseenFolderError(
            f"the worker on {socket.gethostname()} does not see the sweep in {path}: a sweep needs a folder that all "
            "its workers share, under the same path"
        )


def train_cell(
    path: str,
    identity: str,
    name: str,
    maker: ModelMaker | None,
    registered: Registered,
    root: str | None,
) -> str:
    """Train one cell in the worker that calls this, from where its run stands, and give its name.

    Called once more, by a scheduler that has lost the answer for example, it finds the run finished.
    """
    from distributed import Reschedule

    check_folder(path, identity)
    compute_on_one_core()
    registered.register()
    sweep, wanted = Sweep.read(Path(path)), _wanted()
    (cell,) = (cell for cell in sweep.cells if cell.name == name)
    with claimed(sweep.claim(name), wanted) as mine:
        data = _data(path, identity, root)
        done = mine and train_to_end(sweep, sweep.folder(cell), cell.config, maker, data, wanted)
        done = done and measure_curves(sweep, cell, maker, data, wanted)
    if not done:
        raise Reschedule  # nobody hears it, but where this worker alone is to end
    return name


def train_to_end(
    sweep: Sweep,
    folder: Path,
    config: TrainingConfig,
    maker: ModelMaker | None,
    data: ImageData,
    wanted: Callable[[], bool] = lambda: True,
) -> bool:
    """Begin the run of a cell or go on with it; False when it was ``wanted`` no more before its end."""
    if (folder / "config.json").exists():
        run = _opened(sweep, folder, config, maker, data)
        _check_same(run, config)
        if run.finished and run.epochs >= config.epochs:
            return True
        model = run.load_model()
    else:
        model = new_model(sweep.model, maker, data, config.seed)
        run = Run.create(folder, config, model, data, sweep.keep)
    go_on = _while(wanted)
    probe = AccuracyDropProbe(
        data.test, images=_PROBE_IMAGES, fewest=_PROBE_IMAGES, precision=config.precision
    )
    on_cpu = choose_hardware(config.device).device.type == "cpu"
    steps = count_steps(len(data.train), config.batch_size)
    trained = train(
        model, data, config, run=run, every=1 if on_cpu else min(8, steps)
    )  # others wait for the device
    records = probed(trained, model, data, config, run=run, probe=probe, keep_going=go_on)
    try:
        if run.epochs >= config.epochs and not run.has_accuracy_drop(run.epochs):
            _measure_last(run, model, config, probe, go_on)  # a kill came between the last epoch and its drop
        with contextlib.closing(records):  # type: ignore[type-var]  # a generator
            for _ in records:
                go_on()
    except _Unwanted:
        return False
    return True


class _Unwanted(Exception):  # noqa: N818
    """Nobody waits for the training or its measurement any more."""


def _while(wanted: Callable[[], bool]) -> Callable[..., bool]:
    """What raises `_Unwanted` once it is called and nobody waits any more."""

    def go_on(*done: int) -> bool:
        if not wanted():
            raise _Unwanted
        return True

    return go_on


def measure_curves(
    sweep: Sweep,
    cell: Cell,
    maker: ModelMaker | None,
    data: ImageData,
    wanted: Callable[[], bool] = lambda: True,
) -> bool:
    """Measure a trained cell's masking curves, if the sweep has some, and keep them in its run as "sweep"; False when
    they were ``wanted`` no more before their end."""
    if sweep.curves is None or sweep.areas(cell) is not None:
        return True
    run = _opened(sweep, sweep.folder(cell), cell.config, maker, data)
    if run.epochs != cell.epochs:
        raise RunError(
            f"{run.path} has been trained for {run.epochs} epochs and the sweep is of {cell.epochs}: its curves would "
            f"be those of other weights; sweep with epochs={run.epochs}, or move that folder away"
        )
    model = run.load_model().to(choose_hardware(cell.config.device, cell.config.precision).device)
    protocol = {name: value for name, value in sweep.curves.items() if name != "images"}
    images = first_images(data.test, sweep.curves["images"])
    try:
        curves = masking_curves(model, images, **protocol, progress=_while(wanted))
    except _Unwanted:
        return False
    run.save_curves(curves, "sweep")
    sweep.keep_areas(
        cell, dict(zip(curves.fill.values.tolist(), drop_auc(curves).values.tolist(), strict=True))
    )
    return True


def _opened(
    sweep: Sweep, folder: Path, config: TrainingConfig, maker: ModelMaker | None, data: ImageData
) -> Run:
    model = None if maker is None else new_model(sweep.model, maker, data, config.seed)
    return open_run(folder, model=model, data=None if "name" in data.source else data)


def _measure_last(
    run: Run, model: nn.Module, config: TrainingConfig, probe: AccuracyDropProbe, go_on: Callable[[], bool]
) -> None:
    model = model.to(choose_hardware(config.device, config.precision).device)
    drop = probe.measure(probe.begin(model, run.epochs), go_on)
    if drop is not None:
        run.save_accuracy_drop(drop)


def _check_same(run: Run, config: TrainingConfig) -> None:
    asked, found = config.to_dict(), run.start_config
    different = [
        f"{name} {found[name]!r} ≠ {asked[name]!r}"
        for name in setting_names()
        if name != "epochs" and found[name] != asked[name]
    ]
    if different:
        raise RunError(
            f"{run.path} is not the run of this cell ({'; '.join(different)}); move that folder away"
        )


@functools.lru_cache(maxsize=1)
def _data(path: str, identity: str, root: str | None) -> ImageData:
    """The data of a sweep, once for all the cells that a worker trains."""
    return Sweep.read(Path(path)).load_data(root)


def _wanted() -> Callable[[], bool]:
    """Whether somebody still waits for the task that calls this; made in the task's thread.

    A scheduler takes a task back when its client cancels it or is gone, and a worker that has lost its scheduler
    closes. Dask ends no thread, so a training asks.
    """
    from distributed import Status, get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        is_executing = task is not None and task.state in ("executing", "long-running")
        return is_executing and worker.status in (Status.running, Status.paused)

    return wanted
