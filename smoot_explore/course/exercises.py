"""Checks of the course's exercises: each takes an answer and says whether it is right, and why or what to try.

They compute the answer in their own, plain way, so a check never repeats what a learner should write.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from smoot_explore.core.config import TrainingConfig, setting_names
from smoot_explore.core.landscape import simulate_k
from smoot_explore.core.saliency import untouched
from smoot_explore.course.verdicts import (
    Verdict,
    check,
    names,
    no_answer,
    not_yet,
    number,
    plain,
    require,
    require_number,
    require_pair,
    returned,
    size,
)
from smoot_explore.data.images import ImageData
from smoot_explore.sweeps.grid import checked_values


def _require_settings(answer: Any) -> None:
    require(isinstance(answer, TrainingConfig), "The answer should be a TrainingConfig.")
    try:
        answer.check()
    except ValueError as error:
        not_yet(f"These settings do not go together: {error}.")


def _array_of(found: Any, shape: tuple[int, ...], wanted: str) -> np.ndarray:
    """What a function returned, as an array of this shape."""
    try:
        values = np.asarray(found)
    except (TypeError, ValueError, RuntimeError):  # a ragged list, a tensor elsewhere or with a gradient
        not_yet(f"{wanted} of shape {shape} is wanted.")
    require(values.shape == shape, f"{wanted} of shape {shape} is wanted, this has the shape {values.shape}.")
    return values


# 00_quickstart


@check("00_quickstart")
def pixels_at_start(answer: Any, config: TrainingConfig, data: ImageData) -> Verdict:
    """How many pixels of each image are masked in the first epoch."""
    channels, height, width = data.image_shape
    expected = config.k_init * height * width
    if number(answer) != round(expected):  # k is a real number, rounded where it is used: both are right
        mistakes = {
            "So many pixels has an image. Which share of them is masked?": height * width,
            "A pixel is one place with all its channels: they are masked together.": channels * expected,
        }
        hint = "k_init is a share of the pixels of one image. How many pixels does one image have?"
        require_number(answer, expected, hint, mistakes=mistakes)
    return Verdict(True, f"k_init is a share: {config.k_init} of {data.n_pixels} pixels.")


@check("00_quickstart")
def images_masked_more(answer: Any, k: np.ndarray, start: float) -> Verdict:
    """How many images end with a larger k than they began with."""
    values = k.tolist()
    expected = sum(1 for value in values if value > start)
    mistakes = {
        "Those are the images whose k is smaller now.": sum(1 for value in values if value < start),
        "An image whose k is where it began is not masked more.": sum(
            1 for value in values if value >= start
        ),
        "That is their share. How many are they?": expected / len(values),
        "That is their share in per cent. How many are they?": 100 * expected / len(values),
    }
    hint = "Compare the last record's k, one number for each image, with the start, and count."
    require_number(answer, expected, hint, mistakes=mistakes)
    return Verdict(True, f"The k of {expected} of {len(values)} images ended above {start:g}.")


@check("00_quickstart")
def keeps_every_k(answer: Any, n_classes: int = 10, n_pixels: int = 784) -> Verdict:
    """Settings with which pixels are masked, but k never moves; for data with so many classes and pixels."""
    _require_settings(answer)
    require(answer.method != "traditional", "Traditional training masks nothing at all.")
    masked = round(answer.k_init * (n_pixels // answer.patch**2))
    require(masked, f"With k_init = {answer.k_init:g} no pixel is masked.")
    if answer.method == "sgt":
        return Verdict(True, "That is SGT: the same k for every image, for ever.")
    require(answer.k_rule == "smoot", f"The rule {answer.k_rule!r} moves k in its own way, whatever α and β.")
    still = {
        "α = 0": answer.alpha == 0,
        "the bounds leave k no room": answer.k_min == answer.k_max,
        # The probabilities of all classes sum to 1 before and after: what the label gains, the others lose.
        "Δ₁ and Δ₂…ₙ cancel out": answer.beta == 0.5 and answer.top_n >= n_classes,
        "there are no runners-up, and they alone count": answer.beta == 0 and answer.top_n == 1,
    }
    require(any(still.values()), "Which of the three methods keeps k? Or which setting stops it?")
    require(answer.k_min <= answer.k_init <= answer.k_max,
            "The start lies outside the bounds: equation (4) brings every k to the nearer one.")  # fmt: skip
    return Verdict(True, f"k cannot move: {next(words for words, holds in still.items() if holds)}.")


# 01_why_k_depends_on_the_image


def _probabilities(curves: xr.Dataset) -> list[list[float]]:
    """The label's probability by image and masked share."""
    return curves.probability.transpose("image", "masked_fraction").values.tolist()


def _percent_of_class_two(curves: xr.Dataset, tolerance: float) -> float:
    rows = _probabilities(curves)
    return 100 * sum(max(row[1:]) > row[0] + tolerance for row in rows) / len(rows)


@check("01_why_k_depends_on_the_image")
def share_of_class_two(answer: Any, curves: xr.Dataset, tolerance: float) -> Verdict:
    """The share of class II in per cent at a tolerance."""
    expected = _percent_of_class_two(curves, tolerance)
    mistakes = {
        "That is the share at a tolerance of 0.01. image_class takes the tolerance as its second argument.":
            _percent_of_class_two(curves, 0.01),
        "That is the share of class I.": 100 - expected,
        "Any rise counts here. image_class takes the tolerance as its second argument.":
            _percent_of_class_two(curves, 0),
    }  # fmt: skip
    hint = "image_class takes the tolerance as its second argument. The share is wanted in per cent."
    require_number(answer, expected, hint, 0.06, mistakes)
    n = curves.sizes["image"]
    return Verdict(True, f"{expected:.1f} % of {n} images, at a tolerance of {tolerance:g}.")


