"""How the cost grows with the batch, the image's size, the number of images and of levels; and the memory."""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.interleaved import median_seconds
from benchmarks.tables import Table, milliseconds
from benchmarks.training_steps import our_step
from smoot_explore import (
    ImageData,
    Split,
    create_model,
    load_data,
    mask_pixels,
    masking_curves,
    rank_pixels,
    update_k,
)
from smoot_explore.compute.device import has_bfloat16

PRECISION = "bfloat16" if has_bfloat16(torch.device("cpu")) else "float32"
BATCH_SIZES = (32, 64, 128, 256, 512)
IMAGE_SIZES = (28, 32, 64, 224)
PIXELS_IN_A_BATCH = 256 * 28 * 28  # about the same work at every image size
MANY = 1_300_000  # training images: ImageNet


def measure(rounds: int) -> list[Table]:
    """All tables of this file."""
    return [
        _batch_sizes(rounds),
        _image_sizes(rounds),
        _images_and_levels(max(3, rounds // 3)),
        _bookkeeping(rounds),
        _memory(),
    ]


class PooledCNN(nn.Module):
    """The paper's convolutions with an average over a 12×12 grid before the dense layers: for images of any size."""

    def __init__(self, channels: int, n_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.MaxPool2d(2), nn.ReLU(),
            nn.AdaptiveAvgPool2d(12), nn.Flatten(), nn.Linear(64 * 144, 128), nn.ReLU(), nn.Linear(128, n_classes),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def _random_data(n: int, channels: int, size: int) -> ImageData:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, channels, size, size), dtype=torch.uint8, generator=generator)
    split = Split(images, torch.arange(n) % 10, class_names=tuple("0123456789"))
    return ImageData(split, split, tuple("0123456789"))


def _batch_sizes(rounds: int) -> Table:
    rows, seconds = [], {}
    for size in BATCH_SIZES:
        data = load_data("fashion-mnist-sample", train=size, test=10)
        steps = {
            method: our_step(create_model("cnn", data), data, method, PRECISION)
            for method in ("traditional", "smoot")
        }
        steps["harvested"] = our_step(create_model("cnn", data), data, "smoot", PRECISION, "harvested")
        seconds[size] = median = median_seconds(steps, rounds)
        rows.append(
            [f"{size}", *(milliseconds(median[name]) for name in steps)]
            + [f"{median[name] / median['traditional']:.2f}" for name in ("smoot", "harvested")]
        )
    return Table(
        "By batch size",
        f"A step of the paper's CNN on Fashion-MNIST, {PRECISION}. Medians of {rounds} interleaved rounds.",
        [
            "images",
            "traditional",
            "SMOOT",
            "SMOOT, harvested",
            "SMOOT / traditional",
            "harvested / traditional",
        ],
        rows,
        {"seconds": seconds},
    )


def _image_sizes(rounds: int) -> Table:
    rows, seconds = [], {}
    for size in IMAGE_SIZES:
        n, channels = max(2, PIXELS_IN_A_BATCH // size**2), 1 if size == 28 else 3
        data = _random_data(n, channels, size)
        steps: dict[str, Callable[[], object]] = {
            method: our_step(PooledCNN(channels, 10), data, method, PRECISION)
            for method in ("traditional", "smoot")
        }
        images, maps = data.train.normalize(), torch.randn(n, size, size)
        steps["ranking and fill"] = partial(_rank_and_fill, images, maps, torch.full((n,), size * size / 2))
        seconds[size] = median = median_seconds(steps, rounds)
        rows.append([
            f"{channels}×{size}×{size}", f"{n}", *(milliseconds(median[m]) for m in ("traditional", "smoot")),
            f"{median['smoot'] / median['traditional']:.2f}",
            f"{100 * median['ranking and fill'] / median['smoot']:.1f} %",
        ])  # fmt: skip
    return Table(
        "By image size",
        "The paper's two convolutions, an average over a 12×12 grid, and its dense layers, on random images; about as "
        f"many pixels in each batch. {PRECISION}. Medians of {rounds} interleaved rounds.",
        [
            "image",
            "images",
            "traditional",
            "SMOOT",
            "SMOOT / traditional",
            "ranking and fill, of the SMOOT step",
        ],
        rows,
        {"seconds": seconds},
    )


def _rank_and_fill(images: Tensor, maps: Tensor, k: Tensor) -> None:
    mask_pixels(images, rank_pixels(maps), k)


def _images_and_levels(rounds: int) -> Table:
    data = load_data("fashion-mnist-sample", train=100, test=2_000)
    model = create_model("cnn", data)
    counts = [(n, 20) for n in (250, 500, 1_000, 2_000)] + [(500, levels) for levels in (5, 10, 40, 80)]
    candidates = {
        f"{n}, {levels}": partial(masking_curves, model, data.test[:n], levels, precision=PRECISION)
        for n, levels in counts
    }
    seconds = median_seconds(candidates, rounds, warmup=1)
    rows = [
        [f"{n:,}", f"{levels}", milliseconds(s), f"{1e6 * s / (n * (levels + 1)):.0f} µs"]
        for (n, levels), s in zip(counts, seconds.values(), strict=True)
    ]
    return Table(
        "By number of images and levels",
        f"Masking curves of the paper's CNN on Fashion-MNIST, black fill, {PRECISION}. Medians of {rounds} interleaved "
        "rounds. The last column holds the gradient's cost too, which is the same for any number of levels.",
        ["images", "steps", "time", "for an image and level"],
        rows,
        {"seconds": seconds},
    )


def _bookkeeping(rounds: int) -> Table:
    data = load_data("fashion-mnist-sample", train=256, test=10)
    step = our_step(create_model("cnn", data), data, "smoot", PRECISION)
    clean, masked = (torch.rand(256, 10).softmax(1) for _ in "ab")
    labels = data.train.labels

    def update(k: Tensor, delta: Tensor, ids: Tensor) -> None:
        result = update_k(k[ids], clean, masked, labels, alpha=10.0, beta=0.95, k_min=157.0, k_max=627.0)
        k[ids], delta[ids] = result.k, result.delta

    candidates: dict[str, Callable[[], object]] = {"SMOOT step": step}
    for n in (60_000, MANY):
        ids = torch.randperm(n)[:256]
        candidates[f"k of {n:,} images"] = partial(update, torch.full((n,), 392.0), torch.zeros(n), ids)
    seconds = median_seconds(candidates, max(rounds, 15))
    rows = [
        [name, f"{1e6 * s:,.0f} µs", f"{100 * s / seconds['SMOOT step']:.2f} %"]
        for name, s in seconds.items()
    ]
    return Table(
        "Keeping every image's k",
        "Reading k of a batch of 256, equations (1) to (4), writing k and Δ back. The first one comes after the step "
        f"and finds the cache full of other things. Medians of {max(rounds, 15)} interleaved rounds.",
        ["", "time", "of a step"],
        rows,
        {"seconds": seconds},
    )


def _memory() -> Table:
    rows, numbers = [], {}
    tasks = {
        "traditional step": ("traditional", "shared"),
        "SMOOT step": ("smoot", "shared"),
        "SMOOT step, harvested": ("smoot", "harvested"),
        "masking curves, 2,000 images": None,
    }
    context = multiprocessing.get_context("spawn")
    for name, task in tasks.items():
        with context.Pool(1) as pool:
            before, peak = pool.apply(_peak_memory, (task,))
        numbers[name] = {"before": before, "peak": peak}
        rows.append([name, f"{(peak - before) / 2**20:,.0f} MiB", f"{peak / 2**20:,.0f} MiB"])
    return Table(
        "Memory",
        f"Peak of the process's memory above what it held with data and model loaded, {PRECISION}; steps at batch 256. "
        "One process each.",
        ["", "above the start", "whole process"],
        rows,
        numbers,
    )


def _peak_memory(task: tuple[str, str] | None) -> tuple[int, int]:
    """Bytes that this process held before the task, and at most during it."""
    data = load_data("fashion-mnist-sample", train=256, test=2_000)
    model = create_model("cnn", data)
    run = our_step(model, data, task[0], PRECISION, task[1]) if task else None
    before = _memory_of_process("VmRSS")
    for _ in range(3):
        if run:
            run()
        else:
            masking_curves(model, data.test, precision=PRECISION)
    return before, _memory_of_process("VmHWM")


def _memory_of_process(entry: str) -> int:
    """Bytes, from Linux: now (VmRSS) or at most so far (VmHWM; getrusage's peak would be the parent's)."""
    (line,) = re.findall(rf"{entry}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return 1024 * int(line)
