"""The worker's loop: lines in, lines out, cancel in between, and an orderly end in every case."""

from __future__ import annotations

import errno
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from sammed.errors import Cancelled, SammedError
from sammed.worker.exchange import Exchange
from sammed.worker.messages import MAX_LINE, Request, RequestError, parse
from sammed.worker.service import Service

GRACE_SECONDS = 1.0
"""How long running work may take to notice that the client is gone."""

PROGRESS_SECONDS = 0.1
"""Progress lines come at most so often; the last one of each object may be left out."""

PARENT_SECONDS = 1.0
"""How often to look whether the parent still lives, should its pipe outlive it."""

_log = logging.getLogger(__name__)


class Server:
    """Reads requests from one stream and answers on another.

    A thread reads, so that ``cancel`` and ``ping`` are answered while work runs; the work is done
    in the thread that calls `run`, one request after the other.

    Parameters
    ----------
    service
        Does the work.
    lines_in, lines_out
        Binary streams.
    """

    def __init__(self, service: Service, lines_in: IO[bytes], lines_out: IO[bytes]) -> None:
        self._service = service
        self._in = lines_in
        self._out = lines_out
        self._out_lock = threading.Lock()
        self._waiting: queue.Queue[Request | None] = queue.Queue()
        self._running: int | str | None = None
        self._cancelled: set[int | str] = set()
        self._gone = threading.Event()
        self._ended = threading.Event()

    def run(self) -> None:
        """Answer until the client says shutdown or goes away."""
        threading.Thread(target=self._read, name="sammed-read", daemon=True).start()
        while (request := self._waiting.get()) is not None:
            self._running = request.id
            self._answer(request)
            self._running = None
            if request.do == "shutdown":
                break
        self._ended.set()

    def leave(self) -> None:
        """The client is gone: end what runs, and end by force what does not listen."""
        if self._gone.is_set():
            return
        self._gone.set()
        self._waiting.put(None)
        threading.Thread(target=self._enforce, name="sammed-leave", daemon=True).start()

    def _enforce(self) -> None:
        if not self._ended.wait(GRACE_SECONDS):
            self._service.close()
            os._exit(0)

    # -- reading ---------------------------------------------------------------------------

    def _read(self) -> None:
        while line := self._next_line():
            try:
                self._take(parse(line))
            except RequestError as error:
                self._send(error.request_id, "error", {"error": describe_error(error)})
        self.leave()

    def _next_line(self) -> bytes:
        """One line; of an overlong one the start, the rest is thrown away. Empty at the end."""
        try:
            line = self._in.readline(MAX_LINE + 1)
            rest = line
            while len(rest) > MAX_LINE and not rest.endswith(b"\n"):
                rest = self._in.readline(MAX_LINE + 1)
        except (OSError, ValueError):  # the stream was closed under us
            return b""
        return line

    def _take(self, request: Request) -> None:
        if request.do == "ping":
            self._send(request.id, "done", {"busy": self._running})
        elif request.do == "cancel":
            target = request.fields.values.get("request", self._running)
            if isinstance(target, (int, str)):
                self._cancelled.add(target)
            self._send(request.id, "done", {"cancelling": target})
        else:
            self._waiting.put(request)

    # -- answering -------------------------------------------------------------------------

    def _answer(self, request: Request) -> None:
        last = 0.0

        def report(event: str, fields: dict[str, Any]) -> None:
            nonlocal last
            if event == "progress":
                now = time.monotonic()
                if now - last < PROGRESS_SECONDS:
                    return
                last = now
            self._send(request.id, event, fields)

        def cancel() -> bool:
            return request.id in self._cancelled or self._gone.is_set()

        try:
            if cancel():
                raise Cancelled("cancelled before it began")
            fields = {} if request.do == "shutdown" else self._handle(request, report, cancel)
            self._send(request.id, "done", fields)
        except Cancelled:
            self._send(request.id, "cancelled", {})
        except Exception as error:  # the session lives on: one bad request must not end it
            self._send(request.id, "error", {"error": describe_error(error)})
        finally:
            self._cancelled.discard(request.id)

    def _handle(self, request: Request, report: Any, cancel: Any) -> dict[str, Any]:
        return self._service.handle(request, report, cancel)

    def _send(self, request_id: object, event: str, fields: dict[str, Any]) -> None:
        line = json.dumps({"id": request_id, "event": event, **fields}, allow_nan=False)
        try:
            with self._out_lock:
                self._out.write(line.encode("utf-8") + b"\n")
                self._out.flush()
        except (OSError, ValueError):  # nobody listens any more
            self.leave()


def describe_error(error: Exception) -> dict[str, Any]:
    """What a client needs to act on an error: code, message, kind and exit code."""
    exit_code = error.exit_code if isinstance(error, SammedError) else 1
    message = str(error)
    if isinstance(error, RequestError):
        code = error.code
    elif isinstance(error, SammedError):
        code = "refused"
    elif isinstance(error, MemoryError):
        code, message = "out_of_memory", "there is not enough memory for this"
    elif isinstance(error, OSError):
        code = "disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "exchange"
    else:
        _log.error("an error inside sammed", exc_info=error)
        code, message = "internal", f"{type(error).__name__}: {error}"
    about = error.about if isinstance(error, RequestError) else {}
    told = {"code": code, "message": message, "kind": type(error).__name__, "exit_code": exit_code}
    return {**told, **about}


def serve(exchange_folder: Path | None, parent: int) -> int:
    """Serve on this process's stdin and stdout until the client is done.

    Parameters
    ----------
    exchange_folder
        Where to make the folder for arrays; ``None``: the system's temporary folder.
    parent
        Process without which there is no client.

    Returns
    -------
    int
        1 if there is nowhere to exchange arrays; else the process ends here.
    """
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    lines_out = _claim_stdout()
    try:
        exchange = Exchange(exchange_folder)
    except OSError as error:
        _log.error("cannot make an exchange folder: %s; choose one with --exchange", error)
        return 1
    service = Service(exchange)
    server = Server(service, sys.stdin.buffer, lines_out)
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: server.leave())
    threading.Thread(target=_watch_parent, args=(server, parent), daemon=True).start()
    server.run()
    service.close()
    _end()
    return 0


def _claim_stdout() -> IO[bytes]:
    """Keep stdout for the protocol: whatever else prints goes to stderr from now on."""
    sys.stdout.flush()
    lines_out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return lines_out


def _watch_parent(server: Server, parent: int) -> None:
    while os.name == "posix" and os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    if os.name == "posix":
        server.leave()


def _end() -> None:
    """Leave at once: threads of a library that still loads must not hold the process."""
    logging.shutdown()
    os._exit(0)
