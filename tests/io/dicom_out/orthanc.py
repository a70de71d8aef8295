"""A real Orthanc on loopback: a free port, a temporary database, and gone afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PLUGINS = (
    Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so"),
    Path("/usr/local/share/orthanc/plugins/libOrthancDicomWeb.so"),
)
START_SECONDS = 60
STOP_SECONDS = 20


def missing() -> str:
    """Why there can be no server here; empty if there can."""
    if shutil.which("Orthanc") is None:
        return "Orthanc (Debian packages orthanc, orthanc-dicomweb) is not here"
    if not any(plugin.exists() for plugin in PLUGINS):
        return "Orthanc's DICOMweb plugin (Debian package orthanc-dicomweb) is not here"
    return ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _die_with_parent() -> None:
    """The server ends with the test run even if that is killed (Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


@contextlib.contextmanager
def running(folder: Path, user: str = "", password: str = "") -> Iterator[str]:
    """Start a server; yields ``127.0.0.1:port/dicom-web``."""
    port = free_port()
    settings = {
        "Name": "sammed-test",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "Plugins": [str(plugin) for plugin in PLUGINS if plugin.exists()],
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "DicomServerEnabled": False,
        "AuthenticationEnabled": bool(user),
        "RegisteredUsers": {user: password} if user else {},
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    log = folder / "orthanc.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["Orthanc", str(folder / "orthanc.json")],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            preexec_fn=_die_with_parent,
        )
    try:
        _wait(server, port, log)
        yield f"127.0.0.1:{port}/dicom-web"
    finally:
        server.terminate()
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(server: subprocess.Popen, port: int, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise RuntimeError("Orthanc did not start: " + log.read_text(errors="replace")[-2000:])
