"""Projects where scans are looked for: their cases' scans are meant, never what lies in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sammed.errors import InputError

if TYPE_CHECKING:
    from sammed.project.case import CaseFolder

T = TypeVar("T")

NAMED = 5
"""So many are named in a line; of the others it says that there are more."""


def is_project(folder: Path) -> bool:
    """Whether a folder is one of a project: it has a ``project.toml`` and the cases.

    Parameters
    ----------
    folder
        Need not be there.

    Examples
    --------
    >>> is_project(Path("sample_data"))
    False
    """
    from sammed.project import description
    from sammed.project.folder import CASES

    return description.is_project(folder) and (folder / CASES).is_dir()


def cases_of(folder: Path) -> list[CaseFolder]:
    """The cases of a project.

    Parameters
    ----------
    folder
        Of the project.

    Raises
    ------
    UnreadableFileError
        If its description is broken.
    InputError
        If it has no case.
    """
    from sammed.project.folder import Project

    cases = Project(folder).cases()
    if not cases:
        raise InputError(
            f"the project {folder} has no case; 'sammed project add {folder} SCANS' adds some"
        )
    return cases


def without_projects(
    found: Iterable[T], image: Callable[[T], Path], source: str
) -> tuple[list[T], list[str]]:
    """What a folder or a glob means, without what lies in folders of projects.

    Parameters
    ----------
    found
        Scans.
    image
        Gives the path of one.
    source
        The folder or the glob. What it leads into by name is meant, such as ``study/scans``.

    Returns
    -------
    kept
        The others.
    notes
        A line on what was left out, if anything was.

    Raises
    ------
    InputError
        If nothing else is there.
    """
    root = _root(source)
    known: dict[Path, bool] = {}
    kept: list[T] = []
    projects: dict[str, int] = {}
    for one in found:
        project = _project_around(image(one), root, known)
        if project is None:
            kept.append(one)
        else:
            projects[str(project)] = projects.get(str(project), 0) + 1
    if not projects:
        return kept, []
    where = listed(list(projects))
    if not kept:
        raise InputError(
            f"{source} holds no scan but files of the project {where}; give that folder, and the "
            "scans of its cases are meant"
        )
    return kept, [
        f"{sum(projects.values())} files in projects are left out: {where}; give such a folder "
        "itself, and the scans of its cases are meant"
    ]


def listed(names: Iterable[str]) -> str:
    """Names in a line, the first few of many.

    Examples
    --------
    >>> listed(["a", "b"]), listed("abcdefg")
    ('a, b', 'a, b, c, d, e, ...')
    """
    names = list(names)
    return ", ".join(names[:NAMED]) + ", ..." * (len(names) > NAMED)


def _root(source: str) -> Path:
    """The part of a glob that is no pattern; a folder as it is."""
    path = Path(source).expanduser()
    if path.exists():
        return path
    parts = path.parts
    first = next((n for n, part in enumerate(parts) if set(part) & set("*?[")), len(parts))
    return Path(*parts[:first])


def _project_around(image: Path, root: Path, known: dict[Path, bool]) -> Path | None:
    """The project in whose folder a file lies, below where one was asked to look.

    Of a project at that very place only its cases are its own: a glob may lead beside them.
    """
    for folder in image.parents:
        if folder == root or not folder.is_relative_to(root):
            break
        if known.setdefault(folder, is_project(folder)):
            return folder
    below = image.is_relative_to(root / "cases")
    return root if below and known.setdefault(root, is_project(root)) else None
