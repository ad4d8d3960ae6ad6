"""Explore saliency-guided training (SGT) and SMOOT: train, measure and compare."""

from importlib.metadata import version

from smoot_explore.adaptation import KUpdate, probability_change, update_k
from smoot_explore.config import TrainingConfig
from smoot_explore.curves import (
    accuracy_drop,
    drop_auc,
    image_class,
    k_landscape,
    masking_curves,
    peak_fraction,
    simulate_k,
)
from smoot_explore.data import ImageData, Split, load_data
from smoot_explore.masking import mask_pixels, rank_pixels
from smoot_explore.models import create_model
from smoot_explore.records import SchemaError, validate
from smoot_explore.runs import Run, RunError, bundled_runs, list_runs, open_run
from smoot_explore.saliency import saliency
from smoot_explore.training import Change, EpochRecord, StepRecord, TrainingError, accuracy, train

__version__ = version("smoot-explore")

__all__ = [
    "Change",
    "EpochRecord",
    "ImageData",
    "KUpdate",
    "Run",
    "RunError",
    "SchemaError",
    "Split",
    "StepRecord",
    "TrainingConfig",
    "TrainingError",
    "accuracy",
    "accuracy_drop",
    "bundled_runs",
    "create_model",
    "drop_auc",
    "image_class",
    "k_landscape",
    "list_runs",
    "load_data",
    "mask_pixels",
    "masking_curves",
    "open_run",
    "peak_fraction",
    "probability_change",
    "rank_pixels",
    "saliency",
    "simulate_k",
    "train",
    "update_k",
    "validate",
]
