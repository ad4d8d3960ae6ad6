"""A run: a folder with the settings, the weights, the state to resume from, and what was measured."""

from __future__ import annotations

import copy
import functools
import os
import platform
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from smoot_explore.compute.device import choose_hardware, describe_hardware
from smoot_explore.compute.ranks import join_ranks
from smoot_explore.core.choices import K_RULES, METHODS
from smoot_explore.core.config import LiveValues, TrainingConfig, setting_names
from smoot_explore.core.levels import masked_fractions
from smoot_explore.core.models import create_model, describe_model, freeze, frozen_parts, uncompiled
from smoot_explore.core.records import Change, DropRecord, EpochRecord, TrainingState
from smoot_explore.core.rules import k_unit, most_k, start_k
from smoot_explore.data.images import ImageData, as_described, describe_data, other_statistics
from smoot_explore.data.load import bundled_path, load_source
from smoot_explore.errors import unknown_name
from smoot_explore.files import (
    copy_file,
    read_array,
    read_json,
    regular_size,
    write_array,
    write_json,
)
from smoot_explore.runs.checkpoint import (
    RunError,
    below,
    damage_named,
    epoch_of,
    load_optimizer,
    load_weights,
    optimizer_tensors,
    packed,
    read_tensors,
    rounded,
    unpacked,
    weights_of,
    write_tensors,
)
from smoot_explore.schema import (
    READABLE_VERSIONS,
    RECORD,
    SCHEMA_VERSION,
    labelled,
    read_dataset,
    read_variable,
    write_dataset,
)

FORMAT = "smoot_explore run"
Keep = Literal["last", "all"] | int
_SCALARS = (
    "train_loss", "cross_entropy", "kl", "train_accuracy", "test_accuracy", "duration_seconds",
)  # fmt: skip
# Settings that a resumption may give anew: those in _RESUMED for good, the live ones as a live change.
_RESUMED = ("epochs", "device", "precision")
_MAY_DIFFER = {*_RESUMED, *LiveValues._fields}
# Of settings that a run does not know yet: the defaults, or what was done before there was the setting.
_DEFAULTS = {**TrainingConfig().to_dict(), "batch_norm": "both"}
_PER_IMAGE = ("k", "delta", "probability", "correct")  # of every epoch; runs of old hold the first two
_PROBE = ("fill", "attribution", "ranking", "order", "precision")  # the protocol of the accuracy drops
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class RunList(list["Run"]):
    """Runs of a folder; ``refused`` says of each other subfolder why it is not among them."""

    refused: dict[Path, str]


