"""One training in several processes. Run by ``torchrun``, this file is what the processes do."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from waiting import in_a_thread

import smoot_explore
from smoot_explore import (
    EpochRecord,
    GuidedLoss,
    Run,
    TrainingConfig,
    TrainingError,
    create_model,
    load_data,
    open_run,
    probed,
    register_fill,
    train,
)
from smoot_explore.compute import ranks as ranks_module
from smoot_explore.compute.ranks import Ranks, own_gpu, split_sizes
from smoot_explore.core import training as training_module
from smoot_explore.core.meeting import Meeting
from smoot_explore.data.images import first_images
from smoot_explore.runs.checkpoint import read_tensors

EQUAL = {  # settings, training images, slice size: nothing is drawn, so that two processes equal one
    "smoot": ({}, 60, None),
    "traditional, three images left over": ({"method": "traditional"}, 59, None),
    "three images left over": ({"beta": 0.5}, 59, None),
    "one image left over": ({"k_rule": "magnitude"}, 57, None),
    "small slices": ({}, 59, 1),
    "harvested saliency": ({"saliency_pass": "harvested"}, 59, 3),
    "a pass of its own, weighted classes, limited gradient": (
        {"saliency_pass": "eval", "class_weights": "balanced", "gradient_limit": 0.1, "fill": "black"}, 59, None,
    ),
}  # fmt: skip
RUN = [
    "--data", "shapes", "--train-images", "200", "--test-images", "12", "--batch-size", "32", "--epochs", "4",
    "--device", "cpu", "--precision", "float32",
]  # fmt: skip
PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
(EXAMPLE,) = re.findall(r"```python together\n(.*?)```", PAGE.read_text(), re.DOTALL)


def settings(**given):
    defaults = {"epochs": 3, "batch_size": 14, "alpha": 50.0, "fill": "mean", "optimizer": "sgd"}
    return TrainingConfig(
        **{**defaults, "learning_rate": 0.05, "device": "cpu", "precision": "float32", **given}
    )


def small_model():
    torch.manual_seed(2)
    return nn.Sequential(nn.Conv2d(3, 4, 5, stride=3), nn.Tanh(), nn.Flatten(), nn.Linear(400, 6))


def weights_of(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def result(model, record):
    losses = [record.train_loss, record.cross_entropy, record.kl, record.train_accuracy, record.test_accuracy]
    per_image = {n: torch.tensor(getattr(record, n)) for n in ("k", "delta", "probability", "correct")}
    return {"weights": weights_of(model), "losses": torch.tensor(losses), **per_image}


def trained(given, n_images, slice_size):
    """What a training without chance gives, alone or together."""
    data = load_data("shapes", train=60, test=25)
    data = replace(data, train=first_images(data.train, n_images))
    model = small_model()
    with pytest.MonkeyPatch.context() as patch:
        if slice_size is not None:
            patch.setattr(training_module, "_slice_size", lambda *_: slice_size)
        *_, record = train(model, data, settings(**given))
    return result(model, record)


def trained_under_a_slider(rank):
    """Live values move after the second step; those of other processes than the first do not count."""
    data, model, config = load_data("shapes", train=60, test=24), small_model(), settings(epochs=1)
    changes = []
    for record in train(model, data, config, every=2):
        changes += [(change.step, change.name, change.new) for change in record.changes]
        config.beta = 0.3 if rank == 0 else 0.99
        config.learning_rate = 0.02 if rank == 0 else 7.0
    return {**result(model, record), "changes": changes}


def kept_runs(folder, rank):
    """A run of the paper's CNN, whole, and one that the second process leaves after an epoch and all go on with."""
    data = load_data("shapes", 200, 12)
    config = TrainingConfig(epochs=4, batch_size=32, device="cpu", precision="float32")
    for name in ("whole", "left"):
        model = create_model("cnn", data)
        run = Run.create(folder / name, config, model, data)
        records = probed(train(model, data, config, run=run), model, data, config, run=run)
        seen = 0
        with contextlib.closing(records):
            for record in records:
                seen += isinstance(record, EpochRecord)
                if name == "left" and rank == 1:
                    break
    assert seen == 1
    run = open_run(folder / "left")
    list(train(run.load_model(), data, run.config, run=run))


def interrupted(rank):
    """The step after which Ctrl+C ends a training, when the second process alone has got it."""
    data = load_data("shapes", train=60, test=24)
    records = train(small_model(), data, settings(), every=1)
    step = next(records).step
    if rank == 1:
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        next(records)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return step


