"""Models of other packages: installed for real, used everywhere by name, and harmless if broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from sammed.cli.doctor import _measure
from sammed.errors import InputError, ModelError, SammedWarning, WeightsNotFoundError
from sammed.models import catalogue, plugins, registry
from sammed.models.contract import check_model
from tests.phantoms import ROOT
from tests.worker.conftest import Client

TINY = Path(__file__).with_name("tiny_model.py").read_text()
SAMPLE = ROOT / "sample_data" / "phantom_ct.nii.gz"

HEAD = """
    from dataclasses import replace
    from sammed.models.baselines import BoxBaseline
    from sammed.models.entry import ModelEntry, WeightsFile
    from sammed.models.protocols import ModelSpec
"""
"""What most of the modules below begin with."""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Install a package of one module, as an installer leaves it, in a folder of the test."""

    def installed(package: str, code: str, entry: str = "ENTRY", name: str = "") -> Path:
        site, module = tmp_path / "site", package.replace("-", "_")
        about = site / f"{module}-0.1.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n")
        (about / "entry_points.txt").write_text(
            f"[sammed.models]\n{name or module} = {module}:{entry}\n"
        )
        (site / f"{module}.py").write_text(code)
        return site

    return installed


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of installed packages, on the path of this process for as long as the test."""
    folder = tmp_path / "site"
    before = set(sys.modules)
    with monkeypatch.context() as context:
        context.setattr(plugins, "_found", None)
        context.syspath_prepend(folder)
        yield folder
    for module in set(sys.modules) - before:
        if getattr(sys.modules[module], "__file__", None) == str(folder / f"{module}.py"):
            del sys.modules[module]


def run(site: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """A program of its own, which finds what is installed."""
    environment = {**os.environ, "PYTHONPATH": str(site), "SAMMED_HOME": str(site / "home")}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.thorough
def test_an_installed_model_is_used_by_name_everywhere(install: Install, tmp_path: Path) -> None:
    site = install("tiny-model", TINY)
    listed = run(site, "-m", "sammed", "models", "list")
    line = next(line for line in listed.stdout.splitlines() if line.startswith("tiny"))
    assert "ready" in line
    assert line.endswith("MIT          what is bright in the box (from tiny-model)")
    out = tmp_path / "spleen.nii.gz"
    box = ("--box", "spleen=99,56,131,97@44", "-o", str(out), "-q")
    run(site, "-m", "sammed", "segment", str(SAMPLE), *box, "--model", "tiny")
    report = json.loads((tmp_path / "spleen.report.json").read_text())
    assert report["model"]["name"] == "tiny"
    asked = (
        "import sammed; print(sammed.segment('{}', box='99,56,131,97@44', model='{}').voxels.sum())"
    )
    assert int(run(site, "-c", asked.format(SAMPLE, "tiny_bright")).stdout) > 1000


def test_the_worker_knows_it(install: Install) -> None:
    site = install("tiny-model", TINY)
    client = Client(environment={"PYTHONPATH": str(site)})
    try:
        known = {model["name"]: model for model in client.hello(model="tiny")["models"]}
        assert known["tiny"] == {
            "name": "tiny",
            "description": "what is bright in the box",
            "license": "MIT",
            "available": True,
            "package": "tiny-model",
        }
        assert known["compact"]["package"] == "sammed"
        client.volume(np.zeros((4, 30, 30), np.int16), np.eye(4))
        assert client.ask("settings", model="tiny")["event"] == "done"
    finally:
        client.stop()


def test_it_is_imported_when_it_is_asked_for(install: Install) -> None:
    """Not by the face, nor by help, nor for a model of sammed's own."""
    site = install("tiny-model", TINY)
    code = """
        import sys, sammed
        from sammed import cli
        from sammed.models import registry
        cli.main(["--help"])
        registry.build("box")
        assert "tiny_model" not in sys.modules
        registry.names()
        assert "tiny_model" in sys.modules
        assert "torch" not in sys.modules
    """
    run(site, "-c", dedent(code))


