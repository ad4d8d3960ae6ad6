"""Rank correlation, hit rate and randomised layers, against slow and known answers."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from smoot_explore.compute.randomness import RandomStream
from smoot_explore.core.sanity import hit_rate, randomize_layers, rank_correlation


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 5))
def test_rank_correlation_is_that_of_the_ranks_counted_one_by_one(seed, height, width):
    rng = np.random.default_rng(seed)
    maps, others = (rng.permutation(height * width).astype(np.float32) for _ in range(2))
    shape = (1, height, width)
    found = rank_correlation(torch.from_numpy(maps).view(shape), torch.from_numpy(others).view(shape))
    distance = sum((maps.astype(float) - others.astype(float)) ** 2)
    n = height * width
    assert found.item() == pytest.approx(1 - 6 * distance / (n * (n**2 - 1)), abs=1e-6)


def test_each_image_is_correlated_for_itself():
    maps = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    others = torch.stack([maps[0], -maps[1], maps[2] ** 3])
    assert rank_correlation(maps, others).tolist() == pytest.approx([1, -1, 1])


def test_maps_of_chance_have_nothing_in_common():
    generator = torch.Generator().manual_seed(0)
    maps, others = (torch.rand(200, 28, 28, generator=generator) for _ in range(2))
    assert abs(rank_correlation(maps, others).mean().item()) < 0.01


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_hit_rate_is_counted_pixel_by_pixel(seed):
    rng = np.random.default_rng(seed)
    maps, masks = rng.permutation(30).reshape(1, 5, 6).astype(np.float32), rng.random((1, 5, 6)) < 0.4
    masks[0, 0, 0] = True
    order = sorted(range(30), key=lambda i: -maps.flat[i])[: int(masks.sum())]
    expected = sum(bool(masks.flat[i]) for i in order) / masks.sum()
    assert hit_rate(torch.from_numpy(maps), torch.from_numpy(masks)).item() == pytest.approx(expected)


def test_chance_hits_the_share_of_the_image_that_the_object_has():
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(300, 20, 20, dtype=torch.bool)
    masks[:, :10, :8] = True
    found = hit_rate(torch.rand(300, 20, 20, generator=generator), masks)
    assert found.mean().item() == pytest.approx(0.2, abs=0.01)


def test_an_image_without_an_object_has_no_hit_rate():
    assert hit_rate(torch.rand(1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.bool)).isnan().all()


@pytest.mark.parametrize("n_layers", [0, 1, 2, 3, None])
def test_the_last_layers_are_drawn_anew_and_the_model_stays_as_it_is(n_layers):
    model = network()
    before = copy.deepcopy(model.state_dict())
    changed = randomize_layers(model, n_layers, seed=1)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    differ = [
        not torch.equal(getattr(changed, i).weight, getattr(model, i).weight) for i in ("0", "4")
    ]  # a fresh BatchNorm has the weights 1 that it began with
    n = 3 if n_layers is None else n_layers
    assert differ == [n >= 3, n >= 1]


def test_the_same_seed_draws_the_same_weights_and_leaves_the_callers_randomness_alone():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    first, second = (randomize_layers(network_, seed=7) for network_ in (FIXED, FIXED))
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(first[4].weight, second[4].weight)


FIXED = network()


@pytest.mark.parametrize("n_layers", [-1, 4])
def test_a_number_of_layers_that_there_is_not_is_refused(n_layers):
    with pytest.raises(ValueError, match=rf"has 3 layers with weights, n_layers={n_layers} must lie in 0"):
        randomize_layers(network(), n_layers)


def test_a_layer_that_cannot_be_drawn_again_is_named():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(1))

    with pytest.raises(ValueError, match="Scale has weights but no reset_parameters"):
        randomize_layers(nn.Sequential(nn.Linear(2, 2), Scale()))


@pytest.mark.parametrize("function", [rank_correlation, hit_rate])
def test_maps_of_different_shapes_are_refused(function):
    with pytest.raises(ValueError, match=r"\(2, 3, 3\) and \(2, 3, 4\)"):
        function(torch.rand(2, 3, 3), torch.ones(2, 3, 4, dtype=torch.bool))


def test_random_layers_wait_for_whoever_draws_random_numbers():
    """PyTorch has one random state for all threads: seeding it under a training would change its numbers."""
    model = network()
    with ThreadPoolExecutor(1) as pool:
        with RandomStream(0, torch.device("cpu")):
            changed = pool.submit(randomize_layers, model, seed=1)
            with pytest.raises(TimeoutError):
                changed.result(timeout=0.2)
            drawn = torch.rand(3)
        changed.result(timeout=30)
    with RandomStream(0, torch.device("cpu")):
        assert torch.equal(torch.rand(3), drawn)
