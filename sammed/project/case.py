"""One case: its scan, what was said and found, and what became of it.

A case is a folder. ``case.json`` says which scan it is and does not change; ``state.json`` says
what became of it and names the label map, prompts and report that belong to that. These are
written first, under names that nothing has yet, and ``state.json`` last: it alone decides, so a
program that is killed at any moment leaves either what was there or what was to come.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from sammed import io
from sammed.errors import InputError, UnreadableFileError
from sammed.imaging.volume import LabelVolume, Volume
from sammed.io.output import atomic_text
from sammed.project.lease import WAIT_S, Holder, Lease, held, holder_of, user_name
from sammed.project.marks import is_marked

CASE_FORMAT = "sammed-case/1"
STATE_FORMAT = "sammed-state/1"

State = Literal["todo", "proposed", "accepted", "refused"]
STATES: tuple[str, ...] = get_args(State)

_LEFT_OVER_S = 3600.0
"""Temporary files and folders this old are nobody's any more."""


@dataclass(frozen=True)
class Scan:
    """Which scan a case is.

    Attributes
    ----------
    id
        Of the case; names its folder.
    image
        File or folder; absolute, or relative to the folder of the project.
    subject
        Cases of one person share it.
    series
        Of a DICOM folder with several.
    modality
        If the file does not say it.
    mark
        By which the file is known again, see `sammed.project.marks`.
    """

    id: str
    image: str
    subject: str = ""
    series: str = ""
    modality: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Record:
    """What became of a case.

    Attributes
    ----------
    state
        One of `STATES`; whether somebody works on it, its lease says.
    labels, prompts, report
        Names of its files, in its folder; empty if there is none.
    model
        Who drew the labels: a model's file and hash, ``"import"``, or empty.
    estimated
        Dice that a proposal is thought to have, by structure.
    seconds, prompted
        What it took a person: seconds of work, and prompts given.
    note
        Why it was refused, what was odd.
    history
        What was done to it, by whom and when.
    """

    state: State = "todo"
    labels: str = ""
    prompts: str = ""
    report: str = ""
    model: str = ""
    estimated: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    prompted: int = 0
    note: str = ""
    history: tuple[Mapping[str, Any], ...] = ()

    @property
    def estimate(self) -> float:
        """Mean of the estimated Dice; 0 if there is none."""
        return sum(self.estimated.values()) / len(self.estimated) if self.estimated else 0.0


