"""State of the Train tab: what to train, the trainings over the same axes, and the orders to them."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import param
import xarray as xr
from torch import nn

from smoot_explore.core.bounds import Bounds
from smoot_explore.core.config import LiveValues, TrainingConfig
from smoot_explore.core.history import History
from smoot_explore.core.records import Change
from smoot_explore.data.images import ImageData
from smoot_explore.engine.background import DATA, FILES
from smoot_explore.engine.engine import Engine
from smoot_explore.engine.makers import ModelMaker
from smoot_explore.engine.recipe import FromWeights, Preparation, Recipe
from smoot_explore.engine.trainings import Training
from smoot_explore.engine.watching import N_JUDGED, N_WATCHED, WATCH, WatchReport, choose, classes_of, look
from smoot_explore.explorer.data_access import allowed_folder, installed_datasets
from smoot_explore.explorer.opened_runs import OpenedRun, check_weights
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state.move import KMove, k_move
from smoot_explore.explorer.state.one_training import OneTraining, labels_of
from smoot_explore.runs.run import Run, open_run
from smoot_explore.views.rivals import LINES

OWN_FOLDER = "a folder of images"
DELETE_SECONDS = 10  # after which a run that nobody wants is deleted, ended or not
TEST_IMAGES = 1000  # on which the accuracy is measured after each epoch
# Of one run, so that a branch can go on from any of its epochs: all of them in a class's trainings of the paper's CNN
# (14 MB each), the newest alone of a large model. A page holds eight runs, a server thirty pages.
CHECKPOINT_MEGABYTES = 200
_CHOICES = ("data_name", "folder", "image_size", "train_images", "model_name", "watch", "explained")

T = TypeVar("T")


class _OfChosen(Generic[T]):
    """An attribute of the chosen training, as the state's own."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, state: Any, owner: Any = None) -> T:
        return self if state is None else getattr(state.chosen, self._name)  # type: ignore[return-value]

    def __set__(self, state: Any, value: T) -> None:
        setattr(state.chosen, self._name, value)


