"""Malformed, huge, out-of-order messages: an answer or a closed socket, never a dead session."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from sammed.workbench import desk as desks
from sammed.workbench import socket as sockets
from sammed.worker.messages import MAX_LINE
from tests.workbench.conftest import BOX, Slow, painted


def lives(page):
    """Whether the session still answers, on the same socket or on another one."""
    page.ask("put", object={"name": "organ", "boxes": [BOX]})
    return page.ask("segment")["event"] == "done"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "{}",
        '{"id": 1}',
        '{"do": "show"}',
        '{"id": null, "do": "show"}',
        '{"id": [], "do": {}}',
        '{"id": 1e999, "do": "show"}',
        "[" * 100_000,
        '{"id": 5, "do": "put", "object": ' + '{"a":' * 50_000,
        '{"id": 1, "do": "\ud800"}'.encode("utf-8", "replace").decode(),
    ],
    ids=range(12),
)
def test_what_is_no_request_is_answered(page, text):
    page.socket.send(text)
    answer = page.next()
    assert answer["event"] == "error"
    assert answer["error"]["code"] in ("malformed", "unknown_request")
    assert lives(page)


def test_a_message_that_is_too_long_is_answered(page):
    page.socket.send(json.dumps({"id": 7, "do": "put", "pad": "x" * MAX_LINE}))
    assert page.next()["error"]["code"] == "malformed"
    assert lives(page)


@pytest.mark.parametrize(
    ("do", "fields"),
    [
        ("nonsense", {}),
        ("put", {}),
        ("put", {"object": 3}),
        ("put", {"object": {"name": 5}}),
        ("put", {"object": {"name": ""}}),
        ("put", {"object": {"name": "a", "boxes": [{"axis": 7, "block": [0, 0, 0, 1, 1, 1]}]}}),
        ("put", {"object": {"name": "a", "boxes": [{"axis": 0, "block": [10**30] * 6}]}}),
        ("put", {"object": {"name": "a", "points": [{"at": [-1, 0, 0]}]}}),
        ("put", {"object": {"name": "a", "points": [{"at": [2**70, 0, 0]}]}}),
        ("put", {"object": {"name": "a", "scribbles": [{"voxels": [[1e300, 0, 0]]}]}}),
        ("put", {"object": {"name": "a", "lassos": [{"axis": 0, "index": 2, "outline": []}]}}),
        ("put", {"object": {"name": "a", "mask": [{"block": [0, 0, 0, 1, 2, 2]}]}}),
        ("put", {"object": {"name": "a", "label": 10**9, "boxes": [BOX]}}),
        ("rename", {"name": "none", "to": "b"}),
        ("rename", {"name": "none"}),
        ("remove", {"name": 3}),
        ("undo", {"steps": "many"}),
        ("undo", {}),
        ("settings", {"model": "stub", "options": {"plane": "nowhere"}}),
        ("settings", {"model": "stub", "options": {"nothing": 1}}),
        ("settings", {}),
        ("save", {"files": 7}),
        ("save", {"files": []}),
        ("choose", {"choice": "../../etc/passwd"}),
        ("choose", {"choice": "/etc/passwd"}),
        ("volume", {"path": "/etc/passwd"}),
        ("close", {}),
        ("shutdown", {}),
        ("hello", {"protocol": 99}),
        ("hello", {"protocol": "1"}),
        ("surface", {"name": "none"}),
        ("segment", {"whole": 5}),
    ],
)
def test_requests_that_make_no_sense_are_answered_and_change_nothing(page, do, fields):
    answer = page.ask(do, **fields)
    assert answer["event"] == "error"
    assert answer["error"]["code"] != "internal", answer
    assert page.ask("show")["objects"] == []
    assert lives(page)


@pytest.mark.parametrize(
    "data",
    [
        {"frame": 0, "dtype": "|u1", "shape": [1, 2, 3]},
        {"frame": 1, "dtype": "|u1", "shape": [1, 2, 2]},
        {"frame": -1, "dtype": "|u1", "shape": [1, 2, 2]},
        {"frame": 0, "dtype": "object", "shape": [1, 2, 2]},
        {"frame": 0, "dtype": "|V1", "shape": [1, 2, 2]},
        {"frame": 0, "dtype": "(", "shape": [1, 2, 2]},
        {"frame": 0, "dtype": "|u1", "shape": [2**40, 2**40]},
        {"frame": 0, "dtype": "|u1", "shape": [0, 2, 2]},
        {"frame": 0, "dtype": "|u1", "shape": [4]},
        {"path": "/etc/passwd", "dtype": "|u1", "shape": [1, 2, 2]},
    ],
)
def test_arrays_that_are_not_as_told_are_refused(page, data):
    part = {"block": [0, 0, 0, 1, 2, 2], "data": data}
    answer = page.ask("put", [b"\1\1\1\1"], object={"name": "a", "mask": [part]})
    assert answer["error"]["code"] in ("bad_request", "exchange")
    assert lives(page)


def closed(page):
    def drain():
        for _ in range(100):
            page.socket.recv(10)

    with pytest.raises(ConnectionClosed):
        drain()


@pytest.mark.parametrize("frames", [-1, 1.5, "2", 10**6, True])
def test_a_number_of_arrays_that_is_none_closes_the_socket(page, start, frames):
    page.socket.send(json.dumps({"id": 9, "do": "show", "frames": frames}))
    closed(page)


def test_an_array_without_its_message_closes_the_socket_and_nothing_else(scan, start):
    server = start(scan)
    page = server.page()
    page.hello()
    page.ask("put", object={"name": "organ", "boxes": [BOX]})
    page.socket.send(b"12345")
    closed(page)
    again = server.page()
    assert again.hello()["role"] == "works"
    assert again.ask("show")["objects"] == ["organ"]
    again.socket.send(json.dumps({"id": 3, "do": "show", "frames": 2}))
    again.socket.send(b"1")
    again.socket.send('{"id": 4, "do": "show"}')
    closed(again)
    assert lives_again(server)


def lives_again(server):
    page = server.page()
    page.hello()
    return lives(page)


def test_arrays_that_are_too_large_close_the_socket(scan, start, monkeypatch):
    monkeypatch.setattr(sockets, "MOST_FRAME_BYTES", 1000)
    server = start(scan)
    page = server.page()
    page.hello()
    page.socket.send(json.dumps({"id": 3, "do": "show", "frames": 2}))
    page.socket.send(bytes(900))
    page.socket.send(bytes(900))
    closed(page)
    assert lives_again(server)


def test_a_page_that_goes_in_the_middle_of_a_message_is_forgotten(scan, start):
    server = start(scan)
    page = server.page()
    page.hello()
    page.socket.send(json.dumps({"id": 3, "do": "show", "frames": 2}))
    page.close()
    assert lives_again(server)


def test_hello_comes_first(start, scan):
    page = start(scan).page()
    for do in ("show", "put", "take_over", "quit", "ping", "cancel"):
        assert page.ask(do)["error"]["code"] == "hello_first"
    assert page.hello()["event"] == "done"
    assert page.hello()["role"] == "works"


@pytest.mark.thorough
def test_a_thousand_requests_at_once_are_answered_in_order(page):
    first = page.send("put", object={"name": "organ", "boxes": [BOX]})
    sent = [first]
    for n in range(1000):
        box = {"axis": 0, "block": [8, 6, 8, 9, 29, 40 + n % 2]}
        sent.append(page.send("put", object={"name": "organ", "boxes": [box]}))
    answers = [page.next() for _ in sent]
    assert [a["id"] for a in answers] == sent
    assert {a["event"] for a in answers} == {"done"}


def test_more_than_that_is_refused_one_by_one(start, scan, monkeypatch):
    monkeypatch.setattr(desks, "MOST_REQUESTS", 5)
    page = start(scan, engine=Slow()).page()
    page.hello()
    page.ask("put", object={"name": "organ", "boxes": [BOX]})
    page.send("segment")
    page.until("progress")
    sent = [page.send("show") for _ in range(50)]
    page.send("cancel")
    answers = [page.answer(request) for request in sent[5:]]
    assert {answer["error"]["code"] for answer in answers} == {"busy"}
    assert page.answer(sent[0])["event"] == "done"
    assert lives(page)


@pytest.mark.alone
def test_cancel_is_heard_at_once_and_the_session_stays_as_it_was(start, scan):
    page = start(scan, engine=Slow()).page()
    page.hello()
    page.ask("put", object={"name": "organ", "boxes": [BOX]})
    running = page.send("segment")
    page.until("progress")
    began = time.monotonic()
    assert page.ask("ping")["busy"] == running
    asked = page.send("cancel", request=running)
    events = {}
    while running not in events:
        message = page.next()
        if message["event"] != "progress":
            events[message["id"]] = message
    assert events[asked]["cancelling"] == running
    assert events[running]["event"] == "cancelled"
    assert time.monotonic() - began < 0.5
    assert page.ask("show")["stale"] == ["organ"]


def test_what_waits_can_be_cancelled_before_it_begins(start, scan):
    page = start(scan, engine=Slow()).page()
    page.hello()
    page.ask("put", object={"name": "organ", "boxes": [BOX]})
    first, second = page.send("segment"), page.send("undo")
    page.ask("cancel", request=second)
    assert page.answer(first)["event"] in ("done", "cancelled")
    assert page.ask("show")["objects"] == ["organ"]


def test_arrays_are_not_mixed_up_between_messages(page):
    """Each message is followed by its own arrays, whatever else is sent meanwhile."""
    for n in range(1, 6):
        frame, part = painted((n, 0, 0, n + 1, n, n))
        page.send("put", [frame], object={"name": f"o{n}", "mask": [part], "propagate": "off"})
        page.send("ping")
    page.ask("segment")
    found = {m["name"]: m["data"] for m in page.ask("show")["masks"]}
    assert [np.count_nonzero(found[f"o{n}"]) for n in range(1, 6)] == [1, 4, 9, 16, 25]
