"""The README and the pages of docs/ do what they say."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sammed.cli import main

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    "docs/index.md",
    "docs/tutorial.md",
    "docs/segment.md",
    "docs/python.md",
    "docs/models.md",
    "docs/many.md",
    "docs/examples.md",
]
TEXTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "research").glob("*.md"),
    ROOT / "slicer_module" / "README.md",
]


def blocks(page: str, language: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S))


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.thorough
@pytest.mark.parametrize("page", PAGES)
def test_console_lines_run(page: str, clone: Path) -> None:
    text = blocks(page, "console").replace("\\\n", " ")  # a backslash goes on in the next line
    lines = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    commands = [shlex.split(line) for line in lines]
    for command in commands:
        if command[0] == "sammed":
            assert main(command[1:]) == 0, command


@pytest.mark.thorough
@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run(page: str, clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = blocks(page, "python")
    exec(compile(code, page, "exec"), {"__name__": "docs"})


@pytest.mark.slow
def test_the_loop_goes_as_its_tutorial_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but what the browser does; of five scans, learned in two steps, hardly asked about."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sammed.learning.opinion.SLICES", 1)
    page = "docs/label-three.md"
    code = blocks(page, "python").replace("range(6)", "range(5)")
    exec(compile(code, page, "exec"), {"__name__": "docs"})
    lines = [line[2:] for line in blocks(page, "text").splitlines() if line.startswith("$ sammed")]
    commands = [shlex.split(line.replace("--steps 200", "--steps 2"), comments=True)
                for line in lines if " open " not in line]  # fmt: skip
    assert len(commands) == 9
    for command in commands:
        assert main(command[1:]) == 0, command
    told = capsys.readouterr()
    assert "study: 5 cases, structures liver = 1" in told.err + told.out
    assert len(list((tmp_path / "labels").glob("*.nii.gz"))) == 3
    assert (tmp_path / "organs.nii.gz").is_file()


@pytest.mark.parametrize("page", [p.relative_to(ROOT) for p in TEXTS], ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"


@pytest.mark.parametrize("page", [p.relative_to(ROOT) for p in TEXTS], ids=str)
def test_prose_is_wrapped(page: Path) -> None:
    """At 120 columns; tables, code and what cannot be broken may be longer."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.M | re.S)
    long = [
        line
        for line in text.splitlines()
        if len(line) > 120
        and " " in line.strip()
        and not line.startswith(("|", "    ", "![", "<img"))
    ]
    assert not long, f"{page}: {long[0][:60]}"


@pytest.mark.thorough
def test_the_manual_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install -e '.[docs]'")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr[-2000:]
    face = (tmp_path / "site" / "reference" / "python.html").read_text()
    assert "load_model" in face
    fetched = r'src="https?:|<link[^>]*rel="stylesheet"[^>]*href="https?:|@import'
    assert not re.search(fetched, face)  # when it is read, no network is asked
