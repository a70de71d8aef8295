"""DICOMweb against a real Orthanc, and against servers that misbehave."""

from __future__ import annotations

import http.server
import logging
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pydicom
import pytest

from sammed.errors import InputError, OutputError, UnreadableFileError
from sammed.imaging.volume import LabelVolume
from sammed.io.dicom import web as dicomweb
from sammed.io.dicom.objects import rtstruct
from sammed.io.dicom.objects import seg as dicom_seg
from tests.io.dicom_out import orthanc
from tests.io.dicom_out.sources import ct_volume, random_labels

pytest.importorskip("dicomweb_client")
needs_orthanc = pytest.mark.skipif(bool(orthanc.missing()), reason=orthanc.missing())
STUDY = "dicomweb://pacs/studies/1.2/series/3.4"


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch, tmp_path):
    """Nothing of the person who runs the tests is used."""
    for name in (dicomweb.TOKEN, dicomweb.USER, dicomweb.PASSWORD, "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """An Orthanc that holds one CT series: (base address, volume)."""
    if orthanc.missing():
        pytest.skip(orthanc.missing())
    folder = tmp_path_factory.mktemp("orthanc")
    volume = ct_volume(tmp_path_factory.mktemp("series") / "ct", (5, 32, 24))
    with orthanc.running(folder) as base:
        for path in sorted(volume.source.iterdir()):
            dicomweb.store(path, f"dicomweb://{base}/studies/{volume.grid.native.study_uid}")
        yield base, volume


def address(server) -> str:
    base, volume = server
    source = volume.grid.native
    return f"dicomweb://{base}/studies/{source.study_uid}/series/{source.series_uid}"


@pytest.mark.parametrize(
    ("url", "server_address"),
    [
        ("dicomweb://pacs/studies/1.2/series/3.4", "http://pacs"),
        ("dicomwebs://pacs/studies/1.2/series/3.4/", "https://pacs"),
        (
            "dicomweb://10.0.0.1:8042/a/dicom-web/studies/1.2/series/3.4",
            "http://10.0.0.1:8042/a/dicom-web",
        ),
        ("dicomwebs://[::1]:80/studies/1.2/series/3.4", "https://[::1]:80"),
    ],
)
def test_addresses(url, server_address):
    assert dicomweb.parse(url) == dicomweb.Address(server_address, "1.2", "3.4")
    assert dicomweb.is_address(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://pacs/studies/1.2/series/3.4",
        "dicomweb://pacs/",
        "dicomweb:///studies/1.2/series/3.4",
        "dicomweb://pacs/studies/abc/series/3.4",
        "dicomweb://pacs/studies/1.2/series/../3",
        "dicomweb://pacs/studies/1.2/series/3.4?x=1",
        "dicomweb://pacs:port/studies/1.2/series/3.4",
        "dicomweb://pacs/studies/1.2/series/3.4/instances/5.6",
    ],
)
def test_addresses_refused(url):
    with pytest.raises(InputError, match="expected dicomweb://host"):
        dicomweb.parse(url)


def test_no_credentials_in_addresses():
    with pytest.raises(InputError, match="SAMMED_DICOMWEB_USER") as caught:
        dicomweb.parse("dicomweb://jane:secret@pacs/studies/1.2/series/3.4")
    assert "secret" not in str(caught.value)


def test_series_comes_and_the_folder_goes(server):
    _, volume = server
    told = []
    with dicomweb.fetch(address(server), lambda done, total: told.append((done, total))) as folder:
        assert folder.stat().st_mode & 0o077 == 0
        uids = {pydicom.dcmread(p).SOPInstanceUID for p in folder.iterdir()}
        pixels = {pydicom.dcmread(p).PixelData for p in folder.iterdir()}
    assert not folder.exists()
    assert uids == {r.sop_instance_uid for r in volume.grid.native.references}
    assert pixels == {pydicom.dcmread(p).PixelData for p in volume.source.iterdir()}
    assert told == [(n, 5) for n in range(1, 6)]


def test_folder_goes_after_an_error(server):
    def fail(done, total):
        raise KeyboardInterrupt

    before = set(Path(dicomweb.tempfile.gettempdir()).glob("sammed-dicomweb-*"))
    with pytest.raises(KeyboardInterrupt), dicomweb.fetch(address(server), fail):
        pass
    assert set(Path(dicomweb.tempfile.gettempdir()).glob("sammed-dicomweb-*")) <= before


@pytest.mark.parametrize("kind", ["seg", "rtstruct", "fractional"])
def test_objects_are_stored_and_come_back(server, tmp_path, kind):
    _, volume = server
    labels = random_labels(volume)
    path = tmp_path / "out.dcm"
    if kind == "rtstruct":
        rtstruct.write(labels, path)
    elif kind == "seg":
        dicom_seg.write(labels, path)
    else:
        labels.probabilities.update(
            {v: (labels.voxels == v).astype(np.float16) for v in labels.names}
        )
        dicom_seg.write(labels, path, fractional=True)
    where = dicomweb.store(path, address(server))
    with dicomweb.fetch(where) as folder:
        (back,) = folder.iterdir()
        reader = rtstruct if kind == "rtstruct" else dicom_seg
        again = reader.read(back, volume)
    np.testing.assert_array_equal(again.voxels, labels.voxels)
    assert again.names == labels.names


def test_large_object_goes_in_chunks(server, tmp_path):
    """More than dicomweb-client sends at once (1 MB)."""
    volume = ct_volume(tmp_path / "big", (5, 512, 512), seed="big")
    stored = np.random.default_rng(0).integers(0, 9, (5, 512, 512)).astype(np.uint8)
    names = {value: f"part {value}" for value in range(1, 9)}
    labels = LabelVolume(volume.grid.reorientation.apply(stored), volume.grid, names)
    dicom_seg.write(labels, tmp_path / "seg.dcm")
    assert (tmp_path / "seg.dcm").stat().st_size > 1_200_000
    url = f"dicomweb://{server[0]}/studies/{volume.grid.native.study_uid}"
    with dicomweb.fetch(dicomweb.store(tmp_path / "seg.dcm", url)) as folder:
        again = dicom_seg.read(next(folder.iterdir()), volume)
    np.testing.assert_array_equal(again.voxels, labels.voxels)


def test_segment_command_fetches_and_stores(server):
    """The whole way: series from the server, box, SEG with the model's name back on the server."""
    before = _stored(server)
    arguments = ["--box", "liver=4,5,16,20@2", "--model", "ellipse", "--store", "--json"]
    code = "from sammed.cli import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", code, "segment", address(server), *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert run.returncode == 0, run.stderr
    assert "stored dicomweb://127.0.0.1" in run.stderr
    (new,) = _stored(server) - before
    with dicomweb.fetch(f"{address(server).split('/series/')[0]}/series/{new}") as folder:
        path = next(folder.iterdir())
        assert pydicom.dcmread(path).SegmentSequence[0].SegmentAlgorithmName == "ellipse"
        labels = dicom_seg.read(path, server[1])
    assert labels.names == {1: "liver"}
    assert labels.file_array()[2].any()


def _stored(server) -> set[str]:
    with dicomweb._client(dicomweb.parse(address(server))) as client:
        study = server[1].grid.native.study_uid
        return {item["0020000E"]["Value"][0] for item in client.search_for_series(study)}


def test_a_study_lists_its_series(server):
    url = address(server).split("/series/")[0]
    with (
        pytest.raises(InputError, match=r"choose a series of it: .*CT 'Series 1' \(5 images\)"),
        dicomweb.fetch(url),
    ):
        pass


def test_what_is_not_there(server):
    base, volume = server
    study = volume.grid.native.study_uid
    with pytest.raises(UnreadableFileError, match=r"has no series 1\.2\.3"):
        dicomweb.fetch(f"dicomweb://{base}/studies/{study}/series/1.2.3").__enter__()
    with pytest.raises(UnreadableFileError, match=r"404.*prefix"):
        dicomweb.fetch(f"dicomweb://{base}/wrong/studies/{study}/series/1.2.3").__enter__()


def test_objects_of_another_study_are_not_sent(server, tmp_path):
    _, volume = server
    dicom_seg.write(random_labels(volume), tmp_path / "seg.dcm")
    with pytest.raises(InputError, match="another study"):
        dicomweb.store(tmp_path / "seg.dcm", f"dicomweb://{server[0]}/studies/1.2")
    (tmp_path / "text").write_text("x")
    with pytest.raises(UnreadableFileError, match="no DICOM file"):
        dicomweb.store(tmp_path / "text", address(server))


@needs_orthanc
def test_credentials(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    volume = ct_volume(tmp_path / "ct")
    source = volume.grid.native
    (tmp_path / "server").mkdir()
    with orthanc.running(tmp_path / "server", "jane", "s3cret") as base:
        url = f"dicomweb://{base}/studies/{source.study_uid}/series/{source.series_uid}"
        slices = sorted(volume.source.iterdir())
        with pytest.raises(OutputError, match=r"refuses access \(401\).*SAMMED_DICOMWEB_USER"):
            dicomweb.store(slices[0], url)
        monkeypatch.setenv(dicomweb.USER, "jane")
        monkeypatch.setenv(dicomweb.PASSWORD, "s3cret")
        for path in slices:
            dicomweb.store(path, url)
        monkeypatch.delenv(dicomweb.USER)
        with pytest.raises(UnreadableFileError, match="refuses access"):
            dicomweb.fetch(url).__enter__()
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login jane password s3cret\n")
        (tmp_path / "netrc").chmod(0o600)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        with dicomweb.fetch(url) as folder:
            assert len(list(folder.iterdir())) == 5
    assert "s3cret" not in caplog.text
    assert "amFuZTpzM2NyZXQ" not in caplog.text  # nor as the header that was sent


@needs_orthanc
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_server_is_left_behind(tmp_path):
    """Not even when the tests are killed in the middle."""
    script = (
        "import sys, time; from pathlib import Path; from tests.io.dicom_out import orthanc\n"
        f"with orthanc.running(Path({str(tmp_path)!r})) as base:\n"
        "    print(base, flush=True); time.sleep(60)"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert b"/dicom-web" in run.stdout.readline()
    mine = [
        p
        for p in Path("/proc").glob("[0-9]*")
        if str(tmp_path) in _command(p) and p.name != str(run.pid)
    ]
    assert len(mine) == 1
    run.kill()
    run.wait()
    run.stdout.close()
    threading.Event().wait(1.0)
    assert not any(str(tmp_path) in _command(p) for p in mine)


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


class Misbehaving(http.server.BaseHTTPRequestHandler):
    """Answers every request in the way that the test chose."""

    answer = staticmethod(lambda handler: None)

    def do_GET(self):
        type(self).answer(self)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        type(self).answer(self)

    def log_message(self, *_):
        pass

    def say(self, code, kind, body):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def misbehaving():
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Misbehaving)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"dicomweb://127.0.0.1:{httpd.server_address[1]}/studies/1.2/series/3.4"
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def html(handler):
    handler.say(200, "text/html", b"<html>Welcome</html>")


def failing(handler):
    handler.say(500, "text/plain", b"oops")


def forbidden(handler):
    handler.say(403, "text/plain", b"no")


def empty_series(handler):
    if "/series?" in handler.path:
        handler.say(
            200, "application/dicom+json", b'[{"0020000E": {"vr": "UI", "Value": ["3.4"]}}]'
        )
    else:
        handler.say(200, "multipart/related; type=application/dicom; boundary=b", b"\r\n--b--\r\n")


def half_a_series(handler):
    if "/series?" in handler.path:
        handler.say(200, "application/dicom+json", b'[{"00201209": {"vr": "IS", "Value": [9]}}]')
    else:
        handler.say(200, "multipart/related; type=application/dicom; boundary=b", b"\r\n--b--\r\n")


def broken_image(handler):
    if "/series?" in handler.path:
        handler.say(200, "application/dicom+json", b"[{}]")
    else:
        part = b"--b\r\nContent-Type: application/dicom\r\n\r\nno dicom\r\n--b--\r\n"
        handler.say(200, "multipart/related; type=application/dicom; boundary=b", part)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (html, "does not answer as a DICOMweb server"),
        (failing, "500"),
        (forbidden, r"refuses access \(403\)"),
        (empty_series, "sent no image of series 3.4"),
        (half_a_series, "sent no image|0 of 9"),
        (broken_image, "does not answer as a DICOMweb server"),
    ],
)
def test_misbehaving_servers(misbehaving, monkeypatch, answer, message):
    monkeypatch.setattr(Misbehaving, "answer", staticmethod(answer))
    with pytest.raises(UnreadableFileError, match=message) as caught:
        dicomweb.fetch(misbehaving).__enter__()
    assert "\n" not in str(caught.value)


