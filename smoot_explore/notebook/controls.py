"""Controls for notebooks, made from where a setting is declared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import param

from smoot_explore.core.config import LiveValues, TrainingConfig

_WIDE = {"description_width": "230px"}
_BOUNDS = ("k_min", "k_max")


def slider(label: str, low: float, high: float, value: float, step: float | None = None) -> widgets.Widget:
    """A slider for a number: for a whole one when all that is given is whole."""
    whole = all(isinstance(x, int | np.integer) for x in (low, high, value, step or 1))
    kind = widgets.IntSlider if whole else widgets.FloatSlider
    return kind(
        value=value, min=low, max=high, step=step or (1 if whole else (high - low) / 100), description=label,
        style=_WIDE, layout={"width": "560px"},
    )  # fmt: skip


def choice(label: str, options: Sequence[Any], value: Any = None) -> widgets.Dropdown:
    """A list to choose from; begins with ``value``, by default the first."""
    return widgets.Dropdown(
        options=list(options), value=options[0] if value is None else value, description=label, style=_WIDE,
        layout={"width": "560px"},
    )  # fmt: skip


def setting(config: param.Parameterized, name: str) -> widgets.Widget:
    """A control for a parameter, bound both ways; range, step, label and explanation are the parameter's.

    Raises
    ------
    ValueError
        For a parameter that no control fits.
    """
    parameter = config.param[name]
    value = getattr(config, name)
    if isinstance(parameter, param.Selector):
        control: widgets.Widget = choice(parameter.label, parameter.objects, value)
    elif isinstance(parameter, param.Boolean):
        control = widgets.Checkbox(value=value, description=parameter.label)
    elif isinstance(parameter, param.Number):  # param.Integer is one too
        low, high = parameter.softbounds or parameter.bounds
        if isinstance(parameter, param.Integer):
            control = slider(parameter.label, low, max(high, value), value)
        else:
            step = _step(parameter.step, value)
            if step < parameter.step:  # a small value: all of the slider's length for its surroundings
                high = min(high, 10 * value)
            control = slider(parameter.label, low, max(high, value), value, step)
            control.readout_format = ".3g"
    else:
        raise ValueError(f"there is no control for {name!r}; set it as config.{name} = …")
    control.tooltip = parameter.doc

    def to_config(change: dict) -> None:
        setattr(config, name, change["new"])

    def to_control(event: param.parameterized.Event) -> None:
        if getattr(control, "max", event.new) < event.new:  # beyond the sensible range, but allowed
            control.max = event.new
        if isinstance(control, widgets.FloatSlider):
            control.step = min(control.step, _step(control.step, event.new))
        control.value = event.new

    control.observe(to_config, "value")
    config.param.watch(to_control, name)
    return control


def bounds_setting(config: TrainingConfig) -> widgets.FloatRangeSlider:
    """One slider with two handles for k_min and k_max, which can then not cross."""
    low, high = config.param.k_min, config.param.k_max
    control = widgets.FloatRangeSlider(
        value=(config.k_min, config.k_max), min=0.0, max=1.0, step=low.step, style=_WIDE,
        description="Bounds of k (fraction)", layout={"width": "560px"}, readout_format=".2f",
        tooltip=f"{low.doc} {high.doc}",
    )  # fmt: skip

    def to_config(change: dict) -> None:
        config.param.update(k_min=change["new"][0], k_max=change["new"][1])

    def to_control(*events: param.parameterized.Event) -> None:
        if config.k_min <= config.k_max:  # not when one of them was set and the other is about to be
            control.value = (config.k_min, config.k_max)

    control.observe(to_config, "value")
    config.param.watch(to_control, list(_BOUNDS))
    return control


def settings(config: TrainingConfig, names: Sequence[str] = LiveValues._fields) -> list[widgets.Widget]:
    """Controls for several parameters, by default for those that may move while training runs."""
    bounded = set(_BOUNDS) <= set(names)
    controls = [setting(config, name) for name in names if not (bounded and name in _BOUNDS)]
    return [*controls, bounds_setting(config)] if bounded else controls


def _step(step: float, value: float) -> float:
    """The step, or a tenth, a hundredth … of it: a page moves a value that lies between two steps to one of them."""
    while step > 1e-9 and abs(value / step - round(value / step)) > 1e-6:
        step /= 10
    return step
