"""Measurements of many images, in parts by the workers of a Dask cluster."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xarray as xr
from torch import nn

from smoot_explore.compute.device import hardware_of
from smoot_explore.core.levels import Progress, chunks_of
from smoot_explore.core.registered import Registered
from smoot_explore.core.saliency import untouched
from smoot_explore.data.images import Split

if TYPE_CHECKING:
    from distributed import Client, Future

_PARTS_PER_WORKER = 4  # so that a slow one at the end keeps nobody waiting for long


def in_parts(
    measure: Callable[..., xr.Dataset],
    client: Client,
    model: nn.Module,
    split: Split,
    first: int,
    progress: Progress | None,
    **protocol: Any,
) -> xr.Dataset:
    """What a measurement gives, with images shared out among the workers of a Dask cluster.

    Parameters
    ----------
    measure
        ``measure(model, split, first=…, **protocol)``, such as `masking_curves`. What it gives is put together along
        ``image``.
    client
        Of the cluster; its workers have smoot_explore installed.
    model, split, first, progress
        As in `masking_curves`. Model and images must be picklable.
    **protocol
        Its other parameters.

    Raises
    ------
    TypeError
        When the client is none.
    RuntimeError
        When the scheduler is lost, or workers end one after the other at a part. What fails in one is raised as it is.
    """
    import dask
    from distributed import KilledWorker, as_completed

    check_client(client)
    parts = _parts(client, model, split, protocol)
    futures: dict[Future, int] = {}
    found: dict[int, xr.Dataset] = {}
    done = 0
    try:
        # A model and images that are at hand. Dask would warn of some megabytes; but scattered, they would be gone with
        # the workers that hold them, and a task is done again.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            shared = client.submit(_held, _Whole(model, Registered()), pure=False)
            for i, part in enumerate(parts):
                mine = (split[part], first + part.start, _of(protocol, part))
                futures[client.submit(_measure, measure, shared, *mine, pure=False)] = i
        for future in as_completed(futures, loop=client.loop):
            found[futures[future]] = result = future.result()
            done += result.sizes["image"]
            if progress is not None:
                progress(done, len(split))
    except (CancelledError, KilledWorker) as error:
        why = "workers ended one after the other, for want of memory perhaps"
        if isinstance(error, CancelledError):
            why = "the connection to the workers is lost"
        raise RuntimeError(f"the images cannot be measured: {why}") from error
    finally:
        client.cancel(list(futures))
    in_order = [found[i] for i in range(len(parts))]
    return xr.concat(in_order, "image", combine_attrs="identical", data_vars="minimal")


def check_client(client: object) -> None:
    """Raise ``TypeError`` for what is no client of a Dask cluster."""
    from distributed import Client

    if not isinstance(client, Client):
        raise TypeError(f"client is a Client of Dask, such as Client('tls://lab:8786'), given {client!r}")


def _parts(client: Client, model: nn.Module, split: Split, protocol: dict[str, Any]) -> list[slice]:
    """Slices of whole chunks: the model sees the same batches as if one process measured all."""
    hardware = hardware_of(model, protocol.get("precision", "float32"))
    with untouched(model), hardware.autocast():
        chunks = list(chunks_of(model.eval(), split, hardware, protocol.get("memory_budget", 2**30)))
    n = min(len(chunks), _PARTS_PER_WORKER * max(1, len(client.nthreads())))
    ends = [round(i * len(chunks) / n) for i in range(n + 1)]
    return [slice(chunks[a].start, chunks[b - 1].stop) for a, b in itertools.pairwise(ends)]


def _of(protocol: dict[str, Any], part: slice) -> dict[str, Any]:
    """The protocol for a part: maps and targets of its images."""
    own = dict(protocol)
    for name in ("maps", "target"):
        values = own.get(name)
        if isinstance(values, dict):
            own[name] = {key: one[part] for key, one in values.items()}
        elif values is not None and not isinstance(values, str | int):
            own[name] = values[part]
    return own


@dataclass(frozen=True)
class _Whole:
    """A model to be pickled whole: Dask takes bare modules apart, and puts them together with other containers."""

    model: nn.Module
    registered: Registered


def _held(whole: _Whole) -> _Whole:
    """What the parts share, as the result of a task."""
    return whole


def _measure(
    measure: Callable[..., xr.Dataset], shared: _Whole, split: Split, first: int, protocol: dict[str, Any]
) -> xr.Dataset:
    import torch
    from distributed import get_worker

    torch.set_num_threads(get_worker().state.nthreads)
    shared.registered.register()
    # A copy: the worker may be at two parts at once, and each sets modes and hooks.
    return measure(copy.deepcopy(shared.model), split, first=first, **protocol)
