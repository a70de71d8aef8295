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

from tests.slicer.conftest import EXTENSION, MODULE, ROOT

METADATA = (EXTENSION / "CMakeLists.txt").read_text()
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


def configure(source, build, **options):
    """Configure an extension against the stand-in for Slicer's build tree."""
    stub = Path(__file__).with_name("cmake_stub")
    set_to = [f"-D{name}={value}" for name, value in {"Slicer_DIR": stub, **options}.items()]
    return subprocess.run(
        [cmake(), "-S", str(source), "-B", str(build), *set_to],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_extension_configures_and_packs_every_file(tmp_path):
    build = tmp_path / "build"
    run = configure(EXTENSION, build, BUILD_TESTING="ON")
    assert run.returncode == 0, run.stderr
    packer = Path(cmake()).with_name("cpack")
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
        if p.is_file() and "Testing" not in p.parts and "__pycache__" not in p.parts
    }
    assert packed == present - {"CMakeLists.txt"}


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("CMakeLists.txt", "project(SAMMed)", "project(SAMMed LANGUAGES NONE)", "bitness"),
        ("CMakeLists.txt", "project(SAMMed)", "project(SAMMed LANGUAGES C)", "CXX_COMPILER_ID"),
        ("CMakeLists.txt", "EXTENSION_DEPENDS", "EXTENSION_NEEDS", "EXTENSION_DEPENDS is not set"),
        ("CMakeLists.txt", "EXTENSION_HOMEPAGE", "EXTENSION_PAGE", "EXTENSION_HOMEPAGE is not set"),
        ("CMakeLists.txt", "include(${Slicer_USE_FILE})", "", "UseSlicer.cmake was not included"),
        ("SAMMed/CMakeLists.txt", "WITH_GENERIC_TESTS", "WITH_OTHER_TESTS", "does not exist"),
        ("SAMMed/CMakeLists.txt", "geometry.py", "geography.py", "geography.py does not exist"),
    ],
)
def test_what_slicers_build_refuses_is_seen_here(tmp_path, file, old, new, said):
    """Each of these stops the build of a released Slicer, or its packaging."""
    copied = tmp_path / "extension"
    ignored = shutil.ignore_patterns(".git", "dist", "tests", "__pycache__")
    shutil.copytree(EXTENSION, copied, ignore=ignored)
    text = (copied / file).read_text()
    assert old in text
    (copied / file).write_text(text.replace(old, new))
    run = configure(copied, tmp_path / "build")
    assert run.returncode != 0
    assert said in " ".join(run.stderr.split())


def test_the_root_has_the_metadata_literally():
    name = re.search(r"^project\((\w+)[ )]", METADATA, re.MULTILINE)[1]
    assert name == "SAMMed"
    assert (EXTENSION / f"{name}.json").is_file()
    assert not name.startswith("Slicer")
    for field in ("ICONURL", "SCREENSHOTURLS", "DESCRIPTION", "HOMEPAGE", "CONTRIBUTORS"):
        assert re.search(rf'^set\(EXTENSION_{field} "[^"]+"\)$', METADATA, re.MULTILINE), field
    assert (ROOT / "LICENSE").is_file()


def test_dependencies_are_named_in_both_places_or_in_none():
    named = re.search(r'^set\(EXTENSION_DEPENDS "([^"]+)"\)$', METADATA, re.MULTILINE)[1]
    assert ENTRY["build_dependencies"] == [n for n in named.split() if n != "NA"]


def test_pictures_that_the_metadata_names_are_in_the_repository():
    repository = ENTRY["scm_url"].removesuffix(".git").replace("github", "raw.githubusercontent")
    urls = re.findall(rf"{repository}/main/([^\s\"]+)", METADATA)
    assert len(urls) == 3
    assert len(re.findall("https://raw", METADATA)) == 3
    for path in urls:
        place = EXTENSION / path
        if not place.exists():  # the package takes it from the manual
            place = ROOT / "docs" / "images" / place.name
        assert place.read_bytes()[:4] == b"\x89PNG", path


def test_the_repository_is_named_as_the_index_wants_it():
    assert ENTRY["scm_url"].rpartition("/")[2].startswith("Slicer")


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
    for path in EXTENSION.rglob("*"):
        if path.suffix in (".py", ".txt", ".json", ".ui", ".md", ".cmake"):
            assert b"\r" not in path.read_bytes(), path


@pytest.fixture
def package(tmp_path):
    """The tree that ``make slicer-package`` writes."""
    maker = ROOT / "slicer_module" / "make_package.py"
    if not maker.exists() or not (ROOT / ".git").exists():
        pytest.skip("not sammed's own checkout: this is the package")
    target = tmp_path / "SlicerSAMMed"
    subprocess.run([sys.executable, str(maker), str(target)], check=True, capture_output=True)
    return target


