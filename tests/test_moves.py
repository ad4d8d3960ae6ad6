"""Why an image's k stands where it does: each epoch's move is that of equation (4) with the values of the time."""

import json

import numpy as np
import pytest
import xarray as xr

from smoot_explore import TrainingConfig, bundled_runs, create_model, load_data, train
from smoot_explore.core.moves import k_moves
from smoot_explore.explorer.past import past_of_k
from smoot_explore.runs.run import Run
from smoot_explore.views.moves import single_moves


def record_of(k, delta, changes=(), **start):
    """One image, a hundred pixels, two steps an epoch."""
    start = {
        "method": "smoot",
        "k_init": 0.5,
        "k_min": 0.2,
        "k_max": 0.8,
        "alpha": 10.0,
        "batch_size": 1,
        **start,
    }
    values = {"k": k, "delta": delta}
    return xr.Dataset(
        {name: (("epoch", "image"), np.array([v, v], np.float32).T) for name, v in values.items()},
        {"epoch": np.arange(1, len(k) + 1)},
        {"n_pixels": 100, "config": json.dumps({"start": start, "changes": list(changes)})},
    )


def change(step, name, old, new):
    return {"step": step, "epoch": (step + 1) // 2, "name": name, "old": old, "new": new}


def test_the_moves_of_a_bundled_run_are_those_of_its_record():
    record = bundled_runs()[2].record()
    start = json.loads(record.attrs["config"])["start"]
    for position in (0, 7, 3208):
        moves = k_moves(record, position)
        k = start["k_init"] * 784
        for i in range(record.sizes["epoch"]):
            assert float(moves.before[i]) == pytest.approx(k, abs=0.01)
            delta = float(record.delta[i, position])
            assert float(moves.step[i]) == pytest.approx(start["alpha"] * delta, abs=1e-4)
            k = min(max(k + start["alpha"] * delta, start["k_min"] * 784), start["k_max"] * 784)
            assert float(moves.k[i]) == pytest.approx(k, abs=0.01)
            k = float(record.k[i, position])


def test_moved_values_count_from_their_step_on(tmp_path):
    data = load_data("shapes", 12, 6)
    config = TrainingConfig(epochs=4, batch_size=4, alpha=40.0, device="cpu", precision="float32")
    model = create_model("cnn", data)
    run = Run.create(tmp_path / "run", config, model, data)
    for i, _ in enumerate(
        train(model, data, config, run=run, every=1)
    ):  # three steps and an epoch's record each
        if i == 4:
            config.alpha = 7.0  # from the second step of the second epoch on
        if i == 9:
            config.k_max = 0.51
    record = run.record()
    assert len(json.loads(record.attrs["config"])["changes"]) == 2
    seen = set()
    for position in range(12):
        moves = k_moves(record, position)
        assert set(moves.alpha.values[[0, 2, 3]].tolist()) == {40.0, 7.0}
        seen.add(float(moves.alpha[1]))
        to = np.clip(moves.before + moves.step, 0.2 * 1024, np.where(moves.epoch < 4, 0.8 * 1024, 1024))
        loose = ~moves.held.values
        np.testing.assert_allclose(moves.k.values[loose], to.values[loose], atol=0.01)
    assert seen == {40.0, 7.0}  # some were visited before, some after


def test_a_bound_is_told_to_have_held_k():
    moves = k_moves(record_of([58.0, 60.0], [0.8, 0.9], k_max=0.6), 1)
    assert moves.held.values.tolist() == [False, True]
    text = past_of_k(moves, "Image 3")
    assert text.partition(">")[2].startswith(
        "k of Image 3 rose from 50.0 to 60.0 pixels over 2 epochs: +8.0, +2.0."
    )
    assert "In 1 epoch a bound held it." in text


def test_the_words_add_up_what_is_long_ago_and_name_each_alpha():
    delta = [0.1, 0.2, -0.1, 0.0, 0.1, 0.2, 0.1, -0.3]
    alphas = [10, 10, 10, 10, 20, 20, 20, 20]
    k = 50 + np.cumsum(np.multiply(delta, alphas))
    text = past_of_k(k_moves(record_of(k, delta, [change(9, "alpha", 10.0, 20.0)]), 0), "Image <3>")
    assert text.partition(">")[2].startswith(
        "k of Image &lt;3&gt; rose from 50.0 to 54.0 pixels over 8 epochs: +3.0 until epoch 2, then "
    )
    assert "then −1.0, +0.0, +2.0, +4.0, +2.0, −6.0." in text
    assert "In 5 epochs Δ was above 0" in text
    assert "In 2 epochs Δ was below 0" in text
    assert "α was 10, 20 from epoch 5." in text


@pytest.mark.parametrize(("start", "end"), [({"method": "sgt"}, 0), ({"method": "traditional"}, 0)])
def test_where_k_does_not_move_nothing_is_told(start, end):
    moves = k_moves(record_of([50.0, 50.0], [0.1, 0.1], **start), 0)
    assert moves.sizes["epoch"] == end
    assert past_of_k(moves, "Image 3") == ""
    assert all(not layer.numbers[0].size for layer in single_moves.sketch(moves).layers)


def test_another_rule_has_no_alpha_and_its_bars_end_where_k_does():
    moves = k_moves(record_of([0.0, 15.0, 20.0], [0.1, 0.1, 0.1], k_rule="magnitude"), 0)
    assert np.isnan(moves.alpha).all()
    rose, _, line = single_moves.sketch(moves).layers
    assert rose.numbers[3].tolist() == [15, 20]
    assert line.numbers[1].tolist() == [0, 0, 15, 20]
    assert "Δ" not in past_of_k(moves, "Image 3")


def test_bars_lead_from_where_k_was_to_where_the_step_leads():
    moves = k_moves(record_of([55.0, 52.0, 80.0], [0.5, -0.3, 4.0]), 0)
    rose, fell, line = single_moves.sketch(moves).layers
    assert [side.tolist() for side in rose.numbers[1::2]] == [
        pytest.approx([50, 52]),
        pytest.approx([55, 92]),
    ]
    assert [side.tolist() for side in fell.numbers[1::2]] == [pytest.approx([52]), pytest.approx([55])]
    assert line.numbers[0].tolist() == [0, 1, 2, 3]
    assert line.numbers[1].tolist() == [50, 55, 52, 80]
