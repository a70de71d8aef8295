from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import sammed
from sammed import cli

pytestmark = pytest.mark.usefixtures("console")

HEAVY = ("numpy", "scipy", "torch", "torchvision", "nibabel", "SimpleITK", "pydicom", "highdicom",
         "PIL", "matplotlib", "monai", "segment_anything", "zarr", "safetensors")  # fmt: skip

NO_COMMANDS = {
    "__init__",
    "console",
    "crew",
    "evaluate_cases",
    "evaluate_loop",
    "evaluate_maps",
    "evaluate_study",
    "evaluate_things",
    "explained",
    "groups",
    "options",
    "outputs",
    "things",
    "train_dense",
    "train_segmenter",
    "train_strokes",
    "train_volume",
    "training",
}
"""Modules of the command line that are no command of their own."""

SECONDS = 0.5
"""Of processor time, so that a busy machine does not matter."""


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command and group, as it is typed."""
    yield path
    for name, sub in getattr(command, "commands", {}).items():
        yield from commands(sub, (*path, name))


ALL = list(commands(typer.main.get_command(cli.app)))
GROUPS = {path[:-1] for path in ALL if path}


def test_every_module_of_the_command_line_is_mounted():
    wanted = {p.stem for p in Path(cli.__file__).parent.glob("*.py")} - NO_COMMANDS
    assert wanted == {path[0] for path in ALL if path}
    for name in ("list", "download", "verify", "import"):
        assert ("models", name) in ALL


@pytest.mark.parametrize("path", ALL, ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(path, flag, capsys):
    assert cli.main([*path, flag]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert f"Usage: sammed {' '.join(path)}".strip() in " ".join(out.split())
    if path not in GROUPS:
        typed = f"sammed {path[0]}"
        below = out.lower().partition("example")[2]
        assert typed in below, f"{' '.join(path)} has no example"
        assert "----" not in out


@pytest.mark.parametrize("path", sorted(GROUPS), ids=" ".join)
def test_every_command_of_a_group_says_what_it_is_for(path):
    command = typer.main.get_command(cli.app)
    for name in path:
        command = command.commands[name]
    for name, sub in command.commands.items():
        assert len(sub.get_short_help_str().split()) >= 3, f"{' '.join(path)} {name}"


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"sammed {sammed.__version__}\n"


PROBE = """
import json, sys, time
from sammed.cli import main
code = main({arguments!r})
told = {{"code": code, "seconds": time.process_time(), "modules": sorted(sys.modules)}}
print(json.dumps(told), file=sys.stderr)
"""


def probe(*arguments: str) -> dict[str, Any]:
    """Run a command in a fresh interpreter: its code, processor time, and what it imported."""
    script = PROBE.format(arguments=list(arguments))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    told: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])
    return told


@pytest.mark.parametrize("arguments", [["--help"], ["segment", "--help"], ["--version"]])
def test_help_is_quick_and_imports_nothing_heavy(arguments):
    told = probe(*arguments)
    assert told["code"] == 0
    loaded = {name.partition(".")[0] for name in told["modules"]}
    assert loaded.isdisjoint(HEAVY)
    assert told["seconds"] < SECONDS


def test_the_package_itself_imports_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-c", "import sammed, sys; print(*sys.modules)"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert {name.partition(".")[0] for name in done.stdout.split()}.isdisjoint(HEAVY)


def test_python_m_sammed():
    done = subprocess.run(
        [sys.executable, "-m", "sammed", "segment"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Missing argument" in done.stderr
