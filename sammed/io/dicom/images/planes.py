"""Image planes: every single-frame image, and every frame of an enhanced multi-frame one, alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from sammed.errors import UnreadableFileError, UnsupportedFormatError
from sammed.imaging.volume import HeaderWindow
from sammed.io.dicom import tags
from sammed.io.dicom.file import DicomFile
from sammed.io.dicom.pixels.modality_table import ModalityTable, modality_table
from sammed.io.dicom.pixels.module import PixelModule, pixel_module

MAX_FRAMES = 200_000

Key = float | str

_SPLIT_BY: Mapping[str, str] = {
    "StackID": "stack",
    "EchoTime": "echo time",
    "EchoNumbers": "echo",
    "ComplexImageComponent": "component",
    "ImageType": "image type",
    "TemporalPositionIdentifier": "time point",
    "TemporalPositionIndex": "time point",
    "DiffusionBValue": "b-value",
    "DiffusionGradientOrientation": "gradient direction",
    "InversionTime": "inversion time",
    "FlipAngle": "flip angle",
    "NominalPercentageOfCardiacPhase": "cardiac phase",
    "TriggerTime": "trigger time",
    "NominalCardiacTriggerDelayTime": "trigger delay",
    "SequenceName": "sequence",
    "AcquisitionNumber": "acquisition",
    "SeriesNumber": "series number",
    "SeriesDescription": "series description",
    "StudyInstanceUID": "study",
    "FrameOfReferenceUID": "frame of reference",
    "ConvolutionKernel": "kernel",
    "KVP": "tube voltage",
    "ContrastBolusAgent": "contrast agent",
    "ContrastBolusStartTime": "contrast start time",
    "ContrastBolusVolume": "contrast volume",
    "ReconstructionDiameter": "reconstruction diameter",
    "SeriesTime": "series time",
    "FrameReferenceTime": "frame reference time",
    "AcquisitionDateTime": "acquisition time",
    "AcquisitionTime": "acquisition time",
    "ContentTime": "content time",
}
"""Elements by which images at one position may differ, in the order they are tried, and their
names for people."""

PHYSICAL = frozenset(
    {
        *("EchoTime", "EchoNumbers", "ComplexImageComponent", "ImageType", "InversionTime"),
        *("TemporalPositionIdentifier", "TemporalPositionIndex", "FlipAngle"),
        *("DiffusionBValue", "DiffusionGradientOrientation", "ConvolutionKernel", "KVP"),
        *("NominalPercentageOfCardiacPhase", "ContrastBolusAgent", "ContrastBolusStartTime"),
        *("ContrastBolusVolume", "SeriesNumber", "SeriesDescription"),
        *("StudyInstanceUID", "FrameOfReferenceUID"),
    }
)
"""Elements that do not differ within one volume, unlike those of when a slice was acquired."""

_FRAME_KEYS: tuple[tuple[str, str, str], ...] = (
    ("FrameContentSequence", "StackID", "StackID"),
    ("FrameContentSequence", "TemporalPositionIndex", "TemporalPositionIndex"),
    ("FrameContentSequence", "FrameAcquisitionNumber", "AcquisitionNumber"),
    ("MREchoSequence", "EffectiveEchoTime", "EchoTime"),
    ("MRDiffusionSequence", "DiffusionBValue", "DiffusionBValue"),
    ("MRTimingAndRelatedParametersSequence", "FlipAngle", "FlipAngle"),
    ("MRImageFrameTypeSequence", "FrameType", "ImageType"),
    ("MRImageFrameTypeSequence", "ComplexImageComponent", "ComplexImageComponent"),
    ("CTImageFrameTypeSequence", "FrameType", "ImageType"),
    ("CTReconstructionSequence", "ConvolutionKernel", "ConvolutionKernel"),
    ("CTXRayDetailsSequence", "KVP", "KVP"),
    (
        "CardiacSynchronizationSequence",
        "NominalCardiacTriggerDelayTime",
        "NominalCardiacTriggerDelayTime",
    ),
    (
        "CardiacSynchronizationSequence",
        "NominalPercentageOfCardiacPhase",
        "NominalPercentageOfCardiacPhase",
    ),
    ("FrameContentSequence", "FrameAcquisitionDateTime", "AcquisitionDateTime"),
)
"""Where a multi-frame image keeps them: macro, element, name as in `_SPLIT_BY`."""


@dataclass(frozen=True)
class Plane:
    """One image plane as its header describes it; what is absent or malformed is None.

    Attributes
    ----------
    file
        Where it is stored.
    frame
        Frame number, from 1; None in a single-frame image.
    size : (int, int)
        Rows and columns.
    position : (3,)
        Centre of the first pixel, LPS mm.
    orientation : (6,)
        Unit vectors along which columns, then rows are counted, LPS.
    spacing : (float, float)
        Between rows, between columns, mm.
    spacing_between, slice_thickness
        SpacingBetweenSlices and SliceThickness, mm; None unless positive.
    slope, intercept
        Real value = slope * stored + intercept, where there is no table.
    table
        Table of real values instead (Modality LUT).
    windows
        Proposed for display.
    order
        InstanceNumber, or the frame number: breaks ties only.
    is_localizer
        Whether it calls itself a localiser.
    module
        How its pixels are stored.
    """

    file: DicomFile
    frame: int | None
    size: tuple[int, int]
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    spacing_between: float | None
    slice_thickness: float | None
    slope: float
    intercept: float
    table: ModalityTable | None
    windows: tuple[HeaderWindow, ...]
    order: int
    is_localizer: bool
    module: PixelModule
    _find: Callable[[str], Any] = field(repr=False)

    @cached_property
    def keys(self) -> Mapping[str, Key]:
        """Elements by which it may differ from other images at its position."""
        return _keys(self.file.header) if self.frame is None else _frame_keys(self._find)

    @property
    def thickness(self) -> float | None:
        """Spacing between slices, else slice thickness, mm."""
        return self.spacing_between or self.slice_thickness

    @property
    def name(self) -> str:
        """How messages call it."""
        return self.file.name if self.frame is None else f"{self.file.name} frame {self.frame}"

    @property
    def has_geometry(self) -> bool:
        """Whether it says anything about where it lies in the patient."""
        return self.position is not None or self.orientation is not None


def split_name(keyword: str) -> str:
    """Name for people of an element by which images are told apart."""
    return _SPLIT_BY.get(keyword, keyword)


def split_priority(keyword: str) -> tuple[int, str]:
    """Sorts elements by how well they tell images apart, best first."""
    order = list(_SPLIT_BY)
    return (order.index(keyword) if keyword in _SPLIT_BY else len(order)), keyword


def planes_of(file: DicomFile) -> list[Plane]:
    """The planes of one file.

    Raises
    ------
    UnreadableFileError
        If it is truncated, or rows, columns or frames are missing or contradict each other.
    UnsupportedFormatError
        If it has no pixels of a kind that is handled, is a mosaic, or a multi-frame image
        without positions of its frames.
    """
    header = file.header
    module = pixel_module(file)
    if "MOSAIC" in (t.upper() for t in tags.texts(header, "ImageType")):
        raise UnsupportedFormatError(
            f"{file.name} is a Siemens mosaic, many slices tiled in one picture; "
            "convert it by dcm2niix and give the NIfTI file"
        )
    groups = tags.items(header, "PerFrameFunctionalGroupsSequence")
    if groups or tags.items(header, "SharedFunctionalGroupsSequence"):
        return _enhanced(file, module, groups)
    single = _plane(file, module, None, lambda macro: header)
    return [single] if module.frames == 1 else _cine(single, module.frames)


def _cine(single: Plane, frames: int) -> list[Plane]:
    """Frames without functional groups: pictures of their own, as in ultrasound."""
    if single.has_geometry or frames > MAX_FRAMES:
        raise UnsupportedFormatError(
            f"{single.file.name} has {frames} frames and no position for each of them "
            "(PerFrameFunctionalGroupsSequence); export it as enhanced or single-frame images"
        )
    return [replace(single, frame=f, order=f) for f in range(1, frames + 1)]


def _enhanced(file: DicomFile, module: PixelModule, groups: tuple[Any, ...]) -> list[Plane]:
    if len(groups) != module.frames:
        raise UnreadableFileError(
            f"{file.name} has {module.frames} frames, but PerFrameFunctionalGroupsSequence "
            f"describes {len(groups)}; export it again"
        )
    header = file.header
    shared = next(iter(tags.items(header, "SharedFunctionalGroupsSequence")), None)

    def finder(group: Any) -> Callable[[str], Any]:
        def find(macro: str) -> Any:
            for place in (group, shared):
                found = tags.items(place, macro) if place is not None else ()
                if found:
                    return found[0]
            return header

        return find

    return [_plane(file, module, f, finder(group)) for f, group in enumerate(groups, 1)]


def _plane(
    file: DicomFile,
    module: PixelModule,
    frame: int | None,
    find: Callable[[str], Any],
) -> Plane:
    """A plane whose macros are found by ``find``: in functional groups, or in the header."""
    measures = find("PixelMeasuresSequence")
    rescale = find("PixelValueTransformationSequence")
    slope, intercept = (tags.number(rescale, k) for k in ("RescaleSlope", "RescaleIntercept"))
    table = modality_table(file, rescale, module)
    return Plane(
        file,
        frame,
        (module.rows, module.columns),
        tags.numbers(find("PlanePositionSequence"), "ImagePositionPatient", 3),
        tags.numbers(find("PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        tags.numbers(measures, "PixelSpacing", 2),
        _distance(measures, "SpacingBetweenSlices"),
        _distance(measures, "SliceThickness"),
        1.0 if slope is None or table else slope,
        0.0 if intercept is None or table else intercept,
        table,
        _windows(find("FrameVOILUTSequence")),
        frame if frame is not None else tags.whole(file.header, "InstanceNumber") or 0,
        "LOCALIZER" in tags.text(file.header, "ImageType").upper(),
        module,
        find,
    )


def _distance(measures: Any, keyword: str) -> float | None:
    found = tags.number(measures, keyword)
    return found if found is not None and found > 0 else None


def _windows(header: Any) -> tuple[HeaderWindow, ...]:
    levels = tags.numbers(header, "WindowCenter") or ()
    widths = tags.numbers(header, "WindowWidth") or ()
    names = tags.texts(header, "WindowCenterWidthExplanation")
    found = []
    for i, (level, width) in enumerate(zip(levels, widths, strict=False)):
        if width > 0:
            found.append(HeaderWindow(level, width, names[i] if i < len(names) else ""))
    return tuple(found)


def _keys(header: Any) -> dict[str, Key]:
    found = {keyword: _key(header, keyword) for keyword in _SPLIT_BY}
    return {keyword: key for keyword, key in found.items() if key is not None}


def _frame_keys(find: Callable[[str], Any]) -> dict[str, Key]:
    keys: dict[str, Key] = {}
    for macro, keyword, name in _FRAME_KEYS:
        key = _key(find(macro), keyword)
        if key is not None:
            keys.setdefault(name, key)
    direction = next(
        iter(tags.items(find("MRDiffusionSequence"), "DiffusionGradientDirectionSequence")), None
    )
    if (
        direction is not None
        and (key := _key(direction, "DiffusionGradientOrientation")) is not None
    ):
        keys["DiffusionGradientOrientation"] = key
    for i, index in enumerate(
        tags.numbers(find("FrameContentSequence"), "DimensionIndexValues") or ()
    ):
        keys[f"dimension {i + 1}"] = index
    return keys


def _key(header: Any, keyword: str) -> Key | None:
    single = tags.numbers(header, keyword)
    if single is not None and len(single) == 1:
        return single[0]
    return tags.text(header, keyword) or None
