"""The explorer as a tile in JupyterLab, and behind JupyterHub: what jupyter-server-proxy asks for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from smoot_explore.explorer.server import PATH


def launcher() -> dict[str, Any]:
    """How jupyter-server-proxy starts the explorer, one for each user of a hub, and what its tile says.

    It listens at a socket that belongs to the user: other users of the computer reach each port of it. Kept runs go to
    ``runs`` in the folder that Jupyter was started in.
    """
    return {
        "command": [sys.executable, "-P", "-m", "smoot_explore", "serve", "--socket", "{unix_socket}"],
        "unix_socket": True,
        "timeout": 120,  # seconds: PyTorch starts slowly from a busy disk
        "new_browser_tab": True,
        "launcher_entry": {
            "title": "smoot_explore",
            "path_info": f"smoot_explore{PATH}",
            "icon_path": str(Path(__file__).with_name("icon.svg")),
        },
    }
