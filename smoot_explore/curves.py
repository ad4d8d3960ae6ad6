"""Masking curves: what happens to every image's class probability as more of it is masked."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from smoot_explore.adaptation import probability_change
from smoot_explore.data import Split
from smoot_explore.errors import unknown_name
from smoot_explore.hardware import Hardware, hardware_of, retained_memory
from smoot_explore.masking import FILLS, RANDOM_FILLS, fill_values, order_pixels
from smoot_explore.models import activation_bytes, check_logits
from smoot_explore.randomness import derived_seed
from smoot_explore.records import CURVES, LANDSCAPE, labelled
from smoot_explore.saliency import ATTRIBUTION_METHODS, input_gradient, saliency, untouched

Progress = Callable[[int, int], object]  # called with (images done, images in all)

# Images: larger chunks run slower on a CPU, because a layer's output then exceeds what glibc keeps (32 MB).
_LARGEST_CHUNK = {torch.float32: 128, torch.bfloat16: 256}


def masking_curves(
    model: nn.Module,
    split: Split,
    levels: int | Sequence[float] = 20,
    order: str = "highest",
    fill: str | Sequence[str] = "black",
    method: str | Sequence[str] = "gradient",
    *,
    signed: bool = True,
    precision: str = "float32",
    memory_budget: int = 2**30,
    seed: int = 0,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Probability of the label, and whether the prediction is right, as each image is masked step by step.

    Pixels are ranked once, on the clean image. At the fraction m, round(m·P) pixels are masked (halves to
    even). Random fills use the same random numbers at every level, so that a curve moves because of what
    is masked and not because of the draw.

    Parameters
    ----------
    model
        Maps normalised images to logits; evaluated on the device it is on, in eval mode, and left as it was.
    split
        Images and labels, for example ``data.test`` or ``data.test[:100]``.
    levels
        Number of equal steps from m = 0 to m = 1, which gives ``levels + 1`` points; or the fractions.
    order, fill
        As in `rank_pixels` and `mask_pixels`. A list of fills adds the dimension ``fill``.
    method, signed
        As in `saliency`. A list of methods adds the dimension ``method``.
    precision
        ``"float32"``, ``"bfloat16"`` or ``"auto"``, of the forward passes.
    memory_budget
        Bytes that one chunk of images may take while the model runs. Results depend on it only for the
        attribution methods that draw at random.
    seed
        Fixes the random fills and attribution methods.
    progress
        Called after each chunk with the images done and the images in all.

    Returns
    -------
    xr.Dataset
        ``probability`` and ``correct``, ``(image, masked_fraction)``; see docs/schema.md.

    Examples
    --------
    >>> from smoot_explore import create_model, load_data
    >>> data = load_data("shapes", train=12, test=6)
    >>> curves = masking_curves(create_model("cnn", data), data.test, levels=4)
    >>> curves.probability.dims, curves.masked_fraction.values.tolist()
    (('image', 'masked_fraction'), [0.0, 0.25, 0.5, 0.75, 1.0])
    """
    fractions = _fractions(levels)
    fills, methods = (
        _names(fill, "fill", FILLS),
        _names(method, "attribution method", ATTRIBUTION_METHODS),
    )
    pixels = np.rint(fractions * split.n_pixels).astype(int).tolist()
    hardware = hardware_of(model, precision)
    shape = (len(methods), len(fills), len(split), len(fractions))
    probability, correct = np.empty(shape, np.float32), np.empty(shape, bool)
    rng = np.random.default_rng(seed)
    with untouched(model), retained_memory(hardware.device), hardware.autocast():
        model.eval()
        for chunk in _chunks(model, split, hardware, memory_budget):
            images, labels = _on(hardware, split, chunk)
            noise = _noise(rng, images, fills)
            for i, name in enumerate(methods):
                maps, clean = _saliency_and_logits(
                    model, images, labels, name, signed, derived_seed(seed, chunk.start)
                )
                ordered = order_pixels(maps, order)
                for j, fill_name in enumerate(fills):
                    batches = _masked_batches(images, ordered, pixels, fill_name, noise, split.black)
                    levels_p, levels_correct = [], []
                    for k, batch in zip(pixels, batches, strict=True):
                        logits = clean if k == 0 else _logits(model, batch).expand_as(clean)
                        levels_p.append(logits.softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1))
                        levels_correct.append(logits.argmax(1) == labels)
                    probability[i, j, chunk] = torch.stack(levels_p, 1).cpu().numpy()
                    correct[i, j, chunk] = torch.stack(levels_correct, 1).cpu().numpy()
            if progress is not None:
                progress(chunk.stop, len(split))
    drop = tuple(n for n, given in enumerate((method, fill)) if isinstance(given, str))
    return labelled(
        CURVES,
        {"probability": probability.squeeze(drop), "correct": correct.squeeze(drop)},
        {
            "masked_fraction": fractions,
            "method": method if isinstance(method, str) else methods,
            "fill": fill if isinstance(fill, str) else fills,
            **_image_coords(split),
        },
        {
            "order": order,
            "ranking": "signed" if signed else "magnitude",
            "precision": str(hardware.dtype).removeprefix("torch."),
            "seed": int(seed),
            "class_names": split.class_names,
        },
    )


