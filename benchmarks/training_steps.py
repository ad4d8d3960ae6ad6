"""One training step: traditional, SGT, SMOOT, and the SGT reference's algorithm as a peer would run it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from captum.attr import Saliency
from torch import Tensor, nn

from benchmarks.interleaved import median_seconds
from smoot_explore import ImageData, TrainingConfig, create_model, load_data
from smoot_explore.hardware import choose_hardware, in_layout
from smoot_explore.training import StepSetting, training_step

BATCH_SIZE = 256
PRECISIONS = ("float32", "bfloat16")


def measure(rounds: int) -> dict[str, float]:
    """Median seconds of a step at batch 256 on the bundled sample, by "method, precision"."""
    data = load_data("fashion-mnist-sample", train=BATCH_SIZE, test=10)
    images = data.train.normalize().to(memory_format=torch.channels_last)
    labels = data.train.labels
    candidates: dict[str, Callable[[], object]] = {}
    for precision in PRECISIONS:
        for method in ("traditional", "sgt", "smoot"):
            candidates[f"{method}, {precision}"] = _our_step(data, images, labels, method, precision)
    for cnn in ("plain", "our"):
        for layout in ("channels last", "channels first"):
            step = _reference_step(data, images, labels, cnn, layout)
            candidates[f"SGT reference, {cnn} CNN, float32, {layout}"] = step
    return median_seconds(candidates, rounds)


def _our_step(
    data: ImageData, images: Tensor, labels: Tensor, method: str, precision: str
) -> Callable[[], object]:
    config = TrainingConfig(method=method, precision=precision, device="cpu")
    hardware = choose_hardware("cpu", precision)
    model = in_layout(create_model("cnn", data), torch.channels_last).train()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    k = torch.full((len(images),), 0.5 * data.n_pixels)
    generator = torch.Generator().manual_seed(0)
    setting = StepSetting(config, data.n_pixels, hardware, generator, data.black)

    def step() -> None:
        training_step(model, optimizer, images.detach(), labels, k, config.live_values(), setting)

    return step


def _plain_cnn() -> nn.Module:
    """The paper's CNN as its text and the SGT code write it down: the same function as `PaperCNN`."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
    )  # fmt: skip


def _reference_step(
    data: ImageData, images: Tensor, labels: Tensor, cnn: str, layout: str
) -> Callable[[], object]:
    """The step of Ismail et al.'s code, restated: saliency by Captum in eval mode, ranking on the CPU, then
    one image after the other filled with random values from its own range, then two forward passes."""
    memory_format = torch.channels_last if layout == "channels last" else torch.contiguous_format
    model = in_layout(_plain_cnn() if cnn == "plain" else create_model("cnn", data), memory_format)
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    images = images.contiguous(memory_format=memory_format)
    n_masked = data.n_pixels // 2

    def step() -> None:
        model.eval()
        clean = images.detach().clone().requires_grad_()
        gradient = Saliency(model).attribute(clean, labels, abs=False).mean(1).detach().cpu()
        order = gradient.flatten(1).argsort(dim=1)
        masked = images.clone()
        for i in range(len(images)):
            image = masked[i].clone().flatten()
            values = np.random.uniform(image.min().item(), image.max().item(), n_masked)  # noqa: NPY002
            image[order[i, :n_masked]] = torch.as_tensor(values, dtype=torch.float32)
            masked[i] = image.view_as(masked[i])
        model.train()
        logits, masked_logits = model(images), model(masked.detach())
        divergence = F.kl_div(
            masked_logits.log_softmax(1), logits.log_softmax(1), log_target=True, reduction="batchmean"
        )
        loss = F.cross_entropy(logits, labels) + divergence
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
