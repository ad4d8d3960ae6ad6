"""Run the course as it is, each notebook in a kernel of its own: how long it takes, and what is usually found.

It takes ten minutes on a machine that does nothing else. The timings are for docs/teaching.md, the outcomes for the
answer key, which takes them from outcomes.json.
"""

import json
import os
import platform
import tempfile
import threading
import time
from pathlib import Path

import nbclient
import nbformat
import psutil
import torch

SOLUTIONS = Path(__file__).parent
OUTCOMES = SOLUTIONS / "outcomes.json"


def peak_of_children(done: threading.Event) -> float:
    """The most memory in GB that the kernel took until the event."""
    peak = 0
    while not done.wait(0.3):
        for child in psutil.Process().children():
            try:
                peak = max(peak, child.memory_info().rss)
            except psutil.Error:  # it has just ended
                continue
    return peak / 1e9


def run(path: Path) -> tuple[float, float, dict]:
    """Seconds, gigabytes, and the score of a notebook that is run from top to bottom."""
    notebook = nbformat.read(path, as_version=4)
    done, memory = threading.Event(), []
    watch = threading.Thread(target=lambda: memory.append(peak_of_children(done)))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SMOOT_EXPLORE_SCORE"] = f"{folder}/score.json"
        started = time.perf_counter()
        watch.start()
        try:
            where = {"metadata": {"path": str(SOLUTIONS.parent)}}
            nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
        finally:
            done.set()
            watch.join()
        seconds = time.perf_counter() - started
        return seconds, memory[0], json.loads(Path(folder, "score.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    outcomes = {}
    for path in sorted(SOLUTIONS.glob("*.ipynb")):
        seconds, memory, score = run(path)
        print(f"| `{path.stem}` | {seconds:.0f} | {memory:.1f} GB |", flush=True)
        outcomes[path.stem] = {
            "predictions": {
                question: {name: entry[name] for name in ("found", "words")}
                for question, entry in score["predictions"].items()
            },
            "exercises": {name: entry["words"] for name, entry in score["checks"][path.stem].items()},
        }
    machine = f"a computer with {os.cpu_count()} cores, Python {platform.python_version()}, PyTorch {torch.__version__}"
    text = json.dumps({"machine": machine, "notebooks": outcomes}, indent=1, ensure_ascii=False)
    OUTCOMES.write_text(text + "\n", encoding="utf-8")
