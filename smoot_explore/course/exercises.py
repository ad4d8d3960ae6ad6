"""Checks of the course's exercises: each takes an answer and says whether it is right, and why or what to try.

They compute the answer in their own, plain way, so a check never repeats what a learner should write.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from smoot_explore.core.config import TrainingConfig
from smoot_explore.core.landscape import simulate_k
from smoot_explore.core.saliency import untouched
from smoot_explore.data.images import ImageData


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right (None: there is none yet), in words."""

    right: bool | None
    words: str

    def __repr__(self) -> str:
        sign = {True: "✓ Right.", False: "✗ Not yet.", None: "… No answer yet."}[self.right]
        return f"{sign} {self.words}"


_NUMBERS = (int, float, np.number, np.ndarray, torch.Tensor, xr.DataArray)
_UNANSWERED = Verdict(None, "Replace None or ... by your answer and run both cells again.")


def right_number(answer: Any, expected: float, because: str, hint: str, tolerance: float = 0.005) -> Verdict:
    """Whether a number is the expected one, up to a tolerance (absolute)."""
    if answer is None or answer is ...:
        return _UNANSWERED
    number = _number(answer)
    if isinstance(number, Verdict):
        return number
    right = abs(number - expected) <= tolerance
    return Verdict(right, because if right else hint)


def _number(found: Any) -> float | Verdict:
    """An answer, or what a function returned, as a number; a verdict when it is none."""
    if isinstance(found, bool | np.bool_) or not isinstance(found, _NUMBERS):
        return Verdict(False, f"One number is wanted, this is a {type(found).__name__}.")
    size = found.numel() if isinstance(found, torch.Tensor) else np.size(found)
    if size != 1:
        return Verdict(False, f"One number is wanted, these are {size}. Is a sum missing?")
    try:
        return float(found if isinstance(found, int | float) else found.item())
    except (TypeError, ValueError):
        return Verdict(False, f"One number is wanted, this is {found!r}.")


def _pair(answer: Any) -> tuple[float, float] | Verdict:
    """Two numbers; a verdict when they are none."""
    if not isinstance(answer, tuple | list | np.ndarray | torch.Tensor) or len(answer) != 2:
        return Verdict(False, "Two numbers are wanted: (lowest, highest).")
    low, high = (_number(value) for value in answer)
    if isinstance(low, Verdict):
        return low
    if isinstance(high, Verdict):
        return high
    return low, high


def _no_function(answer: Any) -> Verdict | None:
    """A verdict when the answer is no function."""
    if answer is None or answer is ...:
        return _UNANSWERED
    return None if callable(answer) else Verdict(False, "A function is wanted: def …")


def _no_settings(answer: Any) -> Verdict | None:
    """A verdict when the answer is no `TrainingConfig`."""
    if answer is None:
        return _UNANSWERED
    is_settings = isinstance(answer, TrainingConfig)
    return None if is_settings else Verdict(False, "The answer should be a TrainingConfig.")


# 00_quickstart


def pixels_at_start(answer: Any, config: TrainingConfig, data: ImageData) -> Verdict:
    """How many pixels of each image are masked in the first epoch."""
    expected = config.k_init * data.image_shape[1] * data.image_shape[2]
    return right_number(
        answer, expected, f"k_init is a share: {config.k_init} of {data.n_pixels} pixels.",
        "k_init is a share of the pixels of one image. How many pixels does one image have?",
    )  # fmt: skip


def images_masked_more(answer: Any, k: np.ndarray, start: float) -> Verdict:
    """How many images end with a larger k than they began with."""
    expected = sum(1 for value in k.tolist() if value > start)
    return right_number(
        answer, expected, f"The k of {expected} of {len(k)} images ended above {start:g}.",
        "Compare the last record's k, one number for each image, with the start, and count.",
    )  # fmt: skip


def keeps_every_k(answer: Any) -> Verdict:
    """Settings with which pixels are masked, but k never moves."""
    if (problem := _no_settings(answer)) is not None:
        return problem
    if answer.method == "traditional":
        return Verdict(False, "Traditional training masks nothing at all.")
    if answer.k_init == 0:
        return Verdict(False, "With k_init = 0 no pixel is masked.")
    within = answer.k_min <= answer.k_init <= answer.k_max
    right = answer.method == "sgt" or (within and (answer.alpha == 0 or answer.k_min == answer.k_max))
    words = (
        "That is SGT: the same k for every image, for ever." if answer.method == "sgt" else "k cannot move."
    )
    return Verdict(
        right, words if right else "Which of the three methods keeps k? Or which setting stops it?"
    )


