"""Cases of small projects as they are learned from, without a project."""

from __future__ import annotations

from sammed.learning.judging import Taught
from tests.project.folders import scan

STRUCTURES = {1: "ball", 2: "box"}


def cases(count: int, first: int = 0) -> list[Taught]:
    """A bright ball and a darker box in each, elsewhere."""
    found = []
    for number in range(first, first + count):
        volume, labels = scan(number)
        found.append(Taught(f"p{number}", f"p{number}", f"mark {number}", volume, labels))
    return found
