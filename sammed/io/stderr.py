"""Catching what C libraries print straight to the process's standard error."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.RLock()

MAX_BYTES = 4096


@contextmanager
def stderr_into(said: list[str]) -> Iterator[None]:
    """Append to a list the lines that are printed to file descriptor 2 while the block runs.

    Only for short calls into libraries that know no other way (MetaIO, libtiff). One thread at a
    time; what another thread prints meanwhile is caught too.
    """
    with _lock:
        try:
            saved = os.dup(2)
        except OSError:  # there is none
            yield
            return
        with tempfile.TemporaryFile() as sink:
            os.dup2(sink.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(saved, 2)
                os.close(saved)
                sink.seek(0)
                lines = sink.read(MAX_BYTES).decode(errors="replace").splitlines()
                said.extend(line.strip() for line in lines if line.strip())
