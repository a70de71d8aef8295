"""The series of a folder: what each is, whether it can be read, and which one is meant."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sammed.errors import (
    InputError,
    IrregularSpacingError,
    SammedError,
    UnsupportedFormatError,
)
from sammed.imaging import geometry
from sammed.imaging.volume import HeaderWindow, make_grid
from sammed.io.dicom import tags
from sammed.io.dicom.file import DicomFile, sop_class
from sammed.io.dicom.images.arrangement import arrange
from sammed.io.dicom.images.planes import planes_of
from sammed.io.dicom.images.stacks import Sameness, Stack, split
from sammed.io.dicom.pixels.module import syntax_name

MAX_LISTED = 12

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
    number
        Its place in the list, from 1.
    uid
        SeriesInstanceUID.
    files
        In the order they were found.
    """

    number: int
    uid: str
    files: tuple[DicomFile, ...]

    @property
    def modality(self) -> str:
        """Modality of the first file."""
        return tags.text(self.files[0].header, "Modality")

    @property
    def description(self) -> str:
        """SeriesDescription of the first file."""
        return tags.text(self.files[0].header, "SeriesDescription")

    @property
    def other_kind(self) -> str:
        """What it holds instead of images, ``""`` if images."""
        if sop_class(self.files[0].header) in _SEGMENTATIONS:
            return _NO_IMAGES["SEG"]
        return _NO_IMAGES.get(self.modality, "")

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
        return split([plane for file in self.files for plane in planes_of(file)], same_pixels)


@dataclass(frozen=True)
class SeriesInfo:
    """What there is to say about a series without decoding its pixels.

    Attributes
    ----------
    number
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

    number: int
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
        what = " ".join(filter(None, (self.modality, repr(self.description))))
        if self.size is None:
            return f"{self.number}: {what}, {self.images} files"
        return f"{self.number}: {what}, {'x'.join(map(str, self.size))}"


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
    header = series.files[0].header
    syntaxes = Counter(syntax_name(file.syntax) for file in series.files)
    basic = {
        "number": series.number,
        "uid": series.uid,
        "modality": series.modality,
        "description": series.description,
        "series_number": tags.text(header, "SeriesNumber"),
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
        "frames": tuple(_frame_name(s) for s in stacks) if len(stacks) > 1 else (),
        "size": (i, j, k),
        "spacing": (si, sj, sk),
        "orientation": geometry.axis_codes(grid.affine)[::-1],
        "windows": first.planes[len(first.planes) // 2].windows,
        "notes": first.notes + arrangement.notes,
    }


def _frame_name(stack: Stack) -> str:
    count = len(stack.planes)
    return f"{stack.label} ({count} slice{'' if count == 1 else 's'})"


def choose_stack(stacks: Sequence[Stack], frame: int | None, source: object) -> Stack:
    """The stack that is meant.

    Raises
    ------
    InputError
        If there are several and none is chosen, or the chosen one does not exist.
    """
    last = len(stacks) - 1
    listed = ", ".join(f"{n} = {_frame_name(s)}" for n, s in enumerate(stacks[:MAX_LISTED]))
    more = f" and {len(stacks) - MAX_LISTED} more" if len(stacks) > MAX_LISTED else ""
    if frame is None and last > 0:
        raise InputError(
            f"{source} holds {last + 1} volumes in one series; choose one with --frame: "
            f"{listed}{more}"
        )
    if frame is not None and not 0 <= frame <= last:
        raise InputError(f"{source} has no frame {frame}; there are {last + 1}: {listed}{more}")
    return stacks[frame or 0]


def choose_series(
    series: Sequence[Series], wanted: str | None, source: object, same_pixels: Sameness
) -> tuple[Series, tuple[str, ...]]:
    """The series that is meant, and what to note about the choice.

    Without a wish: the only one, the only usable one, or the only usable one of several slices.

    Raises
    ------
    InputError
        If the wish fits none or several, or there is a choice and no wish.
    """
    if wanted is not None:
        return _wanted(series, wanted.strip(), source), ()
    if len(series) == 1:
        return series[0], ()
    infos = [describe(s, same_pixels) for s in series]
    usable = [i for i in infos if i.usable]
    for candidates in (usable, [i for i in usable if i.is_volume]):
        if len(candidates) == 1:
            chosen = candidates[0]
            others = len(series) - 1
            note = f"series {chosen.line} was read; {others} other series left out"
            return series[chosen.number - 1], (note,)
    if not usable:
        reasons = "; ".join(f"{i.line}: {i.verdict}" for i in infos[:MAX_LISTED])
        raise InputError(f"{source} holds {len(series)} series and none is usable: {reasons}")
    raise InputError(
        f"{source} holds {len(usable)} usable series; choose one with --series: "
        f"{_listed([i.line for i in usable])}"
    )


def _wanted(series: Sequence[Series], wanted: str, source: object) -> Series:
    if wanted.isdigit() and 1 <= int(wanted) <= len(series):
        return series[int(wanted) - 1]
    low = wanted.lower()
    for fits in (
        [s for s in series if s.uid == wanted],
        [s for s in series if s.description.lower() == low],
        [s for s in series if low and low in s.description.lower()],
    ):
        if len(fits) == 1:
            return fits[0]
        if fits:
            lines = [f"{s.number}: {s.modality} {s.description!r} ({s.uid})" for s in fits]
            raise InputError(
                f"{source} holds {len(fits)} series that fit {wanted!r}; choose one by its number "
                f"or UID: {_listed(lines)}"
            )
    lines = [f"{s.number}: {s.modality} {s.description!r}" for s in series]
    raise InputError(
        f"{source} holds no series {wanted!r}; expected a number, UID or description of: "
        f"{_listed(lines)}"
    )


def _listed(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED else []
    return "; ".join([*lines[:MAX_LISTED], *more])
