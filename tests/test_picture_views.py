"""Every picture, drawn by Bokeh and by Matplotlib, holds the numbers of its record; the oracles are plain loops."""

import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import holoviews as hv
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from smoot_explore import bundled_runs, load_data, simulate_k, views
from smoot_explore.core.effect import MaskingEffect
from smoot_explore.core.records import DropRecord
from smoot_explore.views import looks
from smoot_explore.views.captioned import key_html
from smoot_explore.views.palette import CLASS_COLOURS
from smoot_explore.views.paper import figure_of, png
from smoot_explore.views.sketch import extent

looks.load()
LEVELS = np.linspace(0, 1, 5)
# I, II with its peak in the first third, II in the last third, I
PROBABILITY = [
    [0.9, 0.5, 0.3, 0.2, 0.1], [0.2, 0.9, 0.3, 0.1, 0.1], [0.4, 0.3, 0.3, 0.8, 0.2], [0.8, 0.8, 0.5, 0.1, 0.1],
]  # fmt: skip


def curves_of(probability=PROBABILITY, **several):
    """Masking curves (…, image, masked_fraction), with a coordinate of each name in ``several``."""
    probability = np.array(probability, float)
    for values in reversed(several.values()):
        probability = np.stack([probability] * len(values))
    dims = (*several, "image", "masked_fraction")
    n = probability.shape[-2]
    coords = {
        "masked_fraction": LEVELS[: probability.shape[-1]], "image_id": ("image", np.arange(n)), "fill": "black",
        "attribution": "gradient", **several,
    }  # fmt: skip
    told = {"long_name": "probability of the label's class, p_y", "units": "1"}
    return xr.Dataset(
        {"probability": (dims, probability, told), "correct": (dims, probability > 0.5)},
        coords,
        {"ranking": "signed", "order": "highest", "class_names": '["a", "b"]'},
    )


def record_of(k, **more):
    """A training record of k (epoch, image), in pixels of 100."""
    k = np.array(k, np.float32)
    epochs, n = k.shape
    rng = np.random.default_rng(0)
    losses = {
        name: ("epoch", rng.uniform(0, 90, epochs))
        for name in ("cross_entropy", "kl", "train_accuracy", "test_accuracy")
    }
    start = {"method": "smoot", "k_init": 0.5, "k_min": 0.2, "k_max": 0.8, "batch_size": 10}
    coords = {
        "epoch": ("epoch", np.arange(1, epochs + 1), {"long_name": "epoch, counted from 1", "units": "1"})
    }
    attrs = {"n_pixels": 100, "config": json.dumps({"start": start, "changes": []}), **more}
    return xr.Dataset({"k": (("epoch", "image"), k), **losses}, coords, attrs).assign_coords(
        image_id=("image", np.arange(n)), label=("image", np.zeros(n, int))
    )


def landscape_of(n):
    rng = np.random.default_rng(4)
    changes = {
        name: (("image", "k"), rng.normal(0, 0.3, (n, 3))) for name in ("label_change", "runners_up_change")
    }
    coords = {
        "k": [0, 50, 100],
        "label": ("image", np.zeros(n, int)),
        "image_id": ("image", np.arange(n) + 7),
    }
    return xr.Dataset(changes, coords, {"n_pixels": 100, "class_names": '["boot"]'})


K = [[50, 40, 60, 45], [52, 35, 70, 40], [54, 30, 80, 35]]
MEANS = {"Class I": [0.85, 0.65, 0.4, 0.15, 0.1], "Class II": [0.3, 0.6, 0.3, 0.45, 0.15]}
DROPS = [
    DropRecord(
        float(e),
        LEVELS,
        90 - 10 * e * LEVELS,
        np.arange(24),
        "black",
        "gradient",
        "signed",
        "highest",
        "float32",
    )
    for e in (1, 2, 3)
]
ONE = landscape_of(1)
WAY = np.array([10.0, 40.0, 60.0])


def moves_of():
    """Of one image: up by 2, up to its bound, down."""
    values = {"before": [50.0, 52, 60], "k": [52.0, 60, 55], "step": [2.0, 12, -5], "delta": [0.2, 1.2, -0.5]}
    return xr.Dataset({name: ("epoch", v) for name, v in values.items()}, {"epoch": [1, 2, 3]})


