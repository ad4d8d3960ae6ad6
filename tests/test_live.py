"""Pictures that move: new numbers in a built plot are what a new plot would hold, and nothing else changes."""

import functools
import weakref

import holoviews as hv
import numpy as np
import pytest
import xarray as xr
from bokeh.document import Document
from holoviews.plotting.bokeh.callbacks import Callback
from holoviews.streams import Tap
from hypothesis import given, settings
from hypothesis import strategies as st
from test_picture_views import CASES, ONE, K, board_of, curves_of, dynamics_of, moves_of, record_of

from smoot_explore import views
from smoot_explore.core.records import Change
from smoot_explore.views import looks
from smoot_explore.views.captioned import ends
from smoot_explore.views.live import Live, replace, same_layers
from smoot_explore.views.sketch import (
    Axis,
    Sketch,
    band,
    boxes,
    columns,
    curve,
    element,
    histogram,
    level,
    pixels,
    points,
    upright,
    words,
)  # fmt: skip

looks.load()
RNG = np.random.default_rng(0)
LAYERS = {
    "Curve": curve("Label", [0, 1, 2], [3.0, np.nan, 5], "a", {"image": ["x", "y", "z"]}),
    "Scatter": points("Label", [0, 1], [3.0, 4], told={"image": ["x", "y"]}),
    "Area": band("Band", [0, 1, 2], [0.0, 1, 0], [2.0, 3, 4]),
    "Histogram": histogram("K", [0, 2, 3], [4, 5]),
    "Rectangles": boxes("Amount", ([0, 0], [0, 2], [3, 4], [1, 3]), told={"name": ["x", "y"]}),
    "Labels": words("Name", [0, 1], [1, 2], ["x", "y"]),
    "VLines": upright("Bound", [1, 2]),
    "HLines": level("Bound", [1, 2]),
    "RGB": pixels(RNG.integers(0, 256, (4, 6, 4), np.uint8), 0, 0, 3, 2),
}
FEW, MANY = record_of(K), record_of([*K, [60, 25, 75, 20]])
CURVES = curves_of(np.array(curves_of().probability)[[1, 1, 0, 2]] ** 2)
# Sketches of one view before and after something has moved.
MOVES = {
    "losses": (views.losses.sketch(FEW), views.losses.sketch(MANY, [(1.5, Change(4, 2, "beta", 0.9, 0.5))])),
    "accuracies": (views.accuracies.sketch(FEW), views.accuracies.sketch(MANY, epochs=8)),
    "k_trajectories": (
        views.k_trajectories.sketch(FEW, [0, 1], ["I", "II"]), views.k_trajectories.sketch(MANY, [2], ["?"]),
    ),
    "losses of several trainings": (
        views.losses.sketch(FEW, others=[None] * 4),
        views.losses.sketch(MANY, others=[("a", FEW), None, ("b", MANY), None]),
    ),
    "accuracies of several trainings": (
        views.accuracies.sketch(FEW, others=[("a", FEW), *[None] * 3]), views.accuracies.sketch(FEW, others=[None] * 4),
    ),
    "k_trajectories of several trainings": (
        views.k_trajectories.sketch(FEW, others=[None] * 4),
        views.k_trajectories.sketch(MANY, others=[None, None, None, ("a", FEW.k)]),
    ),
    "frozen_and_trained": (
        views.frozen_and_trained.sketch(FEW.k, picked=0), views.frozen_and_trained.sketch(MANY.k, FEW.k, picked=1),
    ),
    "single_k": (views.single_k.sketch(FEW.k, ["I"] * 4), views.single_k.sketch(MANY.k, ["II"] * 4)),
    "single_moves": (views.single_moves.sketch(moves_of()), views.single_moves.sketch(moves_of().isel(epoch=[0]))),
    "dataset_map": (views.dataset_map.sketch(dynamics_of()), views.dataset_map.sketch(dynamics_of(), picked=1)),
    "class_changes": tuple(
        views.class_changes.sketch(xr.concat([curves_of(), c], "epoch").assign_coords(epoch=[1, 2]))
        for c in (curves_of(), curves_of(np.array(curves_of().probability)[[1, 1, 0, 2]]))
    ),
    "class_board": tuple(
        views.class_board.sketch(board_of().isel(run=r), "beta", "k_median") for r in ([0, 1], [1, 2])
    ),
    "k_histogram": tuple(views.k_histogram.sketch(r.k.isel(epoch=-1), (20, 80)) for r in (FEW, MANY)),
    "class_scatter": (views.class_scatter.sketch(curves_of(), picked=1), views.class_scatter.sketch(CURVES)),
    "class_peaks": (views.class_peaks.sketch(curves_of()), views.class_peaks.sketch(CURVES, selected=[0])),
    "class_means": (views.class_means.sketch(curves_of()), views.class_means.sketch(CURVES, picked=1)),
    "accuracy_drop": (views.accuracy_drop.sketch(curves_of()), views.accuracy_drop.sketch(CURVES)),
    "masking_curve": tuple(views.masking_curve.sketch(curves_of().isel(image=[i]), 0.3) for i in (0, 1)),
    "k_landscape": (views.k_landscape.sketch(ONE), views.k_landscape.sketch(ONE, 0.2, [10.0, 20.0])),
    "cobweb": tuple(views.cobweb.sketch(ONE, np.array(way), 10, 0.9, (20, 80)) for way in ([10.0, 90], [50.0])),
    "amounts": (views.amounts.sketch({"a": 1.0}, "AUC"), views.amounts.sketch({"a": 2.0, "b": 3.0}, "AUC", 1.0)),
    "picture_grid": tuple(
        views.picture_grid.sketch([RNG.integers(0, 256, (n, 5, 5, 4), np.uint8)], titles=list("abc")[:n])
        for n in (2, 3)
    ),
}  # fmt: skip


