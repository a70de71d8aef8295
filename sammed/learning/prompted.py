"""What tuning gains: the same prompts on held-back cases, answered by a model before and after.

compact gets one 3D box a structure, as a person would draw it (on pictures a box on their one
slice); segment-anything boxes on some slices. What is worse afterwards is left to the model as it
was before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sammed.evaluation.protocols import Condition
from sammed.evaluation.results import Row
from sammed.evaluation.trial import Target, run_trial
from sammed.imaging.masks import dice
from sammed.imaging.volume import Volume
from sammed.learning.judging import Taught, told_difference
from sammed.models.protocols import ImageModel

SHIPPED = "compact as it is shipped"
"""What is tuned where nothing else is said, in words."""

Reached = Callable[[Volume, Target, ImageModel], float]
"""Dice of a structure of a scan from a simulated prompt that a model answers."""

MOST = 12
"""Structures of held-back cases that are prompted: each takes some seconds, twice."""


@dataclass(frozen=True)
class Prompted:
    """One structure of one held-back case, from the same prompt.

    Attributes
    ----------
    case, subject, structure
        Which.
    before, after
        Dice with the model as it was before it was tuned, and as it is now.
    """

    case: str
    subject: str
    structure: str
    before: float
    after: float

    def row(self, model: str) -> Row:
        """For the statistics of evaluations; ``model`` is ``"before"`` or ``"after"``."""
        dice_of = {"before": self.before, "after": self.after}
        return Row(
            self.case, self.subject, "", "", "", self.structure, "", model, "B",
            dice=dice_of[model],
        )  # fmt: skip


def judge_prompted(
    cases: Iterable[Taught],
    structures: Mapping[int, str],
    before: ImageModel,
    after: ImageModel,
    check: Callable[[], None] = lambda: None,
    reach: Reached | None = None,
) -> list[Prompted]:
    """Prompt structures and compare, at most `MOST` of them.

    Parameters
    ----------
    cases
        None of which was learned from, those that count most first.
    structures
        Value → name.
    before, after
        The model as it was, and as it was tuned.
    check
        Called often; raises to stop.
    reach
        How a structure is prompted; by default `reached`.
    """
    reach = reach or reached
    done: list[Prompted] = []
    for case in cases:
        if len(done) >= MOST:
            break
        for value, name in structures.items():
            mask = np.asarray(case.labels == value)
            if mask.any() and len(done) < MOST:
                check()
                target = Target(name, value, mask, mask)
                scores = [reach(case.volume, target, model) for model in (before, after)]
                done.append(Prompted(case.id, case.subject, name, *scores))
    return done


def reached(volume: Volume, target: Target, model: ImageModel) -> float:
    """Dice of a structure from one 3D box.

    Parameters
    ----------
    volume
        The scan.
    target
        The structure.
    model
        Any.
    """
    step = next(iter(run_trial(volume, target, model, Condition("B"))))
    return dice(step.mask, target.reference)


def gains(
    judged: Sequence[Prompted], parent: str = SHIPPED, asked: str = "one 3D box"
) -> dict[str, Any]:
    """What tuning gains, of all and of each structure, as plain data; empty of none.

    Parameters
    ----------
    judged
        Before and after.
    parent, asked
        What answered before, and what both were asked, in words.
    """
    if not judged:
        return {}
    names = dict.fromkeys(one.structure for one in judged)
    each = {name: _gain([one for one in judged if one.structure == name]) for name in names}
    return {"mean": _gain(judged), "structures": each, "parent": parent, "asked": asked}


def _gain(judged: Sequence[Prompted]) -> dict[str, Any]:
    return dict(
        told_difference([one.row("before") for one in judged], [one.row("after") for one in judged])
    )


def worse(gained: Mapping[str, Any]) -> list[str]:
    """Structures that are worse after tuning; all of them if their mean is.

    Examples
    --------
    >>> up, down = {"difference": 0.1}, {"difference": -0.01}
    >>> worse({"mean": up, "structures": {"liver": up, "vein": down}})
    ['vein']
    """
    if not gained:
        return []
    names = list(gained["structures"])
    if gained["mean"]["difference"] < 0:
        return names
    return [name for name in names if gained["structures"][name]["difference"] < 0]
