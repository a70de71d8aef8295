"""DICOM Segmentation objects: written by highdicom, read from anybody.

Writing needs the DICOM images that the labels belong to: every frame lies exactly on one of them
and refers to it. Reading is in `sammed.io.dicom.objects.seg_read`.
"""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import LabelError
from sammed.imaging.volume import LabelVolume, Volume
from sammed.io.dicom.objects.seg_read import LABEL_VALUE, read
from sammed.io.dicom.objects.writing import (
    Algorithm,
    Segment,
    add_patient_and_study,
    decimals,
    image_items,
    long_string,
    new_uid,
    on_source,
    segments_of,
    series_description,
    series_number,
    write_object,
)
from sammed.io.dicom.source import DicomSource
from sammed.io.terminology import Code, codes_for
from sammed.version import __version__

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.dataset import Dataset

__all__ = ["read", "write"]

WHAT = "DICOM SEG"
SERIES_OFFSET = 1000
FRACTION_STEPS = 255
STAND_IN_CLASS = "1.2.840.10008.5.1.4.1.1.2"
"""highdicom is shown every acquired slice as a single CT image; references are put right after."""


def write(
    labels: LabelVolume,
    path: str | os.PathLike[str],
    *,
    source: Volume | None = None,
    force: bool = False,
    fractional: bool = False,
    algorithm: tuple[str, str] = Algorithm(),
) -> None:
    """Write a DICOM SEG: one segment a label that occurs, on the slices as acquired.

    Names become codes by `sammed.io.terminology`; label values that are not 1, 2, 3... are kept
    in the segments' descriptions, so that `read` gives back the same voxels.

    Parameters
    ----------
    labels
        On the grid of a volume that was read from DICOM, or of ``source``.
    path
        The file to write.
    source
        The DICOM volume that the labels belong to, when they came from another file.
    force
        Replace an existing file.
    fractional
        Write ``labels.probabilities`` in steps of 1/255 instead of the voxels.
    algorithm
        Name and version of the model that made the labels; pass it wherever it is known.

    Raises
    ------
    InputError
        If there are no DICOM images to refer to.
    LabelError
        If no voxel is labelled, or probabilities are wanted and missing.
    OutputError
        If the file exists or cannot be written, or the source's headers do not allow it.
    BackendUnavailableError
        If highdicom is not installed.
    """

    def make() -> Segmentation:
        placed = on_source(labels, source, WHAT)
        return build(placed, fractional=fractional, algorithm=Algorithm(*algorithm))

    write_object(make, path, what=WHAT, needs="highdicom", force=force)


def build(labels: LabelVolume, *, fractional: bool, algorithm: Algorithm) -> Segmentation:
    """The SEG as a dataset; ``labels.grid.native`` must be a complete `DicomSource`."""
    source = labels.grid.native
    segments = segments_of(labels, WHAT)
    descriptions = [
        _description(number, segment, algorithm) for number, segment in enumerate(segments, 1)
    ]
    if fractional:
        fractions = _fractions(labels, segments)
        where = _used(fractions, len(source))
        segmentation = _segmentation(source, (1, 1), where, "FRACTIONAL", descriptions, algorithm)
        _put_fractions(segmentation, fractions, source)
    else:
        numbers = _numbers(labels, segments)
        segmentation = _segmentation(
            source, source.size, numbers, "BINARY", descriptions, algorithm
        )
    segmentation.SeriesDescription = series_description(segments)
    _refer_to_source(segmentation, source)
    return segmentation


def _segmentation(
    source: DicomSource,
    size: tuple[int, int],
    pixels: NDArray[Any],
    kind: str,
    descriptions: list[SegmentDescription],
    algorithm: Algorithm,
) -> Segmentation:
    """What highdicom makes of pixels, (n, rows, columns[, segments]), on the acquired slices."""
    from highdicom.seg import Segmentation

    return Segmentation(
        source_images=_stand_ins(source, size),
        pixel_array=pixels,
        segmentation_type=kind,
        fractional_type="PROBABILITY",
        max_fractional_value=FRACTION_STEPS,
        segment_descriptions=descriptions,
        series_instance_uid=new_uid(),
        series_number=series_number(source.header, SERIES_OFFSET),
        sop_instance_uid=new_uid(),
        instance_number=1,
        manufacturer="sammed",
        manufacturer_model_name="sammed",
        software_versions=__version__,
        device_serial_number=__version__,
        content_label="SEGMENTATION",
        content_description=long_string(f"Algorithm: {algorithm.name}"),
        specific_character_set="ISO_IR 192",
    )


def _numbers(labels: LabelVolume, segments: list[Segment]) -> NDArray[np.unsignedinteger]:
    """Segment numbers 1, 2, 3... on the acquired slices, (n, rows, columns)."""
    table = np.zeros(int(labels.voxels.max()) + 1, np.uint16 if len(segments) > 255 else np.uint8)
    for number, segment in enumerate(segments, 1):
        table[segment.label] = number
    acquired: NDArray[np.unsignedinteger] = labels.grid.native.labels_as_acquired(
        labels.file_array()
    )
    return table[acquired]


def _fractions(labels: LabelVolume, segments: list[Segment]) -> list[NDArray[np.float16]]:
    """Each segment's probabilities on the acquired slices, (n, rows, columns)."""
    missing = [s.name for s in segments if s.label not in labels.probabilities]
    if missing:
        raise LabelError(
            f"a fractional SEG needs probabilities, and none were kept for {', '.join(missing)}; "
            "segment with probabilities, or write a binary SEG"
        )
    source: DicomSource = labels.grid.native
    return [
        source.labels_as_acquired(
            labels.grid.reorientation.invert(labels.probabilities[segment.label])
        )
        for segment in segments
    ]


