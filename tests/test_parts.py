"""Measurements in parts, by worker processes."""

import pytest
import torch
import xarray as xr
from torch import nn

pytest.importorskip("distributed")

from smoot_explore import k_landscape, load_data, masking_curves
from smoot_explore.core.choices import REGISTERED
from smoot_explore.engine.cluster import close_workers, start_workers


@pytest.fixture(scope="module")
def client():
    client = start_workers(2, threads=1)
    yield client
    close_workers(client)


@pytest.fixture(scope="module")
def split():
    return load_data("shapes", 12, 150).test


@pytest.fixture
def noisy():
    """With BatchNorm and dropout, in train mode: neither must matter."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=3), nn.BatchNorm2d(4), nn.Dropout(0.3), nn.Flatten(), nn.Linear(400, 6)
    ).train()


def on_one_thread(measure):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return measure()
    finally:
        torch.set_num_threads(before)


PROTOCOLS = [
    {},
    {"fill": ["remaining", "image_range"], "attribution": ["gradient", "smoothgrad"], "seed": 3, "levels": 5},
    {"order": "lowest", "signed": False, "target": [i % 6 for i in range(150)]},
]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=["plain", "drawing", "targets"])
def test_curves_by_workers_are_those_of_one_process_bit_by_bit(client, noisy, split, protocol):
    protocol = {"levels": 4, "memory_budget": 1_000_000, **protocol}
    told = []
    expected = on_one_thread(lambda: masking_curves(noisy, split, **protocol))
    found = masking_curves(noisy, split, client=client, progress=lambda *done: told.append(done), **protocol)
    xr.testing.assert_identical(found.compute(), expected)
    assert len(told) > 2
    assert told[-1] == (150, 150)
    assert noisy.training


def test_own_maps_go_with_their_images(client, noisy, split):
    maps = torch.rand(150, 32, 32, generator=torch.Generator().manual_seed(1))
    expected = on_one_thread(
        lambda: masking_curves(noisy, split, 4, maps={"mine": maps}, memory_budget=4_000_000)
    )
    found = masking_curves(noisy, split, 4, maps={"mine": maps}, memory_budget=4_000_000, client=client)
    xr.testing.assert_identical(found, expected)


def test_a_landscape_by_workers_is_that_of_one_process_bit_by_bit(client, noisy, split):
    expected = on_one_thread(lambda: k_landscape(noisy, split, 4, draws=2, memory_budget=4_000_000))
    xr.testing.assert_identical(
        k_landscape(noisy, split, 4, draws=2, memory_budget=4_000_000, client=client), expected
    )


def brightness(model, images, labels, baseline):
    return images - baseline


def test_what_was_registered_here_is_known_to_the_workers(client, noisy, split, monkeypatch):
    monkeypatch.setitem(REGISTERED["attribution"], "brightness", brightness)
    asked = {"attribution": "brightness", "memory_budget": 4_000_000}
    expected = on_one_thread(lambda: masking_curves(noisy, split, 4, **asked))
    xr.testing.assert_identical(masking_curves(noisy, split, 4, client=client, **asked), expected)


def test_a_part_of_a_larger_split_has_the_random_numbers_of_its_place(client, noisy, split):
    asked = {"fill": "remaining", "first": 7, "memory_budget": 4_000_000}
    expected = on_one_thread(lambda: masking_curves(noisy, split[7:], 4, **asked))
    xr.testing.assert_identical(masking_curves(noisy, split[7:], 4, client=client, **asked), expected)


def test_what_fails_in_a_part_is_raised_here(client, split):
    with pytest.raises(ValueError, match="must return logits of shape"):
        masking_curves(nn.Flatten(0), split, 2, client=client)