def alone(layer):
    return Sketch("Losses", "", Axis("x", "x"), Axis("y", "y"), (layer,))


def built(sketch):
    return hv.renderer("bokeh").get_plot(element(sketch))


def held(plot):
    """What the sources of a plot's layers hold, as plain lists."""
    return [
        {name: np.asarray(values).tolist() for name, values in part.handles["source"].data.items()}
        for part in plot.subplots.values()
    ]


def plain(data):
    return {name: np.asarray(values).tolist() for name, values in data.items()}


def assert_same(found, wanted):
    """The columns that HoloViews has, equal; boxes may have more."""
    for one, other in zip(found, wanted, strict=True):
        for name in other:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def legend_of(plot):
    return {
        item.label["value"]
        for legend in plot.state.legend
        for item in legend.items
        if item.visible
    }  # fmt: skip


@pytest.mark.parametrize("kind", LAYERS)
def test_columns_are_what_holoviews_puts_into_a_source(kind):
    assert LAYERS[kind].kind == kind
    sketch = alone(LAYERS[kind])
    (drawn,) = held(built(sketch))
    ours = plain(columns(LAYERS[kind], "x", "y"))
    assert_same([ours], [drawn])
    assert kind == "Rectangles" or set(ours) == set(drawn)


@pytest.mark.parametrize("name", MOVES)
def test_columns_of_every_view_are_what_holoviews_puts_into_its_sources(name):
    for sketch in MOVES[name]:
        ours = [plain(columns(layer, sketch.x.name, sketch.y.name)) for layer in sketch.layers]
        assert_same(ours, held(built(sketch)))


def test_every_view_moves_in_these_tests():
    drawn_alike = {
        "images",
        "masking",
        "saliency_maps",
        "stages",
        "probabilities",
        "class_share",
        "probe_drop",
    }
    assert {*MOVES, *drawn_alike} >= {name.split()[0] for name in CASES}


@pytest.mark.parametrize("name", MOVES)
def test_replaced_numbers_and_a_new_plot_are_equal(name):
    before, after = MOVES[name]
    assert same_layers(before, after)
    plot = built(before)
    replace(plot, before, after)
    anew = built(after)
    assert_same(held(plot), held(anew))
    assert plot.state.title.text == anew.state.title.text
    assert legend_of(plot) == legend_of(anew)


@pytest.mark.parametrize("name", MOVES)
def test_what_has_moved_and_moved_back_is_as_it_was(name):
    before, after = MOVES[name]
    plot = built(before)
    was = held(plot)
    replace(plot, before, after)
    replace(plot, after, before)
    assert_same(held(plot), was)


numbers = st.lists(st.floats(-1e6, 1e6) | st.just(np.nan), max_size=6)


@settings(max_examples=20)
@given(numbers, numbers, st.lists(st.floats(0, 9), max_size=4))
def test_any_numbers_may_follow_any_others(first, second, lines):
    def sketch(values):
        layers = (curve("Label", range(len(values)), values, "a"), upright("Flag", lines))
        return Sketch("Losses", "", Axis("x", "x"), Axis("y", "y"), layers)

    plot = built(sketch(first))
    replace(plot, sketch(first), sketch(second))
    curve_found, lines_found = held(plot)
    np.testing.assert_array_equal(curve_found["y"], second)
    assert lines_found["x"] == lines
    assert legend_of(plot) == ({"a"} if second else set())


