"""Which journal belongs to a scan, and what it holds of former work."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sammed.errors import InputError, OutputError
from sammed.folders import state_folder
from sammed.io.output import check_folder
from sammed.workbench.journal import ENDING, Journal, Record, read_journal


@dataclass
class Resumed:
    """A journal, and what was in it.

    Attributes
    ----------
    journal
        To be written to from now on.
    record
        Former work on the same volume, if there is some.
    notes
        What the person should know of it.
    """

    journal: Journal
    record: Record | None = None
    notes: list[str] = field(default_factory=list)


def resume(folder: Path, stem: str, volume_hash: Callable[[], str], name: str) -> Resumed:
    """Find the journal of a label map, and take it up if it is of this volume.

    Parameters
    ----------
    folder, stem
        Where the label map belongs and what it is called.
    volume_hash
        Tells the volume's hash; asked only where there is a journal.
    name
        Of the scan, for people who read the journal.

    Raises
    ------
    InputError
        If another process is at it.
    """
    notes = []
    path = folder / (stem + ENDING)
    if not may_write(folder):
        kept = state_folder() / "journals"
        told = hashlib.sha256(str(folder).encode("utf-8", "surrogatepass")).hexdigest()
        path = kept / f"{stem}-{told[:8]}{ENDING}"
        notes.append(f"{folder} cannot be written to; what is done is kept in {path}")
        kept.mkdir(parents=True, exist_ok=True, mode=0o700)
    journal = Journal(path, volume_hash, name)
    if not path.exists():
        return Resumed(journal, None, notes)
    try:
        record = read_journal(path)
        if record.volume != volume_hash():
            raise InputError(f"{path} is of another image")
    except InputError as error:
        aside = set_aside(journal)
        notes.append(f"{error}; it was moved to {aside.name} and is as it was")
        return Resumed(journal, None, notes)
    journal.go_on(record)
    if record.torn:
        notes.append("the last step of before was being written when it ended, and is lost")
    return Resumed(journal, record if record.entries else None, notes)


def set_aside(journal: Journal) -> Path:
    """Move a journal out of the way, its content untouched; where it is then.

    Raises
    ------
    InputError
        If another process is at it.
    """
    journal.check_free()
    stem = journal.path.name.removesuffix(ENDING)
    numbered = (journal.path.with_name(f"{stem}.{n}{ENDING}") for n in range(1, 10_000))
    aside = next(path for path in numbered if not path.exists())
    os.rename(journal.path, aside)
    return aside


def may_write(folder: Path) -> bool:
    """Whether files can be put into a folder."""
    try:
        check_folder(folder)
    except OutputError:
        return False
    return True
