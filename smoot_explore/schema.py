"""The xarray schema of everything that is measured: build, validate, write, read (docs/schema.md)."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from smoot_explore.files import FileError, read_bytes, write_atomically

SCHEMA_VERSION = 2
READABLE_VERSIONS = (1, 2)
_LARGEST_BYTES = 16 * 2**30  # of a file's unpacked numbers; 10,000 epochs of 100,000 images take half


class SchemaError(ValueError):
    """A data set that does not follow its schema."""


@dataclass(frozen=True)
class Variable:
    """What a schema says of one variable or coordinate."""

    dims: tuple[str, ...]
    kinds: str  # NumPy's kinds of dtype: f float, i integer, b bool, U text
    units: str  # "1" for numbers without a unit
    long_name: str
    or_units: str = ""  # what it may be in instead

    def told(self, k_unit: str = "pixels") -> dict[str, str]:
        """Its attributes, where k counts pixels or patches."""
        if self.units != "pixels":
            return {"units": self.units, "long_name": self.long_name}
        return {"units": k_unit, "long_name": self.long_name.replace("pixels", k_unit)}


@dataclass(frozen=True)
class Schema:
    """Variables and coordinates of one kind of data set.

    Dimensions in ``optional_dims`` may be missing; their coordinate is then a single value. What ``extra`` and
    ``extra_coords`` name may be missing too, a coordinate together with the variables over it.
    """

    name: str
    variables: Mapping[str, Variable]
    coords: Mapping[str, Variable]
    optional_dims: tuple[str, ...] = ()
    extra: Mapping[str, Variable] = field(default_factory=dict)
    extra_coords: Mapping[str, Variable] = field(default_factory=dict)

    @property
    def all_variables(self) -> dict[str, Variable]:
        """Those that must be there, then those that may be missing."""
        return {**self.variables, **self.extra}

    @property
    def all_coords(self) -> dict[str, Variable]:
        """Those that must be there, then those that may be missing."""
        return {**self.coords, **self.extra_coords}


_IMAGE_COORDS = {
    "image_id": Variable(("image",), "iu", "1", "position of the image in the full data set"),
    "label": Variable(("image",), "iu", "1", "label of the image"),
}
_PROTOCOL_COORDS = {
    "attribution": Variable((), "UO", "1", "attribution method"),
    "fill": Variable((), "UO", "1", "fill of the masked pixels"),
}

_MASKED_FRACTION = Variable(("masked_fraction",), "f", "1", "masked share of the pixels")

RECORD = Schema(
    "record",
    {
        "k": Variable(
            ("epoch", "image"), "f", "pixels", "number of masked pixels after the epoch", "patches"
        ),
        "delta": Variable(("epoch", "image"), "f", "1", "change Δ of equation (3) at the image's visit"),
        "train_loss": Variable(("epoch",), "f", "nat", "training loss, CE + λ·KL"),
        "cross_entropy": Variable(("epoch",), "f", "nat", "cross-entropy of the clean training images"),
        "kl": Variable(("epoch",), "f", "nat", "KL divergence of clean from masked output"),
        "train_accuracy": Variable(("epoch",), "f", "%", "training accuracy, in train mode"),
        "test_accuracy": Variable(("epoch",), "f", "%", "test accuracy"),
        "duration_seconds": Variable(("epoch",), "f", "s", "duration of the training steps"),
    },
    {"epoch": Variable(("epoch",), "iu", "1", "epoch, counted from 1"), **_IMAGE_COORDS},
    extra={
        "probability": Variable(
            ("epoch", "image"), "f", "1", "probability of the label at the image's visit, in train mode"
        ),
        "correct": Variable(("epoch", "image"), "b", "1", "whether the image was recognised then"),
        "accuracy_drop": Variable(
            ("epoch", "masked_fraction"), "f", "%", "accuracy on the probe's test images after the epoch"
        ),
    },
    extra_coords={"masked_fraction": _MASKED_FRACTION},
)

_NUMBER = {"correct": "f"}  # NaN where there is no such epoch
SWEEP = Schema(
    "sweep",
    {
        **{
            name: replace(variable, kinds=_NUMBER.get(name, variable.kinds))
            for name, variable in RECORD.all_variables.items()
        },
        "k_median": Variable(("epoch",), "f", "pixels", "median k of the training images", "patches"),
        "epochs_done": Variable((), "iu", "1", "completed epochs"),
        "drop_auc": Variable((), "f", "%", "area under the accuracy drop after the last completed epoch"),
        "run": Variable((), "UO", "1", "folder of the run"),
        "problem": Variable((), "UO", "1", "why the training failed; empty where it did not"),
    },
    RECORD.all_coords,
    extra={
        "curves_auc": Variable(
            ("curve_fill",), "f", "%", "area under the accuracy drop of the masking curves, lower is steeper"
        )
    },
    extra_coords={"curve_fill": Variable(("curve_fill",), "UO", "1", "fill of the masking curves")},
)
"""The dimensions of the swept settings, which its attribute ``over`` names, come before these."""

CURVES = Schema(
    "curves",
    {
        "probability": Variable(
            ("image", "masked_fraction"), "f", "1", "probability of the label's class, p_y"
        ),
        "correct": Variable(
            ("image", "masked_fraction"), "b", "1", "whether the most probable class is the label"
        ),
    },
    {
        "masked_fraction": _MASKED_FRACTION,
        **_IMAGE_COORDS,
        **_PROTOCOL_COORDS,
    },
    optional_dims=("attribution", "fill"),
)

LANDSCAPE = Schema(
    "landscape",
    {
        "label_change": Variable(("image", "k"), "f", "1", "change Δ₁ of the label's probability"),
        "runners_up_change": Variable(
            ("image", "k"), "f", "1", "change Δ₂..ₙ of the runners-up's probabilities"
        ),
    },
    {
        "k": Variable(("k",), "fiu", "pixels", "number of masked pixels", "patches"),
        **_IMAGE_COORDS,
        **_PROTOCOL_COORDS,
    },
)

SCHEMAS = {schema.name: schema for schema in (RECORD, SWEEP, CURVES, LANDSCAPE)}


def labelled(
    schema: Schema,
    variables: Mapping[str, np.ndarray],
    coords: Mapping[str, Any],
    attrs: Mapping[str, Any],
    k_unit: str = "pixels",
) -> xr.Dataset:
    """Arrays as the data set of a schema, with units and long names.

    ``variables`` and ``coords`` hold what the schema asks for, and may hold what it names as extra. A
    coordinate of an optional dimension given as a list adds that dimension in front, in the order of the
    schema; given as one value, it becomes a scalar coordinate. Attributes that are neither text nor
    numbers are stored as JSON. ``k_unit`` is what k counts, pixels or patches.
    """
    extra = tuple(d for d in schema.optional_dims if not isinstance(coords[d], str))

    def described(name: str, variable: Variable, values: Any) -> xr.Variable:
        own = variable.dims or tuple(d for d in extra if d == name)
        dims = (extra + own) if name in schema.all_variables else own
        return xr.Variable(dims, values, variable.told(k_unit))

    return xr.Dataset(
        {n: described(n, schema.all_variables[n], values) for n, values in variables.items()},
        {n: described(n, schema.all_coords[n], values) for n, values in coords.items()},
        {
            "schema": schema.name,
            "schema_version": SCHEMA_VERSION,
            **{n: v if isinstance(v, str | int | float) else as_json(v) for n, v in attrs.items()},
        },
    )


def as_json(value: Any) -> str:
    """JSON for an attribute: NetCDF attributes are text or numbers."""
    return json.dumps(value, ensure_ascii=False)


def start_config(record: xr.Dataset) -> dict[str, Any]:
    """The settings that a training record started with; of a sweep, with those of the cell that was selected."""
    start, swept = json.loads(record.attrs["config"])["start"], json.loads(record.attrs.get("over", "{}"))
    return {**start, **{name: record[name].item() for name in swept if not record[name].ndim}}


def validate(dataset: xr.Dataset) -> xr.Dataset:
    """The data set itself, if it follows its schema.

    Raises
    ------
    SchemaError
        Lists everything that is wrong.
    """
    schema = SCHEMAS.get(dataset.attrs.get("schema", ""))
    if schema is None:
        raise SchemaError(
            f"the attribute 'schema' must be one of {', '.join(SCHEMAS)}, "
            f"given {dataset.attrs.get('schema')!r}: not written by smoot_explore"
        )
    version = dataset.attrs.get("schema_version")
    if version != SCHEMA_VERSION:
        raise SchemaError(
            f"schema version {version!r} cannot be read, only {SCHEMA_VERSION}; "
            "use the version of smoot_explore that wrote it"
        )
    expected = {**schema.variables, **schema.coords}
    given = [name for name in {**schema.extra, **schema.extra_coords} if name in dataset.variables]
    for name in given:
        dims = {*schema.all_variables[name].dims} if name in schema.extra else {name}
        over = {n: v for n, v in schema.extra.items() if dims & set(schema.extra_coords) & set(v.dims)}
        expected |= over | {n: v for n, v in schema.extra_coords.items() if n in dims}
        expected |= {name: {**schema.extra, **schema.extra_coords}[name]}
    problems = [
        problem
        for name, variable in expected.items()
        for problem in _problems(dataset, name, variable, schema)
    ]
    if problems:
        raise SchemaError(f"not a valid {schema.name}: {'; '.join(problems)}")
    return dataset


def write_dataset(path: Path, dataset: xr.Dataset) -> None:
    """Write a valid data set as NetCDF, atomically."""
    validate(dataset)
    # Bytes of equal weight put together (shuffle) compress better: a record of 10,000 images and 8 epochs of SMOOT
    # takes 0.57 MB instead of 0.82 MB, in the same time. Text is left alone: HDF5 keeps it elsewhere.
    encoding = {
        name: {"zlib": True, "complevel": 4, "shuffle": True}
        for name, variable in dataset.variables.items()
        if variable.ndim and variable.dtype.kind in "biuf"
    }
    write_atomically(
        path, lambda temporary: dataset.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)
    )


def read_dataset(path: Path) -> xr.Dataset:
    """A data set written by `write_dataset`, validated and in memory.

    Raises
    ------
    FileNotFoundError, SchemaError
        With the file's name and what is wrong with it.
    """
    with _stored(path) as content:
        return validate(_upgraded(xr.load_dataset(content, engine="h5netcdf")))


def read_variable(path: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The numbers of one variable in a file of `write_dataset`; the others are not unpacked.

    Raises
    ------
    FileNotFoundError, SchemaError
        As of `read_dataset`; also when there is no such variable of that shape.
    """
    with _stored(path) as content, h5py.File(content, "r") as file:
        if name not in file or file[name].shape != shape:
            raise SchemaError(f"it has no {name} of the shape {shape}")
        return file[name][()]