def dynamics_of():
    """Three images over two epochs: always right, once, never."""
    probability = np.array([[0.9, 0.2, 0.3], [0.9, 0.8, 0.1]])
    values = {"probability": probability, "correct": probability > 0.5}
    return xr.Dataset(
        {name: (("epoch", "image"), v) for name, v in values.items()},
        {"epoch": [1, 2], "image_id": ("image", [5, 6, 7])},
    )


def board_of():
    values = {"beta": [np.nan, 0.5, 0.9], "k_median": [np.nan, 400, 380], "method": ["sgt", "smoot", "smoot"]}
    values["live"] = [False, False, True]
    return xr.Dataset({name: ("run", v) for name, v in values.items()}, {"run": ["a", "b", "c"]})


def at_epochs(name):
    return (record_of(K).epoch.values, record_of(K)[name].values)


# For each view the picture, and by the role of a layer what it must hold: x and y, or edges and counts.
CASES = {
    "accuracy_drop": (
        lambda: views.accuracy_drop({"sgt": curves_of()}), {"SGT": (100 * LEVELS, [50, 50, 0, 25, 0])},
    ),
    "accuracy_drop of runs with names of their own": (
        lambda: views.accuracy_drop({"mine": curves_of()}), {"Series 1": (100 * LEVELS, [50, 50, 0, 25, 0])},
    ),
    "probe_drop": (
        lambda: views.probe_drop(DROPS, "sgt"),
        {"SGT": (100 * LEVELS, 90 - 30 * LEVELS), "Faded 1": ([*100 * LEVELS, np.nan], [*(90 - 20 * LEVELS), np.nan])},
    ),
    "masking_curve": (
        lambda: views.masking_curve(curves_of().isel(image=[1]), 0.25),
        {"Class II": (100 * LEVELS, PROBABILITY[1]), "Peak": ([25], [0.9]), "Marker": ([25], [0.9])},
    ),
    "class_means": (
        lambda: views.class_means(curves_of(), picked=2, selected=[0, 1]),
        {name: (100 * LEVELS, mean) for name, mean in MEANS.items()}
        | {"Picked": (100 * LEVELS, PROBABILITY[2]), "Selected": (100 * LEVELS, [0.55, 0.7, 0.3, 0.15, 0.1])},
    ),
    "class_share": (
        lambda: views.class_share(curves_of(), None),
        {"Series 1": (np.linspace(0, 0.3, 31), [50.0] * 31)},
    ),
    "class_scatter": (
        lambda: views.class_scatter(curves_of(), picked=1),
        {"Class I": ([0.9, 0.8], [0, 0]), "Class II": ([0.2, 0.4], [0.7, 0.4]), "Picked": ([0.2], [0.7])},
    ),
    "class_peaks": (
        lambda: views.class_peaks(curves_of(), selected=[2]),
        {"Class II": ([-12.5, 12.5, 37.5, 62.5, 87.5, 112.5], [0, 1, 0, 1, 0]),
         "Chosen": ([-12.5, 12.5, 37.5, 62.5, 87.5, 112.5], [0, 0, 0, 1, 0])},
    ),
    "losses": (
        lambda: views.losses(record_of(K)), {"Cross-entropy": at_epochs("cross_entropy"), "KL": at_epochs("kl")},
    ),
    "accuracies": (
        lambda: views.accuracies(record_of(K)),
        {"Training images": at_epochs("train_accuracy"), "Test images": at_epochs("test_accuracy")},
    ),
    "k_trajectories": (
        lambda: views.k_trajectories(record_of(K), images=[1, 2], classes=["I", "II"]),
        {"Median": ([0, 1, 2, 3], [50, *map(statistics.median, K)]),
         "Class I": ([0, 1, 2, 3, np.nan], [50, *(row[1] for row in K), np.nan]),
         "Class II": ([0, 1, 2, 3, np.nan], [50, *(row[2] for row in K), np.nan])},
    ),
    "losses of several trainings": (
        lambda: views.losses(record_of(K), others=[None, ("SGT", record_of(K[:2]))]),
        {"Cross-entropy": at_epochs("cross_entropy"),
         "Rival 2": ([1, 2], record_of(K[:2]).cross_entropy.values)},
    ),
    "accuracies of several trainings": (
        lambda: views.accuracies(record_of(K), others=[("SGT", record_of(K[:2]))]),
        {"Rival 1": ([1, 2], record_of(K[:2]).test_accuracy.values)},
    ),
    "k_trajectories of several trainings": (
        lambda: views.k_trajectories(record_of(K), others=[("SMOOT β 0.5", record_of(K[1:]).k)]),
        {"Median": ([0, 1, 2, 3], [50, *map(statistics.median, K)]),
         "Rival 1": ([1, 2], [*map(statistics.median, K[1:])])},
    ),
    "probe_drop of several trainings": (
        lambda: views.probe_drop(DROPS, "sgt", others=[("SMOOT", DROPS[0])]),
        {"SGT": (100 * LEVELS, 90 - 30 * LEVELS), "Rival 1": (100 * LEVELS, DROPS[0].accuracy)},
    ),
    "frozen_and_trained": (
        lambda: views.frozen_and_trained(record_of(K).k, record_of(K[1:]).k, picked=2),
        {"Median": ([1, 2, 3], [*map(statistics.median, K)]),
         "Picked": ([1, 2, 3, np.nan], [*(row[2] for row in K), np.nan]),
         "Trained": ([1, 2], [*map(statistics.median, K[1:])]),
         "Trained image": ([1, 2], [row[2] for row in K[1:]])},
    ),
    "single_k": (
        lambda: views.single_k(record_of(K).k.isel(image=[3])),
        {"Not judged": ([1, 2, 3, np.nan], [*(row[3] for row in K), np.nan])},
    ),
    "k_histogram": (
        lambda: views.k_histogram(record_of(K).k.isel(epoch=-1), (20, 80), n_pixels=100, bins=4),
        {"K": ([0, 25, 50, 75, 100], [0, 2, 1, 1])},
    ),
    "single_moves": (
        lambda: views.single_moves(moves_of()),
        {"Framed": ([0, 1, 2, 3], [50, 52, 60, 55])},
    ),
    "dataset_map": (
        lambda: views.dataset_map(dynamics_of(), picked=2),
        {"Always right": ([0.0], [0.9]), "Seldom right": ([0.3], [0.5]), "Never right": ([0.1], [0.2]),
         "Picked": ([0.1], [0.2])},
    ),
    "dataset_map by class": (
        lambda: views.dataset_map(dynamics_of(), classes=["II", "I", "?"]),
        {"Class II": ([0.0], [0.9]), "Class I": ([0.3], [0.5]), "Not judged": ([0.1], [0.2])},
    ),
    "class_changes": (
        lambda: views.class_changes(curves_of().expand_dims(epoch=[1, 3, 4]).copy(data={
            "probability": np.array([PROBABILITY, [PROBABILITY[i] for i in (0, 1, 0, 0)], [PROBABILITY[1]] * 4]),
            "correct": np.zeros((3, 4, 5), bool),
        })),
        {"Class II": ([3, 4], [0, 3]), "Class I": ([3, 4], [1, 0])},
    ),
    "class_board": (
        lambda: views.class_board(board_of(), "beta", "k_median"),
        {"SGT": ([], []), "SMOOT": ([0.5, 0.9], [400, 380]), "Selected": ([0.9], [380])},
    ),
    "k_landscape": (
        lambda: views.k_landscape(ONE, 0.5, [50.0]),
        {"Label": ([0, 50, 100], ONE.label_change.values[0]),
         "Runners-up": ([0, 50, 100], ONE.runners_up_change.values[0]),
         "Mean": ([0, 50, 100], (ONE.label_change.values[0] + ONE.runners_up_change.values[0]) / 2),
         "Way": ([50], [(ONE.label_change.values[0, 1] + ONE.runners_up_change.values[0, 1]) / 2])},
    ),
    "cobweb": (
        lambda: views.cobweb(ONE, WAY, 10, 0.9, (20, 80)),
        {"Steps": ([10, 10, 40, 40, 60], [10, 40, 40, 60, 60]), "Start": ([10], [10])},
    ),
}  # fmt: skip


