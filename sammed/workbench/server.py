"""From the start of the server to its end: the port, the browser, Ctrl-C, the last page."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import signal
import socket as sockets
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from sammed.errors import InputError
from sammed.workbench.app import PAGE, Workbench
from sammed.workbench.desk import Desk
from sammed.workbench.explained import ExplainedBench
from sammed.workbench.guard import Token
from sammed.workbench.socket import MOST_FRAME_BYTES
from sammed.workbench.wishes import Wishes
from sammed.worker.engine import Engine

LEAVE_SECONDS = 10.0
"""So long after the last page is gone the server ends, if nothing is unsaved."""

_LOOK_SECONDS = 0.5


def serve(
    wishes: Wishes,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    browser: bool = True,
    say: Callable[[str], None] = lambda address: None,
    engine: Engine | None = None,
    page: Path = PAGE,
) -> str:
    """Open a scan and serve the page until told to end.

    Parameters
    ----------
    wishes
        What to open.
    host, port
        Where to listen: this computer alone; port 0 is any that is free.
    browser
        Whether to open the page in the browser.
    say
        Takes the address, once the server listens.
    engine
        Builds models and sessions.
    page
        Where the built page lies.

    Returns
    -------
    str
        What to tell the person at the end; empty if there is nothing.

    Raises
    ------
    SammedError
        As ``sammed segment`` on the same image; or if it cannot listen there.
    """
    check_host(host)
    bench = _bench(wishes, engine)
    try:
        bench.start()
        with _listening(host, port) as listener:
            return asyncio.run(_serve(bench, listener, browser, say, page))
    finally:
        bench.close()


def _bench(wishes: Wishes, engine: Engine | None) -> ExplainedBench:
    """The table for one scan, or for a project; a project's needs the engine from the start."""
    if not wishes.project:
        return ExplainedBench(wishes, engine)
    from sammed.workbench.casework import CaseBench

    return CaseBench(wishes, engine)


def check_host(host: str) -> None:
    """Make sure that a host is this computer alone.

    Raises
    ------
    InputError
        If others could reach it; says how to tunnel.
    """
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise InputError(
            f"--host {host} would show scans to the network, and sammed open serves this computer "
            "alone; from another one run ssh -L 8123:127.0.0.1:8123 YOU@THIS-COMPUTER there, "
            "start sammed open with --no-browser --port 8123 here, and open its address there"
        )


@contextmanager
def _listening(host: str, port: int) -> Iterator[sockets.socket]:
    family = sockets.AF_INET6 if ":" in host else sockets.AF_INET
    with sockets.socket(family, sockets.SOCK_STREAM) as listener:
        listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(64)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"cannot listen on port {port}: {why}; choose another with --port, or leave it out"
            ) from error
        yield listener


def _hush() -> None:
    """Let no library write down how pages connect: the token is part of that."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi", "websockets", "websockets.server"):
        logging.getLogger(name).setLevel(logging.WARNING)


class _Server(uvicorn.Server):
    """Leaves signals to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(
    bench: ExplainedBench,
    listener: sockets.socket,
    browser: bool,
    say: Callable[[str], None],
    page: Path,
) -> str:
    token = Token()
    desk = Desk(bench)
    bench_app = Workbench(desk, token, page)
    config = uvicorn.Config(
        bench_app.app,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws_max_size=MOST_FRAME_BYTES,
        ws_max_queue=4,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=32 * 1024,
    )
    _hush()
    server = _Server(config)
    host, port = listener.getsockname()[:2]
    here = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    _on_signals(desk)
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    say(f"{here}/#{token.fragment}")
    if browser and may_browse():
        await asyncio.to_thread(webbrowser.open, here + token.start_path)
    watching = asyncio.create_task(_watch(desk))
    await desk.ended.wait()
    watching.cancel()
    unsaved = bench.dirty
    await desk.close()
    server.should_exit = True
    await serving
    bench_app.spool.close()
    kept = bench.opened.keeper.resumed.journal.path if bench.opened is not None else None
    return f"not saved, but kept in {kept}; the next start goes on from there" if unsaved else ""


def may_browse() -> bool:
    """Whether there is a screen for a browser: one in the terminal would take that away."""
    if sys.platform != "linux" or os.environ.get("BROWSER") or os.environ.get("WSL_DISTRO_NAME"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _on_signals(desk: Desk) -> None:
    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            try:
                loop.add_signal_handler(getattr(signal, name), desk.end)
            except (
                NotImplementedError,
                RuntimeError,
                ValueError,
            ):  # Windows, or not the main thread
                return


async def _watch(desk: Desk) -> None:
    """End when nobody is here any more, and nothing would be lost."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        alone = desk.was_visited and desk.is_idle
        if alone and time.monotonic() - desk.left_at > LEAVE_SECONDS:
            desk.end()
            return
