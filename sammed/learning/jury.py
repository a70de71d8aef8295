"""The held-back cases of a course, and what they say of what was learned without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sammed.learning import judging
from sammed.learning.judging import Judgement
from sammed.learning.opinion import Asked
from sammed.learning.promptable import Promptable, Stored
from sammed.learning.prompted import Prompted, judge_prompted
from sammed.learning.pupils import read_all
from sammed.learning.split import by_lot
from sammed.models.learned.plan import Plan
from sammed.models.learned.sight import build_nets
from sammed.project.folder import Project

Weights = tuple[Mapping[str, Tensor], ...]


@dataclass(frozen=True, eq=False)
class Jury:
    """Cases that were not learned from.

    Attributes
    ----------
    project
        Whose.
    held
        Case → person.
    plan
        Of the segmenter.
    seed
        Of the order in which cases are prompted.
    check
        Called often; raises to stop.
    """

    project: Project
    held: Mapping[str, str]
    plan: Plan
    seed: int
    check: Callable[[], None] = lambda: None

    def on_prompts(self, promptable: Promptable[Any], tuned: Stored) -> list[Prompted]:
        """What tuning gains; nothing, if nothing was tuned.

        Parameters
        ----------
        promptable
            What was tuned.
        tuned
            Part → what was changed.
        """
        if not tuned:
            return []
        before, after = promptable.both(tuned)
        cases = read_all(self.project, by_lot(self.held, self.seed))
        names, reach = self.plan.structures, promptable.reached
        return judge_prompted(cases, names, before, after, self.check, reach)

    def on_looks(
        self,
        weights: Sequence[Weights],
        asked: Asked,
    ) -> list[list[Judgement]]:
        """What a segmenter reaches without a prompt, as it is and as it was on its way.

        Parameters
        ----------
        weights
            Of its looks, at each of these times.
        asked
            Who is asked for second opinions.
        """
        return [self._looked(one, asked) for one in weights if one]

    def _looked(self, weights: Weights, asked: Asked) -> list[Judgement]:
        cases = read_all(self.project, self.held)
        nets = build_nets(self.plan, weights)
        return judging.judge(cases, self.plan, nets, self.check, asked)
