import json
import os
import shutil

import h5py
import numpy as np
import pytest
import xarray as xr

from smoot_explore import SchemaError, bundled_runs, k_landscape, masking_curves, open_run, schema, validate
from smoot_explore.data.load import bundled_path
from smoot_explore.schema import read_dataset, write_dataset


@pytest.fixture
def curves(data, linear):
    return masking_curves(linear, data.test[:4], 2)


@pytest.mark.parametrize("fill", ["black", ["black", "mean"]])
def test_curves_come_back_from_their_file_as_they_were(tmp_path, data, linear, fill):
    curves = masking_curves(linear, data.test[:4], 2, fill=fill)
    write_dataset(tmp_path / "curves.nc", curves)
    read = read_dataset(tmp_path / "curves.nc")
    xr.testing.assert_equal(read, curves)
    assert read.correct.dtype == bool
    assert read.probability.attrs == curves.probability.attrs
    assert dict(read.attrs) == curves.attrs


def test_what_is_written_is_compressed(tmp_path, data, linear):
    curves = masking_curves(linear, data.test[:4], 2)
    many = curves.isel(image=np.zeros(10_000, int))
    write_dataset(tmp_path / "curves.nc", many)
    assert (tmp_path / "curves.nc").stat().st_size < many.nbytes / 10
    xr.testing.assert_equal(read_dataset(tmp_path / "curves.nc"), many)


def test_a_landscape_comes_back_from_its_file_as_it_was(tmp_path, data, linear):
    land = k_landscape(linear, data.test[:3], 2, draws=1)
    write_dataset(tmp_path / "landscape.nc", land)
    xr.testing.assert_equal(read_dataset(tmp_path / "landscape.nc"), land)


def test_every_variable_has_a_unit_and_a_long_name(curves):
    for variable in curves.variables.values():
        assert {"units", "long_name"} <= set(variable.attrs)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: c.drop_vars("correct"), "not a valid curves: correct is missing"),
        (lambda c: c.drop_vars("label"), "label is missing"),
        (lambda c: c.rename(image="sample"), "probability must have the dimensions"),
        (lambda c: c.assign(correct=c.correct.astype(float)), "correct has the type float64"),
        (
            lambda c: c.assign(probability=c.probability * 100),
            "probability must be in '1', is in None",
        ),
        (lambda c: c.assign_attrs(schema="other"), "given 'other': not written by smoot_explore"),
        (lambda c: c.assign_attrs(schema_version=99), "schema version 99 cannot be read"),
    ],
)
def test_what_breaks_the_schema_is_named(curves, damage, message):
    with xr.set_options(keep_attrs=False), pytest.raises(SchemaError, match=message):
        validate(damage(curves))


def test_what_a_record_may_have_is_checked_when_it_is_there():
    record = bundled_runs()[0].record().drop_vars(["accuracy_drop", "masked_fraction"])
    drops = (("epoch", "masked_fraction"), np.ones((8, 3)), {"units": "%"})
    fractions = ("masked_fraction", [0, 0.5, 1], {"units": "1"})
    whole = record.assign(accuracy_drop=drops).assign_coords(masked_fraction=fractions)
    assert validate(record) is record
    assert validate(whole) is whole
    with pytest.raises(SchemaError, match=r"not a valid record: masked_fraction is missing$"):
        validate(whole.drop_vars("masked_fraction"))
    with pytest.raises(SchemaError, match=r"not a valid record: accuracy_drop is missing$"):
        validate(whole.drop_vars("accuracy_drop"))
    with pytest.raises(SchemaError, match="accuracy_drop must be in '%', is in '1'"):
        validate(whole.assign(accuracy_drop=(*drops[:2], {"units": "1"})))


def test_everything_that_is_wrong_is_listed_at_once(curves):
    with pytest.raises(SchemaError, match=r"probability is missing; .*label is missing"):
        validate(curves.drop_vars(["probability", "label"]))


def test_an_invalid_data_set_is_not_written(tmp_path, curves):
    with pytest.raises(SchemaError):
        write_dataset(tmp_path / "x.nc", curves.drop_vars("label"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"not HDF5", None])
def test_a_damaged_file_is_named(tmp_path, curves, content):
    path = tmp_path / "curves.nc"
    write_dataset(path, curves)
    path.write_bytes(path.read_bytes()[:900] if content is None else content)
    with pytest.raises(SchemaError, match=r"curves\.nc cannot be read"):
        read_dataset(path)