def refusals():
    data = load_data("shapes", train=60, test=24)
    texts = {}
    rank = torch.distributed.get_rank()
    for name, config, options in (
        ("batch", settings(batch_size=3), {}),
        ("captured", settings(), {"captured": True}),
        ("seed", settings(seed=rank), {}),
        ("every", settings(), {"every": rank + 1}),
    ):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            next(train(small_model(), data, config, **options))
        texts[name] = str(caught.value)
    return texts


def drawn_noise():
    noises = []

    def noted(images, mask, noise, black):
        noises.append(noise.clone())
        return noise

    register_fill("noted", noted)
    data = load_data("shapes", train=16, test=6)
    list(train(small_model(), data, settings(epochs=1, batch_size=16, fill="noted")))
    return noises[-1]  # the first are of the step that is tried before all others


def unequal_parts(rank):
    """A loop of one's own, which gives the processes five and three images and does not say so."""
    split = load_data("shapes", train=8, test=6).train
    sizes = {"n_images": 8, "image_shape": split.image_shape, "black": split.black}
    loss = GuidedLoss(small_model(), settings(), **sizes)
    part = torch.arange(8).split([5, 3])[rank]
    parallel = DistributedDataParallel(loss, broadcast_buffers=False)
    parallel(split.normalize()[part], split.labels[part], part).loss.backward()
    return {"k": loss.k, "visits": loss.visits}


def work(folder):
    """What each of the two processes does."""
    found = {name: trained(*case) for name, case in EQUAL.items()}
    rank = torch.distributed.get_rank()
    found["slider"] = trained_under_a_slider(rank)
    found["noise"] = drawn_noise()
    found["unequal"] = unequal_parts(rank)
    with contextlib.chdir(folder):
        exec(EXAMPLE)
    found["interrupted"] = interrupted(rank)
    found["refusals"] = refusals()
    kept_runs(folder, rank)
    torch.save(found, folder / f"{rank}.pt")


