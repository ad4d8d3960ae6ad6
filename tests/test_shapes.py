import numpy as np
import pytest
import torch

from smoot_explore import load_data
from smoot_explore.data.shapes import SHAPES, generate_shapes


@pytest.fixture(scope="module")
def many():
    return generate_shapes(600, 6).train


def test_the_same_seed_gives_the_same_images_and_training_differs_from_test():
    one, two, other = (load_data("shapes", 20, 20, seed=seed) for seed in (1, 1, 2))
    assert one.fingerprint == two.fingerprint != other.fingerprint
    assert not torch.equal(one.train.images, one.test.images)


def test_classes_are_balanced(many):
    assert many.labels.bincount().tolist() == [100] * len(SHAPES)


def test_every_image_has_its_whole_shape_inside(many):
    border = many.object_masks.clone()
    border[:, 1:-1, 1:-1] = False
    assert not border.any()
    assert many.object_masks.sum((1, 2)).min() > 20


def test_size_place_and_colour_do_not_tell_the_class(many):
    """Mean area, centre and colour of the shape differ between classes by no more than chance allows."""
    masks = many.object_masks.double()
    area = masks.sum((1, 2))
    grid = torch.arange(32.0, dtype=torch.float64)
    measures = {
        "area": area,
        "row": (masks.sum(2) @ grid) / area,
        "column": (masks.sum(1) @ grid) / area,
        **{f"colour {c}": (many.images[:, c] * masks).sum((1, 2)) / area for c in range(3)},
    }
    for name, values in measures.items():
        means = torch.stack([values[many.labels == label].mean() for label in range(len(SHAPES))])
        standard_error = values.std() / 100**0.5
        assert (means - values.mean()).abs().max() < 4 * standard_error, name


def test_the_mask_is_where_the_shape_was_drawn(many):
    """Within the mask, away from its blended edge, there is one colour and a little noise."""
    core = many.object_masks.clone()
    for shift in (-1, 1):
        core &= many.object_masks.roll(shift, 1) & many.object_masks.roll(shift, 2)
    spreads = [
        image[:, inside].std(1).max()
        for image, inside in zip(many.images.double(), core, strict=True)
        if inside.sum() > 10
    ]
    assert len(spreads) > 300
    assert max(spreads) < 2 * 0.04 * 255


@pytest.mark.parametrize("name", SHAPES)
def test_the_area_of_each_shape_is_what_it_claims(name):
    grid = (np.arange(1000) + 0.5) / 400 - 1.25
    inside = SHAPES[name].contains(grid[None, :, None] + 0 * grid, grid[None, None, :] + 0 * grid[:, None])
    assert inside.mean() * 2.5**2 == pytest.approx(SHAPES[name].area, rel=0.01)
