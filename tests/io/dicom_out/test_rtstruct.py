"""RTSTRUCT: outlines that give back the same voxels, and everybody's outlines read."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from scipy import ndimage

from sammed.errors import (
    GridMismatchError,
    InputError,
    LabelError,
    OutputError,
    SammedError,
    UnreadableFileError,
    UnsupportedFormatError,
)
from sammed.imaging import geometry
from sammed.imaging.volume import LabelVolume, Volume
from sammed.io.dicom.objects import rtstruct
from sammed.io.dicom.objects.contours import fill, outline
from tests.io.dicom.make_series import oblique_affine, straight_affine
from tests.io.dicom_out.sources import (
    ct_volume,
    enhanced_volume,
    random_labels,
    resampled_volume,
)

DATA = Path(__file__).parents[3].parent / "shared" / "data"


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def shapes(n=9, rows=40, columns=37):
    """Solids of every difficulty, (n, rows, columns) bool each."""
    z, y, x = np.mgrid[:n, :rows, :columns].astype(float)
    ball = ((z - 4) / 5) ** 2 + ((y - 19) / 15) ** 2 + ((x - 17) / 14) ** 2 < 1
    shell = ball & ~(((z - 4) / 3) ** 2 + ((y - 17) / 9) ** 2 + ((x - 19) / 8) ** 2 < 1)
    sieve = ball & ~((y % 5 < 2) & (x % 4 < 1))
    island = shell | (((z - 4) / 2) ** 2 + ((y - 17) / 4) ** 2 + ((x - 19) / 4) ** 2 < 1)
    specks = np.random.default_rng(0).random(ball.shape) > 0.97
    lines = (y == 5) & (x > 3) | (y == x)
    edge = np.ones(ball.shape, bool)
    edge[:, 10:20, 0] = False
    noise = ndimage.gaussian_filter(np.random.default_rng(1).random(ball.shape), 1) > 0.5
    return {
        "ball": ball,
        "shell with a hole": shell,
        "many holes": sieve,
        "island in a hole": island,
        "one-pixel parts": specks,
        "one-pixel lines": lines,
        "whole image": edge,
        "noise": noise,
    }


@pytest.mark.parametrize("name", shapes())
@pytest.mark.parametrize("affine", ["straight", "oblique", "flipped"])
def test_round_trip(tmp_path, name, affine):
    mask = shapes()[name]
    made = straight_affine() if affine == "straight" else oblique_affine()
    if affine == "flipped":
        made[:3, 0] *= -1
        made[:3, 2] *= -1
    volume = ct_volume(tmp_path / "series", mask.shape, made)
    voxels = volume.grid.reorientation.apply(mask.astype(np.uint8))
    labels = LabelVolume(voxels, volume.grid, {1: name})
    rtstruct.write(labels, tmp_path / "rt.dcm")
    again = rtstruct.read(tmp_path / "rt.dcm", volume)
    assert dice(again.voxels > 0, labels.voxels > 0) == 1.0  # more than the 0.99 asked for
    assert again.names == {1: name}
    assert again.notes == ()


@pytest.mark.parametrize("kind", ["single", "enhanced"])
def test_valid_complete_and_the_same(tmp_path, kind):
    volume = (
        ct_volume(tmp_path / "series") if kind == "single" else enhanced_volume(tmp_path / "i.dcm")
    )
    source = volume.grid.native
    labels = random_labels(volume)
    path = tmp_path / "rt.dcm"
    rtstruct.write(labels, path, algorithm=("vit_b", "1.2"))
    again = rtstruct.read(path, volume)
    np.testing.assert_array_equal(again.voxels, labels.voxels)
    assert again.names == labels.names
    assert again.colours[1] == (200, 30, 40)
    dataset = pydicom.dcmread(path)
    frame = dataset.ReferencedFrameOfReferenceSequence[0]
    assert frame.FrameOfReferenceUID == source.frame_of_reference_uid
    study = frame.RTReferencedStudySequence[0]
    assert study.ReferencedSOPInstanceUID == source.study_uid == dataset.StudyInstanceUID
    series = study.RTReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == source.series_uid != dataset.SeriesInstanceUID
    listed = {image.ReferencedSOPInstanceUID for image in series.ContourImageSequence}
    assert listed == {r.sop_instance_uid for r in source.references}
    assert dataset.StructureSetROISequence[0].ROIGenerationDescription == "vit_b 1.2"
    for roi in dataset.ROIContourSequence:
        for contour in roi.ContourSequence:
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            assert len(points) == contour.NumberOfContourPoints
            image = contour.ContourImageSequence[0]
            at = [(r.sop_instance_uid, r.frame) for r in source.references].index(
                (image.ReferencedSOPInstanceUID, image.get("ReferencedFrameNumber"))
            )
            index = geometry.index_from_world(volume.grid.affine, points)
            np.testing.assert_allclose(index[:, 0], at, atol=1e-3)
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (Debian package dicom3tools) is not here")
    run = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True)
    assert "RTStructureSet" in run.stderr
    assert [line for line in run.stderr.splitlines() if line.startswith("Error")] == []


def test_outlines_run_between_voxels(tmp_path):
    """Half-way between the last voxel inside and the first outside: unbiased in size."""
    disc = np.hypot(*(np.mgrid[:60, :60] - 29.7)) < 20.3
    (polygon,) = outline(disc)
    row, col = polygon.T
    area = 0.5 * abs(np.dot(row, np.roll(col, 1)) - np.dot(col, np.roll(row, 1)))
    assert area == pytest.approx(np.pi * 20.3**2, rel=0.005)


def test_holes_are_keyholes():
    """One polygon a part, whatever it encloses, and its area is that without the hole."""
    ring = np.zeros((9, 11), bool)
    ring[1:8, 2:9] = True
    ring[3:5, 4:7] = False
    (polygon,) = outline(ring)
    row, col = polygon.T
    area = 0.5 * abs(np.dot(row, np.roll(col, 1)) - np.dot(col, np.roll(row, 1)))
    assert area == pytest.approx(7 * 7 - 6, abs=1.01)
    np.testing.assert_array_equal(fill([polygon], ring.shape), ring)


def test_fill_against_the_definition():
    """Even-odd at pixel centres, checked point by point with a plain loop."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        polygons = [rng.uniform(-3, 14, (rng.integers(3, 9), 2)) for _ in range(3)]
        mask = fill(polygons, (9, 12))
        for r in range(9):
            for c in range(12):
                crossings = 0
                for polygon in polygons:
                    for (r0, c0), (r1, c1) in zip(
                        polygon, np.roll(polygon, -1, axis=0), strict=True
                    ):
                        if (r0 <= r) != (r1 <= r):
                            crossings += c0 + (r - r0) / (r1 - r0) * (c1 - c0) <= c
                assert mask[r, c] == bool(crossings % 2)


