"""A training that masks patches, from its record to the pictures and tables: its k counts patches."""

import holoviews as hv
import numpy as np
import pytest
import torch
import xarray as xr
from bokeh.models import Axis
from workers import ThreadWorkers

from smoot_explore import (
    Run,
    SchemaError,
    k_landscape,
    mask_pixels,
    open_run,
    rank_pixels,
    saliency,
    simulate_k,
    train,
    validate,
    views,
)
from smoot_explore.core.effect import masking_effect
from smoot_explore.core.history import History
from smoot_explore.core.masking import order_pixels
from smoot_explore.engine.channel import Channel
from smoot_explore.engine.engine import Engine
from smoot_explore.explorer.equation import equation_html
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state.compare import CompareState
from smoot_explore.explorer.state.train import TrainState
from smoot_explore.explorer.state.whatif import WhatIfState
from smoot_explore.explorer.tabs.sidebar import Sidebar
from smoot_explore.explorer.tabs.train import TrainTab
from smoot_explore.explorer.tabs.whatif import WhatIfTab
from smoot_explore.runs.compare import compare_runs
from smoot_explore.runs.table import notes
from smoot_explore.views import looks
from smoot_explore.views.paper import png

looks.load()


@pytest.fixture
def run(data, linear, config, tmp_path):
    """Two epochs that mask patches of 4×4 of the 1,024 pixels: 64 of them."""
    settings = config(patch=4, learning_rate=0.01, alpha=5)
    run = Run.create(tmp_path / "patches", settings, linear, data)
    list(train(linear, data, settings, run=run, every=1))
    return run


@pytest.fixture
def opened(run, data, linear):
    return OpenedRun.open("mine/1", "patches", open_run(run.path), data=data, model=linear)


def units_of(element):
    """The units of k on the axes of a picture's parts."""
    dimensions = [d for part in element.traverse(lambda one: one, [hv.Element]) for d in part.dimensions()]
    return {dimension.unit for dimension in dimensions if dimension.name in ("k", "next_k")}


def test_a_record_counts_patches(run, tmp_path):
    for record in (run.record(), open_run(run.path).record(), run.publish(tmp_path / "copy").record()):
        assert record.k.attrs == {"units": "patches", "long_name": "number of masked patches after the epoch"}
        assert record.attrs["n_pixels"] == 64
        assert 0.2 * 64 <= record.k.min() <= record.k.max() <= 0.8 * 64
        assert validate(record) is record
    with pytest.raises(SchemaError, match="k must be in 'pixels' or 'patches', is in 'tiles'"):
        validate(record.assign(k=record.k.assign_attrs(units="tiles")))


def test_a_landscape_counts_patches_and_masks_them_whole(data, linear):
    split = data.train[:5]
    landscape = k_landscape(linear, split, 8, fill="black", patch=4)
    assert landscape.k.values.tolist() == [0, 8, 16, 24, 32, 40, 48, 56, 64]
    assert landscape.k.attrs["units"] == "patches"
    images = split.normalize()
    ranks = rank_pixels(saliency(linear, images, split.labels), "lowest", patch=4)
    masked = mask_pixels(images, ranks, 16, "black", black=split.black)
    p, q = (linear(x).softmax(1).gather(1, split.labels[:, None])[:, 0] for x in (images, masked))
    np.testing.assert_allclose(landscape.label_change.sel(k=16), (q - p).detach(), atol=1e-6)
    k = simulate_k(landscape, alpha=5, beta=1, k_init=0.5, k_min=0.2, k_max=0.8, epochs=3)
    assert k.attrs["units"] == "patches"
    assert (k[0] == 32).all()
    with pytest.raises(ValueError, match="32×32 pixels are not made of whole patches of 5×5"):
        k_landscape(linear, split, 8, patch=5)


def test_the_pixels_of_a_patch_follow_each_other():
    maps = torch.tensor([[[4.0, 0, 1, 1], [0, 4, 1, 1], [9, 9, 0, 0], [9, 9, 0, 0]]])
    assert order_pixels(maps, "lowest", 2).tolist() == [
        [10, 11, 14, 15, 2, 3, 6, 7, 0, 1, 4, 5, 8, 9, 12, 13]
    ]


def test_the_effect_of_masking_is_that_of_whole_patches(data, linear):
    seen = masking_effect(linear, data.test[:3], 10, fill="black", patch=4)
    black = (seen.masked_images == 0).all(1).reshape(3, 8, 4, 8, 4).transpose(0, 1, 3, 2, 4)
    assert (black.reshape(3, 64, 16).all(2).sum(1) >= 10).all()


