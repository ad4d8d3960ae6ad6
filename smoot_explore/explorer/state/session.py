"""All of one visitor's state: the tabs' states, which runs they look at, and what is being measured."""

from __future__ import annotations

import param

from smoot_explore.explorer.background import Measurement
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state.address import Address
from smoot_explore.explorer.state.catalogue import Catalogue
from smoot_explore.explorer.state.compare import CompareState
from smoot_explore.explorer.state.image import FILTER_PROTOCOL, ImageState
from smoot_explore.explorer.state.images import ImagesState
from smoot_explore.explorer.state.train import ModelMaker, TrainState
from smoot_explore.explorer.state.whatif import WhatIfState
from smoot_explore.explorer.subjects import Subject
from smoot_explore.explorer.trainings import TrainingPool

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
        self, settings: ServerSettings, pool: TrainingPool, models: dict[str, ModelMaker] | None = None
    ) -> None:
        super().__init__()
        self.settings = settings
        self.train = TrainState(settings, pool, models)
        self.image = ImageState()
        self.images = ImagesState()
        self.whatif = WhatIfState()
        self.compare = CompareState()
        self.measurement: Measurement | None = None
        self.catalogue = Catalogue(settings, self._offer)
        self.catalogue.refresh()
        self.compared = [key for key in self.catalogue.labels if key.startswith("bundled/")]
        self.address = Address(self)

    def show_run(self) -> Subject:
        """Open the chosen run in the tabs that look at one."""
        subject = self.catalogue.open(self.run_key)
        chosen = self.whatif.picked
        for state in (self.image, self.images, self.whatif):
            state.show(subject)
        if chosen == 0:  # the page has picked an image itself: nothing that an address need hold
            self.address.remember_defaults("whatif_image")
        return subject

    def show_compared(self) -> None:
        """Open the runs to compare; one that cannot be opened is left out, with a message."""
        subjects = []
        for key in self.compared:
            try:
                subjects.append(self.catalogue.open(key))
            except ValueError as error:
                self.message = str(error)
        self.compare.subjects = subjects

    def adopt_training(self) -> str | None:
        """Offer the run in training (or trained) to the other tabs, once it has an epoch; its key."""
        training = self.train.training
        if training is None or training.prepared is None or not self.train.epochs:
            return None
        key = self.catalogue.key_of(training.prepared.run)
        if key is None:
            key = self.catalogue.add(training.prepared)
            self.compared = [*self.compared, key]
        return key

    def measure_missing(self, tab: str) -> Measurement | None:
        """Begin to measure what a tab lacks; None when it lacks nothing or a measurement is under way."""
        if self.measurement is not None and not self.measurement.done:
            return None
        image, images, whatif, compare = self.image, self.images, self.whatif, self.compare
        if tab == "what-if" and whatif.subject is not None and whatif.lacks_landscape:
            self.measurement = Measurement(
                f"k-landscape of {whatif.subject.label}", whatif.subject.measure_landscape
            )
            return self.measurement
        lacking: tuple[Subject, str, str] | None = None
        if tab == "image" and image.subject is not None and image.lacks_curves:
            lacking = image.subject, *FILTER_PROTOCOL
        elif tab == "images" and images.subject is not None and images.lacks_curves:
            lacking = images.subject, images.fill, images.method
        elif tab == "compare" and compare.missing:
            lacking = compare.missing[0], compare.fill, compare.method
        if lacking is None:
            return None
        subject, fill, method = lacking
        self.measurement = Measurement(
            f"masking curves of {subject.label}", lambda p: subject.measure_curves(fill, method, p)
        )
        return self.measurement

    def close(self) -> None:
        """End everything that goes on and free what was held."""
        if self.measurement is not None:
            self.measurement.cancel()
        self.train.close()
        for state in (self.image, self.images, self.whatif):
            state.subject = None
        self.compare.subjects = []
        self.catalogue.clear()

    def _offer(self) -> None:
        """Let the visitor choose among the runs that there are now."""
        options = {label: key for key, label in self.catalogue.labels.items()}
        if self.run_key not in options.values():
            self.run_key = next(iter(options.values()))
        with param.parameterized.batch_call_watchers(self):
            self.param.run_key.objects = options
            self.param.compared.objects = options
            self.compared = [key for key in self.compared if key in options.values()]
