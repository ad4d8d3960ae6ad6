"""Training a sweep: its cells as jobs of worker processes, kept in a folder, and gone on with after any stop."""

from __future__ import annotations

import functools
import json
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
import xarray as xr
from torch import nn

from smoot_explore.compute.cores import cores
from smoot_explore.core.choices import names
from smoot_explore.core.config import TrainingConfig
from smoot_explore.core.models import weights_fingerprint
from smoot_explore.core.training import check_settings, train
from smoot_explore.data.images import ImageData
from smoot_explore.data.load import load_data
from smoot_explore.engine.cluster import another, check_installed, close_workers, start_workers
from smoot_explore.engine.engine import GRACE_SECONDS, Engine, Job
from smoot_explore.engine.makers import ModelMaker
from smoot_explore.engine.workers import CONNECTION_LOST, DaskWorkers
from smoot_explore.errors import unknown_name
from smoot_explore.runs.checkpoint import RunError
from smoot_explore.runs.claim import claimed
from smoot_explore.runs.run import Keep
from smoot_explore.schema import as_json
from smoot_explore.sweeps.cell import CellWork, UnseenFolderError, new_model
from smoot_explore.sweeps.grid import Cell, checked_values
from smoot_explore.sweeps.manifest import Sweep
from smoot_explore.sweeps.results import open_sweep

if TYPE_CHECKING:
    from distributed import Client

_TELL_SECONDS = 0.5  # between two looks at what the workers have told
_RESTART_SECONDS = 0.5  # that a scheduler takes to hear that a worker's process is to end
_WAIT_SECONDS = 5  # for another sweep in the same folder to end, which a moment ago was killed