@check("01_why_k_depends_on_the_image")
def class_two_rule(answer: Any) -> Verdict:
    """A function (probabilities, tolerance) → whether an image is of class II."""
    cases = [
        ([0.9, 0.5, 0.1], 0.01, False, "a curve that only falls"),
        ([0.5, 0.8, 0.1], 0.01, True, "a curve that rises first"),
        ([0.5, 0.4, 0.9], 0.01, True, "a peak at the very end"),
        ([0.2, 0.4, 0.3, 0.3, 0.1, 0.1], 0.01, True, "an early peak that is low"),
        ([0.5, 0.505, 0.1], 0.01, False, "a rise smaller than the tolerance"),
        ([0.5, 0.505, 0.1], 0.001, True, "the same rise with a smaller tolerance"),
        ([0.5, 0.508, 0.1], 0.01, False, "a rise of 0.008, which is more than 1 % of the start"),
        ([0.5, 0.505, 0.51, 0.515, 0.52], 0.01, True, "a rise in small steps: only the highest point counts"),
        ([0.9, 0.1, 0.6, 0.2], 0.01, False, "a fall, then a rise that does not reach the start again"),
        ([0.5, 0.75, 0.5], 0.25, False, "a rise of exactly the tolerance: it must be more"),
        ([0.5, 0.5, 0.5], 0.0, False, "a curve that stays where it is"),
    ]
    answers = [returned(answer, (np.array(p), t), words, or_nothing=True) for p, t, _, words in cases]
    if all(found is None for found in answers):
        no_answer()
    for (probabilities, tolerance, expected, words), found in zip(cases, answers, strict=True):
        require(size(found) == 1, f"One True or False is wanted for a curve, these are {size(found)} values.")
        require(not isinstance(found, str), f"True or False is wanted, this is the text {found!r}.")
        hint = (
            f"Try {words}: {probabilities} with tolerance {tolerance} is class {'II' if expected else 'I'}."
        )
        require(bool(found) == expected, hint)  # nothing returned counts as False
    return Verdict(True, "The highest point, m = 0 left out, is above the start by more than the tolerance.")


@check("01_why_k_depends_on_the_image")
def strongest_rise(answer: Any, curves: xr.Dataset) -> Verdict:
    """Position of the image whose probability rises most."""
    rows = _probabilities(curves)
    rises = [max(row) - row[0] for row in rows]
    place, best = number(answer), rises.index(max(rises))
    hint = "For each image, take the highest probability minus the first one; then look for the largest."
    require(place in range(len(rows)), f"A position among the {len(rows)} images is wanted, from 0. {hint}")
    require(place != best + 1 or math.isclose(rises[best + 1], rises[best]), "Positions count from 0.")
    require(math.isclose(rises[int(place)], rises[best], rel_tol=1e-5), hint)
    row = rows[int(place)]
    return Verdict(True, f"From {row[0]:.2f} to {max(row):.2f}.")


@check("01_why_k_depends_on_the_image")
def fill_with_most_class_two(answer: Any, curves: xr.Dataset, tolerance: float = 0.01) -> Verdict:
    """The fill under which the most images are of class II."""
    shares = {f: _percent_of_class_two(curves.sel(fill=f), tolerance) for f in curves.fill.values.tolist()}
    most = [plain(fill) for fill, share in shares.items() if share == max(shares.values())]
    found = names(answer)
    require(len(found) == 1 and found[0] in most, f"One of: {', '.join(shares)}. Compute the share for each.")
    return Verdict(True, ", ".join(f"{fill} {share:.1f} %" for fill, share in shares.items()))


# 02_saliency_guided_training


@check("02_saliency_guided_training")
def lowest_pixels(answer: Any) -> Verdict:
    """A function (saliency (H, W), k) → bool (H, W), True on the k lowest pixels; of equal ones, any."""
    rng = np.random.default_rng(0)
    different = rng.permutation(12).reshape(3, 4) - 6.0  # negative ones too
    equal = np.array([[0.0, -1, 2, 0], [0, 0, -1, 2], [2, 0, -1, 0]])
    cases = [(different, k, "") for k in (0, 1, 5, 11, 12)]
    cases += [(equal, k, ", where pixels are equal,") for k in (0, 2, 5, 10, 12)]
    for saliency, k, where in cases:
        words = f"With k = {k}{where}"
        found = returned(answer, (torch.tensor(saliency), k), f"k = {k}")
        mask = _array_of(found, (3, 4), "A bool mask")
        require(mask.dtype == bool, f"The mask should be bool, this is {mask.dtype}.")
        n = int(mask.sum())
        require(n == k, f"{words} exactly {k} pixels are wanted; {n} are masked here."
                + (" Ranks begin at 0." if n == k + 1 else ""))  # fmt: skip
        require(_are_lowest(mask, saliency) or not _are_lowest(mask, abs(saliency)),
                "These are the pixels nearest to 0. SGT ranks the signed gradient.")  # fmt: skip
        require(_are_lowest(mask, saliency) or not _are_lowest(mask, -saliency), "These are the highest.")
        require(_are_lowest(mask, saliency), f"{words} other pixels are the lowest.")
    return Verdict(True, "Exactly the k lowest pixels, the most negative ones first.")


def _are_lowest(mask: np.ndarray, saliency: np.ndarray) -> bool:
    return np.max(saliency[mask], initial=-math.inf) <= np.min(saliency[~mask], initial=math.inf)


