"""What training yields, and the state that it goes on from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from smoot_explore.core.config import LiveValues, TrainingConfig
from smoot_explore.core.loss import GuidedLoss
from smoot_explore.data.images import ImageData


@dataclass(frozen=True)
class Change:
    """A hyper-parameter that was moved while training ran."""

    step: int  # the first step it took effect in, counted from 1 over the whole run
    epoch: int
    name: str
    old: float
    new: float


@dataclass(frozen=True)
class StepRecord:
    """Where training stands after some steps. Losses are means over the steps since the last StepRecord."""

    epoch: int
    step: int  # over the whole run, from 1
    step_in_epoch: int  # from 1
    steps_per_epoch: int
    loss: float  # CE + λ·KL
    cross_entropy: float
    kl: float  # before λ; NaN for traditional training
    k: np.ndarray  # (N,) pixels
    images_per_second: float
    changes: tuple[Change, ...] = ()  # since the record before: each is told once


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch did. Losses and the training accuracy are means over its steps, in train mode."""

    epoch: int  # from 1
    step: int  # last step of the epoch, over the whole run
    train_loss: float  # CE + λ·KL
    cross_entropy: float
    kl: float  # before λ; NaN for traditional training
    train_accuracy: float  # per cent
    test_accuracy: float  # per cent, in eval mode
    k: np.ndarray  # (N,) pixels, after the epoch
    delta: np.ndarray  # (N,) Δ of equation (3) at each image's visit; NaN for traditional training
    probability: np.ndarray  # (N,) of the label, clean image, in train mode at each image's visit
    correct: np.ndarray  # (N,) bool: whether the image was recognised then
    duration_seconds: float  # of the training steps alone
    images_per_second: float
    changes: tuple[Change, ...] = ()  # since the record before: each is told once


@dataclass(frozen=True)
class DropRecord:
    """The accuracy drop at one moment of a training, on a few test images; see `AccuracyDropProbe`."""

    epoch: float  # 3.0 after epoch 3; a fraction when it was measured on pause
    masked_fraction: np.ndarray  # (levels,) increasing, 0 … 1
    accuracy: np.ndarray  # (levels,) per cent
    image_ids: np.ndarray  # (n,) of the test images it was measured on
    fill: str
    attribution: str
    ranking: str  # "signed" or "magnitude"
    order: str  # "highest": the most salient pixels are masked first
    precision: str  # number format of the forward passes

    @property
    def n_images(self) -> int:
        """How many test images it was measured on."""
        return len(self.image_ids)

    @property
    def auc(self) -> float:
        """Area under the curve in per cent, as of `drop_auc`."""
        return drop_area(self.accuracy, self.masked_fraction)


def drop_area(accuracy: np.ndarray, masked_fraction: np.ndarray) -> float:
    """Area under an accuracy drop in per cent, as of `drop_auc`, from its numbers alone."""
    return float(np.trapezoid(accuracy, masked_fraction) / (masked_fraction[-1] - masked_fraction[0]))


class TrainingError(RuntimeError):
    """Training cannot go on; the run folder still holds the last good checkpoint."""


@dataclass
class TrainingState:
    """What moves during training, apart from the model: all of it that a checkpoint must hold."""

    optimizer: torch.optim.Optimizer
    loss: GuidedLoss  # holds what is known of each image, by position in data.train
    live: LiveValues
    epoch: int = 0  # epochs completed
    step: int = 0
    changes: list[Change] = field(default_factory=list)
    told: int = 0  # how many of the changes a record has told

    @property
    def k(self) -> Tensor:
        """(N,) pixels."""
        return self.loss.k

    @property
    def delta(self) -> Tensor:
        """(N,) Δ of equation (3) at each image's last visit."""
        return self.loss.delta

    @property
    def saliency(self) -> Tensor | None:
        """(N, H, W) bfloat16, from each image's last visit; None unless saliency is harvested."""
        return self.loss.maps

    def new_changes(self) -> tuple[Change, ...]:
        """The live changes that no record has told; they count as told from now on."""
        new = tuple(self.changes[self.told :])
        self.told = len(self.changes)
        return new


class EpochStore(Protocol):
    """What training asks of whoever keeps its epochs: a run folder, or something of the user's own."""

    def resume(
        self,
        model: nn.Module,
        state: TrainingState,
        data: ImageData,
        config: TrainingConfig,
        augment: str | None,
    ) -> None:
        """Put model and state where training stopped; ``augment`` names the augmentation, None is none."""

    def write_epoch(self, record: EpochRecord, model: nn.Module, state: TrainingState) -> None:
        """Keep a completed epoch."""

    def finish(self) -> None:
        """Training has reached its last epoch."""


class DropStore(Protocol):
    """What `probed` asks of whoever keeps the accuracy drops of a training: a run folder, or something of one's own."""

    @property
    def probe(self) -> dict[str, Any] | None:
        """How the kept ones were measured: ``image_ids``, ``masked_fraction``, ``fill``, … ; None without any."""

    def save_accuracy_drop(self, drop: DropRecord) -> None:
        """Keep the accuracy drop after a completed epoch."""