def numbers_of(layer):
    """What a layer holds of one backend or the other: pairs of x and y, or edges and heights."""
    columns = layer.handles.get("source")
    if columns is not None:
        data = {
            name: np.asarray(values, float)
            for name, values in columns.data.items()
            if name not in ("text", "image", "training")
        }
        if "left" in data:
            return np.append(data["left"], data["right"][-1:]), data["top"]
        return tuple(data.values())[:2]
    artist = layer.handles["artist"]
    if hasattr(artist, "get_xydata"):
        return tuple(artist.get_xydata().T)
    if hasattr(artist, "patches"):
        bars = artist.patches
        return [*(bar.get_x() for bar in bars), bars[-1].get_x() + bars[-1].get_width()], [
            b.get_height() for b in bars
        ]
    return tuple(np.asarray(artist.get_offsets()).T)


def layers_of(element, backend):
    """The layers of a backend's plot by their roles; of equal roles the first."""
    plot = hv.renderer(backend).get_plot(element)
    found = {}
    for layer in plot.subplots.values():
        found.setdefault(layer.current_frame.group, layer)
    return found


@pytest.mark.parametrize("backend", ["bokeh", "matplotlib"])
@pytest.mark.parametrize("name", CASES)
def test_a_picture_holds_the_numbers_of_its_record(name, backend):
    make, expected = CASES[name]
    layers = layers_of(make(), backend)
    for role, numbers in expected.items():
        for found, wanted in zip(numbers_of(layers[role]), numbers, strict=True):
            np.testing.assert_allclose(
                np.ma.filled(found, np.nan), wanted, rtol=1e-6, atol=1e-7, err_msg=role
            )