@check("02_saliency_guided_training")
def kl_divergence_rule(answer: Any) -> Verdict:
    """A function (p, q) → KL(p ‖ q) of two vectors of probabilities."""
    for p, q in (
        ([0.7, 0.2, 0.1], [0.3, 0.3, 0.4]),
        ([0.1, 0.2, 0.3, 0.15, 0.25], [0.4, 0.1, 0.1, 0.35, 0.05]),
        ([0.6, 0.4], [0.6, 0.4]),
    ):
        expected = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        swapped = sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
        mistakes = {
            "That is KL(q ‖ p): p stands in front of the logarithm.": swapped,
            "Take the natural logarithm: the unit is the nat.": expected / math.log(2),
            "The sign is wrong: log(p/q), not log(q/p).": -expected,
            "That is a mean: equation (6) is the sum over the classes.": expected / len(p),
        }
        found = returned(answer, (torch.tensor(p), torch.tensor(q)), f"p = {p}, q = {q}")
        require_number(
            found, expected, "Equation (6): the sum over all classes of p·log(p/q).", 1e-4, mistakes
        )
    return Verdict(True, "0 when p = q, more the further they are apart; and KL(q ‖ p) is another number.")


@check("02_saliency_guided_training")
def fill_range(answer: Any) -> Verdict:
    """A function (image (H, W), masked bool (H, W)) → (lowest, highest) that the fill "remaining" draws for it."""
    some = [[-0.8, -0.5, 0.1], [0.4, 1.5, 2.0]]
    for image, masked in (
        (some, [[1, 0, 0], [0, 1, 0]]),
        (some, [[1, 0, 0], [0, 0, 1]]),  # both extremes masked
        (some, [[0, 1, 0], [1, 1, 1]]),
        ([[1.0, 2.0], [3.0, 4.0]], [[1, 0], [0, 0]]),  # 0 is not in the range
        ([[-3.0, -2.0, -1.5, -1.0]], [[0, 0, 0, 1]]),
        (some, [[1, 1, 1], [0, 1, 1]]),  # one pixel left
        (some, [[0, 0, 0], [0, 0, 0]]),
    ):
        pixels = [v for row in image for v in row]
        is_masked = [bool(v) for row in masked for v in row]
        left = [v for v, gone in zip(pixels, is_masked, strict=True) if not gone]
        gone = [v for v, gone in zip(pixels, is_masked, strict=True) if gone] or pixels
        low, high = min(left), max(left)
        mistakes = {
            "That is the range of the whole image. Which pixels remain?": (min(pixels), max(pixels)),
            "That is the range of the masked pixels: ~masked are the others.": (min(gone), max(gone)),
            "Masked pixels still count here, as 0: leave them out.": (min(low, 0), max(high, 0)),
        }
        found = returned(
            answer, (torch.tensor(image), torch.tensor(masked, dtype=torch.bool)), "a small image"
        )
        hint = (
            "Lowest and highest value of the pixels that are NOT masked: for "
            f"{image} and masked {masked} they are ({low}, {high})."
        )
        require_pair(found, (low, high), hint, 1e-4, mistakes)
    return Verdict(True, "The range of the pixels that are left, whatever stood at the masked ones.")


@check("02_saliency_guided_training")
def only_cross_entropy(answer: Any) -> Verdict:
    """Settings of SGT with which the weights learn from the cross-entropy alone."""
    _require_settings(answer)
    require(answer.method == "sgt", 'Keep method="sgt": the masked images shall still be looked at.')
    require(answer.kl_weight == 0, "Which weight in equation (5) removes the second term?")
    return Verdict(True, "With λ = 0 equation (5) is the cross-entropy.")


# 03_smoot


@check("03_smoot")
def label_change(answer: Any, clean: Tensor, masked: Tensor, label: int) -> Verdict:
    """Δ₁ of one image."""
    before, after = clean.tolist()[label], masked.tolist()[label]
    expected = after - before
    mistakes = {
        "The sign is wrong: the masked image minus the clean one.": -expected,
        "That is the label's probability when masked. What was it before?": after,
        "That is the change as a share of the clean probability; Δ₁ is the difference.": expected / before,
    }
    hint = "Equation (1): the label's probability when masked, minus when clean."
    require_number(answer, expected, hint, 5e-4, mistakes)
    return Verdict(True, f"{expected:+.3f}: masking {'raised' if expected > 0 else 'lowered'} it.")


@check("03_smoot")
def delta_rule(answer: Any) -> Verdict:
    """A function (clean, masked, label, beta, n) → Δ of equation (3)."""
    rng = np.random.default_rng(1)
    for trial in range(20):
        clean, masked = (rng.dirichlet(np.ones(6)) for _ in range(2))
        label, beta, n = int(rng.integers(6)), float(rng.random()), int(rng.integers(2, 7))
        if trial == 0:  # begin where the label is not the most probable class
            label = int(clean.argmin())
        elif trial == 1:
            n = 1
        others = sorted((c for c in range(6) if c != label), key=lambda c: -clean[c])[: n - 1]
        first, rest = masked[label] - clean[label], sum(masked[c] - clean[c] for c in others)
        expected, swapped = beta * first + (1 - beta) * rest, beta * rest + (1 - beta) * first
        mistakes = {
            "The sign is wrong: masked minus clean.": -expected,
            "β belongs to the label, 1 − β to the runners-up.": swapped,
            "Equation (2) is a sum over the runners-up, no mean.": beta * first + (1 - beta) * rest / max(n - 1, 1),
        }  # fmt: skip
        found = returned(answer, (torch.tensor(clean), torch.tensor(masked), label, beta, n), f"n = {n}")
        hint = (
            f"With n = {n} the runners-up are the {n - 1} classes other than the label with the highest "
            "CLEAN probability."
        )
        require_number(found, expected, hint, 1e-5, mistakes)
    return Verdict(True, "Equations (1) to (3), also where the label is not the most probable class.")


