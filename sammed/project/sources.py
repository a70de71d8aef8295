"""Which scans a project is made of: globs, DICOM folders, nnU-Net's and BIDS' folders, a CSV."""

from __future__ import annotations

import csv
import glob
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sammed.errors import InputError, UnreadableFileError
from sammed.io.formats import FORMATS
from sammed.io.recognition import longest_ending, stem

ENDINGS = tuple(ending for known in FORMATS for ending in known.suffixes)
"""Endings of files that can be read."""

_SUBJECT = re.compile(r"(?:^|[/_])(sub-[A-Za-z0-9]+)")
_CHANNEL = re.compile(r"_(\d{4})$")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Found:
    """A scan that may become a case.

    Attributes
    ----------
    image
        File or DICOM folder.
    id
        Proposed name of the case.
    subject
        Cases of one person share it.
    label
        Label map that belongs to it, if the source says so.
    series
        Of a DICOM folder.
    """

    image: Path
    id: str
    subject: str
    label: Path | None = None
    series: str = ""


def find_scans(patterns: Iterable[str]) -> list[Found]:
    """Scans that some patterns mean, sorted, each once.

    Parameters
    ----------
    patterns
        Globs (``scans/**/*.nii.gz``), files, DICOM folders, nnU-Net's raw folders (with a
        ``dataset.json``), BIDS folders, folders of any of these, or a ``.csv`` with a column
        ``image`` and perhaps ``id``, ``subject``, ``label`` and ``series``.

    Raises
    ------
    InputError
        If a pattern means nothing that can be read.
    """
    found: dict[str, Found] = {}
    for pattern in patterns:
        there = list(_meant(pattern))
        if not there:
            raise InputError(
                f"{pattern!r} means no scan; expected files such as 'scans/**/*.nii.gz', DICOM "
                "folders, an nnU-Net or BIDS folder, or a .csv"
            )
        for one in there:
            found.setdefault(f"{one.image.resolve()}#{one.series}", one)
    return _distinct(sorted(found.values(), key=lambda one: str(one.image)))


def _meant(pattern: str) -> Iterator[Found]:
    path = Path(pattern).expanduser()
    if path.suffix.lower() == ".csv" and path.is_file():
        yield from _of_csv(path)
    elif path.is_dir():
        yield from _of_folder(path)
    elif path.exists():
        yield _of_file(path)
    else:
        for name in sorted(glob.glob(str(path), recursive=True)):
            one = Path(name)
            if one.is_dir():
                yield from _of_folder(one) if not _listed_by_glob(pattern) else ()
            elif longest_ending(one, ENDINGS) and not _is_dicom_slice(one):
                yield _of_file(one)


def _listed_by_glob(pattern: str) -> bool:
    """Whether a glob names files, so that the folders that it meets on the way do not count."""
    return "." in Path(pattern).name or Path(pattern).name == "**"


def _is_dicom_slice(path: Path) -> bool:
    return path.suffix.lower() in (".dcm", ".ima")


def _of_folder(folder: Path) -> Iterator[Found]:
    if (folder / "dataset.json").is_file() and (folder / "imagesTr").is_dir():
        yield from _of_nnunet(folder)
    elif (folder / "dataset_description.json").is_file():
        yield from _of_bids(folder)
    elif holds_dicom(folder):
        yield from _of_dicom(folder)
    else:
        for path in sorted(folder.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_dir():
                yield from _of_folder(path)
            elif longest_ending(path, ENDINGS):
                yield _of_file(path)


def holds_dicom(folder: Path) -> bool:
    """Whether one of the first files of a folder is DICOM."""
    for path in sorted(folder.iterdir())[:20]:
        if path.is_file() and path.stat().st_size > 132:
            with path.open("rb") as stream:
                stream.seek(128)
                if stream.read(4) == b"DICM":
                    return True
    return False


def _of_dicom(folder: Path) -> Iterator[Found]:
    """Each series of images in a folder."""
    from sammed.io.dicom.images.read import survey

    series = [one for one in survey(folder).series if one.size is not None]
    several = len(series) > 1
    for one in series:
        name = f"{folder.name}-{one.series_number or one.index}" if several else folder.name
        yield Found(folder, name, folder.name, series=f"uid:{one.uid}" if several else "")


def _of_file(path: Path) -> Found:
    name = stem(path)
    bids = _SUBJECT.search(path.as_posix())
    return Found(path, name, bids[1] if bids else name)


def _of_nnunet(folder: Path) -> Iterator[Found]:
    ending = str(_json(folder / "dataset.json").get("file_ending", ".nii.gz"))
    for path in sorted((folder / "imagesTr").glob(f"*{ending}")):
        name = path.name.removesuffix(ending)
        channel = _CHANNEL.search(name)
        if channel and channel[1] != "0000":
            continue
        name = _CHANNEL.sub("", name)
        label = folder / "labelsTr" / f"{name}{ending}"
        yield Found(path, name, name, label if label.is_file() else None)


def _of_bids(folder: Path) -> Iterator[Found]:
    for path in sorted(folder.glob("sub-*/**/*")):
        inside = path.relative_to(folder).parts
        if path.is_file() and longest_ending(path, ENDINGS) and "derivatives" not in inside:
            yield Found(path, stem(path), inside[0])


def _of_csv(path: Path) -> Iterator[Found]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = [{k.strip().lower(): v for k, v in row.items() if k} for row in _rows(stream)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableFileError(f"{path} is no CSV: {error}") from None
    if rows and "image" not in rows[0]:
        raise InputError(
            f"{path} has the columns {', '.join(rows[0])}; expected 'image', and perhaps 'id', "
            "'subject', 'label', 'series'"
        )
    for line, row in enumerate(rows, 2):
        image = path.parent / (row["image"] or "")
        if not row["image"] or not image.exists():
            raise InputError(f"{path}, line {line}: there is no image {row['image']!r}")
        plain = _of_file(image)
        label = path.parent / row["label"] if row.get("label") else None
        name, subject = row.get("id") or plain.id, row.get("subject") or ""
        yield Found(image, name, subject or plain.subject, label, row.get("series") or "")


def _rows(stream: Iterable[str]) -> Iterator[dict[str, str]]:
    yield from csv.DictReader(stream)


def _json(path: Path) -> dict[str, object]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UnreadableFileError(f"{path} cannot be read: {error}") from None
    return said if isinstance(said, dict) else {}


def _distinct(found: list[Found]) -> list[Found]:
    """Each with an id of its own that can name a folder: more of the path where names agree."""
    counts: dict[str, int] = {}
    for one in found:
        counts[one.id.casefold()] = counts.get(one.id.casefold(), 0) + 1
    taken: set[str] = set()
    distinct = []
    for one in found:
        name = one.id
        if counts[one.id.casefold()] > 1:
            name = f"{one.image.parent.name}-{one.id}"
        name = _UNSAFE.sub("-", name).strip(".-") or "case"
        plain, number = name, 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.casefold())
        same = one.subject == one.id and counts[one.id.casefold()] > 1
        subject = name if same else one.subject
        distinct.append(Found(one.image, name, subject, one.label, one.series))
    return distinct