def test_every_view_has_a_case_and_a_size():
    tested = {name.split()[0] for name in CASES}
    pictures = {"images", "masking", "picture_grid", "saliency_maps", "stages", "amounts", "probabilities"}
    composed = {"masking_curves", "k_spread", "sweep_map", "sweep_curves", "parallel_coordinates"}
    assert tested | pictures | composed == {
        name for name in views.__all__ if name not in ("Live", "SweepView", "save")
    }
    for name in CASES:
        element = CASES[name][0]()
        assert element.group in looks.SIZES, name
        assert all(layer.group in {*looks.ROLES, "Flag text"} for layer in element), name


# Bars and pictures


def test_bars_are_as_long_as_their_values_and_stand_under_their_names():
    sketch = views.amounts.sketch({"a": 3.0, "b": 5.0}, "AUC (%)", chance=4.0)
    bars, names, chance = sketch.layers
    assert bars.numbers[2].tolist() == [3, 5]
    assert (list(names.numbers[1]), names.numbers[2]) == ([0, -1], ["a", "b"])
    assert chance.numbers[0].tolist() == [4]


def test_of_many_classes_the_twelve_highest_are_shown_in_their_order():
    clean, masked = np.random.default_rng(0).dirichlet(np.ones(40), 2)
    highest = sorted(sorted(range(40), key=lambda i: -max(clean[i], masked[i]))[:12])
    layers = views.probabilities.sketch([f"class {i}" for i in range(40)], clean, masked).layers
    assert layers[-1].numbers[2] == [f"class {i}" for i in highest]
    assert layers[1].numbers[2].tolist() == [masked[i] for i in highest]


@pytest.fixture(scope="module")
def split():
    return load_data("shapes", 6, 3).test


def test_saliency_maps_say_where_their_colours_end(split):
    maps = {"sgt": np.full((3, 32, 32), 0.5), "smoot": np.full((3, 32, 32), -2.0)}
    assert "to ± 2" in views.saliency_maps(split, maps).label.replace("\n", " ")
    names = views.saliency_maps.sketch(split, maps, scale="one for each run").layers[2].numbers[2]
    assert names == ["image", "SGT\n± 0.5", "SMOOT\n± 2"]


