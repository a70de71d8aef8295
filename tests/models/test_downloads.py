"""Downloading, importing and verifying, against a web server on this computer."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sammed.cli.models import app
from sammed.errors import (
    InputError,
    OutputError,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from sammed.models import catalogue, downloads
from sammed.models.entry import ModelEntry, WeightsFile

CONTENT = bytes(range(256)) * 5000
FILE = "sam_vit_b_01ec64.pth"


class Server(ThreadingHTTPServer):
    content = CONTENT
    ranges = True
    stop_after: int | None = None
    requested: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requested.append(asked)
        if self.path != f"/{FILE}":
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        resumed = bool(asked) and self.server.ranges
        body = self.server.content[start if resumed else 0 :]
        self.send_response(206 if resumed else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.stop_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server(("127.0.0.1", 0), Handler)
    running.requested = []
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAMMED_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SAMMED_OFFLINE", raising=False)
    return tmp_path / "home"


@pytest.fixture
def entry(server: Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> ModelEntry:
    """ViT-B as if its official file were the server's small one."""
    weights = WeightsFile(
        FILE,
        len(CONTENT),
        f"http://127.0.0.1:{server.server_port}/{FILE}",
        hashlib.sha256(CONTENT).hexdigest(),
    )
    model = replace(catalogue.BUILT_IN["vit_b"], weights=weights)
    monkeypatch.setitem(catalogue.BUILT_IN, "vit_b", model)
    return model


@pytest.fixture
def path(home: Path) -> Path:
    return home / "weights" / FILE


