"""Pictures of records: what is shown is read from the figures' sources."""

import numpy as np
import pytest
import xarray as xr
from bokeh.models import CustomAction, HoverTool, SaveTool
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps

from smoot_explore import accuracy_drop, drop_auc, simulate_k
from smoot_explore.views.canvas import Marks, new_figure
from smoot_explore.views.classes import ClassScatter, MeanCurvesView
from smoot_explore.views.drops import DropsView
from smoot_explore.views.grid import PictureGrid
from smoot_explore.views.histogram import Histogram
from smoot_explore.views.image import CurveView, ProbabilityBars
from smoot_explore.views.palette import CLASS_COLOURS, UNKNOWN_CLASS_COLOUR
from smoot_explore.views.pixels import picture_pixels, saliency_limit, saliency_pixels
from smoot_explore.views.training import AccuracyView, KRangeView, LossView, WatchedKView
from smoot_explore.views.whatif import CobwebView, TrajectoriesView


def held(source):
    """A source's data as plain lists."""
    return {name: np.asarray(values).tolist() for name, values in source.data.items()}


def curves_of(probability, correct=None):
    probability = np.atleast_2d(np.asarray(probability, float))
    dims = ("image", "masked_fraction")
    correct = probability > 0.5 if correct is None else correct
    fractions = np.linspace(0, 1, probability.shape[1])
    return xr.Dataset(
        {"probability": (dims, probability), "correct": (dims, correct)}, {"masked_fraction": fractions}
    )


# Pixels


def unpacked(pixels):
    """R, G, B, A of uint32 pixels, as a page reads their bytes."""
    return np.ascontiguousarray(pixels).view(np.uint8).reshape(*pixels.shape, 4)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_drawn_in_their_own_colours(channels):
    images = np.random.default_rng(0).integers(0, 256, (2, channels, 3, 5), dtype=np.uint8)
    found = unpacked(picture_pixels(images))
    for n in range(2):
        for i in range(3):
            for j in range(5):
                rgb = [int(images[n, c if channels == 3 else 0, i, j]) for c in range(3)]
                assert found[n, i, j].tolist() == [*rgb, 255]


def test_saliency_is_blue_white_and_red():
    maps = np.array([[[-9.0, -2.0, -1.0, 0.0, 1.0, 2.0, 9.0]]])
    found = unpacked(saliency_pixels(maps, 2.0))[0, 0]
    colours = (colormaps["RdBu_r"](np.linspace(0, 1, 256)) * 255).round().astype(int)
    for value, rgba in zip(maps[0, 0], found, strict=True):
        place = round(min(max(value / 2, -1), 1) * 127.5 + 127.5)
        assert rgba.tolist() == colours[place].tolist()
    assert found[0].tolist() == found[1].tolist()
    assert found[-1].tolist() == found[-2].tolist()
    red, _, blue, _ = found[-1].tolist()
    assert red > 2 * blue
    assert min(found[3][:3]) > 240


def test_saliency_of_nothing_is_white_whatever_the_limit():
    for limit in (0.0, 1.0):
        assert unpacked(saliency_pixels(np.zeros((1, 2, 2)), limit)).min() > 240


def test_a_colour_scale_ends_at_the_strongest_group():
    groups = [np.linspace(-1, 1, 1001), np.linspace(-5, 0, 1001)]
    assert saliency_limit(groups) == pytest.approx(4.975)
    for nothing in ([], [np.zeros(3)], [np.empty(0)]):
        assert saliency_limit(nothing) == 1.0


# Grids of pictures

sizes = st.tuples(st.integers(1, 6), st.integers(1, 4))


@given(sizes, st.tuples(st.integers(1, 30), st.integers(1, 30)), st.booleans())
def test_the_cell_at_a_pictures_corners_and_middle_is_the_pictures(cells, shape, labelled):
    columns, rows = cells
    grid = PictureGrid("grid", "", columns, rows, row_labels=["row"] * rows if labelled else ())
    grid.show([np.zeros((columns, *shape), np.uint32)] * rows)
    drawn = held(grid.pictures)
    ratios = set()
    for n, (x, y, w, h) in enumerate(zip(drawn["x"], drawn["y"], drawn["w"], drawn["h"], strict=True)):
        places = ((0, 0), (0, h), (w, 0), (w, h), (w / 2, h / 2))
        assert [grid.cell_at(x + right, y - down) for right, down in places] == [n] * 5
        ratios.add(round(w / h * shape[0] / shape[1], 6))
        assert max(w, h) == pytest.approx(0.94)
        grid.select(n)
        framed = held(grid.selected)
        assert grid.cell_at(framed["x"][0], framed["y"][0]) == n
    assert len(drawn["x"]) == columns * rows
    assert ratios == {1.0}


