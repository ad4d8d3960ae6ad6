"""The project's own rules: layers, set-up files that agree, data that is what it says."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from importlinter.cli import lint_imports

import smoot_explore

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def loaded_by(code, *modules):
    """Which of the modules are loaded after the code."""
    asked = f"import sys\n{code}\nprint([m for m in {modules} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    return ast.literal_eval(ran.stdout.splitlines()[-1])


def test_importing_all_public_names_loads_no_user_interface():
    code = "from smoot_explore import *; import smoot_explore.views.palette, smoot_explore.engine.trainings"
    assert (
        loaded_by(code, "panel", "panel_material_ui", "bokeh", "ipywidgets", "holoviews", "matplotlib") == []
    )


def test_pictures_load_what_draws_them_when_the_first_is_asked_for():
    assert loaded_by("from smoot_explore import views; views.losses", "holoviews", "matplotlib") == []


def test_what_few_need_is_loaded_when_it_is_needed():
    code = "from smoot_explore import *; import smoot_explore.core.saliency, smoot_explore.data.load"
    assert loaded_by(code, "torchvision", "timm", "captum", "tensorboard", "wandb", "mlflow") == []


def test_core_draws_nothing():
    modules = [
        f"smoot_explore.core.{path.stem}" for path in (ROOT / "smoot_explore" / "core").glob("[a-z]*.py")
    ]
    assert loaded_by(f"import {', '.join(modules)}", "matplotlib.pyplot", "holoviews") == []


@pytest.mark.parametrize("command", ["", "train", "sweep", "curves", "compare", "demo", "reproduce", "serve"])
def test_help_needs_no_torch(command):
    code = (
        "from smoot_explore.cli import main\n"
        f"try: main({[command, '--help'] if command else ['--help']})\n"
        "except SystemExit: pass\nimport sys"
    )
    assert loaded_by(code, "torch", "xarray", "matplotlib") == []


def test_the_folders_import_in_one_direction_and_in_no_circle():
    """The contracts stand in pyproject.toml."""
    assert lint_imports(no_cache=True) == 0


def test_few_modules_lie_flat_in_the_package():
    assert len(list((ROOT / "smoot_explore").glob("*.py"))) <= 8


def test_every_public_name_has_a_docstring():
    for name in (name for name in smoot_explore.__all__ if not name.isupper()):  # a table has none of its own
        assert getattr(smoot_explore, name).__doc__, name


def test_environment_yml_installs_what_pyproject_declares():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert f"python{PROJECT['requires-python']}" in conda
    editable = next(line for line in pip["pip"] if line.startswith("--editable"))
    extras = re.search(r"\[(.*)\]", editable).group(1).split(",")
    assert sorted(extras) == sorted(PROJECT["optional-dependencies"])


def test_constraints_pin_every_dependency_the_tests_run_on():
    pinned = {
        line.split("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    }
    extras = PROJECT["optional-dependencies"]
    for requirement in PROJECT["dependencies"] + [one for extra in extras.values() for one in extra]:
        if requirement.startswith("smoot-explore["):  # another extra
            continue
        assert re.match(r"[\w.-]+", requirement).group().lower() in pinned, requirement


def test_no_file_is_ever_unpickled():
    reports = (
        ROOT / "smoot_explore" / "engine" / "workers.py"
    )  # of worker processes, as Dask itself reads them
    for path in {*(ROOT / "smoot_explore").rglob("*.py")} - {reports}:
        found = re.search(
            r"allow_pickle=True|import pickle|torch\.load\(|weights_only=False", path.read_text()
        )
        assert not found, f"{path}: {found}"


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text()
    assert len(re.findall(r"\w+", re.sub(r"```.*?```", "", text, flags=re.DOTALL))) < 750


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda p: p.stem
)
def test_links_of_the_docs_lead_somewhere_and_nothing_is_left_to_fill_in(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        assert target.startswith("http") or (page.parent / target).exists(), target
    assert not re.search(r"\b(TODO|TBD|FIXME|XXX)\b|/tmp/|/home/|\bnan\b", text)


def test_the_readmes_example_runs(tmp_path, monkeypatch, capsys):
    text = (ROOT / "README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    small = example.replace('load_data("fashion-mnist-sample")', 'load_data("fashion-mnist-sample", 100, 20)')
    assert small != example
    monkeypatch.chdir(tmp_path)
    exec(small, {})
    assert capsys.readouterr().out


@pytest.mark.parametrize("command", ["train", "sweep", "curves", "compare", "demo", "reproduce", "serve"])
def test_every_command_of_the_docs_exists(command):
    from smoot_explore.cli.commands import main

    assert command in main.commands
