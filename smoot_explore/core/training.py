"""Traditional, SGT and SMOOT training: one loop, as a generator of records."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import overload

import torch
from torch import Tensor, nn

from smoot_explore.compute.device import Hardware, choose_hardware, hardware_of, in_layout
from smoot_explore.compute.memory import retained_memory
from smoot_explore.compute.randomness import RandomStream, derived_seed
from smoot_explore.core.config import LiveValues, TrainingConfig
from smoot_explore.core.cuda_graph import CapturedStep, cuda_graph
from smoot_explore.core.loss import (
    StepResult,
    StepSetting,
    batch_loss,
    harvests,
    loss_saliency,
)
from smoot_explore.core.models import activation_bytes, check_logits, kept_modes
from smoot_explore.core.records import (
    Change,
    EpochRecord,
    EpochStore,
    StepRecord,
    TrainingError,
    TrainingState,
)
from smoot_explore.data.images import ImageData, Split

_CPU_MEMORY_BUDGET = 4 * 2**30  # bytes of layers' outputs; larger batches go through the model in slices
_CHECK_EVERY = 25  # steps between looks at the loss on a CPU; elsewhere each would wait for the device
_HARVEST_LIMIT = 8 * 2**30  # bytes of kept saliency maps


@overload
def train(
    model: nn.Module,
    data: ImageData,
    config: TrainingConfig,
    *,
    run: EpochStore | None = None,
    every: None = None,
    log: Callable[[EpochRecord], object] | None = None,
    captured: bool = False,
) -> Iterator[EpochRecord]: ...


@overload
def train(
    model: nn.Module,
    data: ImageData,
    config: TrainingConfig,
    *,
    run: EpochStore | None = None,
    every: int | None,
    log: Callable[[EpochRecord | StepRecord], object] | None = None,
    captured: bool = False,
) -> Iterator[EpochRecord | StepRecord]: ...


def train(
    model: nn.Module,
    data: ImageData,
    config: TrainingConfig,
    *,
    run: EpochStore | None = None,
    every: int | None = None,
    log: Callable[..., object] | None = None,
    captured: bool = False,
) -> Iterator[EpochRecord] | Iterator[EpochRecord | StepRecord]:
    """Train the model; a generator that yields a record after each epoch.

    Nothing happens until a record is asked for. Not asking for the next one pauses training; closing the
    generator stops it. Between two records the model may be looked at, and `LiveValues` of ``config`` may
    be set: they take effect at the next step and are kept in the record. (While k_min is above k_max, as
    when one is set before the other, the last bounds in order stay in force.)

    The same seed gives the same numbers on the same CPU with the same number of threads, whatever random
    numbers the caller draws between two records.

    Parameters
    ----------
    model
        Maps normalised images to logits. It is moved to the device and trained in place.
    data
        Training images are visited in an order of their own each epoch; test images measure the accuracy.
    config
        See `TrainingConfig`.
    run
        Folder that each completed epoch is written to. A run that holds epochs already is resumed, with
        the numbers that it would have had without the stop; its weights replace those of ``model``.
    every
        Also yield a `StepRecord` after each ``every`` steps; None yields epochs alone.
    log
        Called with each record before it is yielded, for example ``log_to_tensorboard(writer)``; None for nothing.
    captured
        On a CUDA GPU, record the step as a CUDA graph and replay it: less time between small kernels. It is not the
        default because no GPU has run it yet. Needs batches that fit into memory whole.

    Yields
    ------
    EpochRecord or StepRecord

    Raises
    ------
    ValueError
        At the call, for settings, a model or data that do not go together.
    TrainingError
        When the loss is no longer finite.
    """
    config.check()
    if every is not None and every < 1:
        raise ValueError(f"every must be at least 1 step, or None for epochs alone; given {every}")
    hardware = choose_hardware(config.device, config.precision)
    if captured and hardware.device.type != "cuda":
        raise ValueError(
            f"captured=True needs a CUDA GPU, and training would run on {hardware.device}; leave it out"
        )
    if not any(weights.requires_grad for weights in model.parameters()):
        raise ValueError("the model has no weights to train: none of its parameters requires a gradient")
    if harvests(config):
        _check_harvest(data)
    _try_forward(model.to(hardware.device), data, hardware)
    records = _epochs(model, data, config, hardware, run, every, captured)
    return records if log is None else _logged(records, log)


def _logged(
    records: Generator[EpochRecord | StepRecord], log: Callable[..., object]
) -> Generator[EpochRecord | StepRecord]:
    with contextlib.closing(records):  # stopping this one stops the training at once
        for record in records:
            log(record)
            yield record


def _epochs(
    model: nn.Module,
    data: ImageData,
    config: TrainingConfig,
    hardware: Hardware,
    run: EpochStore | None,
    every: int | None,
    captured: bool,
) -> Generator[EpochRecord | StepRecord]:
    in_layout(model, hardware.layout)
    settings = TrainingConfig(**config.to_dict())  # what is read once stays as it was
    split = _on_device(data.train, hardware.device)
    state = _start(model, data, settings, hardware.device, captured=captured)
    if run is not None:
        run.resume(model, state, data, settings)
    n, batch_size = len(split), settings.batch_size
    slice_size = _slice_size(model, data, hardware)
    steps_per_epoch = -(-n // batch_size)
    if captured and (slice_size < batch_size or split.images.device.type == "cpu"):
        raise ValueError(
            f"captured=True needs a data set and batches that fit into the GPU's memory: {slice_size} images of "
            f"{batch_size} would; use a smaller batch_size, fewer images, or captured=False"
        )
    generator = torch.Generator(hardware.device)
    setting = StepSetting(settings, data.n_pixels, hardware, generator, split.black, slice_size)
    with retained_memory(hardware.device), kept_modes(model):
        for epoch in range(state.epoch + 1, settings.epochs + 1):
            seed = derived_seed(settings.seed, epoch)
            stream = RandomStream(seed, hardware.device)
            generator.manual_seed(seed)
            permutation = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
            # Harvested saliency changes with the first epoch what a step does: each epoch has its own recording.
            visit: Callable[[Tensor, LiveValues], Tensor] = functools.partial(
                _visit, model, split, state, setting, first=epoch == 1
            )
            if captured:
                record_step = cuda_graph(hardware.device, generator)
                visit = CapturedStep(visit, batch_size, hardware.device, record_step)
            meter = _Meter(steps_per_epoch, hardware.device)
            for i, ids in enumerate(permutation.to(split.images.device).split(batch_size)):
                _read_live_values(config, state, epoch)
                model.train()
                with meter.timed(len(ids)), stream:
                    meter.losses[i] = visit(ids, state.live)
                    state.step += 1
                    due = every is not None and state.step % every == 0
                    look = hardware.device.type == "cpu" and state.step % _CHECK_EVERY == 0
                    if due or look or i + 1 == steps_per_epoch:
                        meter.check_finite(i + 1, epoch, state)
                if due:
                    yield meter.step_record(epoch, state, i + 1)
            if not torch.stack([weight.isfinite().all() for weight in model.parameters()]).all():
                raise TrainingError(
                    f"the weights are not finite after the last step of epoch {epoch}. {_advice(state.live)}"
                )
            with stream:
                test_accuracy = accuracy(model, data.test, hardware=hardware)
            state.epoch = epoch
            record = meter.epoch_record(state, test_accuracy)
            if run is not None:
                run.write_epoch(record, model, state)
            yield record
        if run is not None:
            run.finish()


def _visit(
    model: nn.Module,
    split: Split,
    state: TrainingState,
    setting: StepSetting,
    ids: Tensor,
    live: LiveValues,
    *,
    first: bool,
) -> Tensor:
    """One step on the images ``ids``; what it moves goes into the state, its losses are given back.

    ``first``: these images were never visited before, so no saliency was harvested from them.
    """
    images, labels = split.batch(ids, setting.hardware)
    ids = ids.to(state.k.device)
    last = None if state.saliency is None or first else state.saliency[ids]
    result = training_step(model, state.optimizer, images, labels, state.k[ids], live, setting, last)
    state.k[ids], state.delta[ids] = result.k, result.delta
    if state.saliency is not None and result.saliency is not None:
        state.saliency[ids] = result.saliency.to(state.saliency.dtype)
    return result.losses


def training_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    k: Tensor,
    live: LiveValues,
    setting: StepSetting,
    last_saliency: Tensor | None = None,
) -> StepResult:
    """One step of Algorithm 1 (SGT) or 2 (SMOOT), or of traditional training, on one batch.

    ``images`` are normalised ``(B, C, H, W)``; ``k`` is ``(B,)`` in pixels. Where the batch does not fit into memory,
    it goes through the model in slices whose gradients add up to the batch's (BatchNorm then sees the slices).
    ``last_saliency``, ``(B, H, W)`` from the images' last visit, ranks the pixels of harvested saliency; None
    computes the ranking as "shared" does.
    """
    harvested = harvests(setting.config)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer.zero_grad(set_to_none=True)
    results = []
    size = setting.slice_size or len(images)
    for rows in (slice(start, start + size) for start in range(0, len(images), size)):
        clean = images[rows].detach()
        last = None if last_saliency is None else last_saliency[rows]
        loss, result = batch_loss(model, clean, labels[rows], k[rows], live, setting, last)
        # Naming the weights spares the gradient with respect to the images, where they require one.
        wanted = [*weights, clean] if harvested else weights
        torch.autograd.backward(loss * (len(result.k) / len(images)), inputs=wanted)
        if harvested:
            result = result._replace(saliency=loss_saliency(clean, signed=setting.config.signed))
        results.append(result)
    optimizer.step()  # (7)
    if len(results) == 1:
        return results[0]
    shares = torch.tensor([len(r.k) / len(images) for r in results], device=k.device)
    losses = shares @ torch.stack([r.losses for r in results])
    maps = [r.saliency for r in results if r.saliency is not None]
    return StepResult(
        losses,
        torch.cat([r.k for r in results]),
        torch.cat([r.delta for r in results]),
        torch.cat(maps) if maps else None,
    )


@torch.no_grad()
def accuracy(model: nn.Module, split: Split, *, hardware: Hardware | None = None) -> float:
    """Share of the images whose most probable class is the label, in per cent, in eval mode."""
    hardware = hardware or hardware_of(model)
    split = _on_device(split, hardware.device)
    right = torch.zeros((), device=hardware.device)
    with kept_modes(model), hardware.autocast():
        model.eval()
        for ids in torch.arange(len(split), device=split.images.device).split(512):
            images, labels = split.batch(ids, hardware)
            right += (model(images).argmax(1) == labels).sum()
    return 100 * right.item() / len(split)


class _Meter:
    """Losses and time of one epoch. Losses stay on the device until somebody asks."""

    def __init__(self, steps_per_epoch: int, device: torch.device) -> None:
        self.losses = torch.zeros(steps_per_epoch, 4, device=device)
        self.device = device
        self.reported = 0  # steps that a StepRecord has told of
        self.images = self.new_images = 0
        self.seconds = self.new_seconds = 0.0
        self.sizes: list[int] = []

    def timed(self, n_images: int) -> _Meter:
        self.sizes.append(n_images)
        self.images += n_images
        self.new_images += n_images
        return self

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        seconds = time.perf_counter() - self.started
        self.seconds += seconds
        self.new_seconds += seconds

    def check_finite(self, steps: int, epoch: int, state: TrainingState) -> None:
        """Raise `TrainingError` at the first step of the epoch whose loss is not finite."""
        bad = ~self.losses[:steps, 0].isfinite()
        if bad.any():
            first = int(bad.nonzero()[0])
            raise TrainingError(
                f"the loss is not finite (epoch {epoch}, step {state.step - steps + first + 1}: "
                f"{self.losses[first, 0].item():g}). {_advice(state.live)}"
            )

    def step_record(self, epoch: int, state: TrainingState, steps: int) -> StepRecord:
        loss, cross_entropy, kl, _ = self.losses[self.reported : steps].mean(0).tolist()
        record = StepRecord(
            epoch, state.step, steps, len(self.losses), loss, cross_entropy, kl,
            state.k.cpu().numpy().copy(), self.new_images / self.new_seconds, state.new_changes(),
        )  # fmt: skip
        self.reported, self.new_images, self.new_seconds = steps, 0, 0.0
        return record

    def epoch_record(self, state: TrainingState, test_accuracy: float) -> EpochRecord:
        share = torch.tensor(self.sizes, device=self.device) / self.images  # the last batch may be smaller
        loss, cross_entropy, kl, right = (share @ self.losses).tolist()
        return EpochRecord(
            state.epoch, state.step, loss, cross_entropy, kl, 100 * right, test_accuracy,
            state.k.cpu().numpy().copy(), state.delta.cpu().numpy().copy(),
            self.seconds, self.images / self.seconds, state.new_changes(),
        )  # fmt: skip


def _advice(live: LiveValues) -> str:
    return (
        f"Try a smaller learning_rate (now {live.learning_rate:g}) or kl_weight (now {live.kl_weight:g}), or "
        "precision='float32'; a run folder still holds the last good epoch"
    )


def _start(
    model: nn.Module, data: ImageData, config: TrainingConfig, device: torch.device, *, captured: bool
) -> TrainingState:
    k_init = 0.0 if config.method == "traditional" else config.k_init * data.n_pixels
    k = torch.full((len(data.train),), k_init, device=device)
    optimizer = _optimizer(model, config, device if captured else None)
    state = TrainingState(optimizer, k, torch.full_like(k, torch.nan), config.live_values())
    if harvests(config):
        shape = (len(data.train), *data.image_shape[1:])
        state.saliency = torch.zeros(shape, dtype=torch.bfloat16, device=device)
    return state


def _check_harvest(data: ImageData) -> None:
    n, (_, height, width) = len(data.train), data.image_shape
    if 2 * n * height * width > _HARVEST_LIMIT:
        raise ValueError(
            f"harvested saliency keeps a map for each of the {n:,} training images of {height}×{width} pixels, "
            f"{2 * n * height * width / 2**30:.1f} GiB; use saliency_pass='shared', fewer or smaller images"
        )


def _optimizer(
    model: nn.Module, config: TrainingConfig, captured_on: torch.device | None = None
) -> torch.optim.Optimizer:
    """The optimiser; for a captured step with its learning rate in a tensor on the device."""
    make = {
        "adadelta": torch.optim.Adadelta,
        "sgd": torch.optim.SGD,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }[config.optimizer]
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if captured_on is None:
        return make(weights, lr=config.learning_rate)
    learning_rate = torch.tensor(config.learning_rate, device=captured_on)
    return make(
        weights, lr=learning_rate, **({"fused": True} if config.optimizer == "sgd" else {"capturable": True})
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set it for all weights, in place where it is a tensor that a captured step reads."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(learning_rate)
        else:
            group["lr"] = learning_rate


def _read_live_values(config: TrainingConfig, state: TrainingState, epoch: int) -> None:
    """Take over what the caller has moved since the last step, and note it."""
    live = config.live_values()
    if live.k_min > live.k_max:
        live = live._replace(k_min=state.live.k_min, k_max=state.live.k_max)
    if live == state.live:
        return
    for name, old, new in zip(live._fields, state.live, live, strict=True):
        if old != new:
            state.changes.append(Change(state.step + 1, epoch, name, old, new))
    set_learning_rate(state.optimizer, live.learning_rate)
    state.live = live


def _on_device(split: Split, device: torch.device) -> Split:
    """The split on the device; on a GPU its images only when they take at most half of the free memory."""
    images = split.images
    if device.type != "cuda" or images.nbytes <= torch.cuda.mem_get_info(device)[0] / 2:
        images = images.to(device)
    moved = {name: getattr(split, name).to(device) for name in ("labels", "mean", "std")}
    return replace(split, images=images, **moved)


def _slice_size(model: nn.Module, data: ImageData, hardware: Hardware) -> int:
    """How many images may go through the model at once: clean and masked pass are both kept for the way back."""
    budget = _CPU_MEMORY_BUDGET
    if hardware.device.type == "cuda":
        # Of the whole memory, not of what is free just now: the same run must get the same slices again.
        budget = torch.cuda.get_device_properties(hardware.device).total_memory // 4
    one, _ = data.train.batch(slice(1), hardware)
    with kept_modes(model), hardware.autocast():
        return max(1, budget // (2 * activation_bytes(model.eval(), one)))


@torch.no_grad()
def _try_forward(model: nn.Module, data: ImageData, hardware: Hardware) -> None:
    """Find a model that does not fit the data before training starts."""
    first, _ = data.train.batch(slice(2), hardware)
    try:
        with kept_modes(model), hardware.autocast():
            logits = model.eval()(first)
    except RuntimeError as error:
        raise ValueError(f"the model cannot take images of shape {data.image_shape}: {error}") from error
    check_logits(logits, len(first), data.n_classes)
