"""The held-back cases of a course, and what they say of what was learned without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from sammed.learning import judging
from sammed.learning.judging import Judgement
from sammed.learning.opinion import Asked
from sammed.learning.prompted import Prompted, gains, judge_prompted, worse
from sammed.learning.pupils import read_all
from sammed.learning.split import by_lot
from sammed.models.compact.model import CompactModel
from sammed.models.compact.tuned import Difference, Nets, shipped_nets, tuned_nets
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

    def on_prompts(self, tuned: Mapping[str, Difference]) -> list[Prompted]:
        """What tuning compact gains; nothing, if it was not tuned.

        Parameters
        ----------
        tuned
            Part → what was changed.
        """
        if not tuned:
            return []
        before, after = _compact(tuned)
        cases = read_all(self.project, by_lot(self.held, self.seed))
        return judge_prompted(cases, self.plan.structures, before, after, self.check)

    def on_looks(
        self,
        weights: Sequence[Weights],
        tuned: Mapping[str, Difference],
        prompted: Sequence[Prompted],
    ) -> list[list[Judgement]]:
        """What a segmenter reaches without a prompt, as it is and as it was on its way.

        Parameters
        ----------
        weights
            Of its looks, at each of these times.
        tuned, prompted
            How compact was tuned beside it, which is asked for second opinions, and what that
            gains.
        """
        asked = _asked(tuned, worse(gains(prompted)))
        return [self._looked(one, asked) for one in weights if one]

    def _looked(self, weights: Weights, asked: Asked) -> list[Judgement]:
        cases = read_all(self.project, self.held)
        nets = build_nets(self.plan, weights)
        return judging.judge(cases, self.plan, nets, self.check, asked)


def _asked(tuned: Mapping[str, Difference], left: Sequence[str]) -> Asked:
    """The tuned network, but for structures that this made worse."""
    shipped, other = _compact(tuned)
    return partial(_one_of, shipped, other, tuple(left))


def _one_of(
    shipped: CompactModel, tuned: CompactModel, left: Sequence[str], name: str
) -> CompactModel:
    return shipped if name in left else tuned


def _compact(tuned: Mapping[str, Difference]) -> tuple[CompactModel, CompactModel]:
    """The network as it is shipped, and as it was tuned."""
    nets: Nets = shipped_nets()
    shipped = CompactModel(nets=nets)
    if not tuned:
        return shipped, shipped
    return shipped, CompactModel(nets=tuned_nets(nets, nets.hashes, tuned))
