"""Which Python runs the engine: one of its own; Slicer's packages are never touched."""

import errno
import os
import subprocess
import sys
import sysconfig
import time
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")

from SAMMedLib import dependencies, environment, work  # noqa: E402
from SAMMedLib.environment import Environment, Installation  # noqa: E402
from SAMMedLib.work import EngineError  # noqa: E402

from tests.slicer.conftest import MODULE, ROOT  # noqa: E402

WORKER = 'import sys; print(sys.prefix != sys.base_prefix, "worker")\n'


def wheel(folder):
    """A tiny package called sammed, so that nothing is fetched."""
    path = folder / "sammed-0.1-py3-none-any.whl"
    info = "sammed-0.1.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("sammed/__init__.py", "")
        archive.writestr("sammed/worker.py", WORKER)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: sammed\nVersion: 0.1\n")
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{info}/RECORD", "")
    return str(path)


@pytest.fixture
def slicers(tmp_path, monkeypatch):
    """Slicer's Python as PythonSlicer starts it: by a launcher that sets Python's variables."""
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)  # no uv
    monkeypatch.setenv("PYTHONHOME", sys.base_prefix)
    monkeypatch.setenv("PYTHONPATH", sysconfig.get_paths()["purelib"])
    launcher = tmp_path / "PythonSlicer"
    launcher.write_text(
        f'#!/bin/sh\nexport PYTHONHOME="{sys.base_prefix}"\n'
        f'export PYTHONPATH="{sysconfig.get_paths()["purelib"]}"\nexec "{sys.executable}" "$@"\n'
    )
    launcher.chmod(0o755)
    return str(launcher)


@pytest.fixture
def own(application, tmp_path, monkeypatch):
    """The engine's own environment, beside this test's settings."""
    monkeypatch.setattr(
        slicer.app, "slicerUserSettingsFilePath", str(tmp_path / "Slicer.ini"), raising=False
    )
    return dependencies.own_environment()


def packages():
    """All files of Slicer's packages, with size and time."""
    folder = Path(sysconfig.get_paths()["purelib"])
    return {
        str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file() and p.suffix != ".pyc"
    }


def install(own, base, wanted, seconds=120):
    made = environment.begin(own, base, wanted, nvidia=True)
    told, end = [], time.monotonic() + seconds
    while made.state == "running":
        made.poll()
        told.append(made.text)
        time.sleep(0.01)
        assert time.monotonic() < end
    return made, told


def test_the_engine_gets_an_environment_and_slicers_packages_stay(own, slicers, tmp_path):
    before = packages()
    assert len(before) > 1000
    made, told = install(own, slicers, [wheel(tmp_path)])
    assert made.state == "done", "\n".join(made.log)
    assert packages() == before
    assert own.is_installed
    assert own.folder == str(tmp_path / os.path.basename(own.folder))
    assert "making the environment" in told
    assert any("unpacking" in text for text in told)
    assert own.size() > 100_000
    command, variables = dependencies.launcher(dependencies.OWN)
    said = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["True", "worker"]
    assert dependencies.missing(dependencies.OWN) == ""


def test_pip_refuses_to_touch_slicers_python(own, slicers, tmp_path):
    """Whatever goes wrong with the paths: pip is told to work in an environment only."""
    before = packages()
    steps = [[sys.base_prefix + "/bin/python3", "-m", "pip", "install", wheel(tmp_path)]]
    if not os.path.exists(steps[0][0]):
        pytest.skip("this Python has no python3 beside it")
    made = Installation(own, steps)
    while made.state == "running":
        made.poll()
        time.sleep(0.01)
    assert made.state == "failed"
    assert "virtualenv" in made.text or "No module named pip" in made.text
    assert packages() == before


def test_an_installation_that_fails_says_why_and_leaves_nothing(own, slicers, tmp_path):
    made, _ = install(own, slicers, ["--no-index", "sammed-that-is-nowhere"])
    assert made.state == "failed"
    assert "No matching distribution" in made.text
    assert not os.path.exists(own.folder)
    assert not own.is_installed


