"""What the address of a page holds, so that a link opens the same view again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import param

from smoot_explore.explorer.state.image import HALVES

Place = tuple[param.Parameterized, str]  # whose parameter, and which

_LONGEST = 300  # characters of a text


class Address:
    """Reads and writes one visitor's state as the names and values of an address."""

    def __init__(
        self, parameters: Mapping[str, Place], compared: Place, show_run: Callable[[], object]
    ) -> None:
        """``parameters`` are what an address holds, by their names there, and ``compared`` the list of compared runs.
        ``show_run`` opens the run that is chosen by then: which labels there are depends on it."""
        self.parameters, self._compared, self._show_run = parameters, compared, show_run
        self._defaults: dict[str, Any] = {}
        self.remember_defaults()

    def write(self) -> dict[str, str]:
        """What differs from a fresh page."""
        values = {}
        for name, place in self.parameters.items():
            value = _value(place)
            if value != self._defaults[name] and not (name == "half" and value == HALVES[2]):
                values[name] = f"{value:.12g}" if isinstance(value, float) else str(value)
        compared = _value(self._compared)
        if compared != self._defaults["runs"] and not any(key.startswith("mine/") for key in compared):
            values["runs"] = ",".join(compared)
        return values

    def read(self, values: Mapping[str, str]) -> list[str]:
        """Take over what an address says; what it says wrongly is left as it is and told of, a line each."""
        complaints = []
        owners = self.parameters
        for name, text in sorted(values.items(), key=lambda item: item[0] == "label"):
            try:
                if name == "label":  # which ones there are depends on the run
                    self._show_run()
                if name == "runs":
                    setattr(*self._compared, [key for key in text.split(",") if key])
                elif name in owners:
                    owner, parameter = owners[name]
                    setattr(owner, parameter, _parsed(owner.param[parameter], text))
            except (
                ValueError,
                TypeError,
                OSError,
            ) as error:  # why a run cannot be opened, `show_run` tells too
                accepted = _accepted(*owners[name]) if name in owners else str(error)
                complaints.append(f"The address says {name}={text}, which is left out: {accepted}.")
        return complaints

    def remember_defaults(self, *names: str) -> None:
        """Take the present values as those that an address need not hold: of some names, or of all."""
        for name in names or self.parameters:
            self._defaults[name] = _value(self.parameters[name])
        if not names:
            self._defaults["runs"] = list(_value(self._compared))


def _value(place: Place) -> Any:
    return getattr(*place)


def _accepted(owner: param.Parameterized, name: str) -> str:
    """What a parameter takes, for people."""
    parameter = owner.param[name]
    if isinstance(parameter, param.Selector):
        return f"choose one of {', '.join(filter(None, map(str, parameter.objects)))}"
    if isinstance(parameter, param.Number):  # param.Integer is one too
        low, high = parameter.bounds or (None, None)
        kind = "a whole number" if isinstance(parameter, param.Integer) else "a number"
        return f"give {kind}" + (f" from {low} to {high}" if high is not None else f" of at least {low}")
    return "give True or False" if isinstance(parameter, param.Boolean) else "give another text"


def _parsed(parameter: param.Parameter, text: str) -> Any:
    if isinstance(parameter, param.Boolean):
        if text not in ("True", "False"):
            raise ValueError("it is True or False")
        return text == "True"
    if isinstance(parameter, param.Integer):
        return int(text)
    if isinstance(parameter, param.Number):
        value = float(text)
        if value != value or abs(value) == float("inf"):
            raise ValueError("it is no finite number")
        return value
    if len(text) > _LONGEST:
        raise ValueError("it is too long")
    return text
