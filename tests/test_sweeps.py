"""Sweeps: grids, resuming, failures, and the data set over the swept settings; the oracles are trainings one by one."""

import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from distributed import Client, LocalCluster
from torch import nn
from waiting import in_a_thread, until

from smoot_explore import (
    ImageData,
    Run,
    RunError,
    TrainingConfig,
    create_model,
    drop_auc,
    list_runs,
    load_data,
    masking_curves,
    open_run,
    open_sweep,
    register_k_rule,
    sweep,
    train,
    validate,
)
from smoot_explore.cli.commands import main
from smoot_explore.engine.channel import Channel, JobEnded, JobStopped
from smoot_explore.engine.cluster import Scheduler, close_workers, start_workers
from smoot_explore.engine.recipe import Recipe
from smoot_explore.runs.checkpoint import read_tensors
from smoot_explore.runs.claim import claim_of, claimed
from smoot_explore.schema import start_config
from smoot_explore.sweeps.cell import (
    CellWork,
    UnseenFolderError,
    check_folder,
    measure_curves,
    train_to_end,
)
from smoot_explore.sweeps.grid import cells, checked_values
from smoot_explore.sweeps.manifest import Sweep
from smoot_explore.sweeps.sweep import _described, _Watched, gpus_of

EXACT = ("k", "delta", "probability", "correct", "train_loss", "kl", "train_accuracy", "test_accuracy")


def small(data, seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, data.n_classes))


def deadly(data, seed):
    """A model that ends its worker, as a lack of memory would, with one seed."""
    if seed == 1 and multiprocessing.parent_process() is not None:
        os._exit(1)
    return small(data, seed)


def wide(width):
    def made(data, seed):
        return nn.Sequential(nn.Flatten(), nn.Linear(width, data.n_classes))

    return made


def rising(k, change, labels, epoch, settings):
    return k + 1


@pytest.fixture(scope="module")
def client():
    client = start_workers(2, threads=1)
    yield client
    close_workers(client)


@pytest.fixture
def settings(config):
    return config(epochs=2, batch_size=25)


@pytest.fixture(scope="module")
def trained(client, data, tmp_path_factory):
    """A sweep of four small trainings, of which those with a far too large learning rate fail."""
    folder = tmp_path_factory.mktemp("sweeps") / "s"
    config = TrainingConfig(epochs=2, batch_size=25, device="cpu", precision="float32")
    over = {"learning_rate": [0.5, 3e38], "seed": [0, 1]}
    with pytest.warns(UserWarning, match=r"2 of 4 trainings failed(.|\n)*seed=1: the loss is not finite"):
        sweep(folder, config, over, data=data, model=small, client=client)
    return folder


def alone(path, data, config):
    """The same training by itself, with one thread."""
    model = small(data, config.seed)
    run = Run.create(path, config, model, data)
    in_a_thread(lambda: list(train(model, data, config, run=run)))()
    return run


def until_epoch(folder, data, last):
    """Ends a cell's training, as an order to stop does, once its run holds so many epochs."""

    def going():
        if open_run(folder, model=small(data, 0)).epochs >= last:
            raise JobStopped
        return True

    return going


def assert_same(one, two):
    mine, other = one.record(), two.record()
    for name in EXACT:
        np.testing.assert_array_equal(mine[name], other[name], err_msg=name)
    for name in ("model", "initial"):
        first, second = (read_tensors(run.path / f"{name}.safetensors") for run in (one, two))
        assert all(torch.equal(first[weights], second[weights]) for weights in first), name


# What is swept


def test_each_combination_is_a_cell_with_a_name_that_files_can_have():
    over = checked_values(
        TrainingConfig(), {"beta": np.array([0.5, 1.0]), "device": ["cuda:1"], "signed": [True, False]}
    )
    found = cells(TrainingConfig(alpha=3).to_dict(), over)
    assert [cell.name for cell in found] == [
        f"beta={beta},device=cuda%3A1,signed={signed}" for beta in ("0.5", "1") for signed in ("on", "off")
    ]
    assert {cell.config.alpha for cell in found} == {3}
    assert (found[2].config.beta, found[2].config.signed) == (1.0, True)


def test_values_that_differ_by_a_bit_have_names_of_their_own():
    values = [0.1, 0.1 + 2**-54, 1e-12, 12345678.9]
    assert len({cell.name for cell in cells(TrainingConfig().to_dict(), {"beta": [0.1, 0.1 + 2**-54]})}) == 2
    names = [cell.name for cell in cells(TrainingConfig().to_dict(), {"alpha": values})]
    assert [float(name.removeprefix("alpha=")) for name in names] == values


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ({"alhpa": [1]}, "unknown setting 'alhpa'; did you mean 'alpha'"),
        ({"alpha": [1, -2]}, "alpha does not take the value -2"),
        ({"epochs": [1.5]}, "epochs does not take the value 1.5"),
        ({"method": "sgt"}, r"method needs a list of values to go over, given 'sgt'; try \['sgt'\]"),
        ({"alpha": 3}, "alpha needs a list"),
        ({"alpha": []}, "alpha needs at least one value"),
        ({"alpha": [1, 1.0]}, "alpha is given the value 1.0 twice"),
        ({}, "a sweep needs a setting"),
        ({"k_min": [0.2, 0.9], "seed": [0]}, "k_min=0.9,seed=0: k_min=0.9 is above k_max=0.8"),
        ({"patch": [1, 7]}, "patch=7: "),
    ],
)
def test_a_wrong_value_is_named_before_anything_is_trained(data, tmp_path, over, told):
    with pytest.raises(ValueError, match=told):
        sweep(tmp_path / "s", TrainingConfig(device="cpu"), over, data=data)
    assert not (tmp_path / "s").exists()


