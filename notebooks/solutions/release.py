"""Make the students' notebooks from those in this folder: the same cells, without the answers.

Run it after a change: make notebooks. Nothing but the cells of solutions/ is ever edited by hand.
"""

import copy
import json
from pathlib import Path
from typing import Any

SOLUTIONS = Path(__file__).parent
STUDENTS = SOLUTIONS.parent
MARK = "\n\n# Solution\n"  # in a cell: what stands before it is the student's, what follows the answer


def released(solution: dict[str, Any]) -> dict[str, Any]:
    """A notebook without answers, without what tests need, and without outputs."""
    notebook = copy.deepcopy(solution)
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"]).split(MARK)[0].splitlines(keepends=True)
        for ours in ("wrong_answers", "small"):
            cell["metadata"].pop(ours, None)
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    return notebook


def read(path: Path) -> dict[str, Any]:
    """A notebook as it is stored."""
    return json.loads(path.read_text(encoding="utf-8"))


def written(notebook: dict[str, Any]) -> str:
    """A notebook as Jupyter stores it."""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for path in sorted(SOLUTIONS.glob("*.ipynb")):
        target = STUDENTS / path.name
        target.write_text(written(released(read(path))), encoding="utf-8")
        print(target)
