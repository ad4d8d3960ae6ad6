"""Opened runs: what the tabs look at, each run with its model, its data and what was measured of them."""

from __future__ import annotations

import copy
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import xarray as xr
from torch import nn

from smoot_explore.core.curves import masking_curves
from smoot_explore.core.landscape import k_landscape
from smoot_explore.core.rules import k_unit, most_k, start_k
from smoot_explore.data.images import ImageData, Split, balanced, first_images
from smoot_explore.data.names import DATASETS
from smoot_explore.engine.engine import Engine
from smoot_explore.engine.makers import ModelMaker
from smoot_explore.engine.measurement import Measurement, MeasuringWork
from smoot_explore.engine.shared_data import shared_data
from smoot_explore.explorer.data_access import allowed_folder, installed_datasets
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.runs.run import Run, open_run
from smoot_explore.views.palette import in_words

Protocol = tuple[str, str]  # (fill, attribution method)
Measured = Protocol | str  # masking curves of a protocol, or LANDSCAPE
LANDSCAPE = "landscape"

MEASURED_IMAGES = 500  # of the test images, where a run brings no curves of its own
LANDSCAPE_IMAGES = 200  # of the training images
LEVELS = 20
EPOCHS_MEGABYTES = 64  # of weights of a run's earlier epochs in memory; at least those of two are held
AGAIN_SECONDS = 60  # after which is tried again what failed with a worker, not by itself