def test_options_and_contract(install: Install, site: Path) -> None:
    install("tiny-model", TINY)
    assert registry.names() == [*catalogue.BUILT_IN, "tiny"]
    assert registry.info("tiny_bright").package == "tiny-model"
    model = registry.build("tiny", steepness=3.0, zoom=None, device="auto")
    assert model.steepness == 3  # type: ignore[attr-defined]
    check_model(model)
    with pytest.raises(InputError, match="'tiny' has no option zoom; expected steepness"):
        registry.build("tiny", zoom=2.0)
    with pytest.raises(InputError, match=r"'tiny' has no weights; leave x\.pth out"):
        registry.build("tiny", weights=Path("x.pth"))
    with pytest.raises(InputError, match=r"unknown model 'tin'.*, tiny, or the path"):
        registry.build("tin")


SEVERAL = """
    def build(request):
        model = BoxBaseline()
        model.name, model.request = "with_files", request
        return model

    FILE = WeightsFile("w.bin", 3, "https://example.org/w.bin", "0" * 64)
    def entries():
        yield ModelEntry("shipped", "s", "MIT", build, shipped=(FOLDER / "there.bin",))
        yield ModelEntry(
            "with_files", "w", "MIT", build, weights=FILE, uses_torch=False,
            recognises=lambda path: path.read_bytes() == b"mine",
        )
"""


def test_a_function_gives_several_with_files(install: Install, site: Path, tmp_path: Path) -> None:
    head = f"from pathlib import Path\nFOLDER = Path({str(tmp_path)!r})\n"
    install("several", head + dedent(HEAD) + dedent(SEVERAL), "entries")
    assert registry.names()[-2:] == ["shipped", "with_files"]
    assert not registry.info("shipped").available
    (tmp_path / "there.bin").write_bytes(b"12345")
    assert registry.info("shipped").available
    assert registry.info("shipped").size == 5
    assert registry.info("with_files").size == 3
    with pytest.raises(WeightsNotFoundError, match="sammed models download with_files"):
        registry.build("with_files")
    (tmp_path / "own.pth").write_bytes(b"mine")
    request = registry.build(str(tmp_path / "own.pth")).request  # type: ignore[attr-defined]
    assert (request.weights, request.device) == (tmp_path / "own.pth", "cpu")
    assert request.license == "unknown (own weights file)"


VOLUME = """
    class Whole:
        spec = ModelSpec("whole")
        def open(self, image):
            return image

    ENTRY = ModelEntry("whole", "sees the volume", "MIT", lambda request: Whole())
"""


def test_a_model_of_volumes_is_one_too(install: Install, site: Path) -> None:
    install("whole", dedent(HEAD + VOLUME))
    assert registry.build("whole").spec.view_size == 0
    check_model(registry.build("whole"))
    measured = _measure("whole", "cpu", None, None, None)
    assert measured["reason"] == "it sees no slices that could be timed"


BROKEN = {
    "raises": ("import nowhere.to_be_found\n", "ModuleNotFoundError: No module named 'nowhere'"),
    "exits": ("raise SystemExit('leave')\n", "SystemExit: leave"),
    "nothing": ("x = 1\n", "AttributeError: module 'nothing' has no attribute 'ENTRY'"),
    "other": ("ENTRY = 5\n", "TypeError: it gives int; expected sammed.models.entry.ModelEntry"),
    "fails": ("def ENTRY():\n    raise ValueError('two\\nlines')\n", "ValueError: two lines"),
    "path": (
        HEAD + "    ENTRY = ModelEntry('a/b', '', '', BoxBaseline)\n",
        "ValueError: 'a/b' cannot be a model's name; expected a word like 'vit_b'",
    ),
    "steals": (
        HEAD + "    ENTRY = ModelEntry('mine', '', '', BoxBaseline, aliases=('sam_vit_b',))\n",
        "the name 'sam_vit_b' is taken by a model of 'sammed'",
    ),
}
"""Modules whose entries cannot be used, and why."""


