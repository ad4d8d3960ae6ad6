"""Pretrained weights from a file, where there is no internet; the oracles are the saved models themselves."""

import hashlib
import json
import os
from dataclasses import replace

import pytest
import timm
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf

from smoot_explore import Run, RunError, create_model, load_data, open_run, train
from smoot_explore.cli.commands import main
from smoot_explore.core.models import describe_model
from smoot_explore.sweeps.cell import new_model, train_to_end
from smoot_explore.sweeps.manifest import Sweep
from smoot_explore.sweeps.sweep import _described

NAME = "vit_tiny_patch16_224"
SMALL = {"img_size": 32, "patch_size": 8, "depth": 1, "embed_dim": 24, "num_heads": 1}


@pytest.fixture(scope="module")
def saved():
    """A small transformer for ten classes of RGB images; no weight has the value that it begins with."""
    torch.manual_seed(0)
    model = timm.create_model(NAME, num_classes=10, **SMALL)
    for weights in model.parameters():
        weights.data += torch.randn_like(weights) / 10
    return model


@pytest.fixture(scope="module")
def file(saved, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    save_for_hf(saved, folder, safe_serialization=True)
    return folder / "model.safetensors"


@pytest.fixture
def grey(data):
    """Data of one channel."""

    def mean(split):
        return replace(split, images=split.images[:, :1], mean=split.mean[:1], std=split.std[:1])

    return replace(data, train=mean(data.train), test=mean(data.test), source={})


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Nothing is downloaded, looked for in timm's cache, or unpickled."""

    def never(*args, **options):
        raise AssertionError("only the file may be read")

    for name in (
        "load_state_dict_from_hf",
        "load_state_dict_from_url",
        "download_cached_file",
        "check_cached_file",
    ):
        monkeypatch.setattr(f"timm.models._builder.{name}", never)
    monkeypatch.setattr("torch.load", never)


def test_all_weights_but_the_classifier_come_from_the_file(data, saved, file):
    model = create_model(NAME, data, str(file), **SMALL).model
    expected = saved.state_dict()
    for name, weights in model.state_dict().items():
        assert name.startswith("head.") or torch.equal(weights, expected[name]), name
    assert model.head.weight.shape == (6, 24)


def test_the_first_layer_takes_the_sum_over_the_channels_of_grey_images(grey, saved, file):
    model = create_model(NAME, grey, file, **SMALL).model
    expected = saved.patch_embed.proj.weight.sum(1, keepdim=True)
    torch.testing.assert_close(model.patch_embed.proj.weight, expected)
    torch.testing.assert_close(model.blocks[0].attn.qkv.weight, saved.blocks[0].attn.qkv.weight)
    assert model(torch.rand(2, 1, 32, 32)).shape == (2, 6)


def test_position_embeddings_are_resampled_to_larger_images(data, saved, file):
    model = create_model(NAME, data, file, **{**SMALL, "img_size": 64}).model
    assert model.pos_embed.shape == (1, 1 + 8 * 8, 24)
    prefix, grid = model.pos_embed[:, :1], model.pos_embed[:, 1:]
    torch.testing.assert_close(prefix, saved.pos_embed[:, :1])
    # Resampling keeps the mean, up to the borders.
    torch.testing.assert_close(grid.mean(1), saved.pos_embed[:, 1:].mean(1), atol=0.05, rtol=0)
    assert torch.equal(model.blocks[0].mlp.fc1.weight, saved.blocks[0].mlp.fc1.weight)


def test_a_file_gives_the_model_that_the_download_gives(data, file, monkeypatch):
    """Bit by bit, the new classifier too."""
    one = create_model(NAME, data, file, seed=3, **SMALL).state_dict()
    monkeypatch.setattr(
        "timm.models._builder.load_state_dict_from_hf", lambda *args, **options: load_file(file)
    )
    two = create_model(NAME, data, True, seed=3, **SMALL).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in two)


