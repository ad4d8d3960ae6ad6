"""State of the sweeps in the Compare tab: which one is looked at, and what of it is drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from textwrap import shorten
from typing import NamedTuple

import param
import xarray as xr

from smoot_explore import views
from smoot_explore.schema import SWEEP, start_config
from smoot_explore.views.view import Frames

_QUANTITIES = (
    "test_accuracy", "drop_auc", "curves_auc", "k_median", "train_accuracy", "train_loss", "cross_entropy",
    "kl", "duration_seconds",
)  # fmt: skip
_TOLD, _LONGEST_WHY = 5, 300  # failed trainings; characters of why


def _named(quantity: str) -> str:
    variable = SWEEP.all_variables[quantity]
    unit = "" if variable.units == "1" else f" ({variable.units})"
    return f"{variable.long_name.partition(',')[0]}{unit}"


class Pictures(NamedTuple):
    """What is drawn of a sweep; of a picture that cannot be, why."""

    map: Frames | str
    curves: Frames | str
    coordinates: Frames | str


class SweepState(param.Parameterized):
    """Which sweep of the server's folder is looked at, and the quantity and settings that are drawn."""

    chosen = param.Selector(
        default="",
        objects={"none": ""},
        label="Sweep",
        doc="Many trainings with other settings each, in one folder of this server; smoot-explore sweep makes them.",
    )
    quantity = param.Selector(
        default=_QUANTITIES[0],
        objects={_named(name): name for name in _QUANTITIES},
        label="Quantity",
        doc="What is compared. The median of k reads the record of every run, which takes a moment.",
    )
    across = param.Selector(default="", objects=[""], label="To the right", doc="The map's columns.")
    down = param.Selector(default="", objects=[""], label="Downwards", doc="The map's rows.")
    along = param.Selector(
        default="", objects=[""], label="A line for each", doc="What the curves tell apart."
    )
    opened = param.Parameter(
        default=None, doc="The chosen sweep, as of `open_sweep`; None before it is read."
    )

    def __init__(self) -> None:
        super().__init__()
        self.param.watch(self._moved, ["across", "down"])

    def offer(self, names: Sequence[str]) -> None:
        """Let the visitor choose among the sweeps that there are now."""
        if self.chosen and self.chosen not in names:
            self.chosen = ""
        self.param.chosen.objects = {"none": ""} | {name: name for name in names}

    def show(self, opened: xr.Dataset) -> None:
        """Look at a sweep; choices that it has too stay."""
        over: dict[str, list] = json.loads(opened.attrs["over"])
        several = [name for name, values in over.items() if len(values) > 1] or list(over)[:1]
        several.sort(key=lambda name: name == "seed")  # which is averaged, where another can be drawn
        rows = [name for name in several[1:] if name != "seed"]
        names = {"across": several, "down": several if rows else ["", *several[1:]], "along": several}
        offered = {name: dict(zip(values, values, strict=True)) for name, values in names.items()}
        offered["quantity"] = {_named(name): name for name in _QUANTITIES if name in opened}
        first = {"across": several[0], "down": rows[0] if rows else "", "along": several[0]}
        first["quantity"] = _QUANTITIES[0]
        before = {name: getattr(self, name) for name in offered}
        now = {name: old if old in offered[name].values() else first[name] for name, old in before.items()}
        if now["down"] == now["across"]:
            now |= {name: first[name] for name in ("across", "down")}
        self.opened = None  # nothing is drawn meanwhile
        for (
            name,
            objects,
        ) in offered.items():  # a list of the page whose value is gone would choose another itself
            self.param[name].objects = objects | {before[name]: before[name]}
        self.param.update(**now)
        for name, objects in offered.items():
            self.param[name].objects = objects
        self.opened = opened

    @property
    def choices(self) -> tuple[str, str, str, str]:
        """What `pictures` takes after the sweep."""
        return self.quantity, self.across, self.down, self.along

    def standing(self) -> str:
        """How far the trainings are, and why some failed, as plain text."""
        if self.opened is None:
            return ""
        done, problem = self.opened.epochs_done, self.opened.problem
        goal = (
            self.opened["epochs"] if "epochs" in self.opened.coords else start_config(self.opened)["epochs"]
        )
        failed = (problem != "").values
        finished = int(((done >= goal).values & ~failed).sum())
        words = f"{finished} of {done.size} trainings are finished"
        if left := done.size - finished - int(failed.sum()):
            words += f", {left} in work or not begun"
        if not failed.any():
            return f"{words}."
        runs, why = self.opened.run.values[failed], problem.values[failed]
        told = "; ".join(
            f"{run}: {shorten(text, _LONGEST_WHY, placeholder=' …')}"
            for run, text in list(zip(runs, why, strict=True))[:_TOLD]
        )
        return f"{words}, {failed.sum()} failed: {told}{' …' if len(runs) > _TOLD else ''}"

    def _moved(self, *events: param.parameterized.Event) -> None:
        """The other one takes the place that was left: a map has two different settings."""
        for event in events:
            other = "down" if event.name == "across" else "across"
            if event.new == getattr(self, other) and event.old in self.param[other].objects:
                setattr(self, other, event.old)


def pictures(opened: xr.Dataset, quantity: str, across: str, down: str, along: str) -> Pictures:
    """The pictures of a sweep; it reads what they need."""

    def drawn(view: views.SweepView, *asked: str | None) -> Frames | str:
        try:
            return view.frames(opened, quantity, *asked)
        except ValueError as error:
            return str(error)

    return Pictures(
        drawn(views.sweep_map, across, down or None),
        drawn(views.sweep_curves, along),
        drawn(views.parallel_coordinates),
    )
