"""Which case comes next: to review what is proposed, or to learn most from what is drawn.

``cheapest``: proposals that are thought to be best come first, since they cost least to mend; then
cases without any, as in ``random``. It is how a project is got through.

``random``: by chance, the same for everybody, within strata: which structures were found in a case
is its stratum, and strata take turns, those in which nothing was found come last. People with no
accepted case come before people with one. No cleverer order was reliably better than chance that
heeds the foreground (nnActive, arXiv:2511.19183).

``doubt``: proposals of which the model is least sure come first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sammed.errors import InputError
from sammed.project.case import CaseFolder, Record, Scan

Order = Literal["cheapest", "random", "doubt"]
ORDERS: tuple[str, ...] = get_args(Order)


@dataclass(frozen=True)
class Waiting:
    """A case with what is known of it.

    Attributes
    ----------
    case, record, scan
        See `sammed.project.case`.
    """

    case: CaseFolder
    record: Record
    scan: Scan

    @property
    def found(self) -> frozenset[str]:
        """Structures that were found in it; none without a proposal."""
        return frozenset(name for name, dice in self.record.estimated.items() if dice > 0)


def check_order(order: str) -> Order:
    """One of `ORDERS`.

    Raises
    ------
    InputError
        If it is not.

    Examples
    --------
    >>> check_order("doubt")
    'doubt'
    """
    for known in get_args(Order):
        if order == known:
            return known
    raise InputError(f"unknown order {order!r}; expected {', '.join(ORDERS)}")


def in_order(cases: Sequence[Waiting], order: Order, seed: int) -> list[Waiting]:
    """The cases that wait for a person, the next one first.

    Parameters
    ----------
    cases
        Of the project, all of them.
    order
        See the module.
    seed
        Of the project.
    """
    done = {one.scan.subject for one in cases if one.record.state == "accepted"}
    waiting = [one for one in cases if one.record.state in ("todo", "proposed")]
    chance = {one.case.id: key for one, key in _by_chance(waiting, done, seed)}

    def key(one: Waiting) -> tuple[Any, ...]:
        proposed = one.record.state == "proposed"
        if order == "random":
            return chance[one.case.id]
        estimate = -one.record.estimate if order == "cheapest" else one.record.estimate
        return (0, estimate, one.case.id) if proposed else (1, *chance[one.case.id])

    return sorted(waiting, key=key)


def _by_chance(
    waiting: Sequence[Waiting], done: set[str], seed: int
) -> list[tuple[Waiting, tuple[Any, ...]]]:
    """Each with its place: strata take turns, in each a lot decides."""
    turns: dict[frozenset[str], int] = {}
    proposals = any(one.found for one in waiting)
    keys = []
    for one in sorted(waiting, key=lambda one: (one.scan.subject in done, _lot(seed, one))):
        turn = turns[one.found] = turns.get(one.found, 0) + 1
        empty = proposals and one.record.state == "proposed" and not one.found
        keys.append((one, (empty, one.scan.subject in done, turn, _lot(seed, one))))
    return keys


def _lot(seed: int, one: Waiting) -> str:
    return hashlib.sha256(f"{seed} {one.case.id}".encode()).hexdigest()
