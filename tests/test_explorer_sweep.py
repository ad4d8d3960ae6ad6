"""Sweeps in the Compare tab: which are offered, how they are opened, and what is drawn of them."""

import json
import os
import shutil

import numpy as np
import panel as pn
import pytest
import torch
from torch import nn
from waiting import in_a_thread, until
from workers import ThreadWorkers

from smoot_explore import open_sweep
from smoot_explore.engine.engine import Engine
from smoot_explore.explorer.controls import control
from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.kept_runs import KeptRuns
from smoot_explore.explorer.page import ExplorerPage
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state import catalogue
from smoot_explore.explorer.state.session import SessionState
from smoot_explore.explorer.state.sweep import SweepState, pictures
from smoot_explore.explorer.tabs import sweep
from smoot_explore.runs.checkpoint import RunError
from smoot_explore.sweeps.cell import train_to_end
from smoot_explore.sweeps.manifest import Sweep
from smoot_explore.views.view import Frames

OVER = {"seed": [0, 1], "beta": [0.5, 0.9], "k_max": [0.6, 0.8]}


def small(data, seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, data.n_classes))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A sweep of which the last training is not begun, and one has failed."""
    from smoot_explore import TrainingConfig

    config = TrainingConfig(epochs=1, batch_size=30, device="cpu", precision="float32")
    planned = Sweep.of(
        tmp_path_factory.mktemp("sweeps") / "s", OVER, config, data, {"maker": "small"}, "last"
    )
    planned.write(data)
    for cell in planned.cells[:-2]:
        in_a_thread(lambda cell=cell: train_to_end(planned, planned.folder(cell), cell.config, small, data))()
    planned.tell({planned.cells[-2].name: "the loss is <b>not</b> finite"})
    return planned.path


@pytest.fixture
def kept(trained, tmp_path):
    """The server's folder, with the sweep."""
    shutil.copytree(trained, tmp_path / "runs" / "s")
    return tmp_path / "runs"


@pytest.fixture
def visit(kept):
    """Opens pages of one server."""
    states = []

    def visit() -> ExplorerPage:
        states.append(SessionState(ServerSettings(runs=kept), Engine(ThreadWorkers())))
        return ExplorerPage(states[-1])

    yield visit
    for state in states:
        state.close()


def opened_by(folder, name="s"):
    found = KeptRuns(folder)
    found.look()
    return found.open_sweep(name)


# The folder


def test_a_sweep_in_the_folder_is_offered_and_its_folder_is_no_run(kept, trained):
    found = KeptRuns(kept)
    found.look()
    assert (found.sweeps, found.runs) == (["s"], [])
    assert found.open_sweep("s").identical(open_sweep(kept / "s"))
    shutil.copytree(trained, kept / "t")
    found.look()
    assert found.sweeps == ["s", "t"]


def test_a_page_that_looks_just_when_a_sweep_is_found_offers_it(kept, trained, monkeypatch):
    pages = []

    class Seen(KeptRuns):
        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            for page in pages:
                page.follow()

    monkeypatch.setattr(catalogue, "kept_runs", Seen)
    pages.append(catalogue.Catalogue(ServerSettings(runs=kept), lambda: None))
    shutil.copytree(trained, kept / "t")
    pages[0].refresh()
    assert pages[0].sweeps == ["s", "t"]


@pytest.mark.parametrize(
    "linked", ["s", "s/seed=0,beta=0.5,k_max=0.6", "s/seed=0,beta=0.5,k_max=0.6/epochs", "s/.areas"]
)
def test_no_link_out_of_the_folder_is_followed(kept, tmp_path, linked):
    place = kept / linked
    (kept / "s" / ".areas").mkdir(exist_ok=True)
    shutil.move(place, tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"there is no sweep 's'|is a link out of the folder of runs"):
        opened_by(kept)


@pytest.mark.parametrize("name", ["..", "s/../s", "", "/"])
def test_only_names_of_sweeps_in_the_folder_are_opened(kept, name):
    with pytest.raises(ValueError, match="there is no sweep .* any more; choose another"):
        opened_by(kept, name)


def test_a_damaged_sweep_is_offered_and_says_what_is_wrong(kept):
    (kept / "s" / "sweep.json").write_text("{")
    with pytest.raises(RunError, match=r"sweep\.json cannot be read"):
        opened_by(kept)


# The state


def test_the_map_is_first_over_two_settings_that_are_no_seeds(trained):
    state = SweepState()
    state.show(open_sweep(trained))
    assert state.choices == ("test_accuracy", "beta", "k_max", "beta")
    state.across = "k_max"  # the rows' setting: they change places
    assert (state.across, state.down) == ("k_max", "beta")
    state.down = "seed"
    state.show(open_sweep(trained))
    assert (state.across, state.down) == ("k_max", "seed")


def test_the_lists_of_a_page_show_what_is_drawn(trained):
    state = SweepState()
    lists = {name: control(state, name) for name in ("quantity", "across", "down", "along")}
    roots = [shown.get_root() for shown in lists.values()]  # as on a page
    state.show(open_sweep(trained))
    assert (state.across, state.down) == ("beta", "k_max")
    assert {name: shown.value for name, shown in lists.items()} == {n: getattr(state, n) for n in lists}
    assert len(roots) == 4


def test_one_setting_beside_the_seeds_makes_a_map_of_one_row(trained):
    state, found = SweepState(), open_sweep(trained).isel(k_max=0)
    found.attrs["over"] = json.dumps({name: OVER[name] for name in ("seed", "beta")})
    state.show(found)
    assert state.choices[1:] == ("beta", "", "beta")
    assert pictures(found, *state.choices).map.keys == {}
    state.down = "seed"
    assert isinstance(pictures(found, *state.choices).map, Frames)


