"""Make what a teacher hands out, and the answer key, from the notebooks and from what the code declares.

    make handout                                       into handout/
    python notebooks/solutions/handout.py FOLDER

Three pages, each as Markdown and as HTML that needs no internet: ``students`` (equations, glossary, settings),
``predictions`` (to be ticked on paper) and ``answer-key`` (for the teacher alone). Nothing in them is written by hand.
The key tells the usual outcomes where ``outcomes.json`` stands beside this file:

    {"machine": str, "notebooks": {NAME: {"predictions": {QUESTION: {"found": str, "words": str}},
                                          "exercises": {CHECK: words}}}}
"""

import argparse
import ast
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from release import MARK, SOLUTIONS, read

from smoot_explore import TrainingConfig

ROOT = SOLUTIONS.parent.parent
GLOSSARY = ROOT / "docs" / "glossary.md"
TEACHING = ROOT / "docs" / "teaching.md"
OUTCOMES = SOLUTIONS / "outcomes.json"
_FORMULA = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
_EM = 14  # size of the letters in a drawn formula, in its own units
_STYLE = """
@page { size: A4; margin: 11mm 12mm }
body { font: 10pt/1.35 "Helvetica Neue", Arial, sans-serif; color: #111 }
body { max-width: 190mm; margin: 1em auto; padding: 0 1em }
h1 { font-size: 1.5em; margin: 0 0 .4em }
h2 { font-size: 1.15em; margin: 1em 0 .3em }
h3 { font-size: 1em; margin: .8em 0 .2em }
p, ul, ol { margin: .3em 0 }
ul, ol { padding-left: 1.4em }
pre { background: #f3f4f6; padding: .5em .7em; white-space: pre-wrap }
code { font: .92em Menlo, Consolas, monospace }
pre, li { break-inside: avoid }
h1, h2, h3, p:has(strong) { break-after: avoid }
.math.block { margin: .3em 0 .6em 1em; font-size: 1.2em; break-inside: avoid }
.math.inline { font-size: 1.15em }
.students section { columns: 2; column-gap: 2em }
.students section > :is(p, ul) { margin-top: 0 }
.students section > :is(h2, h2 + p:has(+ ul)) { column-span: all }
.predictions ul { break-before: avoid; break-inside: avoid; list-style: none; padding-left: .5em }
@media print {
  body { margin: 0; padding: 0; max-width: none }
  .students section:nth-last-child(2) { break-before: page }
}
"""


class Exercise(NamedTuple):
    """An exercise: what is asked, the code that a student finds, the answer, and the name of its check."""

    words: str
    question: str
    answer: str
    check: str


class Prediction(NamedTuple):
    """A question that is asked before the result is seen."""

    question: str
    options: list[str]


class Equation(NamedTuple):
    """A formula under the heading that it stands under, as LaTeX."""

    heading: str
    latex: str


class Notebook:
    """What the handouts need of a notebook with solutions."""

    def __init__(self, path: Path) -> None:
        self.name, self.number = path.stem, path.stem[:2]
        cells = [(cell["cell_type"], "".join(cell["source"])) for cell in read(path)["cells"]]
        self.texts = [source for kind, source in cells if kind == "markdown"]
        self.code = [source for kind, source in cells if kind == "code"]
        self._cells = cells

    @property
    def title(self) -> str:
        """Its first heading."""
        return self.texts[0].splitlines()[0].removeprefix("# ")

    @property
    def exercises(self) -> list[Exercise]:
        """In their order."""
        found, words = [], ""
        for i, (kind, source) in enumerate(self._cells):
            if kind == "markdown":
                words = source
            elif MARK in source:
                question, answer = source.split(MARK)
                asked = re.search(r"^\*\*\d\.\*\*.*", words, re.DOTALL | re.MULTILINE)
                check = re.search(
                    r"exercises\.(\w+)\(", "".join(text for _, text in self._cells[i + 1 : i + 2])
                )
                found.append(
                    Exercise(
                        asked[0].strip() if asked else "", question, answer.strip(), check[1] if check else ""
                    )
                )
        return found

    @property
    def predictions(self) -> list[Prediction]:
        """In their order."""
        found, named = list[Prediction](), dict[str, list[str]]()
        for node in (node for source in self.code for node in ast.walk(ast.parse(source))):
            match node:
                case ast.Assign(
                    targets=[ast.Name(name)], value=ast.List() | ast.Tuple() | ast.Dict() as value
                ):
                    named[name] = _texts(value)
                case ast.Call(func=ast.Name("ask"), args=[asked, ast.List() | ast.Tuple() as options]):
                    found.append(Prediction(_texts(asked)[0], _texts(options)))
                case ast.Call(
                    func=ast.Name("ask"), args=[asked, ast.Name(name) | ast.Call(args=[ast.Name(name)])]
                ):
                    found.append(Prediction(_texts(asked)[0], named[name]))
        return found

    @property
    def discussion(self) -> list[str]:
        """The questions under "To discuss"."""
        text = next((text for text in self.texts if "## To discuss" in text), "")
        listed = text.partition("## To discuss")[2].strip().split("\n\n")[0]
        return [
            " ".join(item.split()) for item in re.split(r"^- ", listed, flags=re.MULTILINE) if item.strip()
        ]

    @property
    def equations(self) -> list[Equation]:
        """Formulas that stand on a line of their own."""
        found, heading = [], self.title
        for text in self.texts:
            for part in re.split(r"^(?=#)", text, flags=re.MULTILINE):
                if part.startswith("#"):
                    heading = part.splitlines()[0].lstrip("# ")
                found += [Equation(heading, " ".join(latex.split())) for latex in _FORMULA.findall(part)]
        return found


