import re

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn
from torchvision.transforms.functional import gaussian_blur

from smoot_explore import (
    Split,
    accuracy_drop,
    create_model,
    drop_auc,
    image_class,
    k_landscape,
    masking_curves,
    peak_fraction,
    probability_change,
    rank_pixels,
    saliency,
    simulate_k,
)
from smoot_explore.core.choices import FILLS
from smoot_explore.schema import validate


def curves_of(probability, fractions=None, correct=None):
    """Curves as `masking_curves` would give them."""
    probability = np.atleast_2d(np.asarray(probability, float))
    levels = probability.shape[1]
    fractions = np.linspace(0, 1, levels) if fractions is None else fractions
    correct = probability > 0.5 if correct is None else np.asarray(correct, bool)
    dims = ("image", "masked_fraction")
    return xr.Dataset(
        {"probability": (dims, probability), "correct": (dims, correct)},
        {"masked_fraction": fractions},
    )


@pytest.mark.parametrize("fill", ["black", "mean", "blur"])
@pytest.mark.parametrize("order", ["lowest", "highest"])
@pytest.mark.parametrize("signed", [True, False])
def test_curves_equal_a_plain_loop_over_images_and_levels(data, model, fill, order, signed):
    curves = masking_curves(model, data.test[:5], levels=7, order=order, fill=fill, signed=signed)
    model.eval()
    for n in range(5):
        image, label = data.test[[n]].normalize(), int(data.test.labels[n])
        ranks = rank_pixels(saliency(model, image, torch.tensor([label]), signed=signed), order)[0]
        blurred = gaussian_blur(image, 17, 4.0)
        for level in range(8):
            masked = image.clone()
            for i in range(32):
                for j in range(32):
                    if ranks[i, j] < round(level / 7 * 1024):
                        if fill == "black":
                            value = (0 - data.mean) / data.std
                        elif fill == "mean":
                            value = image[0].mean((1, 2))
                        else:
                            value = blurred[0, :, i, j]
                        masked[0, :, i, j] = value
            p = model(masked).softmax(1)[0]
            assert curves.probability.values[n, level] == pytest.approx(p[label].item(), abs=1e-5)
            assert curves.correct.values[n, level] == (int(p.argmax()) == label)


@pytest.mark.parametrize("fill", ["remaining", "image_range"])
def test_random_fills_give_curves_that_start_at_the_clean_image_and_repeat_with_the_seed(data, model, fill):
    one, two, other = (
        masking_curves(model, data.test, levels=3, fill=fill, seed=seed).probability for seed in (1, 1, 2)
    )
    clean = masking_curves(model, data.test, levels=3).probability
    np.testing.assert_array_equal(one, two)
    assert (one[:, 1:] != other[:, 1:]).any()
    np.testing.assert_allclose(one[:, 0], clean[:, 0])


@pytest.mark.parametrize("fill", ["black", "remaining"])
def test_the_memory_budget_changes_no_result(data, model, fill):
    large = masking_curves(model, data.test, levels=3, fill=fill)
    small = masking_curves(model, data.test, levels=3, fill=fill, memory_budget=1)
    np.testing.assert_allclose(large.probability, small.probability, atol=1e-5)


def test_levels_that_round_to_every_pixel_use_the_whole_images_range(data, model):
    """Two levels with k = P: both are like a fully masked image, and none is NaN."""
    curves = masking_curves(model, data.test[:4], [0, 0.5, 0.9996, 1.0], fill="remaining")
    assert np.isfinite(curves.probability).all()
    np.testing.assert_array_equal(curves.probability[:, 2], curves.probability[:, 3])


