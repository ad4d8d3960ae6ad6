"""One cell of a sweep, trained to its end in a worker process."""

from __future__ import annotations

import contextlib
import functools
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from smoot_explore.compute.device import choose_hardware
from smoot_explore.core.classes import drop_auc
from smoot_explore.core.config import TrainingConfig, setting_names
from smoot_explore.core.curves import masking_curves
from smoot_explore.core.models import create_model, describe_model
from smoot_explore.core.probe import AccuracyDropProbe, probed
from smoot_explore.core.records import EpochRecord
from smoot_explore.core.training import count_steps, train
from smoot_explore.data.images import ImageData, first_images
from smoot_explore.engine.channel import Channel, JobStopped
from smoot_explore.engine.makers import ModelMaker, make
from smoot_explore.runs.checkpoint import RunError
from smoot_explore.runs.claim import claim_of, claimed
from smoot_explore.runs.run import Run, open_run
from smoot_explore.sweeps.grid import Cell
from smoot_explore.sweeps.manifest import Sweep

_PROBE_IMAGES = 200  # the same in all cells, so that their accuracy drops can be compared
REPORT_SECONDS = 0.25  # at least between two reports of a cell


class UnseenFolderError(RuntimeError):
    """A worker does not see the folder of the sweep that it is to work for."""


def new_model(model: Mapping[str, Any], maker: ModelMaker | None, data: ImageData, seed: int) -> nn.Module:
    """The model of a cell with its initial weights; ``model`` as of `Sweep`."""
    if maker is not None:
        return make(model["maker"], maker, data, seed)
    made = create_model(model["name"], data, model.get("file", model["pretrained"]), seed, **model["options"])
    if describe_model(made).get("weights") != model.get("weights"):
        raise RunError(
            f"{model['file']} holds other pretrained weights than the sweep was begun with; put those back, or begin a "
            "sweep in another folder"
        )
    return made


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


@dataclass(frozen=True)
class CellWork:
    """One cell as a job: trained to its end from where its run stands; it reports how many epochs that holds.

    Called once more, in another worker for example, it finds the run finished.

    Parameters
    ----------
    path, identity
        The sweep's, by which a worker knows its folder. One that does not see it reports an `UnseenFolderError`.
    name
        Of the cell.
    maker
        As of `new_model`.
    root
        As for `load_data`.
    """

    path: str
    identity: str
    name: str
    maker: ModelMaker | None = None
    root: str | None = None

    def __call__(self, channel: Channel) -> None:
        """Train, and measure the curves."""
        told = 0.0

        def tell(epochs: int) -> None:
            nonlocal told
            if (now := time.monotonic()) >= told + REPORT_SECONDS:
                channel.report(epochs)
                told = now

        def going() -> bool:
            if channel.orders():  # there is but one: to stop
                raise JobStopped
            return True

        try:
            check_folder(self.path, self.identity)
        except UnseenFolderError as error:
            channel.report(error)
            raise
        sweep = Sweep.read(Path(self.path))
        (cell,) = (cell for cell in sweep.cells if cell.name == self.name)
        with claimed(claim_of(sweep.folder(cell)), going):
            data = _data(self.path, self.identity, self.root)
            train_to_end(sweep, sweep.folder(cell), cell.config, self.maker, data, going, tell)
            measure_curves(sweep, cell, self.maker, data, going)


def train_to_end(
    sweep: Sweep,
    folder: Path,
    config: TrainingConfig,
    maker: ModelMaker | None,
    data: ImageData,
    going: Callable[[], bool] = lambda: True,
    tell: Callable[[int], object] = lambda epochs: None,
) -> None:
    """Begin the run of a cell or go on with it, and ``tell`` how many epochs it holds.

    ``going`` is called every moment; what it raises ends the training, and the run can be gone on with.
    """
    if (folder / "config.json").exists():
        run = _opened(sweep, folder, config, maker, data)
        _check_same(run, config)
        if run.finished and run.epochs >= config.epochs:
            return
        model = run.load_model()
    else:
        model = new_model(sweep.model, maker, data, config.seed)
        run = Run.create(folder, config, model, data, sweep.keep)
    tell(run.epochs)
    probe = AccuracyDropProbe(
        data.test, images=_PROBE_IMAGES, fewest=_PROBE_IMAGES, precision=config.precision
    )
    if run.epochs >= config.epochs and not run.has_accuracy_drop(run.epochs):
        _measure_last(
            run, model, config, probe, going
        )  # a kill came between the last epoch and its accuracy drop
    steps = count_steps(len(data.train), config.batch_size)
    on_cpu = choose_hardware(config.device).device.type == "cpu"
    every = 1 if on_cpu else min(8, steps)  # each record waits for the device
    trained = train(model, data, config, run=run, every=every)
    records = probed(trained, model, data, config, run=run, probe=probe, keep_going=going)
    with contextlib.closing(records):  # type: ignore[type-var]  # a generator
        for record in records:
            if isinstance(record, EpochRecord):
                tell(record.epoch)
            going()


def measure_curves(
    sweep: Sweep,
    cell: Cell,
    maker: ModelMaker | None,
    data: ImageData,
    going: Callable[[], bool] = lambda: True,
) -> None:
    """Measure a trained cell's masking curves, if the sweep has some, and keep them in its run as "sweep".

    ``going`` as of `train_to_end`.
    """
    if sweep.curves is None or sweep.areas(cell) is not None:
        return
    run = _opened(sweep, sweep.folder(cell), cell.config, maker, data)
    if run.epochs != cell.epochs:
        raise RunError(
            f"{run.path} has been trained for {run.epochs} epochs and the sweep is of {cell.epochs}: its curves would "
            f"be those of other weights; sweep with epochs={run.epochs}, or move that folder away"
        )
    model = run.load_model().to(choose_hardware(cell.config.device, cell.config.precision).device)
    protocol = {name: value for name, value in sweep.curves.items() if name != "images"}
    images = first_images(data.test, sweep.curves["images"])
    curves = masking_curves(model, images, **protocol, progress=lambda done, total: going())
    run.save_curves(curves, "sweep")
    sweep.keep_areas(
        cell, dict(zip(curves.fill.values.tolist(), drop_auc(curves).values.tolist(), strict=True))
    )


def _opened(
    sweep: Sweep, folder: Path, config: TrainingConfig, maker: ModelMaker | None, data: ImageData
) -> Run:
    model = None if maker is None else new_model(sweep.model, maker, data, config.seed)
    return open_run(folder, model=model, data=None if "name" in data.source else data)


def _measure_last(
    run: Run, model: nn.Module, config: TrainingConfig, probe: AccuracyDropProbe, going: Callable[[], bool]
) -> None:
    if run.probe is not None:
        probe.go_on(run.probe)
    model = model.to(choose_hardware(config.device, config.precision).device)
    drop = probe.measure(probe.begin(model, run.epochs), going)
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