@pytest.mark.parametrize(
    ("x", "y"), [(-0.01, -0.5), (3.0, -0.5), (0.5, 0.01), (0.5, -2.0), (None, -0.5), (0.5, None), (0.5, -9)]
)
def test_there_is_no_cell_beside_the_pictures(x, y):
    assert PictureGrid("grid", "", 3, 2).cell_at(x, y) is None


def test_a_single_row_of_pictures_wraps():
    grid = PictureGrid("grid", "", 3, 2)
    pictures = np.arange(5, dtype=np.uint32).reshape(5, 1, 1)
    grid.show([pictures], texts=list("abcde"))
    drawn = grid.pictures.data
    assert [int(picture[0, 0]) for picture in drawn["image"]] == list(range(5))
    cells = [
        grid.cell_at(x + w / 2, y - h / 2) for x, y, w, h in zip(*(drawn[n] for n in "xywh"), strict=True)
    ]
    assert cells == list(range(5))
    assert drawn["text"] == list("abcde")
    grid.show([])
    assert held(grid.pictures)["image"] == []


def test_titles_stand_above_and_footers_below_their_columns():
    grid = PictureGrid("grid", "", 2, 3, footer_lines=2)
    grid.show([np.zeros((2, 4, 4), np.uint32)] * 3, titles=["a", "b"], footers=[("c", "d"), ("e", "f")])
    texts = held(grid.texts)
    place = {text: (x, y) for x, y, text in zip(texts["x"], texts["y"], texts["text"], strict=True)}
    assert {text: int(x) for text, (x, _) in place.items()} == {
        "a": 0,
        "b": 1,
        "c": 0,
        "d": 0,
        "e": 1,
        "f": 1,
    }
    low, high = grid.figure.y_range.start, grid.figure.y_range.end
    assert 0 < place["a"][1] == place["b"][1] < high
    assert -3 > place["c"][1] > place["d"][1] > low


def test_a_column_is_framed_over_all_rows_and_nothing_is_framed_by_none():
    grid = PictureGrid("grid", "", 4, 3)
    grid.select_column(2)
    framed = {name: values[0] for name, values in held(grid.selected).items()}
    assert framed["x"] - framed["w"] / 2 >= 2
    assert framed["x"] + framed["w"] / 2 <= 3
    assert (framed["y"], round(framed["h"])) == (-1.5, 3)
    for clear in (grid.select, grid.select_column):
        grid.select(0)
        clear(None)
        assert held(grid.selected)["x"] == []


# What all figures share


def test_every_figure_is_saved_as_png_and_svg_under_its_name():
    views = [LossView(), AccuracyView(), KRangeView(), WatchedKView(), CurveView(), ProbabilityBars(), DropsView(),
             MeanCurvesView(), ClassScatter(), TrajectoriesView(), CobwebView(), PictureGrid("grid", "", 1, 1),
             Histogram("", "", name="histogram", colour="red")]  # fmt: skip
    names = [view.figure.name for view in views]
    assert len(set(names)) == len(names)
    for name, view in zip(names, views, strict=True):
        (png,) = view.figure.select({"type": SaveTool})
        (svg,) = view.figure.select({"type": CustomAction})
        assert png.filename == name == svg.callback.args["name"]
        assert svg.callback.args["figure"] is view.figure
        assert view.figure.toolbar.active_scroll is None


def test_tooltips_are_there_only_where_asked_for():
    assert not new_figure("", name="a").select({"type": HoverTool})
    (hover,) = new_figure("", name="a", tooltips=[("", "@x")]).select({"type": HoverTool})
    assert hover.tooltips == [("", "@x")]