class Run:
    """One training run on disk. `Run.create` makes one, `open_run` opens one.

    The folder holds ``config.json`` (settings, model, data and versions at the start), ``journal.json`` (one
    entry for each completed epoch, the live changes), ``epochs/`` (k and Δ, one array each),
    ``initial.safetensors`` and ``model.safetensors`` (the initial and the latest weights), ``checkpoint/`` (all
    that is needed to go on from an epoch; `keep` says of which), ``record.nc`` (everything, once
    training is finished), ``curves/`` and ``landscape.nc``; where a probe measured while it trained (`probed`),
    also ``accuracy_drop/`` and ``probe.json``. The journal is replaced last, in one step: a kill
    at any instant loses the epoch in progress and no more. Nothing in it is a pickle. A published run
    (`publish`) holds no ``epochs/``, ``images.npy``, ``initial.safetensors``, ``accuracy_drop/`` and
    ``probe.json``, and in ``checkpoint/`` at most weights to look at.

    A model and data that the folder does not say how to make again are remembered by the object, ``own_model`` and
    ``own_data``, where it was made with them or opened with them (`open_run`).
    """

    def __init__(
        self,
        path: Path,
        description: dict[str, Any],
        journal: dict[str, Any],
        own_model: nn.Module | None = None,
        own_data: ImageData | None = None,
    ) -> None:
        self.path = path
        self.description = description
        self.journal = journal
        self.own_model, self.own_data = own_model, own_data

    def __repr__(self) -> str:
        state = "published" if self.published else "finished" if self.finished else "unfinished"
        if self.adopted:
            return f"<Run {self.path}: trained elsewhere>"
        return f"<Run {self.path}: {self.start_config['method']}, {self.epochs} epochs, {state}>"

    @classmethod
    def create(
        cls,
        path: str | Path,
        config: TrainingConfig,
        model: nn.Module,
        data: ImageData,
        keep: Keep = "last",
    ) -> Run:
        """A new run folder, with the model's present weights as the initial ones.

        Where several processes train together (docs/scaling.md), each calls it, and the first makes the folder.

        Parameters
        ----------
        keep
            Of which epochs the run holds a checkpoint, for `model_at` and `branch`: ``"last"``, ``"all"``, or how many
            of the newest. The initial weights are always held. A checkpoint of the paper's CNN with Adadelta
            takes three times the room of its weights.

        Raises
        ------
        FileExistsError
            When the folder is there and not empty.
        ValueError
            For settings that do not go together, or another ``keep``.
        """
        return create_run(Path(path), config, model, data, keep)

    def publish(self, path: str | Path, keep: Keep = "last") -> Run:
        """A compact copy of this finished run, for sharing.

        It holds the settings, the journal, the record, the curves, the landscape, and the weights rounded to
        float16, which halves their size; training cannot go on from it. Curves and landscape are copied:
        measure them again on the copy where they must be those of the rounded weights. A data set's folder
        of one's own stays named in the settings.

        Parameters
        ----------
        path
            Folder of the copy, new or empty.
        keep
            Of which of `epochs_kept` the copy holds weights, for `model_at`: ``"last"``, ``"all"``, or how many of the
            newest. Those of earlier epochs take a byte for each weight, and are exact to 1/254 of the largest of
            their row.

        Returns
        -------
        Run
            The copy, opened.

        Raises
        ------
        RunError
            When training is not finished.
        FileExistsError
            When the folder is there and not empty.
        ValueError
            For another ``keep``.
        """
        path = Path(path)
        keep = _checked_keep(keep)
        if not self.finished:
            raise RunError(
                f"{self.path} has {self.epochs} of {self.config.epochs} epochs and only a finished run can be "
                f"published; finish it first: smoot-explore train {self.path} --resume"
            )
        _refuse_occupied(path, "or delete it")
        weights = {name: rounded(tensor) for name, tensor in self._weights(self.epochs).items()}
        with _new_folder(path) as new:
            write_tensors(new / "model.safetensors", weights, self.epochs)
            write_dataset(new / "record.nc", self.record())
            earlier = [epoch for epoch in self.epochs_kept[:-1] if epoch > self.epochs - self._newest(keep)]
            for epoch in earlier:
                checkpoint = new / self._checkpoint(epoch).relative_to(self.path)
                checkpoint.parent.mkdir(exist_ok=True)
                write_tensors(checkpoint, packed(self._weights(epoch)), epoch)
            for file in [
                *self.path.glob("curves/**/*.nc"),
                *self.path.glob("landscape/**/*.nc"),
                *self.path.glob("landscape.nc"),
            ]:
                copy = new / file.relative_to(self.path)
                copy.parent.mkdir(exist_ok=True, parents=True)
                write_dataset(copy, read_dataset(file).assign_attrs(run=path.name))
            write_json(new / "journal.json", {**self.journal, "published": True})
            write_json(new / "config.json", {**self.description, "keep": keep})
        return open_run(path)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    @property
    def epochs(self) -> int:
        """Number of completed epochs."""
        return len(self.journal["epochs"])

    @property
    def finished(self) -> bool:
        """Whether training reached its last epoch."""
        return bool(self.journal["finished"])

    @property
    def published(self) -> bool:
        """Whether this is a compact copy made by `publish`."""
        return bool(self.journal.get("published", False))

    @property
    def keep(self) -> Keep:
        """Of which epochs checkpoints are kept: ``"last"``, ``"all"``, or how many of the newest."""
        return _checked_keep(self.description.get("keep", "last"))

    @property
    def epochs_kept(self) -> list[int]:
        """Epochs whose weights are held, for `model_at`: 0 for the initial ones."""
        initial = [0] if (self.path / "initial.safetensors").is_file() else []
        kept = {*initial, *(epoch for epoch in self._checkpoints() if epoch <= self.epochs), self.epochs}
        return sorted(kept)

    @property
    def weights_bytes(self) -> int:
        """What the weights take on the disk, and about as much in memory."""
        files = [self.path / f"{name}.safetensors" for name in ("model", "initial")]
        return max(file.stat().st_size for file in files if file.is_file())

    @property
    def processes(self) -> int:
        """How many processes trained it together, when it was made; see docs/scaling.md."""
        return self.description.get("processes", 1)

    @property
    def origin(self) -> dict[str, Any]:
        """Where the run comes from: ``how`` is "new", "branch", "weights", "replay", "adopted"; see docs/schema.md."""
        return self.description.get("origin", {"how": "new"})

    @property
    def adopted(self) -> bool:
        """Whether this is a classifier trained elsewhere; see `adopt`."""
        return self.origin["how"] == "adopted"

    @property
    def start_config(self) -> dict[str, Any]:
        """The settings at the start; those that the run does not know yet, with their defaults."""
        return {**_DEFAULTS, **self.description["config"]}

    @property
    def config(self) -> TrainingConfig:
        """The settings as they are now: those at the start, with what resuming and live changes made of them."""
        journal = self.journal
        return TrainingConfig.recorded(
            {**self.start_config, **journal["resumed"], **journal["live"], **journal.get("wanted", {})}
        )

    @property
    def changes(self) -> list[Change]:
        """Live changes, each with the step it took effect in."""
        return [Change(**change) for change in self.journal["changes"]]

    @property
    def augment(self) -> str | None:
        """What the images are augmented with in training (`augment_name`); None for nothing, as in runs of old."""
        return self.journal.get("augment")

    @property
    def frozen(self) -> dict[str, list[str]] | None:
        """What is frozen in training: names of ``modules`` in eval mode and of ``weights`` without a gradient.

        None for an adopted run, and for runs of old, which do not tell.
        """
        return self.journal.get("frozen")

    def live_at(self, step: int) -> LiveValues:
        """The live values that were in force at a step, counted from 1 over the whole run."""
        start = {name: float(self.start_config[name]) for name in LiveValues._fields}
        return LiveValues(
            **start | {change.name: change.new for change in self.changes if change.step <= step}
        )

    def load_data(self, root: str | Path | None = None) -> ImageData:
        """The data the run was trained on, checked by its fingerprint.

        Raises
        ------
        RunError
            When the data was put together by hand, and the run was not opened with it (``open_run(path, data=…)``), or
            is no longer the same.
        """
        if self.own_data is not None:
            return self.own_data
        source = self.description["data"]
        if "name" not in source:
            raise RunError(
                f"{self.path} was trained on data put together by hand; pass that data: open_run(path, data=…)"
            )
        data = self.as_trained(load_source(source, root))
        if data.fingerprint != source["fingerprint"]:
            raise RunError(
                f"{source['name']} is no longer the data that {self.path} was trained on (other fingerprint); "
                "restore the images, or train a new run"
            )
        return data

    def as_trained(self, data: ImageData) -> ImageData:
        """The data that the run names, with the images that it held out, and normalised as it was."""
        return as_described(data, self.description["data"])

    def load_model(self, model: nn.Module | None = None) -> nn.Module:
        """The model with its latest weights, in train mode as training left it: call ``.eval()`` to look at it.

        Parameters
        ----------
        model
            Takes the weights; needed where the run trained a module of the user's own, and was not opened with it. None
            makes the paper's CNN or the timm model that the run names, or copies the module it was opened with.
        """
        return self.model_at(self.epochs, model)

    def model_at(self, epoch: int, model: nn.Module | None = None) -> nn.Module:
        """The model with its weights after an epoch, 0 for the initial ones; in train mode, as of `load_model`.

        Parameters
        ----------
        epoch
            One of `epochs_kept`.
        model
            As for `load_model`.

        Raises
        ------
        RunError
            When the run does not hold that epoch's weights.
        """
        epoch = self._checked_epoch(epoch)
        if model is None and self.own_model is not None:
            model = copy.deepcopy(self.own_model).cpu()
        if model is None:
            source = self.description["model"]
            if source["name"] is None:
                raise RunError(
                    f"{self.path} trained a model of its own ({source['class']}); pass one: "
                    "run.load_model(MyModel()), or open_run(path, model=MyModel())"
                )
            model = create_model(
                source["name"], _Shape(self.description["data"]), **source.get("options", {})
            )
        load_weights(model, self._weights(epoch), self.path)
        if self.frozen is not None:
            freeze(model, self.frozen)
        return model

    def branch(self, epoch: int, path: str | Path, **live: float) -> Run:
        """A new run that goes on from an epoch of this one, with other live values where some are given.

        ``train(branch.load_model(), data, branch.config, run=branch)`` trains it. With no other values it gives the
        numbers of this run's later epochs, bit by bit on the same CPU, as far as nothing was moved in them: live
        changes of later epochs are not made again (`replay` makes them), and a schedule of the learning rate
        goes by the number of epochs that the run has now.

        Parameters
        ----------
        epoch
            One of `epochs_kept`; 0 begins with the initial weights.
        path
            Folder of the branch, new or empty. It holds this run's record up to the epoch, and that checkpoint alone.
        **live
            `LiveValues` from the next step on, such as ``beta=0.8``; recorded as live changes.

        Raises
        ------
        RunError
            When the run does not hold that epoch.
        ValueError
            For other names, or values out of range.
        FileExistsError
            When the folder is there and not empty.
        """
        path = Path(path)
        self._check_goes_on("a branch")
        epoch = self._checked_epoch(epoch)
        for name in live:
            if name not in LiveValues._fields:
                raise unknown_name("live value", name, LiveValues._fields)
        _refuse_occupied(path, "or delete it")
        epochs = self.journal["epochs"][:epoch]
        step = epochs[-1]["step"] if epochs else 0
        journal = {
            **self.journal, "epochs": epochs, "step": step, "live": self.live_at(step)._asdict(), "finished": False,
            "changes": [asdict(change) for change in self.changes if change.step <= step], "wanted": {},
        }  # fmt: skip
        origin = {"how": "branch", "run": self.name, "created": self.description["created"], "epoch": epoch}
        created = datetime.now(UTC).isoformat(timespec="seconds")
        description = {**self.description, "created": created, "origin": origin}
        branch = Run(path, description, journal, self.own_model, self.own_data)
        config = branch.config
        config.param.update(**live)
        config.check()
        journal["wanted"] = {name: float(getattr(config, name)) for name in live}
        files = [self.path / "images.npy", self._probe_file, self._checkpoint(epoch)]
        for i in range(1, epoch + 1):
            files += [self._epoch_file(i), self._drop_file(i)]
        weights = {name: at for name, at in (("initial", 0), ("model", epoch)) if at in self.epochs_kept}
        with _new_folder(path) as new:
            for folder in ("epochs", "checkpoint", "accuracy_drop"):
                (new / folder).mkdir()
            for file in filter(os.path.lexists, files):
                copy_file(file, new / file.relative_to(self.path))
            for name, at in weights.items():
                write_tensors(new / f"{name}.safetensors", self._weights(at), at)
            write_json(new / "journal.json", journal)
            write_json(new / "config.json", description)
        return branch

    def record(self) -> xr.Dataset:
        """Everything measured in the completed epochs; see docs/schema.md."""
        if self.published or (self.finished and (self.path / "record.nc").is_file()):
            return self._read_record()
        return self._gathered()

    def values(self, name: str) -> np.ndarray:
        """``k``, ``delta``, ``probability`` or ``correct`` ``(epoch, image)``, or ``accuracy_drop`` ``(epoch,
        masked_fraction)``, of the completed epochs: what `record` holds, without reading the rest of it.

        Raises
        ------
        RunError
            When the run does not hold it, or is damaged; a published one has its accuracy drops in the record alone.
        """
        if name == "accuracy_drop" and (probe := self.probe) is not None:
            return self._accuracy_drops(len(probe["masked_fraction"]))
        if name not in _PER_IMAGE:
            raise RunError(f"{self.path} holds no {name}; it holds {', '.join(_PER_IMAGE)} of each image")
        if self.published or (self.finished and (self.path / "record.nc").is_file()):
            with damage_named(self.path):
                return read_variable(self.path / "record.nc", name, (self.epochs, self._n_train))
        rows = [self._epoch_array(epoch)[_PER_IMAGE.index(name)] for epoch in range(1, self.epochs + 1)]
        return np.array(rows).reshape(self.epochs, self._n_train)

    def has_accuracy_drop(self, epoch: int) -> bool:
        """Whether the accuracy drop after that epoch was measured and kept."""
        return self._drop_file(epoch).is_file()

    def _read_record(self) -> xr.Dataset:
        with damage_named(self.path):
            record = read_dataset(self.path / "record.nc")
        expected = {"epoch": self.epochs, "image": self._n_train}
        sizes = {name: size for name, size in record.sizes.items() if name != "masked_fraction"}
        if record.attrs["schema"] != RECORD.name or sizes != expected:
            raise RunError(
                f"{self.path} is damaged: record.nc has the sizes {sizes}, should be a record of {expected}"
            )
        return record

    def _gathered(self) -> xr.Dataset:
        """The record put together from the journal and the epochs' arrays."""
        epochs = self.journal["epochs"]
        image_id, label = _read_array(self.path / "images.npy", (2, self._n_train))
        arrays = [self._epoch_array(entry["epoch"]) for entry in epochs]
        told = min((len(array) for array in arrays), default=len(_PER_IMAGE))
        per_image = np.array([array[:told] for array in arrays], np.float32)
        per_image = per_image.reshape(len(arrays), told, self._n_train).swapaxes(0, 1)
        scalars = {
            name: np.array([np.nan if e[name] is None else e[name] for e in epochs], float)
            for name in _SCALARS
        }
        config = {
            "start": self.start_config,
            "changes": self.journal["changes"],
            "now": self.config.to_dict(),
        }
        described: dict[str, Any] = {
            name: self.description[name]
            for name in ("created", "device", "processes", "precision", "versions", "model", "data", "origin")
            if name in self.description
        }
        if self.augment is not None:
            described["augment"] = self.augment
        variables = {**dict(zip(_PER_IMAGE, per_image, strict=False)), **scalars}
        if "correct" in variables:
            variables["correct"] = variables["correct"].astype(bool)
        coords = {
            "epoch": np.array([e["epoch"] for e in epochs], int),
            "image_id": image_id,
            "label": label,
        }
        if (probe := self.probe) is not None:
            coords["masked_fraction"] = np.array(probe.pop("masked_fraction"), float)
            variables["accuracy_drop"] = self._accuracy_drops(len(coords["masked_fraction"]))
            described["probe"] = probe
        attrs = {"n_pixels": self._n_pixels, "config": config, **described}
        return labelled(RECORD, variables, coords, attrs, k_unit(self.start_config))

    def _accuracy_drops(self, levels: int) -> np.ndarray:
        """Accuracy in per cent, ``(epoch, levels)``; NaN for epochs that were not measured."""
        drops = np.full((self.epochs, levels), np.nan)
        for i in range(self.epochs):
            if os.path.lexists(file := self._drop_file(i + 1)):
                drops[i] = _read_array(file, (levels,))
        return drops

    def save_curves(self, curves: xr.Dataset, name: str = "test", epoch: int | None = None) -> Path:
        """Keep masking curves of this run's model under a name, and give the file's path.

        ``epoch`` is the one whose weights they were measured with, one of `epochs_kept`; None for the latest.
        """
        return self._save_measured(self._curves_file(name, epoch), curves, epoch)

    def has_curves(self, name: str = "test", epoch: int | None = None) -> bool:
        """Whether masking curves were kept under this name."""
        return self._curves_file(name, epoch).is_file()

    def curves(self, name: str = "test", epoch: int | None = None) -> xr.Dataset:
        """Masking curves kept by `save_curves`, of the latest weights or of an ``epoch``'s."""
        path = self._curves_file(name, epoch)
        if not path.is_file():
            if not self._is_latest(epoch):
                raise FileNotFoundError(
                    f"{self.path} holds no curves {name!r} of epoch {epoch}; make them: run.save_curves("
                    f"masking_curves(run.model_at({epoch}), run.load_data().test), {name!r}, {epoch})"
                )
            raise FileNotFoundError(
                f"{self.path} holds no curves {name!r}; make them: smoot-explore curves {self.path}"
            )
        return read_dataset(path)

    def save_landscape(self, landscape: xr.Dataset, epoch: int | None = None) -> Path:
        """Keep the k-landscape of this run's model, and give the file's path; ``epoch`` as for `save_curves`."""
        return self._save_measured(self._landscape_file(epoch), landscape, epoch)

    def has_landscape(self, epoch: int | None = None) -> bool:
        """Whether a k-landscape was kept."""
        return self._landscape_file(epoch).is_file()

    def landscape(self, epoch: int | None = None) -> xr.Dataset:
        """The k-landscape kept by `save_landscape`, of the latest weights or of an ``epoch``'s."""
        path = self._landscape_file(epoch)
        if not path.is_file():
            of, model, at = "", "run.load_model()", ""
            if not self._is_latest(epoch):
                of, model, at = f" of epoch {epoch}", f"run.model_at({epoch})", f", {epoch}"
            raise FileNotFoundError(
                f"{self.path} holds no landscape{of}; make one: "
                f"run.save_landscape(k_landscape({model}, run.load_data().train.sample(500)){at})"
            )
        return read_dataset(path)

    # What training calls.

    def resume(
        self,
        model: nn.Module,
        state: TrainingState,
        data: ImageData,
        config: TrainingConfig,
        augment: str | None = None,
    ) -> None:
        """Put model and state where the run stopped; with no epoch completed, at the initial weights."""
        self._check_goes_on("training")
        self.check_data(data)
        self.check_settings(config)
        ranks = join_ranks()
        if ranks.rank == 0 and ranks.count != self.processes:
            warnings.warn(
                f"{self.path} was made for {self.processes} processes and goes on with {ranks.count}: its numbers are "
                "no longer those that it would have had without the stop",
                stacklevel=2,
            )
        journal = self.journal
        if self.epochs or "augment" in journal:
            self.check_augment(augment)
            self.check_frozen(model)
        else:
            journal = {**journal, "augment": augment, "frozen": frozen_parts(model)}
        resumed = {name: getattr(config, name) for name in _RESUMED}
        if self.epochs < config.epochs and resumed != journal["resumed"]:
            journal = {**journal, "resumed": resumed, "finished": False}
        elif self.epochs >= config.epochs and not self.finished:  # finished as it is, for good
            journal = {**journal, "resumed": {**journal["resumed"], "epochs": self.epochs}}
        if journal is not self.journal:
            self.journal = journal
            if ranks.rank == 0:
                write_json(self.path / "journal.json", journal)
        if self.epochs == 0:
            load_weights(model, read_tensors(self.path / "model.safetensors"), self.path)
            state.live = LiveValues(**self.journal["live"])  # what was moved since is a change at step 1
            return
        tensors = read_tensors(self._checkpoint(self.epochs))
        load_weights(model, below(tensors, "model."), self.path)
        try:
            load_optimizer(state.optimizer, below(tensors, "optimizer."))
            state.k.copy_(tensors["k"])
            state.delta.copy_(tensors["delta"])
            if state.saliency is not None:
                state.saliency.copy_(tensors["saliency"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise RunError(f"{self.path} is damaged: its checkpoint does not fit ({error})") from error
        state.epoch, state.step = self.epochs, self.journal["step"]
        state.changes[:] = self.changes
        state.told = len(state.changes)
        state.live = LiveValues(**self.journal["live"])

    def check_data(self, data: ImageData) -> None:
        """Raise `RunError` where the data are others than the run's, or normalised otherwise."""
        advice = "load its data (run.load_data()), or train a new run"
        if data.fingerprint != self.description["data"]["fingerprint"]:
            raise RunError(
                f"the data given are others than those of {self.path} (other fingerprint); {advice}"
            )
        if other := other_statistics(data, self.description["data"]):
            told = "; ".join(
                f"{name} {run.tolist()} ≠ {getattr(data, name).tolist()}" for name, run in other.items()
            )
            raise RunError(
                f"the data given are normalised by another mean or std than those of {self.path} ({told}); {advice}"
            )

    def check_settings(self, config: TrainingConfig) -> None:
        """Raise `RunError` where the settings are others than those that the run was started with.

        Those that may differ, because they do not change what was done so far, are not looked at.
        """
        given = config.to_dict()
        different = [
            f"{name} {self.start_config[name]!r} ≠ {given[name]!r}"
            for name in setting_names()
            if name not in _MAY_DIFFER and self.start_config[name] != given[name]
        ]
        if different:
            raise RunError(
                f"{self.path} was started with other settings ({'; '.join(different)}); "
                "resume it with config=run.config, or train a new run"
            )

    def check_augment(self, augment: str | None) -> None:
        """Raise `RunError` where an augmentation of this name is not what the run is trained with."""
        if augment != self.augment:
            raise RunError(
                f"{self.path} is trained with {_augment_text(self.augment)}, given {_augment_text(augment)}; pass "
                "the same as augment=…, or train a new run"
            )

    def check_frozen(self, model: nn.Module) -> None:
        """Raise `RunError` where other parts of the model are frozen than in the run; runs of old do not tell."""
        if self.frozen is None or (given := frozen_parts(model)) == self.frozen:
            return
        sides = {
            "frozen in the run alone": (self.frozen, given),
            "in the model given alone": (given, self.frozen),
        }
        alone = {
            side: [name for kind in ("modules", "weights") for name in one[kind] if name not in other[kind]]
            for side, (one, other) in sides.items()
        }
        told = "; ".join(f"{side}: {', '.join(names)}" for side, names in alone.items() if names)
        raise RunError(
            f"{self.path} is trained with other parts of the model frozen ({told}); run.load_model() freezes the same"
        )

    def write_epoch(self, record: EpochRecord, model: nn.Module, state: TrainingState) -> None:
        """Add a completed epoch. The journal comes last: until then the run is at the epoch before."""
        weights = weights_of(model)
        tensors = {f"model.{name}": value for name, value in weights.items()}
        tensors |= {f"optimizer.{name}": value for name, value in optimizer_tensors(state.optimizer)}
        tensors |= {"k": state.k, "delta": state.delta}
        if state.saliency is not None:
            tensors["saliency"] = state.saliency
        write_tensors(self._checkpoint(record.epoch), tensors, record.epoch)
        write_array(self._epoch_file(record.epoch), np.stack([getattr(record, name) for name in _PER_IMAGE]))
        entry = {name: getattr(record, name) for name in ("epoch", "step", *_SCALARS)}
        entry["k_median"] = float(np.median(record.k))
        journal = {
            **self.journal,
            "epochs": [*self.journal["epochs"], {n: _json_number(v) for n, v in entry.items()}],
            "changes": [asdict(change) for change in state.changes],
            "step": state.step,
            "live": state.live._asdict(),
            "wanted": {},
            "finished": False,
        }
        write_json(self.path / "journal.json", journal)
        self.journal = journal
        write_tensors(self.path / "model.safetensors", weights, record.epoch)
        self._delete_old_checkpoints()

    @property
    def probe(self) -> dict[str, Any] | None:
        """How the accuracy drops of this training were measured; None without any.

        ``image_ids`` of the test images, ``masked_fraction``, ``fill``, ``attribution``, ``ranking``, ``order``,
        ``precision``. A published run has it in the attributes of its record alone.
        """
        if not os.path.lexists(self._probe_file):
            return None
        probe = _read_json(self._probe_file)
        try:
            ids, fractions = probe["image_ids"], probe["masked_fraction"]
            if not ids or not all(isinstance(image_id, int) for image_id in ids):
                raise ValueError("image_ids are no positions of images")
            masked_fractions([float(fraction) for fraction in fractions])
            if not all(isinstance(probe[name], str) for name in _PROBE):
                raise ValueError(f"{', '.join(_PROBE)} are not all text")
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__} {error}"
            raise RunError(f"{self.path} is damaged: probe.json cannot be used ({reason})") from error
        return {name: probe[name] for name in ("image_ids", "masked_fraction", *_PROBE)}

    def save_accuracy_drop(self, drop: DropRecord) -> None:
        """Keep the accuracy drop after a completed epoch, for the record.

        Raises
        ------
        ValueError
            When it is no completed epoch's, or was measured otherwise than those that the run holds.
        """
        if drop.epoch not in range(1, self.epochs + 1):
            raise ValueError(
                f"{self.path} keeps accuracy drops of its completed epochs, 1 to {self.epochs}; given one of epoch "
                f"{drop.epoch:g}"
            )
        probe = {
            "image_ids": drop.image_ids.tolist(),
            "masked_fraction": drop.masked_fraction.tolist(),
            **{name: getattr(drop, name) for name in _PROBE},
        }
        kept = self.probe
        if kept is None:
            write_json(self._probe_file, probe)
        elif kept != probe:
            different = ", ".join(name for name in probe if probe[name] != kept[name])
            raise ValueError(
                f"the accuracy drops of {self.path} were measured with other {different}; measure this one alike "
                "(AccuracyDropProbe.go_on(run.probe)), or keep it elsewhere"
            )
        file = self._drop_file(int(drop.epoch))
        file.parent.mkdir(exist_ok=True)
        write_array(file, drop.accuracy)

    def finish(self) -> None:
        """Gather all epochs in ``record.nc`` and mark the run as finished."""
        write_dataset(self.path / "record.nc", self._gathered())
        latest = self.path / "model.safetensors"
        if epoch_of(latest) != self.epochs:  # a kill came between the journal and the weights
            write_tensors(latest, self._weights(self.epochs), self.epochs)
            self._delete_old_checkpoints()
        self.journal["finished"] = True
        write_json(self.path / "journal.json", self.journal)

    def _save_measured(self, path: Path, measured: xr.Dataset, epoch: int | None) -> Path:
        epoch = self.epochs if epoch is None else self._checked_epoch(epoch)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_dataset(path, measured.assign_attrs(run=self.name, epoch=epoch))
        return path

    def _curves_file(self, name: str, epoch: int | None = None) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"name must be letters, digits, '.', '_' and '-', given {name!r}")
        folder = "" if self._is_latest(epoch) else f"{epoch:04d}"
        return self.path / "curves" / folder / f"{name}.nc"

    def _landscape_file(self, epoch: int | None = None) -> Path:
        return self.path / ("landscape.nc" if self._is_latest(epoch) else f"landscape/{epoch:04d}.nc")

    def _is_latest(self, epoch: int | None) -> bool:
        return epoch is None or epoch == self.epochs

    def _weights(self, epoch: int) -> dict[str, Tensor]:
        """Weights after one of the epochs that are kept."""
        latest = self.path / "model.safetensors"
        if epoch_of(latest) == epoch:
            tensors = read_tensors(latest)
            if epoch_of(latest) == epoch:  # else a training has replaced it meanwhile
                return tensors
        initial = self.path / "initial.safetensors"
        if epoch == 0 and initial.is_file():
            return read_tensors(initial)
        with damage_named(self.path):
            return unpacked(read_tensors(self._checkpoint(epoch)))

    def _checked_epoch(self, epoch: int) -> int:
        """One of the epochs kept, as a plain number."""
        if not isinstance(epoch, Integral) or isinstance(epoch, bool):
            raise TypeError(f"epoch must be a whole number, one of run.epochs_kept; given {epoch!r}")
        kept = self.epochs_kept
        if epoch not in kept:
            raise RunError(
                f"{self.path} holds no weights of epoch {epoch}; it holds those of {', '.join(map(str, kept))} (0: the "
                "initial ones). Run.create(…, keep='all') keeps those of all epochs"
            )
        return int(epoch)

    def _check_goes_on(self, what: str) -> None:
        if self.published:
            raise RunError(
                f"{self.path} is published, and published runs hold no state to resume from; train a new run"
            )
        if self.adopted:
            raise RunError(
                f"{self.path} was trained elsewhere and holds no state that {what} could go on from; train a new run "
                "from its weights: Run.create(path, config, run.load_model(), data)"
            )

    @property
    def _n_train(self) -> int:
        return self.description["data"]["n_train"]

    @property
    def _n_pixels(self) -> int:
        """Pixels of an image, or patches where these are masked: what k counts up to."""
        _, height, width = self.description["data"]["image_shape"]
        return most_k(self.start_config, height * width)

    def _checkpoint(self, epoch: int) -> Path:
        return self.path / "checkpoint" / f"{epoch:04d}.safetensors"

    def _checkpoints(self) -> list[int]:
        """Epochs that a checkpoint of lies in the folder, increasing."""
        files = (self.path / "checkpoint").glob("*.safetensors")
        return sorted(int(file.stem) for file in files if file.stem.isdecimal())

    def _newest(self, keep: Keep) -> int:
        """How many of the epochs, the initial weights among them, are kept."""
        return self.epochs + 1 if keep == "all" else 1 if keep == "last" else keep

    def _delete_old_checkpoints(self) -> None:
        for epoch in self._checkpoints():
            if not self.epochs - self._newest(self.keep) < epoch <= self.epochs:
                self._checkpoint(epoch).unlink()

    def _epoch_file(self, epoch: int) -> Path:
        return self.path / "epochs" / f"{epoch:04d}.npy"

    @property
    def _probe_file(self) -> Path:
        return self.path / "probe.json"

    def _drop_file(self, epoch: int) -> Path:
        return self.path / "accuracy_drop" / f"{epoch:04d}.npy"

    def _epoch_array(self, epoch: int) -> np.ndarray:
        file = self._epoch_file(epoch)
        try:
            return _read_array(file, (len(_PER_IMAGE), self._n_train))
        except RunError:
            return _read_array(file, (2, self._n_train))