def test_the_classifier_of_a_file_with_as_many_classes_is_kept(data, tmp_path):
    """Though timm's own weights of the model are for a thousand."""
    source = timm.create_model(NAME, num_classes=data.n_classes, **SMALL)
    save_for_hf(source, tmp_path, safe_serialization=True)
    model = create_model(NAME, data, tmp_path / "model.safetensors", **SMALL).model
    assert torch.equal(model.head.weight, source.head.weight)


def test_a_file_without_a_classifier_gets_a_new_one(data, tmp_path, saved):
    weights = {name: values for name, values in saved.state_dict().items() if not name.startswith("head.")}
    save_file(weights, file := tmp_path / "model.safetensors")
    model = create_model(NAME, data, file, **SMALL).model
    assert torch.equal(model.cls_token, saved.cls_token)
    assert model.head.weight.shape == (6, 24)


def test_a_link_to_a_file_as_in_the_hubs_cache_is_followed(data, tmp_path, file):
    blob = tmp_path / "blob"
    blob.write_bytes(file.read_bytes())
    (link := tmp_path / "model.safetensors").symlink_to(blob)
    assert describe_model(create_model(NAME, data, link, **SMALL))["pretrained"] is True


def without(*names):
    return lambda weights: {name: values for name, values in weights.items() if name not in names}


@pytest.mark.parametrize("n_classes", [10, 6])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (without("blocks.0.norm1.bias"), r"Missing key\(s\).* \"blocks.0.norm1.bias\""),
        (
            lambda weights: {**weights, "blocks.1.norm1.bias": torch.zeros(24)},
            r"Unexpected key.*blocks.1.norm1",
        ),
        (lambda weights: {**weights, "norm.bias": torch.zeros(25)}, "size mismatch for norm.bias"),
        (lambda weights: {}, "Missing key"),
    ],
)
def test_weights_that_do_not_fit_the_model_are_refused(data, tmp_path, saved, changed, message, n_classes):
    save_file(changed(saved.state_dict()), file := tmp_path / "model.safetensors")
    shape = type("Shape", (), {"image_shape": data.image_shape, "n_classes": n_classes})
    with pytest.raises(ValueError, match=rf"model.safetensors cannot be loaded into {NAME} with .*{message}"):
        create_model(NAME, shape, file, **SMALL)


def test_what_timm_never_minds_is_refused_too(data, tmp_path):
    """timm loads a DLA that lacks weights without a word, whatever the number of classes."""
    weights = without("level0.0.weight")(timm.create_model("dla46_c").state_dict())
    save_file(weights, file := tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"dla46_c: it must hold .* no values for level0.0.weight"):
        create_model("dla46_c", data, file)


def test_another_models_weights_are_refused(data, file):
    with pytest.raises(
        ValueError, match=r"cannot be loaded into test_resnet: it must hold the weights of that"
    ):
        create_model("test_resnet", data, file)


def test_a_file_that_is_none_of_safetensors_is_named(data, tmp_path, file):
    for name in ("model.pth", "model.safetensors.bin", "MODEL.SAFETENSORS", ""):
        with pytest.raises(ValueError, match=f"are a file in safetensors, .*given '{name}'"):
            create_model(NAME, data, name, **SMALL)
    with pytest.raises(ValueError, match="there is no file none.safetensors"):
        create_model(NAME, data, "none.safetensors", **SMALL)
    (folder := tmp_path / "folder.safetensors").mkdir()
    os.mkfifo(pipe := tmp_path / "pipe.safetensors")
    for place in (folder, pipe):
        with pytest.raises(ValueError, match=f"{place.name} is no regular file"):
            create_model(NAME, data, place, **SMALL)
    damaged = tmp_path / "damaged.safetensors"
    for content in (b"", b"PK\x03\x04 a pickle by another name", file.read_bytes()[:-1]):
        damaged.write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged.safetensors is damaged, or not in safetensors"):
            create_model(NAME, data, damaged, **SMALL)


