import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from smoot_explore import Split, pgd, robust_accuracy

LOSSES = ["cross_entropy", "margin"]
LABELS = torch.tensor([0, 1, 1, 0, 1])


def linear_model(seed=0, n_classes=2, channels=2):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 3 * 4, n_classes))


def pictures(seed=0, n=5, channels=2):
    return torch.rand(n, channels, 3, 4, generator=torch.Generator().manual_seed(seed))


class Sure(nn.Module):
    """A model that is ten thousand times as sure."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return 1e4 * self.model(images)


def harm(model, images, labels):
    """How far the other of two logits is above the label's."""
    logits = model(images).detach()
    return logits.gather(1, 1 - labels[:, None])[:, 0] - logits.gather(1, labels[:, None])[:, 0]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("epsilon", [0.05, 0.3, torch.tensor([0.1, 0.4])])
@pytest.mark.parametrize("steps", [1, 7])
def test_a_linear_models_worst_image_is_found(loss, epsilon, steps):
    """Along the sign of the difference of the two classes' weights, as far as it goes."""
    model, images = linear_model(), pictures()
    weights = model[1].weight.detach().view(2, 2, 3, 4)
    reach = torch.as_tensor(epsilon).expand(2).view(2, 1, 1)
    worst = (images + reach * (weights[1 - LABELS] - weights[LABELS]).sign()).clamp(0, 1)
    found = pgd(model, images, LABELS, epsilon, low=0, high=1, steps=steps, loss=loss)
    torch.testing.assert_close(found, worst)


def test_the_margin_is_that_to_the_highest_other_logit():
    model, images, labels = linear_model(n_classes=4), pictures(), torch.tensor([0, 1, 2, 3, 0])
    logits, weights = model(images).detach(), model[1].weight.detach().view(4, 2, 3, 4)
    rivals = [
        max((c for c in range(4) if c != y), key=row.__getitem__)
        for row, y in zip(logits, labels, strict=True)
    ]
    worst = images + 0.001 * (weights[rivals] - weights[labels]).sign()  # too near for another rival
    found = pgd(model, images, labels, 0.001, low=-1, high=2, loss="margin")
    torch.testing.assert_close(found, worst)


@settings(max_examples=20)
@given(
    st.integers(0, 1000),
    st.tuples(st.floats(0, 2), st.floats(0, 2)),
    st.integers(1, 6),
    st.sampled_from(LOSSES),
)
def test_attacked_images_stay_near_and_valid(seed, epsilon, steps, loss):
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(48, 3), nn.Softplus()
    )
    low, high = torch.tensor([-1.0, -0.5]), torch.tensor([1.5, 2.0])
    images = low.view(2, 1, 1) + (high - low).view(2, 1, 1) * pictures(seed)
    found = pgd(
        model, images, LABELS, torch.tensor(epsilon), low=low, high=high, steps=steps, loss=loss, seed=seed
    )
    assert ((found - images).abs().amax((0, 2, 3)) <= torch.tensor(epsilon) + 1e-6).all()
    assert (found.amin((0, 2, 3)) >= low - 1e-6).all()
    assert (found.amax((0, 2, 3)) <= high + 1e-6).all()
    assert found.dtype == torch.float32
    assert not found.requires_grad


@pytest.mark.parametrize("loss", LOSSES)
def test_an_epsilon_of_0_gives_the_images(loss):
    images = pictures()
    images[0, 0, 0, 0] = -1e-6  # as rounding leaves them
    assert torch.equal(pgd(linear_model(), images, LABELS, 0.0, low=0, high=1, loss=loss), images)


