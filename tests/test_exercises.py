"""Checks of the exercises: whatever a learner writes, they answer; right ways to write it are right."""

import functools

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from smoot_explore import TrainingConfig, bundled_runs, load_data
from smoot_explore.course import exercises

CONFIG = TrainingConfig()
AUCS = {"black": {"sgt": 1.0, "smoot": 2.0}, "mean": {"sgt": 3.0, "smoot": 2.0}}


@functools.cache
def run():
    return next(run for run in bundled_runs() if run.name == "traditional")


@functools.cache
def data():
    return load_data("shapes", train=12, test=6)


def curves():
    return run().curves().sel(attribution="gradient", fill="black").isel(image=slice(50))


SWEPT = xr.Dataset(
    {"test_accuracy": (("beta", "seed", "epoch"), [[[1.0, 70.0], [2.0, 74.5]]])},
    {"beta": [0.5], "seed": [0, 1]},
)
IMAGE, MASKED = torch.rand(4, 4), torch.rand(4, 4) > 0.5
CLEAN, DARK = torch.tensor([0.2, 0.8]), torch.tensor([0.5, 0.5])
CHECKS = {
    "pixels_at_start": lambda a: exercises.pixels_at_start(a, CONFIG, data()),
    "images_masked_more": lambda a: exercises.images_masked_more(a, np.array([1.0, 5.0]), 3.0),
    "keeps_every_k": exercises.keeps_every_k,
    "share_of_class_two": lambda a: exercises.share_of_class_two(a, curves(), 0.05),
    "class_two_rule": exercises.class_two_rule,
    "strongest_rise": lambda a: exercises.strongest_rise(a, curves()),
    "fill_with_most_class_two": lambda a: exercises.fill_with_most_class_two(
        a, run().curves().sel(attribution="gradient")
    ),
    "lowest_pixels": exercises.lowest_pixels,
    "kl_divergence_rule": exercises.kl_divergence_rule,
    "fill_range": lambda a: exercises.fill_range(a, IMAGE, MASKED),
    "only_cross_entropy": exercises.only_cross_entropy,
    "label_change": lambda a: exercises.label_change(a, CLEAN, DARK, 0),
    "delta_rule": exercises.delta_rule,
    "step_rule": exercises.step_rule,
    "third_at_the_lower_bound": lambda a: exercises.third_at_the_lower_bound(a, run().landscape()),
    "area_rule": exercises.area_rule,
    "best_by_fill": lambda a: exercises.best_by_fill(a, AUCS),
    "hit_rule": exercises.hit_rule,
    "explains_the_model": lambda a: exercises.explains_the_model(a, {"gradient": 0.1, "occlusion": 0.7}),
    "number_of_tokens": lambda a: exercises.number_of_tokens(a, 28, 7),
    "enlarged_pixel": lambda a: exercises.enlarged_pixel(a, 32, 224),
    "paper_settings": exercises.paper_settings,
    "returns_logits": lambda a: exercises.returns_logits(a, data()),
    "missing_class": lambda a: exercises.missing_class(a, {"a", "b"}, {"a"}),
    "bounds_in_pixels": lambda a: exercises.bounds_in_pixels(a, CONFIG, data()),
    "trainings_of_a_sweep": lambda a: exercises.trainings_of_a_sweep(a, {"alpha": [1, 10], "seed": range(5)}),
    "seeds_apart": lambda a: exercises.seeds_apart(a, SWEPT, 0.5),
    "fair_comparison": exercises.fair_comparison,
}
ODD = {
    "text": "ten",
    "empty text": "",
    "list": [1, 2, 3],
    "ragged list": [[1], [2, 3]],
    "pair of texts": ("a", "b"),
    "pair of nothing": (None, None),
    "dictionary": {"alpha": "fast", "beta": None},
    "other dictionary": {"black": ["sgt"], "mean": 3},
    "true": True,
    "NumPy bool": np.bool_(True),
    "not a number": float("nan"),
    "vector": np.arange(3.0),
    "tensor with gradient": torch.rand(3, requires_grad=True),
    "texts in xarray": xr.DataArray("II"),
    "set": {"x"},
    "class": int,
    "function without arguments": lambda: 1,
    "function that returns text": lambda *a: "yes",
    "function that returns a vector": lambda *a: np.arange(3.0),
    "function that returns what is not a number": lambda *a: float("nan"),
    "function that raises": lambda *a: 1 / 0,
    "untrainable model": nn.Identity(),
    "model of another size": nn.Linear(3, 3),
    "untrained settings": TrainingConfig(method="traditional"),
}


