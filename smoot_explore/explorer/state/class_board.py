"""What the pages of one server tell each other: the trainings of a class."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smoot_explore.core.config import TrainingConfig
from smoot_explore.explorer.state.one_training import OneTraining
from smoot_explore.explorer.state.train import OWN_FOLDER, TrainState
from smoot_explore.views.rivals import LINES

MOST_PAGES = 200  # told of at a time; further ones are not
MOST_OF_A_PAGE = LINES + 1  # trainings: those of Train, and What if's
GONE_SECONDS = 30  # after which a page that tells nothing is gone
LONGEST_NAME = 30  # characters
_MOST_POINTS = 30  # of the small pictures
_BANDS = (0.05, 0.25, 0.5, 0.75, 0.95)  # quantiles of k


@dataclass(frozen=True, eq=False)  # of another, even a like one, it is news
class Told:
    """What a page tells of one of its trainings. Nobody's name but one that was typed."""

    name: str
    label: str  # what the page calls it; empty where it has no other
    status: str
    place: int  # in the queue, from 1; 0 when it does not wait
    data: str
    settings: dict[str, float | int | str]  # those of `class_settings` and the method
    epoch: int
    epochs: int
    accuracies: tuple[float, ...]  # after each epoch, in per cent, thinned
    auc: float  # of the newest accuracy drop, in per cent; NaN without one
    k_median: float  # NaN for traditional training
    k_bands: np.ndarray  # (quantile, epoch): 5, 25, 50, 75 and 95 % of the images, as shares of the image

    @property
    def accuracy(self) -> float:
        """After the last epoch, in per cent; NaN before the first."""
        return self.accuracies[-1] if self.accuracies else float("nan")


def class_settings() -> dict[str, str]:
    """The settings over which trainings are compared, by their labels: numbers that a visitor moves."""
    names = ("alpha", "beta", "kl_weight", "learning_rate", "k_init", "k_min", "k_max", "epochs", "seed")
    return {TrainingConfig.param[name].label: name for name in names}


def all_told(train: TrainState, name: str = "") -> list[Told]:
    """What a page tells of all its trainings, What if's too."""
    labelled = zip(train.every, [*train.labels, "What if"], strict=False)
    going = [(one, label) for one, label in labelled if one.training is not None]
    return [told_of(one, name, label if len(going) > 1 else "") for one, label in going]


def told_of(one: OneTraining, name: str = "", label: str = "") -> Told:
    """What a page tells of a training, with the settings in force."""
    history, started = one.history, one.started
    settings = {n: getattr(started, n) for n in (*class_settings().values(), "method")}
    bands, k_median = np.empty((len(_BANDS), 0)), float("nan")
    if history.guided and one.most_k:
        k = history.k_quantiles()
        k_median = float(k.sel(quantile=0.5)[-1])
        bands = _thinned(k.sel(quantile=list(_BANDS)).values / one.most_k)
    return Told(
        name[:LONGEST_NAME], label, one.status, one.place, _data(one), settings | one.in_force._asdict(),
        one.epochs_done, started.epochs,
        tuple(_thinned(np.array([[score.test_accuracy for score in history.scores]]))[0].tolist()),
        history.drops[-1].auc if history.drops else float("nan"), k_median, bands,
    )  # fmt: skip


def _data(one: OneTraining) -> str:
    """The data that it trains on; empty while unknown. Which folder may be nobody's business."""
    if one.run is not None:
        name = str(one.run.description["data"]["name"])
    else:
        name = getattr(one.training.recipe, "data_name", "")  # type: ignore[union-attr]  # there is one
    return OWN_FOLDER if Path(name).is_absolute() else name


def _thinned(values: np.ndarray) -> np.ndarray:
    """At most so many columns, with the first and the last."""
    n = values.shape[1]
    return values if n <= _MOST_POINTS else values[:, np.linspace(0, n - 1, _MOST_POINTS).round().astype(int)]


class ClassBoard:
    """The trainings of the pages of one server. From any thread.

    Parameters
    ----------
    clock
        Seconds that only go on; for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._pages: dict[str, tuple[float, Sequence[Told]]] = {}  # in the order in which they came

    def report(self, page: str, told: Sequence[Told]) -> None:
        """What a page has to tell now of its trainings."""
        with self._lock:
            self._forget()
            if page in self._pages or len(self._pages) < MOST_PAGES:
                self._pages[page] = self._clock(), told[:MOST_OF_A_PAGE]

    def leave(self, page: str) -> None:
        """A page is closed."""
        with self._lock:
            self._pages.pop(page, None)

    def trainings(self) -> dict[str, Sequence[Told]]:
        """What is told of trainings, by their page; the oldest page first. A page without any is left out."""
        with self._lock:
            self._forget()
            return {page: told for page, (_, told) in self._pages.items() if told}

    def _forget(self) -> None:
        old = self._clock() - GONE_SECONDS
        self._pages = {page: told for page, told in self._pages.items() if told[0] >= old}
