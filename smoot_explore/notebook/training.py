"""A training in a notebook, with its pictures and sliders: nothing here needs the internet.

A notebook's kernel does one thing at a time, so a training in a cell makes every slider deaf until it ends.
`LiveTraining` therefore trains in a thread, and the cell is over at once. The thread collects; pictures are drawn in
the main thread alone, because HoloViews is made for one. That the thread has ended is told by an event: a
`Thread.join` that is interrupted takes the thread for ended (Python until 3.12).
"""

from __future__ import annotations

import asyncio
import copy
import math
import signal
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np
from torch import nn

from smoot_explore.compute.cores import give_cores_away
from smoot_explore.core.bounds import counted_bounds, moving_bounds
from smoot_explore.core.config import LiveValues, TrainingConfig
from smoot_explore.core.effect import MaskingEffect, masking_effect
from smoot_explore.core.history import History
from smoot_explore.core.probe import probed
from smoot_explore.core.records import Change, DropRecord, EpochRecord, StepRecord
from smoot_explore.core.rules import k_unit, most_k, start_k
from smoot_explore.core.training import count_steps, train
from smoot_explore.data.images import ImageData
from smoot_explore.engine.cluster import another
from smoot_explore.engine.engine import Engine
from smoot_explore.engine.recipe import AtHand
from smoot_explore.engine.training_work import Learnt, Ready, StepReport
from smoot_explore.engine.trainings import Report, Training
from smoot_explore.engine.watching import WatchReport
from smoot_explore.engine.workers import DaskWorkers
from smoot_explore.notebook.controls import settings
from smoot_explore.notebook.figure import models
from smoot_explore.notebook.page import (
    CONTROLS,
    LIVE,
    lost_kernel,
    projector_button,
    replaces_former,
    sliders_answered,
)
from smoot_explore.notebook.picture import Picture, with_still
from smoot_explore.runs.run import bundled_reference
from smoot_explore.runs.table import counted
from smoot_explore.views.curves import probe_drop
from smoot_explore.views.flags import change_text, marked
from smoot_explore.views.live import Kept
from smoot_explore.views.pictures import masking
from smoot_explore.views.sketch import Sketch, element
from smoot_explore.views.training import losses
from smoot_explore.views.trajectories import k_trajectories, single_k

if TYPE_CHECKING:
    from distributed import Client

DRAWING_SECONDS = 0.15  # from one drawing of the curves to the next, at least
# Of a training's time: drawing the curves, looking at the watched images, and measuring the accuracy drop.
DRAWING_SHARE, LOOKING_SHARE, PROBE_SHARE = 0.035, 0.005, 0.03
EPOCH_LOOKING_SHARE = 0.02  # that a look after an epoch may take
_COLUMNS = "repeat(auto-fit, minmax(min(380px, 100%), 1fr))"  # of the controls: as many as there is room for
_HEEDED: dict[str, Sequence[str]] = {  # by training method: which live values it reads
    "traditional": ("learning_rate",),
    "sgt": ("kl_weight", "learning_rate"),
    "smoot": LiveValues._fields,
}
_running: LiveTraining | None = None  # one training at a time: two would only slow each other down
_running_lock = threading.Lock()


