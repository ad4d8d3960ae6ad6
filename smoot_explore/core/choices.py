"""What settings and measurements can be named: known without loading the code behind the names."""

from collections import UserDict
from contextvars import ContextVar
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
_OF_A_JOB: ContextVar[dict[str, dict[str, Any]] | None] = ContextVar("registered", default=None)
_OF_ALL: dict[str, dict[str, Any]] = {}


class Registry(UserDict[str, Any]):
    """What users have added to one kind: in a job of a worker process its own, see `register_apart`."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        _OF_ALL[kind] = {}

    @property
    def data(self) -> dict[str, Any]:  # type: ignore[override]  # where `UserDict` looks
        return (_OF_A_JOB.get() or _OF_ALL)[self._kind]


REGISTERED: dict[str, Registry] = {kind: Registry(kind) for kind in _BUILT_IN}
"""What users have added to each kind, by its name: `register_fill`, `register_k_rule`, `register_attribution`."""


def register_apart() -> None:
    """What is registered from now on in this thread is known in it alone, beside what all know: two users may call
    different things by one name in one worker process."""
    _OF_A_JOB.set({kind: dict(known) for kind, known in _OF_ALL.items()})


def names(kind: str) -> tuple[str, ...]:
    """All names of ``"fill"``, ``"k_rule"`` or ``"attribution"`` that can be given now, the registered ones last."""
    return (*_BUILT_IN[kind], *REGISTERED[kind])