def test_places_and_models_that_cannot_be_are_refused(data, tmp_path, settings):
    over = {"seed": [0]}
    with pytest.raises(ValueError, match="at least 1 worker, given 0"):
        sweep(tmp_path / "s", settings, over, data=data, workers=0)
    with pytest.raises(ValueError, match="client or workers"):
        sweep(tmp_path / "s", settings, over, data=data, workers=1, client=object())
    with pytest.raises(TypeError, match="model is a name or a function .* given Sequential"):
        sweep(tmp_path / "s", settings, over, data=data, model=nn.Sequential())
    for model in (lambda data, seed: None, small.__get__(3), partial(small, other=nn.ReLU()), wide(3)):
        with pytest.raises(
            TypeError, match="model must be a function with a name|arguments of a partial model"
        ):
            sweep(tmp_path / "s", settings, over, data=data, model=model)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    with pytest.raises(FileExistsError, match="holds no sweep"):
        sweep(tmp_path / "other", settings, over, data=data)


def test_without_dask_it_is_said_what_to_install(data, tmp_path, settings, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for asked in (lambda: sweep(tmp_path, settings, {"seed": [0]}, data=data), lambda: open_sweep(tmp_path)):
        with pytest.raises(ModuleNotFoundError, match=r'pip install "smoot-explore\[cluster\]"'):
            asked()


# Training


def test_cells_are_the_trainings_made_one_by_one(trained, data, tmp_path):
    for seed in (0, 1):
        config = TrainingConfig(
            epochs=2, batch_size=25, device="cpu", precision="float32", learning_rate=0.5, seed=seed
        )
        run = open_run(trained / f"learning_rate=0.5,seed={seed}", model=small(data, 0))
        assert_same(run, alone(tmp_path / str(seed), data, config))


def test_what_fails_is_told_and_left_out_and_tried_again(trained, client, data):
    found = open_sweep(trained)
    assert found.epochs_done.values.tolist() == [[2, 2], [0, 0]]
    assert found.problem.sel(learning_rate=0.5).values.tolist() == ["", ""]
    assert all("the loss is not finite" in text for text in found.problem.sel(learning_rate=3e38).values)
    journal = trained / "learning_rate=0.5,seed=0" / "journal.json"
    before = journal.stat().st_mtime_ns
    config = TrainingConfig.recorded(Sweep.read(trained).settings)
    told = []
    with pytest.warns(UserWarning, match="2 of 4 trainings failed"):
        sweep(
            trained, config, Sweep.read(trained).over, data=data, model=small, client=client,
            progress=lambda done, total: told.append((done, total)),
        )  # fmt: skip
    assert journal.stat().st_mtime_ns == before
    assert told[-1] == (4, 4)


def test_a_sweep_is_one_data_set_over_what_it_goes_over(trained, data):
    found = validate(open_sweep(trained))
    assert dict(found.k.sizes) == {"learning_rate": 2, "seed": 2, "epoch": 2, "image": 60}
    assert set(found.k.data.chunks[0] + found.k.data.chunks[1]) == {1}
    record = open_run(trained / "learning_rate=0.5,seed=1", model=small(data, 0)).record()
    cell = found.sel(learning_rate=0.5, seed=1)
    for name in (
        "k",
        "delta",
        "probability",
        "correct",
        "accuracy_drop",
        "train_loss",
        "test_accuracy",
        "label",
    ):
        np.testing.assert_array_equal(cell[name], record[name], err_msg=name)
        assert (cell[name].attrs["units"], cell[name].attrs["long_name"]) == tuple(
            record[name].attrs[n] for n in ("units", "long_name")
        )
    np.testing.assert_array_equal(cell.k_median, record.k.median("image"))
    drops = record.accuracy_drop[-1]
    assert cell.drop_auc.item() == pytest.approx(drops.integrate("masked_fraction").item())
    assert np.isnan(found.sel(learning_rate=3e38).k.values).all()
    assert str(cell.run.item()) == "learning_rate=0.5,seed=1"


def test_opening_a_sweep_reads_no_numbers_of_images(trained, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    for file in [*copy.rglob("record.nc"), *copy.rglob("epochs/*.npy")]:
        file.write_bytes(b"damaged")
    found = open_sweep(copy)
    for name in ("test_accuracy", "k_median"):
        np.testing.assert_array_equal(found[name], open_sweep(trained)[name])
    with pytest.raises(RunError, match="damaged"):
        found.k.sel(learning_rate=0.5).compute()


def test_values_and_epochs_may_be_added_and_are_what_they_would_have_been(client, data, tmp_path, config):
    first, all_at_once = tmp_path / "first", config(epochs=3)
    own = ImageData.from_arrays(
        *(part for half in (data.train, data.test) for part in (half.images, half.labels))
    )
    options = {"data": own, "model": small, "client": client}
    sweep(first, config(epochs=1), {"seed": [1]}, **options)
    found = sweep(first, all_at_once, {"seed": [0, 1]}, **options)
    assert found.epochs_done.values.tolist() == [3, 3]
    for seed in (0, 1):
        run = open_run(first / f"seed={seed}", model=small(own, 0), data=own)
        assert_same(run, alone(tmp_path / str(seed), own, config(epochs=3, seed=seed)))
    for other, told in (
        ({"config": config(epochs=2)}, "epochs 3 ≠ 2, fewer"),
        ({"config": config(epochs=3, alpha=3)}, "alpha 10.0 ≠ 3"),
        ({"over": {"seed": [0]}}, "seed without 1"),
        ({"over": {"seed": [0, 1], "beta": [0.5]}}, "over seed ≠ seed, beta"),
        ({"model": "cnn"}, "model {'maker'"),
        ({"data": data.hold_out(6)}, "other images"),
        ({"keep": "all"}, "keep 'last' ≠ 'all'"),
    ):
        asked = {"config": all_at_once, "over": {"seed": [0, 1]}, **options, **other}
        with pytest.raises(RunError, match=f"holds another sweep .*{told}"):
            sweep(first, **asked)


def test_epochs_are_not_added_under_a_schedule_that_goes_by_their_number(data, tmp_path, config):
    planned = [
        Sweep.of(tmp_path, {"seed": [0]}, config(schedule="cosine", epochs=n), data, {"name": "cnn"}, "last")
        for n in (2, 3)
    ]
    with pytest.raises(RunError, match="more epochs, which change a cosine schedule"):
        planned[0].extended(planned[1])


def test_another_width_or_another_normalisation_is_another_sweep(data, tmp_path, settings):
    def planned(mean=0.5, **options):
        named = load_data("shapes", 60, 24)
        own = replace(named, train=replace(named.train, mean=torch.full((3,), mean), std=torch.ones(3)))
        model = _described(partial(small, **options), False, {})
        return Sweep.of(tmp_path, {"seed": [0]}, settings, own, model, "last"), own

    first, own = planned(width=32)
    first.write(own)
    assert Sweep.read(tmp_path).load_data().mean.tolist() == [0.5] * 3
    assert first.extended(planned(width=32)[0]).model == {"maker": "test_sweeps:small(width=32)"}
    for other, told in (
        (planned(width=64), r"small\(width=32\)"),
        (planned(0.25, width=32), r"mean \[0.5, .* ≠"),
    ):
        with pytest.raises(RunError, match=told):
            first.extended(other[0])


def sweep_here(path, over, settings, data, model=small):
    """A sweep trained in a thread of this process."""
    planned = Sweep.of(path, over, settings, data, {"maker": "test_sweeps:small"}, "last")
    planned.write(data)
    for cell in planned.cells:
        in_a_thread(partial(train_to_end, planned, planned.folder(cell), cell.config, model, data))()
    return planned


def test_k_counts_patches_and_pixels_where_their_size_is_swept(data, tmp_path, config):
    found = validate(
        open_sweep(sweep_here(tmp_path / "a", {"seed": [0]}, config(epochs=1, patch=4), data).path)
    )
    record = open_run(tmp_path / "a" / "seed=0", model=small(data, 0)).record()
    assert (
        {found[name].attrs["units"] for name in ("k", "k_median")} == {record.k.attrs["units"]} == {"patches"}
    )
    assert found.attrs["n_pixels"] == record.attrs["n_pixels"] == 64
    found = validate(open_sweep(sweep_here(tmp_path / "b", {"patch": [1, 4]}, config(epochs=1), data).path))
    assert {found[name].attrs["units"] for name in ("k", "k_median")} == {"pixels"}
    assert found.attrs["n_pixels"] == 1024
    for patch in (1, 4):
        k = patch**2 * open_run(tmp_path / "b" / f"patch={patch}", model=small(data, 0)).record().k
        np.testing.assert_array_equal(found.k.sel(patch=patch), k)
        np.testing.assert_array_equal(found.k_median.sel(patch=patch), k.median("image"))


def test_a_stop_is_heard_after_each_step_and_in_the_last_accuracy_drop(data, tmp_path, config):
    planned = Sweep.of(tmp_path, {"seed": [0]}, config(), data, {"maker": "small"}, "last")
    settings, folder, asked = config(epochs=1, batch_size=1), tmp_path / "cell", []

    def until_the_drop():
        asked.append(open_run(folder).epochs)
        if asked.count(1) == 2:
            raise JobEnded
        return True

    def never():
        raise JobEnded

    with pytest.raises(JobEnded):
        in_a_thread(lambda: train_to_end(planned, folder, settings, small, data, until_the_drop))()
    assert asked.count(0) >= 59
    with pytest.raises(JobEnded):
        train_to_end(planned, folder, settings, small, data, never)
    assert not open_run(folder).finished
    train_to_end(planned, folder, settings, small, data)
    run = open_run(folder)
    assert run.finished
    assert run.has_accuracy_drop(1)


def test_curves_of_other_weights_are_not_those_of_the_sweep(data, tmp_path, config):
    planned = sweep_here(tmp_path / "s", {"seed": [0]}, config(epochs=1), data)
    (cell,) = planned.cells
    train_to_end(planned, planned.folder(cell), config(epochs=2), small, data)
    protocol = {"fill": ["black"], "attribution": "gradient", "levels": 5, "images": None}
    with pytest.raises(RunError, match="trained for 2 epochs and the sweep is of 1"):
        measure_curves(replace(planned, curves=protocol), cell, small, data)
    assert planned.areas(cell) is None


def test_own_rules_are_known_to_the_workers(client, data, tmp_path, config):
    register_k_rule("rising by one", rising, start=0.5)
    found = sweep(
        tmp_path / "s", config(), {"k_rule": ["rising by one"]}, data=data, model=small, client=client
    )
    assert found.k.isel(epoch=-1).values.tolist() == [[514.0] * 60]


def test_a_stopped_cell_shows_its_epochs_and_goes_on_with_the_numbers_it_would_have_had(
    data, tmp_path, settings
):
    planned = Sweep.of(tmp_path / "s", {"seed": [0]}, settings, data, {"maker": "small"}, "last")
    planned.write(data)
    (cell,) = planned.cells
    folder, halfway = planned.folder(cell), []

    def stopped_and_gone_on():
        with pytest.raises(JobStopped):
            train_to_end(planned, folder, settings, small, data, until_epoch(folder, data, 1))
        halfway.append(open_sweep(planned.path).load())
        train_to_end(planned, folder, settings, small, data)

    in_a_thread(stopped_and_gone_on)()
    run = open_run(folder, model=small(data, 0))
    assert_same(run, alone(tmp_path / "alone", data, settings))
    assert run.has_accuracy_drop(2)
    seen, record = halfway[0].sel(seed=0), run.record()
    assert seen.epochs_done == 1
    for name in ("k", "delta", "probability", "correct", "train_loss", "test_accuracy"):
        np.testing.assert_array_equal(seen[name][0], record[name][0], err_msg=name)
        assert np.isnan(seen[name][1]).all(), name


def test_a_cell_killed_before_its_last_accuracy_drop_measures_it_when_it_goes_on(data, tmp_path, settings):
    planned = Sweep.of(tmp_path, {"seed": [0]}, settings, data, {"maker": "small"}, "last")
    train_to_end(planned, tmp_path / "cell", settings, small, data)
    run = open_run(tmp_path / "cell", model=small(data, 0))
    expected = run.record().accuracy_drop[-1].values
    (run.path / "accuracy_drop" / "0002.npy").unlink()
    (run.path / "record.nc").unlink()
    journal = json.loads((run.path / "journal.json").read_text())
    (run.path / "journal.json").write_text(json.dumps({**journal, "finished": False}))
    with pytest.raises(JobStopped):
        train_to_end(planned, run.path, settings, small, data, until_epoch(run.path, data, 2))
    assert not run.has_accuracy_drop(2)
    train_to_end(planned, run.path, settings, small, data)
    again = open_run(run.path, model=small(data, 0))
    assert again.finished
    np.testing.assert_array_equal(again.record().accuracy_drop[-1], expected)


def test_a_stop_while_the_last_accuracy_drop_is_measured_leaves_it_to_the_next(data, tmp_path, settings):
    planned = Sweep.of(tmp_path, {"seed": [0]}, settings, data, {"maker": "x"}, "last")
    folder = tmp_path / "cell"
    with pytest.raises(JobStopped):
        train_to_end(planned, folder, settings, small, data, until_epoch(folder, data, 2))
    run = open_run(folder, model=small(data, 0))
    assert (run.epochs, run.finished, run.has_accuracy_drop(2)) == (2, False, False)
    train_to_end(planned, folder, settings, small, data)
    assert open_run(folder, model=small(data, 0)).has_accuracy_drop(2)


def test_a_folder_with_another_training_is_never_trained_on(client, data, tmp_path, config):
    Run.create(tmp_path / "s" / "seed=0", config(alpha=3), small(data, 0), data)
    planned = Sweep.of(tmp_path / "s", {"seed": [0]}, config(), data, {"maker": "x"}, "last")
    with pytest.raises(RunError, match=r"not the run of this cell \(alpha 3\S* ≠ 10"):
        train_to_end(planned, tmp_path / "s" / "seed=0", config(), small, data)


def test_a_claim_is_held_by_one_and_ends_with_it(tmp_path):
    file = tmp_path / "cell"
    order = []
    with claimed(file) as first:
        with claimed(file, lambda: False) as second:
            assert (first, second) == (True, False)

        def wait():
            with claimed(file) as mine:
                order.append(mine)

        waiting = in_a_thread(wait)
        order.append("released")
    waiting()
    assert order == ["released", True]


def test_a_worker_that_does_not_see_the_folder_is_refused(client, data, tmp_path, settings, monkeypatch):
    maker = {"maker": "test_sweeps:small"}
    planned = Sweep.of(tmp_path / "s", {"seed": [0]}, settings, data, maker, "last")
    planned.write(data)
    check_folder(str(planned.path), planned.identity)
    for path, identity in ((planned.path, "another"), (tmp_path / "nowhere", planned.identity)):
        with pytest.raises(UnseenFolderError, match="does not see the sweep .* all its workers share"):
            client.submit(check_folder, str(path), identity, pure=False).result()
    unseen = lambda path, identity, *others, **more: CellWork(path, "another", *others, **more)  # noqa: E731
    monkeypatch.setattr("smoot_explore.sweeps.sweep.CellWork", unseen)
    with pytest.raises(UnseenFolderError, match="does not see the sweep"):
        sweep(planned.path, settings, {"seed": [0, 1]}, data=data, model=small, client=client)


def test_two_processes_do_not_work_on_one_sweep(client, data, tmp_path, settings, monkeypatch):
    monkeypatch.setattr("smoot_explore.sweeps.sweep._WAIT_SECONDS", 0)
    planned = Sweep.of(tmp_path / "s", {"seed": [0]}, settings, data, {"maker": "x"}, "last")
    with (
        claimed(planned.claim),
        pytest.raises(RuntimeError, match="another process works on the sweep"),
    ):
        sweep(tmp_path / "s", settings, {"seed": [0]}, data=data, model=small, client=client)


def test_a_training_whose_worker_is_killed_goes_on_in_another(client, data, tmp_path, config, monkeypatch):
    killed, read, journal = [], [], Sweep.journal
    monkeypatch.setattr(Sweep, "journal", lambda self, cell: read.append(cell) or journal(self, cell))

    def kill(done, total):
        if done >= 2 and not killed:
            running = [worker for worker, keys in client.processing().items() if keys]
            killed.append(client.run(os.getpid, workers=running)[running[0]])
            os.kill(killed[0], signal.SIGKILL)

    long = config(epochs=40)
    found = sweep(tmp_path / "s", long, {"seed": [0]}, data=data, model=small, client=client, progress=kill)
    assert killed
    assert len(read) <= 3, "how far it is comes from the worker, not from the disk"
    assert found.epochs_done.values.tolist() == [40]
    assert_same(
        open_run(tmp_path / "s" / "seed=0", model=small(data, 0)), alone(tmp_path / "alone", data, long)
    )


def test_a_training_that_takes_its_workers_along_is_left_out_and_the_others_go_on(
    client, data, tmp_path, config
):
    over = {"seed": [1, 0, 2, 3, 4, 5]}
    with pytest.warns(
        UserWarning, match="1 of 6 trainings failed(.|\\n)*seed=1: its worker process was lost 3 times"
    ):
        found = sweep(tmp_path / "s", config(), over, data=data, model=deadly, client=client)
    assert found.epochs_done.values.tolist() == [0, 2, 2, 2, 2, 2]
    assert (found.problem != "").values.tolist() == [True] + [False] * 5


def is_free(run):
    with claimed(claim_of(run), lambda: False) as mine:
        return mine


def endless(data, seed):
    """A model whose making is stopped by the end of its worker alone."""
    if multiprocessing.parent_process() is not None:
        time.sleep(60)
    return small(data, seed)


def test_a_cell_that_does_not_obey_is_stopped_within_two_seconds_on_a_cluster_too(
    client, data, tmp_path, config
):
    run, stopped = tmp_path / "s" / "seed=0", []

    def stop(done, total):
        if claim_of(run).exists() and not is_free(run):
            stopped.append(time.monotonic())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(
            tmp_path / "s",
            config(),
            {"seed": [0, 1, 2, 3]},
            data=data,
            model=endless,
            client=client,
            progress=stop,
        )
    until(lambda: is_free(run))
    assert time.monotonic() - stopped[0] < 4, (
        "Dask alone would take 5 seconds, on a computer that is not busy"
    )
    until(lambda: len(client.scheduler_info()["workers"]) == 2)


def test_a_cell_whose_folder_somebody_else_trains_in_waits(data, tmp_path, settings):
    planned = Sweep.of(tmp_path / "s", {"seed": [0]}, settings, data, {"maker": "x"}, "last")
    planned.write(data)
    folder = planned.folder(planned.cells[0])
    waits = iter([True, True, False])
    channel = Channel(lambda report: None, lambda: next(waits))
    with claimed(Recipe(folder, "shapes", 60, 24, "cnn").claim), pytest.raises(JobEnded):
        CellWork(str(planned.path), planned.identity, "seed=0", small)(channel)
    assert next(waits, None) is None
    assert not folder.exists()


def test_a_cancelled_cell_stops_and_leaves_its_folder_to_the_next(client, data, tmp_path, config):
    class StopError(Exception):
        pass

    def stop(done, total):
        if done >= 1:
            raise StopError

    long = config(epochs=60)
    with pytest.raises(StopError):
        sweep(tmp_path / "s", long, {"seed": [0]}, data=data, model=small, client=client, progress=stop)
    assert is_free(tmp_path / "s" / "seed=0")
    run = open_run(tmp_path / "s" / "seed=0", model=small(data, 0))
    assert 1 <= run.epochs < 60


def test_a_sweep_that_loses_its_scheduler_says_so_and_no_training_has_failed(data, tmp_path, config):
    scheduler = LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", host="127.0.0.1",
        dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL,
    )  # fmt: skip
    with Client(scheduler, set_as_default=False) as client:

        def lose(done, total):
            if done:
                scheduler.close()

        with pytest.raises(RuntimeError, match="connection to the workers is lost.* The same call goes on"):
            sweep(
                tmp_path / "s",
                config(epochs=1000),
                {"seed": [0]},
                data=data,
                model=small,
                client=client,
                progress=lose,
            )
    assert (open_sweep(tmp_path / "s").problem == "").all()


@pytest.mark.parametrize(
    ("device", "gpus", "expected"), [("cpu", 2, 0), ("auto", 2, 2), ("cuda:1", 2, 2), ("auto", 0, 0)]
)
def test_a_computer_s_gpus_are_counted_where_they_are_used(monkeypatch, device, gpus, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    settings = TrainingConfig().to_dict()
    assert gpus_of(cells(settings, {"seed": [0], "device": ["cpu"]})) == 0
    assert gpus_of(cells(settings, {"seed": [0], "device": [device]})) == expected


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("sweep.json", None, "is not a sweep: it has no sweep.json"),
        ("sweep.json", "{", "sweep.json cannot be read"),
        ("sweep.json", "{}", "is not a sweep that this version"),
        ("sweep.json", '{"format": "smoot_explore sweep", "version": 1}', "damaged: sweep.json"),
        ("images.npy", "x", "images.npy cannot be read"),
    ],
)
def test_what_is_no_sweep_or_damaged_is_named(trained, tmp_path, file, content, told):
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    (copy / file).unlink()
    if content is not None:
        (copy / file).write_text(content)
    with pytest.raises(RunError, match=told):
        open_sweep(copy)


