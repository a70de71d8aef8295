"""What the service stands on: models by name, sessions, label maps written."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed.imaging.volume import LabelVolume, Volume
from sammed.worker.messages import RequestError

if TYPE_CHECKING:
    from sammed.engine.settings import Settings
    from sammed.models.protocols import Model
    from sammed.session import Session

ModelKey = tuple[str, str, int | None]
"""A model's name or path, its device and its threads."""


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


class Models:
    """Models that were asked for, each loaded once, beside whatever else is done.

    Parameters
    ----------
    engine
        Builds them.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._models: dict[ModelKey, Future[Model]] = {}
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="sammed-model")
        self._lock = threading.Lock()

    def load(self, key: ModelKey) -> Future[Model]:
        """The model's future; a failed one is tried again."""
        with self._lock:
            known = self._models.get(key)
            if known is None or (known.done() and known.exception() is not None):
                known = self._loader.submit(self._engine.model, *key)
                self._models[key] = known
            return known

    def close(self) -> None:
        """Begin no other one."""
        self._loader.shutdown(wait=False, cancel_futures=True)


def known_models() -> list[dict[str, Any]]:
    """What there is to say of each model that has a name."""
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


def check_options(options: Mapping[str, Any], defaults: Settings) -> None:
    """Make sure that settings can be made of what a client wants.

    Parameters
    ----------
    options
        Name → value.
    defaults
        Settings that say which options there are, and of which kind: texts, and yes or no.

    Raises
    ------
    RequestError
        If there is no such option, or it is of another kind.
    """
    known = {f.name: getattr(defaults, f.name) for f in fields(defaults)}
    known = {name: value for name, value in known.items() if isinstance(value, str | bool)}
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
