"""Checks of the exercises: whatever a learner writes, they answer; right ways to write it are right."""

import functools
import json
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
from torch import nn

from smoot_explore import TrainingConfig, bundled_runs, load_data
from smoot_explore.core.adaptation import probability_change
from smoot_explore.core.loss import GuidedLoss
from smoot_explore.core.masking import fill_values, rank_pixels
from smoot_explore.core.rules import KChange, KSettings, move_by_delta
from smoot_explore.core.sanity import hit_rate
from smoot_explore.course import exercises
from smoot_explore.course.verdicts import EXERCISES, Verdict, check, number, returned

CONFIG = TrainingConfig()
AUCS = {"black": {"sgt": 1.0, "smoot": 2.0}, "image_range": {"sgt": 3.0, "smoot": 2.0}}
BY_ATTRIBUTION = {"gradient": 55.0, "integrated_gradients": 9.8}
CORRELATIONS = {"gradient": 0.1, "integrated_gradients": 0.7}
PAPER = {"beta": 0.8, "learning_rate": 0.001, "epochs": 100}
PLANNED = {"alpha": [1, 10, 100], "k_max": np.array([0.6, 0.8]), "seed": range(5)}


@functools.cache
def run():
    return next(run for run in bundled_runs() if run.name == "traditional")


@functools.cache
def data():
    return load_data("shapes", train=12, test=6)


@functools.cache
def clothes():
    return load_data("fashion-mnist-sample", train=20, test=10).train


@functools.cache
def curves():
    return run().curves().sel(attribution="gradient", fill="black").isel(image=slice(50))


SWEPT = xr.Dataset(
    {"test_accuracy": (("beta", "seed", "epoch"), [[[1.0, 70.0], [2.0, 74.5]], [[1.0, 60.0], [2.0, 90.0]]])},
    {"beta": [0.5, 0.95], "seed": [0, 1]},
)
CLEAN, DARK = torch.tensor([0.2, 0.8]), torch.tensor([0.5, 0.5])
LABEL_CHANGE = np.linspace(-0.8, 0.4, 50)
DELTA = 0.9 * LABEL_CHANGE + 0.01 * np.sin(np.arange(50))
CHECKS = {
    "pixels_at_start": lambda a: exercises.pixels_at_start(a, CONFIG, data()),
    "images_masked_more": lambda a: exercises.images_masked_more(a, np.array([1.0, 3.0, 2.0, 1.5, 5.0]), 3.0),
    "keeps_every_k": exercises.keeps_every_k,
    "share_of_class_two": lambda a: exercises.share_of_class_two(a, curves(), 0.05),
    "class_two_rule": exercises.class_two_rule,
    "strongest_rise": lambda a: exercises.strongest_rise(a, curves()),
    "fill_with_most_class_two": lambda a: exercises.fill_with_most_class_two(
        a, run().curves().sel(attribution="gradient")
    ),
    "lowest_pixels": exercises.lowest_pixels,
    "kl_divergence_rule": exercises.kl_divergence_rule,
    "fill_range": exercises.fill_range,
    "only_cross_entropy": exercises.only_cross_entropy,
    "label_change": lambda a: exercises.label_change(a, CLEAN, DARK, 0),
    "delta_rule": exercises.delta_rule,
    "step_rule": exercises.step_rule,
    "third_at_the_lower_bound": lambda a: exercises.third_at_the_lower_bound(a, run().landscape()),
    "identity_slope": lambda a: exercises.identity_slope(a, LABEL_CHANGE, DELTA, 0.95),
    "area_rule": exercises.area_rule,
    "best_by_fill": lambda a: exercises.best_by_fill(a, AUCS),
    "auc_less_random": lambda a: exercises.auc_less_random(a, BY_ATTRIBUTION, 23.0),
    "hit_rule": exercises.hit_rule,
    "explains_the_model": lambda a: exercises.explains_the_model(a, CORRELATIONS),
    "number_of_tokens": lambda a: exercises.number_of_tokens(a, 28, 7),
    "enlarged_pixel": lambda a: exercises.enlarged_pixel(a, 32, 224),
    "paper_settings": exercises.paper_settings,
    "returns_logits": lambda a: exercises.returns_logits(a, data()),
    "missing_class": lambda a: exercises.missing_class(a, {"a", "b"}, {"a"}),
    "bounds_in_pixels": lambda a: exercises.bounds_in_pixels(a, CONFIG, data()),
    "trainings_of_a_sweep": lambda a: exercises.trainings_of_a_sweep(a, PLANNED),
    "seeds_apart": lambda a: exercises.seeds_apart(a, SWEPT, 0.5),
    "fair_comparison": exercises.fair_comparison,
    "sign_step": exercises.sign_step,
    "patient_rule": exercises.patient_rule,
    "least_magnitude": exercises.least_magnitude,
}
ODD = {
    "text": "ten",
    "empty text": "",
    "list": [1, 2, 3],
    "ragged list": [[1], [2, 3]],
    "pair of texts": ("a", "b"),
    "pair of nothing": (None, None),
    "dictionary": {"alpha": "fast", "beta": None},
    "other dictionary": {"black": ["sgt"], "image_range": 3},
    "dictionary of numbers as keys": {1: 2, 3: 4},
    "true": True,
    "NumPy bool": np.bool_(True),
    "array of a bool": np.array(True),
    "not a number": float("nan"),
    "infinite": float("inf"),
    "too large": 10**400,
    "complex": np.complex128(1j),
    "no dimension": torch.tensor(0.123),
    "vector": np.arange(3.0),
    "tensor with gradient": torch.rand(3, requires_grad=True),
    "texts in xarray": xr.DataArray("II"),
    "set": {"x"},
    "class": int,
    "class of dictionaries": dict,
    "function without arguments": lambda: 1,
    "function that returns text": lambda *a: "yes",
    "function that returns a vector": lambda *a: np.arange(3.0),
    "function that returns a ragged list": lambda *a: [[1], [2, 3]],
    "function that returns what is not a number": lambda *a: float("nan"),
    "function that returns infinite tensors": lambda *a: torch.full((4, 5), torch.inf),
    "function that gives back what it is given": lambda first, *a: first,
    "function that raises": lambda *a: 1 / 0,
    "untrainable model": nn.Identity(),
    "model of another size": nn.Linear(3, 3),
    "untrained settings": TrainingConfig(method="traditional"),
    "settings that do not go together": TrainingConfig(k_min=0.9, k_max=0.1),
}


