"""Which label map belongs to which case: by names, and by folders where names do not tell.

A label map is never given to a case that might be another patient's. What says more of it than
its own name is heeded: the file beside it that names its source, as BIDS wants it and `sammed
project export` writes it, or the table that lists it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sammed.errors import InputError, SammedError
from sammed.io.recognition import longest_ending, stem
from sammed.project.folder import Project
from sammed.project.marks import is_marked
from sammed.project.sources import ENDINGS, look_for

LABEL_ENDINGS = ("_seg", "_label", "_labels", "_dseg", "-seg", "-label", "_mask")
"""What names of label maps may have behind that of their image."""


@dataclass(frozen=True)
class Imported:
    """What came of one label map.

    Attributes
    ----------
    case
        Its id; of a file that belongs to none, the file's name.
    done
        Whether it was taken.
    note
        What was left out or is missing, or why it was not taken; empty if there is nothing to say.
    """

    case: str
    done: bool
    note: str = ""


@dataclass(frozen=True)
class _Case:
    """What tells a case's label map: its id and its scan."""

    id: str
    image: Path
    series: str
    mark: str


class _Names:
    """Cases by the names that their label maps may have."""

    def __init__(self, cases: Sequence[_Case]) -> None:
        self._plain: dict[str, list[_Case]] = {}
        self._entities: dict[str, list[_Case]] = {}
        self._telling: dict[tuple[int, bool], list[frozenset[str]]] = {}
        for case in cases:
            own, scan = case.id.casefold(), stem(case.image).casefold()
            for name in {own, _bare(scan)}:
                self._plain.setdefault(name, []).append(case)
            for name in {n.rpartition("_")[0] for n in (own, scan) if n.startswith("sub-")}:
                self._entities.setdefault(name, []).append(case)

    def find(self, path: PurePosixPath | Path) -> list[_Case]:
        """Cases of which a path may name the scan, by the first kind of name that is any's."""
        whole, bare = stem(Path(path)).casefold(), _bare(stem(Path(path))).casefold()
        for names, name in (
            (self._plain, whole),
            (self._plain, bare),
            (self._plain, _described(bare)),
            (self._entities, bare),
        ):
            if name and name in names:
                return names[name]
        return []

    def in_folders(self, found: list[_Case], told: _Told) -> list[_Case]:
        """Those of several cases all of whose folders that tell them apart a label map is in."""
        key = (id(found), told.placed)
        if key not in self._telling:
            self._telling[key] = _telling([_within(case.image, told.placed) for case in found])
        folders = zip(found, self._telling[key], strict=True)
        return [case for case, own in folders if own and own <= told.folders]


@dataclass(frozen=True)
class _Told:
    """What is said of a label map.

    Attributes
    ----------
    name
        A path that is called as its scan is.
    folders
        What tells apart scans of one name, see `_within`.
    placed
        Whether these are the scan's own folders; else they may be about the label map alone.
    id
        Of its case; empty if nothing says it.
    """

    name: PurePosixPath | Path
    folders: frozenset[str]
    placed: bool = False
    id: str = ""


_NO_CASE = "belongs to no case of the project"

_SINGLE_DEPTH = 4
"""Of a single label map its name and three folders count, as ``sub-x/ses-y/anat``."""


