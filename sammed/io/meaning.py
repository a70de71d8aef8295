"""Which of the names that something is known by a user means, by the table of terminology."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from sammed.errors import InputError
from sammed.io.terminology import Concept, concept, known_names


def meant(wanted: str, known: Collection[str], where: str = "here") -> tuple[str, ...]:
    """Names that mean what is asked for: by the name itself, a synonym, a code, and the side.

    A paired organ without a side is both; nothing is guessed.

    Parameters
    ----------
    wanted
        ``"left kidney"``, ``"Niere links"``, ``"64033007 left"``, or one of ``known`` as it is.
    known
        Names of what can be found.
    where
        Who knows them, for the message.

    Returns
    -------
    tuple of str
        One of ``known``, or the two sides.

    Raises
    ------
    InputError
        If nothing of that name is known: with what the word means, what is known and what to do.

    Examples
    --------
    >>> meant("Niere links", ["liver", "kidney_left", "kidney_right"])
    ('kidney_left',)
    >>> meant("kidney", ["liver", "kidney_left", "kidney_right"])
    ('kidney_left', 'kidney_right')
    """
    if wanted in known:
        return (wanted,)
    asked = concept(wanted)
    if asked is None:
        raise InputError(_unknown_word(wanted, known, where))
    same = {name: c for name in known if (c := concept(name)) and c.codes == asked.codes}
    if asked.side or not asked.paired:
        found = [name for name, c in same.items() if c.side == asked.side]
        if not asked.side and not found:
            found = list(same)
    else:
        both = [name for name, c in same.items() if c.side]
        found = both or list(same)
        if len({same[name].side for name in both}) == 1:
            raise InputError(
                f"{wanted!r} is two objects, left and right; {where} only {both[0]!r} is known: "
                "ask for it by that name"
            )
    if not found:
        raise InputError(_unknown_thing(wanted, asked, known, same, where))
    if len({same[name].side for name in found}) < len(found):
        raise InputError(f"{wanted!r} may be {' or '.join(map(repr, found))}; say which")
    return tuple(sorted(found))


def _unknown_word(wanted: str, known: Collection[str], where: str) -> str:
    close = get_close_matches(wanted.lower(), [*known, *known_names()], n=1, cutoff=0.75)
    perhaps = f" (did you mean {close[0]!r}?)" if close else ""
    return (
        f"{wanted!r} is no known name{perhaps}; {where} there is {_listed(known)}: use one of "
        "these names, or give an example of it (--example IMAGE,LABELS) or a prompt (--box)"
    )


def _unknown_thing(
    wanted: str, asked: Concept, known: Collection[str], same: Collection[str], where: str
) -> str:
    other = f" (there is {', '.join(same)}: the other side counts with --mirror)" if same else ""
    return (
        f"{wanted!r} is {asked.say()}, but {where} there is {'only ' * bool(known)}"
        f"{_listed(known)}{other}; give an example of it (--example IMAGE,LABELS), a model that "
        "learned it (--model), or a prompt (--box)"
    )


def _listed(known: Collection[str]) -> str:
    return ", ".join(sorted(known)) or "nothing"
