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
from torch.utils._python_dispatch import TorchDispatchMode

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
    """The random numbers of one training's steps.

    A ``with`` block is a step. Apart, dropout and other draws in it take their numbers from a generator of the
    training's, which no other thread knows; what takes none borrows PyTorch's global state for as long as it draws. So
    trainings in several threads hardly wait for each other. Otherwise the training holds the global state for
    its whole steps. Which way it goes changes no number.

    While the global state is lent or held, others that go through this module wait. A thread of somebody else's that
    draws from it in that very time gets a number of the training's, and changes its next ones: for lent functions
    (``dropout2d``, attention with dropout, …) that time is the call, for a step that holds it the whole step. NumPy's
    and Python's random numbers are left to whoever draws them.

    Parameters
    ----------
    device
        Of the training.
    apart
        Whether draws go apart, which `can_go_apart` finds out; only on a CPU.
    """

    def __init__(self, device: torch.device, *, apart: bool) -> None:
        self._device = device
        self._generator = torch.Generator() if apart else None

    def start(self, seed: int) -> OwnDraws:
        """Begin a new sequence of numbers."""
        if self._generator is not None:
            self._generator.manual_seed(seed)
            self._source: RandomStream | _Redirected = _Redirected(self._generator)
        else:
            self._source = RandomStream(seed, self._device)
        return self

    def __enter__(self) -> OwnDraws:
        self._source.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._source.__exit__(*exception)

    def lent_to(self, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """The function, to be called in a step, with the training's numbers in whatever way it draws."""
        generator = self._generator
        if generator is None:
            return function

        def lent(given: Tensor) -> Tensor:
            self._source.__exit__(None, None, None)
            try:
                return _lent(generator, function, (given,), {})
            finally:
                self._source.__enter__()

        return lent


def can_go_apart(step: Callable[[], object]) -> bool:
    """Whether all that a step on the CPU draws comes from functions that can be told where to draw.

    Not so with an LSTM's dropout, a scripted model, or activation checkpointing, which puts back PyTorch's global state
    to draw the same again. The step is carried out once, with other numbers, and must change nothing that matters. Its
    operators are looked at, not the global state: what other threads draw meanwhile makes no difference. Compiled code
    cannot be looked into, and an operator of somebody else's must say that it draws (`torch.Tag`).
    """
    watched = _Watched()
    try:
        with _one_at_a_time, watched:
            step()
    except Exception:  # the training fails in the same way, and says so
        return False
    return watched.apart


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


class _Watched(_Redirected):
    """Finds draws from PyTorch's global state that `_Redirected` does not know."""

    def __init__(self) -> None:
        super().__init__(torch.Generator())
        self.apart = True
        self._known = False  # within a function that is redirected
        self._thread = threading.get_ident()

    def __enter__(self) -> _Watched:
        self._read = torch.get_rng_state
        torch.get_rng_state = self._note
        self._operators = _Operators(self._draw)
        self._operators.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._operators.__exit__(*exception)
        torch.get_rng_state = self._read

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._known = func in _DRAWS
        try:
            return super().__torch_function__(func, types, args, kwargs)
        finally:
            self._known = False

    def _note(self) -> Tensor:
        if threading.get_ident() == self._thread:  # to put it back later
            self.apart = False
        return self._read()

    def _draw(self, operator: Callable, args: Any, kwargs: dict[str, Any]) -> Any:
        if self._known or kwargs.get("generator") is not None:
            return operator(*args, **kwargs)
        self.apart = False
        return _lent(self._generator, operator, args, kwargs)


class _Operators(TorchDispatchMode):
    """Calls ``draw`` in the place of each operator of this thread that may draw."""

    def __init__(self, draw: Callable[[Callable, Any, dict[str, Any]], Any]) -> None:
        super().__init__()
        self._draw = draw

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            return self._draw(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))


def _given(generator: torch.Generator, func: Callable, args: Any, kwargs: dict[str, Any]) -> Any:
    """For functions that take a generator."""
    device = args[0].device if args and isinstance(args[0], Tensor) else kwargs.get("device")
    if kwargs.get("generator") is None and torch.device(device or "cpu").type == "cpu":
        kwargs = {**kwargs, "generator": generator}
    return func(*args, **kwargs)


def _lent(generator: torch.Generator, func: Callable, args: Any, kwargs: dict[str, Any]) -> Any:
    """For functions that draw from the global state and take no generator: it is lent to them."""
    with _one_at_a_time:
        outside = torch.default_generator.get_state()
        torch.default_generator.set_state(generator.get_state())
        try:
            return func(*args, **kwargs)
        finally:
            generator.set_state(torch.default_generator.get_state())
            torch.default_generator.set_state(outside)


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
