"""A runner: carries out what targets ask for, keeps all of it on disk, and does nothing twice."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from torch import nn

from smoot_explore.compute.device import choose_hardware
from smoot_explore.core.config import TrainingConfig, setting_names
from smoot_explore.core.curves import masking_curves
from smoot_explore.core.imputation import noisy_linear
from smoot_explore.core.masking import register_fill
from smoot_explore.core.models import create_model, weights_fingerprint
from smoot_explore.core.pace import pace
from smoot_explore.core.records import StepRecord
from smoot_explore.core.training import count_steps, train
from smoot_explore.data.images import ImageData, Split, first_images
from smoot_explore.data.load import load_data
from smoot_explore.errors import unknown_name
from smoot_explore.files import write_json
from smoot_explore.reproduction.experiments import (
    EXPERIMENTS,
    MEASUREMENTS,
    ROAD_FILL,
    SCALES,
    Architecture,
    Experiment,
    Measurement,
    Scale,
)
from smoot_explore.reproduction.metrics import METRICS, Subject, Values
from smoot_explore.runs.checkpoint import RunError
from smoot_explore.runs.run import Run, open_run

register_fill(ROAD_FILL, noisy_linear)

# Work in visits of one image by traditional training: three passes forward or back count as one visit.
VISIT_COST = {"traditional": 1.0, "sgt": 2.4, "smoot": 2.4}  # measured, step against step
_PASS_COST = 1 / 3
# Passes through the model that ranking an image takes, by attribution; about 3 for the gradient.
_RANKING_PASSES = {"integrated_gradients": 96, "smoothgrad": 48, "gradient_shap": 48, "occlusion": 700}
_MAY_DIFFER = {"device", "epochs", "schedule"}  # the device, and what `_check_same` looks at itself


class Progress(NamedTuple):
    """How far the work is, in image visits of traditional training."""

    doing: str
    done: float
    total: float


class Trial(NamedTuple):
    """One training of an experiment."""

    experiment: Experiment
    variant: str
    seed: int
    run: Run


class UnavailableError(RuntimeError):
    """Data or weights that an experiment needs and that cannot be had here."""


@dataclass(frozen=True)
class Use:
    """What a target needs of an experiment: all its trainings, and these curves and metrics of each."""

    experiment: str
    curves: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


class _Job(NamedTuple):
    doing: str
    cost: float
    carry_out: Callable[[], Iterator[float]]  # yields the share done


def _last_rate(config: TrainingConfig) -> float:
    """The learning rate of the last epoch."""
    return config.learning_rate * pace(config, config.epochs - 1)


class Runner:
    """Trains, measures and keeps the results of experiments at one scale.

    ``folder`` holds ``runs/`` with a run for each training and ``metrics/`` with what else was measured of them.
    What is there and fits is used again; a run with other settings is an error and is never overwritten.

    Parameters
    ----------
    folder
        Where results live, one folder for each scale.
    scale
        One of `SCALES`.
    root
        As in `load_data`.
    cifar10
        Folder with CIFAR-10 as image files, ``train/<class>/`` and ``test/<class>/``; None takes torchvision's.
    n_seeds
        Seeds 0 … n − 1; None takes the scale's.
    weights
        Pretrained weights for the experiments that start from such, a file as `create_model` takes it. None downloads
        them at scale paper, and trains a small stand-in from scratch at the others.
    precision, device
        As in `TrainingConfig`; of the training alone. Measurements are in float32.
    """

    def __init__(
        self,
        folder: Path,
        scale: str,
        *,
        root: Path | None = None,
        cifar10: Path | None = None,
        n_seeds: int | None = None,
        weights: Path | None = None,
        precision: str = "float32",
        device: str = "auto",
    ) -> None:
        if scale not in SCALES:
            raise unknown_name("scale", scale, SCALES)
        if n_seeds is not None and n_seeds < 1:
            raise ValueError(f"a runner needs at least one seed, given {n_seeds}")
        self.folder, self.scale = folder, scale
        self.root, self.cifar10, self.n_seeds, self.device = root, cifar10, n_seeds, device
        self.weights, self.precision = weights, precision
        self._data: dict[tuple, ImageData] = {}
        self._fingerprint: str | None = None  # of the weights

    def experiment(self, use: Use) -> Experiment:
        """The experiment of a use, with what this runner changes in all of them."""
        experiment = EXPERIMENTS[use.experiment]
        experiment = experiment if self.weights is None else experiment.fine_tuned()
        return replace(experiment, settings={"precision": self.precision, **experiment.settings})

    def size(self, experiment: Experiment) -> Scale:
        """The experiment's size at this runner's scale."""
        return experiment.scales[self.scale]

    def seeds(self, experiment: Experiment) -> tuple[int, ...]:
        """The seeds of an experiment."""
        return self.size(experiment).seeds if self.n_seeds is None else tuple(range(self.n_seeds))

    def data_title(self, experiment: Experiment) -> str:
        """Name of the images for people: the experiment's, or that of what stands in for them at this scale."""
        return experiment.stand_in(self.scale) or experiment.title

    def data(self, experiment: Experiment) -> ImageData:
        """The images of an experiment.

        Raises
        ------
        UnavailableError
            When they cannot be had; the message says what to do.
        """
        size = self.size(experiment)
        name: str | Path = size.data or experiment.data
        if name == "cifar10" and self.cifar10 is not None:
            name = self.cifar10.resolve()
        key = (name, size.train, size.test)
        if key not in self._data:
            try:
                self._data[key] = load_data(name, size.train, size.test, self.root)
            except (RuntimeError, FileNotFoundError) as error:
                hint = ". CIFAR-10 as image files: --cifar10 FOLDER" if name == "cifar10" else ""
                raise UnavailableError(f"{error}{hint}") from error
        return self._data[key]

    def trials(self, experiment: Experiment) -> list[Trial]:
        """All trainings of an experiment, which `work` has carried out."""
        return [
            Trial(experiment, variant, seed, open_run(self._run_folder(experiment, variant, seed)))
            for variant in experiment.variants
            for seed in self.seeds(experiment)
        ]

    def model(self, run: Run) -> nn.Module:
        """A run's trained model, on the device."""
        return run.load_model().to(choose_hardware(self.device).device).eval()

    def few(self, experiment: Experiment) -> Split:
        """The test images for what costs much."""
        return first_images(self.data(experiment).test, self.size(experiment).few_images)

    def metric(self, trial: Trial, name: str) -> Values:
        """What a metric measured, which `work` has carried out."""
        values = self._kept_values(trial.run, trial.experiment, name)
        if values is None:
            raise FileNotFoundError(f"{self._values_file(trial.run, name)} is missing or out of date")
        return values

    def work(self, uses: Sequence[Use]) -> Iterator[Progress]:
        """Carry out what is missing, and yield how far it is.

        It may be stopped at any instant; the next call goes on there. A training loses at most the epoch in
        progress, a measurement is made again.

        Raises
        ------
        UnavailableError
            When data or pretrained weights cannot be had.
        RunError
            When a folder holds a run with other settings, data or model.
        """
        for use in uses:
            self.data(self.experiment(use))  # what cannot be had is said before an hour of training
        jobs = [job for use in uses for job in self._jobs(use)]
        done, total = 0.0, sum(job.cost for job in jobs)
        for job in jobs:
            yield Progress(job.doing, done, total)
            for share in job.carry_out():
                yield Progress(job.doing, done + share * job.cost, total)
            done += job.cost
        yield Progress("done", total, total)

    def cost(self, uses: Sequence[Use]) -> float:
        """The work that these uses take from nothing, in image visits of traditional training."""
        return sum(
            self._training_cost(experiment, variant)
            + sum(self._curves_cost(experiment, MEASUREMENTS[name]) for name in use.curves)
            + sum(self._metric_cost(experiment, name) for name in use.metrics)
            for use, experiment in zip(uses, map(self.experiment, uses), strict=True)
            for variant in experiment.variants
            for _ in self.seeds(experiment)
        )

    def minutes(self, uses: Sequence[Use]) -> float:
        """The time that these uses take from nothing on two CPU cores; an estimate."""
        return sum(self.cost([use]) * self.experiment(use).visit_milliseconds for use in uses) / 60_000

    def _jobs(self, use: Use) -> Iterator[_Job]:
        """What is missing, seed by seed, so that a stop leaves whole seeds."""
        experiment = self.experiment(use)
        for seed, variant in itertools.product(self.seeds(experiment), experiment.variants):
            folder = self._run_folder(experiment, variant, seed)
            run = self._known_run(experiment, variant, seed)
            if run is None or not run.finished:
                share_done = (run.epochs if run else 0) / experiment.config(variant, self.scale, seed).epochs
                cost = (1 - share_done) * self._training_cost(experiment, variant)
                yield _Job(f"train {folder.name}", cost, partial(self._train, experiment, variant, seed))
            for name in use.curves:
                if run is None or not run.finished or not self._has_curves(run, experiment, name):
                    cost = self._curves_cost(experiment, MEASUREMENTS[name])
                    measure = partial(self._measure, folder, experiment, MEASUREMENTS[name])
                    yield _Job(f"curves {name!r} of {folder.name}", cost, measure)
            for name in use.metrics:
                if run is None or self._kept_values(run, experiment, name) is None:
                    cost = self._metric_cost(experiment, name)
                    evaluate = partial(self._evaluate, folder, experiment, name)
                    yield _Job(f"{name} of {folder.name}", cost, evaluate)

    def _run_folder(self, experiment: Experiment, variant: str, seed: int) -> Path:
        return self.folder / "runs" / f"{experiment.name}-{variant}-seed{seed}"

    def _known_run(self, experiment: Experiment, variant: str, seed: int) -> Run | None:
        """The run on disk, checked to be the target's; None where there is none."""
        folder = self._run_folder(experiment, variant, seed)
        if not folder.exists():
            return None
        run = open_run(folder)
        self._check_same(run, experiment, experiment.config(variant, self.scale, seed))
        return run

    def _check_same(self, run: Run, experiment: Experiment, config: TrainingConfig) -> None:
        """Raise when a run is not the one that the target would train."""
        asked, found = config.to_dict(), run.start_config
        different = [
            f"{name} {found[name]!r} instead of {asked[name]!r}"
            for name in setting_names()
            if name not in _MAY_DIFFER and found[name] != asked[name]
        ]
        if run.config.epochs != config.epochs:
            different.append(f"epochs {run.config.epochs} instead of {config.epochs}")
        # Runs of before there was the setting moved the learning rate while they trained, to the same end.
        last_rate, expected_rate = _last_rate(run.config), _last_rate(config)
        if run.finished and last_rate != expected_rate:
            different.append(f"last learning_rate {last_rate!r} instead of {expected_rate!r}")
        elif not run.finished and found["schedule"] != config.schedule:
            different.append(f"schedule {found['schedule']!r} instead of {config.schedule!r}")
        asked_model, model = experiment.architecture_at(self.scale), run.description["model"]
        found_model = Architecture(model["name"], model.get("options", {}), model.get("pretrained", False))
        if found_model != asked_model:
            different.append(f"model {found_model} instead of {asked_model}")
        if model.get("weights") != self._weights_used(asked_model):
            different.append("other pretrained weights")
        if run.description["data"]["fingerprint"] != self.data(experiment).fingerprint:
            different.append("other images (another fingerprint)")
        if different:
            raise RunError(
                f"{run.path} is not the run that this target needs: {'; '.join(different)}. "
                "Choose another --out, or move that folder away"
            )

    def _weights_used(self, architecture: Architecture) -> str | None:
        """The fingerprint of the file of weights that a training of this model starts from, if one does."""
        if self.weights is None or not architecture.pretrained:
            return None
        if self._fingerprint is None:
            self._fingerprint = weights_fingerprint(self.weights)
        return self._fingerprint

    def _train(self, experiment: Experiment, variant: str, seed: int) -> Iterator[float]:
        data = self.data(experiment)
        config = experiment.config(variant, self.scale, seed, self.device)
        architecture = experiment.architecture_at(self.scale)
        run = self._known_run(experiment, variant, seed)
        # a run brings its own weights
        pretrained = architecture.pretrained and run is None and (self.weights or True)
        try:
            model = create_model(
                architecture.name, data, pretrained=pretrained, seed=seed, **architecture.options
            )
        except RuntimeError as error:
            raise UnavailableError(str(error)) from error
        if run is None:
            run = Run.create(self._run_folder(experiment, variant, seed), config, model, data)
        else:
            config.param.update(**run.config.live_values()._asdict())
        start = run.epochs
        steps = count_steps(len(data.train), config.batch_size)
        for record in train(model, data, config, run=run, every=max(1, steps // 20)):
            within = record.step_in_epoch / steps if isinstance(record, StepRecord) else 0
            whole = record.epoch - 1 if isinstance(record, StepRecord) else record.epoch
            yield (whole + within - start) / (config.epochs - start)

    def _split(self, experiment: Experiment, measurement: Measurement) -> Split:
        size, test = self.size(experiment), self.data(experiment).test
        return first_images(test, size.few_images if measurement.few else size.curve_images)

    def _attributions(self, experiment: Experiment, measurement: Measurement) -> tuple[str, ...]:
        return measurement.attributions or self.size(experiment).attributions

    def _measure(self, folder: Path, experiment: Experiment, measurement: Measurement) -> Iterator[float]:
        """One attribution after the other, which gives what one call for all would give."""
        run = open_run(folder)
        model, split = self.model(run), self._split(experiment, measurement)
        attributions = self._attributions(experiment, measurement)
        parts = []
        for i, attribution in enumerate(attributions, start=1):
            protocol = (self.size(experiment).levels, measurement.order, measurement.fills, [attribution])
            parts.append(masking_curves(model, split, *protocol, signed=measurement.signed))
            yield i / len(attributions)
        curves = xr.concat(parts, "attribution", combine_attrs="identical", data_vars="minimal")
        run.save_curves(curves, measurement.name)

    def _has_curves(self, run: Run, experiment: Experiment, name: str) -> bool:
        """Whether the run holds these curves, measured as the target would. Others are measured anew."""
        if not run.has_curves(name):
            return False
        curves, measurement = run.curves(name), MEASUREMENTS[name]
        found = [curves.attrs[key] for key in ("epoch", "order", "ranking", "precision", "seed")]
        ranking = "signed" if measurement.signed else "magnitude"
        return (
            found == [run.epochs, measurement.order, ranking, "float32", 0]
            and tuple(np.atleast_1d(curves.fill.values)) == measurement.fills
            and tuple(np.atleast_1d(curves.attribution.values)) == self._attributions(experiment, measurement)
            and curves.sizes["masked_fraction"] == self.size(experiment).levels + 1
            and np.array_equal(curves.image_id, self._split(experiment, measurement).image_ids)
        )

    def _evaluate(self, folder: Path, experiment: Experiment, name: str) -> Iterator[float]:
        run = open_run(folder)
        subject = Subject(run, self.model(run), self.data(experiment), self.few(experiment))
        values = {key: None if math.isnan(v) else v for key, v in METRICS[name].measure(subject).items()}
        file = self._values_file(run, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {"of": self._evaluated(run, experiment), "values": values})
        yield 1.0

    def _kept_values(self, run: Run, experiment: Experiment, name: str) -> Values | None:
        file = self._values_file(run, name)
        kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        if kept.get("of") != self._evaluated(run, experiment):
            return None
        return {key: math.nan if value is None else value for key, value in kept["values"].items()}

    def _evaluated(self, run: Run, experiment: Experiment) -> dict[str, Any]:
        n_images = len(self.few(experiment))
        return {"created": run.description["created"], "epoch": run.epochs, "images": n_images}

    def _values_file(self, run: Run, name: str) -> Path:
        return self.folder / "metrics" / f"{run.name}-{name}.json"

    def _training_cost(self, experiment: Experiment, variant: str) -> float:
        config = experiment.config(variant, self.scale, 0)
        images = self.size(experiment).train or experiment.full[0]
        return VISIT_COST[config.method] * images * config.epochs

    def _curves_cost(self, experiment: Experiment, measurement: Measurement) -> float:
        size = self.size(experiment)
        limit = size.few_images if measurement.few else size.curve_images
        images = limit or size.test or experiment.full[1]
        passes = sum(
            _RANKING_PASSES.get(attribution, 3) + size.levels * len(measurement.fills)
            for attribution in self._attributions(experiment, measurement)
        )
        return images * passes * _PASS_COST

    def _metric_cost(self, experiment: Experiment, name: str) -> float:
        images = self.size(experiment).few_images or experiment.full[1]
        return images * METRICS[name].passes * _PASS_COST
