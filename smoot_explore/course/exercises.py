"""Checks of the course's exercises: each takes an answer and says whether it is right, and why or what to try.

They compute the answer in their own, plain way, so a check never repeats what a learner should write.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from smoot_explore.core.config import TrainingConfig
from smoot_explore.core.landscape import simulate_k
from smoot_explore.core.saliency import untouched
from smoot_explore.course.verdicts import (
    Verdict,
    check,
    no_answer,
    not_yet,
    number,
    require,
    require_number,
    require_pair,
    returned,
)
from smoot_explore.data.images import ImageData


def _require_settings(answer: Any) -> None:
    require(isinstance(answer, TrainingConfig), "The answer should be a TrainingConfig.")


# 00_quickstart


@check
def pixels_at_start(answer: Any, config: TrainingConfig, data: ImageData) -> Verdict:
    """How many pixels of each image are masked in the first epoch."""
    _, height, width = data.image_shape
    hint = "k_init is a share of the pixels of one image. How many pixels does one image have?"
    require_number(answer, config.k_init * height * width, hint)
    return Verdict(True, f"k_init is a share: {config.k_init} of {data.n_pixels} pixels.")


@check
def images_masked_more(answer: Any, k: np.ndarray, start: float) -> Verdict:
    """How many images end with a larger k than they began with."""
    expected = sum(1 for value in k.tolist() if value > start)
    hint = "Compare the last record's k, one number for each image, with the start, and count."
    require_number(answer, expected, hint)
    return Verdict(True, f"The k of {expected} of {len(k)} images ended above {start:g}.")


@check
def keeps_every_k(answer: Any) -> Verdict:
    """Settings with which pixels are masked, but k never moves."""
    _require_settings(answer)
    require(answer.method != "traditional", "Traditional training masks nothing at all.")
    require(answer.k_init != 0, "With k_init = 0 no pixel is masked.")
    if answer.method == "sgt":
        return Verdict(True, "That is SGT: the same k for every image, for ever.")
    within = answer.k_min <= answer.k_init <= answer.k_max
    require(within and (answer.alpha == 0 or answer.k_min == answer.k_max),
            "Which of the three methods keeps k? Or which setting stops it?")  # fmt: skip
    return Verdict(True, "k cannot move.")


# 01_why_k_depends_on_the_image


def _probabilities(curves: xr.Dataset) -> list[list[float]]:
    """The label's probability by image and masked share."""
    return curves.probability.transpose("image", "masked_fraction").values.tolist()


def _percent_of_class_two(curves: xr.Dataset, tolerance: float) -> float:
    rows = _probabilities(curves)
    return 100 * sum(max(row[1:]) > row[0] + tolerance for row in rows) / len(rows)


@check
def share_of_class_two(answer: Any, curves: xr.Dataset, tolerance: float) -> Verdict:
    """The share of class II in per cent at a tolerance."""
    expected = _percent_of_class_two(curves, tolerance)
    hint = "image_class takes the tolerance as its second argument. The share is wanted in per cent."
    require_number(answer, expected, hint, 0.06)
    n = curves.sizes["image"]
    return Verdict(True, f"{expected:.1f} % of {n} images, at a tolerance of {tolerance:g}.")


@check
def class_two_rule(answer: Any) -> Verdict:
    """A function (probabilities, tolerance) → whether an image is of class II."""
    cases = [
        ([0.9, 0.5, 0.1], 0.01, False, "a curve that only falls"),
        ([0.5, 0.8, 0.1], 0.01, True, "a curve that rises first"),
        ([0.5, 0.4, 0.9], 0.01, True, "a peak at the very end"),
        ([0.5, 0.505, 0.1], 0.01, False, "a rise smaller than the tolerance"),
        ([0.5, 0.505, 0.1], 0.001, True, "the same rise with a smaller tolerance"),
        ([0.5, 0.5, 0.5], 0.0, False, "a curve that stays where it is"),
    ]
    answers = [returned(answer, (np.array(p), t), words, or_nothing=True) for p, t, _, words in cases]
    if all(found is None for found in answers):
        no_answer()
    for (probabilities, tolerance, expected, words), found in zip(cases, answers, strict=True):
        n = np.size(found)
        require(n == 1, f"One True or False is wanted for a curve, these are {n} values.")
        hint = (
            f"Try {words}: {probabilities} with tolerance {tolerance} is class {'II' if expected else 'I'}."
        )
        require(bool(found) == expected, hint)  # nothing returned counts as False
    return Verdict(True, "The highest point, m = 0 left out, is above the start by more than the tolerance.")


