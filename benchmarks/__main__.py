"""Runs every benchmark and writes benchmarks/results.md and results.json."""

from __future__ import annotations

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks import ceilings, curves, scaling, training_steps
from benchmarks.tables import Table
from smoot_explore.compute.device import describe_hardware
from smoot_explore.compute.memory import retained_memory

HERE = Path(__file__).parent


def main() -> None:
    """Measure, print and write. ``python -m benchmarks 5`` takes 5 rounds instead of 15."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    tables: list[Table] = []
    with retained_memory(torch.device("cpu")):  # for all candidates, the peers' too
        for measure, n in (
            (training_steps.measure, rounds),
            (ceilings.measure, max(3, rounds // 2)),
            (curves.measure, max(3, rounds // 3)),
            (scaling.measure, max(3, rounds // 2)),
        ):
            for table in measure(n):
                print(table.markdown(), flush=True)
                tables.append(table)
    machine = (
        f"{describe_hardware(torch.device('cpu'))}; Python {platform.python_version()}, "
        f"PyTorch {torch.__version__}; {datetime.now(UTC):%Y-%m-%d}"
    )
    introduction = (
        f"# Benchmarks\n\n{machine}. All in one process, candidates in turn, medians. Only the ratios travel to "
        "another machine, and they vary by some per cent from run to run. What the numbers mean and where the floors "
        "are: [docs/performance.md](../docs/performance.md). Run again: `make benchmark`.\n\n"
    )
    text = introduction + "\n".join(table.markdown() for table in tables)
    (HERE / "results.md").write_text(text, encoding="utf-8")
    content = {"machine": machine, "rounds": rounds, **{table.title: table.numbers for table in tables}}
    (HERE / "results.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