@check("03_smoot")
def step_rule(answer: Any) -> Verdict:
    """A function (k, delta, alpha, low, high) → the next k, equation (4), all in pixels."""
    for k, delta, alpha, low, high in (
        (392.0, 0.5, 10.0, 157.0, 627.0), (392.0, -0.5, 10.0, 157.0, 627.0), (160.0, -0.9, 10.0, 157.0, 627.0),
        (625.0, 0.9, 10.0, 157.0, 627.0), (500.0, 0.2, 50.0, 100.0, 505.0), (391.4, 0.037, 10.0, 156.8, 627.2),
        (300.0, -0.0213, 7.5, 156.8, 627.2), (157.0, -0.5, 10.0, 156.8, 627.2), (627.0, 0.5, 10.0, 156.8, 627.2),
        (300.5, 0.0, 10.0, 156.8, 627.2), (700.0, -0.1, 10.0, 156.8, 627.2), (100.0, 0.1, 10.0, 156.8, 627.2),
    ):  # fmt: skip
        found = number(returned(answer, (k, delta, alpha, low, high), f"k = {k:g}, Δ = {delta}"))
        expected = min(max(k + alpha * delta, low), high)
        whole = expected != int(expected) and found in (int(expected), round(expected), math.ceil(expected))
        told = f"k = {k:g}, Δ = {delta}, α = {alpha:g}, bounds {low:g} … {high:g} leads to {expected:g}"
        rounded = " k is a real number: it is rounded only where pixels are masked." if whole else ""
        require(abs(found - expected) <= 1e-3, f"{told}, not {found:g}.{rounded}")
    return Verdict(True, "Up where Δ is positive, down where it is negative, and never beyond the bounds.")


@check("03_smoot")
def third_at_the_lower_bound(answer: Any, landscape: xr.Dataset, epochs: int = 100) -> Verdict:
    """{"alpha": …, "beta": …} with which a third of all images or more end at k_min = 0.2."""
    is_choice = isinstance(answer, Mapping) and set(answer) == {"alpha", "beta"}
    require(is_choice, 'The answer should look like {"alpha": 10, "beta": 0.95}.')
    chosen = {name: number(value) for name, value in answer.items()}
    require(0 <= chosen["alpha"] < math.inf, "α is a speed: it is a finite number and not negative.")
    try:
        k = simulate_k(landscape, **chosen, k_init=0.5, k_min=0.2, k_max=0.8, epochs=epochs)
    except (TypeError, ValueError) as error:
        not_yet(f"{error}.")
    last = k.isel(epoch=-1).values
    share = 100 * np.isclose(last, 0.2 * landscape.attrs["n_pixels"]).mean()
    told = f"{share:.0f} % of {len(last)} images end at the lower bound."
    require(share >= 100 / 3, f"{told} What makes k move faster? And what makes Δ negative for more images?")
    return Verdict(True, told)


@check("03_smoot")
def identity_slope(answer: Any, label_change: Any, delta: Any, beta: float) -> Verdict:
    """The slope of Δ against Δ₁ of many images: of the line of least squares, through 0 or not."""
    x, y = (np.asarray(values, float).ravel() for values in (label_change, delta))
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    xx, xy, yy = np.cov(x, y)[[0, 0, 1], [0, 1, 1]]
    slopes = [xy / xx, (x @ y) / (x @ x)]
    found = number(answer)

    def near(values: list[float]) -> bool:
        return any(abs(found - value) <= 0.005 for value in values)

    if not near(slopes):
        mistakes = {
            "That is 2β − 1, where no class is left out of Δ. What is measured differs a little.": [
                2 * beta - 1
            ],
            "That is the slope of Δ₁ against Δ: Δ₁ belongs on the horizontal axis.": [
                xy / yy,
                (x @ y) / (y @ y),
            ],
            "That is the correlation, which has no slope in it.": [xy / math.sqrt(xx * yy)],
            "That is β itself. How far does Δ rise where Δ₁ rises by 1?": [beta],
        }
        hint = "Fit a line to the points (Δ₁, Δ) of all images, np.polyfit for example, and take its slope."
        not_yet(next((words for words, values in mistakes.items() if near(values)), hint))
    return Verdict(
        True, f"{slopes[0]:.3f}, and 2β − 1 = {2 * beta - 1:.3f}: what the label gains, the others lose."
    )


# 04_measuring_saliency


@check("04_measuring_saliency")
def area_rule(answer: Any) -> Verdict:
    """A function (m, accuracy) → the area under the accuracy drop."""
    cases = [([0, 0.5, 1], [80, 40, 10], 42.5), ([0, 0.1, 1], [90, 30, 10], 24.0), ([0, 1], [50, 50], 50.0),
             ([0, 0.25, 0.5, 0.75, 1], [88, 80, 60, 40, 12], 57.5)]  # fmt: skip
    for m, accuracy, expected in cases:
        found = returned(answer, (np.array(m, float), np.array(accuracy, float)), f"m = {m}")
        hint = (
            f"m = {m}, accuracy = {accuracy} has the area {expected}, not {number(found):.3g}. "
            "The steps need not be equal: weigh each mean of two neighbours by its width."
        )
        require_number(found, expected, hint, 1e-4)
    return Verdict(True, "The trapezoidal rule: in per cent, because m runs from 0 to 1.")