def test_masking_curves_are_measured_with_each_training_and_added_to_a_finished_sweep(
    client, data, tmp_path, settings
):
    asked = {"data": data, "model": small, "client": client}
    plain = sweep(tmp_path / "s", settings, {"seed": [0, 1]}, **asked)
    assert "curves_auc" not in plain
    journal = tmp_path / "s" / "seed=1" / "journal.json"
    before = journal.stat().st_mtime_ns
    found = validate(
        sweep(tmp_path / "s", settings, {"seed": [0, 1]}, **asked, curves=["mean", "black"], curve_images=10)
    )
    assert journal.stat().st_mtime_ns == before
    assert json.loads(found.attrs["curves"])["images"] == 10
    for seed in (0, 1):
        run = open_run(tmp_path / "s" / f"seed={seed}", model=small(data, 0))
        oracle = masking_curves(run.load_model().eval(), data.test[:10], 20, fill=["mean", "black"])
        np.testing.assert_allclose(found.curves_auc.sel(seed=seed), drop_auc(oracle), rtol=1e-4)
        np.testing.assert_array_equal(run.curves("sweep").correct, oracle.correct)
        assert not run.has_curves()  # the user's own
    assert len(list_runs(tmp_path / "s")) == 2
    again = sweep(tmp_path / "s", settings, {"seed": [0, 1, 2]}, **asked)
    assert again.curves_auc.sizes == {"seed": 3, "curve_fill": 2}
    assert np.isfinite(again.curves_auc).all()
    planned = Sweep.read(tmp_path / "s")
    assert all(planned.is_done(cell) for cell in planned.cells)
    other = planned.extended(replace(planned, curves={**planned.curves, "images": 11}))
    assert not any(other.is_done(cell) for cell in other.cells)
    for curves, images, told in (
        ("mean", 1, "a list of fills"),
        (["maen"], 1, "did you mean 'mean'"),
        (["mean"], 0, "at least 1 image"),
    ):
        with pytest.raises(ValueError, match=told):
            sweep(tmp_path / "s", settings, {"seed": [0]}, **asked, curves=curves, curve_images=images)