def test_every_check_is_listed_under_its_notebook():
    listed = [name for names in EXERCISES.values() for name in names]
    assert sorted(listed) == sorted(CHECKS)
    assert list(EXERCISES) == sorted(EXERCISES)
    for notebook, names in EXERCISES.items():
        assert {getattr(exercises, name).notebook for name in names} == {notebook}
        assert all(getattr(exercises, name).__doc__ for name in names)


def test_a_verdict_is_kept_in_the_score(tmp_path, monkeypatch):
    monkeypatch.setenv("SMOOT_EXPLORE_SCORE", str(tmp_path / "score.json"))
    exercises.number_of_tokens(16, 28, 7)
    exercises.number_of_tokens(None, 28, 7)
    exercises.number_of_tokens(17, 28, 7)
    kept = json.loads((tmp_path / "score.json").read_text())["checks"]["05_transformers"]["number_of_tokens"]
    assert (kept["right"], kept["tries"]) == (True, 2)


@pytest.mark.parametrize("check", CHECKS)
def test_no_answer_is_told_from_a_wrong_one(check):
    assert CHECKS[check](None).right is None
    assert CHECKS[check](...).right is None


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("check", CHECKS)
def test_odd_answers_get_a_verdict_and_never_an_error(check, odd):
    verdict = CHECKS[check](ODD[odd])
    assert isinstance(verdict, Verdict)
    assert verdict.right is not True
    assert len(verdict.words) > 5


def unanswered(*arguments): ...


@pytest.mark.parametrize(
    "check",
    ["class_two_rule", "lowest_pixels", "kl_divergence_rule", "fill_range", "delta_rule", "step_rule", "area_rule",
     "hit_rule", "sign_step", "patient_rule", "least_magnitude"],
)  # fmt: skip
def test_a_function_without_a_body_is_no_answer_yet(check):
    assert CHECKS[check](unanswered).right is None


def marks_in_place(saliency, k):
    mask = torch.zeros(saliency.shape, dtype=torch.bool)
    for _ in range(k):
        place = saliency.argmin()
        mask.view(-1)[place] = True
        saliency.view(-1)[place] = torch.inf
    return mask


def without_else(probabilities, tolerance):
    if max(probabilities[1:]) - probabilities[0] > tolerance:
        return True


def by_hand(m, accuracy):
    return torch.trapezoid(torch.from_numpy(accuracy), torch.from_numpy(m))


def of_lists(saliency, k):
    flat = saliency.flatten().tolist()
    lowest = sorted(range(12), key=flat.__getitem__)[:k]
    return [[4 * row + column in lowest for column in range(4)] for row in range(3)]


def drawn(image, masked):
    """The range in which the training itself draws."""
    noise = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, *image.shape)
    filled = fill_values(image.expand_as(noise), masked.expand_as(noise), "remaining", noise)
    return filled.amin(), filled.amax()


def delta_of_training(clean, masked, label, beta, n):
    change = probability_change(clean[None], masked[None], torch.tensor([label]), n)
    return beta * change.label + (1 - beta) * change.runners_up


def moved_by_training(k, delta, alpha, low, high):
    change = KChange(delta, delta, delta, delta, delta)
    return move_by_delta(k, change, k, k, KSettings(alpha, low, high, 784))


class Learned(nn.Module):
    """A network that ends as it is told, from features that are cut off or not."""

    def __init__(self, end=nn.Identity(), features=lambda x: x, answer=lambda x: x):  # noqa: B008
        super().__init__()
        self.body, self.head = nn.Linear(3 * 32 * 32, 8), nn.Linear(8, 6)
        self.end, self.features, self.answer = end, features, answer

    def forward(self, images):
        features = torch.tanh(self.body(self.features(images.flatten(1))))
        return self.answer(self.end(self.head(features)))


class WithoutGradient(Learned):
    @torch.no_grad()
    def forward(self, images):
        return super().forward(images)


def constant(value):
    """Before it has learned anything, it says the same for every class."""
    model = Learned()
    nn.init.zeros_(model.head.weight)
    nn.init.constant_(model.head.bias, value)
    return model


