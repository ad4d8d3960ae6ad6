"""State of the Class tab: the trainings of all pages, and the kept ones as points over their settings."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import param
import xarray as xr

from smoot_explore.core.records import drop_area
from smoot_explore.explorer.state.class_board import (
    LONGEST_NAME,
    ClassBoard,
    Told,
    all_told,
    class_settings,
)
from smoot_explore.explorer.state.train import TrainState
from smoot_explore.runs.run import Run
from smoot_explore.views.class_board import QUANTITIES

_YOURS = "(yours)"


class ClassState(param.Parameterized):
    """What one page sees of its class, and tells it."""

    name_here = param.String(
        default="",
        label="Name of your trainings (for all to see)",
        doc=f"Whoever uses this server reads it. At most {LONGEST_NAME} characters; empty for none.",
    )
    across = param.Selector(
        default="beta", objects=class_settings(), label="Setting", doc="What the points lie over."
    )
    quantity = param.Selector(
        default="test_accuracy",
        objects={label: name for name, (label, _) in QUANTITIES.items()},
        label="Quantity",
        doc="How high the points lie.",
    )

    def __init__(self, board: ClassBoard, page: str, train: TrainState) -> None:
        super().__init__()
        self.board, self.page, self.train = board, page, train
        self.kept: xr.Dataset = points_of([])
        self._told: Sequence[Told] = []
        self._of: list[Any] = []  # what it was told of

    @property
    def given_name(self) -> str:
        """The name as others see it."""
        seen = "".join(
            c for c in self.name_here if unicodedata.category(c) != "Cf"
        )  # these turn a text round
        return " ".join(seen.replace(_YOURS, "").split())[:LONGEST_NAME].rstrip()

    def tell(self) -> None:
        """Tell the class of this page's trainings; it is gathered anew when an epoch, a setting or the name is new."""
        of = [self.given_name, *(
            (one.training, one.status, one.place, one.epochs_done, len(one.history.drops), one.in_force)
            for one in self.train.every
        )]  # fmt: skip
        if of != self._of:
            self._of, self._told = of, all_told(self.train, self.given_name)
        self.board.report(self.page, self._told)

    def trainings(self) -> list[tuple[str, Told]]:
        """What everybody is called and tells; one's own is "yours"."""
        found = list[tuple[str, Told]]()
        for i, (page, several) in enumerate(self.board.trainings().items(), start=1):
            yours = f" {_YOURS}" if page == self.page else ""
            for told in several:
                name = told.name or f"training {i}"
                found.append((": ".join(filter(None, [name, told.label])) + yours, told))
        return found

    def points(self) -> xr.Dataset:
        """Kept runs and running trainings, one point each."""
        trainings = [(name, told) for name, told in self.trainings() if told.accuracies]
        rows = [
            {"test_accuracy": told.accuracy, "drop_auc": told.auc, "k_median": told.k_median, **told.settings}
            for _, told in trainings
        ]
        live = _table([name for name, _ in trainings], rows, live=True)
        return xr.concat([self.kept, live], "run") if rows else self.kept


def points_of(runs: Iterable[Run]) -> xr.Dataset:
    """Settings and results of kept runs, along ``run``. Reads the disk: not for the event loop.

    Runs without an epoch, adopted ones and damaged ones are left out.
    """
    labels, rows = list[str](), list[dict[str, Any]]()
    for run in runs:
        try:
            row = _row(run)
        except Exception:  # whatever is wrong with one, the others are shown
            continue
        if row is not None:
            labels.append(run.name)
            rows.append(row)
    return _table(labels, rows, live=False)


def _row(run: Run) -> dict[str, Any] | None:
    if run.adopted or not run.epochs:
        return None
    last = run.journal["epochs"][-1]
    auc = float("nan")
    if run.has_accuracy_drop(run.epochs) and run.probe is not None:
        auc = drop_area(run.values("accuracy_drop")[-1], np.asarray(run.probe["masked_fraction"], float))
    settings = run.start_config | run.journal["live"]  # as of a training: those in force
    median = float("nan")
    if settings["method"] != "traditional":  # runs of before December 2026 have it in their values alone
        median = float(last["k_median"] if "k_median" in last else np.median(run.values("k")[-1]))
    numbers = {"test_accuracy": float(last["test_accuracy"]), "drop_auc": auc, "k_median": median}
    return numbers | {name: settings[name] for name in (*class_settings().values(), "method")}


_WITHOUT = {  # settings that do nothing in a method
    "traditional": ("alpha", "beta", "kl_weight", "k_init", "k_min", "k_max"),
    "sgt": ("alpha", "beta", "k_min", "k_max"),
}


def _table(labels: Sequence[str], rows: Sequence[dict[str, Any]], live: bool) -> xr.Dataset:
    names = [*QUANTITIES, *class_settings().values()]
    values = {
        name: (
            "run",
            np.array(
                [np.nan if name in _WITHOUT.get(row["method"], ()) else row[name] for row in rows], float
            ),
        )
        for name in names
    }
    told = {
        "method": ("run", np.array([row["method"] for row in rows], "U20")),
        "live": ("run", np.full(len(rows), live)),
    }
    return xr.Dataset({**values, **told}, {"run": np.array(labels, "U80")})