def test_a_foreign_netcdf_file_is_refused(tmp_path):
    xr.Dataset({"temperature": ("x", np.ones(3))}).to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    with pytest.raises(SchemaError, match=r"x\.nc: .*not written by smoot_explore"):
        read_dataset(tmp_path / "x.nc")


def steal_by_external_storage(file, secret):
    del file["probability"]
    file.create_dataset("probability", (4,), "u1", external=[(str(secret), 0, 4)])


def steal_by_virtual_data(file, secret):
    with h5py.File(secret.with_suffix(".h5"), "w") as other:
        other["probability"] = np.arange(4)
    layout = h5py.VirtualLayout((4,), int)
    layout[:] = h5py.VirtualSource(secret.with_suffix(".h5"), "probability", (4,))
    del file["probability"]
    file.create_virtual_dataset("probability", layout)


def steal_by_a_link(file, secret):
    del file["probability"]
    file["probability"] = h5py.ExternalLink(str(secret), "/probability")


def steal_in_a_group(file, secret):
    group = file.create_group("more")
    group.create_dataset("probability", (4,), "u1", external=[(str(secret), 0, 4)])


@pytest.mark.parametrize(
    ("steal", "message"),
    [
        (steal_by_external_storage, "'probability' is stored in another file"),
        (steal_by_virtual_data, "'probability' is stored in another file"),
        (steal_by_a_link, "'probability' is a link"),
        (steal_in_a_group, "'more' is no array"),
    ],
)
def test_a_file_cannot_show_what_lies_in_other_files(tmp_path, curves, steal, message):
    secret, path = tmp_path / "secret", tmp_path / "curves.nc"
    secret.write_bytes(b"keys")
    write_dataset(path, curves)
    with h5py.File(path, "a") as file:
        steal(file, secret)
    with pytest.raises(SchemaError, match=f"curves.nc cannot be read .*{message}"):
        read_dataset(path)


def test_a_file_that_unpacks_to_more_than_any_record_is_refused_unread(tmp_path, curves):
    path = tmp_path / "curves.nc"
    write_dataset(path, curves)
    with h5py.File(path, "a") as file:
        file.create_dataset("zeros", (2**35,), "u1", chunks=(2**20,), compression="gzip")
    assert path.stat().st_size < 100_000
    with pytest.raises(SchemaError, match="unpacks to 32 GiB"):
        read_dataset(path)


def test_a_file_of_version_1_is_read_as_one_of_version_2(tmp_path, data, linear):
    """There the attribution was called method, which `xr.Dataset.sel` takes for an option of its own."""
    curves = masking_curves(linear, data.test[:4], 2, attribution=["gradient", "random"])
    old = curves.rename(attribution="method").assign_attrs(schema_version=1)
    old.to_netcdf(tmp_path / "curves.nc", engine="h5netcdf")
    xr.testing.assert_identical(read_dataset(tmp_path / "curves.nc"), curves)
    assert curves.sel(attribution="random").attribution.item() == "random"


def test_a_run_of_version_1_opens(tmp_path):
    copied = shutil.copytree(bundled_path("runs/smoot"), tmp_path / "smoot")
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "schema_version": 1}))
    for name, coordinate in (("curves/test.nc", True), ("landscape.nc", True), ("record.nc", False)):
        new = xr.load_dataset(copied / name, engine="h5netcdf")
        old = new.rename(attribution="method") if coordinate else new
        old.assign_attrs(schema_version=1).to_netcdf(copied / name, engine="h5netcdf")
    run = open_run(copied)
    assert "attribution" in run.curves().dims
    assert run.landscape().attribution.item() == "gradient"
    assert validate(run.record()).sizes["epoch"] == run.epochs


def test_what_is_checked_is_what_is_read(tmp_path, curves, monkeypatch):
    """A file that is exchanged between the check and the reading would get round the check."""
    path, other = tmp_path / "curves.nc", tmp_path / "other.nc"
    write_dataset(path, curves)
    write_dataset(other, curves.assign(probability=curves.probability.copy(data=0 * curves.probability)))
    check = schema._check_storage
    monkeypatch.setattr(schema, "_check_storage", lambda content: (check(content), os.replace(other, path)))
    xr.testing.assert_identical(read_dataset(path), curves)