@pytest.mark.parametrize("kind", ["tilt", "gap"])
def test_resampled_stack_goes_back_to_the_slices(tmp_path, kind):
    volume = resampled_volume(tmp_path / "series", kind)
    source = volume.grid.native
    acquired = np.zeros((len(source), *source.size), np.uint8)
    acquired[:, 3:9, 2:10] = 1
    acquired[:, 5:7, 4:6] = 0
    stored = source.labels_on_grid(acquired)
    labels = LabelVolume(volume.grid.reorientation.apply(stored), volume.grid, {1: "liver"})
    rtstruct.write(labels, tmp_path / "rt.dcm")
    again = rtstruct.read(tmp_path / "rt.dcm", volume)
    expected = source.labels_on_grid(source.labels_as_acquired(stored))
    np.testing.assert_array_equal(again.file_array(), expected)
    for contour in pydicom.dcmread(tmp_path / "rt.dcm").ROIContourSequence[0].ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        uid = contour.ContourImageSequence[0].ReferencedSOPInstanceUID
        affine = source.affines[[r.sop_instance_uid for r in source.references].index(uid)]
        off_plane = (points - affine[:3, 3]) @ affine[:3, 0] / np.linalg.norm(affine[:3, 0])
        np.testing.assert_allclose(off_plane, 0, atol=1e-3)


def structure_set(volume: Volume, rois: dict[str, list[np.ndarray]], kind="CLOSED_PLANAR"):
    """An RTSTRUCT as others write it; outlines as (k, j, i) file indices."""
    source = volume.grid.native
    dataset = Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = (
        "1.2.840.10008.5.1.4.1.1.481.3"
    )
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, outlines) in enumerate(rois.items()):
        roi, item = Dataset(), Dataset()
        roi.ROINumber = item.ReferencedROINumber = number
        roi.ROIName = name
        roi.ReferencedFrameOfReferenceUID = source.frame_of_reference_uid
        item.ContourSequence = []
        for index in outlines:
            contour = Dataset()
            contour.ContourGeometricType = kind
            contour.NumberOfContourPoints = len(index)
            points = geometry.apply_affine(volume.grid.affine, np.asarray(index, float))
            contour.ContourData = [f"{v:.6f}" for v in points.ravel()]
            item.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(item)
    return dataset


def square(k, low, high, axis=0):
    """A closed outline round the pixels low..high-1 of a slice, as file indices."""
    (r0, c0), (r1, c1) = np.array(low) - 0.5, np.array(high) - 0.5
    points = np.array([(k, r0, c0), (k, r0, c1), (k, r1, c1), (k, r1, c0)], float)
    return np.insert(points[:, 1:], axis, points[:, 0], axis=1)


