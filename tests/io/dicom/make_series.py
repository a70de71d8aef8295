"""Synthetic DICOM series in plain pydicom: every voxel and every position is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

SOP_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "OT": "1.2.840.10008.5.1.4.1.1.7",
}
ENHANCED_CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2.1", "MR": "1.2.840.10008.5.1.4.1.1.4.1"}
SHAPE = (5, 7, 11)


@dataclass
class Series:
    """What was written: the truth for the tests."""

    folder: Path
    paths: list[Path]
    voxels: np.ndarray
    """(k, j, i) real-world values, in the order of ``affine``."""
    affine: np.ndarray
    """(k, j, i, 1) to LPS mm."""
    uid: str


def oblique_affine(spacing=(2.5, 0.8, 0.7), origin=(-31.5, 12.25, 40.0), angles=(0.2, -0.1, 0.3)):
    """Affine (k, j, i) to LPS mm of a double-oblique, right-handed axial stack."""
    a, b, c = angles
    about_l = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_p = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_s = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = (about_s @ about_p @ about_l)[:, ::-1] * np.array(spacing)
    affine[:3, 3] = origin
    return affine


def straight_affine(spacing=(2.5, 0.8, 0.7), origin=(-31.5, 12.25, 40.0)):
    """Affine (k, j, i) to LPS mm of a plain axial stack."""
    return oblique_affine(spacing, origin, (0.0, 0.0, 0.0))


def tilted_affine(degrees: float, spacing=(2.5, 0.8, 0.7), origin=(-31.5, 12.25, 40.0)):
    """Sheared affine of a CT with gantry tilt: slices turned about L, stacked along S."""
    t = np.radians(degrees)
    affine = straight_affine(spacing, origin)
    affine[:3, 1] = np.array([0, np.cos(t), np.sin(t)]) * spacing[1]
    affine[:3, 0] = (0, 0, spacing[0])
    return affine


def phantom(shape=SHAPE, low=-1000, high=1500, seed=0) -> np.ndarray:
    """Whole numbers, (k, j, i) int16, different in every voxel's neighbourhood."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.int16)


