"""What a course tells while it goes on, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sammed.learning.stepping import Pace


@dataclass(frozen=True)
class Progress:
    """How far a course is.

    Attributes
    ----------
    doing
        In a few words.
    share
        Of the minutes, [0, 1].
    seconds_left
        Of them.
    pace
        Of the network that learns; ``None`` while cases are read or judged.
    """

    doing: str
    share: float
    seconds_left: float
    pace: Pace | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a course.

    Attributes
    ----------
    file
        The learned model: the project's, or in its round if nothing of it is used.
    used
        Whether the project uses something of it from now on.
    report
        Plain data, as in ``rounds/NNN/report.json``.
    """

    file: Path
    used: bool
    report: Mapping[str, Any]
