"""A course: from the accepted cases of a project to a learned model, judged before it is used.

With many people, some are held back for good. With few, all are learned from in the end; a shorter
rehearsal without some of them says beforehand what to expect, and what it learned is gone on with,
so that its minutes are not lost. A model that is worse than the one
that is there is kept in its round, and not used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from sammed.errors import InputError, SammedError
from sammed.io.output import atomic_output
from sammed.learning import judging
from sammed.learning.card import model_card
from sammed.learning.estimate import Calibration
from sammed.learning.judging import Judgement
from sammed.learning.lessons import Lesson, make_lesson
from sammed.learning.planning import make_plan
from sammed.learning.pupils import Pupils, read_all, survey
from sammed.learning.rounds import Round, new_round, open_round, rounds_folder
from sammed.learning.split import Split, split
from sammed.learning.stepping import Budget, Pace
from sammed.learning.training import LookTrainer, Recipe
from sammed.models.learned.file import SUFFIX, Teaching, pack, read_learned
from sammed.models.learned.plan import Plan
from sammed.models.learned.sight import build_nets
from sammed.project.folder import Project
from sammed.project.lease import held
from sammed.version import __version__

REHEARSAL = 0.33
"""Share of the minutes for the rehearsal."""

COARSE = 0.3
"""Share of a run for its coarse look, if it has two."""

KEEP_EVERY_S = 30.0
"""Seconds between states that are kept, for --resume after a crash."""


@dataclass(frozen=True)
class Wishes:
    """What is asked for.

    Attributes
    ----------
    minutes
        In all, without reading and judging.
    steps
        Instead of minutes: of each look of the run that counts.
    seed
        ``None``: the project's.
    recipe
        How networks learn.
    device
        Where.
    """

    minutes: float = 5.0
    steps: int | None = None
    seed: int | None = None
    recipe: Recipe = field(default_factory=Recipe)
    device: str = "cpu"


@dataclass(frozen=True)
class Progress:
    """How far a course is.

    Attributes
    ----------
    doing
        In a few words.
    share
        Of the minutes, [0, 1].
    seconds_left
        Of them.
    pace
        Of the look that is learned; ``None`` while cases are read or judged.
    """

    doing: str
    share: float
    seconds_left: float
    pace: Pace | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a course.

    Attributes
    ----------
    file
        The learned model: the project's, or in its round if it is not used.
    used
        Whether it is what the project uses from now on.
    report
        Plain data, as in ``rounds/NNN/report.json``.
    """

    file: Path
    used: bool
    report: Mapping[str, Any]


@dataclass(frozen=True)
class Phase:
    """A part of a course that learns one look of one run.

    Attributes
    ----------
    run
        ``"rehearsal"`` or ``"final"``.
    look
        Its number.
    share
        Of the minutes.
    """

    run: str
    look: int
    share: float

    @property
    def key(self) -> str:
        """For what is kept."""
        return f"{self.run} {self.look}"


Told = Callable[[Progress], None]
Shield = Callable[[], AbstractContextManager[None]]


def model_path(project: Project) -> Path:
    """The learned model that a project uses, which need not be there."""
    return project.model_file


def learn(
    project: Project,
    wishes: Wishes | None = None,
    *,
    resume: bool = False,
    told: Told = lambda progress: None,
    shield: Shield | None = None,
) -> Outcome:
    """Learn from the accepted cases of a project.

    Parameters
    ----------
    project
        The project.
    wishes
        What is asked for; a run that is resumed keeps its own.
    resume
        Go on with the run that was stopped.
    told
        Called often; raises to stop, and what was learned is kept for ``resume``.
    shield
        A context in which Ctrl-C waits.

    Returns
    -------
    Outcome
        With its report.

    Raises
    ------
    InputError
        If there is nothing to learn from, or nothing to resume.
    InWorkError
        If another program learns in this project.
    """
    with held(rounds_folder(project), 0.0):
        return _Course(project, wishes or Wishes(), resume, told, shield).run()