def test_own_maps_that_are_an_attributions_give_its_curves(data, model):
    split = data.test[:6]
    images = split.normalize()
    maps = {name: saliency(model, images, split.labels, name) for name in ("gradient", "input_x_gradient")}
    expected = masking_curves(model, split, 4, attribution=list(maps))
    given = masking_curves(model, split, 4, maps={f"my {n}": m for n, m in maps.items()}, memory_budget=1)
    assert given.attribution.values.tolist() == ["my gradient", "my input_x_gradient"]
    np.testing.assert_allclose(given.probability, expected.probability, atol=1e-5)
    one = masking_curves(model, split, 4, maps=maps["gradient"].numpy())
    assert one.attribution.item() == "own"
    np.testing.assert_allclose(one.probability, expected.probability.sel(attribution="gradient"), atol=1e-5)
    magnitude = masking_curves(model, split, 4, maps=-maps["gradient"].abs(), signed=False)
    np.testing.assert_allclose(
        magnitude.probability,
        masking_curves(model, split, 4, maps=maps["gradient"].abs()).probability,
        atol=1e-5,
    )


def test_another_target_is_explained_and_followed_and_the_label_still_judged(data, model):
    split = data.test[:6]
    predicted = model.eval()(split.normalize()).argmax(1)
    as_labels = masking_curves(model, Split(split.images, predicted, mean=data.mean, std=data.std), 4)
    by_name = masking_curves(model, split, 4, target="predicted")
    by_number = masking_curves(model, split, 4, target=predicted.numpy())
    for curves in (by_name, by_number):
        np.testing.assert_allclose(curves.probability, as_labels.probability, atol=1e-5)
        np.testing.assert_array_equal(curves.label, split.labels)
        np.testing.assert_array_equal(curves.correct[:, 0], predicted == split.labels)
    np.testing.assert_array_equal(by_name.correct, by_number.correct)
    assert (by_name.attrs["ranking"], by_number.attrs["ranking"]) == (
        "signed, target predicted",
        "signed, target given",
    )
    one = masking_curves(model, split, 2, target=3, attribution="input_x_gradient")
    clean = model(split.normalize()).softmax(1)[:, 3].detach()
    np.testing.assert_allclose(one.probability[:, 0], clean, atol=1e-5)


def test_options_reach_the_attribution_and_are_recorded(data, model):
    split, black = data.test[:3], data.black
    curves = masking_curves(model, split, 4, attribution="integrated_gradients", n_steps=4, baseline=black)
    maps = saliency(model, split.normalize(), split.labels, "integrated_gradients", n_steps=4, baseline=black)
    np.testing.assert_allclose(
        curves.probability, masking_curves(model, split, 4, maps=maps).probability, atol=1e-5
    )
    assert curves.attrs["ranking"] == "signed, n_steps=4, baseline=black"
    assert validate(curves) is curves


def test_what_changes_the_ranking_is_told_apart(data, model):
    def ranking(attribution, **options):
        curves = masking_curves(model, data.test[:2], 2, attribution=attribution, **options)
        return curves.attrs["ranking"]

    first = ranking("grad_cam", layer=model.convolution1)
    assert first == "signed, layer=convolution1"
    assert ranking("grad_cam", layer=model.convolution2) == "signed, layer=convolution2"
    one, two, again = (
        ranking("integrated_gradients", n_steps=2, baseline=torch.full((3,), value))
        for value in (0.5, 0.25, 0.5)
    )
    assert one == again != two
    assert re.fullmatch(r"signed, n_steps=2, baseline given \([0-9a-f]{6}\)", one)
    assert ranking("integrated_gradients", n_steps=2, baseline=-0.5) == "signed, n_steps=2, baseline=-0.5"


def test_constant_maps_are_warned_of(data, model):
    torch.nn.init.zeros_(model.convolution2.weight)
    with pytest.warns(
        UserWarning, match="grad_cam gives 4 of 4 images the same value .* say nothing of the model"
    ):
        masking_curves(model, data.test[:4], 2, attribution="grad_cam")


