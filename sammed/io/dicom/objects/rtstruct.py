"""RTSTRUCT: label maps as outlines in patient space, slice by slice.

Outlines are CLOSED_PLANAR and a hole is joined to its outline by a channel of no width, the
keyhole technique. It is the standard's own way for this type and the one that readers cannot get
wrong: a separate inner outline is a hole for some systems and a second piece for others.
Reading is in `sammed.io.dicom.objects.rtstruct_read`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from sammed.imaging.volume import LabelVolume, Volume
from sammed.io.dicom.objects.contours import Polygon, outline
from sammed.io.dicom.objects.rtstruct_read import read
from sammed.io.dicom.objects.writing import (
    Algorithm,
    Segment,
    add_patient_and_study,
    date_and_time,
    image_item,
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
    from pydicom.dataset import Dataset

__all__ = ["read", "write"]

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
WHAT = "RTSTRUCT"
SERIES_OFFSET = 2000
DECIMALS = 4
"""Outline points are written to 0.1 micrometre."""


def write(
    labels: LabelVolume,
    path: str | os.PathLike[str],
    *,
    source: Volume | None = None,
    force: bool = False,
    algorithm: tuple[str, str] = Algorithm(),
) -> None:
    """Write an RTSTRUCT: one ROI a label that occurs, outlined on the slices as acquired.

    Outlines run half-way between voxel centres inside and outside; filled at voxel centres they
    give back the same voxels. The ROI number is the label value.

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
    algorithm
        Name and version of the model that made the labels; pass it wherever it is known.

    Raises
    ------
    InputError
        If there are no DICOM images to refer to.
    LabelError
        If no voxel is labelled.
    OutputError
        If the file exists or cannot be written, or the source's headers do not allow it.
    BackendUnavailableError
        If contourpy is not installed.
    """

    def make() -> Dataset:
        return build(on_source(labels, source, WHAT), Algorithm(*algorithm))

    write_object(make, path, what=WHAT, needs="contourpy", force=force)


def build(labels: LabelVolume, algorithm: Algorithm) -> Dataset:
    """The RTSTRUCT as a dataset; ``labels.grid.native`` must be a complete `DicomSource`."""
    source: DicomSource = labels.grid.native
    segments = segments_of(labels, WHAT)
    dataset = _frame(source)
    add_patient_and_study(dataset, source.header)
    date, time = date_and_time()
    dataset.SeriesDescription = series_description(segments)
    dataset.StructureSetLabel = "sammed"
    dataset.StructureSetName = dataset.SeriesDescription
    dataset.StructureSetDate, dataset.StructureSetTime = date, time
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = date, time
    dataset.ReferencedFrameOfReferenceSequence = [_referenced_frame(source)]
    dataset.StructureSetROISequence = [_roi(s, source, algorithm) for s in segments]
    dataset.ROIContourSequence = _outlines(labels, segments)
    dataset.RTROIObservationsSequence = [_observation(s) for s in segments]
    return dataset


def _frame(source: DicomSource) -> Dataset:
    """What does not depend on the labels: file meta, series, equipment."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ImplicitVRLittleEndian

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = UID(SOP_CLASS)
    # implicit: with explicit VRs a contour of more than 64 kB cannot be a decimal string
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = SOP_CLASS
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(new_uid())
    dataset.Modality = "RTSTRUCT"
    dataset.SeriesInstanceUID = new_uid()
    dataset.SeriesNumber = series_number(source.header, SERIES_OFFSET)
    dataset.InstanceNumber = 1
    dataset.OperatorsName = None
    dataset.Manufacturer = dataset.ManufacturerModelName = "sammed"
    dataset.SoftwareVersions = __version__
    dataset.FrameOfReferenceUID = source.frame_of_reference_uid
    dataset.PositionReferenceIndicator = source.header.get("PositionReferenceIndicator") or ""
    dataset.ApprovalStatus = "UNAPPROVED"
    return dataset


def _referenced_frame(source: DicomSource) -> Dataset:
    """The frame of reference, with the study, the series and every image of it."""
    from pydicom.dataset import Dataset

    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = source.series_uid
    series.ContourImageSequence = image_items(source)
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"  # retired, and still what readers ask
    study.ReferencedSOPInstanceUID = source.study_uid
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = source.frame_of_reference_uid
    frame.RTReferencedStudySequence = [study]
    return frame


def _roi(segment: Segment, source: DicomSource, algorithm: Algorithm) -> Dataset:
    from pydicom.dataset import Dataset

    roi = Dataset()
    roi.ROINumber = segment.label
    roi.ReferencedFrameOfReferenceUID = source.frame_of_reference_uid
    roi.ROIName = long_string(segment.name)
    stated = algorithm != Algorithm()
    roi.ROIGenerationAlgorithm = "SEMIAUTOMATIC" if stated else None
    if stated:
        roi.ROIGenerationDescription = long_string(f"{algorithm.name} {algorithm.version}")
    return roi


def _observation(segment: Segment) -> Dataset:
    from pydicom.dataset import Dataset

    observation = Dataset()
    observation.ObservationNumber = observation.ReferencedROINumber = segment.label
    codes = codes_for(segment.name)
    if codes.known:
        observation.RTROIIdentificationCodeSequence = [_concept(codes.type)]
    observation.RTROIInterpretedType = ""
    observation.ROIInterpreter = None
    return observation


def _concept(code: Code) -> Dataset:
    from pydicom.dataset import Dataset

    concept = Dataset()
    concept.CodeValue, concept.CodingSchemeDesignator = code.value, code.scheme
    concept.CodeMeaning = code.meaning
    return concept


def _outlines(labels: LabelVolume, segments: list[Segment]) -> list[Dataset]:
    """The ROI contour items, one a segment, with its outlines slice by slice."""
    from pydicom.dataset import Dataset

    source: DicomSource = labels.grid.native
    acquired = source.labels_as_acquired(labels.file_array())
    items = {}
    for segment in segments:
        item = Dataset()
        item.ReferencedROINumber = segment.label
        item.ROIDisplayColor = list(segment.colour)
        item.ContourSequence = []
        items[segment.label] = item
    for s, slice_labels in enumerate(acquired):
        for label in (int(v) for v in np.unique(slice_labels) if v):
            contours = items[label].ContourSequence
            for polygon in outline(slice_labels == label):
                contours.append(_contour(polygon, source, s, len(contours) + 1))
    return list(items.values())


def _contour(polygon: Polygon, source: DicomSource, s: int, number: int) -> Dataset:
    from pydicom.dataset import Dataset

    affine = source.affines[s]
    points = polygon @ affine[:3, 1:3].T + affine[:3, 3]
    contour = Dataset()
    contour.ContourNumber = number
    contour.ContourImageSequence = [image_item(source.references[s])]
    contour.ContourGeometricType = "CLOSED_PLANAR"
    contour.NumberOfContourPoints = len(points)
    values = np.round(points, DECIMALS).ravel() + 0.0
    contour.ContourData = [f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".") for value in values]
    return contour