def test_how_far_a_sweep_is_and_why_trainings_failed_is_told(trained):
    state = SweepState()
    state.show(open_sweep(trained))
    assert state.standing() == (
        "6 of 8 trainings are finished, 1 in work or not begun, 1 failed: "
        "seed=1,beta=0.9,k_max=0.6: the loss is <b>not</b> finite"
    )


def test_what_is_not_drawn_has_a_slider_and_what_cannot_be_drawn_says_why(trained):
    found = open_sweep(trained)
    drawn = pictures(found, "k_median", "beta", "seed", "beta")
    assert drawn.map.keys == {"k_max": [0.6, 0.8]}
    assert drawn.curves.keys == {"k_max": [0.6, 0.8]}
    words = next(layer for layer in drawn.map.at(k_max=0.6).layers if layer.role == "Cell value").numbers[2]
    for text, (seed, beta) in zip(words, [(0, 0.5), (0, 0.9), (1, 0.5), (1, 0.9)], strict=True):
        k = found.k.sel(seed=seed, beta=beta, k_max=0.6).isel(epoch=0).values
        median = np.median(k)
        assert text == "–" if np.isnan(median) else float(text) == pytest.approx(median, abs=0.5)
    assert "drop_auc is no number of each epoch" in pictures(found, "drop_auc", "beta", "seed", "beta").curves


# The page


def test_compare_shows_the_chosen_sweep_and_its_sliders_move_it(visit):
    page = visit()
    page.state.tab = "compare"
    part = page.layout.made["compare"].sweeps
    assert part.panel.visible
    assert not part.pictures.visible
    page.state.sweep.chosen = "s"
    assert part.pictures.visible
    assert "6 of 8 trainings" in part.note.object
    assert "<b>" not in part.note.object
    page.state.sweep.down = "seed"
    (slider,) = part.map.sliders
    before = part.map.live.sketch
    slider.value = 0.8
    assert part.map.live.sketch is not before
    page.state.sweep.quantity = "drop_auc"
    assert escaped("drop_auc is no number of each epoch") in part.curves.why.object
    assert not part.curves.live.visible
    page.state.sweep.quantity = "kl"
    assert part.curves.live.visible
    page.state.sweep.chosen = ""
    assert (part.pictures.visible, page.state.sweep.opened) == (False, None)


def test_a_map_of_many_columns_has_the_width_of_the_page(visit, monkeypatch):
    page = visit()
    page.state.sweep.chosen = "s"
    page.state.tab = "compare"
    part = page.layout.made["compare"].sweeps
    (row,) = part.upper
    assert row.objects == [part.map.panel, part.curves.panel]
    monkeypatch.setattr(sweep, "_MOST_BESIDE", 1)
    page.state.sweep.quantity = "train_accuracy"
    assert part.upper.objects == [part.map.panel, part.curves.panel]


def test_a_sweep_is_opened_beside_the_page_and_a_failure_is_told(visit, kept, monkeypatch):
    import threading

    threads = []
    real = KeptRuns.open_sweep

    def watched(self, name):
        threads.append(threading.current_thread())
        return real(self, name)

    monkeypatch.setattr(KeptRuns, "open_sweep", watched)
    page = visit()
    page.state.tab = "compare"
    (kept / "s" / "images.npy").unlink()
    page.state.sweep.chosen = "s"
    part = page.layout.made["compare"].sweeps
    assert threads
    assert threading.current_thread() not in threads
    assert "images.npy cannot be read" in part.note.object
    assert not part.pictures.visible


def test_looking_again_shows_what_was_trained_meanwhile(visit, kept, data):
    page = visit()
    page.state.tab = "compare"
    page.state.sweep.chosen = "s"
    planned = Sweep.read(kept / "s")
    cell = planned.cells[-1]
    in_a_thread(lambda: train_to_end(planned, planned.folder(cell), cell.config, small, data))()
    part = page.layout.made["compare"].sweeps
    part.again.clicks += 1
    assert "7 of 8 trainings are finished, 1 failed" in part.note.object


def test_without_a_sweep_in_the_folder_nothing_is_offered_until_one_comes(visit, kept, trained):
    shutil.rmtree(kept / "s")
    page = visit()
    page.state.tab = "compare"
    part = page.layout.made["compare"].sweeps
    assert not part.panel.visible
    shutil.copytree(trained, kept / "t")
    os.utime(kept)
    page.state.catalogue.refresh()
    until(lambda: part.panel.visible)
    page.state.sweep.chosen = "t"
    shutil.rmtree(kept / "t")
    page.state.catalogue.refresh()
    assert page.state.sweep.chosen == ""


def test_an_address_leads_to_a_sweep_and_a_wrong_one_is_complained_of(visit, monkeypatch):
    first = visit()
    first.state.tab = "compare"
    first.state.sweep.param.update(chosen="s", quantity="kl")
    address = first.state.address.write()
    assert address == {"tab": "compare", "sweep": "s", "quantity": "kl"}
    asked = {name: [text.encode()] for name, text in address.items()}
    monkeypatch.setattr(type(pn.state), "session_args", asked)
    there = visit()
    assert there.state.sweep.opened is not None
    assert there.layout.made["compare"].sweeps.pictures.visible
    (complaint,) = first.state.address.read({"sweep": "../s"})
    assert complaint == "Sweep: the address asks for “../s”. Choose one of: none; s. It stays as it was: s."
