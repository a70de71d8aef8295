"""Whether what was learned takes the former one's place, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed.errors import SammedError
from sammed.learning import judging
from sammed.learning.judging import Judgement, Taught
from sammed.learning.prompted import SHIPPED
from sammed.models.learned.file import (
    LearnedFile,
    Teaching,
    is_newer,
    read_learned,
    read_teaching,
)
from sammed.models.learned.sight import build_nets

if TYPE_CHECKING:
    from torch import Tensor

Verdict = dict[str, Any]

LEAST_PEOPLE = 3
"""Fewer people whom neither model has seen do not decide between them: on one hippocampus the
better of two models (0.825 and 0.814 on thirty others) was 0.037 worse, see the notebook."""

CHANCE = 0.05
"""By so much the Dice of one or two people's cases differs from that of one or two others' by
chance alone: of one model it has a standard deviation of 0.023 over ten hippocampi."""


def former_model(path: Path) -> tuple[LearnedFile | None, str]:
    """The model that is in use; ``None`` and why, if there is none.

    Parameters
    ----------
    path
        Of its file, which need not be there.
    """
    if not path.is_file():
        return None, "there was none before"
    try:
        return read_learned(path), ""
    except SammedError as error:
        return None, f"the one before cannot be read ({error})"


def check_former(path: Path) -> None:
    """Make sure that a project's model may be replaced.

    Raises
    ------
    WeightsMismatchError
        If it is of a newer version, which can neither be compared with nor brought back here.
    """
    if is_newer(path):
        read_teaching(path)


def segmenter_verdict(
    former: LearnedFile | None,
    why: str,
    judged: Sequence[Judgement],
    new: Teaching,
    unseen: Callable[[Teaching], set[str]],
    read: Callable[[Iterable[str]], Iterable[Taught]],
) -> Verdict:
    """Whether a new segmenter is used: not if it is worse, on cases that neither has seen.

    Where these show fewer than `LEAST_PEOPLE`, what each reached in its own round decides; for one
    that learned from the former's cases and more, differences of `CHANCE` say nothing.

    Parameters
    ----------
    former, why
        From `former_model`.
    judged, new
        What the new one reaches on held-back cases, and what it was taught.
    unseen
        Ids of held-back cases that a model did not learn from.
    read
        Reads cases by their ids.
    """
    if former is None or not former.weights:
        return {"used": True, "why": why or "there was none before"}
    if not judged:
        return {"used": True, "why": "no case is held back, so nothing can be said of either"}
    ids = unseen(former.teaching)
    same = [one for one in judged if one.case in ids]
    if len({one.subject for one in same}) >= LEAST_PEOPLE:
        nets = build_nets(former.teaching.plan, former.weights)
        cases = read(dict.fromkeys(one.case for one in same))
        before = judging.judge(cases, former.teaching.plan, nets)
        known = {(one.case, one.structure) for one in before}
        both = [one for one in same if (one.case, one.structure) in known]
        if both:
            found = judging.difference(before, both)
            better = found["difference"] >= 0
            return {"used": better, "why": "on the same held-back cases", **found}
    return _by_figures(former.teaching, new)


def _by_figures(former: Teaching, new: Teaching) -> Verdict:
    """What each reached when it was judged, where there are no cases that neither has seen."""
    if not former.judged:
        return {"used": True, "why": "the one before was never judged"}
    before, after = (float(one.judged["mean"]["dice"]) for one in (former, new))
    learned_more = set(former.cases.values()) < set(new.cases.values())
    return {
        "used": after >= before - (CHANCE if learned_more else 0),
        "why": "by what each reached on the cases held back in its own round",
        "before": before,
        "after": after,
        "difference": round(after - before, 4),
    }


def tuned_verdict(
    former: LearnedFile | None, gained: Mapping[str, Any], held: Sequence[str]
) -> Verdict:
    """Whether a model is used as it was tuned: not if held-back cases say that it is worse.

    One that was tuned before is compared where it was tuned from the same; of compact and
    segment-anything, which are asked other things, the last that is better than its parent stays.

    Parameters
    ----------
    former
        The model that is in use.
    gained
        Against what it was tuned from, see `sammed.learning.prompted.gains`.
    held
        Ids of the held-back cases.
    """
    if not gained:
        return {"used": True, "why": "no case is held back, so nothing can be said of it"}
    mean, parent = gained["mean"], gained.get("parent", SHIPPED)
    told = {key: mean[key] for key in ("before", "after", "difference", "low", "high")}
    if mean["difference"] < 0:
        return {"used": False, "why": f"worse than {parent}", **told}
    before = former.teaching.tuned if former is not None else {}
    reached = before.get("judged", {})
    alike = reached and reached.get("parent", SHIPPED) == parent
    if alike and list(before["held"]) == list(held) and reached["mean"]["after"] > mean["after"]:
        told |= {"before": reached["mean"]["after"]}
        told |= {"difference": round(mean["after"] - told["before"], 4), "low": None, "high": None}
        return {"used": False, "why": "the one before reached more on the same cases", **told}
    return {"used": True, "why": f"better than {parent}", **told}


@dataclass(frozen=True, eq=False)
class Made:
    """What goes into a model's file.

    Attributes
    ----------
    teaching, weights, tuned
        See `sammed.models.learned.file.LearnedFile`.
    """

    teaching: Teaching
    weights: tuple[Mapping[str, Tensor], ...] = ()
    tuned: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)


def joined(new: Made, former: LearnedFile | None, segmenter: bool, tuned: bool) -> Made:
    """The model that is used from now on: of each half the new one, or the one before.

    Parameters
    ----------
    new
        What was learned; a half that was not is empty.
    former
        What is in use.
    segmenter, tuned
        Whether the new half is used.
    """
    old = Made(replace(new.teaching, plan=replace(new.teaching.plan, looks=()), tuned={}, judged={},
                       calibration={}, cases={}))  # fmt: skip
    if former is not None:
        old = Made(former.teaching, former.weights, former.tuned)
    seen, prompted = (new if segmenter else old), (new if tuned else old)
    teaching = replace(seen.teaching, tuned=prompted.teaching.tuned)
    return Made(teaching, seen.weights, prompted.tuned)


def replaced_tuning(former: LearnedFile | None, new: Made) -> list[str]:
    """A sentence, if another model's tuning than the one before answers prompts from now on.

    Parameters
    ----------
    former, new
        What was in use, and what is.
    """
    before = former.teaching.tuned if former is not None else {}
    names = [one.get("of", "compact") for one in (before, new.teaching.tuned)]
    if not before or names[0] == names[1]:
        return []
    return [
        f"prompts are answered by {names[1]} from now on, as it was tuned last; {names[0]} as it "
        f"was tuned in round {before['round']} is no longer kept"
    ]
