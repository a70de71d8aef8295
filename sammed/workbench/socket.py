"""One page's WebSocket: messages with their arrays, in and out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

from starlette.websockets import WebSocket, WebSocketDisconnect

from sammed.worker.messages import Request, parse

MOST_FRAMES = 1024
MOST_FRAME_BYTES = 64 * 2**20
"""Arrays of one request; a painted slice has a few hundred thousand bytes."""

MOST_WAITING_BYTES = 512 * 2**20
"""What may wait for a page that does not take it, before it is let go."""

BAD_MESSAGE, TOO_LARGE, TOO_SLOW = 1003, 1009, 1013
"""Why a socket is closed (RFC 6455)."""


class Left(Exception):  # noqa: N818 - it happens
    """The page is gone, or was sent away."""


class Link:
    """One connected page.

    Parameters
    ----------
    socket
        Accepted.

    Attributes
    ----------
    page
        What the page calls itself; empty before its hello.
    """

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._out: asyncio.Queue[tuple[str, Sequence[memoryview]] | None] = asyncio.Queue()
        self._waiting = 0
        self.page = ""
        self.is_open = True

    def post(self, message: dict[str, Any], frames: Sequence[memoryview] = ()) -> None:
        """Send a message with its arrays, after those before; nothing comes between them.

        For the loop's own thread. A page that is gone gets nothing.
        """
        if not self.is_open:
            return
        if frames:
            message = {**message, "frames": len(frames)}
        self._waiting += sum(frame.nbytes for frame in frames)
        if self._waiting > MOST_WAITING_BYTES:
            self.is_open = False
            self._out.put_nowait(None)
            return
        self._out.put_nowait((json.dumps(message, allow_nan=False), frames))

    def end(self) -> None:
        """Close the socket once all is sent."""
        self._out.put_nowait(None)

    async def deliver(self) -> None:
        """Send what is posted, until the end."""
        while (item := await self._out.get()) is not None:
            text, frames = item
            await self._socket.send_text(text)
            for frame in frames:
                await self._socket.send_bytes(bytes(frame))
                self._waiting -= frame.nbytes
        self.is_open = False
        await self._socket.close(TOO_SLOW if self._waiting else 1000)

    async def receive(self) -> tuple[Request, list[bytes]]:
        """The next request with its arrays.

        Raises
        ------
        RequestError
            ``malformed`` if it is none; the socket can go on.
        Left
            If the page is gone, or sent what cannot be followed by anything.
        """
        while True:
            message = await self._next()
            text = message.get("text")
            if text is None:
                await self._send_away(BAD_MESSAGE, "an array came without its message")
            request = parse(str(text).encode("utf-8", "surrogatepass"))
            return request, await self._frames(request)

    async def _frames(self, request: Request) -> list[bytes]:
        count = request.fields.values.get("frames", 0)
        if type(count) is not int or not 0 <= count <= MOST_FRAMES:
            await self._send_away(BAD_MESSAGE, f"'frames' must be a number up to {MOST_FRAMES}")
        frames: list[bytes] = []
        room = MOST_FRAME_BYTES
        for _ in range(count):
            frame = (await self._next()).get("bytes")
            if frame is None:
                await self._send_away(BAD_MESSAGE, "a message came instead of an array")
            room -= len(frame)
            if room < 0:
                await self._send_away(TOO_LARGE, "the arrays of a request are too large")
            frames.append(frame)
        return frames

    async def _next(self) -> dict[str, Any]:
        try:
            message = await self._socket.receive()
        except (WebSocketDisconnect, RuntimeError):
            raise Left from None
        if message["type"] != "websocket.receive":
            raise Left
        return dict(message)

    async def _send_away(self, code: int, why: str) -> NoReturn:
        self.is_open = False
        with suppress(RuntimeError, WebSocketDisconnect):
            await self._socket.close(code, why)
        raise Left
