"""A real browser on a real server: Chromium, by Playwright, with WebGL in software."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.pages import Workbench

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]


def chromium() -> str | None:
    """The system's Chromium, if there is one."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


@pytest.fixture(scope="session")
def built_page() -> None:
    """The page as its sources are now."""
    done = subprocess.run(
        [sys.executable, "workbench/build_page.py"], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no word"]
        pytest.skip(f"the page cannot be built: {lines[-1]}")


@pytest.fixture(scope="package")
def browser(built_page: None) -> Iterator[Any]:
    """One browser for all tests here; each has a window of its own.

    It ends with them: while it lives, its event loop runs, and other tests have their own.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = chromium()
    if program is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=program, args=FLAGS)
        yield launched
        launched.close()


class Server:
    """``sammed open`` in a process of its own."""

    def __init__(self, *arguments: str | Path, cwd: Path, port: int = 0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sammed", "open", *map(str, arguments), "--no-browser"]
            + (["--port", str(port)] if port else []),
            cwd=cwd,
            env={**os.environ, "SAMMED_HOME": str(cwd / "home")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.told: list[str] = []
        self.address = self._address()

    def _address(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+/#token=[0-9a-f]+", line):
                return found.group()
        raise AssertionError(f"no address; it said: {''.join(self.told)}")

    @property
    def port(self) -> int:
        return int(re.search(r":(\d+)/", self.address).group(1))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers, each ended after the test."""
    servers: list[Server] = []

    def start(*arguments: str | Path, **more: Any) -> Server:
        servers.append(Server(*arguments, cwd=tmp_path, **more))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Workbench]]:
    """Opens the page of a server; errors in its console fail the test."""
    contexts = []

    def show(server: Server, width: int = 1280, height: int = 720, **more: Any) -> Workbench:
        context = browser.new_context(viewport={"width": width, "height": height}, **more)
        contexts.append(context)
        return Workbench(context.new_page(), server.address)

    yield show
    for context in contexts:
        context.close()
