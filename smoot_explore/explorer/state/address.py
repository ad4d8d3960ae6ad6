"""What the address of a page holds, so that a link opens the same view again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import param

from smoot_explore.errors import reason
from smoot_explore.explorer.state.image import HALVES
from smoot_explore.explorer.state.picking import PicksImage

Place = tuple[param.Parameterized, str]  # whose parameter, and which

IMAGES = ("image_id", "picked_id", "whatif_image_id")  # the image of a tab by its id
IMAGES_BEFORE = (
    "image",
    "picked",
    "whatif_image",
)  # by its position, in addresses of before: in the same order
OF_THE_RUN = ("run", "at", "label", *IMAGES)  # the run, and what says nothing of another one
OWN = "mine/"  # how the keys of runs begin that nobody else has
_LONGEST = 300  # characters of a text
_TOLD = 40  # of them in a message


class Address:
    """Reads and writes one visitor's state as the names and values of an address."""

    def __init__(
        self, parameters: Mapping[str, Place], compared: Place, show_run: Callable[[], object]
    ) -> None:
        """``parameters`` are what an address holds, by their names there, and ``compared`` the list of compared runs.
        ``show_run`` opens the run that is chosen by then: which labels and images there are depends on it."""
        self.parameters, self._compared, self._show_run = parameters, compared, show_run
        self.defaults: dict[str, Any] = {}
        self.remember_defaults()

    def write(self, own: bool = False) -> dict[str, str]:
        """What differs from a fresh page; without the visitor's ``own`` runs, which nobody else could open."""
        values = {}
        unknown = OF_THE_RUN if not own and _value(self.parameters["run"]).startswith(OWN) else ()
        half = _value(self.parameters["half"])
        own_picture = half == HALVES[2]
        for name, place in self.parameters.items():
            value = _value(place)
            left_out = name in unknown or (name in ("half", "image_id") and own_picture)
            # Beside other images, the number of the first test image is as good as any other.
            fresh = value == self.defaults[name] and not (
                name == "image_id" and half != self.defaults["half"]
            )
            if value is not None and not fresh and not left_out:
                values[name] = f"{value:.12g}" if isinstance(value, float) else str(value)
        compared = [key for key in _value(self._compared) if own or not key.startswith(OWN)]
        if compared != self.defaults["runs"]:
            values["runs"] = ",".join(compared)
        return values

    def read(self, values: Mapping[str, str]) -> list[str]:
        """Take over what an address says; what it says wrongly is left as it is and told of, a line each."""
        complaints = []
        for name, text in sorted(values.items(), key=lambda item: _turn(item[0])):
            try:
                self._take(name, text)
            except (
                ValueError,
                TypeError,
                OSError,
            ) as error:  # why a run cannot be opened, `show_run` tells too
                complaints.append(self._complaint(name, text, error))
        return complaints

    def default(self, name: str) -> str:
        """What an address that does not hold the name stands for."""
        return str(self.defaults[name])

    def reset(self, keep: Collection[str]) -> None:
        """Back to a fresh page, but for some names."""
        for name, place in self.parameters.items():
            if name not in keep:
                setattr(*place, self.defaults[name])
        if "runs" not in keep:
            owner, parameter = self._compared
            offered = owner.param[parameter].objects
            setattr(owner, parameter, [key for key in self.defaults["runs"] if key in offered])

    def remember_defaults(self, *names: str) -> None:
        """Take the present values as those that an address need not hold: of some names, or of all."""
        for name in names or self.parameters:
            self.defaults[name] = _value(self.parameters[name])
        if not names:
            self.defaults["runs"] = list(_value(self._compared))

    def _take(self, name: str, text: str) -> None:
        if name == "runs":
            setattr(*self._compared, [key for key in text.split(",") if key])
            return
        position = name in IMAGES_BEFORE
        place = self.parameters.get(IMAGES[IMAGES_BEFORE.index(name)] if position else name)
        if place is None:
            return
        owner, parameter = place
        value = _parsed(owner.param[parameter], text)
        if parameter == "image_id" and value < 0:
            raise ValueError("numbers of images begin at 0")
        if name == "label" or name in IMAGES or position:  # which ones there are depends on the run
            self._show_run()
        if isinstance(owner, PicksImage) and parameter == "image_id":
            owner.pick(owner.ids.at(value) if position else value)
        else:
            setattr(owner, parameter, value)

    def _complaint(self, name: str, text: str, error: Exception) -> str:
        """What was asked for and what holds, by the label of its control."""
        place = self._compared if name == "runs" else self.parameters[_now(name)]
        owner, parameter = place
        declared = owner.param[parameter]
        shown = text if len(text) <= _TOLD else f"{text[:_TOLD]}…"
        if name in ("run", "runs") and any(key.startswith(OWN) for key in text.split(",")):
            why = (
                "it is a run that somebody trained on a page of their own, which nobody else can open. Whoever trained "
                "it can keep it on this server, and give the address of the kept run"
            )
        elif isinstance(owner, PicksImage) and parameter == "image_id" and _is_whole(text):
            why = reason(error)
        else:
            why = _accepted(declared)
        return f"{declared.label}: the address asks for “{shown}”. {_capital(why)}. {_holds(declared, _value(place))}"


def _now(name: str) -> str:
    return IMAGES[IMAGES_BEFORE.index(name)] if name in IMAGES_BEFORE else name


def _turn(name: str) -> int:
    """When a name is read: an image last, because filters before it would lead to another one."""
    return 2 if name in (*IMAGES, *IMAGES_BEFORE) else 1 if name == "label" else 0


def _value(place: Place) -> Any:
    return getattr(*place)


def _holds(parameter: param.Parameter, value: Any) -> str:
    """What holds instead of what was asked for."""
    names = parameter.names if isinstance(parameter, param.Selector) else {}
    told = {key: label for label, key in (names or {}).items()}
    if isinstance(value, list):
        text = "; ".join(str(told.get(one, one)) for one in value) or "none"
    else:
        text = "the page's own choice" if value is None else str(told.get(value, value)) or "nothing"
    return f"It stays as it was: {text}."


def _accepted(parameter: param.Parameter) -> str:
    """What a parameter takes, for people."""
    if isinstance(parameter, param.Selector):
        return f"choose one of: {'; '.join(filter(None, map(str, parameter.names or parameter.objects)))}"
    if isinstance(parameter, param.Number):  # param.Integer is one too
        low, high = parameter.bounds or (None, None)
        kind = "a whole number" if isinstance(parameter, param.Integer) else "a number"
        return f"give {kind}" + (f" from {low} to {high}" if high is not None else f" of at least {low}")
    return "give True or False" if isinstance(parameter, param.Boolean) else "give another text"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _is_whole(text: str) -> bool:
    return text.isdecimal() and len(text) < 19


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
