"""What engine and explorer cost: python -m benchmarks.engine (or make benchmark-engine)."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks import jobs, pages
from benchmarks.amount import QUICK, Amount
from benchmarks.tables import Table
from smoot_explore.compute.device import describe_hardware

HERE = Path(__file__).parent
PARTS: dict[str, Callable[[Amount], list[Table]]] = {
    "at-once": jobs.at_once,
    "scheduler": jobs.scheduler,
    "sweep": jobs.sweeps,
    "orders": jobs.orders,
    "reports": jobs.reports,
    "sliders": pages.sliders,
    "page": pages.training,
    "memory": pages.memory,
    "thirty": pages.thirty,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write each part when it is done, beside what there is of the others."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure")
    parser.add_argument("--quick", action="store_true", help="only try everything out, and write nothing")
    given = parser.parse_args(arguments)
    file = HERE / "engine.json"
    results: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    for name in given.only:
        start = time.monotonic()
        tables = PARTS[name](QUICK if given.quick else Amount())
        minutes = (time.monotonic() - start) / 60
        print(f"{name}, {minutes:.1f} minutes\n")
        print("\n".join(table.markdown() for table in tables), flush=True)
        if not given.quick:
            results[name] = {"machine": _machine(), "minutes": minutes, "tables": [asdict(t) for t in tables]}
            file.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", "utf-8")
            (HERE / "engine.md").write_text(page_text(results), "utf-8")


def page_text(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    measured = [results[name] for name in PARTS if name in results]
    machines = dict.fromkeys(part["machine"] for part in measured)
    tables = [Table(**table) for part in measured for table in part["tables"]]
    return (
        f"# Benchmarks of engine and explorer\n\n{'; '.join(machines)}. A visitor's browser mostly runs on a computer "
        "of its own; here everything takes its time from the same cores. Only the ratios travel to another machine. "
        f"{sum(part['minutes'] for part in measured):.0f} minutes in all. Run again: `make benchmark-engine`; a part: "
        f"`python -m benchmarks.engine --only` {', '.join(PARTS)}.\n\n"
    ) + "\n".join(table.markdown() for table in tables)


def _machine() -> str:
    return (
        f"{describe_hardware(torch.device('cpu'))}; Python {platform.python_version()}, PyTorch {torch.__version__}, "
        f"Dask {version('distributed')}, Panel {version('panel')}, Bokeh {version('bokeh')}; "
        f"{datetime.now(UTC):%Y-%m-%d}"
    )


if __name__ == "__main__":
    main()
