"""Models: the paper's CNN and any timm model; every other ``nn.Module`` that returns logits works too."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from smoot_explore.compute.randomness import RandomStream
from smoot_explore.errors import unknown_name

# Options of timm that read files or fetch them; a run folder from elsewhere may name them too.
_REFUSED_OPTIONS = {
    "checkpoint_path",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "pretrained_strict",
    "cache_dir",
}


class HasImageShape(Protocol):
    """What a model must know of its data: ``ImageData`` has it."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""

    @property
    def n_classes(self) -> int:
        """Number of classes."""


class PaperCNN(nn.Module):
    """The paper's two-layer CNN (§4.1): 3×3 convolutions with stride 1 and 32 and 64 channels, 2×2
    max-pooling, dropout 0.25, a dense layer of 128, dropout 0.5, a dense layer to the classes.

    Two choices make it fast and change no result in distribution: the second ReLU follows the pooling
    (max and ReLU commute; a quarter of the work) and the features are flattened with the channels last
    (the layout the convolution writes, so nothing is copied).

    Parameters
    ----------
    image_shape
        (C, H, W), H and W at least 6.
    n_classes
        At least 2.
    """

    def __init__(self, image_shape: tuple[int, int, int], n_classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        if min(height, width) < 6:
            raise ValueError(
                f"the CNN needs images of at least 6×6 pixels, given {height}×{width}; "
                "load larger images or pass a model of your own"
            )
        features = 64 * ((height - 4) // 2) * ((width - 4) // 2)
        self.convolution1 = nn.Conv2d(channels, 32, kernel_size=3)
        self.relu1 = nn.ReLU()
        self.convolution2 = nn.Conv2d(32, 64, kernel_size=3)
        self.pool = nn.MaxPool2d(2)
        self.relu2 = nn.ReLU()
        self.dropout1 = ByteDropout(0.25)
        self.dense1 = nn.Linear(features, 128)
        self.relu3 = nn.ReLU()
        self.dropout2 = ByteDropout(0.5)
        self.dense2 = nn.Linear(128, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.relu1(self.convolution1(images))  # (N, 32, H-2, W-2)
        x = self.relu2(self.pool(self.convolution2(x)))  # (N, 64, (H-4)//2, (W-4)//2)
        x = self.dropout1(x).permute(0, 2, 3, 1).flatten(1)
        x = self.dropout2(self.relu3(self.dense1(x)))
        return self.dense2(x)  # (N, n_classes)


class ByteDropout(nn.Dropout):
    """Dropout that draws one random byte per unit on a CPU, where PyTorch's own is slow.

    The rate is rounded to 1/256, exact for the usual 0.25 and 0.5. On other devices it is PyTorch's own.
    """

    def forward(self, input: Tensor) -> Tensor:
        threshold = round(self.p * 256)
        if not self.training or threshold in (0, 256) or input.device.type != "cpu":
            return super().forward(input)
        # A dense mask in the layout of the input. 64 random bits at a time: eight units per draw.
        mask = torch.empty_like(input, dtype=torch.uint8)
        bits = torch.empty((mask.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        drawn = bits.view(torch.uint8)[: mask.numel()].as_strided(mask.size(), mask.stride())
        # 1 where the byte is at least the threshold: comparing, and converting what it gives, is slower.
        kept = (drawn.to(torch.int16) + (256 - threshold)) >> 8
        return input * kept.to(input.dtype).mul_(256 / (256 - threshold))


class ResizedModel(nn.Module):
    """A model behind a resize to its own input size, so that masking and k stay at the data's resolution."""

    def __init__(self, model: nn.Module, input_size: tuple[int, int]) -> None:
        super().__init__()
        self.model = model
        self.input_size = input_size

    def forward(self, images: Tensor) -> Tensor:
        if tuple(images.shape[2:]) != self.input_size:
            images = F.interpolate(
                images, self.input_size, mode="bilinear", align_corners=False, antialias=True
            )
        return self.model(images)


def create_model(
    name: str,
    data: HasImageShape,
    pretrained: bool | str | Path = False,
    seed: int = 0,
    **options: Any,
) -> nn.Module:
    """A model for the data, with initial weights fixed by the seed.

    Parameters
    ----------
    name
        ``"cnn"`` for the paper's CNN, or the name of a timm model such as ``"deit_tiny_patch16_224"``.
    data
        Gives the image shape and the number of classes.
    pretrained
        True loads timm's pretrained weights: from the local cache, else by download. A path loads them from that file,
        without any connection: weights of this model in safetensors, as timm publishes them (``model.safetensors``)
        and ``timm.models.save_for_hf(model, folder, safe_serialization=True)`` saves them. As with True, the classifier
        is a new one for another number of classes, and first layer and position embeddings are adapted to the images.
    seed
        The same seed gives the same initial weights.
    **options
        Passed to ``timm.create_model``, for example ``img_size=32, patch_size=4`` for a small vision
        transformer. ``input_size=(h, w)`` sets the size that images are resized to inside the model;
        without it, the model's own.

    Returns
    -------
    nn.Module
        Maps normalised images ``(N, C, H, W)`` to logits ``(N, n_classes)``, on the CPU, in train mode.

    Raises
    ------
    ValueError
        For an unknown name, options that the model does not take, images too small for it, or a file that does not
        hold all weights of the model but the classifier's.
    RuntimeError
        When the pretrained weights cannot be had.
    """
    image_shape, n_classes = data.image_shape, data.n_classes
    with RandomStream(seed, torch.device("cpu")):
        if name == "cnn":
            if pretrained:
                raise ValueError("the paper's CNN has no pretrained weights; use pretrained=False")
            if options:
                raise ValueError(f"the paper's CNN takes no options, given {', '.join(options)}")
            model: nn.Module = PaperCNN(image_shape, n_classes)
        else:
            model = _timm_model(name, image_shape, n_classes, pretrained=pretrained, **options)
    description = {
        "name": name,
        "pretrained": bool(pretrained),
        **({"weights": weights_fingerprint(pretrained)} if isinstance(pretrained, str | Path) else {}),
        "image_shape": list(image_shape),
        "n_classes": n_classes,
    }
    # Kept on the model, so that a run can say what to rebuild; going through JSON finds what cannot be stored.
    try:
        model._smoot_explore_description = json.loads(json.dumps({**description, "options": options}))
    except TypeError:
        raise ValueError(f"options must be plain values that JSON can hold, given {options}") from None
    return model


def weights_fingerprint(file: str | Path) -> str:
    """What a run records of a file of pretrained weights: the first 16 hex digits of its SHA-256.

    Raises
    ------
    ValueError
        When there is no such file, or its name does not end in ``.safetensors``.
    """
    with open(_checked_weights(file), "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]


def describe_model(model: nn.Module) -> dict[str, Any]:
    """What a run folder says about its model; ``name`` is None for a module of the user's own."""
    written = type(uncompiled(model))
    own = {"name": None, "class": f"{written.__module__}.{written.__qualname__}"}
    description = getattr(model, "_smoot_explore_description", own)
    return {**description, "n_parameters": sum(weights.numel() for weights in model.parameters())}


@contextmanager
def kept_modes(model: nn.Module) -> Iterator[None]:
    """Put every module back into the mode, train or eval, that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        set_modes(modes)


@contextmanager
def clean_statistics(model: nn.Module) -> Iterator[None]:
    """Let BatchNorm in train mode normalise by its own batch without recording its mean and variance.

    Statistics that masked images have a share in describe no images that the model will see: a small CNN trained by
    SGT on CIFAR-10 looked ten points worse on clean test images than it is.
    """
    layers = [m for m in model.modules() if isinstance(m, _NormBase) and m.training and m.track_running_stats]
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.track_running_stats, layer.momentum = False, 0.0  # InstanceNorm looks at the momentum alone
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.track_running_stats, layer.momentum = True, momentum


@contextmanager
def no_checkpointed_statistics(model: nn.Module) -> Iterator[None]:
    """Raise ``ValueError`` where BatchNorm runs inside activation checkpointing.

    What is computed again on the way back is computed outside `clean_statistics`: the gradients would be wrong.
    """

    def check(layer: nn.Module, inputs: object) -> None:
        frame = inspect.currentframe()
        while frame is not None:
            if frame.f_globals.get("__name__") == "torch.utils.checkpoint":
                raise ValueError(
                    f"{type(layer).__name__} inside activation checkpointing cannot record the clean images alone: set "
                    "batch_norm='both', or leave it out of what is checkpointed"
                )
            frame = frame.f_back

    layers = [m for m in model.modules() if isinstance(m, _NormBase) and m.training and m.track_running_stats]
    hooks = [layer.register_forward_pre_hook(check) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def training_modes(model: nn.Module) -> list[tuple[nn.Module, bool]]:
    """The mode of every module while it trains: layers that were put into eval mode, to freeze them, stay there.

    A model that is in eval mode as a whole was only looked at last: all of it trains.
    """
    return [(module, module.training or not model.training) for module in model.modules()]


def set_modes(modes: Iterable[tuple[nn.Module, bool]]) -> None:
    """Put modules into their modes, as `training_modes` gives them."""
    for module, training in modes:
        module.training = training


def uncompiled(model: nn.Module) -> nn.Module:
    """The model that was given to ``torch.compile``; one that was not, itself."""
    return getattr(model, "_orig_mod", model)


def plain_name(name: str) -> str:
    """The name of a module or a weight without what ``torch.compile`` puts into it.

    Examples
    --------
    >>> plain_name("_orig_mod.dense1.weight"), plain_name("body._orig_mod.0.bias")
    ('dense1.weight', 'body.0.bias')
    """
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def frozen_parts(model: nn.Module) -> dict[str, list[str]]:
    """Names of the ``modules`` that stay in eval mode while the rest trains, and of ``weights`` without a gradient."""
    named = zip(model.named_modules(), training_modes(model), strict=True)
    modules = {plain_name(name) for (name, _), (_, trains) in named if not trains}
    weights = {plain_name(name) for name, weight in model.named_parameters() if not weight.requires_grad}
    return {"modules": sorted(modules), "weights": sorted(weights)}


def freeze(model: nn.Module, frozen: dict[str, list[str]]) -> None:
    """Freeze what `frozen_parts` names, and leave the rest as it is."""
    for name, module in model.named_modules():
        if plain_name(name) in frozen["modules"]:
            module.training = False
    for name, weight in model.named_parameters():
        if plain_name(name) in frozen["weights"]:
            weight.requires_grad_(False)


def is_compiled(model: nn.Module) -> bool:
    """Whether the model, or a part of it, was given to ``torch.compile``."""
    eval_frame = sys.modules.get("torch._dynamo.eval_frame")  # loading it takes a second
    return any(
        module._compiled_call_impl is not None
        or (eval_frame is not None and isinstance(module, eval_frame.OptimizedModule))
        for module in model.modules()
    )


def check_no_probabilities(logits: Tensor) -> None:
    """Raise ``ValueError`` when a model's output looks like probabilities: softmax would be taken of them again."""
    logits = logits.detach().float()
    if (logits >= 0).all() and torch.allclose(logits.sum(1), logits.new_ones(len(logits)), atol=1e-3):
        raise ValueError(
            "the model returns probabilities (each row is at least 0 and sums to 1), and training needs logits: "
            "leave out the softmax at its end"
        )


def activation_bytes(model: nn.Module, images: Tensor) -> int:
    """Bytes of all layers' outputs for the images: about what a forward pass keeps for the way back."""
    sizes: list[int] = []

    def count(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.nbytes)

    hooks = [m.register_forward_hook(count) for m in model.modules() if not list(m.children())]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(sizes) + images.nbytes


def check_logits(logits: Any, n_images: int, n_classes: int | None = None) -> None:
    """Raise a clear error when a model's output cannot be logits for the images given."""
    if not isinstance(logits, Tensor):
        raise TypeError(
            f"the model must return a tensor of logits (N, n_classes), it returned {type(logits).__name__}; "
            "wrap it in a module that returns the logits alone"
        )
    if logits.ndim == 2 and logits.shape[1] == 1:
        raise ValueError(
            "the model returns one number for each image; k needs the probabilities of at least two classes: "
            "return two logits, (0, z), for a single logit z; a regression has no classes"
        )
    wanted = f"({n_images}, {n_classes if n_classes else 'n_classes'})"
    if logits.ndim != 2 or len(logits) != n_images or (n_classes and logits.shape[1] != n_classes):
        raise ValueError(f"the model must return logits of shape {wanted}, it returned {tuple(logits.shape)}")


def _timm_model(
    name: str,
    image_shape: tuple[int, int, int],
    n_classes: int,
    *,
    pretrained: bool | str | Path,
    input_size: tuple[int, int] | None = None,
    **options: Any,
) -> nn.Module:
    import timm  # two seconds of loading, for its own models alone

    # Names with a scheme ("hf-hub:…", "local-dir:…") would fetch or read files: only timm's own names pass.
    if not timm.is_model(name):
        close = get_close_matches(name, timm.list_models(), n=5) or [
            "resnet18",
            "vit_tiny_patch16_224",
        ]
        raise unknown_name("model", name, ["cnn", *close], "Every name in timm.list_models() is accepted")
    refused = sorted(_REFUSED_OPTIONS & set(options))
    if refused:
        raise ValueError(
            f"the options {', '.join(refused)} are not accepted: they would read or download files"
        )
    file = _checked_weights(pretrained) if isinstance(pretrained, str | Path) else None
    shapes = {} if file is None else _shapes(file)

    def made(n_classes: int, **source: Any) -> Any:
        return timm.create_model(name, in_chans=image_shape[0], num_classes=n_classes, **source, **options)

    try:
        if file is not None:
            model = _with_weights(file, shapes, timm.get_pretrained_cfg(name), made, n_classes)
        else:
            model = made(n_classes, pretrained=pretrained)
    except TypeError as error:
        raise ValueError(f"{name} does not take these options: {error}") from error
    except Exception as error:
        if file is not None:
            told = textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" …")
            raise ValueError(
                f"{file} cannot be loaded into {name}{f' with options {options}' if options else ''}: it must hold the "
                f"weights of that very model ({told})"
            ) from error
        if not pretrained:
            raise ValueError(f"{name} cannot be made with options {options}: {error}") from error
        raise RuntimeError(
            f"the pretrained weights of {name} could not be had ({type(error).__name__}: {error}). "
            "They are downloaded on first use: connect to the internet once, give a file of weights "
            "(pretrained='model.safetensors'), or use pretrained=False"
        ) from error
    if input_size is None:
        given = options.get("img_size") or model.pretrained_cfg.get("input_size", image_shape)[-2:]
        input_size = (given, given) if isinstance(given, int) else tuple(given)
    return ResizedModel(model, (int(input_size[0]), int(input_size[1])))


def _checked_weights(file: str | Path) -> Path:
    # timm takes every other file for a pickle.
    if not str(file).endswith(".safetensors"):
        raise ValueError(
            f"pretrained weights are a file in safetensors, such as the model.safetensors that timm publishes, given "
            f"{str(file)!r}; other kinds of files are not opened"
        )
    path = Path(file)
    if not path.is_file():
        raise ValueError(f"{path} is no regular file" if path.exists() else f"there is no file {path}")
    return path


def _with_weights(
    file: Path, shapes: dict[str, list[int]], published: Any, made: Callable[..., Any], n_classes: int
) -> Any:
    """A model of timm's with the weights in a file; ``published`` is timm's description of its own weights for it."""
    classifiers = published.classifier or ()
    classifiers = (classifiers,) if isinstance(classifiers, str) else classifiers
    of_file = next((shapes[n][0] for name in classifiers if (n := f"{name}.weight") in shapes), 0)
    # With a file named, timm looks neither into its cache nor for a download.
    source = {"file": str(file), "num_classes": of_file}
    # For another number of classes timm does not mind what is missing or too much, and for some models never. So the
    # file's names and shapes are tried first, for its own number of classes and with NaN for every value (one in memory
    # for each tensor): what is a number afterwards did not come from the file.
    hollow = {name: torch.tensor(torch.nan).expand(shape) for name, shape in shapes.items()}
    with RandomStream(0, torch.device("cpu")):  # the classifier is as it would be with weights downloaded
        tried = made(of_file, pretrained=True, pretrained_cfg_overlay={**source, "state_dict": hollow})
    own = tuple(f"{name}." for name in classifiers)
    missing = [
        name
        for name, weights in tried.state_dict().items()
        if weights.is_floating_point() and not weights.isnan().any() and not name.startswith(own)
    ]
    if missing:
        raise ValueError(f"no values for {', '.join(missing)}")
    return made(n_classes, pretrained=True, pretrained_cfg_overlay=source)


def _shapes(file: Path) -> dict[str, list[int]]:
    """The shapes of the tensors in a file, by name."""
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{file} is damaged, or not in safetensors ({error})") from error