@pytest.fixture
def volume(tmp_path):
    return ct_volume(tmp_path / "series", (6, 12, 14))


def test_nested_outlines_are_holes_and_islands(tmp_path, volume):
    nested = [square(2, (1, 1), (11, 12)), square(2, (3, 3), (9, 9)), square(2, (5, 5), (7, 7))]
    structure_set(volume, {"ring": [*nested, nested[0]]}).save_as(
        tmp_path / "rt.dcm", enforce_file_format=True
    )
    labels = rtstruct.read(tmp_path / "rt.dcm", volume)
    stored = labels.file_array()
    expected = np.zeros((12, 14), bool)
    expected[1:11, 1:12] = True
    expected[3:9, 3:9] = False
    expected[5:7, 5:7] = True
    np.testing.assert_array_equal(stored[2], expected)
    assert not stored[[0, 1, 3, 4, 5]].any()  # a mask on one slice only
    assert labels.names == {1: "ring"}  # number 0 is no label value


def test_overlapping_rois_and_choice(tmp_path, volume):
    rois = {
        "GTV": [square(k, (4, 4), (7, 8)) for k in (2, 3)],
        "PTV": [square(k, (2, 2), (9, 10)) for k in (1, 2, 3, 4)],
        "body": [square(k, (0, 0), (12, 14)) for k in range(6)],
    }
    structure_set(volume, rois).save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    labels = rtstruct.read(tmp_path / "rt.dcm", volume)
    counts = [np.count_nonzero(labels.voxels == v) for v in (1, 2, 3)]
    assert counts == [24, 4 * 56 - 24, 6 * 168 - 4 * 56]
    assert "rt.dcm: 224 voxels lie in several structures; the smaller one wins" in labels.notes
    ptv = rtstruct.read(tmp_path / "rt.dcm", volume, only=["ptv"])
    assert np.count_nonzero(ptv.voxels) == 4 * 56
    assert list(ptv.names.values()) == ["PTV"]
    with pytest.raises(LabelError, match=r"no structure ctv; it has GTV, PTV, body"):
        rtstruct.read(tmp_path / "rt.dcm", volume, only=["CTV"])


@pytest.mark.parametrize("axis", [1, 2])
def test_outlines_on_another_plane(tmp_path, volume, axis):
    outlines = [square(3, (1, 2), (5, 9), axis), square(4, (1, 2), (5, 9), axis)]
    structure_set(volume, {"a": outlines}).save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    stored = rtstruct.read(tmp_path / "rt.dcm", volume).file_array()
    expected = np.zeros_like(stored)
    np.moveaxis(expected, axis, 0)[3:5, 1:5, 2:9] = 1
    np.testing.assert_array_equal(stored, expected)


def test_image_that_is_not_dicom(tmp_path, volume):
    structure_set(volume, {"a": [square(2, (1, 2), (5, 9))]}).save_as(
        tmp_path / "rt.dcm", enforce_file_format=True
    )
    reversed_ = volume.grid.affine.copy()
    reversed_[:3, 3] += 13 * reversed_[:3, 2]
    reversed_[:3, 2] *= -1
    plain = Volume.from_array(np.zeros((6, 12, 14), np.int16), reversed_)
    ours = rtstruct.read(tmp_path / "rt.dcm", volume)
    np.testing.assert_array_equal(rtstruct.read(tmp_path / "rt.dcm", plain).voxels, ours.voxels)


def test_planes_off_the_slices(tmp_path, volume):
    path = tmp_path / "rt.dcm"
    structure_set(volume, {"a": [square(2.2, (1, 2), (5, 9))]}).save_as(
        path, enforce_file_format=True
    )
    assert rtstruct.read(path, volume).file_array()[2].sum() == 4 * 7
    structure_set(volume, {"a": [square(2.4, (1, 2), (5, 9))]}).save_as(
        path, enforce_file_format=True
    )
    with pytest.raises(GridMismatchError, match=r"'a' .* lies 1 mm from the nearest slice"):
        rtstruct.read(path, volume)
    structure_set(volume, {"a": [square(2, (1, 2), (5, 9)), square(-3, (1, 2), (5, 9))]}).save_as(
        path,  # without a preamble, as some systems write
        implicit_vr=False,
        little_endian=True,
    )
    assert "1 outlines lie outside" in rtstruct.read(path, volume).notes[0]
    structure_set(volume, {"a": [square(30, (1, 2), (5, 9))]}).save_as(
        path, enforce_file_format=True
    )
    with pytest.raises(GridMismatchError, match="encloses a voxel"):
        rtstruct.read(path, volume)
    tilted = square(2, (1, 2), (5, 9))
    tilted[:2, 0] += 0.6
    structure_set(volume, {"a": [tilted]}).save_as(path, enforce_file_format=True)
    with pytest.raises(GridMismatchError, match="not parallel"):
        rtstruct.read(path, volume)