class TrainState(param.Parameterized):
    """What to train, and the trainings: the chosen one, whose attributes are the state's, and up to three rivals.

    The live settings of ``config`` may be set at any time, and move the chosen training; the others matter when a
    training starts.
    """

    data_name = param.Selector(
        default="fashion-mnist-sample",
        objects=["fashion-mnist-sample"],
        label="Data",
        doc="Images to train on: the data sets installed on this computer, or a folder of your own.",
    )
    folder = param.String(
        default="",
        label="Folder",
        doc="A folder with train/<class>/ and test/<class>/ below a place that the server's operator allows.",
    )
    image_size = param.Integer(
        default=32,
        bounds=(8, 512),
        label="Image size (pixels)",
        doc="The folder's images are resized to squares of this side.",
    )
    train_images = param.Integer(
        default=2000,
        bounds=(20, None),
        softbounds=(500, 10_000),
        step=500,
        label="Training images",
        doc="How many images to train on, classes balanced. Fewer are faster; all, if there are not so many.",
    )
    model_name = param.String(
        default="cnn",
        label="Model",
        doc="cnn: the paper's network. Or any model of timm by name, such as resnet18 (slower).",
    )
    watch = param.Selector(
        default=WATCH[0],
        objects=list(WATCH),
        label="Watched images",
        doc="Which training images the strip and the trajectories show.",
    )
    explained = param.Integer(
        default=1,
        bounds=(1, N_WATCHED),
        label="Explained image of the strip",
        doc="Which of the watched images is explained below the strip, from the left. Or click it.",
    )
    setting_up = param.Boolean(
        default=False,
        label="Set up a rival",
        doc="The sliders wait for the rival that you add next, and leave the training shown alone.",
    )

    begun = param.Event(doc="A training has been queued.")
    looked_for = param.Boolean(
        default=False, doc="Whether a training of an earlier page is looked for, which this one goes on with."
    )

    training = _OfChosen[Training[Any] | None]()
    run = _OfChosen[Run | None]()
    data = _OfChosen[ImageData | None]()
    started = _OfChosen[TrainingConfig]()
    changes = _OfChosen[list[Change]]()
    history = _OfChosen[History]()
    preview = _OfChosen[OpenedRun | None]()
    seen = _OfChosen[WatchReport | None]()
    seconds_left = _OfChosen[float]()
    images_per_second = _OfChosen[float]()
    step = _OfChosen[int]()
    steps_per_epoch = _OfChosen[int]()
    status = _OfChosen[str]()
    busy = _OfChosen[bool]()
    problem = _OfChosen[str]()
    place = _OfChosen[int]()
    lost = _OfChosen[str]()
    reference = _OfChosen[xr.Dataset | None]()
    share = _OfChosen[float]()
    epochs_done = _OfChosen[int]()
    epochs_kept = _OfChosen[list[int]]()
    flags = _OfChosen[list[tuple[float, Change]]]()
    bounds = _OfChosen[list[Bounds]]()
    unit = _OfChosen[str]()
    most_k = _OfChosen[int]()
    start_k = _OfChosen[float]()
    counted_bounds = _OfChosen[list[Bounds]]()

    def __init__(
        self, settings: ServerSettings, engine: Engine, models: dict[str, ModelMaker] | None = None
    ) -> None:
        self.chosen = OneTraining()
        self.all = [self.chosen]  # in the order in which they began
        self.for_real: OneTraining | None = None  # What if's, which begins with other weights
        super().__init__()
        self.settings, self.engine, self.models = settings, engine, models or {}
        self.config = TrainingConfig(epochs=10, batch_size=64)
        if self.models:
            self.param.model_name.doc += f" This server's own: {', '.join(self.models)}."
        names = installed_datasets(settings.root)
        self.param.data_name.objects = [*names, *([OWN_FOLDER] if settings.data_folders else [])]
        self._folder: Path | None = None
        self._numbers = itertools.count(1)  # of its runs: no two have one folder, whenever these are made
        self._before_reset: tuple[list[OneTraining], OneTraining] | None = None
        self.config.param.watch(self._steer, list(LiveValues._fields))
        self.param.watch(self._set_up, "setting_up")
        self.param.watch(self._foresee_model, "model_name")
        self._show_only(self.chosen)

    # The trainings

    @property
    def every(self) -> list[OneTraining]:
        """All trainings, What if's too."""
        return [*self.all, *([self.for_real] if self.for_real else [])]

    @property
    def labels(self) -> list[str]:
        """What the trainings are called, by what differs."""
        return labels_of(self.all)

    @property
    def label(self) -> str:
        """What the chosen training is called."""
        return self.labels[self.all.index(self.chosen)]

    @property
    def statuses(self) -> list[str]:
        """Of all trainings: what the pages look at to see whether something has turned."""
        return [one.status for one in self.every]

    def others(self, tell: Callable[[OneTraining], T]) -> list[tuple[str, T] | None]:
        """What each training but the chosen one tells, with its label, by the line that it has in pictures."""
        lines: list[tuple[str, T] | None] = [None] * LINES
        for label, one in zip(self.labels, self.all, strict=True):
            if one is not self.chosen:
                lines[one.line - 1] = label, tell(one)
        return lines

    def choose(self, number: int) -> None:
        """Have strip, sliders and orders belong to another training, by its place in `all`."""
        if self.all[number] is not self.chosen:
            self._choose(self.all[number])

    def remove(self, number: int) -> None:
        """Stop a training and take it out of the pictures; its run stays."""
        one = self.all[number]
        if len(self.all) == 1:
            self.reset()
            return
        one.stop()
        self.all.remove(one)
        if one is self.chosen:
            self._choose(self.all[max(number - 1, 0)])

    # Orders

    def start(self) -> None:
        """Queue a new training from the same initial weights in the place of the chosen one, or go on after its pause.

        Rivals stay where they can be compared with it.

        Raises
        ------
        ValueError
            For settings that cannot be trained with, or others than those of a rival that still trains.
        RuntimeError
            When too many trainings wait already.
        """
        if self.training is not None and self.training.status == "paused":
            self.training.start()
            return
        if self.busy:
            return
        recipe = self._new_recipe()
        alike = []
        for one in self.all:
            if one is self.chosen or not (differences := self._differences(one, recipe)):
                alike.append(one)
            elif one.busy:
                raise _unlike(differences)
        new = self._begin(recipe, TrainingConfig(**self.config.to_dict()), self.chosen.line)
        self.all = [new if one is self.chosen else one for one in alike]
        self._before_reset = None
        self._choose(new)

    def add_rival(self) -> None:
        """Queue a training with the present settings beside those there are, and choose it.

        Raises
        ------
        ValueError
            When there is nothing to compare it with, there are three rivals already, or it would have other data,
            another model or another seed.
        RuntimeError
            When too many trainings wait already.
        """
        line = self._free_line("a rival")
        recipe = self._new_recipe()
        if differences := self._differences(self.all[0], recipe):
            raise _unlike(differences)
        new = self._begin(recipe, TrainingConfig(**self.config.to_dict()), line)
        self._let_go()
        self.all.append(new)
        self._choose(new)

    def branch(self, epoch: int) -> None:
        """Queue a training that goes on from an epoch of the chosen one with the present live values, and choose it.

        Raises
        ------
        ValueError
            When the training cannot be branched now, does not hold the epoch, or would be over with it.
        RuntimeError
            When too many trainings wait already.
        """
        line, parent = self._free_line("a branch"), self.chosen
        if (
            parent.training is None
            or parent.run is None
            or not (parent.status == "paused" or not parent.busy)
        ):
            raise ValueError(
                "a branch goes on from a training that is paused or has ended; press Pause first"
            )
        if epoch not in parent.epochs_kept:
            kept = ", ".join(map(str, parent.epochs_kept))
            raise ValueError(f"a branch can go on from the epochs {kept}; given {epoch}")
        if epoch >= self.config.epochs:
            raise ValueError(
                f"epoch {epoch} is the last of {self.config.epochs}: nothing is left to train; choose more epochs, or "
                "an earlier one"
            )
        settings = {**parent.started.to_dict(), **self.config.live_values()._asdict()}
        config = TrainingConfig(**settings | {"epochs": self.config.epochs})
        config.check()
        recipe = replace(
            parent.training.recipe, path=self._new_path("branch"), parent=parent.run.path, epoch=epoch
        )
        new = self._begin(recipe, config, line, since=epoch)
        self._let_go()
        self.all.append(new)
        self._choose(new)

    def train_for_real(self, opened: OpenedRun, config: TrainingConfig) -> None:
        """Queue a training that begins with the weights of a run after the epoch looked at; the last one of this kind
        goes.

        Raises
        ------
        ValueError
            For a run whose data no worker can load.
        RuntimeError
            When too many trainings wait already.
        """
        described = opened.run.description
        if "name" not in described["data"]:
            raise ValueError(
                f"the data of {opened.label} were put together by hand: no worker can load them; choose a run on a "
                "folder of images, or on a data set with a name"
            )
        maker = self.models.get(str(described["model"].get("maker")))
        if described["model"]["name"] is None and maker is None:
            raise ValueError(
                f"the model of {opened.label} is a module of its own, which no worker can make; choose another run, or "
                "have the operator give what makes it: serve --model"
            )
        recipe = FromWeights(
            self._new_path("what-if"),
            opened.run.path.absolute(),
            opened.epoch,
            self.settings.root,
            maker,
            CHECKPOINT_MEGABYTES,
        )
        data = Future[ImageData]()
        data.set_result(opened.data)
        new = self._begin(recipe, config, loading=data)
        if self.for_real is not None:
            self.for_real.stop()
        self.for_real = new

    def pause(self) -> None:
        """Hold after the step in progress."""
        if self.training is not None:
            self.training.pause()

    def stop(self) -> None:
        """End after the step in progress; what was trained stays to be looked at."""
        self.chosen.stop()

    def stop_all(self) -> None:
        """End all trainings, What if's too."""
        for one in self.every:
            one.stop()

    def reset(self) -> None:
        """Back to the initial weights and empty plots, without rivals; the sliders stay where they are.

        `undo_reset` brings back what was shown.
        """
        for one in self.all:
            one.stop()
        shown = self.training is not None or self.preview is not None
        self._before_reset = (self.all, self.chosen) if shown else None
        self._show_only(OneTraining())

    @property
    def can_undo_reset(self) -> bool:
        """Whether there is something to bring back."""
        return self._before_reset is not None and self.training is None and self.preview is None

    def undo_reset(self) -> None:
        """Show again what the last `reset` took away. A training that it stopped stays stopped."""
        if self._before_reset is not None and self.can_undo_reset:
            (self.all, self.chosen), self._before_reset = self._before_reset, None

    def take_over(self, left: TrainState) -> None:
        """Go on with the trainings of another state, which is left without any."""
        self.param.update(**{name: getattr(left, name) for name in _CHOICES})
        self.config.param.update(**left.config.to_dict())
        self._folder, left._folder, self._numbers = left._folder, None, left._numbers
        self.for_real, left.for_real = left.for_real, None
        if left.training is not None:
            self.reset()
            self.all, self.chosen, self.setting_up = left.all, left.chosen, left.setting_up
        left._show_only(OneTraining())
        self._before_reset = left._before_reset = None

    def close(self) -> None:
        """Stop and free everything; the session is over."""
        going, folder = [one.training for one in self.every if one.training is not None], self._folder
        self.stop_all()
        self.for_real = self._before_reset = None
        self._show_only(OneTraining())
        if folder is None:
            return
        if all(training.ended for training in going):
            shutil.rmtree(folder, ignore_errors=True)
        else:  # they may write once more
            threading.Thread(target=_delete, args=[folder, going], daemon=True).start()

    # What they tell

    def poll(self) -> bool:
        """Take over what the trainings have reported; whether there was something new."""
        return any([one.poll() for one in self.every])  # a list: each is asked

    def show_preview(self, opened: OpenedRun, look: bool = True) -> None:
        """Show a finished run until the visitor trains one; ``look`` at its watched images, or do so later."""
        self.reset()
        self._before_reset = None
        self._show_only(OneTraining.of_preview(opened))
        self.seen = self.watch_now() if look else None

    def choose_watched(self) -> bool:
        """Have the worker watch the images that ``watch`` names; False when no training runs that could.

        `watch_now` looks at them then.
        """
        self.chosen.watch = self.watch
        return self.chosen.choose_watched()

    def watch_now(self) -> WatchReport | None:
        """Choose and look without a worker: at the preview, or after training has ended. Takes up to a second."""
        opened = self.preview
        if self.data is None or self.history.k is None:
            return None
        if opened is None:
            run = None if self.run is None else open_run(self.run.path)
            if run is None or not run.epochs:
                return None
            check_weights(run, self.settings)
            model = run.load_model(self._own_model(run))
            return self._watched(model.eval(), run.record().k[-1].values)
        if self.watch not in opened.watched:  # the same for every visitor
            with opened.borrowed(quick=False) as model:
                opened.watched[self.watch] = self._watched(model, self.history.k)
        return opened.watched[self.watch]

    def _own_model(self, run: Run) -> nn.Module | None:
        """A module for the weights of a run of the operator's own model; None for others."""
        maker = self.models.get(str(run.description["model"].get("maker")))
        return None if maker is None or self.data is None else maker(self.data, run.start_config["seed"])

    def _watched(self, model: nn.Module, k: np.ndarray) -> WatchReport | None:
        if self.data is None:
            return None
        train = self.data.train
        positions = choose(self.watch, model, train, k, 5 * N_JUDGED)  # nobody trains meanwhile
        classes = classes_of(model, train[positions])
        return look(model, train, positions, k, self.step, self.started, classes)

    def move(self) -> KMove | None:
        """How the k of the framed image would move at its next visit, with the sliders as they are; None of none."""
        if self.seen is None or self.data is None:
            return None
        column, position = self.framed, self.framed_position
        classes = self.seen.classes
        return k_move(
            self.framed_name, int(self.data.train.labels[position]),
            None if classes is None else str(classes[column]), float(self.seen.k[column]), self.seen.effect, column,
            list(self.data.class_names), self.started, self.config, self.most_k, self.epochs_done + 1,
        )  # fmt: skip

    @property
    def framed(self) -> int:
        """Place of the framed image among the watched ones, from 0."""
        return self.explained - 1 if self.seen is None else min(self.explained, len(self.seen.positions)) - 1

    @property
    def framed_position(self) -> int:
        """Its place among the training images; 0 while none is watched."""
        return 0 if self.seen is None else int(self.seen.positions[self.framed])

    @property
    def framed_name(self) -> str:
        """What people call it; empty while none is watched."""
        if self.seen is None or self.data is None:
            return ""
        train, position = self.data.train, self.framed_position
        return f"Training image {int(train.image_ids[position])} ({self.data.class_names[int(train.labels[position])]})"

    @property
    def moved_run(self) -> Run | None:
        """The run whose record tells how k has moved so far; None before the first epoch."""
        if self.preview is not None:
            return self.preview.run
        return self.run if self.history.scores else None

    def _source(self) -> tuple[str, int | None]:
        if self.data_name == OWN_FOLDER:
            return str(allowed_folder(self.folder, self.settings)), self.image_size
        return self.data_name, None

    def _foresee_model(self, *events: param.parameterized.Event) -> None:
        if self.model_name != "cnn" and self.model_name not in self.models:
            FILES.submit(import_module, "timm")  # takes seconds, for which Train would keep everybody waiting

    def _check_model_name(self) -> None:
        import timm

        from smoot_explore.errors import unknown_name

        if not timm.is_model(self.model_name):
            accepted = ["cnn", *self.models]
            raise unknown_name(
                "model", self.model_name, accepted, "Also every name that timm knows: resnet18, …"
            )

    def _new_recipe(self) -> Recipe:
        """Of a training as it is set up now; ``ValueError`` where it cannot be trained."""
        self.config.check()
        (name, image_size), root = self._source(), self.settings.root
        if self.model_name != "cnn" and self.model_name not in self.models:
            self._check_model_name()
        return Recipe(
            self._new_path(self.config.method), name, self.train_images, TEST_IMAGES, self.model_name,
            root and root.absolute(), image_size, self.models.get(self.model_name),
            checkpoint_megabytes=CHECKPOINT_MEGABYTES,
        )  # fmt: skip

    def _new_path(self, kind: str) -> Path:
        """Of a run of this page, in a folder that is made with the first one."""
        if self._folder is None:
            folder = tempfile.mkdtemp(prefix="smoot_explore-", dir=self.settings.work)
            self._folder = Path(folder).absolute()  # workers may be elsewhere
        return self._folder / f"{kind}-{next(self._numbers)}"

    def _begin(
        self,
        recipe: Preparation,
        config: TrainingConfig,
        line: int = 1,
        since: int = 0,
        loading: Future[ImageData] | None = None,
    ) -> OneTraining:
        """A training that is queued. When it is refused, what is shown stays."""
        training = Training(self.engine, config, recipe, self.settings.max_minutes)
        training.start()
        new = OneTraining(config, line, since)
        new.follow(training, loading or DATA.submit(recipe.data))  # type: ignore[attr-defined]  # a Recipe then
        self.param.trigger("begun")
        return new

    def _differences(self, one: OneTraining, recipe: Recipe) -> list[str]:
        """In what a training would differ from one that it is to be compared with, beyond its settings."""
        if one.training is None:
            return []
        theirs = one.training.recipe
        names = {
            "data_name": "data",
            "n_train": "training images",
            "image_size": "image size",
            "model_name": "model",
        }
        pairs = [(words, getattr(theirs, name), getattr(recipe, name)) for name, words in names.items()]
        pairs.append(("seed", one.config.seed, self.config.seed))
        return [f"{words} {theirs} ≠ {own}" for words, theirs, own in pairs if theirs != own]

    def _free_line(self, what: str) -> int:
        """The number of a line that no training has; ``ValueError`` where ``what`` has no place beside them."""
        if self.training is None:
            raise ValueError(f"there is no training yet that {what} could go beside; press Train first")
        taken = {one.line for one in self.all}
        if len(taken) == LINES:
            raise ValueError(
                f"there are {LINES} trainings already, the most that one picture shows; remove one first"
            )
        return min(set(range(1, LINES + 1)) - taken)

    def _let_go(self) -> None:
        """What the sliders were moved to in a pause is for the training that is begun instead."""
        if self.status == "paused":
            self.chosen.config.param.update(**self.chosen.in_force._asdict())

    def _choose(self, one: OneTraining) -> None:
        """Belong to another training: its settings, and its images watched."""
        self.chosen.watch = ""  # looking takes time
        self.chosen.choose_watched()
        self.chosen = one
        self.config.param.update(**one.config.to_dict())
        self.setting_up = False
        self.choose_watched()

    def _show_only(self, one: OneTraining) -> None:
        self.all, self.chosen = [one], one
        self.setting_up = False
        one.watch = self.watch

    def _steer(self, *events: Any) -> None:
        """A slider was moved."""
        if self.busy and not self.setting_up:
            self.chosen.config.param.update(**self.config.live_values()._asdict())

    def _set_up(self, *events: Any) -> None:
        """No rival after all: the sliders are again where the training has them."""
        if not self.setting_up and self.busy:
            self.config.param.update(**self.chosen.config.to_dict())


def _unlike(differences: Sequence[str]) -> ValueError:
    return ValueError(
        "trainings are compared on the same data from the same initial weights, and this one would differ: "
        f"{', '.join(differences)}. Set that back, or press Reset to begin anew"
    )


def _delete(folder: Path, trainings: Sequence[Training[Any]]) -> None:
    end = time.monotonic() + DELETE_SECONDS
    while not all(training.ended for training in trainings) and time.monotonic() < end:
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)