def pair(project: Project, source: Path) -> tuple[dict[str, Path], list[Imported]]:
    """Which label map of a file or folder belongs to which case.

    Parameters
    ----------
    project
        The project.
    source
        A folder with files that are named as cases (or images) are, perhaps with ``_seg`` or the
        like behind; or one such file; or a table with columns ``image`` and ``label``. nnU-Net's
        raw folder and BIDS derivatives are such folders. Where several cases have images of one
        name, the folders that these and the label maps are in decide.

    Returns
    -------
    files
        Case → label map.
    left
        Files that belong to no case or to one of several, and cases that cannot be read.

    Raises
    ------
    InputError
        If there is no label map, or none belongs to a case.
    """
    cases, left = _cases(project)
    if source.suffix.lower() in (".csv", ".tsv") and source.is_file():
        return _of_table(cases, source, left)
    wanted: dict[str, list[Path]] = {}
    names, by_id = _Names(cases), _named_by_ids(source)
    for path in _label_files(source, cases):
        try:
            case = _belongs_to(names, path, _told(path, source), by_id)
        except SammedError as reason:
            left.append(Imported(_shown(path, source), False, str(reason)))
        else:
            wanted.setdefault(case.id, []).append(path)
    if not wanted and all(one.note == _NO_CASE for one in left):
        raise InputError(
            f"no label map in {source} is named as a case is; expected names such as "
            f"{next((case.id for case in cases), 'case')}.nii.gz"
        )
    return _one_each({case.id: case for case in cases}, wanted, left, source)


def _one_each(
    cases: Mapping[str, _Case], wanted: Mapping[str, list[Path]], left: list[Imported], source: Path
) -> tuple[dict[str, Path], list[Imported]]:
    """One label map a case; of several the one in its scan's own folder, or none."""
    files: dict[str, Path] = {}
    for id, paths in wanted.items():
        chosen = _chosen(cases[id], paths, source)
        if chosen is not None:
            files[id] = chosen
        for path in paths:
            if path != chosen:
                other = next(_shown(one, source) for one in paths if one != path)
                why = f"case {id} could have {other} as well; leave one of them out"
                if chosen is not None:
                    why = f"case {id} has {other}, which lies in a folder called as its scan's"
                left.append(Imported(_shown(path, source), False, why))
    return files, left


def _cases(project: Project) -> tuple[list[_Case], list[Imported]]:
    """All cases, and what is wrong with those that cannot be read."""
    cases, left = [], []
    for case in project.cases():
        try:
            scan = case.scan
        except SammedError as error:
            left.append(Imported(case.id, False, " ".join(str(error).split())))
            continue
        image = Path(os.path.abspath(case.image))
        cases.append(_Case(case.id, image, scan.series, scan.mark))
    return cases, left


def _of_table(
    cases: Sequence[_Case], table: Path, left: list[Imported]
) -> tuple[dict[str, Path], list[Imported]]:
    """The label maps of a table: each belongs to the case of the image in its line."""
    there = look_for([str(table)])
    left += [Imported(table.name, False, line) for line in (*there.faults, *there.notes)]
    known = {(case.image.resolve(), case.series): case.id for case in cases}
    files = {}
    for one in there.scans:
        id = known.get((one.image.resolve(), one.series))
        if one.label is None:
            continue
        if id is None:
            left.append(
                Imported(one.image.name, False, "is the scan of no case; add it, with 'add'")
            )
        else:
            files[id] = one.label
    if not files:
        raise InputError(
            f"{table} has no label map for a case; expected a column 'label' beside 'image'"
        )
    return files, left


def _belongs_to(names: _Names, path: Path, told: _Told, by_id: bool) -> _Case:
    """The case of a label map.

    Raises
    ------
    InputError
        If there is none, or more than one that it could be.
    """
    found = names.find(told.name)
    if len(found) > 1:
        id = stem(path).casefold() if by_id else told.id.casefold()
        called = [case for case in found if case.id.casefold() == id]
        found = names.in_folders(found, told) or called or found
    if not found:
        raise InputError(_NO_CASE)
    if len(found) > 1:
        ids = [case.id for case in found]
        more = ", ..." * (len(ids) > 5)
        raise InputError(
            f"could belong to any of the cases {', '.join(ids[:5])}{more}; call it as its case is, "
            "or put it into a folder that is called as that of its scan"
        )
    _check_beside(found[0], path)
    return found[0]


def _described(name: str) -> str:
    """``sub-1_T1w`` of ``sub-1_desc-T1w``, as a scan is called; "" if nothing is described."""
    parts = name.split("_")
    said = [part.removeprefix("desc-") for part in parts if part.startswith("desc-")]
    return "_".join([part for part in parts if not part.startswith("desc-")] + said) * bool(said)