def _used(fractions: list[NDArray[np.float16]], n: int) -> NDArray[np.float32]:
    """Which segment shows on which slice, (n, 1, 1, segments), 0 or 1.

    highdicom gets slices of one pixel, from which it makes everything but the pixels: real
    fractions would cost it four bytes and more for each voxel and segment, all at once.
    """
    used = np.zeros((n, 1, 1, len(fractions)), np.float32)
    for position, fraction in enumerate(fractions):
        used[:, 0, 0, position] = [_steps(fraction[s]).any() for s in range(n)]
    return used


def _put_fractions(
    segmentation: Segmentation, fractions: list[NDArray[np.float16]], source: DicomSource
) -> None:
    """Give every frame its pixels, in the order that the frames are described in."""
    stand_ins = {_stand_in_uid(s): s for s in range(len(source))}
    frames = []
    for group in segmentation.PerFrameFunctionalGroupsSequence:
        image = group.DerivationImageSequence[0].SourceImageSequence[0]
        number = _segment_number(segmentation, group)
        fraction = fractions[number - 1][stand_ins[image.ReferencedSOPInstanceUID]]
        frames.append(_steps(fraction).tobytes())
    pixels = b"".join(frames)
    segmentation.Rows, segmentation.Columns = source.size
    segmentation.PixelData = pixels + b"\0" * (len(pixels) % 2)


def _segment_number(segmentation: Segmentation, group: Dataset) -> int:
    """Which segment a frame shows; a single segment is said once for all frames."""
    if "SegmentIdentificationSequence" not in group:
        group = segmentation.SharedFunctionalGroupsSequence[0]
    return int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _steps(fraction: NDArray[np.float16]) -> NDArray[np.uint8]:
    whole = np.nan_to_num(fraction.astype(np.float32)) * FRACTION_STEPS
    return np.asarray(np.clip(np.round(whole), 0, FRACTION_STEPS), np.uint8)


def _stand_ins(source: DicomSource, size: tuple[int, int]) -> list[Dataset]:
    """Each acquired slice as highdicom likes it: a single CT image, with geometry to the digit.

    Geometry comes from ``source.affines``, so that orientations that differ by rounding, frames
    of an enhanced image and single images are all the same thing here.
    """
    from pydicom.dataset import Dataset

    spacings = np.sqrt((source.affines[0, :3, :3] ** 2).sum(axis=0))
    unit = source.affines[0, :3, :3] / spacings
    common = Dataset()
    add_patient_and_study(common, source.header)
    for keyword in ("SeriesInstanceUID", "FrameOfReferenceUID", "LossyImageCompression"):
        if source.header.get(keyword):
            common[keyword] = copy.deepcopy(source.header[keyword])
    common.PositionReferenceIndicator = source.header.get("PositionReferenceIndicator") or ""
    common.SOPClassUID = STAND_IN_CLASS
    common.Modality = str(source.header.get("Modality") or "OT")
    common.Rows, common.Columns = size
    common.ImageOrientationPatient = decimals([*unit[:, 2], *unit[:, 1]])
    common.PixelSpacing = decimals(spacings[1:])
    common.SliceThickness = source.header.get("SliceThickness") or decimals(spacings[0])[0]
    common.SpacingBetweenSlices = decimals(spacings[0])[0]
    slices = []
    for s in range(len(source)):
        image = Dataset()
        image.update(common)
        image.SOPInstanceUID = _stand_in_uid(s)
        image.ImagePositionPatient = decimals(source.affines[s, :3, 3])
        slices.append(image)
    return slices


def _stand_in_uid(s: int) -> str:
    return f"1.{s}"


def _refer_to_source(segmentation: Segmentation, source: DicomSource) -> None:
    """Replace the stand-ins, everywhere, by the images that they stood for."""
    images = image_items(source)
    segmentation.SourceImageSequence = images
    segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence = copy.deepcopy(images)
    stand_ins = {_stand_in_uid(s): reference for s, reference in enumerate(source.references)}
    for group in segmentation.PerFrameFunctionalGroupsSequence:
        for derivation in group.DerivationImageSequence:
            for item in derivation.SourceImageSequence:
                reference = stand_ins.get(item.ReferencedSOPInstanceUID)
                if reference is None:  # done: segments on one slice share the item
                    continue
                item.ReferencedSOPClassUID = reference.sop_class_uid
                item.ReferencedSOPInstanceUID = reference.sop_instance_uid
                if reference.frame is not None:
                    item.ReferencedFrameNumber = reference.frame


def _description(number: int, segment: Segment, algorithm: Algorithm) -> SegmentDescription:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes as standard

    codes = codes_for(segment.name)
    description = SegmentDescription(
        segment_number=number,
        segment_label=long_string(segment.name),
        segmented_property_category=_concept(codes.category),
        segmented_property_type=_concept(codes.type),
        algorithm_type="SEMIAUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=long_string(algorithm.name),
            family=standard.cid7162.ArtificialIntelligence,
            version=long_string(algorithm.version),
        ),
        anatomic_regions=[_concept(codes.region)] if codes.region else None,
        display_color=CIELabColor.from_rgb(*segment.colour),
    )
    description.SegmentDescription = LABEL_VALUE.format(segment.label)
    if codes.side and codes.region:
        region = description.AnatomicRegionSequence[0]
        region.AnatomicRegionModifierSequence = [_concept(codes.side)]
    elif codes.side:
        type_ = description.SegmentedPropertyTypeCodeSequence[0]
        type_.SegmentedPropertyTypeModifierCodeSequence = [_concept(codes.side)]
    return description


def _concept(code: Code) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)
