import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.functional import gaussian_blur

from smoot_explore import mask_pixels, rank_pixels
from smoot_explore.core.choices import FILLS

# Oracles: plain loops over images, pixels and channels.


def slow_ranks(saliency, order):
    ranks = torch.zeros(saliency.shape, dtype=torch.int32)
    for n, image in enumerate(saliency.tolist()):
        values = [(value, place) for place, value in enumerate(v for row in image for v in row)]
        sign = 1 if order == "lowest" else -1
        for rank, (_, place) in enumerate(sorted(values, key=lambda item: (sign * item[0], item[1]))):
            ranks[n, place // len(image[0]), place % len(image[0])] = rank
    return ranks


def slow_masked_pixels(ranks, k):
    """For each image the list of masked (row, column)."""
    return [
        [(i, j) for i in range(r.shape[0]) for j in range(r.shape[1]) if int(r[i, j]) < round(kn)]
        for r, kn in zip(ranks, k, strict=True)
    ]


def slow_range(image, masked):
    """Minimum and maximum of each channel over the pixels that are not masked; all when all are."""
    height, width = image.shape[1:]
    kept = [(i, j) for i in range(height) for j in range(width) if (i, j) not in set(masked)]
    kept = kept or [(i, j) for i in range(height) for j in range(width)]
    values = [[float(channel[i, j]) for i, j in kept] for channel in image]
    return [min(v) for v in values], [max(v) for v in values]


@st.composite
def batches(draw):
    """Images with few distinct values, so that ties are common; saliency and k to go with them."""
    n, c = draw(st.integers(1, 3)), draw(st.sampled_from([1, 3]))
    h, w = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    seed = draw(st.integers(0, 2**16))
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 6, (n, c, h, w), generator=generator).float() / 5
    saliency = torch.randint(-2, 3, (n, h, w), generator=generator).float()
    k = draw(st.lists(st.floats(0, h * w), min_size=n, max_size=n))
    return images, saliency, torch.tensor(k, dtype=torch.float64)


@given(batches(), st.sampled_from(["lowest", "highest"]))
def test_ranks_equal_a_plain_sort_with_ties_in_reading_order(batch, order):
    _, saliency, _ = batch
    assert torch.equal(rank_pixels(saliency, order), slow_ranks(saliency, order))


@given(batches(), st.sampled_from(FILLS))
def test_masking_changes_the_k_first_ranked_pixels_and_no_other(batch, fill):
    images, saliency, k = batch
    ranks = rank_pixels(saliency)
    masked = mask_pixels(images + 10, ranks, k, fill, black=-1.0)  # no fill but these can give -1
    for n, places in enumerate(slow_masked_pixels(ranks, k.tolist())):
        kept = torch.ones(images.shape[2:], dtype=torch.bool)
        for i, j in places:
            kept[i, j] = False
        assert torch.equal(masked[n][:, kept], images[n][:, kept] + 10)
        if fill == "black":
            assert (masked[n][:, ~kept] == -1).all()


@given(batches(), st.sampled_from(["remaining", "image_range"]))
def test_random_fills_stay_in_the_range_of_the_pixels_they_are_drawn_from(batch, fill):
    images, saliency, k = batch
    ranks = rank_pixels(saliency)
    masked = mask_pixels(images, ranks, k, fill)
    for n, places in enumerate(slow_masked_pixels(ranks, k.tolist())):
        low, high = slow_range(images[n], places if fill == "remaining" else [])
        for channel in range(images.shape[1]):
            for i, j in places:
                assert low[channel] <= masked[n, channel, i, j] <= high[channel]


def test_random_fills_are_uniform_over_their_range():
    images = torch.zeros(1, 2, 100, 101)
    images[0, 0, 0, :2] = torch.tensor([2.0, 6.0])  # the two pixels that remain in channel 0
    images[0, 1, 0, :2] = torch.tensor([-1.0, 1.0])
    ranks = torch.arange(100 * 101).flip(0).view(1, 100, 101)
    filled = mask_pixels(images, ranks, 100 * 101 - 2, "remaining")[0, :, 1:]
    for values, low, high in zip(filled, (2, -1), (6, 1), strict=True):
        assert values.min() >= low
        assert values.max() <= high
        assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.05)
        assert values.std().item() == pytest.approx((high - low) / math.sqrt(12), rel=0.05)


