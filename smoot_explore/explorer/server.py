"""The server of the explorer: one process, one page, this computer only unless the operator says otherwise."""

from __future__ import annotations

import errno
import importlib.util
import ipaddress
import os
import re
import secrets
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from smoot_explore.explorer.settings import ServerSettings

if TYPE_CHECKING:
    from panel.io.server import Server

    from smoot_explore.engine.makers import ModelMaker
    from smoot_explore.explorer.host import Host
    from smoot_explore.runs.run import Run

PATH = "/explorer"
PORT = 5006
LOOPBACK = "127.0.0.1"

# A thread of a training that has nothing to do for a moment spins first, which keeps its steps fast, and soon
# sleeps, which leaves the core to the page. OpenMP's own choice is three times as patient.
PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "100000"}

# A session that has no browser is given up after 15 to 25 s: long enough for a reload or a lost Wi-Fi.
_UNUSED_SESSION_MS, _CHECK_SESSIONS_MS = 15_000, 10_000
_TOKEN_SECONDS = 86_400  # from a page's text to its websocket: a computer may sleep in between
_BODY_BYTES = 1_000_000  # of a request; all that the page sends goes through the websocket
_MESSAGE_BYTES = 1_000_000  # of a websocket message besides an upload
_BASE64 = 4 / 3  # uploads travel as text


def serve(
    settings: ServerSettings,
    *,
    port: int = PORT,
    address: str = LOOPBACK,
    origins: Sequence[str] = (),
    network: bool = False,
    show: bool = False,
    models: dict[str, ModelMaker] | None = None,
    runs: Sequence[Run] = (),
    unix_socket: Path | None = None,
) -> None:
    """Serve the explorer until Ctrl+C or SIGTERM. To be called from the main thread.

    Parameters
    ----------
    settings
        What the operator decides.
    port, address
        Where to listen; by default only this computer reaches it.
    origins
        Hosts, ``"host"`` or ``"host:port"``, under which visitors see the page besides those of this
        computer. Pages from anywhere else cannot talk to the server.
    network
        Must be True for an address that other computers reach.
    show
        Open the page in a browser.
    models, runs
        The operator's own, as for `build_page`.
    unix_socket
        A file to listen at in the place of a port, for a proxy that runs as the same user; nobody else can. Only
        pages of the host that the proxy was asked for, and passes on, may talk to the server.

    Raises
    ------
    OSError
        When the port is taken, the address is none of this computer's, or the scheduler does not answer.
    ValueError
        When an origin or the address is unusable, or the address needs ``network``.
    ModuleNotFoundError
        When Panel is not installed.
    """
    # The runs of all pages lie in one folder, which goes with the server: Bokeh does not end the sessions when it
    # stops. A training may still write for a moment, hence no complaint about leftovers.
    temporary = tempfile.TemporaryDirectory(
        prefix="smoot_explore-", dir=settings.work, ignore_cleanup_errors=True
    )
    settings = replace(settings, work=Path(temporary.name))
    server, host = create_server(
        settings, port=port, address=address, origins=origins, network=network, models=models, runs=runs,
        unix_socket=unix_socket,
    )  # fmt: skip
    from smoot_explore.engine.background import settle
    from smoot_explore.explorer.connection import take_leave

    loop = server.io_loop

    async def end() -> None:
        await take_leave(server)
        loop.stop()

    def stop(*_: object) -> None:
        loop.asyncio_loop.call_soon_threadsafe(loop.add_callback, end)

    def announce() -> None:
        if unix_socket is not None:
            print(f"smoot_explore is at the socket {unix_socket}, for a proxy  (Ctrl+C stops it)", flush=True)
            return
        url = page_url(address, port, runs)
        if network and not _is_loopback(address):
            print(
                f"warning: others reach port {port} at {address}, without password and encryption; see docs/serving.md",
                file=sys.stderr,
                flush=True,
            )
        print(f"smoot_explore is at {url}  (Ctrl+C stops it)", flush=True)
        if show:
            loop.run_in_executor(None, webbrowser.open, url)

    endings = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(ending, stop) for ending in endings]
    server.start()
    loop.add_callback(announce)
    try:
        loop.start()
    finally:
        host.close()
        temporary.cleanup()
        server.stop()
        settle()
        if unix_socket is not None:
            unix_socket.unlink(missing_ok=True)
        for ending, handler in zip(endings, before, strict=True):
            signal.signal(ending, handler)


