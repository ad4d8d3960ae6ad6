"""The explorer from Python: on runs at hand, from a script or a notebook's cell."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from smoot_explore.data.names import DATASETS
from smoot_explore.explorer.server import LOOPBACK, PORT, create_server, free_port, page_url, serve
from smoot_explore.explorer.settings import ServerSettings
from smoot_explore.runs.run import Run, open_run

if TYPE_CHECKING:
    from panel.io.server import Server

    from smoot_explore.engine.makers import ModelMaker
    from smoot_explore.explorer.host import Host


class Explorer:
    """An explorer that is served beside the program, at ``url``, until `stop`; a notebook shows it as a link."""

    def __init__(self, url: str, server: Server, host: Host, thread: threading.Thread) -> None:
        self.url = url
        self._server, self._host, self._thread = server, host, thread

    def __repr__(self) -> str:
        return f"<Explorer at {self.url}>"

    def _repr_html_(self) -> str:
        return f'smoot_explore is at <a href="{self.url}" target="_blank">{self.url}</a>'

    def stop(self) -> None:
        """End it, with the trainings of its pages."""
        from smoot_explore.explorer.connection import take_leave

        loop = self._server.io_loop

        async def end() -> None:
            await take_leave(self._server)
            self._server.stop()
            loop.stop()

        loop.add_callback(end)
        self._thread.join()
        self._host.close()


def explore(
    *runs: Run | str | Path, port: int | None = None, models: Mapping[str, ModelMaker] | None = None
) -> Explorer | None:
    """Serve the explorer on these runs, to this computer alone.

    In a script it serves until Ctrl+C; in a notebook it is served beside the cells, and the address is a link.

    Parameters
    ----------
    *runs
        Runs or their folders, also of `adopt`, of a module of one's own, or on data put together by hand where the run
        was made or opened with them (``open_run(path, model=…, data=…)``). Bundled and kept runs are there too.
    port
        To listen on; None is 5006, or the next that is free.
    models
        Models of one's own for the Train tab, by the name to type: functions ``(data, seed) → nn.Module``.

    Returns
    -------
    Explorer or None
        In a notebook, with its ``url`` and ``stop()``.

    Raises
    ------
    RunError
        When a folder is no run.
    OSError
        When the port is taken.
    ModuleNotFoundError
        When Panel is not installed.
    """
    opened = [run if isinstance(run, Run) else open_run(run) for run in runs]
    port = free_port(PORT - 1, LOOPBACK) if port is None else port
    named = (run.description["data"].get("name") for run in opened if run.own_data is None)
    folders = tuple(Path(name) for name in named if name and name not in DATASETS and Path(name).is_dir())
    settings, own = ServerSettings(data_folders=folders), dict(models or {})
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # no notebook
        serve(settings, port=port, models=own, runs=opened)
        return None
    made: Future[tuple[Server, Host]] = Future()

    def work() -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            server, host = create_server(settings, port=port, models=own, runs=opened)
        except BaseException as error:
            loop.close()
            made.set_exception(error)
            return
        server.start()
        made.set_result((server, host))
        server.io_loop.start()
        server.io_loop.close(all_fds=True)

    thread = threading.Thread(target=work, name="explorer", daemon=True)
    thread.start()
    return Explorer(page_url(LOOPBACK, port, opened), *made.result(), thread)