@check
def strongest_rise(answer: Any, curves: xr.Dataset) -> Verdict:
    """Position of the image whose probability rises most."""
    rows = _probabilities(curves)
    best = max(range(len(rows)), key=lambda i: max(rows[i]) - rows[i][0])
    hint = "For each image, take the highest probability minus the first one; then look for the largest."
    require_number(answer, best, hint)
    return Verdict(True, f"From {rows[best][0]:.2f} to {max(rows[best]):.2f}.")


@check
def fill_with_most_class_two(answer: Any, curves: xr.Dataset, tolerance: float = 0.01) -> Verdict:
    """The fill under which the most images are of class II."""
    shares = {f: _percent_of_class_two(curves.sel(fill=f), tolerance) for f in curves.fill.values.tolist()}
    require(isinstance(answer, str) and shares.get(answer) == max(shares.values()),
            f"One of: {', '.join(shares)}. Compute the share for each.")  # fmt: skip
    return Verdict(True, ", ".join(f"{fill} {share:.1f} %" for fill, share in shares.items()))


# 02_saliency_guided_training


@check
def lowest_pixels(answer: Any) -> Verdict:
    """A function (saliency (H, W), k) → bool (H, W), True on the k lowest pixels."""
    rng = np.random.default_rng(0)
    for k in (0, 1, 5, 12):
        saliency = rng.permutation(12).reshape(3, 4) - 6.0  # negative ones too
        found = returned(answer, (torch.tensor(saliency), k), f"k = {k}")
        try:
            mask = np.asarray(found)
        except (TypeError, ValueError, RuntimeError):  # a ragged list, a tensor elsewhere or with a gradient
            not_yet("The mask should be a bool tensor of shape (3, 4).")
        require(mask.shape == (3, 4) and mask.dtype == bool,
                f"The mask should be bool of shape (3, 4), this is {mask.dtype} {mask.shape}.")  # fmt: skip
        lowest, nearest_to_0 = (
            ranked <= (sorted(ranked.flatten())[k - 1] if k else -math.inf)
            for ranked in (saliency, abs(saliency))
        )
        right = np.array_equal(mask, lowest)
        require(right or not np.array_equal(mask, nearest_to_0),
                "These are the pixels nearest to 0. SGT ranks the signed gradient.")  # fmt: skip
        require(right, f"With k = {k} other pixels are the lowest; {int(mask.sum())} are masked here.")
    return Verdict(True, "Exactly the k lowest pixels, the most negative ones first.")


@check
def kl_divergence_rule(answer: Any) -> Verdict:
    """A function (p, q) → KL(p ‖ q) of two vectors of probabilities."""
    p, q = [0.7, 0.2, 0.1], [0.3, 0.3, 0.4]
    expected = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    swapped = sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
    mistakes = {
        "That is KL(q ‖ p): p stands in front of the logarithm.": swapped,
        "Take the natural logarithm: the unit is the nat.": expected / math.log(2),
        "The sign is wrong: log(p/q), not log(q/p).": -expected,
    }
    require_number(returned(answer, (torch.tensor(p), torch.tensor(q)), "two distributions"), expected,
                   "Equation (6): the sum over all classes of p·log(p/q).", 1e-3, mistakes)  # fmt: skip
    return Verdict(True, f"{expected:.3f} nat here, and 0 when p = q.")


@check
def fill_range(answer: Any, image: torch.Tensor, masked: torch.Tensor) -> Verdict:
    """(low, high): between which values the fill "remaining" draws for one gray image ``(H, W)``."""
    kept = [v for v, m in zip(image.flatten().tolist(), masked.flatten().tolist(), strict=True) if not m]
    low, high = min(kept), max(kept)
    require_pair(answer, (low, high), "Lowest and highest value of the pixels that are NOT masked.", 1e-4)
    return Verdict(True, f"From {low:.2f} to {high:.2f}, of the pixels that are left.")


@check
def only_cross_entropy(answer: Any) -> Verdict:
    """Settings of SGT with which the weights learn from the cross-entropy alone."""
    _require_settings(answer)
    require(answer.method == "sgt", 'Keep method="sgt": the masked images shall still be looked at.')
    require(answer.kl_weight == 0, "Which weight in equation (5) removes the second term?")
    return Verdict(True, "With λ = 0 equation (5) is the cross-entropy.")