def create_server(
    settings: ServerSettings,
    *,
    port: int = PORT,
    address: str = LOOPBACK,
    origins: Sequence[str] = (),
    network: bool = False,
    models: dict[str, ModelMaker] | None = None,
    runs: Sequence[Run] = (),
    unix_socket: Path | None = None,
) -> tuple[Server, Host]:
    """The server, listening but not started, and what its pages share, to be closed after it; see `serve`."""
    check_can_serve(port, address, origins, network, unix_socket)
    if settings.scheduler is not None:  # said now, not to the first visitor
        settings.scheduler.connect().close()
    # Both would silently undo what is decided here: who may connect, and that nothing comes from elsewhere.
    for variable in ("BOKEH_ALLOW_WS_ORIGIN", "BOKEH_RESOURCES"):
        os.environ.pop(variable, None)

    from panel.io.server import get_server
    from tornado.httputil import HTTPServerRequest
    from tornado.routing import Matcher
    from tornado.web import ErrorHandler

    from smoot_explore.engine.background import FILES
    from smoot_explore.explorer.browser import COOKIES
    from smoot_explore.explorer.data_access import installed_datasets
    from smoot_explore.explorer.host import Host
    from smoot_explore.explorer.page import build_page

    class NamesASession(Matcher):
        """A request for a session that somebody else may know: the server alone names sessions."""

        def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
            named = request.arguments.keys() & {"bokeh-session-id", "bokeh-token"}
            # A body may name one too, and is read later; nothing of the page sends any.
            body = request.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in request.headers
            return {} if named or body or "Bokeh-Session-Id" in request.headers else None

    class FromElsewhere(Matcher):
        """A request by a page of another host than the one that was asked."""

        def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
            origin = request.headers.get("Origin")
            return None if origin is None or urlsplit(origin).netloc.lower() == request.host.lower() else {}

    refused: list[tuple[Matcher, type[ErrorHandler], dict[str, Any]]] = [
        (NamesASession(), ErrorHandler, {"status_code": 403})
    ]
    place: dict[str, Any] = {
        "port": port,
        "address": address,
        "websocket_origin": _allowed_origins(port, address, origins),
    }
    if unix_socket is not None:
        refused.append((FromElsewhere(), ErrorHandler, {"status_code": 403}))
        place = {"unix_socket": str(unix_socket)}
    FILES.submit(
        installed_datasets, settings.root
    )  # imports torchvision: the first visitor need not wait for it
    host, before = Host(settings), signal.getsignal(signal.SIGINT)
    try:
        server = get_server(
            {PATH.strip("/"): lambda: build_page(host, models, runs)},
            **place,
            title="smoot_explore",
            # Panel's own handler of these imports any installed module by name, for anyone who asks.
            # Patterns given here come first. Nothing on the page needs it.
            extra_patterns=[(r"/components(?:/.*)?", ErrorHandler, {"status_code": 404})],
            websocket_max_message_size=int(_BASE64 * 1e6 * settings.upload_megabytes) + _MESSAGE_BYTES,
            http_server_kwargs={"max_body_size": _BODY_BYTES},
            unused_session_lifetime_milliseconds=_UNUSED_SESSION_MS,
            check_unused_sessions_milliseconds=_CHECK_SESSIONS_MS,
            session_token_expiration=_TOKEN_SECONDS,
            # The page holds what is included of a request; a proxy's password has no business there.
            exclude_headers=["Authorization", "Cookie"],
            include_cookies=COOKIES,
            # A token made elsewhere opens no session, and joins none.
            sign_sessions=True,
            secret_key=secrets.token_bytes(32),
        )
        server._tornado.add_handlers(".*", refused)
        if unix_socket is not None:  # Bokeh would ask for the proxy's name, which is not known
            server._tornado.websocket_origins.add("*")
    except OSError as error:
        if unix_socket is not None:
            why = error.strerror or "its path may be too long for a socket: some 100 characters"
            raise OSError(f"cannot listen at the socket {unix_socket} ({why})") from error
        raise _cannot_listen(error, port, address) from error  # someone was faster since the check
    finally:
        # get_server takes Ctrl+C for itself, where it can: in the main thread
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)
    return server, host