# 01_why_k_depends_on_the_image


def share_of_class_two(answer: Any, curves: xr.Dataset, tolerance: float) -> Verdict:
    """The share of class II in per cent at a tolerance."""
    rows = curves.probability.transpose("image", "masked_fraction").values.tolist()
    expected = 100 * sum(max(row[1:]) > row[0] + tolerance for row in rows) / len(rows)
    return right_number(
        answer, expected, f"{expected:.1f} % of {len(rows)} images, at a tolerance of {tolerance:g}.",
        "image_class takes the tolerance as its second argument. The share is wanted in per cent.", 0.06,
    )  # fmt: skip


def class_two_rule(answer: Any) -> Verdict:
    """A function (probabilities, tolerance) → whether an image is of class II."""
    if (problem := _no_function(answer)) is not None:
        return problem
    cases = [
        ([0.9, 0.5, 0.1], 0.01, False, "a curve that only falls"),
        ([0.5, 0.8, 0.1], 0.01, True, "a curve that rises first"),
        ([0.5, 0.4, 0.9], 0.01, True, "a peak at the very end"),
        ([0.5, 0.505, 0.1], 0.01, False, "a rise smaller than the tolerance"),
        ([0.5, 0.505, 0.1], 0.001, True, "the same rise with a smaller tolerance"),
        ([0.5, 0.5, 0.5], 0.0, False, "a curve that stays where it is"),
    ]
    answers = [_called(answer, (np.array(p), tolerance), words) for p, tolerance, _, words in cases]
    silent = [found is not None and isinstance(found, Verdict) and found.right is None for found in answers]
    if all(silent):
        return _UNANSWERED
    for (probabilities, tolerance, expected, words), found, said_nothing in zip(
        cases, answers, silent, strict=True
    ):
        if isinstance(found, Verdict) and not said_nothing:
            return found
        if not said_nothing and not isinstance(found, bool | np.bool_) and np.size(found) != 1:
            return Verdict(
                False, f"One True or False is wanted for a curve, these are {np.size(found)} values."
            )
        if (not said_nothing and bool(found)) != expected:  # nothing returned counts as False
            return Verdict(False, f"Try {words}: {probabilities} with tolerance {tolerance} is class "
                           f"{'II' if expected else 'I'}.")  # fmt: skip
    return Verdict(True, "The highest point, m = 0 left out, is above the start by more than the tolerance.")


def strongest_rise(answer: Any, curves: xr.Dataset) -> Verdict:
    """Position of the image whose probability rises most."""
    rows = curves.probability.transpose("image", "masked_fraction").values.tolist()
    rises = [max(row) - row[0] for row in rows]
    best = max(range(len(rises)), key=lambda i: rises[i])
    return right_number(
        answer, best, f"From {rows[best][0]:.2f} to {max(rows[best]):.2f}.",
        "For each image, take the highest probability minus the first one; then look for the largest.",
    )  # fmt: skip


def fill_with_most_class_two(answer: Any, curves: xr.Dataset, tolerance: float = 0.01) -> Verdict:
    """The fill under which the most images are of class II."""
    if answer is None:
        return _UNANSWERED
    shares = {}
    for fill in curves.fill.values.tolist():
        rows = curves.probability.sel(fill=fill).transpose("image", "masked_fraction").values.tolist()
        shares[fill] = 100 * sum(max(row) > row[0] + tolerance for row in rows) / len(rows)
    told = ", ".join(f"{fill} {share:.1f} %" for fill, share in shares.items())
    right = isinstance(answer, str) and shares.get(answer) == max(shares.values())
    return Verdict(right, told if right else f"One of: {', '.join(shares)}. Compute the share for each.")


# 02_saliency_guided_training


