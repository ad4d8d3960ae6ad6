"""State of the Train tab: settings, orders, and what the training has told so far."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import threading
import time
from concurrent.futures import Future
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import param
import xarray as xr
from torch import nn

from smoot_explore.core.bounds import Bounds, counted_bounds, moving_bounds
from smoot_explore.core.config import TrainingConfig
from smoot_explore.core.history import History
from smoot_explore.core.probe import drop_of
from smoot_explore.core.records import Change, DropRecord, EpochRecord
from smoot_explore.core.rules import k_unit, most_k, start_k
from smoot_explore.core.training import count_steps
from smoot_explore.data.images import ImageData
from smoot_explore.engine.background import DATA, FILES
from smoot_explore.engine.engine import Engine
from smoot_explore.engine.makers import ModelMaker
from smoot_explore.engine.recipe import Recipe
from smoot_explore.engine.training_work import Ready, StepReport
from smoot_explore.engine.trainings import Training
from smoot_explore.engine.watching import N_JUDGED, N_WATCHED, WATCH, WatchReport, choose, classes_of, look
from smoot_explore.explorer.data_access import allowed_folder, installed_datasets
from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.opened_runs import OpenedRun, check_weights
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.runs.run import Run, bundled_reference, open_run
from smoot_explore.views.flags import marked

OWN_FOLDER = "a folder of images"
DELETE_SECONDS = 10  # after which a run that nobody wants is deleted, ended or not
TEST_IMAGES = 1000  # on which the accuracy is measured after each epoch


_CHOICES = ("data_name", "folder", "image_size", "train_images", "model_name", "watch", "explained")
_OF_A_TRAINING = (
    "training", "run", "data", "started", "changes", "history", "seen", "seconds_left", "images_per_second", "step",
    "steps_per_epoch", "status", "_loading",
)  # fmt: skip


class TrainState(param.Parameterized):
    """What to train, the training itself, and its history.

    The live settings of ``config`` may be set at any time; the others matter when training starts.
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
    status = param.String(
        default="new", doc="new, queued, preparing, running, paused, stopped, finished or failed."
    )

    looked_for = param.Boolean(
        default=False, doc="Whether a training of an earlier page is looked for, which this one goes on with."
    )

    def __init__(
        self, settings: ServerSettings, engine: Engine, models: dict[str, ModelMaker] | None = None
    ) -> None:
        super().__init__()
        self.settings, self.engine, self.models = settings, engine, models or {}
        self.config = TrainingConfig(epochs=10, batch_size=64)
        if self.models:
            self.param.model_name.doc += f" This server's own: {', '.join(self.models)}."
        names = installed_datasets(settings.root)
        self.param.data_name.objects = [*names, *([OWN_FOLDER] if settings.data_folders else [])]
        self.training: Training[Recipe] | None = None
        self.run: Run | None = None  # of the training shown
        self.data: ImageData | None = None  # of the training shown
        self.started = TrainingConfig()  # the settings as they were when training started
        self.changes: list[Change] = []
        self.history = History(None)
        self.preview: OpenedRun | None = None  # a finished run shown while nothing was trained yet
        self.seen: WatchReport | None = None
        self.seconds_left = float("nan")
        self.images_per_second = float("nan")
        self.step = self.steps_per_epoch = 0
        self._folder: Path | None = None
        self._numbers = itertools.count(1)  # of its runs: no two have one folder, whenever these are made
        self._loading: Future[ImageData] | None = None  # the data of the training, for this process
        self.param.watch(self._foresee_model, "model_name")

    # Orders

    @property
    def busy(self) -> bool:
        """Whether a training waits, runs or pauses."""
        return self.training is not None and not self.training.ended

    def start(self) -> None:
        """Queue a new training from the same initial weights, or go on with a paused one.

        Raises
        ------
        ValueError
            For settings that cannot be trained with.
        RuntimeError
            When too many trainings wait already.
        """
        if self.training is not None and self.training.status == "paused":
            self.training.start()
            return
        if self.busy:
            return
        self.config.check()
        source = self._source()  # checked before anything that is shown is cleared
        if self.model_name != "cnn" and self.model_name not in self.models:
            self._check_model_name()
        if self._folder is None:
            folder = tempfile.mkdtemp(prefix="smoot_explore-", dir=self.settings.work)
            self._folder = Path(folder).absolute()  # workers may be elsewhere
        recipe = self._recipe(source, self._folder / f"{self.config.method}-{next(self._numbers)}")
        training = Training(self.engine, self.config, recipe, self.settings.max_minutes)
        training.start()
        self.reset()  # only now: what is shown stays when the training is refused
        self.started = TrainingConfig(**self.config.to_dict())
        self.training = training
        self._loading = DATA.submit(recipe.data)
        self.status = "queued"

    def pause(self) -> None:
        """Hold after the step in progress."""
        if self.training is not None:
            self.training.pause()

    def stop(self) -> None:
        """End after the step in progress; what was trained stays to be looked at."""
        if self.training is not None:
            self.training.stop()

    def reset(self) -> None:
        """Back to the initial weights and empty plots; the sliders stay where they are."""
        if self.training is not None:
            self.training.stop()
        self.training, self.run, self.data, self.seen, self._loading = None, None, None, None, None
        self.preview, self.history, self.changes = None, History(None), []
        self.step = self.steps_per_epoch = 0
        self.seconds_left = self.images_per_second = float("nan")
        self.status = "new"

    def take_over(self, left: TrainState) -> None:
        """Go on with the training of another state, which is left without one."""
        self.param.update(**{name: getattr(left, name) for name in _CHOICES})
        self.config.param.update(**left.config.to_dict())
        self._folder, left._folder, self._numbers = left._folder, None, left._numbers
        if left.training is not None:
            self.reset()
            for name in _OF_A_TRAINING:
                setattr(self, name, getattr(left, name))
            left.training.follow(self.config)
            left.training = None
        left.reset()

    def close(self) -> None:
        """Stop and free everything; the session is over."""
        training, folder = self.training, self._folder
        self.reset()
        if folder is None:
            return
        if training is None or training.ended:
            shutil.rmtree(folder, ignore_errors=True)
        else:  # it may write once more
            threading.Thread(target=_delete, args=[folder, training], daemon=True).start()

    # What it tells

    def poll(self) -> bool:
        """Take over what the training has reported; whether there was something new."""
        training = self.training
        if training is None:
            return False
        if self._loading is not None and not self._loading.done():
            before = self.status
            if training.ended:  # it was stopped meanwhile: that is told at once
                self.status = training.status
            return self.status != before
        reports = training.reports()
        for report in reports:
            if isinstance(report, Ready):
                self._begin(training, report)
            elif isinstance(report, WatchReport):
                self.seen = report
            elif isinstance(report, DropRecord):
                self.history.add(report)
            elif isinstance(report, EpochRecord):
                self.history.add(report)
                if len(self.history.scores) == 1 and self.watch == WATCH[0]:
                    self.choose_watched()
                self.step = report.step
            elif isinstance(report, StepReport):
                record = report.record
                self.step, self.steps_per_epoch = record.step, record.steps_per_epoch
                self.seconds_left = report.seconds_left
                self.images_per_second = record.images_per_second
                self.history.add(record)
        self.changes += training.changes[len(self.changes) :]  # also those of records that were not reported
        if training.ended and training.status == "finished":
            self.seconds_left = 0.0
        changed = self.status != training.status
        self.status = training.status
        return bool(reports) or changed

    def _begin(self, training: Training[Recipe], ready: Ready) -> None:
        """Take over a run that a worker begins with, or goes on with in the place of one that was lost."""
        self.run = open_run(training.recipe.path)
        self.data = self._loading.result() if self._loading is not None else None
        # Sliders may have moved while it waited: what counts is the start of the run.
        self.started = TrainingConfig.recorded(ready.start_config)
        self.steps_per_epoch = ready.steps_per_epoch
        self.step = ready.epochs * ready.steps_per_epoch
        self.changes = list(ready.changes)
        if ready.epochs:
            # More may be on the disk by now: that is told of next.
            self.history = History.of(self.run.record().isel(epoch=slice(ready.epochs)))
        else:
            self.history = History(self._k_start(self.run.description["data"]["n_train"]), self.unit)
        self.choose_watched()

    @property
    def problem(self) -> str:
        """Why training failed; empty when it did not."""
        return self.training.problem if self.training is not None else ""

    @property
    def place(self) -> int:
        """Place in the queue, from 1; 0 when not waiting."""
        return self.training.place if self.training is not None else 0

    @property
    def lost(self) -> str:
        """What became of a training whose worker process was lost; empty while none was."""
        if self.training is None or not self.training.lost or self.training.ready is None:
            return ""
        if self.training.status == "preparing":
            done = len(self.history.scores)
            return f"Its worker process was lost: another goes on {f'after epoch {done}' if done else 'anew'}"
        return f"Its worker process was lost: another went on after epoch {self.training.ready.epochs}"

    @property
    def reference(self) -> xr.Dataset | None:
        """Masking curves of the bundled traditional run, where it is of the same data as the training."""
        name = self.run.description["data"]["name"] if self.run is not None else None
        if self.preview is not None:
            name = self.preview.run.description["data"]["name"]
        return bundled_reference(name)

    @property
    def share(self) -> float:
        """How much of the training is done, 0 … 1."""
        total = self.steps_per_epoch * self.started.epochs
        return min(self.step / total, 1.0) if total else 0.0

    @property
    def flags(self) -> list[tuple[float, Change]]:
        """The marked changes with the epochs at which they took effect."""
        changes = [(self.epoch_of(change.step), change) for change in self.changes]
        return marked(changes, self.steps_per_epoch)

    @property
    def bounds(self) -> list[Bounds]:
        """The bounds of k as fractions, at the start and after each live change; empty while nothing is shown."""
        if self.training is None and self.preview is None:
            return []
        moved = [(self.epoch_of(change.step), change) for change in self.changes]
        return moving_bounds(self.started.k_min, self.started.k_max, moved)

    @property
    def unit(self) -> str:
        """What the k of the training shown counts: "pixels" or "patches"."""
        return k_unit(self.started.to_dict())

    @property
    def most_k(self) -> int:
        """How many of them an image has; 0 while nothing is shown."""
        return 0 if self.data is None else most_k(self.started.to_dict(), self.data.n_pixels)

    @property
    def start_k(self) -> float:
        """How many of them are masked at first."""
        return start_k(self.started.to_dict(), self.most_k)

    @property
    def counted_bounds(self) -> list[Bounds]:
        """The bounds of k in its unit; empty where k has none."""
        if self.data is None or self.started.method != "smoot":
            return []
        return counted_bounds(self.bounds, self.most_k)

    def epoch_of(self, step: int) -> float:
        """A step on the plots' axis."""
        return (step - 1) / self.steps_per_epoch if self.steps_per_epoch else 0.0

    def show_preview(self, opened: OpenedRun, look: bool = True) -> None:
        """Show a finished run until the visitor trains one; ``look`` at its watched images, or do so later."""
        self.reset()
        record = opened.record
        config = TrainingConfig.recorded(opened.run.start_config)
        self.preview, self.data, self.started = opened, opened.data, config
        self.changes = opened.run.changes
        self.steps_per_epoch = count_steps(len(opened.data.train), config.batch_size)
        self.history = History.of(record)
        curves = opened.curves("black", "gradient")  # the probe's protocol
        if curves is not None and not self.history.drops:
            self.history.drops = [drop_of(curves, record.sizes["epoch"])]
        self.seen = self.watch_now() if look else None

    def choose_watched(self) -> bool:
        """Have the worker watch the images that ``watch`` names; False when no training runs that could.

        `watch_now` looks at them then.
        """
        if self.training is None or self.training.ended:
            return False
        # Before the first epoch no model has classes worth telling.
        watch = WATCH[1] if self.watch == WATCH[0] and not self.history.scores else self.watch
        self.training.watch(partial(choose, watch))
        return True

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

    def explain(self) -> str:
        """Why the k of the chosen watched image moves as it does, in words and numbers."""
        if self.seen is None or self.data is None:
            return ""
        column = min(self.explained, len(self.seen.positions)) - 1
        position = int(self.seen.positions[column])
        label = escaped(self.data.class_names[int(self.data.train.labels[position])])
        change = (
            float(self.seen.effect.label_change[column]),
            float(self.seen.effect.runners_up_change[column]),
        )
        image_class = None if self.seen.classes is None else str(self.seen.classes[column])
        return explanation(
            f"Training image {int(self.data.train.image_ids[position])} ({label})",
            label,
            image_class,
            float(self.seen.k[column]),
            change,
            self.config,
            self.most_k,
            self.started.method,
            self.unit,
        )

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

    def _recipe(self, source: tuple[str, int | None], path: Path) -> Recipe:
        (name, image_size), root = source, self.settings.root
        return Recipe(
            path, name, self.train_images, TEST_IMAGES, self.model_name, root and root.absolute(), image_size,
            self.models.get(self.model_name),
        )  # fmt: skip

    def _k_start(self, n: int) -> np.ndarray | None:
        """k of n images before the first step; none for traditional training."""
        if self.started.method == "traditional" or self.data is None:
            return None
        return np.full(n, self.start_k)


