import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smoot_explore import (
    TrainingConfig,
    mask_pixels,
    masking_curves,
    noisy_linear,
    rank_pixels,
    register_fill,
)
from smoot_explore.core.choices import FILLS, REGISTERED

QUIET = 0.5  # the uniform random number of which no noise is made


@pytest.fixture
def registered():
    """The name of the fill; afterwards it is gone."""
    kept = dict(REGISTERED["fill"]), list(TrainingConfig.param.fill.objects)
    register_fill("noisy linear", noisy_linear)
    yield "noisy linear"
    REGISTERED["fill"].clear()
    REGISTERED["fill"].update(kept[0])
    TrainingConfig.param.fill.objects = kept[1]


def without_noise(images, mask):
    return noisy_linear(images, mask, torch.full_like(images, QUIET), 0.0)


def weight(one, other, height, width):
    """Of the pixel ``other`` in the mean of the pixel ``one``, before it is scaled."""
    down, right = abs(one // width - other // width), abs(one % width - other % width)
    return {(0, 1): 1 / 6, (1, 0): 1 / 6, (1, 1): 1 / 12}.get((down, right), 0)


def solved(image, mask):
    """One channel by the definition: each masked pixel is the weighted mean of the neighbours that it has."""
    height, width = image.shape
    system, right = np.eye(height * width), image.astype(float).ravel()
    for pixel in np.flatnonzero(mask):
        weights = np.array([weight(pixel, other, height, width) for other in range(height * width)])
        system[pixel] -= weights / weights.sum()
        right[pixel] = 0
    return np.linalg.solve(system, right).reshape(height, width)


def some(seed, n, channels, height, width, share):
    """Images, and masks that leave at least one pixel."""
    rng = np.random.default_rng(seed)
    mask = rng.random((n, 1, height, width)) < share
    mask[:, 0, rng.integers(height), rng.integers(width)] = False
    return torch.from_numpy(rng.normal(size=(n, channels, height, width))), torch.from_numpy(mask)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_it_is_the_solution_of_the_linear_system_of_each_image(dtype, tolerance, share):
    images, mask = some(0, 3, 2, 5, 7, share)
    found = torch.where(mask, without_noise(images.to(dtype), mask), images).to(dtype)
    for n in range(3):
        for c in range(2):
            expected = solved(images[n, c].numpy(), mask[n, 0].numpy())
            np.testing.assert_allclose(found[n, c], expected, atol=tolerance)


def masks_of_32(kind):
    rows, columns = np.indices((32, 32))
    if kind == "scattered":
        return np.random.default_rng(1).random((32, 32)) < 0.95
    if kind == "in one piece":
        return (rows - 14) ** 2 + (columns - 18) ** 2 > 7**2  # 85 % around a disc
    return (rows > 0) | ((columns > 1) & (columns < 30))  # all but two pairs of pixels in two corners


@pytest.mark.parametrize("kind", ["scattered", "in one piece", "far apart"])
def test_the_fixed_number_of_steps_is_enough_for_images_that_are_almost_gone(kind):
    mask = masks_of_32(kind)
    image = np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32)
    found = without_noise(torch.from_numpy(image)[None, None], torch.from_numpy(mask)[None, None])
    expected = solved(image, mask)
    error = np.linalg.norm((found[0, 0].numpy() - expected)[mask]) / np.linalg.norm(expected[mask])
    assert error < 1e-3


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(2, 9), st.floats(0, 1))
def test_without_noise_no_value_leaves_the_range_of_the_remaining_pixels(seed, height, width, share):
    images, mask = some(seed, 2, 2, height, width, share)
    found = without_noise(images.float(), mask)
    low = images.masked_fill(mask, torch.inf).amin((2, 3), keepdim=True)
    high = images.masked_fill(mask, -torch.inf).amax((2, 3), keepdim=True)
    assert (
        torch.where(mask, found >= low - 1e-4, True) & torch.where(mask, found <= high + 1e-4, True)
    ).all()


