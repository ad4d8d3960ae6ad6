"""Augmentation: what is done to the images of a batch before a training step, and how a run names it."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import Tensor

Augment = Callable[[Tensor], Tensor]


def augment_name(augment: Augment | None) -> str | None:
    """What a run records of an augmentation; None for none.

    A function's qualified name, or the ``repr`` of another object in one line, without addresses in memory: the same
    in another process.

    Examples
    --------
    >>> from torch import nn
    >>> augment_name(nn.ZeroPad2d(1)), augment_name(lambda images: images.flip(3)), augment_name(None)
    ('ZeroPad2d((1, 1, 1, 1))', '<lambda>', None)
    """
    if augment is None:
        return None
    name = getattr(augment, "__qualname__", None)
    return name or " ".join(re.sub(r" at 0x[0-9a-fA-F]+", "", repr(augment)).split())
