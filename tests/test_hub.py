"""The explorer as a tile in JupyterLab, where a hub has it: behind a proxy, under a path of the user's."""

import http.client
import json
import os
import tomllib
from urllib.parse import urlsplit

import pytest

pytest.importorskip("jupyter_server_proxy")

from browser import CHROMIUM, ROOT, Visitor, chromium
from lab import jupyterlab
from test_project import loaded_by
from test_server import UPGRADE

if CHROMIUM is None:
    pytest.skip("needs Chromium: apt-get install chromium", allow_module_level=True)

pytestmark = pytest.mark.flaky(reruns=1)  # told in the summary; why: docs/why.md


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Jupyter as a hub starts it for a user, with the tiles that pyproject.toml declares now."""
    folder = tmp_path_factory.mktemp("hub")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = folder / "packages" / "smoot_explore-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: smoot-explore\nVersion: 0\n")
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {place}" for name, place in entries.items())]
    (installed / "entry_points.txt").write_text("\n".join(lines))
    packages = os.pathsep.join((str(ROOT), str(installed.parent)))
    with jupyterlab(folder, "/user/ada", PYTHONPATH=packages, OMP_NUM_THREADS="1") as address:
        yield address


def get(url, **headers):
    """The status of an answer, and its text."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.netloc, timeout=120)
    connection.request("GET", place.path, headers=headers)
    answer = connection.getresponse()
    status = answer.status, answer.read().decode()
    connection.close()
    return status


def test_jupyter_is_told_of_the_tile_without_the_page_or_torch_being_loaded():
    code = "from smoot_explore.explorer.hub import launcher; launcher()"
    assert loaded_by(code, "panel", "bokeh", "torch", "jupyter_server_proxy") == []


def test_the_tile_opens_an_explorer_that_works_behind_the_proxy(lab):
    (tile,) = json.loads(get(f"{lab}/server-proxy/servers-info")[1])["server_processes"]
    assert tile["launcher_entry"]["title"] == "smoot_explore"
    assert "<svg" in get(f"{lab}/server-proxy/icon/smoot_explore")[1]
    page = f"{lab}/{tile['launcher_entry']['path_info']}"
    assert get(page)[0] == 200  # it is started now
    assert get(f"{page}/ws", Origin="http://evil.example", **UPGRADE)[0] == 403
    with chromium() as browser:
        visitor = Visitor(browser, page).open()
        visitor.tab("Image")
        before = visitor.settled(lambda: visitor.data("image", "Pixels"))
        assert before
        visitor.move(visitor.slider("Masked share"), 10)
        visitor.wait_until(lambda: visitor.data("image", "Pixels") != before)
        visitor.close()
    assert (visitor.outside, visitor.errors) == ([], [])
