"""Nothing that was done is lost: the session is written down as it changes, and begun again so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sammed.errors import SammedError
from sammed.imaging.geometry import Shape3
from sammed.imaging.intensity import Window
from sammed.workbench.journal import Entry, Record, inlined, outlined
from sammed.workbench.kept_phases import remove_phase
from sammed.workbench.resuming import Resumed, set_aside
from sammed.worker.arrays import Attached
from sammed.worker.case import Case
from sammed.worker.frames import SentFrame
from sammed.worker.messages import Fields, Request, RequestError
from sammed.worker.prompts import read_object, write_object

if TYPE_CHECKING:
    from sammed.prompts import ObjectPrompts
    from sammed.session import Session

KEPT = ("settings", "put", "remove", "rename", "undo", "redo")
"""Requests that change the session."""

_NOT_KEPT = ("id", "do", "frames")
_Tell = Callable[[str], None]
_Redo = Callable[[str, Fields], Any]


class Keeper:
    """Writes one scan's session down, and brings it back.

    Parameters
    ----------
    resumed
        The journal, with what was in it.
    arrays
        Through which the service reads the arrays of requests.

    Attributes
    ----------
    told
        What is to be said of objects that other scans have shown; kept with the session.
    phases
        Name → entry of a phase that lies beside the scan, see `sammed.workbench.kept_phases`.
    """

    def __init__(self, resumed: Resumed, arrays: Attached) -> None:
        self.resumed = resumed
        self._arrays = arrays
        self._waiting = resumed.record
        self._behind = False
        self._window: tuple[Session | None, Window | None] = (None, None)
        self.told: dict[str, Any] = {}
        self.phases: dict[str, Entry] = {}

    @property
    def has_work(self) -> bool:
        """Whether there is former work that has not been brought back yet."""
        return self._waiting is not None

    @property
    def record(self) -> Record | None:
        """The former work."""
        return self.resumed.record

    # -- bringing back ---------------------------------------------------------------------

    def bring_back(self, case: Case, redo: _Redo, tell: _Tell) -> None:
        """Do again what was done before.

        Parameters
        ----------
        case
            Its session has just begun.
        redo
            Does a request of `KEPT`.
        tell
            Takes what the person should know.
        """
        record, self._waiting = self._waiting, None
        if record is None:
            return
        done = 0
        try:
            for entry in record.entries:
                self._do_again(case, entry, redo, tell)
                done += 1
        except (SammedError, RequestError, LookupError, ValueError, TypeError) as error:
            self.resumed.journal.close()
            aside = set_aside(self.resumed.journal)
            tell(
                f"of {len(record.entries)} steps of before {done} could be done again, then: "
                f"{error}; all of them are in {aside.name}"
            )
            self._behind = True
        case.dirty = not record.is_saved
        if record.is_long or self._behind:
            self._catch_up(case)

    def _do_again(self, case: Case, entry: Entry, redo: _Redo, tell: _Tell) -> None:
        do = entry["do"]
        frames: list[bytes] = []
        values = outlined(entry, frames)
        with self._arrays.instead(frames):
            if do == "base":
                self._set_again(_settings_request(values["settings"]), redo, tell)
                read = _objects_of(values["objects"], case.frame, case.volume.shape, self._arrays)
                session_of(case).begin(read)
            elif do == "window":
                window = Window(float(entry["low"]), float(entry["high"]), str(entry["name"]))
                session = session_of(case)
                session.window = window
                self._window = (session, window)
            elif do == "settings":
                self._set_again(values, redo, tell)
            elif do in ("took", "told"):
                self._take_again(case, values)
            elif do == "phase":
                self.phases[str(entry["name"])] = entry
            elif do == "no_phase":
                self.phases.pop(str(entry["name"]), None)
            elif do in KEPT:
                redo(do, Fields(values, do))

    def _take_again(self, case: Case, values: dict[str, Any]) -> None:
        listed = values.get("objects", [])
        objects = _objects_of(listed, case.frame, case.volume.shape, self._arrays)
        if objects:
            session_of(case).put(*objects)
        self.told = dict(values["told"])

    def _set_again(self, values: dict[str, Any], redo: _Redo, tell: _Tell) -> None:
        """Settings of before, unless their model is not here any more: the work is, then."""
        try:
            redo("settings", Fields(values, "settings"))
        except SammedError as error:
            tell(f"not as it was set before: {error}")

    # -- writing down ----------------------------------------------------------------------

    def keep(self, case: Case, request: Request) -> None:
        """Write down a request that was done.

        Raises
        ------
        SammedError
            If it could not be written; the next one tries to write all that there is.
        """
        values = {k: v for k, v in request.fields.values.items() if k not in _NOT_KEPT}
        self._write(case, {"do": request.do, **inlined(values, self._arrays.came)})

    def keep_taken(self, case: Case, objects: Iterable[ObjectPrompts]) -> None:
        """Write down what another scan has shown, as it was found; raises as `keep`."""
        listed = [_object_entry(obj, case.frame) for obj in objects]
        self._write(case, {"do": "took", "objects": listed, "told": self.told})

    def keep_phase(self, case: Case, name: str, write: Callable[[Path], Entry]) -> None:
        """Keep a phase in a file, and write that down; raises as `keep`.

        Parameters
        ----------
        case
            Whose phase it is.
        name
            Of the phase; one of that name gives way.
        write
            Writes the file, given the journal; see `sammed.workbench.kept_phases.write_phase`.
        """
        former = self.phases.get(name)
        self.phases[name] = entry = write(self.resumed.journal.path)
        self._write(case, entry)
        if former is not None:
            remove_phase(self.resumed.journal.path, former)

    def keep_no_phase(self, case: Case, name: str) -> None:
        """Write down that a phase was taken away, and remove its file; raises as `keep`."""
        former = self.phases.pop(name, None)
        if former is not None:
            self._write(case, {"do": "no_phase", "name": name})
            remove_phase(self.resumed.journal.path, former)

    def keep_saved(self, case: Case) -> None:
        """Write down that everything was saved; raises as `keep`."""
        self._write(case, {"do": "saved"})

    def keep_window(self, case: Case) -> None:
        """Write down what the first segmentation chose, for the next start; raises as `keep`."""
        session = session_of(case)
        told = (session, session.window)
        if told[0] is self._window[0] and told[1] == self._window[1]:
            return
        self._window = told
        self._write(case, _window_entry(session.window))

    def _write(self, case: Case, entry: Entry) -> None:
        journal = self.resumed.journal
        try:
            if self._behind:
                self._catch_up(case)
                return
            if not journal.is_begun:
                names = [obj.name for obj in case.first]
                journal.append({**_base_entry(case.first, case), "then": names})
            names = [obj.name for obj in _objects_now(case)]
            journal.append({**entry, "then": names})
        except SammedError:
            self._behind = True
            raise

    def _catch_up(self, case: Case) -> None:
        """Let the journal hold the state as it is, however it came about."""
        session, objects = case.session, _objects_now(case)
        entries: list[Entry] = [_base_entry(objects, case)]
        if session is not None and session.runs:
            entries.append(_window_entry(session.window))
        if self.told:
            entries.append({"do": "told", "told": self.told})
        entries += self.phases.values()
        if case.dirty:
            entries.append({"do": "changed"})
        names = [obj.name for obj in objects]
        self.resumed.journal.rewrite({**entry, "then": names} for entry in entries)
        self._behind = False

    def close(self) -> None:
        """Let go of the journal."""
        self.resumed.journal.close()


def session_of(case: Case) -> Session:
    """The case's session.

    Raises
    ------
    RequestError
        ``no_settings`` if it has not begun.
    """
    if case.session is None:
        raise RequestError("no_settings", "choose a model first, with 'settings'")
    return case.session


def _objects_now(case: Case) -> tuple[ObjectPrompts, ...]:
    """The objects of a case, whose session need not have begun to have phases beside it."""
    return tuple(case.first if case.session is None else case.session.objects)


def _settings_request(settings: dict[str, Any]) -> dict[str, Any]:
    model, device, threads = settings["model"]
    return {"model": model, "device": device, "threads": threads, "options": settings["options"]}


def _window_entry(window: Window) -> Entry:
    return {"do": "window", "low": window.low, "high": window.high, "name": window.name}


def _base_entry(objects: Iterable[ObjectPrompts], case: Case) -> Entry:
    """A state as one entry, without the steps that led to it."""
    told = [_object_entry(obj, case.frame) for obj in objects]
    return {"do": "base", "settings": case.settings, "objects": told}


def _object_entry(prompts: ObjectPrompts, frame: SentFrame) -> Entry:
    told = write_object(prompts, frame)
    if prompts.mask is None:
        return told
    arrays = Attached()
    painted = frame.array_out(prompts.mask.painted).astype(np.uint8)
    part = {"block": frame.block_out(prompts.mask.block), "data": arrays.write(painted)}
    return {
        **told,
        "mask": [inlined(part, arrays.take())],
        "mask_source": prompts.mask.source,
    }


def _objects_of(
    listed: list[Entry], frame: SentFrame, shape: Shape3, arrays: Attached
) -> list[ObjectPrompts]:
    objects = []
    for told in listed:
        obj = read_object(Fields(told, "object"), frame, shape, arrays)
        if obj.mask is not None and told.get("mask_source"):
            obj = obj.replaced(mask=obj.mask.read_from(told["mask_source"]))
        objects.append(obj)
    return objects