@pytest.mark.parametrize("backend", ["bokeh", "matplotlib"])
def test_a_grid_shows_each_picture_in_its_cell(backend):
    red, blue = np.array([255, 0, 0, 255], np.uint8), np.array([0, 0, 255, 255], np.uint8)
    pictures = [np.tile(red, (1, 9, 9, 1)), np.tile(blue, (1, 9, 9, 1))]
    pixels = next(iter(layers_of(views.picture_grid(pictures), backend).values()))
    if backend == "bokeh":
        drawn = np.asarray(pixels.handles["source"].data["image"][0])
        drawn = drawn.view(np.uint8).reshape(*drawn.shape, 4)[::-1]
    else:
        drawn = np.asarray(pixels.handles["artist"].get_array())
        drawn = np.round(255 * drawn).astype(np.uint8) if drawn.dtype.kind == "f" else drawn
    height = len(drawn)
    assert drawn[height // 4, drawn.shape[1] // 2].tolist() == red.tolist()
    assert drawn[3 * height // 4, drawn.shape[1] // 2].tolist() == blue.tolist()


# Records that are empty, small, large or incomplete


def pictures_of(record, curves, landscape):
    """All pictures of records, as sketches."""
    k = simulate_k(
        landscape, alpha=10, beta=0.9, k_init=0.5, k_min=0.2, k_max=0.8, epochs=record.sizes["epoch"]
    )
    yield from (view.sketch(record) for view in (views.losses, views.accuracies, views.k_trajectories))
    yield from (views.single_k.sketch(record.k), views.k_trajectories.sketch(k, every_image=True))
    if record.sizes["epoch"]:
        yield views.k_histogram.sketch(record.k.isel(epoch=-1))
    yield from (
        view.sketch(curves)
        for view in (views.class_scatter, views.class_peaks, views.class_means, views.class_share)
    )
    yield views.accuracy_drop.sketch(curves)


@pytest.mark.parametrize("n_images", [0, 1])
@pytest.mark.parametrize("n_epochs", [0, 1])
def test_pictures_of_few_images_and_epochs_are_drawn_by_both(n_images, n_epochs):
    record = record_of(np.full((n_epochs, n_images), 50))
    curves = curves_of(np.array(PROBABILITY)[:n_images])
    for sketch in pictures_of(record, curves, landscape_of(n_images)):
        element = views.sketch.element(sketch)
        hv.renderer("bokeh").get_plot(element)
        assert png(element).startswith(b"\x89PNG"), sketch.name


def test_pictures_leave_out_what_is_not_known():
    record, curves = record_of(K), curves_of()
    record.k[1, 0] = np.nan
    record.kl[0] = np.nan
    curves.probability[0, 2] = np.nan
    for sketch in pictures_of(record, curves, landscape_of(4)):
        assert png(views.sketch.element(sketch)).startswith(b"\x89PNG")
    (median,) = [layer for layer in views.k_trajectories.sketch(record).layers if layer.role == "Median"]
    assert median.numbers[1][2] == statistics.median(K[1][1:])
    first, second, *_ = views.class_means.sketch(curves).layers
    np.testing.assert_allclose(first.numbers[1], PROBABILITY[3])
    np.testing.assert_allclose(second.numbers[1], MEANS["Class II"])
    shares = views.class_share.sketch(curves, None).layers[0].numbers[1]
    assert shares == pytest.approx([200 / 3] * 31)


def test_sixty_thousand_images_are_sent_as_a_few_numbers():
    rng = np.random.default_rng(0)
    record = record_of(rng.uniform(20, 80, (20, 60_000)))
    sketches = [views.k_trajectories.sketch(record), views.k_histogram.sketch(record.k.isel(epoch=-1))]
    sketches.append(views.k_trajectories.sketch(record.k, every_image=True))
    for sketch in sketches:
        assert sum(np.size(part) for layer in sketch.layers for part in layer.numbers) < 500
    curves = curves_of(rng.uniform(0, 1, (60_000, 5)))
    for view in (views.class_means, views.class_peaks, views.class_share, views.accuracy_drop):
        assert sum(np.size(part) for layer in view.sketch(curves).layers for part in layer.numbers) < 500


# What all pictures share


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("losses", "epoch", "loss (nat)"),
        ("masking_curve", "masked share of the pixels (%)", "probability of the label's class"),
        ("k_trajectories", "epoch", "k (pixels)"),
        ("k_histogram", "k (pixels)", "images"),
        ("k_landscape", "k", "change of probability"),
    ],
)
def test_axes_have_the_long_names_and_units_of_the_record(name, x, y):
    element = CASES[name][0]()
    bokeh = hv.renderer("bokeh").get_plot(element).state
    (axis,) = figure_of(element).axes
    assert (bokeh.xaxis.axis_label, bokeh.yaxis.axis_label) == (x, y)
    assert (axis.get_xlabel(), axis.get_ylabel()) == (x, y)