def test_curves_that_nobody_wants_any_more_end_and_are_measured_by_the_next(data, tmp_path, settings):
    planned = Sweep.of(
        tmp_path, {"seed": [0]}, settings, data, {"maker": "small"}, "last",
        {"fill": ["black", "mean"], "attribution": "gradient", "levels": 5, "images": None},
    )  # fmt: skip
    (cell,) = planned.cells
    train_to_end(planned, planned.folder(cell), settings, small, data)
    with pytest.raises(JobStopped):
        measure_curves(planned, cell, small, data, until_epoch(planned.folder(cell), data, 2))
    assert planned.areas(cell) is None
    measure_curves(planned, cell, small, data)
    assert len(planned.areas(cell)) == 2


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"over": {name: list(range(1000)) for name in "abcdef"}},
            "1,000,000,000,000,000,000 trainings",
        ),
        ({"over": {"alpha": [1.0], "epochs": [10**9]}}, "1 trainings with 1,000,000,000 epochs are more"),
        ({"over": {"epochs": ["many"]}}, "damaged: sweep.json, TypeError"),
    ],
)
def test_what_a_sweep_asks_for_is_counted_before_there_is_room_for_it(trained, tmp_path, changes, told):
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    (copy / "sweep.json").write_text(json.dumps(json.loads((copy / "sweep.json").read_text()) | changes))
    with pytest.raises(RunError, match=told):
        open_sweep(copy)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"n_train": 10**12}, "images.npy has the shape"),
        ({"image_shape": [1, 28]}, "damaged: sweep.json, IndexError"),
    ],
)
def test_data_that_a_sweep_does_not_have_are_not_made_room_for(trained, tmp_path, changes, told):
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    content = json.loads((copy / "sweep.json").read_text())
    content["data"] |= changes
    (copy / "sweep.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=told):
        open_sweep(copy)


def test_a_folder_of_images_may_be_given_as_a_path(tmp_path):
    nowhere = tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere;"):
        sweep(tmp_path / "s", TrainingConfig(epochs=1), {"seed": [0]}, data=nowhere)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"config": {"epochs": 1}}, "config is a TrainingConfig, such as .*given {'epochs': 1}"),
        ({"data": np.zeros(3)}, "data is an ImageData or the name of a data set, given ndarray"),
        ({"client": "tls://lab:8786"}, "client is a Client of Dask.*given 'tls://lab:8786'"),
    ],
)
def test_other_kinds_of_arguments_are_refused(data, tmp_path, settings, given, told):
    asked = {"config": settings, "over": {"seed": [0]}, "data": data, "model": small} | given
    with pytest.raises(TypeError, match=told):
        sweep(tmp_path / "s", **asked)


