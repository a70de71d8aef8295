"""Which cases ``sammed evaluate`` is to score on: a manifest, two folders, or a project."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sammed.errors import InputError

if TYPE_CHECKING:
    from sammed.evaluation.manifest import Case


@dataclass(frozen=True)
class Asked:
    """What the options say of the cases.

    Attributes
    ----------
    cases
        A manifest, or the folder of a project.
    images, references, labels
        Two folders instead, and a file of names.
    only
        Ids of those that are wanted; default: all.
    same_subject
        Ids of cases of one person, separated by commas.
    models
        Those that will be scored.
    """

    cases: Path | None
    images: Path | None = None
    references: Path | None = None
    labels: Path | None = None
    only: list[str] | None = None
    same_subject: list[str] | None = None
    models: list[str] | None = None


def cases_asked(asked: Asked, told: Callable[[str], None]) -> list[Case]:
    """The cases that the options ask for.

    Parameters
    ----------
    asked
        The options.
    told
        Takes lines for the user: what is taken of a project, and what is left out.

    Raises
    ------
    InputError
        If the options do not go together, or an id is unknown.
    EvaluationError
        If there is no case.
    """
    from sammed.evaluation.manifest import pair_folders, read_manifest, share_subject
    from sammed.evaluation.objects import read_names
    from sammed.many.projects import is_project

    if asked.cases and not asked.images and not asked.references:
        of_project = is_project(asked.cases)
        cases = _of_project(asked, told) if of_project else read_manifest(asked.cases)
    elif asked.images and asked.references and not asked.cases:
        names = read_names(asked.labels) if asked.labels else None
        cases = pair_folders(asked.images, asked.references, names)
    else:
        raise InputError(
            "expected two label maps, --cases FILE or PROJECT, or --images DIR with "
            "--references DIR"
        )
    for group in asked.same_subject or ():
        cases = share_subject(cases, [part.strip() for part in group.split(",")])
    if asked.only:
        unknown = set(asked.only) - {case.id for case in cases}
        if unknown:
            raise InputError(f"there is no case {', '.join(sorted(unknown))}")
        cases = [case for case in cases if case.id in asked.only]
    return cases


def _of_project(asked: Asked, told: Callable[[str], None]) -> list[Case]:
    """A project's accepted cases; models that learned from some of them are named."""
    from sammed.evaluation.accepted import accepted_cases, learned_from
    from sammed.many.projects import listed

    folder = asked.cases or Path()
    accepted = accepted_cases(folder)
    for note in accepted.notes:
        told(f"note: {note}")
    for model in (Path(name.partition("#")[0]) for name in asked.models or ()):
        known = learned_from(model, accepted) if model.suffix == ".sammed" else []
        if known:
            told(
                f"note: {model} learned from {len(known)} of these cases ({listed(known)}); what "
                "it reaches there says little of others"
            )
    return list(accepted.cases)
