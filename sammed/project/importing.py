"""Label maps that exist, brought into a project: by the names of structures, never by guessing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammed import io
from sammed.errors import InputError, LabelError, SammedError
from sammed.imaging.volume import LabelVolume, label_dtype
from sammed.io.recognition import longest_ending, stem
from sammed.project.case import CaseFolder
from sammed.project.folder import Project
from sammed.project.sources import ENDINGS

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


def import_labels(
    project: Project,
    files: Mapping[str, Path],
    names: Mapping[int, str] | None = None,
    *,
    accept: bool = True,
    force: bool = False,
) -> list[Imported]:
    """Give cases the label maps that belong to them.

    Parameters
    ----------
    project
        The project.
    files
        Case → label map, see `pair`.
    names
        Value in the files → name; without it, as the files name their values.
    accept
        Whether they are accepted at once, or proposals to be looked at.
    force
        Whether label maps that were accepted before may be replaced.

    Returns
    -------
    list of Imported
        One a file, in order; what goes wrong with one does not stop the others.
    """
    done = []
    for id, path in files.items():
        try:
            done.append(_import_one(project, id, path, names, accept, force))
        except SammedError as error:
            done.append(Imported(id, False, " ".join(str(error).split())))
    return done


def _import_one(
    project: Project,
    id: str,
    path: Path,
    names: Mapping[int, str] | None,
    accept: bool,
    force: bool,
) -> Imported:
    case = project.case(id)
    if case.record.state == "accepted" and not force:
        return Imported(id, False, "it has an accepted label map already; --force replaces it")
    volume = case.volume()
    labels = io.read_labels(path, like=volume)
    mapped, notes = map_names(labels, names, project.description.structures, path)
    _commit(project, case, mapped, notes, accept, path)
    return Imported(id, True, "; ".join(notes))


def _commit(
    project: Project,
    case: CaseFolder,
    labels: LabelVolume,
    notes: Iterable[str],
    accept: bool,
    path: Path,
) -> None:
    about = {"file": path.name, "notes": list(notes)}
    if accept:
        project.accept(case.id, labels, about=about, model="import")
        return
    with case.held() as lease:
        change = {"state": "proposed", "model": "import", "estimated": {}}
        case.commit(lease, "import", change, labels=labels, about=about)


def map_names(
    labels: LabelVolume,
    names: Mapping[int, str] | None,
    structures: Mapping[str, int],
    path: Path,
) -> tuple[LabelVolume, list[str]]:
    """A label map with the project's values, and what is to be said of it.

    Parameters
    ----------
    labels
        As the file has it.
    names
        Value → name that count instead of the file's own.
    structures
        Name → value in the project.
    path
        For messages.

    Raises
    ------
    LabelError
        If no value has the name of a structure.
    """
    there = [int(value) for value in np.unique(labels.voxels) if value]
    called = {value: (names or labels.names).get(value, f"label_{value}") for value in there}
    known = {name.casefold(): (name, value) for name, value in structures.items()}
    voxels: NDArray[np.unsignedinteger] = np.zeros(
        labels.shape, label_dtype(max(structures.values(), default=1))
    )
    found, surplus = set(), []
    for value, name in called.items():
        match = known.get(name.casefold())
        if match is None:
            surplus.append(f"{name} ({value})")
            continue
        voxels[labels.voxels == value] = match[1]
        found.add(match[0])
    if there and not found:
        values = ", ".join(f"{value} ({name})" for value, name in called.items())
        raise LabelError(
            f"{path.name} has the labels {values}, none of which is named as a structure of the "
            f"project ({', '.join(structures)}); say what they are, with --names '1=liver;2=spleen'"
        )
    missing = [name for name in structures if name not in found]
    notes = []
    if surplus:
        notes.append(f"left out, being no structure of the project: {', '.join(surplus)}")
    if missing:
        notes.append(f"has no {', '.join(missing)}")
    names_of = {value: name for name, value in structures.items()}
    return replace(labels, voxels=voxels, names=names_of, colours={}), notes


def pair(project: Project, source: Path) -> tuple[dict[str, Path], list[Imported]]:
    """Which label map of a file or folder belongs to which case.

    Parameters
    ----------
    project
        The project.
    source
        A folder with files that are named as cases (or images) are, perhaps with ``_seg`` or the
        like behind; or one such file. nnU-Net's raw folder and BIDS derivatives are such folders.

    Returns
    -------
    files
        Case → label map.
    left
        Files that belong to no case.

    Raises
    ------
    InputError
        If there is no label map, none belongs to a case, or two belong to one.
    """
    cases: dict[str, str] = {}
    for case in project.cases():
        cases[case.id.casefold()] = case.id
        cases.setdefault(_bare(stem(case.image)).casefold(), case.id)
    files: dict[str, Path] = {}
    left = []
    for path in _label_files(source):
        id = cases.get(stem(path).casefold()) or cases.get(_bare(stem(path)).casefold())
        if id is None:
            left.append(Imported(path.name, False, "belongs to no case of the project"))
        elif id in files:
            raise InputError(
                f"{files[id].name} and {path.name} both belong to case {id}; leave one out"
            )
        else:
            files[id] = path
    if not files:
        raise InputError(
            f"no label map in {source} is named as a case is; expected names such as "
            f"{next(iter(cases.values()), 'case')}.nii.gz"
        )
    return files, left


def _label_files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InputError(f"there is no file or folder {source}")
    if (source / "labelsTr").is_dir():
        source = source / "labelsTr"
    found = [p for p in sorted(source.rglob("*")) if p.is_file() and longest_ending(p, ENDINGS)]
    return [path for path in found if not path.name.startswith(".")]


def _bare(name: str) -> str:
    """A name without what image and label map do not share."""
    name = name.removesuffix("_0000")
    for ending in LABEL_ENDINGS:
        name = name.removesuffix(ending)
    return name