def test_marks_stand_at_their_places_and_replace_each_other():
    marks = Marks(new_figure("", name="a"))
    marks.show([0.5, 2], ["α 1 → 2", "β 0 → 1"])
    assert held(marks.source) == {"x": [0.5, 2], "text": ["α 1 → 2", "β 0 → 1"], "top": [0.03, 0.03]}
    marks.show([], [])
    assert held(marks.source) == {"x": [], "text": [], "top": []}


# Training


def test_losses_are_appended_and_cleared_for_the_next_training():
    view = LossView()
    view.add([0.5], [2.0], [0.1])
    view.add([1.0, 1.5], [1.0, 0.5], [0.2, float("nan")])
    assert held(view.source)["cross_entropy"] == [2.0, 1.0, 0.5]
    view.marks.show([1], ["α"])
    view.clear(7)
    assert held(view.source) == {"epoch": [], "cross_entropy": [], "kl": []}
    assert (view.epochs.end, held(view.marks.source)["x"]) == (7, [])


def test_a_long_curve_forgets_its_oldest_points():
    view = LossView()
    view.add(range(4100), range(4100), range(4100))
    assert held(view.source)["epoch"] == list(range(100, 4100))


def test_accuracies_are_appended_epoch_by_epoch():
    view = AccuracyView()
    view.add([1], [30.0], [40.0])
    view.add([2], [50.0], [60.0])
    assert held(view.source) == {"epoch": [1, 2], "train": [30.0, 50.0], "test": [40.0, 60.0]}
    view.clear(3)
    assert (held(view.source)["epoch"], view.epochs.end) == ([], 3)


def test_the_range_of_k_fits_its_bounds():
    view = KRangeView()
    view.clear(5, 784)
    assert (view.pixels.start, view.pixels.end) == (0, 784)
    view.add([1], [100.0], [200.0], [300.0])
    assert held(view.source) == {"epoch": [1], "low": [100.0], "median": [200.0], "high": [300.0]}
    view.show_bounds([0, 2, 5], [100, 50, 50], [300, 300, 300])
    assert held(view.bounds) == {"x": [0, 2, 5], "k_min": [100, 50, 50], "k_max": [300, 300, 300]}
    assert view.pixels.start < 50
    assert view.pixels.end > 300
    view.show_bounds([0], [200], [200])
    assert view.pixels.start < 200 < view.pixels.end


def test_watched_k_are_coloured_by_class():
    view = WatchedKView()
    view.show([0, 1], {5: [10, 11], 9: [10, 9]}, ["boot 5", "bag 9"], ["II", "I"])
    shown = held(view.source)
    assert (shown["xs"], shown["ys"]) == ([[0, 1], [0, 1]], [[10, 11], [10, 9]])
    assert shown["name"] == ["boot 5", "bag 9"]
    assert shown["group"] == ["class II", "class I"]
    assert shown["colour"] == [CLASS_COLOURS["II"], CLASS_COLOURS["I"]]
    view.show([0], {5: [10]}, ["boot 5"], None)
    assert (held(view.source)["group"], held(view.source)["colour"]) == (
        ["not judged"],
        [UNKNOWN_CLASS_COLOUR],
    )
    view.clear(4)
    assert (held(view.source)["xs"], view.epochs.end) == ([], 4)


@given(st.lists(st.integers(0, 10), max_size=20))
def test_a_histogram_counts_as_a_loop_does(values):
    view, edges = Histogram("", "", name="h", colour="red"), np.array([0.0, 2.5, 5.5, 10.0])
    view.show(np.array(values, float), edges, (1.0, 9.0))
    expected = [
        sum(low <= v < high or v == high == 10 for v in values)
        for low, high in ((0, 2.5), (2.5, 5.5), (5.5, 10))
    ]
    assert held(view.source) == {"left": [0, 2.5, 5.5], "right": [2.5, 5.5, 10], "top": expected}
    assert (view.range.start, view.range.end) == (0, 10)
    assert [(span.location, span.visible) for span in view.bounds] == [(1.0, True), (9.0, True)]
    view.clear()
    assert held(view.source)["top"] == []


# One image


