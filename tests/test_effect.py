"""A look at some images."""

import numpy as np
import pytest
import torch

from smoot_explore import create_model, probability_change, rank_pixels, saliency
from smoot_explore.core.effect import masking_effect


@pytest.mark.parametrize("order", ["lowest", "highest"])
@pytest.mark.parametrize("fill", ["black", "mean"])
@pytest.mark.parametrize("signed", [True, False])
def test_masking_equals_a_plain_loop_over_pixels(data, model, order, fill, signed):
    split, k = data.test[:3], np.array([0.0, 300.4, 1024.0])
    seen = masking_effect(model, split, k, order=order, fill=fill, signed=signed, top_n=3)
    model.eval()
    for n in range(3):
        image, label = split[[n]].normalize(), split.labels[[n]]
        maps = saliency(model, image, label, signed=signed)
        ranks = rank_pixels(maps, order)[0]
        masked, picture = image.clone(), split.images[n].float()
        mean = picture.mean((1, 2))
        for i in range(32):
            for j in range(32):
                if ranks[i, j] < round(k[n]):
                    masked[0, :, i, j] = split.black if fill == "black" else image[0].mean((1, 2))
                    picture[:, i, j] = 0 if fill == "black" else mean
        clean_p, masked_p = model(image).softmax(1), model(masked).softmax(1)
        change = probability_change(clean_p, masked_p, label, 3)
        np.testing.assert_allclose(seen.saliency[n], maps[0], atol=1e-5)
        assert np.abs(seen.masked_images[n].astype(float) - picture.numpy()).max() <= 0.51  # rounded
        np.testing.assert_allclose(seen.clean_probabilities[n], clean_p[0].detach(), atol=1e-5)
        np.testing.assert_allclose(seen.masked_probabilities[n], masked_p[0].detach(), atol=1e-5)
        assert seen.label_change[n] == pytest.approx(change.label.item(), abs=1e-5)
        assert seen.runners_up_change[n] == pytest.approx(change.runners_up.item(), abs=1e-5)


def test_masking_nothing_gives_the_pictures_back_and_everything_takes_all_of_them(data, model):
    nothing, everything = (
        masking_effect(model, data.test, 0),
        masking_effect(model, data.test, 1024, fill="black"),
    )
    np.testing.assert_array_equal(nothing.masked_images, data.test.images)
    assert not nothing.label_change.any()
    assert not nothing.runners_up_change.any()
    assert not everything.masked_images.any()


def test_one_number_of_pixels_stands_for_all_images(data, model):
    one, each = (
        masking_effect(model, data.test[:4], 200.0),
        masking_effect(model, data.test[:4], np.full(4, 200.0)),
    )
    for first, second in zip(one, each, strict=True):
        np.testing.assert_array_equal(first, second)


def test_the_random_fill_depends_on_the_seed_alone(data, model):
    one, two, other = (
        masking_effect(model, data.test[:4], 500, seed=seed).masked_images for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
    torch.manual_seed(9)
    expected = torch.rand(2)
    torch.manual_seed(9)
    masking_effect(model, data.test[:4], 500)
    assert torch.equal(torch.rand(2), expected)


def test_maps_of_an_earlier_call_rank_the_pixels(data, model):
    split = data.test[:3]
    first = masking_effect(model, split, 400, fill="mean")
    again = masking_effect(model, split, 400, fill="mean", maps=first.saliency)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    left = np.tile(np.arange(32.0), (3, 32, 1))  # the leftmost columns come first
    masked = masking_effect(model, split, 10 * 32, fill="black", maps=left).masked_images
    assert not masked[..., :10].any()
    np.testing.assert_array_equal(masked[..., 10:], split.images[..., 10:])


@pytest.mark.parametrize("training", [True, False])
def test_masking_leaves_the_model_as_it_was(data, model, training):
    model.train(training)
    masking_effect(model, data.test[:2], 100)
    assert all(module.training == training for module in model.modules())
    assert all(weight.grad is None for weight in model.parameters())


def test_dropout_plays_no_part_in_masking(data):
    model = create_model("cnn", data).train()
    one, two = masking_effect(model, data.test[:4], 300), masking_effect(model, data.test[:4], 300)
    np.testing.assert_array_equal(one.clean_probabilities, two.clean_probabilities)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"order": "upwards"}, "unknown order 'upwards'"), ({"attribution": "gradcam"}, "did you mean 'grad_cam'"),
     ({"fill": "balck"}, "did you mean 'black'"), ({"top_n": 0}, "top_n must be at least 1")],
)  # fmt: skip
def test_bad_input_is_refused(data, model, options, message):
    with pytest.raises(ValueError, match=message):
        masking_effect(model, data.test[:2], 100, **options)


def test_the_change_may_follow_the_predicted_class(data, model):
    split = data.test[:12]
    seen = masking_effect(model, split, 300, delta_class="predicted")
    p, q = seen.clean_probabilities, seen.masked_probabilities
    top = p.argmax(1)
    assert (top != split.labels.numpy()).any()
    np.testing.assert_allclose(seen.label_change, [q[i, c] - p[i, c] for i, c in enumerate(top)], atol=1e-6)