@contextmanager
def _stored(path: Path) -> Iterator[io.BytesIO]:
    """The content of a NetCDF file that holds all its numbers itself; errors name the file."""
    if not os.path.lexists(path):
        raise FileNotFoundError(f"there is no file {path}")
    try:
        content = io.BytesIO(read_bytes(path, _LARGEST_BYTES))  # once: what is checked is what is read
        _check_storage(content)
        yield content
    except SchemaError as error:
        raise SchemaError(f"{path}: {error}") from None
    except Exception as error:  # HDF5 reports damage by many types
        raise SchemaError(f"{path} cannot be read ({error}); delete it or make it again") from error


def _upgraded(dataset: xr.Dataset) -> xr.Dataset:
    """The data set as version 2 has it. In version 1 the attribution was called method."""
    if dataset.attrs.get("schema_version") != 1:
        return dataset
    renamed = dataset.rename(method="attribution") if "method" in dataset.coords else dataset
    return renamed.assign_attrs(schema_version=SCHEMA_VERSION)


def _check_storage(content: io.BytesIO) -> None:
    """Raise unless all numbers lie in the file itself: HDF5 can take them from any other file of the computer."""
    with h5py.File(content, "r") as file:
        unpacked = 0
        for name in file:
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise FileError(f"{name!r} is a link, and only numbers in the file itself are read")
            item = file[name]
            if not isinstance(item, h5py.Dataset):
                raise FileError(f"{name!r} is no array")
            if item.external or item.is_virtual:
                raise FileError(
                    f"{name!r} is stored in another file, and only numbers in the file itself are read"
                )
            unpacked += item.nbytes
        if unpacked > _LARGEST_BYTES:
            raise FileError(f"it unpacks to {unpacked / 2**30:.0f} GiB, more than any record")


def _problems(dataset: xr.Dataset, name: str, variable: Variable, schema: Schema) -> list[str]:
    where = dataset.data_vars if name in schema.all_variables else dataset.coords
    if name not in where:
        return [f"{name} is missing"]
    array = where[name]
    problems = []
    swept = json.loads(dataset.attrs.get("over", "{}")) if name in schema.all_variables else ()
    dims = tuple(d for d in array.dims if d not in schema.optional_dims and d not in swept)
    if set(dims) != set(variable.dims):
        problems.append(f"{name} must have the dimensions {variable.dims}, has {array.dims}")
    if array.dtype.kind not in variable.kinds:
        problems.append(f"{name} has the type {array.dtype}")
    accepted = [variable.units, *filter(None, [variable.or_units])]
    if array.attrs.get("units") not in accepted:
        problems.append(
            f"{name} must be in {' or '.join(map(repr, accepted))}, is in {array.attrs.get('units')!r}"
        )
    return problems
