"""Masking curves: accuracy and probability as more and more of each image is masked."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from smoot_explore.core import classes
from smoot_explore.core.classes import drop_auc, peak_fraction
from smoot_explore.core.probe import recorded_drops
from smoot_explore.core.records import DropRecord
from smoot_explore.errors import unknown_name
from smoot_explore.schema import start_config
from smoot_explore.views.classes import known_classes, start_and_rise
from smoot_explore.views.palette import CLASS_COLOURS, COLOURS, METHOD_NAMES, SERIES, in_words
from smoot_explore.views.rivals import Others, rival_lines
from smoot_explore.views.sketch import Axis, Layer, Sketch, band, curve, element, points, wrapped
from smoot_explore.views.view import axis, frames, view

_SEED, _RUN = "seed", "run"  # dimensions of curves put together: bands, and lines of their own
_TOLERANCES = np.linspace(0, 0.3, 31)
_MASKED = Axis("masked_fraction", "masked share of the pixels", "%", (0, 100))
_ACCURACY = Axis("accuracy", "test accuracy", "%", (0, 100))
_LESS_RANDOM = Axis("accuracy", "accuracy less that of a random order", "points")
_SHARE = Axis("share", "class II", "% of the images", (0, None))
_Places = tuple[Any, Any]
_NOTHING: _Places = ([], [])
_PROBABILITY = {"long_name": "probability of the label's class"}
NO_CURVES = xr.Dataset(
    {"probability": (("image", "masked_fraction"), np.empty((0, 2)), _PROBABILITY)},
    {"masked_fraction": [0.0, 1.0], "image_id": ("image", np.empty(0, int))},
)
NO_CURVE = xr.Dataset(
    {"probability": ("masked_fraction", np.empty(0), _PROBABILITY)}, {"masked_fraction": np.empty(0)}
)


def _together(curves: xr.Dataset | Mapping[str, xr.Dataset | Sequence[xr.Dataset]]) -> xr.Dataset:
    """Accuracy and area of several runs along a dimension ``run``: means over seeds, with their deviation."""
    given = {"": curves} if isinstance(curves, xr.Dataset) else curves
    lists = {name: [one] if isinstance(one, xr.Dataset) else list(one) for name, one in given.items()}
    everything = [one for several in lists.values() for one in several]
    if not everything or not all(lists.values()):
        raise ValueError("there are no masking curves to draw: give at least one data set of masking_curves")
    _check_same_protocol(everything)
    parts = []
    for name, several in lists.items():
        measured = [_measured(one) for one in several]
        part = _over_seeds(xr.concat(measured, _SEED) if len(measured) > 1 else measured[0])
        parts.append(part if _RUN in part.dims else part.expand_dims({_RUN: [name]}))
    for name in ("attribution", "fill"):
        if any(name in part.dims for part in parts):
            parts = [p.expand_dims(name) if name in p.coords and name not in p.dims else p for p in parts]
    together = xr.concat(parts, _RUN, join="inner") if len(parts) > 1 else parts[0]
    together = together.squeeze([n for n in ("attribution", "fill") if together.sizes.get(n) == 1])
    n_images = _from_to([one.sizes["image"] for one in everything])
    told = f"{protocol(together.assign_attrs(everything[0].attrs))}, n = {n_images} test images"
    if int(together.seeds.max()) > 1:
        told += f", mean ± standard deviation of {_from_to(together.seeds.values.tolist())} seeds"
    return together.assign_attrs(told=told, less=everything[0].attrs.get("less", ""))


def _check_same_protocol(curves: Sequence[xr.Dataset]) -> None:
    """Raise ``ValueError`` when curves that were measured otherwise would be drawn as if they were not."""
    for name in ("ranking", "order", "fill", "attribution", "less"):
        values = {
            str(one.coords[name].item() if name in one.coords else one.attrs.get(name))
            for one in curves
            if name not in one.dims
        }
        if len(values) > 1:
            raise ValueError(
                f"the curves differ in their {name} ({', '.join(sorted(values))}), so their areas cannot be compared; "
                "give curves of one protocol"
            )


def _measured(curves: xr.Dataset) -> xr.Dataset:
    """Accuracy and area of one run; NaN of no images."""
    if curves.sizes["image"]:
        return xr.Dataset({"accuracy": classes.accuracy_drop(curves), "auc": drop_auc(curves)})
    nothing = np.nan * curves.correct.sum("image")
    return xr.Dataset({"accuracy": nothing, "auc": nothing.isel(masked_fraction=0, drop=True)})


def _over_seeds(measured: xr.Dataset) -> xr.Dataset:
    """Mean and standard deviation over the seeds, where there are several, and their number."""
    n = measured.sizes.get(_SEED, 1)
    if n == 1:
        measured = measured.squeeze(_SEED, drop=True) if _SEED in measured.dims else measured
        return measured.assign(sd=np.nan * measured.accuracy, seeds=1)
    return measured.mean(_SEED).assign(sd=measured.accuracy.std(_SEED, ddof=1), seeds=n)


def _from_to(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


@view(drawn={"masked_fraction", _RUN}, prepare=_together)
def accuracy_drop(
    curves: xr.Dataset | Mapping[str, xr.Dataset | Sequence[xr.Dataset]],
    label: str = "Accuracy drop",
    *,
    title: str | None = None,
    roles: Mapping[str, str] | None = None,
    every_role: bool = False,
) -> Sketch:
    """Accuracy against the masked share of the pixels, with the area under each line.

    Parameters
    ----------
    curves
        From `masking_curves`, or of `core.classes.less_random`; or those of several runs by name, of which a training
        method's takes its colour. Curves of several seeds, in a list or along a dimension ``seed``, give their mean
        with a band of one standard deviation. Along a dimension ``run`` each has a line; fills, attributions and
        any other dimension become sliders.
    label
        Said above, before the protocol.
    title
        Instead of label and protocol, in lines that fit.
    roles
        What each run is drawn as, by its name, one of `looks.ROLES`.
    every_role
        Have an empty layer for each colour that a run could take, for a picture whose runs come and go.

    Raises
    ------
    ValueError
        When there are no curves, or such of different protocols.

    Examples
    --------
    >>> from smoot_explore import bundled_runs, views
    >>> curves = {run.name: run.curves() for run in bundled_runs()}
    >>> [dimension.name for dimension in views.accuracy_drop(curves).kdims]
    ['attribution', 'fill']
    """
    measured: xr.Dataset = curves  # type: ignore[assignment]  # prepared
    percent = 100 * measured.masked_fraction.values
    bands, lines = list[Layer](), list[Layer]()
    names = [str(name) for name in measured[_RUN].values]
    roles = roles or roles_of({name: name for name in names})
    for i, name in enumerate(names):
        one = measured.isel({_RUN: i})
        accuracy = one.accuracy.values
        if int(one.seeds) > 1:
            sd = one.sd.values
            bands.append(band(f"{roles[name]} band", percent, accuracy - sd, accuracy + sd))
        told = f"{METHOD_NAMES.get(name, name)}, " if name else ""
        lines.append(curve(roles[name], percent, accuracy, f"{told}AUC {float(one.auc):.1f} %"))
    if every_role:
        lines = _with_every_role(lines)
    title = title or wrapped(f"{label}: {measured.attrs['told']}")
    y = _LESS_RANDOM if measured.attrs.get("less") else _ACCURACY
    return Sketch("Accuracy drop", title, _MASKED, y, (*bands, *lines))


def no_drop(title: str) -> Sketch:
    """The picture of `accuracy_drop` while nothing is measured."""
    return Sketch("Accuracy drop", title, _MASKED, _ACCURACY, tuple(_with_every_role([])))


def _with_every_role(lines: Sequence[Layer]) -> list[Layer]:
    drawn = {line.role: line for line in lines}
    if len(drawn) < len(lines):  # more runs than colours
        return list(lines)
    roles = [*METHOD_NAMES.values(), *(f"Series {i}" for i in range(1, len(SERIES) + 1))]
    return [drawn.get(role) or curve(role, *_NOTHING, role) for role in roles]


@view(drawn={"epoch", "masked_fraction"}, uses={"accuracy_drop"})
def probe_drop(
    drops: Sequence[DropRecord] | xr.Dataset,
    method: str | None = None,
    reference: xr.Dataset | None = None,
    others: Others = (),
    label: str | None = None,
) -> Sketch:
    """The accuracy drop while training: the newest in the method's colour, earlier epochs fading behind it.

    Parameters
    ----------
    drops
        What `probed` told, in its order; or a training record with ``accuracy_drop``.
    method
        The training method, for the colour; None takes that of the record. A list of drops does not know it.
    reference
        Masking curves of another model, for a dashed line.
    others
        The newest drops of other trainings, as of `rival_lines`.
    label
        What the training is called among them; None says its method.

    Examples
    --------
    >>> from smoot_explore import views
    >>> views.probe_drop([]).label.partition("\\n")[0]
    'Accuracy drop'
    """
    told = recorded_drops(drops) if isinstance(drops, xr.Dataset) else list(drops)
    if method is None and isinstance(drops, xr.Dataset):
        method = start_config(drops)["method"]
    if told and method not in COLOURS:
        raise unknown_name("training method", method, COLOURS, "A list of drops needs method=…")
    layers = list[Layer]()
    for age, group in ((3, told[:-3]), (2, told[-3:-2]), (1, told[-2:-1])):
        places, heights = list[float](), list[float]()
        for drop in group:
            places += [*(100 * drop.masked_fraction), np.nan]
            heights += [*drop.accuracy, np.nan]
        layers.append(curve(f"Faded {age}", places, heights))
    layers += rival_lines(
        [
            other and (f"{other[0]}, epoch {other[1].epoch:.4g}, AUC {other[1].auc:.1f} %", other[1])
            for other in others
        ],
        lambda drop: (100 * drop.masked_fraction, drop.accuracy),
    )
    # Two lines from the beginning: a figure on a page keeps the room of its first title.
    newest, title = told[-1:], "Accuracy drop\nmeasured after some epochs, on pause and in the end"
    for drop in newest:
        title = f"Accuracy drop, AUC {drop.auc:.1f} %, n = {drop.n_images:,}\n"
        title += (
            f"{in_words(drop.attribution)} ({drop.ranking}), {in_words(drop.fill)} fill, {drop.order} first"
        )
    for name in COLOURS:
        shown = newest if name == method else []
        at: list[_Places] = [(100 * drop.masked_fraction, drop.accuracy) for drop in shown] or [_NOTHING]
        words = (label if shown and label else METHOD_NAMES[name]) + (
            f", epoch {shown[0].epoch:.4g}" if shown else ""
        )
        words += "; grey: epochs before" if shown and told[:-1] else ""
        layers.append(curve(METHOD_NAMES[name], *at[0], words))
    layers.append(_reference(reference))
    return Sketch("Probe", title, _MASKED, _ACCURACY, tuple(layers))


@view(drawn={"masked_fraction"})
def masking_curve(
    curves: xr.Dataset,
    masked_fraction: float | None = None,
    tolerance: float = 0.01,
    label: str | None = None,
    probability: float | None = None,
) -> Sketch:
    """The masking curve of one image, in the colour of its class, with its peak.

    Parameters
    ----------
    curves
        From `masking_curves`; its images, fills and attributions become sliders where there are several.
    masked_fraction
        Where a marker stands.
    tolerance
        Of the classes, as in `image_class`.
    label
        The title; by default the class.
    probability
        Height of the marker; by default that of the curve.
    """
    kind = str(known_classes(curves.expand_dims("image"), tolerance)[0]) if curves.probability.size else "?"
    percent, heights = 100 * curves.masked_fraction.values, curves.probability.values
    peak = [int(np.argmax(heights))] if kind == "II" else []
    at = [] if masked_fraction is None else [100 * masked_fraction]
    height = np.interp(at, percent, heights) if at and probability is None else [probability][: len(at)]

    def shown(c: str) -> _Places:
        return (percent, heights) if c == kind else _NOTHING

    layers = [
        *(curve(f"Class {c}", *shown(c)) for c in CLASS_COLOURS),
        points("Peak", percent[peak], heights[peak], "peak"),
        points("Marker", at, height, "masked so far"),
    ]
    y = axis(curves.probability, (0, 1.03))
    return Sketch("Masking curve", label or f"Masking curve, class {kind}", _MASKED, y, tuple(layers))


def masking_curves(curves: xr.Dataset, tolerance: float = 0.01) -> Any:
    """The motive of SMOOT, the paper's Figure 1: mean curves of class I and class II, and three single images of each.

    Of class I the surest images; of class II, for each third of the masked share, the image that rises most
    with its peak there, marked by a star. Fills and attributions become sliders where there are several.
    """
    import holoviews as hv

    drawn = {"image", "masked_fraction"}

    def panel(name: str) -> Any:
        return frames(curves, drawn, lambda one: element(_examples(one, name, tolerance)))

    return hv.Layout([panel("I"), panel("II")])


@view(drawn={"image", "masked_fraction"})
def class_means(
    curves: xr.Dataset, tolerance: float = 0.01, selected: Sequence[int] = (), picked: int | None = None
) -> Sketch:
    """Mean masking curve of each class, of ``selected`` images, and the curve of the ``picked`` one (positions)."""
    percent, probability = 100 * curves.masked_fraction.values, curves.probability.values
    kinds = known_classes(curves, tolerance)
    groups = {f"Class {name}": (np.flatnonzero(kinds == name), f"class {name}") for name in CLASS_COLOURS}
    groups["Selected"] = np.array(selected, int), "selected images"
    groups["Picked"] = np.array([] if picked is None else [picked], int), "picked image"
    layers = [
        curve(role, *_mean_of(percent, probability[members]), words)
        for role, (members, words) in groups.items()
    ]
    y = axis(curves.probability, (0, 1.03))
    return Sketch("Class means", "Mean masking curves", _MASKED, y, tuple(layers))


@view(drawn={"image", "masked_fraction", "fill"})
def class_share(curves: xr.Dataset, paper: float | None = 16) -> Sketch:
    """Share of class II against the tolerance, a line for each fill; ``paper`` in per cent, to compare."""
    layers = list[Layer]()
    for i, fill in enumerate(np.atleast_1d(curves.fill.values).tolist()):
        one = curves.sel(fill=fill) if "fill" in curves.dims else curves
        shares = [_share(known_classes(one, tolerance)) for tolerance in _TOLERANCES]
        layers.append(curve(f"Series {i % len(SERIES) + 1}", _TOLERANCES, shares, f"{in_words(fill)} fill"))
    if paper is not None:
        layers.append(curve("Reference", [0, 0.3], [paper, paper], f"the paper's {paper:g} % (CIFAR-10)"))
    x = Axis("tolerance", "tolerance", "probability", (0, 0.3))
    n = curves.sizes["image"]
    return Sketch("Class share", f"Share of class II, n = {n:,} images", x, _SHARE, tuple(layers))


def _share(kinds: np.ndarray) -> float:
    """Class II in per cent of the images whose class is known; NaN of none."""
    known = kinds[kinds != "?"]
    return 100 * float((known == "II").mean()) if len(known) else np.nan


def roles_of(methods: Mapping[str, str]) -> dict[str, str]:
    """What each run is drawn as: its training method, for the first run of the method, else a colour of the series.

    ``methods`` by the runs' names; what is no training method has no colour of its own.
    """
    taken = {COLOURS[method] for method in methods.values() if method in COLOURS}
    others = itertools.cycle(f"Series {i}" for i, colour in enumerate(SERIES, start=1) if colour not in taken)
    roles = dict[str, str]()
    for name, method in methods.items():
        own = METHOD_NAMES.get(method)
        roles[name] = next(others) if own is None or own in roles.values() else own
    return roles


def protocol(curves: xr.Dataset) -> str:
    """Attribution, ranking, fill and order in words, as far as the curves have a single one."""
    words = []
    if "attribution" in curves.coords and curves.attribution.ndim == 0:
        words.append(f"{in_words(str(curves.attribution.item()))} ({curves.attrs['ranking']})")
    if "fill" in curves.coords and curves.fill.ndim == 0:
        words.append(f"{in_words(str(curves.fill.item()))} fill")
    return ", ".join([*words, f"{curves.attrs['order']} first"])


def _reference(curves: xr.Dataset | None) -> Layer:
    if curves is None:
        return curve("Reference", *_NOTHING, "reference")
    drop = classes.accuracy_drop(curves)
    words = (
        f"bundled {curves.attrs.get('run', 'run')}, AUC {float(drop_auc(curves)):.1f} %, "
        f"n = {curves.sizes['image']:,}"
    )
    return curve("Reference", 100 * drop.masked_fraction.values, drop.values, words)


def _examples(curves: xr.Dataset, name: str, tolerance: float) -> Sketch:
    kinds, peaks = known_classes(curves, tolerance), peak_fraction(curves, tolerance).values
    probability, percent = curves.probability.values, 100 * curves.masked_fraction.values
    start, rise = start_and_rise(curves)
    members = np.flatnonzero(kinds == name)
    if name == "I":
        shown = members[np.argsort(-start[members], kind="stable")][:3].tolist()
    else:
        third = np.minimum((3 * peaks[members]).astype(int), 2)
        shown = [max(members[third == t], key=lambda i: rise[i]) for t in range(3) if (third == t).any()]
    gap = np.full((len(shown), 1), np.nan)
    heights = np.hstack([probability[shown], gap]).ravel()
    highest: _Places = (100 * peaks[shown], probability[shown].max(1)) if name == "II" and shown else _NOTHING
    layers = (
        curve(f"Class {name}", np.tile(np.append(percent, np.nan), len(shown)), heights, "single images"),
        points("Peak", *highest, "peak"),
        curve("Mean", *_mean_of(percent, probability[members]), "mean of the class"),
    )
    known = int((kinds != "?").sum())
    share = 100 * len(members) / max(known, 1)
    told = f"Class {name}: {share:.0f} % of {known:,} images, {protocol(curves)}, tolerance {tolerance:g}"
    return Sketch("Masking curves", wrapped(told), _MASKED, axis(curves.probability, (0, 1.03)), layers)


def _mean_of(percent: np.ndarray, probability: np.ndarray) -> _Places:
    """The mean curve of some images; nothing of none."""
    return (percent, probability.mean(0)) if len(probability) else _NOTHING