@pytest.mark.parametrize("method", ["traditional", "smoot"])
def test_images_need_not_be_square(method):
    from smoot_explore import ImageData, TrainingConfig, train
    from smoot_explore.core.effect import masking_effect

    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (12, 10, 14), np.uint8), np.arange(12) % 3
    data = ImageData.from_arrays(images, labels, images, labels)
    model = create_model("cnn", data)
    settings = {"saliency_pass": "harvested"} if method == "smoot" else {}
    config = TrainingConfig(
        method=method, epochs=2, batch_size=6, device="cpu", precision="float32", **settings
    )
    *_, last = train(model, data, config)
    assert last.k.max() <= 140
    attributions = ["gradient", "occlusion", "grad_cam"]
    curves = masking_curves(model, data.test, 2, fill=["remaining", "blur"], attribution=attributions)
    assert curves.sizes["image"] == 12
    assert k_landscape(model, data.train, 2).k.values.tolist() == [0, 70, 140]
    assert masking_effect(model, data.test[:2], 70).masked_images.shape == (2, 1, 10, 14)


def test_a_model_that_returns_a_view_of_its_input_gets_its_own_curve():
    images = torch.tensor([[[[0, 80], [160, 255]]]], dtype=torch.uint8)
    split = Split(images, torch.tensor([3]))
    curves = masking_curves(torch.nn.Flatten(), split, 4, order="lowest")
    assert len(np.unique(curves.probability)) > 2


def test_a_split_made_by_hand_need_not_hold_every_class(data, model):
    by_hand = Split(data.test.images[:1], torch.tensor([1]), mean=data.mean, std=data.std)
    assert masking_curves(model, by_hand, 2).sizes["image"] == 1
    with pytest.raises(ValueError, match="knows 6 classes, but there is a label 9"):
        masking_curves(model, Split(data.test.images[:1], torch.tensor([9])), 2)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_curves_mask_as_mask_pixels_does(data, fill, layout):
    """Every level of the fast path against `mask_pixels` given the same random numbers."""
    from smoot_explore.core.levels import masked_batches
    from smoot_explore.core.masking import fill_values, order_pixels

    images = data.test[:3].normalize().to(memory_format=layout)
    maps = torch.randint(0, 4, (3, 32, 32)).float()
    ordered, ranks = order_pixels(maps), rank_pixels(maps)
    noise, pixels = torch.rand_like(images), [0, 1, 500, 500, 1023, 1024]
    before = images.clone()
    batches = masked_batches(images, ordered, pixels, fill, noise, data.black)
    for k, fast in zip(pixels, batches, strict=True):
        mask = (ranks < k).unsqueeze(1)
        expected = torch.where(mask, fill_values(images, mask, fill, noise, data.black), images)
        torch.testing.assert_close(fast.expand_as(images), expected)
    assert torch.equal(images, before)


def test_several_fills_and_methods_equal_one_at_a_time(data, model):
    split = data.test[:6]
    many = masking_curves(
        model, split, 4, fill=["mean", "remaining"], attribution=["gradient", "input_x_gradient"]
    )
    assert many.probability.dims == ("attribution", "fill", "image", "masked_fraction")
    for attribution in ("gradient", "input_x_gradient"):
        for fill in ("mean", "remaining"):
            one = masking_curves(model, split, 4, fill=fill, attribution=attribution)
            chosen = many.sel(attribution=attribution, fill=fill)
            np.testing.assert_allclose(chosen.probability, one.probability, atol=1e-5)
            np.testing.assert_array_equal(chosen.correct, one.correct)
    assert validate(many) is many


def test_curves_leave_the_model_as_it_was(data, model):
    model.train()
    masking_curves(model, data.test[:3], 2)
    k_landscape(model, data.test[:3], 2)
    assert all(module.training for module in model.modules())
    assert all(not module._forward_hooks for module in model.modules())
    assert all(weight.grad is None for weight in model.parameters())


def test_levels_are_a_number_of_steps_or_the_fractions_themselves(data, model):
    fractions = [0, 0.3, 1]
    curves = masking_curves(model, data.test[:2], fractions)
    assert curves.masked_fraction.values.tolist() == fractions
    assert masking_curves(model, data.test[:2]).masked_fraction.values.tolist() == [i / 20 for i in range(21)]


