"""A training step recorded once on a GPU and replayed, so that no Python runs between its kernels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from smoot_explore.core.config import LiveValues

Visit = Callable[[Tensor, LiveValues], Tensor]  # image ids and live values → losses
Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], object], Tensor]]

_WARM_UP = 3  # steps taken as usual first: cuDNN and the optimiser make what they keep in these


class CapturedStep:
    """A step on one batch, called like the function it is made from.

    The first batches go through ``visit`` as it is; then one call is recorded, and later ones replay it. What may
    differ from call to call lies in tensors that keep their place: the images' ids and the live hyper-parameters. So
    a slider that moves needs no new recording. Smaller batches, such as the last one of an epoch, are never replayed.

    Parameters
    ----------
    visit
        Takes ids ``(B,)`` and `LiveValues` whose entries are tensors ``()``; works in place and gives the losses.
        It must not wait for the device.
    batch_size
        B of the calls that are recorded.
    device
        Where ids and live values go.
    record
        Records a function without arguments and gives what replays it and where its result then lies:
        `cuda_graph`, unless a test takes another.
    """

    def __init__(self, visit: Visit, batch_size: int, device: torch.device, record: Record) -> None:
        self._visit = visit
        self._record = record
        self._ids = torch.zeros(batch_size, dtype=torch.int64, device=device)
        self._values = torch.zeros(len(LiveValues._fields), device=device)
        self._live = LiveValues(*self._values.unbind())  # type: ignore[arg-type]  # tensors (), views of the values
        self._given: LiveValues | None = None  # what the values hold
        self._calls = 0
        self._replay: Callable[[], object] | None = None

    def __call__(self, ids: Tensor, live: LiveValues) -> Tensor:
        if live != self._given:
            self._values.copy_(torch.tensor(live))
            self._given = live
        if len(ids) != len(self._ids):
            return self._visit(ids, self._live)
        self._calls += 1
        if self._calls <= _WARM_UP:
            return self._visit(ids, self._live)
        self._ids.copy_(ids)
        if self._replay is None:
            self._replay, self._losses = self._record(lambda: self._visit(self._ids, self._live))
        self._replay()
        return self._losses


def cuda_graph(device: torch.device, *generators: torch.Generator) -> Record:
    """A `Record` by CUDA graphs on the device; ``generators`` are those that the step draws from, besides
    PyTorch's own."""

    def record(step: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        # PyTorch would record on the current device, which may be another one. Recording does not run the step.
        with torch.cuda.device(device), torch.cuda.graph(graph, stream=torch.cuda.Stream(device)):
            losses = step()
        return graph.replay, losses

    return record
