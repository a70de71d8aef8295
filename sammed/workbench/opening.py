"""From what is named to a volume, or to a list from which a person chooses.

A path comes from the command line, from the list of what was opened before, or from an upload;
the page only ever names an entry of a list.
"""

from __future__ import annotations

import base64
import io as streams
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammed import io
from sammed.errors import FrameError, InputError, SammedError, UnsupportedFormatError
from sammed.imaging.volume import Volume
from sammed.io.recognition import stem

if TYPE_CHECKING:
    from sammed.io.dicom.images.series import SeriesInfo
    from sammed.io.dicom.images.voxels import Voxels

THUMBNAIL_PX = 96
MOST_CHOICES = 200


@dataclass(frozen=True)
class Source:
    """One volume that can be read.

    Attributes
    ----------
    path, series, frame, allow_gaps
        As `sammed.io.read` takes them.
    stem
        What its outputs are called after.
    uploaded
        Whether it came over the page, and lies in a folder that goes at the end.
    """

    path: Path
    series: str | None = None
    frame: int | None = None
    allow_gaps: bool = False
    stem: str = ""
    uploaded: bool = False

    def read(self) -> Volume:
        """The volume.

        Raises
        ------
        SammedError
            As `sammed.io.read`.
        """
        return io.read(self.path, series=self.series, frame=self.frame, allow_gaps=self.allow_gaps)

    @property
    def name(self) -> str:
        """What people call it."""
        return self.path.name or str(self.path)

    @property
    def output_stem(self) -> str:
        """The name of its label map, without an ending."""
        return (self.stem or stem(self.path) or "scan") + ".labels"


@dataclass(frozen=True)
class Choice:
    """An entry of a list: a source, and what helps to know it."""

    source: Source
    about: dict[str, Any]


def open_source(source: Source) -> Volume | list[Choice]:
    """Read the volume, or say what there is to choose from.

    Parameters
    ----------
    source
        What was named.

    Returns
    -------
    Volume or list of Choice
        A list where a folder holds several usable series, or a file several volumes.

    Raises
    ------
    SammedError
        As `sammed.io.read`, in its words.
    """
    try:
        return source.read()
    except FrameError as error:
        if source.frame is not None or error.count > MOST_CHOICES:
            raise
        return [_frame(source, n, f"volume {n}") for n in range(error.count)]
    except InputError as error:
        choices = series_of(source)
        if len(choices) < 2:
            raise error from None
        return choices


def files_to_choose(sources: Sequence[Source]) -> list[Choice]:
    """A list of several files or folders that were named at once."""
    return [Choice(source, {"name": source.name, "note": _kind(source)}) for source in sources]


