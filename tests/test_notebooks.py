"""The course, run in a kernel: every cell, every exercise unanswered, wrong and right."""

import importlib.util
import json
import os
import re
from pathlib import Path

import nbclient
import nbconvert
import nbformat
import pytest

ROOT = Path(__file__).parent.parent
FULL = (
    os.environ.get("SMOOT_EXPLORE_COURSE") == "full"
)  # with the settings that learners use: docs/teaching.md
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
COURSE = [path.stem for path in SOLUTIONS]

spec = importlib.util.spec_from_file_location("release", ROOT / "notebooks" / "solutions" / "release.py")
release = importlib.util.module_from_spec(spec)
spec.loader.exec_module(release)

# What a kernel must not hold when the course is over.
LEFT = """
import gc, json, threading
from smoot_explore.notebook import LiveFigure, LiveTraining
things = [thing for thing in gc.get_objects() if issubclass(type(thing), LiveFigure | LiveTraining)]
print(json.dumps({
    "problems": [f.problem.value for f in things if isinstance(f, LiveFigure) and f.problem.layout.display != "none"],
    "empty pictures": sum(f.picture is None for f in things if isinstance(f, LiveFigure | LiveTraining)),
    "threads": [t.name for t in threading.enumerate() if t.name == "live-training"],
}))
"""


def source_of(cell):
    """What a cell says, with its small settings unless all are asked for."""
    source = "".join(cell["source"])
    for large, small in ({} if FULL else cell["metadata"].get("small", {})).items():
        assert large in source, large
        source = source.replace(large, small)
    return source


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A kernel that runs cells one by one."""
    monkeypatch.setenv("SMOOT_EXPLORE_SCORE", str(tmp_path / "score.json"))
    monkeypatch.setenv(
        "OMP_WAIT_POLICY", "PASSIVE"
    )  # kernels beside each other: threads that wait awake would crawl
    client = nbclient.NotebookClient(
        nbformat.v4.new_notebook(), timeout=170, kernel_name="python3",
        resources={"metadata": {"path": str(ROOT / "notebooks")}},
    )  # fmt: skip
    with client.setup_kernel():

        def run(source):
            cell = nbformat.v4.new_code_cell(source)
            client.nb.cells.append(cell)
            client.execute_cell(cell, len(client.nb.cells) - 1)
            outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
            texts = [o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in outputs]
            assert not any(re.match(r":\w*(Layout|Overlay|Map)\b", text) for text in texts), (
                "a picture as text"
            )
            return "\n".join(texts)

        yield run


@pytest.mark.parametrize("name", COURSE)
def test_a_notebook_runs_and_its_checks_tell_right_from_wrong(kernel, name, tmp_path):
    cells = release.read(ROOT / "notebooks" / "solutions" / f"{name}.ipynb")["cells"]
    code = [(cell, source_of(cell)) for cell in cells if cell["cell_type"] == "code"]
    answered = 0
    for i, (cell, source) in enumerate(code):
        if release.MARK in source:
            question, check = source.split(release.MARK)[0], code[i + 1][1]
            kernel(question)
            assert "… No answer yet." in kernel(check), question
            for wrong in cell["metadata"]["wrong_answers"]:
                kernel(f"{question}\n{wrong}")
                assert "✗ Not yet." in kernel(check), wrong
            kernel(source)
            assert "✓ Right." in kernel(check), source
            answered += 1
        else:
            kernel(source)
    assert answered in (3, 4, 5)
    score = json.loads((tmp_path / "score.json").read_text(encoding="utf-8"))
    assert [entry["right"] for entry in score["checks"][name].values()] == [True] * answered
    asked = sum(source.count(" = ask(") for _, source in code)
    assert len(score["predictions"]) == asked > 0
    assert all(entry["found"] for entry in score["predictions"].values())
    assert json.loads(kernel(LEFT).splitlines()[-1]) == {"problems": [], "empty pictures": 0, "threads": []}


@pytest.mark.parametrize("name", COURSE)
def test_the_students_notebook_is_the_solution_without_its_answers(name):
    student = (ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    solution = release.read(ROOT / "notebooks" / "solutions" / f"{name}.ipynb")
    assert student == release.written(release.released(solution)), "run make notebooks"
    assert "# Solution" not in student
    assert not {"wrong_answers", "small"} & {
        key for c in json.loads(student)["cells"] for key in c["metadata"]
    }


@pytest.mark.parametrize("name", COURSE)
def test_notebooks_are_stored_without_outputs_and_lead_on_to_files_that_are_there(name):
    for folder in (ROOT / "notebooks", ROOT / "notebooks" / "solutions"):
        notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
        nbformat.validate(notebook)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                assert (cell.outputs, cell.execution_count) == ([], None)
            for link in re.findall(r"\]\((\S+\.ipynb)\)", cell.source):
                assert (folder / link).is_file(), link


@pytest.mark.parametrize("name", COURSE)
def test_every_notebook_has_goals_a_prediction_exercises_and_a_discussion(name):
    text = "\n".join(
        "".join(c["source"]) for c in release.read(ROOT / "notebooks" / f"{name}.ipynb")["cells"]
    )
    for part in (
        "**You will**",
        " = ask(",
        ".resolve(",
        "## Exercises",
        "**1.**",
        "**3.**",
        "## To discuss",
        "report()",
    ):
        assert part in text, part


def test_without_widgets_a_notebook_shows_still_pictures(tmp_path):
    """As GitHub does, and nbconvert where no widgets were stored."""
    cells = [
        "from smoot_explore import bundled_runs, views\nfrom smoot_explore.notebook import LiveFigure, slider",
        "record = bundled_runs()[2].record()\nviews.losses(record)",
        "LiveFigure(lambda n: views.accuracies(record.isel(epoch=slice(n))), n=slider('Epochs', 1, 8, 8))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=170, kernel_name="python3", store_widget_state=False).execute()
    for cell in notebook.cells[1:]:
        (output,) = cell.outputs
        assert output.data["text/plain"] in ("Loss", "Accuracy")
        assert len(output.data["image/png"]) > 5000
    page, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
    assert page.count('src="data:image/png') == 2
    text, resources = nbconvert.MarkdownExporter().from_notebook_node(notebook)
    assert text.count("![png]") == len(resources["outputs"]) == 2
