"""Which cases are held back to judge what was learned: always whole people, always the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

HELD_SHARE = 0.2
"""Of the people, whom the lot holds back for good..."""

FOR_GOOD = 15
"""... where there are at least so many: a fifth of them is as many people as decide between two
models (`sammed.learning.verdict.LEAST_PEOPLE`). Of fewer, each is worth more as a lesson..."""

MOST_HELD = 0.34
"""... and never more than this share of them, however the lots fall."""

REHEARSED_SHARE = 0.34
"""Of fewer people, who are held back in a rehearsal, a shorter run before the one that counts."""


@dataclass(frozen=True)
class Split:
    """Who is learned from, and who judges.

    Attributes
    ----------
    learned
        Ids of cases that the model that counts learns from.
    held
        Ids of cases that it is judged on.
    rehearsed
        Whether these are among those that are learned from: then they judge another run, which
        did not see them and was shorter.
    """

    learned: tuple[str, ...]
    held: tuple[str, ...]
    rehearsed: bool


def split(subjects: Mapping[str, str], seed: int) -> Split:
    """Split cases by the people that they show.

    Parameters
    ----------
    subjects
        Case → person.
    seed
        Of the project. A person's lot depends on nothing else, so that who judged once judges
        when there are more.

    Examples
    --------
    >>> split({"a": "anna", "b": "bert", "c": "cleo", "d": "cleo"}, seed=1)
    Split(learned=('a', 'b', 'c', 'd'), held=('a',), rehearsed=True)
    >>> split({"a": "anna"}, seed=0).held
    ()
    """
    people = sorted(set(subjects.values()), key=lambda person: lot(person, seed))
    if len(people) < 2:
        return Split(tuple(subjects), (), False)
    if len(people) < FOR_GOOD:
        judges = set(people[: max(1, int(len(people) * REHEARSED_SHARE))])
        return Split(tuple(subjects), _of(subjects, judges), True)
    most = max(1, int(len(people) * MOST_HELD))
    drawn = [person for person in people if lot(person, seed) < HELD_SHARE]
    held = _of(subjects, drawn[:most] or people[:1])
    return Split(tuple(id for id in subjects if id not in held), held, False)


def by_lot(subjects: Mapping[str, str], seed: int) -> list[str]:
    """Cases in the order of their people's lots, one of each person before anybody's second.

    Parameters
    ----------
    subjects
        Case → person.
    seed
        Of the project.

    Examples
    --------
    >>> by_lot({"a": "anna", "b": "bert", "c": "bert"}, seed=1)
    ['a', 'b', 'c']
    """
    turns: dict[str, int] = {}
    order = {}
    for id, person in subjects.items():
        turns[person] = turns.get(person, 0) + 1
        order[id] = turns[person], lot(person, seed), id
    return sorted(order, key=lambda id: order[id])


def lot(person: str, seed: int) -> float:
    """A number in [0, 1) that a person draws.

    Another lot than `sammed.project.order` draws, by which cases come next: by the same one the
    cases that are labelled first would all be held back.
    """
    drawn = hashlib.sha256(f"held back {seed} {person}".encode()).digest()
    return int.from_bytes(drawn[:8], "big") / 2**64


def _of(subjects: Mapping[str, str], judges: Iterable[str]) -> tuple[str, ...]:
    judges = set(judges)
    return tuple(id for id, person in subjects.items() if person in judges)
