"""Traditional, SGT and SMOOT training: one loop, as a generator of records."""

from __future__ import annotations

import contextlib
import copy
import functools
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from smoot_explore.compute.device import Hardware, choose_hardware, hardware_of, in_layout
from smoot_explore.compute.memory import retained_memory
from smoot_explore.compute.randomness import OwnDraws, can_go_apart, derived_seed
from smoot_explore.compute.ranks import Ranks, join_ranks, split_sizes
from smoot_explore.core.augment import Augment, augment_name
from smoot_explore.core.config import LiveValues, TrainingConfig
from smoot_explore.core.cuda_graph import CapturedStep, cuda_graph
from smoot_explore.core.loss import GuidedLoss, harvests
from smoot_explore.core.masking import check_fill, check_patch
from smoot_explore.core.meeting import Meeting
from smoot_explore.core.models import (
    activation_bytes,
    check_logits,
    check_no_probabilities,
    is_compiled,
    kept_modes,
    set_modes,
    training_modes,
)
from smoot_explore.core.pace import pace
from smoot_explore.core.records import (
    Change,
    EpochRecord,
    EpochStore,
    StepRecord,
    TrainingError,
    TrainingState,
)
from smoot_explore.core.rules import k_rule
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
    augment: Augment | None = None,
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
    augment: Augment | None = None,
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
    augment: Augment | None = None,
    log: Callable[..., object] | None = None,
    captured: bool = False,
) -> Iterator[EpochRecord] | Iterator[EpochRecord | StepRecord]:
    """Train the model; a generator that yields a record after each epoch.

    Nothing happens until a record is asked for. Not asking for the next one pauses training; closing the
    generator stops it. Between two records the model may be looked at, and `LiveValues` of ``config`` may
    be set: they take effect at the next step and are kept in the record. (While k_min is above k_max, as
    when one is set before the other, the last bounds in order stay in force.)

    The same seed gives the same numbers on the same CPU with the same number of threads, also where other threads draw
    random numbers (`OwnDraws` says in which models these must wait). To know how the model draws, a copy of it takes
    one step with two images first. Layers that are in eval mode, to freeze their statistics, stay in it,
    unless the whole model is. A last batch of one image joins the batch before it, because BatchNorm cannot
    normalise one image.

    Started by ``torchrun``, or where ``torch.distributed`` is initialised, all processes train one model together:
    each computes its part of every batch, and all yield the same records, but for the times. The first decides on live
    values, and it alone writes the run. See docs/scaling.md.

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
    augment
        Takes the normalised images of a batch ``(B, C, H, W)`` on the device and gives others of that shape, such as
        a ``torchvision.transforms.v2`` transform, which treats all images of a batch alike. k counts pixels of
        what it gives. What it draws from PyTorch are the training's numbers. None trains on the images as they are. A
        run records its name, and goes on with the same alone. Not with ``saliency_pass="harvested"``.
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
        At the call, for settings, a model or data that do not go together; at the first record, where several
        processes were given different ones.
    TrainingError
        When the loss is no longer finite, or another process of the training has ended.
    """
    if every is not None and every < 1:
        raise ValueError(f"every must be at least 1 step, or None for epochs alone; given {every}")
    ranks = join_ranks()
    hardware = choose_hardware(config.device, config.precision)
    if ranks.count > 1:
        _check_together(ranks, config, hardware, captured)
    if captured and hardware.device.type != "cuda":
        raise ValueError(
            f"captured=True needs a CUDA GPU, and training would run on {hardware.device}; leave it out"
        )
    if not any(weights.requires_grad for weights in model.parameters()):
        raise ValueError("the model has no weights to train: none of its parameters requires a gradient")
    check_settings(config, data)
    if harvests(config) and augment is not None:
        raise ValueError(
            "saliency_pass='harvested' ranks the pixels by the gradient of an image's last visit, and augment= "
            "makes another image of it at each visit; use saliency_pass='shared' or leave augment out"
        )
    # Before the model is called: torch.compile would take the first layout for good.
    check_fits(in_layout(model.to(hardware.device), hardware.layout), data, hardware)
    records = _epochs(model, data, config, hardware, ranks, run, every, augment, captured)
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
    ranks: Ranks,
    run: EpochStore | None,
    every: int | None,
    augment: Augment | None,
    captured: bool,
) -> Generator[EpochRecord | StepRecord]:
    settings = TrainingConfig(**config.to_dict())  # what is read once stays as it was
    split = _on_device(data.train, hardware.device)
    state = _start(model, data, settings, hardware.device, captured=captured)
    loss = state.loss
    # Once all have told, the first has made the run that the others read.
    slice_size = _slice_size(model, data, hardware)
    if ranks.count > 1:
        slice_size = _common(
            ranks, slice_size, settings, hardware,
            {"every": every, "augment": augment_name(augment), "run given": run is not None, "data": data.fingerprint},
        )  # fmt: skip
    if run is not None:
        run.resume(model, state, data, settings, augment_name(augment))
    loss.visits.fill_(state.epoch)
    parallel = None if ranks.count == 1 else DistributedDataParallel(loss, broadcast_buffers=False)
    n, batch_size = len(split), settings.batch_size
    steps_per_epoch = count_steps(n, batch_size)
    if captured and (slice_size < batch_size or split.images.device.type == "cpu"):
        raise ValueError(
            f"captured=True needs a data set and batches that fit into the GPU's memory: {slice_size} images of "
            f"{batch_size} would; use a smaller batch_size, fewer images, or captured=False"
        )
    generator = loss.generator = torch.Generator(hardware.device)  # of the random fills
    modes = training_modes(model)
    with Meeting(ranks) as meeting, retained_memory(hardware.device), kept_modes(model):
        set_modes(modes)
        draws = OwnDraws(hardware.device, apart=_goes_apart(model, data, settings, hardware))
        augmented = None if augment is None else draws.lent_to(augment)
        for epoch in range(state.epoch + 1, settings.epochs + 1):
            seed = derived_seed(settings.seed, epoch)
            own_seed = seed if ranks.count == 1 else derived_seed(seed, ranks.rank)
            draws.start(own_seed)
            generator.manual_seed(own_seed)
            permutation = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
            loss.all_visited = epoch > 1
            # Harvested saliency changes with the first epoch what a step does: each epoch has its own recording.
            visit: Callable[[Tensor, LiveValues], Tensor] = functools.partial(
                _visit, loss, state.optimizer, split, hardware, ranks, slice_size, augmented, parallel
            )
            if captured:
                record_step = cuda_graph(hardware.device, generator)
                visit = CapturedStep(visit, batch_size, hardware.device, record_step)
            meter = _Meter(steps_per_epoch, hardware.device, ranks)
            for i, ids in enumerate(batches(permutation.to(split.images.device), batch_size)):
                live = meeting.agree(config.live_values())
                if live is None:
                    return
                _take_live_values(live, state, epoch)
                share = pace(settings, epoch - 1 + i / steps_per_epoch)
                set_learning_rate(state.optimizer, share * state.live.learning_rate)
                set_modes(modes)
                with meter.timed(len(ids)), draws:
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
            ranks.follow_first(
                list(model.buffers())
            )  # what BatchNorm has recorded: each has seen other images
            with draws:
                right = _count_right(model, data.test, hardware, ranks)
                test_accuracy = 100 * ranks.add(right).item() / len(data.test)
            state.epoch = epoch
            record = meter.epoch_record(state, test_accuracy)
            if run is not None and ranks.rank == 0:
                run.write_epoch(record, model, state)
            yield record
        if meeting.agree(config.live_values()) is not None and run is not None and ranks.rank == 0:
            run.finish()