def test_what_a_picture_does_not_draw_becomes_a_slider():
    curves = curves_of(attribution=["gradient", "deeplift"], fill=["black", "mean", "blur"])
    names = {"attribution", "fill"}
    assert {d.name for d in views.accuracy_drop(curves).kdims} == names
    assert len(views.class_scatter(curves)) == 6
    assert [d.name for d in views.k_histogram(record_of(K)).kdims] == ["epoch"]
    assert {d.name for d in views.masking_curve(curves).kdims} == {*names, "image"}
    assert [d.name for d in views.class_means(xr.concat([curves_of()] * 2, "run")).kdims] == ["run"]
    one = views.accuracy_drop(curves).select(fill="mean", attribution="deeplift")
    assert isinstance(one, hv.Overlay)


def test_of_one_value_there_is_no_slider_and_the_title_tells_it():
    picture = views.accuracy_drop(curves_of(attribution=["deeplift"], fill=["mean"]))
    assert isinstance(picture, hv.Overlay)
    assert "deeplift (signed), mean fill" in picture.label


def test_a_slider_without_values_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="the record has no epoch"):
        views.k_histogram(record_of(np.empty((0, 4))))


def test_frames_on_paper_are_panels_that_end_at_the_same_numbers_and_have_their_own_titles():
    figure = figure_of(views.k_histogram(record_of(K)))
    assert [axis.get_title("left") for axis in figure.axes] == ["epoch: 1", "epoch: 2", "epoch: 3"]
    assert {axis.get_xlabel() for axis in figure.axes} == {"k (pixels)"}
    assert {axis.get_ylabel() for axis in figure.axes} == {"images"}
    assert len({(*axis.get_xlim(), *axis.get_ylim()) for axis in figure.axes}) == 1


def test_more_frames_than_fit_on_a_sheet_are_refused_with_a_way_out():
    many = views.masking_curve(curves_of(np.random.default_rng(0).uniform(0, 1, (150, 5))))
    assert isinstance(many, hv.DynamicMap)
    with pytest.raises(ValueError, match=r"150 frames \(over image\) do not fit on a sheet; choose some"):
        figure_of(many)


def test_several_seeds_have_a_band_of_one_standard_deviation():
    seeds = [
        curves_of(),
        curves_of(np.array(PROBABILITY)[[0, 0, 3, 3]]),
        curves_of(np.array(PROBABILITY) / 2),
    ]
    accuracies = np.array([[50, 50, 0, 25, 0], [100, 50, 0, 0, 0], [0, 0, 0, 0, 0]], float)
    picture = views.accuracy_drop({"sgt": seeds, "smoot": seeds[:1] * 3})
    areas, line = (next(p for p in picture if p.group == name) for name in ("SGT band", "SGT"))
    low, high = (areas.dimension_values(i) for i in (1, 2))
    np.testing.assert_allclose(line.dimension_values(1), accuracies.mean(0))
    np.testing.assert_allclose(high - low, 2 * accuracies.std(0, ddof=1), atol=1e-9)
    assert "mean ± standard deviation of 3 seeds" in picture.label.replace("\n", " ")


def test_one_seed_beside_several_has_no_band_and_the_title_says_how_many():
    picture = views.accuracy_drop({"sgt": [curves_of()] * 2, "smoot": curves_of()})
    assert {part.group for part in picture} == {"SGT band", "SGT", "SMOOT"}
    assert "standard deviation of 1 to 2 seeds" in picture.label.replace("\n", " ")
    along = curves_of().expand_dims({"seed": [7]})
    assert "seeds" not in views.accuracy_drop(along).label


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (curves_of().assign_coords(fill="mean"), r"differ in their fill \(black, mean\)"),
        (curves_of().assign_attrs(ranking="magnitude"), r"differ in their ranking \(magnitude, signed\)"),
    ],
)
def test_areas_of_different_protocols_are_not_drawn_side_by_side(other, named):
    with pytest.raises(ValueError, match=named):
        views.accuracy_drop({"sgt": curves_of(), "smoot": other})