@check("04_measuring_saliency")
def best_by_fill(answer: Any, aucs: Mapping[str, Mapping[str, float]]) -> Verdict:
    """{fill: training method} with the lowest AUC for each fill; ``aucs`` holds them by fill and method."""
    wanted = f"The answer should name a method for each of: {', '.join(aucs)}."
    require(isinstance(answer, Mapping) and len(answer) == len(aucs), wanted)
    chosen = dict(zip(names(list(answer)), map(names, answer.values()), strict=True))
    require(set(chosen) == set(map(plain, aucs)), wanted)
    require(all(len(found) == 1 for found in chosen.values()),
            "For each fill the name of one training method is wanted, in quotes.")  # fmt: skip
    wrong = [fill for fill, auc in aucs.items() if chosen[plain(fill)][0]
             not in [plain(method) for method, value in auc.items() if value == min(auc.values())]]  # fmt: skip
    require(not wrong, f"Look again at: {', '.join(wrong)}. Lower is a steeper drop.")
    return Verdict(True, "Without its fill, an AUC says nothing about which training is better.")


@check("04_measuring_saliency")
def auc_less_random(answer: Any, aucs: Mapping[str, float], random: float) -> Verdict:
    """{attribution: its AUC minus that of the random order}: below 0 is better than chance."""
    require(isinstance(answer, Mapping), 'A dictionary is wanted, such as {"gradient": 1.5, …}.')
    found = dict(zip(names(list(answer)), map(number, answer.values()), strict=True))
    if "random" not in aucs:
        found.pop("random", None)  # 0 by itself
    require(set(found) == set(map(plain, aucs)), f"A number is wanted for each of: {', '.join(aucs)}.")

    def is_near(expected: Mapping[str, float]) -> bool:
        return all(abs(found[plain(name)] - value) <= 0.11 for name, value in expected.items())

    expected = {name: auc - random for name, auc in aucs.items()}
    mistakes = {
        "The sign is wrong: the method's AUC minus the random one.": {n: -d for n, d in expected.items()},
        "These are the AUCs themselves. What does a random order get?": aucs,
        "These are ratios; the difference is wanted, in points.": {n: a / random for n, a in aucs.items()},
        "These are shares of the random AUC; the difference is wanted, in points.":
            {n: 100 * a / random for n, a in aucs.items()},
        "These are changes in per cent of the random AUC; the difference is wanted, in points.":
            {n: 100 * d / random for n, d in expected.items()},
        "These are fractions; the difference is wanted in points of per cent.":
            {n: d / 100 for n, d in expected.items()},
    }  # fmt: skip
    if not is_near(expected):
        wrong = [n for n, value in expected.items() if not abs(found[plain(n)] - value) <= 0.11]
        hint = f"Look again at: {', '.join(wrong)}. The method's AUC minus that of the random order."
        not_yet(next((words for words, mistaken in mistakes.items() if is_near(mistaken)), hint))
    told = ", ".join(f"{name} {value:+.1f}" for name, value in expected.items())
    return Verdict(True, f"{told}. Below 0 is better than chance.")


@check("04_measuring_saliency")
def hit_rule(answer: Any) -> Verdict:
    """A function (map (H, W), mask (H, W)) → the share of the strongest pixels that lie on the object."""
    rng = np.random.default_rng(2)
    maps = [rng.permutation(20).reshape(4, 5) - 9.5 for _ in range(6)]  # signed
    maps += [rng.integers(-2, 3, (4, 5)).astype(float) for _ in range(4)]  # many are equal
    masks = [rng.random((4, 5)) < 0.4 for _ in maps]
    masks[3:6] = (
        maps[3] == maps[3].max(),
        maps[4] == maps[4].min(),
        np.ones((4, 5), bool),
    )  # one pixel, and all
    found = [
        number(returned(answer, (torch.tensor(saliency), torch.tensor(mask)), "a small map"))
        for saliency, mask in zip(maps, masks, strict=True)
    ]

    def wrong(maps: list[np.ndarray]) -> list[int]:
        shares = [
            [hits / mask.sum() for hits in _hits(one, mask)] for one, mask in zip(maps, masks, strict=True)
        ]
        return [i for i, right in enumerate(shares) if not np.isclose(found[i], right, atol=1e-4).any()]

    for i in wrong(maps):
        require(
            wrong([abs(one) for one in maps]),
            "These are the pixels of the largest magnitude: take the highest values, with their signs.",
        )
        n, hits = int(masks[i].sum()), _hits(maps[i], masks[i])
        least, most = f"{hits[0] / n:.2f}", f"{hits[-1] / n:.2f}"
        told = least if least == most else f"between {least} and {most}"
        not_yet(f"On a mask of {n} pixel{'s' if n > 1 else ''}, take the {n} highest values, no more where some are "
                f"equal; {told} of them lie on it, you found {found[i]:.2f}."
                + (" A fraction is wanted, not per cent." if found[i] > 1 else ""))  # fmt: skip
    return Verdict(True, "As many pixels are counted as the object has, so a perfect map gets 1.")


def _hits(saliency: np.ndarray, mask: np.ndarray) -> range:
    """How many of the strongest pixels may lie on the object: of equal ones, any are taken."""
    n = int(mask.sum())
    weakest = np.sort(saliency.ravel())[-n]
    surely, open_places = int(mask[saliency > weakest].sum()), n - int((saliency > weakest).sum())
    equal, off = int((saliency == weakest).sum()), int((~mask[saliency == weakest]).sum())
    return range(surely + max(0, open_places - off), surely + min(open_places, equal - off) + 1)


