"""The explorer from Python, and with models of the operator's own."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import nbclient
import nbformat
import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("panel")
pytest.importorskip("panel_material_ui")

from test_server import first_line, free_port
from waiting import until
from workers import ThreadWorkers

from smoot_explore import ImageData, Run, adopt, explore, open_run
from smoot_explore.engine.engine import Engine
from smoot_explore.engine.makers import load_makers
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.explorer.state.session import SessionState
from smoot_explore.explorer.state.train import TrainState


@pytest.fixture
def adopted(data, linear, tmp_path):
    return adopt(linear, ImageData(data.train, data.test), tmp_path / "theirs")


@pytest.fixture
def visit(tmp_path):
    sessions = []

    def visit(*runs, models=None):
        settings = ServerSettings(runs=tmp_path / "kept")
        sessions.append(SessionState(settings, Engine(ThreadWorkers()), models, runs))
        return sessions[-1]

    yield visit
    for session in sessions:
        session.close()


def test_runs_that_are_given_are_seen_first_and_compared(visit, adopted, data, linear, config):
    new = Run.create(adopted.path.with_name("new"), config(), linear, adopted.load_data())
    session = visit(adopted, new)
    labels = list(session.catalogue.labels.values())
    assert labels[:2] == ["theirs", "new"]
    assert "SMOOT, bundled" in labels
    assert session.compared == ["given/1", "given/2"]
    opened = session.show_run()
    assert opened.run.path == adopted.path
    for tab in ("images", "what-if"):
        measurement = session.measure_missing(tab)
        until(lambda measurement=measurement: measurement.done)
        assert not measurement.problem
    session.show_compared()
    assert not session.message
    heads, cells = session.compare.table()
    assert [row[:2] for row in cells] == [["theirs", "adopted"], ["new", "SMOOT"]]
    assert cells[1][heads.index("k median")] == "–"
    assert session.catalogue.record_file("given/1")


def test_runs_of_one_name_are_told_apart(visit, adopted, data, linear, tmp_path):
    other = adopt(linear, adopted.load_data(), tmp_path / "elsewhere" / "theirs")
    labels = list(visit(adopted, other).catalogue.labels.values())
    assert labels[:2] == [str(adopted.path), str(other.path)]


def test_without_given_runs_the_page_begins_as_before(visit):
    session = visit()
    assert (session.run_key, len(session.compared)) == ("bundled/smoot", 3)


def fetch(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


def test_in_a_notebook_the_cell_ends_and_the_page_is_there(adopted):
    async def cell():
        return explore(adopted, port=free_port())

    explorer = asyncio.run(cell())
    try:
        assert explorer.url in repr(explorer)
        assert explorer.url in explorer._repr_html_()
        assert "<title>smoot_explore</title>" in fetch(explorer.url)
    finally:
        explorer.stop()
    with pytest.raises(OSError, match="refused"):
        fetch(explorer.url)


CELLS = (
    """
from torch import nn
from smoot_explore import adopt, explore, load_data
data = load_data("shapes", 60, 24)
run = adopt(nn.Sequential(nn.Flatten(), nn.Linear(3072, 6)), data, "theirs")
explorer = explore(run, port=PORT)
explorer
""",
    """