@pytest.mark.parametrize(
    ("file", "content", "done"),
    [
        ("journal.json", '{"epochs": [{"epoch": 1}], "finished": true}', 0),
        ("journal.json", '{"finished": true}', 0),
        ("journal.json", '{"epochs": 3, "finished": true}', 0),
        ("journal.json", '{"epochs": []}', 0),
        ("config.json", '{"format":', 2),
    ],
)
def test_a_damaged_cell_is_named_and_tried_again_and_the_others_are_there(
    trained, tmp_path, file, content, done
):
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    (copy / "learning_rate=0.5,seed=0" / file).write_text(content)
    found = open_sweep(copy)
    assert "is damaged" in str(found.problem.sel(learning_rate=0.5, seed=0).item())
    assert found.epochs_done.sel(learning_rate=0.5).values.tolist() == [done, 2]
    assert json.loads(found.attrs["probe"])["fill"] == "black"
    left = [cell.name for cell in _Watched(Sweep.read(copy)).left()]
    assert left[0] == "learning_rate=0.5,seed=0"
    assert len(left) == 3


def test_damaged_areas_are_measured_no_more_and_named(data, tmp_path, settings):
    curves = {"fill": ["black"], "attribution": "gradient", "levels": 5, "images": None}
    planned = Sweep.of(tmp_path / "s", {"seed": [0]}, settings, data, {"maker": "small"}, "last", curves)
    planned.write(data)
    (cell,) = planned.cells
    planned.keep_areas(cell, {"mean": 1.0})
    with pytest.raises(RunError, match="has no number for each fill; delete it"):
        planned.areas(cell)
    assert "no number for each fill" in open_sweep(planned.path).problem.item()


