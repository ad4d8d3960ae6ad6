"""Measurements in parts, by worker processes."""

import pytest
import torch
import xarray as xr
from torch import nn

pytest.importorskip("distributed")

from smoot_explore import k_landscape, load_data, masking_curves
from smoot_explore.engine.cluster import close_workers, start_workers
from smoot_explore.engine.parts import curves_in_parts, landscape_in_parts


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
def test_curves_in_parts_are_those_of_one_process_bit_by_bit(client, noisy, split, protocol):
    protocol = {"levels": 4, "memory_budget": 1_000_000, **protocol}
    told = []
    expected = on_one_thread(lambda: masking_curves(noisy, split, **protocol))
    found = curves_in_parts(client, noisy, split, progress=lambda *done: told.append(done), **protocol)
    xr.testing.assert_identical(found.compute(), expected)
    assert len(told) > 2
    assert told[-1] == (150, 150)
    assert noisy.training


def test_own_maps_go_with_their_images(client, noisy, split):
    maps = torch.rand(150, 32, 32, generator=torch.Generator().manual_seed(1))
    expected = on_one_thread(
        lambda: masking_curves(noisy, split, 4, maps={"mine": maps}, memory_budget=4_000_000)
    )
    found = curves_in_parts(client, noisy, split, levels=4, maps={"mine": maps}, memory_budget=4_000_000)
    xr.testing.assert_identical(found, expected)


def test_a_landscape_in_parts_is_that_of_one_process_bit_by_bit(client, noisy, split):
    expected = on_one_thread(lambda: k_landscape(noisy, split, 4, draws=2, memory_budget=4_000_000))
    xr.testing.assert_identical(
        landscape_in_parts(client, noisy, split, levels=4, draws=2, memory_budget=4_000_000), expected
    )


def test_what_fails_in_a_part_is_raised_here(client, split):
    with pytest.raises(ValueError, match="must return logits of shape"):
        curves_in_parts(client, nn.Flatten(0), split, levels=2)
