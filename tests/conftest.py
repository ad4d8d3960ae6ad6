"""Small data and models that every test file may use."""

import os

# Tests run beside each other (see the Makefile). A thread each, also for programs that they start, unless these set
# their own number: PyTorch's threads wait for each other busily, and two by two they crawl on two cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

from contextlib import suppress

import hypothesis
import pytest
import torch
from torch import nn

from smoot_explore import ImageData, TrainingConfig, create_model, load_data

if "PYTEST_XDIST_WORKER" not in os.environ:
    torch.set_num_threads(2)
hypothesis.settings.register_profile("untimed", deadline=None)  # machines differ, and are busy
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def data() -> ImageData:
    """60 training and 24 test images of shapes, RGB 32×32, six classes."""
    return load_data("shapes", train=60, test=24)


@pytest.fixture
def model(data):
    """The paper's CNN with fresh weights."""
    return create_model("cnn", data)


@pytest.fixture
def config():
    """Two short epochs on the CPU in float32."""

    def make(**settings) -> TrainingConfig:
        defaults = {"epochs": 2, "batch_size": 25, "device": "cpu", "precision": "float32"}
        return TrainingConfig(**(defaults | settings))

    return make


@pytest.fixture
def linear(data) -> nn.Module:
    """A linear model: its input gradient is its weight, whatever the image."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, data.n_classes))


@pytest.fixture(scope="module")
def browser():
    """A real browser; without one the test is skipped, unless the environment asks for one."""
    from browser import CHROMIUM, chromium

    if CHROMIUM is None:
        if os.environ.get("SMOOT_EXPLORE_REQUIRE_BROWSER"):
            pytest.fail("there is no Chromium, and SMOOT_EXPLORE_REQUIRE_BROWSER asks for it", pytrace=False)
        pytest.skip("needs Chromium: apt-get install chromium")
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def address(browser, tmp_path_factory):
    """Where the explorer is served, with one worker for trainings."""
    from browser import serving

    with serving("--runs", str(tmp_path_factory.mktemp("runs")), "--max-trainings", "1") as url:
        yield url


@pytest.fixture
def visit(address, browser):
    """Opens pages; afterwards none of them has asked anything of another host, or complained in its console."""
    from browser import Visitor
    from playwright.sync_api import TimeoutError as PlaywrightTimeout

    visitors = []

    def open_page(query="", prepare=lambda visitor: None, open=Visitor.open, **context):
        visitors.append(Visitor(browser, address, **context))
        prepare(visitors[-1])
        return open(visitors[-1], query)

    yield open_page
    for visitor in visitors:
        stop = visitor.page.get_by_role("button", name="Stop", exact=True)
        if stop.count() and stop.is_enabled():  # else the next test's training waits for this one
            with suppress(PlaywrightTimeout):  # it may end by itself just now
                stop.click(timeout=2000)
        visitor.close()
    assert [url for visitor in visitors for url in visitor.outside] == []
    assert [error for visitor in visitors for error in visitor.errors] == []


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))