def test_runs_are_named_by_any_keys():
    picture = views.accuracy_drop({1: curves_of(), 2: curves_of()})
    assert [part.label.split(",")[0] for part in picture] == ["1", "2"]


def test_no_curves_at_all_are_refused():
    for nothing in ({}, {"sgt": []}):
        with pytest.raises(ValueError, match="give at least one data set"):
            views.accuracy_drop(nothing)


def test_the_accuracy_drop_while_training_has_the_colour_of_its_method():
    record = bundled_runs()[0].record()
    shown = views.probe_drop.sketch(record)
    assert record.attrs["config"].count('"traditional"')
    assert not any(len(layer.numbers[0]) for layer in shown.layers if layer.role in ("SGT", "SMOOT"))
    drop = DropRecord(
        1.0,
        np.array([0, 1.0]),
        np.array([90, 10.0]),
        np.arange(3),
        "black",
        "gradient",
        "signed",
        "highest",
        "float32",
    )
    with pytest.raises(ValueError, match=r"unknown training method None.*A list of drops needs method=…"):
        views.probe_drop([drop])


def test_dimensions_of_what_a_picture_does_not_use_are_no_sliders():
    record = record_of(K)
    probed = record.assign(
        accuracy_drop=(("epoch", "masked_fraction"), np.zeros((record.sizes["epoch"], 11)))
    )
    assert isinstance(views.losses(probed), hv.Overlay)
    assert isinstance(views.k_trajectories(probed), hv.Overlay)
    several = xr.concat([record, record], "alpha").assign_coords(alpha=[5, 10])
    assert [d.name for d in views.losses(several).kdims] == ["alpha"]
    assert [d.name for d in views.k_trajectories(several).kdims] == ["alpha"]


@pytest.mark.parametrize("probability", ["all rise", "all fall"])
def test_the_motive_is_drawn_also_when_a_class_is_empty(probability):
    rising = LEVELS if probability == "all rise" else LEVELS[::-1]
    titles = [panel.label for panel in views.masking_curves(curves_of([rising] * 3))]
    shares = [int(title.split(": ")[1].split()[0]) for title in titles]
    assert sorted(shares) == [0, 100]


def test_the_spread_of_k_shows_its_bounds_only_where_k_comes_near_them():
    far, near = (views.k_spread(record_of([[50, 50], k])) for k in ([45, 55], [22, 60]))
    roles = [{layer.group for layer in picture[0, 0] if len(layer)} for picture in (far, near)]
    assert [("Bound" in found) for found in roles] == [False, True]
    assert far.label == near.label == "k of 2 training images, bounds 20 and 80 of 100 pixels"


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_k_that_has_not_moved_does_not_spread(shape):
    with pytest.raises(ValueError, match="give at least one epoch and image"):
        views.k_spread(record_of(np.empty(shape)))


def test_bounds_of_k_move_where_they_moved_in_training():
    record = record_of(np.full((4, 20), 50.0))
    config = json.loads(record.attrs["config"])
    config["changes"] = [
        {"step": 5, "epoch": 3, "name": "k_min", "old": 0.2, "new": 0.3},
        {"step": 7, "epoch": 4, "name": "beta", "old": 0.9, "new": 0.5},
    ]
    record.attrs["config"] = json.dumps(config)
    low, high = [layer for layer in views.k_trajectories.sketch(record).layers if layer.role == "Bound"]
    assert [part.tolist() for part in low.numbers] == [[0, 2, 2, 4], [20, 20, 30, 30]]
    assert high.numbers[1].tolist() == [80] * 4
    assert "bounds 20 and 80, in the end 30 and 80 of 100" in views.k_spread(record).label
    histograms = views.k_histogram(record)
    bounds = [next(part for part in histograms[epoch] if part.group == "Bound") for epoch in (1, 2, 3, 4)]
    assert [b.dimension_values(0).tolist() for b in bounds] == [[20, 80], [20, 80], [30, 80], [30, 80]]