def sweep(
    path: str | Path,
    config: TrainingConfig,
    over: Mapping[str, Iterable[Any]],
    *,
    data: ImageData | str | Path,
    model: str | ModelMaker = "cnn",
    pretrained: bool | str | Path = False,
    options: Mapping[str, Any] | None = None,
    keep: Keep = "last",
    curves: Sequence[str] = (),
    curve_images: int | None = 1000,
    root: str | Path | None = None,
    client: Client | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> xr.Dataset:
    """Train with each combination of the values of some settings, every training a run in a folder.

    Stopped at any instant, by a kill too, the same call goes on: finished runs are left as they are, begun ones go on
    from their last epoch. A call with more values of a swept setting adds their trainings; one with more epochs
    prolongs those that are there, unless a schedule of the learning rate goes by the number of epochs.
    Each training has the numbers that it would have alone, bit by bit on the same CPU with one thread.

    Parameters
    ----------
    path
        Folder of the sweep, with a run for each cell such as ``alpha=1,seed=0``. All workers must see it.
    config
        All settings that are not swept.
    over
        Values by the name of a setting. ``seed`` also gives the initial weights, as of `create_model`.
    data
        Data, or the name that `load_data` takes. Data put together by hand are copied into the folder.
    model
        A name for `create_model`, or a function ``(data, seed)`` that gives an ``nn.Module``, whose name is recorded
        (of ``functools.partial``, the arguments too). Functions of modules must be importable by the workers.
    pretrained, options
        As for `create_model`. All workers must see a file of weights under the same path.
    keep
        As for `Run.create`.
    curves
        Fills with which the masking curves of each trained model are measured: by signed gradient, the highest pixels
        first, in 20 steps. They are kept in its run, and the areas under their accuracy drops are `curves_auc` of the
        result. A later call may ask for others, or for some where there were none.
    curve_images
        How many test images these are measured on, the first ones; None takes all.
    root
        As for `load_data`.
    client
        A Dask client, to train on the workers of its cluster; one training each at a time if they have one thread. None
        starts worker processes on this computer and ends them.
    workers
        How many of these, with one thread each; None takes as many as there are cores, or GPUs where the settings'
        ``device`` may be one. Each takes a GPU of its own, as far as there are so many.
    progress
        Called twice a second with the number of epochs done and to do in all cells but failed ones.

    Returns
    -------
    xarray.Dataset
        As of `open_sweep`.

    Raises
    ------
    ValueError
        Before anything is trained: for values that a setting does not take, or settings that do not go together.
    TypeError
        For a model that is neither a name nor a function with one, and for other kinds of config or data.
    RunError
        When the folder holds another sweep.
    RuntimeError
        When another process works on the sweep, or a worker does not see its folder.
    ModuleNotFoundError
        When Dask is not installed.

    Warns
    -----
    UserWarning
        Naming the trainings that failed. The others go on; the same call tries the failed ones again.
    """
    check_installed()
    path = Path(path).absolute()
    _check_place(client, workers)
    if not isinstance(config, TrainingConfig):
        raise TypeError(f"config is a TrainingConfig, such as TrainingConfig(epochs=5), given {config!r}")
    if not isinstance(data, ImageData | str | Path):
        raise TypeError(
            f"data is an ImageData or the name of a data set, given {type(data).__name__}; ImageData(train, test, "
            "class_names) holds images and labels of your own"
        )
    data = data if isinstance(data, ImageData) else load_data(data, root=root)
    maker = None if isinstance(model, str) else model
    values = checked_values(config, over)
    described = _described(model, pretrained, dict(options or {}))
    protocol = _protocol(curves, curve_images) if curves else None
    planned = Sweep.of(path, values, config, data, described, keep, protocol)
    _check(planned, data, maker)
    _refuse_occupied(path)
    deadline = time.monotonic() + _WAIT_SECONDS
    with claimed(planned.claim, lambda: time.monotonic() < deadline) as mine:
        if not mine:
            raise RuntimeError(f"another process works on the sweep in {path}; wait for it, or stop it")
        if (path / "sweep.json").exists():
            planned = Sweep.read(path).extended(planned)
        planned.write(data)
        problems = _work(planned, maker, root, client, workers, progress)
    if problems:
        told = "".join(f"\n  {name}: {text}" for name, text in problems.items())
        warnings.warn(
            f"{len(problems)} of {len(planned.cells)} trainings failed; the same call tries them again:{told}",
            stacklevel=2,
        )
    return open_sweep(path)


def _refuse_occupied(path: Path) -> None:
    if (path / "sweep.json").exists() or not path.exists():
        return
    visible = path.is_dir() and [file for file in path.iterdir() if not file.name.startswith(".")]
    if visible != []:  # a kill may leave hidden ones
        raise FileExistsError(f"{path} is there already and holds no sweep; choose another folder")


def _check_place(client: Client | None, workers: int | None) -> None:
    if client is not None and workers is not None:
        raise ValueError("give client or workers: a client's cluster has workers of its own")
    if workers is not None and workers < 1:
        raise ValueError(
            f"a sweep needs at least 1 worker, given {workers}; None takes as many as there are cores"
        )


def _protocol(fills: Sequence[str], images: int | None) -> dict[str, Any]:
    """How masking curves are measured, as arguments of `masking_curves` and the number of images."""
    if isinstance(fills, str):
        raise ValueError(f"curves needs a list of fills, given {fills!r}; try [{fills!r}]")
    for fill in fills:
        if fill not in names("fill"):
            raise unknown_name("fill", fill, names("fill"))
    if images is not None and images < 1:
        raise ValueError(f"masking curves need at least 1 image, given {images}; None takes all test images")
    return {
        "fill": list(dict.fromkeys(fills)), "attribution": "gradient", "signed": True, "order": "highest",
        "levels": 20, "images": images,
    }  # fmt: skip


def _described(
    model: str | ModelMaker, pretrained: bool | str | Path, options: dict[str, Any]
) -> dict[str, Any]:
    if isinstance(model, str):
        described = {"name": model, "pretrained": bool(pretrained), "options": json.loads(as_json(options))}
        if isinstance(pretrained, str | Path):
            weights, file = weights_fingerprint(pretrained), str(Path(pretrained).absolute())
            described |= {"weights": weights, "file": file}
        return described
    if isinstance(model, nn.Module) or not callable(model):
        raise TypeError(
            f"model is a name or a function (data, seed) → nn.Module, given {type(model).__name__}: every training "
            "needs initial weights of its own"
        )
    if pretrained or options:
        raise ValueError("pretrained and options are for models given by name")
    return {"maker": _named(model)}


def _named(maker: Callable[..., Any]) -> str:
    """A text that tells a maker from any other."""
    if isinstance(maker, functools.partial):
        try:
            given = [as_json(value) for value in maker.args]
            given += [f"{name}={as_json(value)}" for name, value in sorted(maker.keywords.items())]
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"the arguments of a partial model are recorded, which takes numbers, texts and lists of them ({error})"
            ) from None
        return f"{_named(maker.func)}({', '.join(given)})"
    is_named = isinstance(maker, FunctionType | type) and "<lambda>" not in maker.__qualname__
    if not is_named or ("<locals>" in maker.__qualname__ and getattr(maker, "__closure__", None)):
        raise TypeError(
            f"model must be a function with a name of its own, or functools.partial(function, width=32): the sweep "
            f"records the name, to refuse another model in its folder; given {maker!r}"
        )
    return f"{maker.__module__}:{maker.__qualname__}"


def _check(planned: Sweep, data: ImageData, maker: ModelMaker | None) -> None:
    """Raise for whatever can be known before the first training."""
    for cell in planned.cells:
        config = cell.config
        try:
            check_settings(config, data)
        except ValueError as error:
            raise ValueError(f"{cell.name}: {error}") from None
    first = planned.cells[0].config
    first.device = "cpu"  # the workers' devices need not be here
    # Nothing is trained: this says whether model and data fit.
    train(new_model(planned.model, maker, data, first.seed), data, first)