def check_can_serve(
    port: int = PORT,
    address: str = LOOPBACK,
    origins: Sequence[str] = (),
    network: bool = False,
    unix_socket: Path | None = None,
) -> None:
    """Raise what `serve` would, before anything heavy is imported."""
    for module in ("panel", "panel_material_ui"):
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(
                f'the explorer needs {module}, which is not installed; try: pip install "smoot-explore[app]"'
            )
    if unix_socket is not None:
        if (port, address, *origins, network) != (PORT, LOOPBACK, False):
            raise ValueError(
                "give --socket or a network: --port, --address, --network and --origin are not for a socket"
            )
        if _is_answered(unix_socket):
            raise OSError(
                f"the socket {unix_socket} is in use by another program; give another, or stop that program"
            )
        return
    for origin in origins:
        _check_origin(origin)
    if ":" in address:  # Panel fails on pages asked for by such an address
        raise ValueError(
            f"the address {address} is of IPv6; give a host name or an IPv4 address, such as {LOOPBACK}"
        )
    if not _is_loopback(address):
        if not network:
            raise ValueError(
                f"other computers would reach {address}; say so with --network, or leave out --address "
                "(docs/serving.md tells what to think of first)"
            )
        if _is_wildcard(address) and not origins:
            raise ValueError(
                f"{address} stands for every address of this computer; name the one that visitors type, such as "
                f"--origin {socket.gethostname()}:{port}"
            )
    try:
        _bind(port, address)
    except OSError as error:
        raise _cannot_listen(error, port, address) from error


def page_url(address: str, port: int, runs: Sequence[Run] = ()) -> str:
    """Where the page is; with runs of the operator's, one of them is seen first."""
    return f"http://{_visible_host(address)}:{port}{PATH}" + ("?tab=image" if runs else "")


def use_patient_threads() -> None:
    """Set `PATIENT_THREADS` for this process, where the operator has set none of them. Before torch is imported,
    which reads them."""
    if not os.environ.keys() & PATIENT_THREADS.keys():
        os.environ.update(PATIENT_THREADS)


def _allowed_origins(port: int, address: str, origins: Sequence[str]) -> list[str]:
    """As Bokeh takes them: browsers send lower case; a missing port stands for the usual one, also of https."""
    own = [f"{host}:{port}" for host in ("localhost", LOOPBACK, _visible_host(address))]
    return list(dict.fromkeys(origin.lower() for origin in (*own, *origins)))


def _check_origin(origin: str) -> None:
    if "*" in origin:
        raise ValueError(
            f"the origin {origin!r} would let any website use this server in a visitor's name; "
            "name each host, such as --origin explorer.example.org"
        )
    if not re.fullmatch(r"[A-Za-z0-9._-]+(:\d{1,5})?", origin):
        raise ValueError(
            f"the origin {origin!r} is not a host or host:port; try explorer.example.org or 192.168.1.5:5006, "
            "without http:// and path"
        )


def _ip_addresses(address: str) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise ValueError(
            f"the address {address!r} is not known; {LOOPBACK} is this computer alone, 0.0.0.0 all its networks"
        ) from error
    return list(dict.fromkeys((family, str(where[0])) for family, _, _, _, where in found))


def _is_loopback(address: str) -> bool:
    return all(ipaddress.ip_address(ip.split("%")[0]).is_loopback for _, ip in _ip_addresses(address))


def _is_wildcard(address: str) -> bool:
    return any(ipaddress.ip_address(ip.split("%")[0]).is_unspecified for _, ip in _ip_addresses(address))


def _visible_host(address: str) -> str:
    """The host for a link; a wildcard is no address to go to."""
    return LOOPBACK if _is_wildcard(address) else address


def _bind(port: int, address: str) -> None:
    """Listen for a moment, as the server will."""
    for family, ip in _ip_addresses(address):
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            if os.name != "nt":  # where it would allow to share a port
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.bind((ip, port))
            trial.listen(1)


def _is_answered(unix_socket: Path) -> bool:
    """Whether somebody listens there already: the server would take it away."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        try:
            trial.connect(str(unix_socket))
        except OSError:
            return False
    return True


def _cannot_listen(error: OSError, port: int, address: str) -> OSError:
    if error.errno == errno.EADDRINUSE:
        return OSError(
            f"port {port} is taken by another program; try --port {free_port(port, address)}, or stop that program"
        )
    if error.errno == errno.EACCES:
        return OSError(
            f"port {port} is reserved for administrators; try --port {free_port(PORT - 1, address)}"
        )
    return OSError(
        f"cannot listen at {address}, port {port} ({error.strerror}); is it an address of this computer?"
    )


def free_port(taken: int, address: str) -> int:
    """The next port after ``taken`` that is free now."""
    for port in range(taken + 1, 65536):
        try:
            _bind(port, address)
        except OSError:
            continue
        return port
    return free_port(PORT - 1, address)