RIGHT = {
    "pixels_at_start": [512, 512.0, Fraction(512), Decimal(512), np.int64(512), torch.tensor([512])],
    "images_masked_more": [1, np.sum([True]), xr.DataArray(1)],
    "keeps_every_k": [
        TrainingConfig(method="sgt"),
        TrainingConfig(alpha=0),
        TrainingConfig(k_min=0.5, k_max=0.5),
        TrainingConfig(beta=0.5, top_n=10),
        TrainingConfig(beta=0.5, top_n=20, delta_class="predicted"),
        TrainingConfig(beta=0, top_n=1),
    ],
    "class_two_rule": [
        without_else,
        lambda p, t: np.max(p[1:]) > p[0] + t,
        lambda p, t: torch.max(p[1:]) > p[0] + t,
        lambda p, t: p[1:].max() - p[0] > t,
        lambda p, t: (p > p[0] + t).any(),
        lambda p, t: torch.tensor([(p > p[0] + t).any()]),
        lambda p, t: bool((p[1:] - p[0]).clamp(min=0).amax() > t),
        lambda p, t: p.index(max(p)) > 0 and max(p) > p[0] + t,
        lambda p, t: any(value > p[0] + t for value in p),
        lambda p, t: sum(value - t > p[0] for value in p[1:]),
    ],
    "fill_with_most_class_two": ["remaining", "Remaining", ["remaining"], xr.DataArray("remaining")],
    "lowest_pixels": [
        marks_in_place,
        of_lists,
        lambda g, k: rank_pixels(g[None])[0] < k,
        lambda g, k: torch.arange(12).unsqueeze(1).eq(g.flatten().topk(k, largest=False)[1]).any(1).view_as(g),
        lambda g, k: g.ravel().argsort()[::-1][::-1].argsort().reshape(g.shape) < k,
    ],
    "kl_divergence_rule": [
        lambda p, q: (p * p.log() - p * q.log()).sum().item(),
        lambda p, q: F.kl_div(q.log(), p, reduction="sum"),
        lambda p, q: np.sum(p * np.log(p / q)),
        lambda p, q: sum(a * np.log(a / b) for a, b in zip(p, q, strict=True)),
    ],
    "fill_range": [
        drawn,
        lambda image, masked: torch.aminmax(image[~masked]),
        lambda image, masked: (image[~masked].min(), image[~masked].max()),
        lambda image, masked: np.array([np.min(image[~masked]), np.max(image[~masked])]),
        lambda image, masked: np.quantile(image[np.logical_not(masked)], [0, 1]),
        lambda image, masked: [f(v for row, gone in zip(image, masked, strict=True)
                                 for v, m in zip(row, gone, strict=True) if not m) for f in (min, max)],
        lambda image, masked: xr.DataArray(image).where(xr.DataArray(~masked)).quantile([0, 1]),
    ],
    "only_cross_entropy": [TrainingConfig(method="sgt", kl_weight=0)],
    "label_change": [0.3, np.float32(0.3), torch.tensor(0.3), Fraction(3, 10), Decimal("0.3")],
    "delta_rule": [delta_of_training],
    "step_rule": [
        lambda k, d, a, low, high: min(max(k + a * d, low), high),
        lambda k, d, a, low, high: np.clip(k + a * d, low, high),
        lambda k, d, a, low, high: torch.clamp(k + a * d, low, high),
        lambda k, d, a, low, high: (k + a * d).clamp(low, high),
        lambda k, d, a, low, high: sorted([low, k + a * d, high])[1],
        moved_by_training,
    ],
    "third_at_the_lower_bound": [{"alpha": 400, "beta": 1.0}, {"beta": torch.tensor(1.0), "alpha": Fraction(400)}],
    "identity_slope": [0.9, float(np.polyfit(LABEL_CHANGE, DELTA, 1)[0]), np.float32(0.895)],
    "area_rule": [
        by_hand,
        lambda m, accuracy: np.trapezoid(accuracy, m),
        lambda m, accuracy: torch.trapezoid(accuracy, m),
        lambda m, accuracy: sum((m[i] - m[i - 1]) * (accuracy[i] + accuracy[i - 1]) / 2 for i in range(1, len(m))),
        lambda m, accuracy: xr.DataArray(accuracy, coords={"m": m}).integrate("m"),
    ],
    "best_by_fill": [
        {"black": "sgt", "image_range": "smoot"},
        {"black": "SGT", "image range": "SMOOT"},
        {"image_range": ["smoot"], "black": np.array("sgt")},
    ],
    "auc_less_random": [
        {"gradient": 32.0, "integrated_gradients": -13.2},
        {"integrated gradients": np.float32(-13.2), "gradient": torch.tensor(32.0), "random": 0},
    ],
    "hit_rule": [
        lambda g, mask: hit_rate(g[None], mask[None]),
        lambda g, mask: mask.flatten()[g.flatten().topk(int(mask.sum()))[1]].float().mean(),
        lambda g, mask: mask.ravel()[np.argsort(-g.ravel())[: mask.sum()]].mean(),
        lambda g, mask: Fraction(int(mask.flatten()[g.flatten().argsort()][-int(mask.sum()) :].sum()), int(mask.sum())),
    ],
    "explains_the_model": [
        ["integrated_gradients"],
        ("integrated gradients",),
        {"Integrated Gradients"},
        {"integrated_gradients": 0.7},
        {"integrated_gradients": True, "gradient": False},
        np.array(["integrated_gradients"]),
        {"integrated_gradients": 0.7}.keys(),
    ],
    "number_of_tokens": [17],
    "enlarged_pixel": [49, 7.0**2],
    "paper_settings": [
        TrainingConfig(**PAPER),
        TrainingConfig(**PAPER, device="cpu", seed=3, precision="bfloat16", alpha=np.float64(10)),
    ],
    "returns_logits": [
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 6)),
        nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(6)),
        Learned(nn.LayerNorm(6)),
        Learned(features=lambda x: F.layer_norm(x, x.shape)),
        constant(0),
        constant(0.5),
    ],
    "missing_class": ["b", "B", {"b"}, ["b"]],
    "bounds_in_pixels": [np.array([0.2 * 1024, 0.8 * 1024]), [205, 819], torch.tensor([204.8, 819.2])],
    "trainings_of_a_sweep": [30, np.prod([3, 2, 5])],
    "seeds_apart": [SWEPT.test_accuracy[0, 1, 1] - SWEPT.test_accuracy[0, 0, 1], np.ptp([70, 74.5])],
    "fair_comparison": [
        {"seed": range(3), "method": ("smoot", "sgt")},
        {"seed": np.arange(4), "method": np.array(["smoot", "sgt"])},
        {"seed": {1, 2, 3}, "method": ["smoot", "sgt"], "epochs": [3]},
    ],
    "sign_step": [
        lambda k, d, a, low, high: (k + a * torch.sign(d)).clamp(low, high),
        lambda k, d, a, low, high: torch.where(d > 0, k + a, torch.where(d < 0, k - a, k)).clip(low, high).double(),
        lambda k, d, a, low, high: torch.minimum(torch.maximum(k + a * (d > 0).int() - a * (d < 0).int(),
                                                               torch.tensor(low)), torch.tensor(high)),
    ],
    "patient_rule": [
        lambda k, d, a, low, high, dead: torch.where(d.abs() > dead, (k + a * d).clamp(low, high), k),
        lambda k, d, a, low, high, dead: moved_by_training(k, d * (d.abs() > dead), a, low, high),
        lambda k, d, a, low, high, dead: (k + a * d.masked_fill(abs(d) <= dead, 0)).clamp(low, high),
    ],
    "least_magnitude": [
        torch.abs,
        lambda g: g**2,
        lambda g: g.abs().sqrt(),
        lambda g: g.abs() / g.abs().amax((1, 2), keepdim=True),
        lambda g: g.abs().log(),
        lambda g: rank_pixels(g.abs()),
        lambda g: abs(g).tolist(),
        lambda g: np.maximum(g, np.negative(g)),
        lambda g: np.square(np.array(g), dtype=float),
    ],
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # of functions for arrays that are given tensors
@pytest.mark.parametrize(("check", "answer"), [(check, one) for check, some in RIGHT.items() for one in some])
def test_right_answers_of_other_forms_are_right(check, answer):
    verdict = CHECKS[check](answer)
    assert verdict.right, verdict


