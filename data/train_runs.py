"""Trains, publishes and measures the bundled runs.

python data/train_runs.py

The three methods as `smoot-explore demo --keep all` trains them, in `runs/demo`; finished runs there are used again.
The copies in ``data/runs`` have rounded weights, and their masking curves and landscapes are measured with these: of
SMOOT at each epoch, so that the explorer can play through them.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch

from smoot_explore import (
    ImageData,
    Run,
    accuracy,
    image_class,
    k_landscape,
    masking_curves,
    open_run,
)
from smoot_explore.cli.commands import main
from smoot_explore.compute.device import hardware_of
from smoot_explore.core.choices import METHODS

TEST_IMAGES = 1_000
LANDSCAPE_IMAGES_PER_CLASS = 50
HERE = Path(__file__).parent
DEMO = HERE.parent / "runs" / "demo"
PLAYED = "smoot"  # the run with the weights of all epochs


def measure(run: Run, data: ImageData, epoch: int) -> None:
    """Keep masking curves and the landscape of an epoch; of earlier ones fewer, for the room that they take."""
    model, last = run.model_at(epoch), epoch == run.epochs
    curves = masking_curves(
        model,
        data.test[:TEST_IMAGES],
        fill=["black", "mean", "remaining"],
        attribution=["gradient", "integrated_gradients"] if last else "gradient",
        precision="float32",
    )
    run.save_curves(curves, epoch=epoch)
    of_class = [(data.train.labels == label).nonzero().flatten() for label in range(data.n_classes)]
    chosen = torch.cat([images[:LANDSCAPE_IMAGES_PER_CLASS] for images in of_class]).sort().values
    run.save_landscape(k_landscape(model, data.train[chosen], precision="float32"), epoch)


main(["demo", "--out", str(DEMO), "--keep", "all"], standalone_mode=False)
trained = open_run(DEMO / PLAYED)
if trained.epochs_kept != list(range(trained.epochs + 1)):
    sys.exit(f"{trained.path} does not hold the weights of all epochs; delete it, and try again")

# Beside the old ones first: whoever reads these meanwhile, or stops this, keeps them whole.
with tempfile.TemporaryDirectory(dir=HERE, prefix=".runs-") as temporary:
    runs = Path(temporary) / "runs"
    for method in METHODS:
        started = time.perf_counter()
        run = open_run(DEMO / method).publish(runs / method, keep="all" if method == PLAYED else "last")
        data, model = run.load_data(), run.load_model()
        for epoch in run.epochs_kept:
            measure(run, data, epoch)

        recorded = float(run.record().test_accuracy[-1])
        rounded = accuracy(model, data.test, hardware=hardware_of(model))
        class_ii = 100 * float(
            (image_class(run.curves().sel(fill="black", attribution="gradient")) == "II").mean()
        )
        size = sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file())
        print(
            f"{method}: {size / 1e6:.2f} MB, {time.perf_counter() - started:.0f} s; test accuracy {rounded:.2f} % "
            f"with rounded weights, {recorded:.2f} % recorded; class II {class_ii:.1f} % (black, gradient)",
            flush=True,
        )
    shutil.rmtree(HERE / "runs", ignore_errors=True)
    os.replace(runs, HERE / "runs")
