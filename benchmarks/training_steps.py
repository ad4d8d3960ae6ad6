"""One training step: ours, plain PyTorch's, and the SGT reference's algorithm as a peer would run it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from captum.attr import Saliency
from torch import Tensor, nn

from benchmarks.interleaved import median_seconds
from benchmarks.tables import Table, milliseconds
from smoot_explore import ImageData, TrainingConfig, create_model, load_data
from smoot_explore.compute.device import choose_hardware, has_bfloat16, in_layout
from smoot_explore.core.loss import GuidedLoss
from smoot_explore.core.training import training_step

BATCH_SIZE = 256
# bfloat16 only where the processor computes with it: emulated, a step takes minutes.
PRECISIONS = ("float32", "bfloat16") if has_bfloat16(torch.device("cpu")) else ("float32",)
# What a step is called in the table: training method and way of the saliency.
OURS = {
    "traditional": ("traditional", "shared"),
    "SGT": ("sgt", "shared"),
    "SMOOT": ("smoot", "shared"),
    "SMOOT, eval-mode saliency": ("smoot", "eval"),
    "SMOOT, harvested saliency": ("smoot", "harvested"),
}


def measure(rounds: int) -> list[Table]:
    """Steps at batch 256 on the bundled sample."""
    data = load_data("fashion-mnist-sample", train=BATCH_SIZE, test=10)
    candidates: dict[str, Callable[[], object]] = {}
    for precision in PRECISIONS:
        for name, (method, saliency_pass) in OURS.items():
            model = create_model("cnn", data)
            candidates[f"{name}, {precision}"] = our_step(model, data, method, precision, saliency_pass)
        candidates[f"plain PyTorch training, {precision}"] = _plain_step(data, precision)
    for cnn in ("plain", "our"):
        for layout in ("channels last", "channels first"):
            candidates[f"SGT reference, {cnn} CNN, {layout}"] = _reference_step(data, cnn, layout)
    seconds = median_seconds(candidates, rounds)
    reference = {
        cnn: min(s for name, s in seconds.items() if name.startswith(f"SGT reference, {cnn}"))
        for cnn in ("plain", "our")
    }
    rows = []
    for precision in PRECISIONS:
        for name in [*OURS, "plain PyTorch training"]:
            step = seconds[f"{name}, {precision}"]
            against = [
                seconds[f"{other}, {precision}"] for other in ("traditional", "plain PyTorch training")
            ]
            cells = [f"{step / other:.2f}" for other in against]
            cells += [f"{reference[cnn] / step:.2f}" for cnn in ("plain", "our")]
            rows.append([f"{name}, {precision}", milliseconds(step), *cells])
    for cnn in ("plain", "our"):
        rows.append([f"SGT reference, {cnn} CNN, float32", milliseconds(reference[cnn]), *["–"] * 4])
    return [
        Table(
            "A training step",
            f"One batch of {BATCH_SIZE} Fashion-MNIST images through the paper's CNN, with everything that belongs to "
            "it: saliency, ranking, fill, both forward passes, backward pass, Adadelta. Plain PyTorch training and the "
            "reference's first row take the CNN in plain layers; the second gives the reference our CNN, which "
            "computes the same function faster. The reference is the algorithm of Ismail et al.'s code, restated: "
            "float32, saliency by Captum in eval mode, images filled one after the other, the faster of two memory "
            f"layouts. Medians of {rounds} interleaved rounds.",
            [
                "step",
                "time",
                "/ traditional",
                "/ plain PyTorch",
                "reference, plain CNN / it",
                "reference, our CNN / it",
            ],
            rows,
            {"seconds": seconds},
        )
    ]


def our_step(
    model: nn.Module, data: ImageData, method: str, precision: str, saliency_pass: str = "shared"
) -> Callable[[], object]:
    """A step on all training images of ``data`` as one batch."""
    config = TrainingConfig(method=method, precision=precision, device="cpu", saliency_pass=saliency_pass)
    hardware = choose_hardware("cpu", precision)
    in_layout(model, torch.channels_last).train()
    images = data.train.normalize().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    loss = GuidedLoss(
        model, config, n_images=len(images), image_shape=data.image_shape, black=data.black,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    loss.all_visited = True  # the first epoch of harvested saliency is another step
    ids = torch.arange(len(images))

    def step() -> None:
        training_step(loss, optimizer, images, data.train.labels, ids, hardware)

    return step


def _plain_cnn() -> nn.Module:
    """The paper's CNN as its text and the SGT code write it down: the same function as `PaperCNN`."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
    )  # fmt: skip


def _plain_step(data: ImageData, precision: str) -> Callable[[], object]:
    """Cross-entropy training as a tutorial writes it."""
    model = _plain_cnn()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    images, labels = data.train.normalize(), data.train.labels
    bfloat16 = torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()

    def step() -> None:
        optimizer.zero_grad()
        with bfloat16:
            logits = model(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


def _reference_step(data: ImageData, cnn: str, layout: str) -> Callable[[], object]:
    """The step of Ismail et al.'s code, restated: saliency by Captum in eval mode, ranking on the CPU, then
    one image after the other filled with random values from its own range, then two forward passes."""
    memory_format = torch.channels_last if layout == "channels last" else torch.contiguous_format
    model = in_layout(_plain_cnn() if cnn == "plain" else create_model("cnn", data), memory_format)
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    images: Tensor = data.train.normalize().contiguous(memory_format=memory_format)
    labels = data.train.labels
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