def _check_together(ranks: Ranks, config: TrainingConfig, hardware: Hardware, captured: bool) -> None:
    """Raise ``ValueError`` for what several processes cannot do together."""
    if captured:
        raise ValueError("captured=True is for one process; leave it out where several train together")
    if hardware.device.type == "mps":
        raise ValueError("several processes train together on CUDA GPUs or CPUs; use device='cpu'")
    if config.batch_size < 2 * ranks.count:
        raise ValueError(
            f"batch_size counts the images of all processes, and each needs two or more: {config.batch_size} are too "
            f"few for {ranks.count} processes; use batch_size={2 * ranks.count} or more, or fewer processes"
        )


def _common(
    ranks: Ranks, slice_size: int, config: TrainingConfig, hardware: Hardware, common: dict[str, Any]
) -> int:
    """The smallest slice size of all processes, once they have been found to train the same."""
    own = {**config.to_dict(), "device": hardware.device.type, "precision": str(hardware.dtype), **common}
    for name in LiveValues._fields:
        del own[name]  # the first process decides on them
    everyones = ranks.told((slice_size, own))
    for rank, (_, settings) in enumerate(everyones):
        for name, value in everyones[0][1].items():
            if settings[name] != value:
                raise ValueError(
                    f"the processes must train the same: {name} is {value!r} in process 0 and {settings[name]!r} in "
                    f"process {rank}; give all the same settings and data"
                )
    return min(size for size, _ in everyones)


