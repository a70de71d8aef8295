"""Which scans are to be segmented, with which prompts, and where each label map goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sammed.errors import InputError, SammedError, UnreadableFileError
from sammed.io.recognition import stem
from sammed.io.tables import read_table
from sammed.many.projects import cases_of, is_project, listed, without_projects
from sammed.project.marks import is_marked
from sammed.project.sources import find_scans
from sammed.prompts.files import read_json

FORMAT = "sammed-scans/1"

COLUMNS = ("image", "id", "prompts", "box", "objects", "output", "series", "frame")
"""What a table may say of a scan; ``image`` it must."""

_LISTS = ("prompts", "box", "objects")


@dataclass(frozen=True)
class Scan:
    """One scan of a manifest.

    Attributes
    ----------
    id
        Unique; names its label map and its record.
    image
        File or DICOM folder.
    prompts
        Prompt files, as `sammed.segment` takes them.
    boxes
        Boxes as text, as the command line takes them.
    objects
        Names of what a learned model is to find; empty: all that it knows.
    output
        The label map; ``None``: it is called by the id.
    series, frame
        Which of an image with several.
    mark
        Of a case of a project: by what its file is known again, see `sammed.project.marks`.
    error
        What is wrong with its line of the manifest; it is recorded as failed.
    """

    id: str
    image: Path
    prompts: tuple[Path, ...] = ()
    boxes: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    output: Path | None = None
    series: str | None = None
    frame: int | None = None
    mark: str = ""
    error: str = ""

    def check(self) -> None:
        """Make sure that its line can be used, and that its file is the one that is meant.

        Raises
        ------
        InputError
            If not.
        """
        if self.error:
            raise InputError(self.error)
        if self.mark and not is_marked(self.image, self.mark, self.series or ""):
            raise InputError(
                f"{self.image} is not the scan that was added as case {self.id}: its content has "
                "changed; add it as a new case"
            )


@dataclass(frozen=True)
class Manifest:
    """Scans, and what is to be said of the list.

    Attributes
    ----------
    scans
        In its order; of a line that cannot be used the ``error`` says why.
    notes
        What was taken of a project, and what was left out.
    """

    scans: tuple[Scan, ...]
    notes: tuple[str, ...] = ()


def read_scans(source: str | Path | Sequence[Mapping[str, Any]]) -> Manifest:
    """The scans of a table, of a ``sammed-scans/1`` file, of a project, of a folder or a glob.

    Parameters
    ----------
    source
        A ``.csv`` or ``.json`` file, whose paths are relative to it; a sequence of mappings with
        the same keys (`COLUMNS`); the folder of a project, of which its cases' scans are meant;
        else what `sammed.project.sources.find_scans` takes, without what lies in projects.

    Raises
    ------
    UnreadableFileError
        If the file is missing, or not what its name says.
    InputError
        If it lists no scan, or has no column ``image``; if a project has no case.

    Examples
    --------
    >>> read_scans([{"image": "ct.nii.gz", "box": "liver=20,30,180,160@40"}]).scans[0].boxes
    ('liver=20,30,180,160@40',)
    """
    if not isinstance(source, str | Path):
        return _checked(source, "the list of scans", Path())
    path = Path(source).expanduser()
    kind = path.suffix.lower()
    if kind not in (".csv", ".tsv", ".json"):
        return _of_project(path) if is_project(path) else _of_folder(str(source))
    if not path.is_file():
        raise UnreadableFileError(f"there is no manifest {path}; expected a .csv or .json file")
    lines = _of_json(path) if kind == ".json" else read_table(path)[1]
    return _checked(lines, path.name, path.parent)


def _of_folder(source: str) -> Manifest:
    """What a folder or a glob means, without what lies in folders of projects."""
    found, notes = without_projects(find_scans([source]), lambda one: one.image, source)
    scans = (Scan(one.id, one.image, series=one.series or None) for one in found)
    return Manifest(tuple(scans), tuple(notes))


def _of_project(folder: Path) -> Manifest:
    """The scans of a project's cases; one that cannot be read is an error, as a line can be."""
    scans: list[Scan] = []
    refused: list[str] = []
    for case in cases_of(folder):
        try:
            if case.record.state == "refused":
                refused.append(case.id)
                continue
            said, image = case.scan, case.image
            gone = "" if image.exists() else f"the scan {image} is gone; bring it back"
            series = said.series or None
            scans.append(Scan(case.id, image, series=series, mark=said.mark, error=gone))
        except SammedError as error:
            scans.append(Scan(case.id, Path(), error=str(error)))
    if not scans:
        raise InputError(f"all {len(refused)} cases of the project {folder} are refused")
    left_out = f"; refused ones are left out: {listed(refused)}" if refused else ""
    return Manifest(
        tuple(scans),
        (f"{folder} is a project: the scans of its {len(scans)} cases are taken{left_out}",),
    )


