"""Things that nobody prompted become objects of the session: the request ``propose``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sammed.prompts import ObjectPrompts
from sammed.worker.frames import SentFrame
from sammed.worker.messages import Fields, RequestError
from sammed.worker.sending import Sent

if TYPE_CHECKING:
    from sammed.everything.found import Thing, Things, Wishes
    from sammed.session import Session

Report = Callable[[str, dict[str, Any]], None]

MOST = 20
"""So many things are proposed if the client does not say."""


def propose(
    session: Session,
    fields: Fields,
    sent: Sent,
    report: Report,
    cancel: Callable[[], bool],
) -> dict[str, Any]:
    """Find things and put them into the session, each by its box; each is one step of undo.

    Parameters
    ----------
    session
        Of the volume in hand.
    fields
        Of the request; with ``aside`` the session stays as it is, and masks are told.
    sent
        How the client is told of masks.
    report
        Told how far the search is.
    cancel
        Asked often.

    Returns
    -------
    dict
        ``things``: what is known of each, by falling score.

    Raises
    ------
    RequestError
        If a field cannot be understood.
    SammedError
        Whatever there is to say about the image; the session then stays as it was.
    """
    from sammed.everything.things import find_things

    frame, aside = sent.frame, fields.flag("aside", False)
    wishes = _wishes(fields, session, frame)

    def told(doing: str, done: int, total: int) -> None:
        about = {"plane": "", "seconds_per_slice": None, "seconds_left": None}
        report("progress", {"done": done, "total": total, "object": doing, **about})

    volume = replace(session.volume, channels=())
    found = find_things(volume, session.model, wishes, told, cancel)
    names = _free_names(found, {obj.name for obj in session.objects})
    for thing in () if aside else found.things:
        session.put(replace(thing.prompts(volume), name=names[thing.name]))
    things = [_described(thing, names, frame) for thing in found.things]
    if aside:
        for told_of, thing in zip(things, found.things, strict=True):
            told_of |= sent.mask(thing.region.block, thing.region.mask)
    return {"things": things}


def _wishes(fields: Fields, session: Session, frame: SentFrame) -> Wishes:
    from sammed.everything.found import Wishes

    within: Any = fields.values.get("within", "body")
    if isinstance(within, list):
        block = frame.block_in(fields.wholes("within", 6))
        corners = session.volume.grid.file_index(np.array([block.low, block.high]) - 0.5) + 0.5
        within = tuple(int(v) for v in np.rint([*corners.min(0), *corners.max(0)]))
    elif within not in ("body", "image"):
        raise RequestError(
            "bad_request", "propose: 'within' must be 'body', 'image' or a block of six numbers"
        )
    least = fields.values.get("min_ml")
    if least is not None and (type(least) not in (int, float) or least < 0):
        raise RequestError("bad_request", "propose: 'min_ml' must be a number from 0")
    return Wishes(
        within,
        None if least is None else float(least),
        fields.whole("max", MOST),
        tuple(_examples(fields.texts("like"), session)),
        session.settings.window,
    )


def _examples(names: list[str], session: Session) -> list[ObjectPrompts]:
    there = {obj.name: obj for obj in session.objects}
    if unknown := [name for name in names if name not in there]:
        raise RequestError("bad_request", f"propose: no object is called {unknown[0]!r}")
    return [there[name] for name in names]


def _free_names(found: Things, taken: set[str]) -> dict[str, str]:
    """A name of each thing that no object of the session has."""
    names: dict[str, str] = {}
    number = 0
    for thing in found.things:
        number += 1
        while f"thing {number}" in taken:
            number += 1
        names[thing.name] = f"thing {number}"
    return names


def _described(thing: Thing, names: dict[str, str], frame: SentFrame) -> dict[str, Any]:
    return {
        "name": names[thing.name],
        "score": round(thing.score, 4),
        "parent": names.get(thing.parent, ""),
        "block": frame.block_out(thing.region.block),
    }