WRONG = {
    "pixels_at_start": {
        "share of the pixels": [0.5], "Which share of them": [1024], "with all its channels": [1536],
        "pixels does one image": [32, 511, 513],
    },
    "images_masked_more": {
        "smaller now": [3], "where it began": [2], "their share": [0.2], "in per cent": [20], "and count": [5, 4],
    },
    "keeps_every_k": {
        "no pixel is masked": [TrainingConfig(method="sgt", k_init=0), TrainingConfig(alpha=0, k_init=0.0001),
                               TrainingConfig(alpha=0, k_init=0.4, patch=28)],
        "nothing at all": [TrainingConfig(method="traditional")],
        "do not go together": [TrainingConfig(method="sgt", k_min=0.9), TrainingConfig(alpha=0, momentum=0.9)],
        "its own way": [TrainingConfig(k_rule="magnitude", alpha=0)],
        "outside the bounds": [TrainingConfig(alpha=0, k_init=0.1), TrainingConfig(k_min=0.6, k_max=0.6)],
        "which setting stops it": [TrainingConfig(), TrainingConfig(beta=0.5), TrainingConfig(beta=0),
                                   TrainingConfig(top_n=1), TrainingConfig(beta=0.5, top_n=9),
                                   TrainingConfig(kl_weight=0), TrainingConfig(learning_rate=0),
                                   TrainingConfig(alpha=1e-3), TrainingConfig(k_min=0.4999, k_max=0.5001),
                                   TrainingConfig(epochs=1)],
    },
    "class_two_rule": {
        "a curve that only falls": [lambda p, t: True, lambda p, t: p[0] > t, lambda p, t: np.ptp(p) > t,
                                    lambda p, t: abs(p[1:] - p[0]).max() > t, lambda p, t: max(p[1:]) > t],
        "rises first": [lambda p, t: False, lambda p, t: p[-1] > p[0] + t, lambda p, t: p.mean() > p[0] + t],
        "at the very end": [lambda p, t: p[1] > p[0] + t, lambda p, t: max(p[1:-1]) > p[0] + t],
        "early peak that is low": [lambda p, t: max(p[1:]) > 0.5 + t, lambda p, t: p.argmax() >= len(p) / 3],
        "smaller than the tolerance": [lambda p, t: max(p) > p[0], lambda p, t: p.argmax() > 0,
                                       lambda p, t: max(p[1:]) > p[0] - t, lambda p, t: max(p) / p[0] - 1 > t],
        "with a smaller tolerance": [lambda p, t: max(p) > p[0] + 0.01],
        "1 % of the start": [lambda p, t: max(p[1:]) > p[0] * (1 + t)],
        "small steps": [lambda p, t: max(np.diff(p)) > t],
        "reach the start again": [lambda p, t: max(p[j] - min(p[:j]) for j in range(1, len(p))) > t],
        "it must be more": [lambda p, t: max(p[1:]) - p[0] >= t and p.argmax() > 0],
        "stays where it is": [lambda p, t: max(p[1:]) - p[0] > t or t == 0],
        "this is the text": [lambda p, t: "II" if max(p[1:]) > p[0] + t else "I"],
        "these are 2 values": [lambda p, t: p[1:] > p[0] + t],
        "it raises": [lambda p, t: p.nothing],
    },
    "strongest_rise": {
        "among the 50 images is wanted, from 0": [50, -1, 0.5], "the highest probability minus the first": [0, 1],
    },
    "lowest_pixels": {
        "nearest to 0": [lambda g, k: rank_pixels(g.abs()[None])[0] < k],
        "These are the highest": [lambda g, k: rank_pixels(g[None], order="highest")[0] < k],
        "Ranks begin at 0": [lambda g, k: rank_pixels(g[None])[0] <= k],
        "0 pixels are wanted; 1 are": [lambda g, k: g <= g.flatten().sort().values[max(k - 1, 0)]],
        "0 pixels are wanted; 12": [lambda g, k: g <= g.flatten().sort().values[k - 1]],
        "where pixels are equal": [lambda g, k: g < g.flatten().sort().values[k] if k < 12 else g == g,
                                   lambda g, k: g <= g.flatten().kthvalue(k)[0] if k else g != g,
                                   lambda g, k: g <= np.sort(np.array(g), None)[k - 1] if k else g != g],
        "other pixels are": [lambda g, k: torch.arange(12).view(3, 4) < k,
                             lambda g, k: g.flatten().argsort().view(3, 4) < k,
                             lambda g, k: rank_pixels(g.T[None])[0].T.flip(0) < k],
        "k = 12 it raises": [lambda g, k: g < g.flatten().sort().values[k]],
        "should be bool": [lambda g, k: (rank_pixels(g[None])[0] < k).int()],
        "shape (3, 4) is wanted": [lambda g, k: (rank_pixels(g[None])[0] < k).flatten(), lambda g, k: g.topk],
    },
    "kl_divergence_rule": {
        "p stands in front": [lambda p, q: (q * (q / p).log()).sum()],
        "Is a sum missing": [lambda p, q: p * (p / q).log()],
        "natural logarithm": [lambda p, q: (p * (p / q).log2()).sum()],
        "log(p/q), not": [lambda p, q: (p * (q / p).log()).sum()],
        "That is a mean": [lambda p, q: (p * (p / q).log()).mean(), lambda p, q: F.kl_div(q.log(), p)],
        "over all classes": [lambda p, q: abs(p - q).sum(), lambda p, q: -(p * q.log()).sum(),
                             lambda p, q: (p * abs((p / q).log())).sum(), lambda p, q: (p / q).log().sum(),
                             lambda p, q: F.kl_div(p, q, reduction="sum"), lambda p, q: ((p - q) * (p / q).log()).sum(),
                             lambda p, q: (p[:3] * (p[:3] / q[:3]).log()).sum()],
    },
    "fill_range": {
        "range of the whole image": [lambda image, masked: (image.min(), image.max()),
                                     lambda image, masked: (image.min(), image[~masked].max())],
        "range of the masked": [lambda image, masked: (image[masked].min(), image[masked].max())],
        "as 0": [lambda image, masked: ((image * ~masked).min(), (image * ~masked).max()),
                 lambda image, masked: torch.aminmax(image.masked_fill(masked, 0))],
        "lowest comes first": [lambda image, masked: (image[~masked].max(), image[~masked].min())],
        "NOT masked": [lambda image, masked: (image[~masked].min(), image.max()),
                       lambda image, masked: (-0.5, 1.5),
                       lambda image, masked: (abs(image[~masked]).min(), abs(image[~masked]).max()),
                       lambda image, masked: (0.0, 1.0),
                       lambda image, masked: (image[~masked].mean() - image[~masked].std(), image[~masked].mean())],
        "Two numbers": [lambda image, masked: image[~masked].max() - image[~masked].min(),
                        lambda image, masked: image[~masked]],
    },
    "only_cross_entropy": {
        "Keep method": [TrainingConfig(method="traditional"), TrainingConfig(kl_weight=0)],
        "Which weight": [TrainingConfig(method="sgt"), TrainingConfig(method="sgt", kl_weight=1e-6),
                         TrainingConfig(method="sgt", k_init=0)],
        "do not go together": [TrainingConfig(method="sgt", kl_weight=0, momentum=0.9)],
    },
    "label_change": {
        "The sign": [-0.3], "when masked. What": [0.5], "as a share": [1.5], "not per cent": [30],
        "Equation (1)": [0.31, 0.0],
    },
    "delta_rule": {
        "The sign": [lambda c, m, y, b, n: -delta_of_training(c, m, y, b, n),
                     lambda c, m, y, b, n: delta_of_training(c, m, y, b, n).abs()],
        "no mean": [lambda c, m, y, b, n: b * (m - c)[y] + (1 - b) * delta_of_training(c, m, y, 0, n) / max(n - 1, 1)],
        "β belongs": [lambda c, m, y, b, n: delta_of_training(c, m, y, 1 - b, n)],
        "runners-up are": [
            lambda c, m, y, b, n: float(c[y] - m[y]),
            lambda c, m, y, b, n: delta_of_training(c, m, y, b, n + 1),
            lambda c, m, y, b, n: delta_of_training(c, m, y, b, n - 1) if n > 1 else 0,
            lambda c, m, y, b, n: delta_of_training(c, m, int(c.argmax()), b, n),
            lambda c, m, y, b, n: -delta_of_training(m, c, y, b, n),
            lambda c, m, y, b, n: delta_of_training(c, m, y, b, 5),
            lambda c, m, y, b, n: delta_of_training(c, m, y, 0.95, n),
            lambda c, m, y, b, n: (2 * b - 1) * (m[y] - c[y]),
            lambda c, m, y, b, n: b * (m - c)[y] + (1 - b) * (m - c)[c.argsort(descending=True)[1:n]].sum(),
            lambda c, m, y, b, n: b * (m - c)[y] + (1 - b) * (m - c)[c.argsort()[: n - 1]].sum(),
        ],
    },
    "step_rule": {
        "leads to 505": [lambda k, d, a, low, high: min(max(k + 10 * d, 157), 627)],
        "leads to 157": [lambda k, d, a, low, high: k + a * d, lambda k, d, a, low, high: min(k + a * d, high)],
        "leads to 397": [lambda k, d, a, low, high: min(max(k - a * d, low), high), lambda k, d, a, low, high: k,
                         lambda k, d, a, low, high: min(max(k + d, low), high),
                         lambda k, d, a, low, high: min(max(k + a, low), high)],
        "leads to 627": [lambda k, d, a, low, high: max(k + a * d, low)],
        "it is rounded only": [lambda k, d, a, low, high: round(min(max(k + a * d, low), high)),
                               lambda k, d, a, low, high: int(min(max(k + a * d, low), high)),
                               lambda k, d, a, low, high: min(max(round(k + a * d), low), high),
                               lambda k, d, a, low, high: np.ceil(np.clip(k + a * d, low, high))],
        "bounds 156.8": [lambda k, d, a, low, high: k if not low <= k + a * d <= high and k % 1 == 0 and k in (100, 700)
                         else min(max(k + a * d, low), high)],
        "not 151": [lambda k, d, a, low, high: min(max(k, low), high) + a * d],
    },
    "third_at_the_lower_bound": {
        "not negative": [{"alpha": alpha, "beta": 1.0} for alpha in (-400, np.nan, np.inf)],
        "end at the lower": [{"alpha": 0, "beta": 0.95}, {"alpha": 1, "beta": 0.95}],
        "between 0 and 1": [{"alpha": 400, "beta": 2}],
        "should look like": [{"alpha": 400}, (400, 1.0), 400, {"alpha": 400, "beta": 1.0, "k_min": 0}],
    },
    "identity_slope": {
        "on the horizontal axis": [1 / 0.9], "β itself": [0.95],
        "correlation": [np.corrcoef(LABEL_CHANGE, DELTA)[0, 1]],
        "Fit a line": [-0.9, 0, 0.5, 0.93, 0.99, 1.9, 90],
    },
    "area_rule": {
        "need not be equal": [
            lambda m, a: a.mean(), lambda m, a: np.trapezoid(a, dx=1 / (len(a) - 1)), lambda m, a: a.sum(),
            lambda m, a: (np.diff(m) * a[1:]).sum(), lambda m, a: (np.diff(m) * a[:-1]).sum(),
            lambda m, a: 2 * np.trapezoid(a, m), lambda m, a: np.trapezoid(a), lambda m, a: np.trapezoid(m, a),
            lambda m, a: -np.trapezoid(a, m), lambda m, a: (a[0] + a[-1]) / 2,
            lambda m, a: a[0] - np.trapezoid(a, m), lambda m, a: round(np.trapezoid(a, m)),
        ],
        "where per cent are wanted": [lambda m, a: np.trapezoid(a / 100, m)],
        "not per cent": [lambda m, a: 100 * np.trapezoid(a, m)],
        "Is a sum missing": [lambda m, a: np.diff(m) * (a[1:] + a[:-1]) / 2],
    },
    "best_by_fill": {
        "Look again at: black, image_range": [{"black": "smoot", "image_range": "sgt"}],
        "Look again at: image_range": [{"black": "sgt", "image_range": "sgt"}, {"black": "sgt", "image_range": "best"}],
        "a method for each": [{"black": "sgt"}, "sgt", ["sgt", "smoot"], {"black": "sgt", "mean": "smoot"}],
        "one training method": [{"black": ["sgt", "smoot"], "image_range": "smoot"}],
        "in quotes": [{"black": 1.0, "image_range": 2.0}],
    },
    "auc_less_random": {
        "The sign": [{"gradient": -32.0, "integrated_gradients": 13.2}],
        "AUCs themselves": [BY_ATTRIBUTION],
        "These are ratios": [{"gradient": 2.39, "integrated_gradients": 0.43}],
        "shares of the": [{"gradient": 239.1, "integrated_gradients": 42.6}],
        "in per cent of": [{"gradient": 139.1, "integrated_gradients": -57.4}],
        "These are fractions": [{"gradient": 0.32, "integrated_gradients": -0.132}],
        "Look again at: gradient.": [{"gradient": 13.2, "integrated_gradients": -13.2}],
        "each of: gradient": [{"gradient": 32.0}, {"gradient": 32.0, "integrated_gradients": -13.2, "occlusion": 1}],
        "A dictionary": [[32.0, -13.2], 32.0],
        "One number": [{"gradient": "worse", "integrated_gradients": "better"}],
    },
    "hit_rule": {
        "largest magnitude": [lambda g, mask: hit_rate(g.abs()[None], mask[None])],
        "highest values": [
            lambda g, mask: hit_rate(-g[None], mask[None]), lambda g, mask: mask.float().mean(),
            lambda g, mask: mask[g > g.mean()].float().mean(), lambda g, mask: float(mask.flatten()[g.argmax()]),
            lambda g, mask: mask[g >= g.flatten().sort(descending=True)[0][int(mask.sum()) - 1]].float().mean(),
            lambda g, mask: mask.flatten()[g.flatten().topk(5)[1]].float().mean(),
            lambda g, mask: mask.flatten()[g.flatten().topk(int(mask.sum()))[1]].float().sum() / 20,
            lambda g, mask: mask.flatten()[g.flatten().topk(int(mask.sum()))[1]].float().sum(),
            lambda g, mask: g[mask].sum() / g.sum(), lambda g, mask: 1.0,
            lambda g, mask: mask[g > g.flatten().sort(descending=True)[0][int(mask.sum()) % 20]].sum() / mask.sum(),
            lambda g, mask: (g[mask] > g.median()).float().mean(),
        ],
        "not per cent": [lambda g, mask: 100 * hit_rate(g[None], mask[None])],
    },
    "explains_the_model": {
        "above 0.3": [[], ["gradient"], ["integrated_gradients", "random"], CORRELATIONS],
        "A list of names": ["integrated_gradients", 1], "in quotes": [[0.7]],
    },
    "number_of_tokens": {"One more token": [16], "in both directions": [784, 5, 4]},
    "enlarged_pixel": {"side of the square": [7], "what does that do": [1, 224, 224**2]},
    "paper_settings": {
        name: [TrainingConfig(**{**PAPER, name: value})]
        for name, value in {
            "beta": 0.95, "learning_rate": 1.0, "epochs": 10, "method": "sgt", "optimizer": "adam", "batch_size": 64,
            "alpha": 5, "k_init": 0.4, "k_min": 0.1, "k_max": 0.9, "top_n": 10, "kl_weight": 0.5, "fill": "image_range",
            "signed": False, "patch": 4, "delta_class": "predicted", "k_rule": "magnitude", "schedule": "cosine",
            "saliency_pass": "harvested", "batch_norm": "both", "weight_decay": 0.1, "label_smoothing": 0.1,
            "class_weights": "balanced", "warm_up": 1, "gradient_limit": 1,
        }.items()
    },
    "returns_logits": {
        "Leave the softmax out": [Learned(nn.Softmax(1))],
        "Leave the log-softmax out": [Learned(nn.LogSoftmax(1))],
        "Leave the sigmoid out": [Learned(nn.Sigmoid()), Learned(answer=lambda x: 1 / (1 + torch.exp(-x)))],
        "reaches the weights": [Learned(answer=torch.Tensor.detach), WithoutGradient(),
                                Learned(answer=lambda x: torch.tensor(x.tolist()))],
        "reaches the images": [Learned(features=torch.Tensor.detach)],
        "NaN": [Learned(answer=lambda x: x / 0)],
        "shape (4, 6), not (4, 1)": [Learned(answer=lambda x: x[:, :1])],
        "not tuple": [Learned(answer=lambda x: (x, x))],
        "it raises": [Learned(answer=lambda x: x.nothing)],
        "No answer": [],
        "nn.Module": [lambda images: images, torch.rand(4, 6)],
    },
    "missing_class": {"Read the message": ["a", "c", {"a", "b"}, []], "in quotes": [2]},
    "bounds_in_pixels": {
        "These are the shares": [(0.2, 0.8)], "with all its channels": [(614.4, 2457.6)],
        "lowest comes first": [(819.2, 204.8)], "k_min and k_max": [(0, 1024), (204.8, 1024)],
        "Two numbers": [5, (1, 2, 3)],
    },
    "trainings_of_a_sweep": {
        "multiply": [10], "Seeds are a setting": [6], "number of settings": [3], "Multiply the numbers": [31, 0, 15],
    },
    "seeds_apart": {
        "other way round": [-4.5], "over all epochs": [73.5], "over every β": [30.0], "standard deviation": [2.25],
        "the best minus the worst": [72.25, 74.5, 0.0], "where per cent": [0.045],
    },
    "fair_comparison": {
        "Three of them": [{"method": ["sgt", "smoot"]}, {"method": ["sgt", "smoot"], "seed": [1, 2]}],
        "twice": [{"method": ["sgt", "smoot"], "seed": [1, 1, 1]}],
        "needs a list": [{"method": "sgt", "seed": 3}, {"method": ["sgt", "smoot"], "seed": 3}],
        "tells SGT from SMOOT": [{"method": ["smoot"], "seed": [0, 1, 2]}, {"seed": [0, 1, 2]}],
        "does not take it": [{"method": ["SGT", "SMOOT"], "seed": [0, 1, 2]}, {"methods": ["sgt", "smoot"]}, {}],
        "Something else differs": [{"method": ["sgt", "smoot"], "seed": [0, 1, 2], "alpha": [1, 10]}],
    },
    "sign_step": {
        "That is equation (4)": [moved_by_training],
        "The sign": [lambda k, d, a, low, high: (k - a * d.sign()).clamp(low, high)],
        "Clip k": [lambda k, d, a, low, high: k + a * d.sign()],
        "here it goes up": [lambda k, d, a, low, high: (k + a * torch.where(d >= 0, 1, -1)).clamp(low, high)],
        "here it goes down": [lambda k, d, a, low, high: (k + a * torch.where(d > 0, 1, -1)).clamp(low, high)],
        "if and min do not": [lambda k, d, a, low, high: k + a if d > 0 else k - a,
                              lambda k, d, a, low, high: min(max(k + a * d.sign(), low), high),
                              lambda k, d, a, low, high: np.clip(np.array(k) + a * np.sign(np.array(d)), low, high),
                              lambda k, d, a, low, high: [max(low, one) for one in k.tolist()],
                              lambda k, d, a, low, high: k[0] + a],
        "lead to k": [lambda k, d, a, low, high: (k + d.sign()).clamp(low, high), lambda k, d, a, low, high: k,
                      lambda k, d, a, low, high: (k + a * d.sign()).round().clamp(low, high),
                      lambda k, d, a, low, high: (k + 10 * d.sign()).clamp(157, 627)],
    },
    "patient_rule": {
        "equation (4) everywhere": [lambda k, d, a, low, high, dead: (k + a * d).clamp(low, high)],
        "|Δ| is compared": [lambda k, d, a, low, high, dead: (k + a * d * (d > dead)).clamp(low, high)],
        "exactly the deadband": [lambda k, d, a, low, high, dead: (k + a * d * (d.abs() >= dead)).clamp(low, high)],
        "not its part": [lambda k, d, a, low, high, dead: (k + a * F.softshrink(d, dead)).clamp(low, high)],
        "not the step": [lambda k, d, a, low, high, dead: (k + a * d * ((a * d).abs() > dead)).clamp(low, high)],
        "not α.": [lambda k, d, a, low, high, dead: (k + a * d.sign() * (d.abs() > dead)).clamp(low, high)],
        "other way round": [lambda k, d, a, low, high, dead: (k + a * d * (d.abs() <= dead)).clamp(low, high)],
        "Clip k": [lambda k, d, a, low, high, dead: k + a * d * (d.abs() > dead)],
        "if and min do not": [lambda k, d, a, low, high, dead: k if abs(d) <= dead else k + a * d],
        "lead to k": [lambda k, d, a, low, high, dead: (k + a * d * (d.abs() > 0.25)).clamp(low, high),
                      lambda k, d, a, low, high, dead: torch.where(d.abs() > dead, k + a * d, low).clamp(low, high)],
    },
    "least_magnitude": {
        "most negative pixels": [lambda g: g, torch.sigmoid, lambda g: g + 3, lambda g: g - g.mean(), lambda g: g**3],
        "of most influence": [lambda g: -g.abs(), lambda g: 1 / (1 + g.abs()), lambda g: -(g**2)],
        "whatever its sign": [lambda g: -g, torch.relu, lambda g: (g - g.mean()).abs(), torch.sign,
                              lambda g: g.abs().round(), torch.zeros_like, torch.rand_like,
                              lambda g: (g - g.mean((1, 2), keepdim=True)) ** 2],
        "these are bool": [lambda g: g.abs() > 1],
        "for each image of shape": [lambda g: g.abs().mean(0), lambda g: g.mean().abs(), lambda g: g.abs().flatten(1)],
    },
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("check", "hint", "answer"),
    [(check, hint, one) for check, hints in WRONG.items() for hint, some in hints.items() for one in some],
)
def test_wrong_answers_get_a_hint_that_helps(check, hint, answer):
    verdict = CHECKS[check](answer)
    assert verdict.right is False
    assert hint in verdict.words


