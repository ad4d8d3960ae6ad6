"""Experiments: which models are trained on which data, and how large they are at each scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from smoot_explore.core.choices import ATTRIBUTIONS, FILLS, METHODS
from smoot_explore.core.config import TrainingConfig
from smoot_explore.reproduction import paper

SCALES = ("smoke", "quick", "paper")
MAIN_FILLS = ("black", "mean", "remaining")
ALL_FILLS = (*MAIN_FILLS, *(fill for fill in FILLS if fill not in MAIN_FILLS))
ROAD_FILL = "noisy linear"


@dataclass(frozen=True)
class Architecture:
    """A model by its name, as `create_model` takes it."""

    name: str = "cnn"
    options: Mapping[str, Any] = field(default_factory=dict)
    pretrained: bool = False

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        start = "pretrained" if self.pretrained else "from scratch"
        return f"{self.name} ({options + ', ' if options else ''}{start})"


@dataclass(frozen=True)
class Scale:
    """How much of an experiment is run.

    Attributes
    ----------
    train, test
        Images, classes balanced; None takes all.
    settings
        Settings of `TrainingConfig` that differ from the experiment's.
    seeds
        Each gives initial weights that all variants share.
    curve_images, few_images
        Test images, the first ones, of the masking curves by gradient; and of whatever costs much more. None: all.
    attributions
        Attribution methods that are compared.
    levels
        Steps of the masking curves from no pixel to all.
    data, architecture
        Where the scale takes others than the experiment; None takes the experiment's.
    """

    train: int | None
    test: int | None
    settings: Mapping[str, Any]
    seeds: tuple[int, ...] = (0, 1, 2)
    curve_images: int | None = None
    few_images: int = 200
    attributions: tuple[str, ...] = tuple(ATTRIBUTIONS)
    levels: int = 20
    data: str | None = None
    architecture: Architecture | None = None


@dataclass(frozen=True)
class Experiment:
    """Trainings that belong together: the same data and model, several variants of the settings.

    Attributes
    ----------
    name
        Begins the names of its run folders.
    data, title
        Name for `load_data`, and for people.
    full
        Training and test images of the whole data set.
    n_pixels
        P = H·W of an image.
    architecture
        The model.
    settings
        The paper's, as far as they differ from the defaults of `TrainingConfig`.
    variants
        Name → settings that differ between the trainings.
    scales
        For each of `SCALES`.
    visit_milliseconds
        Of one traditional training visit of one image in float32 on two cores of an AMD EPYC: measured for 28×28
        pixels, others in the proportion that bfloat16 had.
    """

    name: str
    data: str
    title: str
    full: tuple[int, int]
    n_pixels: int
    architecture: Architecture
    settings: Mapping[str, Any]
    variants: Mapping[str, Mapping[str, Any]]
    scales: Mapping[str, Scale]
    visit_milliseconds: float

    def config(self, variant: str, scale: str, seed: int, device: str = "auto") -> TrainingConfig:
        """The settings of one training; in float32, so that its numbers do not hang on the processor's formats."""
        settings = {**self.settings, **self.scales[scale].settings, **self.variants[variant]}
        return TrainingConfig(**{"precision": "float32", **settings}, seed=seed, device=device)

    def fine_tuned(self) -> Experiment:
        """The same from pretrained weights at every scale, where the paper has them: no stand-in for the model."""
        if not self.architecture.pretrained:
            return self
        scales = {}
        for name, scale in self.scales.items():
            papers = {n: value for n, value in scale.settings.items() if n not in _FROM_SCRATCH}
            scales[name] = replace(scale, architecture=None, settings=papers)
        return replace(self, scales=scales)

    def architecture_at(self, scale: str) -> Architecture:
        """The model of a scale."""
        return self.scales[scale].architecture or self.architecture

    def stand_in(self, scale: str) -> str | None:
        """The data set that a scale takes in place of the experiment's; None where it takes the experiment's."""
        return self.scales[scale].data