def test_probabilities_stand_under_their_names_from_the_top():
    view = ProbabilityBars()
    view.show(["a", "b", "c"], np.array([0.2, 0.5, 0.3]), np.array([0.1, 0.1, 0.8]))
    shown = view.source.data
    assert (shown["name"], list(view.figure.y_range.factors)) == (["a", "b", "c"], ["c", "b", "a"])
    assert (shown["clean"].tolist(), shown["masked"].tolist()) == ([0.2, 0.5, 0.3], [0.1, 0.1, 0.8])
    assert [place for place, _ in shown["upper"]] == [place for place, _ in shown["lower"]] == ["a", "b", "c"]


def test_of_many_classes_the_twelve_highest_are_shown_in_their_order():
    names = [f"class {i}" for i in range(40)]
    rng = np.random.default_rng(0)
    clean, masked = rng.dirichlet(np.ones(40), 2)
    view = ProbabilityBars()
    view.show(names, clean, masked)
    highest = sorted(range(40), key=lambda i: -max(clean[i], masked[i]))[:12]
    assert view.source.data["name"] == [names[i] for i in sorted(highest)]
    assert view.source.data["masked"].tolist() == [masked[i] for i in sorted(highest)]


@pytest.mark.parametrize("image_class", ["I", "II"])
def test_a_curve_has_a_peak_where_its_image_is_of_class_two(image_class):
    view = CurveView()
    view.show(np.array([0.0, 0.5, 1.0]), np.array([0.2, 0.9, 0.1]), image_class)
    assert held(view.curve) == {"x": [0, 50, 100], "y": [0.2, 0.9, 0.1]}
    assert held(view.peak) == ({"x": [50], "y": [0.9]} if image_class == "II" else {"x": [], "y": []})
    assert view.line.glyph.line_color == CLASS_COLOURS[image_class]
    view.mark(0.25, 0.6)
    assert held(view.marker) == {"x": [25.0], "y": [0.6]}


# Many images


def test_mean_curves_are_the_means_of_plain_lists():
    rows = [[0.2, 0.9, 0.1], [0.8, 0.4, 0.1], [0.5, 0.6, 0.7], [0.9, 0.8, 0.7]]
    view = MeanCurvesView()
    view.show(curves_of(rows), 0.01, np.array([0, 1]), 3)
    members = {"class I": [1, 3], "class II": [0, 2], "selected images": [0, 1], "picked image": [3]}
    for name, images in members.items():
        mean = [sum(rows[i][m] for i in images) / len(images) for m in range(3)]
        assert held(view.sources[name])["x"] == [0, 50, 100]
        assert held(view.sources[name])["y"] == pytest.approx(mean)


def test_a_class_without_images_has_no_mean_curve():
    view = MeanCurvesView()
    view.show(curves_of([[0.9, 0.5], [0.8, 0.1]]), 0.01, np.array([], int), 0)
    for empty in ("class II", "selected images"):
        assert held(view.sources[empty]) == {"x": [], "y": []}


def test_the_scatter_shows_start_and_rise_and_rings_the_picked_image():
    view = ClassScatter()
    view.show(curves_of([[0.2, 0.9, 0.1], [0.8, 0.4, 0.1]]), 0.01, ["0: boot", "1: bag"], 1)
    shown = held(view.source)
    assert (shown["x"], shown["y"]) == ([0.2, 0.8], pytest.approx([0.7, 0.0]))
    assert (shown["group"], shown["name"]) == (["class II", "class I"], ["0: boot", "1: bag"])
    assert shown["colour"] == [CLASS_COLOURS["II"], CLASS_COLOURS["I"]]
    assert held(view.picked) == {"x": [0.8], "y": [0.0]}
    view.pick(2)
    assert held(view.picked) == {"x": [], "y": []}


def test_accuracy_drops_carry_their_areas():
    one, two = curves_of([[0.9, 0.1, 0.1], [0.9, 0.9, 0.1]]), curves_of([[0.9, 0.9]])
    view = DropsView()
    view.show("black fill", {"A": one, "B": two}, {"A": "red", "B": "blue", "C": "green"})
    assert view.figure.title.text == "black fill"
    shown = [(line, source) for line, source in zip(view.lines, view.sources, strict=True) if line.visible]
    assert [source.data["x"].tolist() for _, source in shown] == [[0, 50, 100], [0, 100]]
    assert [source.data["y"].tolist() for _, source in shown] == [[100, 50, 0], [100, 100]]
    entries = [entry.label["value"] for entry in view.figure.legend[0].items if entry.visible]
    assert entries == ["A: AUC 50.00 %", "B: AUC 100.00 %"]
    assert [line.glyph.line_color for line, _ in shown] == ["red", "blue"]
    assert accuracy_drop(one).values.tolist() == [100, 50, 0]
    assert float(drop_auc(one)) == 50
    view.show("nothing", {}, {})
    assert not any(line.visible for line in view.lines)