@pytest.mark.parametrize("answer", [*RIGHT["keeps_every_k"], *WRONG["keeps_every_k"]["which setting stops it"],
                                    *WRONG["keeps_every_k"]["outside the bounds"]])  # fmt: skip
def test_k_stays_in_a_training_where_the_check_says_so(answer):
    images = clothes()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    loss = GuidedLoss(model, answer, n_images=20, image_shape=images.image_shape, black=images.black)
    start = loss.k.clone()
    for _ in range(2):
        loss(images.normalize(), images.labels, torch.arange(20))
    assert torch.allclose(loss.k, start, rtol=0, atol=4e-5) == CHECKS["keeps_every_k"](answer).right


def test_all_classes_must_count_where_delta_shall_vanish():
    config = TrainingConfig(beta=0.5, top_n=5)
    assert exercises.keeps_every_k(config, n_classes=5).right
    assert not exercises.keeps_every_k(config, n_classes=6).right


def test_positions_and_shares_of_real_curves():
    rises = curves().probability.max("masked_fraction") - curves().probability.isel(masked_fraction=0)
    best = int(rises.argmax("image"))
    assert CHECKS["strongest_rise"](best).right
    assert CHECKS["strongest_rise"](np.float64(best)).right
    assert "count from 0" in CHECKS["strongest_rise"](best + 1).words
    share = 100 * float((rises > 0.05).mean())
    assert CHECKS["share_of_class_two"](share).right
    assert "where per cent are wanted" in CHECKS["share_of_class_two"](share / 100).words
    assert "class I." in CHECKS["share_of_class_two"](100 - share).words


