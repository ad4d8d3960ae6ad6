"""Pictures of sweeps, drawn by Bokeh and by Matplotlib; the oracles are plain loops over the trainings."""

import itertools
import json
import statistics
import warnings

import holoviews as hv
import numpy as np
import pytest
import xarray as xr
from test_picture_views import layers_of, numbers_of

from smoot_explore import views
from smoot_explore.views import looks
from smoot_explore.views.palette import SHADES
from smoot_explore.views.paper import png

looks.load()
OVER = {"alpha": [1.0, 10.0, 100.0], "method": ["sgt", "smoot"], "seed": [0, 1, 2]}
EPOCHS = 3


def sweep_of(over=OVER, lost=()):
    """A sweep's data set, as of `open_sweep`; the trainings at the places ``lost`` have no epoch."""
    shape = tuple(map(len, over.values()))
    accuracy = np.random.default_rng(1).uniform(60, 90, (*shape, EPOCHS))
    done = np.full(shape, EPOCHS)
    for place in lost:
        accuracy[place], done[place] = np.nan, 0
    dims = (*over, "epoch")
    told = {"units": "%", "long_name": "test accuracy"}
    variables = {
        name: (dims, accuracy, told) for name in ("test_accuracy", "train_accuracy", "cross_entropy", "kl")
    }
    variables["k"] = ((*dims, "image"), np.full((*accuracy.shape, 2), 50.0, np.float32), {"units": "pixels"})
    start = {"method": "smoot", "k_init": 0.5, "k_min": 0.2, "k_max": 0.8, "batch_size": 10}
    return xr.Dataset(
        {
            **variables,
            "epochs_done": (tuple(over), done),
            "problem": (tuple(over), np.full(shape, "", object)),
        },
        {
            **over,
            "epoch": (
                "epoch",
                np.arange(1, EPOCHS + 1),
                {"long_name": "epoch, counted from 1", "units": "1"},
            ),
        },
        {"over": json.dumps(over), "n_pixels": 100, "config": json.dumps({"start": start, "changes": []})},
    )


def last_accuracies(record, **chosen):
    """The last accuracy of each seed that is known."""
    values = record.test_accuracy.sel(chosen).isel(epoch=-1).values.ravel().tolist()
    return [value for value in values if value == value]


SWEEP = sweep_of(lost=[(0, 0, 1), (1, 1, 0), (1, 1, 1), (1, 1, 2)])


def cells_of(picture):
    """The words in the cells of a map and what they say under the pointer, row by row."""
    words, hover = (next(part for part in picture if part.group == group) for group in ("Cell value", "Cell"))
    return words.dimension_values("text").tolist(), hover.dimension_values("text").tolist()


def test_a_map_shows_the_mean_over_the_seeds_and_how_many_they_are():
    picture = views.sweep_map(SWEEP)
    words, hover = cells_of(picture)
    expected = []
    for method, alpha in itertools.product(OVER["method"], OVER["alpha"]):
        known = last_accuracies(SWEEP, method=method, alpha=alpha)
        expected.append((f"{statistics.mean(known):.1f}" if known else "–", len(known)))
    assert words == [text for text, _ in expected]
    assert hover == [f"{text}, n = {n}" for text, n in expected]
    assert expected[4] == ("–", 0)
    assert "test accuracy (%), mean of 2 to 3 seeds" in picture.label.replace("\n", " ")


def test_a_training_that_failed_halfway_counts_nowhere():
    failed = SWEEP.problem.copy(data=SWEEP.problem.values.copy())
    failed[0, 0, 0] = "the loss is not finite"
    record, without = (
        SWEEP.assign(problem=failed),
        sweep_of(lost=[(0, 0, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1), (1, 1, 2)]),
    )
    assert cells_of(views.sweep_map(record)) == cells_of(views.sweep_map(without))
    last = record.test_accuracy.isel(epoch=-1)
    assert cells_of(views.sweep_map(record, last)) == cells_of(views.sweep_map(without))
    of_a_seed = [
        cells_of(views.sweep_map(r, r.test_accuracy.isel(epoch=-1).sel(seed=0))) for r in (record, without)
    ]
    assert of_a_seed[0] == of_a_seed[1]
    assert of_a_seed[0][0].count("–") == 2
    own_mean = cells_of(views.sweep_map(record, last.mean("seed")))[0]
    assert own_mean == cells_of(views.sweep_map(SWEEP, SWEEP.test_accuracy.isel(epoch=-1).mean("seed")))[0]
    lines = [
        [
            part.dimension_values(1)
            for part in views.sweep_curves(r.isel(method=0))
            if part.group == "Series 1"
        ]
        for r in (record, without)
    ]
    np.testing.assert_array_equal(*lines)


