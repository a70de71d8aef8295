"""``sammed open``: one address, and what is refused before anything is read."""

from __future__ import annotations

import builtins
import signal
import sys

import pytest

from sammed.cli import main
from tests.phantoms import ORGAN, image_of, save_nifti

pytest.importorskip("starlette", reason="pip install 'sammed[workbench]'")

from tests.workbench.conftest import BOX, process  # noqa: F401 - a fixture


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMMED_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def scan(tmp_path, home):
    return save_nifti(tmp_path / "ct.nii.gz", image_of(ORGAN))


def refused(capsys, *arguments):
    assert main(["open", *map(str, arguments), "--no-browser"]) in (1, 3)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_help_has_an_example(console, capsys):
    assert main(["open", "--help"]) == 0
    assert "sammed open ct.nii.gz --labels before.nii.gz" in capsys.readouterr().out


def test_without_the_extra_one_line_says_how_to_get_it(console, capsys, monkeypatch, scan):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.partition(".")[0] in ("starlette", "uvicorn"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **more)

    for name in [n for n in sys.modules if n.startswith(("sammed.workbench", "starlette"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install 'sammed[workbench]'" in refused(capsys, scan)


def test_another_host_is_refused_with_the_way_round(console, capsys, scan):
    line = refused(capsys, scan, "--host", "0.0.0.0")
    assert "ssh -L 8123:127.0.0.1:8123" in line


def test_a_port_that_is_taken_is_refused(console, capsys, scan):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "choose another with --port" in refused(capsys, scan, "--port", port)


def test_an_output_of_no_kind_or_place_is_refused(console, capsys, scan, tmp_path):
    assert "cannot tell what to write" in refused(capsys, scan, "-o", tmp_path / "a.doc")
    assert "does not exist" in refused(capsys, scan, "-o", tmp_path / "none" / "a.nii.gz")
    assert "belong to one image" in refused(capsys, "-o", tmp_path / "a.nii.gz")
    assert "belong to one image" in refused(capsys, "--labels", scan)


@pytest.mark.thorough
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM"])
def test_it_prints_one_address_and_ends_in_order(process, scan, how):  # noqa: F811
    server = process(scan, "--model", "two_class")
    assert server.address.startswith("http://127.0.0.1:")
    page = server.page()
    page.hello()
    page.ask("put", object={"name": "a", "boxes": [BOX]})
    server.process.send_signal(getattr(signal, how))
    assert page.until("ended")
    assert server.process.wait(10) == 0
    out, err = server.process.stdout.read(), server.process.stderr.read()
    assert out == ""
    assert "kept in" in err
    assert page.token not in err
    assert "Traceback" not in err


@pytest.mark.thorough
def test_the_output_is_where_it_is_said(process, scan, tmp_path):  # noqa: F811
    (tmp_path / "out").mkdir()
    server = process(scan, "--model", "two_class", "-o", tmp_path / "out" / "organs.seg.nrrd")
    page = server.page()
    told = page.hello()["scan"]
    assert told["output"] == {"folder": str(tmp_path / "out"), "stem": "organs"}
    page.ask("put", object={"name": "a", "boxes": [BOX]})
    assert (tmp_path / "out" / "organs.sammed-journal.jsonl").exists()
