"""What the slides show: the bundled runs, opened once for all pages of a server."""

from __future__ import annotations

import functools

import xarray as xr
from torch import nn

from smoot_explore.data.images import ImageData
from smoot_explore.runs.run import Run, bundled_runs


@functools.cache
def runs() -> dict[str, Run]:
    """The bundled runs by name: traditional, sgt and smoot."""
    return {run.name: run for run in bundled_runs()}


@functools.cache
def data() -> ImageData:
    """The images that all of them were trained on."""
    return runs()["smoot"].load_data()


@functools.cache
def model(name: str) -> nn.Module:
    """The trained network of a run."""
    return runs()[name].load_model()


@functools.cache
def curves(name: str) -> xr.Dataset:
    """The masking curves of a run."""
    return runs()[name].curves()


@functools.cache
def landscape() -> xr.Dataset:
    """The k-landscape of the SMOOT run."""
    return runs()["smoot"].landscape()