def test_an_installation_is_cancelled_at_once_and_leaves_nothing(own, slicers, tmp_path):
    made = environment.begin(own, slicers, [wheel(tmp_path)], nvidia=True)
    time.sleep(0.3)
    started = time.monotonic()
    made.cancel()
    assert time.monotonic() - started < 1
    assert made.state == "cancelled"
    assert not os.path.exists(own.folder)


def test_it_is_removed_again(own, slicers, tmp_path):
    install(own, slicers, [wheel(tmp_path)])
    own.remove()
    assert not os.path.exists(own.folder)
    with pytest.raises(EngineError, match="not installed: press Install"):
        dependencies.launcher(dependencies.OWN)
    assert "not installed" in dependencies.missing(dependencies.OWN)


def test_what_is_fetched_is_told():
    made = types.SimpleNamespace(fetched=0.0, text="")
    for line, said in (
        ("Collecting torch>=2.4", "looking for torch>=2.4"),
        ("  Downloading torch-2.9.0+cpu-cp312.whl (184.4 MB)", "fetching torch (184.4 MB), 184 MB"),
        ("Downloading numpy-2.4.6-cp312.whl.metadata (62 kB)", "fetching numpy (62 kB), 184 MB"),
        ("Installing collected packages: torch, sammed", "unpacking"),
    ):
        Installation._understand(made, line)
        assert made.text.startswith(said)


def test_torch_is_for_what_the_computer_has(monkeypatch, tmp_path):
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    monkeypatch.setattr(environment.sys, "platform", "linux")
    own = Environment(str(tmp_path / "own"))
    cpu, gpu = (" ".join(own.steps("python", ["sammed"], n)[1]) for n in (False, True))
    assert environment.CPU_TORCH in cpu
    assert "whl" not in gpu
    monkeypatch.setattr(environment.shutil, "which", lambda name: f"/usr/bin/{name}")
    first, second = own.steps("python", ["sammed"], False)
    assert first[:2] == ["/usr/bin/uv", "venv"]
    assert second[:4] == ["/usr/bin/uv", "pip", "install", "--python"]
    assert "--torch-backend=cpu" in second


def test_an_old_slicer_is_told_what_it_can_do(monkeypatch):
    monkeypatch.setattr(dependencies.shutil, "which", lambda name: None)
    monkeypatch.setattr(dependencies.sys, "version_info", (3, 9, 10))
    with pytest.raises(EngineError, match=r"is 3\.9, the engine needs 3\.10.*Slicer 5\.10"):
        dependencies.base_python()


def test_another_python_does_not_see_slicers_packages(monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/opt/slicer/lib/Python")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/slicer/lib")
    command, variables = dependencies.launcher(sys.executable)
    assert command == [sys.executable, "-m", "sammed.worker"]
    assert "PYTHONHOME" not in variables
    assert "LD_LIBRARY_PATH" not in variables


def test_a_python_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(EngineError, match="is not a program; choose the Python"):
        dependencies.launcher(str(tmp_path / "python"))


def test_the_source_tree_is_installed_where_the_module_is_used_from_it(tmp_path):
    requirements = str(MODULE / "Resources" / "requirements.txt")
    elsewhere = str(tmp_path / "lib" / "SAMMed.py")
    assert dependencies.requirements(requirements, elsewhere) == ["sammed>=0.1"]
    if (ROOT / "sammed").is_dir():  # not in the package
        assert dependencies.requirements(requirements, str(MODULE / "SAMMed.py")) == [str(ROOT)]


def test_the_question_says_what_where_and_how_much(own):
    asked = dependencies.question(["sammed>=0.1"], own)
    for said in (own.folder, "sammed>=0.1", "GB", "can be removed", "Slicer's own packages stay"):
        assert said in asked


def test_a_full_disk_is_said_so_and_leaves_nothing(tmp_path, monkeypatch):
    def full(path, mode):
        opened = os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY), "wb")

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *_):
                opened.close()

            def write(self, data):
                raise OSError(errno.ENOSPC, "No space left on device")

        return Full()

    monkeypatch.setattr(work, "open", full, raising=False)
    with pytest.raises(EngineError, match=r"the disk is full.*no room for 8 MB") as caught:
        work.write_array(str(tmp_path), np.zeros(1_000_000))
    assert caught.value.code == "disk_full"
    assert list(tmp_path.iterdir()) == []
