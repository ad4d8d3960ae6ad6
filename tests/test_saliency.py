import copy

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from torch import nn

from smoot_explore import (
    ATTRIBUTION_METHODS,
    TrainingConfig,
    create_model,
    mask_pixels,
    masking_curves,
    rank_pixels,
    register_attribution,
    saliency,
)
from smoot_explore.core import saliency as saliency_module
from smoot_explore.core.choices import ATTRIBUTIONS, FILLS, OPTIMIZERS, REGISTERED
from smoot_explore.core.saliency import input_gradient
from smoot_explore.core.training import _optimizer


@pytest.fixture
def batch(data):
    return data.test[:4].normalize(), data.test.labels[:4]


def hooks_of(model):
    return {
        (path, name, key)
        for path, module in model.named_modules()
        for name, table in vars(module).items()
        if name.endswith("_hooks") and isinstance(table, dict)
        for key in table
    }


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("grayscale", [True, False])
def test_the_training_paths_gradient_equals_captums(data, batch, signed, grayscale):
    images, labels = batch
    images = images[:, :1] if grayscale else images
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(images.shape[1], 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3600, 6)
    ).eval()
    asked = images.clone().requires_grad_()
    ours = input_gradient(model(asked), asked, labels, signed=signed)
    captums = Saliency(model).attribute(images.clone().requires_grad_(), labels, abs=not signed).mean(1)
    torch.testing.assert_close(ours, captums)
    torch.testing.assert_close(saliency(model, images, labels, signed=signed), captums)


def test_the_gradient_equals_central_differences(data):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    images, labels = (
        torch.rand(1, 3, 2, 2, dtype=torch.float64, requires_grad=True),
        torch.tensor([2]),
    )
    gradient = input_gradient(model(images), images, labels)
    for i in range(2):
        for j in range(2):
            slopes = []
            for channel in range(3):
                step = torch.zeros_like(images)
                step[0, channel, i, j] = 1e-5
                slopes.append((model(images + step) - model(images - step))[0, 2].item() / 2e-5)
            assert gradient[0, i, j].item() == pytest.approx(sum(slopes) / 3, rel=1e-6)


@pytest.mark.parametrize("method", ATTRIBUTIONS)
def test_every_method_gives_a_finite_map_and_leaves_the_model_as_it_was(model, batch, method):
    model.train()
    model.dropout1.eval()  # a mixture of modes must survive
    model.dense2.weight.grad = torch.ones_like(model.dense2.weight)
    modes = [m.training for m in model.modules()]
    weights, hooks = copy.deepcopy(model.state_dict()), hooks_of(model)
    maps = saliency(model, *batch, method)
    assert maps.shape == (4, 32, 32)
    assert maps.isfinite().all()
    assert not maps.requires_grad
    assert [m.training for m in model.modules()] == modes
    assert hooks_of(model) == hooks
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert (model.dense2.weight.grad == 1).all()
    assert model.dense1.weight.grad is None
    assert not batch[0].requires_grad


@pytest.mark.parametrize("method", ATTRIBUTIONS)
def test_a_constant_image_and_a_batch_of_one_are_no_trouble(model, method):
    assert saliency(model, torch.zeros(1, 3, 32, 32), torch.tensor([0]), method).isfinite().all()


@pytest.mark.parametrize("method", ATTRIBUTIONS)
def test_the_callers_random_numbers_are_left_alone_and_ours_are_repeatable(model, batch, method):
    torch.manual_seed(7)
    one = saliency(model, *batch, method, seed=1)
    after = torch.rand(1)
    torch.manual_seed(7)
    torch.testing.assert_close(torch.rand(1), after)
    torch.testing.assert_close(saliency(model, *batch, method, seed=1), one)


def test_one_smoothgrad_sample_without_noise_is_the_gradient(model, batch):
    one = saliency(model, *batch, "smoothgrad", n_samples=1, noise=1e-9)
    torch.testing.assert_close(one, saliency(model, *batch), rtol=1e-3, atol=1e-6)


def test_for_a_linear_model_the_path_methods_equal_input_times_gradient(linear, batch):
    expected = saliency(linear, *batch, "input_x_gradient")
    for method in ("integrated_gradients", "deeplift"):
        torch.testing.assert_close(saliency(linear, *batch, method), expected, rtol=1e-3, atol=1e-5)


def test_for_a_linear_model_occlusion_of_one_pixel_is_the_sum_of_input_times_gradient(linear, batch):
    """A pixel is occluded in all its channels at once, so each of them carries the pixel's whole effect."""
    occlusion = saliency(linear, *batch, "occlusion", window=1)
    expected = 3 * saliency(linear, *batch, "input_x_gradient")
    torch.testing.assert_close(occlusion, expected, rtol=1e-3, atol=1e-4)


def test_grad_cam_works_on_a_timm_network(data, batch):
    model = create_model("test_resnet", data, input_size=(32, 32))
    assert saliency(model, *batch, "grad_cam").shape == (4, 32, 32)


def test_grad_cam_without_a_convolution_says_what_to_do(linear, batch):
    with pytest.raises(ValueError, match="needs a convolution, and Sequential has none"):
        saliency(linear, *batch, "grad_cam")


