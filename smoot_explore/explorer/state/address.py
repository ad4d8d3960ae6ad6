"""What the address of a page holds, so that a link opens the same view again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import param

from smoot_explore.config import setting_names
from smoot_explore.explorer.state.image import HALVES
from smoot_explore.explorer.state.whatif import SETTINGS as WHATIF_SETTINGS

if TYPE_CHECKING:
    from smoot_explore.explorer.state.session import SessionState

_LONGEST = 300  # characters of a text


class Address:
    """Reads and writes one visitor's state as the names and values of an address."""

    def __init__(self, session: SessionState) -> None:
        self.session = session
        self._defaults: dict[str, Any] = {}
        self.remember_defaults()

    def parameters(self) -> dict[str, tuple[param.Parameterized, str]]:
        """What an address holds: its name there, whose parameter, and which. The compared runs come on top."""
        session = self.session
        train, image, images, whatif = session.train, session.image, session.images, session.whatif
        settings = {
            name: (train.config, name)
            for name in ("method", "alpha", "beta", "kl_weight", "learning_rate", "k_init", "k_min", "k_max")
        }
        rest = set(setting_names()) - {*settings, "epochs", "device"}
        return {
            "tab": (session, "tab"),
            "run": (session, "run_key"),
            **settings,
            "epochs": (train.config, "epochs"),
            "images": (train, "train_images"),
            "data": (train, "data_name"),
            "model": (train, "model_name"),
            "watch": (train, "watch"),
            **{f"train_{name}": (train.config, name) for name in sorted(rest)},
            "half": (image, "half"),
            "image": (image, "image"),
            "masked": (image, "masked_fraction"),
            "order": (image, "order"),
            "fill": (image, "fill"),
            "attribution": (image, "method"),
            "signed": (image, "signed"),
            "label": (image, "label"),
            "class": (image, "of_class"),
            "prediction": (image, "prediction"),
            "curves_fill": (images, "fill"),
            "curves_attribution": (images, "method"),
            "tolerance": (images, "tolerance"),
            "picked": (images, "picked"),
            **{f"whatif_{name}": (whatif.config, name) for name in WHATIF_SETTINGS},
            "whatif_epochs": (whatif, "epochs"),
            "whatif_image": (whatif, "picked"),
            "compare_fill": (session.compare, "fill"),
            "compare_attribution": (session.compare, "method"),
            "scale": (session.compare, "scale"),
        }

    def write(self) -> dict[str, str]:
        """What differs from a fresh page."""
        values = {}
        for name, (owner, parameter) in self.parameters().items():
            value = getattr(owner, parameter)
            if value != self._defaults[name] and not (name == "half" and value == HALVES[2]):
                values[name] = f"{value:.12g}" if isinstance(value, float) else str(value)
        compared = self.session.compared
        if compared != self._defaults["runs"] and not any(key.startswith("mine/") for key in compared):
            values["runs"] = ",".join(compared)
        return values

    def read(self, values: Mapping[str, str]) -> list[str]:
        """Take over what an address says; what it says wrongly is left as it is and told of, a line each."""
        complaints = []
        session, owners = self.session, self.parameters()
        for name, text in sorted(values.items(), key=lambda item: item[0] == "label"):
            try:
                if name == "label":  # which ones there are depends on the run
                    session.image.show(session.catalogue.open(session.run_key))
                if name == "runs":
                    session.compared = [key for key in text.split(",") if key]
                elif name in owners:
                    owner, parameter = owners[name]
                    setattr(owner, parameter, _parsed(owner.param[parameter], text))
            except (ValueError, TypeError, OSError) as error:
                accepted = _accepted(*owners[name]) if name in owners else str(error)
                complaints.append(f"The address says {name}={text}, which is left out: {accepted}.")
        return complaints

    def remember_defaults(self, *names: str) -> None:
        """Take the present values as those that an address need not hold: of some names, or of all."""
        parameters = self.parameters()
        for name in names or parameters:
            owner, parameter = parameters[name]
            self._defaults[name] = getattr(owner, parameter)
        if not names:
            self._defaults["runs"] = list(self.session.compared)


def _accepted(owner: param.Parameterized, name: str) -> str:
    """What a parameter takes, for people."""
    parameter = owner.param[name]
    if isinstance(parameter, param.Selector):
        return f"choose one of {', '.join(map(str, parameter.objects))}"
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