def course() -> list[Notebook]:
    """All notebooks, in their order."""
    return [Notebook(path) for path in sorted(SOLUTIONS.glob("*.ipynb"))]


def students(notebooks: list[Notebook]) -> str:
    """Equations, glossary and settings for students, as Markdown."""
    lines = ["# Equations, words, settings", "", "## Equations", ""]
    known, heading = set[str](), ""
    for notebook in notebooks:
        for equation in notebook.equations:
            if equation.latex in known:
                continue
            if equation.heading != heading:
                lines += [f"**{equation.heading}** (notebook {notebook.number})", ""]
            lines += [f"$${equation.latex}$$", ""]
            heading = equation.heading
            known.add(equation.latex)
    words = GLOSSARY.read_text(encoding="utf-8").partition("\n- ")
    lines += ["## Words", "", f"- {words[2].strip()}", "", "## Settings", ""]
    lines += [
        "What `TrainingConfig` takes and the course uses, with the value that it has unless another is given.",
        "",
    ]
    code = "\n".join(source for notebook in notebooks for source in notebook.code)
    for name in TrainingConfig.param:
        setting = TrainingConfig.param[name]
        if name != "name" and re.search(
            rf"\b(config|paper|short)\.{name}\b|\b{name}\s*=[^=]|\"{name}\"", code
        ):
            lines.append(f"- **{setting.label}**, `{name}={setting.default!r}`: {setting.doc}")
    return "\n".join(lines) + "\n"


def predictions(notebooks: list[Notebook]) -> str:
    """All predictions with boxes to tick, as Markdown."""
    lines = ["# Predictions", "", f"Name: {'_' * 50}", ""]
    lines += ["Tick one before you run the next cell. Nobody judges it.", ""]
    for notebook in notebooks:
        lines += [f"## {notebook.number}. {notebook.title}", ""]
        for prediction in notebook.predictions:
            lines += [
                f"**{prediction.question}**",
                "",
                *(f"- ☐ {option}" for option in prediction.options),
                "",
            ]
    return "\n".join(lines)


def answer_key(notebooks: list[Notebook], outcomes: dict[str, Any] | None = None) -> str:
    """Exercises with answers, questions with model answers and predictions, for the teacher, as Markdown.

    ``outcomes`` are those of `usual_outcomes`: what was found when the notebooks ran.
    """
    answers, outcomes = model_answers(), outcomes or {}
    lines = ["# Answer key", "", "For the teacher. Checks take other right answers too.", ""]
    if outcomes:
        lines += [f"Usual outcomes were measured on {outcomes['machine']}. Other machines may differ.", ""]
    for notebook in notebooks:
        found = {"exercises": {}, "predictions": {}} | outcomes.get("notebooks", {}).get(notebook.name, {})
        lines += [f"## {notebook.number}. {notebook.title}", "", "### Exercises", ""]
        for exercise in notebook.exercises:
            lines += [_unlinked(exercise.words), "", "```python", exercise.answer, "```", ""]
            if told := found["exercises"].get(exercise.check):
                lines += [f"Usual outcome: {told}", ""]
        lines += ["### To discuss", ""]
        for question in notebook.discussion:
            lines.append(_unlinked(f"- **{question}** {answers.get(_plain(question), '')}".rstrip()))
        lines += ["", "### Predictions", "", "Each is resolved by what the notebook measures.", ""]
        for asked in notebook.predictions:
            lines.append(f"- {asked.question} *{' / '.join(asked.options)}*")
            if told := found["predictions"].get(asked.question):
                lines += ["", f"  Usual outcome: **{told['found']}**. {told['words']}", ""]
        lines.append("")
    return "\n".join(lines)


