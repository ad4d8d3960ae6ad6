"""Numbers side by side as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from smoot_explore.views.sketch import Axis, Layer, Sketch, boxes, upright, words
from smoot_explore.views.view import view

_MOST_CLASSES = 12
_LONGEST_NAME = 20  # characters


@view()
def amounts(
    values: Mapping[str, float], quantity: str, chance: float | None = None, label: str = ""
) -> Sketch:
    """One bar for each name, from above, with a line where ``chance`` lies."""
    reach = max([*values.values(), chance or 0, 0.0]) * 1.12 or 1.0
    heights = np.array(list(values.values()), float)
    sketch = _bars("Amounts", label, list(values), {"Amount": heights}, quantity, reach)
    line = upright("Chance", [] if chance is None else [chance], "chance")
    return sketch._replace(layers=(*sketch.layers, line))


@view()
def probabilities(names: Sequence[str], clean: np.ndarray, masked: np.ndarray) -> Sketch:
    """Probability of each class for the clean and the masked image, ``(n_classes,)``.

    Of more than twelve classes, those highest in either.
    """
    highest = np.sort(np.argsort(-np.maximum(clean, masked), kind="stable")[:_MOST_CLASSES])
    shown = highest if len(names) > _MOST_CLASSES else np.arange(len(names))
    values = {"Clean": clean[shown], "Masked": masked[shown]}
    return _bars(
        "Probabilities", "What the model says", [names[i] for i in shown], values, "probability", 1.0
    )


def _bars(
    name: str, title: str, names: Sequence[str], values: Mapping[str, np.ndarray], quantity: str, reach: float
) -> Sketch:
    """Bars to the right, those of one name close together, with the names on their left."""
    n, thickness = len(names), 0.76 / max(len(values), 1)
    layers = list[Layer]()
    for i, (role, amount) in enumerate(values.items()):
        below = -np.arange(n) + 0.38 - (i + 1) * thickness
        sides = (np.zeros(n), below, amount, below + 0.94 * thickness)
        label = role.lower() if len(values) > 1 else ""
        layers.append(boxes(role, sides, label, {"name": list(names), "value": amount}))
    short = [text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…" for text in names]
    layers.append(words("Name", np.full(n, -0.02 * reach), -np.arange(n), short))
    x = Axis("amount", quantity, None, (-0.42 * reach, reach))
    return Sketch(name, title, x, Axis("place", "place", None, (-n + 0.4, 0.6)), tuple(layers))