def _telling(folders: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    """Of the names of folders those that not all have in common."""
    shared = frozenset.intersection(*folders)
    return [own - shared for own in folders]


def _within(path: PurePosixPath | Path, placed: bool = False) -> frozenset[str]:
    """Names of the folders that a file is in, perhaps with how far above the file they are."""
    above = [part.casefold() for part in reversed(path.parts[:-1])]
    return frozenset(f"{n}:{part}" for n, part in enumerate(above)) if placed else frozenset(above)


def _chosen(case: _Case, paths: Sequence[Path], source: Path) -> Path | None:
    """Of several label maps for one case the one in the scan's own folders, if there is one."""
    if len(paths) == 1:
        return paths[0]
    telling = _telling([_from_path(path, source).folders for path in paths])
    around = _within(case.image)
    fit = [path for path, own in zip(paths, telling, strict=True) if own and own <= around]
    return fit[0] if len(fit) == 1 else None


def _check_beside(case: _Case, path: Path) -> None:
    """Make sure that the image beside a label map, if it is called so, is the scan of the case.

    Raises
    ------
    InputError
        If it is another one.
    """
    image = case.image
    beside = path.with_name(_bare(stem(path)) + image.name.removeprefix(stem(image)))
    if beside == path or not case.mark or not image.is_file() or not beside.is_file():
        return
    if beside.resolve() != image.resolve() and not is_marked(beside, case.mark):
        raise InputError(f"{_NO_CASE}: {beside.name} beside it is not the scan of case {case.id}")


def _told(path: Path, source: Path) -> _Told:
    """What names the scan of a label map: a file beside it that tells its source, or its path."""
    beside = path.with_name(f"{stem(path)}.json")
    try:
        said = json.loads(beside.read_text(encoding="utf-8"))
        sources = said.get("Sources")
        first = sources[0] if isinstance(sources, list) else sources
        if isinstance(first, str) and first:
            named = PurePosixPath(first.rpartition(":")[2].replace("\\", "/"))
            return _Told(named, _within(named, True), True, str(said.get("Case") or ""))
    except (OSError, ValueError, AttributeError, IndexError):
        pass
    return _from_path(path, source)


def _from_path(path: Path, source: Path) -> _Told:
    """By the path from the source on: what lies above may be called like a case by chance."""
    whole = Path(os.path.abspath(path))
    depth = len(path.relative_to(source).parts) + 1 if path != source else _SINGLE_DEPTH
    inside = Path(*whole.parts[1:][-depth:])
    return _Told(inside, _within(inside))


def _named_by_ids(source: Path) -> bool:
    """Whether `sammed project export` wrote a folder, whose files are called as cases are."""
    return (source / "labels.json").is_file() or (source / "labelsTr").is_dir()


def _shown(path: Path, source: Path) -> str:
    """A file's path within the source."""
    return path.relative_to(source).as_posix() if path != source else path.name


def _label_files(source: Path, cases: Sequence[_Case]) -> list[Path]:
    """Files that may be label maps: all but the project's scans, and images of label maps."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InputError(f"there is no file or folder {source}")
    if (source / "labelsTr").is_dir():
        source = source / "labelsTr"
    found = [p for p in sorted(source.rglob("*")) if p.is_file() and longest_ending(p, ENDINGS)]
    images = {p.with_name(_bare(stem(p))) for p in found if _bare(stem(p)) != stem(p)}
    own = {case.image.resolve() for case in cases}
    return [
        path
        for path in found
        if not path.name.startswith(".")
        and path.resolve() not in own
        and path.with_name(stem(path)) not in images
    ]


def _bare(name: str) -> str:
    """A name without what image and label map do not share."""
    name = name.removesuffix("_0000")
    for ending in LABEL_ENDINGS:
        name = name.removesuffix(ending)
    return name
