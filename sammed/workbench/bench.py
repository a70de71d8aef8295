"""The worker's service with a scan on the table: opened here, journalled, saved beside itself."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed.errors import InputError, SammedError
from sammed.imaging.volume import Volume
from sammed.io.recognition import stem
from sammed.workbench import recent
from sammed.workbench.keeping import KEPT, Keeper, session_of
from sammed.workbench.opened import Opened, VolumeHash
from sammed.workbench.opening import (
    Choice,
    Source,
    check_paths,
    files_to_choose,
    open_source,
    sources_among,
)
from sammed.workbench.resuming import may_write, resume
from sammed.workbench.saving import formats_for, read_colours, read_targets, save
from sammed.workbench.scan import describe_scan, shown_as
from sammed.workbench.wishes import Wishes
from sammed.worker.arrays import Attached
from sammed.worker.case import Case
from sammed.worker.engine import Engine
from sammed.worker.messages import Fields, Request, RequestError
from sammed.worker.service import Cancel, Report, Service

if TYPE_CHECKING:
    from sammed.prompts import ObjectPrompts
    from sammed.session import Session


class Bench(Service):
    """Answers the page's requests one after the other.

    Parameters
    ----------
    wishes
        What was asked for at the start.
    engine
        See `Service`.
    """

    device = "auto"

    otherwise = " or give another -o"
    """How else one begins anew."""

    looked_up: Mapping[str, Callable[[], dict[str, Any]]] = {}
    """Requests that are answered from files, also while others run."""

    def __init__(self, wishes: Wishes, engine: Engine | None = None) -> None:
        self.arrays: Attached = Attached()
        super().__init__(self.arrays, engine)
        self.wishes = wishes
        self.opened: Opened | None = None
        self.choices: list[Choice] | None = None
        self._hashes = ThreadPoolExecutor(1, thread_name_prefix="sammed-hash")
        for name in ("volume", "channels", "close"):
            self._handlers[name] = self._not_here
        self._handlers["choose"] = self._choose
        self._handlers["surface"] = self._surface

    # -- opening ---------------------------------------------------------------------------

    def start(self) -> None:
        """Open what was asked for.

        Raises
        ------
        SammedError
            As ``sammed segment`` on the same.
        """
        wishes = self.wishes
        check_paths(wishes.paths)
        sources = [Source(p, wishes.series, wishes.frame, wishes.allow_gaps) for p in wishes.paths]
        if len(sources) == 1:
            self.lay(sources[0])
        elif sources:
            self.choices = files_to_choose(sources)

    def lay(self, source: Source) -> None:
        """Put a scan on the table, or a list from which it is chosen.

        Raises
        ------
        SammedError
            If it cannot be read or shown; what was there stays.
        """
        found = open_source(source)
        if isinstance(found, Volume):
            self._take(source, found)
        else:
            self.choices = found

    def lay_upload(self, folder: Path) -> dict[str, Any]:
        """The same for what came over the page; what the page is told of it."""
        sources = sources_among(folder)
        if len(sources) == 1:
            before, self.choices = self.choices, None
            try:
                self.lay(sources[0])
            except Exception:
                self.choices = before
                raise
        else:
            self.choices = files_to_choose(sources)
            return {"scan": None, "choices": self.told_choices}
        return {"scan": None if self.choices else self.scan, "choices": self.told_choices}

    def _take(self, source: Source, volume: Volume) -> None:
        about = describe_scan(volume, self.wishes.window or "auto")
        first, notes = self._first_objects(source, volume)
        beside, folder, name = self._outputs(source)
        hashed = VolumeHash(self._hashes, volume)
        if self.opened is not None:
            self.opened.keeper.close()
        resumed = resume(beside, name, hashed, source.name)
        about["notes"] += [*notes, *resumed.notes]
        if folder != beside:
            about["notes"].append(f"files are saved in {folder}")
        if resumed.record is not None and first:
            about["notes"].append(
                "the work of before is taken up, so label maps and prompts were not read again; "
                f"to begin anew, remove {resumed.journal.path.name}{self.otherwise}"
            )
            first = ()
        shown = shown_as(volume, (about["range"][0], about["range"][1]))
        about |= {
            "name": source.name,
            "where": str(source.path.absolute().parent) if not source.uploaded else "",
            "output": {"folder": str(folder), "stem": name},
        }
        self.open(volume, self._model_for(source), self.wishes.options, first)
        self._case().dirty = resumed.record is not None and not resumed.record.is_saved
        keeper = Keeper(resumed, self.arrays)
        self.opened = Opened(
            secrets.token_hex(4), volume, shown, about, folder, name, keeper, hashed
        )
        self.choices = None
        if not source.uploaded and self.project is None:
            recent.remember(source.path, source.series, source.frame)

    def _model_for(self, source: Source) -> str:
        return self.wishes.model_name

    def _first_objects(
        self, source: Source, volume: Volume
    ) -> tuple[tuple[ObjectPrompts, ...], tuple[str, ...]]:
        wishes = self.wishes
        if not self._is_wished(source) or not (wishes.labels or wishes.prompts):
            return (), ()
        from sammed.workbench.before import objects_before

        found = objects_before(volume, wishes.labels, wishes.prompts)
        return found.objects, found.notes

    def _is_wished(self, source: Source) -> bool:
        """Whether a scan is one of those of the command line, to which its options belong."""
        return source.path in self.wishes.paths

    def _outputs(self, source: Source) -> tuple[Path, Path, str]:
        """Where outputs belong, where they can go, and how their names begin."""
        output = self.wishes.output
        if output is not None and self._is_wished(source):
            folder = output.absolute().parent
            return folder, folder, stem(output)
        folders = [Path.cwd(), Path.home()]
        if not source.uploaded:
            folders.insert(0, source.path.absolute().parent)
        folder = next((f for f in folders if may_write(f)), folders[0])
        return folders[0], folder, source.output_stem

    def preload(self) -> None:
        """Get ready what the first edit needs; call it once the page has its volume."""
        if self.opened is None:
            return
        self.opened.hashed.begin()
        settings = self._case().settings
        if settings:
            name, device, threads = settings["model"]
            self._models.load((name, device, threads))

    # -- what the page is told -------------------------------------------------------------

    @property
    def scan(self) -> dict[str, Any] | None:
        """What the page is told of the scan."""
        if self.opened is None:
            return None
        case = self._case()
        record = self.opened.keeper.record
        settings = case.settings
        return {
            **self.opened.about,
            "id": self.opened.id,
            "restored": None if record is None else record.restored,
            "model": settings["model"][0],
            "options": settings["options"],
            "dirty": case.dirty,
        }

    @property
    def told_choices(self) -> list[dict[str, Any]] | None:
        """What the page is told of what there is to choose from."""
        if self.choices is None:
            return None
        return [
            {"id": f"choice-{number}", "name": choice.source.name, **choice.about}
            for number, choice in enumerate(self.choices)
        ]

    @property
    def formats(self) -> list[dict[str, Any]]:
        """What can be saved."""
        return formats_for(None if self.opened is None else self.opened.volume)

    @property
    def project(self) -> dict[str, Any] | None:
        """What the page is told of the project, if one is open."""
        return None

    def touched(self) -> None:
        """The page that works does something now."""

    @property
    def dirty(self) -> bool:
        """Whether something was changed since it was saved."""
        return self.opened is not None and self._case().dirty

    def greet(self, fields: Fields) -> dict[str, Any]:
        """The worker's own greeting; it is answered at once, whatever runs.

        Raises
        ------
        RequestError
            ``protocol`` if the page speaks another one.
        """
        told = self._hello(
            Fields({"protocol": fields.whole("protocol")}, "hello"), _no_report, _never
        )
        known = [*told["requests"], "take_over", "quit"]
        hidden = ("volume", "close", "shutdown")
        return {**told, "requests": [do for do in known if do not in hidden]}

    @property
    def has_to_stay(self) -> bool:
        """Whether the server goes on although nobody is here."""
        return self.dirty

    # -- requests --------------------------------------------------------------------------

    def handle(self, request: Request, report: Report, cancel: Cancel) -> dict[str, Any]:
        """See `Service.handle`; what changes the session is journalled before it is answered."""
        answer = super().handle(request, report, cancel)
        if request.do in KEPT and _changes(request.do, answer):
            self._keep(partial(self._opened().keeper.keep, self._case(), request), report)
        elif request.do == "segment":
            self._keep(partial(self._opened().keeper.keep_window, self._case()), report)
        return answer

    def _not_here(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        raise RequestError(
            "unknown_request",
            f"{fields.where!r} is not for pages: what is opened is said at the start, dropped or "
            "chosen",
        )

    def _choose(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        source = self._chosen(fields.text("choice"))
        text = f"reading {source.name}"
        report("progress", {"done": 0, "total": None, "seconds_left": None, "text": text})
        before, self.choices = self.choices, None
        try:
            self.lay(source)
        except Exception:
            self.choices = before
            raise
        if self.choices is not None:
            return {"scan": None, "choices": self.told_choices}
        return {"scan": self.scan, "choices": None, "formats": self.formats}

    def _chosen(self, wanted: str) -> Source:
        for number, choice in enumerate(self.choices or ()):
            if wanted == f"choice-{number}":
                return choice.source
        for entry in recent.recent():
            if wanted == entry.id:
                return Source(Path(entry.path), entry.series, entry.frame)
        raise RequestError("bad_request", f"there is nothing to choose that is called {wanted!r}")

    def _surface(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        from sammed.workbench.surface import tell_surface

        _, session = self._session()
        return tell_surface(session, fields.text("name"), self.arrays)

    def _save(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        case, session = self._session()
        opened = self._opened()
        targets = read_targets(fields, opened.folder, opened.volume)
        colours = read_colours(fields)
        if not session.objects:
            raise InputError("there is nothing to save yet: say first where something is")
        notes: list[str] = []
        found = self._segment(Fields({}, "save"), report, cancel) if session.stale else {}
        from sammed.api import check_segmented

        notes += check_segmented(session)
        written = save(session, targets, fields.flag("force", False), tuple(notes), colours)
        if any(target.kind != "preview" for target in targets):
            case.dirty = False
            self._keep(partial(opened.keeper.keep_saved, case), report)
        told = {"written": [str(p) for p in written], "notes": notes}
        return {**found, **told, **self._state(case)}

    def _settings(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        case = self._case()
        if case.session is None:  # what was done before comes first, with the model now chosen
            chosen = {"model": list(self._model_key(fields))}
            case.settings = {**case.settings, **chosen}
            self._begun(case)
        return super()._settings(fields, report, cancel)

    # -- the journal -----------------------------------------------------------------------

    def _begun(self, case: Case) -> Session:
        if case.session is not None:
            return case.session
        session = super()._begun(case)
        opened = self.opened
        if opened is None or not opened.keeper.has_work:
            return session

        def redo(do: str, fields: Fields) -> None:
            self._handlers[do](fields, _no_report, _never)

        opened.keeper.bring_back(case, redo, opened.about["notes"].append)
        self._as_wished(case)
        return session_of(case)

    def _as_wished(self, case: Case) -> None:
        """What the command line asks for counts for more than what was chosen before."""
        model = self.wishes.model
        key = [model, "auto", None] if model else case.settings["model"]
        wanted = {"model": key, "options": {**case.settings["options"], **self.wishes.options}}
        if wanted != case.settings:
            self._renew(case, wanted)

    def _has_work(self, case: Case) -> bool:
        waits = self.opened is not None and self.opened.keeper.has_work
        return waits or super()._has_work(case)

    def _keep(self, keep: Callable[[], None], report: Report) -> None:
        """Write down what was done; if that fails the work goes on, and the person is told."""
        try:
            keep()
        except SammedError as error:
            report("note", {"text": f"what is done is not being kept: {error}"})

    def _opened(self) -> Opened:
        if self.opened is None:
            raise RequestError("no_volume", "there is no scan yet; choose one first")
        return self.opened

    def close(self) -> None:
        """See `Service.close`."""
        if self.opened is not None:
            self.opened.keeper.close()
        self._hashes.shutdown(wait=False, cancel_futures=True)
        super().close()


def _changes(do: str, answer: dict[str, Any]) -> bool:
    return bool(answer.get("changed", True) if do == "put" else answer.get("renewed", True))


def _no_report(event: str, fields: dict[str, Any]) -> None:
    return


def _never() -> bool:
    return False
