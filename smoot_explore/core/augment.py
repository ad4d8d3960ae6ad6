"""Augmentation: what is done to the images of a batch before a training step, and how a run names it."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import Tensor, nn

Augment = Callable[[Tensor], Tensor]


def augment_name(augment: Augment | None) -> str | None:
    """What a run records of an augmentation; None for none.

    A function's qualified name, or the ``repr`` of another object in one line, without addresses in memory: the same
    in another process.

    Raises
    ------
    ValueError
        For a lambda, and an object whose ``repr`` leaves out what it holds: two that differ would have one name.

    Examples
    --------
    >>> from torch import nn
    >>> augment_name(nn.ZeroPad2d(1)), augment_name(nn.functional.relu), augment_name(None)
    ('ZeroPad2d((1, 1, 1, 1))', 'relu', None)
    """
    if augment is None:
        return None
    whole = getattr(augment, "__qualname__", None)
    name = whole or " ".join(re.sub(r" at 0x[0-9a-fA-F]+", "", repr(augment)).split())
    if "<lambda>" in name:
        raise ValueError(
            f"a run records its augmentation by name, and all lambdas have one name, {name!r}; define a function: "
            "def flip(images): …"
        )
    if not whole and (silent := _silent(augment)) is not None:
        raise ValueError(
            f"a run records its augmentation by its repr, {name!r}, which does not tell what {silent} holds; give "
            f"{silent} {'an extra_repr' if isinstance(augment, nn.Module) else 'a __repr__'}, or define a function"
        )
    return name


def _silent(augment: object) -> str | None:
    """The class of what holds values that its ``repr`` leaves out; None where there is none."""
    if not isinstance(augment, nn.Module):
        told = type(augment).__repr__ is not object.__repr__ or not getattr(augment, "__dict__", {})
        return None if told else type(augment).__name__
    for module in augment.modules():
        own = vars(module).keys() - vars(nn.Module()).keys() or module._parameters or module._buffers
        if (
            own
            and type(module).extra_repr is nn.Module.extra_repr
            and type(module).__repr__ is nn.Module.__repr__
        ):
            return type(module).__name__
    return None
