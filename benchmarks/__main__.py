"""Runs every benchmark and writes benchmarks/results.md and results.json."""

from __future__ import annotations

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks import curves, training_steps
from smoot_explore.hardware import describe_hardware, has_bfloat16, retained_memory

HERE = Path(__file__).parent


def main() -> None:
    """Measure, print and write. ``python -m benchmarks 5`` takes 5 rounds instead of 15."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with retained_memory(torch.device("cpu")):  # for all candidates, the peer's too
        steps = training_steps.measure(rounds)
        masking = curves.measure(max(3, rounds // 3))
    best = "bfloat16" if has_bfloat16(torch.device("cpu")) else "float32"
    ratios = {
        **{
            f"SGT reference's step ({cnn} CNN, its faster layout) / SMOOT step, {best}": min(
                seconds for name, seconds in steps.items() if f"SGT reference, {cnn}" in name
            )
            / steps[f"smoot, {best}"]
            for cnn in ("plain", "our")
        },
        **{
            f"SMOOT step / traditional step, {precision}": steps[f"smoot, {precision}"]
            / steps[f"traditional, {precision}"]
            for precision in training_steps.PRECISIONS
        },
        **{
            f"{name} / bare forward passes": seconds / masking[f"bare forward passes, {name.split(', ')[-1]}"]
            for name, seconds in masking.items()
            if name.startswith("curves")
        },
    }
    machine = (
        f"{describe_hardware(torch.device('cpu'))}; Python {platform.python_version()}, "
        f"PyTorch {torch.__version__}; {datetime.now(UTC):%Y-%m-%d}"
    )
    text = _page(machine, rounds, ratios, steps, masking)
    (HERE / "results.md").write_text(text, encoding="utf-8")
    content = {"machine": machine, "rounds": rounds, "ratios": ratios, "seconds": {**steps, **masking}}
    (HERE / "results.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    print(text)


def _page(machine: str, rounds: int, ratios: dict, steps: dict, masking: dict) -> str:
    def table(head: str, rows: dict[str, str]) -> str:
        return f"| {head} | |\n|---|---|\n" + "".join(f"| {n} | {v} |\n" for n, v in rows.items())

    return (
        "# Benchmarks\n\n"
        f"{machine}. Medians of {rounds} (steps) and {max(3, rounds // 3)} (curves) interleaved rounds in one "
        "process. Only the ratios travel to another machine, and they vary by some per cent from run to run.\n\n"
        "A step is one batch of 256 Fashion-MNIST images through the paper's CNN, with everything that belongs "
        "to it: saliency, ranking, fill, both forward passes, backward pass, Adadelta. The SGT reference's step "
        "is the algorithm of Ismail et al.'s code, restated (`training_steps.py`): float32, saliency in eval "
        "mode, images filled one after the other; with the CNN in plain layers, as its code has it, and "
        "with ours, which computes the same function faster. Curves are 21 levels for 1,024 images, with the "
        "gradient and the ranking; the bare forward passes are 21 for each image in the same batches of 256.\n\n"
        + table("ratio", {name: f"{value:.2f}" for name, value in ratios.items()})
        + "\n"
        + table("median", {n: f"{1000 * s:.0f} ms" for n, s in steps.items()})
        + "\n"
        + table("median", {n: f"{s:.2f} s" for n, s in masking.items()})
        + "\nRun again: `make benchmark`.\n"
    )


if __name__ == "__main__":
    main()
