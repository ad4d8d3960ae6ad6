"""Other trainings over the axes of a picture that is about one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from smoot_explore.views.palette import RIVALS
from smoot_explore.views.sketch import Layer, curve

LINES = len(RIVALS)  # trainings that one picture tells apart
Others = Sequence[tuple[str, Any] | None]


def rival_lines(others: Others, line: Callable[[Any], tuple[Any, Any]], what: str = "") -> list[Layer]:
    """A line for each of some other trainings, each in the look of its place.

    Parameters
    ----------
    others
        By their places, four at most: what a training is called, and its record; None for a place that is empty. A
        picture that moves has a layer for each place from the beginning: give four of them. On the explorer's page the
        training that the picture is about has a place too, which is empty here: there are three others.
    line
        x and y of a record.
    what
        Of the training the line shows.

    Raises
    ------
    ValueError
        When there are more than can be told apart.
    """
    if len(others) > LINES:
        raise ValueError(f"a picture tells {LINES} other trainings apart, given {len(others)}; draw fewer")
    layers = []
    for i, other in enumerate(others, start=1):
        # Each has a label of its own from the beginning: a legend would take them for one.
        label, (x, y) = (f"another training {i}", ([], [])) if other is None else (other[0], line(other[1]))
        layers.append(curve(f"Rival {i}", x, y, f"{label}: {what}" if what else label))
    return layers