def part_of(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def test_a_download_arrives_whole_and_once(entry: ModelEntry, server: Server, path: Path) -> None:
    steps: list[tuple[int, int]] = []
    assert downloads.download(entry, on_bytes=lambda *step: steps.append(step)) == path
    assert path.read_bytes() == CONTENT
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert not part_of(path).exists()
    assert downloads.download(entry) == path
    assert server.requested == [None]


def test_an_interrupted_download_goes_on(entry: ModelEntry, server: Server, path: Path) -> None:
    server.stop_after = 700_001
    with pytest.raises(WeightsNotFoundError, match="run the command again to go on"):
        downloads.download(entry)
    assert not path.exists()
    kept = part_of(path).stat().st_size
    assert 0 < kept <= 700_001
    server.stop_after = None
    downloads.download(entry)
    assert path.read_bytes() == CONTENT
    assert server.requested[-1] == f"bytes={kept}-"


def test_a_server_that_cannot_resume_starts_over(
    entry: ModelEntry, server: Server, path: Path
) -> None:
    path.parent.mkdir(parents=True)
    part_of(path).write_bytes(CONTENT[:1000])
    server.ranges = False
    downloads.download(entry)
    assert path.read_bytes() == CONTENT


def test_what_is_not_the_official_file_is_not_kept(
    entry: ModelEntry, server: Server, path: Path
) -> None:
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(WeightsMismatchError, match=r"is not sam_vit_b.*nothing was kept"):
        downloads.download(entry)
    assert not path.exists()
    assert not part_of(path).exists()


def test_a_server_without_the_file_or_none_at_all(entry: ModelEntry, path: Path) -> None:
    assert entry.weights is not None
    absent = replace(entry, weights=replace(entry.weights, url=entry.weights.url + "x"))
    with pytest.raises(WeightsNotFoundError, match=r"cannot download .*: Not Found"):
        downloads.download(absent)
    dead = replace(entry, weights=replace(entry.weights, url="http://127.0.0.1:9/x"))
    with pytest.raises(WeightsNotFoundError, match=r"cannot download .*refused"):
        downloads.download(dead)
    local = replace(entry, weights=replace(entry.weights, url="file:///etc/hostname"))
    with pytest.raises(InputError, match="expected an http or https address"):
        downloads.download(local)
    assert not path.exists()


def test_offline_is_obeyed(
    entry: ModelEntry, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WeightsNotFoundError, match="offline: the weights of 'vit_b'"):
        downloads.download(entry, offline=True)
    monkeypatch.setenv("SAMMED_OFFLINE", "1")
    with pytest.raises(WeightsNotFoundError, match="downloads are forbidden"):
        downloads.download(entry)
    assert server.requested == []


def test_a_full_disk(entry: ModelEntry, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match="has 0 MB free, expected 1 MB; make room or point SAM"):
        downloads.download(entry)
    assert server.requested == []


def test_import_recognises_the_content(entry: ModelEntry, tmp_path: Path, path: Path) -> None:
    source = tmp_path / "from-a-colleague.bin"
    source.write_bytes(CONTENT)
    assert downloads.import_file(source) == (entry, path)
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == [FILE]
    assert downloads.import_file(source) == (entry, path)
    assert downloads.verify(entry) == path
    assert downloads.find(entry) == path


@pytest.mark.usefixtures("entry")
def test_import_refuses_everything_else(tmp_path: Path, path: Path) -> None:
    (tmp_path / FILE).write_bytes(CONTENT[:-500])
    with pytest.raises(WeightsMismatchError, match="truncated or altered: 1279500 bytes, expecte"):
        downloads.import_file(tmp_path / FILE)
    (tmp_path / "own.pth").write_bytes(b"mine")
    with pytest.raises(WeightsMismatchError, match=r"own\.pth is none of the official files"):
        downloads.import_file(tmp_path / "own.pth")
    with pytest.raises(WeightsNotFoundError, match="no weights file at"):
        downloads.import_file(tmp_path / "absent.pth")
    assert not path.exists()


def test_verify_reads_the_file_anew(entry: ModelEntry, path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match="no weights for 'vit_b'"):
        downloads.verify(entry)
    downloads.download(entry)
    stat = path.stat()
    path.write_bytes(CONTENT[:-1] + b"!")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(WeightsMismatchError, match="remove it and run 'sammed models download"):
        downloads.verify(entry)
    with pytest.raises(InputError, match="model 'box' needs no weights file"):
        downloads.verify(catalogue.BUILT_IN["box"])


def test_medsam_is_known_by_either_digest(tmp_path: Path, home: Path) -> None:
    content = b"zenodo's copy"
    (tmp_path / "m").write_bytes(content)
    weights = WeightsFile(
        "m", len(content), "https://x", "0" * 64, md5=hashlib.md5(content).hexdigest()
    )
    assert downloads.is_genuine(tmp_path / "m", weights)
    assert not downloads.is_genuine(tmp_path / "m", replace(weights, md5="0" * 32))
    assert not downloads.is_genuine(tmp_path / "m", replace(weights, md5=""))


@pytest.mark.usefixtures("console")
def test_the_commands(entry: ModelEntry, tmp_path: Path, path: Path) -> None:
    run = CliRunner().invoke
    listed = run(app, ["list"])
    assert listed.exit_code == 0, listed.output
    rows = {line.split()[0]: line.split() for line in listed.stdout.splitlines()}
    assert rows["vit_b"][1:7] == ["no", "weights", "1", "MB", "yes", "yes"]
    assert rows["box"][1:5] == ["ready", "-", "yes", "yes"]
    assert rows["medsam2"][-1] == "videos"
    assert "no medical device" not in listed.stdout
    assert "none is approved as a medical device" in listed.stderr
    fetched = run(app, ["download", "sam_vit_b"])
    assert fetched.exit_code == 0, fetched.output
    assert fetched.stdout.strip() == str(path)
    verified = run(app, ["verify", "--json"])
    assert verified.exit_code == 0, verified.output
    assert '"state": "ok"' in verified.stdout
    path.write_bytes(b"broken")
    broken = run(app, ["verify"])
    assert isinstance(broken.exception, WeightsMismatchError)
    assert "vit_b      broken" in broken.stdout
    (tmp_path / "copy").write_bytes(CONTENT)
    imported = run(app, ["import", str(tmp_path / "copy")])
    assert imported.exit_code == 0, imported.output
    assert imported.stdout.split() == ["vit_b", str(path)]
    as_json = run(app, ["list", "--json"])
    assert '"name": "compact"' in as_json.stdout
    for command in ("list", "show", "download", "verify", "import"):
        shown = run(app, [command, "--help"])
        assert "Example: sammed models" in shown.output


@pytest.mark.usefixtures("console")
def test_show_says_all_and_measures(entry: ModelEntry) -> None:
    run = CliRunner().invoke
    shown = run(app, ["show", "medsam2"])
    assert shown.exit_code == 0, shown.output
    said = {line[:13].strip(): line[14:] for line in shown.stdout.splitlines()}
    assert said["in a clinic?"].startswith("no")
    assert said["in a product?"] == "no"
    assert said["SHA-256"].startswith("c92743b99f00")
    assert entry.weights is not None
    assert entry.weights.sha256 in run(app, ["show", "sam_vit_b"]).stdout
    timed = run(app, ["show", "ellipse", "--time"])
    assert float(timed.stdout.splitlines()[-1].removeprefix("s a slice")) > 0
    rows = json.loads(run(app, ["list", "--time", "--json"]).stdout)
    seconds = {row["name"]: row["seconds_a_slice"] for row in rows}
    assert seconds["ellipse"] > 0
    assert seconds["vit_b"] is None
    unknown = run(app, ["show", "no_such"])
    assert isinstance(unknown.exception, InputError)


@pytest.mark.parametrize("name", [FILE, "renamed.bin"])
def test_a_folder_in_place_of_the_network(
    entry: ModelEntry, server: Server, tmp_path: Path, path: Path, name: str
) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / "other.txt").write_bytes(b"x" * len(CONTENT))
    with pytest.raises(WeightsNotFoundError, match=f"has no {FILE}, nor its content"):
        downloads.take_from(entry, tmp_path / "share")
    (tmp_path / "share" / name).write_bytes(CONTENT)
    run = CliRunner().invoke(app, ["download", "vit_b", "--from", str(tmp_path / "share")])
    assert run.exit_code == 0, run.output
    assert run.stdout.strip() == str(path)
    assert "vit_b: Apache-2.0; clinic yes, product yes" in run.stderr
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == [FILE]
    assert server.requested == []


