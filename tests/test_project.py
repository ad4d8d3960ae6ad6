"""The project's own rules: layers, set-up files that agree, data that is what it says."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import smoot_explore

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_importing_the_core_or_the_command_line_imports_no_user_interface():
    code = (
        "import sys, smoot_explore, smoot_explore.cli, smoot_explore.views.figures;"
        "print([m for m in ('panel', 'panel_material_ui', 'bokeh', 'ipywidgets') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_core_imports_in_one_direction_only():
    """data, models → saliency, masking → training, curves → records → command line: never back."""
    layers = [
        {"errors", "files", "randomness"},
        {"hardware"},
        {"data", "folders", "shapes", "models", "masking", "adaptation", "records"},
        {"saliency", "config"},
        {"captured"},
        {"training", "curves", "looks", "evidence"},
        {"runs"},
        {"comparison", "views", "pace", "console"},
        {"explorer", "notebook", "exercises", "reproduction"},
        {"cli"},
    ]
    level = {name: i for i, layer in enumerate(layers) for name in layer}
    package = ROOT / "smoot_explore"
    for path in package.rglob("*.py"):
        name = path.relative_to(package).parts[0].removesuffix(".py")  # a folder is one layer
        if name == "__init__":
            continue
        text = re.sub(r"if TYPE_CHECKING:\n(    .*\n)+", "", path.read_text())
        for imported in re.findall(r"^\s*from smoot_explore\.(\w+)", text, re.MULTILINE):
            assert level[imported] <= level[name], f"{path} imports {imported}"


def test_every_public_name_has_a_docstring():
    for name in smoot_explore.__all__:
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
    for requirement in PROJECT["dependencies"] + extras["app"] + extras["notebooks"] + extras["test"]:
        assert re.match(r"[\w.-]+", requirement).group().lower() in pinned, requirement


def test_no_file_is_ever_unpickled():
    for path in (ROOT / "smoot_explore").rglob("*.py"):
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


@pytest.mark.parametrize("command", ["train", "curves", "compare", "demo", "reproduce", "serve"])
def test_every_command_of_the_docs_exists(command):
    from smoot_explore.cli import main

    assert command in main.commands
