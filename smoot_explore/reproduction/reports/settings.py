"""The report of the settings: Table 1."""

from __future__ import annotations

from smoot_explore.core.config import TrainingConfig, setting_names
from smoot_explore.reproduction import paper
from smoot_explore.reproduction.document import Document, Table
from smoot_explore.reproduction.experiments import EXPERIMENTS, SCALES
from smoot_explore.reproduction.runner import Runner
from smoot_explore.reproduction.targets import Target


def settings_report(document: Document, target: Target, runner: Runner) -> None:
    rows = []
    for name, published in paper.SETTINGS.items():
        experiment = EXPERIMENTS[name]
        config = experiment.config("smoot", "paper", 0)
        rows.append([
            experiment.title,
            f"{published.model}: {experiment.architecture}",
            f"{published.k_init} / {config.k_init * experiment.n_pixels:.0f}",
            f"{published.learning_rate:g} / {config.learning_rate:g}",
            f"{published.beta:g} / {config.beta:g}",
            f"{published.kl_weight:g} / {config.kl_weight:g}",
        ])  # fmt: skip
    heads = ["data", "model", "initial k (pixels)", "learning rate", "β", "λ"]
    document.parts.append(Table("Settings of SMOOT: the paper's / ours at scale paper", heads, rows))
    sizes = []
    for name, experiment in EXPERIMENTS.items():
        for scale in SCALES[1:]:
            size = experiment.scales[scale]
            config = experiment.config(next(iter(experiment.variants)), scale, 0)
            sizes.append([
                f"{name}, {scale}", str(experiment.architecture_at(scale)),
                *(f"{n:,}" for n in (size.train or experiment.full[0], size.test or experiment.full[1])),
                str(config.epochs), str(config.batch_size), f"{config.optimizer} {config.learning_rate:g}",
                "yes" if size.slow_down else "no", str(len(size.seeds)),
            ])  # fmt: skip
    heads = ["experiment, scale", "model", "training images", "test images", "epochs", "batch", "optimiser and rate",
             "slower at the end", "seeds"]  # fmt: skip
    document.parts.append(Table("The experiments and their scales", heads, sizes))
    defaults = [
        [f"`{name}`", str(getattr(TrainingConfig(), name)), TrainingConfig.param[name].doc]
        for name in setting_names()
        if name not in ("device", "seed", "method", "epochs", "k_init", "learning_rate", "beta", "kl_weight")
    ]
    document.parts.append(Table("All other settings", ["setting", "default", "meaning"], defaults))
