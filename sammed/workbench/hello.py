"""What a page is told first."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sammed.io.colours import default_colour
from sammed.io.terminology import known_names
from sammed.workbench.recent import recent
from sammed.worker.messages import Fields

if TYPE_CHECKING:
    from sammed.workbench.explained import ExplainedBench

COLOURS = 64
"""Colours of so many labels are told."""


def greeting(bench: ExplainedBench, fields: Fields) -> dict[str, Any]:
    """The answer to a page's hello, but for its role.

    Parameters
    ----------
    bench
        What the page is to show.
    fields
        The hello's.

    Raises
    ------
    RequestError
        ``protocol`` if the page speaks another one.
    """
    told = bench.greet(fields)
    return {
        **told,
        "scan": bench.scan,
        "project": bench.project,
        "choices": bench.told_choices,
        "recent": [entry.told for entry in recent()],
        "names": _names(),
        "colours": [default_colour(label) for label in range(1, COLOURS + 1)],
        "formats": bench.formats,
    }


@cache
def _names() -> list[dict[str, Any]]:
    """Structures that have codes, each with a colour of its own."""
    return [
        {"name": name, "colour": default_colour(number)}
        for number, name in enumerate(known_names(), 1)
    ]
