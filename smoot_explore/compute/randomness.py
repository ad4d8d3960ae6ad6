"""Random numbers that leave the caller's own untouched."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_one_at_a_time = threading.RLock()  # PyTorch has one random state for all threads


class RandomStream:
    """PyTorch's global random state, kept apart for one owner.

    Dropout draws from the global state, which the caller of a generator may also use between two
    records. Entering installs this stream's state, leaving puts the caller's back, so neither
    changes the numbers of the other. While one thread is inside, others wait to enter theirs.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        with self:
            torch.manual_seed(seed)

    @property
    def states(self) -> list[torch.Tensor]:
        """Where the stream stands: the state of the CPU's generator, and of the GPU's where there is one."""
        return self._inside

    def __enter__(self) -> RandomStream:
        _one_at_a_time.acquire()
        self._outside = self._read()
        if hasattr(self, "_inside"):
            self._write(self._inside)
        return self

    def __exit__(self, *exception: object) -> None:
        self._inside = self._read()
        self._write(self._outside)
        _one_at_a_time.release()

    def _read(self) -> list[torch.Tensor]:
        states = [torch.get_rng_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._device))
        return states

    def _write(self, states: list[torch.Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(states[1], self._device)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed PyTorch's and NumPy's global states for a block (Captum draws from both), then restore them."""
    with _one_at_a_time:
        numpy_state = np.random.get_state()  # noqa: NPY002
        try:
            with RandomStream(seed, device):
                np.random.seed(seed % 2**32)  # noqa: NPY002
                yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002


def derived_seed(seed: int, *path: int) -> int:
    """A seed for one part of a run, such as an epoch, independent of every other part's."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1, np.uint64)[0] >> 1)


class OwnDraws:
    """The random numbers of one training's steps: its own, whatever else runs in the process.

    A ``with`` block is a step. On a CPU, dropout and other draws in it take their numbers from a generator of the
    training's; what takes none borrows PyTorch's global state for as long as it draws. So trainings in several
    threads hardly wait for each other. The first step is watched: a model that also draws in ways that cannot be
    told apart (compiled code, an LSTM's dropout, activation checkpointing), and one on another device, holds
    the global state for its whole steps. Which way it goes changes no number.

    Parameters
    ----------
    device
        Of the training.
    apart
        False holds the global state from the start, for models whose code must not be looked into.
    """

    def __init__(self, device: torch.device, *, apart: bool = True) -> None:
        self._device = device
        self._watched = apart and device.type == "cpu"
        self._generator: torch.Generator | None = None  # from when draws go apart

    def start(self, seed: int) -> OwnDraws:
        """Begin a new sequence of numbers."""
        if self._generator is not None:
            self._generator.manual_seed(seed)
        else:
            self._stream = RandomStream(seed, self._device)
        return self

    def __enter__(self) -> OwnDraws:
        if self._generator is not None:
            self._mode: TorchFunctionMode | None = _Redirected(self._generator)
        else:
            self._stream.__enter__()
            self._mode = _Watched() if self._watched else None
        if self._mode is not None:
            self._mode.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        mode = self._mode
        if mode is not None:
            mode.__exit__(None, None, None)
        if self._generator is not None:
            return
        apart = isinstance(mode, _Watched) and mode.all_seen()
        self._watched = False
        self._stream.__exit__()
        if apart:
            self._generator = torch.Generator()
            self._generator.set_state(self._stream.states[0])


class _Watched(TorchFunctionMode):
    """Finds out whether all draws from PyTorch's global state are those that `_Redirected` knows."""

    def __init__(self) -> None:
        super().__init__()
        self._state, self._apart = torch.default_generator.get_state(), True
        self._thread = threading.get_ident()

    def _note(self) -> Tensor:
        # Activation checkpointing notes the global state, to draw the same again in the backward pass.
        if threading.get_ident() == self._thread:
            self._apart = False
        return torch.default_generator.get_state()

    def __enter__(self) -> _Watched:
        self._read = torch.get_rng_state
        torch.get_rng_state = self._note
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        torch.get_rng_state = self._read

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in _DRAWS:
            return func(*args, **(kwargs or {}))
        seen = self.all_seen()
        result = func(*args, **(kwargs or {}))
        self._apart, self._state = seen and self._apart, torch.default_generator.get_state()
        return result

    def all_seen(self) -> bool:
        return self._apart and torch.equal(self._state, torch.default_generator.get_state())


class _Redirected(TorchFunctionMode):
    """Lets what draws on the CPU take its numbers from a generator; the numbers are those of the global state."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._generator = generator

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        draw = _DRAWS.get(func)
        if draw is None:
            return func(*args, **(kwargs or {}))
        return draw(self._generator, func, args, kwargs or {})


def _given(generator: torch.Generator, func: Callable, args: Any, kwargs: dict[str, Any]) -> Any:
    """For functions that take a generator."""
    device = args[0].device if args and isinstance(args[0], Tensor) else kwargs.get("device")
    if kwargs.get("generator") is None and torch.device(device or "cpu").type == "cpu":
        kwargs = {**kwargs, "generator": generator}
    return func(*args, **kwargs)


def _lent(generator: torch.Generator, func: Callable, args: Any, kwargs: dict[str, Any]) -> Any:
    """For functions that draw from the global state and take no generator: it is lent to them."""
    with _one_at_a_time:
        outside = torch.get_rng_state()
        torch.set_rng_state(generator.get_state())
        try:
            return func(*args, **kwargs)
        finally:
            generator.set_state(torch.get_rng_state())
            torch.set_rng_state(outside)


def _lent_for_dropout(generator: torch.Generator, func: Callable, args: Any, kwargs: dict[str, Any]) -> Any:
    drops = len(args) > 4 or kwargs.get("dropout_p", 0) > 0
    return _lent(generator, func, args, kwargs) if drops else func(*args, **kwargs)


def _dropout(generator: torch.Generator, func: Callable, args: Any, kwargs: dict[str, Any]) -> Any:
    """`torch.nn.functional.dropout` as PyTorch computes it on a CPU."""

    def dropped(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or not 0 < p < 1 or input.device.type != "cpu":
            return func(input, p, training, inplace)
        noise = torch.empty_like(input).bernoulli_(1 - p, generator=generator).div_(1 - p)
        return input.mul_(noise) if inplace else input * noise

    return dropped(*args, **kwargs)


_DRAWS: dict[Callable, Callable[[torch.Generator, Callable, Any, dict[str, Any]], Any]] = {
    F.dropout: _dropout,
    F.scaled_dot_product_attention: _lent_for_dropout,
    **dict.fromkeys([
        torch.rand, torch.randn, torch.randint, torch.randperm, torch.normal, torch.bernoulli, torch.multinomial,
        torch.poisson, Tensor.bernoulli, Tensor.multinomial, Tensor.bernoulli_, Tensor.random_, Tensor.uniform_,
        Tensor.normal_, Tensor.exponential_, Tensor.geometric_, Tensor.log_normal_, Tensor.cauchy_,
    ], _given),
    **dict.fromkeys([
        F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, F.rrelu, F.gumbel_softmax,
        F.multi_head_attention_forward, torch.rand_like, torch.randn_like, torch.randint_like, torch.dropout,
        torch.dropout_, torch.alpha_dropout, torch.feature_dropout, torch.feature_alpha_dropout, torch.rrelu,
    ], _lent),
}  # fmt: skip