def _work(
    planned: Sweep,
    maker: ModelMaker | None,
    root: str | Path | None,
    client: Client | None,
    workers: int | None,
    progress: Callable[[int, int], object] | None,
) -> dict[str, str]:
    """Train all cells that are not done, and give why some could not be, by name."""
    watched = _Watched(planned)
    left = watched.left()
    if not left:
        planned.tell({})
        return {}
    n = min(workers or gpus_of(left) or cores(), len(left))
    used = start_workers(n, threads=1) if client is None else another(client)
    engine = Engine(DaskWorkers(threads=1, connect=lambda: used))
    jobs = []
    try:
        for cell in left:
            work = CellWork(
                str(planned.path),
                planned.identity,
                cell.name,
                maker,
                root=None if root is None else str(Path(root).absolute()),
            )
            jobs.append(watched.job(cell, work))
            engine.submit(jobs[-1])
        while watched.going:
            if progress is not None:
                progress(watched.done, watched.total)
            watched.wait(_TELL_SECONDS)
        if progress is not None:
            progress(watched.done, watched.total)
    finally:
        if client is not None:  # own workers end with their client
            _stop(engine, jobs)
        engine.close()
        if used.status != "closed":  # nothing was asked of them yet
            close_workers(used)
    return watched.problems


def gpus_of(cells: Sequence[Cell]) -> int:
    """How many GPUs of this computer cells train on; 0 where they use none."""
    if all(cell.settings["device"] == "cpu" for cell in cells):
        return 0
    return torch.cuda.device_count() or int(torch.backends.mps.is_available())


def _stop(engine: Engine, jobs: Sequence[Job]) -> None:
    """End the jobs, those that wait first: none begins in the place of another."""
    left = [job for job in jobs if not job.over]
    for job in sorted(left, key=lambda job: job.status == "working"):
        engine.stop(job, "stop")
    begun = time.monotonic()
    while not all(job.over for job in left) and time.monotonic() < begun + 2 * GRACE_SECONDS:
        time.sleep(0.05)
    if (
        time.monotonic() > begun + GRACE_SECONDS / 2
    ):  # some may have been given up: their processes are to end
        time.sleep(_RESTART_SECONDS)


class _Watched:
    """How far the cells are, by what their jobs report, and which have failed."""

    def __init__(self, planned: Sweep) -> None:
        self.sweep = planned
        self.problems = planned.problems
        self.going: dict[str, Job] = {}
        self._epochs = {cell.name: 0 for cell in planned.cells}
        self._sizes = {cell.name: cell.epochs for cell in planned.cells}
        self._unseen: UnseenFolderError | None = None
        self._changed = threading.Event()

    @property
    def done(self) -> int:
        """Epochs of all cells but failed ones."""
        return sum(self._epochs[name] for name in self._sizes)

    @property
    def total(self) -> int:
        """Epochs that these have in the end."""
        return sum(self._sizes.values())

    def left(self) -> list[Cell]:
        """The cells that are not done."""
        left = []
        for cell in self.sweep.cells:
            try:
                self._epochs[cell.name] = min(len(self.sweep.journal(cell)["epochs"]), cell.epochs)
                if self.sweep.is_done(cell):
                    self._succeeded(cell.name)
                    continue
            except (RunError, KeyError):
                pass  # its worker says what is wrong
            left.append(cell)
        return left

    def job(self, cell: Cell, work: CellWork) -> Job:
        """The job of a cell, which is watched from now on."""

        def heard(report: int | UnseenFolderError) -> None:
            if isinstance(report, UnseenFolderError):
                self._unseen = report
            elif report > self._epochs[cell.name]:
                self._epochs[cell.name] = min(report, cell.epochs)
                job.progressed()

        job = self.going[cell.name] = Job(work, heard, ended=self._changed.set)
        return job

    def wait(self, seconds: float) -> None:
        """Wait until a job ends, at most for so long, and take the ends of all into account."""
        self._changed.wait(seconds)
        self._changed.clear()
        for name, job in [item for item in self.going.items() if item[1].over]:
            if self._unseen is not None:
                raise self._unseen
            if job.problem.startswith(CONNECTION_LOST):
                raise RuntimeError(f"{job.problem}; is the scheduler there still? The same call goes on")
            del self.going[name]
            if job.status == "finished":
                self._succeeded(name)
            else:
                del self._sizes[name]
                self.problems[name] = job.problem
                self.sweep.tell(self.problems)

    def _succeeded(self, name: str) -> None:
        self._epochs[name] = self._sizes[name]
        if self.problems.pop(name, None) is not None:
            self.sweep.tell(self.problems)
