"""What harvested saliency does to a training: python -m benchmarks.harvested writes benchmarks/harvested.md."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import torch

from benchmarks.tables import Table
from smoot_explore import (
    EpochRecord,
    TrainingConfig,
    create_model,
    drop_auc,
    load_data,
    masking_curves,
    train,
)
from smoot_explore.hardware import describe_hardware

HERE = Path(__file__).parent
METHODS = ("sgt", "smoot")
PASSES = ("shared", "harvested")
SEEDS = (0, 1, 2)
EPOCHS, BATCH_SIZE = 8, 64
FILLS = ("black", "mean", "remaining")
MEASURES = ("accuracy", "k min", "k median", "k max", *(f"AUC {fill}" for fill in FILLS))


def main() -> None:
    """Train, measure and write."""
    data = load_data("fashion-mnist-sample", train=10_000, test=2_000)
    results: dict[str, list[dict[str, float]]] = {}
    for method in METHODS:
        for saliency_pass in PASSES:
            results[f"{method}, {saliency_pass}"] = [
                _train(data, method, saliency_pass, seed) for seed in SEEDS
            ]
            print(method, saliency_pass, results[f"{method}, {saliency_pass}"], flush=True)
    rows = []
    for name, runs in results.items():
        cells = []
        for measure in MEASURES:
            values = [run[measure] for run in runs]
            cells.append(f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}")
        rows.append([name, *cells])
    for method in METHODS:
        cells = []
        for measure in MEASURES:
            pairs = zip(*(results[f"{method}, {way}"] for way in PASSES), strict=True)
            differences = [harvested[measure] - shared[measure] for shared, harvested in pairs]
            cells.append(f"{statistics.mean(differences):+.2f} ± {statistics.stdev(differences):.2f}")
        rows.append([f"{method}, harvested − shared", *cells])
    table = Table(
        "Harvested saliency against the shared pass",
        f"{len(data.train):,} training and {len(data.test):,} test images of the Fashion-MNIST sample, {EPOCHS} "
        f"epochs at batch {BATCH_SIZE}, learning rate 1 and 0.1 for the last quarter; {len(SEEDS)} seeds, mean ± "
        "standard deviation; differences paired by seed (same initial weights, same order of images). AUC of the "
        "accuracy drop in per cent: signed gradient, highest first, 21 levels, bfloat16 where the hardware has it. "
        f"k in pixels of 784. {describe_hardware(torch.device('cpu'))}, PyTorch {torch.__version__}.",
        ["", *MEASURES],
        rows,
        {"runs": results},
    )
    note = "Run again: `python -m benchmarks.harvested` (about ten minutes on two CPU cores).\n"
    (HERE / "harvested.md").write_text(table.markdown().replace("##", "#", 1) + "\n" + note, encoding="utf-8")
    (HERE / "harvested.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(table.markdown())


def _train(data, method: str, saliency_pass: str, seed: int) -> dict[str, float]:
    config = TrainingConfig(
        method=method, saliency_pass=saliency_pass, seed=seed, epochs=EPOCHS, batch_size=BATCH_SIZE
    )
    model = create_model("cnn", data, seed=seed)
    records = cast(Iterator[EpochRecord], train(model, data, config))
    for record in records:
        if record.epoch == EPOCHS - EPOCHS // 4:
            config.learning_rate = 0.1
    curves = masking_curves(model, data.test, fill=FILLS, precision="auto")
    k = record.k
    return {
        "accuracy": record.test_accuracy,
        "k min": float(k.min()), "k median": float(np.median(k)), "k max": float(k.max()),
        **{f"AUC {fill}": float(drop_auc(curves).sel(fill=fill)) for fill in FILLS},
    }  # fmt: skip


if __name__ == "__main__":
    main()
