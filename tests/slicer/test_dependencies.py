"""Which Python runs the engine, and that nothing is installed without a yes."""

import errno
import os
import sys
import types

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")

from SAMMedLib import dependencies, work  # noqa: E402
from SAMMedLib.work import EngineError  # noqa: E402

from tests.slicer.conftest import MODULE, ROOT  # noqa: E402


@pytest.fixture
def installed(monkeypatch):
    """What pip would be asked for; Slicer's torch is there."""
    asked = []
    monkeypatch.setattr(slicer.util, "pip_install", asked.append)
    monkeypatch.setattr(dependencies, "torch_missing", lambda: False)
    return asked


def test_slicers_own_python_is_the_default(monkeypatch):
    monkeypatch.setattr(dependencies.shutil, "which", lambda name: f"/opt/slicer/bin/{name}")
    command, environment = dependencies.launcher(dependencies.SLICER)
    assert command == ["/opt/slicer/bin/PythonSlicer", "-m", "sammed.worker"]
    assert environment == dict(os.environ)


def test_another_python_does_not_see_slicers_packages(monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/opt/slicer/lib/Python")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/slicer/lib")
    command, environment = dependencies.launcher(sys.executable)
    assert command == [sys.executable, "-m", "sammed.worker"]
    assert "PYTHONHOME" not in environment
    assert "LD_LIBRARY_PATH" not in environment


def test_a_python_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(EngineError, match="is not a program; choose the Python"):
        dependencies.launcher(str(tmp_path / "python"))


def test_the_source_tree_is_installed_where_the_module_is_used_from_it(tmp_path):
    requirements = str(MODULE / "Resources" / "requirements.txt")
    assert dependencies.requirements(requirements, str(MODULE / "SAMMed.py")) == [str(ROOT)]
    elsewhere = str(tmp_path / "lib" / "SAMMed.py")
    assert dependencies.requirements(requirements, elsewhere) == ["sammed>=0.1"]


def test_no_means_no(installed):
    assert dependencies.install(["sammed"], lambda question: False) is False
    assert installed == []


def test_yes_installs_after_a_question_that_says_what(installed):
    asked = []
    assert dependencies.install(["sammed>=0.1"], lambda q: asked.append(q) or True)
    assert installed == [["sammed>=0.1"]]
    assert "PyTorch" in asked[0]
    assert "sammed>=0.1" in asked[0]


def test_newer_slicers_do_it_their_way(installed, monkeypatch):
    ensured = []
    packaging = types.SimpleNamespace(
        pip_ensure=lambda wanted, **how: ensured.append((wanted, how))
    )
    monkeypatch.setattr(slicer, "packaging", packaging, raising=False)
    dependencies.install(["sammed>=0.1"], lambda question: True)
    assert ensured == [(["sammed>=0.1"], {"prompt_install": False, "requester": "SAMMed"})]
    dependencies.install([str(ROOT)], lambda question: True)
    assert installed == [[str(ROOT)]]


def test_torch_comes_by_the_pytorch_extension(installed, monkeypatch):
    monkeypatch.setattr(dependencies, "torch_missing", lambda: True)
    with pytest.raises(EngineError, match="install the extension 'PyTorch'"):
        dependencies.install(["sammed"], lambda question: True)
    asked = []

    class Logic:
        def installTorch(self, **how):
            asked.append(how)
            return None

    utils = types.SimpleNamespace(PyTorchUtilsLogic=Logic)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", utils)
    assert dependencies.install(["sammed"], lambda question: True) is False
    assert asked == [{"askConfirmation": True, "torchVersionRequirement": ">=2.4"}]
    assert installed == []


def test_a_failed_installation_is_one_clear_error(monkeypatch, installed):
    def fail(wanted):
        raise RuntimeError("no route to host")

    monkeypatch.setattr(slicer.util, "pip_install", fail)
    with pytest.raises(EngineError, match="the installation failed: no route to host"):
        dependencies.install(["sammed"], lambda question: True)


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
