"""Two pages on one scan: one works, the other looks on; and when it ends."""

from __future__ import annotations

import time

import pytest

from sammed.workbench import server as servers
from tests.workbench.conftest import BOX, Slow

PUT = {"object": {"name": "organ", "boxes": [BOX]}}


@pytest.fixture
def two(start, scan):
    server = start(scan)
    first, second = server.page("first"), server.page("second")
    assert first.hello()["role"] == "works"
    assert second.hello()["role"] == "looks_on"
    return first, second


def test_the_second_page_is_told_and_looks_on(two):
    first, second = two
    first.ask("put", **PUT)
    assert second.until("changed")
    assert second.ask("show")["objects"] == ["organ"]
    for do, fields in (
        ("put", PUT),
        ("remove", {"name": "organ"}),
        ("rename", {"name": "organ", "to": "b"}),
        ("segment", {}),
        ("undo", {}),
        ("redo", {}),
        ("settings", {"model": "stub"}),
        ("save", {"files": []}),
        ("choose", {"choice": "choice-0"}),
        ("cancel", {}),
        ("quit", {"force": True}),
    ):
        assert second.ask(do, **fields)["error"]["code"] == "looks_on", do
    assert second.ask("ping")["event"] == "done"
    assert first.ask("show")["objects"] == ["organ"]


def test_what_the_second_page_is_shown_is_not_taken_for_told_to_the_first(two):
    first, second = two
    first.ask("put", **PUT)
    first.ask("segment")
    assert first.ask("settings", model="compact", masks="resolved")["renewed"] is False
    second.ask("show")
    answer = first.ask("segment")
    assert answer["masks"][0]["replace"]
    second.ask("show")
    assert first.ask("segment")["masks"] == []


def test_a_page_can_take_over_and_the_other_is_told(two):
    first, second = two
    assert second.ask("take_over")["role"] == "works"
    assert first.until("looks_on")
    assert first.ask("put", **PUT)["error"]["code"] == "looks_on"
    assert second.ask("put", **PUT)["changed"]
    assert first.until("changed")


def test_a_page_that_comes_back_works_on(start, scan):
    server = start(scan)
    page = server.page("mine")
    page.hello()
    page.ask("put", **PUT)
    page.close()
    again = server.page("mine")
    assert again.hello()["role"] == "works"
    assert again.ask("show")["objects"] == ["organ"]


def test_a_page_that_comes_back_before_its_end_was_noticed_works_on(start, scan):
    server = start(scan)
    page, again = server.page("mine"), server.page("mine")
    page.hello()
    assert again.hello()["role"] == "works"
    assert page.until("looks_on")
    assert page.ask("put", **PUT)["error"]["code"] == "looks_on"


def test_work_goes_on_when_the_page_is_gone(start, scan):
    server = start(scan, engine=Slow())
    page = server.page("mine")
    page.hello()
    page.ask("put", **PUT)
    page.send("segment")
    page.until("progress")
    page.socket.socket.close()  # as a cable that is pulled
    again = server.page("mine")
    again.hello()
    assert again.ask("show")["stale"] == []


def test_quit_asks_first_if_something_is_unsaved(start, scan):
    server = start(scan)
    page, other = server.page(), server.page("other")
    page.hello()
    other.hello()
    page.ask("put", **PUT)
    assert page.ask("quit")["error"]["code"] == "unsaved"
    assert page.ask("quit", force=True)["event"] == "done"
    assert page.until("ended")
    assert other.until("ended")
    server.thread.join(20)
    assert not server.thread.is_alive()
    assert "the next start goes on from there" in server.result


@pytest.mark.alone
def test_the_end_does_not_wait_for_work(start, scan):
    server = start(scan, engine=Slow())
    page = server.page()
    page.hello()
    page.ask("put", **PUT)
    page.send("segment")
    page.until("progress")
    began = time.monotonic()
    page.send("quit", force=True)
    server.thread.join(20)
    assert time.monotonic() - began < 4


@pytest.mark.thorough
def test_it_ends_after_the_last_page_but_not_before_the_first(start, scan, monkeypatch):
    monkeypatch.setattr(servers, "LEAVE_SECONDS", 0.6)
    server = start(scan)
    time.sleep(1.5)
    assert server.thread.is_alive()
    page = server.page("mine")
    page.hello()
    page.close()
    again = server.page("mine")  # a reload
    again.hello()
    time.sleep(1.5)
    assert server.thread.is_alive()
    again.close()
    server.thread.join(10)
    assert not server.thread.is_alive()
    assert server.result == ""


@pytest.mark.thorough
def test_it_does_not_end_with_something_unsaved(start, scan, monkeypatch):
    monkeypatch.setattr(servers, "LEAVE_SECONDS", 0.3)
    server = start(scan)
    page = server.page()
    page.hello()
    page.ask("put", **PUT)
    page.close()
    time.sleep(2)
    assert server.thread.is_alive()
    again = server.page()
    again.hello()
    files = [{"format": "nifti", "name": "ct.labels.nii.gz"}]
    assert again.ask("save", files=files)["dirty"] is False
    again.close()
    server.thread.join(10)
    assert not server.thread.is_alive()
