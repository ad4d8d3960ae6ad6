"""All of one visitor's state: the tabs' states, which runs they look at, and what is being measured."""

from __future__ import annotations

from collections.abc import Sequence

import param

from smoot_explore.core.config import setting_names
from smoot_explore.data.images import Split
from smoot_explore.engine.engine import Engine
from smoot_explore.engine.makers import ModelMaker
from smoot_explore.engine.measurement import Measurement
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state.address import Address, Place
from smoot_explore.explorer.state.catalogue import Catalogue
from smoot_explore.explorer.state.compare import CompareState
from smoot_explore.explorer.state.image import FILTER_PROTOCOL, ImageState
from smoot_explore.explorer.state.images import ImagesState
from smoot_explore.explorer.state.sweep import SweepState
from smoot_explore.explorer.state.train import TrainState
from smoot_explore.explorer.state.whatif import SETTINGS as WHATIF_SETTINGS
from smoot_explore.explorer.state.whatif import WhatIfState
from smoot_explore.runs.run import Run

TABS = ("train", "image", "images", "what-if", "compare")


class SessionState(param.Parameterized):
    """What one visitor sees. Nothing of it is shared with other visitors but runs that are only read."""

    tab = param.Selector(default=TABS[0], objects=list(TABS))
    run_key = param.Selector(
        default="bundled/smoot",
        objects={"SMOOT, bundled": "bundled/smoot"},
        label="Run",
        doc="The trained model that Image, Images and What if look at.",
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
        self.train = TrainState(settings, engine, models)
        self.image = ImageState()
        self.images = ImagesState()
        self.whatif = WhatIfState()
        self.compare = CompareState()
        self.sweep = SweepState()
        self.measurement: Measurement | None = None
        self.catalogue = Catalogue(settings, self._offer, runs, models)
        self.catalogue.follow()
        given = list(self.catalogue.given)
        self.compared = given or [key for key in self.catalogue.labels if key.startswith("bundled/")]
        if given:
            self.run_key = given[0]
        self.address = Address(
            self._in_the_address(),
            (self, "compared"),
            self._show_labels,
        )

    def show_run(self) -> OpenedRun:
        """Open the chosen run in the tabs that look at one."""
        opened = self.catalogue.open(self.run_key)
        self.show(opened)
        return opened

    def show(self, opened: OpenedRun, upload: Split | None = None) -> None:
        """Show a run in the tabs that look at one; ``upload`` as for `ImageState.show`."""
        chosen = self.whatif.picked
        self.image.show(opened, upload)
        for state in (self.images, self.whatif):
            state.show(opened)
        if chosen == 0:  # the page has picked an image itself: nothing that an address need hold
            self.address.remember_defaults("whatif_image")

    def show_compared(self) -> None:
        """Open the runs to compare; one that cannot be opened is left out, with a message."""
        self.compare.opened_runs, complaints = self.catalogue.open_all(self.compared)
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

    def measure_missing(self, tab: str) -> Measurement | None:
        """Begin to measure what a tab lacks; None when it lacks nothing or a measurement is under way."""
        if self.measurement is not None and not self.measurement.done:
            return None
        image, images, whatif, compare = self.image, self.images, self.whatif, self.compare
        if tab == "what-if" and whatif.opened is not None and whatif.lacks_landscape:
            self.measurement = whatif.opened.measure_landscape(self._measuring)
            return self.measurement
        lacking: tuple[OpenedRun, str, str] | None = None
        if tab == "image" and image.opened is not None and image.lacks_curves:
            lacking = image.opened, *FILTER_PROTOCOL
        elif tab == "images" and images.opened is not None and images.lacks_curves:
            lacking = images.opened, images.fill, images.attribution
        elif tab == "compare" and compare.missing:
            lacking = compare.missing[0], compare.fill, compare.attribution
        if lacking is None:
            return None
        opened, fill, attribution = lacking
        self.measurement = opened.measure_curves(self._measuring, fill, attribution)
        return self.measurement

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
        self.compared = [*self.compared, *(key for key in left.compared if key.startswith("mine/"))]

    def close(self) -> None:
        """End everything that goes on and free what was held."""
        if self.measurement is not None:
            self.measurement.cancel()
        self.train.close()
        for state in (self.image, self.images, self.whatif):
            state.opened = None
        self.compare.opened_runs = []
        self.sweep.opened = None
        self.catalogue.clear()

    def _show_labels(self) -> None:
        """Have the labels of the chosen run to choose from."""
        if self.image.opened is None or self.image.opened.key != self.run_key:
            self.image.show(self.catalogue.open(self.run_key))

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
            "attribution": (image, "attribution"),
            "signed": (image, "signed"),
            "label": (image, "label"),
            "class": (image, "of_class"),
            "prediction": (image, "prediction"),
            "curves_fill": (images, "fill"),
            "curves_attribution": (images, "attribution"),
            "tolerance": (images, "tolerance"),
            "picked": (images, "picked"),
            **{f"whatif_{name}": (whatif.config, name) for name in WHATIF_SETTINGS},
            "whatif_epochs": (whatif, "epochs"),
            "whatif_image": (whatif, "picked"),
            "compare_fill": (self.compare, "fill"),
            "compare_attribution": (self.compare, "attribution"),
            "scale": (self.compare, "scale"),
            "sweep": (self.sweep, "chosen"),
            "quantity": (self.sweep, "quantity"),
        }
