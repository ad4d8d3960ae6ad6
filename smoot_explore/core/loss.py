"""The loss of a guided step: equations (5) and (6), and what it tells of every image."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smoot_explore.compute.device import Hardware
from smoot_explore.core.adaptation import class_of_delta, update_k
from smoot_explore.core.config import LiveValues, TrainingConfig
from smoot_explore.core.masking import mask_pixels, rank_pixels
from smoot_explore.core.saliency import input_gradient

if TYPE_CHECKING:
    pass


class StepSetting(NamedTuple):
    """What all steps of an epoch share."""

    config: TrainingConfig
    n_pixels: int  # P
    hardware: Hardware
    generator: torch.Generator | None = None  # of the random fills
    black: Tensor | float = 0.0  # in the scale of the images
    slice_size: int | None = None  # images that may go through the model at once; None takes the batch whole


class StepResult(NamedTuple):
    """What one training step gives back, still on the device."""

    losses: Tensor  # (4,): loss, cross-entropy, KL, share of right predictions
    k: Tensor  # (B,)
    delta: Tensor  # (B,)
    saliency: Tensor | None = None  # (B, H, W) for the next visit; harvested only


def batch_loss(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    k: Tensor,
    live: LiveValues,
    setting: StepSetting,
    last_saliency: Tensor | None = None,
) -> tuple[Tensor, StepResult]:
    """The loss of equation (5), to go backward from, and what the step has to tell.

    One forward pass of the clean images serves both the loss and the saliency, unless
    ``saliency_pass="eval"``. ``images`` are made to require a gradient where their saliency is taken.
    """
    config, hardware, n_pixels = setting.config, setting.hardware, setting.n_pixels
    guided = config.method != "traditional"
    own_pass = config.saliency_pass == "eval"
    images.requires_grad_(guided and not own_pass)
    with hardware.autocast():
        logits = model(images).float()  # (B, n_classes)
    cross_entropy = F.cross_entropy(logits, labels)
    kl, loss = torch.full_like(cross_entropy, torch.nan), cross_entropy
    delta = torch.full_like(k, torch.nan)
    if guided:
        if last_saliency is not None:
            gradient = last_saliency
        elif own_pass:
            gradient = _eval_mode_gradient(model, images, labels, config.signed, hardware)
        else:
            gradient = input_gradient(logits, images, labels, signed=config.signed, retain_graph=True)
        ranks = rank_pixels(gradient, order="lowest")
        masked = mask_pixels(images.detach(), ranks, k, config.fill, setting.generator, black=setting.black)
        with hardware.autocast():
            masked_logits = model(masked).float()
        kl = kl_divergence(logits, masked_logits)
        loss = cross_entropy + live.kl_weight * kl  # (5)
        clean = logits.detach().softmax(1)
        update = update_k(
            k, clean, masked_logits.detach().softmax(1), class_of_delta(clean, labels, config.delta_class),
            alpha=live.alpha, beta=live.beta, top_n=config.top_n,
            k_min=live.k_min * n_pixels, k_max=live.k_max * n_pixels,
        )  # fmt: skip
        delta = update.delta
        k = update.k if config.method == "smoot" else k
    right = (logits.detach().argmax(1) == labels).float().mean()
    losses = torch.stack([loss.detach(), cross_entropy.detach(), kl.detach(), right])
    return loss, StepResult(losses, k, delta)


def loss_saliency(images: Tensor, *, signed: bool) -> Tensor:
    """Harvested saliency ``(N, H, W)``: minus the gradient of the loss that has come back to the images.

    Where a pixel's increase lowers the loss, it speaks for the label: the sign agrees with that of the label's
    logit. Unlike the logit's gradient, it also holds what speaks against the other classes.
    """
    if images.grad is None:
        raise ValueError(
            "the images hold no gradient; go backward from the loss with inputs=[…, images] first"
        )
    return (-images.grad if signed else images.grad.abs()).mean(1)


def kl_divergence(logits: Tensor, masked_logits: Tensor) -> Tensor:
    """KL(p(x) ‖ p(x̃)) of equation (6), mean over the batch, with gradients through both."""
    return F.kl_div(
        masked_logits.log_softmax(1), logits.log_softmax(1), log_target=True, reduction="batchmean"
    )


def harvests(config: TrainingConfig) -> bool:
    return config.saliency_pass == "harvested" and config.method != "traditional"


def _eval_mode_gradient(
    model: nn.Module, images: Tensor, labels: Tensor, signed: bool, hardware: Hardware
) -> Tensor:
    """The saliency by a forward pass of its own without dropout, as the SGT code has it."""
    model.eval()
    images = images.detach().requires_grad_()
    with hardware.autocast():
        logits = model(images).float()
    gradient = input_gradient(logits, images, labels, signed=signed)
    model.train()
    return gradient