def sources_among(folder: Path) -> list[Source]:
    """What an upload is: a file, several, or a folder of DICOM.

    Raises
    ------
    InputError
        If it holds nothing at all.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise InputError("nothing was uploaded; drop a file, or a folder that holds some")
    if len(files) == 1:
        return [Source(files[0], uploaded=True)]
    heads = [path for path in files if _is_head(path, files)]
    if heads:
        return [Source(path, uploaded=True) for path in heads]
    return [Source(_lowest(folder), uploaded=True)]


def _is_head(path: Path, files: list[Path]) -> bool:
    """Whether a file is an image by itself: none of DICOM, and not the voxels of a header."""
    try:
        kind = io.input_format(path)
    except SammedError:
        return False
    lower = path.name.lower()
    if lower.endswith((".img", ".img.gz")):
        return not any(stem(other) == stem(path) and "hdr" in other.name.lower() for other in files)
    return kind != "dicom"


def _lowest(folder: Path) -> Path:
    """The folder itself, or the one in it in which everything lies: it has a name."""
    inside = list(folder.iterdir())
    return _lowest(inside[0]) if len(inside) == 1 and inside[0].is_dir() else folder


def _kind(source: Source) -> str | None:
    try:
        kind = io.input_format(source.path)
    except SammedError as error:
        return str(error)
    return "DICOM" if kind == "dicom" else None


def series_of(source: Source) -> list[Choice]:
    """The usable series of a folder, and of each its stacks; empty if it is no DICOM."""
    try:
        if io.input_format(source.path) != "dicom" or source.frame is not None:
            return []
        from sammed.io.dicom.images.read import survey_with_pictures

        survey, pictures = survey_with_pictures(source.path)
    except SammedError:
        return []
    usable = [info for info in survey.series if info.usable]
    if source.series is not None:
        usable = _meant(usable, source.series)
    listed: list[Choice] = []
    for info in usable[:MOST_CHOICES]:
        one = replace(
            source,
            series=f"uid:{info.uid}",
            stem=source.stem or f"{stem(source.path)}-{info.series_number or info.index}",
        )
        choice = Choice(one, _about(info, pictures.get(info.index)))
        frames = [_frame(one, n, label, choice.about) for n, label in enumerate(info.frames)]
        listed += frames or [choice]
    return listed


def _meant(usable: list[SeriesInfo], wanted: str) -> list[SeriesInfo]:
    """The series that ``--series`` names, whose frames are then to be chosen from."""
    text = wanted.strip()
    exact = {
        f"{way}{value}": info
        for info in usable
        for way, value in (
            ("number:", info.series_number),
            ("index:", info.index),
            ("uid:", info.uid),
            ("", info.uid),
            ("", info.series_number),
        )
    }
    return [exact[text]] if text in exact else []


def _frame(source: Source, number: int, label: str, about: dict[str, Any] | None = None) -> Choice:
    one = replace(source, frame=number, stem=f"{source.stem or stem(source.path)}-{number}")
    return Choice(one, {"name": source.name, **(about or {}), "note": label})


def _about(info: SeriesInfo, picture: Voxels | None) -> dict[str, Any]:
    """What tells one series from another, in the order (z, y, x)."""
    identifiers = dict(info.identifiers)
    return {
        "number": int(info.series_number) if info.series_number.isdigit() else None,
        "description": info.description,
        "modality": info.modality,
        "images": info.images,
        "shape": list(info.size[::-1]) if info.size else None,
        "spacing": list(info.spacing[::-1]) if info.spacing else None,
        "date": _date(identifiers.get("StudyDate", "")),
        "thumbnail": _thumbnail(picture) if picture is not None else None,
        "note": None if info.verdict == "usable" else info.verdict,
    }


def _date(text: str) -> str | None:
    digits = text.strip()
    if len(digits) != 8 or not digits.isdigit():
        return digits or None
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"


def _thumbnail(picture: Voxels) -> str | None:
    """A small PNG of a slice, as an address that holds it."""
    from PIL import Image

    pixels: NDArray[Any] = picture.array[0]
    if pixels.ndim == 2:
        low, high = _bounds(picture, pixels)
        scaled = (pixels.astype(np.float32) - low) / (high - low)
        pixels = (255 * np.clip(np.nan_to_num(scaled), 0, 1)).astype(np.uint8)
    image = Image.fromarray(pixels.astype(np.uint8))
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    target = streams.BytesIO()
    image.save(target, format="PNG")
    return "data:image/png;base64," + base64.b64encode(target.getvalue()).decode("ascii")


def _bounds(picture: Voxels, pixels: NDArray[Any]) -> tuple[float, float]:
    for window in picture.windows:
        if window.width > 0:
            return window.level - window.width / 2, window.level + window.width / 2
    low, high = (float(v) for v in np.percentile(pixels, (0.5, 99.5)))
    return (low, high) if high > low else (low, low + 1)


def check_paths(paths: Sequence[Path]) -> None:
    """Make sure that every path could be opened, before anything else is done.

    Raises
    ------
    InputError
        As `sammed.io.read`, for what is missing, empty or of no known kind.
    """
    for path in paths:
        if str(path).startswith(("http:", "https:", "dicomweb:")):
            raise UnsupportedFormatError(
                f"{path} is an address; fetch it first, with sammed segment or a browser"
            )
        io.input_format(path)