def _visit(
    loss: GuidedLoss,
    optimizer: torch.optim.Optimizer,
    split: Split,
    hardware: Hardware,
    ranks: Ranks,
    slice_size: int,
    augment: Augment | None,
    parallel: DistributedDataParallel | None,
    ids: Tensor,
    live: LiveValues,
) -> Tensor:
    """One step on the images ``ids``; its losses are given back."""
    sizes, ids = ranks.sizes(len(ids)), ranks.part(ids)
    images, labels = split.batch(ids, hardware)
    if augment is not None:
        images = augment(images)
    loss.live = live
    return training_step(
        loss, optimizer, images, labels, ids.to(hardware.device), hardware, slice_size, parallel, sizes
    )


def training_step(
    loss: GuidedLoss,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    ids: Tensor,
    hardware: Hardware,
    slice_size: int | None = None,
    parallel: DistributedDataParallel | None = None,
    sizes: list[int] | None = None,
) -> Tensor:
    """One step of Algorithm 1 (SGT) or 2 (SMOOT), or of traditional training, on one batch.

    ``images`` are normalised ``(B, C, H, W)``; ``ids`` their places in ``loss``. Where more than ``slice_size`` of them
    do not fit into memory, they go through the model in slices whose gradients add up to the batch's (BatchNorm then
    sees the slices).

    ``parallel`` is ``loss`` in several processes, and the images are this one's part of a batch, as of `Ranks.part`;
    ``sizes`` says how many each process has. All get the gradients of the whole batch.

    Returns
    -------
    Tensor
        ``(4,)`` on the device: loss, cross-entropy, KL, share of right predictions; of several processes, what these
        images contribute to the batch's.
    """
    weights = [weight for weight in loss.model.parameters() if weight.requires_grad]
    # Naming the weights spares the gradient with respect to the images, unless it is harvested.
    wanted = None if harvests(loss.config) else weights
    optimizer.zero_grad(set_to_none=True)
    rank = 0 if parallel is None else torch.distributed.get_rank()
    sizes = sizes or [len(images)]
    n_slices = -(-max(sizes) // (slice_size or max(sizes)))  # in each process: they call the loss together
    parts = zip(*(whole.tensor_split(n_slices) for whole in (images, labels, ids)), strict=True)
    in_slices = zip(*(split_sizes(size, n_slices) for size in sizes), strict=True)
    losses = []
    for i, (part, in_slice) in enumerate(zip(parts, in_slices, strict=True)):
        share = in_slice[rank] / sum(sizes)
        call: nn.Module = loss
        context: contextlib.AbstractContextManager = contextlib.nullcontext()
        if parallel is not None:
            loss.sizes, call = list(in_slice), parallel
            if not len(part[0]):
                part = images[:2], labels[:2], ids[:2]  # as of `Ranks.part`
            if i + 1 < n_slices:
                context = parallel.no_sync()
        with context:
            with hardware.autocast():
                out = call(*part)
            # DistributedDataParallel divides by the number of processes, whose shares already add up to 1.
            torch.autograd.backward(out.loss * (share * len(sizes)), inputs=wanted)
        terms = [out.loss.detach(), out.cross_entropy, out.kl, out.correct.float().mean()]
        losses.append(torch.stack(terms) * share)
    loss.share_maps()
    if loss.config.gradient_limit:
        nn.utils.clip_grad_norm_(weights, loss.config.gradient_limit)
    optimizer.step()  # (7)
    return torch.stack(losses).sum(0)


@torch.no_grad()
def accuracy(model: nn.Module, split: Split, *, hardware: Hardware | None = None) -> float:
    """Share of the images whose most probable class is the label, in per cent, in eval mode."""
    right = _count_right(model, split, hardware or hardware_of(model), Ranks())
    return 100 * right.item() / len(split)


@torch.no_grad()
def _count_right(model: nn.Module, split: Split, hardware: Hardware, ranks: Ranks) -> Tensor:
    """How many images of this process's share are recognised, ``()`` on the device."""
    split = _on_device(split, hardware.device)
    right = torch.zeros((), device=hardware.device)
    with kept_modes(model), hardware.autocast():
        model.eval()
        own = torch.arange(len(split), device=split.images.device)[ranks.rank :: ranks.count]
        for ids in own.split(512) if len(own) else ():
            images, labels = split.batch(ids, hardware)
            right += (model(images).argmax(1) == labels).sum()
    return right


class _Meter:
    """Losses and time of one epoch. Losses stay on the device until somebody asks."""

    def __init__(self, steps_per_epoch: int, device: torch.device, ranks: Ranks) -> None:
        self.losses = torch.zeros(steps_per_epoch, 4, device=device)
        self.device = device
        self.ranks = ranks
        self.added = 0  # steps whose losses are those of all processes
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
        self.ranks.add(self.losses[self.added : steps])
        self.added = steps
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
            _copied(state.k), self.new_images / self.new_seconds, state.new_changes(),
        )  # fmt: skip
        self.reported, self.new_images, self.new_seconds = steps, 0, 0.0
        return record

    def epoch_record(self, state: TrainingState, test_accuracy: float) -> EpochRecord:
        share = torch.tensor(self.sizes, device=self.device) / self.images  # the last batch may be smaller
        train_loss, cross_entropy, kl, right = (share @ self.losses).tolist()
        loss = state.loss
        return EpochRecord(
            state.epoch, state.step, train_loss, cross_entropy, kl, 100 * right, test_accuracy,
            _copied(loss.k), _copied(loss.delta), _copied(loss.probability), _copied(loss.correct),
            self.seconds, self.images / self.seconds, state.new_changes(),
        )  # fmt: skip


