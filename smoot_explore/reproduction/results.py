"""The numbers of an experiment's runs, by seed and variant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from smoot_explore.reproduction.runner import Runner, Use
from smoot_explore.reproduction.statistics import Spread, spread
from smoot_explore.runs.compare import PROTOCOL, compare_measured
from smoot_explore.runs.table import records

K = ("k_smallest", "k_median", "k_largest")
_KEPT = ("epochs", *K, "test_accuracy", "n_test", "aucs")
_DESCRIBED = ("data", "model", "device", "precision", "versions", "created")


class Results:
    """The numbers of an experiment, each quantity a data frame of seeds and variants.

    Parameters
    ----------
    runner
        Has carried out the experiment.
    use
        The experiment, and the masking curves to read from each run.

    Attributes
    ----------
    protocols
        A row for each protocol of an AUC, in the order of the curves.
    aucs
        A row for each seed, a column for each protocol (by its number) and variant.
    """

    def __init__(self, runner: Runner, use: Use) -> None:
        self.runner, self.experiment = runner, runner.experiment(use)
        self.trials = runner.trials(self.experiment)
        self.variants, self.seeds = list(self.experiment.variants), runner.seeds(self.experiment)
        self._table = compare_measured(
            (t.run, [t.run.curves(name) for name in use.curves]) for t in self.trials
        )
        self.protocols = self._table[list(PROTOCOL)].to_dataframe()
        index = pd.MultiIndex.from_tuples(
            [(t.seed, t.variant) for t in self.trials], names=["seed", "variant"]
        )
        self.aucs = pd.DataFrame(self._table.drop_auc.values, index).unstack("variant")

    def __getitem__(self, name: str) -> pd.DataFrame:
        """A variable of `compare_runs`, such as the test accuracy."""
        return self._by_seed(self._table[name].values)

    def auc(self, protocol: Any) -> pd.DataFrame:
        """The AUC under a protocol, one of `drops` or the number of any."""
        return self.aucs[getattr(protocol, "Index", protocol)]

    def metric(self, name: str, key: str) -> pd.DataFrame:
        """A number of a metric."""
        return self._by_seed(self.runner.metric(trial, name)[key] for trial in self.trials)

    def k(self, variant: str) -> list[Spread]:
        """Minimum, median and maximum of k over the training images after the last epoch."""
        return [spread(self[name][variant]) for name in K]

    def drops(self, ranking: str) -> list[Any]:
        """Protocols of the accuracy drop by gradient on the most images, one for each fill."""
        p = self.protocols
        found = p[(p.attribution == "gradient") & (p.ranking == ranking) & (p.masked_first == "highest")]
        return list(found[found.test_images == found.test_images.max()].itertuples())

    def less_random(self) -> tuple[pd.DataFrame, dict[int, pd.DataFrame]]:
        """The protocols on the same images as a random order, and how far the AUC of each falls below that order's
        with the same fill: a row for each seed, a column for each variant; higher is better."""
        p = self.protocols[self.protocols.masked_first == "highest"]
        random = p[p.attribution == "random"]
        ranked = p[(p.attribution != "random") & p.test_images.isin(random.test_images)]
        chance = dict(zip(random.fill, random.index, strict=True))
        return ranked, {row.Index: self.auc(chance[row.fill]) - self.auc(row) for row in ranked.itertuples()}

    def numbers(self) -> list[dict[str, Any]]:
        """Every run's numbers with what it was trained with, for JSON."""
        return [
            {
                "variant": trial.variant,
                "seed": trial.seed,
                **{name: record[name] for name in _KEPT},
                "settings": trial.run.start_config,
                "changes": trial.run.journal["changes"],
                **{name: trial.run.description[name] for name in _DESCRIBED},
            }
            for trial, record in zip(self.trials, records(self._table), strict=True)
        ]

    def _by_seed(self, values: Iterable[float]) -> pd.DataFrame:
        index = [[t.seed for t in self.trials], [t.variant for t in self.trials]]
        return pd.Series(list(values), index).unstack()[self.variants]