def test_curves_name_their_protocol_and_their_images(data, model):
    curves = masking_curves(model, data.test[[7, 3]], 2, "lowest", "mean", "random", signed=False)
    assert (curves.fill.item(), curves.attribution.item()) == ("mean", "random")
    assert (curves.attrs["order"], curves.attrs["ranking"]) == ("lowest", "magnitude")
    assert curves.image_id.values.tolist() == [7, 3]
    assert curves.label.values.tolist() == data.test.labels[[7, 3]].tolist()


def test_progress_is_told_up_to_the_last_image(data, model):
    told = []
    masking_curves(model, data.test, 1, memory_budget=1, progress=lambda *state: told.append(state))
    assert told == [(i + 1, 24) for i in range(24)]


def test_bfloat16_curves_are_close_to_float32(data, model):
    one = masking_curves(model, data.test, 4)
    two = masking_curves(model, data.test, 4, precision="bfloat16")
    assert float(abs(one.probability - two.probability).max()) < 0.05


probabilities = arrays(float, st.tuples(st.integers(1, 4), st.integers(2, 9)), elements=st.floats(0, 1))


@given(probabilities, st.floats(0, 0.5))
def test_class_and_peak_equal_a_plain_scan(probability, tolerance):
    curves = curves_of(probability)
    classes, peaks = image_class(curves, tolerance), peak_fraction(curves, tolerance)
    for n, values in enumerate(probability.tolist()):
        best = max(range(len(values)), key=lambda m: (values[m], -m))
        second = values[best] > values[0] + tolerance
        assert classes.values[n] == ("II" if second else "I")
        assert peaks.values[n] == (curves.masked_fraction.values[best] if second else 0)


@given(probabilities)
def test_auc_equals_plain_trapezoids(probability):
    curves = curves_of(probability)
    n, levels = probability.shape
    drop = [100 * sum(probability[:, m] > 0.5) / n for m in range(levels)]
    area = sum((drop[m] + drop[m + 1]) / 2 / (levels - 1) for m in range(levels - 1))
    assert accuracy_drop(curves).values.tolist() == pytest.approx(drop)
    assert float(drop_auc(curves)) == pytest.approx(area, abs=1e-9)


def test_auc_weighs_uneven_levels_by_their_width():
    curves = curves_of([[0.9, 0.9, 0.1]], fractions=[0, 0.8, 1.0])
    assert float(drop_auc(curves)) == pytest.approx(100 * (0.8 + 0.1))


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6, unique=True)
    .map(sorted)
    .filter(lambda f: f[-1] - f[0] > 1e-3),
    st.floats(0, 1),
)
def test_the_area_over_part_of_the_range_is_a_mean_in_per_cent(fractions, share):
    """A constant accuracy is its own mean, wherever the curves begin and end."""
    right = np.zeros((10, len(fractions)), bool)
    right[: round(10 * share)] = True
    curves = curves_of(np.full(right.shape, 0.5), fractions, right)
    assert float(drop_auc(curves)) == pytest.approx(10 * round(10 * share))


def test_an_area_needs_a_range():
    with pytest.raises(ValueError, match=r"needs curves over a range .* given \[0\.5\]"):
        drop_auc(curves_of([[0.5, 0.7]]).isel(masked_fraction=[0]).assign_coords(masked_fraction=[0.5]))


def test_a_constant_curve_is_class_one_and_the_first_of_equal_peaks_counts():
    assert image_class(curves_of([[0.4, 0.4, 0.4]]), 0).item() == "I"
    assert peak_fraction(curves_of([[0.1, 0.8, 0.8]])).item() == 0.5


