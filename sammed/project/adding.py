"""Which of the scans that are to be added a project has already."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sammed.errors import SammedError
from sammed.project.case import CaseFolder
from sammed.project.marks import CONTENT, mark_of, older_mark_of
from sammed.project.sources import Found


@dataclass(frozen=True)
class Added:
    """What came of adding scans.

    Attributes
    ----------
    new
        Ids of the cases that were made.
    known
        Of those that were there already.
    same
        Scans that lie elsewhere than those of these cases but hold the same: path and id.
    notes
        Cases and scans that cannot be read, a sentence each; they stop nothing.
    """

    new: tuple[str, ...]
    known: tuple[str, ...]
    same: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()


class Known:
    """Cases that are known again by the marks of their scans.

    Parameters
    ----------
    cases
        Of a project; those that cannot be read are left out.

    Attributes
    ----------
    notes
        What is wrong with those.
    """

    def __init__(self, cases: Iterable[CaseFolder]) -> None:
        self.notes: list[str] = []
        self._cases: dict[str, CaseFolder] = {}
        self._older: dict[str, list[CaseFolder]] = {}
        for case in cases:
            try:
                self.take(case)
            except SammedError as error:
                self.notes.append(f"case {case.id} is left out: {error}")

    def take(self, case: CaseFolder) -> None:
        """Know one more."""
        mark = case.scan.mark
        if mark.startswith(CONTENT):
            self._cases.setdefault(mark, case)
        elif mark:
            self._older.setdefault(mark, []).append(case)

    def find(self, one: Found, mark: str) -> CaseFolder | None:
        """The case of a scan, if there is one.

        Parameters
        ----------
        one
            The scan.
        mark
            Its mark.

        Raises
        ------
        UnreadableFileError
            If the scan cannot be read.
        """
        if mark in self._cases or not self._older:
            return self._cases.get(mark)
        alike = self._older.get(older_mark_of(one.image, one.series), [])
        return next((case for case in alike if _holds(case, mark)), None)


def _holds(case: CaseFolder, mark: str) -> bool:
    """Whether a case with an older mark, which says little, has a scan of this content."""
    try:
        return mark_of(case.image, case.scan.series) == mark
    except SammedError:  # it is gone
        return False
