"""Runs side by side, image by image."""

import numpy as np
import pytest
from click.testing import CliRunner

from smoot_explore import Run, align_images, bundled_runs, create_model, masking_curves, train
from smoot_explore.cli.commands import main
from smoot_explore.runs.compare import compare_measured, compare_runs
from smoot_explore.runs.table import columns, notes, varying


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


@pytest.fixture
def small(tmp_path, data, config):
    """A run of one epoch, with curves that were measured then."""
    model = create_model("cnn", data)
    run = Run.create(tmp_path / "small", config(epochs=1), model, data)
    list(train(model, data, run.config, run=run))
    run.save_curves(masking_curves(model, data.test, 4))
    return run


def test_areas_over_other_levels_are_other_areas(small, data):
    model = small.load_model()
    few, many = small.curves(), masking_curves(model, data.test, 6)
    table = compare_measured([(small, [few, many])])
    assert (table.levels.values.tolist(), varying(table)) == ([4, 6], ["levels"])
    assert [c.of for c in columns(table, ["fill", "levels"]) if c.quantity == "AUC"] == [
        ("black", "4"),
        ("black", "6"),
    ]
    assert "levels 4" in notes(compare_measured([(small, [few])]))[-2]


def test_curves_of_an_earlier_epoch_stand_beside_no_later_accuracy(small, data):
    assert compare_runs([small]).drop_auc.notnull().all()
    config = small.config
    config.epochs = 2
    list(train(small.load_model(), data, config, run=small))
    with pytest.warns(
        UserWarning, match="'test' of small are left out: they were measured after epoch 1, .* 2 now"
    ):
        table = compare_runs([small])
    assert table.sizes["protocol"] == 0


def test_a_run_that_was_resumed_in_another_number_format_names_both(small, data):
    assert compare_runs([small]).trained_in.item() == "float32"
    config = small.config
    config.epochs, config.precision = 2, "bfloat16"
    list(train(small.load_model(), data, config, run=small))
    assert compare_measured([(small, [])]).trained_in.item() == "float32, then bfloat16"


@pytest.mark.filterwarnings("default")
def test_a_terminal_is_told_of_curves_left_out_in_one_line(small, data):
    config = small.config
    config.epochs = 2
    list(train(small.load_model(), data, config, run=small))
    output = CliRunner().invoke(main, ["compare", str(small.path)]).output
    (line,) = [line for line in output.splitlines() if "left out" in line]
    assert line.startswith("warning: the curves 'test' of small are left out")
