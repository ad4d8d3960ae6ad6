"""What masking curves say: class I or II, the peak, the accuracy drop and its area."""

from __future__ import annotations

import numpy as np
import xarray as xr


def image_class(curves: xr.Dataset, tolerance: float = 0.01) -> xr.DataArray:
    """``"II"`` for images whose probability rises, at some m > 0, above that of the clean image by more
    than the tolerance, ``"I"`` for the others; (image).

    Parameters
    ----------
    curves
        From `masking_curves`, highest first for the paper's classes; its levels start at 0.
    tolerance
        In probability, at least 0. The share of class II depends on it: say which one was used.
    """
    peak, start = _peak_and_start(curves, tolerance)
    classes = xr.where(peak.max("masked_fraction") > start + tolerance, "II", "I")
    classes.attrs = {"long_name": "image class", "units": "1", "tolerance": tolerance}
    return classes.rename("image_class")


def peak_fraction(curves: xr.Dataset, tolerance: float = 0.01) -> xr.DataArray:
    """The masked fraction m at which the probability is highest (the first of equals); 0 for class I; (image)."""
    peak, _ = _peak_and_start(curves, tolerance)
    where = peak.idxmax("masked_fraction")
    result = where.where(image_class(curves, tolerance) == "II", 0.0)
    result.attrs = {
        "long_name": "masked fraction of the peak",
        "units": "1",
        "tolerance": tolerance,
    }
    return result.rename("peak_fraction")


def class_changes(curves: xr.Dataset, tolerance: float = 0.01) -> xr.Dataset:
    """How many images have become class II, ``to_second``, and class I, ``to_first``, since the epoch before, (epoch).

    Parameters
    ----------
    curves
        Of the same images after several epochs, along a dimension ``epoch``, in its order.
    tolerance
        As in `image_class`.
    """
    if "epoch" not in curves.dims:
        raise ValueError(
            f"changes need curves along the dimension epoch, given {tuple(map(str, curves.dims))}; "
            'xarray.concat([…], dim="epoch") puts those of several epochs together'
        )
    second = image_class(curves, tolerance) == "II"
    later, before = (
        second.isel(epoch=slice(1, None)),
        second.shift(epoch=1, fill_value=False).isel(epoch=slice(1, None)),
    )
    return xr.Dataset(
        {"to_second": (later & ~before).sum("image"), "to_first": (before & ~later).sum("image")}
    )


def accuracy_drop(curves: xr.Dataset) -> xr.DataArray:
    """Accuracy over the images in per cent, (masked_fraction)."""
    accuracy = 100.0 * curves.correct.mean("image")
    accuracy.attrs = {"long_name": "accuracy", "units": "%"}
    return accuracy.rename("accuracy_drop")


def drop_auc(curves: xr.Dataset) -> xr.DataArray:
    """Area under the accuracy drop, ∫ accuracy(m) dm by the trapezoidal rule, in per cent. Lower: a steeper drop.

    Over a part of the masked fractions it is divided by their range, so that it is the mean accuracy there.
    """
    fractions = curves.masked_fraction
    width = float(fractions[-1] - fractions[0])
    if not width > 0:
        raise ValueError(
            f"an area needs curves over a range of masked fractions, given {fractions.values.tolist()}"
        )
    area = accuracy_drop(curves).integrate("masked_fraction") / width
    area.attrs = {"long_name": "area under the accuracy drop", "units": "%"}
    return area.rename("drop_auc")


def less_random(curves: xr.Dataset, random: xr.Dataset) -> xr.Dataset:
    """Masking curves whose ``correct`` is less that of a random order of the pixels, image by image: −1, 0 or 1.

    Their `accuracy_drop` and `drop_auc` are then the differences, in percentage points. An area under an accuracy drop
    has two parts: how well the model bears any pixels missing, and what the ranking adds to that. This leaves the
    second; below 0, the ranking finds pixels that matter more than chance does.

    Parameters
    ----------
    curves
        From `masking_curves`.
    random
        Of the same model, images, levels and fill, with ``attribution="random"``.

    Raises
    ------
    ValueError
        When the two are not of the same images, levels or fill.
    """
    for name in ("image_id", "masked_fraction", "fill"):
        if not np.array_equal(curves[name].values, random[name].values):
            raise ValueError(
                f"the random order was measured with other values of {name}; measure both with one protocol"
            )
    difference = curves.correct.astype(float) - random.correct.values
    return curves.assign(correct=difference).assign_attrs(less="a random order")


def _peak_and_start(curves: xr.Dataset, tolerance: float) -> tuple[xr.DataArray, xr.DataArray]:
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0, given {tolerance}")
    if float(curves.masked_fraction[0]) != 0:
        raise ValueError(
            "the classes compare with the clean image: the curves must start at the masked fraction 0, "
            f"they start at {float(curves.masked_fraction[0]):g}"
        )
    return curves.probability, curves.probability.isel(masked_fraction=0, drop=True)