def lowest_pixels(answer: Any) -> Verdict:
    """A function (saliency (H, W), k) → bool (H, W), True on the k lowest pixels."""
    if (problem := _no_function(answer)) is not None:
        return problem
    rng = np.random.default_rng(0)
    for k in (0, 1, 5, 12):
        saliency = rng.permutation(12).reshape(3, 4) - 6.0  # negative ones too
        found = _called(answer, (torch.tensor(saliency), k), f"k = {k}")
        if isinstance(found, Verdict):
            return found
        try:
            mask = np.asarray(found)
        except ValueError:
            return Verdict(False, "The mask should be a bool tensor of shape (3, 4).")
        if mask.shape != (3, 4) or mask.dtype != bool:
            return Verdict(
                False, f"The mask should be bool of shape (3, 4), this is {mask.dtype} {mask.shape}."
            )
        threshold = sorted(saliency.flatten().tolist())[k - 1] if k else -math.inf
        if not (mask == (saliency <= threshold)).all():
            if k and (mask == (abs(saliency) <= sorted(abs(saliency).flatten())[k - 1])).all():
                return Verdict(False, "These are the pixels nearest to 0. SGT ranks the signed gradient.")
            return Verdict(
                False, f"With k = {k} other pixels are the lowest; {int(mask.sum())} are masked here."
            )
    return Verdict(True, "Exactly the k lowest pixels, the most negative ones first.")


def kl_divergence_rule(answer: Any) -> Verdict:
    """A function (p, q) → KL(p ‖ q) of two vectors of probabilities."""
    if (problem := _no_function(answer)) is not None:
        return problem
    p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    found = _called_number(answer, (p, q), "two distributions")
    if isinstance(found, Verdict):
        return found
    pairs = list(zip(p.tolist(), q.tolist(), strict=True))
    right, swapped = (sum(a * math.log(a / b) for a, b in ps) for ps in (pairs, [(b, a) for a, b in pairs]))
    hints = {
        swapped: "That is KL(q ‖ p): p stands in front of the logarithm.",
        right / math.log(2): "Take the natural logarithm: the unit is the nat.",
        -right: "The sign is wrong: log(p/q), not log(q/p).",
    }
    for value, hint in hints.items():
        if abs(found - value) < 1e-4:
            return Verdict(False, hint)
    hint = "Equation (6): the sum over all classes of p·log(p/q)."
    return right_number(found, right, f"{right:.3f} nat here, and 0 when p = q.", hint, 1e-3)


def fill_range(answer: Any, image: torch.Tensor, masked: torch.Tensor) -> Verdict:
    """(low, high): between which values the fill "remaining" draws for one gray image ``(H, W)``."""
    if answer is None:
        return _UNANSWERED
    pair = _pair(answer)
    if isinstance(pair, Verdict):
        return pair
    kept = [v for v, m in zip(image.flatten().tolist(), masked.flatten().tolist(), strict=True) if not m]
    expected = (min(kept), max(kept))
    right = all(abs(a - e) < 1e-4 for a, e in zip(pair, expected, strict=True))
    return Verdict(right, f"From {expected[0]:.2f} to {expected[1]:.2f}, of the pixels that are left." if right
                   else "Lowest and highest value of the pixels that are NOT masked.")  # fmt: skip


def only_cross_entropy(answer: Any) -> Verdict:
    """Settings of SGT with which the weights learn from the cross-entropy alone."""
    if (problem := _no_settings(answer)) is not None:
        return problem
    if answer.method != "sgt":
        return Verdict(False, 'Keep method="sgt": the masked images shall still be looked at.')
    right = answer.kl_weight == 0
    return Verdict(right, "With λ = 0 equation (5) is the cross-entropy." if right
                   else "Which weight in equation (5) removes the second term?")  # fmt: skip


# 03_smoot


def label_change(answer: Any, clean: torch.Tensor, masked: torch.Tensor, label: int) -> Verdict:
    """Δ₁ of one image."""
    expected = masked.tolist()[label] - clean.tolist()[label]
    number = None if answer is None or answer is ... else _number(answer)
    if isinstance(number, float) and abs(number + expected) < 5e-4 < abs(expected):
        return Verdict(False, "The sign is wrong: the masked image minus the clean one.")
    return right_number(answer, expected, f"{expected:+.3f}: masking {'raised' if expected > 0 else 'lowered'} it.",
                        "Equation (1): the label's probability when masked, minus when clean.", 5e-4)  # fmt: skip


