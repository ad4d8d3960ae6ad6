"""Every hyper-parameter, declared once: sliders, command-line options, tables and docs read it here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import param

from smoot_explore.core.choices import FILLS, K_RULES, METHODS, OPTIMIZERS, REGISTERED, SCHEDULES
from smoot_explore.errors import unknown_name


class LiveValues(NamedTuple):
    """The hyper-parameters that may move while training runs, as plain numbers."""

    alpha: float
    beta: float
    kl_weight: float
    learning_rate: float
    k_min: float
    k_max: float


_MOVING = ("alpha", "beta", "k_min", "k_max", "top_n", "delta_class", "k_rule")  # move k
_MASKING = ("k_init", "kl_weight", "patch", "fill", "signed", "saliency_pass", "batch_norm")  # of masking


class TrainingConfig(param.Parameterized):
    """Settings of one training run.

    ``bounds`` of a parameter are what the mathematics allows, ``softbounds`` a sensible slider.
    The parameters named in `LiveValues` are read anew at each training step; the others are read once,
    when training starts. A misspelt name is an error, at construction and on assignment.

    Examples
    --------
    >>> config = TrainingConfig(method="sgt", epochs=3)
    >>> config.k_init
    0.5
    >>> config.kl_wieght = 2.0
    Traceback (most recent call last):
    AttributeError: unknown setting 'kl_wieght'; did you mean 'kl_weight'? ...
    """

    method = param.Selector(
        default="smoot",
        objects=list(METHODS),
        label="Training method",
        doc="traditional: cross-entropy alone; sgt: the same k for all images, for ever; "
        "smoot: every image has its own k, which moves each epoch.",
    )
    beta = param.Number(
        default=0.95,
        bounds=(0, 1),
        step=0.01,
        label="β, weight of the label",
        doc="Weight of the change of the label's probability against that of the runners-up, "
        "equation (3). 1 looks at the label alone. No unit.",
    )
    alpha = param.Number(
        default=10.0,
        bounds=(0, None),
        softbounds=(0, 100),
        step=1.0,
        label="α, speed of k (pixels)",
        doc="How many pixels k moves for a change Δ of 1 in probability, equation (4). "
        "0 keeps every k where it is.",
    )
    k_init = param.Number(
        default=0.5,
        bounds=(0, 1),
        step=0.01,
        label="Initial k (fraction of the pixels)",
        doc="Share of an image's pixels that is masked at the start (SMOOT) or always (SGT).",
    )
    k_min = param.Number(
        default=0.2,
        bounds=(0, 1),
        step=0.01,
        label="Lowest k (fraction of the pixels)",
        doc="SMOOT never masks a smaller share of an image than this, equation (4).",
    )
    k_max = param.Number(
        default=0.8,
        bounds=(0, 1),
        step=0.01,
        label="Highest k (fraction of the pixels)",
        doc="SMOOT never masks a larger share of an image than this, equation (4).",
    )
    kl_weight = param.Number(
        default=1.0,
        bounds=(0, None),
        softbounds=(0, 5),
        step=0.1,
        label="λ, weight of the KL term",
        doc="How much it counts that masked and clean image get the same output, equation (5). "
        "0 is traditional training that only watches k. No unit.",
    )
    top_n = param.Integer(
        default=5,
        bounds=(1, None),
        softbounds=(1, 10),
        label="n, classes in Δ",
        doc="The label and the n − 1 most probable other classes enter equations (1) and (2); "
        "cut to the number of classes.",
    )
    delta_class = param.Selector(
        default="label",
        objects=["label", "predicted"],
        label="Class that moves k",
        doc="label: Δ₁ is the change of the label's probability, equation (1); predicted: that of the most "
        "probable class of the clean image. The k-landscape always follows the label.",
    )
    k_rule = param.Selector(
        default="smoot",
        objects=list(K_RULES),
        label="Rule that moves k",
        doc="smoot: equations (1) to (4); magnitude: the likely precursor's, with its own start and bounds: k only "
        "rises; or one of your own, by register_k_rule.",
    )
    patch = param.Integer(
        default=1,
        bounds=(1, None),
        softbounds=(1, 32),
        label="Patch (side in pixels)",
        doc="Mask whole squares of this side, ranked by their mean saliency, as transformers see images. k, its "
        "bounds and α then count patches instead of pixels. 1 masks pixels.",
    )
    epochs = param.Integer(
        default=10,
        bounds=(1, None),
        softbounds=(1, 100),
        label="Epochs",
        doc="How often training visits every image. The paper trains for 100.",
    )
    batch_size = param.Integer(
        default=256,
        bounds=(1, None),
        softbounds=(16, 1024),
        label="Batch size (images)",
        doc="Images per training step.",
    )
    learning_rate = param.Number(
        default=1.0,
        bounds=(0, None),
        softbounds=(0, 2),
        step=0.01,
        label="τ, learning rate",
        doc="Step size of the optimiser, equation (7). 1 suits Adadelta; SGD and Adam want far less.",
    )
    schedule = param.Selector(
        default="constant",
        objects=list(SCHEDULES),
        label="Schedule of the learning rate",
        doc="What τ is multiplied by as training goes on. constant: 1; settle: a tenth in the last quarter of the "
        "epochs; cosine: from 1 down to 0 along half a cosine.",
    )
    warm_up = param.Number(
        default=0.0,
        bounds=(0, None),
        softbounds=(0, 5),
        step=0.5,
        label="Warm-up (epochs)",
        doc="The learning rate rises in a straight line over so many epochs first. 0 starts at once.",
    )
    optimizer = param.Selector(
        default="adadelta",
        objects=list(OPTIMIZERS),
        label="Optimiser",
        doc="torch.optim's optimiser of that name; the paper uses Adadelta.",
    )
    momentum = param.Number(
        default=0.0,
        bounds=(0, 1),
        inclusive_bounds=(True, False),
        step=0.01,
        label="Momentum of SGD",
        doc="How much of the last step SGD repeats. The other optimisers have their own.",
    )
    weight_decay = param.Number(
        default=0.0,
        bounds=(0, None),
        softbounds=(0, 0.1),
        step=0.001,
        label="Weight decay",
        doc="How fast weights shrink towards 0, as torch.optim's optimiser does it.",
    )
    gradient_limit = param.Number(
        default=0.0,
        bounds=(0, None),
        softbounds=(0, 10),
        step=0.1,
        label="Largest norm of the gradient",
        doc="A longer gradient, of all weights together, is shortened to this norm before the step. 0: no limit.",
    )
    label_smoothing = param.Number(
        default=0.0,
        bounds=(0, 1),
        softbounds=(0, 0.3),
        step=0.01,
        label="Label smoothing",
        doc="Share of the target that the cross-entropy spreads evenly over all classes.",
    )
    class_weights = param.Selector(
        default="equal",
        objects=["equal", "balanced"],
        label="Weights of the classes",
        doc="equal: each image counts the same in the cross-entropy; balanced: each class does, whatever its "
        "number of training images.",
    )
    batch_norm = param.Selector(
        default="clean",
        objects=["clean", "both"],
        label="Statistics of BatchNorm",
        doc="clean: they are estimated on the clean images alone, and masked images are normalised by their own "
        "batch; both: also on the masked images, which no test image resembles.",
    )
    fill = param.Selector(
        default="remaining",
        objects=list(FILLS),
        label="Fill of masked pixels",
        doc="What a masked pixel becomes: uniform random values in the range of the image's remaining "
        "pixels (the paper) or of the whole image (the SGT code), the image's mean, black, or a blur.",
    )
    signed = param.Boolean(
        default=True,
        label="Rank by signed gradient",
        doc="On: the most negative gradients are masked first (the SGT code). "
        "Off: those of the smallest magnitude.",
    )
    saliency_pass = param.Selector(
        default="shared",
        objects=["shared", "eval", "harvested"],
        label="Saliency in training",
        doc="shared: the forward pass of the loss also serves the gradient, dropout included; "
        "eval: a pass of its own without dropout, as in the SGT code; harvested: the gradient of the loss at "
        "the image's last visit, which costs nothing: the fastest, but another ranking.",
    )
    precision = param.Selector(
        default="auto",
        objects=["auto", "float32", "bfloat16"],
        label="Number format",
        doc="auto: bfloat16 where the hardware computes with it, float32 elsewhere.",
    )
    device = param.String(
        default="auto",
        regex=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        label="Device",
        doc="auto: a GPU when there is one, else the CPU; or cpu, cuda, cuda:1, mps.",
    )
    seed = param.Integer(
        default=0,
        bounds=(0, 2**31 - 1),
        softbounds=(0, 100),
        label="Seed",
        doc="Fixes the order of the images, dropout and the random fills.",
    )

    def __init__(self, **settings: Any) -> None:
        for name in settings:
            if name not in setting_names():
                raise _unknown_setting(name)
            _check_registered(name, settings[name], type(self).param)
        super().__init__(**{name: _plain(value) for name, value in settings.items()})

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in self.param:
            raise _unknown_setting(name)
        if name in REGISTERED:
            _check_registered(name, value, self.param)
        super().__setattr__(name, _plain(value))

    def __eq__(self, other: object) -> bool:
        """Whether all settings are equal."""
        return self.to_dict() == other.to_dict() if isinstance(other, TrainingConfig) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # settings change, as those of a list do

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, ready for JSON."""
        return {name: getattr(self, name) for name in setting_names()}

    def live_values(self) -> LiveValues:
        """The values that training reads anew at each step."""
        return LiveValues(*(float(getattr(self, name)) for name in LiveValues._fields))

    @classmethod
    def accept(cls, name: str, value: str) -> None:
        """Take one more value for the setting ``name``: something registered by its name."""
        setting = cls.param[name]
        if value not in setting.objects:
            setting.objects = [*setting.objects, value]

    @classmethod
    def recorded(cls, settings: Mapping[str, Any]) -> TrainingConfig:
        """The settings of a training on record, which may name rules and fills that are not registered here.

        ``k_start``, where an own rule of k began, is no setting and left out.
        """
        known = {name: settings[name] for name in settings if name not in {*REGISTERED, "k_start"}}
        config = cls(**known)
        for name in REGISTERED.keys() & settings.keys():
            if not isinstance(settings[name], str):
                raise ValueError(f"{name} must be a name, given {settings[name]!r}")
            setting = config.param[name]
            setting.objects = list(dict.fromkeys([*setting.objects, settings[name]]))
            setattr(config, name, settings[name])
        return config

    def idle(self) -> dict[str, str]:
        """Settings that do nothing in a training with the others as they are, each with the reason, for people.

        Examples
        --------
        >>> TrainingConfig(method="sgt").idle()["alpha"]
        'SGT keeps the same k for all images.'
        """
        why = {}
        if self.optimizer != "sgd":
            why["momentum"] = "Momentum is for SGD alone."
        if self.method == "traditional":
            why |= dict.fromkeys((*_MASKING, *_MOVING), "Traditional training masks nothing: it has no k.")
        elif self.method == "sgt":
            why |= dict.fromkeys(_MOVING, "SGT keeps the same k for all images.")
        elif self.k_rule == "magnitude":
            names = (*_MOVING, "k_init")
            why |= {
                name: "The magnitude rule has its own start, speed and bounds."
                for name in names
                if name != "k_rule"
            }
        return why

    def check(self) -> None:
        """Raise ``ValueError`` where single valid values do not go together."""
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(
                f"momentum={self.momentum} is for optimizer='sgd' alone, given optimizer={self.optimizer!r}; "
                "use momentum=0"
            )
        if self.method != "smoot" and self.k_rule != "smoot":
            raise ValueError(
                f"k_rule={self.k_rule!r} moves k in method='smoot' alone, given method={self.method!r}; leave it out"
            )
        if self.k_min > self.k_max:
            raise ValueError(
                f"k_min={self.k_min} is above k_max={self.k_max}; "
                "give fractions of the pixels with k_min ≤ k_max"
            )


def _plain(value: Any) -> Any:
    """NumPy's numbers, of a sweep for example, as Python's: a record holds plain values."""
    return value.item() if isinstance(value, np.generic) else value


def setting_names() -> list[str]:
    """Names of the settings, in the order of their declaration."""
    return [name for name in TrainingConfig.param if name != "name"]


def _check_registered(name: str, value: object, settings: Any) -> None:
    """Raise for a name that nobody has registered; what is no text is param's to refuse."""
    if name in REGISTERED and isinstance(value, str) and value not in settings[name].objects:
        raise unknown_name(name, value, settings[name].objects, f"register_{name}(name, …) adds one's own")


def _unknown_setting(name: str) -> AttributeError:
    return AttributeError(str(unknown_name("setting", name, setting_names())))
