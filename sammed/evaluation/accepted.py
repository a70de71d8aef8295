"""A project's accepted cases as a cohort: what people said is right, to score a model on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sammed.errors import EvaluationError, SammedError, UnreadableFileError
from sammed.evaluation.manifest import Case
from sammed.evaluation.objects import Key
from sammed.many.projects import cases_of
from sammed.project.case import CaseFolder
from sammed.project.description import read_description


@dataclass(frozen=True)
class Accepted:
    """Cases of a project, and what is to be said of the choice.

    Attributes
    ----------
    cases
        With their accepted label maps as the reference, and the project's structures.
    marks
        Case → by what its scan is known again, see `sammed.project.marks`.
    notes
        What was taken, and what was left out, a line each.
    """

    cases: tuple[Case, ...]
    marks: dict[str, str]
    notes: tuple[str, ...]


def accepted_cases(folder: Path) -> Accepted:
    """The accepted cases of a project; one that cannot be read is named and left out.

    Parameters
    ----------
    folder
        Of the project.

    Raises
    ------
    UnreadableFileError
        If it is no project.
    EvaluationError
        If no case can be used.
    """
    names: dict[Key, str] = dict(read_description(folder).names.items())
    there = cases_of(folder)
    cases: list[Case] = []
    marks: dict[str, str] = {}
    broken: list[str] = []
    for one in there:
        try:
            if one.record.state == "accepted":
                cases.append(_case(one, names))
                marks[one.id] = one.scan.mark
        except (SammedError, OSError) as error:
            broken.append(f"case {one.id} is left out: {error}")
    if not cases:
        why = f" that can be read: {broken[0]}" if broken else ""
        raise EvaluationError(
            f"the project {folder} has no accepted case among its {len(there)}{why}; accept some "
            "first (sammed project accept, or sammed open)"
        )
    taken = f"{folder} is a project: {len(cases)} of its {len(there)} cases are accepted and taken"
    return Accepted(tuple(cases), marks, (taken, *broken))


def _case(one: CaseFolder, names: dict[Key, str]) -> Case:
    """A case as a manifest would say it."""
    scan, image, label = one.scan, one.check_scan(), one.file("labels")
    if label is None or not label.is_file():
        raise UnreadableFileError(f"its label map {label or ''} is gone; accept it anew")
    if scan.series:
        raise UnreadableFileError(
            f"its scan is series {scan.series} of {image}, and sammed evaluate reads files and "
            "folders of one series; convert the series to a file, and add that"
        )
    return Case(
        one.id, image, label, dict(names), scan.modality, truth="accepted",
        subject=scan.subject or one.id,
    )  # fmt: skip


def learned_from(model: Path, accepted: Accepted) -> list[str]:
    """Which cases a learned model's file says that it learned from: scores on them say little.

    Parameters
    ----------
    model
        Of a ``.sammed`` file.
    accepted
        The cases.
    """
    from sammed.models.learned.file import read_teaching

    try:
        taught = read_teaching(model).cases
    except SammedError:
        return []  # the registry says what is wrong with it
    known = {mark for mark in taught.values() if mark}
    return [case.id for case in accepted.cases if accepted.marks[case.id] in known]
