"""Sliders and live pictures for notebooks, by ipywidgets: nothing here needs the internet.

A notebook's kernel does one thing at a time, so a training in a cell makes every slider deaf until it ends.
`LiveTraining` therefore trains in a thread, and the cell is over at once."""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from collections.abc import Callable, Sequence

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure
from torch import nn

from smoot_explore.core.bounds import moving_bounds
from smoot_explore.core.config import LiveValues, TrainingConfig
from smoot_explore.core.effect import MaskingEffect, masking_effect
from smoot_explore.core.records import Change, EpochRecord, StepRecord
from smoot_explore.core.training import train
from smoot_explore.data.images import ImageData
from smoot_explore.notebook.controls import settings
from smoot_explore.views.figures import png
from smoot_explore.views.progress import Moment, ProgressFigure

DRAWING_SHARE = 0.1  # of a training's time that drawing it may take
REDRAW_SECONDS = 0.03  # a figure waits so long for further moves of its sliders
_HEEDED: dict[str, Sequence[str]] = {  # by training method: which live values it reads
    "traditional": ("learning_rate",),
    "sgt": ("kl_weight", "learning_rate"),
    "smoot": LiveValues._fields,
}
_running: LiveTraining | None = None  # one training at a time: two would only slow each other down
_running_lock = threading.Lock()
# A training step, or a look at a model, but never both: they switch the model's modes and gradients.
_models = threading.RLock()


class LiveFigure(widgets.VBox):
    """A figure that is drawn anew whenever one of its controls moves.

    Moves that come while it draws are answered by one drawing, of the newest values.

    Parameters
    ----------
    draw
        Called with the controls' values by name; returns a Matplotlib figure. Its error is shown below.
    **controls
        From `slider`, `choice`, or any widget with a value.
    """

    def __init__(self, draw: Callable[..., Figure], **controls: widgets.Widget) -> None:
        self.controls = controls
        self.picture = widgets.Image(format="png", layout={"max_width": "100%", "object_fit": "contain"})
        self.problem = widgets.Label()
        self.problem.layout.display = "none"
        self._draw, self._waits = draw, False
        super().__init__(
            [*controls.values(), self.picture, self.problem], layout={"align_items": "flex-start"}
        )
        for control in controls.values():
            control.observe(self._moved, "value")
        self.redraw()

    def redraw(self) -> None:
        """Draw with the present values."""
        self._waits = False
        try:
            with _models:
                figure = self._draw(**{name: control.value for name, control in self.controls.items()})
            self.picture.value = png(figure)
            self.problem.layout.display = "none"
        except Exception as error:  # whatever the notebook's function raises, the sliders stay alive
            self.problem.value = f"{type(error).__name__}: {error}"
            self.problem.layout.display = None

    def _moved(self, change: dict) -> None:
        if self._waits:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no kernel, or a thread of the caller's: nothing to wait for
            return self.redraw()
        self._waits = True
        loop.call_later(REDRAW_SECONDS, self.redraw)


