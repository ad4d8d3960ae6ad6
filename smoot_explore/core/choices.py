"""What settings and measurements can be named: known without loading the code behind the names."""

from collections.abc import Callable
from typing import Any

METHODS = ("traditional", "sgt", "smoot")
OPTIMIZERS = ("adadelta", "sgd", "adam", "adamw")
FILLS = ("remaining", "image_range", "mean", "black", "blur")
RANDOM_FILLS = ("remaining", "image_range")
K_RULES = ("smoot", "magnitude")
SCHEDULES = ("constant", "settle", "cosine")
ORDERS = ("lowest", "highest")
ATTRIBUTIONS = (
    "gradient",
    "input_x_gradient",
    "integrated_gradients",
    "smoothgrad",
    "gradient_shap",
    "deeplift",
    "occlusion",
    "grad_cam",
    "random",
)

_BUILT_IN = {"fill": FILLS, "k_rule": K_RULES, "attribution": ATTRIBUTIONS}
REGISTERED: dict[str, dict[str, Callable[..., Any]]] = {kind: {} for kind in _BUILT_IN}
"""What users have added to each kind, by its name: `register_fill`, `register_k_rule`, `register_attribution`."""


def names(kind: str) -> tuple[str, ...]:
    """All names of ``"fill"``, ``"k_rule"`` or ``"attribution"`` that can be given now, the registered ones last."""
    return (*_BUILT_IN[kind], *REGISTERED[kind])
