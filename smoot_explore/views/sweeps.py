"""A sweep in one picture: a number for each training against the settings that were swept."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Collection
from typing import Any, Protocol, cast

import numpy as np
import xarray as xr
from matplotlib import colormaps

from smoot_explore.views.palette import SERIES, SHADES, symbol
from smoot_explore.views.pictures import picture_grid
from smoot_explore.views.sketch import Axis, Layer, Sketch, band, curve, words, wrapped
from smoot_explore.views.view import Frames, axis, short_name

_COLOURS = colormaps["YlGnBu"]
_DARKEST = 0.55  # of them: the numbers in the cells are black
_UNKNOWN = (205, 205, 205, 255)
_TILE = 12  # pixels of a cell
_MOST_COLUMNS = 14  # with numbers in their cells


class SweepView(Protocol):
    """A picture of a sweep: called, it gives a HoloViews element; ``frames`` gives what `Live` shows and replaces."""

    frames: Callable[..., Frames]

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


def _view(in_frames: Callable[..., Frames]) -> SweepView:
    @functools.wraps(in_frames)
    def picture(*args: Any, **kwargs: Any) -> Any:
        return in_frames(*args, **kwargs).element()

    picture.frames = in_frames  # type: ignore[attr-defined]
    return cast(SweepView, picture)


@_view
def sweep_map(
    record: xr.Dataset,
    quantity: str | xr.DataArray = "test_accuracy",
    x: str | None = None,
    y: str | None = None,
) -> Frames:
    """A quantity over two swept settings as the colours of a grid; any others become sliders.

    Seeds that are not drawn are averaged, and the title says how many. Gray cells have no number: they were not
    trained yet, or failed. The fill of ``curves_auc`` counts as a setting.

    Parameters
    ----------
    record
        From `open_sweep`.
    quantity
        A variable of it, of which the value after the last completed epoch is taken; or one number for each training,
        such as ``sweep.k.isel(epoch=-1).median("image")``.
    x, y
        The settings to the right and downwards; by default the first two that have several values.
    """
    values = _of_each_training(record, quantity)
    across, down = _two(values, x, y)
    grid = _over_seeds(values, {across, down})
    limits = _limits(grid["mean"])
    drawn = {name for name in (across, down) if name}
    return Frames(grid, drawn, lambda one: _map(one, across, down, limits))


@_view
def sweep_curves(record: xr.Dataset, quantity: str = "test_accuracy", along: str | None = None) -> Frames:
    """A quantity over the epochs, a line for each value of one swept setting; any others become sliders.

    Lines are means over the seeds, with a band of one standard deviation where there are several.

    Parameters
    ----------
    record
        From `open_sweep`.
    quantity
        A variable over the epochs.
    along
        The setting whose values are told apart; by default the first that has several.
    """
    values = record[quantity]
    if set(values.dims) & {"image", "masked_fraction"} or "epoch" not in values.dims:
        raise ValueError(
            f"{quantity} is no number of each epoch; its dimensions are {', '.join(map(str, values.dims))}"
        )
    along, _ = _two(values.isel(epoch=0), along, None)
    if values.sizes[along] > len(SERIES):
        raise ValueError(
            f"at most {len(SERIES)} lines can be told apart, {along} has {values.sizes[along]} values"
        )
    means = _over_seeds(_trained(record, values).compute(), {along})
    return Frames(means, {along, "epoch"}, lambda one: _curves(one, along))


@_view
def parallel_coordinates(record: xr.Dataset, quantity: str | xr.DataArray = "test_accuracy") -> Frames:
    """A line for each training, through its value of each swept setting to its quantity, which also colours it.

    Parameters
    ----------
    record, quantity
        As of `sweep_map`.
    """
    grid = _over_seeds(_of_each_training(record, quantity), set())
    return Frames(grid, set(map(str, grid.dims)), _coordinates)


def _of_each_training(record: xr.Dataset, quantity: str | xr.DataArray) -> xr.DataArray:
    """One number for each training."""
    values = record[quantity] if isinstance(quantity, str) else quantity
    if isinstance(quantity, str) and "epoch" in values.dims and "image" not in values.dims:
        values = values.isel(epoch=record.epochs_done.clip(min=1) - 1)
    values = _trained(record, values)
    left = [str(n) for n in values.dims if n not in json.loads(record.attrs["over"]) and n != "curve_fill"]
    if left:
        raise ValueError(
            f"{values.name} has {', '.join(left)} beside the swept settings; give one number for each training, such "
            'as sweep.k.isel(epoch=-1).median("image")'
        )
    return values.compute()


def _trained(record: xr.Dataset, values: xr.DataArray) -> xr.DataArray:
    """Values without those of trainings that failed, which may have got some way."""
    whole = record.problem == ""
    chosen = {
        name: values[name].item() for name in whole.dims if name in values.coords and not values[name].ndim
    }
    whole = whole.sel(chosen)
    return values.where(whole.any([name for name in whole.dims if name not in values.dims]))


def _two(values: xr.DataArray, x: str | None, y: str | None) -> tuple[str, str | None]:
    """The settings to draw over: those that are asked for, else the first that have several values."""
    for name in (x, y):
        if name is not None and name not in values.dims:
            known = ", ".join(map(str, values.dims))
            raise ValueError(
                f"{name} was not swept, or is chosen already; there are {known or 'no settings left'}"
            )
    if not values.dims:
        raise ValueError(
            "there is one training alone, and nothing to compare: its settings have one value each"
        )
    several = sorted(map(str, values.dims), key=lambda name: (name == "seed", values.sizes[name] == 1))
    free = [name for name in several if name not in (x, y)]
    x = x or free.pop(0)
    return x, y or next((name for name in free if name != "seed" and values.sizes[name] > 1), None)


def _over_seeds(values: xr.DataArray, drawn: Collection[str | None]) -> xr.Dataset:
    """Mean, standard deviation and number of what is known of the seeds; each seed by itself where they are drawn."""
    over = "seed" if "seed" in values.dims and "seed" not in drawn else "itself"
    several = values if over == "seed" else values.expand_dims(over)
    # Not by NumPy's means without NaN: in threads, their warnings of what is empty come through.
    n = several.notnull().sum(over)
    mean = several.sum(over) / n.where(n > 0)
    spread = np.sqrt(((several - mean) ** 2).sum(over) / (n - 1).where(n > 1))
    found = xr.Dataset({"mean": mean.assign_attrs(values.attrs), "spread": spread, "n": n})
    return found.assign_attrs(title=_title(found), quantity=str(values.name or "quantity"))


def _limits(values: xr.DataArray) -> tuple[float, float]:
    known = values.values[np.isfinite(values.values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _title(grid: xr.Dataset) -> str:
    """What is drawn, its unit, and of how many seeds it is the mean."""
    unit = grid["mean"].attrs.get("units", "1")
    counts = grid.n.values[grid.n.values > 0]
    least, most = (int(counts.min()), int(counts.max())) if counts.size else (0, 0)
    seeds = "" if most <= 1 else f", mean of {most if least == most else f'{least} to {most}'} seeds"
    return f"{short_name(grid['mean'])}{'' if unit == '1' else f' ({unit})'}{seeds}"


def _map(grid: xr.Dataset, across: str, down: str | None, limits: tuple[float, float]) -> Sketch:
    rows = grid if down is not None else grid.expand_dims("row")
    mean, n = (rows[name].transpose(down or "row", across).values for name in ("mean", "n"))
    low, high = limits
    known = np.isfinite(mean)
    shares = np.where(known, (mean - low) / (high - low), 0)
    rgba = np.where(known[..., None], (255 * _COLOURS(_DARKEST * shares)).round(), _UNKNOWN).astype(np.uint8)
    tiles = np.broadcast_to(rgba[:, :, None, None], (*mean.shape, _TILE, _TILE, 4))
    digits = int(np.clip(1 - np.floor(np.log10(high - low)), 1, 4))
    texts = [f"{value:.{digits}f}" if np.isfinite(value) else "–" for value in mean.ravel()]
    names = (
        [] if down is None else [f"{symbol(down)} = {_told(value)}" for value in grid[down].values.tolist()]
    )
    sketch = picture_grid.sketch(
        list(tiles),
        titles=[f"{symbol(across)} = {_told(value)}" for value in grid[across].values.tolist()],
        row_labels=names,
        texts=[f"{text}, n = {count}" for text, count in zip(texts, n.ravel().tolist(), strict=True)],
        label=wrapped(f"{grid.attrs['title']}, {low:.{digits}f} (pale) to {high:.{digits}f}"),
    )
    readable = mean.shape[1] <= _MOST_COLUMNS
    y, x = np.indices(mean.shape).reshape(2, -1)[:, : mean.size * readable]
    return sketch._replace(layers=(*sketch.layers, words("Cell value", x + 0.5, -y - 0.5, texts[: len(x)])))


def _curves(means: xr.Dataset, along: str) -> Sketch:
    epochs, layers = means.epoch.values, list[Layer]()
    for i, value in enumerate(means[along].values.tolist(), start=1):
        mean, spread = (means[name].isel({along: i - 1}).values for name in ("mean", "spread"))
        shown = np.isfinite(spread)
        layers.append(band(f"Series {i} band", epochs[shown], (mean - spread)[shown], (mean + spread)[shown]))
        layers.append(curve(f"Series {i}", epochs, mean, f"{symbol(along)} = {_told(value)}"))
    told = ", ± standard deviation" if np.isfinite(means.spread.values).any() else ""
    x = axis(means.epoch, (0, None))
    y = axis(means["mean"].rename(means.attrs["quantity"]))
    return Sketch("Sweep curves", wrapped(f"{means.attrs['title']}{told}"), x, y, tuple(layers))


def _coordinates(grid: xr.Dataset) -> Sketch:
    names = [str(name) for name in grid["mean"].dims] or ["seed"]
    values, low, high = grid["mean"].values, *_limits(grid["mean"])
    lines: dict[int, list[tuple[list[float], list[float]]]] = {shade: [] for shade in range(len(SHADES))}
    for place, value in np.ndenumerate(values):
        if np.isfinite(value):
            share = (value - low) / (high - low)
            heights = [_height(i, n) for i, n in zip(place, values.shape, strict=True)] or [0.5]
            shade = min(int(share * len(SHADES)), len(SHADES) - 1)
            lines[shade].append(([*range(len(heights) + 1), np.nan], [*heights, share, np.nan]))
    edges = np.linspace(low, high, len(SHADES) + 1)
    uprights = [(x, y) for x in range(len(names) + 1) for y in (0.0, 1.0, np.nan)]
    layers: list[Layer] = [curve("Bound", [x for x, _ in uprights], [y for _, y in uprights])]
    for shade, found in lines.items():
        x, y = (np.concatenate([*(line[i] for line in found), []]) for i in (0, 1))
        layers.append(curve(f"Shade {shade + 1}", x, y, f"{edges[shade]:.4g} … {edges[shade + 1]:.4g}"))
    left = list[tuple[float, float, str]]()  # where no line is; between the axes, texts stand clear of most
    right = [(len(names) + 0.03, height, f"{value:.4g}") for height, value in ((0.0, low), (1.0, high))]
    for i, name in enumerate(names):
        ticks = grid[name].values.tolist() if name in grid.dims else []
        for j, tick in enumerate(ticks):
            height = _height(j, len(ticks))
            if i == 0:
                left.append((-0.03, height, _told(tick)))
            else:
                right.append((i + 0.03, height + (0.06 if height else -0.06), _told(tick)))
    for role, texts in (("Name", left), ("Axis value", right)):
        layers.append(
            words(role, [x for x, _, _ in texts], [y for _, y, _ in texts], [t for _, _, t in texts])
        )
    heads = [*(symbol(name) for name in names), short_name(grid["mean"])]
    layers.append(words("Cell text", range(len(heads)), [-0.2] * len(heads), heads))
    ends = (
        Axis("place", "setting", None, (-0.4, len(names) + 0.5)),
        Axis("height", "value", None, (-0.26, 1.12)),
    )
    return Sketch("Parallel coordinates", grid.attrs["title"], *ends, tuple(layers))


def _height(place: int, n: int) -> float:
    """Where a value stands on its axis, 0 … 1: in equal steps, whatever the numbers are."""
    return place / (n - 1) if n > 1 else 0.5


def _told(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