import asyncio, urllib.request
answer = await asyncio.to_thread(urllib.request.urlopen, explorer.url, timeout=60)
"<title>smoot_explore</title>" in answer.read().decode()
""",
    "explorer.stop()",
)


def test_a_kernel_goes_on_beside_the_page_that_a_cell_of_it_serves(tmp_path):
    port = free_port()
    cells = [nbformat.v4.new_code_cell(cell.replace("PORT", str(port))) for cell in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    shown, served, ended = ([output["data"] for output in cell.outputs if "data" in output] for cell in cells)
    assert f'<a href="http://127.0.0.1:{port}/explorer' in shown[0]["text/html"]
    assert (served[0]["text/plain"], ended) == ("True", [])


def test_a_port_that_is_taken_is_said_in_the_cell(adopted):
    async def cell(port):
        return explore(port=port)

    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="is taken by another"):
        asyncio.run(cell(other.getsockname()[1]))


def test_a_script_serves_until_it_is_interrupted(adopted, tmp_path):
    port = free_port()
    script = (
        "from torch import nn\n"
        "from smoot_explore import explore, load_data, open_run\n"
        "data = load_data('shapes', 60, 24)\n"
        f"run = open_run({str(adopted.path)!r}, model=nn.Sequential(nn.Flatten(), nn.Linear(3072, 6)), data=data)\n"
        f"explore(run, port={port})\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert first_line(process) == (
            f"smoot_explore is at http://127.0.0.1:{port}/explorer?tab=image  (Ctrl+C stops it)\n"
        )
        assert "<title>smoot_explore</title>" in fetch(f"http://127.0.0.1:{port}/explorer?tab=image")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


MODULE = """
from torch import nn

def tiny(data, seed):
    return nn.Sequential(nn.Flatten(), nn.Linear(data.train.images[0].numel(), data.n_classes))

def nothing(data, seed):
    return 3

number = 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "lab_nets.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "lab_nets"
    sys.modules.pop("lab_nets", None)


def test_models_of_the_operators_own_are_loaded_by_their_place(module):
    assert list(load_makers([f"{module}:tiny", f"{module}:nothing"])) == ["tiny", "nothing"]


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (["lab_nets"], "package.module:function, given 'lab_nets'"),
        ([":tiny"], "package.module:function"),
        (["lab_nets:a.b"], "package.module:function"),
        (["../lab_nets:tiny"], r"package\.module, given '\.\./lab_nets'"),
        (["lab_nest:tiny"], "cannot be loaded: .*No module named 'lab_nest'.*PYTHONPATH"),
        (["lab_nets:tine"], "cannot be loaded: .*no attribute 'tine'"),
        (["lab_nets:number"], r"is no function \(data, seed\)"),
        (["lab_nets:tiny", "lab_nets:tiny"], "two models are called 'tiny'"),
    ],
)
def test_a_place_that_is_no_model_is_refused(module, places, message):
    with pytest.raises(ValueError, match=message):
        load_makers(places)


def test_a_run_of_the_operators_model_is_opened_by_the_server_that_has_it(module, data, visit, tmp_path):
    makers = load_makers([f"{module}:tiny"])
    state = visit(models=makers).train
    assert "This server's own: tiny." in state.param.model_name.doc
    assert "This server's own" not in TrainState.param.model_name.doc
    state.param.update(model_name="tiny", data_name="shapes", train_images=60)
    state.config.param.update(epochs=1, learning_rate=0.01, device="cpu", precision="float32")
    state.start()
    until(lambda: state.poll() and state.status == "finished")
    run = open_run(state.run.path)
    assert run.description["model"]["maker"] == "tiny"
    again = OpenedRun.open("kept/x", "x", open_run(run.path), makers=makers)
    assert torch.equal(again.model[1].weight, load_file(run.path / "model.safetensors")["1.weight"])
    with pytest.raises(ValueError, match="trained a model of its own"):
        OpenedRun.open("kept/x", "x", open_run(run.path))


def test_a_function_that_makes_no_model_says_so(module, visit):
    state = visit(models=load_makers([f"{module}:nothing"])).train
    state.param.update(model_name="nothing", data_name="shapes")
    state.start()
    until(lambda: state.poll() and state.status == "failed")
    assert state.problem == "nothing(data, seed) must give an nn.Module, it gave int"


def test_serve_takes_models_of_ones_own(module, tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "smoot_explore.cli", "serve", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--model", f"{module}:tiny"], cwd=tmp_path / "..", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip
    try:
        assert first_line(process).startswith("smoot_explore is at")
    finally:
        process.kill()
        process.communicate()
