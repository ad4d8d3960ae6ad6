"""Saliency: how much each pixel moved the output for the label, by Captum's methods."""

from __future__ import annotations

import warnings
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from smoot_explore.compute.randomness import derived_seed, seeded
from smoot_explore.core.choices import ATTRIBUTIONS, REGISTERED
from smoot_explore.core.models import check_logits, kept_modes
from smoot_explore.errors import unknown_name


def saliency(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    attribution: str = "gradient",
    *,
    signed: bool = True,
    baseline: Tensor | float = 0.0,
    seed: int = 0,
    **options: Any,
) -> Tensor:
    """Saliency map of each image for its label, from the model in eval mode.

    The model is left as it was: its modes, gradients and hooks, also when an error is raised.

    Parameters
    ----------
    model
        Maps images to logits.
    images
        ``(N, C, H, W)`` floating point, normalised, on the model's device.
    labels
        int64 ``(N,)``: the class to explain, usually the label y.
    attribution
        One of `ATTRIBUTION_METHODS`. ``"gradient"`` is ∂f_y/∂x; ``"grad_cam"`` needs a model with a
        convolution; ``"random"`` is a control that knows nothing. `register_attribution` adds one's own.
    signed
        True: mean over the channels of the signed attribution, as in the SGT code. False: of its magnitude.
    baseline
        Image value that stands for "nothing there", a number or ``(C,)``, for integrated gradients,
        GradientSHAP, DeepLift and occlusion. The default 0 is the mean of normalised data.
    seed
        Fixes the draws of ``smoothgrad``, ``gradient_shap`` and ``random``.
    **options
        Of the method: ``n_steps`` (integrated_gradients, 32), ``n_samples`` (smoothgrad, gradient_shap, 16),
        ``noise`` (smoothgrad, standard deviation as a share of the batch's range, 0.15),
        ``window`` (occlusion, pixels, an eighth of the shorter side), ``layer`` (grad_cam, the last convolution).

    Returns
    -------
    Tensor
        float32 ``(N, H, W)``, detached.

    Examples
    --------
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> maps = saliency(model, torch.ones(1, 1, 2, 2), torch.tensor([1]))
    >>> bool((maps.flatten() == model[1].weight[1]).all())
    True
    """
    attribute = ATTRIBUTION_METHODS.get(attribution)
    if attribute is None:
        hint = "register_attribution(name, …) adds one's own"
        raise unknown_name("attribution method", attribution, ATTRIBUTION_METHODS, hint)
    check_images(images, labels)
    if len(images) == 0:
        return images.new_zeros((0, *images.shape[2:]), dtype=torch.float32)
    base = torch.as_tensor(baseline, dtype=torch.float32, device=images.device).view(1, -1, 1, 1)
    if base.numel() not in (1, images.shape[1]):
        raise ValueError(
            f"baseline must be a number or hold one value for each of the {images.shape[1]} channels, "
            f"given {base.numel()} values"
        )
    base = base.expand(1, *images.shape[1:])
    float32 = torch.autocast(images.device.type, enabled=False)
    # PyTorch's random state is one for the process: what is known not to draw from it makes nobody wait.
    draws = attribution in _DRAWING or attribution not in ATTRIBUTIONS
    drawn = seeded(derived_seed(seed), images.device) if draws else nullcontext()
    with untouched(model), drawn, torch.enable_grad(), float32:
        model.eval()
        try:
            maps = attribute(model, images.detach().float(), labels, base, **options)
        except TypeError as error:
            if "unexpected keyword" not in str(error):
                raise
            raise ValueError(f"{attribution} does not take these options: {error}") from error
    maps = _checked_maps(maps, attribution, images)
    return (maps if signed else maps.abs()).mean(1)  # (N, H, W)