def test_store_that_fails(misbehaving, monkeypatch, tmp_path):
    volume = ct_volume(tmp_path / "ct")
    path = tmp_path / "seg.dcm"
    dicom_seg.write(random_labels(volume), path)
    url = misbehaving.replace("/studies/1.2", f"/studies/{volume.grid.native.study_uid}")

    def refuse(handler):
        handler.say(
            200,
            "application/dicom+json",
            b'{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [272]}}]}}',
        )

    monkeypatch.setattr(Misbehaving, "answer", staticmethod(refuse))
    with pytest.raises(OutputError, match=r"did not keep the object \(reason 0x0110\)"):
        dicomweb.store(path, url)
    monkeypatch.setattr(Misbehaving, "answer", staticmethod(failing))
    with pytest.raises(OutputError, match="500"):
        dicomweb.store(path, url)


@pytest.mark.thorough
def test_no_server(monkeypatch):
    url = f"dicomweb://127.0.0.1:{orthanc.free_port()}/studies/1.2/series/3.4"
    with pytest.raises(UnreadableFileError, match=r"cannot reach 127\.0\.0\.1"):
        dicomweb.fetch(url).__enter__()

    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UnreadableFileError, match=r"cannot reach nowhere: its name is unknown"):
        dicomweb.fetch("dicomweb://nowhere/studies/1.2/series/3.4").__enter__()


def test_credentials_in_the_clear_are_warned_of(caplog, monkeypatch):
    monkeypatch.setenv(dicomweb.TOKEN, "t0ken")
    for server, warned in (
        ("http://pacs", True),
        ("https://pacs", False),
        ("http://127.0.0.1", False),
    ):
        caplog.clear()
        with dicomweb._client(dicomweb.Address(server, "1.2")):
            assert ("unencrypted" in caplog.text) is warned
            assert "t0ken" not in caplog.text
    assert os.environ[dicomweb.TOKEN] == "t0ken"
