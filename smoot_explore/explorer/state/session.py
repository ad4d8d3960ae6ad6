"""All of one visitor's state: the tabs' states, the runs that can be looked at, and what the address says."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import param

from smoot_explore.config import setting_names
from smoot_explore.explorer.background import Measurement
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state.compare import CompareState
from smoot_explore.explorer.state.image import FILTER_PROTOCOL, HALVES, ImageState
from smoot_explore.explorer.state.images import ImagesState
from smoot_explore.explorer.state.train import ModelMaker, TrainState
from smoot_explore.explorer.state.whatif import SETTINGS as WHATIF_SETTINGS
from smoot_explore.explorer.state.whatif import WhatIfState
from smoot_explore.explorer.subjects import Subject
from smoot_explore.explorer.trainings import Prepared, TrainingPool
from smoot_explore.records import write_dataset
from smoot_explore.runs import Run, RunError, bundled_runs, list_runs, open_run
from smoot_explore.views.palette import METHOD_NAMES

TABS = ("train", "image", "images", "what-if", "compare")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
_KEPT_SUBJECTS = 12
MOST_OWN_RUNS = 8  # of one page; the oldest are forgotten

_subjects: OrderedDict[tuple, Subject] = OrderedDict()  # bundled and kept runs, for all sessions
_subjects_lock = threading.Lock()


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
        self._own: dict[str, tuple[str, Run]] = {}  # runs trained here, by key: label and run
        self._own_parts: dict[str, Prepared | None] = {}
        self._own_subjects: dict[str, Subject] = {}
        self._trained = 0  # runs so far
        self._runs: dict[str, Run] = {}
        self._defaults: dict[str, Any] = {}
        self.refresh_catalogue()
        bundled = [key for key in self.param.compared.objects.values() if key.startswith("bundled/")]
        self.compared = bundled

    # Runs

    def refresh_catalogue(self) -> None:
        """Find all runs that can be looked at: bundled, kept in the server's folder, trained here."""
        found: dict[str, str] = {}
        self._runs = {}
        for run in bundled_runs():
            found[f"{METHOD_NAMES[run.start_config['method']]}, bundled"] = f"bundled/{run.name}"
            self._runs[f"bundled/{run.name}"] = run
        if self.settings.runs.is_dir():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # folders that are no runs are simply not offered
                kept = list_runs(self.settings.runs)
            for run in kept:
                if run.epochs:
                    found[f"{run.name}, kept"] = f"kept/{run.name}"
                    self._runs[f"kept/{run.name}"] = run
        for key, (label, run) in self._own.items():
            found[label] = key
            self._runs[key] = run
        if self.run_key not in found.values():
            self.run_key = next(iter(found.values()))
        with param.parameterized.batch_call_watchers(self):
            self.param.run_key.objects = found
            self.param.compared.objects = found
            self.compared = [key for key in self.compared if key in found.values()]

    def label_of(self, key: str) -> str:
        """A run's name for people."""
        return next((label for label, k in self.param.run_key.objects.items() if k == key), key)

    def open(self, key: str) -> Subject:
        """The run of a key with model, data and measurements.

        Raises
        ------
        ValueError
            When it cannot be opened, with the reason.
        """
        run = self._runs.get(key)
        if run is None:
            raise ValueError(f"there is no run {key!r} any more; choose another")
        try:
            return self._opened(key, run)
        except (OSError, RuntimeError, ValueError) as error:
            raise ValueError(f"{self.label_of(key)} cannot be opened: {error}") from error

    def _opened(self, key: str, run: Run) -> Subject:
        label = self.label_of(key)
        if key in self._own:
            subject = self._own_subjects.get(key)
            if subject is None or subject.run.epochs != open_run(run.path).epochs:
                subject = Subject.open(key, label, run, data=self._own_data(key), model=self._own_model(key))
                self._own_subjects[key] = subject
            return subject
        with _subjects_lock:
            stamp = (key, str(run.path), (run.path / "journal.json").stat().st_mtime_ns)
            if stamp not in _subjects:
                _subjects[stamp] = Subject.open(key, label, run, settings=self.settings)
            _subjects.move_to_end(stamp)
            while len(_subjects) > _KEPT_SUBJECTS:
                _subjects.popitem(last=False)
            return _subjects[stamp]

    def show_run(self) -> Subject:
        """Open the chosen run in the tabs that look at one."""
        subject = self.open(self.run_key)
        chosen = self.whatif.picked
        for state in (self.image, self.images, self.whatif):
            state.show(subject)
        if chosen == 0:  # the page has picked an image itself: nothing that an address need hold
            self._defaults["whatif_image"] = self.whatif.picked
        return subject

    def show_compared(self) -> None:
        """Open the runs to compare; one that cannot be opened is left out, with a message."""
        subjects = []
        for key in self.compared:
            try:
                subjects.append(self.open(key))
            except ValueError as error:
                self.message = str(error)
        self.compare.subjects = subjects

    def adopt_training(self) -> str | None:
        """Offer the run in training (or trained) to the other tabs, once it has an epoch; its key."""
        run = self.train.run
        if run is None or not self.train.epochs:
            return None
        known = next((key for key, (_, own) in self._own.items() if own.path == run.path), None)
        if known is None:
            self._trained += 1
            known = f"mine/{self._trained}"
            method = METHOD_NAMES[self.train.started.method]
            self._own[known] = (f"{method}, trained here ({self._trained})", run)
            self._own_parts[known] = self.train.training.prepared if self.train.training else None
            for old in list(self._own)[:-MOST_OWN_RUNS]:  # models and data are large
                self._forget(old)
            self.refresh_catalogue()
            self.compared = [*self.compared, known]
        return known

    def _forget(self, key: str) -> None:
        _, run = self._own.pop(key)
        self._own_parts.pop(key, None)
        self._own_subjects.pop(key, None)
        shutil.rmtree(run.path, ignore_errors=True)

    def keep(self, key: str, name: str) -> Path:
        """Copy a run trained here to the server's folder, where every visitor finds it.

        Raises
        ------
        ValueError
            When the operator does not allow it, or for a name that cannot be.
        """
        if not self.settings.keep_runs:
            raise ValueError("this server keeps no runs; download the record instead")
        if key not in self._own:
            raise ValueError("only a run trained on this page can be kept; train one first")
        if not _NAME.fullmatch(name):
            raise ValueError(f"a name is letters, digits, '.', '_' and '-', 60 at most; given {name!r}")
        target = self.settings.runs / name
        if target.exists():
            raise ValueError(f"there is a run {name!r} already; choose another name")
        hidden = target.with_name(f".{name}.{os.getpid()}.new")
        self.settings.runs.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copytree(self._own[key][1].path, hidden)
            open_run(hidden)
            os.replace(hidden, target)
        except (shutil.Error, RunError) as error:
            raise ValueError("the training wrote to the run just now; pause it, or try again") from error
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
        self.refresh_catalogue()
        return target

    def record_file(self, key: str) -> tuple[str, bytes]:
        """A run's record as a NetCDF file: its name and content."""
        run = open_run(self._runs[key].path)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "record.nc"
            write_dataset(path, run.record())
            return f"{key.replace('/', '-')}-record.nc", path.read_bytes()

    # Measurements

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

    # The address

    def addressed(self) -> dict[str, tuple[param.Parameterized, str]]:
        """What the address of the page holds: its name there, whose parameter, and which."""
        train = {
            name: (self.train.config, name)
            for name in ("method", "alpha", "beta", "kl_weight", "learning_rate", "k_init", "k_min", "k_max")
        }
        rest = set(setting_names()) - {*train, "epochs", "device"}
        return {
            "tab": (self, "tab"),
            "run": (self, "run_key"),
            **train,
            "epochs": (self.train.config, "epochs"),
            "images": (self.train, "train_images"),
            "data": (self.train, "data_name"),
            "model": (self.train, "model_name"),
            "watch": (self.train, "watch"),
            **{f"train_{name}": (self.train.config, name) for name in sorted(rest)},
            "half": (self.image, "half"),
            "image": (self.image, "image"),
            "masked": (self.image, "masked_fraction"),
            "order": (self.image, "order"),
            "fill": (self.image, "fill"),
            "attribution": (self.image, "method"),
            "signed": (self.image, "signed"),
            "label": (self.image, "label"),
            "class": (self.image, "of_class"),
            "prediction": (self.image, "prediction"),
            "curves_fill": (self.images, "fill"),
            "curves_attribution": (self.images, "method"),
            "tolerance": (self.images, "tolerance"),
            "picked": (self.images, "picked"),
            **{f"whatif_{name}": (self.whatif.config, name) for name in WHATIF_SETTINGS},
            "whatif_epochs": (self.whatif, "epochs"),
            "whatif_image": (self.whatif, "picked"),
            "compare_fill": (self.compare, "fill"),
            "compare_attribution": (self.compare, "method"),
            "scale": (self.compare, "scale"),
        }

    def to_address(self) -> dict[str, str]:
        """What differs from a fresh page, as the address holds it."""
        values = {}
        for name, (owner, parameter) in self.addressed().items():
            value = getattr(owner, parameter)
            if value != self._defaults[name] and not (name == "half" and value == HALVES[2]):
                values[name] = f"{value:.12g}" if isinstance(value, float) else str(value)
        if self.compared != self._defaults["runs"] and not any(k.startswith("mine/") for k in self.compared):
            values["runs"] = ",".join(self.compared)
        return values

    def from_address(self, values: Mapping[str, str]) -> list[str]:
        """Take over what an address says; what it says wrongly is left as it is and told of, a line each."""
        complaints = []
        owners = self.addressed()
        for name, text in sorted(values.items(), key=lambda item: item[0] == "label"):
            try:
                if name == "label":  # which ones there are depends on the run
                    self.image.show(self.open(self.run_key))
                if name == "runs":
                    self.compared = [key for key in text.split(",") if key]
                elif name in owners:
                    owner, parameter = owners[name]
                    setattr(owner, parameter, _parsed(owner.param[parameter], text))
            except (ValueError, TypeError, OSError) as error:
                accepted = _accepted(*owners[name]) if name in owners else str(error)
                complaints.append(f"The address says {name}={text}, which is left out: {accepted}.")
        return complaints

    def remember_defaults(self) -> None:
        """Take the present values as those that an address need not hold."""
        self._defaults = {n: getattr(owner, p) for n, (owner, p) in self.addressed().items()}
        self._defaults["runs"] = list(self.compared)

    def close(self) -> None:
        """End everything that goes on and free what was held."""
        if self.measurement is not None:
            self.measurement.cancel()
        self.train.close()
        for state in (self.image, self.images, self.whatif):
            state.subject = None
        self.compare.subjects = []
        self._own.clear()
        self._own_parts.clear()
        self._own_subjects.clear()
        self._runs.clear()

    def _own_data(self, key: str) -> Any:
        prepared = self._own_parts[key]
        return prepared.data if prepared else None

    def _own_model(self, key: str) -> Any:
        prepared = self._own_parts[key]
        if prepared is None or self._own[key][1].description["model"]["name"] is not None:
            return None
        return prepared.model


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
    if len(text) > 300:
        raise ValueError("it is too long")
    return text
