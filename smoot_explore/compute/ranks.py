"""The processes that train one model together; in most trainings there is one."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from smoot_explore.compute.cores import cores


@dataclass(frozen=True)
class Ranks:
    """How many processes train one model together, and which of them this is."""

    rank: int = 0
    count: int = 1

    def sizes(self, n_images: int) -> list[int]:
        """How many images of a batch each process computes.

        None has a single one, which BatchNorm could not normalise, unless the batch has no more: in small batches
        the last processes have none.

        Examples
        --------
        >>> Ranks(0, 3).sizes(10), Ranks(0, 3).sizes(5)
        ([4, 3, 3], [3, 2, 0])
        """
        busy = max(1, min(self.count, n_images // 2))
        return [*split_sizes(n_images, busy), *[0] * (self.count - busy)]

    def part(self, batch: Tensor) -> Tensor:
        """This process's part of a batch. One without a part gets the first two, to keep pace: they count nothing."""
        if self.count == 1:
            return batch
        part = batch.split(self.sizes(len(batch)))[self.rank]
        return part if len(part) else batch[:2]

    def told(self, own: Any) -> list[Any]:
        """What each process tells, which can be pickled; all must ask. This one tells ``own``."""
        everyones = [own] * self.count
        if self.count > 1:
            torch.distributed.all_gather_object(everyones, own)
        return everyones

    def add(self, tensor: Tensor) -> Tensor:
        """Add up a tensor over all processes, in place."""
        if self.count > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def follow_first(self, tensors: Sequence[Tensor]) -> None:
        """Give the tensors the values that they have in the first process, in place."""
        if self.count > 1:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, 0)


def split_sizes(n: int, parts: int) -> list[int]:
    """Lengths of the parts that ``torch.Tensor.tensor_split`` makes of n.

    Examples
    --------
    >>> split_sizes(10, 4)
    [3, 3, 2, 2]
    """
    return [n // parts + (i < n % parts) for i in range(parts)]


def present_ranks() -> Ranks:
    """The processes of ``torch.distributed``; this one alone where it is not initialised."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
    return Ranks()


def join_ranks() -> Ranks:
    """`present_ranks`, after joining the processes that ``torchrun`` started, where it did.

    The first call then waits until all of them have made it. They talk by NCCL on GPUs, one GPU each, and by gloo on
    the CPU, whose cores they share.
    """
    if not torch.distributed.is_available() or torch.distributed.is_initialized():
        return present_ranks()
    if torch.distributed.is_torchelastic_launched() and os.environ["WORLD_SIZE"] != "1":
        torch.set_num_threads(max(1, cores() // int(os.environ["LOCAL_WORLD_SIZE"])))
        if (number := int(os.environ["LOCAL_RANK"])) < torch.cuda.device_count():
            torch.cuda.set_device(number)
        torch.distributed.init_process_group()
        atexit.register(torch.distributed.destroy_process_group)
    return present_ranks()


def own_gpu() -> int:
    """Number of the GPU that this process computes on, where several train one model.

    Raises
    ------
    ValueError
        When this computer has fewer GPUs than processes.
    """
    number = int(os.environ.get("LOCAL_RANK", torch.cuda.current_device()))
    if number >= (n := torch.cuda.device_count()):
        raise ValueError(
            f"each process takes a CUDA GPU of its own, and this computer has {n} for at least {number + 1} processes: "
            f"torchrun --nproc-per-node {n}, or train with device='cpu'"
        )
    return number