# 03_smoot


@check
def label_change(answer: Any, clean: torch.Tensor, masked: torch.Tensor, label: int) -> Verdict:
    """Δ₁ of one image."""
    expected = masked.tolist()[label] - clean.tolist()[label]
    require_number(answer, expected, "Equation (1): the label's probability when masked, minus when clean.", 5e-4,
                   {"The sign is wrong: the masked image minus the clean one.": -expected})  # fmt: skip
    return Verdict(True, f"{expected:+.3f}: masking {'raised' if expected > 0 else 'lowered'} it.")


@check
def delta_rule(answer: Any) -> Verdict:
    """A function (clean, masked, label, beta, n) → Δ of equation (3)."""
    rng = np.random.default_rng(1)
    for trial in range(20):
        clean, masked = (rng.dirichlet(np.ones(6)) for _ in range(2))
        label, beta, n = int(rng.integers(6)), float(rng.random()), int(rng.integers(2, 7))
        if trial == 0:  # begin where the label is not the most probable class
            label = int(clean.argmin())
        others = sorted((c for c in range(6) if c != label), key=lambda c: -clean[c])[: n - 1]
        first, rest = masked[label] - clean[label], sum(masked[c] - clean[c] for c in others)
        expected, swapped = beta * first + (1 - beta) * rest, beta * rest + (1 - beta) * first
        mistakes = {
            "The sign is wrong: masked minus clean.": -expected,
            "β belongs to the label, 1 − β to the runners-up.": swapped,
        }
        found = returned(answer, (torch.tensor(clean), torch.tensor(masked), label, beta, n), "six classes")
        require_number(found, expected, f"With n = {n} there are {n - 1} runners-up: the classes other than the label "
                       "with the highest CLEAN probability.", 1e-5, mistakes)  # fmt: skip
    return Verdict(True, "Equations (1) to (3), also where the label is not the most probable class.")


@check
def step_rule(answer: Any) -> Verdict:
    """A function (k, delta, alpha, low, high) → the next k, equation (4), all in pixels."""
    for k, delta, alpha, low, high in (
        (392, 0.5, 10, 157, 627), (392, -0.5, 10, 157, 627), (160, -0.9, 10, 157, 627), (625, 0.9, 10, 157, 627),
        (500, 0.2, 50, 100, 505),
    ):  # fmt: skip
        found = number(returned(answer, (k, delta, alpha, low, high), f"k = {k}, Δ = {delta}"))
        expected = min(max(k + alpha * delta, low), high)
        require(abs(found - expected) <= 1e-6, f"k = {k}, Δ = {delta}, α = {alpha}, bounds {low} … {high} leads to "
                f"{expected:g}, not {found:g}.")  # fmt: skip
    return Verdict(True, "Up where Δ is positive, down where it is negative, and never beyond the bounds.")


@check
def third_at_the_lower_bound(answer: Any, landscape: xr.Dataset, epochs: int = 100) -> Verdict:
    """{"alpha": …, "beta": …} with which a third of all images or more end at k_min = 0.2."""
    is_choice = isinstance(answer, Mapping) and set(answer) == {"alpha", "beta"}
    require(is_choice, 'The answer should look like {"alpha": 10, "beta": 0.95}.')
    chosen = {name: number(value) for name, value in answer.items()}
    require(not chosen["alpha"] < 0, "α is a speed: it is not negative.")
    try:
        k = simulate_k(landscape, **chosen, k_init=0.5, k_min=0.2, k_max=0.8, epochs=epochs)
    except (TypeError, ValueError) as error:
        not_yet(str(error))
    last = k.isel(epoch=-1).values
    share = 100 * np.isclose(last, 0.2 * landscape.attrs["n_pixels"]).mean()
    told = f"{share:.0f} % of {len(last)} images end at the lower bound."
    require(share >= 100 / 3, f"{told} What makes k move faster? And what makes Δ negative for more images?")
    return Verdict(True, told)


# 04_measuring_saliency


@check
def area_rule(answer: Any) -> Verdict:
    """A function (m, accuracy) → the area under the accuracy drop."""
    cases = [([0, 0.5, 1], [80, 40, 10], 42.5), ([0, 0.1, 1], [90, 30, 10], 24.0), ([0, 1], [50, 50], 50.0)]
    for m, accuracy, expected in cases:
        found = number(returned(answer, (np.array(m, float), np.array(accuracy, float)), f"m = {m}"))
        require(abs(found - expected) <= 1e-6,
                f"m = {m}, accuracy = {accuracy} has the area {expected}, not {found:.3g}. "
                "The steps need not be equal: weigh each mean of two neighbours by its width.")  # fmt: skip
    return Verdict(True, "The trapezoidal rule: in per cent, because m runs from 0 to 1.")


