"""In what runs differ, beside their method and length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from smoot_explore.core.config import TrainingConfig, setting_names
from smoot_explore.runs.run import Run

_ELSEWHERE = {"method", "epochs", "device"}  # told in columns of their own, or of no effect


def differences(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Of each run the values of the settings in which the runs differ.

    A setting that does nothing in a run is left out of its values; one that was moved while it trained is told as
    "start → end". ``model`` is the model's name where these differ.

    Examples
    --------
    >>> from smoot_explore import bundled_runs
    >>> differences(bundled_runs()[:1])
    [{}]
    """
    models = [run.description["model"].get("name") for run in runs]
    told = [_settings(run) for run in runs]
    names = [
        name for name in setting_names() if len({repr(one.get(name)) for one in told if name in one}) > 1
    ]
    if len(set(map(str, models))) > 1:
        return [{"model": model, **_chosen(one, names)} for model, one in zip(models, told, strict=True)]
    return [_chosen(one, names) for one in told]


def _chosen(settings: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: settings[name] for name in names if name in settings}


def _settings(run: Run) -> dict[str, Any]:
    """What acted in a training, with what was moved."""
    if run.adopted:
        return {}
    idle = TrainingConfig.recorded(run.start_config).idle()
    settings = {
        name: value
        for name, value in run.start_config.items()
        if name in setting_names() and name not in _ELSEWHERE and name not in idle
    }
    for change in run.changes:
        if change.name in settings:
            settings[change.name] = f"{run.start_config[change.name]:g} → {change.new:g}"
    return settings
