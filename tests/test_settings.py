"""What the operator of the explorer decides."""

import os
from pathlib import Path

import pytest

from smoot_explore.engine.cluster import Scheduler
from smoot_explore.explorer.settings import PREFIX, ServerSettings


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


def test_the_defaults_open_nothing():
    settings = ServerSettings()
    assert settings.data_folders == ()
    assert settings.max_trainings >= 1
    assert ServerSettings.from_environment() == settings


def test_every_setting_has_its_environment_variable(monkeypatch, tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    values = {
        "RUNS": str(tmp_path / "runs"),
        "DATA_FOLDERS": os.pathsep.join(map(str, folders)),
        "ROOT": str(tmp_path),
        "KEEP_RUNS": "no",
        "MAX_TRAININGS": "3",
        "MAX_MINUTES": "7.5",
        "MAX_QUEUE": "0",
        "UPLOAD_MEGABYTES": "2",
        "WEIGHTS_MEGABYTES": "100",
        "WORK": str(tmp_path),
        "SCHEDULER": "tls://lab:8786",
        "CLASS_TAB": "no",
    }
    for name, text in values.items():
        monkeypatch.setenv(PREFIX + name, text)
    assert ServerSettings.from_environment() == ServerSettings(
        tmp_path / "runs",
        tuple(folders),
        tmp_path,
        False,
        3,
        7.5,
        0,
        2.0,
        100.0,
        tmp_path,
        Scheduler("tls://lab:8786"),
        False,
    )
    assert {name.lower() for name in values} == set(ServerSettings.__dataclass_fields__)


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("MAX_TRAININGS", "two", "a whole number, given 'two'"),
        ("KEEP_RUNS", "maybe", "yes or no, given 'maybe'"),
        ("MAX_MINUTES", "1h", "a number, given '1h'"),
    ],
)
def test_a_variable_that_cannot_be_read_is_named(monkeypatch, name, text, what):
    monkeypatch.setenv(PREFIX + name, text)
    with pytest.raises(ValueError, match=f"environment variable {PREFIX}{name} must be {what}"):
        ServerSettings.from_environment()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_trainings": 0}, "max_trainings must be a whole number of at least 1, given 0"),
        ({"max_trainings": 1.5}, "whole number"),
        ({"max_queue": -1}, "max_queue must be a whole number of at least 0"),
        ({"max_minutes": 0}, "max_minutes must be a number above 0"),
        ({"max_minutes": float("nan")}, "max_minutes must be a number above 0"),
        ({"weights_megabytes": 0}, "weights_megabytes must be a number above 0"),
        ({"upload_megabytes": float("inf")}, "upload_megabytes must be a number above 0"),
        ({"data_folders": "photos"}, "must be a list of folders"),
        ({"data_folders": ("nowhere",)}, "the data folder nowhere is not there"),
        ({"root": "nowhere"}, "the root nowhere is not there"),
        ({"work": "nowhere"}, "the work folder nowhere is not there"),
        ({"runs": __file__}, "runs must be a folder, given the file"),
    ],
)
def test_what_cannot_be_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        ServerSettings(**given)


def test_tls_files_in_the_environment_go_with_the_scheduler(monkeypatch, tmp_path):
    names = ("ca", "cert", "key")
    for name in names:
        (tmp_path / name).touch()
        monkeypatch.setenv(f"{PREFIX}TLS_{name.upper()}", str(tmp_path / name))
    with pytest.raises(ValueError, match="TLS files are for a scheduler; name its address too"):
        ServerSettings.from_environment()
    monkeypatch.setenv(PREFIX + "SCHEDULER", "tls://lab:8786")
    files = [tmp_path / name for name in names]
    assert ServerSettings.from_environment().scheduler == Scheduler("tls://lab:8786", *files)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"ca": __file__}, "TLS needs the files ca, cert and key together; name the cert and the key too"),
        ({"ca": __file__, "key": __file__}, "name the cert too"),
        (
            {"ca": "nowhere", "cert": __file__, "key": __file__},
            "nowhere is not there; name the ca of the sch",
        ),
    ],
)
def test_tls_files_that_are_missing_are_named(files, message):
    with pytest.raises(ValueError, match=message):
        Scheduler("tls://lab:8786", **files)


def test_home_may_be_written_as_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ServerSettings(runs="~/runs").runs == Path(tmp_path, "runs")
