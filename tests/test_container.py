"""The container file: it cannot be built here, but what it says can be carried out."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("panel")

from test_server import first_line, free_port

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "deploy" / "Containerfile").read_text().splitlines()


def instructions(name):
    """What stands behind a word at the start of a line."""
    return [line.removeprefix(f"{name} ") for line in LINES if line.startswith(f"{name} ")]


def test_what_is_copied_is_there_and_is_not_ignored():
    kept = re.findall(r"^!([\w./]+)", (ROOT / ".dockerignore").read_text(), flags=re.MULTILINE)
    copied = [name for line in instructions("COPY") for name in line.split()[:-1]]
    assert sorted(copied) == sorted(name.rstrip("/") for name in kept)
    assert all((ROOT / name).exists() for name in copied)


def test_it_serves_as_a_user_at_the_port_that_is_published_and_keeps_runs_in_the_volume():
    (entry,), (volume,), (port,) = map(instructions, ("ENTRYPOINT", "VOLUME", "EXPOSE"))
    (user,) = instructions("USER")
    published = next(line for line in LINES if "podman run" in line)
    assert f"--publish 127.0.0.1:{port}:{port}" in published
    assert f":{volume} " in published
    assert json.loads(entry)[-1] == volume
    assert user != "root"
    assert next(i for i, line in enumerate(LINES) if line.startswith("USER")) < LINES.index(
        f"ENTRYPOINT {entry}"
    )


def test_its_command_serves_and_its_health_check_tells_whether_it_does(tmp_path):
    port, (entry,), (check,) = free_port(), instructions("ENTRYPOINT"), instructions("HEALTHCHECK")
    program, *options = json.loads(entry.replace("/runs", str(tmp_path)).replace("5006", str(port)))
    _, *check = json.loads(check[check.index("[") :].replace("5006", str(port)))

    def healthy():
        return (
            subprocess.run([sys.executable, *check], stderr=subprocess.DEVNULL, check=False).returncode == 0
        )

    assert not healthy()
    command = [Path(sys.executable).with_name(program), *options, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert first_line(process).startswith(f"smoot_explore is at http://127.0.0.1:{port}/explorer")
            assert healthy()
        finally:
            process.kill()
