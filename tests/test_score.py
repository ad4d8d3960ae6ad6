"""The score: what a learner predicted and solved is kept, shown, and handed in as a file."""

import csv
import json
import warnings

import pytest

from smoot_explore.course import ask, exercises, report, reset, score
from smoot_explore.course.verdicts import EXERCISES
from smoot_explore.files import FileError

QUESTION = "Which of them is larger?"


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    path = tmp_path / "score.json"
    monkeypatch.setenv(score.VARIABLE, str(path))
    return path


def answered(choice):
    prediction = ask(QUESTION, ["the first", "the second"])
    prediction.choices.value = choice
    return prediction


def lines_of(path):
    with open(path, encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table))


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("the first", "As predicted: the first. By 2 cm."),
        ("the second", "Predicted: the second. Found: the first. By 2 cm."),
        (None, "Not predicted; it is: the first. By 2 cm."),
    ],
)
def test_a_prediction_is_held_against_what_was_found(choice, words, capsys):
    prediction = answered(choice)
    prediction.resolve("the first", "By 2 cm.")
    assert capsys.readouterr().out.strip() == words
    assert prediction.choices.disabled
    kept = score.read_score()["predictions"][QUESTION]
    assert (kept["predicted"], kept["found"]) == (choice, "the first")


def test_a_prediction_is_there_again_when_its_cell_runs_again():
    answered("the second")
    assert ask(QUESTION, ["the first", "the second"]).choices.value == "the second"
    assert ask(QUESTION, ["other", "options"]).choices.value is None
    assert ask("Another question", ["the first", "the second"]).choices.value is None


def test_a_prediction_cannot_be_made_after_the_answer_is_known():
    for choice in ("the second", "the first"):
        answered(choice).resolve("the first")
    assert score.read_score()["predictions"][QUESTION]["predicted"] == "the second"


def test_words_of_a_prediction_are_shown_as_they_are():
    prediction = ask("Is a < b?", ["<i>yes</i>", "no"])
    prediction.resolve("<i>yes</i>", "a & b")
    assert "Is a &lt; b?" in prediction.children[0].value
    assert prediction.answer.value == "<b>Not predicted; it is: &lt;i&gt;yes&lt;/i&gt;.</b> a &amp; b"


def test_what_is_no_option_cannot_be_found():
    with pytest.raises(ValueError, match="'third' is none of the options: the first, the second"):
        answered(None).resolve("third")


@pytest.mark.parametrize("options", ["yes", ["yes"], ["yes", "yes"], []])
def test_a_prediction_needs_two_options(options):
    with pytest.raises(ValueError, match="between two options or more"):
        ask(QUESTION, options)


def test_a_check_counts_tries_until_it_is_right_and_then_stays_right():
    for answer in (None, "half", 3, 12, 3):
        exercises.trainings_of_a_sweep(answer, {"alpha": [1, 2, 3], "seed": range(4)})
    (entry,) = score.read_score()["checks"]["07_sweeps"].values()
    assert (entry["right"], entry["tries"]) == (True, 3)


def test_a_report_is_a_table_and_a_file_of_every_line():
    exercises.trainings_of_a_sweep(12, {"alpha": [1, 2, 3], "seed": range(4)})
    answered("the second").resolve("the first")
    shown = report("Ada Lovelace")
    assert ("07_sweeps", "1 of 3", "–") in shown.rows
    assert ("elsewhere", "0 of 0", "0 of 1") in shown.rows
    assert "07_sweeps: 1 of 3 exercises right" in repr(shown)
    assert str(shown.files[0]) in shown._repr_html_()
    assert "<td>1 of 3</td>" in shown._repr_html_()
    prediction, exercise = lines_of(shown.files[1])
    assert (prediction["kind"], prediction["item"], prediction["right"]) == ("prediction", QUESTION, "False")
    assert (exercise["name"], exercise["item"], exercise["right"]) == (
        "Ada Lovelace",
        "trainings_of_a_sweep",
        "True",
    )
    assert report().score["name"] == "Ada Lovelace"


def test_a_question_without_a_prediction_is_neither_true_nor_false():
    answered(None).resolve("the first")
    shown = report()
    assert ("elsewhere", "0 of 0", "0 of 0") in shown.rows
    assert [line["right"] for line in lines_of(shown.files[1])] == [""]


def test_a_prediction_knows_its_notebook(monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "/course/03_smoot.ipynb")
    answered("the first").resolve("the first")
    assert {name: true for name, _, true in report().rows}["03_smoot"] == "1 of 1"


def test_a_report_counts_all_exercises_that_there_are():
    wanted = {notebook: len(names) for notebook, names in EXERCISES.items()}
    assert {name: right for name, right, _ in report().rows} == {n: f"0 of {m}" for n, m in wanted.items()}


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_no_spreadsheet_computes_what_a_learner_typed(name):
    exercises.trainings_of_a_sweep(12, {"alpha": [1, 2, 3], "seed": range(4)})
    assert lines_of(report(name).files[1])[0]["name"] == f"'{name}"
    assert report().score["name"] == name


def test_a_name_is_shown_as_it_was_typed():
    assert "&lt;script&gt;" in report("<script>")._repr_html_()


def test_beginning_anew_loses_nothing(file):
    answered("the first")
    report()
    reset()
    reset()
    assert score.read_score()["predictions"] == {}
    assert QUESTION in json.loads(file.with_name("score-1.json").read_text())["predictions"]
    assert file.with_name("score-1.csv").is_file()
    answered("the second")
    reset()
    assert QUESTION in json.loads(file.with_name("score-2.json").read_text())["predictions"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": 2}',
        '{"format": 1, "name": "", "checks": {"a": {"b": 1}}, "predictions": {}}',
    ],
)
def test_a_damaged_score_is_set_aside_and_the_exercise_goes_on(file, content):
    file.write_text(content)
    with pytest.raises(FileError, match="score.json"):
        report()
    with pytest.warns(UserWarning, match=r"it is now score-1\.json, and a new one begins"):
        assert exercises.trainings_of_a_sweep(2, {"seed": range(2)}).right
    assert file.with_name("score-1.json").read_text() == content
    assert "07_sweeps" in score.read_score()["checks"]


def test_where_no_file_can_be_written_the_exercise_goes_on_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv(score.VARIABLE, str(tmp_path / "missing" / "score.json"))
    with pytest.warns(UserWarning, match=f"cannot be kept in .*No such file.*set {score.VARIABLE}"):
        assert exercises.trainings_of_a_sweep(2, {"seed": range(2)}).right


def test_outside_of_a_notebook_nothing_is_kept(monkeypatch, tmp_path):
    monkeypatch.delenv(score.VARIABLE)
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exercises.trainings_of_a_sweep(2, {"seed": range(2)})
        answered("the first").resolve("the first")
    assert list(tmp_path.iterdir()) == []
