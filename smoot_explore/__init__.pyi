from . import views
from .core.adaptation import KUpdate, probability_change, update_k
from .core.attack import pgd, robust_accuracy
from .core.classes import accuracy_drop, drop_auc, image_class, peak_fraction
from .core.config import TrainingConfig
from .core.curves import masking_curves
from .core.imputation import noisy_linear
from .core.landscape import k_landscape, simulate_k
from .core.logs import log_to_mlflow, log_to_tensorboard, log_to_wandb
from .core.loss import GuidedLoss, LossResult
from .core.masking import mask_pixels, rank_pixels, register_fill
from .core.models import create_model
from .core.probe import AccuracyDropProbe, probed
from .core.records import Change, DropRecord, EpochRecord, StepRecord, TrainingError
from .core.rules import KChange, KSettings, register_k_rule
from .core.saliency import ATTRIBUTION_METHODS, register_attribution, saliency
from .core.training import accuracy, train
from .data.images import ImageData, Split
from .data.load import load_data
from .explorer.explore import explore
from .runs.adopt import adopt
from .runs.checkpoint import RunError
from .runs.compare import align_images, compare_runs
from .runs.replay import replay
from .runs.run import Run, bundled_runs, list_runs, open_run
from .schema import SchemaError, validate
from .sweeps.results import open_sweep
from .sweeps.sweep import sweep

__version__: str
__all__ = [
    "ATTRIBUTION_METHODS",
    "AccuracyDropProbe",
    "Change",
    "DropRecord",
    "EpochRecord",
    "GuidedLoss",
    "ImageData",
    "KChange",
    "KSettings",
    "KUpdate",
    "LossResult",
    "Run",
    "RunError",
    "SchemaError",
    "Split",
    "StepRecord",
    "TrainingConfig",
    "TrainingError",
    "accuracy",
    "accuracy_drop",
    "adopt",
    "align_images",
    "bundled_runs",
    "compare_runs",
    "create_model",
    "drop_auc",
    "explore",
    "image_class",
    "k_landscape",
    "list_runs",
    "load_data",
    "log_to_mlflow",
    "log_to_tensorboard",
    "log_to_wandb",
    "mask_pixels",
    "masking_curves",
    "noisy_linear",
    "open_run",
    "open_sweep",
    "peak_fraction",
    "pgd",
    "probability_change",
    "probed",
    "rank_pixels",
    "register_attribution",
    "register_fill",
    "register_k_rule",
    "replay",
    "robust_accuracy",
    "saliency",
    "simulate_k",
    "sweep",
    "train",
    "update_k",
    "validate",
    "views",
]
