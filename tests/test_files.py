"""Writing files that others write and read too."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from smoot_explore.files import FileError, read_bytes, read_json, write_atomically, write_json


def test_two_threads_that_write_one_file_do_not_disturb_each_other(tmp_path):
    both_write = threading.Barrier(2)

    def write(number):
        def slowly(temporary):
            temporary.write_text(f"{number}" * 1000)
            both_write.wait(timeout=30)

        write_atomically(tmp_path / "file", slowly)

    with ThreadPoolExecutor(2) as pool:
        for result in [pool.submit(write, number) for number in (1, 2)]:
            result.result()
    assert (tmp_path / "file").read_text() in ("1" * 1000, "2" * 1000)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_living_process_is_writing_is_left_alone(tmp_path):
    path = tmp_path / "file"
    code = (
        "import sys, pathlib; from smoot_explore.files import write_atomically\n"
        "def write(temporary): temporary.write_text('other'); print('writing', flush=True); sys.stdin.readline()\n"
        "write_atomically(pathlib.Path(sys.argv[1]), write)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "writing\n"
    write_json(path, {"by": "us"})
    assert len(list(tmp_path.iterdir())) == 2
    other.communicate("go on\n", timeout=30)
    assert other.returncode == 0
    assert path.read_text() == "other"


def test_what_a_killed_process_has_left_goes_with_the_next_writing(tmp_path):
    path = tmp_path / "file"
    code = (
        "import os, sys, pathlib; from smoot_explore.files import write_atomically\n"
        "write_atomically(pathlib.Path(sys.argv[1]), lambda t: (t.write_text('half'), os.kill(os.getpid(), 9)))"
    )
    subprocess.run([sys.executable, "-c", code, path], check=False)
    (left,) = tmp_path.iterdir()
    elsewhere = tmp_path / ".file.another-computer.1.0.tmp"
    elsewhere.write_text("still being written")
    write_json(path, {})
    assert not left.exists()
    assert elsewhere.exists()
    os.utime(elsewhere, (0, 0))
    write_json(path, {})
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_json(path, {"old": 1})
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(path, {"new": float("nan")})
    assert read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_no_more_room_is_made_for_a_file_than_it_has_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert read_bytes(tmp_path / "file", limit=2**60) == b"abc"


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileError, match=r"none\.json cannot be read \(No such file"):
        read_json(tmp_path / "none.json")