def test_pictures_are_put_together_and_changed_as_holoviews_does(tmp_path):
    loss = views.losses(record_of(K))
    together = (loss + views.accuracies(record_of(K))).opts(shared_axes=False)
    assert [part.label for part in together] == ["Loss", "Accuracy"]
    marked = (loss * hv.VLine(2)).opts(title="mine", backend="bokeh")
    assert hv.renderer("bokeh").get_plot(marked).state.title.text == "mine"
    for kind, backend in (("png", "matplotlib"), ("svg", "matplotlib"), ("html", "bokeh")):
        hv.save(together, tmp_path / f"a.{kind}", backend=backend)
        assert (tmp_path / f"a.{kind}").stat().st_size > 1000
    plt.close("all")


def test_pictures_are_saved_as_png_and_svg_and_no_figure_stays_open(tmp_path):
    for name, (make, _) in CASES.items():
        written = views.save(make(), tmp_path / "new" / name)
        assert [path.name for path in written] == [f"{name}.png", f"{name}.svg"]
        assert written[0].read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in written[1].read_bytes()
    assert plt.get_fignums() == []


def test_paper_needs_no_display(tmp_path):
    code = (
        "import numpy as np, pathlib; from smoot_explore import views\n"
        "views.save(views.amounts({'a': 1.0}, 'AUC'), pathlib.Path('a'))"
    )
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
    }
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=clean, check=True)
    assert (tmp_path / "a.svg").exists()


def test_legends_on_paper_stand_above_the_data():
    for name in ("losses", "class_means", "k_trajectories"):
        figure = figure_of(CASES[name][0]())
        figure.draw_without_rendering()
        (axis,) = figure.axes
        assert axis.get_legend().get_window_extent().y0 >= axis.get_window_extent().y1 - 1, name
        assert axis.get_legend().get_window_extent().x1 <= figure.bbox.x1, name


def test_words_of_a_key_have_the_colours_of_their_marks():
    key = key_html(views.class_scatter.sketch(curves_of()))
    assert re.findall(r'<span style="color:color-mix\(in srgb, (#\w+)', key) == list(CLASS_COLOURS.values())


def test_an_axis_ends_where_its_layers_do_or_as_it_says():
    sketch = views.losses.sketch(record_of(K))
    values = np.concatenate([at_epochs("cross_entropy")[1], at_epochs("kl")[1]])
    low, high = extent(sketch, 1)
    assert low == 0
    assert values.max() < high < 1.1 * values.max()
    assert extent(views.losses.sketch(record_of(K), epochs=9), 0) == (0, 9)


def test_the_bundled_runs_have_all_their_pictures():
    run = bundled_runs()[2]
    assert len(views.accuracy_drop(run.curves())) == 6
    assert len(views.k_histogram(run.record())) == 8
    one = run.landscape().isel(image=[3])
    assert f"Image {int(one.image_id[0])}" in views.k_landscape(one).label


def test_the_example_of_how_to_add_a_picture_runs(tmp_path, monkeypatch):
    page = (Path(__file__).parent.parent / "docs" / "adding-a-picture.md").read_text(encoding="utf-8")
    view, test, use = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    for part in (view, test, use):
        exec(part, names)
    names["test_images_at_a_bound_are_counted"]()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["at_bounds.png", "at_bounds.svg"]
    assert names["shown"].sketch.layers[0].numbers[0].tolist() == [1, 2, 3, 4, 5]


def test_masking_shows_what_was_seen(split):
    seen = MaskingEffect(
        np.zeros((3, 32, 32)),
        split.images.numpy(),
        np.full((3, 6), 0.25),
        np.full((3, 6), 0.75),
        np.zeros(3),
        np.zeros(3),
    )
    texts = views.masking.sketch(split, seen, titles=["a", "b", "c"]).layers[1].numbers[2]
    names = views.masking.sketch(split, seen, limit=0.25).layers[2].numbers[2]
    assert names == ["image", "saliency\n± 0.25", "masked"]
    assert texts == ["a", "b", "c", *["25 → 75 %"] * 3]
