import json

import numpy as np
import pytest

from smoot_explore import bundled_runs, masking_curves
from smoot_explore.core.records import Change
from smoot_explore.views import figures


@pytest.fixture
def curves(data, model):
    return masking_curves(model, data.test, 4, fill=["black", "mean"])


def test_the_accuracy_drop_has_a_panel_for_each_fill_and_a_line_with_its_auc_for_each_method(curves):
    figure = figures.accuracy_drop_figure({"sgt": curves, "smoot": curves})
    assert [axis.get_title() for axis in figure.axes] == ["black fill", "mean fill"]
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert [label.split(", AUC ")[0] for label in labels] == ["SGT", "SMOOT"]


@pytest.mark.parametrize("probability", ["all rise", "all fall", "as measured"])
def test_masking_curves_are_drawn_also_when_a_class_is_empty(curves, probability):
    one = curves.isel(fill=0)
    if probability != "as measured":
        rising = np.linspace(0.1, 0.9, 5) if probability == "all rise" else np.linspace(0.9, 0.1, 5)
        one = one.assign(probability=one.probability * 0 + rising)
    figure = figures.masking_curves_figure(one)
    shares = [float(axis.get_title().split(": ")[1].split()[0]) for axis in figure.axes]
    assert sum(shares) == pytest.approx(100, abs=1)
    assert len(figure.legends) == 1


def test_all_saliency_maps_share_one_scale(data):
    maps = {"sgt": np.random.default_rng(0).normal(0, 1, (3, 32, 32)), "smoot": np.zeros((3, 32, 32))}
    figure = figures.saliency_figure(data.test.images[:3].numpy(), maps, ["a", "b", "c"])
    limits = {image.get_clim() for axis in figure.axes[3:9] for image in axis.get_images()}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high


def test_each_method_may_have_its_own_scale(data):
    maps = {name: np.full((3, 32, 32), size) for name, size in (("sgt", 0.5), ("smoot", 2.0))}
    figure = figures.saliency_figure(data.test.images[:3].numpy(), maps, ["a", "b", "c"], own_scales=True)
    limits = [axis.get_images()[0].get_clim() for axis in figure.axes[3:9]]
    assert limits == [(-0.5, 0.5)] * 3 + [(-2, 2)] * 3


def test_figures_are_saved_as_png_and_svg(tmp_path, curves):
    written = figures.save_figure(figures.accuracy_drop_figure({"sgt": curves}), tmp_path / "new" / "drop")
    assert [path.name for path in written] == ["drop.png", "drop.svg"]
    assert written[0].read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in written[1].read_bytes()


def steps(axis) -> list[tuple[list, list]]:
    """What the step lines of an axis go through."""
    lines = [line for line in axis.get_lines() if line.get_drawstyle() == "steps-post"]
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in lines]


def test_the_bounds_of_k_move_where_they_moved_in_training():
    record = bundled_runs()[-1].record()
    n_pixels, config = record.attrs["n_pixels"], json.loads(record.attrs["config"])
    per_epoch = -(-record.sizes["image"] // config["start"]["batch_size"])
    low, high = config["start"]["k_min"] * n_pixels, config["start"]["k_max"] * n_pixels
    lowest = float(record.k.min()) / n_pixels
    moves = [
        Change(1 + 2 * per_epoch, 3, "k_min", low, lowest),
        Change(1 + 3 * per_epoch, 4, "beta", 0.9, 0.5),
    ]
    config["changes"] = [vars(change) for change in moves]
    figure = figures.k_trajectories_figure(record.assign_attrs(config=json.dumps(config)))
    assert steps(figure.axes[0]) == [
        ([0, 2, 8], [low, lowest * n_pixels, lowest * n_pixels]), ([0, 2, 8], [high] * 3),
    ]  # fmt: skip
    assert [line.get_ydata()[0] for line in figure.axes[1].get_lines()] == [lowest * n_pixels, high]
    assert f"bounds {low:.0f} and {high:.0f}, in the end {lowest * n_pixels:.0f} and" in figure.get_suptitle()
