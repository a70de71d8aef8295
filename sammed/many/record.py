"""The record on disk: what became of every scan, written whole or not at all.

It alone decides what is finished, so that whatever dies, at whatever moment, the same command goes
on where it was. A scan is claimed while it is worked on, so that no two workers, nor two programs
on two computers, do the same.
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from sammed.errors import SammedError
from sammed.io.output import atomic_text, check_folder, output_error
from sammed.many.task import Entry
from sammed.project.lease import Lease, held

FORMAT = "sammed-record/1"

CLAIM_S = 120.0
"""A claim that was not renewed for so long is anybody's: its worker is gone, wherever it was."""

ENDING_S = 0.3
"""How long a worker that was killed a moment ago may take to be gone."""

_LEFT_OVER_S = 3600.0
"""What a killed program had begun to write is nobody's after so long."""


class Record:
    """The record of a job.

    Parameters
    ----------
    folder
        Where it lies; all workers reach it under the same path.

    Examples
    --------
    >>> import tempfile
    >>> record = Record(Path(tempfile.mkdtemp()))
    >>> record.begin({"job": "example"})
    >>> with record.claimed("case_1"):
    ...     record.write(Entry("case_1", "done"))
    >>> record.entry("case_1").state
    'done'
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, about: Mapping[str, Any]) -> None:
        """Make the folder, and say what job it is.

        Raises
        ------
        OutputError
            If it cannot be written to.
        """
        check_folder(self.folder)
        try:
            (self.folder / "scans").mkdir(parents=True, exist_ok=True)
            (self.folder / "claims").mkdir(exist_ok=True)
        except OSError as error:
            raise output_error(self.folder, error) from error
        for old in self.folder.glob("stop-*"):
            if _age(old) > _LEFT_OVER_S:
                old.unlink(missing_ok=True)
        clear_left_over(self.folder / "scans")
        said = {"format": FORMAT, "begun": _now(), **about}
        text = json.dumps(said, indent=1, default=str) + "\n"
        atomic_text(self.folder / "job.json", text, force=True)

    @property
    def is_there(self) -> bool:
        """Whether this computer sees the record of a job that has begun."""
        return (self.folder / "job.json").is_file()

    def stop_file(self) -> Path:
        """A new name: if a file of it appears, the workers of one run are to stop."""
        return self.folder / f"stop-{secrets.token_hex(6)}"

    def entry(self, id: str) -> Entry | None:
        """What is recorded of a scan; ``None`` of nothing, or of what cannot be read."""
        try:
            said = json.loads(self._file(id).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(said, dict) or said.get("format") != FORMAT:
            return None
        known = {f.name for f in fields(Entry)}
        with suppress(TypeError):
            return Entry(**{name: value for name, value in said.items() if name in known})
        return None

    def write(self, entry: Entry) -> None:
        """Record what became of a scan.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        said = {"format": FORMAT, **asdict(entry), "host": socket.gethostname(), "when": _now()}
        text = json.dumps(said, indent=1, default=str) + "\n"
        atomic_text(self._file(entry.id), text, force=True)

    @contextmanager
    def claimed(self, id: str) -> Iterator[Lease]:
        """A scan, claimed for a while.

        Raises
        ------
        InWorkError
            If another worker is at it.
        """
        folder = self.folder / "claims" / id
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(folder, error) from error
        with held(folder, ENDING_S, CLAIM_S) as lease:
            yield lease

    def _file(self, id: str) -> Path:
        return self.folder / "scans" / f"{id}.json"


def clear_left_over(folder: Path) -> None:
    """Remove what programs that were killed had begun to write into a folder an hour ago."""
    for path in folder.glob(".sammed-*"):
        if _age(path) > _LEFT_OVER_S:
            shutil.rmtree(path, ignore_errors=True)


def in_a_line(error: BaseException) -> str:
    """An error as one line; of what is no `SammedError` the type as well."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, SammedError) else f"{type(error).__name__}: {text}"


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