@check
def best_by_fill(answer: Any, aucs: Mapping[str, Mapping[str, float]]) -> Verdict:
    """{fill: training method} with the lowest AUC for each fill; ``aucs`` holds them by fill and method."""
    names_every_fill = isinstance(answer, Mapping) and set(answer) == set(aucs)
    require(names_every_fill, f"The answer should name a method for each of: {', '.join(aucs)}.")
    require(all(isinstance(name, str) for name in answer.values()),
            "For each fill the name of one training method is wanted, in quotes.")  # fmt: skip
    wrong = [fill for fill, auc in aucs.items() if auc.get(answer[fill]) != min(auc.values())]
    require(not wrong, f"Look again at: {', '.join(wrong)}. Lower is a steeper drop.")
    return Verdict(True, "Without its fill, an AUC says nothing about which training is better.")


@check
def hit_rule(answer: Any) -> Verdict:
    """A function (map (H, W), mask (H, W)) → the share of the strongest pixels that lie on the object."""
    rng = np.random.default_rng(2)
    for _ in range(5):
        saliency, mask = rng.permutation(20).reshape(4, 5).astype(float), rng.random((4, 5)) < 0.4
        mask[0, 0] = True
        found = number(returned(answer, (torch.tensor(saliency), torch.tensor(mask)), "a small map"))
        n = int(mask.sum())
        strongest = sorted(range(20), key=lambda i: -saliency.flat[i])[:n]
        expected = sum(bool(mask.flat[i]) for i in strongest) / n
        require(abs(found - expected) <= 1e-6,
                f"The object has {n} pixels: take the {n} highest values; {expected:.2f} of them "
                f"lie on it, you found {found:.2f}.")  # fmt: skip
    return Verdict(True, "As many pixels are counted as the object has, so a perfect map gets 1.")


@check
def explains_the_model(answer: Any, correlations: Mapping[str, float], threshold: float = 0.3) -> Verdict:
    """The attributions whose maps stay alike (correlation above a threshold) when the weights become random."""
    is_names = isinstance(answer, list | tuple | set) and all(isinstance(name, str) for name in answer)
    require(is_names, "A list of names is wanted; it may be empty.")
    expected = {name for name, value in correlations.items() if value > threshold}
    require(set(answer) == expected,
            f"Give a list of names whose correlation is above {threshold}; it may be empty.")  # fmt: skip
    told = ", ".join(f"{name} {value:.2f}" for name, value in correlations.items())
    return Verdict(True, f"{told}. Part of such a map shows the image, not what was learned." if expected
                   else f"{told}. None of these maps outlives the weights.")  # fmt: skip


# 05_transformers


@check
def number_of_tokens(answer: Any, image_size: int, patch_size: int) -> Verdict:
    """How many tokens a ViT sees: the patches and one for the class."""
    patches = sum(1 for _ in range(0, image_size, patch_size)) ** 2
    mistakes = {"That is the number of patches. One more token collects what the class needs.": patches}
    hint = "How many patches fit into the image, in both directions together?"
    require_number(answer, patches + 1, hint, mistakes=mistakes)
    return Verdict(True, f"{patches} patches and the class token.")


@check
def enlarged_pixel(answer: Any, data_size: int, input_size: int) -> Verdict:
    """How many input pixels one masked pixel covers after the images were enlarged."""
    side = input_size // data_size
    hint = "By which factor are the images enlarged, and what does that do to a square?"
    require_number(answer, side**2, hint)
    return Verdict(True, f"A square of {side} × {side}, and its edges blur.")


@check
def paper_settings(answer: Any) -> Verdict:
    """The paper's settings for DeiT-tiny on CIFAR-10."""
    _require_settings(answer)
    expected = {"method": "smoot", "beta": 0.8, "alpha": 10.0, "k_init": 0.5, "learning_rate": 0.001,
                "optimizer": "adadelta", "epochs": 100, "batch_size": 256, "kl_weight": 1.0, "top_n": 5}  # fmt: skip
    wrong = [name for name, value in expected.items() if getattr(answer, name) != value]
    require(not wrong, f"Look again at: {', '.join(wrong)}.")
    return Verdict(True, "100 epochs of this belong on a GPU.")


