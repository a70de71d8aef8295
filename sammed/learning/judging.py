"""What a learned model reaches on cases that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sammed.evaluation.results import Row
from sammed.evaluation.statistics import Mean, average, compare
from sammed.imaging.masks import dice
from sammed.imaging.volume import Volume
from sammed.learning.estimate import Calibration, Doubt, Opinion, calibrate, doubts
from sammed.learning.opinion import Asked, second_opinion
from sammed.models.learned.pieces import in_one_piece
from sammed.models.learned.plan import Plan
from sammed.models.learned.sight import Seen, look_at


@dataclass(frozen=True, eq=False)
class Taught:
    """A case with its scan and the label map that a person accepted.

    Attributes
    ----------
    id, subject, mark
        Of the case.
    volume
        The scan.
    labels : (z, y, x)
        With the project's values.
    unknown
        Values of structures that the label map says nothing of, see `sammed.learning.unknown`.
    """

    id: str
    subject: str
    mark: str
    volume: Volume
    labels: NDArray[np.unsignedinteger]
    unknown: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Judgement:
    """One structure of one held-back case.

    Attributes
    ----------
    case, subject, structure
        Which.
    dice
        What was reached.
    doubt
        What the model knew of it.
    loose
        What was reached before pieces apart were left out, where some were.
    """

    case: str
    subject: str
    structure: str
    dice: float
    doubt: Doubt
    loose: float | None = None

    def told(self, calibration: Calibration) -> dict[str, Any]:
        """Its true Dice beside the estimated one, and what that rests on, as plain data."""
        doubt = {key: None if v is None else round(v, 4) for key, v in asdict(self.doubt).items()}
        return {
            "case": self.case,
            "subject": self.subject,
            "structure": self.structure,
            "dice": round(self.dice, 4),
            "estimated": round(calibration.estimate(self.doubt), 4),
            "doubt": doubt,
        }

    def row(self, model: str) -> Row:
        """For the statistics of evaluations."""
        return Row(
            self.case, self.subject, "", "", "", self.structure, "", model, "N", dice=self.dice
        )


def judge(
    cases: Iterable[Taught],
    plan: Plan,
    nets: Sequence[nn.Module],
    check: Callable[[], None] = lambda: None,
    prompted: Asked | None = None,
) -> list[Judgement]:
    """Look at cases and compare; structures that neither has, or nobody drew, are left out.

    Parameters
    ----------
    cases
        None of which was learned from.
    plan, nets
        Of the model.
    check
        Called often; raises to stop.
    prompted
        The networks that are asked for a second opinion.
    """
    done = []
    for case in cases:
        seen = look_at(case.volume, plan, nets, check)
        before = labels_of(seen, plan, case.volume)
        seen = in_one_piece(seen, plan)
        found = labels_of(seen, plan, case.volume) if seen.apart else before
        doubted = doubts(seen, plan, opinion_on(case.volume, seen, prompted))
        for value, name in plan.structures.items():
            if value in case.unknown:
                continue
            ours, theirs = found == value, np.asarray(case.labels == value)
            if ours.any() or theirs.any():
                reached = dice(ours, theirs)
                loose = dice(before == value, theirs) if name in seen.apart else None
                done.append(Judgement(case.id, case.subject, name, reached, doubted[name], loose))
    return done


def torn(judged: Iterable[Judgement]) -> set[str]:
    """Structures that lose by being left in one piece.

    Parameters
    ----------
    judged
        From `judge`.
    """
    lost: dict[str, float] = {}
    for one in judged:
        if one.loose is not None:
            lost[one.structure] = lost.get(one.structure, 0.0) + one.loose - one.dice
    return {name for name, much in lost.items() if much > 0}


def opinion_on(volume: Volume, seen: Seen, prompted: Asked | None) -> Opinion | None:
    """A second opinion on what was seen of a scan; ``None`` if nobody is asked.

    Parameters
    ----------
    volume
        The scan.
    seen
        What was seen of it.
    prompted
        The networks that are asked.
    """
    if prompted is None:
        return None

    def asked(name: str, mask: NDArray[np.bool_]) -> float:
        whole = np.zeros(volume.shape, bool)
        whole[seen.block.slices] = mask
        return second_opinion(volume, whole, name, prompted)

    return asked


def labels_of(seen: Seen, plan: Plan, volume: Volume) -> NDArray[np.uint16]:
    """(z, y, x) label map of what was seen, with the plan's values."""
    labels = np.zeros(volume.shape, np.uint16)
    if seen.looks:
        table = np.array([0, *plan.structures], np.uint16)
        labels[seen.block.slices] = table[seen.shares.argmax(0)]
    return labels


def calibration_of(judged: Sequence[Judgement], earlier: Sequence[Judgement] = ()) -> Calibration:
    """How the model's doubts become an estimated Dice; no person helps to judge their own.

    Parameters
    ----------
    judged
        Of the model.
    earlier
        Of the same cases by the model on its way: more to learn the calibration from, and nothing
        that it is judged on.
    """
    every = [*judged, *earlier]
    return calibrate(
        [one.subject for one in every],
        [one.doubt for one in every],
        [one.dice for one in every],
        len(judged),
    )


def summary(judged: Sequence[Judgement], model: str = "learned") -> dict[str, Any]:
    """Mean Dice with its interval, of each structure and of all, as plain data; empty of none."""
    if not judged:
        return {}
    rows = [one.row(model) for one in judged]
    names = dict.fromkeys(row.object for row in rows)
    each = {
        name: _told(average([row for row in rows if row.object == name], "dice")) for name in names
    }
    return {"mean": _told(average(rows, "dice")), "structures": each}


def difference(before: Sequence[Judgement], after: Sequence[Judgement]) -> Mapping[str, Any]:
    """The paired difference of two models over the same cases, as plain data."""
    return told_difference([one.row("a") for one in before], [one.row("b") for one in after])


def told_difference(before: Sequence[Row], after: Sequence[Row]) -> Mapping[str, Any]:
    """The paired difference of two sets of rows, see `sammed.evaluation.statistics.compare`."""
    found = compare(before, after)
    return {
        "before": round(found.first, 4),
        "after": round(found.second, 4),
        "difference": round(found.difference, 4),
        "low": _number(found.low),
        "high": _number(found.high),
        "cases": found.cases,
        "subjects": found.subjects,
    }


def _told(mean: Mean) -> dict[str, Any]:
    return {
        "dice": _number(mean.mean),
        "low": _number(mean.low),
        "high": _number(mean.high),
        "cases": mean.cases,
        "subjects": mean.subjects,
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