def test_only_the_sources_that_changed_are_sent():
    before = views.class_means.sketch(curves_of(), picked=0)
    layers = list(before.layers)
    layers[3] = layers[3]._replace(numbers=(layers[3].numbers[0], layers[3].numbers[1] / 2))
    after = before._replace(layers=tuple(layers))
    plot, sent = built(before), []
    for i, part in enumerate(plot.subplots.values()):
        part.handles["source"].on_change(
            "data", functools.partial(lambda i, attr, old, new: sent.append(i), i)
        )
    replace(plot, before, after)
    assert sent == [3]
    replace(plot, after, after)
    assert sent == [3]


def test_labels_in_a_picture_take_the_colour_of_its_title():
    plot = built(views.losses.sketch(MANY, [(1.5, Change(4, 2, "beta", 0.9, 0.5))]))
    (labels,) = (part for part in plot.subplots.values() if part.current_frame.group == "Flag text")
    copies = plot.state.title.js_property_callbacks["change:text_color"]
    assert [copy.args["glyph"] for copy in copies] == [labels.handles["glyph"]]


def test_a_visitors_zoom_stays_while_the_axes_are_not_asked_to_change():
    before = views.accuracies.sketch(FEW, epochs=5)
    plot = built(before)
    plot.state.x_range.update(start=1, end=2)
    after = views.accuracies.sketch(FEW.assign(test_accuracy=FEW.test_accuracy + 1), epochs=5)
    replace(plot, before, after)
    assert (plot.state.x_range.start, plot.state.x_range.end) == (1, 2)
    replace(plot, after, views.accuracies.sketch(FEW, epochs=9))
    x = plot.state.x_range
    assert (x.start, x.end, x.reset_start, x.reset_end) == (0, 9, 0, 9)


def test_the_legend_follows_its_labels_and_leaves_out_what_is_empty():
    before, after = MOVES["masking_curve"]
    plot = built(before)
    assert "peak" not in legend_of(plot)
    replace(plot, before, after)
    assert "peak" in legend_of(plot)
    before, after = (views.k_landscape.sketch(ONE, beta) for beta in (0.95, 0.5))
    plot = built(before)
    replace(plot, before, after)
    assert "Δ with β = 0.50" in legend_of(plot)
    assert "Δ with β = 0.95" not in legend_of(plot)


def test_holoviews_forgets_who_listens_to_the_pictures_of_a_session_that_has_ended():
    class Context:
        pass

    document, context, tap = Document(), Context(), Tap()
    document._session_context = weakref.ref(context)
    live = Live(views.losses.sketch(FEW), streams=[tap])
    live.pane.get_root(document)

    def heard():
        return [callback for callback in Callback._callbacks.values() if tap in callback.streams]

    assert heard()
    for forget in document.session_destroyed_callbacks:
        forget(context)
    assert not heard()


def test_a_picture_whose_legend_or_axes_have_other_names_is_built_anew():
    k = FEW.k
    named, unnamed = views.single_k.sketch(k, ["I"] * 4), views.single_k.sketch(k)
    assert not same_layers(unnamed, named)
    amounts = [views.amounts.sketch({"a": 1.0}, quantity) for quantity in ("seconds", "images")]
    assert not same_layers(*amounts)


def test_a_picture_on_a_page_gets_new_numbers_and_is_built_anew_for_other_layers():
    live = Live(views.losses.sketch(FEW))
    live.pane.get_root()
    (plot,) = live.plots
    live.show(views.losses.sketch(MANY))
    assert live.plots == [plot]
    assert held(plot)[0]["epoch"] == [1, 2, 3, 4]
    live.pane.get_root()  # put into another page
    first, second = live.plots
    assert held(second) == held(first)
    drawn = live.pane.object
    live.show(views.accuracies.sketch(FEW))
    assert live.pane.object is not drawn
    assert live.pane.object.group == "Accuracies"


@given(st.lists(st.floats(0, 784), min_size=0, max_size=15))
def test_names_at_the_ends_of_lines_are_as_many_rows_however_many_lines_there_are(last):
    k = xr.DataArray(
        np.array([[392.0] * len(last), last]),
        {"epoch": [0, 1]},
        ("epoch", "image"),
        attrs={"units": "pixels"},
    )
    named = ends(views.single_k.sketch(k, ["?"] * len(last), names=[f"bag {i}" for i in range(len(last))]))
    assert {len(column) for column in named.values()} == {10}
