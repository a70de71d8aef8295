"""Who works on the scan, who looks on, and the thread that does the work.

The socket's side runs in the loop's thread; requests are done one after the other in a thread of
their own, and what they have to say is handed back to the loop. What is only looked up in files,
as the list of a project's cases, waits for none of it: it has a thread beside.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sammed.errors import Cancelled
from sammed.workbench.explained import CHANGING, ExplainedBench
from sammed.workbench.hello import greeting
from sammed.workbench.keeping import KEPT
from sammed.workbench.socket import Link
from sammed.worker.messages import Request, RequestError
from sammed.worker.server import PROGRESS_SECONDS, describe_error

LOOKING = ("hello", "show", "objects", "window", "surface", "ping", "cases", "beside")
"""What a page that looks on may ask."""

OPENING = ("choose", "open_case", "accept", "refuse", "skip")
"""Requests after which another scan may be open."""

MOST_REQUESTS = 4096
"""So many may wait for their turn."""

MOST_PAGE_NAME = 200

_log = logging.getLogger(__name__)


@dataclass
class Job:
    """Something to be done in the thread: a request of a page, or something of our own."""

    do: Callable[[], dict[str, Any]] | None
    answer: Callable[[dict[str, Any], Sequence[memoryview]], None]
    request: Request | None = None
    frames: Sequence[bytes] = ()
    link: Link | None = None
    cancelled: bool = False


class Desk:
    """One scan, the pages before it, and the work on it.

    Parameters
    ----------
    bench
        Does the work.
    """

    def __init__(self, bench: ExplainedBench) -> None:
        self.bench = bench
        self.links: list[Link] = []
        self.worker: Link | None = None
        self.ended = asyncio.Event()
        self.was_visited = False
        self.left_at = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._waiting: list[Job] = []
        self._running: Job | None = None
        self._gone = False
        self._thread = threading.Thread(target=self._work, name="sammed-desk", daemon=True)
        self._thread.start()
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="sammed-desk-aside")

    # -- pages -----------------------------------------------------------------------------

    def join(self, link: Link) -> None:
        """A page has connected."""
        self.links.append(link)
        self.was_visited = True

    def leave(self, link: Link) -> None:
        """A page is gone; what it has asked for is still done."""
        link.is_open = False
        self.links.remove(link)
        if self.worker is link:
            self.worker = None
        self.left_at = time.monotonic()

    @property
    def is_idle(self) -> bool:
        """Whether nobody is here, nothing runs, and nothing is unsaved."""
        return not (self.links or self._waiting or self._running or self.bench.has_to_stay)

    def take(self, link: Link, request: Request, frames: Sequence[bytes]) -> None:
        """Answer a request at once, or let it wait for its turn.

        Raises
        ------
        RequestError
            If it is out of order.
        """
        if request.do == "hello":
            self._hello(link, request)
        elif not link.page:
            raise RequestError("hello_first", "say hello first, with the protocol's version")
        elif request.do == "ping":
            running = self._running
            busy = running.request.id if running is not None and running.request else None
            self._send(link, request, "done", {"busy": busy})
        elif request.do == "take_over":
            self._let_work(link)
            self._send(link, request, "done", {"role": "works"})
        elif self.worker is not link and request.do not in LOOKING:
            raise RequestError("looks_on", "another page works on this scan; take over first")
        elif request.do == "cancel":
            self._cancel(link, request)
        elif request.do == "quit":
            self._quit(link, request)
        elif request.do in self.bench.looked_up:
            if self.worker is link:
                self.bench.touched()
            self._aside.submit(self._look_up, link, request)
        else:
            self._queue(link, request, frames)

    def _hello(self, link: Link, request: Request) -> None:
        page = request.fields.text("page", "") or f"page {id(link)}"
        if len(page) > MOST_PAGE_NAME:
            raise RequestError("bad_request", "hello: 'page' is too long")
        told = greeting(self.bench, request.fields)
        link.page = page
        worker = self.worker
        works = worker is None or worker is link or worker.page == page
        if works:
            self._let_work(link, say=False)
        role = "works" if works else "looks_on"
        self._send(link, request, "done", {**told, "role": role})

    def _let_work(self, link: Link, say: bool = True) -> None:
        before, self.worker = self.worker, link
        if before is not None and before is not link:
            before.post({"id": None, "event": "looks_on"})
        if say and before is not link:
            link.post({"id": None, "event": "works"})

    def _cancel(self, link: Link, request: Request) -> None:
        running = self._running
        current = running.request.id if running is not None and running.request else None
        target = request.fields.values.get("request", current)
        jobs = [job for job in (self._running, *self._waiting) if job is not None]
        for job in jobs:
            if job.request is not None and job.request.id == target:
                job.cancelled = True
        self._send(link, request, "done", {"cancelling": target})

    def _quit(self, link: Link, request: Request) -> None:
        if self.bench.dirty and not request.fields.flag("force", False):
            raise RequestError("unsaved", "something was changed since it was saved")
        self._send(link, request, "done", {})
        self.end()

    def _send(self, link: Link, request: Request, event: str, fields: dict[str, Any]) -> None:
        link.post({"id": request.id, "event": event, **fields})

    def tell_others(self, event: str, fields: dict[str, Any] | None = None) -> None:
        """Push something to the pages that look on."""
        for link in self.links:
            if link is not self.worker and link.page:
                link.post({"id": None, "event": event, **(fields or {})})

    # -- work ------------------------------------------------------------------------------

    def _queue(self, link: Link, request: Request, frames: Sequence[bytes]) -> None:
        if self.worker is link:
            self.bench.touched()
        if len(self._waiting) >= MOST_REQUESTS:
            raise RequestError("busy", f"more than {MOST_REQUESTS} requests wait already")

        def answer(message: dict[str, Any], arrays: Sequence[memoryview]) -> None:
            link.post({"id": request.id, **message}, arrays)
            if message["event"] == "done":
                self._tell_what_changed(request, message)

        if request.do == "show" and self.worker is not link:
            request.fields.values["aside"] = True  # type: ignore[index]  # a dict, from JSON
        self._put(Job(None, answer, request, frames, link))

    def _tell_what_changed(self, request: Request, message: dict[str, Any]) -> None:
        if request.do in OPENING:
            self.tell_others("scan", {"scan": message.get("scan")})
        elif request.do in (*KEPT, *CHANGING, "segment", "save"):
            self.tell_others("changed")

    async def do(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Let something be done in the thread, in its turn; the fields of its answer."""
        done: asyncio.Future[dict[str, Any]] = self._loop.create_future()

        def answer(message: dict[str, Any], arrays: Sequence[memoryview]) -> None:
            if not done.done():
                done.set_result(message)

        self._put(Job(work, answer))
        return await done

    def _put(self, job: Job) -> None:
        self._waiting.append(job)
        self._jobs.put(job)

    def end(self) -> None:
        """End the server: what runs is cancelled, the pages are told."""
        if self._gone:
            return
        self._gone = True
        for link in self.links:
            link.post({"id": None, "event": "ended"})
            link.end()
        self._jobs.put(None)
        self.ended.set()

    async def close(self, seconds: float = 3.0) -> None:
        """Wait for the thread, as long as may be."""
        self.end()
        self._aside.shutdown(wait=False)
        await asyncio.to_thread(self._thread.join, seconds)
        self.bench.close()

    # -- in the thread ---------------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._running = job
            self._hand_back(self._waiting.remove, job)
            message = self._done(job)
            self._running = None
            self._hand_back(job.answer, message, self.bench.arrays.take())

    def _look_up(self, link: Link, request: Request) -> None:
        """Answer what waits for no work; in the thread beside."""
        try:
            message = {"event": "done", **self.bench.looked_up[request.do]()}
        except Exception as error:  # as in `_done`
            message = {"event": "error", "error": describe_error(error)}
        self._hand_back(link.post, {"id": request.id, **message})

    def _done(self, job: Job) -> dict[str, Any]:
        """Do a job; the message that answers it, without its id."""
        last = 0.0

        def report(event: str, fields: dict[str, Any]) -> None:
            nonlocal last
            now = time.monotonic()
            if event == "progress" and now - last < PROGRESS_SECONDS:
                return
            last = now if event == "progress" else last
            self._hand_back(job.answer, {"event": event, **fields}, self.bench.arrays.take())

        def cancel() -> bool:
            return job.cancelled or self._gone

        try:
            if cancel():
                raise Cancelled("cancelled before it began")
            fields = self._fields(job, report, cancel)
            return {"event": "done", **fields}
        except Cancelled:
            return {"event": "cancelled"}
        except Exception as error:  # the session lives on: one bad request must not end it
            self.bench.arrays.take()
            return {"event": "error", "error": describe_error(error)}

    def _fields(self, job: Job, report: Any, cancel: Any) -> dict[str, Any]:
        if job.do is not None:
            return job.do()
        if job.request is None:
            return {}
        self.bench.arrays.bring(job.frames)
        return self.bench.handle(job.request, report, cancel)

    def _hand_back(self, call: Callable[..., Any], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the loop has ended
            _log.debug("nobody is left to be told")
