"""Masking curves: what happens to every image's class probability as more of it is masked."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from smoot_explore.compute.device import hardware_of
from smoot_explore.compute.memory import retained_memory
from smoot_explore.compute.randomness import derived_seed
from smoot_explore.core.choices import names
from smoot_explore.core.levels import (
    Progress,
    checked_names,
    chunks_of,
    draw_noise_for,
    image_coords,
    logits_of,
    masked_batches,
    masked_fractions,
    saliency_and_logits,
    skip_noise,
)
from smoot_explore.core.masking import check_patch, order_pixels
from smoot_explore.core.models import plain_name
from smoot_explore.core.parts import in_parts
from smoot_explore.core.saliency import untouched
from smoot_explore.data.images import Split
from smoot_explore.errors import unknown_name
from smoot_explore.schema import CURVES, labelled

if TYPE_CHECKING:
    from distributed import Client


def masking_curves(
    model: nn.Module,
    split: Split,
    levels: int | Sequence[float] = 20,
    order: str = "highest",
    fill: str | Sequence[str] = "black",
    attribution: str | Sequence[str] = "gradient",
    *,
    signed: bool = True,
    patch: int = 1,
    target: str | int | Sequence[int] | np.ndarray | Tensor = "label",
    maps: Mapping[str, np.ndarray | Tensor] | np.ndarray | Tensor | None = None,
    precision: str = "float32",
    memory_budget: int = 2**30,
    seed: int = 0,
    first: int = 0,
    progress: Progress | None = None,
    client: Client | None = None,
    **options: Any,
) -> xr.Dataset:
    """Probability of a class, and whether the prediction is right, as each image is masked step by step.

    Pixels are ranked once, on the clean image. At the fraction m, round(m·P) pixels are masked (halves to
    even). Random fills use the same random numbers at every level, so that a curve moves because of what
    is masked and not because of the draw.

    Parameters
    ----------
    model
        Maps normalised images to logits; evaluated on the device it is on, in eval mode, and left as it was.
    split
        Images and labels, for example ``data.test`` or ``data.test.sample(100)``.
    levels
        Number of equal steps from m = 0 to m = 1, which gives ``levels + 1`` points; or the fractions.
    order, fill
        As in `rank_pixels` and `mask_pixels`. A list of fills adds the dimension ``fill``.
    attribution, signed
        As in `saliency`. A list of attributions adds the dimension ``attribution``.
    patch
        Mask whole squares of this side, as in `rank_pixels`: at m, round(m·patches) of them.
    target
        The class that is explained, and whose probability is followed: ``"label"``, ``"predicted"`` (the most probable
        class of the clean image), a class, or one for each image. ``correct`` always judges the label.
    maps
        Saliency of one's own, ``(N, H, W)`` in the order of ``split``, instead of an attribution method; it is called
        ``"own"``. Several by name, none that of a method, add the dimension ``attribution``. With ``signed=False``
        their magnitude ranks.
    precision
        ``"float32"``, ``"bfloat16"`` or ``"auto"``, of the forward passes.
    memory_budget
        Bytes that one chunk of images may take while the model runs. Results depend on it only for the
        attribution methods that draw at random.
    seed
        Fixes the random fills and attribution methods.
    first
        Place of the first image in a larger split that is measured in parts: random numbers are those of its place.
    progress
        Called after each chunk with the images done and the images in all.
    client
        A Dask client: the images are shared out among the workers of its cluster, and ``progress`` is called after each
        of their parts. In float32 the numbers are those of one worker, bit by bit where all compute with one kind of
        processor and as many threads. None measures here.
    **options
        Of the attribution method, as in `saliency`, for example ``n_steps=8``.

    Returns
    -------
    xr.Dataset
        ``probability`` and ``correct``, ``(image, masked_fraction)``; see docs/schema.md. Its attribute ``ranking``
        names a target and options that are not the defaults: a layer by its name in the model, the array of a baseline
        by a digest, or as black where it is that.

    Warns
    -----
    UserWarning
        When maps are constant: such an image's pixels are masked in reading order, whatever the model learnt.

    Examples
    --------
    >>> from smoot_explore import create_model, load_data
    >>> data = load_data("shapes", train=12, test=6)
    >>> curves = masking_curves(create_model("cnn", data), data.test, levels=4)
    >>> curves.probability.dims, curves.masked_fraction.values.tolist()
    (('image', 'masked_fraction'), [0.0, 0.25, 0.5, 0.75, 1.0])
    """
    protocol = {
        "levels": levels, "order": order, "fill": fill, "attribution": attribution, "signed": signed, "patch": patch,
        "target": target, "maps": maps, "precision": precision, "memory_budget": memory_budget, "seed": seed, **options,
    }  # fmt: skip
    if client is not None:
        measured = in_parts(_measured, client, model, split, first, progress, **protocol)
    else:
        measured = _measured(model, split, first=first, progress=progress, **protocol)
    _warn_of_constant_maps(measured.constant)
    return measured.drop_dims("ranked")


def _measured(
    model: nn.Module,
    split: Split,
    *,
    levels: int | Sequence[float],
    order: str,
    fill: str | Sequence[str],
    attribution: str | Sequence[str],
    signed: bool,
    patch: int,
    target: str | int | Sequence[int] | np.ndarray | Tensor,
    maps: Mapping[str, np.ndarray | Tensor] | np.ndarray | Tensor | None,
    precision: str,
    memory_budget: int,
    seed: int,
    first: int,
    progress: Progress | None = None,
    **options: Any,
) -> xr.Dataset:
    """The curves, and by name of the maps whether an image's is ``constant``, ``(ranked, image)``."""
    fractions = masked_fractions(levels)
    fills = checked_names(fill, "fill", names("fill"))
    if maps is None:
        attributions, own = checked_names(attribution, "attribution method", names("attribution")), {}
    else:
        if attribution != "gradient":
            raise ValueError(
                f"give maps or an attribution, not both: maps are ranked instead of attribution={attribution!r}"
            )
        own = _own_maps(maps, split, options)
        attributions, attribution = list(own), list(own) if isinstance(maps, Mapping) else "own"
    targets = _targets(target, split)
    check_patch(patch, *split.image_shape[1:])
    pixels = (np.rint(fractions * (split.n_pixels // patch**2)).astype(int) * patch**2).tolist()
    hardware = hardware_of(model, precision)
    shape = (len(attributions), len(fills), len(split), len(fractions))
    probability, correct = np.empty(shape, np.float32), np.empty(shape, bool)
    constant = np.empty((len(attributions), len(split)), bool)
    rng = np.random.default_rng(seed)
    skip_noise(rng, first, split.image_shape, fills)
    with untouched(model), retained_memory(hardware.device), hardware.autocast():
        model.eval()
        for chunk in chunks_of(model, split, hardware, memory_budget):
            images, labels = split.batch(chunk, hardware)
            noise = draw_noise_for(rng, images, fills)
            explained = (logits_of(model, images).argmax(1) if targets is None else targets[chunk]).to(
                images.device
            )
            for i, name in enumerate(attributions):
                if name in own:
                    ranked, clean = own[name][chunk].to(images.device), logits_of(model, images)
                    ranked = ranked if signed else ranked.abs()
                else:
                    ranked, clean = saliency_and_logits(
                        model,
                        images,
                        explained,
                        name,
                        signed,
                        derived_seed(seed, first + chunk.start),
                        **options,
                    )
                constant[i, chunk] = _constant(ranked).cpu().numpy()
                ordered = order_pixels(ranked, order, patch)
                for j, fill_name in enumerate(fills):
                    batches = masked_batches(images, ordered, pixels, fill_name, noise, split.black)
                    levels_p, levels_correct = [], []
                    for k, batch in zip(pixels, batches, strict=True):
                        logits = clean if k == 0 else logits_of(model, batch).expand_as(clean)
                        levels_p.append(logits.softmax(1).gather(1, explained.unsqueeze(1)).squeeze(1))
                        levels_correct.append(logits.argmax(1) == labels)
                    probability[i, j, chunk] = torch.stack(levels_p, 1).cpu().numpy()
                    correct[i, j, chunk] = torch.stack(levels_correct, 1).cpu().numpy()
            if progress is not None:
                progress(chunk.stop, len(split))
    drop = tuple(n for n, given in enumerate((attribution, fill)) if isinstance(given, str))
    return labelled(
        CURVES,
        {"probability": probability.squeeze(drop), "correct": correct.squeeze(drop)},
        {
            "masked_fraction": fractions,
            "attribution": attribution if isinstance(attribution, str) else attributions,
            "fill": fill if isinstance(fill, str) else fills,
            **image_coords(split),
        },
        {
            "order": order,
            "ranking": _ranking(signed, patch, target, options, model, split.black),
            "precision": str(hardware.dtype).removeprefix("torch."),
            "seed": int(seed),
            "class_names": split.class_names,
        },
    ).assign(constant=(("ranked", "image"), constant), ranked=attributions)


def _own_maps(
    maps: Mapping[str, np.ndarray | Tensor] | np.ndarray | Tensor, split: Split, options: Mapping[str, Any]
) -> dict[str, Tensor]:
    """The given maps by name, float32 ``(N, H, W)``."""
    if options:
        raise ValueError(
            f"maps are ranked as they are: the options {', '.join(options)} are of attribution methods"
        )
    shape = (len(split), *split.image_shape[1:])
    found = {}
    for name, values in (maps if isinstance(maps, Mapping) else {"own": maps}).items():
        if name in names("attribution"):
            raise ValueError(
                f"maps of one's own cannot be called {name!r}, as an attribution method is: their areas would stand "
                "beside its; choose another name"
            )
        found[name] = torch.as_tensor(values, dtype=torch.float32).detach()
        if found[name].shape != shape or not found[name].isfinite().all():
            raise ValueError(
                f"the maps {name!r} must be finite numbers of shape {shape}, one for each pixel of each image; given "
                f"{tuple(found[name].shape)}"
            )
    if not found:
        raise ValueError("maps holds no map; give at least one, or leave it out")
    return found


def _targets(target: str | int | Sequence[int] | np.ndarray | Tensor, split: Split) -> Tensor | None:
    """The class to explain of each image, ``(N,)``; None for the predicted one, which the model tells."""
    if isinstance(target, str):
        if target not in ("label", "predicted"):
            raise unknown_name("target", target, ("label", "predicted"), "A class is given by its number")
        return split.labels if target == "label" else None
    classes = torch.as_tensor(target)
    fits = classes.shape in ((), (len(split),)) and not classes.is_floating_point()
    if not fits or not ((classes >= 0) & (classes < split.n_classes)).all():
        raise ValueError(
            f"target must be a class, 0 to {split.n_classes - 1}, or one for each of the {len(split)} images; given "
            f"{classes.tolist() if classes.numel() < 10 else tuple(classes.shape)}"
        )
    return classes.long().expand(len(split))


def _ranking(
    signed: bool, patch: int, target: object, options: Mapping[str, Any], model: nn.Module, black: Tensor
) -> str:
    """How pixels were ranked, with what is not the default."""
    words = ["signed" if signed else "magnitude"]
    if patch > 1:
        words.append(f"patches of {patch}×{patch}")
    if not isinstance(target, str):
        words.append("target given")
    elif target != "label":
        words.append(f"target {target}")
    return ", ".join([*words, *(f"{name}{_told(value, model, black)}" for name, value in options.items())])


def _told(value: Any, model: nn.Module, black: Tensor) -> str:
    """The value of an option in short, so that two that differ read differently."""
    if isinstance(value, int | float | str):
        return f"={value}"
    if isinstance(value, nn.Module):
        found = [plain_name(name) for name, module in model.named_modules() if module is value]
        return f"={found[0] if found else type(value).__name__}"
    try:
        numbers = torch.as_tensor(value).detach().cpu().float().contiguous()
    except (TypeError, ValueError, RuntimeError):
        return " given"
    if numbers.shape == black.shape and torch.equal(numbers, black.cpu()):
        return "=black"
    return f" given ({hashlib.sha256(numbers.numpy().tobytes()).hexdigest()[:6]})"


def _constant(maps: Tensor) -> Tensor:
    """Whether maps differ between their pixels by no more than rounding, ``(N,)``."""
    low, high = maps.flatten(1).aminmax(dim=1)
    return high - low <= 1e-6 * torch.maximum(-low, high)


def _warn_of_constant_maps(constant: xr.DataArray) -> None:
    for name, count in zip(constant.ranked.values, constant.sum("image").values, strict=True):
        if count:
            warnings.warn(
                f"{name} gives {count} of {constant.sizes['image']} images the same value at every pixel: they are "
                "masked in reading order, and their curves and AUC say nothing of the model; use another "
                "attribution, or of Grad-CAM another layer=…",
                stacklevel=3,
            )