@pytest.mark.parametrize("check", CHECKS)
def test_no_answer_is_told_from_a_wrong_one(check):
    assert CHECKS[check](None).right is None
    assert CHECKS[check](...).right is None


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("check", CHECKS)
def test_odd_answers_get_a_verdict_and_never_an_error(check, odd):
    verdict = CHECKS[check](ODD[odd])
    assert isinstance(verdict, exercises.Verdict)
    assert verdict.right is not True
    assert len(verdict.words) > 5


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


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        ("class_two_rule", without_else),
        ("class_two_rule", lambda p, t: np.max(p[1:]) > p[0] + t),
        ("lowest_pixels", marks_in_place),
        ("area_rule", by_hand),
        ("area_rule", lambda m, accuracy: np.trapezoid(accuracy, m)),
        ("kl_divergence_rule", lambda p, q: (p * p.log() - p * q.log()).sum().item()),
        ("step_rule", lambda k, d, a, low, high: np.clip(k + a * d, low, high)),
        ("keeps_every_k", TrainingConfig(alpha=0)),
        ("label_change", np.float32(0.3)),
        ("label_change", torch.tensor(0.3)),
        ("explains_the_model", ("occlusion",)),
        ("bounds_in_pixels", np.array([0.2 * 1024, 0.8 * 1024])),
        ("returns_logits", nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 6))),
        ("best_by_fill", {"black": "sgt", "mean": "smoot"}),
        ("trainings_of_a_sweep", 10),
        ("seeds_apart", SWEPT.test_accuracy[0, 1, 1] - SWEPT.test_accuracy[0, 0, 1]),
        ("fair_comparison", {"seed": range(3), "method": ("smoot", "sgt")}),
    ],
)  # fmt: skip
def test_other_right_answers_are_right(check, answer):
    assert CHECKS[check](answer).right, CHECKS[check](answer)


def test_seeds_are_apart_by_those_that_were_trained():
    lost = xr.concat([SWEPT, SWEPT.isel(seed=[0]).assign_coords(seed=[2]) * np.nan], "seed")
    assert exercises.seeds_apart(4.5, lost, 0.5).right


@pytest.mark.parametrize(
    ("check", "answer", "hint"),
    [
        ("delta_rule", lambda c, m, y, b, n: float(c[y] - m[y]), "runners-up"),
        ("kl_divergence_rule", lambda p, q: (q * (q / p).log()).sum(), "p stands in front"),
        ("kl_divergence_rule", lambda p, q: p * (p / q).log(), "Is a sum missing"),
        ("third_at_the_lower_bound", {"alpha": -400, "beta": 0.0}, "not negative"),
        ("keeps_every_k", TrainingConfig(method="sgt", k_init=0), "no pixel is masked"),
        ("step_rule", lambda k, d, a, low, high: min(max(k + 10 * d, 157), 627), "leads to 505"),
        ("label_change", -0.3, "sign"),
        ("number_of_tokens", 16, "One more token"),
        ("trainings_of_a_sweep", 7, "multiply"),
        ("fair_comparison", {"method": ["sgt", "smoot"], "seed": [1, 1, 1]}, "Three of them"),
        ("area_rule", lambda m, accuracy: accuracy.mean(), "need not be equal"),
        ("lowest_pixels", lambda g, k: g.abs() <= g.abs().flatten().sort().values[max(k - 1, 0)], "."),
    ],
)
def test_wrong_answers_get_a_hint_that_helps(check, answer, hint):
    verdict = CHECKS[check](answer)
    assert verdict.right is False
    assert hint in verdict.words


def test_a_model_is_left_as_it_is():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3 * 32 * 32, 6))
    assert CHECKS["returns_logits"](model).right
    assert model.training
    assert model[0].num_batches_tracked == 0


def test_a_limit_on_convolutions_is_kept():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4 * 28 * 28, 6))
    assert exercises.returns_logits(model, data(), most_convolutions=2).right
    assert "2 convolutions; 1 is the most" in exercises.returns_logits(model, data(), 1).words