def test_the_package_is_complete_and_small(package, tmp_path):
    for name in ("CMakeLists.txt", "LICENSE", "README.md", "SAMMed.json", "SAMMed/SAMMed.py"):
        assert (package / name).is_file(), name
    assert sum(f.stat().st_size for f in package.rglob("*") if f.is_file()) < 5e6
    text = (package / "README.md").read_text()
    assert "](../" not in text
    assert '"../' not in text
    pictures = re.findall(r"(?:\]\(|src=\")([^)\"]+\.png)", text)
    assert len(pictures) >= 3
    for picture in pictures:
        assert (package / picture).read_bytes()[:4] == b"\x89PNG", picture
    assert configure(package, tmp_path / "build").returncode == 0


def test_the_packages_own_tests_run_from_it(package):
    """Those that need no slicer-core; ``make slicer-package`` runs all of them."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/slicer/test_extension.py"],
        cwd=package,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert "passed" in run.stdout


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
    body = ast.parse(path.read_text()).body
    if path.name == "surface_maker.py":  # a program of its own
        assert ast.unparse(body.pop()).startswith("if __name__ == '__main__':")
    for node in body:
        assert isinstance(node, allowed), ast.dump(node)
        if isinstance(node, ast.Expr):
            assert isinstance(node.value, ast.Constant), ast.dump(node)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_the_syntax_is_that_of_python_3_9(path):
    """Stable releases of Slicer still have it."""
    ast.parse(path.read_text(), feature_version=(3, 9))


def said(path):
    """Calls that show a text to the user, and texts that are given for translation."""
    shown, translated = [], []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name == "_":
            translated.append(node)
        elif name in ("_say", "_refused", "EngineError", "setText", "setTitle", "setToolTip"):
            shown.append(node)
    return shown, translated


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_what_is_shown_can_be_translated(path):
    for call in said(path)[0]:
        name = getattr(call.func, "id", getattr(call.func, "attr", ""))
        for argument in call.args[1:] if name == "EngineError" else call.args:
            text = argument.value if isinstance(argument, ast.Constant) else ""
            words = isinstance(argument, ast.JoinedStr) and any(
                isinstance(part, ast.Constant) and re.search(r"[a-z]{3}", part.value)
                for part in argument.values
            )
            if name == "EngineError" and ast.unparse(argument).startswith("f'{type("):
                continue  # a bug: its own words
            assert text in ("", True, False), (
                f"{path.name}:{call.lineno} {text!r} is not translated"
            )
            assert not words, f"{path.name}:{call.lineno} {ast.unparse(argument)}"


BRITISH = re.compile(r"colour|neighbour|licence|centre|grey|\bround (it|the|a)\b|organis", re.I)


def test_the_words_are_american():
    texts = [(MODULE / "Resources/UI/SAMMed.ui").read_text()]
    for path in SOURCES:
        for call in said(path)[1]:
            texts += [n.value for n in ast.walk(call) if isinstance(n, ast.Constant)]
    found = [BRITISH.search(str(text)) for text in texts]
    assert [f[0] for f in found if f] == []


UNLOADED = """
import sys, types
sys.path.insert(0, {module!r})

class Bare(types.ModuleType):
    def __getattr__(self, name):
        raise AttributeError(f"{{self.__name__}}.{{name}} is used while {{name}} may not be loaded")

slicer = sys.modules["slicer"] = Bare("slicer")
slicer.__path__ = []
slicer.util = Bare("slicer.util")
slicer.util.VTKObservationMixin = type("VTKObservationMixin", (), {{}})
for name in ("qt", "ctk", "vtk", "vtk.util", "slicer.util", "slicer.i18n"):
    sys.modules[name] = Bare(name)
sys.modules["slicer.util"] = slicer.util
sys.modules["slicer.i18n"].tr = lambda text: text
sys.modules["slicer.i18n"].translate = lambda context, text: text
sys.modules["vtk"].calldata_type = lambda kind: lambda function: function
sys.modules["vtk"].VTK_OBJECT = 13
sys.modules["vtk.util"].numpy_support = None
base = sys.modules["slicer.ScriptedLoadableModule"] = types.ModuleType("base")
for kind in ("", "Widget", "Logic", "Test"):
    name = "ScriptedLoadableModule" + kind
    setattr(base, name, type(name, (), {{}}))
import SAMMed
import SAMMedLib.selftest
"""


def test_no_class_of_a_module_is_used_at_import():
    """Modules load in no certain order: Segmentations, Markups may come after this one."""
    run = subprocess.run(
        [sys.executable, "-c", UNLOADED.format(module=str(MODULE))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr.splitlines()[-1]


def test_nothing_speaks_to_the_network_or_downloads_code():
    for path in SOURCES:
        text = path.read_text()
        for word in (
            "urllib",
            "import requests",
            "http.client",
            "socket",
            "ftplib",
            "urlopen",
            "exec(",
        ):
            assert word not in text, f"{path.name} mentions {word}"
