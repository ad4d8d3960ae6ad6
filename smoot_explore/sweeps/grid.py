"""The grid of a sweep: values of settings, and a cell for each combination of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import param

from smoot_explore.core.config import TrainingConfig, setting_names
from smoot_explore.errors import unknown_name

_LONGEST_NAME = 200  # characters of a folder's name; file systems take 255 bytes
MOST_CELLS, MOST_EPOCHS = 100_000, 10_000_000  # of a sweep: its numbers of each epoch are held in memory


class Cell(NamedTuple):
    """One training of a sweep."""

    name: str  # of its folder
    values: dict[str, Any]  # of the swept settings
    settings: dict[str, Any]  # all of them

    @property
    def epochs(self) -> int:
        """How many it trains for."""
        return self.settings["epochs"]

    @property
    def config(self) -> TrainingConfig:
        """Its settings, checked."""
        try:
            config = TrainingConfig.recorded(self.settings)
            config.check()
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None
        return config


def checked_values(config: TrainingConfig, over: Mapping[str, Iterable[Any]]) -> dict[str, list[Any]]:
    """The values of each swept setting as plain ones, each accepted by `TrainingConfig`.

    Raises
    ------
    ValueError
        Naming the setting, and the value that it does not take.

    Examples
    --------
    >>> checked_values(TrainingConfig(), {"alpha": [1, 10], "seed": range(2)})
    {'alpha': [1.0, 10.0], 'seed': [0, 1]}
    """
    if not over:
        raise ValueError(
            "a sweep needs a setting with values to go over, such as over={'alpha': [1, 10, 100]}"
        )
    checked = {}
    for name, given in over.items():
        if name not in setting_names():
            raise unknown_name("setting", name, setting_names())
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise ValueError(f"{name} needs a list of values to go over, given {given!r}; try [{given!r}]")
        values = [_accepted(config, name, value) for value in given]
        if not values:
            raise ValueError(f"{name} needs at least one value to go over, given none")
        twice = next((value for i, value in enumerate(values) if value in values[:i]), None)
        if twice is not None:
            raise ValueError(f"{name} is given the value {twice!r} twice")
        checked[name] = values
    return checked


def cells(settings: Mapping[str, Any], over: Mapping[str, list[Any]]) -> list[Cell]:
    """A cell for each combination of checked values, the last setting moving first.

    Raises
    ------
    ValueError
        When they are more than `MOST_CELLS`, or have more than `MOST_EPOCHS` in all.

    Examples
    --------
    >>> [cell.name for cell in cells({"epochs": 10}, {"alpha": [1.0, 2.5], "seed": [0]})]
    ['alpha=1,seed=0', 'alpha=2.5,seed=0']
    """
    n = math.prod(len(values) for values in over.values())
    if n > MOST_CELLS:
        raise ValueError(f"{n:,} trainings are more than a sweep takes ({MOST_CELLS:,}); give fewer values")
    epochs = n * max(over.get("epochs", [settings["epochs"]]))
    if epochs > MOST_EPOCHS:
        raise ValueError(
            f"{n:,} trainings with {epochs // n:,} epochs are more than a sweep takes ({MOST_EPOCHS:,} epochs in all); "
            "give fewer values or epochs"
        )
    found = []
    for chosen in itertools.product(*over.values()):
        values = dict(zip(over, chosen, strict=True))
        name = ",".join(f"{setting}={_in_name(value)}" for setting, value in values.items())
        if len(name) > _LONGEST_NAME:
            raise ValueError(f"{name} is too long for the name of a folder; sweep fewer settings at once")
        found.append(Cell(name, values, {**settings, **values}))
    return found


def _accepted(config: TrainingConfig, name: str, value: Any) -> Any:
    try:
        accepted = getattr(TrainingConfig(**{**config.to_dict(), name: value}), name)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} does not take the value {value!r}: {error}") from None
    is_real = type(TrainingConfig.param[name]) is param.Number
    return float(accepted) if is_real else accepted


def _in_name(value: Any) -> str:
    """A value as a part of a file's name: readable, and another for each value."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float) and float(short := f"{value:g}") == value:
        return short
    return quote(str(value), safe="+")
