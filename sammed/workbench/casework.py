"""The bench with a project on it: one case after the other, each accepted, refused or left."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sammed.errors import InputError, LabelError, SammedError
from sammed.imaging.volume import LabelVolume, Volume
from sammed.models import registry
from sammed.models.learned.entry import answers_prompts
from sammed.project.case import Record
from sammed.project.folder import Project, no_labels, overview
from sammed.project.importing import map_names
from sammed.project.working import NOTHING_WAITS, Working, standing, work_on, work_on_next
from sammed.prompts import ObjectPrompts
from sammed.prompts.naming import named_objects
from sammed.session import Session
from sammed.workbench.before import as_they_stand
from sammed.workbench.explained import ExplainedBench
from sammed.workbench.keeping import KEPT
from sammed.workbench.opening import Source
from sammed.workbench.wishes import Wishes
from sammed.worker.engine import Engine
from sammed.worker.messages import Fields, Request, RequestError
from sammed.worker.service import Cancel, Report


class CaseBench(ExplainedBench):
    """Answers the requests of a page that works through a project.

    Parameters
    ----------
    wishes
        With the folder of the project.
    engine
        See `Service`.
    """

    otherwise = ""

    def __init__(self, wishes: Wishes, engine: Engine | None = None) -> None:
        super().__init__(wishes, engine)
        self._folder = wishes.paths[0]
        self._project = Project(self._folder)
        self._working: Working | None = None
        self._about_case: dict[str, Any] = {}
        self._about_project: dict[str, Any] = {}
        self._later: list[str] = []
        self._broken: dict[str, str] = {}
        self.looked_up = {"cases": self._cases_told}
        self._handlers |= {
            "active": self._active,
            "open_case": self._open_case,
            "accept": self._accept,
            "refuse": self._refuse,
            "skip": self._skip,
            "choose": self._no_other,
            "save": self._no_save,
        }

    # -- opening ---------------------------------------------------------------------------

    def start(self) -> None:
        """Open the next case; if none waits, the page says what can be done.

        Raises
        ------
        SammedError
            As ``sammed project next``.
        """
        self._open_next()

    def lay_upload(self, folder: Path) -> dict[str, Any]:
        """Refused: a project's cases are its scans."""
        raise InputError(
            f"{self._folder} is a project; 'sammed project add {self._folder} --images ...' adds "
            "scans"
        )

    def _open_next(self) -> list[str]:
        """Open the first case that can be opened; what is wrong with those that cannot."""
        notes: list[str] = []
        while True:
            working = work_on_next(self._project, self._later, self._broken)
            if working is None:
                break
            try:
                self._lay_case(working)
                return notes
            except SammedError as error:
                working.leave()
                self._broken[working.case.id] = f"{working.case.id}: {error}"
                notes.append(self._broken[working.case.id])
        self._clear_table()
        return notes

    def _lay_case(self, working: Working) -> None:
        """Put a case on the table; if that fails, what was there stays."""
        case = working.case
        self._project.reread()
        volume = case.volume()
        source = Source(case.image, series=case.scan.series or None, stem=case.id)
        before, self._working = self._working, working
        try:
            self._take(source, volume)
        except BaseException:
            self._working = before
            raise
        if before is not None:
            before.leave()
        self._broken.pop(case.id, None)
        self._tell_case(working)

    def _clear_table(self) -> None:
        if self.opened is not None:
            self.opened.keeper.close()
        self.opened = None
        self._cases.clear()
        if self._working is not None:
            self._working.leave()
        self._working = None
        self._tell_project()

    def _first_objects(
        self, source: Source, volume: Volume
    ) -> tuple[tuple[ObjectPrompts, ...], tuple[str, ...]]:
        """The label map that the case has, or what the learned model knows by name."""
        working, names = self._held(), self._project.description.names
        labels = working.case.labels(volume, names)
        if labels is not None:
            path = working.case.file("labels") or working.case.folder
            return tuple(as_they_stand(labels, path)), labels.notes
        known, notes = self._known_by_name()
        return tuple(named_objects(None, known, alone=True)), notes

    def _known_by_name(self) -> tuple[dict[str, int], tuple[str, ...]]:
        """Structures that the model finds without a prompt; why it cannot be used, if so."""
        path = self.wishes.model or str(self._project.model_file)
        if self.wishes.model is None and not self._project.model_file.is_file():
            return {}, ()
        structures = self._project.description.structures
        try:
            known = dict(registry.structures(path))
            for name, value in known.items():
                if self._project.structure_value(name) != value:
                    raise InputError(
                        f"{name} is {value} in the model and {structures[name]} in the project; "
                        "learn again"
                    )
        except SammedError as error:
            return {}, (f"{Path(path).name} is not used: {error}",)
        return known, ()

    def _model_for(self, source: Source) -> str:
        """The learned one where it has to find things by name, else the one for prompts.

        Label maps that are there stay as they are, so nothing is found beside them; but compact as
        it was tuned to the project mends them.
        """
        file = self._project.model_file
        if self.wishes.model is None and file.is_file():
            if not self._held().case.record.labels and self._known_by_name()[0]:
                return str(file)
            with suppress(SammedError):  # `_known_by_name` has told why
                if answers_prompts(file):
                    return f"{file}{registry.PROMPTS_ONLY}"
        return self.wishes.model_name

    def _outputs(self, source: Source) -> tuple[Path, Path, str]:
        folder = self._held().case.folder.absolute()
        return folder, folder, self._held().stem

    # -- what the page is told -------------------------------------------------------------

    @property
    def scan(self) -> dict[str, Any] | None:
        """What the page is told of the scan, and of its case."""
        told = super().scan
        return None if told is None else {**told, "case": self._about_case}

    @property
    def project(self) -> dict[str, Any]:
        """What the page is told of the project."""
        return self._about_project

    @property
    def has_to_stay(self) -> bool:
        """Never: what was done lies in the case's folder, and others may want to go on."""
        return False

    def _tell_case(self, working: Working) -> None:
        record = working.case.record
        self._about_case = {
            "id": working.case.id,
            "state": record.state,
            "estimated": dict(record.estimated) if record.state == "proposed" else {},
            "note": record.note,
        }
        self._tell_project()

    def _tell_project(self) -> None:
        description, folder = self._project.description, shlex.quote(str(self._folder))
        export = shlex.quote(f"Dataset001_{description.name}")
        self._about_project = {
            "name": description.name,
            "folder": str(self._folder),
            "structures": [{"name": n, "value": v} for n, v in description.structures.items()],
            **asdict(standing(self._project)),
            "says": NOTHING_WAITS,
            "commands": [
                {"command": f"sammed learn {folder}", "what": "learn from the accepted cases"},
                {"command": f"sammed propose {folder}", "what": "label those that are to do"},
                {
                    "command": f"sammed project export {folder} {export} --as nnunet",
                    "what": "write them for other programs",
                },
            ],
            "notes": list(self._broken.values()),
        }

    def _told(self, notes: list[str], **more: Any) -> dict[str, Any]:
        told = {"scan": self.scan, "project": self.project, "formats": self.formats}
        return {**told, "notes": notes, **more}

    # -- requests --------------------------------------------------------------------------

    def handle(self, request: Request, report: Report, cancel: Cancel) -> dict[str, Any]:
        """See `Bench.handle`; prompts are counted, and kept with the time that they took."""
        answer = super().handle(request, report, cancel)
        if self._working is not None and request.do in KEPT:
            self._working.effort.prompted += request.do == "put" and bool(answer.get("changed"))
            self._keep(self._working.keep, report)
        return answer

    def touched(self) -> None:
        """See `Bench.touched`."""
        working = self._working
        if working is not None:
            working.effort.touch()

    def _active(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        if self._working is not None:
            self._working.keep()
        return {}

    def _cases_told(self) -> dict[str, Any]:
        here = self._working.case.id if self._working is not None else ""
        lines = [asdict(line) for line in overview(self._project)]
        for line in lines:
            line["here"] = line["id"] == here
            if line["here"]:
                line |= {"state": self._about_case["state"], "note": self._about_case["note"]}
        self._tell_project()
        return {"cases": lines, "project": self.project}

    def _open_case(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        id = fields.text("case")
        if self._working is not None and self._working.case.id == id:
            return self._told([])
        working = work_on(self._project, id)
        report("progress", _reading(id))
        try:
            self._lay_case(working)
        except SammedError:
            working.leave()
            raise
        return self._told([])

    def _skip(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        working = self._held()
        id = working.case.id
        self._later = [*(other for other in self._later if other != id), id]
        working.keep()
        following = work_on_next(self._project, self._later, {*self._broken, id})
        if following is None:
            raise InputError(f"no other case waits; {id} is the last")
        try:
            self._lay_case(following)
        except SammedError as error:
            following.leave()
            self._broken[following.case.id] = f"{following.case.id}: {error}"
            return self._skip(fields, report, cancel)
        return self._told([])

    def _refuse(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        working = self._held()
        working.keep()
        working.refuse(fields.text("why", ""))
        return self._go_on(refused=working.case.id)

    def _accept(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        working = self._held()
        id = working.case.id
        wanted = fields.texts("add")
        self._project.reread()
        if wanted:
            self._project.add_structures(dict.fromkeys(wanted, 0))
            self._tell_project()
        case = self._case()
        begun = case.session is not None or self._has_work(case)
        session = self._session()[1] if begun else None
        if session is not None and session.stale:
            self._segment(Fields({}, "accept"), report, cancel)
        drawn = None if session is None else session.result()
        if session is None or drawn is None or not drawn.voxels.any():
            if not fields.flag("empty", False):
                raise RequestError("empty", no_labels(id))
            record = working.accept(self._nothing(case.volume), about={"notes": ["empty"]})
        else:
            self._check_known(session, drawn, fields.texts("leave_out"))
            record = self._accept_drawn(working, session, drawn)
        if self.opened is not None:
            self.opened.keeper.close()
        working.clear()
        return self._go_on(accepted=id, seconds=record.seconds, prompted=record.prompted)

    def _nothing(self, volume: Volume) -> LabelVolume:
        voxels = np.zeros(volume.shape, np.uint8)
        return LabelVolume(voxels, volume.grid, self._project.description.names, image=volume)

    def _check_known(self, session: Session, drawn: LabelVolume, leave_out: list[str]) -> None:
        """Make sure that what is no structure of the project is left out knowingly.

        Raises
        ------
        RequestError
            ``surplus``, with the names of these objects.
        """
        known = {name.casefold() for name in self._project.description.structures}
        there = set(np.unique(drawn.voxels).tolist())
        names = [o.name for o in session.objects if o.label in there and o.name not in leave_out]
        surplus = [name for name in names if name.casefold() not in known]
        if not surplus:
            return
        try:
            self._project.structure_value(surplus[0])
        except LabelError as error:
            raise RequestError("surplus", str(error), names=surplus) from None

    def _accept_drawn(self, working: Working, session: Session, drawn: LabelVolume) -> Record:
        from sammed.reporting.run_report import algorithm, prompt_document, run_report

        structures = self._project.description.structures
        labels, notes = map_names(drawn, None, structures, Path(working.case.id))
        values = {name.casefold(): value for name, value in structures.items()}
        painted = {  # what was painted, or proposed, is from now on part of the label map
            obj.name: f"{working.labels_to_be}#{values[obj.name.casefold()]}"
            for obj in session.objects
            if obj.mask is not None and obj.name.casefold() in values
        }
        name, version = algorithm(session)
        return working.accept(
            labels,
            prompts=prompt_document(session, working.case.folder, painted),
            report=run_report(session, drawn, notes=notes),
            about={"notes": notes},
            model=working.case.record.model or f"{name}, {version}",
        )

    def _go_on(self, **done: Any) -> dict[str, Any]:
        """Let go of the case, whose end is written, and open the next one."""
        id = self._held().case.id
        self._later = [other for other in self._later if other != id]
        notes = self._open_next()
        return self._told(notes, **done)

    def _no_other(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        raise InputError(f"{self._folder} is a project; other images are opened by themselves")

    def _no_save(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        raise InputError(
            "a case is accepted, not saved; "
            f"'sammed project export {self._folder} FOLDER' writes files"
        )

    def _held(self) -> Working:
        if self._working is None:
            raise RequestError("no_volume", "there is no case open; choose one first")
        return self._working

    def close(self) -> None:
        """See `Service.close`; the case is anybody's again."""
        super().close()
        if self._working is not None:
            self._keep(self._working.keep, _unheard)
            self._working.leave()


def _unheard(event: str, fields: dict[str, Any]) -> None:
    return


def _reading(id: str) -> dict[str, Any]:
    return {"done": 0, "total": None, "seconds_left": None, "text": f"reading {id}"}