def test_the_mean_fill_is_the_mean_of_each_channel_of_the_whole_image():
    images = torch.rand(2, 3, 4, 5)
    masked = mask_pixels(images, rank_pixels(torch.rand(2, 4, 5)), 20, "mean")
    for n in range(2):
        for channel in range(3):
            mean = sum(images[n, channel].flatten().tolist()) / 20
            assert masked[n, channel].flatten().tolist() == pytest.approx([mean] * 20, abs=1e-6)


def test_black_takes_one_value_for_each_channel():
    masked = mask_pixels(
        torch.rand(1, 3, 2, 2),
        torch.arange(4).view(1, 2, 2),
        4,
        "black",
        black=torch.tensor([1.0, 2, 3]),
    )
    assert masked[0, :, 0, 0].tolist() == [1, 2, 3]


def test_the_blur_fill_is_the_blurred_image():
    images = torch.rand(2, 1, 16, 24)
    masked = mask_pixels(images, rank_pixels(torch.rand(2, 16, 24)), 16 * 24, "blur")
    assert torch.equal(masked, gaussian_blur(images, 9, 2.0))


@pytest.mark.parametrize("fill", FILLS)
def test_masking_nothing_gives_the_image_back(fill):
    images = torch.rand(2, 3, 7, 5)
    assert torch.equal(mask_pixels(images, rank_pixels(torch.rand(2, 7, 5)), 0, fill), images)


@pytest.mark.parametrize("fill", FILLS)
def test_every_fill_works_when_every_pixel_is_masked_even_in_constant_images(fill):
    images = torch.full((2, 1, 6, 6), 0.25)
    masked = mask_pixels(images, rank_pixels(torch.zeros(2, 6, 6)), 36, fill, black=0.25)
    assert masked.isfinite().all()
    assert torch.allclose(masked, images)


def test_k_is_rounded_to_the_nearest_integer_and_halves_to_even():
    ranks = torch.arange(16).view(1, 4, 4)
    counts = [
        int((mask_pixels(torch.ones(1, 1, 4, 4), ranks, torch.tensor([k]), "black") == 0).sum())
        for k in (0.4, 0.5, 1.5, 2.5, 2.51, 15.6)
    ]
    assert counts == [0, 0, 2, 2, 3, 16]


def test_each_image_has_its_own_k():
    masked = mask_pixels(
        torch.ones(3, 1, 2, 3),
        torch.arange(6).view(1, 2, 3).expand(3, 2, 3),
        torch.tensor([0, 2, 6]),
        "black",
    )
    assert (masked == 0).sum((1, 2, 3)).tolist() == [0, 2, 6]


def test_the_same_generator_state_gives_the_same_fill():
    images, ranks = torch.rand(2, 1, 5, 5), rank_pixels(torch.rand(2, 5, 5))
    one, two = (mask_pixels(images, ranks, 9, generator=torch.Generator().manual_seed(4)) for _ in "ab")
    assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: rank_pixels(torch.rand(3, 3)), ValueError, r"shape \(N, H, W\), given \(3, 3\)"),
        (lambda: rank_pixels(torch.rand(1, 3, 3), "higest"), ValueError, "did you mean 'highest'"),
        (lambda: mask(fill="blck"), ValueError, "did you mean 'black'"),
        (lambda: mask(k=10), ValueError, r"between 0 and the number of pixels, 9; .* 10"),
        (
            lambda: mask_pixels(torch.rand(1, 1, 8, 8), rank_pixels(torch.rand(1, 8, 8), patch=2), 60),
            ValueError,
            "between 0 and the number of patches, 16; .* 60",
        ),
        (lambda: mask(k=-1), ValueError, "between 0 and the number of pixels"),
        (lambda: mask(k=float("nan")), ValueError, "between 0 and the number of pixels"),
        (lambda: mask(k=torch.ones(3)), ValueError, r"have shape \(2,\), given shape \(3,\)"),
        (lambda: mask(images=torch.ones(2, 1, 3, 3, dtype=torch.uint8)), TypeError, "normalize"),
        (
            lambda: mask(images=torch.rand(2, 1, 3, 4)),
            ValueError,
            r"ranks must have shape \(2, 3, 4\)",
        ),
        (lambda: mask(fill="black", black=torch.zeros(3)), ValueError, "each of the 1 channels"),
    ],
)
def test_bad_input_is_refused_with_what_was_given_and_what_is_accepted(call, error, message):
    with pytest.raises(error, match=message):
        call()


def mask(images=None, k=1.0, fill="remaining", **options):
    images = torch.rand(2, 1, 3, 3) if images is None else images
    return mask_pixels(images, rank_pixels(torch.rand(2, 3, 3)), k, fill, **options)
