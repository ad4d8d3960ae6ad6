"""Every example of docs/runs.md as it stands."""

import re
from pathlib import Path

import pytest
from waiting import in_a_thread

EXAMPLES = dict(re.findall(r"```python (\w+)\n(.*?)```", Path("docs/runs.md").read_text("utf-8"), re.DOTALL))


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "setup"])
def test_every_example_runs_as_it_stands(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    in_a_thread(lambda: exec(EXAMPLES["setup"] + EXAMPLES[name], names))()
    shown = {"stop": "chosen", "keep": "early", "branch": "branch", "replay": "again", "adopt": "later"}
    assert shown[name] in names