class _Course:
    def __init__(
        self, project: Project, wishes: Wishes, resume: bool, told: Told, shield: Shield | None
    ) -> None:
        self._project, self._told, self._shield = project, told, shield
        told(Progress("reading cases", 0.0, 60 * wishes.minutes))
        self._pupils: Pupils = survey(project)
        self._round: Round = open_round(project) if resume else new_round(project)
        self._seed = project.description.seed if wishes.seed is None else wishes.seed
        self._split: Split = split(self._pupils.subjects, self._seed)
        prints = [self._pupils.prints[id] for id in self._split.learned]
        self._plan: Plan = make_plan(prints, self._pupils.structures)
        marks = {id: project.case(id).scan.mark for id in self._pupils.subjects}
        self._marks = {id: marks[id] for id in self._split.learned}
        self._wishes = self._begun(wishes, resume, marks)
        self._kept: dict[str, Any] = self._round.kept() if resume else {}
        self._done: dict[str, dict[str, Tensor]] = dict(self._kept.get("done", {}))

    def _begun(self, wishes: Wishes, resume: bool, marks: Mapping[str, str]) -> Wishes:
        """What this round was begun with; a run that is resumed has to have the same cases."""
        said = {
            "minutes": wishes.minutes,
            "steps": wishes.steps,
            "seed": self._seed,
            "cases": dict(marks),
            "structures": {str(v): n for v, n in self._pupils.structures.items()},
        }
        if not resume:
            self._round.begin(said)
            return wishes
        former = self._round.settings()
        if any(former.get(key) != said[key] for key in ("cases", "structures")):
            raise InputError(
                "the accepted cases or structures have changed since the run was stopped; learn "
                "again without --resume"
            )
        self._seed = int(former["seed"])
        return Wishes(
            float(former["minutes"]), former["steps"], self._seed, wishes.recipe, wishes.device
        )

    def run(self) -> Outcome:
        began = time.monotonic()
        judged: list[Judgement] = []
        phases = self._phases()
        for number, phase in enumerate(phases):
            if phase.key not in self._done:
                self._teach(phase, sum(before.share for before in phases[:number]))
            last = number + 1 == len(phases) or phases[number + 1].run != phase.run
            judges = phase.run == ("rehearsal" if self._split.rehearsed else "final")
            if last and judges and self._split.held:
                judged = self._judged(phase.run)
        return self._finished(judged, time.monotonic() - began)

    def _phases(self) -> list[Phase]:
        looks = len(self._plan.looks)
        shares = [1.0] if looks == 1 else [COARSE, 1 - COARSE]
        first = REHEARSAL if self._split.rehearsed else 0.0
        runs = [("rehearsal", first), ("final", 1 - first)]
        return [
            Phase(run, look, share * shares[look])
            for run, share in runs
            if share
            for look in range(looks)
        ]

    def _teach(self, phase: Phase, before: float) -> None:
        look = self._plan.looks[phase.look]
        seed = self._seed + (phase.run == "final")
        trainer = LookTrainer(
            self._lessons(phase), self._plan, look, seed, self._wishes.recipe,
            self._wishes.device,
        )  # fmt: skip
        rehearsed = self._done.get(f"rehearsal {phase.look}")
        if phase.run == "final" and rehearsed is not None:
            trainer.start_from(rehearsed)
        if self._kept.get("phase") == phase.key:
            trainer.resume(self._kept["state"])
        total = 60 * self._wishes.minutes
        steps = self._wishes.steps
        if steps is not None and phase.run == "rehearsal":
            steps = max(1, round(steps * REHEARSAL / (1 - REHEARSAL)))
        kept_at = time.monotonic()

        def told(pace: Pace) -> None:
            nonlocal kept_at
            share = before + phase.share * pace.share
            left = pace.seconds_left + total * (1 - before - phase.share)
            if steps is not None and pace.share > 0:
                left = pace.seconds_left * (1 - share) / max(phase.share * (1 - pace.share), 1e-3)
            self._told(Progress(_WORDS[phase.run], share, left, pace))
            if time.monotonic() - kept_at > KEEP_EVERY_S:
                self._keep(phase, trainer)
                kept_at = time.monotonic()

        try:
            trainer.run(Budget(phase.share * total, steps), told, self._shield)
        except (KeyboardInterrupt, SammedError):
            self._keep(phase, trainer)
            raise
        self._done[phase.key] = trainer.weights
        self._kept = {}
        self._round.keep({"done": self._done})

    def _keep(self, phase: Phase, trainer: LookTrainer) -> None:
        state = {"done": self._done, "phase": phase.key, "state": trainer.state()}
        self._round.keep(state)

    def _lessons(self, phase: Phase) -> list[Lesson]:
        left_out = self._split.held if phase.run == "rehearsal" else ()
        ids = [id for id in self._split.learned if id not in left_out]
        return [
            make_lesson(
                one.id, one.volume, one.labels, self._plan.structures,
                self._plan.looks[phase.look], self._plan.brightness,
            )
            for one in read_all(self._project, ids)
        ]  # fmt: skip

    def _weights(self, run: str) -> tuple[dict[str, Tensor], ...]:
        return tuple(self._done[f"{run} {look}"] for look in range(len(self._plan.looks)))

    def _judged(self, run: str) -> list[Judgement]:
        nets = build_nets(self._plan, self._weights(run))
        cases = read_all(self._project, self._split.held)
        doing = Progress("judging", 1.0 if run == "final" else REHEARSAL, 0.0)
        return judging.judge(cases, self._plan, nets, lambda: self._told(doing))

    def _finished(self, judged: list[Judgement], seconds: float) -> Outcome:
        reached = judging.summary(judged)
        calibration = judging.calibration_of(judged) if judged else Calibration()
        verdict = self._verdict(judged, reached)
        about = {
            "round": self._round.number,
            "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "seconds": round(seconds, 1),
            "minutes": self._wishes.minutes,
            "steps": self._wishes.steps,
            "seed": self._seed,
            "sammed": __version__,
            "held": list(self._split.held),
            "rehearsed": self._split.rehearsed,
        }
        name = self._project.description.name
        teaching = Teaching(self._plan, name, self._marks, reached, about, calibration.as_dict())
        payload = pack(teaching, self._weights("final"), model_card(teaching))
        file = model_path(self._project)
        if not verdict["used"]:
            file = self._round.folder / f"not-used{SUFFIX}"
        with atomic_output(file, force=True) as temporary:
            temporary.write_bytes(payload)
        report = {
            "format": "sammed-round/1",
            **about,
            "learned": list(self._split.learned),
            "structures": {str(v): n for v, n in self._plan.structures.items()},
            "plan": self._plan.as_dict(),
            "reached": reached,
            "cases": [
                {"case": one.case, "structure": one.structure, "dice": round(one.dice, 4),
                 "estimated": round(calibration.estimate(one.doubt), 4)}
                for one in judged
            ],
            "calibration": calibration.as_dict(),
            "verdict": verdict,
            "notes": list(self._pupils.notes),
            "file": file.name,
        }  # fmt: skip
        self._round.finish(report)
        return Outcome(file, bool(verdict["used"]), report)

    def _verdict(self, judged: list[Judgement], reached: Mapping[str, Any]) -> dict[str, Any]:
        """Whether the new model takes the former one's place, and why."""
        path = model_path(self._project)
        if not path.is_file():
            return {"used": True, "why": "there was none before"}
        try:
            former = read_learned(path)
        except SammedError as error:
            return {"used": True, "why": f"the one before cannot be read ({error})"}
        if not judged:
            return {"used": True, "why": "no case is held back, so nothing can be said of either"}
        same = self._unseen_by(former.teaching, judged)
        if same:
            nets = build_nets(former.teaching.plan, former.weights)
            cases = read_all(self._project, dict.fromkeys(one.case for one in same))
            before = judging.judge(cases, former.teaching.plan, nets)
            known = {(one.case, one.structure) for one in before}
            both = [one for one in same if (one.case, one.structure) in known]
            if both:
                found = judging.difference(before, both)
                better = found["difference"] >= 0
                return {"used": better, "why": "on the same held-back cases", **found}
        return _by_figures(former.teaching.judged, reached)

    def _unseen_by(self, former: Teaching, judged: list[Judgement]) -> list[Judgement]:
        """Judgements of cases that the former model did not learn from."""
        seen = set(former.cases.values())
        unseen = {id for id in self._split.held if self._project.case(id).scan.mark not in seen}
        return [one for one in judged if one.case in unseen]


_WORDS = {"rehearsal": "rehearsing", "final": "learning"}


def _by_figures(former: Mapping[str, Any], reached: Mapping[str, Any]) -> dict[str, Any]:
    """What each reached when it was judged, where there are no cases that neither has seen."""
    if not former:
        return {"used": True, "why": "the one before was never judged"}
    before, after = float(former["mean"]["dice"]), float(reached["mean"]["dice"])
    return {
        "used": after >= before,
        "why": "by what each reached on the cases held back in its own round",
        "before": before,
        "after": after,
        "difference": round(after - before, 4),
    }