@check("04_measuring_saliency")
def explains_the_model(answer: Any, correlations: Mapping[str, float], threshold: float = 0.3) -> Verdict:
    """The attributions whose maps stay alike (correlation above a threshold) when the weights become random."""
    require(isinstance(answer, Collection) and not isinstance(answer, str) and getattr(answer, "ndim", 1),
            "A list of names is wanted; it may be empty.")  # fmt: skip
    expected = {plain(name) for name, value in correlations.items() if value > threshold}
    require(set(names(answer)) == expected,
            f"Give a list of the names whose correlation is above {threshold}; it may be empty.")  # fmt: skip
    told = ", ".join(f"{name} {value:.2f}" for name, value in correlations.items())
    return Verdict(True, f"{told}. Part of such a map shows the image, not what was learned." if expected
                   else f"{told}. None of these maps outlives the weights.")  # fmt: skip


# 05_transformers


@check("05_transformers")
def number_of_tokens(answer: Any, image_size: int, patch_size: int) -> Verdict:
    """How many tokens a ViT sees: the patches and one for the class."""
    patches = sum(1 for _ in range(0, image_size, patch_size)) ** 2
    mistakes = {"That is the number of patches. One more token collects what the class needs.": patches}
    hint = "How many patches fit into the image, in both directions together?"
    require_number(answer, patches + 1, hint, mistakes=mistakes)
    return Verdict(True, f"{patches} patches and the class token.")


@check("05_transformers")
def enlarged_pixel(answer: Any, data_size: int, input_size: int) -> Verdict:
    """How many input pixels one masked pixel covers after the images were enlarged."""
    side = input_size / data_size
    hint = "By which factor are the images enlarged, and what does that do to a square?"
    mistakes = {"That is the side of the square. How many pixels has it?": side}
    require_number(answer, side**2, hint, mistakes=mistakes)
    return Verdict(True, f"A square of {side:g} × {side:g}, and its edges blur.")


@check("05_transformers")
def paper_settings(answer: Any) -> Verdict:
    """The paper's settings for DeiT-tiny on CIFAR-10; where it trains, and with which seed, is free."""
    _require_settings(answer)
    paper = TrainingConfig(
        method="smoot", beta=0.8, alpha=10, k_init=0.5, learning_rate=0.001, optimizer="adadelta", epochs=100,
        batch_size=256, kl_weight=1, top_n=5,
    )  # fmt: skip
    free = {"device", "seed", "precision"}
    wrong = [n for n in setting_names() if n not in free and getattr(answer, n) != getattr(paper, n)]
    require(not wrong, f"Look again at: {', '.join(wrong)}. What the question does not name stays as it is.")
    return Verdict(True, "100 epochs of this belong on a GPU.")


# 06_your_own_images_and_model


@check("06_your_own_images_and_model")
def returns_logits(answer: Any, data: ImageData, most_convolutions: int | None = None) -> Verdict:
    """An nn.Module that maps normalised images to logits, with so many convolutions at the most."""
    require(isinstance(answer, nn.Module),
            f"The answer should be a model (an nn.Module), this is a {type(answer).__name__}.")  # fmt: skip
    convolutions = sum(isinstance(module, nn.Conv2d) for module in answer.modules())
    require(most_convolutions is None or convolutions <= most_convolutions,
            f"It has {convolutions} convolutions; {most_convolutions} is the most here.")  # fmt: skip
    images = data.train[:4].normalize()
    images = images.to(next((weights.device for weights in answer.parameters()), images.device))
    images.requires_grad_()
    with untouched(answer), torch.enable_grad():
        answer.eval()
        logits = returned(lambda: answer(images), (), f"images of shape {tuple(images.shape)}")
        _require_logits(logits, data.n_classes)
        trained = [weights for weights in answer.parameters() if weights.requires_grad]
        require(trained, "It has no weights to train.")
        reached = [False] * (1 + len(trained))
        if logits.requires_grad:
            gradients = torch.autograd.grad(logits.sum(), [images, *trained], allow_unused=True)
            reached = [gradient is not None for gradient in gradients]
        cut = "The way back is cut: leave detach(), no_grad() and NumPy out of forward."
        require(any(reached[1:]), f"No gradient reaches the weights, so it cannot learn. {cut}")
        require(reached[0], f"No gradient reaches the images, so it has no saliency. {cut}")
        squashed = _are_shares(logits) and _always_shares(answer, images.detach())
    require(
        not squashed,
        "Every output lies between 0 and 1, whatever the weights. Leave the sigmoid out: the loss takes logits.",
    )
    n_weights = sum(weights.numel() for weights in answer.parameters())
    return Verdict(True, f"{n_weights:,} weights; every function here takes it.")


def _require_logits(logits: Any, n_classes: int) -> None:
    """End the check where a model's output for four images has another shape, or where softmax was taken."""
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    require(
        shape == (4, n_classes), f"Four images should give logits of shape (4, {n_classes}), not {shape}."
    )
    require(logits.isfinite().all(), "Some logits are NaN or infinite.")
    values, ones = logits.detach().double(), torch.ones(4, dtype=torch.float64, device=logits.device)
    require((values < 0).any() or not torch.allclose(values.sum(1), ones, atol=1e-3),
            "These are probabilities. Leave the softmax out: the loss takes logits.")  # fmt: skip
    require(
        not torch.allclose(values.exp().sum(1), ones, atol=1e-3),
        "These are logarithms of probabilities. Leave the log-softmax out: saliency is the logit's gradient.",
    )