@dataclass(frozen=True)
class Measurement:
    """Masking curves that are kept in a run under a name.

    ``order="lowest"`` is *insertion* read backwards: masking the lowest-ranked share m of the pixels leaves the
    highest-ranked 1 − m, so the area under accuracy(m) is the area under accuracy against the inserted share.
    """

    name: str
    fills: tuple[str, ...]
    attributions: tuple[str, ...] | None = ("gradient",)  # None: Scale.attributions
    signed: bool = True
    order: str = "highest"
    few: bool = False  # on Scale.few_images instead of Scale.curve_images


MEASUREMENTS = {
    measurement.name: measurement
    for measurement in (
        Measurement("test", ALL_FILLS),  # the name that compare and the explorer read
        Measurement("magnitude", ALL_FILLS, signed=False),
        Measurement("insertion", ALL_FILLS, order="lowest"),
        Measurement("attributions", ALL_FILLS, None, few=True),
        Measurement("road", (ROAD_FILL,), None, few=True),
    )
}

_THREE_METHODS: dict[str, dict[str, Any]] = {method: {"method": method} for method in METHODS}
_SETTLING = {"schedule": "settle"}  # a short training ends at a smaller learning rate
_PAPER_SCHEDULE = {"epochs": paper.EPOCHS, "batch_size": 256}
_CNN_SETTINGS = {"learning_rate": 1.0, "beta": 0.95, "optimizer": "adadelta"}
_TRANSFORMER_SETTINGS = {"learning_rate": 0.001, "beta": 0.8, "optimizer": "adadelta"}
_FROM_SCRATCH = {"optimizer": "adamw", "learning_rate": 1e-3}  # a transformer without pretrained weights
_PAPER = Scale(None, None, _PAPER_SCHEDULE, few_images=1_000)

# Small enough for a CPU, without pretrained weights; depth and width are this project's choice.
_SMALL_TRANSFORMER = Architecture(
    "vit_tiny_patch16_224",
    {"img_size": 32, "patch_size": 4, "depth": 4, "embed_dim": 96, "num_heads": 3},
)


def _smoke(data: str, architecture: Architecture | None = None, **settings: Any) -> Scale:
    """Enough to see a target work from end to end: its numbers mean nothing."""
    return Scale(
        100, 40, {"epochs": 4, "batch_size": 50, **_SETTLING, **settings}, seeds=(0, 1), curve_images=20, few_images=10,
        attributions=("gradient", "input_x_gradient", "random"), levels=4, data=data,
        architecture=architecture,
    )  # fmt: skip


# Name for people, training and test images, pixels, what stands in at scale smoke, milliseconds of a visit by the CNN.
_DATA = {
    "mnist": ("MNIST", (60_000, 10_000), 28 * 28, "fashion-mnist-sample", 0.63),
    "fashion-mnist": ("Fashion-MNIST", (60_000, 10_000), 28 * 28, "fashion-mnist-sample", 0.63),
    "cifar10": ("CIFAR-10", (50_000, 10_000), 32 * 32, "shapes", 0.95),
    "cifar100": ("CIFAR-100", (50_000, 10_000), 32 * 32, "shapes", 0.95),
    "shapes": ("shapes", (10_000, 2_000), 32 * 32, "shapes", 0.95),
}


def _cnn(
    name: str,
    data: str,
    quick: Scale,
    variants: Mapping[str, Mapping[str, Any]] = _THREE_METHODS,
    paper: Scale = _PAPER,
    **settings: Any,
) -> Experiment:
    title, full, n_pixels, stand_in, milliseconds = _DATA[data]
    scales = {"smoke": _smoke(stand_in), "quick": quick, "paper": paper}
    settings = _CNN_SETTINGS | settings
    return Experiment(
        name, data, title, full, n_pixels, Architecture("cnn"), settings, variants, scales, milliseconds
    )


