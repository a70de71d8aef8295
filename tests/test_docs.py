"""The README and the pages of docs/ do what they say."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from sammed.cli import main

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "docs/segment.md", "docs/python.md"]


def blocks(page: str, language: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S))


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_console_lines_run(page: str, clone: Path) -> None:
    lines = [line[2:] for line in blocks(page, "console").splitlines() if line.startswith("$ ")]
    commands = [shlex.split(line) for line in lines]
    for command in commands:
        if command[0] == "sammed":
            assert main(command[1:]) == 0, command


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run(page: str, clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = blocks(page, "python")
    exec(compile(code, page, "exec"), {"__name__": "docs"})


@pytest.mark.parametrize("page", [p.relative_to(ROOT) for p in (ROOT / "docs").glob("*.md")])
def test_links_lead_somewhere(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"
