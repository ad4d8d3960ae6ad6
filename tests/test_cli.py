import contextlib
import errno
import importlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from smoot_explore import Run, TrainingConfig, accuracy, create_model, load_data, open_run, train
from smoot_explore.cli import training
from smoot_explore.cli.commands import main
from smoot_explore.cli.terminal import heeded_interrupts
from smoot_explore.core.config import setting_names
from smoot_explore.engine.recipe import OnDisk
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.runs.claim import claimed

SMALL = ["--data", "shapes", "--train-images", "60", "--test-images", "24", "--device", "cpu"]


@pytest.fixture
def call():
    return lambda *arguments: CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two small runs, one of them with curves."""
    folder = tmp_path_factory.mktemp("runs")
    for method in ("sgt", "smoot"):
        run = str(folder / method)
        result = CliRunner().invoke(
            main, ["train", run, *SMALL, "--method", method, "--epochs", "2", "--json"]
        )
        assert result.exit_code == 0, result.output
    curves = ["curves", str(folder / "smoot"), "--levels", "2", "--fill", "mean", "--json"]
    assert CliRunner().invoke(main, curves).exit_code == 0
    return folder


def test_every_setting_is_an_option_with_its_default_and_its_text(call):
    text = " ".join(call("train", "--help").output.split())
    for name in setting_names():
        setting = TrainingConfig.param[name]
        assert f"--{name.replace('_', '-')}" in text
        assert setting.doc.split()[0] in text
        if not isinstance(setting.default, bool):
            assert f"default: {setting.default}" in text, name


def test_train_makes_a_run_and_prints_one_json_object(call, tmp_path):
    result = call("train", tmp_path / "a", *SMALL, "--epochs", 2, "--alpha", 50, "--no-signed", "--json")
    assert result.exit_code == 0
    (row,) = json.loads(result.stdout)["runs"]
    run = open_run(tmp_path / "a")
    assert (run.config.alpha, run.config.signed, run.epochs) == (50.0, False, 2)
    assert row["k_smallest"] < row["k_median"] < row["k_largest"]
    assert row["test_accuracy"] == pytest.approx(float(run.record().test_accuracy[-1]))


def test_a_run_trained_from_a_terminal_holds_the_accuracy_drop_and_goes_on_with_the_same_images(
    call, tmp_path
):
    assert call("train", tmp_path / "a", *SMALL, "--epochs", 1).exit_code == 0
    probe = open_run(tmp_path / "a").probe
    assert call("train", tmp_path / "a", "--resume", "--epochs", 2).exit_code == 0
    run = open_run(tmp_path / "a")
    assert run.probe == probe
    assert sorted(probe["image_ids"]) == list(range(24))
    assert not run.record().accuracy_drop.isnull().any()


def test_train_prints_a_line_for_each_epoch(call, tmp_path):
    lines = call("train", tmp_path / "a", *SMALL, "--epochs", 2).stdout.splitlines()
    assert [" ".join(line.split()[:3]) for line in lines[:2]] == ["smoot epoch 1/2", "smoot epoch 2/2"]


def test_a_run_that_somebody_trains_is_left_alone_and_the_command_keeps_others_out(
    call, tmp_path, monkeypatch
):
    run, line, free = tmp_path / "a", training._epoch_line, []

    def look(*arguments):
        with claimed(OnDisk(run).claim, lambda: False) as mine:
            free.append(mine)
        return line(*arguments)

    monkeypatch.setattr(training, "_epoch_line", look)
    assert call("train", run, *SMALL, "--epochs", 1).exit_code == 0
    assert call("train", run, "--resume", "--epochs", 2).exit_code == 0
    assert free == [False, False]
    with claimed(OnDisk(run).claim):
        refused = call("train", run, "--resume", "--epochs", 3)
    assert refused.exit_code == 1
    assert "another process trains in" in refused.output
    assert open_run(run).epochs == 2


def test_a_file_system_without_locks_does_for_a_command_with_a_warning(call, tmp_path, monkeypatch):
    def no_locks(*arguments):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    result = call("train", tmp_path / "a", *SMALL, "--epochs", 1)
    assert result.exit_code == 0
    assert "cannot be locked" in result.stderr


def test_resume_goes_on_with_the_runs_own_settings(call, tmp_path):
    assert call("train", tmp_path / "a", *SMALL, "--epochs", 1, "--alpha", 33).exit_code == 0
    assert call("train", tmp_path / "a", "--resume", "--epochs", 3).exit_code == 0
    run = open_run(tmp_path / "a")
    assert (run.epochs, run.config.alpha) == (3, 33.0)


def test_curves_are_kept_and_reported_with_their_protocol(trained):
    options = ["--levels", "2", "--fill", "mean", "--fill", "black", "--ranking", "magnitude"]
    options += ["--images", "10", "--name", "small", "--json"]
    result = CliRunner().invoke(main, ["curves", str(trained / "smoot"), *options])
    (row,) = json.loads(result.stdout)["runs"]
    protocols = [(a["fill"], a["attribution"], a["ranking"], a["test_images"]) for a in row["aucs"]]
    assert protocols == [("mean", "gradient", "magnitude", 10), ("black", "gradient", "magnitude", 10)]
    assert open_run(trained / "smoot").curves("small").sizes["image"] == 10


def test_compare_lists_a_folder_of_runs_and_says_which_it_left_out(trained):
    (trained / "notes").mkdir(exist_ok=True)
    result = CliRunner().invoke(main, ["compare", str(trained), "--json"])
    assert [row["run"] for row in json.loads(result.stdout)["runs"]] == ["sgt", "smoot"]
    assert "is not a run: it has no config.json" in " ".join(result.stderr.split())


def test_the_table_shows_every_number_on_a_narrow_terminal(trained, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    text = CliRunner().invoke(main, ["compare", str(trained)]).stdout
    rows = json.loads(CliRunner().invoke(main, ["compare", str(trained), "--json"]).stdout)["runs"]
    for row in rows:
        assert f"{row['test_accuracy']:.2f}" in text
        assert f"{row['k_median']:.0f}" in text
    assert f"{rows[1]['aucs'][0]['value']:.2f}" in text
    assert "…" not in text


def test_columns_measured_differently_are_told_apart(trained):
    options = [
        "--levels",
        "2",
        "--fill",
        "mean",
        "--ranking",
        "magnitude",
        "--images",
        "10",
        "--name",
        "test",
    ]
    assert CliRunner().invoke(main, ["curves", str(trained / "sgt"), *options]).exit_code == 0
    text = CliRunner().invoke(main, ["compare", str(trained)]).stdout
    heading = text.split("\n\n")[0]
    for part in ("signed", "magnitude", "10", "24"):
        assert part in heading


def test_one_command_starts_a_run_goes_on_with_it_and_does_nothing_when_it_is_finished(call, tmp_path):
    command = [
        "train",
        tmp_path / "a",
        *SMALL,
        "--resume",
        "--epochs",
        2,
        "--alpha",
        33,
        "--keep",
        2,
        "--json",
    ]
    first = call(*command)
    assert first.exit_code == 0, first.output
    straight = open_run(tmp_path / "a")
    assert (straight.epochs, straight.keep, straight.epochs_kept) == (2, 2, [0, 1, 2])
    again = call(*command)
    assert again.exit_code == 0
    assert again.stdout == first.stdout
    assert "a is finished: 2 epochs; a larger --epochs goes on" in again.stderr
    straight.branch(1, tmp_path / "b")
    command[1] = tmp_path / "b"  # one that was stopped after an epoch
    assert (
        json.loads(call(*command).stdout)["runs"][0]["k_median"]
        == json.loads(first.stdout)["runs"][0]["k_median"]
    )
    assert open_run(tmp_path / "b").finished


def test_held_out_images_are_tested_on_also_when_the_run_goes_on(call, tmp_path):
    command = ["train", tmp_path / "a", *SMALL, "--hold-out", 12, "--data-seed", 3, "--resume", "--epochs"]
    for epochs in (1, 2):
        result = call(*command, epochs)
        assert result.exit_code == 0, result.output
    run = open_run(tmp_path / "a")
    data = run.load_data()
    assert (run.epochs, len(data.train), len(data.test), data.validation) == (2, 48, 12, None)
    ids = [set(split.image_ids.tolist()) for split in (data.train, data.test)]
    assert ids[0] | ids[1] == set(range(60))
    assert accuracy(run.load_model(), data.test) == pytest.approx(float(run.record().test_accuracy[-1]))
    assert set(run.probe["image_ids"]) <= ids[1]


def test_a_run_stopped_early_is_finished_as_it_is_by_the_number_of_its_epochs(call, tmp_path):
    data = load_data("shapes", 60, 24)
    config, model = TrainingConfig(epochs=9, device="cpu"), create_model("cnn", data)
    run = Run.create(tmp_path / "a", config, model, data)
    for record in train(model, data, config, run=run):
        if record.epoch == 2:
            break
    stopped = open_run(run.path)
    assert not stopped.finished
    assert stopped.record().sizes["epoch"] == 2
    assert call("train", run.path, "--resume", "--epochs", 2).exit_code == 0
    ended = open_run(run.path)
    assert (ended.finished, ended.epochs) == (True, 2)
    assert "is finished: 2 epochs" in call("train", run.path, "--resume", "--epochs", 2).stderr
    assert ended.publish(tmp_path / "b").published


def test_a_finished_run_needs_no_data_model_or_rule_to_be_left_alone(call, trained, tmp_path):
    shutil.copytree(trained / "smoot", tmp_path / "a")
    described = json.loads((tmp_path / "a" / "config.json").read_text())
    described["config"]["k_rule"], described["data"]["name"] = "lost", "lost too"
    (tmp_path / "a" / "config.json").write_text(json.dumps(described))
    result = call("train", tmp_path / "a", "--resume")
    assert (result.exit_code, "is finished: 2 epochs" in result.stderr) == (0, True)


def test_a_run_whose_rule_is_not_registered_says_so_when_it_is_to_go_on(call, trained, tmp_path):
    shutil.copytree(trained / "smoot", tmp_path / "a")
    described = json.loads((tmp_path / "a" / "config.json").read_text())
    described["config"]["k_rule"] = "lost"
    (tmp_path / "a" / "config.json").write_text(json.dumps(described))
    result = call("train", tmp_path / "a", "--resume", "--epochs", 3)
    assert result.exit_code == 1
    assert "unknown rule of k 'lost'" in result.stderr
    assert "register_k_rule" in result.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--model", "test_vit", "--data", "shapes"], 2, "other options (model_name 'cnn' ≠ 'test_vit')"),
        (["--data", "mnist", "--train-images", "60"], 2, "other options (data_name 'shapes' ≠ 'mnist')"),
        (["--data", "./photos"], 2, "data_name 'shapes' ≠ '/"),
        (["--keep", "all"], 2, "keep 'last' ≠ 'all'"),
        (["--hold-out", "6"], 2, "hold_out None ≠ 6"),
        (["--model-option", "a=1"], 2, "model_options {} ≠ {'a': 1}"),
        (["--seed", "3"], 1, "other settings (seed 0 ≠ 3)"),
    ],
)
def test_resuming_refuses_options_other_than_the_runs_also_when_it_is_finished(
    call, trained, options, code, message
):
    result = call("train", trained / "sgt", "--resume", *options)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.split())


def test_runs_without_an_epoch_cannot_be_compared(call, tmp_path):
    data = load_data("shapes", 60, 24)
    Run.create(tmp_path / "new", TrainingConfig(), create_model("cnn", data), data)
    result = call("compare", tmp_path / "new", "--json")
    assert result.exit_code == 1
    assert "has no completed epoch" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["compare", "nowhere"], 1, "there is no folder nowhere"),
        (["curves", "nowhere"], 1, "there is no folder nowhere"),
        (["train", "x", "--data", "fashion-mnits"], 1, "did you mean 'fashion-mnist'"),
        (["train", "x", "--model", "resnet19"], 1, "unknown model 'resnet19'"),
        (["train", "x", "--k-min", "0.9"], 1, "k_min=0.9 is above k_max=0.8"),
        (["train", "x", "--device", "tpu"], 1, "device"),
        (["train", "x", "--alpha", "-1"], 2, "Invalid value for '--alpha'"),
        (["train", "x", "--method", "smot"], 2, "Invalid value for '--method'"),
        (["train", "x", "--model-option", "size"], 2, "'size' is not NAME=VALUE"),
        (["train", "x", *SMALL, "--keep", "some"], 1, "keep must be 'last', 'all', or how many"),
        (["train", "x", *SMALL, "--keep", "0"], 1, "given 0"),
        (["train", "x", *SMALL, "--hold-out", "60"], 1, "between 1 and 59, given 60 of 60"),
        (["train", "x", *SMALL, "--hold-out", "0"], 2, "Invalid value for '--hold-out'"),
        (["serve", "--origin", "*"], 1, "would let any website"),
        (["serve", "--address", "0.0.0.0"], 1, "say so with --network"),
        (["serve", "--data-folder", "nowhere"], 1, "the data folder nowhere is not there"),
        (["serve", "--max-trainings", "0"], 2, "Invalid value for '--max-trainings'"),
        (["serve", "--port", "70000"], 2, "Invalid value for '--port'"),
        (["train"], 2, "Missing argument 'RUN'"),
        (["tarin"], 2, "No such command 'tarin'"),
    ],
)
def test_what_goes_wrong_is_said_in_a_line_with_its_exit_code(
    call, tmp_path, monkeypatch, arguments, code, message
):
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_in_use_is_left_alone(call, trained):
    result = call("train", trained / "sgt", *SMALL)
    assert result.exit_code == 1
    assert "choose another folder, or resume" in " ".join(result.stderr.split())


def test_an_interrupted_training_keeps_its_epochs_and_says_how_to_go_on(tmp_path):
    command = [sys.executable, "-m", "smoot_explore.cli", "train", str(tmp_path / "a"), *SMALL]
    process = subprocess.Popen(
        [*command, "--epochs", "5000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()  # the first epoch is done
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in " ".join(errors.split())
    assert open_run(tmp_path / "a").epochs >= 1


SLOW_STEP = """
import sys, torch
from torch import nn
from smoot_explore.cli import main, training