class _Shape:
    """What `create_model` asks of data, from a run's description."""

    def __init__(self, description: dict[str, Any]) -> None:
        channels, height, width = description["image_shape"]
        self.image_shape = (channels, height, width)
        self.n_classes = len(description["class_names"])


def create_run(
    path: Path,
    config: TrainingConfig,
    model: nn.Module,
    data: ImageData,
    keep: Keep = "last",
    origin: dict[str, Any] | None = None,
) -> Run:
    """What `Run.create` gives; ``origin`` as of `Run.origin`, None for a training of its own."""
    config.check()
    keep = _checked_keep(keep)
    ranks = join_ranks()
    if ranks.rank == 0:
        _refuse_occupied(path, "or resume the run that it holds (open_run, or train --resume)")
    device = choose_hardware(config.device, config.precision)
    description: dict[str, Any] = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": {**config.to_dict(), **_own_start(config)},
        "keep": keep,
        **({"origin": origin} if origin else {}),
        "model": describe_model(model),
        "data": describe_data(data),
        "device": describe_hardware(device.device),
        "processes": ranks.count,
        "precision": str(device.dtype).removeprefix("torch."),
        "versions": _versions(),
    }
    adopted = origin is not None and origin["how"] == "adopted"
    journal: dict[str, Any] = {
        "epochs": [], "changes": [], "step": 0, "live": config.live_values()._asdict(),
        "resumed": {}, "finished": adopted, **({} if adopted else {"frozen": frozen_parts(model)}),
    }  # fmt: skip
    if ranks.rank == 0:
        with _new_folder(path) as new:
            (new / "epochs").mkdir()
            (new / "checkpoint").mkdir()
            write_array(new / "images.npy", _image_table(data))
            for name in ("initial", "model"):
                write_tensors(new / f"{name}.safetensors", weights_of(model), epoch=0)
            write_json(new / "journal.json", journal)
            write_json(new / "config.json", description)
    own_model = uncompiled(model) if description["model"]["name"] is None else None
    return Run(path, description, journal, own_model, None if "name" in data.source else data)


