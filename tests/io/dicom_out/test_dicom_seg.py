"""DICOM SEG: what we write is valid and comes back the same; what others write is read."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest

from sammed.errors import (
    BackendUnavailableError,
    GridMismatchError,
    InputError,
    LabelError,
    OutputError,
    SammedError,
    UnreadableFileError,
    UnsupportedFormatError,
)
from sammed.imaging import geometry
from sammed.imaging.volume import LabelVolume, Volume, make_grid
from sammed.io.dicom.objects import seg as dicom_seg
from sammed.io.dicom.source import DicomSource
from tests.io.dicom.make_series import oblique_affine, straight_affine
from tests.io.dicom_out.sources import (
    ct_volume,
    enhanced_volume,
    random_labels,
    resampled_volume,
)

hd = pytest.importorskip("highdicom")
DATA = Path(__file__).parents[3].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
needs_dciodvfy = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy (Debian package dicom3tools) is not here"
)


def complaints(path: Path) -> list[str]:
    """The errors that dciodvfy finds in a file."""
    run = subprocess.run(
        ["dciodvfy", "-new", str(path)], capture_output=True, text=True, errors="replace"
    )
    assert "Segmentation" in run.stderr or "RTStructureSet" in run.stderr
    return [line for line in run.stderr.splitlines() if line.startswith("Error")]


def probable(labels: LabelVolume) -> LabelVolume:
    """Labels with probabilities that are above a half where the label is."""
    rng = np.random.default_rng(5)
    return dataclasses.replace(
        labels,
        probabilities={
            value: (rng.uniform(0.0, 0.45, labels.shape) + 0.52 * (labels.voxels == value)).astype(
                np.float16
            )
            for value in labels.names
        },
    )


@pytest.fixture(params=["single", "enhanced", "fractional", "enhanced fractional"])
def written(request, tmp_path):
    """A SEG of each kind: (volume, labels, path)."""
    if request.param.startswith("enhanced"):
        volume = enhanced_volume(tmp_path / "image.dcm")
    else:
        volume = ct_volume(tmp_path / "series")
    labels = random_labels(volume)
    fractional = "fractional" in request.param
    if fractional:
        labels = probable(labels)
    path = tmp_path / "seg.dcm"
    dicom_seg.write(labels, path, fractional=fractional, algorithm=("vit_b", "1.2"))
    return volume, labels, path


@needs_dciodvfy
def test_valid(written):
    assert complaints(written[2]) == []


def test_same_voxels_names_and_colours(written):
    volume, labels, path = written
    again = dicom_seg.read(path, volume)
    assert again.grid is volume.grid
    np.testing.assert_array_equal(again.voxels, labels.voxels)
    assert again.names == labels.names
    assert again.colours[1] == (200, 30, 40)
    assert again.notes == ()
    for value, expected in labels.probabilities.items():
        np.testing.assert_allclose(again.probabilities[value], expected, atol=0.5 / 255 + 1e-3)


def test_one_fractional_segment_of_odd_size(tmp_path):
    """One segment is said once for all frames; 5 x 77 bytes of pixels are padded to even."""
    volume = ct_volume(tmp_path / "series")
    labels = random_labels(volume, (3,))
    labels.voxels[labels.voxels > 0] = 3
    probability = np.random.default_rng(1).uniform(0.01, 1, labels.shape).astype(np.float16)
    labels.probabilities[3] = probability
    dicom_seg.write(labels, tmp_path / "seg.dcm", fractional=True)
    again = dicom_seg.read(tmp_path / "seg.dcm", volume)
    np.testing.assert_allclose(again.probabilities[3], probability, atol=0.5 / 255 + 1e-3)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (len(seg.PixelData), seg.NumberOfFrames, seg.Rows, seg.Columns) == (386, 5, 7, 11)


def test_own_grid_holds_the_labelled_slices(written):
    volume, labels, path = written
    alone = dicom_seg.read(path)
    if labels.probabilities:
        assert alone.shape == volume.shape
    else:
        assert alone.shape == (volume.shape[0] - 1, *volume.shape[1:])
    world = geometry.apply_affine(alone.affine, np.argwhere(alone.voxels == 4))
    expected = geometry.apply_affine(volume.affine, np.argwhere(labels.voxels == 4))
    np.testing.assert_allclose(world, expected, atol=1e-6)


def test_highdicom_reads_it(written):
    volume, labels, path = written
    seg = hd.seg.segread(path)
    assert [seg.get_segment_description(n).segment_label for n in seg.segment_numbers] == list(
        labels.names.values()
    )
    assert {d.algorithm_identification[0].AlgorithmName for d in seg.SegmentSequence} == {"vit_b"}
    found = seg.get_volume(rescale_fractional=bool(labels.probabilities))
    stored = labels.file_array()
    index = np.argwhere(np.ones(found.spatial_shape, bool))
    world = found.map_indices_to_reference(index)
    here = np.round(geometry.index_from_world(volume.grid.affine, world)).astype(int)
    np.testing.assert_allclose(geometry.apply_affine(volume.grid.affine, here), world, atol=1e-4)
    for position, value in enumerate(labels.names):
        mask = (stored == value)[tuple(here.T)]
        np.testing.assert_array_equal(found.array[..., position].ravel() >= 0.5, mask)


def test_codes_and_references(written):
    volume, _, path = written
    seg = pydicom.dcmread(path)
    source: DicomSource = volume.grid.native
    kidney, tumour, thing = seg.SegmentSequence
    type_ = kidney.SegmentedPropertyTypeCodeSequence[0]
    assert (type_.CodeValue, type_.CodingSchemeDesignator) == ("64033007", "SCT")
    assert type_.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert tumour.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Neoplasm"
    assert tumour.AnatomicRegionSequence[0].CodeMeaning == "Liver"
    assert thing.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"
    assert seg.FrameOfReferenceUID == source.frame_of_reference_uid
    assert seg.StudyInstanceUID == source.study_uid
    assert seg.PatientName == source.header.PatientName
    assert seg.SeriesInstanceUID != source.series_uid
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.series_uid
    images = {r.sop_instance_uid for r in source.references}
    assert {i.ReferencedSOPInstanceUID for i in series.ReferencedInstanceSequence} == images
    assert {i.ReferencedSOPInstanceUID for i in seg.SourceImageSequence} == images
    for group in seg.PerFrameFunctionalGroupsSequence:
        item = group.DerivationImageSequence[0].SourceImageSequence[0]
        where = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        at = [r.sop_instance_uid for r in source.references].index(item.ReferencedSOPInstanceUID)
        if source.frames is not None:
            at = source.frames.index(item.ReferencedFrameNumber)
        np.testing.assert_allclose(where, source.affines[at, :3, 3], atol=1e-6)


def test_itk_reads_geometry_and_frames(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    # ITK sees one stack, so one segment; and it loses count where frames end within a byte
    volume = ct_volume(tmp_path / "series", (6, 8, 11))
    stored = np.zeros(volume.grid.shape, np.uint8)
    stored[2:5] = np.random.default_rng(0).integers(0, 2, (3, 8, 11))
    labels = LabelVolume(volume.grid.reorientation.apply(stored), volume.grid, {1: "liver"})
    dicom_seg.write(labels, tmp_path / "seg.dcm")
    image = sitk.ReadImage(str(tmp_path / "seg.dcm"))
    array = sitk.GetArrayFromImage(image)
    assert array.shape == (3, 8, 11)
    np.testing.assert_allclose(image.GetSpacing(), volume.spacing[::-1], atol=1e-4)
    for k, j, i in itertools.product(range(3), (0, 7), (0, 5, 10)):
        world = np.array(image.TransformIndexToPhysicalPoint((i, j, k)))
        index = geometry.index_from_world(volume.grid.affine, world)
        np.testing.assert_allclose(index, np.round(index), atol=1e-4)
        assert bool(array[k, j, i]) == bool(stored[tuple(np.round(index).astype(int))])


ORIENTATIONS = [
    (axes, signs)
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_every_orientation(tmp_path, axes, signs):
    affine = oblique_affine((2.5, 0.8, 0.7))
    turned = np.eye(4)
    turned[:3, :3] = (affine[:3, :3] / (2.5, 0.8, 0.7))[:, axes] * signs * (2.5, 0.8, 0.7)
    turned[:3, 3] = (-31.5, 12.25, 40.0)
    volume = ct_volume(tmp_path / "series", affine=turned)
    labels = random_labels(volume)
    dicom_seg.write(labels, tmp_path / "seg.dcm")
    again = dicom_seg.read(tmp_path / "seg.dcm", volume)
    np.testing.assert_array_equal(again.voxels, labels.voxels)
    alone = dicom_seg.read(tmp_path / "seg.dcm")
    for value in labels.names:
        world = geometry.apply_affine(alone.affine, np.argwhere(alone.voxels == value))
        expected = geometry.apply_affine(volume.affine, np.argwhere(labels.voxels == value))
        np.testing.assert_allclose(
            world[np.lexsort(world.T)], expected[np.lexsort(expected.T)], atol=1e-5
        )


@pytest.mark.parametrize("kind", ["tilt", "gap"])
def test_resampled_stack_goes_back_to_the_slices(tmp_path, kind):
    volume = resampled_volume(tmp_path / "series", kind)
    source: DicomSource = volume.grid.native
    rng = np.random.default_rng(2)
    acquired = np.kron(rng.integers(0, 2, (len(source), 4, 6)), np.ones((1, 3, 3))).astype(np.uint8)
    acquired = acquired[:, : source.size[0], : source.size[1]]
    stored = source.labels_on_grid(acquired)
    labels = LabelVolume(volume.grid.reorientation.apply(stored), volume.grid, {1: "liver"})
    dicom_seg.write(labels, tmp_path / "seg.dcm")
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (seg.Rows, seg.Columns) == source.size
    for group in seg.PerFrameFunctionalGroupsSequence:
        where = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        assert np.linalg.norm(source.affines[:, :3, 3] - where, axis=1).min() < 1e-6
    again = dicom_seg.read(tmp_path / "seg.dcm", volume)
    assert again.shape == volume.shape
    expected = source.labels_on_grid(source.labels_as_acquired(stored))
    np.testing.assert_array_equal(again.file_array(), expected)
    overlap = np.count_nonzero(again.voxels & labels.voxels)
    assert 2 * overlap / (again.voxels.sum() + labels.voxels.sum()) > 0.9


def test_labels_from_elsewhere_with_the_dicom_volume(tmp_path):
    volume = ct_volume(tmp_path / "series")
    theirs = random_labels(volume)
    flipped = np.ascontiguousarray(theirs.voxels[:, :, ::-1])
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (volume.shape[2] - 1)
    affine[:3, 2] *= -1
    grid = make_grid(affine, flipped.shape, "nifti")
    plain = LabelVolume(grid.reorientation.apply(flipped), grid, theirs.names)
    with pytest.raises(InputError, match=r"did not come from DICOM.*\.nii\.gz"):
        dicom_seg.write(plain, tmp_path / "seg.dcm")
    dicom_seg.write(plain, tmp_path / "seg.dcm", source=volume)
    again = dicom_seg.read(tmp_path / "seg.dcm", volume)
    np.testing.assert_array_equal(again.voxels, theirs.voxels)


def test_refusals(tmp_path):
    volume = ct_volume(tmp_path / "series")
    labels = random_labels(volume)
    path = tmp_path / "seg.dcm"
    with pytest.raises(LabelError, match="no voxel"):
        dicom_seg.write(dataclasses.replace(labels, voxels=labels.voxels * 0), path)
    with pytest.raises(LabelError, match=r"probabilities.*kidney_left"):
        dicom_seg.write(labels, path, fractional=True)
    for header in volume.grid.native.slices:
        del header.FrameOfReferenceUID
    with pytest.raises(InputError, match="no FrameOfReferenceUID"):
        dicom_seg.write(labels, path)
    assert list(tmp_path.glob("*.dcm")) == []
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        dicom_seg.write(labels, path)
    assert path.read_bytes() == b"mine"


def test_poor_headers_are_filled(tmp_path):
    """Anonymised headers lack type 2 attributes; the SEG has them, empty."""
    volume = ct_volume(tmp_path / "series")
    for header in volume.grid.native.slices:
        for keyword in ("PatientName", "PatientID", "StudyID", "AccessionNumber", "SliceThickness"):
            del header[keyword]
        header.SeriesNumber = None
    labels = random_labels(volume)
    dicom_seg.write(labels, tmp_path / "seg.dcm")
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert seg.PatientID is None or seg.PatientID == ""
    np.testing.assert_array_equal(
        dicom_seg.read(tmp_path / "seg.dcm", volume).voxels, labels.voxels
    )


def test_names_of_any_script_and_length(tmp_path):
    volume = ct_volume(tmp_path / "series")
    labels = random_labels(volume)
    labels.names.update({1: "Niere – links", 4: "肝臓", 7: "back\\slash " * 20})
    dicom_seg.write(labels, tmp_path / "seg.dcm")
    again = dicom_seg.read(tmp_path / "seg.dcm", volume)
    assert again.names[1] == "Niere – links"
    assert again.names[4] == "肝臓"
    assert again.names[7].startswith("back/slash back/slash")


def test_seg_of_another_scan(tmp_path):
    volume = ct_volume(tmp_path / "series")
    dicom_seg.write(random_labels(volume), tmp_path / "seg.dcm")
    shifted = ct_volume(tmp_path / "a", affine=straight_affine())
    with pytest.raises(GridMismatchError, match=r"seg\.dcm is not on the grid"):
        dicom_seg.read(tmp_path / "seg.dcm", shifted)
    far = volume.grid.affine.copy()
    far[:3, 3] += 100 * far[:3, 0]
    distant = Volume.from_array(np.zeros(volume.grid.shape, np.int16), far)
    with pytest.raises(GridMismatchError, match="outside of the image"):
        dicom_seg.read(tmp_path / "seg.dcm", distant)


def test_unreadable(tmp_path):
    series = tmp_path / "series"
    ct_volume(series)
    with pytest.raises(UnreadableFileError, match="does not exist"):
        dicom_seg.read(tmp_path / "none.dcm")
    (tmp_path / "text.dcm").write_text("hello")
    with pytest.raises(UnreadableFileError, match="not a DICOM file"):
        dicom_seg.read(tmp_path / "text.dcm")
    with pytest.raises(UnsupportedFormatError, match="CT Image Storage, expected DICOM SEG"):
        dicom_seg.read(next(series.glob("*.dcm")))


@pytest.mark.filterwarnings("ignore:::pydicom")
def test_damaged_files_end_in_our_errors(tmp_path):
    volume = ct_volume(tmp_path / "series")
    dicom_seg.write(random_labels(volume), tmp_path / "seg.dcm")
    whole = (tmp_path / "seg.dcm").read_bytes()
    rng = np.random.default_rng(0)
    for trial in range(120):
        data = bytearray(whole)
        if trial % 3 == 0:
            data = data[: rng.integers(140, len(whole))]
        else:
            for at in rng.integers(132, len(whole), 4):
                data[at] = rng.integers(0, 256)
        (tmp_path / "bad.dcm").write_bytes(data)
        with contextlib.suppress(SammedError):
            dicom_seg.read(tmp_path / "bad.dcm", volume)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s.PerFrameFunctionalGroupsSequence.pop(), UnreadableFileError, "described"),
        (lambda s: delattr(s, "PixelData"), UnreadableFileError, "no pixels"),
        (lambda s: setattr(s, "PixelData", s.PixelData[:40]), UnreadableFileError, "too few"),
        (lambda s: s.SegmentSequence.pop(), UnreadableFileError, "not described"),
        (
            lambda s: setattr(
                s.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0],
                "ImagePositionPatient",
                [0, 0, 0],
            ),
            SammedError,
            "even, straight stack|grid",
        ),
    ],
)
def test_contradictions(tmp_path, change, error, message):
    volume = ct_volume(tmp_path / "series")
    dicom_seg.write(random_labels(volume), tmp_path / "seg.dcm")
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    change(seg)
    seg.save_as(tmp_path / "bad.dcm")
    with pytest.raises(error, match=message):
        dicom_seg.read(tmp_path / "bad.dcm")


@needs_data
@pytest.mark.parametrize(
    ("seg", "nrrds"),
    [
        ("liver.dcm", {1: ("liver_seg.nrrd", 1)}),
        ("24x38x3/seg/label.seg", {1: ("24x38x3/nrrd/label.nrrd", 1)}),
        ("23x38x3/seg/label.seg", {1: ("23x38x3/nrrd/label.nrrd", 1)}),
        ("partial_overlaps.dcm", {5: ("partial_overlaps-1.nrrd", 5)}),
    ],
)
def test_dcmqi_twins(seg, nrrds):
    sitk = pytest.importorskip("SimpleITK")
    folder = DATA / "dcmqi" / "segmentations"
    labels = dicom_seg.read(folder / seg)
    for value, (name, theirs) in nrrds.items():
        image = sitk.ReadImage(str(folder / name))
        array = sitk.GetArrayFromImage(image)
        index = np.argwhere(array == theirs)
        world = np.array(
            [image.TransformIndexToPhysicalPoint([int(v) for v in p[::-1]]) for p in index[:2000]]
        )
        here = np.round(geometry.index_from_world(labels.affine, world)).astype(int)
        assert (labels.voxels[tuple(here.T)] == value).all()
        assert np.count_nonzero(labels.voxels == value) == len(index)


@needs_data
def test_dcmqi_sparse_label_map_and_overlap_notes():
    folder = DATA / "dcmqi" / "segmentations"
    sparse = dicom_seg.read(folder / "sparse-labelmap-ppv5.dcm")
    assert sparse.names == {1: "Liver"}
    assert [int((s == 1).sum()) for s in sparse.voxels] == [315, 0, 315]
    overlap = dicom_seg.read(folder / "partial_overlaps.dcm")
    assert "3106 voxels lie in several segments; the smaller one wins" in overlap.notes[0]


@needs_data
def test_highdicom_fractional_sample():
    folder = DATA / "highdicom"
    fractional = dicom_seg.read(folder / "seg_image_ct_true_fractional.dcm")
    theirs = hd.seg.segread(folder / "seg_image_ct_true_fractional.dcm").get_volume(
        rescale_fractional=True
    )
    ours = fractional.probabilities[1]
    assert ours.shape == theirs.array.shape[:3]
    np.testing.assert_allclose(np.sort(ours.ravel()), np.sort(theirs.array.ravel()), atol=1e-3)
    np.testing.assert_array_equal(fractional.voxels == 1, ours >= 0.5)


def test_without_highdicom(tmp_path, monkeypatch):
    volume = ct_volume(tmp_path / "series")
    labels = random_labels(volume)
    dicom_seg.write(labels, tmp_path / "here.dcm")
    for name in [n for n in sys.modules if n.split(".")[0] == "highdicom"]:
        monkeypatch.setitem(sys.modules, name, None)
    again = dicom_seg.read(tmp_path / "here.dcm", volume)
    np.testing.assert_array_equal(again.voxels, labels.voxels)
    assert again.colours == {}
    with pytest.raises(BackendUnavailableError, match=r"needs highdicom; .*sammed\[dicom\]"):
        dicom_seg.write(random_labels(volume), tmp_path / "seg.dcm")
