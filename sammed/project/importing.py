"""Label maps that exist, brought into a project: by the names of structures, never by guessing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammed import io
from sammed.errors import LabelError, SammedError, UnreadableFileError
from sammed.imaging.volume import LabelVolume, label_dtype
from sammed.io.tables import read_table
from sammed.project.case import CaseFolder, Record
from sammed.project.folder import Project
from sammed.project.pairing import Imported, pair

__all__ = ["Imported", "bids_names", "import_labels", "map_names", "pair", "why_not"]

_BIDS_DEPTH = 4
"""A label map lies this deep in a BIDS folder: in ``sub-x/ses-y/anat``."""


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
        Whether label maps that were accepted before may be replaced, and cases taken that were
        refused.

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


def why_not(record: Record) -> str:
    """Why a case gets no other label map unless that is forced; "" if it may get one.

    Parameters
    ----------
    record
        What became of it.
    """
    if record.state == "accepted":
        return "it has an accepted label map already; --force replaces it"
    if record.state == "refused":
        why = f" ({record.note})" if record.note else ""
        return f"it was refused{why}; --force takes it back"
    return ""


def _import_one(
    project: Project,
    id: str,
    path: Path,
    names: Mapping[int, str] | None,
    accept: bool,
    force: bool,
) -> Imported:
    case = project.case(id)
    if not force and (reason := why_not(case.record)):
        return Imported(id, False, reason)
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


def bids_names(source: Path) -> dict[int, str] | None:
    """Value → name, as the ``dseg.tsv`` of a BIDS folder says it; ``None`` if there is none.

    Parameters
    ----------
    source
        The folder, one inside, or a label map inside.

    Raises
    ------
    UnreadableFileError
        If it is no such table.
    """
    around = (source, *source.resolve().parents[:_BIDS_DEPTH])
    path = next((f / "dseg.tsv" for f in around if (f / "dseg.tsv").is_file()), None)
    if path is None:
        return None
    rows = read_table(path)[1]
    try:
        return {int(row["index"]): row["name"] for row in rows if int(row["index"])}
    except (KeyError, ValueError):
        raise UnreadableFileError(
            f"{path} does not name the values of label maps; expected the columns index and name"
        ) from None
