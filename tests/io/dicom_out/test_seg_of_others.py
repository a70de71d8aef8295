"""DICOM SEG as dcmqi and others write it: their fields, in their order, made here."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from sammed import io
from sammed.cli import main
from sammed.errors import UnreadableFileError
from sammed.imaging import geometry
from sammed.io.dicom.objects import seg as dicom_seg
from tests.io.dicom.make_series import make_series, oblique_affine, straight_affine
from tests.io.dicom_out.sources import ct_volume, random_labels

SHAPE = (9, 10, 13)


def code(value, scheme, meaning):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return [item]


def dcmqi_segment(number, label):
    segment = Dataset()
    segment.SegmentedPropertyCategoryCodeSequence = code("85756007", "SCT", "Tissue")
    segment.SegmentNumber, segment.SegmentLabel = number, label
    segment.SegmentDescription, segment.SegmentAlgorithmType = "Tissue", "MANUAL"
    segment.RecommendedDisplayCIELabValue = [43803, 26565, 37722]
    segment.SegmentedPropertyTypeCodeSequence = code("51114001", "SCT", "Artery")
    return segment


def dcmqi_frame(source, segment, position, indices):
    group, derivation, image = Dataset(), Dataset(), Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = source
    image.PurposeOfReferenceCodeSequence = code("121322", "DCM", "Source image for processing")
    derivation.SourceImageSequence = [image]
    derivation.DerivationCodeSequence = code("113076", "DCM", "Segmentation")
    content, place, identification = Dataset(), Dataset(), Dataset()
    content.DimensionIndexValues = indices
    place.ImagePositionPatient = [f"{v:e}" for v in position]
    identification.ReferencedSegmentNumber = segment
    group.DerivationImageSequence = [derivation]
    group.FrameContentSequence = [content]
    group.PlanePositionSequence = [place]
    group.SegmentIdentificationSequence = [identification]
    return group


def dcmqi(volume, masks, flip=(1, 1, 1)):
    """A SEG as dcmqi 1.3 writes it: numbers in ``%e``, frames by segment, empty slices left out.

    ``masks``: label → (k, j, i) bool on the file's grid; ``flip``: axes that the label map given
    to dcmqi (a NIfTI file, say) has the other way round.
    """
    source = volume.grid.native
    affine = volume.grid.affine.copy()
    for axis, sign in enumerate(flip):
        if sign < 0:
            affine[:3, 3] += affine[:3, axis] * (volume.grid.shape[axis] - 1)
            affine[:3, axis] *= -1
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    ds = Dataset()
    ds.ImageType, ds.SOPClassUID = ["DERIVED", "PRIMARY"], "1.2.840.10008.5.1.4.1.1.66.4"
    ds.SOPInstanceUID, ds.Modality, ds.Manufacturer = generate_uid(), "SEG", "QIICR"
    ds.ManufacturerModelName = "https://github.com/QIICR/dcmqi.git"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = source.study_uid, generate_uid()
    ds.FrameOfReferenceUID, ds.SeriesNumber = source.frame_of_reference_uid, "100"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = volume.grid.shape[1:]
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit = ds.PixelRepresentation = 0
    ds.LossyImageCompression, ds.SegmentationType = "00", "BINARY"
    ds.SegmentSequence = [dcmqi_segment(n, name) for n, name in enumerate(masks, 1)]
    ds.SegmentsOverlap, ds.ContentLabel, ds.ContentDescription = "UNDEFINED", "DCMQI", "DCMQI"
    orientation, measures, shared = Dataset(), Dataset(), Dataset()
    unit = affine[:3, :3] / spacing
    orientation.ImageOrientationPatient = [f"{v:e}" for v in (*unit[:, 2], *unit[:, 1])]
    measures.SliceThickness = measures.SpacingBetweenSlices = f"{spacing[0]:e}"
    measures.PixelSpacing = [f"{spacing[1]:e}", f"{spacing[2]:e}"]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    ds.SharedFunctionalGroupsSequence = [shared]
    groups, bits = [], []
    for number, mask in enumerate(masks.values(), 1):
        turned = np.flip(mask, [a for a, sign in enumerate(flip) if sign < 0])
        for k in np.flatnonzero(turned.any(axis=(1, 2))):
            reference = source.references[k if flip[0] > 0 else len(turned) - 1 - k][:2]
            position = (affine @ (k, 0, 0, 1))[:3]
            groups.append(dcmqi_frame(reference, number, position, [number, int(k) + 1]))
            bits.append(turned[k].ravel())
    ds.PerFrameFunctionalGroupsSequence, ds.NumberOfFrames = groups, str(len(groups))
    packed = np.packbits(np.concatenate(bits), bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) % 2)
    ds["PixelData"].VR = "OB"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationVersionName = "OFFIS_DCMTK_366"
    return ds


def made_masks():
    vessel, lesion = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    vessel[2:7, 2:8, 3:11] = True
    vessel[4, 4, 4] = False
    lesion[[3, 6], 1:4, 5:9] = True  # in part within the vessel, and not on every slice
    return {"GREEN": vessel, "ORANGE": lesion}


@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, 1)])
@pytest.mark.parametrize("make", [straight_affine, oblique_affine])
def test_dcmqi(make, flip, tmp_path):
    volume = ct_volume(tmp_path / "ct", SHAPE, make(origin=(-235.2, -226.8, -1287.69)))
    masks = made_masks()
    path = tmp_path / "seg.dcm"
    dcmqi(volume, masks, flip).save_as(path, enforce_file_format=True)
    assert io.holds_labels(path)
    expected = masks["GREEN"] * 1
    expected[masks["ORANGE"]] = 2
    labels = io.read_labels(path, like=volume)
    np.testing.assert_array_equal(labels.file_array(), expected)
    assert labels.grid is volume.grid
    assert labels.names == {1: "GREEN", 2: "ORANGE"}
    assert set(labels.colours) == {1, 2}
    assert "16 voxels lie in several segments; the smaller one wins" in labels.notes[0]
    alone = io.read_labels(path)  # on the smallest grid
    for value in (1, 2):
        found = geometry.apply_affine(alone.affine, np.argwhere(alone.voxels == value))
        wanted = geometry.apply_affine(volume.affine, np.argwhere(labels.voxels == value))
        np.testing.assert_allclose(
            found[np.lexsort(np.round(found, 2).T)],
            wanted[np.lexsort(np.round(wanted, 2).T)],
            atol=2e-3,
        )


def test_only_slices_that_hold_something(tmp_path, capsys):
    """On the grid of the image where the image is given: by Python and by the command."""
    make_series(tmp_path / "ct", SHAPE)
    volume = io.read(tmp_path / "ct")
    mask = np.zeros(SHAPE, bool)
    mask[4, 2:5, 3:9] = True
    dcmqi(volume, {"liver": mask}).save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    assert io.read_labels(tmp_path / "seg.dcm").shape[0] == 1
    out = tmp_path / "seg.nii.gz"
    assert main(["convert", str(tmp_path / "seg.dcm"), "--like", str(tmp_path / "ct"),
                 "-o", str(out)]) == 0  # fmt: skip
    assert "13x10x9 voxels" in capsys.readouterr().err
    again = io.read_labels(out)
    assert again.shape == volume.shape
    np.testing.assert_allclose(again.affine, volume.affine, atol=1e-4)
    np.testing.assert_array_equal(volume.grid.reorientation.invert(again.voxels) == 1, mask)


@pytest.fixture
def written(tmp_path):
    volume = ct_volume(tmp_path / "ct", SHAPE)
    labels = random_labels(volume)
    dicom_seg.write(labels, tmp_path / "seg.dcm")
    return volume, labels, pydicom.dcmread(tmp_path / "seg.dcm"), tmp_path / "other.dcm"


def test_everything_frame_by_frame(written):
    """Without what all frames share (OHIF issue 4837)."""
    volume, labels, seg, path = written
    shared = seg.SharedFunctionalGroupsSequence[0]
    for group in seg.PerFrameFunctionalGroupsSequence:
        for element in shared:
            group[element.tag] = element
    del seg.SharedFunctionalGroupsSequence
    seg.save_as(path)
    np.testing.assert_array_equal(dicom_seg.read(path, volume).voxels, labels.voxels)


def test_one_segment_said_once_for_all(written):
    """SegmentIdentificationSequence among the shared groups (dcmqi issue 428)."""
    volume, labels, _, path = written
    masks = {"liver": labels.file_array() == 4}
    seg = dcmqi(volume, masks)
    shared = seg.SharedFunctionalGroupsSequence[0]
    for group in seg.PerFrameFunctionalGroupsSequence:
        shared.SegmentIdentificationSequence = group.SegmentIdentificationSequence
        del group.SegmentIdentificationSequence
    seg.save_as(path, enforce_file_format=True)
    np.testing.assert_array_equal(dicom_seg.read(path, volume).file_array() == 1, masks["liver"])


def test_cropped_in_plane(written):
    """Rows and columns of the object alone, as pydicom-seg can write."""
    volume, _, _, path = written
    mask = np.zeros(SHAPE, bool)
    mask[3:6, 4:8, 5:9] = np.random.default_rng(0).integers(0, 2, (3, 4, 4))
    seg = dcmqi(volume, {"liver": mask})
    seg.Rows, seg.Columns = 6, 7
    cut = mask[:, 3:9, 4:11]
    kept = np.flatnonzero(mask.any(axis=(1, 2)))
    packed = np.packbits(cut[kept].ravel(), bitorder="little").tobytes()
    seg.PixelData = packed + b"\0" * (len(packed) % 2)
    for k, group in zip(kept, seg.PerFrameFunctionalGroupsSequence, strict=True):
        position = (volume.grid.affine @ (k, 3, 4, 1))[:3]
        group.PlanePositionSequence[0].ImagePositionPatient = [f"{v:e}" for v in position]
    seg.save_as(path, enforce_file_format=True)
    np.testing.assert_array_equal(dicom_seg.read(path, volume).file_array() == 1, mask)


def test_two_segments_of_one_number(written):
    volume, _, _, path = written
    seg = dcmqi(volume, made_masks())
    seg.SegmentSequence[1].SegmentNumber = 1
    for group in seg.PerFrameFunctionalGroupsSequence:
        group.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 1
    seg.save_as(path, enforce_file_format=True)
    with pytest.raises(
        UnreadableFileError, match="two segments of number 1, 'GREEN' and 'ORANGE', and its frames"
    ):
        dicom_seg.read(path, volume)


@pytest.mark.parametrize("stated", ["-2.5", None, "0"])
@pytest.mark.parametrize("kept", [[1, 3, 7], [4]])
def test_gaps_whose_spacing_is_not_said_plainly(stated, kept, written):
    """With a sign (Slicer issue 7937), or not at all: the image's slices are what counts."""
    volume, _, _, path = written
    mask = np.zeros(SHAPE, bool)
    mask[kept, 3:7, 2:9] = True
    seg = dcmqi(volume, {"liver": mask})
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = stated
    if stated is None:
        del measures.SpacingBetweenSlices, measures.SliceThickness
    seg.save_as(path, enforce_file_format=True)
    np.testing.assert_array_equal(dicom_seg.read(path, volume).file_array() == 1, mask)


