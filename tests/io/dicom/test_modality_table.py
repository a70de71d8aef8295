"""Modality LUT Sequence: real values by a table instead of slope and intercept."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from sammed.errors import UnreadableFileError
from sammed.io.dicom.images.read import read
from tests.io.dicom.conftest import assert_same, remarks
from tests.io.dicom.make_series import make_series, phantom


def table(values, first=0, bits=16, vr="US", count=None):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(values) if count is None else count, first, bits])
    if vr == "OW":
        values = np.asarray(values, "<u2" if bits > 8 else "u1").tobytes()
    item.add_new("LUTData", vr, values)
    item.ModalityLUTType = "OD"
    return item


def make(folder, voxels, *items, **options):
    def edit(ds, k):
        for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
            if keyword in ds:
                delattr(ds, keyword)
        ds.ModalityLUTSequence = list(items)

    return make_series(folder, voxels=voxels, intercepts=0, edit=edit, **options)


@pytest.mark.parametrize("vr", ["US", "OW"])
@pytest.mark.parametrize(("first", "bits"), [(0, 16), (100, 16), (100, 8)])
def test_values_are_those_of_the_table(vr, first, bits, tmp_path):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**bits, 500).tolist()
    voxels = rng.integers(0, 700, (5, 7, 11)).astype(np.uint16)
    series = make(tmp_path, voxels, table(values, first, bits, vr))
    expected = np.array(values)[np.clip(voxels.astype(int) - first, 0, 499)]
    volume = read(tmp_path)
    assert_same(volume, expected, series.affine)
    assert remarks(volume) == (
        "5 of 5 slices have a Modality LUT (OD): values are those of the table",
    )


def test_signed_pixels(tmp_path):
    values = np.random.default_rng(0).integers(0, 60_000, 400)
    voxels = phantom(low=-300, high=300)
    series = make(tmp_path, voxels, table(values.tolist(), 65536 - 200))
    assert_same(read(tmp_path), values[np.clip(voxels + 200, 0, 399)], series.affine)


def test_65536_entries_are_written_as_0(tmp_path):
    values = np.arange(65536)[::-1]
    voxels = phantom(low=0, high=30_000).astype(np.uint16)
    series = make(tmp_path, voxels, table(values, count=0, vr="OW"))
    assert_same(read(tmp_path), values[voxels], series.affine)


@pytest.mark.parametrize(
    "items",
    [
        [table([1, 2, 3], count=9)],
        [table([1, 2, 3], bits=0)],
        [table([1, 2, 3]), table([1, 2, 3])],
        [Dataset()],
    ],
)
def test_broken_tables_are_refused(items, tmp_path):
    for item in items:
        item.LUTExplanation = "x"
    make(tmp_path, phantom(low=0), *items)
    with pytest.raises(UnreadableFileError, match="has a broken Modality LUT"):
        read(tmp_path)