def test_a_cell_that_is_selected_has_its_own_settings(trained):
    found = open_sweep(trained)
    assert start_config(found.sel(learning_rate=0.5, seed=1))["seed"] == 1
    assert not {"learning_rate", "seed"} & start_config(found).keys()


# The command


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "a sweep needs values to go over"),
        (["--over", "alpha"], "'alpha' is not SETTING=A,B,…"),
        (["--over", "alpha=1,x"], "alpha is a number, given 'x'"),
        (["--over", "epochs=1.5"], "epochs is a whole number"),
        (["--over", "signed=maybe"], "signed is on or off"),
        (["--over", "alhpa=1"], "did you mean 'alpha'"),
        (["--over", "seed=1,2", "--seeds", "2"], "not both"),
        (["--tls-ca", "ca.pem", "--seeds", "1"], "TLS files are for a scheduler"),
        (["--scheduler", "tls://x:1", "--workers", "2", "--seeds", "1"], "has workers of its own"),
        (["--scheduler", "tls://x:1", "--tls-ca", "ca.pem", "--seeds", "1"], "cert and the key too"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, told):
    result = call(
        "sweep", tmp_path / "s", "--data", "shapes", "--train-images", 60, "--test-images", 24, *options
    )
    assert result.exit_code in (1, 2)
    assert told in result.output
    assert not (tmp_path / "s").exists()


