"""On the workers of a scheduler that is there already: the commands, the page and notebooks."""

import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from click.testing import CliRunner
from waiting import in_a_thread, until
from workers import ThreadWorkers

pytest.importorskip("distributed")

from distributed import LocalCluster

from smoot_explore import EpochRecord, Run, create_model, load_data, masking_curves, open_run, train
from smoot_explore.cli import training as command
from smoot_explore.cli.commands import main
from smoot_explore.engine import cluster
from smoot_explore.engine.cluster import Scheduler, close_workers, start_workers
from smoot_explore.engine.recipe import OnDisk, Recipe
from smoot_explore.engine.trainings import Training

SMALL = ["--data", "shapes", "--train-images", "60", "--test-images", "24", "--batch-size", "25"]
SAME = ["--device", "cpu", "--precision", "float32", "--epochs", "2"]
PATIENCE = 60


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def client():
    client = start_workers(1, threads=1)
    yield client
    close_workers(client)


@pytest.fixture(scope="module")
def address(client, tmp_path_factory):
    """Options that name the scheduler, with its TLS files."""
    folder, options = tmp_path_factory.mktemp("tls"), ["--scheduler", client.scheduler.address]
    for name, part in (("ca", "ca_file"), ("cert", "client_cert"), ("key", "client_key")):
        (folder / name).write_text(getattr(client.security, f"tls_{part}"))
        options += [f"--tls-{name}", folder / name]
    return options


@pytest.fixture
def thread(monkeypatch):
    """A thread of this process in the place of a scheduler's worker; options that name it."""
    monkeypatch.setattr(command, "DaskWorkers", lambda connect: ThreadWorkers())
    return ["--scheduler", "tls://nobody:1"]


def same_run(found, expected):
    assert (found.epochs, found.finished) == (expected.epochs, expected.finished)
    for name in ("k", "delta", "probability", "train_loss", "test_accuracy"):
        np.testing.assert_array_equal(found.record()[name], expected.record()[name])


@pytest.fixture
def plain(data, config, tmp_path):
    """What a command makes with `SMALL` and `SAME`, in a thread of its own as a worker has."""

    def made(epochs=2):
        asked, model = config(epochs=epochs), create_model("cnn", data)
        run = Run.create(tmp_path / "plain", asked, model, data)
        in_a_thread(lambda: list(train(model, data, asked, run=run)))()
        return open_run(run.path)

    return made


def test_a_run_trained_by_a_worker_equals_one_trained_here_and_goes_on(address, plain, tmp_path):
    first = call("train", tmp_path / "a", *SMALL, *SAME, *address)
    assert first.exit_code == 0, first.output
    lines = first.stdout.splitlines()
    assert [" ".join(line.split()[:3]) for line in lines[:2]] == ["smoot epoch 1/2", "smoot epoch 2/2"]
    assert not open_run(tmp_path / "a").record().accuracy_drop.isnull().all()
    again = call("train", tmp_path / "a", "--resume", "--epochs", 3, "--json", *address)
    (row,) = json.loads(again.stdout)["runs"]
    assert row["epochs"] == 3
    same_run(open_run(tmp_path / "a"), plain(epochs=3))


def test_curves_by_workers_are_those_measured_here(address, plain):
    run = plain()
    options = [run.path, "--levels", 3, "--fill", "remaining", "--json"]
    result = call("curves", *options, "--name", "there", *address)
    assert result.exit_code == 0, result.output
    test = load_data("shapes", 60, 24).test
    expected = in_a_thread(
        lambda: masking_curves(run.load_model(), test, 3, fill=["remaining"], attribution=["gradient"])
    )()
    found = open_run(run.path).curves("there")
    xr.testing.assert_identical(found.drop_attrs(), expected.drop_attrs())