@dataclass
class OpenedRun:
    """A run as the tabs see it, with its latest weights or, by `at`, with those of an earlier epoch.

    The model stays in eval mode; several sessions may look at the same bundled or kept run, so whoever
    computes with it asks `borrowed`.
    """

    key: str  # in the address of the page: "bundled/smoot", "given/1", "kept/…", "mine/1"
    label: str
    run: Run
    data: ImageData
    model: nn.Module
    epoch: int  # after which the weights are
    watched: dict[str, Any] = field(default_factory=dict)  # what the Train tab's preview shows, by choice
    _curves: dict[Protocol, xr.Dataset] = field(default_factory=dict)
    _landscape: xr.Dataset | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _problems: dict[Measured, tuple[str, float]] = field(default_factory=dict)  # why not, and until when
    _measurements: WeakValueDictionary[Measured, Measurement] = field(default_factory=WeakValueDictionary)
    _k: xr.DataArray | None = None  # of all training images, once asked for
    _latest: OpenedRun | None = None  # the one that this is an earlier epoch of
    _earlier: OrderedDict[int, OpenedRun] = field(default_factory=OrderedDict)  # the one used last comes last
    _earlier_lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(
        cls,
        key: str,
        label: str,
        run: Run,
        *,
        data: ImageData | None = None,
        model: nn.Module | None = None,
        settings: ServerSettings | None = None,
        makers: Mapping[str, ModelMaker] | None = None,
    ) -> OpenedRun:
        """Load a run with its latest weights, on the CPU.

        ``data`` and ``model`` are needed where the run neither says how to make them again, nor was opened with them;
        ``makers`` make the operator's own models. ``settings`` say which data may be loaded: a run names some, and
        whoever looks at it must not read more than is allowed.
        """
        data = run.own_data if data is None else data
        model = run.own_model if model is None else model
        run = open_run(run.path)  # as it is on the disk now
        if data is None:
            source = run.description["data"]
            size = source.get("image_size")
            if "name" not in source:
                raise ValueError(f"{label} was trained on data put together by hand, which cannot be loaded")
            _check_source(source["name"], settings)
            data = shared_data(
                source["name"], source.get("train"), source.get("test"),
                settings.root if settings else None, source.get("seed", 0),
                tuple(size) if isinstance(size, list) else size,
            )  # fmt: skip
            data = run.as_trained(data)
            if data.fingerprint != run.description["data"]["fingerprint"]:
                raise ValueError(f"the data of {label} have changed since it was trained; restore the images")
        maker = (makers or {}).get(str(run.description["model"].get("maker")))
        if model is None and maker is not None:
            model = maker(data, run.start_config["seed"])
        own = run.load_model(None if model is None else copy.deepcopy(model).cpu())
        opened = cls(key, label, run, data, own.eval(), run.epochs)
        opened._take_over_measured()
        return opened

    @cached_property
    def epochs(self) -> list[int]:
        """Those that `at` gives, 0 for the initial weights; the last is the latest."""
        return self.run.epochs_kept

    def at(self, epoch: int) -> OpenedRun:
        """The same run with its weights after one of `epochs`, and with what was measured of these.

        Loads them where they are not `held`: not for the event loop.

        Raises
        ------
        RunError
            When the run does not hold that epoch's weights.
        """
        latest = self.newest
        if (held := latest.held(epoch)) is not None:
            return held
        with latest.borrowed(quick=False) as model:
            earlier = OpenedRun(
                self.key, self.label, self.run, self.data, self.run.model_at(epoch, model).eval(), epoch, _latest=latest
            )  # fmt: skip
        earlier._take_over_measured()
        megabytes = sum(weight.nbytes for weight in model.state_dict().values()) / 1e6
        with latest._earlier_lock:
            earlier = latest._earlier.setdefault(epoch, earlier)  # another thread may have been faster
            while len(latest._earlier) > max(2, EPOCHS_MEGABYTES // max(megabytes, 1)):
                latest._earlier.popitem(last=False)
        return earlier

    def held(self, epoch: int) -> OpenedRun | None:
        """What `at` gives, where it need not load anything."""
        latest = self.newest
        if epoch == latest.epoch:
            return latest
        with latest._earlier_lock:
            if epoch in latest._earlier:
                latest._earlier.move_to_end(epoch)
            return latest._earlier.get(epoch)

    @contextmanager
    def borrowed(self, quick: bool) -> Iterator[nn.Module]:
        """The model to compute with, for this block: one after the other, or on a copy where it is not ``quick``.

        So no picture under a slider waits for what takes long, such as occlusion.
        """
        with self._lock:
            if quick:
                yield self.model
                return
            own = copy.deepcopy(self.model)
        yield own

    def k_of(self, position: int) -> xr.DataArray | None:
        """k of a training image ``(epoch, image)`` over the whole training, from its start as epoch 0.

        None where no k moved: traditional training, or none. Reads the disk the first time: not for the event loop.
        """
        run, latest = self.run, self.newest
        if self.method == "traditional" or not run.epochs:
            return None
        if latest._k is None:
            moved, settings = run.values("k"), run.start_config
            start = np.full((1, moved.shape[1]), start_k(settings, most_k(settings, self.data.n_pixels)))
            attrs = {"units": k_unit(settings), "long_name": "number of masked pixels after the epoch"}
            latest._k = xr.DataArray(
                np.concatenate([start, moved]), {"epoch": np.arange(run.epochs + 1)}, ("epoch", "image"), "k", attrs
            )  # fmt: skip
        return latest._k.isel(image=[position])

    @property
    def newest(self) -> OpenedRun:
        """The run at its newest epoch."""
        return self._latest or self

    @property
    def told(self) -> str:
        """The run for people, with the epoch where that is an earlier one."""
        return self.label if self._latest is None else f"{self.label}, epoch {self.epoch}"

    @cached_property
    def record(self) -> xr.Dataset:
        """What was told while it trained; read once, which takes a page's event loop too long."""
        return self.run.record()

    @property
    def method(self) -> str:
        """traditional, sgt or smoot."""
        return self.run.start_config["method"]

    @property
    def test(self) -> Split:
        """The test images that its curves are measured on."""
        return first_images(self.data.test, self.n_measured)

    @property
    def n_measured(self) -> int:
        """How many test images the curves are measured on: always the first ones."""
        for curves in self._curves.values():
            return curves.sizes["image"]
        if self._latest is not None:
            return self._latest.n_measured
        return min(MEASURED_IMAGES, len(self.data.test))

    def curves(self, fill: str, attribution: str) -> xr.Dataset | None:
        """Masking curves of the test images, ``(image, masked_fraction)``; None where not measured yet."""
        return self._curves.get((fill, attribution))

    def fills(self, attribution: str) -> list[str]:
        """Fills whose curves under an attribution method are measured."""
        return [fill for fill, measured in list(self._curves) if measured == attribution]

    def problem(self, what: Measured) -> str:
        """Why something cannot be measured; empty when it can, or may be tried again."""
        why, until = self._problems.get(what, ("", 0.0))
        return why if time.monotonic() < until else ""

    def measure_curves(self, engine: Engine, fill: str, attribution: str) -> Measurement:
        """The measurement of masking curves: one for all who want them."""
        what = f"masking curves of {self.told} ({in_words(fill)} fill, {in_words(attribution)})"
        take = partial(self.take_curves, fill, attribution)
        return self._measure(
            (fill, attribution), lambda: Measurement(engine, what, self.curves_work(fill, attribution), take)
        )

    def measure_landscape(self, engine: Engine) -> Measurement:
        """The measurement of the k-landscape: one for all who want it."""
        what = f"k-landscape of {self.told}"
        return self._measure(
            LANDSCAPE, lambda: Measurement(engine, what, self.landscape_work(), self.take_landscape)
        )

    def curves_work(self, fill: str, attribution: str) -> MeasuringWork:
        """What measures masking curves, on a copy of the model; `take_curves` takes the result."""
        protocol = {"levels": LEVELS, "fill": fill, "attribution": attribution, "precision": "float32"}
        return MeasuringWork(masking_curves, copy.deepcopy(self.model), self.test, protocol)

    def take_curves(
        self, fill: str, attribution: str, curves: xr.Dataset | None, problem: str = "", passing: bool = False
    ) -> None:
        """Keep masking curves that were measured, or why they cannot be: nobody shall wait for them again."""
        if curves is None:
            self._give_up((fill, attribution), problem, passing)
        else:
            self._curves[fill, attribution] = curves.assign_attrs(run=self.run.name, epoch=self.epoch)

    @property
    def landscape(self) -> xr.Dataset | None:
        """Δ₁ and Δ₂..ₙ of some training images as functions of k; None where not measured yet."""
        return self._landscape

    @property
    def landscape_ids(self) -> np.ndarray:
        """Which training images it has, or will have: their ids."""
        if self._landscape is not None:
            return self._landscape.image_id.values
        return self.data.train.image_ids[balanced(self.data.train, LANDSCAPE_IMAGES)].numpy()

    def landscape_work(self) -> MeasuringWork:
        """What measures the k-landscape, on a copy of the model; `take_landscape` takes the result."""
        config, train = self.run.config, self.data.train
        protocol = {
            "levels": 32, "draws": 2, "fill": config.fill, "signed": config.signed, "top_n": config.top_n,
            "patch": config.patch, "precision": "float32",
        }  # fmt: skip
        known = None if self._latest is None else self._latest.landscape
        if known is None:
            chosen = balanced(train, LANDSCAPE_IMAGES)
        else:  # the same images at all epochs
            chosen = np.flatnonzero(np.isin(train.image_ids.numpy(), known.image_id.values))
        split = train[chosen]
        return MeasuringWork(k_landscape, copy.deepcopy(self.model), split, protocol)

    def take_landscape(self, landscape: xr.Dataset | None, problem: str = "", passing: bool = False) -> None:
        """Keep the k-landscape that was measured, or why it cannot be."""
        self._landscape = landscape
        if landscape is None:
            self._give_up(LANDSCAPE, problem, passing)

    def _give_up(self, what: Measured, problem: str, passing: bool) -> None:
        self._problems[what] = problem, time.monotonic() + AGAIN_SECONDS if passing else math.inf

    def _measure(self, what: Measured, begin: Callable[[], Measurement]) -> Measurement:
        with self._lock:
            known = self._measurements.get(what)
            if known is not None and known.join():
                return known
            new = self._measurements[what] = begin()
            return new

    def _take_over_measured(self) -> None:
        """Curves and landscape that the run folder holds, where they fit the weights as they are now."""
        if self.run.has_curves(epoch=self.epoch):
            stored = self.run.curves(epoch=self.epoch)
            n = stored.sizes["image"]
            first = first_images(self.data.test, n).image_ids.numpy()
            fits = (
                stored.attrs.get("epoch") == self.epoch
                and stored.attrs["order"] == "highest"
                and stored.attrs["ranking"] == "signed"
                and np.array_equal(stored.image_id, first)
            )
            if fits:
                for dim in ("attribution", "fill"):
                    stored = stored if dim in stored.dims else stored.expand_dims(dim)
                for attribution in stored.attribution.values:
                    for fill in stored.fill.values:
                        one = stored.sel(attribution=attribution, fill=fill)
                        self._curves[str(fill), str(attribution)] = one.transpose("image", "masked_fraction")
        if self.run.has_landscape(self.epoch):
            landscape = self.run.landscape(self.epoch)
            if landscape.attrs.get("epoch") == self.epoch:
                self._landscape = landscape


def check_weights(run: Run, settings: ServerSettings) -> None:
    """Raise ``ValueError`` for a run whose weights are too large for the server to hold."""
    megabytes, most = run.weights_bytes / 1e6, settings.weights_megabytes
    if megabytes > most:
        raise ValueError(
            f"the weights of {run.name} take {megabytes:,.0f} MB, and this server opens at most {most:,g} MB; look at "
            "a smaller model, or ask whoever runs it: smoot-explore serve --weights-megabytes"
        )


def _check_source(name: str, settings: ServerSettings | None) -> None:
    """Refuse data that would have to be downloaded, or a folder that the operator does not allow."""
    settings = settings or ServerSettings()
    if name not in DATASETS:
        allowed_folder(name, settings)
    elif name not in installed_datasets(settings.root):
        raise ValueError(f"the data {name!r} of this run are not installed here; choose another run")
