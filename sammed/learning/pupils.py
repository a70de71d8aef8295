"""The cases of a project that can be learned from, read one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from sammed.errors import InputError, SammedError
from sammed.learning.judging import Taught
from sammed.learning.planning import Fingerprint, fingerprint
from sammed.learning.unknown import unknown_in
from sammed.project.case import CaseFolder
from sammed.project.folder import Project


@dataclass(frozen=True)
class Pupils:
    """What was found.

    Attributes
    ----------
    subjects
        Case → person, of the cases that can be learned from.
    prints
        Case → fingerprint.
    structures
        Value → name of those that at least one case has.
    notes
        What is odd, one sentence a case.
    """

    subjects: dict[str, str]
    prints: dict[str, Fingerprint]
    structures: dict[int, str]
    notes: tuple[str, ...]


def survey(project: Project) -> Pupils:
    """Look at all accepted cases.

    Parameters
    ----------
    project
        The project.

    Raises
    ------
    InputError
        If there is none that can be learned from.
    """
    names = project.description.names
    subjects: dict[str, str] = {}
    prints: dict[str, Fingerprint] = {}
    seen: dict[str, set[int]] = {}
    unknown: dict[str, frozenset[int]] = {}
    notes = []
    for case in project.cases():
        try:
            if case.record.state != "accepted":
                continue
            one = read(project, case)
        except SammedError as error:
            notes.append(f"{case.id} is left out: {' '.join(str(error).split())}")
            continue
        subjects[case.id] = one.subject
        prints[case.id] = fingerprint(one.volume, one.labels)
        seen[case.id] = {int(value) for value in np.unique(one.labels) if value}
        unknown[case.id] = one.unknown
    there = set().union(*seen.values()) if seen else set()
    structures = {value: name for value, name in names.items() if value in there}
    for value, name in names.items():
        undrawn = [id for id, values in unknown.items() if value in values]
        lacking = [id for id in seen if value not in seen[id] and id not in undrawn]
        if value not in there and seen:
            notes.append(f"no case has {name}: it is not learned")
            continue
        if lacking:
            notes.append(f"{name} is learned to be absent in {', '.join(lacking)}")
        if undrawn:
            notes.append(
                f"{name} was not asked for when {', '.join(undrawn)} came to be accepted: nothing "
                "is learned of it there; open and accept them once more if it is drawn or absent"
            )
    if not structures:
        why = f"; {notes[0]}" if notes else ""
        raise InputError(
            f"{project.folder} has no accepted case with a structure to learn from: accept one "
            f"with 'sammed project accept' or 'import'{why}"
        )
    notes += _differences(prints)
    return Pupils(subjects, prints, structures, tuple(notes))


def _differences(prints: dict[str, Fingerprint]) -> list[str]:
    """What cases of one project should have in common, and do not."""
    notes = []
    kinds = {one.kind for one in prints.values()}
    if len(kinds) > 1:
        each = {kind: [id for id, one in prints.items() if one.kind == kind] for kind in kinds}
        rare = min(each, key=lambda kind: len(each[kind]))
        notes.append(
            f"{', '.join(each[rare])}: {_WORDS[rare]}, unlike the others; learn them apart if they "
            "look different"
        )
    volumes = {id: float(np.prod(one.spacing)) for id, one in prints.items()}
    middle = float(np.median(list(volumes.values())))
    odd = [id for id, volume in volumes.items() if not middle / 8 <= volume <= 8 * middle]
    if odd:
        notes.append(f"{', '.join(odd)}: voxels of quite another size than the others'")
    return notes


_WORDS = {"ct": "CT", "scan": "no CT", "colour": "colour"}


def read(project: Project, case: CaseFolder) -> Taught:
    """A case with its accepted label map.

    Parameters
    ----------
    project, case
        Which.

    Raises
    ------
    SammedError
        If the scan or the label map cannot be read, do not belong together, or the label map has
        a value that is no structure.
    """
    scan = case.scan
    volume = case.volume()
    labels = case.labels(volume, project.description.names)
    if labels is None:
        raise InputError(f"case {case.id} has no label map")
    checked = project.checked(labels, f"the label map of case {case.id}")
    there = {int(value) for value in np.unique(checked.voxels)}
    unknown = unknown_in(case.record, project.description, there)
    return Taught(case.id, scan.subject or case.id, scan.mark, volume, checked.voxels, unknown)


def read_all(project: Project, ids: Iterable[str]) -> Iterator[Taught]:
    """Cases by their ids, one after the other."""
    for id in ids:
        yield read(project, project.case(id))