class Slow(nn.Module):
    def __init__(self, data):
        super().__init__()
        self.layer = nn.Linear(data.n_pixels * data.image_shape[0], data.n_classes)

    def forward(self, images):
        matrix = torch.rand(N, N)
        print("a step", flush=True)
        torch.linalg.svd(matrix)
        return self.layer(images.flatten(1))

training.create_model = lambda name, data, *_, **__: Slow(data)
main()
"""


@pytest.mark.parametrize(("size", "presses"), [(300, 1), (6000, 2)])
def test_ctrl_c_in_a_slow_step_ends_with_130_and_a_second_one_at_once(tmp_path, size, presses):
    command = [
        sys.executable,
        "-c",
        SLOW_STEP.replace("N, N", f"{size}, {size}"),
        "train",
        str(tmp_path / "a"),
    ]
    process = subprocess.Popen(
        [*command, *SMALL, "--epochs", "5000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    for press in range(presses):
        time.sleep(0.2 + 0.5 * press)  # the step is computed by now
        process.send_signal(signal.SIGINT)
    pressed = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "terminate called" not in errors
    assert presses == 1 or time.monotonic() - pressed < 3  # the step itself takes longer


def test_an_interrupt_that_a_library_swallows_is_heeded_at_the_next_record():
    before = signal.getsignal(signal.SIGINT)
    with heeded_interrupts() as heed:
        heed()
        with contextlib.suppress(KeyboardInterrupt):  # as an extension that clears errors does
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            heed()
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_inside_an_import_waits_for_the_next_record(tmp_path, monkeypatch):
    (tmp_path / "pressed_while_imported.py").write_text("import signal; signal.raise_signal(signal.SIGINT)")
    monkeypatch.syspath_prepend(tmp_path)
    with heeded_interrupts() as heed:
        importlib.import_module("pressed_while_imported")
        with pytest.raises(KeyboardInterrupt):
            heed()


def test_a_model_of_ones_own_is_for_sweeps_and_python(call, tmp_path):
    result = call("train", tmp_path / "a", *SMALL, "--model", "mine:maker")
    assert result.exit_code == 2
    assert "train takes models by name, given 'mine:maker'; sweep --model takes" in " ".join(
        result.output.split()
    )
    assert not (tmp_path / "a").exists()


def test_the_demo_compares_the_three_methods_and_uses_finished_runs_again(call, tmp_path):
    arguments = [
        "demo",
        "--out",
        tmp_path,
        "--epochs",
        1,
        "--train-images",
        200,
        "--test-images",
        50,
        "--json",
    ]
    first = call(*arguments)
    assert first.exit_code == 0, first.output
    rows = json.loads(first.stdout)["runs"]
    assert [row["method"] for row in rows] == ["traditional", "sgt", "smoot"]
    assert {a["fill"] for a in rows[0]["aucs"]} == {"black", "mean", "remaining"}
    for name in ("accuracy_drop", "masking_curves", "k_trajectories", "saliency"):
        for kind in ("png", "svg"):
            assert (tmp_path / f"{name}.{kind}").stat().st_size > 1000
    written = (tmp_path / "smoot" / "model.safetensors").stat().st_mtime_ns
    assert json.loads(call(*arguments).stdout)["runs"] == rows
    assert (tmp_path / "smoot" / "model.safetensors").stat().st_mtime_ns == written
    initial = {
        json.loads((tmp_path / m / "config.json").read_text())["config"]["seed"] for m in ("sgt", "smoot")
    }
    assert initial == {0}


def test_serve_refuses_a_taken_port_and_names_a_free_one(call):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = call("serve", "--port", port)
    assert result.exit_code == 1
    assert re.search(rf"^Error: port {port} is taken by another program; try --port \d+", result.stderr)


def test_serve_passes_its_options_on(call, monkeypatch, tmp_path):
    served = []
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setattr("smoot_explore.explorer.server.check_can_serve", lambda *_: None)
    monkeypatch.setattr(
        "smoot_explore.explorer.server.serve", lambda settings, **o: served.append((settings, o))
    )
    assert call("serve", "--port", 5007).exit_code == 0
    assert served[0][1].pop("models") == {}
    options = [
        "--origin",
        "a.example",
        "--origin",
        "b.example",
        "--runs",
        tmp_path / "r",
        "--data-folder",
        tmp_path,
    ]
    options += [
        "--root",
        tmp_path,
        "--no-keep-runs",
        "--no-class",
        "--max-trainings",
        3,
        "--max-minutes",
        2,
        "--show",
    ]
    options += ["--max-queue", 7]
    assert (
        call("serve", *options, "--upload-megabytes", 1, "--address", "localhost", "--network").exit_code == 0
    )
    (plain, where), (settings, there) = served
    assert plain == ServerSettings()
    assert where == {
        "port": 5007, "address": "127.0.0.1", "origins": (), "network": False, "show": False, "unix_socket": None,
    }  # fmt: skip
    assert settings == ServerSettings(
        tmp_path / "r", (tmp_path,), tmp_path, False, 3, 2, 7, 1, class_tab=False
    )
    assert there["origins"] == ("a.example", "b.example")
    assert (there["address"], there["network"], there["show"]) == ("localhost", True, True)