def usual_outcomes() -> dict[str, Any] | None:
    """What was found when the notebooks ran on one machine; None where nobody has kept it."""
    return json.loads(OUTCOMES.read_text(encoding="utf-8")) if OUTCOMES.is_file() else None


def model_answers() -> dict[str, str]:
    """Answers in docs/teaching.md by question: items that begin with a question in bold."""
    text = TEACHING.read_text(encoding="utf-8")
    found = re.findall(r"^- \*\*(.+?)\*\*(.*?)(?=^- |^#|\Z|\n\n)", text, re.DOTALL | re.MULTILINE)
    return {_plain(question): " ".join(answer.split()) for question, answer in found}


def page(text: str, kind: str = "") -> str:
    """Markdown as a page of HTML that loads nothing: formulas are drawn. ``kind`` chooses its layout."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.use(dollarmath_plugin, double_inline=True, renderer=lambda latex, options: drawn(latex, **options))
    title = html.escape(text.splitlines()[0].removeprefix("# "))
    head = f'<meta charset="utf-8">\n<title>{title}</title>\n<style>{_STYLE}</style>'
    first, *sections = re.split(r"(?=<h2>)", reader.render(text))
    body = first + "".join(f"<section>\n{section}</section>\n" for section in sections)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n'
        f'<body class="{kind}">\n{body}</body>\n</html>\n'
    )


def drawn(latex: str, display_mode: bool = False) -> str:
    """A formula as a picture in the line, by Matplotlib; one that it cannot draw, as it is written."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    latex = " ".join(latex.split())
    said = html.escape(latex)
    if display_mode:
        latex = latex.replace(r"\frac", r"\dfrac")
    try:
        path = TextPath((0, 0), f"${latex}$", _EM, prop=FontProperties(math_fontfamily="stix"))
    except ValueError:
        return f"<code>{said}</code>"
    box, steps = path.get_extents().padded(0.6), {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}
    flip = np.array([[1, 0], [0, -1]])
    outline = "".join(
        steps[code]
        + ("" if code == 79 else " ".join(f"{x:.2f}" for x in (points.reshape(-1, 2) @ flip).ravel()))
        for points, code in path.iter_segments(simplify=False)
    )
    size = (
        f"width:{box.width / _EM:.2f}em;height:{box.height / _EM:.2f}em;vertical-align:{box.y0 / _EM:.2f}em"
    )
    view = f"{box.x0:.2f} {-box.y1:.2f} {box.width:.2f} {box.height:.2f}"
    return f'<svg role="img" aria-label="{said}" style="{size}" viewBox="{view}"><path d="{outline}"/></svg>'


def write(folder: Path) -> Iterator[Path]:
    """Write all pages; gives their paths."""
    notebooks, outcomes = course(), usual_outcomes()
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "students": students(notebooks),
        "predictions": predictions(notebooks),
        "answer-key": answer_key(notebooks, outcomes),
    }
    for name, text in texts.items():
        for ending, content in {"md": text, "html": page(text, name)}.items():
            path = folder / f"{name}.{ending}"
            path.write_text(content, encoding="utf-8", newline="\n")
            yield path


def _texts(node: ast.expr) -> list[str]:
    """The texts in a list, a tuple or the keys of a dictionary, or one text, as they are written in the code."""
    match node:
        case ast.List(parts) | ast.Tuple(parts) | ast.Dict(keys=parts):
            return [text for part in parts if part is not None for text in _texts(part)]
        case ast.Constant(value):
            return [str(value)]
    return [ast.unparse(node)]


def _unlinked(text: str) -> str:
    """Links as their words: a handout lies elsewhere, and may be of paper."""
    return re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", text)


def _plain(question: str) -> str:
    """A question without what may differ in how it is written."""
    return re.sub(r"[\s*`_]+", " ", _unlinked(question)).strip().casefold()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the handouts and the answer key.")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "handout")
    for made in write(parser.parse_args().folder):
        print(made)
