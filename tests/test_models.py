import pytest
import torch
from torch import nn

from smoot_explore import create_model
from smoot_explore.core.models import ByteDropout, PaperCNN, check_logits, describe_model


@pytest.mark.parametrize(("shape", "classes"), [((1, 28, 28), 10), ((3, 32, 32), 100), ((4, 6, 17), 2)])
def test_the_cnn_takes_any_channels_size_and_classes(shape, classes):
    assert PaperCNN(shape, classes)(torch.rand(2, *shape)).shape == (2, classes)


def test_the_cnn_computes_what_the_papers_order_of_layers_computes():
    """Convolution, ReLU, convolution, ReLU, pooling: the pooling before the second ReLU changes nothing."""
    model, images = PaperCNN((1, 12, 10), 3).eval(), torch.randn(4, 1, 12, 10)
    x = torch.relu(model.convolution1(images))
    x = torch.max_pool2d(torch.relu(model.convolution2(x)), 2)
    x = torch.relu(model.dense1(x.permute(0, 2, 3, 1).flatten(1)))
    torch.testing.assert_close(model(images), model.dense2(x))


def test_the_cnn_has_the_papers_number_of_weights():
    weights = sum(p.numel() for p in PaperCNN((1, 28, 28), 10).parameters())
    assert weights == (9 * 32 + 32) + (9 * 32 * 64 + 64) + (9216 * 128 + 128) + (128 * 10 + 10)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_callers_random_numbers_alone(data):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    one, two, three = (create_model("cnn", data, seed=seed).dense1.weight for seed in (5, 5, 6))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


@pytest.mark.parametrize("rate", [0.25, 0.5])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dropout_drops_at_its_rate_and_keeps_the_expectation(rate, layout):
    torch.manual_seed(0)
    ones = torch.ones(50, 8, 25, 20).to(memory_format=layout)
    dropped = ByteDropout(rate)(ones)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - rate)])
    assert (dropped == 0).float().mean().item() == pytest.approx(rate, abs=0.005)
    for dim in range(4):  # no unit, row or image is treated otherwise
        others = [d for d in range(4) if d != dim]
        assert ((dropped == 0).float().mean(others) - rate).abs().max() < 0.05


def test_dropout_passes_gradients_to_the_kept_units_and_does_nothing_in_eval_mode():
    layer, x = ByteDropout(0.5), torch.ones(2, 999, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    assert torch.equal(layer.eval()(x), x)


def test_a_timm_model_takes_the_datas_size_and_resizes_inside(data):
    model = create_model("test_resnet", data)
    sizes = []
    model.model.register_forward_pre_hook(lambda _, inputs: sizes.append(tuple(inputs[0].shape)))
    assert model(data.train[:2].normalize()).shape == (2, 6)
    assert sizes == [(2, 3, 160, 160)]


def test_a_vision_transformer_can_be_made_for_small_images(data):
    model = create_model("test_vit", data, img_size=32, patch_size=4)
    assert model.input_size == (32, 32)
    assert model(data.train[:2].normalize()).shape == (2, 6)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("resnet19", {}, ValueError, "unknown model 'resnet19'; did you mean 'resnet1"),
        ("hf-hub:someone/something", {}, ValueError, "unknown model 'hf-hub"),
        ("local-dir:/tmp", {}, ValueError, "unknown model 'local-dir"),
        ("cnn", {"pretrained": True}, ValueError, "no pretrained weights"),
        ("cnn", {"depth": 3}, ValueError, "takes no options, given depth"),
        ("test_resnet", {"colour": 3}, ValueError, "test_resnet"),
        ("test_vit", {"num_heads": 7}, ValueError, "test_vit cannot be made"),
    ],
)
def test_a_model_that_cannot_be_made_says_why(data, name, options, error, message):
    with pytest.raises(error, match=message):
        create_model(name, data, **options)


def test_pretrained_weights_that_cannot_be_had_say_what_to_do(data, monkeypatch):
    def unreachable(*args, pretrained, **options):
        raise OSError("no connection")

    monkeypatch.setattr("timm.create_model", unreachable)
    with pytest.raises(RuntimeError, match=r"weights of test_resnet .* no connection.* pretrained=False"):
        create_model("test_resnet", data, pretrained=True)


def test_images_too_small_for_the_cnn_are_refused():
    with pytest.raises(ValueError, match="at least 6×6 pixels, given 5×9"):
        PaperCNN((1, 5, 9), 2)


def test_a_description_says_what_to_rebuild(data):
    description = describe_model(create_model("test_vit", data, img_size=32, patch_size=4))
    assert description["name"] == "test_vit"
    assert description["options"] == {"img_size": 32, "patch_size": 4}
    assert (description["image_shape"], description["n_classes"]) == ([3, 32, 32], 6)


def test_a_users_own_module_is_described_by_its_class():
    description = describe_model(nn.Linear(2, 3))
    assert description == {
        "name": None,
        "class": "torch.nn.modules.linear.Linear",
        "n_parameters": 9,
    }


@pytest.mark.parametrize("output", [torch.rand(2), torch.rand(3, 6), torch.rand(2, 5), torch.rand(2, 6, 1)])
def test_output_of_the_wrong_shape_is_no_logits(output):
    with pytest.raises(ValueError, match=r"logits of shape \(2, 6\), it returned"):
        check_logits(output, 2, 6)