def register_attribution(name: str, attribute: Callable[..., Tensor]) -> None:
    """Add an attribution method of one's own: everything that takes the name of one takes this one too.

    Parameters
    ----------
    name
        Of letters, digits and ``_``, not that of a built-in method; one's own is replaced.
    attribute
        ``attribute(model, images, labels, baseline, **options)`` → ``(N, C, H, W)``, ``(N, 1, H, W)`` or ``(N, H, W)``.
        The model is in eval mode, and its hooks and gradients are put back; images are float32 ``(N, C, H, W)``
        normalised, ``baseline`` is ``(1, C, H, W)``. For a gradient, call ``images.requires_grad_()`` first. PyTorch's
        and NumPy's global random states are seeded.

    Examples
    --------
    >>> register_attribution("brightness", lambda model, images, labels, baseline: images - baseline)
    >>> saliency(nn.Flatten(), torch.ones(1, 1, 1, 2), torch.tensor([0]), "brightness").tolist()
    [[[1.0, 1.0]]]
    """
    if name in ATTRIBUTIONS:
        raise ValueError(f"{name!r} is a built-in attribution method; give yours another name")
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(
            f"the name of an attribution method is made of letters, digits and '_', given {name!r}"
        )
    if not callable(attribute):
        raise TypeError(
            f"attribute must be a function (model, images, labels, baseline) → maps, given {attribute!r}"
        )
    REGISTERED["attribution"][name] = attribute


def input_gradient(
    logits: Tensor,
    images: Tensor,
    labels: Tensor,
    *,
    signed: bool = True,
    retain_graph: bool = False,
) -> Tensor:
    """The gradient saliency from a forward pass that has been made already: the training path.

    Equals ``saliency(attribution="gradient")`` for a model in the same mode. No weight gradient is computed.

    Parameters
    ----------
    logits
        ``(N, n_classes)``, computed from ``images``, which require a gradient.
    images, labels, signed
        As in `saliency`.
    retain_graph
        Keep the graph, because the loss will go back through it too.

    Returns
    -------
    Tensor
        ``(N, H, W)``, detached.
    """
    score = logits.gather(1, labels.unsqueeze(1)).sum()
    (gradient,) = torch.autograd.grad(score, images, retain_graph=retain_graph)
    return (gradient if signed else gradient.abs()).mean(1)


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Leave a model's modes, gradients and hooks as they were, whatever happens inside."""
    gradients = [(weights, weights.grad, weights.requires_grad) for weights in model.parameters()]
    hooks = [
        (table, set(table))
        for module in model.modules()
        for name, table in vars(module).items()
        if name.endswith("_hooks") and isinstance(table, dict)
    ]
    attributes = [(module, set(vars(module))) for module in model.modules()]
    try:
        with kept_modes(model):
            yield
    finally:
        for weights, gradient, requires_grad in gradients:
            weights.grad = gradient
            weights.requires_grad_(requires_grad)
        for table, before in hooks:
            for key in set(table) - before:
                del table[key]
        for module, before in attributes:
            for name in set(vars(module)) - before:
                delattr(module, name)


def check_images(images: Tensor, labels: Tensor) -> None:
    """Raise an error for images that are not normalised, and for labels that do not go with them."""
    if images.ndim != 4:
        raise ValueError(f"images must have shape (N, C, H, W), given {tuple(images.shape)}")
    if not images.is_floating_point():
        raise TypeError(
            f"images must be floating point, given {images.dtype}: the model knows normalised ones; "
            "data.normalize(images) or split.normalize() makes them so"
        )
    if labels.shape != images.shape[:1]:
        raise ValueError(f"labels must have shape ({len(images)},), given {tuple(labels.shape)}")


def _checked_maps(maps: Any, attribution: str, images: Tensor) -> Tensor:
    """float32 ``(N, C or 1, H, W)``, detached."""
    n, channels, *size = images.shape
    shape = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
    if shape == (n, *size):
        maps = maps.unsqueeze(1)
    elif shape not in ((n, channels, *size), (n, 1, *size)):
        raise ValueError(
            f"the attribution method {attribution!r} must give maps of shape {(n, *size)} or {(n, channels, *size)}, "
            f"it gave {shape}"
        )
    maps = maps.detach().float()
    if attribution in REGISTERED["attribution"] and not maps.isfinite().all():
        raise ValueError(
            f"the attribution method {attribution!r} gives NaN or infinite values, which rank nothing; look for a "
            "division by 0 in it"
        )
    return maps


def _gradient(model: nn.Module, images: Tensor, labels: Tensor, base: Tensor) -> Tensor:
    from captum import attr

    images = images.requires_grad_()  # of our own copy; says to Captum that it need not warn
    return attr.Saliency(_logits_of(model, labels)).attribute(images, labels, abs=False)


def _input_x_gradient(model: nn.Module, images: Tensor, labels: Tensor, base: Tensor) -> Tensor:
    from captum import attr

    return attr.InputXGradient(_logits_of(model, labels)).attribute(images.requires_grad_(), labels)


