"""What the worker does on request: volumes, settings, prompts, segment, undo, save.

No pipes here: `Service.handle` takes a request and gives the answer's fields, so that it can be
tested, or put behind another transport, as it is.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sammed.imaging.intensity import PRESETS
from sammed.imaging.volume import LabelVolume, Volume
from sammed.version import __version__
from sammed.views.slices import PLANES
from sammed.worker.answers import Held, describe_run, plain, send_masks, send_slice
from sammed.worker.exchange import Exchange, digest
from sammed.worker.frames import SentFrame
from sammed.worker.messages import PROTOCOL, Fields, Request, RequestError
from sammed.worker.prompts import read_object, write_object

if TYPE_CHECKING:
    from sammed.engine.progress import Progress
    from sammed.engine.settings import Settings
    from sammed.engine.slice_mask import SliceResult
    from sammed.models.protocols import Model
    from sammed.session import Session

KEEP_VOLUMES = 3
"""Volumes, with their sessions, that stay in memory; the least recently used one goes."""

MASKS = ("objects", "resolved")
"""Masks as segmented, which may overlap, or as they end in the label map."""

_IDENTITY = ("hash", "shape", "dtype", "affine", "modality")

Report = Callable[[str, dict[str, Any]], None]
Cancel = Callable[[], bool]
ModelKey = tuple[str, str, int | None]

_log = logging.getLogger(__name__)


@dataclass
class Engine:
    """What the service stands on; tests replace parts of it."""

    def model(self, name: str, device: str, threads: int | None) -> Model:
        """Build a model by its registry name or path."""
        from sammed.models.registry import build

        return build(name, device=device, threads=threads)

    def settings(self, options: dict[str, Any]) -> Settings:
        """Settings with those options; the defaults elsewhere."""
        from sammed.engine.settings import Settings

        return Settings(**options)

    def session(self, volume: Volume, model: Model, settings: Settings) -> Session:
        """A new session."""
        from sammed.session import Session

        return Session(volume, model, settings)

    def save(self, labels: LabelVolume, path: Path, force: bool) -> None:
        """Write a label map; the format follows the name."""
        from sammed.io import write_labels

        write_labels(labels, path, force=force)


@dataclass
class Case:
    """One volume and its session."""

    volume: Volume
    frame: SentFrame
    data_path: str
    settings: dict[str, Any] = field(default_factory=dict)
    session: Session | None = None
    masks: str = "objects"
    held: dict[str, Held] = field(default_factory=dict)


class Service:
    """Answers requests one after the other.

    Parameters
    ----------
    exchange
        Where arrays travel.
    engine
        Builds models and sessions.
    """

    def __init__(self, exchange: Exchange, engine: Engine | None = None) -> None:
        self.exchange = exchange
        self._engine = engine or Engine()
        self._cases: OrderedDict[str, Case] = OrderedDict()
        self._models: dict[ModelKey, Future[Model]] = {}
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="sammed-model")
        self._greeted = False
        self._handlers: dict[str, Callable[[Fields, Report, Cancel], dict[str, Any]]] = {
            "hello": self._hello,
            "volume": self._volume,
            "settings": self._settings,
            "put": self._put,
            "remove": self._remove,
            "segment": self._segment,
            "undo": self._undo,
            "redo": self._redo,
            "objects": self._objects,
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
        self.exchange.release()
        return handler(request.fields, report, cancel)

    def close(self) -> None:
        """Let go of everything and remove the exchange folder."""
        self._cases.clear()
        self._loader.shutdown(wait=False, cancel_futures=True)
        self.exchange.close()

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
            self._load(self._model_key(fields))
        return {
            "protocol": PROTOCOL,
            "sammed": __version__,
            "exchange": str(self.exchange.folder),
            "requests": [*self._handlers, "cancel", "ping", "shutdown"],
            "models": _known_models(),
            "planes": ["auto", *PLANES, "all"],
            "windows": ["auto", "W/L", *PRESETS],
            "masks": list(MASKS),
            "keeps_volumes": KEEP_VOLUMES,
            "partial": True,
        }

    def _volume(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        key = json.dumps([fields.values.get(name) for name in _IDENTITY])
        case = self._cases.pop(key, None)
        known = case is not None
        if case is None and "data" not in fields:
            return {"known": False}
        if case is None:
            case = self._take_volume(fields)
        self._cases[key] = case
        while len(self._cases) > KEEP_VOLUMES:
            _, old = self._cases.popitem(last=False)
            self.exchange.forget(old.data_path)
        return {"known": known, "notes": list(case.volume.notes), **self._state(case)}

    def _take_volume(self, fields: Fields) -> Case:
        data = fields.part("data")
        array = self.exchange.read(data)
        if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] != 3):
            raise RequestError(
                "bad_request", f"volume: shape {list(array.shape)} is neither (k, j, i) nor RGB"
            )
        found = digest(array)
        if found != fields.text("hash"):
            raise RequestError(
                "exchange", f"volume: the array's SHA-256 is {found}, not the hash that was given"
            )
        affine = np.array(fields.matrix("affine", 4, 4))
        volume = Volume.from_array(array, affine, modality=fields.text("modality", ""))
        return Case(volume, SentFrame(volume.grid.reorientation), data.text("path"))

    def _settings(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        case = self._case()
        masks = fields.text("masks", "objects")
        if masks not in MASKS:
            raise RequestError(
                "bad_request", f"settings: 'masks' must be one of {', '.join(MASKS)}"
            )
        options = dict(fields.part("options").values) if "options" in fields else {}
        wanted = {"model": list(self._model_key(fields)), "options": options}
        if masks != case.masks:
            case.masks, case.held = masks, {}
        renewed = case.session is None or wanted != case.settings
        if renewed:
            self._renew(case, wanted)
        return {"renewed": renewed, **self._state(case)}

    def _renew(self, case: Case, wanted: dict[str, Any]) -> None:
        settings = self._make_settings(wanted["options"])
        name, device, threads = wanted["model"]
        model = self._load((name, device, threads)).result()
        session = self._engine.session(case.volume, model, settings)
        for prompts in case.session.objects if case.session is not None else ():
            session.put(prompts)
        case.session, case.settings, case.held = session, wanted, {}

    def _make_settings(self, options: dict[str, Any]) -> Settings:
        defaults = self._engine.settings({})
        known = {f.name: getattr(defaults, f.name) for f in dataclass_fields(defaults)}
        known = {name: v for name, v in known.items() if isinstance(v, (str, bool))}
        for name, value in options.items():
            if name not in known:
                raise RequestError(
                    "bad_request", f"settings: no option {name!r}; expected {', '.join(known)}"
                )
            if type(value) is not type(known[name]):
                raise RequestError(
                    "bad_request",
                    f"settings: option {name!r} must be like {known[name]!r}, found {value!r}",
                )
        return self._engine.settings(options)

    def _put(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        case, session = self._session()
        part = fields.part("object")
        prompts = read_object(part, case.frame, case.volume.shape, self.exchange)
        former = {obj.name: obj for obj in session.objects}.get(prompts.name)
        if former is not None and prompts.label == 0:
            prompts = replace(prompts, label=former.label)
        changed = former != prompts
        if changed:
            session.put(prompts)
        return {"changed": changed, **self._state(case)}

    def _remove(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        case, session = self._session()
        session.remove(fields.text("name"))
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
            report("partial", send_slice(name, axis, result, case.frame, self.exchange))

        early = fields.flag("partial", False) and case.masks == "objects"
        whole = [name for name in fields.texts("whole") if name in case.held]
        session.segment(on_progress, cancel, on_prompted if early else None)
        for name in whole:
            del case.held[name]
        return {
            **self._masks(case, session),
            "runs": {n: describe_run(run, case.frame) for n, run in session.runs.items()},
            "window": str(session.window),
            "timings": plain(session.timings),
            "counts": plain(session.counts),
        }

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
        return {**self._masks(case, session), "prompts": self._prompts(case)}

    def _objects(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        case, _ = self._session()
        return {"prompts": self._prompts(case), **self._state(case)}

    def _save(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        _, session = self._session()
        path = Path(fields.text("path")).expanduser()
        self._engine.save(session.result(), path, fields.flag("force", False))
        return {"path": str(path)}

    def _close(self, fields: Fields, report: Report, cancel: Cancel) -> dict[str, Any]:
        self._case()
        _, case = self._cases.popitem()
        self.exchange.forget(case.data_path)
        return {}

    # What they share.

    def _case(self) -> Case:
        if not self._cases:
            raise RequestError("no_volume", "there is no volume; send one first")
        return next(reversed(self._cases.values()))

    def _session(self) -> tuple[Case, Session]:
        case = self._case()
        if case.session is None:
            raise RequestError("no_settings", "choose a model first, with 'settings'")
        return case, case.session

    def _masks(self, case: Case, session: Session) -> dict[str, Any]:
        changed, masks = send_masks(session, case.held, case.masks, case.frame, self.exchange)
        return {"changed": changed, "masks": masks, **self._state(case)}

    def _prompts(self, case: Case) -> list[dict[str, Any]]:
        objects = case.session.objects if case.session is not None else ()
        return [write_object(obj, case.frame) for obj in objects]

    def _state(self, case: Case) -> dict[str, Any]:
        session = case.session
        if session is None:
            return {"objects": [], "can_undo": False, "can_redo": False}
        return {
            "objects": [obj.name for obj in session.objects],
            "can_undo": bool(session.can_undo),
            "can_redo": bool(session.can_redo),
        }

    def _model_key(self, fields: Fields) -> ModelKey:
        return fields.text("model"), fields.text("device", "cpu"), fields.whole("threads", None)

    def _load(self, key: ModelKey) -> Future[Model]:
        """The model's future; a failed one is tried again."""
        known = self._models.get(key)
        if known is None or (known.done() and known.exception() is not None):
            known = self._loader.submit(self._engine.model, *key)
            self._models[key] = known
        return known


def _known_models() -> list[dict[str, Any]]:
    from sammed.models import registry

    return [
        {
            "name": known.name,
            "description": known.description,
            "license": known.license,
            "available": known.available,
            "package": known.package,
        }
        for known in map(registry.info, registry.names())
    ]