def open_run(path: str | Path, *, model: nn.Module | None = None, data: ImageData | None = None) -> Run:
    """The run in a folder, checked.

    Parameters
    ----------
    model, data
        What the run was trained with, where the folder does not say how to make it again: a module of one's own, and
        data put together by hand. Its `load_model` and `load_data` give them then.

    Raises
    ------
    RunError
        Naming the folder and what is wrong, when it is not a run or is damaged.
    """
    path = Path(path)
    if not path.is_dir():
        raise RunError(f"there is no folder {path}")
    if not os.path.lexists(path / "config.json"):
        raise RunError(f"{path} is not a run: it has no config.json")
    description = _read_json(path / "config.json")
    if description.get("format") != FORMAT:
        raise RunError(f"{path} is not a run: its config.json is not smoot_explore's")
    if description.get("schema_version") not in READABLE_VERSIONS:
        raise RunError(
            f"{path} has the schema version {description.get('schema_version')!r}, only "
            f"{' and '.join(map(str, READABLE_VERSIONS))} can be read; use the version of smoot_explore that wrote it"
        )
    run = Run(path, description, _read_json(path / "journal.json"))
    try:
        _check(run)
    except RunError:
        raise
    except Exception as error:  # whatever a file from elsewhere brings about, its folder is named
        raise RunError(f"{path} is damaged: {type(error).__name__} {error}") from error
    if data is not None:
        run.check_data(data)
    run.own_model, run.own_data = model, data
    return run