def _integrated_gradients(
    model: nn.Module, images: Tensor, labels: Tensor, base: Tensor, n_steps: int = 32
) -> Tensor:
    from captum import attr

    return attr.IntegratedGradients(_logits_of(model, labels)).attribute(
        images, base, labels, n_steps=n_steps, internal_batch_size=max(len(images), 64)
    )


def _smoothgrad(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    base: Tensor,
    n_samples: int = 16,
    noise: float = 0.15,
) -> Tensor:
    from captum import attr

    spread = noise * float(images.max() - images.min())
    if spread == 0 or n_samples == 0:  # constant images have no range to scale the noise by
        return _gradient(model, images, labels, base)
    return attr.NoiseTunnel(attr.Saliency(_logits_of(model, labels))).attribute(
        images.requires_grad_(),
        nt_type="smoothgrad",
        nt_samples=n_samples,
        nt_samples_batch_size=1,
        stdevs=spread,
        target=labels,
        abs=False,
    )


def _gradient_shap(
    model: nn.Module, images: Tensor, labels: Tensor, base: Tensor, n_samples: int = 16
) -> Tensor:
    from captum import attr

    return attr.GradientShap(_logits_of(model, labels)).attribute(
        images, base, n_samples=n_samples, target=labels
    )


def _deeplift(model: nn.Module, images: Tensor, labels: Tensor, base: Tensor) -> Tensor:
    from captum import attr

    with warnings.catch_warnings():  # of hooks that it sets and we see removed
        warnings.filterwarnings("ignore", "Setting forward, backward hooks", UserWarning)
        return attr.DeepLift(model).attribute(images.requires_grad_(), base.expand_as(images).clone(), labels)


def _occlusion(
    model: nn.Module, images: Tensor, labels: Tensor, base: Tensor, window: int | None = None
) -> Tensor:
    from captum import attr

    channels, height, width = images.shape[1:]
    side = window or max(1, min(height, width) // 8)
    if not 1 <= side <= min(height, width):
        raise ValueError(f"window must lie between 1 and {min(height, width)} pixels, given {side}")
    step = max(1, side // 2)
    with torch.no_grad():
        return attr.Occlusion(_logits_of(model, labels)).attribute(
            images,
            sliding_window_shapes=(channels, side, side),
            strides=(channels, step, step),
            baselines=base.expand_as(images),
            target=labels,
        )


def _grad_cam(
    model: nn.Module, images: Tensor, labels: Tensor, base: Tensor, layer: nn.Module | None = None
) -> Tensor:
    from captum import attr

    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    if layer is None and not convolutions:
        raise ValueError(
            f"Grad-CAM needs a convolution, and {type(model).__name__} has none; "
            "use attribution='gradient', or name a layer with layer=…"
        )
    maps = attr.LayerGradCam(model, layer or convolutions[-1]).attribute(
        images.requires_grad_(), labels, relu_attributions=True
    )
    return attr.LayerAttribution.interpolate(maps, images.shape[2:], interpolate_mode="bilinear")


def _random(model: nn.Module, images: Tensor, labels: Tensor, base: Tensor) -> Tensor:
    return torch.rand_like(images[:, :1])


def _logits_of(model: nn.Module, labels: Tensor) -> Callable[[Tensor], Tensor]:
    """The model's forward as Captum wants it, with an error a user understands when it gives no logits."""

    def forward(images: Tensor) -> Tensor:
        logits = model(images)
        check_logits(logits, len(images))
        if labels.device.type == "cpu" and not ((labels >= 0) & (labels < logits.shape[1])).all():
            raise ValueError(
                f"labels must lie between 0 and {logits.shape[1] - 1}, given {labels.min()} to {labels.max()}"
            )
        return logits.float()

    return forward


_DRAWING = {"smoothgrad", "gradient_shap", "random"}
_ATTRIBUTIONS: dict[str, Callable[..., Tensor]] = {
    "gradient": _gradient,
    "input_x_gradient": _input_x_gradient,
    "integrated_gradients": _integrated_gradients,
    "smoothgrad": _smoothgrad,
    "gradient_shap": _gradient_shap,
    "deeplift": _deeplift,
    "occlusion": _occlusion,
    "grad_cam": _grad_cam,
    "random": _random,
}
ATTRIBUTION_METHODS: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    ChainMap(REGISTERED["attribution"], _ATTRIBUTIONS)
)
"""The attribution methods by name, with those of `register_attribution`."""
