"""The project: made, opened, grown; which case comes next."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import InputError, LabelError, OutputError, SammedError
from sammed.imaging.volume import LabelVolume, label_dtype
from sammed.io.output import check_folder, output_error
from sammed.models.learned.file import SUFFIX
from sammed.project.adding import Added, Known
from sammed.project.case import (
    CaseFolder,
    Record,
    Scan,
    State,
    clear_left_over,
    create_case,
)
from sammed.project.description import (
    FILE,
    Description,
    now,
    read_description,
    write_description,
)
from sammed.project.lease import Lease, held
from sammed.project.marks import mark_of
from sammed.project.order import Order, Waiting, in_order
from sammed.project.sources import Found

CASES = "cases"


class Project:
    """A folder of cases with the same structures.

    Parameters
    ----------
    folder
        With a ``project.toml``, see `create`.

    Raises
    ------
    UnreadableFileError
        If it is no project.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "study"
    >>> project = Project.create(folder, {"liver": 0, "spleen": 0})
    >>> project.description.structures
    {'liver': 1, 'spleen': 2}
    >>> from sammed.project.sources import find_scans
    >>> project.add(find_scans(["sample_data/phantom_ct.nii.gz"])).new
    ('phantom_ct',)
    >>> project.next().id
    'phantom_ct'
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.description = read_description(self.folder)

    @classmethod
    def create(
        cls, folder: Path, structures: Mapping[str, int], name: str = "", seed: int = 0
    ) -> Project:
        """Make a new project.

        Parameters
        ----------
        folder
            Must not be there yet, or be empty.
        structures
            Name → value in the label maps; 0 asks for the next free one.
        name
            By default the folder's.
        seed
            Of every choice by chance.

        Raises
        ------
        OutputError
            If there is a project already, or the folder cannot be written to.
        LabelError
            If names or values clash.
        """
        folder = check_folder(folder)
        bare = Description(name or folder.resolve().name, {}, seed)
        described = bare.with_structures(structures)
        if (folder / FILE).exists():
            raise OutputError(
                f"{folder} is a project already; 'sammed project add {folder}' adds to it"
            )
        try:
            (folder / CASES).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(folder, error) from error
        write_description(folder, described)
        return cls(folder)

    def reread(self) -> None:
        """Take up what others have changed of the description."""
        self.description = read_description(self.folder)

    @property
    def model_file(self) -> Path:
        """The learned model that is in use, which need not be there.

        It is called as the folder is; as it was called before, if the folder was renamed.
        """
        own = self.folder / f"{self.folder.resolve().name}{SUFFIX}"
        others = sorted(self.folder.glob(f"*{SUFFIX}"))
        return others[0] if len(others) == 1 and not own.exists() else own

    def cases(self) -> list[CaseFolder]:
        """All cases, by id."""
        return [CaseFolder(folder) for folder in self._folders()]

    def _folders(self) -> Iterator[Path]:
        root = self.folder / CASES
        if root.is_dir():
            there = (p for p in sorted(root.iterdir()) if not p.name.startswith("."))
            yield from (p for p in there if (p / "case.json").is_file())

    def case(self, id: str) -> CaseFolder:
        """A case by its id.

        Raises
        ------
        InputError
            If there is none.
        """
        folder = self.folder / CASES / id
        if id != Path(id).name or not (folder / "case.json").is_file():
            ids = [case.id for case in self.cases()]
            more = ", ..." * (len(ids) > 5)
            raise InputError(
                f"{self.folder} has no case {id!r}; it has {', '.join(ids[:5]) or 'none'}{more}"
            )
        return CaseFolder(folder)

    def add(self, scans: Iterable[Found]) -> Added:
        """Add scans; those that are cases already, wherever they lie, stay as they are.

        Parameters
        ----------
        scans
            See `sammed.project.sources.find_scans`.
        """
        marked, notes = [], []
        for one in scans:  # reads them all, so before others have to wait for us
            try:
                marked.append((one, mark_of(one.image, one.series)))
            except SammedError as error:
                notes.append(f"{one.image} is left out: {error}")
        with held(self.folder):
            return self._add(marked, notes)

    def _add(self, marked: list[tuple[Found, str]], notes: list[str]) -> Added:
        clear_left_over(self.folder / CASES)
        there = Known(self.cases())
        ids = {folder.name.casefold() for folder in self._folders()}
        new, known, same = [], [], []
        for one, mark in marked:
            case = there.find(one, mark)
            if case is not None:
                known.append(case.id)
                if case.image.resolve() != one.image.resolve():
                    same.append((one.image, case.id))
                continue
            name, number = one.id, 1
            while name.casefold() in ids:
                number += 1
                name = f"{one.id}-{number}"
            scan = Scan(name, self._told(one.image), one.subject or name, one.series, "", mark)
            if create_case(self.folder / CASES, scan):
                new.append(name)
                ids.add(name.casefold())
                there.take(self.case(name))
        return Added(tuple(new), tuple(known), tuple(same), (*there.notes, *notes))

    def _told(self, image: Path) -> str:
        """The path as the project keeps it: from its own folder, so that both can move."""
        try:
            return Path(os.path.relpath(image.resolve(), self.folder.resolve())).as_posix()
        except ValueError:  # on another drive
            return str(image.resolve())

    def add_structures(self, structures: Mapping[str, int]) -> None:
        """Add structures; label maps that are there do not change, and say nothing of them.

        Raises
        ------
        LabelError
            If names or values clash.
        """
        with held(self.folder):
            former = read_description(self.folder)
            since = {**former.since, **dict.fromkeys(structures, now())}
            self.description = replace(former.with_structures(structures), since=since)
            write_description(self.folder, self.description)

    def structure_value(self, name: str) -> int:
        """The value of a structure.

        Raises
        ------
        LabelError
            If it is none of the project's.
        """
        if name not in self.description.structures:
            known = ", ".join(self.description.structures) or "none"
            raise LabelError(f"the project has no structure {name!r}; it has {known}")
        return self.description.structures[name]

    def queue(self, order: Order = "cheapest") -> list[CaseFolder]:
        """Cases that wait for a person, the next one first; without those that cannot be read.

        Parameters
        ----------
        order
            See `sammed.project.order`.
        """
        cases = []
        for case in self.cases():
            with suppress(SammedError):  # `overview` says what is wrong with it
                cases.append(Waiting(case, case.record, case.scan))
        return [one.case for one in in_order(cases, order, self.description.seed)]

    def next(self, order: Order = "cheapest") -> CaseFolder | None:
        """The first case of the queue that nobody works on; ``None`` if all are done.

        Parameters
        ----------
        order
            See `sammed.project.order`.
        """
        return next((case for case in self.queue(order) if case.worker is None), None)

    def accept(
        self,
        id: str,
        labels: LabelVolume | None = None,
        *,
        seconds: float = 0.0,
        prompted: int = 0,
        prompts: Mapping[str, Any] | None = None,
        report: Mapping[str, Any] | None = None,
        about: Mapping[str, Any] | None = None,
        model: str | None = None,
        lease: Lease | None = None,
    ) -> Record:
        """Say that a case's label map is right.

        Parameters
        ----------
        id
            Of the case.
        labels
            The label map, on the grid of its scan; without it the one that the case has.
        seconds, prompted
            What it took.
        prompts, report
            To be kept with it.
        about
            For the history.
        model
            Who drew the labels.
        lease
            Of the case, if we hold it already.

        Raises
        ------
        InputError
            If there are no labels, or the scan is gone or another one than was added.
        LabelError
            If the labels have a value that is no structure of the project.
        InWorkError
            If somebody else works on the case.
        """
        case = self.case(id)
        with case.held(lease=lease) as lease:
            former = case.record
            if labels is None and not former.labels:
                raise InputError(no_labels(id))
            case.check_scan()
            if labels is not None:
                labels = self.checked(labels, f"the label map of case {id}")
            change = {
                "state": "accepted",
                "seconds": former.seconds + seconds,
                "prompted": former.prompted + prompted,
                "note": "",
                "model": former.model if model is None else model,
            }
            return case.commit(
                lease, "accept", change, labels=labels, prompts=prompts, report=report, about=about
            )

    def refuse(self, id: str, why: str = "", *, lease: Lease | None = None) -> Record:
        """Say that a case is not to be used.

        Parameters
        ----------
        id
            Of the case.
        why
            For people.
        lease
            Of the case, if we hold it already.
        """
        case = self.case(id)
        with case.held(lease=lease) as lease:
            return case.commit(lease, "refuse", {"state": "refused", "note": why})

    def reopen(self, id: str) -> Record:
        """Take a case back among those to do; its label map, if any, is a proposal again."""
        case = self.case(id)
        with case.held() as lease:
            state: State = "proposed" if case.record.labels else "todo"
            return case.commit(lease, "reopen", {"state": state, "note": ""})

    def checked(self, labels: LabelVolume, what: str) -> LabelVolume:
        """A label map with the project's names, and none but its values.

        Parameters
        ----------
        labels
            The map.
        what
            It is called so in the message.

        Raises
        ------
        LabelError
            If it has a value that is no structure of the project.
        """
        names = self.description.names
        strange = [int(v) for v in np.unique(labels.voxels) if v and int(v) not in names]
        if strange:
            raise LabelError(
                f"{what} has the value {', '.join(map(str, strange))}, which is no structure of "
                f"the project; it has {_listed(self.description.structures)}"
            )
        kind = label_dtype(max(names, default=1))
        voxels: NDArray[np.unsignedinteger] = labels.voxels.astype(kind)
        return LabelVolume(voxels, labels.grid, dict(names), notes=labels.notes, image=labels.image)