def test_seeds_are_apart_by_those_that_were_trained():
    lost = xr.concat([SWEPT, SWEPT.isel(seed=[0]).assign_coords(seed=[2]) * np.nan], "seed")
    assert exercises.seeds_apart(4.5, lost, 0.5).right


def test_a_slope_is_measured_and_not_taken_from_theory():
    assert exercises.identity_slope(0.62, LABEL_CHANGE, 0.62 * LABEL_CHANGE, 0.8).right
    theory = exercises.identity_slope(0.6, LABEL_CHANGE, 0.62 * LABEL_CHANGE, 0.8)
    assert not theory.right
    assert theory.words.startswith("That is 2β − 1")
    moved = xr.DataArray(np.append(DELTA + 0.3, np.nan))
    through_0 = float((LABEL_CHANGE * (DELTA + 0.3)).sum() / (LABEL_CHANGE**2).sum())
    for slope in (0.9, through_0):
        assert exercises.identity_slope(slope, torch.tensor([*LABEL_CHANGE, 0.1]), moved, 0.95).right


def test_an_empty_list_of_maps_that_outlive_the_weights_may_be_right():
    for nothing in ([], (), set(), np.array([])):
        assert exercises.explains_the_model(nothing, {"gradient": 0.1}).right


def test_a_model_is_left_as_it_is():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3 * 32 * 32, 6), nn.Sigmoid())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert CHECKS["returns_logits"](model).right is False
    assert CHECKS["returns_logits"](model[:3]).right
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weights.grad is None for weights in model.parameters())


