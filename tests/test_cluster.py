"""A scheduler and workers on computers of their own, started as docs/scaling.md says."""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import until

from smoot_explore import TrainingConfig, sweep
from smoot_explore.engine import cluster
from smoot_explore.engine.cluster import Scheduler

pytest.importorskip("distributed")

ROOT = Path(__file__).parents[1]
RECIPES = dict(
    re.findall(r"```sh (\w+)\n(.*?)```", (ROOT / "docs" / "scaling.md").read_text(), flags=re.DOTALL)
)
ADDRESSES = {"lab": "192.168.1.10", "node1": "192.168.1.21", "node2": "192.168.1.22", "me": "192.168.1.30"}
PATIENCE = 240  # seconds: processes start slowly on a busy computer


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A folder with the files that the recipe makes."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("keys")
    subprocess.run(["sh", "-ec", RECIPES["certificates"]], cwd=folder, check=True, capture_output=True)
    return folder


def files(folder):
    return folder / "ca.pem", folder / "me.pem", folder / "me.key"


@contextmanager
def running(recipe, keys, *changes, host=(), until_it_says=""):
    """A recipe's program, on a host, until it is left; ``changes`` are pairs of texts, old and new.

    Gives the process, and what it says from time to time.
    """
    command = RECIPES[recipe]
    for old, new in changes:
        assert old in command
        command = command.replace(old, new)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(keys)}
    said = Path(tempfile.mkstemp(dir=keys)[1])
    with said.open("w") as errors:
        process = subprocess.Popen(
            [*host, "sh", "-c", f"exec {command}"], cwd=keys, env=os.environ | settings, text=True,
            stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
    try:
        until(lambda: until_it_says in said.read_text() or process.poll() is not None, PATIENCE)
        yield process, said.read_text
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def scheduler(keys):
    """The address of a scheduler on loopback that asks for certificates."""
    with socket.create_server(("127.0.0.1", 0)) as trial:
        port = trial.getsockname()[1]
    with running(
        "scheduler", keys, (ADDRESSES["lab"], "127.0.0.1"), ("8786", str(port)), until_it_says="Scheduler at"
    ):
        yield f"tls://127.0.0.1:{port}"


def test_a_sweep_trains_on_workers_that_show_a_certificate(keys, scheduler, data, tmp_path):
    here = [(f"tls://{ADDRESSES['lab']}:8786", scheduler), (ADDRESSES["node1"], "127.0.0.1")]
    with running("worker", keys, *here):
        client = Scheduler(scheduler, *files(keys)).connect()
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
            config = TrainingConfig(epochs=1, batch_size=30, device="cpu", precision="float32")
            found = sweep(tmp_path / "s", config, {"alpha": [1, 10]}, data=data, client=client)
            addresses = [*client.scheduler_info()["workers"]]
        finally:
            client.close()
    assert found.epochs_done.values.tolist() == [1, 1]
    assert all(address.startswith("tls://127.0.0.1:") for address in addresses)


def test_whoever_shows_no_certificate_of_the_authority_is_refused(keys, scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 2)
    subprocess.run(["sh", "-ec", RECIPES["certificates"]], cwd=tmp_path, check=True, capture_output=True)
    stranger = Scheduler(scheduler, keys / "ca.pem", tmp_path / "me.pem", tmp_path / "me.key")
    with pytest.raises(OSError, match="does not answer .*are its TLS files given"):
        stranger.connect()
    with pytest.raises(OSError, match="does not answer .*are its TLS files given"):
        Scheduler(scheduler.replace("tls:", "tcp:")).connect()
    trusting = ssl.create_default_context(cafile=keys / "ca.pem")
    trusting.check_hostname = False
    host, port = scheduler.removeprefix("tls://").split(":")
    with pytest.raises(ssl.SSLError, match="(?i)certificate.required|handshake.failure"):  # noqa: SIM117
        with socket.create_connection((host, int(port)), 10) as plain, trusting.wrap_socket(plain) as bare:
            bare.recv(1)


def test_an_encrypted_scheduler_is_not_asked_without_files():
    with pytest.raises(
        ValueError, match="tls://lab:8786 is encrypted; give --tls-ca, --tls-cert and --tls-key"
    ):
        Scheduler("tls://lab:8786").connect()


@pytest.fixture
def hosts():
    """Commands that put a program on one of four computers in a network: network namespaces, which see each other and
    nothing else."""
    names = {host: f"smoot-{os.getpid()}-{host}" for host in ADDRESSES}

    def ip(*arguments, check=True):
        return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=check)

    def plug(host):
        """One network interface, with its cable in the switch, which stands in the lab."""
        name = names[host]
        if host == "lab":
            ip("-n", name, "link", "add", "eth0", "type", "bridge")
        else:
            ip("-n", names["lab"], "link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("-n", names["lab"], "link", "set", host, "master", "eth0", "up")
        ip("-n", name, "addr", "add", f"{ADDRESSES[host]}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")

    if shutil.which("ip") is None:
        pytest.skip("network namespaces are made by ip, which is not installed")
    try:
        for host, name in names.items():
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
            plug(host)
        yield {host: ("ip", "netns", "exec", name) for host, name in names.items()}
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
    finally:
        for name in names.values():
            ip("netns", "delete", name, check=False)


def kill_host(host):
    """End all programs on a host at once, as when its power fails."""
    listed = subprocess.run(["ip", "netns", "pids", host[-1]], capture_output=True, text=True, check=True)
    for pid in listed.stdout.split():
        os.kill(int(pid), signal.SIGKILL)


def test_a_sweep_on_several_computers_goes_on_when_one_of_them_dies(keys, hosts, tmp_path):
    epochs, cells = 6, 3
    small = f"--epochs {epochs} --train-images 100 --test-images 20 --device cpu --precision float32 --json"
    work = [("--seeds 3", small), ("runs/s", str(tmp_path / "s"))]

    def done():
        journals = [json.loads(file.read_text()) for file in (tmp_path / "s").glob("alpha=*/journal.json")]
        return [len(journal["epochs"]) for journal in journals]

    with (
        running("scheduler", keys, host=hosts["lab"], until_it_says="Scheduler at"),
        running("worker", keys, host=hosts["node1"]),
        running("worker", keys, (ADDRESSES["node1"], ADDRESSES["node2"]), host=hosts["node2"]),
        running("sweep", keys, *work, host=hosts["me"]) as (command, said),
    ):
        until(lambda: sum(done()) >= 1 or command.poll() is not None, PATIENCE)
        kill_host(hosts["node1"])
        printed, _ = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0, said()
    assert [cell["epochs_done"] for cell in json.loads(printed)["cells"]] == [epochs] * cells
