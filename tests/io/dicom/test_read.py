"""Simple series: every voxel in its place with its value."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from sammed.errors import InputError, UnreadableFileError, UnsupportedFormatError
from sammed.imaging.volume import HeaderWindow
from sammed.io.dicom.images.read import read, survey
from sammed.io.dicom.source import DicomSource
from tests.io.dicom.conftest import assert_same, remarks
from tests.io.dicom.make_series import (
    make_series,
    make_slice,
    oblique_affine,
    phantom,
    write,
)


def orientations() -> list[np.ndarray]:
    """All 24 right-handed axis orders of a double-oblique affine, and 24 stacked the other way."""
    base, found = oblique_affine(), []
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            affine = base.copy()
            affine[:3, :3] = base[:3, list(axes)] * np.array(signs)
            found.append(affine)
    return found


@pytest.mark.parametrize("affine", orientations())
def test_every_orientation(affine, tmp_path):
    series = make_series(tmp_path, affine=affine)
    assert_same(read(tmp_path), series.voxels, series.affine)


def test_names_and_instance_numbers_do_not_matter(tmp_path):
    def edit(ds, k):
        ds.InstanceNumber = 100 - k
        ds.SliceLocation = "0"

    series = make_series(tmp_path, edit=edit, name=lambda k: f"{(3 * k) % 5}/noext{9 - k}")
    volume = read(tmp_path)
    assert_same(volume, series.voxels, series.affine)
    assert remarks(volume) == ()


def test_integers_stay_small(tmp_path):
    make_series(tmp_path)
    volume = read(tmp_path)
    assert volume.voxels.dtype == np.int16
    assert volume.modality == "CT"
    assert volume.source == tmp_path


@pytest.mark.parametrize(
    ("dtype", "bits"), [("u1", 8), ("i1", 8), ("u2", 12), ("i2", 12), ("u2", 16), ("i2", 16)]
)
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_stored_types(dtype, bits, syntax, tmp_path):
    low, high = (0, 2**bits - 1) if dtype[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    voxels = np.random.default_rng(1).integers(low, high + 1, (5, 7, 11)).astype(dtype)
    voxels[0, 0, :2] = low, high
    stored = voxels
    if syntax == ExplicitVRBigEndian and voxels.dtype.itemsize == 2:
        stored = voxels.byteswap().view(voxels.dtype)  # put_pixels writes little endian
    series = make_series(tmp_path, voxels=stored, bits=bits, intercepts=0, syntax=syntax)
    assert_same(read(tmp_path), voxels, series.affine)


def test_unused_bits_are_ignored(tmp_path):
    """Overlays in the high bits, and values that are not sign extended."""
    voxels = np.random.default_rng(2).integers(-2048, 2048, (5, 7, 11)).astype(np.int16)
    stored = ((voxels & 0x0FFF) | 0x5000).astype(np.int16)
    series = make_series(tmp_path, voxels=stored, bits=12, intercepts=0)
    assert_same(read(tmp_path), voxels, series.affine)


def test_high_bit_above_the_stored_bits(tmp_path):
    voxels = np.random.default_rng(2).integers(0, 4096, (5, 7, 11)).astype(np.uint16)

    def edit(ds, k):
        ds.HighBit = 15

    series = make_series(tmp_path, voxels=voxels << 4, bits=12, intercepts=0, edit=edit)
    assert_same(read(tmp_path), voxels, series.affine)


def test_rescale_of_each_slice(tmp_path):
    slopes, intercepts = [0.5, 1, 2, 3.25, 0.1], [-3, 0, 10, 0.5, 7]
    series = make_series(tmp_path, slopes=slopes, intercepts=intercepts, modality="PT")
    volume = read(tmp_path)
    assert volume.voxels.dtype == np.float32
    assert_same(volume, series.voxels, series.affine, atol=1e-3)


def test_whole_rescale_of_each_slice_stays_int16(tmp_path):
    voxels = phantom(low=-200, high=200)
    series = make_series(
        tmp_path, voxels=voxels, slopes=[1, 2, 3, 4, 5], intercepts=[0, 1, 2, 3, 4]
    )
    volume = read(tmp_path)
    assert volume.voxels.dtype == np.int16
    assert_same(volume, series.voxels, series.affine)


@pytest.mark.parametrize(
    ("high", "intercept", "dtype"),
    [(40_000, 0, np.uint16), (65_536, -1024, np.int32), (33_000, -1024, np.int16)],
)
def test_widened_when_a_late_slice_needs_it(high, intercept, dtype, tmp_path):
    voxels = phantom(low=0, high=1000).astype(np.uint16)
    voxels[4, 3, 5] = high - 1
    series = make_series(tmp_path, voxels=voxels, intercepts=intercept)
    volume = read(tmp_path)
    assert volume.voxels.dtype == dtype
    assert_same(volume, series.voxels, series.affine)


def test_32_bits(tmp_path):
    voxels = phantom().astype(np.int32) * 1000
    series = make_series(tmp_path, voxels=voxels)
    volume = read(tmp_path)
    assert volume.voxels.dtype == np.int32
    assert_same(volume, series.voxels, series.affine)


def test_windows_of_the_header(tmp_path):
    def edit(ds, k):
        ds.WindowCenter, ds.WindowWidth = ["40", "-600"], ["400", "1500"]
        ds.WindowCenterWidthExplanation = ["SOFT", "LUNG"]

    make_series(tmp_path, edit=edit)
    assert read(tmp_path).windows == (
        HeaderWindow(40, 400, "SOFT"),
        HeaderWindow(-600, 1500, "LUNG"),
    )


def test_memory_is_that_of_the_volume(tmp_path):
    voxels = phantom((40, 256, 256), low=0, high=2000).astype(np.uint16)
    make_series(tmp_path, voxels=voxels)
    read(tmp_path)  # imports
    tracemalloc.start()
    try:
        volume = read(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert volume.voxels.nbytes == voxels.nbytes
    assert peak < 1.6 * voxels.nbytes


def test_a_single_file_is_a_single_slice(tmp_path):
    series = make_series(tmp_path, name=lambda k: f"{k}.dcm")
    volume = read(tmp_path / "2.dcm")
    affine = series.affine.copy()
    affine[:3, 3] += 2 * affine[:3, 0]
    assert_same(volume, series.voxels[2:3], affine)
    assert remarks(volume) == ("a single slice: its spacing is its thickness",)


def test_source_knows_the_slices(tmp_path):
    affine = oblique_affine()
    affine[:3, 0] *= -1  # stacked against the normal: the file array is turned round
    series = make_series(tmp_path, affine=affine)
    source = read(tmp_path).grid.native
    assert isinstance(source, DicomSource)
    assert source.series_uid == series.uid
    assert source.frames is None
    positions = [[float(v) for v in ds.ImagePositionPatient] for ds in source.slices]
    np.testing.assert_allclose(source.affines[:, :3, 3], positions)
    np.testing.assert_allclose(source.affines[-1][:3, 3], affine[:3, 3], atol=1e-5)
    assert [r.sop_instance_uid for r in source.references] == [
        str(ds.SOPInstanceUID) for ds in source.slices
    ]
    assert all("PixelData" not in ds for ds in source.slices)
    labels = np.arange(np.prod(source.grid_shape)).reshape(source.grid_shape)
    assert source.labels_as_acquired(labels) is labels


class TestSeries:
    """Several series in one folder."""

    @pytest.fixture
    def folder(self, tmp_path):
        self.thorax = make_series(tmp_path / "a", seed="1")
        self.brain = make_series(tmp_path / "a", seed="2", modality="MR", name=lambda k: f"b{k}")
        return tmp_path

    def test_a_choice_is_asked_for(self, folder):
        with pytest.raises(InputError, match=r"2 usable series.*CT 'Series 1'.*MR 'Series 2'"):
            read(folder)

    def test_by_index_uid_and_description(self, folder):
        uids = [info.uid for info in survey(folder).series]
        for series in (self.thorax, self.brain):
            index = str(uids.index(series.uid) + 1)
            description = "series 1" if series is self.thorax else "Series 2"
            for wanted in (index, f"index:{index}", series.uid, f"UID: {series.uid}", description):
                assert_same(read(folder, series=wanted), series.voxels, series.affine)

    @pytest.mark.parametrize("wanted", ["4", "0", "1.2.3", "liver", "", "index:3", "number:1"])
    def test_unknown(self, folder, wanted):
        with pytest.raises(InputError, match=r"no series.*number:N.*Series 1.*Series 2"):
            read(folder, series=wanted)

    @pytest.mark.parametrize("wanted", ["series", "number:3", "3"])
    def test_ambiguous(self, folder, wanted):
        with pytest.raises(InputError, match=f"2 series that fit '{wanted}'; .*index:1"):
            read(folder, series=wanted)

    def test_the_only_usable_one_is_picked(self, folder):
        def edit(ds, k):
            ds.ImageOrientationPatient = [1, 0, 0, 1, 0, 0]

        make_series(folder / "c", seed="3", edit=edit)
        for path in self.thorax.paths:
            path.unlink()
        volume = read(folder)
        assert_same(volume, self.brain.voxels, self.brain.affine)
        assert any("1 other series left out" in note for note in volume.notes)

    def test_a_volume_is_preferred_to_single_slices(self, folder):
        for path in self.thorax.paths[1:]:
            path.unlink()
        assert_same(read(folder), self.brain.voxels, self.brain.affine)

    def test_none_usable(self, folder):
        for path in [*self.thorax.paths, *self.brain.paths]:
            path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(InputError, match=r"2 series and none is usable.*truncated"):
            read(folder)


class TestSeriesNumbers:
    """Three series whose files are mixed in one folder."""

    @pytest.fixture
    def folder(self, tmp_path):
        self.made = {}
        for number, seed in ((1, "1"), (3, "2"), (2, "3")):

            def edit(ds, k, number=number):
                ds.SeriesNumber = number

            self.made[number] = make_series(
                tmp_path, seed=seed, edit=edit, voxels=phantom(seed=number),
                name=lambda k, number=number: f"{number}{k}",
            )  # fmt: skip
        return tmp_path

    def assert_read(self, folder, wanted, number):
        series = self.made[number]
        volume = read(folder, series=wanted)
        assert_same(volume, series.voxels, series.affine)
        assert f"series number {number}, " in volume.notes[0]
        assert series.uid in volume.notes[0]

    def test_words_say_what_a_number_is(self, folder):
        for number in (1, 2, 3):
            self.assert_read(folder, f"number:{number}", number)
        (third,) = (i for i in survey(folder).series if i.series_number == "3")
        self.assert_read(folder, f"index:{third.index}", 3)

    def test_a_bare_number_that_means_one_series(self, folder):
        for series in list(self.made.values())[1:]:
            for path in series.paths:
                path.unlink()
        self.assert_read(folder, "1", 1)

    def test_a_bare_number_that_only_one_series_bears(self, folder):
        def edit(ds, k):
            ds.SeriesNumber = 401

        self.made[401] = make_series(folder / "d", seed="4", edit=edit)
        self.assert_read(folder, "401", 401)

    def test_a_bare_number_that_could_mean_two(self, folder):
        def edit(ds, k):
            ds.SeriesNumber = 4

        for path in self.made[1].paths:  # now number 2 is first in the list
            path.unlink()
        make_series(folder / "d", seed="4", edit=edit)
        with pytest.raises(
            InputError,
            match=r"--series 2 could mean several .*index:2, number:3.*index:1, number:2",
        ):
            read(folder, series="2")

    def test_frames_are_named(self, tmp_path):
        def edit(ds, k):
            ds.EchoTime = (10, 20)[k // 5]
            ds.ImagePositionPatient = [0, 0, 5 * (k % 5)]

        voxels = phantom((10, 7, 11), low=0).astype("u2")
        make_series(tmp_path, voxels=voxels, modality="MR", edit=edit)
        assert read(tmp_path, frame=1).notes[0].endswith(", frame 1 of 2, echo time 20")


def test_objects_that_are_no_images(tmp_path):
    ds = make_slice(phantom()[0], oblique_affine(), 0)
    ds.Modality, ds.SOPClassUID = "RTSTRUCT", "1.2.840.10008.5.1.4.1.1.481.3"
    del ds.PixelData
    write(ds, tmp_path / "rs.dcm")
    with pytest.raises(UnsupportedFormatError, match="contours"):
        read(tmp_path)
    series = make_series(tmp_path / "ct", seed="7")
    assert_same(read(tmp_path), series.voxels, series.affine)
    assert [i.usable for i in survey(tmp_path).series].count(True) == 1


def test_nothing_there(tmp_path):
    with pytest.raises(UnreadableFileError, match="no DICOM file"):
        read(tmp_path)
    with pytest.raises(UnreadableFileError, match="does not exist"):
        read(tmp_path / "absent")