def test_attacks_do_harm_and_more_steps_no_less(data, model):
    split = data.test[[0, 1, 2, 3]]
    images, low, high = split.normalize(), split.black, (1 - split.mean) / split.std

    def loss_after(steps):
        attacked = pgd(model, images, split.labels, 0.1, low=low, high=high, steps=steps)
        return nn.functional.cross_entropy(model.eval()(attacked), split.labels).item()

    clean = nn.functional.cross_entropy(model.eval()(images), split.labels).item()
    assert clean < loss_after(1) <= loss_after(20) + 1e-4


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(24), nn.Dropout(0.5), nn.Linear(24, 2)).train()
    model[1].eval()
    before = {name: values.clone() for name, values in model.state_dict().items()}
    with torch.no_grad():  # of the caller
        pgd(model, pictures(), LABELS, 0.1, low=0, high=1)
    assert [module.training for module in model] == [True, False, True, True]
    assert all(weights.grad is None and weights.requires_grad for weights in model.parameters())
    assert all(torch.equal(before[name], values) for name, values in model.state_dict().items())


def test_gradients_that_are_there_are_kept_and_frozen_weights_can_be_attacked():
    model = linear_model()
    model[1].weight.grad = torch.ones_like(model[1].weight)
    model[1].bias.requires_grad_(False)
    pgd(model, pictures(), LABELS, 0.1, low=0, high=1)
    assert (model[1].weight.grad == 1).all()
    model.requires_grad_(False)
    assert not torch.equal(pgd(model, pictures(), LABELS, 0.1, low=0, high=1), pictures())