def _are_shares(values: Tensor) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())


def _always_shares(model: nn.Module, images: Tensor) -> bool:
    """Whether a model's outputs lie in 0 … 1 with other weights too, as behind a sigmoid."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for scale in (0.5, 5, 50):
        weights = {
            name: scale * torch.randn(w.shape, generator=generator).to(w)
            for name, w in model.named_parameters()
        }
        with torch.no_grad():
            found.append(torch.func.functional_call(model, weights, (images,)))
    known = [values for values in found if values.isfinite().all()]  # deep networks overflow
    return bool(known) and all(map(_are_shares, known))


@check("06_your_own_images_and_model")
def missing_class(answer: Any, train: set[str], test: set[str]) -> Verdict:
    """The class that has a folder on one side only."""
    expected = {plain(name) for name in train ^ test}
    require(set(names(answer)) == expected, "Read the message: which folder is there on one side only?")
    return Verdict(True, "Every class needs a folder in train/ and in test/.")


@check("06_your_own_images_and_model")
def bounds_in_pixels(answer: Any, config: TrainingConfig, data: ImageData) -> Verdict:
    """(lowest, highest) k in pixels."""
    channels, height, width = data.image_shape
    low, high = config.k_min * height * width, config.k_max * height * width
    mistakes = {
        "These are the shares. Of how many pixels?": (config.k_min, config.k_max),
        "A pixel is one place with all its channels: they are masked together.": (
            channels * low,
            channels * high,
        ),
    }
    hint = "The bounds are shares of the pixels of one image: k_min and k_max."
    require_pair(answer, (low, high), hint, 1, mistakes)
    return Verdict(True, f"Shares of {height} × {width} pixels; channels are masked together.")


# 07_sweeps


@check("07_sweeps")
def trainings_of_a_sweep(answer: Any, over: Mapping[str, Any]) -> Verdict:
    """How many combinations the values of some settings have."""
    sizes = {name: size(values) for name, values in over.items()}
    expected = math.prod(sizes.values())
    mistakes = {
        "Every value of one setting meets every value of the others: multiply.": sum(sizes.values()),
        "Seeds are a setting too, and count as the others do.": expected / sizes.get("seed", 1),
        "That is the number of settings. How many values has each?": len(sizes),
    }
    require_number(answer, expected, "Multiply the numbers of values of all settings.", mistakes=mistakes)
    return Verdict(
        True, f"{expected} trainings; one more setting with two values would make it twice as many."
    )


@check("07_sweeps")
def seeds_apart(answer: Any, found: xr.Dataset, beta: float) -> Verdict:
    """How far the best and the worst seed are apart in their last test accuracy."""
    of_beta = found.test_accuracy.sel(beta=beta)
    accuracies = of_beta.isel(epoch=-1).values

    def apart(values: np.ndarray) -> float:
        return float(np.nanmax(values) - np.nanmin(values))

    mistakes = {
        "The best minus the worst, not the other way round.": -apart(accuracies),
        "That goes over all epochs. Take the last one alone.": apart(of_beta.values),
        "That goes over every β. Select one.": apart(found.test_accuracy.isel(epoch=-1).values),
        "That is the standard deviation. Take the best minus the worst.": float(np.nanstd(accuracies)),
    }
    hint = "Select this β and the last epoch; what is left has one number for each seed. Take the best minus the worst."
    require_number(answer, apart(accuracies), hint, 0.05, mistakes)
    return Verdict(True, "So much can the seed alone do here. Is a difference between two β larger?")


@check("07_sweeps")
def fair_comparison(answer: Any) -> Verdict:
    """What to sweep over to compare SGT with SMOOT."""
    require(isinstance(answer, Mapping), 'A dictionary is wanted, such as {"alpha": [1, 10]}.')
    try:
        values = checked_values(TrainingConfig(), answer)
    except (TypeError, ValueError, AttributeError) as error:
        not_yet(f"sweep() does not take it: {error}.")
    require(
        set(values.get("method", ())) == {"sgt", "smoot"},
        'Which setting tells SGT from SMOOT? Name both values in a list, as the settings write them: "sgt", "smoot".',
    )
    require(
        len(values.get("seed", ())) >= 3,
        "How would you know what the seed alone does? Three of them at least, in a list.",
    )
    others = [name for name in values if name not in ("method", "seed")]
    require(all(len(values[name]) == 1 for name in others),
            "Something else differs too; then one cannot say which of them did it.")  # fmt: skip
    return Verdict(True, "Each method is trained with the same seeds, and nothing else differs.")


# 08_a_rule_of_your_own

_WHOLE = (
    "k and Δ are tensors with one value for each image: torch.where, torch.sign and clamp take them whole, "
    "if and min do not."
)


def _require_moves(
    answer: Any,
    k: Tensor,
    delta: Tensor,
    settings: Mapping[str, float],
    expected: Tensor,
    mistakes: Mapping[str, Tensor],
) -> None:
    """End the check at the first image that a learner's rule moves to another k than the expected one."""
    found = returned(answer, (k, delta, *settings.values()), f"{len(k)} images", advice=_WHOLE)
    shape = tuple(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
    require(shape == k.shape, f"A tensor of shape {tuple(k.shape)} is wanted, this is {shape}. {_WHOLE}")
    found = found.detach().to(k)

    def is_near(moved: Tensor) -> Tensor:
        return found.isclose(moved.to(k), rtol=0, atol=1e-3)

    if not is_near(expected).all():
        i = int(is_near(expected).int().argmin())
        told = ", ".join(f"{name} = {value:g}" for name, value in settings.items())
        hint = f"k = {k[i]:g} and Δ = {delta[i]:g} with {told} lead to k = {expected[i]:g}, not {found[i]:g}."
        not_yet(next((words for words, moved in mistakes.items() if is_near(moved).all()), hint))


@check("08_a_rule_of_your_own")
def sign_step(answer: Any) -> Verdict:
    """A function (k (N,), delta (N,), alpha, low, high) → the next k (N,): α pixels up where Δ > 0, down where
    Δ < 0, within the bounds."""
    k = torch.tensor([300, 300, 300, 391.4, 391.4, 160, 160, 620, 620, 200, 600])
    delta = torch.tensor([0.5, -0.5, 0, 0.001, -0.001, -0.01, 0.01, 0.9, -0.9, 0, 0])
    for alpha, low, high in ((10.0, 157.0, 627.0), (52.5, 156.8, 627.2)):
        step = alpha * delta.sign()
        mistakes = {
            "That is equation (4): here every step is α pixels, however large Δ is.": k + alpha * delta,
            "The sign is wrong: up where Δ is above 0.": k - step,
            "Where Δ is 0, k stays: here it goes up.": k + step.where(delta != 0, alpha),
            "Where Δ is 0, k stays: here it goes down.": k + step.where(delta != 0, -alpha),
        }
        mistakes = {words: moved.clamp(low, high) for words, moved in mistakes.items()}
        mistakes["Clip k to its bounds, low … high."] = k + step
        settings = {"α": alpha, "low": low, "high": high}
        _require_moves(answer, k, delta, settings, (k + step).clamp(low, high), mistakes)
    return Verdict(True, "It looks at the direction alone: a faint Δ moves k as far as a strong one.")


@check("08_a_rule_of_your_own")
def patient_rule(answer: Any) -> Verdict:
    """A function (k (N,), delta (N,), alpha, low, high, deadband) → the next k (N,): equation (4) where |Δ| is above
    the deadband; elsewhere k stays."""
    k = torch.tensor([300, 300, 300, 300, 300, 300, 300, 391.4, 160, 620, 300])
    delta = torch.tensor([0.5, -0.5, 0.125, -0.125, 0.25, -0.25, 0.02, 0.3, -0.9, 0.9, 0])
    for alpha, low, high, deadband in (
        (10.0, 157.0, 627.0, 0.25),
        (52.5, 156.8, 627.2, 0.125),
        (10.0, 0.0, 784.0, 0.0),
    ):
        strong = delta.abs() > deadband
        mistakes = {
            "That is equation (4) everywhere: a Δ within the deadband must not move k.": k + alpha * delta,
            "The sign of Δ does not matter for the deadband: |Δ| is compared with it.":
                k + alpha * delta * (delta > deadband),
            "Where |Δ| is exactly the deadband, k stays.": k + alpha * delta * (delta.abs() >= deadband),
            "Beyond the deadband the whole step α·Δ is made, not its part beyond it.":
                k + alpha * (delta - deadband * delta.sign()) * strong,
            "Δ is compared with the deadband, not the step α·Δ.":
                k + alpha * delta * ((alpha * delta).abs() > deadband),
            "Beyond the deadband the step is α·Δ, not α.": k + alpha * delta.sign() * strong,
            "It is the other way round: k stays where |Δ| is small.": k + alpha * delta * ~strong,
        }  # fmt: skip
        mistakes = {words: moved.clamp(low, high) for words, moved in mistakes.items()}
        expected = k + alpha * delta * strong
        mistakes["Clip k to its bounds, low … high."] = expected
        settings = {"α": alpha, "low": low, "high": high, "deadband": deadband}
        _require_moves(answer, k, delta, settings, expected.clamp(low, high), mistakes)
    return Verdict(True, "Small changes, which may be chance, leave k alone.")


@check("08_a_rule_of_your_own")
def least_magnitude(answer: Any) -> Verdict:
    """A function (saliency (N, H, W)) → what to rank (N, H, W), so that the lowest are the pixels of least influence:
    anything that rises with |g| within each image."""
    rng = np.random.default_rng(3)
    sizes = np.stack([rng.permutation(20).reshape(4, 5) for _ in range(3)]) / 4
    signs = np.where(rng.random(sizes.shape) < 0.7, 1, -1)  # the mean is not 0
    saliency = (sizes * signs * np.array([1, 0.1, 2]).reshape(3, 1, 1)).astype(np.float32)
    found = returned(answer, (torch.tensor(saliency),), f"maps of shape {saliency.shape}")
    ranked = _array_of(found, saliency.shape, "A map for each image")
    require(ranked.dtype.kind in "fiu", f"Numbers are wanted, these are {ranked.dtype}.")

    def rises_with(strength: np.ndarray) -> bool:
        order = strength.reshape(3, -1).argsort(1)
        return bool((np.diff(np.take_along_axis(ranked.reshape(3, -1), order, 1)) > 0).all())

    require(
        not rises_with(saliency),
        "So the most negative pixels come first, and they move the output as much as the most positive ones.",
    )
    require(
        not rises_with(-abs(saliency)), "So the pixels of most influence come first. The lowest are masked."
    )
    require(
        rises_with(abs(saliency)),
        "Of two pixels of one image, the one with the larger |g| must get the larger value, whatever its sign.",
    )
    return Verdict(True, "The lowest are now the pixels that move the output least, up or down.")