# 06_your_own_images_and_model


@check
def returns_logits(answer: Any, data: ImageData, most_convolutions: int | None = None) -> Verdict:
    """An nn.Module that maps normalised images to logits, with so many convolutions at the most."""
    require(isinstance(answer, nn.Module),
            f"The answer should be a model (an nn.Module), this is a {type(answer).__name__}.")  # fmt: skip
    convolutions = sum(isinstance(module, nn.Conv2d) for module in answer.modules())
    require(most_convolutions is None or convolutions <= most_convolutions,
            f"It has {convolutions} convolutions; {most_convolutions} is the most here.")  # fmt: skip
    images = data.train[:4].normalize()
    images = images.to(next((weights.device for weights in answer.parameters()), images.device))
    with untouched(answer), torch.no_grad():
        answer.eval()
        logits = returned(answer, (images,), f"images of shape {tuple(images.shape)}")
    shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    require(shape == (4, data.n_classes),
            f"Four images should give logits of shape (4, {data.n_classes}), not {shape}.")  # fmt: skip
    require(any(weights.requires_grad for weights in answer.parameters()), "It has no weights to train.")
    require((logits < 0).any() or not torch.allclose(logits.float().sum(1).cpu(), torch.ones(4)),
            "These are probabilities. Leave the softmax out: the loss takes logits.")  # fmt: skip
    n_weights = sum(weights.numel() for weights in answer.parameters())
    return Verdict(True, f"{n_weights:,} weights; every function here takes it.")


@check
def missing_class(answer: Any, train: set[str], test: set[str]) -> Verdict:
    """The class that has a folder on one side only."""
    require(isinstance(answer, str), "Give its name, in quotes.")
    require({answer} == train ^ test, "Read the message: which folder is there on one side only?")
    return Verdict(True, "Every class needs a folder in train/ and in test/.")


@check
def bounds_in_pixels(answer: Any, config: TrainingConfig, data: ImageData) -> Verdict:
    """(lowest, highest) k in pixels."""
    _, height, width = data.image_shape
    hint = "The bounds are shares of the pixels. A pixel is one place with all its channels."
    require_pair(answer, (config.k_min * height * width, config.k_max * height * width), hint, 1)
    return Verdict(True, f"Shares of {height} × {width} pixels; channels are masked together.")


# 07_sweeps


@check
def trainings_of_a_sweep(answer: Any, over: Mapping[str, Any]) -> Verdict:
    """How many combinations the values of some settings have."""
    expected, together = 1, 0
    for values in over.values():
        expected, together = expected * len(values), together + len(values)
    mistakes = {"Every value of one setting meets every value of the others: multiply.": together}
    require_number(
        answer, expected, "Seeds are a setting too, and count as the others do.", mistakes=mistakes
    )
    return Verdict(
        True, f"{expected} trainings; one more setting with two values would make it twice as many."
    )


@check
def seeds_apart(answer: Any, found: xr.Dataset, beta: float) -> Verdict:
    """How far the best and the worst seed are apart in their last test accuracy."""
    accuracies = found.test_accuracy.sel(beta=beta).isel(epoch=-1).values
    hint = "Select this β and the last epoch; what is left has one number for each seed. Take the best minus the worst."
    require_number(answer, np.nanmax(accuracies) - np.nanmin(accuracies), hint, 0.05)
    return Verdict(True, "So much can the seed alone do here. Is a difference between two β larger?")


@check
def fair_comparison(answer: Any) -> Verdict:
    """What to sweep over to compare SGT with SMOOT."""
    require(isinstance(answer, dict), 'A dictionary is wanted, such as {"alpha": [1, 10]}.')
    values = {name: set(map(str, given)) if isinstance(given, list | tuple | range) else set()
              for name, given in answer.items()}  # fmt: skip
    require(
        values.get("method") == {"sgt", "smoot"},
        'Which setting tells SGT from SMOOT? Name both values in a list, as the settings write them: "sgt", "smoot".',
    )
    require(
        len(values.get("seed", ())) >= 3,
        "How would you know what the seed alone does? Three of them at least, in a list.",
    )
    require(len(answer) == 2, "Something else differs too; then one cannot say which of them did it.")
    return Verdict(True, "Each method is trained with the same seeds, and nothing else differs.")