def _delete(folder: Path, training: Training) -> None:
    end = time.monotonic() + DELETE_SECONDS
    while not training.ended and time.monotonic() < end:
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def explanation(
    image: str,
    label: str,
    image_class: str | None,
    k: float,
    change: tuple[float, float],
    config: TrainingConfig,
    n_pixels: int,
    method: str,
    unit: str = "pixels",
) -> str:
    """Why k moves: equations (3) and (4) with this image's numbers, as Markdown.

    Parameters
    ----------
    change
        Δ₁ and Δ₂..ₙ.
    config
        For α, β and the bounds.
    n_pixels, unit
        What k counts up to, and what it counts: pixels or patches.
    """
    verdict = {
        "I": "**class I** (masking its strongest pixels only lowers its probability)",
        "II": "**class II** (masking some of its strongest pixels raises its probability)",
    }.get(image_class or "", "not judged yet")
    head = f"{image}, {verdict}."
    if method == "traditional":
        return f"{head} Traditional training masks nothing: there is no k to move."
    first, others = change
    one, rest = "Δ<sub>1</sub>", "Δ<sub>2…n</sub>"
    what = (
        f"Without its {k:.0f} least important {unit} the probability of {label} changes by {one} = {_signed(first)}, "
        f"that of the runners-up by {rest} = {_signed(others)}."
    )
    if method == "sgt":
        return f"{head} {what} SGT keeps the same k for all images."
    delta = config.beta * first + (1 - config.beta) * others
    step = config.alpha * delta
    lower, upper = sorted((config.k_min * n_pixels, config.k_max * n_pixels))
    if abs(step) < 0.005:
        end = "so k stays."
    elif step > 0:
        end = "so **more is masked** next time."
    else:
        end = "so **less is masked** next time."
    if not lower <= k + step <= upper:
        end += f" Its bounds ({lower:.0f} to {upper:.0f} {unit}) hold it."
    return (
        f"{head} {what} Δ = β·{one} + (1−β)·{rest} = {config.beta:.2f}·({_signed(first)}) + "
        f"{1 - config.beta:.2f}·({_signed(others)}) = **{_signed(delta)}**, and k moves by α·Δ = {config.alpha:g} × "
        f"({_signed(delta)}) = **{_signed(step, 2)} {unit}** a visit, {end}"
    )


def _signed(value: float, digits: int = 3) -> str:
    """A number with its sign, the minus as long as the plus."""
    return f"{value:+.{digits}f}".replace("-", "−")
