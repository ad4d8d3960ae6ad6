"""What if: k as a frozen model would have it move, and as it moves when the model trains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from smoot_explore.core.bounds import Bounds
from smoot_explore.views.sketch import Sketch, band, curve
from smoot_explore.views.trajectories import k_quantiles, k_trajectories
from smoot_explore.views.view import view


@view(drawn={"epoch", "image"})
def frozen_and_trained(
    frozen: xr.DataArray,
    trained: xr.DataArray | None = None,
    *,
    picked: int | None = None,
    bounds: Sequence[Bounds] = (),
    n_pixels: int | None = None,
) -> Sketch:
    """k ``(epoch, image)`` on the frozen model, a thin line for each image, and over it that of a real training.

    Parameters
    ----------
    frozen
        From `simulate_k`.
    trained
        k of the same images in a training with the same settings, so far; None before there is any.
    picked
        Position of one image that stands out in both.
    bounds, n_pixels
        As of `k_trajectories`.
    """
    end = float(frozen.epoch.values[-1])
    title = "k of every image, the model frozen"
    sketch = k_trajectories.sketch(
        frozen, picked=picked, bounds=bounds, epochs=end, n_pixels=n_pixels, every_image=True,
        label=title if trained is None else f"{title}, and trained for real",
    )  # fmt: skip
    at, low, middle, high, one = (np.empty(0),) * 5
    if trained is not None and trained.size:
        at = trained.epoch.values.astype(float)
        low, middle, high = k_quantiles(trained, (0.05, 0.5, 0.95)).values
        one = one if picked is None else trained.isel(image=picked).values
    real = (
        band("Trained band", at, low, high, "trained: 90 % of the images"),
        curve("Trained", at, middle, "trained: median"),
        curve("Trained image", at[: len(one)], one, "trained: picked image"),
    )
    return sketch._replace(layers=(*sketch.layers, *real))