def test_odd_outlines_are_noted(tmp_path, volume):
    path = tmp_path / "rt.dcm"
    tiny = np.array([(3, 3.1, 3.1), (3, 3.1, 3.4), (3, 3.4, 3.4)])
    dataset = structure_set(volume, {"a": [square(2, (1, 2), (5, 9))], "tiny": [tiny]})
    point = structure_set(volume, {"p": [np.array([(1, 1, 1)])]}, "POINT")
    dataset.ROIContourSequence[0].ContourSequence.append(
        point.ROIContourSequence[0].ContourSequence[0]
    )
    dataset.save_as(path, enforce_file_format=True)
    notes = rtstruct.read(path, volume).notes
    assert any("1 points or open lines" in note for note in notes)
    assert any("1 outlines enclose no voxel centre" in note for note in notes)


def test_another_frame_of_reference(tmp_path, volume):
    path = tmp_path / "rt.dcm"
    dataset = structure_set(volume, {"a": [square(2, (1, 2), (5, 9))]})
    dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "1.2.3.4"
    dataset.save_as(path, enforce_file_format=True)
    with pytest.raises(GridMismatchError, match="another frame of reference"):
        rtstruct.read(path, volume)


def test_refusals(tmp_path, volume):
    path = tmp_path / "rt.dcm"
    labels = random_labels(volume)
    rtstruct.write(labels, path)
    with pytest.raises(InputError, match="without a grid; give the image series"):
        rtstruct.read(path)
    with pytest.raises(OutputError, match="exists"):
        rtstruct.write(labels, path)
    with pytest.raises(LabelError, match="no voxel"):
        rtstruct.write(dataclasses.replace(labels, voxels=labels.voxels * 0), tmp_path / "b.dcm")
    plain = Volume.from_array(np.zeros((6, 12, 14), np.int16), volume.grid.affine)
    moved = dataclasses.replace(labels, grid=plain.grid)
    with pytest.raises(InputError, match="did not come from DICOM"):
        rtstruct.write(moved, tmp_path / "b.dcm")
    rtstruct.write(moved, tmp_path / "b.dcm", source=volume)
    with pytest.raises(UnreadableFileError, match="does not exist"):
        rtstruct.read(tmp_path / "none.dcm", volume)
    with pytest.raises(UnsupportedFormatError, match="CT Image Storage, expected RTSTRUCT"):
        rtstruct.read(next((tmp_path / "series").glob("*.dcm")), volume)


@pytest.mark.filterwarnings("ignore:::pydicom")
def test_damaged_files_end_in_our_errors(tmp_path, volume):
    rtstruct.write(random_labels(volume), tmp_path / "rt.dcm")
    whole = (tmp_path / "rt.dcm").read_bytes()
    rng = np.random.default_rng(0)
    for trial in range(80):
        data = bytearray(whole)
        if trial % 3 == 0:
            data = data[: rng.integers(140, len(whole))]
        else:
            for at in rng.integers(132, len(whole), 6):
                data[at] = rng.integers(0, 256)
        (tmp_path / "bad.dcm").write_bytes(data)
        with contextlib.suppress(SammedError):
            rtstruct.read(tmp_path / "bad.dcm", volume)


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
def test_twins_of_a_public_case():
    """The mask drawn from the outlines is the NIfTI mask of the same study."""
    sitk = pytest.importorskip("SimpleITK")
    dicom = pytest.importorskip("sammed.io.dicom.images.read")
    folder = DATA / "mirp" / "sts_images" / "STS_002" / "MR_T1"
    volume = dicom.read(folder / "dicom" / "image")
    labels = rtstruct.read(folder / "dicom" / "mask" / "RS.dcm", volume)
    image = sitk.ReadImage(str(folder / "nifti" / "mask" / "mask.nii.gz"))
    index = np.argwhere(sitk.GetArrayFromImage(image) > 0)
    world = [image.TransformIndexToPhysicalPoint([int(v) for v in p[::-1]]) for p in index]
    here = np.round(geometry.index_from_world(volume.affine, np.array(world))).astype(int)
    mask = np.zeros(volume.shape, bool)
    mask[tuple(here.T)] = True
    assert dice(labels.voxels > 0, mask) >= 0.96


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
def test_outlines_whose_images_are_not_here():
    with pytest.raises(InputError, match="give the image series"):
        rtstruct.read(DATA / "mirp/ibsi_1_ct_radiomics_phantom/dicom/mask/DCM_RS_00060.dcm")