def test_the_landscape_equals_a_plain_loop(data, model):
    land = k_landscape(model, data.test[:3], levels=4, fill="mean", top_n=3)
    model.eval()
    assert land.k.values.tolist() == [0, 256, 512, 768, 1024]
    for n in range(3):
        image, label = data.test[[n]].normalize(), data.test.labels[[n]]
        ranks = rank_pixels(saliency(model, image, label))[0]
        clean = model(image).softmax(1)
        for i, k in enumerate((0, 256, 512, 768, 1024)):
            masked = torch.where(ranks < k, image.mean((2, 3), keepdim=True), image)
            change = probability_change(clean, model(masked).softmax(1), label, 3)
            assert land.label_change.values[n, i] == pytest.approx(change.label.item(), abs=1e-5)
            assert land.runners_up_change.values[n, i] == pytest.approx(change.runners_up.item(), abs=1e-5)


def test_more_draws_average_the_random_fill(data, model):
    split = data.test[:8]
    lands = [k_landscape(model, split, 2, draws=1, seed=seed).label_change for seed in (1, 2)]
    averaged = [k_landscape(model, split, 2, draws=12, seed=seed).label_change for seed in (1, 2)]
    assert float(abs(averaged[0] - averaged[1]).mean()) < float(abs(lands[0] - lands[1]).mean())


def landscape_of(k, label_change, runners_up_change, n_pixels):
    dims = ("image", "k")
    label_change = np.atleast_2d(label_change)
    return xr.Dataset(
        {
            "label_change": (dims, label_change),
            "runners_up_change": (dims, np.atleast_2d(runners_up_change)),
            "label": ("image", np.zeros(len(label_change), int)),
        },
        {"k": k},
        {"n_pixels": n_pixels},
    ).set_coords("label")


@given(
    st.integers(0, 2**16),
    st.floats(0, 1),
    st.floats(0, 400),
    st.floats(0, 1),
    st.floats(0, 0.5),
    st.floats(0.5, 1),
)
def test_simulated_trajectories_equal_equation_four_step_by_step(seed, beta, alpha, k_init, k_min, k_max):
    rng = np.random.default_rng(seed)
    grid = np.array([0, 20, 45, 70, 100])  # uneven, as rounding makes it
    label, runners_up = rng.normal(0, 0.4, (2, 3, 5))
    land = landscape_of(grid, label, runners_up, 100)
    found = simulate_k(land, alpha=alpha, beta=beta, k_init=k_init, k_min=k_min, k_max=k_max, epochs=6)
    for n in range(3):
        k = k_init * 100
        for epoch in range(7):
            assert found.values[epoch, n] == pytest.approx(k, abs=1e-6)
            delta = np.interp(k, grid, beta * label[n] + (1 - beta) * runners_up[n])
            k = min(max(k + alpha * delta, k_min * 100), k_max * 100)


