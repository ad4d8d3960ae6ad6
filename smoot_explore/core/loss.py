"""The loss of guided training: the one implementation of equations (1) to (6), and what it keeps of every image."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn

from smoot_explore.core.adaptation import class_of_delta, k_change
from smoot_explore.core.config import LiveValues, TrainingConfig
from smoot_explore.core.masking import check_fill, check_patch, mask_pixels, rank_pixels
from smoot_explore.core.models import (
    check_logits,
    check_no_probabilities,
    clean_statistics,
    is_compiled,
    kept_modes,
    no_checkpointed_statistics,
)
from smoot_explore.core.rules import KSettings, checked_k, k_rule, most_k, start_k
from smoot_explore.core.saliency import check_images, input_gradient


class LossResult(NamedTuple):
    """What a batch gives: the loss to go backward from, and the rest without gradients."""

    loss: Tensor  # () CE + λ·KL, equation (5)
    cross_entropy: Tensor  # ()
    kl: Tensor  # () before λ; NaN for traditional training
    k: Tensor  # (B,) for the next visit
    delta: Tensor  # (B,) Δ of equation (3); NaN for traditional training
    probability: Tensor  # (B,) of the label, clean image
    correct: Tensor  # (B,) bool: the most probable class of the clean image is the label
    saliency: Tensor | None  # (B, H, W) that ranked the pixels; None for traditional training


class GuidedLoss(nn.Module):
    """The loss of traditional, SGT or SMOOT training around a model, with k and Δ of every training image.

    A call takes a batch through saliency, ranking, masking, the clean and the masked pass, CE + λ·KL, and moves
    k of its images without gradient. Go backward from ``loss`` of what it gives; the rest of the loop is yours.
    The loss has the model's parameters, and k, Δ, … as buffers: ``state_dict`` keeps both.

    It works under ``torch.autocast``, with gradient clipping and accumulation, with a compiled model, and wrapped in
    ``DistributedDataParallel``, where one call is one step: wherever ``torch.distributed`` is initialised, all
    processes must call it together, each with images of its own, and hold the same k afterwards.
    In eval mode nothing is moved.

    Parameters
    ----------
    model
        Maps normalised images ``(B, C, H, W)`` to logits ``(B, n_classes)``; it may be compiled. It runs in the
        mode that it is in.
    config
        `TrainingConfig`; the default ones when None. The settings in `LiveValues` are read anew at each call.
        What concerns a loop is not used: ``epochs``, ``batch_size``, ``optimizer``, ``learning_rate``, ``schedule``,
        ``warm_up``, ``momentum``, ``weight_decay``, ``gradient_limit``, ``precision``, ``device`` and ``seed``.
    n_images
        Number of training images: ids lie in 0 … n_images − 1.
    image_shape
        (C, H, W).
    black
        Value of black in the scale of the images, a number or ``(C,)``: ``data.black`` for normalised ones.
    class_weights
        ``(n_classes,)``: how much an image of each class counts in the cross-entropy. None: all 1; with the setting
        ``class_weights="balanced"`` they must be given.
    generator
        Source of the random fills, on the images' device; None is PyTorch's global one.

    Raises
    ------
    ValueError
        For settings that do not go together, also at a call: k_min above k_max.

    Attributes
    ----------
    k, delta, probability
        float32 ``(n_images,)``: k in pixels (or patches) for the next visit; Δ and the label's probability
        at the last visit, NaN before the first.
    correct
        bool ``(n_images,)``: whether the image was recognised at its last visit.
    visits
        int64 ``(n_images,)``: how often each image was visited.
    all_visited
        With ``saliency_pass="harvested"``: True spares the gradient that images need at their first visit. None, the
        default, looks at ``visits`` on a CPU; elsewhere, where looking would wait for the device, it takes the gradient
        always. Set it to True once every image has been visited.

    Examples
    --------
    >>> from smoot_explore import load_data
    >>> split = load_data("shapes", train=12, test=6).train
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 6))
    >>> loss = GuidedLoss(model, n_images=12, image_shape=split.image_shape, black=split.black)
    >>> out = loss(split.normalize(), split.labels, torch.arange(12))
    >>> out.loss.backward()
    >>> out.k.shape, bool((loss.k == out.k).all()), loss.visits.tolist() == [1] * 12
    (torch.Size([12]), True, True)
    """

    k: Tensor
    delta: Tensor
    probability: Tensor
    correct: Tensor
    visits: Tensor
    black: Tensor
    maps: Tensor | None  # (n_images, H, W) bfloat16, from each image's last visit; harvested saliency only
    class_weights: Tensor | None

    def __init__(
        self,
        model: nn.Module,
        config: TrainingConfig | None = None,
        *,
        n_images: int,
        image_shape: tuple[int, int, int],
        black: Tensor | float = 0.0,
        class_weights: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.config = config = TrainingConfig() if config is None else config
        config.check()
        if config.class_weights == "balanced" and class_weights is None:
            raise ValueError(
                "class_weights='balanced' depends on the training labels: give GuidedLoss the weights of the classes, "
                "class_weights=n / (n_classes * labels.bincount(minlength=n_classes))"
            )
        check_fill(config.fill)
        self.generator = generator
        self.live: LiveValues | None = (
            None  # in place of the config's, for a loop that decides when they change
        )
        self.sizes: list[int] | None = None  # images of each process in the next call; None asks them
        self.all_visited: bool | None = None  # for a loop that knows; else looked up where that needs no wait
        # Ids and maps that the other processes do not have yet, with their sizes.
        self._harvested: list[tuple[Tensor, Tensor, list[int] | None]] = []
        self._move = k_rule(config.k_rule) if config.method == "smoot" else None
        self._checked = False
        self.image_shape = _, height, width = tuple(image_shape)
        check_patch(config.patch, height, width)
        self.n_pixels = most_k(config.to_dict(), height * width)  # or patches
        device = next((weights.device for weights in model.parameters()), None)
        k_start = start_k(config.to_dict(), self.n_pixels)

        def constant(value: float, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.full((n_images,), value, dtype=dtype, device=device)

        self.register_buffer("k", constant(k_start))
        self.register_buffer("delta", constant(torch.nan))
        self.register_buffer("probability", constant(torch.nan))
        self.register_buffer("correct", constant(False, torch.bool))
        self.register_buffer("visits", constant(0, torch.int64))
        maps = torch.zeros(n_images, height, width, dtype=torch.bfloat16, device=device)
        self.register_buffer("maps", maps if harvests(config) else None)
        self.register_buffer("black", torch.as_tensor(black, device=device), persistent=False)
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, images: Tensor, labels: Tensor, ids: Tensor) -> LossResult:
        """The loss of a batch; moves k, Δ, … of its images.

        Parameters
        ----------
        images
            Normalised ``(B, C, H, W)``.
        labels
            int64 ``(B,)``.
        ids
            int64 ``(B,)``, different ones: the positions of the images among the ``n_images``.
        """
        config, model = self.config, self.model
        if self.live is None:
            config.check()  # the bounds on k may have been moved past each other
        live = config.live_values() if self.live is None else self.live
        guided = config.method != "traditional"
        own_pass = config.saliency_pass == "eval"
        self.share_maps()
        if not self._checked:
            self._check(images, labels, ids)
        images = images.detach().requires_grad_(guided and not own_pass)
        with _kept_for_two_passes(model):
            look = guided and not self._checked and config.batch_norm == "clean" and not is_compiled(model)
            with no_checkpointed_statistics(model) if look else contextlib.nullcontext():
                logits = model(images)
            if not self._checked:
                check_logits(logits, len(images))
                if not logits.is_meta:
                    check_no_probabilities(logits)
                self._checked = True
            logits = logits.float()  # (B, n_classes)
            saliency = self._saliency(logits, images, labels, ids) if guided else None
        cross_entropy = self._cross_entropy(logits, labels)
        loss, kl = cross_entropy, torch.full_like(cross_entropy, torch.nan)
        clean = logits.detach().softmax(1)
        k = self.k[ids]
        delta = torch.full_like(k, torch.nan)
        if saliency is not None:
            ranks = rank_pixels(saliency, order="lowest", patch=config.patch)
            masked = mask_pixels(images.detach(), ranks, k, config.fill, self.generator, black=self.black)
            recording = contextlib.nullcontext() if config.batch_norm == "both" else clean_statistics(model)
            # Under autocast the passes would share weights in bfloat16, and their gradients would add up in it.
            torch.clear_autocast_cache()
            with recording:
                masked_logits = model(masked).float()
            kl = kl_divergence(logits, masked_logits)
            loss = cross_entropy + live.kl_weight * kl  # (5)
            change = k_change(
                clean, masked_logits.detach().softmax(1), class_of_delta(clean, labels, config.delta_class),
                beta=live.beta, top_n=config.top_n,
            )  # fmt: skip
            delta = change.delta
            if self._move is not None:
                n = self.n_pixels
                bounds = KSettings(live.alpha, live.k_min * n, live.k_max * n, n)
                k = self._move(k, change, labels, self.visits[ids] + 1, bounds)
                if config.k_rule != "smoot":
                    k = checked_k(k, self.k[ids], config.k_rule, n)
        probability = clean.gather(1, labels.unsqueeze(1)).squeeze(1)
        correct = clean.argmax(1) == labels
        if self.training:
            self._keep(ids, k, delta, probability, correct)
            if self.maps is not None:
                self._harvest(images, ids)
        return LossResult(loss, cross_entropy.detach(), kl.detach(), k, delta, probability, correct, saliency)

    def _saliency(self, logits: Tensor, images: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
        """What ranks the pixels, ``(B, H, W)``."""
        signed = self.config.signed
        if self.config.saliency_pass == "eval":  # a pass of its own without dropout, as the SGT code has it
            images = images.detach().requires_grad_()
            with kept_modes(self.model):
                self.model.eval()
                return input_gradient(self.model(images).float(), images, labels, signed=signed)
        if self.maps is not None and self._visited(ids):
            return self.maps[ids].float()
        gradient = input_gradient(logits, images, labels, signed=signed, retain_graph=True)
        if self.maps is None:
            return gradient
        new = (self.visits[ids] == 0).view(-1, 1, 1)
        return torch.where(new, gradient, self.maps[ids])

    def _visited(self, ids: Tensor) -> bool:
        """Whether all these images are known to have been visited before."""
        if self.all_visited is None:
            return ids.device.type == "cpu" and bool((self.visits[ids] > 0).all())
        return self.all_visited

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        smoothing = self.config.label_smoothing
        if self.class_weights is None:
            return F.cross_entropy(logits, labels, label_smoothing=smoothing)
        # A plain mean, so that the parts of a batch add up to it, in slices or on several devices.
        weights = self.class_weights
        return F.cross_entropy(logits, labels, weights, reduction="none", label_smoothing=smoothing).mean()

    @torch.no_grad()
    def _keep(self, ids: Tensor, k: Tensor, delta: Tensor, probability: Tensor, correct: Tensor) -> None:
        values = torch.stack([k, delta, probability, correct.float()])
        if _in_parallel():
            # float64 holds both ids and float32 as they are.
            own = torch.cat([ids.double().unsqueeze(0), values.double()])
            everyones = _of_all_processes(own, self.sizes)
            ids, values = everyones[0].long(), everyones[1:].float()
        self.k[ids], self.delta[ids], self.probability[ids] = values[:3].unbind()
        self.correct[ids] = values[3] > 0
        self.visits[ids] += 1

    def _harvest(self, images: Tensor, ids: Tensor) -> None:
        """Keep, on the way back, minus the gradient of the loss at the images.

        Where a pixel's increase lowers the loss, it speaks for the label: the sign agrees with that of the label's
        logit. Unlike the logit's gradient, it also holds what speaks against the other classes.
        """

        sizes = self.sizes

        def keep(gradient: Tensor) -> None:
            if self.maps is not None:
                one = -gradient if self.config.signed else gradient.abs()
                self.maps[ids] = new = one.mean(1).to(self.maps.dtype)
                if _in_parallel():
                    self._harvested.append((ids, new, sizes))

        images.register_hook(keep)

    @torch.no_grad()
    def share_maps(self) -> None:
        """Let the processes of a training tell each other the saliency that they have harvested since the last call.

        The next call does it too, before anything else.
        """
        # Not read from the buffer: DistributedDataParallel has put the first process's in its place.
        for ids, maps, sizes in self._harvested:
            everyones = _of_all_processes(maps.flatten(1).T, sizes)
            ids = _of_all_processes(ids.unsqueeze(0), sizes)[0]
            if self.maps is not None:
                self.maps[ids] = everyones.T.unflatten(1, self.maps.shape[1:])
        self._harvested.clear()

    def _check(self, images: Tensor, labels: Tensor, ids: Tensor) -> None:
        """Raise a clear error for a first batch that cannot be what it should."""
        check_images(images, labels)
        if (shape := tuple(images.shape[1:])) != self.image_shape:
            raise ValueError(
                f"the images have the shape (C, H, W) {shape}, but image_shape is {self.image_shape}, whose pixels "
                "k counts: give the shape of the images"
            )
        if labels.dtype != torch.int64 or ids.dtype != torch.int64 or ids.shape != labels.shape:
            raise TypeError(
                "labels and ids must be int64 (B,): the class of each image, and its position among the n_images; "
                f"given {labels.dtype} {tuple(labels.shape)} and {ids.dtype} {tuple(ids.shape)}. Targets that are "
                "no single class (regression, several labels) have no p_y to follow"
            )
        if ids.device.type == "cpu" and not ((ids >= 0) & (ids < len(self.k))).all():
            raise ValueError(f"ids must lie in 0 … {len(self.k) - 1}, given {ids.min()} to {ids.max()}")
        if ids.device.type == "cpu" and len(ids.unique()) < len(ids):
            raise ValueError("a batch holds an image twice: ids must be different, for k of each moves once")
        if not torch.is_grad_enabled() and self.config.method != "traditional":
            raise RuntimeError("GuidedLoss takes gradients: call it outside torch.no_grad()")


def kl_divergence(logits: Tensor, masked_logits: Tensor) -> Tensor:
    """KL(p(x) ‖ p(x̃)) of equation (6), mean over the batch, with gradients through both."""
    return F.kl_div(
        masked_logits.log_softmax(1), logits.log_softmax(1), log_target=True, reduction="batchmean"
    )


def harvests(config: TrainingConfig) -> bool:
    return config.saliency_pass == "harvested" and config.method != "traditional"


def _kept_for_two_passes(model: nn.Module) -> contextlib.AbstractContextManager:
    """A compiled model's graph is gone through twice, for saliency and loss: it must not give its memory away."""
    if not is_compiled(model):
        return contextlib.nullcontext()
    import torch._functorch.config

    return torch._functorch.config.patch(donated_buffer=False)


def _in_parallel() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _of_all_processes(own: Tensor, sizes: list[int] | None) -> Tensor:
    """Values ``(n, images)`` of all processes of a distributed training, one after the other.

    ``sizes`` says how many of the images count in each process; None asks them, all of each.
    """
    rank, count = torch.distributed.get_rank(), torch.distributed.get_world_size()
    if sizes is None:
        lengths = own.new_zeros(count, dtype=torch.int64)
        lengths[rank] = own.shape[1]
        torch.distributed.all_reduce(lengths)
        sizes = lengths.tolist()
    padded = own.new_zeros(len(own), max(sizes))
    padded[:, : sizes[rank]] = own[:, : sizes[rank]]
    everyones = [torch.empty_like(padded) for _ in sizes]
    torch.distributed.all_gather(everyones, padded)
    return torch.cat([one[:, :size] for one, size in zip(everyones, sizes, strict=True)], 1)
