"""Ctrl-C, heard at once, but never in the middle of what must not be torn apart."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While in this context, the first SIGINT or SIGTERM raises `KeyboardInterrupt`.

    Under a `shield` it is raised at the shield's end. Those after it are ignored: what the first
    one began, saving, is not to be interrupted. Only the main thread hears signals; in another one
    this does nothing.
    """

    def __init__(self) -> None:
        self._heard = self._shielded = self._waiting = False
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._hear) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._heard:
            return
        self._heard = True
        if self._shielded:
            self._waiting = True
        else:
            raise KeyboardInterrupt

    @contextmanager
    def shield(self) -> Iterator[None]:
        """What runs in here is finished first; then the interrupt is raised."""
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
        if self._waiting:
            self._waiting = False
            raise KeyboardInterrupt


@contextmanager
def unheard() -> Iterator[None]:
    """Ctrl-C is ignored, also by processes started in here: it is their parent's to act on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
