"""The page between its being sent and its being drawn, without a browser."""

import pytest

from smoot_explore.explorer import page as page_module
from smoot_explore.explorer.page import ExplorerPage
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state.session import SessionState
from smoot_explore.explorer.trainings import TrainingPool


@pytest.fixture
def page(tmp_path):
    state = SessionState(ServerSettings(runs=str(tmp_path)), TrainingPool())
    yield ExplorerPage(state)
    state.close()


def test_what_the_background_computes_waits_until_the_page_is_drawn_and_keeps_its_order(page, monkeypatch):
    made, drawn = [], False
    monkeypatch.setattr(page_module, "page_takes_changes", lambda: drawn)
    page._change(lambda: made.append("first"))
    page.tick()
    assert made == []
    drawn = True
    page._change(lambda: made.append("second"))
    assert made == []  # the first is older
    page.tick()
    assert made == ["first", "second"]
    page._change(lambda: made.append("third"))
    assert made == ["first", "second", "third"]


def test_a_change_that_fails_takes_no_other_with_it(page, monkeypatch):
    made, drawn = [], False
    monkeypatch.setattr(page_module, "page_takes_changes", lambda: drawn)
    page._change(lambda: 1 / 0)
    page._change(lambda: made.append("next"))
    drawn = True
    with pytest.raises(ZeroDivisionError):
        page.tick()
    page.tick()
    assert made == ["next"]
