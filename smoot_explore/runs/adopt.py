"""A classifier trained elsewhere, as a run."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from smoot_explore.compute.device import hardware_of
from smoot_explore.core.config import TrainingConfig
from smoot_explore.core.training import accuracy, check_fits
from smoot_explore.data.images import ImageData
from smoot_explore.runs.run import Run, create_run


def adopt(model: nn.Module, data: ImageData, path: str | Path) -> Run:
    """A run without an epoch that holds a classifier trained elsewhere.

    Curves, landscape, comparison, publishing and every tab of the explorer but Train work with it. The folder holds
    the weights (its state dict), never code: a model that is none of `create_model` is given again to open the run
    later, ``open_run(path, model=MyModel())``, and so are data put together by hand.

    Parameters
    ----------
    model
        Maps normalised images ``(N, C, H, W)`` to logits ``(N, n_classes)``.
    data
        Normalised as the model expects it: give the `Split` its ``mean`` and ``std``. The classes are in the model's
        order. Its accuracy on the test images is measured and noted.
    path
        Folder of the run, new or empty.

    Raises
    ------
    ValueError or TypeError
        When the model gives no logits for the data.
    FileExistsError
        When the folder is there and not empty.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from smoot_explore import create_model, load_data
    >>> data = load_data("shapes", train=12, test=6)
    >>> run = adopt(create_model("cnn", data), data, mkdtemp())
    >>> run.adopted, run.epochs, run.load_model().training
    (True, 0, True)
    """
    hardware = hardware_of(model)
    check_fits(model, data, hardware)
    origin = {"how": "adopted", "test_accuracy": accuracy(model, data.test, hardware=hardware)}
    return create_run(Path(path), TrainingConfig(method="traditional"), model, data, origin=origin)