def no_labels(id: str) -> str:
    """Why a case cannot be accepted that has no label map."""
    return f"case {id} has no label map to accept; import one, or propose or draw one"


def _listed(structures: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={value}" for name, value in structures.items()) or "none"


@dataclass(frozen=True)
class Line:
    """One case in the table of `overview`.

    Attributes
    ----------
    id, subject
        Of the case.
    state
        With ``"in work"`` where somebody is at it.
    minutes, prompted
        What it took a person.
    estimate
        Estimated Dice of what is proposed and not yet looked through; 0 if there is none.
    note
        Who works on it, why it was refused, what cannot be read.
    """

    id: str
    subject: str
    state: str
    minutes: float
    prompted: int
    estimate: float
    note: str


def overview(project: Project) -> list[Line]:
    """All cases with what became of them; what cannot be read is a line as well.

    Parameters
    ----------
    project
        Any.
    """
    lines = []
    for case in project.cases():
        try:
            scan, record, worker = case.scan, case.record, case.worker
        except SammedError as error:
            lines.append(Line(case.id, "", "unreadable", 0.0, 0, 0.0, str(error)))
            continue
        state = "in work" if worker else record.state
        note = worker.told if worker else record.note
        minutes = record.seconds / 60
        estimate = record.estimate if record.state == "proposed" else 0.0
        lines.append(Line(case.id, scan.subject, state, minutes, record.prompted, estimate, note))
    return lines