def test_the_seed_fixes_the_start_and_the_callers_randomness_is_left_alone():
    model = Sure(linear_model())  # no gradient: the start stays
    model.model[1].bias.data += torch.tensor([100.0, 0.0])
    labels = torch.zeros(5, dtype=torch.int64)
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    one, again, other = (pgd(model, pictures(), labels, 0.2, low=0, high=1, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    start = 0.2 * (2 * np.random.default_rng(3).random((5, 2, 3, 4), np.float32) - 1)
    torch.testing.assert_close(one, (pictures() + torch.from_numpy(start)).clamp(0, 1))


def test_where_the_cross_entropys_gradient_vanishes_the_margin_still_finds_the_way():
    plain, images = linear_model(), pictures()
    model, labels = Sure(plain), plain(images).argmax(1)
    assert (harm(model, images, labels) < -110).all()  # the other class's probability is 0 in float32
    by_loss = {loss: pgd(model, images, labels, 0.1, low=0, high=1, loss=loss) for loss in LOSSES}
    worst = pgd(plain, images, labels, 0.1, low=0, high=1)
    torch.testing.assert_close(by_loss["margin"], worst)
    assert (harm(plain, by_loss["cross_entropy"], labels) < harm(plain, worst, labels)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": -0.1}, r"epsilon must not be negative, given -0\.1"),
        ({"epsilon": torch.tensor([0.1, -0.2])}, "epsilon must not be negative"),
        ({"epsilon": float("nan")}, "epsilon must be finite"),
        (
            {"epsilon": torch.ones(3)},
            r"epsilon must be a number .* each of the 2 channels, given shape \(3,\)",
        ),
        ({"low": torch.ones(2, 1, 1)}, r"low must be a number .* given shape \(2, 1, 1\)"),
        ({"low": 1.0, "high": 1.0}, "low must be below high"),
        ({"high": 0.5}, r"images must lie between low and high, given values from .*low=split\.black"),
        ({"steps": 0}, "steps must be at least 1, given 0"),
        ({"loss": "hinge"}, "unknown loss 'hinge'; accepted: cross_entropy, margin"),
        ({"loss": "margins"}, "did you mean 'margin'"),
        ({"images": torch.rand(5, 3, 4)}, r"images must have shape \(N, C, H, W\), given \(5, 3, 4\)"),
        ({"labels": LABELS[:3]}, r"labels must have shape \(5,\), given \(3,\)"),
        ({"labels": LABELS + 1}, "labels must lie between 0 and 1, .* given 1 to 2"),
        ({"model": nn.Sequential(linear_model(), nn.Softmax(1))}, "returns probabilities"),
        ({"model": nn.Identity()}, r"must return logits of shape \(5, n_classes\)"),
    ],
)
def test_what_cannot_work_is_refused(change, message):
    given = {
        "model": linear_model(), "images": pictures(), "labels": LABELS, "epsilon": 0.1, "low": 0, "high": 1,
    } | change  # fmt: skip
    with pytest.raises(ValueError, match=message):
        pgd(**given)


def test_images_must_be_floating_point():
    with pytest.raises(TypeError, match=r"floating point, given torch.uint8"):
        pgd(linear_model(), pictures().byte(), LABELS, 0.1, low=0, high=1)


def test_no_images_are_attacked_in_no_time():
    none = pgd(linear_model(), pictures()[:0], LABELS[:0], 0.1, low=0, high=1)
    assert none.shape == (0, 2, 3, 4)


@pytest.fixture
def split():
    """40 grey images of two classes: of the second, the left half is a little brighter."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(60, 190, (40, 1, 3, 4)), np.arange(40) % 2
    images[labels == 1, ..., :2] += 25
    return Split(torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(labels))


@pytest.fixture
def left_against_right(split):
    """A linear model that compares the means of the two halves."""
    model = linear_model(channels=1)
    weights = torch.tensor([[-1.0, -1.0, 1.0, 1.0]]).expand(3, 4) / 6
    model[1].weight.data = torch.stack([weights.flatten(), -weights.flatten()])
    model[1].bias.data = torch.tensor([0.1, 0.0])
    return model


def test_which_images_of_a_linear_model_withstand_is_known(split, left_against_right):
    """Attacked by ε, its margin shrinks by 2ε times the sum of the weights' magnitudes, while no value is cut off."""
    epsilons = [0, 2, 5, 10, 30]
    margin = -harm(left_against_right, split.normalize(), split.labels)
    magnitude = left_against_right[1].weight.detach()[0].abs().sum()
    expected = [(margin > 2 * epsilon / (255 * split.std) * magnitude).tolist() for epsilon in epsilons]
    found = robust_accuracy(left_against_right, split, epsilons)
    assert found.dtype == torch.bool
    assert found.tolist() == expected
    assert 0 < found[2].sum() < found[0].sum() < 40


def test_it_is_right_under_no_attack_and_both_losses(data, model):
    split = data.test[torch.arange(8)]
    low, high = split.black, (1 - split.mean) / split.std
    model.train()
    found = robust_accuracy(model, split, [0, 1, 0.5], steps=3, seed=2)
    assert model.training
    assert all(weights.grad is None for weights in model.parameters())
    model.eval()
    for row, epsilon in zip(found, [0, 1, 0.5], strict=True):
        attacked = [
            pgd(
                model, split.normalize(), split.labels, epsilon / (255 * split.std),
                low=low, high=high, steps=3, seed=2, loss=loss,
            )
            for loss in LOSSES
        ]  # fmt: skip
        right = [model(x).argmax(1) == split.labels for x in (split.normalize(), *attacked)]
        assert torch.equal(row, torch.stack(right).all(0))


def test_how_images_are_chunked_changes_nothing_and_attacked_accuracy_is_never_above_the_clean_one(
    split, left_against_right
):
    whole = robust_accuracy(left_against_right, split, [0, 4, 8], steps=2)
    assert torch.equal(robust_accuracy(left_against_right, split, [0, 4, 8], steps=2, chunk=7), whole)
    assert (whole <= whole[0]).all()


def test_a_model_that_hides_its_gradient_is_not_robust(split, left_against_right):
    plain = robust_accuracy(left_against_right, split, [8])
    assert torch.equal(robust_accuracy(Sure(left_against_right), split, [8]), plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilons": [1, -2]}, r"not negative, given \[1, -2\]"),
        ({"epsilons": []}, "list of numbers"),
        ({"epsilons": 4}, "list of numbers"),
        ({"epsilons": [0, 8 / 255]}, "in levels of 256, .* multiply fractions of the range by 255"),
        ({"steps": 0}, "at least 1, given steps=0"),
        ({"chunk": 0}, "at least 1, given .*chunk=0"),
    ],
)
def test_robust_accuracy_refuses_what_cannot_work(split, left_against_right, change, message):
    with pytest.raises(ValueError, match=message):
        robust_accuracy(left_against_right, split, **{"epsilons": [1], **change})