def test_a_trajectory_settles_where_delta_crosses_zero():
    land = landscape_of([0, 50, 100], [[0.5, 0.0, -0.5]], [[0, 0, 0]], 100)
    k = simulate_k(land, alpha=20, beta=1, k_init=0.1, k_min=0, k_max=1, epochs=60)
    assert k.dims == ("epoch", "image")
    assert (k.values[0, 0], k.values[-1, 0]) == (10, pytest.approx(50, abs=0.1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, s: masking_curves(m, s, 0), "levels must be at least 1 step, given 0"),
        (lambda m, s: masking_curves(m, s, [0, 0.5, 0.5]), "increasing fractions"),
        (lambda m, s: masking_curves(m, s, [0, 1.5]), "increasing fractions in 0 … 1"),
        (lambda m, s: masking_curves(m, s, 2, "upwards"), "unknown order 'upwards'"),
        (lambda m, s: masking_curves(m, s, 2, fill="balck"), "did you mean 'black'"),
        (lambda m, s: masking_curves(m, s, 2, fill=[]), "at least one fill"),
        (lambda m, s: masking_curves(m, s, 2, attribution="gradcam"), "did you mean 'grad_cam'"),
        (lambda m, s: masking_curves(m, s, 2, maps=torch.zeros(2, 32, 31)), r"shape \(2, 32, 32\).* given \(2, 32, 31"),
        (lambda m, s: masking_curves(m, s, 2, maps=torch.full((2, 32, 32), torch.nan)), "must be finite numbers"),
        (lambda m, s: masking_curves(m, s, 2, maps={}), "maps holds no map"),
        (lambda m, s: masking_curves(m, s, 2, maps={"grad_cam": torch.ones(2, 32, 32)}), "cannot be called 'grad_cam'"),
        (lambda m, s: masking_curves(m, s, 2, attribution="random", maps=torch.ones(2, 32, 32)), "maps or an attri"),
        (lambda m, s: masking_curves(m, s, 2, maps=torch.ones(2, 32, 32), n_steps=3), "the options n_steps are of"),
        (lambda m, s: masking_curves(m, s, 2, n_steps=3), "gradient does not take these options"),
        (lambda m, s: masking_curves(m, s, 2, target="lable"), "did you mean 'label'"),
        (lambda m, s: masking_curves(m, s, 2, target=6), "target must be a class, 0 to 5, .* given 6"),
        (lambda m, s: masking_curves(m, s, 2, target=[1, 2, 3]), "one for each of the 2 images"),
        (lambda m, s: k_landscape(m, s, 2, draws=0), "draws must be at least 1"),
        (lambda m, s: image_class(masking_curves(m, s, [0.5, 1.0])), "must start at the masked fraction 0"),
        (lambda m, s: image_class(masking_curves(m, s, 2), -1), "tolerance must be at least 0"),
        (lambda m, s: simulate(m, s, k_init=392), "k_init must lie between 0 and 1, given 392"),
        (lambda m, s: simulate(m, s, k_min=0.9), "k_min=0.9 is above k_max=0.8"),
        (lambda m, s: simulate(m, s, epochs=-1), "epochs must not be negative"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(data, linear, call, message):
    with pytest.raises(ValueError, match=message):
        call(linear, data.test[:2])


def simulate(model, split, **changes):
    settings = {"alpha": 1, "beta": 0.5, "k_init": 0.5, "k_min": 0.2, "k_max": 0.8, "epochs": 2}
    return simulate_k(k_landscape(model, split, 2, draws=1), **(settings | changes))


def test_curves_of_a_timm_model_keep_to_the_datas_resolution(data):
    model = create_model("test_resnet", data, input_size=(64, 64))
    assert masking_curves(model, data.test[:3], 2).sizes == {"image": 3, "masked_fraction": 3}


@pytest.mark.parametrize(
    ("last", "error", "said"),
    [
        (nn.Softmax(1), ValueError, "the model returns probabilities"),
        (nn.Identity(), TypeError, "must return a tensor of logits"),
    ],
)
def test_a_model_that_gives_no_logits_is_refused(linear, data, last, error, said):
    model = nn.Sequential(linear, last)
    if error is TypeError:
        model.register_forward_hook(lambda module, inputs, output: (output,))
    with pytest.raises(error, match=said):
        masking_curves(model, data.test, 2)


def test_curves_by_patches_mask_whole_patches_of_the_highest_mean(linear, data):
    split = data.test[:3]
    found = masking_curves(linear, split, 4, patch=8)
    assert found.attrs["ranking"] == "signed, patches of 8×8"
    images = split.normalize()
    means = saliency(linear, images, split.labels).reshape(3, 4, 8, 4, 8).mean((2, 4)).flatten(1)
    for level, n in enumerate((0, 4, 8, 12, 16)):
        masked = images.clone()
        for image, order in zip(masked, means.argsort(1, descending=True), strict=True):
            for place in order[:n].tolist():
                row, column = 8 * (place // 4), 8 * (place % 4)
                image[:, row : row + 8, column : column + 8] = split.black.view(-1, 1, 1)
        expected = linear(masked).softmax(1).gather(1, split.labels.unsqueeze(1)).squeeze(1)
        np.testing.assert_allclose(found.probability[:, level], expected.detach(), atol=1e-5)
    with pytest.raises(ValueError, match="not made of whole patches of 5×5"):
        masking_curves(linear, split, 2, patch=5)