def test_colours_of_a_map_go_from_the_smallest_to_the_largest_mean_and_unknown_is_gray():
    picture = views.sweep_map(SWEEP)
    (sheet,) = [part for part in picture if part.group == "Pixels"]
    rgb = np.stack([sheet.dimension_values(i, flat=False) for i in (2, 3, 4)], -1)[::-1]
    side = rgb.shape[0] // 2
    colours = [rgb[r * side + side // 2, c * side + side // 2] for r in range(2) for c in range(3)]
    means = [float(text) if text != "–" else np.nan for text in cells_of(picture)[0]]
    darkness = [-int(colour.sum()) for colour in colours]
    known = [i for i in range(6) if means[i] == means[i]]
    assert sorted(known, key=lambda i: means[i]) == sorted(known, key=lambda i: darkness[i])
    assert colours[4].tolist() == [205, 205, 205]


def test_what_a_map_does_not_draw_becomes_a_slider_with_the_same_colours():
    over = {"alpha": [1.0, 2.0], "beta": [0.5, 0.9], "k_max": [0.6, 0.8], "seed": [0]}
    maps = views.sweep_map(sweep_of(over))
    assert [dimension.name for dimension in maps.kdims] == ["k_max"]
    assert len({frame.label for frame in maps}) == 1
    assert [d.name for d in views.sweep_map(sweep_of(over), x="k_max", y="alpha").kdims] == ["beta"]


@pytest.mark.parametrize("backend", ["bokeh", "matplotlib"])
@pytest.mark.parametrize(
    "over",
    [{"alpha": [1.0], "seed": [0]}, {"seed": [0, 1]}, {"alpha": [1.0, 2.0]}, {"signed": [True, False]}, OVER],
)
@pytest.mark.parametrize("lost", [False, True])
def test_sweeps_of_one_training_of_few_and_of_failed_ones_are_drawn_by_both(over, lost, backend):
    shape = tuple(map(len, over.values()))
    record = sweep_of(over, np.ndindex(*shape) if lost else ())
    for view in (views.sweep_map, views.sweep_curves, views.parallel_coordinates):
        picture = view(record)
        frame = picture.last if isinstance(picture, hv.HoloMap) else picture
        assert hv.renderer(backend).get_plot(frame) is not None
        if backend == "matplotlib":
            assert png(frame).startswith(b"\x89PNG")


@pytest.mark.parametrize("backend", ["bokeh", "matplotlib"])
def test_curves_are_means_over_the_seeds_with_one_standard_deviation(backend):
    record = SWEEP.isel(method=0)
    picture = views.sweep_curves(record, along="alpha")
    drawn = layers_of(picture, backend)
    for i, alpha in enumerate(OVER["alpha"], start=1):
        rows = record.test_accuracy.sel(alpha=alpha).values
        rows = rows[~np.isnan(rows).any(1)]
        x, y = numbers_of(drawn[f"Series {i}"])
        np.testing.assert_allclose(x, [1, 2, 3])
        np.testing.assert_allclose(y, [statistics.mean(column) for column in rows.T])
        area = next(part for part in picture if part.group == f"Series {i} band")
        low, high = area.dimension_values(1), area.dimension_values(2)
        np.testing.assert_allclose(high - low, [2 * statistics.stdev(column) for column in rows.T])
    assert "mean of 2 to 3 seeds, ± standard deviation" in picture.label.replace("\n", " ")


def test_what_is_not_trained_yet_raises_no_warning_in_a_thread(monkeypatch):
    monkeypatch.setattr(warnings, "filterwarnings", lambda *a, **k: None)  # others undo it meanwhile
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for view in (views.sweep_map, views.sweep_curves, views.parallel_coordinates):
            view.frames(SWEEP)


def test_curves_have_a_slider_for_each_other_setting():
    assert [dimension.name for dimension in views.sweep_curves(SWEEP).kdims] == ["method"]
    assert [dimension.name for dimension in views.sweep_curves(SWEEP, along="method").kdims] == ["alpha"]


@pytest.mark.parametrize("backend", ["bokeh", "matplotlib"])
def test_parallel_coordinates_have_a_line_for_each_combination_that_is_known(backend):
    picture = views.parallel_coordinates(SWEEP)
    drawn = layers_of(picture, backend)
    lines = []
    for i in range(1, len(SHADES) + 1):
        x, y = (np.ma.filled(np.ma.asarray(part, float), np.nan) for part in numbers_of(drawn[f"Shade {i}"]))
        whole = [y[at : at + 3].tolist() for at in np.flatnonzero(x == 0)]
        lines += [(*line, i) for line in whole]
    means = {}
    for a, m in itertools.product(range(3), range(2)):
        known = last_accuracies(SWEEP.isel(alpha=a, method=m))
        if known:
            means[a / 2, float(m)] = statistics.mean(known)
    low, high = min(means.values()), max(means.values())
    expected = {}
    for place, mean in means.items():
        share = (mean - low) / (high - low)
        expected[place] = (share, min(int(5 * share) + 1, 5))
    assert len(lines) == 5
    for first, second, share, shade in lines:
        assert (share, shade) == pytest.approx(expected[first, second])


def test_a_quantity_that_is_not_one_number_for_each_training_is_refused_with_a_way_out():
    for view in (views.sweep_map, views.parallel_coordinates):
        with pytest.raises(ValueError, match=r"k has epoch, image beside .* such as sweep\.k"):
            view(SWEEP, "k")
    with pytest.raises(ValueError, match="k is no number of each epoch"):
        views.sweep_curves(SWEEP, "k")
    words, _ = cells_of(views.sweep_map(SWEEP, SWEEP.k.isel(epoch=-1).median("image")))
    assert words == ["50.0"] * 6
    with pytest.raises(
        ValueError, match="beta was not swept, or is chosen already; there are alpha, method, seed"
    ):
        views.sweep_map(SWEEP, x="beta")
    with pytest.raises(ValueError, match="at most 8 lines can be told apart, alpha has 9"):
        views.sweep_curves(sweep_of({"alpha": list(range(9))}))


def test_pictures_of_one_training_take_a_sweep_with_its_settings_as_sliders():
    for view in (views.losses, views.accuracies, views.k_trajectories):
        assert [dimension.name for dimension in view(SWEEP).kdims] == list(OVER)