def image_class(curves: xr.Dataset, tolerance: float = 0.01) -> xr.DataArray:
    """``"II"`` for images whose probability rises, at some m > 0, above that of the clean image by more
    than the tolerance, ``"I"`` for the others; (image).

    Parameters
    ----------
    curves
        From `masking_curves`, highest first for the paper's classes; its levels start at 0.
    tolerance
        In probability, at least 0. The share of class II depends on it: say which one was used.
    """
    peak, start = _peak_and_start(curves, tolerance)
    classes = xr.where(peak.max("masked_fraction") > start + tolerance, "II", "I")
    classes.attrs = {"long_name": "image class", "units": "1", "tolerance": tolerance}
    return classes.rename("image_class")


def peak_fraction(curves: xr.Dataset, tolerance: float = 0.01) -> xr.DataArray:
    """The masked fraction m at which the probability is highest (the first of equals); 0 for class I; (image)."""
    peak, _ = _peak_and_start(curves, tolerance)
    where = peak.idxmax("masked_fraction")
    result = where.where(image_class(curves, tolerance) == "II", 0.0)
    result.attrs = {
        "long_name": "masked fraction of the peak",
        "units": "1",
        "tolerance": tolerance,
    }
    return result.rename("peak_fraction")


def accuracy_drop(curves: xr.Dataset) -> xr.DataArray:
    """Accuracy over the images in per cent, (masked_fraction)."""
    accuracy = 100.0 * curves.correct.mean("image")
    accuracy.attrs = {"long_name": "accuracy", "units": "%"}
    return accuracy.rename("accuracy_drop")


def drop_auc(curves: xr.Dataset) -> xr.DataArray:
    """Area under the accuracy drop, ∫ accuracy(m) dm by the trapezoidal rule, in per cent. Lower: a steeper drop."""
    area = accuracy_drop(curves).integrate("masked_fraction")
    area.attrs = {"long_name": "area under the accuracy drop", "units": "%"}
    return area.rename("drop_auc")


