"""Rules of k and fills that are known by a name."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from smoot_explore import (
    ImageData,
    Run,
    Split,
    TrainingConfig,
    create_model,
    mask_pixels,
    masking_curves,
    open_run,
    rank_pixels,
    register_fill,
    register_k_rule,
    train,
    update_k,
)
from smoot_explore.core.adaptation import k_change
from smoot_explore.core.rules import KSettings, k_rule, start_k


def slow_magnitude(k, clean, masked, label, visit):
    """The precursor's rule for one image of 1,024 pixels: its epochs count from 0, the visits here from 1."""
    if visit == 1:
        return 0.0  # nothing is masked in epoch 1
    if visit == 2:
        return 150.0  # epoch 2 begins
    low, high = (100, 450) if visit == 3 else (150, 900)
    total = 0.0
    for c in range(len(clean)):
        weight = math.e if c == label else 1.0
        total += weight * (math.log(clean[c]) - math.log(masked[c]))
    return min(max(k + math.floor(5 * abs(total) / len(clean)), low), high)


@given(st.integers(0, 2**16), st.integers(2, 7))
def test_the_magnitude_rule_equals_the_precursors_in_plain_python(seed, n_classes):
    generator = torch.Generator().manual_seed(seed)
    clean, masked = (
        (4 * torch.randn(6, n_classes, generator=generator, dtype=torch.float64)).softmax(1) for _ in range(2)
    )
    labels = torch.randint(0, n_classes, (6,), generator=generator)
    k = 1024 * torch.rand(6, generator=generator, dtype=torch.float64)
    visits = torch.arange(1, 7)
    change = k_change(clean, masked, labels, beta=0.9)
    found = k_rule("magnitude")(k, change, labels, visits, KSettings(10.0, 1.0, 2.0, 1024))
    expected = [
        slow_magnitude(*(part[i].tolist() for part in (k, clean, masked, labels)), i + 1) for i in range(6)
    ]
    assert found.tolist() == pytest.approx(expected)


def test_the_magnitude_rule_only_raises_k_and_survives_probabilities_of_zero():
    clean, masked = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    change = k_change(clean, masked, torch.tensor([0]), beta=0.9)
    k = k_rule("magnitude")(
        torch.tensor([200.0]), change, torch.tensor([0]), torch.tensor([9]), KSettings(10.0, 1.0, 2.0, 1024)
    )
    assert 200 < k.item() <= 900


def test_a_training_by_the_magnitude_rule_masks_nothing_in_its_first_two_epochs(data, config):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 6))
    settings = config(k_rule="magnitude", epochs=4, optimizer="sgd", learning_rate=0.01)
    first, second, third, fourth = train(model, data, settings)
    assert (first.k == 0).all()
    assert first.kl == second.kl == pytest.approx(0, abs=1e-6)
    assert (second.k == 150).all()
    assert third.k.min() >= 150
    assert (fourth.k >= third.k).all()


def test_the_start_is_the_rules_own_or_k_init():
    settings = {"method": "smoot", "k_init": 0.4}
    assert start_k(settings, 1) == start_k({**settings, "k_rule": "not here"}, 1) == 0.4
    assert start_k({**settings, "k_rule": "magnitude"}, 1) == 0
    assert start_k({"method": "sgt", "k_init": 0.4, "k_rule": "magnitude"}, 1) == 0.4


def test_a_recorded_start_holds_where_the_rule_is_not_registered():
    settings = {"method": "smoot", "k_init": 0.5, "k_rule": "test-not-registered"}
    assert start_k({**settings, "k_start": 0.25}, 64) == 16
    assert start_k({**settings, "k_start": None}, 64) == 32
    assert start_k({**settings, "k_start": 0.25, "method": "sgt"}, 64) == 32


def test_a_run_whose_rule_is_not_registered_opens_and_says_what_is_missing_when_it_is_to_go_on(
    data, config, tmp_path
):
    register_k_rule("test-halving", lambda k, *rest: k / 2)
    register_fill("test-grey", lambda images, *rest: images.new_zeros(()))
    settings = config(epochs=1, k_rule="test-halving", fill="test-grey")
    model = create_model("cnn", data)
    run = Run.create(tmp_path / "run", settings, model, data)
    (record,) = train(model, data, settings, run=run)
    assert (record.k == 256).all()

    file = tmp_path / "run" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {
        "config": settings.to_dict() | {"k_rule": "lost", "fill": "lost too"}
    }))  # fmt: skip
    opened = open_run(tmp_path / "run")
    assert (opened.config.k_rule, opened.config.fill) == ("lost", "lost too")
    assert opened.record().sizes["epoch"] == 1
    with pytest.raises(ValueError, match=r"unknown rule of k 'lost'.*register_k_rule"):
        train(opened.load_model(), data, opened.config, run=opened)
    with pytest.raises(ValueError, match="k_rule"):
        TrainingConfig(k_rule="lost")