def list_runs(folder: str | Path) -> RunList:
    """All runs directly in a folder, the oldest first.

    Subfolders that are not runs, or damaged ones, are left out: a warning names each with its reason, and
    ``refused`` of the result holds them.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    runs, runs_refused = RunList(), {}
    for path in sorted(p for p in folder.iterdir() if not p.name.startswith(".")):
        try:
            if path.is_dir():
                runs.append(open_run(path))
        except (RunError, OSError) as error:
            runs_refused[path] = str(error)
            warnings.warn(str(error), stacklevel=2)
    runs.sort(key=lambda run: run.description["created"])
    runs.refused = runs_refused
    return runs


def bundled_runs() -> RunList:
    """The published runs that come with the project: traditional, SGT and SMOOT, from the same initial weights.

    ``data/README.md`` says how they were trained and measured.

    Examples
    --------
    >>> [run.name for run in bundled_runs()]
    ['traditional', 'sgt', 'smoot']
    """
    runs = list_runs(bundled_path("runs"))
    runs.sort(key=lambda run: METHODS.index(run.start_config["method"]))
    return runs


@functools.cache
def bundled_reference(data_name: str | None) -> xr.Dataset | None:
    """Masking curves of the bundled traditional run, gradient and black fill, to compare those of a training with.

    None for a training on data of another name than the bundled runs'.
    """
    run = next(run for run in bundled_runs() if run.start_config["method"] == "traditional")
    if data_name != run.description["data"]["name"]:
        return None
    return run.curves().sel(attribution="gradient", fill="black")


def _own_start(config: TrainingConfig) -> dict[str, float]:
    """The share of pixels that a rule of one's own begins with, for whoever opens the run without the rule."""
    settings = config.to_dict()
    if config.method != "smoot" or config.k_rule in K_RULES:
        return {}
    return {"k_start": start_k(settings, 1)}


