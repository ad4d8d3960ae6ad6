"""Models made by functions of the user's own."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from smoot_explore.core.models import describe_model
from smoot_explore.data.images import ImageData

ModelMaker = Callable[[ImageData, int], nn.Module]  # (data, seed) → model


def make(name: str, maker: ModelMaker, data: ImageData, seed: int) -> nn.Module:
    """A model by one of the makers, which a run then names.

    Raises
    ------
    TypeError
        When the function makes something else.
    """
    model = maker(data, seed)
    if not isinstance(model, nn.Module):
        raise TypeError(f"{name}(data, seed) must give an nn.Module, it gave {type(model).__name__}")
    description = describe_model(model)
    if description["name"] is None:
        model._smoot_explore_description = {**description, "maker": name}  # type: ignore[assignment]
    return model