def decimal(value: float) -> str:
    """DICOM decimal string, at most 16 characters."""
    for digits in range(14, 4, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    raise ValueError(value)


def write(ds: Dataset, path: Path, syntax: UID = ExplicitVRLittleEndian) -> Path:
    """Write a dataset as a Part 10 file; native pixels only (compress the result if need be)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.get("SOPClassUID") or SOP_CLASSES["OT"]
    meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID") or generate_uid()
    meta.TransferSyntaxUID = syntax
    path.parent.mkdir(parents=True, exist_ok=True)
    file = FileDataset(
        str(path),
        ds,
        preamble=b"\0" * 128,
        file_meta=meta,
        is_implicit_VR=syntax.is_implicit_VR,
        is_little_endian=syntax.is_little_endian,
    )
    file.save_as(path, enforce_file_format=True)
    return path


def patient_and_study(seed: str = "1") -> Dataset:
    """The modules that all images of a study share."""
    ds = Dataset()
    ds.PatientName = "Doe^Jane"
    ds.PatientID = "ID-4711"
    ds.PatientBirthDate = "19500102"
    ds.PatientSex = "F"
    ds.StudyInstanceUID = generate_uid(entropy_srcs=["study", seed])
    ds.StudyDate = "20240229"
    ds.StudyTime = "101112"
    ds.StudyID = "S1"
    ds.AccessionNumber = "ACC-99"
    ds.ReferringPhysicianName = "House^Gregory"
    ds.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame of reference", seed])
    ds.PositionReferenceIndicator = ""
    ds.Manufacturer = "Maker"
    ds.ManufacturerModelName = "Scanner"
    ds.SoftwareVersions = "1"
    ds.DeviceSerialNumber = "7"
    return ds


def put_pixels(ds: Dataset, stored: np.ndarray, bits: int | None = None) -> None:
    """Pixel module for stored values (rows, columns[, 3]) or (frames, rows, columns)."""
    colour = stored.ndim == 3 and stored.shape[-1] == 3
    ds.SamplesPerPixel = 3 if colour else 1
    ds.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = stored.shape[:2] if colour else stored.shape[-2:]
    ds.BitsAllocated = stored.dtype.itemsize * 8
    ds.BitsStored = bits or ds.BitsAllocated
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    raw = np.ascontiguousarray(stored).astype(stored.dtype.newbyteorder("<")).tobytes()
    ds.PixelData = raw + b"\0" * (len(raw) % 2)
    ds["PixelData"].VR = "OW" if ds.BitsAllocated == 16 else "OB"


def make_slice(
    stored: np.ndarray,
    affine: np.ndarray,
    k: int,
    modality: str = "CT",
    seed: str = "1",
    slope: float = 1,
    intercept: float = 0,
    bits: int | None = None,
) -> Dataset:
    """One single-frame image: ``stored`` (rows, columns) at index ``k`` of the affine."""
    ds = patient_and_study(seed)
    ds.SOPClassUID = SOP_CLASSES[modality]
    ds.SOPInstanceUID = generate_uid(entropy_srcs=["image", seed, str(k)])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=["series", seed])
    ds.Modality = modality
    ds.SeriesNumber = 3
    ds.SeriesDescription = f"Series {seed}"
    ds.InstanceNumber = k + 1
    ds.AcquisitionNumber = 1
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.PatientPosition = "HFS"
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(0))
    unit = affine[:3, :3] / spacing
    ds.ImageOrientationPatient = [decimal(v) for v in (*unit[:, 2], *unit[:, 1])]
    ds.ImagePositionPatient = [decimal(v) for v in (affine @ (k, 0, 0, 1))[:3]]
    ds.PixelSpacing = [decimal(spacing[1]), decimal(spacing[2])]
    ds.SliceThickness = decimal(spacing[0])
    if modality in {"CT", "PT"} or (slope, intercept) != (1, 0):
        ds.RescaleSlope, ds.RescaleIntercept = decimal(slope), decimal(intercept)
    if modality == "CT":
        ds.RescaleType = "HU"
        ds.KVP = "120"
    if modality == "MR":
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "SE", "NONE", ""
        ds.MRAcquisitionType, ds.EchoTime, ds.RepetitionTime = "2D", "10", "500"
        ds.EchoTrainLength = 1
    put_pixels(ds, stored, bits)
    return ds


def make_series(
    folder: Path,
    shape: tuple[int, int, int] = SHAPE,
    affine: np.ndarray | None = None,
    modality: str = "CT",
    *,
    voxels: np.ndarray | None = None,
    slopes: Sequence[float] | float = 1,
    intercepts: Sequence[float] | float | None = None,
    tilt: float = 0,
    bits: int | None = None,
    drop: Iterable[int] = (),
    seed: str = "1",
    syntax: UID = ExplicitVRLittleEndian,
    name: Callable[[int], str] = lambda k: f"IM{(k * 7) % 1000:04d}.dcm",
    edit: Callable[[Dataset, int], Dataset | None] | None = None,
) -> Series:
    """Write a single-frame series whose voxels and affine are known.

    Parameters
    ----------
    folder
        Created if need be. File names follow ``name(k)`` and are not in the order of positions.
    shape, affine
        (k, j, i) and its map to LPS mm; a double-oblique one by default.
    voxels
        Stored values (k, j, i) in the dtype to store; default int16 noise (uint16 for MR).
    slopes, intercepts
        Rescale of all slices or of each; the intercept defaults to -1024 with unsigned CT, else 0.
    tilt
        Gantry tilt in degrees; replaces the affine by a straight stack sheared by it.
    drop
        Slices that are left out.
    edit
        Called with each dataset and k before writing; may change it in place, or return another.

    Returns
    -------
    Series
        With real-world voxels (dropped slices included) and the affine.
    """
    if affine is None:
        affine = tilted_affine(tilt) if tilt else oblique_affine()
    if voxels is None:
        voxels = phantom(shape)
        if modality == "MR":
            voxels = (voxels.astype(np.int32) + 1000).astype(np.uint16)
    n = len(voxels)
    slopes = np.broadcast_to(np.asarray(slopes, float), (n,))
    if intercepts is None:
        intercepts = -1024 if modality == "CT" and voxels.dtype.kind == "u" else 0
    intercepts = np.broadcast_to(np.asarray(intercepts, float), (n,))
    paths, uid = [], ""
    for k in range(n):
        if k in set(drop):
            continue
        ds = make_slice(
            voxels[k], affine, k, modality, seed, float(slopes[k]), float(intercepts[k]), bits
        )
        if edit is not None:
            ds = edit(ds, k) or ds
        uid = str(ds.get("SeriesInstanceUID", ""))
        paths.append(write(ds, Path(folder) / name(k), syntax))
    extra = (1,) * (voxels.ndim - 1)
    real = voxels * slopes.reshape(-1, *extra) + intercepts.reshape(-1, *extra)
    return Series(Path(folder), paths, real, affine, uid)


def make_enhanced(
    path: Path,
    shape: tuple[int, int, int] = SHAPE,
    affine: np.ndarray | None = None,
    modality: str = "CT",
    *,
    voxels: np.ndarray | None = None,
    times: int = 1,
    frame_order: Sequence[int] | None = None,
    slopes: Sequence[float] | float = 1,
    intercepts: Sequence[float] | float = 0,
    seed: str = "1",
    edit: Callable[[Dataset], None] | None = None,
) -> Series:
    """Write one enhanced multi-frame image; with ``times`` > 1 frames repeat every position.

    ``voxels`` are stored values (times * k, j, i), time slowest; ``frame_order`` says in which
    order they are stored.
    """
    affine = oblique_affine() if affine is None else affine
    if voxels is None:
        voxels = phantom((shape[0] * times, *shape[1:]))
    n, per_time = len(voxels), len(voxels) // times
    order = list(range(n)) if frame_order is None else list(frame_order)
    slopes = np.broadcast_to(np.asarray(slopes, float), (n,))
    intercepts = np.broadcast_to(np.asarray(intercepts, float), (n,))
    ds = make_slice(voxels[0], affine, 0, modality, seed)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(ds, keyword)
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType", "SliceThickness"):
        if keyword in ds:
            delattr(ds, keyword)
    ds.SOPClassUID = ENHANCED_CLASSES[modality]
    put_pixels(ds, voxels[order])
    ds.NumberOfFrames = n
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(0))
    unit = affine[:3, :3] / spacing
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [decimal(spacing[1]), decimal(spacing[2])]
    measures.SliceThickness = decimal(spacing[0])
    plane.ImageOrientationPatient = [decimal(v) for v in (*unit[:, 2], *unit[:, 1])]
    shared.PixelMeasuresSequence = DicomSequence([measures])
    shared.PlaneOrientationSequence = DicomSequence([plane])
    ds.SharedFunctionalGroupsSequence = DicomSequence([shared])
    groups = []
    for f in order:
        group, position, content, value = Dataset(), Dataset(), Dataset(), Dataset()
        k = f % per_time
        position.ImagePositionPatient = [decimal(v) for v in (affine @ (k, 0, 0, 1))[:3]]
        content.DimensionIndexValues = [f // per_time + 1, k + 1]
        content.StackID, content.InStackPositionNumber = "1", k + 1
        content.TemporalPositionIndex = f // per_time + 1
        value.RescaleSlope, value.RescaleIntercept = decimal(slopes[f]), decimal(intercepts[f])
        value.RescaleType = "HU" if modality == "CT" else "US"
        group.PlanePositionSequence = DicomSequence([position])
        group.FrameContentSequence = DicomSequence([content])
        group.PixelValueTransformationSequence = DicomSequence([value])
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = DicomSequence(groups)
    if edit is not None:
        edit(ds)
    write(ds, Path(path))
    real = voxels * slopes.reshape(-1, 1, 1) + intercepts.reshape(-1, 1, 1)
    return Series(Path(path).parent, [Path(path)], real, affine, str(ds.SeriesInstanceUID))
