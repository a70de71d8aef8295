"""The parts of a course: which network learns when, and how much of the minutes is its."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from sammed.errors import InputError
from sammed.learning.split import Split
from sammed.learning.tuning import Part

What = Literal["both", "segmenter", "promptable"]
WHAT: tuple[str, ...] = get_args(What)

REHEARSAL = 0.5
"""Share of the minutes for the rehearsal. What it learned is gone on with, so that little is lost
by a long one; a third of few minutes from nothing promised far too little, see the notebook."""

EARLIER = (0.4, 0.7)
"""Shares of a rehearsal after which its segmenter is judged as well, for the estimates alone: so
that they rest on proposals that are bad, middling and good, of however few people."""

COARSE = 0.3
"""Share of a segmenter's minutes for its coarse look, if it has two."""

SEGMENTER = 0.6
"""Share of the segmenter where both are learned."""

FEW_STEPS = 500
"""With fewer, in rehearsal and final run together, a look has hardly learned anything: the
hippocampus has 0.82 after 500, see the notebook."""

PART_SHARES: dict[Part, float] = {"views": 0.35, "boxes": 0.2, "locator": 0.45, "sam": 1.0}
"""Of the promptable network's minutes: a step of the locator takes twice as long, and of 3D boxes
it wins as much as the network for views, see the notebook."""


@dataclass(frozen=True)
class Phase:
    """A part of a course in which one network of one run learns.

    Attributes
    ----------
    run
        ``"rehearsal"`` or ``"final"``.
    look
        Number of the segmenter's look; ``None``: a promptable model is tuned.
    part
        Which of its networks is tuned; ``None``: it is a look that learns.
    share
        Of the minutes.
    """

    run: str
    share: float
    look: int | None = None
    part: Part | None = None

    @property
    def what(self) -> str:
        """Which network, for what is kept."""
        return f"look {self.look}" if self.part is None else self.part

    @property
    def key(self) -> str:
        """For what is kept."""
        return f"{self.run} {self.what}"

    def at(self, share: float) -> str:
        """The same of what is kept on the way."""
        return f"{self.key} at {share}"


def check_what(what: str) -> What:
    """One of `WHAT`.

    Raises
    ------
    InputError
        If it is not.
    """
    for known in get_args(What):
        if what == known:
            return known
    raise InputError(f"cannot learn {what!r}; expected {', '.join(WHAT)}")


def too_short(steps: Mapping[str, int]) -> list[str]:
    """A sentence, if a look of the segmenter had too few steps.

    Parameters
    ----------
    steps
        Done in each phase, by its key.

    Examples
    --------
    >>> too_short({"rehearsal look 0": 75, "final look 0": 70, "final views": 10})
    ['the segmenter learned for 145 steps only, some hundreds are needed: give it more --minutes']
    >>> too_short({"rehearsal look 0": 750, "final look 0": 700})
    []
    """
    sums: dict[str, int] = {}
    for key, count in steps.items():
        what = key.partition(" ")[2]
        sums[what] = sums.get(what, 0) + count
    least = min((n for what, n in sums.items() if what.startswith("look")), default=FEW_STEPS)
    if least >= FEW_STEPS:
        return []
    return [
        f"the segmenter learned for {least} steps only, some hundreds are needed: give it more "
        "--minutes"
    ]


def phases(split: Split, what: What, looks: int, parts: Sequence[Part]) -> list[Phase]:
    """All phases of a course, in order; their shares add up to 1.

    Parameters
    ----------
    split
        Whether there is a rehearsal.
    what
        What is learned.
    looks
        How many the segmenter has.
    parts
        Of the promptable model, which are tuned.

    Examples
    --------
    >>> once = Split(("a", "b"), ("c",), rehearsed=False)
    >>> [(one.key, round(one.share, 2)) for one in phases(once, "both", 1, ("views", "boxes"))]
    [('final look 0', 0.6), ('final views', 0.25), ('final boxes', 0.15)]
    """
    first = REHEARSAL if split.rehearsed else 0.0
    whole = _one_run(what, looks, parts)
    return [
        Phase(run, share * one.share, one.look, one.part)
        for run, share in (("rehearsal", first), ("final", 1 - first))
        if share
        for one in whole
    ]


def _one_run(what: What, looks: int, parts: Sequence[Part]) -> list[Phase]:
    mine = {"both": SEGMENTER, "segmenter": 1.0, "promptable": 0.0}[what]
    found = []
    if mine:
        shares = [1.0] if looks == 1 else [COARSE, 1 - COARSE]
        found += [Phase("", mine * share, look=n) for n, share in enumerate(shares)]
    if mine < 1:
        total = sum(PART_SHARES[part] for part in parts)
        found += [Phase("", (1 - mine) * PART_SHARES[part] / total, part=part) for part in parts]
    return found