def test_a_limit_on_convolutions_is_kept():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4 * 28 * 28, 6))
    assert exercises.returns_logits(model, data(), most_convolutions=2).right
    assert "2 convolutions; 1 is the most" in exercises.returns_logits(model, data(), 1).words


def test_a_function_is_tried_in_the_notebooks_form_first():
    given = np.array([1.0])
    seen = []

    def picky(values, number, place):
        seen.append((type(values).__name__, type(number).__name__, type(place).__name__))
        values[0] = 7
        raise ValueError(f"try {len(seen)}")

    verdict = check("nowhere")(lambda answer: returned(answer, (given, 0.5, 2), "one value"))(picky)
    EXERCISES.pop("nowhere")
    assert verdict.words == "With one value it raises ValueError: try 1"
    assert given.tolist() == [1.0]
    assert seen == [("ndarray", "float", "int"), ("ndarray", "float", "int"), ("Tensor", "float", "int"),
                    ("Tensor", "Tensor", "int"), ("list", "float", "int")]  # fmt: skip


def test_numbers_of_all_kinds_are_numbers():
    for one in (
        3,
        3.0,
        np.float32(3),
        np.array([[3]]),
        torch.tensor(3),
        xr.DataArray(3),
        Fraction(3),
        Decimal(3),
    ):
        assert number(one) == 3.0