def k_landscape(
    model: nn.Module,
    split: Split,
    levels: int = 32,
    *,
    draws: int = 3,
    fill: str = "remaining",
    method: str = "gradient",
    signed: bool = True,
    top_n: int = 5,
    precision: str = "float32",
    memory_budget: int = 2**30,
    seed: int = 0,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Δ₁ and Δ₂..ₙ of every image as functions of k, for a model that stays as it is.

    With these, equation (4) is a map k → clip(k + αΔ(k)) that `simulate_k` follows without any training.
    Pixels are masked lowest first, as in training.

    Parameters
    ----------
    model, split, method, signed, precision, memory_budget, seed, progress
        As in `masking_curves`.
    levels
        Number of equal steps from k = 0 to k = P.
    draws
        How many random fills the changes are averaged over; one is enough for fills without chance.
    fill, top_n
        As in training.

    Returns
    -------
    xr.Dataset
        ``label_change`` and ``runners_up_change``, ``(image, k)``; see docs/schema.md.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, given {draws}")
    _names(fill, "fill", FILLS), _names(method, "attribution method", ATTRIBUTION_METHODS)
    pixels = np.unique(np.rint(_fractions(levels) * split.n_pixels).astype(int)).tolist()
    hardware = hardware_of(model, precision)
    draws = draws if fill in RANDOM_FILLS else 1
    rngs = [np.random.default_rng([seed, draw]) for draw in range(draws)]
    label_change = np.zeros((len(split), len(pixels)), np.float32)
    runners_up_change = np.zeros_like(label_change)
    with untouched(model), retained_memory(hardware.device), hardware.autocast():
        model.eval()
        for chunk in _chunks(model, split, hardware, memory_budget):
            images, labels = _on(hardware, split, chunk)
            maps, logits = _saliency_and_logits(
                model, images, labels, method, signed, derived_seed(seed, chunk.start)
            )
            clean = logits.softmax(1)
            ordered = order_pixels(maps, "lowest")
            for rng in rngs:
                noise = _noise(rng, images, [fill])
                batches = _masked_batches(images, ordered, pixels, fill, noise, split.black)
                for i, batch in enumerate(batches):
                    if pixels[i] == 0:
                        continue  # nothing masked, nothing changed
                    masked = _logits(model, batch).expand_as(logits).softmax(1)
                    change = probability_change(clean, masked, labels, top_n)
                    label_change[chunk, i] += change.label.cpu().numpy() / draws
                    runners_up_change[chunk, i] += change.runners_up.cpu().numpy() / draws
            if progress is not None:
                progress(chunk.stop, len(split))
    return labelled(
        LANDSCAPE,
        {"label_change": label_change, "runners_up_change": runners_up_change},
        {"k": np.array(pixels), "method": method, "fill": fill, **_image_coords(split)},
        {
            "n_pixels": split.n_pixels,
            "ranking": "signed" if signed else "magnitude",
            "top_n": top_n,
            "draws": draws,
            "precision": str(hardware.dtype).removeprefix("torch."),
            "seed": int(seed),
            "class_names": split.class_names,
        },
    )


def simulate_k(
    landscape: xr.Dataset,
    *,
    alpha: float,
    beta: float,
    k_init: float,
    k_min: float,
    k_max: float,
    epochs: int,
) -> xr.DataArray:
    """Trajectories of k that equation (4) takes on a landscape, without training.

    Δ between two grid points is interpolated linearly.

    Parameters
    ----------
    landscape
        From `k_landscape`.
    alpha
        α, pixels per unit of Δ.
    beta
        β, 0 … 1.
    k_init, k_min, k_max
        Fractions of the pixels, 0 … 1, as in `TrainingConfig`. The start is not clipped, the steps are.
    epochs
        Number of steps.

    Returns
    -------
    xr.DataArray
        k in pixels, ``(epoch, image)``, epoch 0 … ``epochs``; epoch 0 is ``k_init``.
    """
    for name, value in {"k_init": k_init, "k_min": k_min, "k_max": k_max, "beta": beta}.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie between 0 and 1, given {value}")
    if k_min > k_max:
        raise ValueError(f"k_min={k_min} is above k_max={k_max}; give fractions with k_min ≤ k_max")
    if epochs < 0:
        raise ValueError(f"epochs must not be negative, given {epochs}")
    n_pixels = landscape.attrs["n_pixels"]
    grid = landscape.k.values.astype(float)
    label = landscape.label_change.transpose("image", "k").values
    runners_up = landscape.runners_up_change.transpose("image", "k").values
    delta = beta * label.astype(float) + (1 - beta) * runners_up.astype(float)  # (image, k)
    k = np.empty((epochs + 1, len(delta)))
    k[0] = k_init * n_pixels
    rows = np.arange(len(delta))
    for epoch in range(epochs):
        place = np.interp(k[epoch], grid, np.arange(len(grid)))
        left = np.minimum(place.astype(int), max(len(grid) - 2, 0))
        right = np.minimum(left + 1, len(grid) - 1)
        share = place - left
        change = (1 - share) * delta[rows, left] + share * delta[rows, right]
        k[epoch + 1] = np.clip(k[epoch] + alpha * change, k_min * n_pixels, k_max * n_pixels)
    return xr.DataArray(
        k,
        dims=("epoch", "image"),
        coords={"epoch": np.arange(epochs + 1), **landscape.label.coords},
        name="k",
        attrs={"units": "pixels", "long_name": "number of masked pixels"},
    )


def _fractions(levels: int | Sequence[float]) -> np.ndarray:
    """Masked fractions, increasing."""
    if isinstance(levels, int | np.integer):
        if levels < 1:
            raise ValueError(f"levels must be at least 1 step, given {levels}")
        return np.arange(levels + 1) / levels
    fractions = np.asarray(levels, float)
    increasing = fractions.ndim == 1 and len(fractions) > 1 and (np.diff(fractions) > 0).all()
    if not increasing or fractions[0] < 0 or fractions[-1] > 1:
        raise ValueError(
            f"levels must be a number of steps, or at least two increasing fractions in 0 … 1; given {levels}"
        )
    return fractions


def _names(given: str | Sequence[str], kind: str, accepted: Sequence[str] | dict) -> list[str]:
    names = [given] if isinstance(given, str) else list(given)
    if not names:
        raise ValueError(f"give at least one {kind} of: {', '.join(accepted)}")
    for name in names:
        if name not in accepted:
            raise unknown_name(kind, name, accepted)
    return names


def _chunks(model: nn.Module, split: Split, hardware: Hardware, memory_budget: int) -> Iterator[slice]:
    """Slices of the images, each as large as the memory budget allows."""
    images, _ = _on(hardware, split, slice(0, 1))
    logits = _logits(model, images)
    check_logits(logits, 1)
    if split.labels.max() >= logits.shape[1]:
        raise ValueError(
            f"the model knows {logits.shape[1]} classes, but there is a label {int(split.labels.max())}; "
            "evaluate it on the data it was made for"
        )
    # The gradient keeps every layer's output and needs about as much again on the way back.
    bytes_per_image = 2 * activation_bytes(model, images)
    largest = _LARGEST_CHUNK[hardware.dtype] if hardware.device.type == "cpu" else len(split)
    size = int(np.clip(memory_budget // bytes_per_image, 1, largest))
    for start in range(0, len(split), size):
        yield slice(start, min(start + size, len(split)))


def _on(hardware: Hardware, split: Split, chunk: slice) -> tuple[Tensor, Tensor]:
    """Normalised images and labels of a chunk, on the device."""
    images = split.normalize(split.images[chunk].to(hardware.device))
    return images.to(memory_format=hardware.layout), split.labels[chunk].to(hardware.device)


def _noise(rng: np.random.Generator, images: Tensor, fills: Sequence[str]) -> Tensor | None:
    """Random numbers for random fills, drawn image after image: how images are chunked changes nothing."""
    if not set(fills) & set(RANDOM_FILLS):
        return None
    return torch.from_numpy(rng.random(images.shape, np.float32)).to(images.device)


@torch.no_grad()
def _logits(model: nn.Module, images: Tensor) -> Tensor:
    return model(images).float()


def _saliency_and_logits(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    method: str,
    signed: bool,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Saliency maps and the clean logits; the gradient needs one forward pass for both."""
    if method != "gradient":
        maps = saliency(model, images, labels, method, signed=signed, seed=seed)
        return maps, _logits(model, images)
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(images).float()
    return input_gradient(logits, images, labels, signed=signed), logits.detach()


@torch.no_grad()
def _masked_batches(
    images: Tensor, ordered: Tensor, pixels: list[int], fill: str, noise: Tensor | None, black: Tensor
) -> Iterator[Tensor]:
    """The images with each number of pixels masked, one after the other in the same memory. Images that are
    black all over are all the same: one stands for them.

    Equals `mask_pixels` at every level, with what the levels share computed once: a level masks the pixels of the
    one before and some more. ``ordered`` is from `order_pixels`.
    """
    n, channels = images.shape[:2]
    places = ordered.unsqueeze(1)  # (N, 1, P)
    new_pixels = [places[..., low:high] for low, high in itertools.pairwise([0, *pixels])]
    if fill == "remaining" and noise is not None:
        low, high = _remaining_ranges(images, ordered, pixels)
        mask = torch.zeros_like(images[:, :1], dtype=torch.bool)
        # Into a buffer with the images' own strides: where() forgets channels last when there is one channel, and
        # convolutions are then half as fast.
        masked = torch.empty_like(images)
        for i, new in enumerate(new_pixels):
            mask.view(n, 1, -1).scatter_(2, new, True)
            yield torch.where(mask, torch.lerp(low[i], high[i], noise), images, out=masked)
        return
    everything = torch.ones_like(images[:, :1], dtype=torch.bool)
    values = fill_values(images, everything, fill, noise, black).expand_as(images).reshape(n, channels, -1)
    masked = images.clone()
    for k, new in zip(pixels, new_pixels, strict=True):
        new = new.expand(n, channels, -1)
        masked.view(n, channels, -1).scatter_(2, new, values.gather(2, new))
        yield masked[:1] if fill == "black" and k == ordered.shape[1] else masked


def _remaining_ranges(images: Tensor, ordered: Tensor, pixels: list[int]) -> tuple[Tensor, Tensor]:
    """Minimum and maximum of the unmasked pixels at each level, each ``(levels, N, C, 1, 1)``.

    With the pixels in the order of their rank, a level's range is that of its tail: the extremes of the
    stretches between levels, accumulated from the end. At k = P it is the whole image's.
    """
    n, channels = images.shape[:2]
    values = images.flatten(2).gather(2, ordered.unsqueeze(1).expand(n, channels, -1))  # (N, C, P)
    stretches = torch.tensor_split(values, pixels, dim=2)[1:]
    extremes = []
    for pick, neutral in ((torch.amin, torch.inf), (torch.amax, -torch.inf)):
        tails = [
            pick(part, 2) if part.shape[2] else part.new_full((n, channels), neutral) for part in stretches
        ]
        for i in reversed(range(len(tails) - 1)):
            tails[i] = pick(torch.stack(tails[i : i + 2]), 0)
        tails = [
            pick(values, 2) if k == values.shape[2] else tail for k, tail in zip(pixels, tails, strict=True)
        ]
        extremes.append(torch.stack(tails)[..., None, None])
    return extremes[0], extremes[1]


def _image_coords(split: Split) -> dict[str, np.ndarray]:
    return {"image_id": split.image_ids.numpy(), "label": split.labels.numpy()}


def _peak_and_start(curves: xr.Dataset, tolerance: float) -> tuple[xr.DataArray, xr.DataArray]:
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0, given {tolerance}")
    if float(curves.masked_fraction[0]) != 0:
        raise ValueError(
            "the classes compare with the clean image: the curves must start at the masked fraction 0, "
            f"they start at {float(curves.masked_fraction[0]):g}"
        )
    return curves.probability, curves.probability.isel(masked_fraction=0, drop=True)
