"""The handouts and the answer key, which are made from the notebooks."""

import importlib.util
import re
import subprocess
import sys

import pytest
from browser import CHROMIUM, ROOT, chromium

from smoot_explore import TrainingConfig
from smoot_explore.course import report
from smoot_explore.course.score import note_check, note_prediction

SOLUTIONS = ROOT / "notebooks" / "solutions"


def loaded(name):
    spec = importlib.util.spec_from_file_location(name, SOLUTIONS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


release, handout = loaded("release"), loaded("handout")
COURSE = handout.course()


def test_every_exercise_of_every_notebook_is_in_the_key_with_its_question_and_its_answer():
    key = handout.answer_key(COURSE)
    n_answers = 0
    for path in sorted(SOLUTIONS.glob("*.ipynb")):
        for cell in release.read(path)["cells"]:
            source = "".join(cell["source"])
            if release.MARK in source:
                assert source.split(release.MARK)[1].strip() in key
                n_answers += 1
    assert key.count("```python") == n_answers >= 3 * len(COURSE)
    assert all(exercise.words.startswith("**") for notebook in COURSE for exercise in notebook.exercises)


def test_students_get_no_answer():
    for sheet in (handout.students(COURSE), handout.predictions(COURSE)):
        for notebook in COURSE:
            for exercise in notebook.exercises:
                assert exercise.answer not in sheet
        assert "Solution" not in sheet


def test_every_prediction_is_on_the_sheet_with_all_its_options():
    sheet = handout.predictions(COURSE)
    for notebook in COURSE:
        assert len(notebook.predictions) == sum(source.count("ask(") for source in notebook.code) > 0
        for prediction in notebook.predictions:
            assert f"**{prediction.question}**" in sheet
            assert len(prediction.options) >= 2
    assert sheet.count("☐") == sum(
        len(asked.options) for notebook in COURSE for asked in notebook.predictions
    )


def test_every_question_to_discuss_has_a_model_answer_in_docs_teaching_md():
    answers = handout.model_answers()
    missing = [
        question for notebook in COURSE for question in notebook.discussion
        if not answers.get(handout._plain(question))
    ]  # fmt: skip
    assert missing == []
    assert all(len(notebook.discussion) >= 2 for notebook in COURSE)


def test_every_formula_that_stands_alone_in_a_notebook_is_on_the_sheet_and_is_drawn():
    sheet = handout.students(COURSE)
    latex = [equation.latex for notebook in COURSE for equation in notebook.equations]
    assert len(latex) >= 8
    for formula in latex:
        assert f"$${formula}$$" in sheet
        assert handout.drawn(formula).startswith("<svg"), formula


def test_each_symbol_of_the_formulas_is_explained():
    symbols = handout.students(COURSE).partition("## Symbols")[2].partition("## Settings")[0]
    explained = [
        term for terms in re.findall(r"^- (.+?):", symbols, re.MULTILINE) for term in terms.split(", ")
    ]
    assert {"$P$", "$R$", "$f(x)$", "$c_j$", "$M_k(x)$", r"$\mathrm{CE}$"} <= set(explained)
    for term in explained:
        assert handout.drawn(term.strip("$")).startswith("<svg"), term


def test_a_formula_that_cannot_be_drawn_stands_as_it_is_written():
    assert (
        handout.drawn(r"\begin{cases} a < b \end{cases}")
        == r"<code>\begin{cases} a &lt; b \end{cases}</code>"
    )


def test_settings_stand_on_the_sheet_as_they_are_declared():
    sheet = handout.students(COURSE)
    for name in ("alpha", "beta", "k_min", "k_max", "kl_weight"):
        setting = TrainingConfig.param[name]
        assert f"`{name}={setting.default!r}`: {setting.doc}" in sheet
    assert "label_smoothing" not in sheet  # which the course does not use


def test_pages_ask_nothing_of_the_internet_and_no_formula_is_left_as_code():
    for make in (handout.students, handout.predictions, handout.answer_key):
        page = handout.page(make(COURSE), "students")
        assert re.findall(r"<(?:script|link|img)\b|url\(|@import", page) == []
        assert "$$" not in page


def test_the_key_tells_the_usual_outcome_under_each_prediction_and_exercise_and_where_it_was_measured():
    notebook = COURSE[1]
    (asked, *_), (exercise, *_) = notebook.predictions, notebook.exercises
    found = {
        "predictions": {asked.question: {"found": asked.options[1], "words": "60 of 100."}},
        "exercises": {exercise.check: "About 0.4."},
    }
    key = handout.answer_key(COURSE, {"machine": "a laptop", "notebooks": {notebook.name: found}})
    assert "Usual outcomes were measured on a laptop. Other machines may differ." in key
    assert f"*{' / '.join(asked.options)}*\n\n  Usual outcome: **{asked.options[1]}**. 60 of 100.\n" in key
    assert f"{exercise.answer}\n```\n\nUsual outcome: About 0.4.\n" in key
    assert key.count("Usual outcome:") == 2
    assert "Usual outcome" not in handout.answer_key(COURSE)


def test_outcomes_are_those_kept_beside_the_notebooks(tmp_path, monkeypatch):
    monkeypatch.setattr(handout, "OUTCOMES", tmp_path / "outcomes.json")
    assert handout.usual_outcomes() is None
    handout.OUTCOMES.write_text('{"machine": "a laptop", "notebooks": {}}', encoding="utf-8")
    assert handout.usual_outcomes() == {"machine": "a laptop", "notebooks": {}}


def test_the_kept_outcomes_are_those_of_the_present_questions():
    kept = handout.usual_outcomes()["notebooks"]
    for notebook in COURSE:
        asked = {prediction.question: prediction.options for prediction in notebook.predictions}
        found = {question: one["found"] for question, one in kept[notebook.name]["predictions"].items()}
        assert found.keys() == asked.keys(), (
            f"run notebooks/solutions/measure.py: {notebook.name} has changed"
        )
        assert all(found[question] in options for question, options in asked.items())


def test_every_exercise_has_a_check_of_its_own():
    for notebook in COURSE:
        checks = [exercise.check for exercise in notebook.exercises]
        assert all(checks)
        assert len(set(checks)) == len(checks)


def test_making_them_twice_gives_the_same_bytes(tmp_path):
    for folder in ("one", "two"):
        subprocess.run([sys.executable, SOLUTIONS / "handout.py", tmp_path / folder], check=True)
    files = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
    names = "answer-key", "predictions", "students"
    assert sorted(files) == [f"{name}.{ending}" for name in names for ending in ("html", "md")]


def test_the_scores_of_a_class_are_merged_by_the_lines_in_docs_teaching_md(tmp_path, monkeypatch, capsys):
    for name, right, choice in (("Ada", True, "blue"), ("Bo", False, "red")):
        monkeypatch.setenv("SMOOT_EXPLORE_SCORE", str(tmp_path / "handed-in" / name / "score.json"))
        (tmp_path / "handed-in" / name).mkdir(parents=True)
        note_check("00_quickstart", "pixels_at_start", right, "A share of the pixels.")
        note_prediction("Which is stronger?", notebook="00_quickstart", predicted=choice)
        report(name)
    (lines,) = re.findall(
        r"```python merge\n(.*?)```", handout.TEACHING.read_text(encoding="utf-8"), re.DOTALL
    )
    monkeypatch.chdir(tmp_path)
    exec(lines, {})
    told = capsys.readouterr().out
    assert re.search(r"pixels_at_start +True +False\b", told)
    assert re.search(r"pixels_at_start +1\b", told)  # one of two is right
    assert "of 2 students" in told
    assert re.search(r"Which is stronger\? +blue +1\b", told)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_students_sheet_fills_two_printed_pages_and_predictions_have_boxes_without_bullets():
    with chromium() as browser:
        page = browser.new_page()
        page.set_content(handout.page(handout.students(COURSE), "students"))
        printed = page.pdf(prefer_css_page_size=True)
        page.set_content(handout.page(handout.predictions(COURSE), "predictions"))
        style = page.locator("ul").first.evaluate(
            "list => [getComputedStyle(list).listStyleType, getComputedStyle(list).breakInside]"
        )
        assert page.get_by_text("Name: ____").count() == 1
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 2
    assert style == ["none", "avoid"]