def test_the_command_trains_on_a_scheduler_s_workers_and_prints_every_cell(client, tmp_path):
    address = ["--scheduler", client.scheduler.address]
    for name, part in (("ca", "ca_file"), ("cert", "client_cert"), ("key", "client_key")):
        (tmp_path / f"{name}.pem").write_text(getattr(client.security, f"tls_{part}"))
        address += [f"--tls-{name}", tmp_path / f"{name}.pem"]
    small_data = ["--data", "shapes", "--train-images", 60, "--test-images", 24, "--batch-size", 25]
    options = [*small_data, "--epochs", 1, "--device", "cpu", *address, "--seeds", 2]
    over = ["--over", "learning-rate=1,1e30"]
    result = CliRunner().invoke(main, [str(a) for a in ("sweep", tmp_path / "s", *options, *over, "--json")])
    assert result.exit_code == 1
    told = json.loads(result.stdout)["cells"]
    assert [(c["learning_rate"], c["seed"], c["epochs_done"]) for c in told] == [
        (1, 0, 1), (1, 1, 1), (1e30, 0, 0), (1e30, 1, 0),
    ]  # fmt: skip
    run = open_run(tmp_path / "s" / told[0]["run"])
    assert told[0]["test_accuracy"] == pytest.approx(run.record().test_accuracy.item())
    assert told[0]["k_median"] == pytest.approx(np.median(run.record().k))
    assert "not finite" in told[2]["problem"]
    assert told[3]["test_accuracy"] is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = call("sweep", tmp_path / "s", *options, *over)
    assert again.exit_code == 1
    assert "2 of 2" in again.stdout
    assert "0 of 2" in again.stdout
    assert "left out: learning_rate=1e+30,seed=1: the loss is not finite" in again.output
    assert torch.equal(
        *(create_model("cnn", run.load_data(), seed=0).dense2.weight, run.model_at(0).dense2.weight)
    )