def _of_json(path: Path) -> list[Mapping[str, Any]]:
    content = read_json(path, f'{{"format": "{FORMAT}", "scans": [...]}}')
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise UnreadableFileError(f'{path} is no manifest: its "format" is {found!r}, not {FORMAT}')
    return list(content.get("scans", []))


def _checked(lines: Sequence[Mapping[str, Any]], name: str, folder: Path) -> Manifest:
    if not lines:
        raise InputError(f"{name} lists no scan")
    given = [key for line in lines if isinstance(line, Mapping) for key in line if key]
    columns = list(dict.fromkeys(given))
    if "image" not in columns:
        raise InputError(
            f"{name} has no column 'image'; it has {', '.join(columns) or 'none'}, expected "
            f"'image' and perhaps {', '.join(COLUMNS[1:])}"
        )
    strange = [column for column in columns if column not in COLUMNS]
    notes = [f"columns of {name} that are not used: {', '.join(strange)}"] if strange else []
    scans = list(_distinct(_scan(line, n, name, folder) for n, line in enumerate(lines, 1)))
    return Manifest(tuple(scans), tuple(notes))


def _scan(line: Any, row: int, name: str, folder: Path) -> Scan:
    """A line as a scan; whatever is wrong with it is its error."""
    where = f"{name}, row {row}"
    blank = Scan(f"row-{row}", Path())
    if not isinstance(line, Mapping):
        return replace(blank, error=f"{where}: expected an object with 'image', got {line!r}")
    said = {key: value for key in COLUMNS if (value := line.get(key)) not in (None, "")}
    if "image" not in said:
        return replace(blank, error=f"{where}: there is no image; give its path")
    image = folder / str(said["image"])
    id = str(said.get("id") or stem(image))
    scan = Scan(id, image, series=str(said["series"]) if "series" in said else None)
    if id in (".", "..") or set(id) & set('/\\:*?"<>|'):
        why = f"{where}: id {id!r} cannot name a file; use letters, digits, - and _"
        return replace(blank, image=image, error=why)
    lists = {key: _listed(said.get(key)) for key in _LISTS}
    scan = replace(
        scan,
        prompts=tuple(folder / one for one in lists["prompts"]),
        boxes=lists["box"],
        objects=lists["objects"],
        output=folder / str(said["output"]) if "output" in said else None,
    )
    missing = [str(path) for path in (image, *scan.prompts) if not path.exists()]
    if missing:
        return replace(scan, error=f"{where}: there is no file {missing[0]}")
    frame = str(said.get("frame", ""))
    if frame and not frame.isdigit():
        return replace(scan, error=f"{where}: frame {frame!r} is no whole number from 0")
    return replace(scan, frame=int(frame) if frame else None)


def _listed(value: Any) -> tuple[str, ...]:
    """One value or several: separated by ``;`` in a table."""
    if value is None:
        return ()
    parts = value.split(";") if isinstance(value, str) else value
    parts = [parts] if isinstance(parts, Path) else parts
    return tuple(str(part).strip() for part in parts if str(part).strip())


def _distinct(scans: Iterator[Scan]) -> Iterator[Scan]:
    """Scans; one with an id or an output of an earlier one is an error, under an id of its own."""
    ids: set[str] = set()
    outputs: dict[Path, str] = {}
    for row, scan in enumerate(scans, 1):
        error = scan.error
        if scan.id.casefold() in ids:
            error = error or f"row {row}: {scan.id!r} is the id of an earlier row; give it its own"
            scan = replace(scan, id=f"row-{row}")
        if scan.output is not None:
            former = outputs.setdefault(scan.output.absolute(), scan.id)
            if former != scan.id:
                error = error or f"row {row}: {scan.output} is the output of {former} already"
        ids.add(scan.id.casefold())
        yield replace(scan, error=error)
