"""The series of a folder: what each is, and whether it can be read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from sammed.errors import IrregularSpacingError, SammedError, UnsupportedFormatError
from sammed.imaging import geometry
from sammed.imaging.volume import HeaderWindow, make_grid
from sammed.io.dicom import tags
from sammed.io.dicom.file import DicomFile, sop_class
from sammed.io.dicom.images.arrangement import arrange
from sammed.io.dicom.images.interleaved import take_apart
from sammed.io.dicom.images.planes import planes_of
from sammed.io.dicom.images.stacks import Stack, split
from sammed.io.dicom.images.strays import Sameness, images_among
from sammed.io.dicom.pixels.module import syntax_name

_NO_IMAGES: Mapping[str, str] = {
    "SEG": "a segmentation: read it as labels",
    "RTSTRUCT": "contours (RTSTRUCT): read them as labels",
    "RTDOSE": "a dose grid",
    "RTPLAN": "a treatment plan",
    "RTRECORD": "a treatment record",
    "REG": "a registration",
    "SR": "a report",
    "PR": "a presentation state",
    "KO": "a selection of images",
    "DOC": "a document",
    "ECG": "a waveform",
    "FID": "fiducials",
    "SMR": "a stereometric relation",
    "PLAN": "a plan",
}
_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")

IDENTIFIERS = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge"),
    *("StudyDate", "StudyDescription", "AccessionNumber", "InstitutionName"),
    *("ReferringPhysicianName",),
)
"""What tells who the patient is; shown only on demand."""


@dataclass(frozen=True)
class Series:
    """The files of one series.

    Attributes
    ----------
    index
        Its place in the list, from 1.
    uid
        SeriesInstanceUID.
    files
        In the order they were found.
    """

    index: int
    uid: str
    files: tuple[DicomFile, ...]

    @cached_property
    def _images(self) -> tuple[Sequence[DicomFile], tuple[str, ...]]:
        return images_among(self.files)

    @property
    def header(self) -> Any:
        """Header of the first image, or of the first file if there is no image."""
        return self._images[0][0].header

    @property
    def modality(self) -> str:
        """Modality of the first image."""
        return tags.text(self.header, "Modality")

    @property
    def description(self) -> str:
        """SeriesDescription of the first image."""
        return tags.text(self.header, "SeriesDescription")

    @property
    def series_number(self) -> str:
        """SeriesNumber of the first image."""
        return tags.text(self.header, "SeriesNumber")

    @property
    def other_kind(self) -> str:
        """What it holds instead of images, ``""`` if images."""
        if sop_class(self.header) in _SEGMENTATIONS:
            return _NO_IMAGES["SEG"]
        return _NO_IMAGES.get(self.modality, "")

    @property
    def line(self) -> str:
        """One line for lists in messages; no patient identifiers."""
        return f"{named(self)}, {len(self.files)} file{'' if len(self.files) == 1 else 's'}"

    def stacks(self, same_pixels: Sameness) -> tuple[Stack, ...]:
        """The stacks of slices that it holds.

        Raises
        ------
        UnsupportedFormatError
            If it holds no images, or such as are not handled.
        InputError, GeometryError
            As `split`.
        """
        if self.other_kind:
            raise UnsupportedFormatError(f"the series is {self.other_kind}, not an image")
        images, notes = self._images
        stacks = split([plane for file in images for plane in planes_of(file)], same_pixels)
        return tuple(
            replace(part, notes=notes + part.notes)
            for stack in stacks
            for part in take_apart(stack)
        )


@dataclass(frozen=True)
class SeriesInfo:
    """What there is to say about a series without decoding its pixels.

    Attributes
    ----------
    index
        For ``--series``, from 1.
    uid, modality, description, series_number
        As the headers have them; ``""`` where they do not.
    images
        Number of files.
    frames
        Labels of the stacks (time points, echoes), for ``--frame``; empty if there is only one.
    size : (int, int, int)
        Columns, rows, slices of the (first) stack; None if it is not usable.
    spacing : (float, float, float)
        Along columns, rows, slices, mm.
    orientation
        Codes of the same three axes, e.g. ``"LPS"``.
    syntaxes
        Names of the transfer syntaxes.
    windows
        That the headers propose for display.
    usable
        Whether it can be read, perhaps with a frame or allowed gaps.
    verdict
        ``"usable"``, with what, or why not.
    notes
        What the reader would decide.
    identifiers
        Patient-level elements (see `IDENTIFIERS`); not to be shown unless asked for.
    """

    index: int
    uid: str
    modality: str
    description: str
    series_number: str
    images: int
    syntaxes: tuple[str, ...]
    usable: bool
    verdict: str
    frames: tuple[str, ...] = ()
    size: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    orientation: str = ""
    windows: tuple[HeaderWindow, ...] = ()
    notes: tuple[str, ...] = ()
    identifiers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_volume(self) -> bool:
        """Whether it is usable and has more than one slice."""
        return self.usable and self.size is not None and self.size[2] > 1

    @property
    def line(self) -> str:
        """One line for lists in messages; no patient identifiers."""
        if self.size is None:
            return f"{named(self)}, {self.images} file{'' if self.images == 1 else 's'}"
        return f"{named(self)}, {'x'.join(map(str, self.size))}"


def named(series: Series | SeriesInfo) -> str:
    """How lists and messages name a series: as ``--series`` takes it, kind and description."""
    number = f", number:{series.series_number}" if series.series_number else ""
    described = repr(series.description) if series.description else ""
    what = " ".join(filter(None, (series.modality, described)))
    return f"index:{series.index}{number} = {what or 'of no modality'}"


def group(files: Sequence[DicomFile]) -> tuple[Series, ...]:
    """Files by series, in the order of series number and UID."""
    by_uid: dict[str, list[DicomFile]] = defaultdict(list)
    for file in files:
        by_uid[tags.text(file.header, "SeriesInstanceUID")].append(file)

    def order(uid: str) -> tuple[float, str]:
        return tags.number(by_uid[uid][0].header, "SeriesNumber") or 0.0, uid

    ordered = sorted(by_uid, key=order)
    return tuple(Series(n, uid, tuple(by_uid[uid])) for n, uid in enumerate(ordered, 1))


def describe(series: Series, same_pixels: Sameness) -> SeriesInfo:
    """Look at a series as far as headers go."""
    header = series.header
    syntaxes = Counter(syntax_name(file.syntax) for file in series.files)
    basic = {
        "index": series.index,
        "uid": series.uid,
        "modality": series.modality,
        "description": series.description,
        "series_number": series.series_number,
        "images": len(series.files),
        "syntaxes": tuple(name for name, _ in syntaxes.most_common()),
        "identifiers": {k: t for k in IDENTIFIERS if (t := tags.text(header, k))},
    }
    try:
        stacks = series.stacks(same_pixels)
        found = _geometry(stacks)
    except SammedError as error:
        return SeriesInfo(**basic, usable=False, verdict=str(error))  # type: ignore[arg-type]
    return SeriesInfo(**basic, **found)  # type: ignore[arg-type]


def _geometry(stacks: tuple[Stack, ...]) -> dict[str, object]:
    first, verdict = stacks[0], "usable"
    try:
        arrangement = arrange(first)
    except IrregularSpacingError as error:
        arrangement = arrange(first, allow_gaps=True)
        verdict = f"usable with --allow-gaps: {error}"
    if len(stacks) > 1:
        verdict += f" with --frame 0 to {len(stacks) - 1}"
    grid = make_grid(arrangement.affine, arrangement.shape)
    k, j, i = arrangement.shape
    sk, sj, si = geometry.spacing(grid.affine)
    return {
        "usable": True,
        "verdict": verdict,
        "frames": tuple(frame_name(s) for s in stacks) if len(stacks) > 1 else (),
        "size": (i, j, k),
        "spacing": (si, sj, sk),
        "orientation": geometry.axis_codes(grid.affine)[::-1],
        "windows": first.planes[len(first.planes) // 2].windows,
        "notes": first.notes + arrangement.notes,
    }


def frame_name(stack: Stack) -> str:
    """What lists call a stack of a series that has several."""
    count = len(stack.planes)
    return f"{stack.label} ({count} slice{'' if count == 1 else 's'})"
