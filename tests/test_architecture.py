"""The rooms of docs/design.md: who may import what, and how large a module may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from sammed.evaluation.cohort import ENGINE_FILES
from tests.phantoms import ROOT

PACKAGE = ROOT / "sammed"
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 450

FORMATS = {"nibabel", "SimpleITK", "pydicom", "highdicom"}
BESIDE = {"tests", "benchmarks", "sample_data", "slicer_module"}
NO_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


def name_of(path: Path) -> str:
    """``sammed/io/nifti.py`` as ``sammed.io.nifti``."""
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


def test_the_walk_finds_imports():
    assert ("sammed.volume", True) in IMPORTS["sammed.intensity"]
    assert ("sammed.api", False) in IMPORTS["sammed.cli.segment"]
    assert any(name == "torch" for name, _ in IMPORTS["sammed.models.compact_net"])
    assert len(MODULES) > 50


def test_models_never_import_io():
    assert not offenders((), ("sammed.io",), ("sammed.models",))


def test_only_the_command_line_imports_the_command_line():
    programs = tuple(name for name in IMPORTS if name.endswith(".__main__"))
    assert not offenders(("sammed.cli", *programs), ("sammed.cli",))


def test_torch_stays_with_the_models_and_their_training():
    assert not offenders(("sammed.models", "sammed.training"), {"torch", "torchvision"})
    assert not offenders(("sammed.models", "sammed.training"), {"segment_anything"})


def test_file_formats_stay_in_io():
    assert not offenders(("sammed.io",), FORMATS)


def test_the_package_stands_alone():
    assert not offenders((), BESIDE)


def test_the_core_does_not_know_who_uses_it():
    """Nothing below the session imports what stands on it."""
    core = (
        "errors", "geometry", "boxes", "volume", "intensity", "slices", "prompts", "prompt_text",
        "prompt_files", "decoding", "anchors", "propagation", "tracing", "fusion", "clicks",
        "consensus", "neighbours", "repair", "runs",
    )  # fmt: skip
    above = ("sammed.session", "sammed.api", "sammed.report", "sammed.worker", "sammed.cli",
             "sammed.evaluation", "sammed.training", "sammed.io")  # fmt: skip
    assert not offenders((), above, tuple(f"sammed.{name}" for name in core))


NO_SCORES = {
    "embedding_files", "embeddings", "errors", "folders", "geometry", "models/base", "prefetch",
    "progress", "prompts", "settings", "volume",
}  # fmt: skip
"""What the session stands on, but what decides no mask (models are known by their own files)."""


def test_results_of_an_older_engine_are_not_taken_over():
    """Every module that a mask goes through is known to the cohort."""
    seen, waiting = set(), ["sammed.session"]
    while waiting:
        module = waiting.pop()
        seen.add(module)
        names = {name for name, _ in IMPORTS[module]} & IMPORTS.keys()
        waiting += names - seen - {"sammed"}
    files = {module.removeprefix("sammed.").replace(".", "/") for module in seen}
    assert {"second_look", "propagation"} < files
    assert files - NO_SCORES <= set(ENGINE_FILES)


def test_geometry_stands_on_errors_alone():
    ours = {name for name, _ in IMPORTS["sammed.geometry"] if within(name, "sammed")}
    assert {name.rpartition(".")[0] or name for name in ours} <= {"sammed", "sammed.errors"}
    assert not [name for name, _ in IMPORTS["sammed.errors"] if within(name, "sammed")]


def test_the_command_line_starts_light():
    """At module level ``sammed/cli`` imports nothing of the package but itself and errors."""
    light = ("sammed.cli", "sammed.errors", "sammed.__version__", "typer")
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
