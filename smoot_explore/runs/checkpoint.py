"""Tensors of a run on disk: weights, and the state that training goes on from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from smoot_explore.core.models import plain_name
from smoot_explore.files import (
    FileError,
    regular_size,
    write_atomically,
)
from smoot_explore.schema import SchemaError


class RunError(ValueError):
    """A folder that is not a run, or a damaged one: the message has its name and what is wrong."""


@contextmanager
def damage_named(folder: Path) -> Iterator[None]:
    """Say of which folder a file is that cannot be read."""
    try:
        yield
    except (FileError, SchemaError, OSError, SafetensorError) as error:
        raise RunError(f"{folder} is damaged: {error}") from error


def write_tensors(path: Path, tensors: dict[str, Tensor], epoch: int) -> None:
    # Clones: safetensors refuses tensors that share memory (tied weights) or are not contiguous.
    copies = {n: t.detach().cpu().clone(memory_format=torch.contiguous_format) for n, t in tensors.items()}
    metadata = {"format": "pt", "epoch": str(epoch)}

    def write(temporary: Path) -> None:
        temporary.touch()
        mode = temporary.stat().st_mode
        safetensors.torch.save_file(copies, temporary, metadata)
        temporary.chmod(mode)  # safetensors lets the owner alone read it, which is of no use to a shared run

    write_atomically(path, write)


def read_tensors(path: Path) -> dict[str, Tensor]:
    with _opened_tensors(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)


def epoch_of(path: Path) -> int:
    """The epoch that weights were written after. Reads the header, whose length is checked against the file's."""
    with _opened_tensors(path) as file:
        return int((file.metadata() or {}).get("epoch", -1))


@contextmanager
def _opened_tensors(path: Path) -> Iterator[Any]:
    with damage_named(path.parent):
        regular_size(path)
        try:
            with safe_open(path, framework="pt") as file:
                yield file
        except (OSError, SafetensorError, ValueError) as error:
            raise FileError(f"{path.name} cannot be read ({error})") from error


def rounded(tensor: Tensor) -> Tensor:
    """Floating numbers as float16, unless some lie beyond its range."""
    if not tensor.is_floating_point():
        return tensor
    rounded = tensor.half()
    return rounded if rounded.isfinite().all() else tensor


def packed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights for a checkpoint in a byte each, every row (output channel) with a scale of its own.

    What has no rows is `rounded`, and so are rows that are not finite. The error is at most half a step, 1/254 of the
    largest weight of the row.
    """
    tensors = {}
    for name, weight in weights.items():
        tensors[f"model.{name}"] = rounded(weight)
        if weight.is_floating_point() and weight.dim() > 1 and weight.isfinite().all():
            rows = weight.float().flatten(1)
            scale = rows.abs().amax(1) / 127
            steps = rows / torch.where(scale > 0, scale, 1.0).unsqueeze(1)
            tensors[f"model.{name}"] = steps.round().to(torch.int8).reshape(weight.shape)
            tensors[f"scale.{name}"] = scale
    return tensors


def unpacked(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a checkpoint, `packed` or not."""
    weights = below(tensors, "model.")
    for name, scale in below(tensors, "scale.").items():
        steps = weights.get(name, scale)
        if steps.dim() < 2 or scale.shape != steps.shape[:1]:
            raise FileError(f"the scale of {name} fits no weight")
        weights[name] = (steps.flatten(1) * scale.unsqueeze(1)).reshape(steps.shape)
    return weights


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """The state dict, by the names that it has without ``torch.compile``."""
    return {plain_name(name): tensor for name, tensor in model.state_dict().items()}


def load_weights(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Into a model, compiled or not, as the one that the weights are of."""
    own = {plain_name(name): name for name in model.state_dict()}
    named = {plain_name(name): tensor for name, tensor in weights.items()}
    try:
        model.load_state_dict({own.get(name, name): tensor for name, tensor in named.items()})
    except RuntimeError as error:
        raise RunError(
            f"the weights of {path} do not fit the model {type(model).__name__}: {error}"
        ) from error


def below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> list[tuple[str, Tensor]]:
    """State of the optimiser as named tensors: "<number of the weight>.<name>"."""
    return [
        (f"{number}.{name}", value)
        for number, entries in optimizer.state_dict()["state"].items()
        for name, value in entries.items()
        if isinstance(value, Tensor)
    ]


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