# What if


@pytest.fixture
def k():
    rng = np.random.default_rng(2)
    dims = ("image", "k")
    land = xr.Dataset(
        {name: (dims, rng.normal(0, 0.3, (4, 3))) for name in ("label_change", "runners_up_change")}
        | {"label": ("image", np.zeros(4, int))},
        {"k": [0, 50, 100]},
        {"n_pixels": 100},
    ).set_coords("label")
    return simulate_k(land, alpha=40, beta=0.9, k_init=0.5, k_min=0.1, k_max=0.9, epochs=6)


def test_one_line_with_gaps_holds_every_trajectory(k):
    view = TrajectoriesView()
    view.show(k, 2, 100, (10.0, 90.0))
    epoch, path = (np.asarray(view.all.data[name]) for name in ("epoch", "k"))
    for image in range(4):
        part = slice(8 * image, 8 * image + 7)
        np.testing.assert_allclose(path[part], k.values[:, image], rtol=1e-6)
        assert epoch[part].tolist() == list(range(7))
        assert np.isnan(path[8 * image + 7])
        assert np.isnan(epoch[8 * image + 7])
    assert len(path) == 32
    np.testing.assert_allclose(view.one.data["k"], k.values[:, 2], rtol=1e-6)
    np.testing.assert_allclose(view.median.data["k"], np.median(k.values, 1), rtol=1e-6)
    assert [(span.location, span.visible) for span in view.bounds] == [(10.0, True), (90.0, True)]
    assert (view.epochs.end, view.pixels.end) == (6, 100)


def test_trajectories_follow_when_settings_move_and_when_their_number_changes(k):
    view = TrajectoriesView()
    view.show(k, 0, 100, (10.0, 90.0))
    view.show(k + 1, 0, 100, (10.0, 90.0))
    np.testing.assert_allclose(np.asarray(view.all.data["k"])[:7], k.values[:, 0] + 1, rtol=1e-6)
    view.show(k.isel(epoch=slice(0, 3)), 1, 100, (10.0, 90.0))
    assert len(view.all.data["k"]) == len(view.all.data["epoch"]) == 16
    assert view.epochs.end == 2


def test_the_image_at_a_place_is_the_nearest_trajectory(k):
    view = TrajectoriesView()
    assert view.image_at(1, 50) is None
    view.show(k, 0, 100, (10.0, 90.0))
    for epoch in (1.4, 3, 6, 99):
        row = min(round(epoch), 6)
        for place in (0.0, 35.0, 60.0, 100.0):
            nearest = min(range(4), key=lambda i: abs(float(k.values[row, i]) - place))
            assert view.image_at(epoch, place) == nearest


def test_a_cobweb_steps_between_map_and_diagonal():
    view = CobwebView()
    grid, path = np.linspace(0, 100, 5), np.array([10.0, 40.0, 60.0])
    view.show(grid, grid / 2, path)
    assert held(view.map) == {"x": grid.tolist(), "y": (grid / 2).tolist()}
    assert held(view.diagonal) == {"x": [0, 100], "y": [0, 100]}
    assert held(view.start) == {"x": [10], "y": [10]}
    steps = list(zip(*(view.steps.data[axis].tolist() for axis in "xy"), strict=True))
    assert steps == [(10, 10), (10, 40), (40, 40), (40, 60), (60, 60)]
    assert (view.now.start, view.now.end) == (view.next.start, view.next.end)
    assert 0 <= view.now.start < 10
    assert 60 < view.now.end <= 100


def test_a_k_that_never_moves_still_has_a_cobweb_to_look_at():
    view = CobwebView()
    view.show(np.linspace(0, 100, 5), np.full(5, 50.0), np.full(4, 50.0))
    assert view.now.start < 50 < view.now.end
