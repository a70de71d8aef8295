"""Protocol L: the labelling loop from end to end, with a simulated person, on any labelled cases.

Some people's cases are never touched: they say what is found without a prompt. The others are
labelled in rounds; after each, everything that was accepted is learned from, and the rest is
proposed. Beside it, the same person labels the same cases with compact as it is shipped, and a
segmenter learns for the same time from as many cases by chance, labelled perfectly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sammed.errors import InputError
from sammed.evaluation.annotator import Annotator, Drawn, annotate
from sammed.evaluation.case_run import Loaded, load
from sammed.evaluation.manifest import Case
from sammed.imaging.volume import LabelVolume, label_dtype
from sammed.learning import judging
from sammed.learning.course import Wishes, learn, model_path
from sammed.learning.judging import Taught
from sammed.learning.phases import REHEARSAL
from sammed.learning.proposing import propose
from sammed.learning.split import split
from sammed.models.learned.model import LearnedModel
from sammed.models.protocols import Model
from sammed.models.registry import build
from sammed.project.folder import Project
from sammed.project.order import Order
from sammed.project.sources import Found

LOOP, ALONE, CHANCE = "loop", "no loop", "by chance"
"""The arms: the loop, the same person without it, and cases by chance labelled perfectly."""

Told = Callable[[str, float], None]
"""Takes what is done, and which share of the whole is over."""


@dataclass(frozen=True)
class LoopPlan:
    """What is simulated.

    Attributes
    ----------
    rounds
        Cases that are labelled in each.
    untouched
        Cases, of other people, that are found without a prompt in the end.
    wishes
        How long is learned after each round, and what.
    person
        Who labels.
    order
        Which case comes next, see `sammed.project.order`.
    chance
        Whether there is the arm by chance.
    seed
        Of who is untouched, and of what is learned.
    """

    rounds: tuple[int, ...] = (3, 5, 12)
    untouched: int = 10
    wishes: Wishes = field(default_factory=lambda: Wishes(minutes=1.0))
    person: Annotator = field(default_factory=Annotator)
    order: Order = "random"
    chance: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Labelled:
    """One structure of one case as it was labelled.

    Attributes
    ----------
    arm, round, case, subject, structure
        Where, when and what.
    before, after, prompts, painted, seconds, proposed
        See `sammed.evaluation.annotator.Drawn`.
    """

    arm: str
    round: int
    case: str
    subject: str
    structure: str
    before: float
    after: float
    prompts: int
    painted: int
    seconds: float
    proposed: bool


@dataclass(frozen=True)
class Reached:
    """What is found without a prompt on the untouched cases.

    Attributes
    ----------
    arm, round
        After which.
    cases
        That were learned from.
    dice, low, high
        Mean over untouched cases, with its interval.
    minutes
        Of learning, in all.
    """

    arm: str
    round: int
    cases: int
    dice: float
    low: float | None
    high: float | None
    minutes: float


@dataclass(frozen=True)
class LoopResult:
    """What came of a simulation.

    Attributes
    ----------
    labelled
        In the order in which they were.
    reached
        After each round.
    notes
        What could not be done, one line each.
    """

    labelled: tuple[Labelled, ...]
    reached: tuple[Reached, ...]
    notes: tuple[str, ...] = ()

    def prompts(self, arm: str) -> int:
        """All that the person had to give."""
        return sum(one.prompts for one in self.labelled if one.arm == arm)

    def seconds(self, arm: str) -> float:
        """All that it took the person, as assumed."""
        return sum(one.seconds for one in self.labelled if one.arm == arm)


def run_loop(
    cases: Sequence[Case], plan: LoopPlan, folder: Path, told: Told = lambda doing, share: None
) -> LoopResult:
    """Simulate the loop.

    Parameters
    ----------
    cases
        Labelled ones, with the same structures.
    plan
        What is simulated.
    folder
        New: the projects are made in it, and stay for who wants to look.
    told
        Called often; raises to stop.

    Raises
    ------
    InputError
        If there are too few cases, or their structures are not the same.
    """
    return _Loop(cases, plan, folder, told).run()


class _Loop:
    def __init__(self, cases: Sequence[Case], plan: LoopPlan, folder: Path, told: Told) -> None:
        self._plan, self._folder, self._told = plan, folder, told
        self._structures = _structures(cases)
        self._untouched, self._pool = _apart(cases, plan)
        self._labelled: list[Labelled] = []
        self._reached: list[Reached] = []
        self._notes: list[str] = []
        self._done = 0

    def run(self) -> LoopResult:
        project = self._project("loop", self._pool)
        model: Model = build("compact")
        for number, count in enumerate(self._plan.rounds, 1):
            chosen = [case.id for case in project.queue(self._plan.order)][:count]
            for id in chosen:
                drawn = self._label(LOOP, number, self._pool[id], model)
                if drawn is not None:
                    project.accept(id, drawn)
            model = self._learned(project, LOOP, number) or model
        self._alone()
        if self._plan.chance and len(self._plan.rounds) > 1:
            self._by_chance()
        return LoopResult(tuple(self._labelled), tuple(self._reached), tuple(self._notes))

    def _alone(self) -> None:
        """The same cases without the loop; its first round had nothing else either."""
        first = [one for one in self._labelled if one.arm == LOOP and one.round == 1]
        self._labelled += [replace(one, arm=ALONE) for one in first]
        shipped = build("compact")
        later = {one.case: one.round for one in self._labelled if one.arm == LOOP}
        for id, number in later.items():
            if number > 1:
                self._label(ALONE, number, self._pool[id], shipped)

    def _by_chance(self) -> None:
        """As many cases as the loop knew before its last round, learned as long."""
        number = len(self._plan.rounds) - 1
        count = sum(self._plan.rounds[:number])
        project = self._project("by-chance", self._pool)
        for case in project.queue("random")[:count]:
            loaded = self._read(self._pool[case.id])
            if loaded is not None and loaded.reference is not None:
                project.accept(case.id, self._map(loaded, loaded.reference.voxels))
        wishes = replace(
            self._plan.wishes, minutes=number * self._plan.wishes.minutes, what="segmenter"
        )
        if wishes.steps is not None:
            wishes = replace(wishes, steps=number * wishes.steps)
        self._learned(project, CHANCE, number, wishes)

    # -- labelling -----------------------------------------------------------------------------

    def _label(self, arm: str, number: int, case: Case, model: Model) -> LabelVolume | None:
        """A case as the person leaves it; ``None`` if it cannot be read."""
        self._tell(f"{arm}, round {number}: {case.id}")
        loaded = self._read(case)
        if loaded is None or loaded.volume is None:
            return None
        voxels = np.zeros(loaded.volume.shape, np.uint16)
        for name, value in self._structures.items():
            target = loaded.target(value, name)
            if target is not None:
                drawn = annotate(loaded.volume, target, model, self._plan.person)
                voxels[drawn.mask] = value
                self._labelled.append(_line(arm, number, case, name, drawn))
        self._done += 1
        return self._map(loaded, voxels)

    def _map(self, loaded: Loaded, voxels: Any) -> LabelVolume:
        if loaded.volume is None:
            raise TypeError("a case that could be read has a volume")
        kept = np.where(np.isin(voxels, list(self._structures.values())), voxels, 0)
        names = {value: name for name, value in self._structures.items()}
        return LabelVolume(kept.astype(label_dtype(max(names))), loaded.volume.grid, names)

    def _read(self, case: Case) -> Loaded | None:
        loaded = load(case)
        if loaded.error:
            self._notes.append(f"{case.id} is left out: {loaded.error}")
            return None
        return loaded

    # -- learning ------------------------------------------------------------------------------

    def _learned(
        self, project: Project, arm: str, number: int, wishes: Wishes | None = None
    ) -> Model | None:
        doing = f"{arm}, round {number}: learning"
        wanted = _as_long(project, wishes or self._plan.wishes)
        try:
            learn(project, wanted, told=lambda progress: self._tell(doing))
        except InputError as error:
            self._notes.append(f"{arm}, round {number}: nothing learned: {error}")
            return None
        model = LearnedModel(model_path(project))
        if arm == LOOP and number < len(self._plan.rounds) and model.teaching.plan.looks:
            propose(project, told=lambda advance: self._tell(f"{arm}: proposing"))
        self._score(model, project, arm, number, wanted)
        return model

    def _score(
        self, model: LearnedModel, project: Project, arm: str, number: int, wishes: Wishes
    ) -> None:
        if not model.teaching.plan.looks:
            return
        judged = judging.judge(
            self._taught(), model.teaching.plan, model.nets, lambda: self._tell(f"{arm}: judging")
        )
        mean = judging.summary(judged)["mean"]
        known = sum(case.record.state == "accepted" for case in project.cases())
        minutes = wishes.minutes * (number if arm == LOOP else 1)
        self._reached.append(
            Reached(arm, number, known, mean["dice"], mean["low"], mean["high"], minutes)
        )

    def _taught(self) -> Iterator[Taught]:
        for case in self._untouched:
            loaded = self._read(case)
            if loaded is not None and loaded.volume is not None and loaded.reference is not None:
                volume, voxels = loaded.volume, loaded.reference.voxels
                yield Taught(case.id, case.subject or case.id, "", volume, voxels)

    def _project(self, name: str, pool: Mapping[str, Case]) -> Project:
        project = Project.create(self._folder / name, self._structures, seed=self._plan.seed)
        project.add([Found(c.image, c.id, c.subject or c.id) for c in pool.values()])
        return project

    def _tell(self, doing: str) -> None:
        whole = 2 * sum(self._plan.rounds) - self._plan.rounds[0]
        self._told(doing, min(1.0, self._done / whole))


def _as_long(project: Project, wishes: Wishes) -> Wishes:
    """Steps of a round, the same in all: a rehearsal takes as many as the run that counts."""
    if wishes.steps is None:
        return wishes
    accepted = {c.id: c.scan.subject for c in project.cases() if c.record.state == "accepted"}
    rehearsed = split(accepted, project.description.seed).rehearsed
    share = 1 - REHEARSAL if rehearsed else 1.0
    return replace(wishes, steps=round(wishes.steps * share / (1 - REHEARSAL)))


def _structures(cases: Sequence[Case]) -> dict[str, int]:
    """What all cases have, name → value."""
    found = {tuple(case.labels.items()) for case in cases}
    if len(found) != 1 or not all(isinstance(value, int) for value, _ in next(iter(found))):
        raise InputError(
            "protocol L needs the same structures in all cases: single values with names, as the "
            "manifest's labels or --labels give them"
        )
    structures = {name: int(value) for value, name in next(iter(found))}  # type: ignore[arg-type]
    if not structures:
        raise InputError("protocol L needs names of the structures; give --labels")
    return structures


def _apart(cases: Sequence[Case], plan: LoopPlan) -> tuple[list[Case], dict[str, Case]]:
    """Cases that are never touched, and those that are labelled, of other people."""
    people = sorted({case.subject or case.id for case in cases})
    order = [people[n] for n in np.random.default_rng(plan.seed).permutation(len(people))]
    by_person = {who: [c for c in cases if (c.subject or c.id) == who] for who in order}
    untouched: list[Case] = []
    while order and len(untouched) < plan.untouched:
        untouched += by_person[order.pop(0)]
    pool = [case for who in order for case in by_person[who]][: sum(plan.rounds)]
    if len(pool) < sum(plan.rounds) or not plan.rounds or min(plan.rounds) < 1:
        raise InputError(
            f"{len(cases)} cases of {len(people)} people are too few for rounds of "
            f"{', '.join(map(str, plan.rounds))} and {plan.untouched} cases of others; give fewer "
            "with --rounds and --untouched"
        )
    return untouched[: plan.untouched], {case.id: case for case in pool}


def _line(arm: str, number: int, case: Case, name: str, drawn: Drawn) -> Labelled:
    return Labelled(
        arm, number, case.id, case.subject or case.id, name, round(drawn.before, 4),
        round(drawn.after, 4), drawn.prompts, drawn.painted, drawn.seconds, drawn.proposed,
    )  # fmt: skip


def as_rows(result: LoopResult) -> list[dict[str, Any]]:
    """What was labelled, for a table."""
    return [asdict(one) for one in result.labelled]