def delta_rule(answer: Any) -> Verdict:
    """A function (clean, masked, label, beta, n) → Δ of equation (3)."""
    if (problem := _no_function(answer)) is not None:
        return problem
    rng = np.random.default_rng(1)
    for trial in range(20):
        clean, masked = (rng.dirichlet(np.ones(6)) for _ in range(2))
        label, beta, n = int(rng.integers(6)), float(rng.random()), int(rng.integers(2, 7))
        if trial == 0:  # begin where the label is not the most probable class
            label = int(clean.argmin())
        found = _called_number(
            answer, (torch.tensor(clean), torch.tensor(masked), label, beta, n), "six classes"
        )
        if isinstance(found, Verdict):
            return found
        others = sorted((c for c in range(6) if c != label), key=lambda c: -clean[c])[: n - 1]
        first, rest = masked[label] - clean[label], sum(masked[c] - clean[c] for c in others)
        if abs(found - (beta * first + (1 - beta) * rest)) > 1e-5:
            if abs(found + (beta * first + (1 - beta) * rest)) < 1e-5:
                return Verdict(False, "The sign is wrong: masked minus clean.")
            if abs(found - (beta * rest + (1 - beta) * first)) < 1e-5:
                return Verdict(False, "β belongs to the label, 1 − β to the runners-up.")
            return Verdict(False, f"With n = {n} there are {n - 1} runners-up: the classes other than the label "
                           "with the highest CLEAN probability.")  # fmt: skip
    return Verdict(True, "Equations (1) to (3), also where the label is not the most probable class.")


def step_rule(answer: Any) -> Verdict:
    """A function (k, delta, alpha, low, high) → the next k, equation (4), all in pixels."""
    if (problem := _no_function(answer)) is not None:
        return problem
    for k, delta, alpha, low, high in (
        (392, 0.5, 10, 157, 627), (392, -0.5, 10, 157, 627), (160, -0.9, 10, 157, 627), (625, 0.9, 10, 157, 627),
        (500, 0.2, 50, 100, 505),
    ):  # fmt: skip
        found = _called_number(answer, (k, delta, alpha, low, high), f"k = {k}, Δ = {delta}")
        if isinstance(found, Verdict):
            return found
        expected = min(max(k + alpha * delta, low), high)
        if abs(found - expected) > 1e-6:
            return Verdict(False, f"k = {k}, Δ = {delta}, α = {alpha}, bounds {low} … {high} leads to {expected:g}, "
                           f"not {found:g}.")  # fmt: skip
    return Verdict(True, "Up where Δ is positive, down where it is negative, and never beyond the bounds.")


def third_at_the_lower_bound(answer: Any, landscape: xr.Dataset, epochs: int = 100) -> Verdict:
    """{"alpha": …, "beta": …} with which a third of all images or more end at k_min = 0.2."""
    if answer is None:
        return _UNANSWERED
    if not isinstance(answer, Mapping) or set(answer) != {"alpha", "beta"}:
        return Verdict(False, 'The answer should look like {"alpha": 10, "beta": 0.95}.')
    numbers = [_number(value) for value in answer.values()]
    for number in numbers:
        if isinstance(number, Verdict):
            return number
    if float(answer["alpha"]) < 0:
        return Verdict(False, "α is a speed: it is not negative.")
    try:
        k = (
            simulate_k(landscape, **answer, k_init=0.5, k_min=0.2, k_max=0.8, epochs=epochs)
            .isel(epoch=-1)
            .values
        )
    except (TypeError, ValueError) as error:
        return Verdict(False, str(error))
    share = 100 * np.isclose(k, 0.2 * landscape.attrs["n_pixels"]).mean()
    hint = "" if share >= 100 / 3 else " What makes k move faster? And what makes Δ negative for more images?"
    return Verdict(bool(share >= 100 / 3), f"{share:.0f} % of {len(k)} images end at the lower bound.{hint}")


# 04_measuring_saliency


