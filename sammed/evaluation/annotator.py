"""A person who labels, simulated: looks, draws a 3D box if need be, corrects until it is good.

What is there at first is a proposal, if the model finds the structure by its name, else the answer
to one 3D box. Then clicks go where the error is largest (as in the CVPR 2025 interactive
challenge). A click that made it worse is taken back; one that hardly helped is the last, and from
then on the slice that is most wrong is painted. That goes on until the Dice is as wanted, or so
many prompts were given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.evaluation.trial import Target
from sammed.imaging.masks import dice
from sammed.imaging.volume import Volume
from sammed.models.protocols import Model
from sammed.prompts import MaskPrompt, ObjectPrompts, simulation
from sammed.session import Session
from sammed.views.slices import PLANES, choose_plane

LOOK_S, BOX_S, CLICK_S, PAINT_S = 5.0, 15.0, 4.0, 20.0
"""Seconds that looking at a structure, a 3D box, a click and a painted slice are taken to need:
assumptions, not measurements of people."""


@dataclass(frozen=True)
class Annotator:
    """How the person works.

    Attributes
    ----------
    target
        Dice with which a structure is good enough.
    most
        Prompts after which a structure is left as it is.
    discard
        Proposals below this Dice are thrown away for a 3D box.
    helps
        Dice that a click has to bring; after one that brings less, slices are painted.
    """

    target: float = 0.85
    most: int = 30
    discard: float = 0.5
    helps: float = 0.01


@dataclass(frozen=True, eq=False)
class Drawn:
    """What came of one structure.

    Attributes
    ----------
    mask : (z, y, x) bool
        As the person leaves it.
    before, after
        Dice of what was there first, and in the end.
    prompts
        3D boxes, clicks and painted slices given, those that were taken back too.
    painted
        Of these, painted slices.
    seconds
        See `LOOK_S`.
    proposed
        Whether there was a proposal, and no 3D box was needed.
    """

    mask: NDArray[np.bool_]
    before: float
    after: float
    prompts: int
    painted: int
    seconds: float
    proposed: bool


def annotate(volume: Volume, target: Target, model: Model, person: Annotator) -> Drawn:
    """Label a structure as a person would.

    Parameters
    ----------
    volume
        The scan.
    target
        The structure, and what the person knows of it.
    model
        Any; one that knows the structure by its name proposes it.
    person
        How they work.
    """
    session = Session(volume, model)
    first, proposed = 0.0, False
    seconds, prompts = LOOK_S, 0
    said = ObjectPrompts(target.name)
    mask = np.zeros(volume.shape, bool)
    if target.name in model.spec.structures:
        mask = _answer(session, said)
        first = dice(mask, target.reference)
        proposed = first >= min(person.discard, person.target)
    if not proposed:
        said = ObjectPrompts(target.name, blocks=(simulation.block(target.prompts_from),))
        mask, prompts, seconds = _answer(session, said), 1, seconds + BOX_S
        first = first or dice(mask, target.reference)
    mended = _mended(
        session, volume, said, mask, target, replace(person, most=person.most - prompts)
    )
    return Drawn(
        mended.mask, first, mended.dice, prompts + mended.clicks + mended.painted, mended.painted,
        seconds + CLICK_S * mended.clicks + PAINT_S * mended.painted, proposed,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Mended:
    mask: NDArray[np.bool_]
    dice: float
    clicks: int
    painted: int


def _mended(
    session: Session,
    volume: Volume,
    said: ObjectPrompts,
    mask: NDArray[np.bool_],
    target: Target,
    person: Annotator,
) -> _Mended:
    """What the person makes of an answer with at most so many corrections."""
    axis = PLANES[choose_plane("auto", volume)]
    now, clicks, painted, paints = dice(mask, target.reference), 0, 0, False
    while now < person.target and clicks + painted < person.most:
        tried = None if paints else _clicked(said, mask, target, volume)
        if tried is None:
            paints = True
            tried = _painted(said, mask, target.prompts_from, axis)
        if tried is None:
            break
        answer = _answer(session, tried)
        reached = dice(answer, target.reference)
        gained = reached - now
        clicks, painted = clicks + (not paints), painted + paints
        if paints or gained > 0:
            said, mask, now = tried, answer, reached
        paints = paints or gained < person.helps
    return _Mended(mask, now, clicks, painted)


def _clicked(
    said: ObjectPrompts, mask: NDArray[np.bool_], target: Target, volume: Volume
) -> ObjectPrompts | None:
    click = simulation.corrective_click(mask, target.prompts_from, volume.spacing)
    return None if click is None else said.with_(click)


def _painted(
    said: ObjectPrompts, mask: NDArray[np.bool_], reference: NDArray[np.bool_], axis: int
) -> ObjectPrompts | None:
    """With the slice painted that is most wrong; ``None`` if all that can be painted are."""
    others = tuple(a for a in range(3) if a != axis)
    wrong = (mask ^ reference).sum(others) * reference.any(others)
    painted = np.zeros_like(reference) if said.mask is None else said.mask.voxels.copy()
    wrong = wrong * ~painted.any(others)
    if not wrong.any():
        return None
    index = tuple(slice(None) if a != axis else int(wrong.argmax()) for a in range(3))
    painted[index] = reference[index]
    return said.replaced(mask=MaskPrompt(painted))


def _answer(session: Session, said: ObjectPrompts) -> NDArray[np.bool_]:
    session.put(said)
    session.segment()
    found: Any = session.object_mask(said.name)
    return np.asarray(found, bool)
