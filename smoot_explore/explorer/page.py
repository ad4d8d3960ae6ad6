"""The page: sidebar and tabs around one visitor's state, and the clock that keeps them up to date."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import panel as pn
import panel_material_ui as pmui

from smoot_explore.compute.cores import compute_on_one_core
from smoot_explore.engine.background import Measurement
from smoot_explore.engine.trainings import TrainingPool
from smoot_explore.explorer.controls import small_text
from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.page_ready import close_until_drawn, page_takes_changes
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state.image import ALL, HALVES
from smoot_explore.explorer.state.session import TABS, SessionState
from smoot_explore.explorer.state.train import ModelMaker
from smoot_explore.explorer.tabs.compare import CompareTab
from smoot_explore.explorer.tabs.image import ImageTab
from smoot_explore.explorer.tabs.images import ImagesTab
from smoot_explore.explorer.tabs.runrow import RunRow
from smoot_explore.explorer.tabs.sidebar import Sidebar
from smoot_explore.explorer.tabs.train import TrainTab
from smoot_explore.explorer.tabs.whatif import WhatIfTab

TICK_MILLISECONDS = 250
ADDRESS_SECONDS = 0.5  # everything must rest so long before the address follows: that costs the browser time
DRAWING_SECONDS = 1.5  # at most between two drawings of a training
DRAWING_SHARE = 0.02  # of the time that drawing a training may take away from it
ALONE_SECONDS = 60  # a page that lost its browser for so long is given up
PREVIEW = "bundled/smoot"  # what the Train tab shows before anything was trained
TAB_NAMES = ("Train", "Image", "Images", "What if", "Compare")

_pool: TrainingPool | None = None
_pool_lock = threading.Lock()


def shared_pool(settings: ServerSettings) -> TrainingPool:
    """The pool of this server; made for the first page."""
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = TrainingPool(settings.max_trainings, settings.max_queue)
        return _pool


def build_page(settings: ServerSettings, models: dict[str, ModelMaker] | None = None) -> pmui.Page:
    """One visitor's page, to be served.

    Parameters
    ----------
    settings
        What the operator decided.
    models
        Models of one's own, by the name that a visitor types: functions ``(data, seed) → nn.Module`` that
        give the same initial weights for the same seed.
    """
    compute_on_one_core()  # this thread draws; the pool's threads compute
    return ExplorerPage(SessionState(settings, shared_pool(settings), models)).page


class ExplorerPage:
    """Binds the tabs to the state and keeps the time. One for each visitor."""

    def __init__(self, state: SessionState) -> None:
        self.state = state
        self._document = pn.state.curdoc
        self.sidebar = Sidebar(state.train, self._cleared, self.tell)
        self.train = TrainTab(state.train, self._open_training_image, self._schedule)
        self._rows: list[RunRow] = []
        self._comparing = small_text("", visible=False)
        self.alert = pmui.Alert(
            "", severity="warning", visible=False, closeable=True, sizing_mode="stretch_width"
        )
        # A tab is made when it is first seen, and stays: the first page is there sooner, and costs less memory.
        self._made: dict[str, Any] = {"train": self.train}
        self._places = {tab: pn.Column(sizing_mode="stretch_width") for tab in TABS}
        self._places["train"].append(self.train.panel)
        self.tabs = pmui.Tabs(
            *zip(TAB_NAMES, self._places.values(), strict=True),
            dynamic=False,
            sizing_mode="stretch_width",
            sx={
                "& .MuiTab-root": {"textTransform": "none", "fontSize": "15px", "minHeight": "40px"},
                "minHeight": "40px",
            },
        )
        self.tabs.param.watch(self._tab_chosen, "active")
        state.param.watch(self._tab_ordered, "tab")
        state.param.watch(self._run_chosen, "run_key")
        state.param.watch(self._compared_chosen, "compared")
        state.param.watch(lambda e: self.tell(e.new), "message")
        self._stale = {tab: tab != "train" for tab in TABS}
        self._waiting: list[Callable[[], None]] = []
        self._address: dict[str, str] = {}
        self._moved_to: dict[str, str] = {}
        self._address_time = self._seen_time = time.monotonic()
        self._status = ""
        self._training_news = False
        self._next_drawing = 0.0
        self.page = pmui.Page(
            title="smoot_explore",
            sidebar=self.sidebar.objects,
            sidebar_width=320,
            main=[pn.Column(self.alert, self.tabs, sizing_mode="stretch_width", margin=(0, 12))],
            theme_config={"typography": {"fontSize": 12}},
            sx={"& .MuiToolbar-root": {"minHeight": "48px"}},
        )
        # The page would be told at each tick that the server is busy, and walk through all its models for that;
        # and the watcher on Panel's own state would keep it in memory for ever.
        self.page.param._update_ref("busy", None)
        self._begin()

    def tell(self, text: str, complaint: bool = True) -> None:
        """Tell the visitor something, by default what went wrong and what to do."""
        if text:
            severity = "warning" if complaint else "success"
            self.alert.param.update(object=escaped(text), severity=severity, visible=True, closed=False)

    def tick(self) -> None:
        """Take over what trainings and measurements have done; called by the clock."""
        self._give_up_when_alone()
        if not page_takes_changes():
            return
        began = time.monotonic()
        with pn.io.hold():
            drawn = self._take_over(began)
        if drawn:
            now = time.monotonic()
            self._next_drawing = now + min((now - began) / DRAWING_SHARE, DRAWING_SECONDS)
        self._write_address()

    def _take_over(self, now: float) -> bool:
        """Draw what is new; gives whether the training was drawn."""
        state = self.state
        while self._waiting:
            self._waiting.pop(0)()
        if state.train.poll():
            self._training_news = True
        ended = state.train.status != self._status
        draws = self._training_news and (ended or now >= self._next_drawing)
        if draws:
            self._training_news = False
            self._training_moved()
        if state.measurement is not None or state.train.status == "queued":
            self._measurement_moved()
            self.sidebar.refresh()
        if state.tab == "what-if" and "what-if" in self._made:
            self._made["what-if"].show_details()
        return draws

    # Changes that the background asks for

    def _schedule(self, change: Callable[[], None]) -> None:
        """Let the background change the page, under the document's lock and once the page is drawn."""
        if self._document is None:
            change()
        else:
            self._document.add_next_tick_callback(lambda: self._change(change))

    def _change(self, change: Callable[[], None]) -> None:
        if self._waiting or not page_takes_changes():  # those that wait come first: they are older
            self._waiting.append(change)
            return
        # Held, as all that makes new models is: what changes a figure outside of a hold can overtake them.
        with pn.io.hold():
            change()

    # Beginning

    def _begin(self) -> None:
        state = self.state
        arguments = pn.state.session_args or {}
        asked = {name: values[0].decode("utf-8", "replace") for name, values in arguments.items() if values}
        tab = asked.pop("tab", None)
        complaints = state.address.read(asked)
        for begin in (state.show_run, lambda: state.train.show_preview(state.catalogue.open(PREVIEW))):
            try:
                begin()
            except ValueError as error:
                complaints.append(str(error))
        if tab is not None:  # last: a tab draws what the others hold
            complaints += state.address.read({"tab": tab})
        self.train.clear()
        self.sidebar.refresh()
        self._tab_ordered()
        self._refresh_tab()
        if complaints:
            self.tell(" ".join(complaints))
        if self._document is not None:
            close_until_drawn(self._document)
            pn.state.on_session_destroyed(lambda context: self.state.close())
            pn.state.add_periodic_callback(self.tick, TICK_MILLISECONDS)

    # Training

    def _cleared(self) -> None:
        with pn.io.hold():
            self.train.clear()

    def _training_moved(self) -> None:
        state = self.state
        self.train.refresh()
        self.sidebar.refresh()
        key = state.adopt_training()
        ended = state.train.training is not None and state.train.training.ended
        if key is not None and ended and self._status != state.train.status:
            self._own_run_changed(key)
        if state.train.status == "failed" and self._status != "failed" and state.tab != "train":
            self.tell(state.train.problem)
        self._status = state.train.status

    def _own_run_changed(self, key: str) -> None:
        if self.state.run_key == key:
            self._run_chosen()
        if key in self.state.compared:
            self._compared_chosen()

    # Choices

    def _tab_chosen(self, event: Any) -> None:
        self.state.tab = TABS[event.new]

    def _tab_ordered(self, *events: Any) -> None:
        self.tabs.active = TABS.index(self.state.tab)
        self._refresh_tab()

    def _refresh_tab(self) -> None:
        """Draw the tab that is seen, when something has changed since it was drawn."""
        tab = self.state.tab
        if self._stale[tab]:
            with pn.io.hold():
                if tab == "compare":
                    self.state.show_compared()
                new = tab not in self._made
                if new:
                    self._made[tab] = self._make(tab)
                self._made[tab].refresh()
                if new:
                    self._places[tab].objects = [*self._head(tab), self._made[tab].panel]
            self._stale[tab] = False
        self._measure()

    def _head(self, tab: str) -> list[Any]:
        if tab == "compare":
            return [self._comparing]
        self._rows.append(RunRow(self.state, self.tell))
        return [self._rows[-1].panel]

    def _make(self, tab: str) -> Any:
        state = self.state
        if tab == "image":
            megabytes = state.settings.upload_megabytes
            return ImageTab(state.image, self._schedule, self._measure, self.tell, megabytes)
        if tab == "images":
            return ImagesTab(state.images, self._open_test_image, self._measure)
        if tab == "what-if":
            return WhatIfTab(state.whatif)
        chooser = pmui.MultiChoice.from_param(
            state.param.compared,
            description=state.param.compared.doc,
            sizing_mode="stretch_width",
            margin=(10, 10, 4, 10),
        )
        return CompareTab(state.compare, chooser, self._measure, self._schedule, self.tell)

    def _run_chosen(self, *events: Any) -> None:
        try:
            self.state.show_run()
        except ValueError as error:
            self.tell(str(error))
            shown = self.state.image.opened
            if shown is not None:  # the tabs still show this one
                self.state.run_key = shown.key
            return
        for tab in ("image", "images", "what-if"):
            self._stale[tab] = True
        self._refresh_tab()

    def _compared_chosen(self, *events: Any) -> None:
        self._stale["compare"] = True
        if self.state.tab == "compare":
            self._refresh_tab()

    def _open_test_image(self, position: int) -> None:
        images = self.state.images
        self.state.image.param.update(
            half=HALVES[0], image=position, label=ALL, of_class=ALL, prediction=ALL, order="highest",
            fill=images.fill, attribution=images.attribution, signed=True,
        )  # fmt: skip
        self.state.tab = "image"

    def _open_training_image(self, position: int) -> None:
        state = self.state
        key = state.adopt_training() if state.train.training is not None else PREVIEW
        if key is None:
            self.tell("The Image tab shows this image as soon as the first epoch is completed.")
            return
        if state.run_key == key:
            self._run_chosen()  # it may have more epochs now
        state.run_key = key
        state.image.param.update(half=HALVES[1], image=position, label=ALL)
        state.tab = "image"

    # Measurements

    def _measure(self) -> None:
        self.state.measure_missing(self.state.tab)
        self._show_measuring()

    def _measurement_moved(self) -> None:
        measurement = self.state.measurement
        if measurement is None:
            return
        if measurement.done:
            self.state.measurement = None
            if measurement.problem:
                self.tell(f"Measuring the {measurement.what} failed: {measurement.problem}")
            elif self.state.whatif.opened is not None:
                self.state.whatif.show(self.state.whatif.opened)  # picks an image of the new landscape
            self._stale.update({"images": True, "what-if": True, "image": True, "compare": True})
            self._refresh_tab()
        self._show_measuring()

    def _show_measuring(self) -> None:
        measurement: Measurement | None = self.state.measurement
        text = (
            ""
            if measurement is None
            else f"Measuring the {escaped(measurement.what)}: {100 * measurement.share:.0f} %"
        )
        for row in self._rows:
            row.show_measuring(text)
        if self._comparing.object != text:
            self._comparing.param.update(object=text, visible=bool(text))

    # The clock's other duties

    def _write_address(self) -> None:
        if pn.state.location is None:
            return
        now, address = time.monotonic(), self.state.address.write()
        if address != self._moved_to:
            self._moved_to, self._address_time = address, now
        elif address != self._address and now - self._address_time > ADDRESS_SECONDS:
            self._address = address
            pn.state.location.search = _query(address)

    def _give_up_when_alone(self) -> None:
        """Stop the training of a page that has no browser, should its session live on all the same."""
        context = self._document.session_context if self._document is not None else None
        session = getattr(context, "session", None)
        now = time.monotonic()
        if session is None or session.connection_count > 0:
            self._seen_time = now
        elif now - self._seen_time > ALONE_SECONDS and self.state.train.busy:
            self.state.train.stop()


def _query(address: dict[str, str]) -> str:
    return f"?{urlencode(address)}" if address else ""
