"""What a training is made from, so that any process can make it."""

from __future__ import annotations

import copy
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from torch import nn

from smoot_explore.core.config import TrainingConfig
from smoot_explore.core.models import create_model
from smoot_explore.data.images import ImageData, limit_data
from smoot_explore.engine.makers import ModelMaker, make
from smoot_explore.engine.shared_data import shared_data
from smoot_explore.runs.claim import claim_of
from smoot_explore.runs.run import Keep, Run, create_run, open_run

CHECKPOINT_WEIGHTS = 3  # that a checkpoint takes the room of: the optimiser holds two numbers for each


class Prepared(NamedTuple):
    """What a training needs before its first step."""

    model: nn.Module
    data: ImageData
    run: Run | None


class Preparation(Protocol):
    """What a training is made from; picklable."""

    @property
    def claim(self) -> Path | None:
        """The file whose lock the worker that trains holds, where a run is written: one taken for lost may live on."""

    def prepare(self, config: TrainingConfig) -> Prepared:
        """Model, data and run for a training with these settings."""


@dataclass(frozen=True)
class Recipe:
    """Data and model by their names, and the folder of the run.

    Parameters
    ----------
    path
        Folder of the run: new, or that of a run to go on with. The folder that it lies in must be there.
    data_name, n_train, n_test, root, image_size
        As for `load_data`, which is given at most as many images as there are.
    model_name
        For `create_model`, with the seed of the settings.
    maker
        Makes the model in its place; its name is ``model_name``.
    parent
        Folder of the run that the new one is a branch of: of the same data and model. It may be in training.
    epoch
        From which the branch goes on.
    checkpoint_megabytes
        What the checkpoints of a new run may take on the disk: so many epochs can be gone back to, the newest at
        least. None keeps the newest alone.
    """

    path: Path
    data_name: str
    n_train: int
    n_test: int
    model_name: str
    root: Path | None = None
    image_size: int | None = None
    maker: ModelMaker | None = None
    parent: Path | None = None
    epoch: int = 0
    checkpoint_megabytes: float | None = None

    def data(self) -> ImageData:
        """The images, shared with whatever else goes on in this process."""
        if self.data_name == "shapes":  # generated: as many as are wanted
            return shared_data("shapes", self.n_train, self.n_test, root=self.root)
        options = {} if self.image_size is None else {"image_size": self.image_size}
        whole = shared_data(self.data_name, root=self.root, **options)
        return limit_data(whole, min(self.n_train, len(whole.train)), min(self.n_test, len(whole.test)))

    @property
    def claim(self) -> Path:
        """The file whose lock the worker that trains holds: one that was taken for lost may live on.

        Raises
        ------
        FileNotFoundError
            Where the folder that the run lies in is not seen.
        """
        if not self.path.parent.is_dir():
            raise _unseen(self.path.parent)
        return claim_of(self.path)

    def prepare(self, config: TrainingConfig) -> Prepared:
        """A new run with these settings, or the run that the folder holds.

        A branch is made here, not beside the page: its files may be large.

        Raises
        ------
        FileNotFoundError
            As of `claim`: it may have been deleted meanwhile.
        RunError
            When the parent is gone, or no longer holds the epoch.
        """
        data = self.data()
        if self.maker is not None:
            model = make(self.model_name, self.maker, data, config.seed)
        else:
            model = create_model(self.model_name, data, seed=config.seed)
        if not self.path.parent.is_dir():
            raise _unseen(self.path.parent)
        if self.parent is not None and not (self.path / "config.json").is_file():
            _branch(open_run(self.parent), self.epoch, self.path, config)
        if (self.path / "config.json").is_file():
            return Prepared(model, data, open_run(self.path, model=model, data=data))
        keep = _as_many_as_fit(model, self.checkpoint_megabytes)
        return Prepared(model, data, Run.create(self.path, config, model, data, keep))


@dataclass(frozen=True)
class OnDisk:
    """A run that is there: its folder says what to train.

    Parameters
    ----------
    path
        The folder, absolute.
    root
        As for `load_data`.
    """

    path: Path
    root: Path | None = None

    @property
    def claim(self) -> Path:
        """As of a `Recipe`."""
        if not self.path.is_dir():
            raise _unseen(self.path)
        return claim_of(self.path)

    def prepare(self, config: TrainingConfig) -> Prepared:
        """The run as it stands; ``FileNotFoundError`` where it is not seen."""
        if not (self.path / "config.json").is_file():
            raise _unseen(self.path)
        run = open_run(self.path)
        return Prepared(run.load_model(), run.load_data(self.root), run)


@dataclass(frozen=True)
class FromWeights:
    """A new run that begins with the weights of another one, whose folder is only read: a published one too.

    It begins anew in all else: the optimiser, and k where the settings have it start.

    Parameters
    ----------
    path
        Folder of the new run, or of one that was begun so.
    source
        Folder of the other one, absolute; it says which data.
    epoch
        After which its weights are taken.
    root
        As for `load_data`.
    maker
        Makes the model, where that is one of the operator's own.
    checkpoint_megabytes
        As of a `Recipe`.
    """

    path: Path
    source: Path
    epoch: int
    root: Path | None = None
    maker: ModelMaker | None = None
    checkpoint_megabytes: float | None = None

    @property
    def claim(self) -> Path:
        """As of a `Recipe`."""
        if not self.path.parent.is_dir():
            raise _unseen(self.path.parent)
        return claim_of(self.path)

    def prepare(self, config: TrainingConfig) -> Prepared:
        """A new run with these settings, or the run that the folder holds; ``RunError`` where the source is gone."""
        source = open_run(self.source)
        data, own = source.load_data(self.root), None
        if self.maker is not None:
            own = make(str(source.description["model"]["maker"]), self.maker, data, config.seed)
        model = source.model_at(self.epoch, own)
        if (self.path / "config.json").is_file():
            return Prepared(model, data, open_run(self.path, model=model, data=data))
        origin = {
            "how": "weights", "run": source.name, "created": source.description["created"], "epoch": self.epoch,
        }  # fmt: skip
        keep = _as_many_as_fit(model, self.checkpoint_megabytes)
        return Prepared(model, data, create_run(self.path, config, model, data, keep, origin))


@dataclass(frozen=True)
class AtHand:
    """A model and data as they are here. No run is written: when a worker is lost, another begins anew."""

    model: nn.Module
    data: ImageData
    claim = None

    def prepare(self, config: TrainingConfig) -> Prepared:
        """A copy of the model: another attempt begins with the same weights."""
        return Prepared(copy.deepcopy(self.model), self.data, None)


def _as_many_as_fit(model: nn.Module, megabytes: float | None) -> Keep:
    """How many checkpoints of a model take so much room; one at least, and the newest alone for None."""
    if megabytes is None:
        return "last"
    one = CHECKPOINT_WEIGHTS * sum(weight.nbytes for weight in model.state_dict().values())
    return max(1, int(1e6 * megabytes / one))


def _branch(parent: Run, epoch: int, path: Path, config: TrainingConfig) -> None:
    """A branch with the live values of the settings, as far as they are others than the parent's at the epoch."""
    step = parent.journal["epochs"][epoch - 1]["step"] if 0 < epoch <= parent.epochs else 0
    before, live = parent.live_at(step)._asdict(), config.live_values()._asdict()
    parent.branch(epoch, path, **{name: value for name, value in live.items() if value != before[name]})


def _unseen(folder: Path) -> FileNotFoundError:
    """Of a folder that was deleted meanwhile, or is not shared with this computer."""
    return FileNotFoundError(
        f"the worker at {platform.node()} does not see the folder {folder}; name a folder that all workers share"
    )
