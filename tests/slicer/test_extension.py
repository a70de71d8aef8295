"""What the ExtensionsIndex and Slicer's build ask of the repository; needs no slicer-core."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "slicer_module"
MODULE = EXTENSION / "SAMMed"
METADATA = (ROOT / "CMakeLists.txt").read_text()
ENTRY = json.loads((EXTENSION / "SAMMed.json").read_text())
SOURCES = [MODULE / "SAMMed.py", *sorted((MODULE / "SAMMedLib").glob("*.py"))]

# what the index's review allows at file scope
ALLOWED = {"SAMMedLib", "SimpleITK", "numpy", "qt", "scipy", "slicer", "vtk", "ctk"}


def cmake():
    found = Path(sys.executable).with_name("cmake")
    found = str(found) if found.exists() else shutil.which("cmake")
    if not found:
        pytest.skip("needs cmake: run by make test-slicer")
    return found


def test_the_extension_configures_and_packs_every_file(tmp_path):
    build, program = tmp_path / "build", cmake()
    stub = Path(__file__).with_name("cmake_stub")
    subprocess.run(
        [program, "-S", str(ROOT), "-B", str(build), f"-DSlicer_DIR={stub}", "-DBUILD_TESTING=ON"],
        check=True,
        capture_output=True,
    )
    packer = Path(program).with_name("cpack")
    subprocess.run([str(packer)], cwd=build, check=True, capture_output=True)
    with tarfile.open(build / "extension.tar.gz") as archive:
        packed = {
            name.partition("qt-scripted-modules/")[2]
            for name in archive.getnames()
            if "qt-scripted-modules/" in name
        }
        packed = {n for n in packed if Path(n).suffix}
    present = {
        str(p.relative_to(MODULE))
        for p in MODULE.rglob("*")
        if p.is_file() and p.suffix in (".py", ".png", ".ui", ".txt") and "Testing" not in p.parts
    }
    present -= {n for n in present if "__pycache__" in n or n == "CMakeLists.txt"}
    assert packed == present


def test_a_listed_file_that_is_missing_stops_the_build(tmp_path):
    for name in ("CMakeLists.txt", "slicer_module"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    (tmp_path / "slicer_module/SAMMed/SAMMedLib/geometry.py").unlink()
    stub = Path(__file__).with_name("cmake_stub")
    run = subprocess.run(
        [cmake(), "-S", str(tmp_path), "-B", str(tmp_path / "b"), f"-DSlicer_DIR={stub}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "geometry.py does not exist" in run.stderr


def test_the_root_has_the_metadata_literally():
    name = re.search(r"^project\((\w+)[ )]", METADATA, re.MULTILINE)[1]
    assert name == "SAMMed"
    assert (EXTENSION / f"{name}.json").is_file()
    assert not name.startswith("Slicer")
    for field in ("ICONURL", "SCREENSHOTURLS", "DESCRIPTION", "HOMEPAGE", "CONTRIBUTORS"):
        assert re.search(rf'^set\(EXTENSION_{field} "[^"]+"\)$', METADATA, re.MULTILINE), field
    assert (ROOT / "LICENSE").is_file()


def test_pictures_that_the_metadata_names_are_in_the_repository():
    urls = re.findall(
        r"https://raw\.githubusercontent\.com/sammed/sammed/main/([^\s\"]+)", METADATA
    )
    assert len(urls) == 3
    for path in urls:
        assert (ROOT / path).read_bytes()[:4] == b"\x89PNG", path


def test_the_icon_is_128_px():
    header = (MODULE / "Resources" / "Icons" / "SAMMed.png").read_bytes()[16:24]
    assert (int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")) == (128, 128)


def test_the_index_entry_follows_the_schema():
    """The fields of schema v1.0.1, which is not fetched here."""
    assert set(ENTRY) == {
        "$schema",
        "build_dependencies",
        "build_subdirectory",
        "category",
        "scm_revision",
        "scm_url",
        "tier",
    }
    assert ENTRY["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.1.json#")
    assert ENTRY["category"] == "Segmentation"
    assert ENTRY["scm_url"].startswith("https://")
    assert ENTRY["scm_url"].endswith(".git")
    assert ENTRY["tier"] in (1, 3, 5)
    assert ENTRY["build_subdirectory"] == "."
    assert isinstance(ENTRY["build_dependencies"], list)


def test_line_ends_are_those_of_unix():
    for path in [ROOT / "CMakeLists.txt", *EXTENSION.rglob("*")]:
        if path.suffix in (".py", ".txt", ".json", ".ui", ".md", ".cmake"):
            assert b"\r" not in path.read_bytes(), path


def test_a_checkout_stays_below_100_mb():
    names = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=False
    ).stdout.split(b"\0")
    if len(names) < 2:
        pytest.skip("not a git checkout")
    sizes = [
        (ROOT / n.decode()).stat().st_size for n in names if n and (ROOT / n.decode()).exists()
    ]
    assert sum(sizes) < 100e6


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_file_scope_imports_are_slicers_own(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            assert top in ALLOWED or top in sys.stdlib_module_names, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_nothing_runs_at_file_scope(path):
    allowed = (
        ast.Import,
        ast.ImportFrom,
        ast.ClassDef,
        ast.FunctionDef,
        ast.Assign,
        ast.Expr,
    )
    for node in ast.parse(path.read_text()).body:
        assert isinstance(node, allowed), ast.dump(node)
        if isinstance(node, ast.Expr):
            assert isinstance(node.value, ast.Constant), ast.dump(node)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_the_syntax_is_that_of_python_3_9(path):
    """Stable releases of Slicer still have it."""
    ast.parse(path.read_text(), feature_version=(3, 9))


def test_nothing_speaks_to_the_network_or_downloads_code():
    for path in SOURCES:
        text = path.read_text()
        for word in ("urllib", "requests", "http.client", "socket", "ftplib", "urlopen", "exec("):
            assert word not in text, f"{path.name} mentions {word}"
