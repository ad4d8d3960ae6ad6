"""Runs side by side, image by image."""

import numpy as np
import pytest

from smoot_explore import align_images, bundled_runs
from smoot_explore.runs.compare import compare_measured


@pytest.fixture(scope="module")
def measured():
    """Two bundled runs, each with its curves of a single fill and attribution."""
    runs = bundled_runs()[:2]
    return [(run, run.curves().isel(fill=0, attribution=0)) for run in runs]


def test_aligned_images_are_those_in_common_matched_by_their_id(measured):
    (_, one), (_, two) = measured
    shuffled = two.isel(image=np.random.default_rng(0).permutation(two.sizes["image"])[:600])
    first, second = align_images(one.isel(image=slice(100, 500)), shuffled)
    common = np.intersect1d(one.image_id[100:500], shuffled.image_id)
    assert sorted(first.image_id.values.tolist()) == common.tolist()
    np.testing.assert_array_equal(first.image_id, second.image_id)
    for i in (0, 7, -1):
        (at,) = np.flatnonzero(two.image_id == first.image_id[i])
        np.testing.assert_array_equal(second.probability[i], two.probability[at])


def test_images_that_cannot_be_matched_are_refused(measured):
    (_, one), (_, two) = measured
    with pytest.raises(ValueError, match="no image in common"):
        align_images(one.isel(image=slice(5)), two.isel(image=slice(5, 9)))
    with pytest.raises(ValueError, match="holds an image twice"):
        align_images(one.isel(image=[3, 3]), two)
    with pytest.raises(ValueError, match="ids have other labels"):
        align_images(one, two.assign_coords(label=("image", 1 + two.label.values)))


def test_areas_of_other_images_are_warned_of_and_of_the_same_in_another_order_are_not(measured):
    (run, one), (other, two) = measured
    expected = compare_measured([(run, [one]), (other, [two])])
    reversed_ = compare_measured([(run, [one]), (other, [two.isel(image=slice(None, None, -1))])])
    np.testing.assert_allclose(expected.drop_auc, reversed_.drop_auc)
    with pytest.warns(UserWarning, match=f"{other.name} was measured on other test images than {run.name}"):
        compare_measured([(run, [one.isel(image=slice(500))]), (other, [two.isel(image=slice(500, 1000))])])
