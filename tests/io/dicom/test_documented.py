"""docs/dicom.md quotes messages that the code really has."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "dicom.md").read_text(encoding="utf-8")
REFUSED = PAGE.split("### What is refused")[1].split("\n### ")[0]
QUOTED = re.findall(r"\| `(.+?)` \|$", REFUSED, re.M)


@cache
def templates() -> list[str]:
    """Every text in the modules that read DICOM, with … for what is put in."""
    found = []
    for path in (ROOT / "sammed" / "io" / "dicom").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
                found.append("".join(map(str, parts)))
    return found


@pytest.mark.parametrize("quoted", QUOTED)
def test_message(quoted):
    pieces = [re.escape(piece.strip()) for piece in quoted.split("…") if piece.strip()]
    pattern = ".*".join(pieces)
    known = templates()
    whole = "\n".join(known)
    assert any(re.search(pattern, text) for text in known) or all(
        re.search(piece, whole) for piece in pieces
    ), quoted


def test_there_are_some():
    assert len(QUOTED) > 30
