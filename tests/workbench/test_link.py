"""A page that does not take what it is sent is let go; what is sent stays together."""

from __future__ import annotations

import asyncio
import json

from sammed.workbench import socket as sockets
from sammed.workbench.socket import Link


class Taken:
    """A socket that writes down what is sent."""

    def __init__(self):
        self.sent = []
        self.closed = None

    async def send_text(self, text):
        self.sent.append(json.loads(text))
        await asyncio.sleep(0)

    async def send_bytes(self, frame):
        self.sent.append(frame)
        await asyncio.sleep(0)

    async def close(self, code, reason=""):
        self.closed = code


def test_arrays_follow_their_message_whatever_is_posted_meanwhile():
    async def run():
        socket = Taken()
        link = Link(socket)
        delivery = asyncio.create_task(link.deliver())
        link.post({"id": 1}, [memoryview(b"a"), memoryview(b"b")])
        link.post({"id": 2})
        await asyncio.sleep(0)
        link.post({"id": 3}, [memoryview(b"c")])
        link.end()
        await delivery
        return socket

    socket = asyncio.run(run())
    assert socket.sent == [
        {"id": 1, "frames": 2},
        b"a",
        b"b",
        {"id": 2},
        {"id": 3, "frames": 1},
        b"c",
    ]
    assert socket.closed == 1000


def test_a_page_that_takes_nothing_is_let_go(monkeypatch):
    monkeypatch.setattr(sockets, "MOST_WAITING_BYTES", 1000)

    async def run():
        socket = Taken()
        link = Link(socket)
        for n in range(5):
            link.post({"id": n}, [memoryview(bytes(400))])
        assert not link.is_open
        link.post({"id": 9})
        await link.deliver()
        return socket

    socket = asyncio.run(run())
    assert [m["id"] for m in socket.sent if isinstance(m, dict)] == [0, 1]
    assert socket.closed == sockets.TOO_SLOW
