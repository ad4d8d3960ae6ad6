"""Random numbers of one training, whatever else runs in the process."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from waiting import in_a_thread

from smoot_explore import create_model, saliency, train
from smoot_explore.compute.randomness import OwnDraws, _one_at_a_time

CPU = torch.device("cpu")


def draw(x):
    """All ways to draw that are told apart."""
    yield F.dropout(x, 0.3)
    yield F.dropout(x.clone(), 0.7, inplace=True)
    yield F.dropout2d(x.view(2, 3, 4, 5), 0.5)
    yield torch.rand(3)
    yield torch.randperm(5)
    yield x.new_empty(4).bernoulli_(0.4)
    yield torch.rand_like(x)
    yield torch.empty(8, dtype=torch.int64).random_(-(2**63), None)
    yield F.scaled_dot_product_attention(x, x, x, dropout_p=0.5)
    yield F.gumbel_softmax(x)


def numbers(draws, steps, reseed=7):
    draws.start(reseed)
    x = torch.linspace(0, 1, 120).view(2, 60)
    found = []
    for _ in range(steps):
        with draws:
            found += list(draw(x))
    return found


def test_draws_that_go_apart_have_the_numbers_of_the_global_state():
    torch.manual_seed(7)
    x = torch.linspace(0, 1, 120).view(2, 60)
    expected = [value for _ in range(3) for value in draw(x)]
    draws = OwnDraws(CPU)
    for found in (numbers(draws, 3), numbers(draws, 3)):  # the first watches its first step
        for one, two in zip(found, expected, strict=True):
            assert torch.equal(one, two)
    held = numbers(OwnDraws(CPU, apart=False), 3)
    assert all(torch.equal(one, two) for one, two in zip(held, expected, strict=True))


def test_the_global_state_is_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    numbers(OwnDraws(CPU), 3)
    assert torch.equal(torch.get_rng_state(), before)


def waits(draws):
    """Whether a step waits for another thread that holds the global state."""
    started, over = threading.Event(), threading.Event()

    def step():
        with draws:
            started.set()
        over.set()

    with _one_at_a_time:
        thread = threading.Thread(target=step)
        thread.start()
        found = not over.wait(1 if started.wait(0.3) else 0)
    thread.join()
    return found


def step_of(draws, function):
    with draws:
        function()


@pytest.mark.parametrize(
    ("function", "apart"),
    [
        (lambda: F.dropout(torch.ones(5)), True),
        (lambda: torch.ones(3) + 1, True),
        (lambda: nn.LSTM(3, 3, 2, dropout=0.5)(torch.ones(2, 1, 3)), False),
        (
            lambda: (
                checkpoint(F.dropout, torch.ones(5, requires_grad=True), use_reentrant=False).sum().backward()
            ),
            False,
        ),
    ],
    ids=["dropout", "nothing", "lstm", "checkpoint"],
)
def test_only_what_cannot_be_told_apart_holds_the_global_state_for_whole_steps(function, apart):
    assert waits(OwnDraws(CPU).start(1))  # the first step is watched
    draws = OwnDraws(CPU).start(1)
    step_of(draws, function)
    assert waits(draws) is not apart


def test_two_trainings_at_once_have_the_numbers_of_one_after_the_other(data, config):
    def training(seed, **settings):
        def run():
            model = create_model("cnn", data, seed=seed)
            (*_, last) = train(model, data, config(seed=seed, **settings))
            return torch.cat([weights.detach().flatten() for weights in model.parameters()]), last.k

        return run

    jobs = [training(1), training(2, fill="image_range")]
    expected = [in_a_thread(job)() for job in jobs]
    found = [result() for result in [in_a_thread(job) for job in jobs]]
    for (weights, k), (wanted_weights, wanted_k) in zip(found, expected, strict=True):
        assert torch.equal(weights, wanted_weights)
        assert (k == wanted_k).all()


def test_saliency_waits_only_where_its_method_draws(data, linear):
    images, labels = data.train[:2].normalize(), data.train.labels[:2]
    with _one_at_a_time:
        done = threading.Event()
        thread = threading.Thread(target=lambda: (saliency(linear, images, labels), done.set()))
        thread.start()
        assert done.wait(20)
    thread.join()