def torchrun(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(Path(smoot_explore.__file__).parents[1])}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.Popen(
        [*command, *map(str, arguments)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip


def outcome(process):
    """What it has printed when it is over, on both streams."""
    try:
        return process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    process = torchrun(__file__, folder)
    _, errors = outcome(process)
    assert process.returncode == 0, errors
    return folder


@pytest.fixture(scope="module")
def together(folder):
    """What both processes have found."""
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("name", EQUAL)
def test_two_processes_give_the_numbers_of_one(together, name):
    alone = in_a_thread(lambda: trained(*EQUAL[name]))()
    for found in together:
        assert (found[name]["k"] - alone["k"]).abs().max() < (0.1 if "harvested" in name else 1e-3)
        torch.testing.assert_close(found[name]["weights"], alone["weights"], atol=2e-5, rtol=0)
        torch.testing.assert_close(
            found[name]["losses"], alone["losses"], equal_nan=True, atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(found[name]["delta"], alone["delta"], equal_nan=True, atol=1e-4, rtol=0)
        torch.testing.assert_close(found[name]["probability"], alone["probability"], atol=1e-5, rtol=0)
        assert torch.equal(found[name]["correct"], alone["correct"])


def test_all_processes_yield_the_same_numbers(together):
    for name in EQUAL:
        for what, numbers in together[0][name].items():
            assert torch.equal(numbers.nan_to_num(7), together[1][name][what].nan_to_num(7)), (name, what)


def test_the_first_process_decides_on_live_values(together):
    alone = in_a_thread(lambda: trained_under_a_slider(0))()
    for found in together:
        assert found["slider"]["changes"] == alone["changes"]
        assert [change[0] for change in alone["changes"]] == [3, 3]
        torch.testing.assert_close(found["slider"]["weights"], alone["weights"], atol=2e-5, rtol=0)


def test_processes_draw_different_numbers(together):
    one, two = (found["noise"] for found in together)
    assert len(one) == len(two) == 8
    assert not (one == two).all((1, 2, 3)).any()


def test_a_loop_of_ones_own_may_give_the_processes_different_numbers_of_images(together):
    assert torch.equal(together[0]["unequal"]["k"], together[1]["unequal"]["k"])
    for found in together:
        assert found["unequal"]["visits"].tolist() == [1] * 8


def test_what_processes_cannot_do_together_is_refused_in_all(together):
    for found in together:
        assert "use batch_size=4 or more, or fewer processes" in found["refusals"]["batch"]
        assert "captured=True is for one process" in found["refusals"]["captured"]
        assert "seed is 0 in process 0 and 1 in process 1" in found["refusals"]["seed"]
        assert "every is 1 in process 0 and 2 in process 1" in found["refusals"]["every"]


def test_ctrl_c_in_one_process_ends_all_at_the_same_step(together):
    assert [found["interrupted"] for found in together] == [1, 1]


def test_the_example_of_the_docs_trains_one_run(folder):
    run = open_run(folder / "runs" / "together")
    assert run.finished
    assert run.processes == 2


def same_at_the_end(one, two):
    """Whether two runs have the same weights, state of the optimiser and k after the fourth epoch, bit by bit."""
    tensors = [read_tensors(run.path / "checkpoint" / "0004.safetensors") for run in (one, two)]
    return tensors[0].keys() == tensors[1].keys() and all(
        torch.equal(value, tensors[1][name]) for name, value in tensors[0].items()
    )


def test_a_training_that_one_process_left_goes_on_with_the_same_numbers(folder):
    whole, left = open_run(folder / "whole"), open_run(folder / "left")
    assert whole.finished
    assert left.finished
    assert same_at_the_end(whole, left)
    assert whole.record().accuracy_drop.isel(epoch=-1).notnull().all()
    assert not list(folder.glob(".*"))


def test_a_run_says_how_many_processes_trained_it_and_warns_of_another_number(folder, tmp_path):
    run = open_run(shutil.copytree(folder / "whole", tmp_path / "copy"))
    assert run.processes == run.record().attrs["processes"] == 2
    config = run.config
    config.epochs = 5
    records = train(run.load_model(), run.load_data(), config, run=run)
    with (
        contextlib.closing(records),
        pytest.warns(UserWarning, match="made for 2 processes and goes on with 1"),
    ):
        assert next(records).epoch == 5


def workers(process):
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    return sorted(map(int, found.stdout.split()))


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_command_survives_a_killed_process_and_ctrl_c(folder, tmp_path):
    """The run comes out as if nothing had happened."""
    path = tmp_path / "run"
    command = ["-m", "smoot_explore", "train", path, *RUN, "--resume"]
    killed = torchrun(*command)
    killed.stdout.readline()  # an epoch is done
    os.kill(workers(killed)[1], signal.SIGKILL)
    _, errors = outcome(killed)
    assert killed.returncode != 0
    assert "exitcode  : -9" in errors
    kept = open_run(path).epochs
    assert kept >= 1

    interrupted = torchrun(*command)
    interrupted.stdout.readline()
    os.killpg(interrupted.pid, signal.SIGINT)  # as a terminal does
    _, errors = outcome(interrupted)
    assert "Go on with: torchrun --nproc-per-node 2 -m smoot_explore train" in errors
    assert errors.count("kept") == 1
    assert open_run(path).epochs > kept

    _, last = outcome(torchrun(*command))
    assert open_run(path).finished, last
    assert same_at_the_end(open_run(path), open_run(folder / "whole"))


@given(n_images=st.integers(1, 200), count=st.integers(1, 9))
def test_every_image_is_in_one_part_and_no_part_has_a_single_image(n_images, count):
    sizes = Ranks(0, count).sizes(n_images)
    busy = [size for size in sizes if size]
    assert len(sizes) == count
    assert sum(sizes) == n_images
    assert max(busy) - min(busy) <= 1
    assert 1 not in sizes or n_images == 1
    batch = torch.randperm(n_images)
    parts = [Ranks(rank, count).part(batch) for rank in range(count)]
    assert torch.equal(torch.cat(parts[: len(busy)]), batch)
    assert all(torch.equal(part, batch[:2]) for part in parts[len(busy) :])


@given(n=st.integers(0, 100), parts=st.integers(1, 20))
def test_split_sizes_are_those_of_tensor_split(n, parts):
    assert split_sizes(n, parts) == [len(part) for part in torch.empty(n).tensor_split(parts)]


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(ranks_module.torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(ranks_module.torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"has 2 for at least 3 processes: torchrun --nproc-per-node 2"):
        own_gpu()


def test_a_lost_process_is_said_with_the_way_on_and_other_errors_stay():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(TrainingError, match="start all processes again"), Meeting(Ranks(0, 2)):
        raise RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed by peer")
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), Meeting(Ranks(0, 2)):
        raise RuntimeError("shapes cannot be multiplied")
    assert signal.getsignal(signal.SIGINT) is before


if __name__ == "__main__":
    work(Path(sys.argv[1]))