def _transformer(data: str) -> Experiment:
    title, full, n_pixels, stand_in, _ = _DATA[data]
    quick = Scale(
        2_000, 1_000, {**_FROM_SCRATCH, **_SETTLING, "epochs": 6, "batch_size": 64}, curve_images=200, few_images=100,
        architecture=_SMALL_TRANSFORMER,
    )  # fmt: skip
    scales = {"smoke": _smoke(stand_in, _SMALL_TRANSFORMER, **_FROM_SCRATCH), "quick": quick, "paper": _PAPER}
    return Experiment(
        f"{data}-transformer", data, title, full, n_pixels, Architecture("deit_tiny_patch16_224", pretrained=True),
        _TRANSFORMER_SETTINGS, _THREE_METHODS, scales, visit_milliseconds=4.0,
    )  # fmt: skip


def _quick(
    train: int, test: int, epochs: int, schedule: Mapping[str, Any] = _SETTLING, **limits: Any
) -> Scale:
    """A reduced size for the CNN, which two CPU cores can train."""
    return Scale(train, test, {"epochs": epochs, "batch_size": 64, **schedule}, **limits)


# α = 10 read as per cent of the 784 pixels for a Δ of 1, instead of as pixels.
_ALPHA_PER_CENT = {"alpha": 28 * 28 * 10 / 100}
_MAGNITUDE_RULE = {"k_rule": "magnitude"}

_CHOICES: dict[str, dict[str, Any]] = {
    "default": {},
    "magnitude": {"signed": False},
    "fill-image-range": {"fill": "image_range"},
    "fill-black": {"fill": "black"},
    "alpha-per-cent": _ALPHA_PER_CENT,
    "bounds-0-1": {"k_min": 0.0, "k_max": 1.0},
    "top-2": {"top_n": 2},
    "top-10": {"top_n": 10},
    "predicted-class": {"delta_class": "predicted"},
    "saliency-eval": {"saliency_pass": "eval"},
    "saliency-harvested": {"saliency_pass": "harvested"},
    "traditional": {"method": "traditional"},
    "sgt": {"method": "sgt"},
    "sgt-magnitude": {"method": "sgt", "signed": False},
    "sgt-harvested": {"method": "sgt", "saliency_pass": "harvested"},
    "magnitude-rule": _MAGNITUDE_RULE,
    "bfloat16": {"precision": "bfloat16"},
}
# Over the paper's 100 epochs, on few images: where does k end?
_K_SPREAD: dict[str, dict[str, Any]] = {
    "default": {},
    "alpha-per-cent": _ALPHA_PER_CENT,
    "magnitude-rule": _MAGNITUDE_RULE,
}
# As the likely precursor trains; its rule against the paper's words.
_PRECURSOR = {"fill": "image_range", "saliency_pass": "eval"}
_PRECURSOR_EPOCHS = 30

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        _cnn("mnist", "mnist", _quick(6_000, 2_000, 6, curve_images=500, few_images=50)),
        _cnn("fashion-mnist", "fashion-mnist", _quick(12_000, 2_000, 8, curve_images=500, few_images=100)),
        _cnn(
            "cifar10-cnn",
            "cifar10",
            _quick(20_000, 2_000, 8, curve_images=1_000),
            {"traditional": {"method": "traditional"}},
        ),
        _transformer("cifar10"),
        _transformer("cifar100"),
        _cnn("choices", "fashion-mnist", _quick(4_000, 1_000, 5, curve_images=300), _CHOICES),
        _cnn("k-spread", "fashion-mnist", _quick(1_000, 1_000, paper.EPOCHS, schedule={}), _K_SPREAD),
        _cnn(
            "two-rules",
            "cifar10",
            # as many steps between two visits of an image as with all images and batches of 500
            Scale(10_000, 2_000, {"epochs": _PRECURSOR_EPOCHS, "batch_size": 100}, curve_images=500),
            {"magnitude-rule": _MAGNITUDE_RULE, "paper-rule": {}},
            Scale(None, None, {"epochs": _PRECURSOR_EPOCHS, "batch_size": 500}, few_images=1_000),
            **_PRECURSOR,
        ),
        _cnn("shapes", "shapes", _quick(10_000, 1_000, 12)),
    )
}
