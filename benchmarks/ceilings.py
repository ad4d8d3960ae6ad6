"""What the machine can do at most, and how near the steps and curves come to it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.interleaved import median_seconds
from benchmarks.tables import Table, milliseconds
from benchmarks.training_steps import BATCH_SIZE, OURS, PRECISIONS, our_step
from smoot_explore import create_model, load_data, masking_curves

MATRIX = 4096
COPIED = 2**28  # bytes
CURVE_IMAGES = 256


class Products(TorchDispatchMode):
    """Counts the floating-point operations of matrix products and convolutions, by PyTorch's own formulas.

    PyTorch's FlopCounterMode also follows modules, for which it cannot have gradients of the images.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=result)
        return result


def measure(rounds: int) -> list[Table]:
    """Ceilings of matrix products and of memory, and the share of the former that is reached."""
    speed = {precision: _matrix_product(getattr(torch, precision)) for precision in PRECISIONS}
    bandwidth = _bandwidth()
    data = load_data("fashion-mnist-sample", train=BATCH_SIZE, test=CURVE_IMAGES)
    rows, numbers = [], {"flops_per_second": speed, "bytes_per_second": bandwidth}
    for precision in PRECISIONS:
        candidates: dict[str, Callable[[], object]] = {
            name: our_step(create_model("cnn", data), data, method, precision, saliency_pass)
            for name, (method, saliency_pass) in OURS.items()
        }
        candidates["masking curves, 21 levels"] = partial(
            masking_curves, create_model("cnn", data), data.test, precision=precision
        )
        seconds = median_seconds(candidates, rounds)
        with Products() as one:
            create_model("cnn", data)(data.train.normalize())
        for name, run in candidates.items():
            with Products() as counted:
                run()
            flops = counted.flops
            floor = flops / speed[precision]
            numbers[f"{name}, {precision}"] = {"flops": flops, "seconds": seconds[name]}
            rows.append([
                f"{name}, {precision}", f"{flops / 1e9:.1f}", f"{flops / one.flops:.2f}",
                milliseconds(floor), milliseconds(seconds[name]), f"{100 * floor / seconds[name]:.0f} %",
            ])  # fmt: skip
    return [
        Table(
            "Ceilings",
            f"Matrix products of {MATRIX}×{MATRIX}: "
            + ", ".join(f"{speed[p] / 1e9:.0f} GFLOP/s in {p}" for p in PRECISIONS)
            + f". Copying {COPIED // 2**20} MiB: {bandwidth / 1e9:.0f} GB/s read and written. The floor is the "
            "time that a step's products would take at that speed, counted by PyTorch; F is one forward pass of the "
            f"{BATCH_SIZE} images. Medians of {rounds} interleaved rounds.",
            ["", "GFLOP", "in F", "floor", "measured", "of the ceiling"],
            rows,
            numbers,
        )
    ]


def _matrix_product(dtype: torch.dtype, rounds: int = 5) -> float:
    """Floating-point operations per second."""
    left, right = (torch.randn(MATRIX, MATRIX).to(dtype) for _ in "lr")
    return 2 * MATRIX**3 / _median(lambda: left @ right, rounds)


def _bandwidth(rounds: int = 7) -> float:
    """Bytes per second, read and written."""
    source = torch.zeros(COPIED, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * COPIED / _median(lambda: target.copy_(source), rounds)


def _median(run: Callable[[], object], rounds: int) -> float:
    run()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
