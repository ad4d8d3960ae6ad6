"""Measurements in parts, by worker processes."""

import multiprocessing
import os
import threading
import time
import warnings
from functools import partial

import pytest
import torch
import xarray as xr
from torch import nn
from waiting import in_a_thread

pytest.importorskip("distributed")
from distributed import Future

from smoot_explore import k_landscape, load_data, masking_curves
from smoot_explore.core.choices import REGISTERED, names
from smoot_explore.core.masking import fill_values
from smoot_explore.core.parts import _parts
from smoot_explore.core.registered import Registered
from smoot_explore.core.rules import _STARTS, k_rule, start_k
from smoot_explore.engine.cluster import close_workers, start_workers


@pytest.fixture(scope="module")
def client():
    client = start_workers(2, threads=1)
    yield client
    close_workers(client)


@pytest.fixture(scope="module")
def split():
    return load_data("shapes", 12, 150).test


@pytest.fixture
def noisy():
    """With BatchNorm and dropout, in train mode: neither must matter."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=3), nn.BatchNorm2d(4), nn.Dropout(0.3), nn.Flatten(), nn.Linear(400, 6)
    ).train()


def on_one_thread(measure):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return measure()
    finally:
        torch.set_num_threads(before)


PROTOCOLS = [
    {},
    {"fill": ["remaining", "image_range"], "attribution": ["gradient", "smoothgrad"], "seed": 3, "levels": 5},
    {"order": "lowest", "signed": False, "target": [i % 6 for i in range(150)]},
]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=["plain", "drawing", "targets"])
def test_curves_by_workers_are_those_of_one_process_bit_by_bit(client, noisy, split, protocol):
    protocol = {"levels": 4, "memory_budget": 1_000_000, **protocol}
    told = []
    expected = on_one_thread(lambda: masking_curves(noisy, split, **protocol))
    found = masking_curves(noisy, split, client=client, progress=lambda *done: told.append(done), **protocol)
    xr.testing.assert_identical(found.compute(), expected)
    assert len(told) > 2
    assert told[-1] == (150, 150)
    assert noisy.training


def test_own_maps_go_with_their_images(client, noisy, split):
    maps = torch.rand(150, 32, 32, generator=torch.Generator().manual_seed(1))
    expected = on_one_thread(
        lambda: masking_curves(noisy, split, 4, maps={"mine": maps}, memory_budget=4_000_000)
    )
    found = masking_curves(noisy, split, 4, maps={"mine": maps}, memory_budget=4_000_000, client=client)
    xr.testing.assert_identical(found, expected)


def test_a_landscape_by_workers_is_that_of_one_process_bit_by_bit(client, noisy, split):
    expected = on_one_thread(lambda: k_landscape(noisy, split, 4, draws=2, memory_budget=4_000_000))
    xr.testing.assert_identical(
        k_landscape(noisy, split, 4, draws=2, memory_budget=4_000_000, client=client), expected
    )


def brightness(model, images, labels, baseline):
    return images - baseline


def test_what_was_registered_here_is_known_to_the_workers(client, noisy, split, monkeypatch):
    monkeypatch.setitem(REGISTERED["attribution"], "brightness", brightness)
    asked = {"attribution": "brightness", "memory_budget": 4_000_000}
    expected = on_one_thread(lambda: masking_curves(noisy, split, 4, **asked))
    xr.testing.assert_identical(masking_curves(noisy, split, 4, client=client, **asked), expected)


def test_constant_maps_are_told_of_once_and_in_all(client, noisy, split):
    maps = torch.rand(150, 32, 32)
    maps[40:] = 1
    asked = {"maps": {"mine": maps}, "memory_budget": 4_000_000, "client": client}
    with pytest.warns(UserWarning, match="mine gives 110 of 150 images the same value") as told:
        masking_curves(noisy, split, 4, **asked)
    assert len(told) == 1


def test_large_models_and_images_are_sent_without_a_warning_and_fetched_once(client, split, monkeypatch):
    fetched = []
    monkeypatch.setattr(client, "gather", lambda *futures, **options: fetched.append(futures))
    large = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 1000), nn.Linear(1000, 6))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masking_curves(large, split, 2, client=client)
    assert not fetched


class Fatal(nn.Module):
    """Ends the first worker that calls it, or each."""

    def __init__(self, folder, once):
        super().__init__()
        self.linear, self.folder, self.once = nn.Linear(3 * 32 * 32, 6), folder, once

    def forward(self, images):
        first = self.folder / "first"
        if multiprocessing.parent_process() is not None and not (self.once and first.exists()):
            first.touch()
            time.sleep(0.3)  # the others hold the model too
            os._exit(1)
        return self.linear(images.flatten(1))


def test_workers_that_end_are_replaced_and_measured_anew_and_one_after_the_other_is_an_error(split, tmp_path):
    client = start_workers(1, threads=1)
    try:
        model = Fatal(tmp_path, once=True)
        expected = on_one_thread(lambda: masking_curves(model, split, 2))
        xr.testing.assert_identical(masking_curves(model, split, 2, client=client), expected)
        with pytest.raises(RuntimeError, match="workers ended one after the other"):
            masking_curves(Fatal(tmp_path, once=False), split, 2, client=client)
    finally:
        close_workers(client)


def test_a_scheduler_that_is_lost_is_told(client, noisy, split):
    def lose(done, n):
        client.cancel([Future(key, client) for key in client.futures], force=True)

    with pytest.raises(RuntimeError, match="the connection to the workers is lost"):
        masking_curves(noisy, split, 4, client=client, memory_budget=1_000_000, progress=lose)


def test_parts_are_for_all_workers(client, noisy, split, monkeypatch):
    """By default Dask tells of five workers alone."""
    monkeypatch.setattr(client, "nthreads", lambda: dict.fromkeys(range(20), 1))
    assert len(_parts(client, noisy, split, {"memory_budget": 100_000})) > 4 * 5


def test_two_users_may_call_different_things_by_one_name_in_one_process(monkeypatch):
    def users(value):
        with monkeypatch.context() as patch:
            patch.setitem(
                REGISTERED["fill"], "own", lambda images, mask, noise, black: images.new_tensor(value)
            )
            patch.setitem(REGISTERED["k_rule"], "own", lambda k, change, labels, epoch, settings: k + value)
            patch.setitem(_STARTS, "own", value / 10)
            return Registered()

    meeting = threading.Barrier(2)
    images, mask = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2, dtype=bool)

    def job(registered):
        registered.register()
        meeting.wait()
        return [
            fill_values(images, mask, "own", images).item(), k_rule("own")(0, None, None, None, None),
            start_k({"method": "smoot", "k_rule": "own"}, 10),
        ]  # fmt: skip

    waiting = [in_a_thread(partial(job, users(value))) for value in (1, 2)]
    assert [wait() for wait in waiting] == [[1, 1, 1], [2, 2, 2]]
    assert "own" not in names("fill")


def test_a_part_of_a_larger_split_has_the_random_numbers_of_its_place(client, noisy, split):
    asked = {"fill": "remaining", "first": 7, "memory_budget": 4_000_000}
    expected = on_one_thread(lambda: masking_curves(noisy, split[7:], 4, **asked))
    xr.testing.assert_identical(masking_curves(noisy, split[7:], 4, client=client, **asked), expected)


def test_what_fails_in_a_part_is_raised_here(client, split):
    with pytest.raises(ValueError, match="must return logits of shape"):
        masking_curves(nn.Flatten(0), split, 2, client=client)