def test_the_command_takes_a_model_of_ones_own_and_prints_areas_of_masking_curves(
    client, data, tmp_path, monkeypatch
):
    monkeypatch.setattr(Scheduler, "connect", lambda self: client)
    monkeypatch.setattr(client, "close", lambda: None)
    command = ["sweep", tmp_path / "s", "--data", "shapes", "--train-images", 60, "--test-images", 24, "--seeds", 2,
               "--batch-size", 25, "--epochs", 1, "--device", "cpu", "--scheduler", "tls://here:1",
               "--model", "test_sweeps:small", "--curves", "black,mean", "--curve-images", 12]  # fmt: skip
    result = call(*command)
    assert result.exit_code == 0, result.output
    assert "AUC with a fill: of the masking curves on 12 test images (gradient, signed)" in " ".join(
        result.output.split()
    )
    cells = json.loads(call(*command, "--json").stdout)["cells"]
    found = open_sweep(tmp_path / "s")
    assert [c["curves_auc_mean"] for c in cells] == found.curves_auc.sel(curve_fill="mean").values.tolist()
    assert json.loads(found.attrs["model"]) == {"maker": "test_sweeps:small"}
    wrong = call(*command[:-6], "--model", "test_sweeps:nothing")
    assert wrong.exit_code == 1
    assert "the model test_sweeps:nothing cannot be loaded" in wrong.output


def test_a_command_killed_three_times_at_random_equals_one_never_stopped(tmp_path, data):
    folder, seeds, epochs = tmp_path / "s", 2, 4
    options = ["--data", "shapes", "--train-images", "60", "--test-images", "24", "--batch-size", "25"]
    options += ["--epochs", str(epochs), "--seeds", str(seeds), "--device", "cpu", "--precision", "float32"]
    options += ["--model", "test_sweeps:small"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    command = [sys.executable, "-m", "smoot_explore.cli", "sweep", str(folder), *options, "--json"]

    def epochs_done():
        journals = [folder / f"seed={seed}" / "journal.json" for seed in range(seeds)]
        return sum(len(json.loads(file.read_text())["epochs"]) for file in journals if file.exists())

    random = np.random.default_rng()
    for workers in (2, 1, 1):  # each loads PyTorch, which is what takes the time
        goal = epochs_done() + random.integers(0, 3)
        started = subprocess.Popen(
            [*command, "--workers", str(workers)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda goal=goal, started=started: epochs_done() >= goal or started.poll() is not None, 120)
        time.sleep(random.uniform(0, 0.2))
        started.kill()
        started.wait()
    ended = subprocess.run(
        [*command, "--workers", "1"], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert [cell["epochs_done"] for cell in json.loads(ended.stdout)["cells"]] == [epochs] * seeds
    for seed in range(seeds):
        config = TrainingConfig(epochs=epochs, batch_size=25, device="cpu", precision="float32", seed=seed)
        run = open_run(folder / f"seed={seed}", model=small(data, 0))
        assert_same(run, alone(tmp_path / str(seed), data, config))