def test_a_notebook_s_training_by_a_worker_leaves_the_plain_one_s_weights_in_the_kernel(client, data, config):
    notebook = pytest.importorskip("smoot_explore.notebook")
    model, plainly = create_model("cnn", data), create_model("cnn", data)
    records = notebook.LiveTraining(model, data, config(), client=client).start().result()
    expected = in_a_thread(lambda: list(train(plainly, data, config())))()
    np.testing.assert_array_equal([record.k for record in records], [record.k for record in expected])
    for mine, other in zip(model.parameters(), plainly.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert client.status == "running"


def test_an_interrupt_stops_the_worker_and_keeps_the_epochs(thread, plain, tmp_path, monkeypatch):
    line, seen = command._epoch_line, []

    def interrupted(config, record):
        seen.append(record.epoch)
        if record.epoch == 2:
            raise KeyboardInterrupt
        return line(config, record)

    monkeypatch.setattr(command, "_epoch_line", interrupted)
    result = call("train", tmp_path / "a", *SMALL, *SAME, "--epochs", 1000, *thread)
    assert result.exit_code == 130
    stopped = open_run(tmp_path / "a")
    assert 2 <= stopped.epochs < 1000
    assert f"stopped with {stopped.epochs} epochs kept. Go on with: smoot-explore train" in result.stderr
    assert call("train", tmp_path / "a", "--resume", "--epochs", stopped.epochs + 1, *thread).exit_code == 0
    found = open_run(tmp_path / "a")
    expected = plain(epochs=found.epochs)
    np.testing.assert_array_equal(found.record().k, expected.record().k)


class LosingWorkers(ThreadWorkers):
    """Loses the worker of a training with its first epoch."""

    def listen(self, heard, failed, gone):
        lost = []

        def told(name, attempt, report):
            heard(name, attempt, report)
            if isinstance(report, EpochRecord) and not lost:
                lost.append(attempt)
                self.lose(SimpleNamespace(name=name, worker=attempt))

        super().listen(told, failed, gone)


def test_a_worker_that_is_lost_is_told_of_and_nothing_else_changes(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "DaskWorkers", lambda connect: LosingWorkers())
    result = call("train", tmp_path / "a", *SMALL, *SAME, "--scheduler", "tls://nobody:1")
    assert result.exit_code == 0, result.output
    assert "its worker was lost; another goes on after epoch 1" in result.stderr
    same_run(open_run(tmp_path / "a"), plain())


def test_a_training_that_fails_there_fails_here(thread, tmp_path):
    options = [*SMALL, *SAME, "--optimizer", "sgd", "--learning-rate", "1e30"]
    result = call("train", tmp_path / "a", *options, *thread)
    assert result.exit_code == 1
    assert "not finite" in result.output


def test_a_worker_that_does_not_see_the_run_says_so(tmp_path, config):
    with pytest.raises(FileNotFoundError, match="does not see the folder .*; name a folder that all workers"):
        OnDisk(tmp_path / "elsewhere").prepare(config())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "a", "--tls-ca", "ca.pem"], "TLS files are for a scheduler"),
        (["curves", "a", "--scheduler", "tls://x:1", "--tls-ca", "ca.pem"], "name the cert and the key too"),
        (["serve", "--scheduler", "tls://x:1", "--max-trainings", "2"], "has workers of its own"),
    ],
)
def test_wrong_options_are_named(arguments, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == 2
    assert told in " ".join(result.output.split())


def test_torchrun_and_a_scheduler_exclude_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "join_ranks", lambda: type("", (), {"rank": 0, "count": 2}))
    result = call("train", tmp_path / "a", *SMALL, "--scheduler", "tls://x:1")
    assert (result.exit_code, (tmp_path / "a").exists()) == (2, False)
    assert "torchrun trains in its own processes" in result.output


def test_an_encrypted_scheduler_asks_for_its_files():
    with pytest.raises(ValueError, match="is encrypted; give --tls-ca, --tls-cert and --tls-key"):
        Scheduler("tls://lab:8786").connect()


# The page


def test_a_server_whose_scheduler_does_not_answer_does_not_start(monkeypatch):
    server = pytest.importorskip("smoot_explore.explorer.server")
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 0.2)
    settings = server.ServerSettings(scheduler=Scheduler("tcp://127.0.0.1:1"))
    with pytest.raises(OSError, match="the scheduler at tcp://127.0.0.1:1 does not answer"):
        server.create_server(settings, port=0)


def test_runs_of_a_page_lie_in_the_folder_that_the_operator_names_until_it_is_closed(tmp_path, monkeypatch):
    train_tab = pytest.importorskip("smoot_explore.explorer.state.train")
    (tmp_path / "shared").mkdir()
    monkeypatch.chdir(tmp_path)
    settings = train_tab.ServerSettings(work="shared")
    state = train_tab.TrainState(settings, train_tab.Engine(ThreadWorkers()))
    state.start()
    assert state.training.recipe.path.is_absolute()
    assert state.training.recipe.path.parent.parent == tmp_path / "shared"
    state.close()
    until(lambda: list((tmp_path / "shared").iterdir()) == [])


def threads_as_workers(port=0):
    return LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://", host="127.0.0.1", scheduler_port=port,
        dashboard_address=None, silence_logs=logging.CRITICAL,
    )  # fmt: skip


def test_trainings_of_a_lost_scheduler_say_so_and_the_next_one_finds_it_again(config, tmp_path):
    host_of = pytest.importorskip("smoot_explore.explorer.host")
    scheduler = threads_as_workers()
    address = scheduler.scheduler_address
    host = host_of.Host(host_of.ServerSettings(scheduler=Scheduler(address)))
    engine = host.trainings
    made = []

    def begun(epochs):
        recipe = Recipe(tmp_path / str(len(made)), "shapes", 60, 24, "cnn")
        made.append(Training(engine, config(epochs=epochs), recipe))
        made[-1].start()
        return made[-1]

    try:
        running = [begun(10_000), begun(10_000)]
        until(lambda: all(training.step for training in running), PATIENCE)
        waiting = begun(10_000)
        assert (waiting.place, engine._workers.n) == (1, 2)
        scheduler.close()
        until(lambda: all(training.ended for training in made), PATIENCE)
        assert {training.status for training in made} == {"failed"}
        assert all("the connection to the workers is lost" in training.problem for training in made)
        until(lambda: engine._workers._client is None, PATIENCE)
        scheduler = threads_as_workers(int(address.rsplit(":", 1)[1]))
        again = begun(1)
        until(lambda: again.ended, PATIENCE)
        assert (again.status, again.problem) == ("finished", "")
    finally:
        host.close()
        scheduler.close()