class LiveTraining(widgets.VBox):
    """A training with its picture, its buttons, and sliders that take effect at the next step.

    It runs in a thread of its own, which ends with the training. Starting a second one, in this cell or in
    another, stops the first.

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
    ) -> None:
        if _running is not None and _running._trains(model):
            _running.stop()
        self.model, self.data, self.config = model, data, config
        self.status = "ready"  # ready, running, paused, finished, stopped, failed
        self.records: list[EpochRecord] = []
        self._on_epoch = on_epoch
        self._initial_weights = copy.deepcopy(model.state_dict())
        self._positions = _first_of_each_label(data, 8) if watch is None else np.asarray(watch, int)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._stopping, self._going = threading.Event(), threading.Event()
        self._telling = threading.RLock()
        self.controls = settings(config, _HEEDED[config.method])
        self.train_button, self.pause_button, self.stop_button = (
            widgets.Button(description=words, layout={"width": "100px"})
            for words in ("Train", "Pause", "Stop")
        )
        for button, order in (
            (self.train_button, self.start), (self.pause_button, self.pause), (self.stop_button, self.stop),
        ):  # fmt: skip
            button.on_click(lambda _, order=order: order())
        self.bar = widgets.FloatProgress(min=0, max=1, layout={"width": "200px"})
        self.words = widgets.Label("Ready")
        self.picture = widgets.Image(format="png", layout={"max_width": "100%", "object_fit": "contain"})
        super().__init__(
            [
                widgets.HBox([self.train_button, self.pause_button, self.stop_button, self.bar, self.words]),
                *self.controls,
                self.picture,
            ],
            layout={"align_items": "flex-start"},
        )
        self._prepare()

    @property
    def busy(self) -> bool:
        """Whether it runs or is paused."""
        return self.status in ("running", "paused")

    @property
    def changes(self) -> list[Change]:
        """The settings that were moved while it trained, each with the first step it took effect in."""
        return [change for _, change in self._changes]

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
        if self._thread is not None:
            self._thread.join()
        self.model.load_state_dict(self._initial_weights)
        self._prepare()
        self._tell("running", "Starting")
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
        self._stopping.set()
        self._going.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def result(self) -> list[EpochRecord]:
        """Wait for the end; the records of all epochs.

        Interrupting the wait (■ in the toolbar) stops the training; the notebook stays usable.

        Raises
        ------
        RuntimeError
            When nothing was started, training failed, or it was stopped before an epoch was over.
        """
        if self._thread is None:
            raise RuntimeError("nothing was trained yet; press Train, or call start()")
        if self.status == "paused":
            self.pause()
        try:
            while self._thread.is_alive():
                self._thread.join(0.1)
        except KeyboardInterrupt:
            self.stop()
            raise KeyboardInterrupt("the training was stopped") from None
        if self._error is not None:
            raise RuntimeError(f"training failed: {self._error}") from self._error
        if not self.records:
            raise RuntimeError("it was stopped before an epoch was over; press Train and run this cell again")
        return list(self.records)

    def _trains(self, model: nn.Module) -> bool:
        return self.busy and self.model is model

    def _prepare(self) -> None:
        self.records, self._error = [], None
        self._history: list[Moment] = []
        self._changes: list[tuple[float, Change]] = []
        self._start_bounds = (self.config.k_min, self.config.k_max)
        self._stopping.clear()
        self._going.set()
        self._watched = self.data.train[self._positions]
        self._figure = ProgressFigure(self._watched, self.config.epochs, self.data.n_pixels)
        self.bar.value = 0.0
        k = np.full(len(self.data.train), self.config.k_init * self.data.n_pixels)
        self._draw(k)

    def _work(self) -> None:
        try:
            status = self._train()
        except Exception as error:  # told in the page and by result(); the kernel goes on
            self._error, status = error, "failed"
        words = {"finished": "Finished", "stopped": "Stopped", "failed": f"Failed: {self._error}"}[status]
        done = f" after {self.records[-1].epoch} epochs" if self.records and status != "failed" else ""
        with self._telling:
            self._tell(status, words + done)

    def _train(self) -> str:
        next_drawing, seconds = 0.0, 0.0
        started = time.perf_counter()
        records = train(self.model, self.data, self.config, every=1)
        try:
            while True:
                with _models:
                    record = next(records, None)
                if record is None:
                    break
                now = time.perf_counter()
                seconds += now - started
                if isinstance(record, EpochRecord):
                    self.records.append(record)
                    if self._on_epoch is not None:
                        self._on_epoch(record)
                else:
                    self._remember(record)
                if now >= next_drawing or isinstance(record, EpochRecord):
                    if isinstance(record, StepRecord):
                        self._say(record, seconds)
                    if now >= next_drawing:
                        self._draw(record.k)
                        next_drawing = time.perf_counter() + (time.perf_counter() - now) / DRAWING_SHARE
                self._going.wait()
                if self._stopping.is_set():
                    break
                started = time.perf_counter()
        finally:
            records.close()  # type: ignore[attr-defined]  # a generator
        if self.records or self._history:
            self._draw(self._last_k)
        return "stopped" if self._stopping.is_set() else "finished"

    def _remember(self, record: StepRecord) -> None:
        epoch = record.step / record.steps_per_epoch
        low, median, high = np.quantile(record.k, (0, 0.5, 1)).tolist()
        self._history.append(
            Moment(epoch, record.cross_entropy, record.kl, low, median, high, record.k[self._positions])
        )
        self._last_k = record.k
        for change in record.changes:
            self._changes.append(((change.step - 1) / record.steps_per_epoch, change))

    def _say(self, record: StepRecord, seconds: float) -> None:
        total = record.steps_per_epoch * self.config.epochs
        self.bar.value = record.step / total
        left = (total - record.step) * seconds / record.step
        accuracy = f", {self.records[-1].test_accuracy:.1f} % right on test images" if self.records else ""
        self.words.value = (
            f"epoch {record.epoch}, {record.images_per_second:,.0f} images/s, {left:.0f} s left{accuracy}"
        )

    def _draw(self, k: np.ndarray) -> None:
        config = self.config
        k_watched = k[self._positions] if config.method != "traditional" else 0
        with _models:
            seen: MaskingEffect = masking_effect(
                self.model, self._watched, k_watched,
                fill=config.fill, signed=config.signed, top_n=config.top_n, delta_class=config.delta_class,
            )  # fmt: skip
        bounds = moving_bounds(*self._start_bounds, self._changes) if config.method == "smoot" else []
        self._figure.show(self._history, seen, self._changes, bounds)
        self.picture.value = png(self._figure.figure)

    def _tell(self, status: str, words: str = "") -> None:
        self.status = status
        if words:
            self.words.value = words
        if status == "finished":
            self.bar.value = 1.0
        self.train_button.disabled = status == "running"
        self.train_button.description = "Go on" if status == "paused" else "Train"
        self.pause_button.disabled = self.stop_button.disabled = not self.busy


def _show_figures_in_notebooks() -> None:
    """Have a figure that ends a cell shown as a picture, as pyplot would, without pyplot's global state."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is not None:
        shell.display_formatter.formatters["image/png"].for_type(Figure, png)


def _first_of_each_label(data: ImageData, most: int) -> np.ndarray:
    _, first = np.unique(data.train.labels.numpy(), return_index=True)
    return np.sort(first[:most])


_show_figures_in_notebooks()
