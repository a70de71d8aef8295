"""What the worker does on request: volumes, settings, prompts, segment, undo, save.

No pipes here: `Service.handle` takes a request and gives the answer's fields, so that it can be
tested, or put behind another transport, as it is.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed.imaging.geometry import Reorientation
from sammed.imaging.intensity import PRESETS, resolve_window
from sammed.imaging.volume import Volume
from sammed.version import __version__
from sammed.views.slices import PLANES
from sammed.worker.answers import Held, describe_run, plain, send_masks, send_slice
from sammed.worker.arrays import Arrays
from sammed.worker.case import Case, take_volume
from sammed.worker.channels import join_channels
from sammed.worker.engine import Engine, ModelKey, Models, check_options, known_models
from sammed.worker.explaining import account_of, explained, read_explain
from sammed.worker.frames import SentFrame
from sammed.worker.messages import PROTOCOL, Fields, Request, RequestError
from sammed.worker.prompts import read_object, write_object
from sammed.worker.proposing import propose
from sammed.worker.sending import Sent
from sammed.worker.taking import follow_up, take

if TYPE_CHECKING:
    from sammed.engine.progress import Progress
    from sammed.engine.settings import Settings
    from sammed.engine.slice_mask import SliceResult
    from sammed.session import Session

KEEP_VOLUMES = 3
"""Volumes, with their sessions, that stay in memory; the least recently used one goes."""

MASKS = ("objects", "resolved")
"""Masks as segmented, which may overlap, or as they end in the label map."""

_IDENTITY = ("hash", "shape", "dtype", "affine", "modality")

Report = Callable[[str, dict[str, Any]], None]
Cancel = Callable[[], bool]

_log = logging.getLogger(__name__)


class Service:
    """Answers requests one after the other.

    Parameters
    ----------
    arrays
        How arrays travel.
    engine
        Builds models and sessions.
    """

    device = "cpu"
    """Where models run if the client does not say."""

    def __init__(self, arrays: Arrays, engine: Engine | None = None) -> None:
        self.arrays = arrays
        self._engine = engine or Engine()
        self._cases: OrderedDict[str, Case] = OrderedDict()
        self._models = Models(self._engine)
        self._greeted = False
        self._handlers: dict[str, Callable[[Fields, Report, Cancel], dict[str, Any]]] = {
            "hello": self._hello,
            "volume": self._volume,
            "channels": self._channels,
            "settings": self._settings,
            "put": self._put,
            "remove": self._remove,
            "rename": self._rename,
            "segment": self._segment,
            "propose": partial(self._beside, propose),
            "take": partial(self._beside, take),
            "follow_up": partial(self._beside, follow_up),
            "undo": self._undo,
            "redo": self._redo,
            "objects": self._objects,
            "show": self._show,
            "window": self._window,
            "save": self._save,
            "close": self._close,
        }

    def handle(self, request: Request, report: Report, cancel: Cancel) -> dict[str, Any]:
        """Do what is asked and return the answer's fields.

        Parameters
        ----------
        request
            From the client.
        report
            Takes the event (``progress`` or ``partial``) and the fields of lines before the answer.
        cancel
            Asked now and then; true ends ``segment`` with `sammed.errors.Cancelled`.

        Raises
        ------
        RequestError
            If the request cannot be understood or is out of order.
        SammedError
            Whatever sammed says about its content.
        """
        handler = self._handlers.get(request.do)
        if handler is None:
            known = ", ".join([*self._handlers, "cancel", "ping", "shutdown"])
            raise RequestError("unknown_request", f"unknown request {request.do!r}; know {known}")
        if not self._greeted and request.do != "hello":
            raise RequestError("hello_first", "say hello first, with the protocol's version")
        self.arrays.release()
        return handler(request.fields, report, cancel)

    def open(self, volume: Volume, model: str, options: dict[str, Any], first: Any = ()) -> None:
        """Take a volume that the program itself has opened, instead of one that a client sends.

        The client's indices are then the canonical ones. The session is made when it is first
        needed; no other volume is kept.

        Parameters
        ----------
        volume
            The image.
        model, options
            As in ``settings``.
        first
            Objects that are there from the beginning; they are no step of undo.
        """
        frame = SentFrame(Reorientation((0, 1, 2), (False, False, False), volume.shape))
        settings = {"model": [model, "auto", None], "options": options}
        case = Case(volume, frame, settings=settings, first=tuple(first))
        self._cases = OrderedDict(opened=case)  # at once: other threads look at it

    def close(self) -> None:
        """Let go of everything; files of arrays are removed."""
        self._cases.clear()
        self._models.close()
        self.arrays.close()

    # One method a request.

    def _hello(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        version = fields.whole("protocol")
        if version != PROTOCOL:
            raise RequestError(
                "protocol",
                f"this worker speaks protocol {PROTOCOL}, not {version}: update the "
                f"{'client' if version < PROTOCOL else 'sammed package'}",
            )
        self._greeted = True
        if "model" in fields:
            self._models.load(self._model_key(fields))
        return {
            "protocol": PROTOCOL,
            "sammed": __version__,
            "exchange": self.arrays.place,
            "requests": [*self._handlers, "cancel", "ping", "shutdown"],
            "models": known_models(),
            "planes": ["auto", *PLANES, "all"],
            "windows": ["auto", "W/L", *PRESETS],
            "masks": list(MASKS),
            "keeps_volumes": KEEP_VOLUMES,
            "partial": True,
            "structure": True,
        }

    def _volume(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        key = json.dumps([fields.values.get(name) for name in _IDENTITY])
        case = self._cases.pop(key, None)
        known = case is not None
        if case is None and "data" not in fields:
            return {"known": False}
        if case is None:
            case = take_volume(fields, self.arrays)
        self._cases[key] = case
        while len(self._cases) > KEEP_VOLUMES:
            _, old = self._cases.popitem(last=False)
            self._forget(old)
        told = {"known": known, "notes": list(case.volume.notes), "channels": case.channels}
        return {**told, **self._state(case)}

    def _channels(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        case = self._case()
        placed, told = join_channels(case.volume, fields, self.arrays, report, cancel)
        case.volume = placed
        if case.session is not None:
            self._renew(case, case.settings)
        return {"channels": told, **self._state(case)}

    def _settings(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        case = self._case()
        masks = fields.text("masks", "objects")
        if masks not in MASKS:
            raise RequestError(
                "bad_request", f"settings: 'masks' must be one of {', '.join(MASKS)}"
            )
        options = dict(fields.part("options").values) if "options" in fields else {}
        told = {"explain": said} if (said := read_explain(fields)) else {}
        wanted = {"model": list(self._model_key(fields)), "options": options, **told}
        if masks != case.masks:
            case.masks, case.held = masks, {}
        renewed = case.session is None or wanted != case.settings
        if renewed:
            case.dirty = case.dirty or case.session is not None
            self._renew(case, wanted)
        spec = case.session.model.spec if case.session is not None else None
        known = {
            "structures": dict(spec.structures) if spec is not None else {},
            "tuned": sorted(spec.tuned) if spec is not None else [],
        }
        return {"renewed": renewed, **known, **self._state(case)}

    def _renew(self, case: Case, wanted: dict[str, Any]) -> Session:
        settings = self._make_settings(wanted["options"])
        name, device, threads = wanted["model"]
        built = self._models.load((name, device, threads)).result()
        model = explained(built, case.volume, wanted.get("explain"))
        session = self._engine.session(case.volume, model, settings)
        session.begin(case.first if case.session is None else case.session.objects)
        case.session, case.settings, case.held = session, wanted, {}
        return session

    def _make_settings(self, options: dict[str, Any]) -> Settings:
        check_options(options, self._engine.settings({}))
        return self._engine.settings(options)

    def _put(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        case, session = self._session()
        part = fields.part("object")
        former = {obj.name: obj for obj in session.objects}.get(part.text("name"))
        keeps = fields.flag("keep_mask", False) and former is not None
        kept = former.mask if keeps and former is not None else None
        prompts = read_object(part, case.frame, case.volume.shape, self.arrays, kept)
        if former is not None and prompts.label == 0:
            prompts = replace(prompts, label=former.label)
        if former is not None and "structure" not in part:
            prompts = replace(prompts, structure=former.structure)
        changed = former != prompts
        if changed:
            session.put(prompts)
            case.dirty = True
        return {"changed": changed, **self._state(case)}

    def _remove(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        case, session = self._session()
        session.remove(fields.text("name"))
        case.dirty = True
        return self._masks(case, session)

    def _rename(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        case, session = self._session()
        new = fields.text("to")
        if not new:
            raise RequestError("bad_request", "rename: 'to' is empty")
        session.rename(fields.text("name"), new)
        case.dirty = True
        return self._masks(case, session)

    def _segment(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        case, session = self._session()

        def on_progress(progress: Progress) -> None:
            fields = {
                "done": progress.done,
                "total": progress.total,
                "object": progress.object_name,
                "plane": progress.plane,
                "seconds_per_slice": plain(progress.seconds_per_slice),
                "seconds_left": plain(progress.seconds_left),
            }
            report("progress", fields)

        def on_prompted(name: str, axis: int, result: SliceResult) -> None:
            report("partial", send_slice(name, axis, result, case.frame, self.arrays))

        early = fields.flag("partial", False) and case.masks == "objects"
        whole = [name for name in fields.texts("whole") if name in case.held]
        every = fields.flag("every", False)
        session.segment(on_progress, cancel, on_prompted if early else None, every)
        for name in whole:
            del case.held[name]
        return {
            **self._masks(case, session),
            "runs": self._runs(case),
            "window": str(session.window),
            "timings": plain(session.timings),
            "counts": plain(session.counts),
            **account_of(session),
        }

    def _beside(
        self, find: Callable[..., dict[str, Any]], fields: Fields, report: Report, cancel: Cancel
    ) -> dict[str, Any]:
        """What was found without a prompt; put into the session unless it is told aside."""
        case, session = self._session()
        told = find(session, fields, Sent(case.frame, self.arrays), report, cancel)
        case.dirty = case.dirty or not fields.flag("aside", False)
        return {**told, **self._state(case)}

    def _undo(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        return self._step(fields, "undo")

    def _redo(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        return self._step(fields, "redo")

    def _step(self, fields: Fields, way: str) -> dict[str, Any]:
        case, session = self._session()
        for _ in range(fields.whole("steps", 1)):
            if not getattr(session, f"can_{way}"):
                raise RequestError(f"nothing_to_{way}", f"there is nothing to {way}")
            getattr(session, way)()
            case.dirty = True
        return {**self._masks(case, session), "prompts": self._prompts(case)}

    def _objects(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        case, _ = self._session()
        return {"prompts": self._prompts(case), **self._state(case)}

    def _show(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        case = self._case()
        held: dict[str, Held] = {}
        changed, masks = [0] * 6, list[dict[str, Any]]()
        if case.session is not None or self._has_work(case):
            _, session = self._session()
            changed, masks = send_masks(session, held, case.masks, case.frame, self.arrays)
        if not fields.flag("aside", False):
            case.held = held
        told = {"changed": changed, "masks": masks, "runs": self._runs(case)}
        return {**told, "prompts": self._prompts(case), **self._state(case)}

    def _window(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        case = self._case()
        session = case.session
        chosen = session is not None and bool(session.runs)
        if session is not None and chosen:
            window = session.window
        else:  # a session chooses it by its first objects: asking must not choose it before
            spec = case.settings.get("options", {}).get("window", "auto")
            window = resolve_window(spec, case.volume)
        return {"low": window.low, "high": window.high, "name": window.name, "chosen": chosen}

    def _save(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        case, session = self._session()
        path = Path(fields.text("path")).expanduser()
        self._engine.save(session.result(), path, fields.flag("force", False))
        case.dirty = False
        return {"path": str(path)}

    def _close(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        self._case()
        _, case = self._cases.popitem()
        self._forget(case)
        return {}

    # What they share.

    def _case(self) -> Case:
        if not self._cases:
            raise RequestError("no_volume", "there is no volume; send one first")
        return next(reversed(self._cases.values()))

    def _session(self) -> tuple[Case, Session]:
        case = self._case()
        if case.session is None and not case.settings:
            raise RequestError("no_settings", "choose a model first, with 'settings'")
        return case, self._begun(case)

    def _begun(self, case: Case) -> Session:
        """The case's session, which begins here if it did not before."""
        return case.session or self._renew(case, case.settings)

    def _has_work(self, case: Case) -> bool:
        """Whether there is something to show before the client has said anything."""
        return bool(case.first)

    def _forget(self, case: Case) -> None:
        if case.data is not None:
            self.arrays.forget(case.data)

    def _runs(self, case: Case) -> dict[str, Any]:
        runs = case.session.runs if case.session is not None else {}
        return {name: describe_run(run, case.frame) for name, run in runs.items()}

    def _masks(self, case: Case, session: Session) -> dict[str, Any]:
        changed, masks = send_masks(session, case.held, case.masks, case.frame, self.arrays)
        return {"changed": changed, "masks": masks, **self._state(case)}

    def _prompts(self, case: Case) -> list[dict[str, Any]]:
        objects = case.session.objects if case.session is not None else ()
        return [write_object(obj, case.frame) for obj in objects]

    def _state(self, case: Case) -> dict[str, Any]:
        session = case.session
        if session is None:
            names = [obj.name for obj in case.first]
            told = {"objects": names, "can_undo": False, "can_redo": False}
            return {**told, "stale": names, "dirty": case.dirty}
        return {
            "objects": [obj.name for obj in session.objects],
            "can_undo": bool(session.can_undo),
            "can_redo": bool(session.can_redo),
            "stale": session.stale,
            "dirty": case.dirty,
        }

    def _model_key(self, fields: Fields) -> ModelKey:
        device = fields.text("device", self.device)
        return fields.text("model"), device, fields.whole("threads", None)
