"""The page around the tabs: keys, the guide of the first visit, projector mode, colours."""

import re

import pytest
from workers import ThreadWorkers

from smoot_explore.engine.engine import Engine
from smoot_explore.explorer.access import Access
from smoot_explore.explorer.browser import Browser
from smoot_explore.explorer.grid import Grid, part
from smoot_explore.explorer.guide import SCENARIOS
from smoot_explore.explorer.keys import Key, Keys
from smoot_explore.explorer.location import BrowserHistory
from smoot_explore.explorer.page import ExplorerPage
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state.session import SessionState
from smoot_explore.explorer.theme import theme


@pytest.fixture
def session(tmp_path):
    state = SessionState(ServerSettings(runs=tmp_path / "runs"), Engine(ThreadWorkers()))
    yield state
    state.close()


@pytest.fixture
def page(session):
    return ExplorerPage(session)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_a_scenario_of_the_guide_sets_the_page_up_whatever_was_chosen_before(page, scenario):
    state = page.state
    state.param.update(tab="what-if", epoch=0)
    state.images.over_epochs = True
    state.train.data_name = "shapes"
    state.train.config.k_max = 0.5
    page._begin_with(scenario.address)
    assert not page.messages.panel.visible
    assert (state.tab, state.image.opened.epoch) == (scenario.address["tab"], state.epochs[-1])
    assert state.address.write().items() <= scenario.address.items()


def test_a_scenario_of_the_guide_leaves_what_trains(page, monkeypatch):
    train = page.state.train
    train.config.alpha = 20.0
    monkeypatch.setattr(type(train), "busy", True)
    for scenario in SCENARIOS:
        page._begin_with(scenario.address)
        assert train.config.alpha == 20.0


def test_the_figures_of_a_tab_are_built_one_after_the_other(page, monkeypatch):
    waiting = []
    monkeypatch.setattr(page.layout, "_schedule", waiting.append)
    page.state.tab = "images"
    tab = page.layout.made["images"]
    pictures = [tab.scatter, tab.means, tab.peaks, tab.gallery]
    for n in range(len(pictures) + 1):
        assert [picture.pane in picture.panel.objects for picture in pictures].count(True) == n
        assert len(waiting) == 1  # the next one, and never more
        waiting.pop()()


def test_the_guide_says_what_to_look_for_and_can_be_closed_for_ever(page):
    page.guide.panel.visible = True
    page.guide._choose(SCENARIOS[1])(None)
    assert page.state.tab == "images"
    assert page.guide.words.object.startswith("**Find a class II image.**")
    page._close_guide()
    assert (page.guide.panel.visible, page.visitor.guide) == (False, False)


def test_each_key_does_what_the_window_says_and_others_do_nothing():
    done = []
    keys = Keys([Key("t", "train", lambda: done.append("t"))])
    browser = Browser(keys.acts)
    assert browser.keys == ["t", "?"]
    for pressed in ("t", "x", "?", None, ["t"], {"t": 1}):
        browser._handle_msg(pressed)
    assert done == ["t"]
    assert keys.window.open
    (words,) = keys.window.objects
    assert "**t** | train" in words.object


@pytest.mark.parametrize("component", [Access, Browser, BrowserHistory])
def test_what_is_drawn_again_listens_to_the_whole_page_once(component):
    once = re.search(r"if \((\w+)\) return\n +\1 = true\n", component._esm)
    assert ".addEventListener(" in component._esm[once.end() :]
    assert ".addEventListener(" not in component._esm[: once.start()]


def test_the_keys_of_the_page_choose_tabs_and_train_only_when_that_is_possible(page):
    acts = page.keys.acts
    for key, tab in (("2", "image"), ("3", "images"), ("1", "train")):
        acts[key]()
        assert page.state.tab == tab
    page.bar.buttons["Train"].disabled = True
    acts["t"]()
    assert page.state.train.training is None


def test_projector_mode_is_larger_leaves_the_leading_picture_and_goes_again(page):
    page.guide.panel.visible = True
    project = page.keys.acts["f"]
    project()
    assert page.train.panel.css_classes == ["projector"]
    assert not page.guide.panel.visible
    assert not page.page.sidebar_open
    assert page.page.theme_config == theme(18)
    project()
    assert page.guide.panel.visible
    assert page.train.panel.css_classes == []
    assert page.page.sidebar_open
    assert page.page.theme_config == theme()


def test_a_tab_seen_first_in_projector_mode_is_in_it_and_a_drawer_that_was_closed_stays_closed(page):
    page.page.sidebar_open = False  # as the browser has it on a small screen
    project = page.keys.acts["f"]
    project()
    page.state.tab = "image"
    made = page.layout.made["image"].panel
    assert made.css_classes == ["projector"]
    project()
    assert (made.css_classes, page.page.sidebar_open) == ([], False)


def test_a_part_takes_as_many_columns_on_a_wide_page_unless_told_otherwise():
    assert part(span=8).css_classes == ["span-8", "wide-8", "card"]
    assert part(span=8, wide=3, lead=True, card=False, late=True).css_classes == [
        "span-8",
        "wide-3",
        "lead",
        "late",
    ]
    assert part(span=6, alone=True).css_classes == ["span-6", "wide-6", "card", "alone"]
    assert len(Grid(part(span=6), part(span=6)).objects) == 2


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_words_read_on_the_page_and_on_its_cards(mode):
    palette = theme()[mode]["palette"]
    for ground in palette["background"].values():
        assert contrast(palette["text"]["primary"], ground) > 7
        assert contrast(palette["text"]["secondary"], ground) > 4.5
    assert contrast(palette["primary"]["main"], palette["primary"]["contrastText"]) > 7


@pytest.mark.parametrize("value", ["①", "²", "9" * 5000])
def test_an_address_with_a_number_that_is_none_opens_the_page_all_the_same(value):
    from panel.io.location import Location

    assert Location(search=f"?epochs={value}").query_params == {}
    assert Location(search="?epochs=3").query_params == {"epochs": 3}