def test_a_folder_with_an_altered_file(entry: ModelEntry, tmp_path: Path, path: Path) -> None:
    (tmp_path / FILE).write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsMismatchError, match=f"{FILE} is truncated or altered"):
        downloads.take_from(entry, tmp_path)
    with pytest.raises(WeightsNotFoundError, match="no folder"):
        downloads.take_from(entry, tmp_path / "absent")
    assert not path.exists()


@pytest.fixture
def without_digest(entry: ModelEntry, monkeypatch: pytest.MonkeyPatch) -> ModelEntry:
    """A model whose official file is published without size and digest."""
    assert entry.weights is not None
    bare = replace(entry, weights=replace(entry.weights, size=0, sha256=""))
    monkeypatch.setitem(catalogue.BUILT_IN, "vit_b", bare)
    return bare


@pytest.mark.usefixtures("console")
def test_without_a_known_digest_that_is_said(
    without_digest: ModelEntry, server: Server, path: Path
) -> None:
    server.stop_after = 700_001
    with pytest.raises(WeightsNotFoundError, match="run the command again to go on"):
        downloads.download(without_digest)
    server.stop_after = None
    run = CliRunner().invoke(app, ["download", "vit_b"])
    assert run.exit_code == 0, run.output
    assert server.requested[-1] == "bytes=700001-"
    assert path.read_bytes() == CONTENT
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert f"vit_b: no checksum is known; this file's is {digest}" in run.stderr
    assert downloads.find(without_digest) == path


def test_a_file_without_digest_is_imported_by_its_name(
    without_digest: ModelEntry, tmp_path: Path, path: Path
) -> None:
    (tmp_path / "other.pt").write_bytes(b"something")
    with pytest.raises(WeightsMismatchError, match="none of the official files"):
        downloads.import_file(tmp_path / "other.pt")
    (tmp_path / FILE).write_bytes(CONTENT)
    assert downloads.import_file(tmp_path / FILE) == (without_digest, path)


class Proxy(BaseHTTPRequestHandler):
    """Answers for a server that cannot be reached, and keeps what was asked of it."""

    server: Server

    def do_GET(self) -> None:
        self.server.requested.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        pass


def test_behind_a_proxy(entry: ModelEntry, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    assert entry.weights is not None
    far = replace(entry, weights=replace(entry.weights, url="http://weights.invalid/vit_b.pth"))
    proxy = Server(("127.0.0.1", 0), Proxy)
    proxy.requested = []
    thread = threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
    try:
        assert downloads.download(far) == path
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
    assert proxy.requested == ["http://weights.invalid/vit_b.pth"]
    assert path.read_bytes() == CONTENT