def test_frames_that_begin_with_a_byte_each(tmp_path):
    shape = (6, 9, 9)
    volume = ct_volume(tmp_path / "ct", shape)
    mask = np.random.default_rng(0).random(shape) > 0.5
    seg = dcmqi(volume, {"liver": mask})
    raw = b"".join(np.packbits(f.ravel(), bitorder="little").tobytes() for f in mask)
    seg.PixelData = raw + b"\0" * (len(raw) % 2)
    seg.save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    labels = dicom_seg.read(tmp_path / "seg.dcm", volume)
    np.testing.assert_array_equal(labels.file_array() == 1, mask)
    assert labels.notes == (
        "seg.dcm: each frame begins with a byte of its own, against the standard; read so",
    )
    seg.PixelData = raw + b"\0" * 12
    seg.save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    with pytest.raises(UnreadableFileError, match="78 bytes of pixels are too few or too many"):
        dicom_seg.read(tmp_path / "seg.dcm", volume)


def test_a_segment_without_a_voxel(written):
    volume, _, _, path = written
    masks = made_masks()
    masks["BLUE"] = masks["GREEN"] & False
    dcmqi(volume, masks).save_as(path, enforce_file_format=True)
    labels = dicom_seg.read(path, volume)
    assert labels.names[3] == "BLUE"
    assert "other.dcm: segments without a voxel of their own: BLUE" in labels.notes


def test_a_label_map_with_a_value_that_is_not_described(written):
    volume, _, _, path = written
    seg = dcmqi(volume, made_masks())
    for group in seg.PerFrameFunctionalGroupsSequence:
        del group.SegmentIdentificationSequence
    seg.SegmentationType, seg.BitsAllocated, seg.BitsStored, seg.HighBit = "LABELMAP", 8, 8, 7
    frames = len(seg.PerFrameFunctionalGroupsSequence)
    stored = np.random.default_rng(0).choice([0, 1, 2, 5], (frames, *SHAPE[1:])).astype(np.uint8)
    seg.PixelData = stored.tobytes() + b"\0" * (stored.size % 2)
    seg.save_as(path, enforce_file_format=True)
    with pytest.raises(UnreadableFileError, match=r"segments \[5\] are used but not described"):
        dicom_seg.read(path, volume)