def area_rule(answer: Any) -> Verdict:
    """A function (m, accuracy) → the area under the accuracy drop."""
    if (problem := _no_function(answer)) is not None:
        return problem
    cases = [([0, 0.5, 1], [80, 40, 10], 42.5), ([0, 0.1, 1], [90, 30, 10], 24.0), ([0, 1], [50, 50], 50.0)]
    for m, accuracy, expected in cases:
        found = _called_number(answer, (np.array(m, float), np.array(accuracy, float)), f"m = {m}")
        if isinstance(found, Verdict):
            return found
        if abs(found - expected) > 1e-6:
            return Verdict(False, f"m = {m}, accuracy = {accuracy} has the area {expected}, not {found:.3g}. "
                           "The steps need not be equal: weigh each mean of two neighbours by its width.")  # fmt: skip
    return Verdict(True, "The trapezoidal rule: in per cent, because m runs from 0 to 1.")


def best_by_fill(answer: Any, aucs: Mapping[str, Mapping[str, float]]) -> Verdict:
    """{fill: training method} with the lowest AUC for each fill; ``aucs`` holds them by fill and method."""
    if answer is None:
        return _UNANSWERED
    if not isinstance(answer, Mapping) or set(answer) != set(aucs):
        return Verdict(False, f"The answer should name a method for each of: {', '.join(aucs)}.")
    if not all(isinstance(name, str) for name in answer.values()):
        return Verdict(False, "For each fill the name of one training method is wanted, in quotes.")
    wrong = [
        fill for fill, by_method in aucs.items() if by_method.get(answer[fill]) != min(by_method.values())
    ]
    return Verdict(not wrong, f"Look again at: {', '.join(wrong)}. Lower is a steeper drop." if wrong
                   else "Without its fill, an AUC says nothing about which training is better.")  # fmt: skip


def hit_rule(answer: Any) -> Verdict:
    """A function (map (H, W), mask (H, W)) → the share of the strongest pixels that lie on the object."""
    if (problem := _no_function(answer)) is not None:
        return problem
    rng = np.random.default_rng(2)
    for _ in range(5):
        saliency, mask = rng.permutation(20).reshape(4, 5).astype(float), rng.random((4, 5)) < 0.4
        mask[0, 0] = True
        found = _called_number(answer, (torch.tensor(saliency), torch.tensor(mask)), "a small map")
        if isinstance(found, Verdict):
            return found
        n = int(mask.sum())
        strongest = sorted(range(20), key=lambda i: -saliency.flat[i])[:n]
        expected = sum(bool(mask.flat[i]) for i in strongest) / n
        if abs(found - expected) > 1e-6:
            return Verdict(False, f"The object has {n} pixels: take the {n} highest values; {expected:.2f} of them "
                           f"lie on it, you found {found:.2f}.")  # fmt: skip
    return Verdict(True, "As many pixels are counted as the object has, so a perfect map gets 1.")


def explains_the_model(answer: Any, correlations: Mapping[str, float], threshold: float = 0.3) -> Verdict:
    """The methods whose maps stay alike (correlation above a threshold) when the weights become random."""
    if answer is None:
        return _UNANSWERED
    if not isinstance(answer, list | tuple | set) or not all(isinstance(name, str) for name in answer):
        return Verdict(False, "A list of names is wanted; it may be empty.")
    expected = {name for name, value in correlations.items() if value > threshold}
    right = set(answer) == expected
    told = ", ".join(f"{name} {value:.2f}" for name, value in correlations.items())
    return Verdict(right, f"{told}. Part of such a map shows the image, not what was learned." if right and expected
                   else f"{told}. None of these maps outlives the weights." if right
                   else f"Give a list of names whose correlation is above {threshold}; it may be empty.")  # fmt: skip


# 05_transformers


def number_of_tokens(answer: Any, image_size: int, patch_size: int) -> Verdict:
    """How many tokens a ViT sees: the patches and one for the class."""
    patches = sum(1 for _ in range(0, image_size, patch_size)) ** 2
    if isinstance(answer, int | float) and answer == patches:
        return Verdict(False, "That is the number of patches. One more token collects what the class needs.")
    return right_number(answer, patches + 1, f"{patches} patches and the class token.",
                        "How many patches fit into the image, in both directions together?")  # fmt: skip


def enlarged_pixel(answer: Any, data_size: int, input_size: int) -> Verdict:
    """How many input pixels one masked pixel covers after the images were enlarged."""
    side = input_size // data_size
    return right_number(answer, side * side, f"A square of {side} × {side}, and its edges blur.",
                        "By which factor are the images enlarged, and what does that do to a square?")  # fmt: skip


