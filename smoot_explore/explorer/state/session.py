"""All of one visitor's state: the tabs' states, which runs they look at, and what is being measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import param

from smoot_explore.core.config import setting_names
from smoot_explore.data.images import Split
from smoot_explore.engine.engine import Engine
from smoot_explore.engine.makers import ModelMaker
from smoot_explore.engine.measurement import Measurement
from smoot_explore.explorer.opened_runs import LANDSCAPE, Measured, OpenedRun
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state.address import IMAGES, OWN, Address, Place
from smoot_explore.explorer.state.catalogue import Catalogue
from smoot_explore.explorer.state.compare import CompareState
from smoot_explore.explorer.state.image import FILTER_PROTOCOL, ImageState
from smoot_explore.explorer.state.images import ImagesState
from smoot_explore.explorer.state.sweep import SweepState
from smoot_explore.explorer.state.train import TrainState
from smoot_explore.explorer.state.whatif import SETTINGS as WHATIF_SETTINGS
from smoot_explore.explorer.state.whatif import WhatIfState
from smoot_explore.runs.run import Run

MOST_COMPARED = 12  # runs
TABS = ("train", "image", "images", "what-if", "compare", "class")


class SessionState(param.Parameterized):
    """What one visitor sees. Nothing of it is shared with other visitors but runs that are only read."""

    tab = param.Selector(default=TABS[0], objects=list(TABS))
    run_key = param.Selector(
        default="bundled/smoot",
        objects={"SMOOT, bundled": "bundled/smoot"},
        label="Run",
        doc="The trained model that Image, Classes and What if look at.",
    )
    epoch = param.Integer(
        default=None,
        allow_None=True,
        bounds=(0, None),
        label="Epoch",
        doc="After which epoch of the run its model is looked at, 0 for the initial weights; by default the last.",
    )
    epochs = param.List(
        default=[], item_type=int, doc="Epochs whose weights the run shown holds, increasing."
    )
    compared = param.ListSelector(
        default=[],
        objects={},
        check_on_set=True,  # without objects at first, param would take any
        label="Runs",
        doc="The runs side by side: bundled ones, kept ones, and those of this page.",
    )
    message = param.String(default="", doc="The last thing that went wrong, for the visitor.")

    def __init__(
        self,
        settings: ServerSettings,
        engine: Engine,
        models: dict[str, ModelMaker] | None = None,
        runs: Sequence[Run] = (),
        measuring: Engine | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self._given = settings, engine, models, runs, measuring
        self._measuring = measuring or engine
        self._run_before = ""  # what the visitor looked at when a training began
        self.train = TrainState(settings, engine, models)
        self.image = ImageState()
        self.images = ImagesState()
        self.whatif = WhatIfState()
        self.compare = CompareState()
        self.sweep = SweepState()
        self.measurement: Measurement | None = None
        self._outdated: dict[
            Path, int
        ] = {}  # runs, and of how many epochs the compared ones lacked some last
        self._measures_now: tuple[OpenedRun, Measured] | None = None
        self.catalogue = Catalogue(settings, self._offer, runs, models)
        self.catalogue.follow()
        given = list(self.catalogue.given)
        self.compared = given or [key for key in self.catalogue.labels if key.startswith("bundled/")]
        if given:
            self.run_key = given[0]
        self.train.param.watch(lambda event: setattr(self, "_run_before", self.run_key), "begun")
        self.param.watch(self._limit_compared, "compared")  # before anything is opened
        self.address = Address(self._in_the_address(), (self, "compared"), self._show_labels)

    def _limit_compared(self, event: param.parameterized.Event) -> None:
        """Each run once, and no more than can be looked at: all of them are opened and drawn."""
        once = list(dict.fromkeys(event.new))
        if len(once) > MOST_COMPARED:
            self.message = f"At most {MOST_COMPARED} runs are compared; these are the first of {len(once)}."
        if once[:MOST_COMPARED] != event.new:
            self.compared = once[:MOST_COMPARED]

    @property
    def _of_one_run(self) -> tuple[ImageState, ImagesState, WhatIfState]:
        return self.image, self.images, self.whatif

    def show_run(self) -> OpenedRun:
        """Open the chosen run, at the chosen epoch, in the tabs that look at one."""
        opened = self.catalogue.open(self.run_key)
        opened = opened if self.epoch is None else opened.at(self.epoch)
        self.show(opened)
        return opened

    @property
    def epoch_shown(self) -> int:
        """The epoch chosen, as a number: the last one by default. Set to the last, it follows a training."""
        last = self.epochs[-1] if self.epochs else 0
        return last if self.epoch is None else self.epoch

    @epoch_shown.setter
    def epoch_shown(self, epoch: int) -> None:
        self.epoch = None if self.epochs and epoch == self.epochs[-1] else epoch

    @property
    def shows_epoch(self) -> bool:
        """Whether the tab seen looks at the chosen epoch, with all that it measures of it."""
        opened = self.image.opened
        if opened is None or opened.key != self.run_key or opened.epoch != self.epoch_shown:
            return False
        lacks = {"image": False, "images": self.images.lacks_curves, "what-if": self.whatif.lacks_landscape}
        return not lacks.get(self.tab, True)

    def show(self, opened: OpenedRun, upload: Split | None = None) -> None:
        """Show a run in the tabs that look at one; ``upload`` as for `ImageState.show`."""
        self.epochs = opened.epochs
        self.image.show(opened, upload)
        for state in (self.images, self.whatif):
            state.show(opened)
        self._tell_first_picks()

    def take_measured(self) -> None:
        """Look at what was measured: filters may know more images now, and What if picks one of a new landscape."""
        self.image.settle()
        if self.whatif.opened is not None:
            self.whatif.show(self.whatif.opened)
        self._tell_first_picks()

    def _tell_first_picks(self) -> None:
        """An image that a fresh page picks itself is nothing that an address need hold."""
        self.address.defaults |= {name: self.address.parameters[name][0].first_pick for name in IMAGES}

    def show_compared(self) -> None:
        """Open the runs to compare; one that cannot be opened is left out, with a message."""
        opened_runs, complaints = self.catalogue.open_all(self.compared)
        self.compare.show(opened_runs)
        if complaints:
            self.message = " ".join(complaints)

    def adopt_training(self) -> str | None:
        """Offer the runs in training (or trained) to the other tabs, once they have an epoch; the chosen one's key."""
        keys = list[str | None]()
        in_use = {one.run.path for one in self.train.every if one.run is not None}
        for one in [*self.train.every, self.train.chosen]:
            key = None
            if one.run is not None and one.data is not None and one.history.scores:
                key = self.catalogue.key_of(one.run)
                if key is None:
                    key = self.catalogue.add(one.run, one.data, in_use)
                    self.compared = [*self.compared, key]
            keys.append(key)
        return keys[-1]

    @property
    def ended_keys(self) -> list[str]:
        """The runs of trainings that have ended."""
        runs = [one.run for one in self.train.every if one.run is not None and not one.busy]
        return [key for run in runs if (key := self.catalogue.key_of(run)) is not None]

    def look_at_trained(self) -> None:
        """Have the other tabs look at the training that has ended, unless another run was chosen meanwhile."""
        key = self.adopt_training()
        if key is not None and self.run_key == self._run_before:
            self.run_key = key

    def outdates_compared(self) -> bool:
        """Whether a training has epochs that its run among the compared ones lacks; said once of each.

        Not while something is measured: that would be lost.
        """
        if self.measurement is not None and not self.measurement.done:
            return False
        shown = {opened.run.path: opened.run.epochs for opened in self.compare.opened_runs}
        done = {one.run.path: one.epochs_done for one in self.train.every if one.run is not None}
        said, self._outdated = self._outdated, {path: n for path, n in done.items() if n > shown.get(path, n)}
        return not self._outdated.items() <= said.items()

    def measure_missing(self, tab: str) -> Measurement | None:
        """Begin to measure what a tab lacks; None when it lacks nothing or that is being measured already.

        What was being measured for another tab or choice is given up: nobody here looks at it any more.
        """
        lacking = self._lacking(tab)
        going_on = self.measurement is not None and not self.measurement.done
        if lacking is None or (going_on and self._measures(*lacking)):
            return None
        if going_on and self.measurement is not None:
            self.measurement.cancel()
        opened, what = lacking
        self._measures_now = lacking
        if isinstance(what, str):
            self.measurement = opened.measure_landscape(self._measuring)
        else:
            self.measurement = opened.measure_curves(self._measuring, *what)
        return self.measurement

    def _measures(self, opened: OpenedRun, what: Measured) -> bool:
        """Whether it is this that was begun last."""
        return (
            self._measures_now is not None
            and self._measures_now[0] is opened
            and self._measures_now[1] == what
        )

    def _lacking(self, tab: str) -> tuple[OpenedRun, Measured] | None:
        """What is still to be measured for a tab, and of which run."""
        image, images, whatif, compare = self.image, self.images, self.whatif, self.compare
        if tab == "what-if" and whatif.opened is not None and whatif.lacks_landscape:
            return whatif.opened, LANDSCAPE
        if tab == "image" and image.opened is not None and image.lacks_curves:
            return image.opened, FILTER_PROTOCOL
        if tab == "images" and images.opened is not None and images.lacks_curves:
            return images.opened, (images.fill, images.attribution)
        if tab == "compare" and compare.lacking:
            opened, fill, attribution = compare.lacking[0]
            return opened, (fill, attribution)
        return None

    @property
    def has_trained(self) -> bool:
        """Whether something is or was trained here."""
        return any(one.training for one in self.train.every) or self.catalogue.has_own

    def apart(self) -> SessionState:
        """A state that no page watches; it takes over what was trained here."""
        other = SessionState(*self._given)
        other.take_over(self)
        return other

    def take_over(self, left: SessionState) -> None:
        """Go on with what was trained in another state, which is left without it."""
        self.catalogue.take_over(left.catalogue)
        self.train.take_over(left.train)
        self.compared = [*self.compared, *(key for key in left.compared if key.startswith(OWN))]
        if left.run_key.startswith(OWN):  # of which no address says anything
            for mine, other in zip(self._of_one_run, left._of_one_run, strict=True):
                mine.image_id = other.image_id
            self.param.update(run_key=left.run_key, epoch=left.epoch)

    def close(self) -> None:
        """End everything that goes on and free what was held."""
        if self.measurement is not None:
            self.measurement.cancel()
        self.train.close()
        for state in self._of_one_run:
            state.opened = None
        self.compare.show([])
        self.sweep.opened = None
        self.catalogue.clear()

    def _show_labels(self) -> None:
        """Have the labels and images of the chosen run to choose from."""
        if self.image.opened is None or self.image.opened.key != self.run_key:
            self.show(self.catalogue.open(self.run_key))

    def _offer(self) -> None:
        """Let the visitor choose among the runs that there are now."""
        options = {label: key for key, label in self.catalogue.labels.items()}
        if self.run_key not in options.values():
            self.run_key = next(iter(options.values()))
        with param.parameterized.batch_call_watchers(self):
            self.param.run_key.objects = options
            self.param.compared.objects = options
            self.compared = [key for key in self.compared if key in options.values()]
        self.sweep.offer(self.catalogue.sweeps)

    def _in_the_address(self) -> dict[str, Place]:
        """What an address holds, by its name there."""
        train, image, images, whatif = self.train, self.image, self.images, self.whatif
        settings = {
            name: (train.config, name)
            for name in ("method", "alpha", "beta", "kl_weight", "learning_rate", "k_init", "k_min", "k_max")
        }
        rest = set(setting_names()) - {*settings, "epochs", "device"}
        return {
            "tab": (self, "tab"),
            "run": (self, "run_key"),
            "at": (self, "epoch"),
            **settings,
            "epochs": (train.config, "epochs"),
            "images": (train, "train_images"),
            "data": (train, "data_name"),
            "folder": (train, "folder"),
            "image_size": (train, "image_size"),
            "model": (train, "model_name"),
            "watch": (train, "watch"),
            **{f"train_{name}": (train.config, name) for name in sorted(rest)},
            "half": (image, "half"),
            "image_id": (image, "image_id"),
            "masked": (image, "masked_fraction"),
            "order": (image, "order"),
            "fill": (image, "fill"),
            "attribution": (image, "attribution"),
            "signed": (image, "signed"),
            "label": (image, "label"),
            "class": (image, "of_class"),
            "prediction": (image, "prediction"),
            "curves_fill": (images, "fill"),
            "curves_attribution": (images, "attribution"),
            "tolerance": (images, "tolerance"),
            "picked_id": (images, "image_id"),
            "over_epochs": (images, "over_epochs"),
            **{f"whatif_{name}": (whatif.config, name) for name in WHATIF_SETTINGS},
            "whatif_epochs": (whatif, "epochs"),
            "whatif_image_id": (whatif, "image_id"),
            "compare_fill": (self.compare, "fill"),
            "compare_attribution": (self.compare, "attribution"),
            "scale": (self.compare, "scale"),
            "less_random": (self.compare, "less_random"),
            "seeds_together": (self.compare, "seeds_together"),
            "sweep": (self.sweep, "chosen"),
            "quantity": (self.sweep, "quantity"),
        }