@settings(max_examples=30)
@given(st.floats(-1, 1), st.floats(-1, 1), st.integers(0, 10_000))
def test_a_hole_in_a_ramp_is_closed_by_the_ramp(down, right, seed):
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(9.0), indexing="ij")
    ramp = (down * rows + right * columns).double()[None, None]
    mask = torch.zeros(1, 1, 8, 9, dtype=torch.bool)
    mask[..., 1:-1, 1:-1] = torch.rand(6, 7, generator=torch.Generator().manual_seed(seed)) < 0.8
    torch.testing.assert_close(torch.where(mask, without_noise(ramp, mask), ramp), ramp, atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, 1e5])
def test_a_constant_image_stays_constant(value):
    images = torch.full((3, 2, 6, 6), value)
    _, mask = some(0, 3, 2, 6, 6, 0.7)
    mask[1], mask[2] = False, True
    torch.testing.assert_close(without_noise(images, mask), images, rtol=1e-6, atol=0)


def test_a_fully_masked_image_becomes_its_own_mean_and_changes_no_other():
    images, mask = some(0, 3, 2, 6, 5, 0.6)
    alone = without_noise(images, mask)
    mask[1] = True
    found = without_noise(images, mask)
    torch.testing.assert_close(found[1], images[1].mean((1, 2), keepdim=True).expand(2, 6, 5))
    assert torch.equal(found[[0, 2]], alone[[0, 2]])


def test_noise_is_normal_with_a_hundredth_of_the_images_unit():
    images, mask = torch.zeros(1, 1, 100, 100), torch.ones(1, 1, 100, 100, dtype=torch.bool)
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    found = noisy_linear(images, mask, noise, 0.0)
    assert found.mean().item() == pytest.approx(0, abs=5e-4)
    assert found.std().item() == pytest.approx(0.01, rel=0.03)
    assert (found.abs() < 0.02).float().mean().item() == pytest.approx(0.954, abs=0.01)
    torch.testing.assert_close(noisy_linear(1000 + images, mask, noise, 0.0) - 1000, found, atol=1e-3, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_noise_at_its_limits_is_finite_and_the_number_format_is_the_images(dtype):
    images, mask = some(0, 2, 3, 8, 8, 0.5)
    for noise in (0.0, 1.0):
        found = noisy_linear(images.to(dtype), mask, torch.full_like(images, noise, dtype=dtype), 0.0)
        assert found.dtype == dtype
        assert found.isfinite().all()
    exact = without_noise(images, mask)
    tolerance = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(
        without_noise(images.to(dtype), mask).double(), exact, atol=tolerance, rtol=tolerance
    )


def test_autocast_and_the_memory_layout_change_no_digit_that_counts():
    images, mask = some(0, 2, 3, 16, 16, 0.8)
    images = images.float()
    expected = without_noise(images, mask)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(without_noise(images, mask), expected)
    torch.testing.assert_close(
        without_noise(images.to(memory_format=torch.channels_last), mask), expected, atol=1e-5, rtol=0
    )


def test_no_gradient_goes_through():
    images, mask = some(0, 1, 1, 4, 4, 0.5)
    assert not without_noise(images.requires_grad_(), mask).requires_grad


def test_pixels_that_are_not_masked_are_unchanged(registered):
    images, _ = some(0, 4, 3, 12, 10, 0.5)
    ranks = rank_pixels(torch.rand(4, 12, 10))
    masked = mask_pixels(images, ranks, torch.tensor([0, 30, 119, 120]), registered)
    changed = (masked != images).any(1)
    assert torch.equal(changed, ranks < torch.tensor([0, 30, 119, 120]).view(-1, 1, 1))


def test_curves_take_it_by_its_name(data, model, registered):
    curves = masking_curves(model, data.test[:4], 2, fill=["mean", registered])
    assert curves.fill.values.tolist() == ["mean", registered]
    probability = curves.probability.sel(fill=registered)
    assert np.isfinite(probability).all()
    clean, half, _ = curves.probability.transpose("masked_fraction", "fill", "image").values
    np.testing.assert_allclose(clean[0], clean[1])
    assert (half[0] != half[1]).any()
    again = masking_curves(model, data.test[:4], 2, fill=registered)
    np.testing.assert_allclose(again.probability, probability, atol=1e-6)


def test_it_is_registered_by_those_who_want_it():
    assert "noisy linear" not in FILLS