def test_the_papers_cnn_has_no_file_of_weights(data, file):
    with pytest.raises(ValueError, match="no pretrained weights"):
        create_model("cnn", data, file)


def test_options_that_read_files_stay_refused(data, file):
    with pytest.raises(ValueError, match="pretrained_cfg_overlay are not accepted"):
        create_model(NAME, data, file, pretrained_cfg_overlay={"file": "other"})


def test_a_run_needs_the_file_no_more(data, config, file, tmp_path):
    (copy := tmp_path / "model.safetensors").write_bytes(file.read_bytes())
    model = create_model(NAME, data, copy, **SMALL)
    run = Run.create(tmp_path / "run", config(epochs=1), model, data)
    copy.unlink()
    list(train(model, data, config(epochs=1), run=run))
    opened = open_run(run.path)
    described = opened.description["model"]
    assert described["pretrained"] is True
    assert described["weights"] == hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    assert str(tmp_path) not in json.dumps(opened.description)
    loaded = opened.load_model().state_dict()
    assert all(torch.equal(weights, loaded[name]) for name, weights in model.state_dict().items())


def planned(path, config, data, file):
    return Sweep.of(path, {"seed": [0, 1]}, config, data, _described(NAME, file, SMALL), "last")


def test_the_trainings_of_a_sweep_begin_with_the_files_weights(config, saved, file, tmp_path):
    data = load_data("shapes", 12, 6)
    sweep = planned(tmp_path / "s", config(epochs=1), data, file)
    sweep.write(data)
    cell = (read := Sweep.read(sweep.path)).cells[1]
    train_to_end(read, read.folder(cell), cell.config, None, data)
    run = open_run(read.folder(cell))
    assert torch.equal(run.model_at(0).model.cls_token, saved.cls_token)
    assert run.description["model"]["weights"] == read.model["weights"]


def test_a_sweep_goes_on_with_the_same_weights_wherever_they_lie(data, config, saved, file, tmp_path):
    first = planned(tmp_path / "s", config(), data, file)
    (moved := tmp_path / "moved.safetensors").write_bytes(file.read_bytes())
    assert first.extended(planned(first.path, config(), data, moved)).model["file"] == str(moved)
    save_file({**saved.state_dict(), "cls_token": torch.ones(1, 1, 24)}, moved)
    for other in (moved, True, False):
        with pytest.raises(RunError, match="holds another sweep .*model"):
            first.extended(planned(first.path, config(), data, other))
    with pytest.raises(RunError, match=r"moved.safetensors holds other pretrained weights than the sweep"):
        new_model({**first.model, "file": str(moved)}, None, data, 0)


@pytest.fixture
def call():
    return lambda *arguments: CliRunner().invoke(main, [str(a) for a in arguments])


def test_a_training_of_the_command_line_begins_with_the_files_weights(call, saved, file, tmp_path):
    options = [f"--model-option={name}={value}" for name, value in SMALL.items()]
    sized = ["--data", "shapes", "--train-images", 12, "--test-images", 6]
    command = ["train", tmp_path / "a", "--model", NAME, *options, *sized, "--device", "cpu", "--epochs", 1]
    result = call(*command, "--weights", file)
    assert result.exit_code == 0, result.output
    run = open_run(tmp_path / "a")
    assert torch.equal(run.model_at(0).model.cls_token, saved.cls_token)
    again = call("train", run.path, "--resume", "--weights", file)
    assert "is finished" in again.stderr
    (other := tmp_path / "other.safetensors").write_bytes(b"other")
    for given, told in ((["--weights", other], "weights '"), (["--pretrained"], "pretrained False ≠ True")):
        refused = call("train", run.path, "--resume", *given)
        assert refused.exit_code == 2
        assert told in refused.stderr


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_weights_are_of_a_file_or_downloaded_not_both(call, file, tmp_path, command):
    result = call(command, tmp_path / "a", "--model", NAME, "--pretrained", "--weights", file)
    assert result.exit_code == 2
    assert "give --pretrained or --weights, not both" in " ".join(result.stderr.split())
