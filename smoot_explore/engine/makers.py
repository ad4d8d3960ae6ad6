"""Models of the operator's own: functions that make them, by the names that visitors type."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable

from torch import nn

from smoot_explore.core.models import describe_model
from smoot_explore.data.images import ImageData

ModelMaker = Callable[[ImageData, int], nn.Module]  # (data, seed) → model


def load_makers(places: Iterable[str]) -> dict[str, ModelMaker]:
    """The functions at places such as ``"package.module:function"``, by the functions' names.

    Raises
    ------
    ValueError
        For a place where no function can be imported from, or two functions of one name.
    """
    makers: dict[str, ModelMaker] = {}
    for place in places:
        module, colon, name = place.partition(":")
        if not (module and colon and name.isidentifier()):
            raise ValueError(f"a model is given as package.module:function, given {place!r}")
        try:
            maker = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ValueError(
                f"the model {place} cannot be loaded ({error}); install its package, or name its folder in PYTHONPATH"
            ) from error
        if not callable(maker):
            raise ValueError(f"{place} is no function (data, seed) → nn.Module, but a {type(maker).__name__}")
        if name in makers:
            raise ValueError(f"two models are called {name!r}; visitors could not tell them apart")
        makers[name] = maker
    return makers


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
