"""A training again, from its own record."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable
from pathlib import Path

from smoot_explore.core.augment import Augment, augment_name
from smoot_explore.core.config import TrainingConfig
from smoot_explore.core.records import EpochRecord
from smoot_explore.core.training import train
from smoot_explore.runs.checkpoint import RunError
from smoot_explore.runs.run import Keep, Run, create_run, open_run


def replay(
    run: Run,
    path: str | Path,
    *,
    keep: Keep = "last",
    augment: Augment | None = None,
    log: Callable[..., object] | None = None,
) -> Run:
    """Train a run again from its record: its initial weights, its settings, each live change at its step.

    It goes as far as the run has come. On the same CPU, with the same number of threads and versions, all numbers are
    equal bit by bit; with ``keep="all"`` the weights of every epoch come back. Stopped, it goes on when it is
    called again.

    Parameters
    ----------
    run
        Not published: it must hold its initial weights. Open it with its model and data where it does not say how to
        make them again (`open_run`).
    path
        Folder of the new run: new, empty, or of this replay as far as it came.
    keep
        As for `Run.create`.
    augment
        What the run was trained with, as for `train`: a run holds its name alone.
    log
        Called with each record, as for `train`.

    Returns
    -------
    Run
        The new run, trained.

    Raises
    ------
    RunError
        When the run does not hold what a replay needs, or was trained with another augmentation.
    FileExistsError
        When the folder holds something else.

    Warns
    -----
    UserWarning
        When the losses of the replay are not those of the run.
    """
    path = Path(path)
    _check_repeatable(run)
    run.check_augment(augment_name(augment))
    data, model = run.load_data(), run.model_at(0)
    origin = {"how": "replay", "run": run.name, "created": run.description["created"]}
    config = TrainingConfig.recorded({**run.start_config, **run.journal["resumed"]})
    if (path / "config.json").is_file():
        again = open_run(path, model=model, data=data)
        if again.origin != origin:
            raise FileExistsError(f"{path} holds another run; choose another folder")
    else:
        again = create_run(path, config, model, data, keep, origin)
    # Between two records a live value can be moved: one is needed after each step before a change.
    every = math.gcd(*(change.step - 1 for change in run.changes)) or None
    config.param.update(**run.live_at(again.journal["step"] + 1)._asdict())
    records = train(model, data, config, run=again, every=every, augment=augment, log=log)
    if again.epochs < run.epochs or run.epochs == config.epochs:
        with contextlib.closing(records):  # type: ignore[type-var]  # a generator
            for record in records:
                config.param.update(**run.live_at(record.step + 1)._asdict())
                if isinstance(record, EpochRecord) and record.epoch == run.epochs < config.epochs:
                    break
    _warn_of_differences(run, again)
    return again


def _check_repeatable(run: Run) -> None:
    if 0 not in run.epochs_kept or run.epochs == 0:
        raise RunError(
            f"{run.path} cannot be trained again: it holds "
            + ("no completed epoch" if run.epochs == 0 else "no initial weights, as published and older runs")
        )
    resumed, start = run.journal["resumed"], run.start_config
    moved = [name for name in ("precision",) if resumed.get(name, start[name]) != start[name]]
    if start["schedule"] != "constant" and resumed.get("epochs", start["epochs"]) != start["epochs"]:
        moved.append("epochs")
    if moved:
        raise RunError(
            f"{run.path} was resumed with other {' and '.join(moved)}, and does not say from which step on: it "
            "cannot be trained again with the same numbers"
        )


def _warn_of_differences(run: Run, again: Run) -> None:
    pairs = zip(run.journal["epochs"], again.journal["epochs"], strict=False)
    different = [one["epoch"] for one, two in pairs if one["train_loss"] != two["train_loss"]]
    if different:
        warnings.warn(
            f"the replay is not bit by bit {run.path} from epoch {different[0]} on: another processor, number of "
            "threads or processes, or version of PyTorch",
            stacklevel=3,
        )
