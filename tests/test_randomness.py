"""Random numbers of one training, whatever else runs in the process."""

import threading
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from waiting import in_a_thread

from smoot_explore import create_model, saliency, train
from smoot_explore.compute.randomness import OwnDraws, _one_at_a_time, can_go_apart

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
    for draws in (OwnDraws(CPU, apart=True), OwnDraws(CPU, apart=False)):
        for found in (numbers(draws, 3), numbers(draws, 3)):
            assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


def test_the_global_state_is_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    numbers(OwnDraws(CPU, apart=True), 3)
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


def checkpointed():
    checkpoint(F.dropout, torch.ones(5, requires_grad=True), use_reentrant=False).sum().backward()


@pytest.mark.parametrize(
    ("function", "apart"),
    [
        (lambda: F.dropout(torch.ones(5)), True),
        (lambda: list(draw(torch.linspace(0, 1, 120).view(2, 60))), True),
        (lambda: torch.ones(3) + 1, True),
        (lambda: nn.LSTM(3, 3, 2, dropout=0.5)(torch.ones(2, 1, 3)), False),
        (lambda: torch.distributions.Gamma(1.0, 1.0).sample(), False),
        (checkpointed, False),
        (lambda: torch.ones(2) + torch.ones(3), False),
    ],
    ids=["dropout", "all", "nothing", "lstm", "gamma", "checkpoint", "error"],
)
def test_only_what_cannot_be_told_apart_holds_the_global_state_for_whole_steps(function, apart):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert can_go_apart(function) is apart
    assert torch.equal(torch.get_rng_state(), before)
    assert waits(OwnDraws(CPU, apart=apart).start(1)) is not apart


@pytest.fixture
def drawing_thread():
    """Another thread that draws from the global state all the time, and waits for nobody."""
    over = threading.Event()

    def draw_on():
        while not over.wait(1e-4):
            torch.rand(1)

    thread = threading.Thread(target=draw_on)
    thread.start()
    yield
    over.set()
    thread.join()


def test_what_another_thread_draws_does_not_look_like_the_models(drawing_thread):
    def step():
        for _ in range(20):
            F.dropout(torch.ones(5))
            time.sleep(1e-3)

    assert can_go_apart(step)


def trained(data, config, model=None, **options):
    model = model or create_model("cnn", data, seed=1)
    (*_, last) = train(model, data, config(seed=1), **options)
    return torch.cat([weights.detach().flatten() for weights in model.parameters()]), last.k


def test_a_training_has_its_numbers_while_another_thread_draws(data, config, request):
    expected = in_a_thread(lambda: trained(data, config))()
    model = create_model("cnn", data, seed=1)  # its first weights come from the global state
    request.getfixturevalue("drawing_thread")
    found = in_a_thread(lambda: trained(data, config, model))()
    assert torch.equal(found[0], expected[0])
    assert (found[1] == expected[1]).all()


@pytest.mark.parametrize("seed", [5, 6])
def test_an_augmentation_that_draws_by_other_ways_later_on_draws_from_the_training(data, config, seed):
    calls, drawn = [], []

    def mixed(images):
        calls.append(len(images))
        if len(calls) > 1:
            drawn.append(float(torch.distributions.Beta(0.4, 0.4).sample()))
        return images

    torch.manual_seed(seed)
    before = torch.get_rng_state()
    in_a_thread(lambda: trained(data, config, augment=mixed))()
    assert torch.equal(torch.get_rng_state(), before)
    first, drawn[:] = list(drawn), []
    calls.clear()
    torch.manual_seed(seed + 1)
    in_a_thread(lambda: trained(data, config, augment=mixed))()
    assert first == drawn
    assert len(set(first)) > 1


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
