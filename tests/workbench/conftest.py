"""A server that runs, and a page that talks to it as the browser does."""

from __future__ import annotations

import http.client
import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette", reason="pip install 'sammed[workbench]'")
pytest.importorskip("uvicorn", reason="pip install 'sammed[workbench]'")

from websockets.sync.client import connect

from sammed.workbench import Wishes, serve
from sammed.worker.engine import Engine
from tests.phantoms import ORGAN, STRAIGHT, StubModel, image_of, save_nifti

SECONDS = 60.0
BOX = {"axis": 0, "block": [8, 6, 8, 9, 29, 40]}
"""On the middle slice of `ORGAN`, a little loose."""


class Stubs(Engine):
    """Quick models whose answers are known."""

    def model(self, name, device, threads):
        return StubModel()


class Slow(Stubs):
    """Half a tenth of a second a slice."""

    def model(self, name, device, threads):
        def wait(prompt, grey, answer):
            time.sleep(0.05)
            return answer

        return StubModel(rule=wait)


class Page:
    """Talks to the server as the page does."""

    def __init__(self, address, page="page", origin=None, protocols=None):
        self.base, self.token = address.split("/#token=")
        self.host = self.base.removeprefix("http://")
        protocols = protocols or ["sammed.1", f"token.{self.token}"]
        self.socket = connect(
            f"ws://{self.host}/api/socket",
            subprotocols=protocols,
            origin=origin or self.base,
            max_size=None,
            open_timeout=SECONDS,
        )
        self.pushed = []
        self.count = 0
        self.name = page

    def send(self, do, frames=(), **fields):
        self.count += 1
        about = {"frames": len(frames)} if frames else {}
        self.socket.send(json.dumps({"id": self.count, "do": do, **about, **fields}))
        for frame in frames:
            self.socket.send(bytes(frame))
        return self.count

    def next(self, timeout=SECONDS):
        """The next message, with its arrays in place of the references."""
        message = json.loads(self.socket.recv(timeout))
        frames = [self.socket.recv(timeout) for _ in range(message.pop("frames", 0))]
        return placed(message, frames)

    def answer(self, request):
        """The final answer to a request; what else comes is remembered."""
        while True:
            message = self.next()
            if message["id"] == request and message["event"] in ("done", "error", "cancelled"):
                return message
            self.pushed.append(message)

    def ask(self, do, frames=(), **fields):
        return self.answer(self.send(do, frames, **fields))

    def hello(self):
        return self.ask("hello", protocol=1, page=self.name)

    def until(self, event):
        """The next push of a kind."""
        for message in self.pushed:
            if message["event"] == event:
                self.pushed.remove(message)
                return message
        while (message := self.next())["event"] != event:
            self.pushed.append(message)
        return message

    def get(self, path, method="GET", body=None, **headers):
        """(status, headers, body) of a request with the token."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return fetch(
            self.base, path, method, body, {"Authorization": f"Bearer {self.token}", **given}
        )

    def close(self):
        self.socket.close()


def fetch(base, path, method="GET", body=None, headers=None):
    """(status, headers, body) of a plain request."""
    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=SECONDS)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def placed(value, frames):
    """A message with its arrays."""
    if isinstance(value, list):
        return [placed(item, frames) for item in value]
    if not isinstance(value, dict):
        return value
    if "frame" in value:
        return np.frombuffer(frames[value["frame"]], value["dtype"]).reshape(value["shape"])
    return {key: placed(item, frames) for key, item in value.items()}


class Running:
    """A server in a thread of this process."""

    def __init__(self, *paths, engine=None, page_folder=None, **wishes):
        self.told = queue.Queue()
        self.pages = []
        self.result = None
        more = {} if page_folder is None else {"page": page_folder}

        def run():
            try:
                self.result = serve(
                    Wishes(paths=tuple(paths), **wishes),
                    browser=False,
                    say=self.told.put,
                    engine=engine or Stubs(),
                    **more,
                )
            except BaseException as error:
                self.told.put(error)

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        self.address = self.told.get(timeout=SECONDS)
        if isinstance(self.address, BaseException):
            raise self.address
        self.base = self.address.split("/#")[0]

    def page(self, name="page", **how):
        made = Page(self.address, name, **how)
        self.pages.append(made)
        return made

    def stop(self):
        if self.thread.is_alive():
            page = self.page("the end")
            page.ask("hello", protocol=1, page="the end")
            page.ask("take_over")
            page.ask("quit", force=True)
        self.thread.join(SECONDS)
        for page in self.pages:
            page.close()
        assert not self.thread.is_alive()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Whatever is kept between starts goes to a folder of the test."""
    monkeypatch.setenv("SAMMED_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def scan(tmp_path, home):
    """A CT of one ellipsoid in a folder of its own."""
    folder = tmp_path / "scans"
    folder.mkdir()
    return save_nifti(folder / "ct.nii.gz", image_of(ORGAN), STRAIGHT)


@pytest.fixture
def start(home):
    """Starts servers and ends them; ``last`` is the one that was started last."""
    running = []

    def begin(*paths, **how):
        begin.last = Running(*paths, **how)
        running.append(begin.last)
        return begin.last

    yield begin
    for server in running:
        server.stop()


@pytest.fixture
def page(start, scan):
    """A page that works on the scan."""
    made = start(scan).page()
    made.hello()
    return made


class Process:
    """A server in a process of its own, that can be killed."""

    def __init__(self, *arguments, cwd):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sammed", "open", "--no-browser", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        )
        self.address = self.process.stdout.readline().strip()

    def page(self, name="page"):
        made = Page(self.address, name)
        return made

    def kill(self):
        self.process.kill()
        self.process.wait(SECONDS)


@pytest.fixture
def process(tmp_path, home):
    """Starts server processes; those that are left are killed."""
    started = []

    def begin(*arguments):
        started.append(Process(*arguments, cwd=tmp_path))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.kill()
        one.process.stdout.close()
        one.process.stderr.close()


def painted(block, value=1):
    """A frame and its part of a mask: a filled block."""
    shape = [b - a for a, b in zip(block[:3], block[3:], strict=True)]
    frame = np.full(shape, value, np.uint8)
    return frame.tobytes(), {
        "block": list(block),
        "data": {"frame": 0, "dtype": "|u1", "shape": shape},
    }


def journal_of(scan: Path) -> Path:
    return scan.with_name("ct.labels.sammed-journal.jsonl")
