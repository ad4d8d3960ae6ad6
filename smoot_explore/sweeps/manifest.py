"""A sweep on disk: ``sweep.json`` says what is swept, and each cell is a run in a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch

from smoot_explore.core.config import TrainingConfig, setting_names
from smoot_explore.data.images import ImageData, Split, as_described, describe_data
from smoot_explore.data.load import load_source
from smoot_explore.files import FileError, read_array, read_json, write_array, write_json
from smoot_explore.runs.checkpoint import RunError, damage_named, read_tensors, write_tensors
from smoot_explore.runs.run import open_run
from smoot_explore.sweeps.grid import Cell, cells

FORMAT = "smoot_explore sweep"
_VERSION = 1
AREAS = ".areas"


@dataclass(frozen=True)
class Sweep:
    """What a sweep trains, as its ``sweep.json`` says it.

    Attributes
    ----------
    path
        Its folder.
    over
        The values of each swept setting.
    settings
        All settings; those of swept names have no meaning.
    data
        As of `describe_data`.
    model
        ``name``, ``pretrained`` and ``options`` of `create_model`, or the ``maker``'s name. Of pretrained weights in a
        file also the ``file``'s place, and ``weights``, which tells them from any others.
    keep
        As for `Run.create`.
    curves
        Protocol of the masking curves that each cell ends with; None without.
    identity
        Tells this sweep from any other that may be seen under the same path.
    created
        When, in UTC.
    """

    path: Path
    over: dict[str, list[Any]]
    settings: dict[str, Any]
    data: dict[str, Any]
    model: dict[str, Any]
    keep: Any
    identity: str
    created: str
    curves: dict[str, Any] | None = None

    @classmethod
    def of(
        cls,
        path: Path,
        over: dict[str, list[Any]],
        config: TrainingConfig,
        data: ImageData,
        model: dict[str, Any],
        keep: Any,
        curves: dict[str, Any] | None = None,
    ) -> Sweep:
        """A sweep that is not on disk yet."""
        created = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(
            path, over, config.to_dict(), describe_data(data), model, keep, uuid4().hex, created, curves
        )

    @classmethod
    def read(cls, path: Path) -> Sweep:
        """The sweep in a folder.

        Raises
        ------
        RunError
            When it is none, or damaged.
        """
        if not os.path.lexists(path / "sweep.json"):
            raise RunError(f"{path} is not a sweep: it has no sweep.json")
        with damage_named(path):
            content = read_json(path / "sweep.json")
        if content.get("format") != FORMAT or content.get("version") != _VERSION:
            raise RunError(f"{path} is not a sweep that this version of smoot_explore can read")
        try:
            content.setdefault("curves", None)  # of the first sweeps
            found = cls(path, **{f.name: content[f.name] for f in fields(cls) if f.name != "path"})
            (
                found.curve_fills,
                found.cells[0].config,
                found.data["n_train"] + 0,
                found.data["fingerprint"].upper(),
                [size + 0 for size in found.data["image_shape"]][2],
            )
        except Exception as error:  # whatever a file from elsewhere brings about, its folder is named
            raise RunError(f"{path} is damaged: sweep.json, {type(error).__name__} {error}") from error
        return found

    @cached_property
    def cells(self) -> list[Cell]:
        """All trainings."""
        return cells(self.settings, self.over)

    def write(self, data: ImageData) -> None:
        """Put it on disk; data put together by hand go with it, so that workers and later calls have them."""
        self.path.mkdir(parents=True, exist_ok=True)
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "path"}
        write_json(self.path / "sweep.json", {"format": FORMAT, "version": _VERSION, **content})
        if not (images := self.path / "images.npy").exists():
            write_array(images, torch.stack([data.train.image_ids, data.train.labels]).numpy())
        if "name" not in self.data and not self._data_file.exists():
            write_tensors(self._data_file, _tensors(data), 0)

    def extended(self, other: Sweep) -> Sweep:
        """This sweep with the values, epochs and masking curves that another one of the same trainings has more.

        Raises
        ------
        RunError
            Saying in what the other differs otherwise.
        """
        different = []
        if list(self.over) != list(other.over):
            different.append(f"over {', '.join(self.over)} ≠ {', '.join(other.over)}")
        for name, values in self.over.items():
            missing = [value for value in values if value not in other.over.get(name, values)]
            if missing:
                different.append(f"{name} without {', '.join(map(repr, missing))}")
        mine, theirs = (
            {**TrainingConfig.recorded(sweep.settings).to_dict(), "epochs": 0} for sweep in (self, other)
        )
        different += [
            f"{name} {mine[name]!r} ≠ {theirs[name]!r}"
            for name in setting_names()
            if name not in self.over and mine[name] != theirs[name]
        ]
        if self.data["fingerprint"] != other.data["fingerprint"]:
            different.append("other images (another fingerprint)")
        different += [
            f"{name} {_short(self.data[name])} ≠ {_short(other.data[name])}"
            for name in ("mean", "std")
            if self.data.get(name, other.data[name]) != other.data[name]
        ]
        if _without_place(self.model) != _without_place(other.model):
            different.append(f"model {self.model} ≠ {other.model}")
        if self.keep != other.keep:
            different.append(f"keep {self.keep!r} ≠ {other.keep!r}")
        different += self._lost_epochs(other)
        if different:
            raise RunError(
                f"{self.path} holds another sweep ({'; '.join(different)}); more values of a swept setting and more "
                "epochs may be added, for anything else choose another folder"
            )
        settings = {**self.settings, "epochs": other.settings["epochs"]}
        return replace(
            self, over=other.over, settings=settings, model=other.model, curves=other.curves or self.curves
        )

    def _lost_epochs(self, other: Sweep) -> list[str]:
        """Why the cells could not be prolonged to what they would have been with so many epochs at first."""
        before, after = self.settings["epochs"], other.settings["epochs"]
        if "epochs" in self.over or after == before:
            return []
        if after < before:
            return [f"epochs {before} ≠ {after}, fewer"]
        schedules = {cell.settings["schedule"] for cell in self.cells} - {"constant"}
        return (
            [f"more epochs, which change a {' and a '.join(sorted(schedules))} schedule"] if schedules else []
        )

    def load_data(self, root: str | Path | None = None) -> ImageData:
        """The data that the cells train on, checked by their fingerprint."""
        if "name" in self.data:
            data = as_described(load_source(self.data, root), self.data)
        else:
            data = _data(read_tensors(self._data_file), tuple(self.data["class_names"]))
        if data.fingerprint != self.data["fingerprint"]:
            raise RunError(
                f"{self.path} was started on other data than {self.data.get('name', 'its data file')} holds"
            )
        return data

    def images(self) -> np.ndarray:
        """Image ids and labels of the training images, int64 ``(2, N)``."""
        with damage_named(self.path):
            return read_array(self.path / "images.npy", (2, self.data["n_train"]))

    def folder(self, cell: Cell) -> Path:
        """Where a cell's run is."""
        return self.path / cell.name

    @property
    def claim(self) -> Path:
        """The file whose lock the one holds that works on the sweep; the sweep's folder is made for it."""
        self.path.mkdir(parents=True, exist_ok=True)
        return self.path / ".claim"

    def journal(self, cell: Cell) -> dict[str, Any]:
        """The journal of a cell's run; one without epochs where there is no run yet.

        Raises
        ------
        RunError
            When it is damaged.
        """
        if not os.path.lexists(file := self.folder(cell) / "journal.json"):
            return {"epochs": [], "finished": False}
        with damage_named(file.parent):
            journal = read_json(file)
            if not isinstance(journal.get("epochs"), list) or "finished" not in journal:
                raise FileError(
                    f"{file.name} has no list of epochs, or does not say whether training is finished"
                )
        return journal

    def is_done(self, cell: Cell) -> bool:
        """Whether a cell's training has reached its last epoch, and its curves are measured.

        Raises
        ------
        RunError
            When its run is damaged.
        """
        journal = self.journal(cell)
        if not journal["finished"] or len(journal["epochs"]) < cell.epochs:
            return False
        open_run(self.folder(cell))
        return self.curves is None or self.areas(cell) is not None

    @property
    def curve_fills(self) -> list[str]:
        """The fills of the masking curves."""
        return [] if self.curves is None else [str(fill) for fill in self.curves["fill"]]

    def areas(self, cell: Cell) -> list[float] | None:
        """Area under the accuracy drop of a cell's masking curves for each fill, in per cent; None where they were
        not measured, or by another protocol, or of fewer epochs."""
        if not os.path.lexists(file := self._areas_file(cell)):
            return None
        with damage_named(self.path):
            content = read_json(file)
            if content.get("curves") != self.curves or content.get("epochs") != cell.epochs:
                return None
            try:
                return [float(content["areas"][fill]) for fill in self.curve_fills]
            except (KeyError, TypeError, ValueError) as error:
                raise FileError(f"{file} has no number for each fill; delete it") from error

    def keep_areas(self, cell: Cell, areas: Mapping[str, float]) -> None:
        """Keep what `areas` gives."""
        file = self._areas_file(cell)
        file.parent.mkdir(exist_ok=True)
        write_json(file, {"curves": self.curves, "epochs": cell.epochs, "areas": dict(areas)})

    def _areas_file(self, cell: Cell) -> Path:
        return self.path / AREAS / f"{cell.name}.json"

    @property
    def problems(self) -> dict[str, str]:
        """Why cells could not be trained, by name."""
        if not os.path.lexists(file := self.path / "problems.json"):
            return {}
        with damage_named(self.path):
            return {str(name): str(text) for name, text in read_json(file).items()}

    def tell(self, problems: Mapping[str, str]) -> None:
        """Keep why cells could not be trained."""
        if problems != self.problems:
            write_json(self.path / "problems.json", dict(problems))

    @property
    def _data_file(self) -> Path:
        return self.path / "data.safetensors"


def _without_place(model: dict[str, Any]) -> dict[str, Any]:
    """What a model is, wherever the file with its pretrained weights lies."""
    return {name: value for name, value in model.items() if name != "file"}


def _short(values: list[float]) -> str:
    return f"[{', '.join(f'{value:.4g}' for value in values)}]"


_TENSORS = ("images", "labels", "object_masks", "image_ids", "mean", "std")


def _tensors(data: ImageData) -> dict[str, torch.Tensor]:
    halves = {name: getattr(data, name) for name in ("train", "test", "validation")}
    return {
        f"{half}.{name}": values
        for half, split in halves.items()
        for name in _TENSORS
        if split is not None and (values := getattr(split, name)) is not None
    }


def _data(tensors: dict[str, torch.Tensor], class_names: tuple[str, ...]) -> ImageData:
    def split(half: str) -> Split:
        own = {name: tensors[f"{half}.{name}"] for name in _TENSORS if f"{half}.{name}" in tensors}
        return Split(**own, class_names=class_names)

    validation = split("validation") if "validation.images" in tensors else None
    return ImageData(split("train"), split("test"), class_names, validation=validation)
