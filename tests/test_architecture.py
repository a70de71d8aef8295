"""The rooms of docs/design.md: who may import what, and how large a module may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sammed
from sammed.evaluation.cohort import ENGINE_FILES, engine_files
from tests.phantoms import ROOT

PACKAGE = ROOT / "sammed"
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 450

FORMATS = {"nibabel", "SimpleITK", "pydicom", "highdicom"}
BESIDE = {"tests", "benchmarks", "sample_data", "slicer_module"}
NO_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


def name_of(path: Path) -> str:
    """``sammed/io/nifti/__init__.py`` as ``sammed.io.nifti``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[tuple[str, bool]]:
    """Absolute names that a module imports anywhere, and whether at module level."""
    tree = TREES[path]
    top = {id(node) for node in tree.body}
    package = name_of(path) if path.stem == "__init__" else name_of(path).rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, *filter(None, [node.module])])
            yield base, id(node) in top
            for alias in node.names:
                yield f"{base}.{alias.name}", id(node) in top
        elif isinstance(node, ast.Call) and _called(node) == "import_module":
            yield from ((str(a.value), False) for a in node.args[:1] if isinstance(a, ast.Constant))


def _called(node: ast.Call) -> str:
    return getattr(node.func, "id", getattr(node.func, "attr", ""))


TEXTS = {path: path.read_text(encoding="utf-8") for path in MODULES}
TREES = {path: ast.parse(text) for path, text in TEXTS.items()}
IMPORTS = {name_of(path): list(imported(path)) for path in MODULES}


def within(name: str, *rooms: str) -> bool:
    return any(name == room or name.startswith(room + ".") for room in rooms)


def offenders(
    allowed: tuple[str, ...],
    packages: set[str] | tuple[str, ...],
    rooms: tuple[str, ...] = ("sammed",),
) -> set[str]:
    """Modules of some rooms, but not of the allowed ones, that import one of the packages."""
    return {
        f"{module} imports {name}"
        for module, names in IMPORTS.items()
        if within(module, *rooms) and not within(module, *allowed)
        for name, _ in names
        if within(name, *packages)
    }


FLOORS = (
    ("version", "errors"),
    ("folders",),
    ("imaging",),
    ("prompts", "io"),
    ("models",),
    ("views", "project"),
    ("engine", "notebook"),
    ("session", "gathering"),
    ("examples",),
    ("everything",),
    ("api",),
    ("reporting", "synthesis"),
    ("many",),
    ("evaluation", "training", "worker"),
    ("learning", "workbench"),
    ("cli",),
    ("__init__", "__main__"),
)
"""From the ground up: a room imports from floors below its own, not from rooms beside it."""

BESIDE_EACH_OTHER = {("training", "evaluation"), ("worker", "cli")}
"""Rooms of one floor, or a program's door and the command line, that may know each other."""


def room_of(module: str) -> str:
    """``sammed.io.nifti`` is in ``io``; the face itself, ``sammed``, in ``__init__``."""
    return [*module.split("."), "__init__"][1]


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def test_the_walk_finds_imports():
    assert ("sammed.imaging.volume", True) in IMPORTS["sammed.imaging.intensity"]
    assert ("sammed.api", False) in IMPORTS["sammed.cli.segment"]
    assert any(name == "torch" for name, _ in IMPORTS["sammed.models.compact.net"])
    assert len(MODULES) > 50


def test_every_room_is_on_a_floor():
    there = {room_of(module) for module in IMPORTS}
    assert there == {room for rooms in FLOORS for room in rooms}


def test_no_import_runs_upwards():
    upwards = {
        f"{module} imports {name}"
        for module, names in IMPORTS.items()
        for name, _ in names
        if name in IMPORTS and name != "sammed"  # the face: whoever imports a room passes it
        and room_of(name) != room_of(module)
        and floor_of(room_of(name)) >= floor_of(room_of(module))
        and (room_of(module), room_of(name)) not in BESIDE_EACH_OTHER
    }  # fmt: skip
    assert not upwards


def test_the_doors_beside_the_command_line_are_programs():
    """Of what knows the command line without being it, each is a ``python -m`` program."""
    programs = tuple(name for name in IMPORTS if name.endswith(".__main__"))
    assert not offenders(("sammed.cli", *programs), ("sammed.cli",))


def test_only_programs_import_from_the_face():
    """``from sammed import Session`` is for users; inside, everything is taken from its room."""
    face = {f"sammed.{name}" for name in sammed.__all__} - {"sammed.io"}
    assert not offenders(("sammed.__main__",), face - IMPORTS.keys())


def test_torch_stays_with_the_models_and_their_training():
    theirs = ("sammed.models", "sammed.training", "sammed.learning")
    assert not offenders(theirs, {"torch", "torchvision"})
    assert not offenders(theirs, {"segment_anything"})


def test_file_formats_stay_in_io():
    """But for the one place where images are aligned: those in memory are SimpleITK's, too."""
    assert not offenders(("sammed.io", "sammed.imaging.registration"), FORMATS)
    assert not offenders(("sammed.io",), FORMATS - {"SimpleITK"})


def test_the_package_stands_alone():
    assert not offenders((), BESIDE)


def test_results_of_an_older_engine_are_not_taken_over():
    """Every module that a mask goes through is in a room that the cohort hashes as a whole."""
    seen, waiting = set(), {"sammed.session"}
    aside = {"sammed", "sammed.notebook"}  # the face; what shows masks and does not make them
    while waiting:
        module = waiting.pop()
        seen.add(module)
        waiting |= {name for name, _ in IMPORTS[module]} & IMPORTS.keys() - seen - aside
    hashed = {name_of(path) for path in engine_files(baseline=False, disturbed=False)}
    assert {"sammed.engine.second_look", "sammed.models.compact.net"} <= hashed
    assert seen - hashed <= {"sammed.errors", "sammed.folders", "sammed.io"}
    assert all((PACKAGE / name).exists() for name in ENGINE_FILES)


def test_the_command_line_starts_light():
    """At module level ``sammed/cli`` imports nothing of the package but what is light itself."""
    light = ("sammed.cli", "sammed.errors", "sammed.io.formats", "sammed.version", "typer")
    heavy = {
        f"{module} imports {name}"
        for module, names in IMPORTS.items()
        if within(module, "sammed.cli")
        for name, top in names
        if top and within(name, "sammed", "numpy", "torch") and name != "sammed"
        if not within(name, *light)
    }
    assert not heavy


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_has_one_job(path):
    assert path.stem not in NO_NAMES
    assert len(TEXTS[path].splitlines()) <= MOST_LINES
    if TEXTS[path].strip():
        assert ast.get_docstring(TREES[path]), "no docstring says what it is for"


def test_no_asserts_and_no_prints_in_the_package():
    found = set()
    for path in MODULES:
        for node in ast.walk(TREES[path]):
            if isinstance(node, ast.Assert):
                found.add(f"{name_of(path)}:{node.lineno} asserts")
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
                found.add(f"{name_of(path)}:{node.lineno} prints")
    assert not found
