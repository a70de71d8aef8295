"""The routes: the page, its socket, the voxels, what is dropped on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from sammed.workbench.desk import Desk
from sammed.workbench.guard import PROTOCOL, Guard, Token
from sammed.workbench.socket import Left, Link
from sammed.workbench.uploads import Spool
from sammed.worker.messages import RequestError
from sammed.worker.server import describe_error

PAGE = Path(__file__).parent / "page"
"""Where the built page lies."""

NOT_BUILT = (
    "<!doctype html><title>sammed</title><p>The page is not built: in a checkout, run "
    "<code>make open</code>, which needs Node 20 or later.</p>"
)

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
"""What the page is made of; nothing else is served."""


class Workbench:
    """The application behind the guard.

    Parameters
    ----------
    desk
        Answers the pages.
    token
        What they have to know.
    page
        Where the built page lies.
    """

    def __init__(self, desk: Desk, token: Token, page: Path = PAGE) -> None:
        self.desk = desk
        self.spool = Spool()
        self._token = token
        self._page = page
        routes = [
            Route("/", self._index),
            Route("/assets/{path:path}", self._asset),
            Route("/start/{code}", self._start),
            Route("/api/volume", self._volume),
            Route("/api/upload/{name}", self._upload, methods=["POST"]),
            Route("/api/upload-done", self._upload_done, methods=["POST"]),
            Route("/api/upload-beside", self._upload_beside, methods=["POST"]),
            WebSocketRoute("/api/socket", self._socket),
        ]
        self.app = Guard(Starlette(routes=routes), token)

    # -- the page --------------------------------------------------------------------------

    async def _index(self, request: Request) -> Response:
        index = self._page / "index.html"
        if not index.is_file():
            return Response(NOT_BUILT, 503, media_type="text/html")
        return FileResponse(index, media_type=_KINDS[".html"])

    async def _asset(self, request: Request) -> Response:
        path = _inside(self._page / "assets", request.path_params["path"])
        if path is None:
            return PlainTextResponse("there is no such file\n", 404)
        return FileResponse(path, media_type=_KINDS[path.suffix])

    async def _start(self, request: Request) -> Response:
        if not self._token.redeem(request.path_params["code"]):
            text = "This way in was used already; take the address that sammed open printed.\n"
            return PlainTextResponse(text, 410)
        return RedirectResponse(f"/#{self._token.fragment}", 303)

    # -- voxels ----------------------------------------------------------------------------

    async def _volume(self, request: Request) -> Response:
        bench = self.desk.bench
        opened, name = bench.opened, request.query_params.get("phase")
        if opened is None:
            return _error(RequestError("no_volume", "there is no scan yet; choose one first"), 404)
        if name is None:
            volume, shown = opened.volume, opened.shown
        elif name in bench.beside.phases:
            volume, shown = bench.beside.phases[name].volume, bench.beside.phases[name].shown
        else:
            return _error(RequestError("no_volume", f"there is no phase {name!r}"), 404)

        async def body() -> AsyncIterator[bytes]:
            for chunk in shown.chunks(volume):
                yield bytes(chunk)
            bench.preload()

        headers = {"content-length": str(shown.nbytes), "x-sammed-scan": opened.id}
        return StreamingResponse(body(), headers=headers, media_type="application/octet-stream")

    # -- what is dropped -------------------------------------------------------------------

    async def _upload(self, request: Request) -> Response:
        try:
            self._check_role(request)
            drop = request.headers.get("x-sammed-drop", "")
            path = request.headers.get("x-sammed-path", "")
            await self.spool.take(drop, request.path_params["name"], path, request.stream())
        except ClientDisconnect:
            return Response(status_code=400)
        except (RequestError, OSError) as error:
            return _error(error, 400)
        return JSONResponse({"event": "done"})

    async def _upload_done(self, request: Request) -> Response:
        try:
            self._check_role(request)
            drop = request.headers.get("x-sammed-drop", "")
            folder = self.spool.folder_of(drop)
        except RequestError as error:
            return _error(error, 400)
        desk = self.desk
        answer = await desk.do(lambda: desk.bench.lay_upload(folder))
        if answer["event"] == "done":
            await asyncio.to_thread(self.spool.forget_others, drop)
            desk.tell_others("scan", {"scan": answer["scan"]})
        else:
            await asyncio.to_thread(self.spool.forget, drop)
        return JSONResponse(answer)

    async def _upload_beside(self, request: Request) -> Response:
        """What was dropped is no scan to open, but one beside it: labelled, or a phase."""
        try:
            self._check_role(request)
            folder = self.spool.folder_of(request.headers.get("x-sammed-drop", ""))
        except RequestError as error:
            return _error(error, 400)
        bench = self.desk.bench
        is_phase = request.headers.get("x-sammed-as") == "phase"
        take = bench.drop_phase if is_phase else bench.drop_labelled
        answer = await self.desk.do(lambda: take(folder))
        if answer["event"] != "done":
            await asyncio.to_thread(self.spool.forget, request.headers.get("x-sammed-drop", ""))
        return JSONResponse(answer)

    def _check_role(self, request: Request) -> None:
        """A page that says who it is must be the one that works."""
        page, worker = request.headers.get("x-sammed-page"), self.desk.worker
        if page is not None and worker is not None and worker.page != page:
            raise RequestError("looks_on", "another page works on this scan; take over first")

    # -- the socket ------------------------------------------------------------------------

    async def _socket(self, socket: WebSocket) -> None:
        await socket.accept(PROTOCOL)
        link = Link(socket)
        self.desk.join(link)
        self._token.spend()
        delivery = asyncio.create_task(link.deliver())
        try:
            while True:
                await self._answer(link)
        except Left:
            pass
        finally:
            self.desk.leave(link)
            link.end()
            delivery.cancel()

    async def _answer(self, link: Link) -> None:
        try:
            request, frames = await link.receive()
        except RequestError as error:
            link.post({"id": error.request_id, "event": "error", "error": describe_error(error)})
            return
        try:
            self.desk.take(link, request, frames)
        except Exception as error:  # whatever a page sends, the others go on
            link.post({"id": request.id, "event": "error", "error": describe_error(error)})


def _inside(folder: Path, name: str) -> Path | None:
    """A file of the page, and of nothing beside it, wherever links lead."""
    try:
        path = (folder / name).resolve()
        is_there = path.is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError):
        return None
    return path if is_there and path.suffix in _KINDS else None


def _error(error: Exception, status: int) -> JSONResponse:
    told: dict[str, Any] = {"event": "error", "error": describe_error(error)}
    return JSONResponse(told, status)
