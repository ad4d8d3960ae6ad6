"""Masking curves against the bare forward passes that they need."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.interleaved import median_seconds
from smoot_explore import create_model, load_data, masking_curves
from smoot_explore.hardware import choose_hardware

LEVELS = 20
N_IMAGES = 1024
CHUNK = 256


def measure(rounds: int) -> dict[str, float]:
    """Median seconds for 1,024 images at 21 levels: curves for each fill, and the bare forward passes."""
    data = load_data("fashion-mnist-sample", train=100, test=N_IMAGES)
    model = create_model("cnn", data).eval()
    images = data.test.normalize().to(memory_format=torch.channels_last)
    candidates: dict[str, Callable[[], object]] = {}
    for precision in ("float32", "bfloat16"):
        hardware = choose_hardware("cpu", precision)

        def bare(hardware=hardware) -> None:
            with torch.no_grad(), hardware.autocast():
                for chunk in images.split(CHUNK):
                    for _ in range(LEVELS + 1):
                        model(chunk)

        candidates[f"bare forward passes, {precision}"] = bare
        for fill in ("black", "mean", "remaining"):

            def curves(fill=fill, precision=precision) -> None:
                masking_curves(model, data.test, LEVELS, fill=fill, precision=precision)

            candidates[f"curves, {fill} fill, {precision}"] = curves
    return median_seconds(candidates, rounds, warmup=1)
