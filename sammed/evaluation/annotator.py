"""A person who labels, simulated: looks, draws a 3D box where it must be, clicks until it is good.

What is there at first is a proposal, if the model finds the structure by its name, else the answer
to one 3D box. Then clicks go where the error is largest (as in the CVPR 2025 interactive
challenge) until the Dice is as wanted, or so many prompts were given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.evaluation.trial import Target
from sammed.imaging.masks import dice
from sammed.imaging.volume import Volume
from sammed.models.protocols import Model
from sammed.prompts import ObjectPrompts, simulation
from sammed.session import Session

LOOK_S, BOX_S, CLICK_S = 5.0, 15.0, 4.0
"""Seconds that looking at a structure, a 3D box and a click are taken to need: assumptions, not
measurements of people."""


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
    """

    target: float = 0.85
    most: int = 10
    discard: float = 0.5


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
        3D boxes and clicks given.
    seconds
        See `LOOK_S`.
    proposed
        Whether there was a proposal, and no 3D box was needed.
    """

    mask: NDArray[np.bool_]
    before: float
    after: float
    prompts: int
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
    now = dice(mask, target.reference)
    while now < person.target and prompts < person.most:
        click = simulation.corrective_click(mask, target.prompts_from, volume.spacing)
        if click is None:
            break
        said = said.with_(click)
        mask, prompts, seconds = _answer(session, said), prompts + 1, seconds + CLICK_S
        now = dice(mask, target.reference)
    return Drawn(mask, first, now, prompts, seconds, proposed)


def _answer(session: Session, said: ObjectPrompts) -> NDArray[np.bool_]:
    session.put(said)
    session.segment()
    found: Any = session.object_mask(said.name)
    return np.asarray(found, bool)