def paper_settings(answer: Any) -> Verdict:
    """The paper's settings for DeiT-tiny on CIFAR-10."""
    if (problem := _no_settings(answer)) is not None:
        return problem
    expected = {"method": "smoot", "beta": 0.8, "alpha": 10.0, "k_init": 0.5, "learning_rate": 0.001,
                "optimizer": "adadelta", "epochs": 100, "batch_size": 256, "kl_weight": 1.0, "top_n": 5}  # fmt: skip
    wrong = [name for name, value in expected.items() if getattr(answer, name) != value]
    return Verdict(not wrong, f"Look again at: {', '.join(wrong)}." if wrong else
                   "100 epochs of this belong on a GPU.")  # fmt: skip


# 06_your_own_images_and_model


def returns_logits(answer: Any, data: ImageData, most_convolutions: int | None = None) -> Verdict:
    """An nn.Module that maps normalised images to logits, with so many convolutions at the most."""
    if answer is None or answer is ...:
        return _UNANSWERED
    if not isinstance(answer, nn.Module):
        return Verdict(
            False, f"The answer should be a model (an nn.Module), this is a {type(answer).__name__}."
        )
    n_convolutions = sum(isinstance(module, nn.Conv2d) for module in answer.modules())
    if most_convolutions is not None and n_convolutions > most_convolutions:
        return Verdict(False, f"It has {n_convolutions} convolutions; {most_convolutions} is the most here.")
    images = data.train[:4].normalize()
    images = images.to(next((weights.device for weights in answer.parameters()), images.device))
    with untouched(answer), torch.no_grad():
        answer.eval()
        logits = _called(answer, (images,), f"images of shape {tuple(images.shape)}")
    if isinstance(logits, Verdict):
        return logits
    if not isinstance(logits, torch.Tensor) or logits.shape != (4, data.n_classes):
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        return Verdict(False, f"Four images should give logits of shape (4, {data.n_classes}), not {shape}.")
    if not any(weights.requires_grad for weights in answer.parameters()):
        return Verdict(False, "It has no weights to train.")
    if (logits >= 0).all() and torch.allclose(logits.float().sum(1).cpu(), torch.ones(4)):
        return Verdict(False, "These are probabilities. Leave the softmax out: the loss takes logits.")
    return Verdict(
        True, f"{sum(w.numel() for w in answer.parameters()):,} weights; every function here takes it."
    )


def missing_class(answer: Any, train: set[str], test: set[str]) -> Verdict:
    """The class that has a folder on one side only."""
    if answer is None:
        return _UNANSWERED
    if not isinstance(answer, str):
        return Verdict(False, "Give its name, in quotes.")
    expected = train ^ test
    return Verdict({answer} == expected, "Every class needs a folder in train/ and in test/." if answer in expected
                   else "Read the message: which folder is there on one side only?")  # fmt: skip


def bounds_in_pixels(answer: Any, config: TrainingConfig, data: ImageData) -> Verdict:
    """(lowest, highest) k in pixels."""
    if answer is None:
        return _UNANSWERED
    pair = _pair(answer)
    if isinstance(pair, Verdict):
        return pair
    _, height, width = data.image_shape
    expected = (config.k_min * height * width, config.k_max * height * width)
    right = all(abs(a - e) <= 1 for a, e in zip(pair, expected, strict=True))
    return Verdict(right, f"Shares of {height} × {width} pixels; channels are masked together." if right
                   else "The bounds are shares of the pixels. A pixel is one place with all its channels.")  # fmt: skip


def _called_number(function: Callable[..., Any], arguments: tuple, words: str) -> float | Verdict:
    """As `_called`, for a function that should return one number."""
    found = _called(function, arguments, words)
    return found if isinstance(found, Verdict) else _number(found)


def _called(function: Callable[..., Any], arguments: tuple, words: str) -> Any:
    """What a learner's function returns; a verdict when it raises or returns nothing."""
    try:
        found = function(*arguments)
    except Exception as error:  # whatever a learner writes
        return Verdict(False, f"With {words} it raises {type(error).__name__}: {error}")
    if found is None or found is ...:
        return Verdict(
            None, f"With {words} the function returns nothing: replace ... and return a value in every case."
        )
    return found