def test_the_model_is_left_as_it_was_also_after_an_error(batch):
    class Breaks(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = nn.Linear(3 * 32 * 32, 6)

        def forward(self, images):
            raise RuntimeError("broken model")

    model = Breaks().train()
    hooks = hooks_of(model)
    for method in ("gradient", "deeplift"):
        with pytest.raises(RuntimeError, match="broken model"):
            saliency(model, *batch, method)
        assert model.training
        assert model.dense.training
        assert hooks_of(model) == hooks


def test_a_model_that_returns_no_logits_is_named(batch):
    class Tuple(nn.Module):
        def forward(self, images):
            return images.flatten(1), None

    with pytest.raises(TypeError, match="must return a tensor of logits .* it returned tuple"):
        saliency(Tuple(), *batch)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attribution": "gradeint"}, "did you mean 'gradient'"),
        ({"labels": torch.zeros(2, dtype=torch.int64)}, r"labels must have shape \(4,\)"),
        ({"images": torch.rand(3, 32, 32)}, r"shape \(N, C, H, W\), given \(3, 32, 32\)"),
        ({"labels": torch.full((4,), 6)}, "labels must lie between 0 and 5, given 6"),
        ({"baseline": torch.zeros(2)}, "each of the 3 channels, given 2"),
        ({"labels": torch.zeros(4, 1, dtype=torch.int64)}, r"labels must have shape \(4,\)"),
        ({"steps": 3}, "gradient does not take these options"),
        (
            {"attribution": "occlusion", "window": 99},
            "window must lie between 1 and 32 pixels, given 99",
        ),
    ],
)
def test_bad_input_is_refused(model, batch, change, message):
    images, labels = batch
    with pytest.raises(ValueError, match=message):
        saliency(model, **({"images": images, "labels": labels} | change))


def test_the_names_of_attributions_fills_and_optimizers_are_those_of_the_code(batch):
    """They stand in core/choices.py, so that a command line can list them without PyTorch."""
    assert tuple(saliency_module._ATTRIBUTIONS) == ATTRIBUTIONS
    images, _ = batch
    ranks = rank_pixels(torch.rand(len(images), *images.shape[2:]))
    for fill in FILLS:
        assert mask_pixels(images, ranks, 3, fill).shape == images.shape
    for name in OPTIMIZERS:
        assert _optimizer(nn.Linear(2, 2), TrainingConfig(optimizer=name)) is not None


def test_images_that_are_not_normalised_are_refused(data, model):
    with pytest.raises(TypeError, match=r"floating point, given torch.uint8.*split.normalize\(\)"):
        saliency(model, data.test.images[:4], data.test.labels[:4])


def test_a_model_with_one_logit_is_refused_with_the_reason(batch):
    with pytest.raises(ValueError, match="one number for each image; .* return two logits"):
        saliency(nn.Sequential(nn.Flatten(), nn.Linear(3072, 1)), batch[0], torch.zeros(4, dtype=torch.int64))


@pytest.fixture
def register():
    """`register_attribution`, undone after the test."""
    yield register_attribution
    REGISTERED["attribution"].clear()


def test_an_attribution_of_ones_own_is_used_by_its_name(register, data, model):
    def negative(model, images, labels, baseline, factor=1.0):
        return -factor * ATTRIBUTION_METHODS["gradient"](model, images, labels, baseline)

    register("negative", negative)
    images, labels = data.test[:4].normalize(), data.test.labels[:4]
    torch.testing.assert_close(
        saliency(model, images, labels, "negative", factor=2.0), -2 * saliency(model, images, labels)
    )
    mine = masking_curves(model, data.test[:4], 3, order="lowest", attribution="negative")
    assert mine.attribution.item() == "negative"
    np.testing.assert_allclose(
        mine.probability, masking_curves(model, data.test[:4], 3, order="highest").probability, atol=1e-5
    )
    register("flat", lambda model, images, labels, baseline: images.mean(1))  # (N, H, W)
    assert saliency(model, images, labels, "flat").shape == (4, 32, 32)


def test_an_attribution_that_cannot_be_one_is_refused(register, model, batch):
    with pytest.raises(ValueError, match="'gradient' is a built-in"):
        register("gradient", lambda *args: None)
    with pytest.raises(ValueError, match="letters, digits and '_', given 'my map'"):
        register("my map", lambda *args: None)
    with pytest.raises(TypeError, match="must be a function"):
        register("mine", "gradient")
    register("mine", lambda model, images, labels, baseline: images[0])
    with pytest.raises(
        ValueError, match=r"'mine' must give maps of shape \(4, 32, 32\) .* it gave \(3, 32, 32\)"
    ):
        saliency(model, *batch, "mine")
    with pytest.raises(TypeError, match="does not support item assignment"):
        ATTRIBUTION_METHODS["mine"] = None
    with pytest.raises(ValueError, match=r"did you mean 'mine'.*register_attribution\(name"):
        saliency(model, *batch, "mina")


def test_an_attribution_of_ones_own_may_draw_and_leaves_the_random_state_alone():
    register_attribution("test_drawing", lambda model, images, labels, baseline: torch.rand_like(images))
    images, labels = torch.zeros(2, 1, 3, 3), torch.tensor([0, 1])
    before = torch.get_rng_state()
    one, same, other = (saliency(nn.Flatten(), images, labels, "test_drawing", seed=s) for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_attribution_of_ones_own_that_gives_nan_is_refused(register, model, data):
    register("test_nan", lambda model, images, labels, baseline: images / 0)
    with pytest.raises(ValueError, match="'test_nan' gives NaN or infinite values"):
        masking_curves(model, data.test, 2, attribution="test_nan")
