"""Which device computes, and in which number format."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import torch
from torch import nn

from smoot_explore.compute.ranks import own_gpu, present_ranks
from smoot_explore.errors import unknown_name


class Hardware(NamedTuple):
    """A device and the number format of the forward passes on it."""

    device: torch.device
    dtype: torch.dtype  # of matrix products and convolutions; losses and k stay float32

    @property
    def layout(self) -> torch.memory_format:
        """Memory layout of images and weights: channels last is the faster one for convolutions."""
        return torch.contiguous_format if self.device.type == "mps" else torch.channels_last

    def autocast(self) -> contextlib.AbstractContextManager:
        """Context in which forward passes run in the chosen number format."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def choose_hardware(device: str = "auto", precision: str = "auto") -> Hardware:
    """The device and number format that the names stand for on this machine.

    Parameters
    ----------
    device
        ``"auto"`` (a GPU when there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``. Where several
        processes train one model, ``"auto"`` and ``"cuda"`` are each one's own GPU.
    precision
        ``"auto"``: bfloat16 where the hardware computes with it (a GPU since Ampere, a CPU with
        avx512_bf16 or amx), float32 elsewhere. ``"float32"``, ``"bfloat16"``.

    Raises
    ------
    ValueError
        When the device asked for is not there.
    """
    if device == "auto":
        if torch.cuda.is_available():
            device = "cuda"
        elif torch.backends.mps.is_available():
            device = "mps"
        else:
            device = "cpu"
    if device == "cuda" and torch.cuda.is_available() and present_ranks().count > 1:
        device = f"cuda:{own_gpu()}"
    chosen = torch.device(device)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {device!r} is not there: this machine has {torch.cuda.device_count()} CUDA GPUs; "
            "use device='auto' or 'cpu'"
        )
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device 'mps' is not there; use device='auto' or 'cpu'")
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16(chosen) else "float32"
    dtypes = {"bfloat16": torch.bfloat16, "float32": torch.float32}
    if precision not in dtypes:
        raise unknown_name("precision", precision, ["auto", *dtypes])
    return Hardware(chosen, dtypes[precision])


def available_devices() -> list[str]:
    """What `choose_hardware` takes as a device on this machine, ``"auto"`` first."""
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return ["auto", "cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


def hardware_of(model: nn.Module, precision: str = "float32") -> Hardware:
    """The device that a model is on, with a number format; the CPU for a model without weights."""
    weights = next(model.parameters(), None)
    return choose_hardware("cpu" if weights is None else str(weights.device), precision)


def in_layout(model: nn.Module, layout: torch.memory_format) -> nn.Module:
    """The model itself, its convolutions' weights in the memory layout given. No result depends on it."""
    return model.to(memory_format=layout)  # type: ignore[call-overload]


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes with bfloat16 itself, rather than emulating it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def describe_hardware(device: torch.device) -> str:
    """Name of the processor, for records and tables."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        name = torch.cpu.get_capabilities().get("cpu_name", "CPU")
        return f"{name}, {torch.get_num_threads()} threads"
    return str(device)
