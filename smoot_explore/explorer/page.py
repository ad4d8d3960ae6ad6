"""The page: what one visitor sees, put together around the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param

from smoot_explore.compute.cores import compute_on_one_core
from smoot_explore.engine.background import FILES, OPENING
from smoot_explore.engine.coalesce import Coalescer
from smoot_explore.engine.makers import ModelMaker
from smoot_explore.errors import reason
from smoot_explore.explorer.access import Access
from smoot_explore.explorer.activity import Activity
from smoot_explore.explorer.browser import Browser
from smoot_explore.explorer.changes import Changes
from smoot_explore.explorer.clock import Clock
from smoot_explore.explorer.coming_back import ComingBack
from smoot_explore.explorer.connection import Connection
from smoot_explore.explorer.guide import Guide
from smoot_explore.explorer.host import Host
from smoot_explore.explorer.keys import Key, Keys
from smoot_explore.explorer.layout import TAB_NAMES, Layout
from smoot_explore.explorer.location import PLACES, Location
from smoot_explore.explorer.measuring import Measuring
from smoot_explore.explorer.messages import Messages
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.explorer.opening import Opening
from smoot_explore.explorer.page_ready import close_until_drawn
from smoot_explore.explorer.state.address import IMAGES, IMAGES_BEFORE, OF_THE_RUN
from smoot_explore.explorer.state.class_board import ClassBoard
from smoot_explore.explorer.state.class_state import ClassState
from smoot_explore.explorer.state.image import HALVES
from smoot_explore.explorer.state.playing import Playing
from smoot_explore.explorer.state.session import TABS, SessionState
from smoot_explore.explorer.tabs.class_tab import ClassTab
from smoot_explore.explorer.tabs.compare import CompareTab
from smoot_explore.explorer.tabs.image import ImageTab
from smoot_explore.explorer.tabs.images import ImagesTab
from smoot_explore.explorer.tabs.keeping import Keeping
from smoot_explore.explorer.tabs.runrow import RunRow
from smoot_explore.explorer.tabs.sidebar import Sidebar
from smoot_explore.explorer.tabs.sweep import SweepPart
from smoot_explore.explorer.tabs.train import TrainTab
from smoot_explore.explorer.tabs.whatif import WhatIfTab
from smoot_explore.explorer.training_bar import TrainingBar
from smoot_explore.explorer.visits import BrowserTab, Visits
from smoot_explore.runs.run import Run

PREVIEW = "bundled/smoot"  # what the Train tab shows before anything was trained
OF_ONE_RUN = ("image", "images", "what-if")  # tabs
# In the address: which there are, the disk tells.
_OF_THE_RUNS = (*OF_THE_RUN, *IMAGES_BEFORE, "runs", "sweep")


def build_page(
    host: Host, models: dict[str, ModelMaker] | None = None, runs: Sequence[Run] = ()
) -> pmui.Page:
    """One visitor's page, to be served.

    Parameters
    ----------
    host
        What the pages of the server share.
    models
        Models of one's own, by the name that a visitor types: functions ``(data, seed) → nn.Module`` that
        give the same initial weights for the same seed.
    runs
        Offered beside the bundled and the kept ones, and looked at first.
    """
    compute_on_one_core()  # this thread draws; the pool's threads compute
    state = SessionState(host.settings, host.trainings, models, runs, host.measurements)
    return ExplorerPage(state, host.visits, host.board).page


class ExplorerPage:
    """Binds the tabs to the state: what a choice, a training or an opened run leads to. One for each visitor."""

    def __init__(
        self, state: SessionState, visits: Visits | None = None, board: ClassBoard | None = None
    ) -> None:
        self.state, self._visits = state, visits or Visits()
        self.playing = Playing(state)
        self.browser, self.access = BrowserTab(), Access()
        self._class = None if board is None else ClassState(board, self.browser.page, state.train)
        if board is None:
            state.param.tab.objects = [tab for tab in TABS if tab != "class"]
        document = pn.state.curdoc
        self.changes = Changes(document)
        self.messages, self.activity = Messages(), Activity()
        self.location = Location(state.address, self._go)
        schedule, tell, say = self.changes.schedule, self.messages.tell, self.activity.say
        self.opening = Opening(state, schedule, say, self._complain, self._run_opened, self._compared_opened)
        self.measuring = Measuring(state, say, tell, self._measured)
        self.bar = TrainingBar(state.train, self._cleared, tell)
        self.sidebar = Sidebar(state.train, self._cleared, tell)
        self.keeping = Keeping(state, schedule, tell)  # of the training
        self.train = TrainTab(
            state.train,
            [*self.sidebar.objects, self.keeping.panel],
            self._open_training_image,
            schedule,
            tell,
        )
        self.run_row = RunRow(state, self.playing, schedule, tell, self.activity.line(margin=0))
        self.keys = Keys(self._keys())
        self.visitor = Browser(self.keys.acts)
        self.guide = Guide(self._begin_with, self._close_guide)
        self.layout = Layout(
            [self.keys.button],
            self.bar.panel,
            [
                self.access, self.browser, self.location.browser, Connection(document), self.visitor, self.keys.window,
                self.run_row.head, self.messages.panel, self.guide.panel, self.run_row.above,
            ],
            [self.run_row.below],
            self.train,
            self._tab_makers(),
            self._choose_tab,
            schedule,
            partial(self.activity.line, margin=(14, 10)),
            self.visitor.dark,
        )  # fmt: skip
        self.page = self.layout.page
        self.page.param.watch(lambda event: setattr(self.visitor, "dark", event.new), "dark_theme")
        self.visitor.param.watch(lambda event: self.changes.make(self._know_browser), "known")
        self.coming_back = ComingBack(self._visits, self.browser, state, self._taken_over)
        self.clock = Clock(
            document,
            state.train,
            self._training_moved,
            before=[self.changes.catch_up, self.coming_back.follow, self._follow_kept_runs],
            after=[
                self.measuring.follow,
                self.messages.follow,
                self._follow_compared,
                self._play,
                self._show_place,
                self._show_details,
                self._tell_class,
            ],
            afterwards=self._follow_location,
        )
        state.param.watch(lambda event: self._show_tab(), "tab")
        state.param.watch(lambda event: self.opening.open_run(), "run_key")
        state.param.watch(lambda event: self.opening.open_epoch(), "epoch")
        state.param.watch(lambda event: self._compared_chosen(), "compared")
        state.param.watch(lambda event: self._complain(event.new), "message")
        self._compared_due = True  # to be opened when Compare is seen
        self._awaited: set[str] = (
            set()
        )  # kinds of runs in the address of which it is not known yet which there are
        self._opens_asked = False
        self._beginning = True
        self._complaints: list[str] = []  # of the beginning
        self._asked = self.location.asked()  # what the address says, as far as it is still to be read
        self._begin()
        if document is not None:
            self._visits.begin(self.browser.page, state, self.clock.has_browser)
            self.coming_back.expect()
            self.browser.param.watch(lambda event: self.changes.make(self._find), "before")
            close_until_drawn(document)
            pn.state.on_session_destroyed(lambda context: self._end())
            self.clock.start()

    def _end(self) -> None:
        self.changes.end()
        if self._class is not None:
            self._class.board.leave(self.browser.page)
        self._visits.leave(self.browser.page)

    # Beginning: the runs are looked for and opened beside the page, which is sent meanwhile

    def _begin(self) -> None:
        Coalescer(self._open_preview, self._show_preview, OPENING, self.changes.schedule).ask(PREVIEW)
        self._read()

    def _go(self, asked: dict[str, str]) -> None:
        """Show what another address says, as when the visitor goes back to it; what trains is left as it is."""
        state = self.state
        training = self._of_training() if state.train.busy else []
        asked = {name: state.address.default(name) for name in PLACES} | asked
        state.address.reset([*asked, *training])
        self._asked = {name: text for name, text in asked.items() if name not in training}
        self._awaited, self._opens_asked, self._beginning, self._complaints = set(), False, True, []
        self._read()

    def _read(self) -> None:
        """Have the page show what is asked for."""
        self._read_address(*(name for name in self._asked if name not in (*_OF_THE_RUNS, "tab")))
        self._read_address("tab")  # last: a tab draws what the others hold
        self._show_tab()
        schedule = self.changes.schedule
        runs = " ".join(self._asked.get(name, "") for name in ("run", "runs"))
        if "kept/" in runs or "sweep" in self._asked:  # maybe one that came just now
            self._awaited.add("kept")
            Coalescer(self.state.catalogue.shared.look, self._looked, FILES, schedule).ask()
        if (
            "mine/" in runs and not self.browser.before and pn.state.curdoc is not None
        ):  # the browser says which page it comes from
            self._awaited.add("mine")
        self._open_asked()

    def _find(self) -> None:
        self.coming_back.begin()
        self._awaited.discard("mine")
        self._open_asked()

    def _of_training(self) -> list[str]:
        """What an address says of the training."""
        train = self.state.train
        owners = (train, train.config)
        return [name for name, (owner, _) in self.state.address.parameters.items() if owner in owners]

    def _taken_over(self) -> None:
        if not self.state.train.busy:  # the settings came along, but the address asks for what trains next
            asked = self.location.asked()
            self.state.address.read({name: asked[name] for name in self._of_training() if name in asked})
        self._cleared()
        self.train.watch_anew()

    def _read_address(self, *names: str) -> None:
        values = {name: self._asked.pop(name) for name in names if name in self._asked}
        self._complain(" ".join(self.state.address.read(values)))

    def _complain(self, text: str) -> None:
        """Tell the visitor what went wrong; all of the beginning together."""
        if text:
            self._complaints = [*self._complaints, text] if self._beginning else [text]
            self.messages.tell(" ".join(self._complaints))

    def _looked(self, answer: BaseException | None) -> None:
        if answer is not None:
            self._complain(f"The runs kept on this server cannot be listed: {reason(answer)}")
        self.state.catalogue.follow()
        self._awaited.discard("kept")
        self._open_asked()

    def _open_asked(self) -> None:
        """Open the runs of the address, once it is known which there are."""
        if self._awaited or self._opens_asked:
            return
        self._opens_asked = True
        with param.parameterized.batch_call_watchers(
            self.state
        ):  # else the run before is asked for the epoch
            self._read_address("run", "at", "runs", "sweep")
        self.opening.open_run()
        self._show_tab()

    def _open_preview(self, key: str) -> OpenedRun:
        opened = self.state.catalogue.open(key)
        _ = opened.record
        return opened

    def _show_preview(self, answer: OpenedRun | BaseException) -> None:
        if isinstance(answer, BaseException):
            self._complain(reason(answer))
        elif self.state.train.training is None:  # else the visitor was faster
            self.state.train.show_preview(answer, look=False)
            self._cleared()
            self.train.watch_anew()

    def _run_opened(self) -> None:
        self._read_address("label", *IMAGES, *IMAGES_BEFORE)  # which ones there are depends on the run
        self._beginning = False
        self.layout.outdate(*OF_ONE_RUN)
        self._show_tab()

    def _compared_opened(self) -> None:
        self.layout.outdate("compare")
        self._show_tab()

    # Tabs

    def _tab_makers(self) -> dict[str, Callable[[], Any]]:
        state, schedule, tell = self.state, self.changes.schedule, self.messages.tell
        measure, megabytes = self.measuring.begin, state.settings.upload_megabytes
        chooser = partial(
            pmui.MultiChoice.from_param, state.param.compared, description=state.param.compared.doc,
            sizing_mode="stretch_width", margin=(10, 10, 4, 10),
        )  # fmt: skip
        kept = state.catalogue.shared
        of_all = self._class
        own = {} if of_all is None else {"class": lambda: ClassTab(of_all, lambda: kept.runs, schedule)}
        sweeps = partial(SweepPart, state.sweep, state.catalogue.shared.open_sweep, schedule, tell)
        return own | {
            "image": lambda: ImageTab(state.image, schedule, measure, tell, megabytes),
            "images": lambda: ImagesTab(
                state.images, self._open_test_image, self._open_image_trained_on, measure, schedule, tell
            ),
            "what-if": lambda: WhatIfTab(state.whatif, state.train, schedule, tell),
            "compare": lambda: CompareTab(
                state.compare, chooser(), sweeps(), self.activity.line(), measure, schedule, tell
            ),
        }

    # What the browser tells

    def _know_browser(self) -> None:
        """The browser has told of itself: what the visitor wants, or its system has."""
        self.page.dark_theme = self.visitor.dark
        self.guide.panel.visible = self.visitor.guide

    def _keys(self) -> list[Key]:
        tabs = [
            Key(str(i), f"the tab {TAB_NAMES[tab]}", partial(self._choose_tab, tab))
            for i, tab in enumerate(self.state.param.tab.objects, start=1)
        ]
        return [
            *tabs,
            Key("t", "train, or go on", self._train_by_key),
            Key("p", "pause the training", self.state.train.pause),
            Key("[", "an epoch earlier", partial(self.playing.step, -1)),
            Key("]", "an epoch later", partial(self.playing.step, 1)),
            Key("f", "projector: the leading picture alone, larger", self._project),
        ]

    def _train_by_key(self) -> None:
        if not self.bar.buttons["Train"].disabled:
            self.bar.train()

    def _begin_with(self, address: Mapping[str, str]) -> None:
        """Set the page up for a scenario of the guide."""
        if self.state.train.busy and address["tab"] == TABS[0]:
            self._complain("A training is going on. Stop it, then choose this again.")
            return
        self._go(dict(address))

    def _project(self) -> None:
        self.layout.project()
        self.guide.panel.visible = self.visitor.guide and not self.layout.projector

    def _close_guide(self) -> None:
        self.visitor.guide = self.guide.panel.visible = False

    def _refresh_controls(self) -> None:
        self.bar.refresh()
        self.sidebar.refresh()

    def _choose_tab(self, tab: str) -> None:
        self.state.tab = tab

    def _show_tab(self) -> None:
        """Draw the tab that is seen, when something has changed since it was drawn."""
        tab = self.state.tab
        if tab == "compare" and self._compared_due and "runs" not in self._asked:
            self._compared_due = False
            self.opening.open_compared()
        self.run_row.show(tab in OF_ONE_RUN)
        self.layout.show(tab, ready=tab not in OF_ONE_RUN or self.state.image.opened is not None)
        self.measuring.begin()

    def _compared_chosen(self) -> None:
        self._compared_due = True
        if self.state.tab == "compare":
            self._show_tab()

    def _measured(self) -> None:
        self.layout.outdate(*OF_ONE_RUN, "compare")
        self._show_tab()

    # Images that other tabs open

    def _open_test_image(self, image_id: int) -> None:
        images = self.state.images
        self.state.image.open(
            HALVES[0],
            image_id,
            order="highest",
            fill=images.fill,
            attribution=images.attribution,
            signed=True,
        )
        self.state.tab = "image"

    def _open_image_trained_on(self, image_id: int) -> None:
        self.state.image.open(HALVES[1], image_id)
        self.state.tab = "image"

    def _open_training_image(self, image_id: int) -> None:
        state = self.state
        key = state.adopt_training() if state.train.training is not None else PREVIEW
        if key is None:
            self.messages.tell("The Image tab shows this image as soon as the first epoch is completed.")
            return

        def show_image() -> None:
            state.image.open(HALVES[1], image_id)
            state.tab = "image"

        state.param.update(run_key=key, epoch=None)
        self.opening.open_run(show_image)  # also when it is open already: it may have more epochs now

    # What the clock calls

    def _cleared(self) -> None:
        self.keeping.show(self.state.adopt_training())
        with pn.io.hold():
            self.train.clear()
            self._refresh_controls()
        self.access.news = self.bar.status.object
        if self.state.train.run is not None and self.state.train.seen is None:  # of a rival that has ended
            self.train.watch_anew()

    def _training_moved(self, turned: bool) -> None:
        state, training = self.state, self.state.train
        if state.tab == "train":
            self.train.refresh()
        else:
            self.layout.outdate("train")  # drawn when it is seen again
        if state.tab == "what-if" and "what-if" in self.layout.made:
            self.layout.made["what-if"].show_training()
        self._refresh_controls()
        if turned:
            self.access.news = self.bar.status.object
        self.keeping.show(state.adopt_training())
        ended = state.ended_keys if turned else []
        if state.run_key in ended:
            self.opening.open_run()
        elif ended and not training.busy:
            state.look_at_trained()
        if set(ended) & set(state.compared):
            self._compared_chosen()
        if turned and training.status == "failed" and state.tab != "train":
            self.messages.tell(training.problem)

    def _follow_kept_runs(self) -> None:
        self.state.catalogue.shared.look_soon()
        self.state.catalogue.follow()

    def _play(self) -> None:
        image = self.layout.made.get("image")
        self.playing.tick(drawn=self.state.tab != "image" or image is None or not image.latest.busy)

    def _follow_compared(self) -> None:
        if self.state.tab == "compare" and self.state.outdates_compared():
            self._compared_chosen()

    def _show_place(self) -> None:
        if self.state.train.status == "queued":
            self._refresh_controls()

    def _show_details(self) -> None:
        if self.state.tab == "what-if" and "what-if" in self.layout.made:
            self.layout.made["what-if"].show_details()

    def _tell_class(self) -> None:
        if self._class is None:
            return
        self._class.tell()
        if self.state.tab == "class" and "class" in self.layout.made:
            self.layout.made["class"].refresh()

    def _follow_location(self) -> None:
        if not self.playing.on and not self._asked.keys() & {
            "run",
            "runs",
            "sweep",
        }:  # else it says more than the page shows so far
            self.location.follow()
