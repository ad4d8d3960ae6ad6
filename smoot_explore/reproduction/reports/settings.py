"""The report of the settings: Table 1."""

from __future__ import annotations

from collections.abc import Iterator

from smoot_explore.core.config import TrainingConfig, setting_names
from smoot_explore.reproduction import paper
from smoot_explore.reproduction.document import Part, Table
from smoot_explore.reproduction.experiments import EXPERIMENTS, SCALES
from smoot_explore.reproduction.runner import Runner

_TOLD_ABOVE = ("device", "seed", "method", "epochs", "k_init", "learning_rate", "beta", "kl_weight")


def settings_report(runner: Runner) -> Iterator[Part]:
    rows = []
    for name, published in paper.SETTINGS.items():
        experiment = EXPERIMENTS[name]
        config = experiment.config("smoot", "paper", 0)
        rows.append([
            experiment.title,
            f"{published.model}: {experiment.architecture}",
            f"{published.k_init} / {config.k_init * experiment.n_pixels:.0f}",
            *(f"{getattr(published, n):g} / {getattr(config, n):g}" for n in ("learning_rate", "beta", "kl_weight")),
        ])  # fmt: skip
    heads = ["data", "model", "initial k (pixels)", "learning rate", "β", "λ"]
    yield Table("Settings of SMOOT: the paper's / ours at scale paper", heads, rows)
    sizes = []
    for name, experiment in EXPERIMENTS.items():
        for scale in SCALES[1:]:
            size = experiment.scales[scale]
            config = experiment.config(next(iter(experiment.variants)), scale, 0)
            sizes.append([
                f"{name}, {scale}", str(experiment.architecture_at(scale)),
                *(f"{n:,}" for n in (size.train or experiment.full[0], size.test or experiment.full[1])),
                str(config.epochs), str(config.batch_size), f"{config.optimizer} {config.learning_rate:g}",
                "yes" if config.schedule == "settle" else "no", str(len(size.seeds)),
            ])  # fmt: skip
    heads = ["experiment, scale", "model", "training images", "test images", "epochs", "batch", "optimiser and rate",
             "slower at the end", "seeds"]  # fmt: skip
    yield Table("The experiments and their scales", heads, sizes)
    defaults = [
        [f"`{name}`", str(getattr(TrainingConfig(), name)), TrainingConfig.param[name].doc]
        for name in setting_names()
        if name not in _TOLD_ABOVE
    ]
    yield Table("All other settings", ["setting", "default", "meaning"], defaults)