class NoResultError(RuntimeError):
    """There is no result yet. A notebook shows its words alone."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class LiveTraining(widgets.VBox):
    """A training with its pictures, its buttons, and sliders that take effect at the next step.

    It runs in a thread of its own, which ends with the training, or by a worker of a Dask cluster. Starting a second
    one, in this cell or in another, stops the first.

    Parameters
    ----------
    model
        Trained in place. **Train** always begins with the weights that it has now.
    data
        See `load_data`.
    config
        The sliders move its live values; other code may as well.
    watch
        Positions of the training images to watch; by default the first of each label, eight at most.
    on_epoch
        Called in the training's thread with each `EpochRecord`.
    client
        A Dask client: a worker of its cluster trains, and gets the model and the data, which must be picklable. The
        model here has what was learnt when the training ends; it keeps its weights where a worker had to be ended.
        When a worker is lost, another begins anew. None trains in the kernel.

    Examples
    --------
    >>> from smoot_explore import create_model, load_data
    >>> data = load_data("shapes", train=12, test=6)
    >>> live = LiveTraining(create_model("cnn", data), data, TrainingConfig(epochs=1, batch_size=6))
    >>> [record.epoch for record in live.start().result()]
    [1]
    """

    def __init__(
        self,
        model: nn.Module,
        data: ImageData,
        config: TrainingConfig,
        *,
        watch: Sequence[int] | None = None,
        on_epoch: Callable[[EpochRecord], object] | None = None,
        client: Client | None = None,
    ) -> None:
        if _running is not None and _running._trains(model):
            _running.stop()
        self.model, self.data, self.config = model, data, config
        self.status = "ready"  # ready, running, paused, finished, stopped, failed
        self.records: list[EpochRecord] = []
        self._on_epoch, self._client = on_epoch, client
        self._initial_weights = copy.deepcopy(model.state_dict())
        self._positions = _first_of_each_label(data, 8) if watch is None else np.asarray(watch, int)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._stopping, self._going, self._ended = (threading.Event() for _ in range(3))
        self._telling, self._collecting = threading.RLock(), threading.Lock()
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()  # the main thread's
        except RuntimeError:  # no kernel: result() draws
            self._loop = None
        self._asked = False  # for a drawing
        self._blocks = False  # the kernel, so that it hears no slider
        self._drawings: deque[float] = deque([0.0], 5)  # seconds that the latest took
        self._reference = bundled_reference(data.source.get("name"))
        self.controls = settings(config, _HEEDED[config.method])
        for control in self.controls:
            control.layout.width, control.style.description_width = "auto", "165px"
        self.train_button, self.pause_button, self.stop_button = (
            widgets.Button(description=words, layout={"width": "80px"})
            for words in ("Train", "Pause", "Stop")
        )
        for button, order in (
            (self.train_button, self.start), (self.pause_button, self.pause), (self.stop_button, self.stop),
        ):  # fmt: skip
            button.on_click(lambda _, order=order: order())
        self.bar = widgets.FloatProgress(min=0, max=1, layout={"width": "120px"})
        self.words = widgets.Label("Ready")
        self.flags = widgets.Label(layout={"display": "none"})  # what their numbers stand for
        self._prepare()
        self.picture = Picture(self._sketches())
        super().__init__(
            [
                lost_kernel(),
                projector_button(),
                widgets.HBox([self.train_button, self.pause_button, self.stop_button, self.bar, self.words]),
                widgets.GridBox(
                    self.controls, layout={"grid_template_columns": _COLUMNS, "grid_gap": "0 12px"}
                ).add_class(CONTROLS),
                self.flags,
                self.picture,
            ],
            layout={"width": "100%"},
        )
        self.add_class(LIVE)
        replaces_former(self)

    def close(self) -> None:
        """Stop, and take it from the page."""
        if self.comm is not None:
            self.stop()
            super().close()

    @property
    def busy(self) -> bool:
        """Whether it runs or is paused."""
        return self.status in ("running", "paused")

    @property
    def changes(self) -> list[Change]:
        """The settings that were moved while it trained, each with the first step it took effect in."""
        return [change for _, change in self._history.changes]

    @property
    def moves(self) -> list[Change]:
        """The changes as the pictures flag them: a slider's way from one place to another is one move."""
        return [change for _, change in marked(self._history.changes, self._steps_per_epoch)]

    def start(self) -> LiveTraining:
        """Train from the initial weights, or go on when paused. Returns itself, at once."""
        global _running
        if self.status == "paused":
            self.pause()
        if self.busy:
            return self
        with _running_lock:
            if _running is not None and _running is not self:
                _running.stop()
            _running = self
        self._join()
        self.model.load_state_dict(self._initial_weights)
        self._prepare()
        self._ended.clear()
        self._tell("running", "Starting: the first step takes a few seconds")
        give_cores_away()
        self._thread = threading.Thread(target=self._work, name="live-training", daemon=True)
        self._thread.start()
        return self

    def pause(self) -> None:
        """Pause after the step in progress; go on when it is paused already."""
        with self._telling:
            if self.status == "running":
                self._going.clear()
                self._tell("paused")
            elif self.status == "paused":
                self._tell("running")
                self._going.set()

    def stop(self) -> None:
        """End after the step in progress and wait for it. The model keeps what it has learned."""
        self._ask_to_stop()
        self._join()

    def result(self) -> list[EpochRecord]:
        """Wait for the end; the records of all epochs.

        Interrupting the wait (■ in the toolbar) stops the training, and gives the epochs until then. No slider answers
        meanwhile: ``await live`` in a cell waits as well, and they do.

        Raises
        ------
        RuntimeError
            When nothing was started, training failed, or it was stopped before an epoch was over.
        """
        if self.status == "paused":
            self.pause()
        self._blocks = True
        try:
            with self._interruptible():
                while self._thread is not None and not self._ended.wait(0.05):
                    self._draw()
        finally:
            self._blocks = False
        return self._found()

    def __await__(self) -> Generator[Any, None, list[EpochRecord]]:
        return self._awaited().__await__()

    async def _awaited(self) -> list[EpochRecord]:
        try:
            with sliders_answered():
                while self._thread is not None and not self._ended.is_set():
                    await asyncio.sleep(0.05)
        except asyncio.CancelledError:  # ■ in the toolbar
            self.stop()
        return self._found()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Have an interrupt stop the training; a second one is an interrupt as usual.

        An exception could come in the midst of a drawing, and leave half of it.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupted(number: int, frame: Any) -> None:
            if self._stopping.is_set():
                raise KeyboardInterrupt
            self._ask_to_stop()

        before = signal.signal(signal.SIGINT, interrupted)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _found(self) -> list[EpochRecord]:
        if self._thread is None:
            raise NoResultError("nothing was trained yet; press Train, or call start()")
        self._draw()
        if self._error is not None:
            raise RuntimeError(f"training failed: {self._error}") from self._error
        if not self.records:
            raise NoResultError(
                "it was stopped before an epoch was over; press Train and run this cell again"
            )
        if self.status == "stopped":
            print(f"{self.words.value}: the records end there.")
        return list(self.records)

    def _ask_to_stop(self) -> None:
        if self.busy:
            self.words.value = "Stopping after the step in progress"
        self._stopping.set()
        self._going.set()

    def _join(self) -> None:
        """Wait until the thread has ended."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._ended.wait()
            self._thread.join()

    def _trains(self, model: nn.Module) -> bool:
        return self.busy and self.model is model

    def _prepare(self) -> None:
        self._error = None
        self._steps_per_epoch = count_steps(len(self.data.train), self.config.batch_size)
        self._forget()
        self._kept = Kept()
        self._stopping.clear()
        self._going.set()
        self._watched = self.data.train[self._positions]
        self._seen = self._look()
        self._ask_for_a_drawing()

    def _forget(self) -> None:
        """Nothing was told of the training yet."""
        settings = self.config.to_dict()
        self._most_k = most_k(settings, self.data.n_pixels)
        k = np.full(len(self.data.train), start_k(settings, self._most_k))
        self.records = []
        self._start_bounds = (self.config.k_min, self.config.k_max)
        self._history = History(None if self.config.method == "traditional" else k, k_unit(settings))
        self.bar.value = 0.0

    def _work(self) -> None:
        try:
            self._train_and_tell()
        finally:  # whatever on_epoch does, nobody waits for ever
            self._ended.set()

    def _train_and_tell(self) -> None:
        try:
            status = self._train() if self._client is None else self._train_on(self._client)
        except Exception as error:  # told in the page and by result(); the kernel goes on
            self._error, status = error, "failed"
        words = {"finished": "Finished", "stopped": "Stopped", "failed": f"Failed: {self._error}"}[status]
        done = (
            f" after {counted(self.records[-1].epoch, 'epoch')}"
            if self.records and status != "failed"
            else ""
        )
        with self._telling:
            self._tell(status, words + done)
        self._ask_for_a_drawing()

    def _train(self) -> str:
        next_words = next_look = next_epoch_look = seconds = 0.0
        started = time.perf_counter()
        records = probed(
            train(self.model, self.data, self.config, every=1), self.model, self.data, self.config,
            share=PROBE_SHARE, keep_going=lambda: not self._stopping.is_set(),
        )  # fmt: skip
        try:
            while True:
                with models:
                    record = next(records, None)
                if record is None:
                    break
                now = time.perf_counter()
                seconds += now - started
                self._collect(record)
                if now >= (next_epoch_look if isinstance(record, EpochRecord) else next_look):
                    self._seen = self._look()
                    looked = time.perf_counter()
                    next_look = looked + (looked - now) / LOOKING_SHARE
                    next_epoch_look = looked + (looked - now) / EPOCH_LOOKING_SHARE
                if now >= next_words and isinstance(record, StepRecord):
                    left = record.steps_per_epoch * self.config.epochs - record.step
                    self._say(record, left * seconds / record.step)
                    self._ask_for_a_drawing()
                    # The median: some of them wait for Python's garbage collection.
                    usual = statistics.median(self._drawings)
                    next_words = now + max(DRAWING_SECONDS, usual / DRAWING_SHARE)
                self._going.wait()
                if self._stopping.is_set():
                    break
                started = time.perf_counter()
        finally:
            records.close()  # type: ignore[attr-defined]  # a generator
        self._seen = self._look()
        return "stopped" if self._stopping.is_set() else "finished"

    def _train_on(self, client: Client) -> str:
        """Have a worker train; the thread gives it orders, and collects what it reports."""
        with models:
            model = copy.deepcopy(self.model).cpu()
        engine = Engine(DaskWorkers(connect=partial(another, client)))
        training = Training(engine, self.config, AtHand(model, self.data), max_minutes=math.inf)
        training.watch(partial(_always, self._positions))
        try:
            training.start()
            stopped = False
            for reports in training.until_ended():
                if stopped:
                    pass
                elif self._stopping.is_set():
                    training.stop()
                    stopped = True
                elif not self._going.is_set():
                    training.pause()
                else:
                    training.start()
                for report in reports:
                    self._take(report)
                self._history.changes = [
                    ((change.step - 1) / self._steps_per_epoch, change) for change in training.changes
                ]
                if reports:
                    self._ask_for_a_drawing()
        finally:
            engine.close()
        if training.status == "failed":
            raise RuntimeError(training.problem)
        return training.status

    def _take(self, report: Report) -> None:
        """What a worker reports."""
        if isinstance(report, Ready):
            if self.records or self.bar.value:  # another worker's, which was lost
                self._forget()
                self._tell(self.status, "The worker was lost; another begins anew")
        elif isinstance(report, StepReport):
            self._collect(report.record)
            self._say(report.record, report.seconds_left)
        elif isinstance(report, WatchReport):
            self._seen = report.k, report.effect
        elif isinstance(report, Learnt):
            with models:
                self.model.load_state_dict(report.weights)
            self._seen = self._look()
        else:
            self._collect(report)

    def _collect(self, record: StepRecord | EpochRecord | DropRecord) -> None:
        with self._collecting:
            self._history.add(record)
        if isinstance(record, EpochRecord):
            self.records.append(record)
            if self._on_epoch is not None:
                self._on_epoch(record)

    def _say(self, record: StepRecord, left: float) -> None:
        self.bar.value = record.step / (record.steps_per_epoch * self.config.epochs)
        accuracy = f", test accuracy {self.records[-1].test_accuracy:.1f} %" if self.records else ""
        deaf = "; sliders answer when the wait is over" if self._blocks else ""
        speed = f"{record.images_per_second:,.0f} images/s, {left:.0f} s left"
        self.words.value = f"epoch {record.epoch}, {speed}{accuracy}{deaf}"

    def _look(self) -> tuple[np.ndarray, MaskingEffect]:
        """What masking makes of the watched images now."""
        config, k = self.config, self._history.k
        at = np.zeros(len(self._positions)) if k is None else k[self._positions]
        with models:
            return at, masking_effect(
                self.model, self._watched, at,
                fill=config.fill, signed=config.signed, top_n=config.top_n, delta_class=config.delta_class,
                patch=config.patch,
            )  # fmt: skip

    def _ask_for_a_drawing(self) -> None:
        """Have the main thread draw, as soon as it does nothing else or waits for the result."""
        self._asked = True
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._draw)
            except RuntimeError:  # the kernel ends
                self._loop = None

    def _draw(self) -> None:
        """Show where training stands, if that was asked for."""
        if not self._asked:
            return
        self._asked = False
        started = time.thread_time()
        self.picture.show(self._sketches())
        moves = [f"{i}: {change_text(move)}" for i, move in enumerate(self.moves, start=1)]
        self.flags.value, self.flags.layout.display = ", ".join(moves), None if moves else "none"
        self._drawings.append(time.thread_time() - started)

    def _sketches(self) -> list[list[Sketch]]:
        config, history = self.config, self._history
        with self._collecting:
            steps, quantiles, single = (
                history.steps(),
                history.k_quantiles(),
                history.k_of(self._positions.tolist()),
            )
            changes, drops = list(history.changes), list(history.drops)
        flagged = marked(changes, self._steps_per_epoch)
        about = {"changes": flagged, "epochs": config.epochs}
        watched = self._kept("watched", [self._seen], self._watched_sketch)
        drop = self._kept(
            "drop", drops[-1:], lambda: probe_drop.sketch(drops, config.method, self._reference)
        )
        rows = [[watched]]
        if config.method == "smoot":  # the others' k do not move
            bounds = counted_bounds(moving_bounds(*self._start_bounds, changes), self._most_k)
            names = [self._watched.class_names[int(label)] for label in self._watched.labels]
            rows.append(
                [
                    k_trajectories.sketch(quantiles, bounds=bounds, **about),
                    single_k.sketch(single, names=names, **about),
                ]
            )
        return [*rows, [drop, losses.sketch(steps, **about)]]

    def _watched_sketch(self) -> Sketch:
        (at, seen), labels = self._seen, self._watched.labels.numpy()
        places = np.arange(len(labels))
        clean, masked = (
            100 * p[places, labels] for p in (seen.clean_probabilities, seen.masked_probabilities)
        )
        footers = [
            [f"{before:.0f} → {after:.0f} %", *([f"k {k:.0f}"] if self._history.guided else [])]
            for before, after, k in zip(clean, masked, at, strict=True)
        ]
        return masking.sketch(
            self._watched,
            seen,
            footers=footers,
            label="Watched images: probability of the label, clean → masked",
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return with_still(super()._repr_mimebundle_(**kwargs), element(self._watched_sketch()))

    def _tell(self, status: str, words: str = "") -> None:
        self.status = status
        if words:
            self.words.value = words
        if status == "finished":
            self.bar.value = 1.0
        self.train_button.disabled = status == "running"
        self.train_button.description = "Go on" if status == "paused" else "Train"
        self.pause_button.disabled = self.stop_button.disabled = not self.busy


def _always(positions: np.ndarray, *_: Any) -> np.ndarray:
    """The images to watch, whatever the model: for another process."""
    return positions


def _first_of_each_label(data: ImageData, most: int) -> np.ndarray:
    _, first = np.unique(data.train.labels.numpy(), return_index=True)
    return np.sort(first[:most])
