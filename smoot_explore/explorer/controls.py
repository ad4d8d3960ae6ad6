"""Controls made from parameters: label, range, step and explanation come from where they are declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel_material_ui as pmui
import param

from smoot_explore.core.config import TrainingConfig
from smoot_explore.errors import reason
from smoot_explore.explorer.state.picking import PicksImage
from smoot_explore.explorer.theme import SMALL, TEXT

# Panel waits 50 ms for further moves before it tells the server of one; half of the time that a picture has.
_DEBOUNCE_MILLISECONDS = 5


def control(owner: param.Parameterized, name: str, **options: Any) -> Any:
    """A widget for a parameter, bound both ways."""
    parameter = owner.param[name]
    settings: dict[str, Any] = {
        "description": parameter.doc,
        "sizing_mode": "stretch_width",
        "margin": (4, 10),
        "size": "small",
        **options,
    }
    if isinstance(parameter, param.Selector):
        widget = pmui.Select.from_param(parameter, **settings)
    elif isinstance(parameter, param.Boolean):
        widget = pmui.Switch.from_param(parameter, **settings)
    elif isinstance(parameter, param.Number):  # param.Integer is one too
        start, end = parameter.softbounds or parameter.bounds
        kind = pmui.IntSlider if isinstance(parameter, param.Integer) else pmui.FloatSlider
        settings = {"start": start, "end": end, "step": parameter.step or 1, **settings}
        widget = kind.from_param(parameter, **settings)
    else:
        widget = pmui.TextInput.from_param(parameter, **settings)
    widget._debounce = _DEBOUNCE_MILLISECONDS
    return widget


def label_in(widget: Any, unit: str) -> None:
    """Have the label of α's slider name what k counts: pixels or patches."""
    label = TrainingConfig.param.alpha.label.replace("pixels", unit)
    if widget.label != label:
        widget.label = label


def values_slider(label: str, values: list[Any]) -> pmui.DiscreteSlider:
    """A slider over a few values."""
    slider = pmui.DiscreteSlider(
        label=label,
        options=values,
        value=values[0],
        sizing_mode="stretch_width",
        margin=(4, 10),
        size="small",
    )
    slider._debounce = _DEBOUNCE_MILLISECONDS
    return slider


def image_field(state: PicksImage, complain: Callable[[str], None], **options: Any) -> pmui.IntInput:
    """A field for the number of an image; its arrows lead to the next one that passes the filters."""
    parameter = state.param.image_id
    field = pmui.IntInput(
        label=parameter.label, value=state.image_id, start=0,
        **{"size": "small", "margin": (4, 10), "description": parameter.doc, **options},
    )  # fmt: skip

    def to_state(event: param.parameterized.Event) -> None:
        if event.new is not None and event.new != state.image_id:  # else it was emptied, or set below
            by = event.new - (event.old or 0)
            try:
                if abs(by) == 1 and event.new not in state.passing:
                    state.step(by)
                else:
                    state.pick(event.new)
            except ValueError as error:
                complain(reason(error))
        to_field()

    def to_field(*events: param.parameterized.Event) -> None:
        field.value = state.image_id

    field.param.watch(to_state, "value")
    state.param.watch(to_field, "image_id")
    return field


def choice(owner: param.Parameterized, name: str, options: list[str]) -> pmui.Select:
    """A list for a parameter that takes any text of some form, where only these make sense here."""
    parameter = owner.param[name]
    return pmui.Select.from_param(
        parameter, options=options, description=parameter.doc, sizing_mode="stretch_width", margin=(4, 10),
        size="small",
    )  # fmt: skip


def bounds_control(config: TrainingConfig) -> pmui.RangeSlider:
    """One slider with two handles for k_min and k_max, which can then not cross."""
    low, high = config.param.k_min, config.param.k_max
    slider = pmui.RangeSlider(
        label="Bounds of k (share)",
        start=0.0,
        end=1.0,
        step=low.step,
        value=(config.k_min, config.k_max),
        description=f"{low.doc} {high.doc}",
        sizing_mode="stretch_width",
        margin=(4, 10),
        size="small",
    )
    slider._debounce = _DEBOUNCE_MILLISECONDS

    def to_config(event: param.parameterized.Event) -> None:
        config.param.update(k_min=event.new[0], k_max=event.new[1])

    def to_slider(*events: param.parameterized.Event) -> None:
        slider.value = tuple(sorted((config.k_min, config.k_max)))

    slider.param.watch(to_config, "value")
    config.param.watch(to_slider, ["k_min", "k_max"])
    return slider


def button_group(owner: param.Parameterized, name: str, options: dict[str, Any] | None = None) -> Any:
    """A row of buttons for a parameter with few choices."""
    parameter = owner.param[name]
    return pmui.RadioButtonGroup.from_param(
        parameter,
        options=options or list(parameter.objects),
        label=parameter.label,
        size="small",
        margin=(4, 10),
        sizing_mode="stretch_width",
        color="primary",
    )


def text(words: str = "", **options: Any) -> pmui.Typography:
    """Words in the size of the page's text; Markdown."""
    settings = {"sizing_mode": "stretch_width", "margin": (4, 10), "sx": {"fontSize": f"{TEXT}px"}, **options}
    return pmui.Typography(words, **settings)


def small_text(words: str = "", **options: Any) -> pmui.Typography:
    """Words beside what they explain; Markdown."""
    return text(words, **{"sx": {"fontSize": f"{SMALL}px"}, **options})
