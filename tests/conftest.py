"""Small data and models that every test file may use."""

import pytest
import torch
from torch import nn

from smoot_explore import ImageData, TrainingConfig, create_model, load_data

torch.set_num_threads(2)


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


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))