def test_pictures_say_patches_with_both_backends(run, opened):
    record, landscape = run.record(), opened.landscape_work()(Channel(list))
    one = landscape.isel(image=[0])
    way = simulate_k(one, alpha=5, beta=1, k_init=0.5, k_min=0.2, k_max=0.8, epochs=4).values[:, 0]
    pictures = [
        views.k_trajectories(record),
        views.k_trajectories(History.of(record).k_quantiles()),
        views.single_k(record.k.isel(image=[0, 1])),
        views.k_histogram(record),
        views.k_histogram(History.of(record).k_now()),
        views.k_spread(record),
        views.k_landscape(one, trajectory=way),
        views.cobweb(one.isel(image=0), way, 5, 1, (12.8, 51.2)),
    ]
    for picture in pictures:
        assert units_of(picture) == {"patches"}
        assert png(picture).startswith(b"\x89PNG")
        labels = [
            axis.axis_label for axis in hv.renderer("bokeh").get_plot(picture).state.select({"type": Axis})
        ]
        assert any(label.endswith("(patches)") for label in labels)
    assert pictures[5].label.endswith("bounds 13 and 51 of 64 patches")


def test_compare_says_which_runs_count_patches(run, data, linear, config, tmp_path, opened):
    pixels = Run.create(tmp_path / "pixels", config(learning_rate=0.01), linear, data)
    list(train(linear, data, pixels.config, run=pixels))
    own, both = compare_runs([run]), compare_runs([run, pixels])
    assert (own.k_median.attrs["units"], both.k_median.attrs["units"]) == ("patches", "pixels or patches")
    assert both.patch.values.tolist() == [4, 1]
    assert notes(own)[0].startswith("k in patches of 4×4 pixels over the training images")
    assert notes(both)[0].startswith("k in pixels (patches: in patches of 4×4 pixels) over")
    state = CompareState()
    state.opened_runs = [opened]
    assert state.note().startswith("k in patches of 4×4 pixels. AUC")


def test_the_train_tab_and_what_if_say_patches(run, opened, tmp_path):
    state = TrainState(ServerSettings(runs=tmp_path / "runs"), Engine(ThreadWorkers()))
    state.show_preview(opened)
    assert (state.unit, state.most_k, state.start_k) == ("patches", 64, 32)
    assert [tuple(bounds) for bounds in state.counted_bounds] == [
        (0, pytest.approx(12.8), pytest.approx(51.2))
    ]
    card = equation_html(state.move())
    assert "patches of lowest saliency the probability" in card
    assert "patches</b> a visit" in card
    tab = TrainTab(state, [], lambda position: None, lambda act: act(), lambda problem: None)
    sketches = tab._sketches()
    assert sketches["k-range"].y.unit == sketches["k-watched"].y.unit == "patches"
    assert sketches["k-now"].x.unit == "patches"
    assert "patches" in sketches["watched"].title

    whatif = WhatIfState()
    opened.take_landscape(opened.landscape_work()(Channel(list)))
    whatif.show(opened)
    page = WhatIfTab(whatif, state, lambda act: act(), print)
    page.refresh()
    page.show_details()
    assert page.alpha.label == "α, speed of k (patches)"
    assert "at the lower bound (13 patches)" in page.summary.object
    assert "patches. Where the curve" in page.picked.object
    assert (
        page.trajectories.sketch.y.unit
        == page.cobweb.sketch.x.unit
        == page.settled.sketch.x.unit
        == "patches"
    )


def test_patches_can_be_chosen_beside_the_other_settings(tmp_path):
    state = TrainState(ServerSettings(runs=tmp_path / "runs"), Engine(ThreadWorkers()))
    sidebar = Sidebar(state, lambda: None, lambda problem: None)
    assert sidebar.live[0].label == "α, speed of k (pixels)"
    state.config.patch = 4
    assert sidebar.live[0].label == "α, speed of k (patches)"
    state.config.patch = 1
    assert sidebar.live[0].label == "α, speed of k (pixels)"


def test_records_of_before_patches_count_pixels(run):
    record = run.record()
    del record.k.attrs["units"]
    history = History.of(
        record.assign_attrs(config=record.attrs["config"].replace('"patch": 4', '"seed": 0'))
    )
    assert history.unit == "pixels"
    assert views.k_trajectories.sketch(xr.DataArray(record.k)).y.unit == "pixels"