def test_curves_mask_with_a_fill_of_ones_own_as_mask_pixels_does(data, linear):
    register_fill(
        "test-brightest-left",
        lambda images, mask, *rest: images.masked_fill(mask, -9).amax((2, 3), keepdim=True),
    )
    split = data.test[:4]
    curves = masking_curves(linear, split, fill="test-brightest-left", levels=[0.0, 0.25, 1.0])
    images = split.normalize()
    weights = linear[1].weight.view(6, 3, 32, 32)
    ranks = rank_pixels(weights[split.labels].mean(1), "highest")
    masked = mask_pixels(images, ranks, 256, "test-brightest-left")
    p = linear(masked).softmax(1).gather(1, split.labels[:, None])[:, 0]
    np.testing.assert_allclose(curves.probability.values[:, 1], p.detach().numpy(), rtol=1e-4)


@pytest.mark.parametrize("k", [0.3, 0.999])
def test_a_fraction_given_for_pixels_is_refused(k):
    images = torch.rand(1, 1, 4, 4)
    ranks = rank_pixels(images[:, 0])
    for fraction in (k, np.float32(k), np.array(k), torch.tensor(k), [k]):
        with pytest.raises(ValueError, match=r"k is a number of pixels, given .*; .* multiply it by 16"):
            mask_pixels(images, ranks, fraction)
    p = torch.tensor([[0.5, 0.5]])
    for fraction in (k, np.float32(k), torch.tensor(k)):
        with pytest.raises(ValueError, match=rf"k_max is a number of pixels, given {k}"):
            update_k(torch.tensor([5.0]), p, p, torch.tensor([0]), alpha=1, beta=1, k_min=0, k_max=fraction)


def test_a_k_of_an_image_may_be_below_one_pixel():
    images = torch.rand(2, 1, 4, 4)
    for k in (torch.tensor([0.6, 0.4]), np.array([0.6, 0.4]), [0.6, 2.0]):
        masked = mask_pixels(images, rank_pixels(images[:, 0]), k, "black") == 0
        assert masked[0].sum() == 1
    assert torch.equal(mask_pixels(images, rank_pixels(images[:, 0]), 0.0), images)


def test_settings_of_the_optimiser_equal_a_plain_loop(data, config):
    """SGD with momentum, weight decay and a limit on the gradient, cosine with a warm-up, smoothing, class weights."""
    few = data.train[torch.arange(60)[data.train.labels != 0]]
    uneven = ImageData(
        Split(few.images, few.labels, mean=data.mean, std=data.std), data.test, data.class_names
    )
    settings = config(
        method="traditional", optimizer="sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.01, gradient_limit=0.5,
        label_smoothing=0.2, class_weights="balanced", schedule="cosine", warm_up=1, epochs=3, batch_size=len(few),
    )  # fmt: skip

    def make():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(3072, 6))

    model, plain = make(), make()
    list(train(model, uneven, settings))
    counts = few.labels.bincount(minlength=6).clamp(min=1)
    weight = len(few) / (6 * counts)
    velocity = [torch.zeros_like(w) for w in plain.parameters()]
    for rate in (0.1 * 0.01, 0.1, 0.1 * (1 + math.cos(math.pi / 2)) / 2):
        log_p = plain(few.normalize()).log_softmax(1)
        target = torch.full_like(log_p, 0.2 / 6)
        target[torch.arange(len(few)), few.labels] += 0.8
        loss = -(target * weight * log_p).sum(1).mean()
        gradients = torch.autograd.grad(loss, list(plain.parameters()))
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        with torch.no_grad():
            for w, g, v in zip(plain.parameters(), gradients, velocity, strict=True):
                v.mul_(0.9).add_(g * min(1.0, 0.5 / float(norm)) + 0.01 * w)
                w -= rate * v
    for one, two in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)


def test_momentum_of_another_optimiser_is_refused():
    with pytest.raises(
        ValueError, match=r"momentum=0.9 is for optimizer='sgd' alone, given optimizer='adam'"
    ):
        TrainingConfig(momentum=0.9, optimizer="adam").check()


def test_augmented_images_are_what_training_sees(data, config):
    seen = []

    def flipped(images):
        return images.flip(3)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 6))
    model.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].detach()) if module.training else None
    )
    list(train(model, data, config(epochs=1, batch_size=60, method="traditional"), augment=flipped))
    images = seen[-1]
    expected = data.train.normalize().flip(3)
    torch.testing.assert_close(images.sum((1, 2, 3)).sort().values, expected.sum((1, 2, 3)).sort().values)
    assert float(images[..., :16].sum()) == pytest.approx(float(expected[..., :16].sum()), abs=0.1)
    assert float(images[..., 16:].sum()) != pytest.approx(float(expected[..., :16].sum()), abs=1)


def test_old_runs_open_as_trained_with_masked_statistics(data, config, tmp_path):
    run = Run.create(tmp_path / "run", config(), create_model("cnn", data), data)
    assert run.config.batch_norm == "clean"
    file = tmp_path / "run" / "config.json"
    description = json.loads(file.read_text())
    del description["config"]["batch_norm"]
    file.write_text(json.dumps(description))
    assert open_run(tmp_path / "run").config.batch_norm == "both"
