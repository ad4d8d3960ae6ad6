"""What a user registers can be chosen wherever such things are chosen."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from smoot_explore import (
    Run,
    TrainingConfig,
    create_model,
    open_run,
    register_attribution,
    register_fill,
    register_k_rule,
    train,
)
from smoot_explore.cli.commands import main
from smoot_explore.core.choices import REGISTERED
from smoot_explore.engine.makers import load_makers
from smoot_explore.explorer.controls import control
from smoot_explore.explorer.state.compare import CompareState
from smoot_explore.explorer.state.image import ImageState
from smoot_explore.explorer.state.images import ImagesState
from smoot_explore.plugin import load_plugin

MODULE = """
from smoot_explore import register_attribution, register_fill, register_k_rule

register_fill("plugin-white", lambda images, mask, noise, black: images.amax((2, 3), keepdim=True))
register_k_rule("plugin-halving", lambda k, *rest: k / 2)
register_attribution("plugin_brightness", lambda model, images, labels, baseline: images)
"""
SMALL = [
    "--data",
    "shapes",
    "--train-images",
    "60",
    "--test-images",
    "24",
    "--device",
    "cpu",
    "--epochs",
    "1",
]


@pytest.fixture(autouse=True)
def as_before():
    """What a test registers is gone afterwards."""
    kept = {kind: dict(own) for kind, own in REGISTERED.items()}
    offered = {name: list(TrainingConfig.param[name].objects) for name in ("fill", "k_rule")}
    yield
    for kind, own in kept.items():
        REGISTERED[kind].clear()
        REGISTERED[kind].update(own)
    for name, objects in offered.items():
        TrainingConfig.param[name].objects = objects


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "lab_fills.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "lab_fills"
    sys.modules.pop("lab_fills", None)


@pytest.fixture
def call():
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_training_and_curves_from_a_terminal_take_what_a_plugin_registers(plugin, call, tmp_path):
    options = ["--fill", "plugin-white", "--k-rule", "plugin-halving"]
    unknown = call("train", tmp_path / "run", *SMALL, *options)
    assert unknown.exit_code == 2
    assert "'plugin-white' is not one of 'remaining'" in unknown.output
    trained = call("--plugin", plugin, "train", tmp_path / "run", *SMALL, *options)
    assert trained.exit_code == 0, trained.output
    run = open_run(tmp_path / "run")
    assert (run.config.fill, run.config.k_rule) == ("plugin-white", "plugin-halving")
    assert (run.record().k == 256).all()
    measured = call(
        "curves", run.path, "--levels", 2, "--fill", "plugin-white", "--attribution", "plugin_brightness"
    )
    assert measured.exit_code == 0, measured.output
    assert run.curves().attribution.item() == "plugin_brightness"


def test_help_lists_what_a_plugin_registers(plugin, call):
    assert "plugin-" not in call("train", "--help").output
    text = call("--plugin", plugin, "train", "--help").output
    assert "plugin-white" in text
    assert "plugin-halving" in text
    assert "plugin_brightness" in call("curves", "--help").output


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lab_fulls", "the module lab_fulls cannot be loaded .*No module named 'lab_fulls'.*PYTHONPATH"),
        ("./lab_fills.py", r"package\.module, given '\./lab_fills\.py'"),
        ("", "package.module, given ''"),
    ],
)
def test_a_plugin_that_is_no_module_is_refused(call, name, message):
    with pytest.raises(ValueError, match=message):
        load_plugin(name)
    result = call("--plugin", name, "compare", ".")
    assert result.exit_code == 2
    assert "Invalid value for '--plugin'" in result.output


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("lab_name", "its code raises NameError: name 'lab_name' is not defined"),
        ("raise RuntimeError('no\\nlicence')", "its code raises RuntimeError: no licence"),
        ("def", "its code raises SyntaxError: invalid syntax"),
        ("import lab_nothing", "No module named 'lab_nothing'"),
    ],
)
def test_a_plugin_whose_code_fails_is_told_in_one_line(call, tmp_path, monkeypatch, code, message):
    (tmp_path / "lab_broken.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=f"^the module lab_broken cannot be loaded.*{message}"):
        load_plugin("lab_broken")
    with pytest.raises(
        ValueError, match=r"^the model lab_broken:make cannot be loaded: the module lab_broken"
    ):
        load_makers(["lab_broken:make"])
    assert call("--plugin", "lab_broken", "compare", ".").exit_code == 2


def test_where_an_own_rule_of_k_begins_is_on_record_for_whoever_lacks_the_rule(tmp_path, data, config):
    register_k_rule("plugin-late", lambda k, *rest: k, start=0.25)
    model = create_model("cnn", data)
    run = Run.create(tmp_path / "run", config(k_rule="plugin-late"), model, data)
    plain = Run.create(tmp_path / "plain", config(), model, data)
    assert "k_start" not in plain.start_config
    list(train(model, data, run.config, run=run))
    opened = open_run(run.path)
    assert opened.start_config["k_start"] == 0.25
    assert json.loads(opened.record().attrs["config"])["start"]["k_start"] == 0.25
    assert opened.config == run.config


def test_the_pages_that_are_made_later_offer_what_was_registered():
    earlier = CompareState()
    fills, attributions = (list(getattr(earlier.param, name).objects) for name in ("fill", "attribution"))
    register_fill("page-white", lambda images, mask, noise, black: images.amax((2, 3), keepdim=True))
    register_attribution("page_brightness", lambda model, images, labels, baseline: images)
    for state in (ImageState(), ImagesState(), CompareState()):
        assert list(control(state, "fill").options) == [*fills, "page-white"]
        assert list(control(state, "attribution").options) == [*attributions, "page_brightness"]
        state.param.update(fill="page-white", attribution="page_brightness")
    assert "page-white" in control(TrainingConfig(), "fill").options
    assert state.snapshot().fill == "page-white"
    assert "page-white" not in earlier.param.fill.objects


def test_the_names_are_known_without_pytorch():
    code = (
        "import sys; from smoot_explore.cli.commands import main; from click.testing import CliRunner;"
        "text = CliRunner().invoke(main, ['curves', '--help']).output;"
        "assert 'grad_cam' in text and 'blur' in text, text; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
