"""The server of the explorer, started as its operator starts it."""

import asyncio
import base64
import http.client
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("panel")
pytest.importorskip("panel_material_ui")

from bokeh.util.token import generate_jwt_token, get_session_id, get_token_payload
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from smoot_explore.explorer import server
from smoot_explore.explorer.settings import ServerSettings

STARTED = "smoot_explore is at http://127.0.0.1:{port}/explorer  (Ctrl+C stops it)\n"
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    "Sec-WebSocket-Protocol": "bokeh, none",
}


def free_port():
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


def start(port, folder, *options, **environment):
    command = [Path(sys.executable).with_name("smoot-explore"), "serve", "--port", str(port), *options]
    clean = {name: value for name, value in os.environ.items() if name not in server.PATIENT_THREADS}
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean | environment
    )  # fmt: skip


def first_line(process, seconds=90):
    """The line that says where the page is, or the errors of a server that did not start."""
    readable, _, _ = select.select([process.stdout], [], [], seconds)
    assert readable, "the server printed nothing"
    return process.stdout.readline() or process.communicate()[1]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The port of a running server, and its process."""
    port = free_port()
    # A stray setting of Bokeh that would let everyone in, and have the page's scripts fetched from elsewhere.
    process = start(
        port, tmp_path_factory.mktemp("served"), "--origin", "explorer.example.org", "--upload-megabytes", "1",
        BOKEH_ALLOW_WS_ORIGIN="*", BOKEH_RESOURCES="cdn",
    )  # fmt: skip
    try:
        assert first_line(process) == STARTED.format(port=port)
        yield port, process
    finally:
        process.kill()
        process.communicate()


def get(port, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    status = answer.status, answer.headers, b"" if answer.status == 101 else answer.read()
    connection.close()
    return status


def test_the_root_leads_to_the_explorer(served):
    status, headers, _ = get(served[0], "/")
    assert status == 302
    assert headers["Location"] in ("./explorer", "/explorer")


def test_the_page_loads_everything_from_the_server_itself(served):
    status, _, body = get(served[0], "/explorer")
    text = body.decode()
    assert status == 200
    assert "<title>smoot_explore</title>" in text
    assert 'src="static/' in text
    assert 'src="http' not in text
    assert 'rel="stylesheet" href="http' not in text


@pytest.mark.parametrize(
    "path", ["/components/os/x", "/components/antigravity/x/_css/y", "/components", "/components/"]
)
def test_no_module_is_imported_by_its_name_in_an_address(served, path):
    assert get(served[0], f"/components/{path}")[0] == 404


@pytest.mark.parametrize("path", ["/admin", "/rest/session_info", "/explorer.py", "/runs", "/login"])
def test_there_is_nothing_else_to_find(served, path):
    assert get(served[0], path)[0] == 404


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:{port}", 101),
        ("http://localhost:{port}", 101),
        ("https://explorer.example.org", 101),
        ("http://evil.example", 403),
        ("http://explorer.example.org.evil.example", 403),
        ("http://localhost:1", 403),
        ("null", 403),
    ],
)
def test_only_the_named_origins_may_talk_to_the_server(served, origin, status):
    headers = UPGRADE | {"Origin": origin.format(port=served[0])}
    assert get(served[0], "/explorer/ws", **headers)[0] == status


class Socket(http.client.HTTPConnection):
    """A connection to a Unix socket, as a proxy makes it."""

    def __init__(self, file):
        super().__init__("hub.example.org", timeout=30)
        self.file = str(file)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.file)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such sockets")
def test_a_socket_is_its_users_alone_and_serves_pages_of_the_host_that_was_asked(tmp_path):
    file = tmp_path / "socket"
    process = start(5006, tmp_path, "--socket", str(file))
    try:
        assert (
            first_line(process) == f"smoot_explore is at the socket {file}, for a proxy  (Ctrl+C stops it)\n"
        )
        assert file.stat().st_mode & 0o777 == 0o600
        answers = {}
        for origin in (
            "https://hub.example.org",
            "https://evil.example",
            "https://hub.example.org:444",
            "null",
        ):
            connection = Socket(file)
            connection.request("GET", "/explorer/ws", headers=UPGRADE | {"Origin": origin})
            answers[origin] = connection.getresponse().status
            connection.close()
        assert list(answers.values()) == [101, 403, 403, 403]
        process.send_signal(signal.SIGTERM)
        assert "WARNING" not in process.communicate(timeout=30)[1]
        assert process.returncode == 0
        assert not file.exists()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such sockets")
def test_a_socket_in_use_is_left_to_who_uses_it(tmp_path):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "socket"))
        server.check_can_serve(unix_socket=tmp_path / "socket")  # of one that was killed: nobody listens
        other.listen(1)
        with pytest.raises(OSError, match="socket is in use by another program; give another"):
            server.check_can_serve(unix_socket=tmp_path / "socket")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such sockets")
@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("missing/socket", r"missing/socket \(No such file or directory\)"),
        (200 * "a", "may be too long for a socket"),
    ],
)
def test_a_socket_that_cannot_be_is_named(tmp_path, file, told):
    with pytest.raises(OSError, match=f"cannot listen at the socket .*{told}"):
        server.create_server(ServerSettings(work=tmp_path), unix_socket=tmp_path / file)


@pytest.mark.parametrize(
    "given", [{"port": 5007}, {"address": "0.0.0.0"}, {"network": True}, {"origins": ["a"]}]
)
def test_a_socket_is_at_no_port(tmp_path, given):
    with pytest.raises(ValueError, match="--port, --address, --network and --origin are not for a socket"):
        server.check_can_serve(**given, unix_socket=tmp_path / "socket")


def test_the_page_does_not_repeat_a_proxys_password(served):
    headers = {"Authorization": "Basic c2VjcmV0", "Cookie": "a=c2VjcmV0", "X-Class": "7b"}
    body = get(served[0], "/explorer", **headers)[2].decode()
    (token,) = re.findall(r'"token":"([^"]+)"', body)
    kept = get_token_payload(token)
    assert kept["headers"]["X-Class"] == "7b"
    assert "c2VjcmV0" not in str(kept)
    assert "c2VjcmV0" not in body


def open_socket(port, token):
    """The first message that a websocket with this token gets; None when the server closes it."""

    async def ask():
        request = HTTPRequest(
            f"ws://127.0.0.1:{port}/explorer/ws", headers={"Origin": f"http://127.0.0.1:{port}"}
        )
        connection = await websocket_connect(request, subprotocols=["bokeh", token])
        return await connection.read_message()

    return asyncio.run(ask())


def token_of(page):
    return re.search(r'"token":"([^"]+)"', page.decode()).group(1)


def test_a_token_that_the_server_has_not_made_joins_no_page(served):
    token = token_of(get(served[0], "/explorer")[2])
    assert "ACK" in open_socket(served[0], token)
    for forged in (generate_jwt_token("abc"), generate_jwt_token(get_session_id(token))):
        assert open_socket(served[0], forged) is None


def test_a_visitor_cannot_name_the_session(served):
    """Else a link could lead two people to one page."""
    token = token_of(get(served[0], "/explorer")[2])
    for named in (
        "bokeh-session-id=abc",
        f"bokeh-session-id={get_session_id(token)}",
        f"bokeh-token={token}",
    ):
        assert get(served[0], f"/explorer?{named}")[0] == 403
        assert get(served[0], f"/explorer/autoload.js?bokeh-autoload-element=1&{named}")[0] == 403
    assert get(served[0], "/explorer", **{"Bokeh-Session-Id": get_session_id(token)})[0] == 403
    connection = http.client.HTTPConnection("127.0.0.1", served[0], timeout=30)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("GET", "/explorer", f"bokeh-session-id={get_session_id(token)}", form)
    assert connection.getresponse().status == 403
    connection.close()


def test_modules_that_lie_where_the_server_is_started_are_not_executed(tmp_path):
    for module in ("colorsys", "html", "torch", "panel", "smoot_explore"):
        (tmp_path / f"{module}.py").write_text(f"open('executed', 'w').write('{module}')\nraise SystemExit")
    port = free_port()
    process = start(port, tmp_path)
    try:
        assert first_line(process) == STARTED.format(port=port)
        assert get(port, "/explorer")[0] == 200
    finally:
        process.kill()
        process.communicate()
    assert not (tmp_path / "executed").exists()


def test_a_request_of_many_megabytes_is_not_taken_in(served):
    connection = http.client.HTTPConnection("127.0.0.1", served[0], timeout=30)
    try:
        connection.request("POST", "/explorer", body=bytes(3_000_000))
        assert connection.getresponse().status >= 400
    except ConnectionError:
        pass  # closed before all was sent
    assert get(served[0], "/explorer")[0] == 200


def test_a_second_server_on_the_port_is_told_to_take_a_free_one(served, tmp_path):
    port = served[0]
    before = time.perf_counter()
    process = start(port, tmp_path)
    out, errors = process.communicate(timeout=90)
    assert process.returncode == 1
    assert out == ""
    assert "Traceback" not in errors
    (suggested,) = [word.strip(",") for word in errors.split("--port ")[1].split()[:1]]
    assert f"port {port} is taken" in errors
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", int(suggested)))
    assert time.perf_counter() - before < 60


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_server_ends_quietly_when_asked_to(tmp_path, ending):
    port = free_port()
    temporary, folder = tmp_path / "temporary", tmp_path / "started_here"
    temporary.mkdir()
    folder.mkdir()
    process = start(port, folder, TMPDIR=str(temporary))
    assert first_line(process) == STARTED.format(port=port)
    assert [path.name[:14] for path in temporary.glob("smoot*")] == ["smoot_explore-"]
    assert get(port, "/explorer")[0] == 200
    process.send_signal(ending)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == ""
    assert errors == ""
    assert list(temporary.glob("smoot*")) == []
    assert list(folder.iterdir()) == []


def test_the_servers_threads_leave_the_core_to_the_page(monkeypatch):
    for name in server.PATIENT_THREADS:
        monkeypatch.delenv(name, raising=False)
    server.use_patient_threads()
    assert os.environ.items() >= server.PATIENT_THREADS.items()
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")  # the operator's own choice stands
    server.use_patient_threads()
    assert "GOMP_SPINCOUNT" not in os.environ


def test_the_command_loads_torch_only_after_its_threads_are_chosen():
    code = (
        "import sys, smoot_explore.explorer.server as s\n"
        "from smoot_explore.explorer.settings import ServerSettings\n"
        "from smoot_explore.cli import main\n"
        "s.use_patient_threads = lambda: print('torch' in sys.modules)\n"
        "s.serve = lambda *_, **__: print('served')\n"
        "main(['serve', '--port', sys.argv[1]], standalone_mode=False)"
    )
    command = [sys.executable, "-c", code, str(free_port())]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "served"]


@pytest.mark.parametrize("origin", ["*", "*.example.org", "*:80"])
def test_an_origin_for_everyone_is_refused(origin):
    with pytest.raises(ValueError, match="would let any website"):
        server.check_can_serve(free_port(), origins=[origin])


@pytest.mark.parametrize(
    "origin", ["http://a.example", "a.example/explorer", "", "a b", "a:port", "[::1]:5006"]
)
def test_an_origin_that_is_no_host_is_refused_with_an_example(origin):
    with pytest.raises(ValueError, match=r"is not a host or host:port; try explorer\.example\.org"):
        server.check_can_serve(free_port(), origins=[origin])


def test_other_computers_are_let_in_only_on_purpose():
    with pytest.raises(ValueError, match=r"other computers would reach 0\.0\.0\.0; say so with --network"):
        server.check_can_serve(free_port(), "0.0.0.0")
    with pytest.raises(ValueError, match="name the one that visitors type, such as --origin"):
        server.check_can_serve(free_port(), "0.0.0.0", network=True)
    server.check_can_serve(free_port(), "0.0.0.0", ["192.168.1.5:5006"], network=True)


def test_an_address_that_means_nothing_is_refused():
    with pytest.raises(ValueError, match="the address 'no.such.host.invalid' is not known"):
        server.check_can_serve(free_port(), "no.such.host.invalid")
    with pytest.raises(ValueError, match="the address ::1 is of IPv6"):
        server.check_can_serve(free_port(), "::1")
    with pytest.raises(OSError, match=r"cannot listen at 192\.0\.2\.1.*is it an address of this computer"):
        server.check_can_serve(free_port(), "192.0.2.1", network=True)


def test_a_port_that_is_taken_is_noticed_before_panel_is_imported():
    code = (
        "import socket, sys\n"
        "from smoot_explore.explorer.server import serve\n"
        "from smoot_explore.explorer.settings import ServerSettings\n"
        "other = socket.create_server(('127.0.0.1', 0))\n"
        "try: serve(ServerSettings(), port=other.getsockname()[1])\n"
        "except OSError as error: print(error, 'panel' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "is taken by another program; try --port" in ran.stdout
    assert ran.stdout.strip().endswith("False")


def test_without_panel_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "smoot-explore\[app\]"'):
        server.check_can_serve(free_port())
