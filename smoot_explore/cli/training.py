"""Training from a terminal: one run, a resumed one, and the demonstration of all three methods."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

from smoot_explore.cli.results import measure, print_table
from smoot_explore.cli.terminal import INTERRUPTED, progress_bar, stderr, stdout
from smoot_explore.compute.device import hardware_of
from smoot_explore.compute.ranks import join_ranks
from smoot_explore.core.choices import METHODS
from smoot_explore.core.config import TrainingConfig, setting_names
from smoot_explore.core.models import create_model, weights_fingerprint
from smoot_explore.core.probe import probed
from smoot_explore.core.records import DropRecord, EpochRecord, StepRecord
from smoot_explore.core.saliency import saliency
from smoot_explore.core.training import count_steps, train
from smoot_explore.data.images import ImageData
from smoot_explore.data.load import load_data
from smoot_explore.data.names import DATASETS
from smoot_explore.engine.cluster import Scheduler
from smoot_explore.engine.engine import Engine
from smoot_explore.engine.recipe import OnDisk
from smoot_explore.engine.training_work import Ready, StepReport
from smoot_explore.engine.trainings import Training
from smoot_explore.engine.workers import DaskWorkers
from smoot_explore.runs.checkpoint import RunError
from smoot_explore.runs.claim import claim_of, claimed
from smoot_explore.runs.compare import compare_runs
from smoot_explore.runs.run import Run, open_run
from smoot_explore.runs.table import counted

Records = Generator[StepRecord | EpochRecord | DropRecord | None]
DEMO_BATCH_SIZE = 64  # small, so that a few epochs are enough steps for the methods to come close


def train_run(
    folder: Path,
    config: TrainingConfig,
    source: Sequence[Any],
    model_name: str,
    pretrained: bool | Path,
    model_options: Sequence[str],
    keep: Any,
    hold_out: int | None,
    as_json: bool,
    scheduler: Scheduler | None,
) -> None:
    """Train a new run and print its row; ``source`` are the arguments of `load_data`."""
    _check_alone(scheduler)
    data = load_data(*source)
    if hold_out is not None:
        data = data.hold_out(hold_out, data.source["seed"], as_test=True)
    options = dict(name_and_value(text) for text in model_options)
    if ":" in model_name:
        raise click.UsageError(
            f"train takes models by name, given {model_name!r}; sweep --model takes functions of your own, and from "
            "Python train(model, data, config, run=run) takes any model"
        )
    model = create_model(model_name, data, pretrained, config.seed, **options)
    run = Run.create(folder, config, model, data, keep)
    if scheduler is None:
        with _alone_in(run):
            _train_and_print(run, _records(run, model, data, config), config, as_json)
    else:
        _train_and_print(run, _records_from(scheduler, run, config, source[3]), config, as_json)


def resume_run(
    folder: Path, given: dict[str, Any], root: Path | None, as_json: bool, scheduler: Scheduler | None
) -> None:
    """Go on with a run unless it is finished, and print its row.

    Of the options ``given``, by their parameters' names, those on data and model must be the run's.
    """
    _check_alone(scheduler)
    first = _is_first()
    run = open_run(folder)
    _check_same(run, given)
    config = run.config
    config.param.update(**{name: given[name] for name in setting_names() if name in given})
    run.check_settings(config)
    if run.finished and config.epochs <= run.epochs:
        stderr.print(
            f"{run.path} is finished: {counted(run.epochs, 'epoch')}; a larger --epochs goes on",
            soft_wrap=True,
        )
        if first:
            print_table(compare_runs([run]), as_json, folder=run.path)
        return
    if scheduler is None:
        with _alone_in(run):
            run = open_run(folder)  # what it held before somebody may have added to
            records = _records(run, run.load_model(), run.load_data(root), config)
            _train_and_print(run, records, config, as_json)
    else:
        _train_and_print(run, _records_from(scheduler, run, config, root), config, as_json)


@contextmanager
def _alone_in(run: Run) -> Iterator[None]:
    """A block in which nobody else trains in a run's folder: workers, sweeps, other commands.

    Raises
    ------
    RunError
        When somebody does.
    """
    with ExitStack() as held:
        if join_ranks().rank == 0:
            try:
                mine = held.enter_context(claimed(claim_of(run.path), lambda: False))
            except OSError as error:  # a file system without locks has always done for one command
                stderr.print(f"warning: {error}", highlight=False, markup=False, soft_wrap=True)
                mine = True
            if not mine:
                raise RunError(f"another process trains in {run.path}; wait for it, or stop it")
        yield


def _check_same(run: Run, given: dict[str, Any]) -> None:
    data, model = run.description["data"], run.description["model"]
    held = data.get("hold_out", {})
    of_run = {
        "data_name": data.get("name"), "train_images": data.get("train"), "test_images": data.get("test"),
        "image_size": data.get("image_size"), "data_seed": data.get("seed"), "model_name": model["name"],
        "hold_out": held["n"] if held.get("as_test") else None,
        "pretrained": model.get("pretrained") and "weights" not in model, "weights": model.get("weights"),
        "model_options": model.get("options"), "keep": str(run.keep),
    }  # fmt: skip
    told = {name: given[name] for name in of_run if name in given}
    if told.get("data_name", DATASETS[0]) not in DATASETS:
        told["data_name"] = str(Path(told["data_name"]).resolve())
    if "weights" in told:
        told["weights"] = weights_fingerprint(told["weights"])
    if "model_options" in told:
        told["model_options"] = dict(name_and_value(text) for text in told["model_options"])
    different = [
        f"{name} {of_run[name]!r} ≠ {value!r}" for name, value in told.items() if of_run[name] != value
    ]
    if different:
        raise click.UsageError(
            f"{run.path} was started with other options ({'; '.join(different)}): leave them out to go on with it, or "
            "name another RUN"
        )


def _train_and_print(run: Run, records: Records, config: TrainingConfig, as_json: bool) -> None:
    first = _is_first()
    done = _train(run, records, config, quiet=as_json)
    run = open_run(run.path)  # as a worker has left it
    if not done:
        n = join_ranks().count
        command = "smoot-explore" if n == 1 else f"torchrun --nproc-per-node {n} -m smoot_explore"
        stderr.print(
            f"stopped with {counted(run.epochs, 'epoch')} kept. Go on with: {command} train {run.path} --resume",
            soft_wrap=True,
        )
        sys.exit(INTERRUPTED)
    if first:
        print_table(compare_runs([run]), as_json, folder=run.path)


def _check_alone(scheduler: Scheduler | None) -> None:
    if scheduler is not None and join_ranks().count > 1:
        raise click.UsageError("torchrun trains in its own processes; leave out --scheduler, or torchrun")


def _is_first() -> bool:
    """Whether this is the process that prints: all others of a training by ``torchrun`` are silent."""
    first = join_ranks().rank == 0
    stdout.quiet = stderr.quiet = not first
    return first


def demo(
    out: Path, epochs: int, train_images: int, test_images: int, seed: int, keep: Any, as_json: bool
) -> None:
    """Train the three methods from the same initial weights on the bundled sample, and compare them."""
    data = load_data("fashion-mnist-sample", train_images, test_images)
    runs, models = {}, {}
    for method in METHODS:
        config = TrainingConfig(
            method=method, epochs=epochs, seed=seed, batch_size=DEMO_BATCH_SIZE, schedule="settle",
            precision="float32",  # the same format, and nearly the same numbers, on every machine
        )  # fmt: skip
        model = create_model("cnn", data, seed=seed)
        folder = out / method
        if (folder / "config.json").is_file():
            run = open_run(folder)
            config.param.update(**run.config.live_values()._asdict())
            if run.epochs > epochs:
                raise ValueError(
                    f"{folder} has {run.epochs} epochs, more than {epochs}; choose another --out"
                )
        else:
            run = Run.create(folder, config, model, data, keep)
        with _alone_in(run):
            done = _train(run, _records(run, model, data, config), config, quiet=as_json)
        if not done:
            stderr.print("stopped; the same command goes on from here")
            sys.exit(INTERRUPTED)
        runs[method], models[method] = run, run.load_model(model)
        if not run.has_curves() or run.curves().attrs["epoch"] != run.epochs:
            fills = ["black", "mean", "remaining"]
            measure(run, model, data.test, "test", fill=fills, precision="float32")
    written = _demo_figures(out, data, runs, models)
    print_table(compare_runs(runs.values()), as_json, folder=out)
    if not as_json:
        pictures = "\n".join(f"  {path}" for path in written if path.suffix == ".png")
        stdout.print(f"\nfigures (PNG, and SVG beside them):\n{pictures}", highlight=False, soft_wrap=True)


def _records(run: Run, model: Any, data: ImageData, config: TrainingConfig) -> Records:
    """Those of a training here. The accuracy drops go into the run."""
    steps = count_steps(len(data.train), config.batch_size)
    trained = train(model, data, config, run=run, every=max(1, steps // 20))
    return probed(trained, model, data, config, run=run)  # type: ignore[return-value]  # a generator


def _records_from(scheduler: Scheduler, run: Run, config: TrainingConfig, root: Path | None) -> Records:
    """Those of a training by a worker of a scheduler, and None in between; closing it stops the training."""
    stderr.print(
        f"{run.path} is trained by a worker at {scheduler.address}, as soon as one is free", soft_wrap=True
    )
    engine = Engine(DaskWorkers(connect=scheduler.connect))
    recipe = OnDisk(run.path.absolute(), root and root.absolute())
    training = Training(engine, config, recipe, max_minutes=math.inf)
    try:
        training.start()
        for reports in training.until_ended():
            yield None
            for report in reports:
                if isinstance(report, StepReport):
                    yield report.record
                elif isinstance(report, EpochRecord):
                    yield report
                elif isinstance(report, Ready) and training.lost:
                    stderr.print(f"its worker was lost; another goes on after epoch {report.epochs}")
        if training.status == "failed":
            kept = open_run(run.path).epochs
            on = f"; {counted(kept, 'epoch')} kept, the same command with --resume goes on" if kept else ""
            raise RuntimeError(training.problem + on)
    finally:
        training.stop()
        for _ in training.until_ended():
            pass  # until it has ended
        engine.close()


def _train(run: Run, records: Records, config: TrainingConfig, *, quiet: bool) -> bool:
    """Train with a progress bar; False when the user interrupted it."""
    steps = count_steps(run.description["data"]["n_train"], config.batch_size)
    with progress_bar(f"{config.method}", config.epochs * steps, "epoch 0") as update:
        try:
            update(completed=run.epochs * steps)
            for record in records:
                if isinstance(record, StepRecord):
                    speed = f"epoch {record.epoch}/{config.epochs}  {record.images_per_second:,.0f} images/s"
                    update(completed=record.step, state=speed)
                elif isinstance(record, EpochRecord):
                    update(completed=record.step)
                    if not quiet:
                        stdout.print(_epoch_line(config, record), highlight=False)
                else:
                    update()
        except KeyboardInterrupt:
            records.close()
            return False
    return True


def _epoch_line(config: TrainingConfig, record: EpochRecord) -> str:
    k = f"k {record.k.min():.0f}/{np.median(record.k):.0f}/{record.k.max():.0f}  "
    return (
        f"{config.method:<11} epoch {record.epoch:>3}/{config.epochs}  loss {record.train_loss:.3f}  "
        f"test accuracy {record.test_accuracy:.1f} %  {'' if config.method == 'traditional' else k}"
        f"{record.duration_seconds:.1f} s"
    )


def _demo_figures(out: Path, data: ImageData, runs: dict[str, Run], models: dict[str, Any]) -> list[Path]:
    from smoot_explore import views

    curves = {method: run.curves() for method, run in runs.items()}
    motive = curves["traditional"].isel(fill=0)
    shown = data.test[[int((data.test.labels == label).nonzero()[0]) for label in range(data.n_classes)]]
    maps = {}
    for method, model in models.items():
        images, labels = shown.batch(slice(None), hardware_of(model))
        maps[method] = saliency(model, images, labels).cpu().numpy()
    drawn = {
        "accuracy_drop": views.accuracy_drop(curves),
        "masking_curves": views.masking_curves(motive),
        "k_trajectories": views.k_spread(runs["smoot"].record()),
        "saliency": views.saliency_maps(shown, maps),
    }
    return [path for name, picture in drawn.items() for path in views.save(picture, out / name)]


def name_and_value(text: str) -> tuple[str, Any]:
    """A --model-option as the name and the value of an argument."""
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--model-option")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