class CaseFolder:
    """A case of a project.

    Parameters
    ----------
    folder
        Its own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = folder.name

    @property
    def scan(self) -> Scan:
        """Which scan it is.

        Raises
        ------
        UnreadableFileError
            If its ``case.json`` is missing or broken.
        """
        return Scan(**_fields(self.folder / "case.json", CASE_FORMAT, Scan))

    @property
    def record(self) -> Record:
        """What became of it.

        Raises
        ------
        UnreadableFileError
            If its ``state.json`` is broken.
        """
        path = self.folder / "state.json"
        if not path.exists():
            return Record()
        said = _fields(path, STATE_FORMAT, Record, "; without it, the case is to do")
        if said.get("state") not in STATES:
            raise UnreadableFileError(f"{path} has the state {said.get('state')!r}; mend it")
        return Record(**{**said, "history": tuple(said.get("history", ()))})

    @property
    def worker(self) -> Holder | None:
        """Who works on it now."""
        return holder_of(self.folder)

    @property
    def image(self) -> Path:
        """The file or folder of its scan."""
        return self.folder.parent.parent / self.scan.image

    def file(self, name: str) -> Path | None:
        """The path of one of its files, ``"labels"``, ``"prompts"`` or ``"report"``."""
        there: str = getattr(self.record, name)
        return self.folder / there if there else None

    def check_scan(self) -> Path:
        """The file or folder of its scan, if it still is the one that was added.

        Raises
        ------
        InputError
            If it is missing, unreadable, or another one than was added.
        """
        scan, path = self.scan, self.image
        if not path.exists():
            raise UnreadableFileError(
                f"the scan {path} of case {self.id} is gone; bring it back, or refuse the case"
            )
        if scan.mark and not is_marked(path, scan.mark, scan.series):
            raise InputError(
                f"{path} is not the scan that was added as case {self.id}: its content has "
                "changed; add it as a new case"
            )
        return path

    def volume(self) -> Volume:
        """Its scan.

        Raises
        ------
        InputError
            If the file is missing, unreadable, or another one than was added.
        """
        scan = self.scan
        volume = io.read(self.check_scan(), series=scan.series or None)
        if scan.modality and not volume.modality:
            volume = replace(volume, modality=scan.modality)
        return volume

    def labels(self, like: Volume, names: Mapping[int, str]) -> LabelVolume | None:
        """Its label map on the grid of its scan, ``None`` if it has none.

        Parameters
        ----------
        like
            The scan.
        names
            Of the project's structures.
        """
        path = self.file("labels")
        return None if path is None else io.read_labels(path, like=like, names=names)

    @contextmanager
    def held(
        self, wait_s: float = WAIT_S, lease: Lease | None = None, fresh_s: float = 0.0
    ) -> Iterator[Lease]:
        """Its lease for a while, see `sammed.project.lease.held`; or the one that we hold."""
        if lease is not None:
            yield lease
            return
        with held(self.folder, wait_s, fresh_s) as taken:
            yield taken

    def commit(
        self,
        lease: Lease,
        what: str,
        change: Mapping[str, Any],
        *,
        labels: LabelVolume | None = None,
        prompts: Mapping[str, Any] | None = None,
        report: Mapping[str, Any] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> Record:
        """Change what became of it, whole or not at all.

        Parameters
        ----------
        lease
            Of this case, held by us.
        what
            In one word, for the history.
        change
            Fields of the `Record`.
        labels, prompts, report
            New files; without one the former stays.
        about
            More for the history.

        Returns
        -------
        Record
            As it is now.

        Raises
        ------
        InWorkError
            If somebody has taken the case over meanwhile.
        OutputError
            If something cannot be written.
        """
        lease.check()
        former = self.record
        number = len(former.history) + 1
        files = {
            name: f"{name}-{number:04}{ending}"
            for name, content, ending in (
                ("labels", labels, ".nii.gz"),
                ("prompts", prompts, ".json"),
                ("report", report, ".json"),
            )
            if content is not None
        }
        if labels is not None:
            io.write_labels(labels, self.folder / files["labels"], force=True)
        for name, content in (("prompts", prompts), ("report", report)):
            if content is not None:
                text = json.dumps(content, indent=1, default=str) + "\n"
                atomic_text(self.folder / files[name], text, force=True)
        event = {
            "what": what,
            "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "who": user_name(),
            "host": socket.gethostname(),
            "before": former.state,
            **(about or {}),
        }
        record = replace(former, **{**change, **files, "history": (*former.history, event)})
        lease.check()
        said = {"format": STATE_FORMAT, **asdict(record)}
        atomic_text(self.folder / "state.json", json.dumps(said, indent=1) + "\n", force=True)
        self._tidy(record)
        return record

    def _tidy(self, record: Record) -> None:
        """Remove files of former states, and what killed programs left."""
        kept = {record.labels, record.prompts, record.report}
        for name in ("labels", "prompts", "report"):
            for path in self.folder.glob(f"{name}-*"):
                if path.name not in kept:
                    path.unlink(missing_ok=True)
        clear_left_over(self.folder)


def clear_left_over(folder: Path) -> None:
    """Remove what programs that were killed had begun to write, some time ago.

    Parameters
    ----------
    folder
        Whose lease we hold.
    """
    for path in folder.glob(".*"):
        try:
            if time.time() - path.stat().st_mtime < _LEFT_OVER_S:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name.startswith(".lease-"):
                path.unlink(missing_ok=True)
        except OSError:  # somebody else was quicker
            continue


def create_case(cases: Path, scan: Scan) -> bool:
    """Make the folder of a case, unless it is there.

    Parameters
    ----------
    cases
        The folder of all cases.
    scan
        Which scan it is.

    Returns
    -------
    bool
        Whether it was made.
    """
    folder = cases / scan.id
    if folder.exists():
        return False
    temporary = cases / f".{scan.id}-{os.getpid()}"
    temporary.mkdir(exist_ok=True)
    said = {"format": CASE_FORMAT, **asdict(scan)}
    atomic_text(temporary / "case.json", json.dumps(said, indent=1) + "\n", force=True)
    try:
        temporary.rename(folder)
    except OSError:  # another program was quicker
        (temporary / "case.json").unlink(missing_ok=True)
        temporary.rmdir()
        return False
    return True


def _fields(path: Path, form: str, kind: Callable[..., Any], cure: str = "") -> dict[str, Any]:
    """The fields of a dataclass in a JSON file; others, of later versions, are left out."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnreadableFileError(f"{path.parent} is no case: it has no {path.name}") from None
    except (ValueError, OSError) as error:
        raise UnreadableFileError(f"{path} cannot be read: {error}{cure}") from None
    if not isinstance(said, dict) or said.get("format") != form:
        found = said.get("format") if isinstance(said, dict) else type(said).__name__
        raise UnreadableFileError(f"{path} has the format {found!r}, not {form!r}")
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    return {name: value for name, value in said.items() if name in known}
