"""A picture as a function of a record: where the record has more dimensions than it draws, they become sliders."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Collection
from typing import Any, Protocol, cast

import xarray as xr

from smoot_explore.views.sketch import Axis, Sketch, element

_MOST_FRAMES = 100


Record = xr.Dataset | xr.DataArray


class View(Protocol):
    """What `view` makes: called, it gives a HoloViews element; ``sketch`` gives what `Live` shows and replaces."""

    sketch: Callable[..., Sketch]

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


def view(
    drawn: Collection[str] | None = None,
    *,
    uses: Collection[str] | None = None,
    prepare: Callable[[Any], xr.Dataset] | None = None,
) -> Callable[[Callable[..., Sketch]], View]:
    """Make a picture of a function that sketches one.

    Parameters
    ----------
    drawn
        The dimensions of its record that the picture draws; any others become key dimensions. None: it draws
        whatever it is given.
    uses
        The variables of its record that the picture draws: the dimensions of others are let alone. None: all of them.
    prepare
        Applied to what is given before it is drawn.
    """

    def made(sketch: Callable[..., Sketch]) -> View:
        def sketched(record: Any, *args: Any, **kwargs: Any) -> Sketch:
            record = record if prepare is None else prepare(record)
            if drawn is not None and isinstance(record, xr.Dataset | xr.DataArray):
                record = _without_single_values(record, _others(record, drawn, uses))
            return sketch(record, *args, **kwargs)

        @functools.wraps(sketch)
        def picture(record: Any, *args: Any, **kwargs: Any) -> Any:
            record = record if prepare is None else prepare(record)
            if drawn is None or not isinstance(record, xr.Dataset | xr.DataArray):
                return element(sketch(record, *args, **kwargs))
            return frames(record, drawn, lambda one: element(sketch(one, *args, **kwargs)), uses)

        picture.sketch = sketched  # type: ignore[attr-defined]
        return cast(View, picture)

    return made


def frames(
    record: Record, drawn: Collection[str], draw: Callable[[Any], Any], uses: Collection[str] | None = None
) -> Any:
    """What ``draw`` makes of a record; where the record has dimensions beside the ``drawn`` ones, one for each of
    their values, with the dimensions as keys.

    Returns
    -------
    hv.Element, hv.HoloMap, or for more than a hundred frames hv.DynamicMap

    Raises
    ------
    ValueError
        When one of the other dimensions is empty.
    """
    import holoviews as hv

    record, others = _keyed(record, drawn, uses)
    if not others:
        return draw(record)
    keys = [
        hv.Dimension(name, label=short_name(record[name]), values=record[name].values.tolist())
        for name in others
    ]

    def frame(*values: Any) -> Any:
        return draw(record.sel(dict(zip(others, values, strict=True))))

    if math.prod(record.sizes[name] for name in others) > _MOST_FRAMES:  # drawn when they are looked at
        return hv.DynamicMap(frame, kdims=keys, cache_size=1)
    everything = itertools.product(*(key.values for key in keys))
    return hv.HoloMap({values: frame(*values) for values in everything}, kdims=keys)


class Frames:
    """A picture for each value of the dimensions of a record that it does not draw.

    Attributes
    ----------
    keys
        The values of these dimensions, by name.
    """

    def __init__(self, record: xr.Dataset, drawn: Collection[str], sketch: Callable[[Any], Sketch]) -> None:
        self._of, self._drawn, self._sketch = record, drawn, sketch
        self._record, others = _keyed(record, drawn, None)
        self.keys: dict[str, list[Any]] = {name: self._record[name].values.tolist() for name in others}

    def at(self, **values: Any) -> Sketch:
        """The picture for one value of each key."""
        return self._sketch(self._record.sel(values))

    def element(self) -> Any:
        """All pictures, as of `frames`."""
        return frames(self._of, self._drawn, lambda one: element(self._sketch(one)))


def _keyed(record: Any, drawn: Collection[str], uses: Collection[str] | None) -> tuple[Any, list[str]]:
    """The record with a coordinate for each dimension that is a key, and these dimensions."""
    record = _without_single_values(record, _others(record, drawn, uses))
    others = _others(record, drawn, uses)
    for name in others:
        if not record.sizes[name]:
            raise ValueError(
                f"there is nothing to draw: the record has no {name} (dimensions {dict(record.sizes)})"
            )
    unnamed = {name: range(record.sizes[name]) for name in others if name not in record.coords}
    return record.assign_coords(unnamed), others


def _others(record: Record, drawn: Collection[str], uses: Collection[str] | None) -> list[str]:
    """The dimensions, of the variables that the picture uses, that it does not draw."""
    if isinstance(record, xr.Dataset) and uses is not None:
        dims = [d for name in uses if name in record for d in record[name].dims]
    else:
        dims = list(record.dims)
    return [str(name) for name in dict.fromkeys(dims) if name not in drawn]


def _without_single_values(record: Record, others: Collection[str]) -> Record:
    """Of a slider with one value nothing can be chosen."""
    return record.squeeze([name for name in others if record.sizes[name] == 1])


def axis(
    variable: xr.DataArray, range: tuple[float | None, float | None] = (None, None), unit: str | None = None
) -> Axis:
    """An axis with the long name and the unit of a variable of a record.

    Parameters
    ----------
    variable
        With the attributes ``long_name`` and ``units``, as docs/schema.md has them.
    range
        Where the axis begins and ends; None takes it from the data.
    unit
        Another unit than the record's, for values that the picture converts.
    """
    unit = unit or variable.attrs.get("units")
    return Axis(str(variable.name), short_name(variable), None if unit in (None, "1") else unit, range)


def short_name(variable: xr.DataArray) -> str:
    """The long name of a variable without what explains it after a comma."""
    return str(variable.attrs.get("long_name", variable.name)).partition(",")[0]
