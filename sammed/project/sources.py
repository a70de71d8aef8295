"""Which scans a project is made of: globs, DICOM folders, nnU-Net's and BIDS' folders, a table."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sammed.errors import InputError, UnreadableFileError
from sammed.io.formats import FORMATS
from sammed.io.recognition import longest_ending, stem
from sammed.io.tables import read_table

ENDINGS = tuple(ending for known in FORMATS for ending in known.suffixes)
"""Endings of files that can be read."""

_SUBJECT = re.compile(r"(?:^|[/_])(sub-[A-Za-z0-9]+)")
_CHANNEL = re.compile(r"_(\d{4})$")
_FRAMES = re.compile(r"_(bold|cbv|dwi|asl)$")
"""What BIDS calls series of volumes, which are no scan to draw on."""

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


@dataclass(frozen=True)
class Sources:
    """What some patterns mean.

    Attributes
    ----------
    scans
        Sorted, each once.
    notes
        What was left out on purpose, or is odd, a sentence each.
    faults
        Lines of tables that cannot be used, a sentence each.
    """

    scans: tuple[Found, ...]
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


@dataclass
class _Said:
    """What is gathered on the way."""

    notes: list[str]
    faults: list[str]


def find_scans(patterns: Iterable[str]) -> list[Found]:
    """Scans that some patterns mean, sorted, each once.

    Parameters
    ----------
    patterns
        Globs (``scans/**/*.nii.gz``), files, DICOM folders, nnU-Net's raw folders (with a
        ``dataset.json``), BIDS folders, folders of any of these, or a ``.csv`` (or ``.tsv``) with a
        column ``image`` and perhaps ``id``, ``subject``, ``label`` and ``series``.

    Raises
    ------
    InputError
        If a pattern means nothing that can be read, or a line of a table cannot be used.
    """
    found = look_for(patterns)
    if found.faults:
        raise InputError(found.faults[0])
    return list(found.scans)


def look_for(patterns: Iterable[str]) -> Sources:
    """As `find_scans`, with what is to be said of it; a line that cannot be used stops nothing.

    Parameters
    ----------
    patterns
        As `find_scans`.

    Raises
    ------
    InputError
        If a pattern means nothing that can be read.
    """
    found: dict[str, Found] = {}
    said = _Said([], [])
    for pattern in patterns:
        notes, faults = len(said.notes), len(said.faults)
        there = list(_meant(pattern, said))
        if not there:
            reasons = [*said.faults[faults:], *said.notes[notes:], _nothing(pattern)]
            raise InputError(reasons[0])
        for one in there:
            found.setdefault(f"{one.image.resolve()}#{one.series}", one)
    scans = _distinct(sorted(found.values(), key=lambda one: str(one.image)))
    return Sources(tuple(scans), tuple(said.notes), tuple(said.faults))


def _nothing(pattern: str) -> str:
    return (
        f"{pattern!r} means no scan; expected files such as 'scans/**/*.nii.gz', DICOM "
        "folders, an nnU-Net or BIDS folder, or a .csv"
    )


def _meant(pattern: str, said: _Said) -> Iterator[Found]:
    path = Path(pattern).expanduser()
    if path.suffix.lower() in (".csv", ".tsv") and path.is_file():
        yield from _of_table(path, said)
    elif path.is_dir():
        yield from _of_folder(path, said)
    elif path.exists():
        yield _of_file(path)
    else:
        yield from _of_glob(path, pattern, said)


def _of_glob(path: Path, pattern: str, said: _Said) -> Iterator[Found]:
    slices = []
    for name in sorted(glob.glob(str(path), recursive=True)):
        one = Path(name)
        if one.is_dir():
            yield from _of_folder(one, said) if not _listed_by_glob(pattern) else ()
        elif _is_dicom_slice(one):
            slices.append(one)
        elif longest_ending(one, ENDINGS):
            yield _of_file(one)
    if slices:
        said.notes.append(
            f"{pattern!r} means {len(slices)} single DICOM files, which are left out; give the "
            f"folder that they lie in, such as {slices[0].parent}"
        )


def _listed_by_glob(pattern: str) -> bool:
    """Whether a glob names files, so that the folders that it meets on the way do not count."""
    return "." in Path(pattern).name or Path(pattern).name == "**"


def _is_dicom_slice(path: Path) -> bool:
    return path.suffix.lower() in (".dcm", ".ima")


def _of_folder(folder: Path, said: _Said) -> Iterator[Found]:
    images = (folder / "imagesTr").is_dir() or (folder / "imagesTs").is_dir()
    if (folder / "dataset.json").is_file() and images:
        yield from _of_nnunet(folder, said)
    elif (folder / "dataset_description.json").is_file():
        yield from _of_bids(folder, said)
    elif holds_dicom(folder):
        yield from _of_dicom(folder)
    else:
        for path in sorted(folder.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_dir():
                yield from _of_folder(path, said)
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


def _of_nnunet(folder: Path, said: _Said) -> Iterator[Found]:
    ending = str(_json(folder / "dataset.json").get("file_ending", ".nii.gz"))
    others = []
    for part in ("Tr", "Ts"):
        for path in sorted((folder / f"images{part}").glob(f"*{ending}")):
            name = path.name.removesuffix(ending)
            channel = _CHANNEL.search(name)
            if channel and channel[1] != "0000":
                others.append(path)
                continue
            name = _CHANNEL.sub("", name)
            label = folder / f"labels{part}" / f"{name}{ending}"
            yield Found(path, name, name, label if label.is_file() else None)
    if others:
        said.notes.append(
            f"{folder}: {len(others)} files of further channels are left out, such as "
            f"{others[0].name}; a case has one image, here that of channel 0000"
        )


def _of_bids(folder: Path, said: _Said) -> Iterator[Found]:
    frames = []
    for path in sorted(folder.glob("sub-*/**/*")):
        inside = path.relative_to(folder).parts
        if not path.is_file() or not longest_ending(path, ENDINGS) or "derivatives" in inside:
            continue
        if _FRAMES.search(stem(path)):
            frames.append(path)
            continue
        yield Found(path, stem(path), inside[0])
    if frames:
        said.notes.append(
            f"{folder}: {len(frames)} files are left out, being series of volumes, such as "
            f"{frames[0].name}; a case has one volume"
        )


def _of_table(path: Path, said: _Said) -> Iterator[Found]:
    columns, rows = read_table(path)
    lower = [column.lower() for column in columns]
    if "image" not in lower:
        raise InputError(
            f"{path} has the columns {', '.join(columns) or 'none'}; expected 'image', and perhaps "
            "'id', 'subject', 'label', 'series'"
        )
    repeated = _repeats(path, said)
    for line, row in enumerate(rows, 2):
        one = _of_row(path.parent, {k.lower(): v.strip() for k, v in row.items()})
        if isinstance(one, str):
            said.faults.append(f"{path}, line {line} is left out: {one}")
        elif not repeated(line, one):
            yield one


def _of_row(folder: Path, row: dict[str, str]) -> Found | str:
    """A scan, or why there is none."""
    if not row["image"]:
        return "it names no image"
    image = folder / row["image"]
    if not image.exists():
        return f"there is no image {row['image']!r}"
    plain = _of_file(image)
    label = folder / row["label"] if row.get("label") else None
    name, subject = row.get("id") or plain.id, row.get("subject") or plain.subject
    return Found(image, name, subject, label, row.get("series") or "")


def _repeats(path: Path, said: _Said) -> Callable[[int, Found], bool]:
    """Says of each line of a table whether its scan was there before; what differs is noted."""
    images: dict[str, tuple[int, Found]] = {}
    ids: dict[str, int] = {}

    def repeated(line: int, one: Found) -> bool:
        first, former = images.setdefault(f"{one.image.resolve()}#{one.series}", (line, one))
        if first != line:
            told = ", ".join(
                f"its {what} {now!r} is not heeded"
                for what, now, then in (
                    ("subject", one.subject, former.subject), ("id", one.id, former.id),
                )
                if now != then
            )  # fmt: skip
            why = f"its image {one.image.name} is that of line {first}"
            said.notes.append(f"{path}, line {line} is left out: {why}{', ' * bool(told)}{told}")
            return True
        earlier = ids.setdefault(one.id.casefold(), line)
        if earlier != line:
            said.notes.append(
                f"{path}, line {line}: its id {one.id!r} is that of line {earlier}, too; the cases "
                "get ids of their own"
            )
        return False

    return repeated


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
        distinct.append(replace(one, id=name, subject=subject))
    return distinct