@pytest.mark.parametrize("package", BROKEN)
def test_what_cannot_be_used_is_named_once(package: str, install: Install, site: Path) -> None:
    code, why = BROKEN[package]
    install(package, dedent(code), name="the_model")
    install("tiny-model", TINY)
    with pytest.warns(SammedWarning) as warned:
        assert registry.names() == [*catalogue.BUILT_IN, "tiny"]
    (line,) = (str(warning.message) for warning in warned)
    assert f"the model 'the_model' ({package}:ENTRY) of the installed package {package!r}" in line
    assert f"cannot be used: {why}; update or uninstall" in line
    assert "\n" not in line
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.names()
        for name in ["the_model", *(["mine"] if package == "steals" else [])]:
            with pytest.raises(ModelError) as raised:
                registry.build(name)
            assert str(raised.value) == line
        assert registry.build("tiny").spec.name == "tiny"
        assert registry.build("box").spec.name == "box"
        assert registry.info("sam_vit_b").package == "sammed"


@pytest.mark.thorough
def test_a_broken_package_is_one_line_of_the_commands(install: Install) -> None:
    site = install("broken", BROKEN["raises"][0])
    listed = run(site, "-m", "sammed", "models", "list")
    assert listed.stderr.count("the installed package 'broken' cannot be used") == 1
    assert "Traceback" not in listed.stderr
    assert "compact" in listed.stdout
    asked = ("segment", str(SAMPLE), "--box", "1,1,9,9@4", "-o", str(site / "o.nii"), "--model")
    refused = run(site, "-m", "sammed", *asked, "broken", code=3)
    assert "sammed: the model 'broken' (broken:ENTRY) of the installed" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_first_of_two_packages_keeps_the_name(install: Install, site: Path) -> None:
    install("tiny-model", TINY)
    install("a-tiny-model", TINY)
    with pytest.warns(SammedWarning, match="'tiny' is taken by a model of 'a-tiny-model'"):
        assert registry.info("tiny").package == "a-tiny-model"
    assert registry.build("tiny").spec.name == "tiny"


BAD_MODELS = {
    "object()": r"object is no model: it lacks spec and encode and decode; expected spec, encode",
    "BoxBaseline": r"spec is property; expected sammed.models.protocols.ModelSpec",
    "BoxBaseline()": r"spec.name is 'box'; expected 'bad', the entry's",
    "1 / 0": r"ZeroDivisionError: division by zero",
    "request.nothing": r"AttributeError: 'BuildRequest' object has no attribute 'nothing'",
}


@pytest.mark.parametrize("expression", BAD_MODELS)
def test_a_model_that_breaks_the_contract(expression: str, install: Install, site: Path) -> None:
    build = f"    ENTRY = ModelEntry('bad', '', '', lambda request: {expression})\n"
    install("bad-package", dedent(HEAD + build))
    assert "bad" in registry.names()
    with pytest.raises(ModelError) as raised:
        registry.build("bad")
    line = str(raised.value)
    assert line.startswith("the model 'bad' of the installed package 'bad-package' cannot be used")
    assert f"used: {BAD_MODELS[expression]}" in line
    assert "\n" not in line


def test_a_file_that_a_package_cannot_look_at(install: Install, site: Path, tmp_path: Path) -> None:
    entry = "    ENTRY = ModelEntry('bad', '', '', BoxBaseline, recognises=lambda path: 1 / 0)\n"
    install("bad-package", dedent(HEAD + entry))
    (tmp_path / "own.pth").write_bytes(b"mine")
    with (
        pytest.warns(SammedWarning, match="'bad-package' cannot be used: ZeroDivisionError"),
        pytest.raises(ModelError, match="truncated or no PyTorch checkpoint"),
    ):
        registry.build(str(tmp_path / "own.pth"))
