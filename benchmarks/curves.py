"""Masking curves against the bare forward passes that they need, and against other libraries."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import quantus
import torch
from captum.attr import Saliency
from torch import nn
from torchcam.methods import GradCAM
from torchcam.metrics import DeletionInsertionMetric

from benchmarks.interleaved import median_seconds
from benchmarks.tables import Table, milliseconds
from benchmarks.training_steps import PRECISIONS
from smoot_explore import ImageData, create_model, k_landscape, load_data, masking_curves
from smoot_explore.compute.device import choose_hardware

LEVELS = 20
N_IMAGES = 1024
CHUNK = 256
PEER_IMAGES = 256
PIXELS_PER_STEP = 28  # 784 pixels in 28 steps
FILLS = ("black", "mean", "remaining")


def measure(rounds: int) -> list[Table]:
    """Curves and the landscape against bare forward passes; curves against Quantus and torch-cam."""
    data = load_data("fashion-mnist-sample", train=100, test=N_IMAGES)
    return [_against_forward_passes(data, rounds), _against_peers(data, rounds)]


def _against_forward_passes(data: ImageData, rounds: int) -> Table:
    model = create_model("cnn", data).eval()
    candidates: dict[str, Callable[[], object]] = {}
    for precision in PRECISIONS:
        candidates[f"bare forward passes, {precision}"] = _forward_passes(model, data, precision)
        for fill in FILLS:
            candidates[f"curves, {fill} fill, {precision}"] = partial(
                masking_curves, model, data.test, LEVELS, fill=fill, precision=precision
            )
        candidates[f"k-landscape, one draw, {precision}"] = partial(
            k_landscape, model, data.test, LEVELS, draws=1, precision=precision
        )
    seconds = median_seconds(candidates, rounds, warmup=1)
    rows = []
    for name, value in seconds.items():
        bare = seconds[f"bare forward passes, {name.split(', ')[-1]}"]
        rows.append([name, milliseconds(value), f"{value / bare:.2f}"])
    return Table(
        "Masking curves and bare forward passes",
        f"{N_IMAGES:,} images at {LEVELS + 1} levels with the gradient and the ranking; the bare forward passes are "
        f"{LEVELS + 1} for each image, all of the same clean images in batches of {CHUNK}. Medians of {rounds} "
        "interleaved rounds.",
        ["", "time", "/ bare"],
        rows,
        {"seconds": seconds},
    )


def _forward_passes(model: nn.Module, data: ImageData, precision: str) -> Callable[[], object]:
    hardware = choose_hardware("cpu", precision)
    images = data.test.normalize().to(memory_format=torch.channels_last)

    def run() -> None:
        with torch.no_grad(), hardware.autocast():
            for chunk in images.split(CHUNK):
                for _ in range(LEVELS + 1):
                    model(chunk)

    return run


def _against_peers(data: ImageData, rounds: int) -> Table:
    model = create_model("cnn", data).eval()
    split = data.test[:PEER_IMAGES]
    images, labels = split.normalize(), split.labels
    batch_sizes = (64, PEER_IMAGES)
    candidates: dict[str, Callable[[], object]] = {}
    for batch_size in batch_sizes:
        candidates[f"Quantus, batches of {batch_size}"] = partial(_quantus, model, images, labels, batch_size)
        candidates[f"torch-cam, batches of {batch_size}"] = partial(
            _torch_cam, model, images, labels, batch_size
        )
    for precision in PRECISIONS:
        candidates[f"ours, as Quantus, {precision}"] = partial(
            masking_curves, model, split, data.n_pixels // PIXELS_PER_STEP, precision=precision
        )
        candidates[f"ours, as torch-cam, {precision}"] = partial(_as_torch_cam, model, split, precision)
    seconds = median_seconds(candidates, rounds, warmup=1)
    rows = []
    for peer in ("Quantus", "torch-cam"):
        theirs = min(seconds[f"{peer}, batches of {size}"] for size in batch_sizes)
        rows.append(
            [f"{peer}, float32, faster of the batch sizes {batch_sizes}", milliseconds(theirs), "1.00"]
        )
        for precision in PRECISIONS:
            ours = seconds[f"ours, as {peer}, {precision}"]
            rows.append([f"ours, the same curves, {precision}", milliseconds(ours), f"{theirs / ours:.2f}"])
    return Table(
        "Masking curves and other libraries",
        f"{PEER_IMAGES} images, the paper's CNN. As Quantus {quantus.__version__}'s `PixelFlipping`: "
        f"{data.n_pixels // PIXELS_PER_STEP} steps of {PIXELS_PER_STEP} pixels, black fill, highest gradient first; "
        "the gradients by Captum that it is given count. As torch-cam's `DeletionInsertionMetric`: deletion and "
        f"insertion by Grad-CAM, {LEVELS} steps, black fill; ours are two masking curves, highest first and lowest "
        "first. Both libraries get the same model, our CNN, and the same memory settings. Medians of "
        f"{rounds} interleaved rounds.",
        ["", "time", "peer / it"],
        rows,
        {"seconds": seconds},
    )


def _quantus(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, batch_size: int) -> None:
    gradient = Saliency(model).attribute(images.clone().requires_grad_(), labels, abs=False)
    metric = quantus.PixelFlipping(
        features_in_step=PIXELS_PER_STEP, normalise=False, perturb_baseline="black", disable_warnings=True
    )
    metric(
        model, images.numpy(), labels.numpy(), gradient.detach().numpy(), device="cpu", batch_size=batch_size
    )


def _torch_cam(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, batch_size: int) -> None:
    with GradCAM(model, "convolution2") as extractor:
        metric = DeletionInsertionMetric(
            extractor, partial(torch.softmax, dim=-1), steps=LEVELS, batch_size=batch_size
        )
        for chunk, chosen in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            metric.update(chunk.requires_grad_(), chosen.tolist())
        metric.summary()


def _as_torch_cam(model: nn.Module, split, precision: str) -> None:
    for order in ("highest", "lowest"):
        masking_curves(model, split, LEVELS, order, attribution="grad_cam", precision=precision)