def _augment_text(name: str | None) -> str:
    return "no augmentation" if name is None else f"the augmentation {name}"


def _refuse_occupied(path: Path, otherwise: str) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{path} is there already and not empty; choose another folder, {otherwise}")


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill under a hidden name: a kill leaves no half a run in the place of a whole one."""
    new = path.with_name(f".{path.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        os.replace(new, path)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _checked_keep(keep: Any) -> Keep:
    if isinstance(keep, Integral) and not isinstance(keep, bool) and int(keep) >= 1:
        return int(keep)
    if keep not in ("last", "all"):
        raise ValueError(
            f"keep must be 'last', 'all', or how many of the newest epochs, 1 or more; given {keep!r}"
        )
    return keep


def _check(run: Run) -> None:
    """Raise when something that a reader relies on is missing or of another form."""
    _ = run.keep, run.origin["how"].upper()
    if not 0 <= run.origin.get("test_accuracy", 0) <= 100:
        raise ValueError("its test accuracy is no percentage")
    TrainingConfig.recorded(run.start_config)
    run.config.check()
    data = run.description["data"]
    if len(data["image_shape"]) != 3 or len(data["class_names"]) < 2 or data["n_train"] < 1:
        raise ValueError("its data has no shape, classes or images")
    _ = [torch.tensor(data[name], dtype=torch.float32) for name in ("mean", "std") if name in data]
    if "hold_out" in data:
        _check_hold_out(data["hold_out"], data)
    _ = run.description["model"]["name"], data["fingerprint"], run.description["created"].upper()
    _ = run.changes, run.finished, run.journal["step"]
    if run.processes < 1:
        raise ValueError("it was trained by no process")
    if not isinstance(run.augment, str | None):
        raise ValueError("its augmentation is no text")
    if run.frozen is not None and not all(
        isinstance(name, str) for kind in ("modules", "weights") for name in run.frozen[kind]
    ):
        raise ValueError("what is frozen is not named by texts")
    for i, entry in enumerate(run.journal["epochs"]):
        if entry.get("epoch") != i + 1 or not set(_SCALARS) <= set(entry):
            raise ValueError(f"journal.json has no complete entry for epoch {i + 1}")
    if not isinstance(run.journal["resumed"], dict) or not isinstance(run.description["model"], dict):
        raise ValueError("its settings or its model are no JSON objects")
    weights_epoch = epoch_of(run.path / "model.safetensors")
    if run.published:
        _check_published(run, weights_epoch)
        return
    for epoch in range(1, run.epochs + 1):
        if not run._epoch_file(epoch).is_file():
            raise RunError(f"{run.path} is damaged: {run._epoch_file(epoch).name} of epochs/ is missing")
    if run.epochs and not run._checkpoint(run.epochs).is_file():
        raise RunError(f"{run.path} is damaged: {run._checkpoint(run.epochs).name} of checkpoint/ is missing")
    _read_array(run.path / "images.npy", (2, run._n_train))
    _ = run.probe


def _check_hold_out(held: Any, data: dict[str, Any]) -> None:
    """Raise unless these can be the arguments of `ImageData.hold_out` that left this many training images."""
    if not isinstance(held, dict) or {*held} - {"as_test"} != {"n", "seed"}:
        raise ValueError(f"hold_out must have n, seed and at most as_test, given {held!r}")
    if (
        type(held["n"]) is not int
        or type(held["seed"]) is not int
        or type(held.get("as_test", True)) is not bool
    ):
        raise ValueError(f"hold_out must have whole numbers n and seed, given {held!r}")
    if held["n"] < 1 or held["seed"] < 0 or data.get("train") not in (None, data["n_train"] + held["n"]):
        raise ValueError(
            f"hold_out must have n of 1 or more, which with n_train={data['n_train']} are all that were loaded "
            f"({data.get('train') or 'no limit'}), and a seed of 0 or more; given {held!r}"
        )


def _check_published(run: Run, weights_epoch: int) -> None:
    """Raise when the record or the weights, all that a published run has, are not those of its last epoch."""
    if not (run.path / "record.nc").exists():
        raise RunError(f"{run.path} is damaged: it is published and its record.nc is missing")
    regular_size(run.path / "record.nc")  # read when it is asked for: a damaged file can take HDF5 for ever
    if not run.finished:
        raise ValueError("it is published, but its journal.json says that it is not finished")
    if weights_epoch != run.epochs:
        raise ValueError(f"its weights are those after epoch {weights_epoch}, not {run.epochs}, the last")


def _image_table(data: ImageData) -> np.ndarray:
    """Image ids and labels of the training images, (2, N)."""
    return torch.stack([data.train.image_ids, data.train.labels]).numpy()


def _read_json(path: Path) -> dict[str, Any]:
    with damage_named(path.parent):
        return read_json(path)


def _read_array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    with damage_named(path.parent):
        return read_array(path, shape)


def _json_number(value: float) -> float | None:
    return None if isinstance(value, float) and np.isnan(value) else value


def _versions() -> dict[str, str]:
    packages = ("smoot-explore", "torch", "torchvision", "captum", "timm", "numpy", "xarray")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