def _copied(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy().copy()


def _advice(live: LiveValues) -> str:
    return (
        f"Try a smaller learning_rate (now {live.learning_rate:g}) or kl_weight (now {live.kl_weight:g}), or "
        "precision='float32'; a run folder still holds the last good epoch"
    )


def _start(
    model: nn.Module, data: ImageData, config: TrainingConfig, device: torch.device, *, captured: bool
) -> TrainingState:
    class_weights = None
    if config.class_weights == "balanced":
        counts = data.train.labels.bincount(minlength=data.n_classes)
        class_weights = (len(data.train) / (data.n_classes * counts.clamp(min=1))).to(device)
    loss = GuidedLoss(
        model, config, n_images=len(data.train), image_shape=data.image_shape, black=data.train.black,
        class_weights=class_weights, generator=torch.Generator(device),
    )  # fmt: skip
    optimizer = _optimizer(model, config, device if captured else None)
    return TrainingState(optimizer, loss, config.live_values())


def check_settings(config: TrainingConfig, data: ImageData) -> None:
    """Raise ``ValueError`` where settings do not go together, or not with the data."""
    config.check()
    k_rule(config.k_rule)  # raises for one that is not registered
    check_fill(config.fill)
    check_patch(config.patch, *data.image_shape[1:])
    if harvests(config):
        _check_harvest(data)


def _goes_apart(model: nn.Module, data: ImageData, config: TrainingConfig, hardware: Hardware) -> bool:
    """Whether a step's draws can go apart from PyTorch's global state; a copy of the model takes one to tell."""
    if hardware.device.type != "cpu" or is_compiled(model):
        return False

    def step() -> None:
        state = _start(copy.deepcopy(model), data, config, hardware.device, captured=False)
        images, labels = data.train.batch(slice(2), hardware)
        training_step(state.loss, state.optimizer, images, labels, torch.arange(len(images)), hardware)

    return can_go_apart(step)


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
    learning_rate: float | Tensor = config.learning_rate
    options: dict[str, Any] = {"weight_decay": config.weight_decay}
    if config.optimizer == "sgd":
        options["momentum"] = config.momentum
    if captured_on is not None:
        learning_rate = torch.tensor(config.learning_rate, device=captured_on)
        options["fused" if config.optimizer == "sgd" else "capturable"] = True
    return make(weights, lr=learning_rate, **options)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set it for all weights, in place where it is a tensor that a captured step reads."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(learning_rate)
        else:
            group["lr"] = learning_rate


def _take_live_values(live: LiveValues, state: TrainingState, epoch: int) -> None:
    """Take over what the caller has moved since the last step, and note it."""
    if live.k_min > live.k_max:
        live = live._replace(k_min=state.live.k_min, k_max=state.live.k_max)
    if live == state.live:
        return
    for name, old, new in zip(live._fields, state.live, live, strict=True):
        if old != new:
            state.changes.append(Change(state.step + 1, epoch, name, old, new))
    state.live = live


def count_steps(n_images: int, batch_size: int) -> int:
    """Steps of an epoch.

    Examples
    --------
    >>> count_steps(10, 5), count_steps(11, 5), count_steps(12, 5)
    (2, 2, 3)
    """
    return len(batches(torch.empty(n_images), batch_size))


def batches(ids: Tensor, batch_size: int) -> list[Tensor]:
    """The ids in batches; a last one of one image joins the batch before it."""
    parts = list(ids.split(batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1 < batch_size:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


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
def check_fits(model: nn.Module, data: ImageData, hardware: Hardware) -> None:
    """Raise ``ValueError`` or ``TypeError`` where the model gives no logits for the data."""
    first, _ = data.train.batch(slice(2), hardware)
    try:
        with kept_modes(model), hardware.autocast():
            logits = model.eval()(first)
    except RuntimeError as error:
        raise ValueError(f"the model cannot take images of shape {data.image_shape}: {error}") from error
    check_logits(logits, len(first), data.n_classes)
    check_no_probabilities(logits)
