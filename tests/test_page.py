"""The page between its being sent and its being drawn, without a browser."""

import asyncio
import threading

import pytest

from smoot_explore.engine.background import QUICK
from smoot_explore.engine.trainings import TrainingPool
from smoot_explore.explorer import changes, clock
from smoot_explore.explorer.page import ExplorerPage
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state.session import SessionState


@pytest.fixture
def page(tmp_path):
    state = SessionState(ServerSettings(runs=str(tmp_path)), TrainingPool())
    yield ExplorerPage(state)
    state.close()


def test_what_the_background_computes_waits_until_the_page_is_drawn_and_keeps_its_order(page, monkeypatch):
    made, drawn = [], False
    monkeypatch.setattr(changes, "page_takes_changes", lambda: drawn)
    monkeypatch.setattr(clock, "page_takes_changes", lambda: drawn)
    page.changes.make(lambda: made.append("first"))
    page.clock.tick()
    assert made == []
    drawn = True
    page.changes.make(lambda: made.append("second"))
    assert made == []  # the first is older
    page.clock.tick()
    assert made == ["first", "second"]
    page.changes.make(lambda: made.append("third"))
    assert made == ["first", "second", "third"]


def test_a_change_that_fails_takes_no_other_with_it(page, monkeypatch):
    made, drawn = [], False
    monkeypatch.setattr(changes, "page_takes_changes", lambda: drawn)
    monkeypatch.setattr(clock, "page_takes_changes", lambda: drawn)
    page.changes.make(lambda: 1 / 0)
    page.changes.make(lambda: made.append("next"))
    drawn = True
    with pytest.raises(ZeroDivisionError):
        page.clock.tick()
    page.clock.tick()
    assert made == ["next"]


def test_maps_that_take_long_keep_no_slider_waiting(page, monkeypatch):
    begun, gate = threading.Event(), threading.Event()

    def long_maps(*asked):
        begun.set()
        gate.wait(30)
        return {}

    monkeypatch.setattr(page.state.compare, "maps", long_maps)

    async def ask() -> str:
        page.layout.make("compare")._ask()
        assert await asyncio.to_thread(begun.wait, 10)
        picture = asyncio.get_running_loop().run_in_executor(QUICK, lambda: "the slider's picture")
        return await asyncio.wait_for(picture, 10)

    try:
        assert asyncio.run(ask()) == "the slider's picture"
    finally:
        gate.set()
