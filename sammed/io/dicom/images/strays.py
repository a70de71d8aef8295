"""What lies in a series beside its slices: localisers, copies, screenshots, reports."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence

from sammed.io.dicom import tags
from sammed.io.dicom.file import DicomFile, sop_class
from sammed.io.dicom.images.planes import PHYSICAL, Plane

Sameness = Callable[[Plane, Plane], bool]
"""Whether two planes hold the same real-world pixels."""

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_SCREENSHOTS = (f"{_STORAGE}7", f"{_STORAGE}7.")
_NO_IMAGES = (
    *(f"{_STORAGE}{kind}" for kind in ("88.", "11.", "104.", "9.", "66", "67", "481.3", "481.5")),
    "1.3.12.2.1107.5.9.1",  # Siemens CSA Non-Image: protocols, spectra
)
_EDITED = {"SeriesDescription", "SeriesNumber", "StudyInstanceUID", "FrameOfReferenceUID"}
"""What archives change in copies."""

_NO_IMAGE_MODALITIES = {"SR", "PR", "KO", "DOC", "SEG", "RTSTRUCT", "RTPLAN", "REG"}


def images_among(files: Sequence[DicomFile]) -> tuple[Sequence[DicomFile], tuple[str, ...]]:
    """The images of a series that also holds reports or the like; all files if none is an image.

    Returns
    -------
    files
        Those that are images, or should be: an image without pixels stays, and is refused later.
    notes
        What was left out.
    """
    images = [file for file in files if not _is_no_image(file)]
    others = len(files) - len(images)
    if not images or not others:
        return files, ()
    return images, (f"{others} file{_s(others)} without an image (reports or the like) left out",)


def _is_no_image(file: DicomFile) -> bool:
    if file.pixel_element:
        return tags.text(file.header, "Modality") in {"SEG"}
    uid = sop_class(file.header)
    return (
        tags.text(file.header, "Modality") in _NO_IMAGE_MODALITIES
        or uid in _NO_IMAGES
        or any(uid.startswith(known) for known in _NO_IMAGES if known.endswith("."))
    )


def without_screenshots(planes: Sequence[Plane]) -> tuple[Sequence[Plane], tuple[str, ...]]:
    """Leave out secondary captures, dose reports and exam summaries among slices.

    A picture goes if its class is Secondary Capture, or if it neither says where it lies nor is of
    the size and kind of the others. A slice that merely lost its position stays, and is refused
    later; so is a series of screenshots alone.
    """
    slices = [p for p in planes if p.has_geometry and not _is_capture(p)]
    if not slices or len(slices) == len(planes):
        return planes, ()
    (usual, _), *_ = Counter(map(_kind, slices)).most_common(1)
    kept = [
        p for p in planes if not _is_capture(p) and (p.has_geometry or _kind(p) == usual)
    ]  # fmt: skip
    dropped = len(planes) - len(kept)
    if not dropped:
        return planes, ()
    remaining = set(map(id, kept))
    first = next(p.name for p in planes if id(p) not in remaining)
    return kept, (
        f"{dropped} screenshot{_s(dropped)} or report page{_s(dropped)} among the slices left out "
        f"(first: {first})",
    )


def _is_capture(plane: Plane) -> bool:
    uid = sop_class(plane.file.header)
    return uid == _SCREENSHOTS[0] or uid.startswith(_SCREENSHOTS[1])


def _kind(plane: Plane) -> tuple[object, ...]:
    return plane.size, plane.module.is_colour


def without_localizers(planes: Sequence[Plane]) -> tuple[Sequence[Plane], tuple[str, ...]]:
    """Leave out localiser images among others."""
    kept = [p for p in planes if not p.is_localizer]
    dropped = len(planes) - len(kept)
    if not kept or not dropped:
        return planes, ()
    return kept, (f"{dropped} localiser image{_s(dropped)} left out",)


def without_copies(
    planes: Sequence[Plane], same_pixels: Sameness
) -> tuple[Sequence[Plane], tuple[str, ...]]:
    """Leave out files that hold an image a second time.

    A SOPInstanceUID alone does not make a copy: anonymisers gave echoes the UIDs of one another.
    Copies also have the same place, echo, phase and the like, and the same pixels, unless one of
    them was compressed.
    """
    seen: dict[Hashable, list[Plane]] = defaultdict(list)
    dropped = reused = 0
    for p in planes:
        uid = tags.text(p.file.header, "SOPInstanceUID")
        alike = seen[uid or p.file.name, p.frame]
        if any(_is_copy(p, other, same_pixels) for other in alike):
            dropped += 1
            continue
        reused += bool(alike)
        alike.append(p)
    notes: tuple[str, ...] = ()
    if dropped:
        notes += (f"{dropped} second cop{_ies(dropped)} of an image left out",)
    if reused:
        notes += (
            f"{reused} image{_s(reused)} bear the SOPInstanceUID of another one and differ from "
            "it; all were kept, but what refers to them by UID cannot tell them apart",
        )
    return [p for group in seen.values() for p in group] if dropped else planes, notes


def _is_copy(plane: Plane, other: Plane, same_pixels: Sameness) -> bool:
    if plane.position != other.position or plane.orientation != other.orientation:
        return False
    if any(plane.keys.get(name) != other.keys.get(name) for name in PHYSICAL - _EDITED):
        return False
    return plane.file.syntax != other.file.syntax or same_pixels(plane, other)


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _ies(count: int) -> str:
    return "y" if count == 1 else "ies"
