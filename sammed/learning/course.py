"""A course: from the accepted cases of a project to a learned model, judged before it is used.

Two things are learned: a segmenter that needs no prompt, and what changes compact, or
segment-anything, so that a prompt of the project's structures goes further. With many people, some
are held back for good. With few, all are learned from in the end; a shorter rehearsal without some
of them says beforehand what to expect, and what it learned is gone on with, so that its minutes are
not lost. What is worse than what is there is not used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import Tensor

from sammed.errors import InputError, SammedError
from sammed.io.output import atomic_output
from sammed.learning import judging
from sammed.learning.card import model_card
from sammed.learning.estimate import Calibration
from sammed.learning.judging import Judgement, Taught
from sammed.learning.jury import Jury
from sammed.learning.lessons import Lesson, make_lesson
from sammed.learning.opinion import Asked
from sammed.learning.outcome import Outcome, Progress
from sammed.learning.phases import EARLIER, REHEARSAL, Phase, phases, too_short
from sammed.learning.planning import make_plan
from sammed.learning.promptable import Promptable, PromptableCompact, Stored, asked_beside
from sammed.learning.prompted import Prompted, gains, worse
from sammed.learning.pupils import Pupils, read_all, survey
from sammed.learning.rounds import Round, learning, new_round, open_round
from sammed.learning.split import Split, split
from sammed.learning.stepping import Budget, Pace, Stepper
from sammed.learning.training import LookTrainer
from sammed.learning.verdict import (
    Made,
    check_former,
    former_model,
    joined,
    replaced_tuning,
    segmenter_verdict,
    tuned_verdict,
)
from sammed.learning.wishes import Wishes as Wishes
from sammed.models.learned.file import SUFFIX, LearnedFile, Teaching, pack
from sammed.models.learned.plan import Plan
from sammed.models.learned.pretrained import began_with
from sammed.project.folder import Project
from sammed.version import __version__

KEEP_EVERY_S = 30.0
"""Seconds between states that are kept, for --resume after a crash."""


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
    WeightsMismatchError
        If the project's model is of a newer version.
    """
    with learning(project):
        return _Course(project, wishes or Wishes(), resume, told, shield).run()


class _Course:
    def __init__(
        self, project: Project, wishes: Wishes, resume: bool, told: Told, shield: Shield | None
    ) -> None:
        self._project, self._told, self._shield = project, told, shield
        wishes.check()
        check_former(model_path(project))
        told(Progress("reading cases", 0.0, 60 * wishes.minutes))
        self._pupils: Pupils = survey(project)
        stopped = open_round(project) if resume else None
        self._wishes = wishes if stopped is None else wishes.resumed(stopped.settings())
        given = self._wishes.seed
        self._seed = project.description.seed if given is None else given
        self._promptable = self._made_promptable()
        self._round: Round = stopped or new_round(project)
        self._split: Split = split(self._pupils.subjects, self._seed)
        marks = {id: project.case(id).scan.mark for id in self._pupils.subjects}
        self._marks = {id: marks[id] for id in self._split.learned}
        self._begin(stopped, marks)
        prints = [self._pupils.prints[id] for id in self._split.learned]
        self._plan: Plan = make_plan(prints, self._pupils.structures)
        self._kept: dict[str, Any] = self._round.kept() if resume else {}
        self._done: dict[str, dict[str, Tensor]] = dict(self._kept.get("done", {}))
        self._steps: dict[str, int] = dict(self._kept.get("steps", {}))

    def _made_promptable(self) -> Promptable[Any]:
        """What is tuned; built before there is a round, as its checkpoint may be missing."""
        wishes, structures = self._wishes, self._pupils.structures
        if not wishes.of:
            return PromptableCompact(structures, self._cases, self._seed, wishes.tuning)
        from sammed.learning.promptable_sam import PromptableSam  # seconds of imports
        from sammed.models.sam.tuned import tuned_from

        parent, model = tuned_from(wishes.of, wishes.device)
        recipe = wishes.sam.with_branches(wishes.lora)
        given = structures, self._cases, self._seed
        return PromptableSam(*given, parent, model, recipe, self._told)

    def _cases(self, run: str) -> Iterable[Taught]:
        return read_all(self._project, self._shown(run))

    def _begin(self, stopped: Round | None, marks: Mapping[str, str]) -> None:
        """Say what this round is begun with; one that is resumed has to have the same cases."""
        parents = self._promptable.about["parents"] if self._wishes.of else {}
        said = {
            **self._wishes.told(),
            "seed": self._seed,
            "cases": dict(marks),
            "structures": {str(v): n for v, n in self._pupils.structures.items()},
            "parents": parents,
        }
        if stopped is None:
            self._round.begin(said)
            return
        former = {"parents": {}, **stopped.settings()}
        for key, what in _FIXED.items():
            if former[key] != said[key]:
                raise InputError(
                    f"{what} changed since the run was stopped; learn again without --resume"
                )

    def run(self) -> Outcome:
        began = time.monotonic()
        looked: list[Judgement] = []
        earlier: list[Judgement] = []
        prompted: list[Prompted] = []
        course = self._phases
        for number, phase in enumerate(course):
            if phase.key not in self._done:
                self._teach(phase, sum(before.share for before in course[:number]))
            last = number + 1 == len(course) or course[number + 1].run != phase.run
            judges = phase.run == ("rehearsal" if self._split.rehearsed else "final")
            if last and judges and self._split.held:
                jury, tuned = self._jury(phase.run), self._tuned(phase.run)
                prompted = jury.on_prompts(self._promptable, tuned)
                times = [self._weights(phase.run, share) for share in (1.0, *EARLIER)]
                beside = {} if self._wishes.of else tuned
                asked = asked_beside(beside, worse(self._gains(prompted)))
                looked, *rest = self._looked(jury, times, asked)
                earlier = [one for some in rest for one in some]
        return self._finished(looked, earlier, prompted, time.monotonic() - began)

    @cached_property
    def _phases(self) -> list[Phase]:
        what = self._wishes.what
        parts = () if what == "segmenter" else self._promptable.parts
        return phases(self._split, what, len(self._plan.looks), parts)

    def _gains(self, prompted: Sequence[Prompted]) -> dict[str, Any]:
        return gains(prompted, self._promptable.parent, self._promptable.asked)

    # -- learning ------------------------------------------------------------------------------

    def _teach(self, phase: Phase, before: float) -> None:
        stepper = self._stepper(phase)
        rehearsed = self._done.get(f"rehearsal {phase.what}")
        if phase.run == "final" and rehearsed is not None:
            stepper.start_from(rehearsed)
        if self._kept.get("phase") == phase.key:
            stepper.resume(self._kept["state"])
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
            self._keep_earlier(phase, pace.share, stepper)
            self._told(Progress(f"{_WORDS[phase.run]} {_doing(phase)}", share, left, pace))
            if time.monotonic() - kept_at > KEEP_EVERY_S:
                self._keep(phase, stepper)
                kept_at = time.monotonic()

        try:
            stepper.run(Budget(phase.share * total, steps), told, self._shield)
        except (KeyboardInterrupt, SammedError):
            self._keep(phase, stepper)
            raise
        self._done[phase.key], self._steps[phase.key] = stepper.weights, stepper.step
        self._kept = {}
        self._round.keep({"done": self._done, "steps": self._steps})

    def _keep_earlier(self, phase: Phase, share: float, stepper: Stepper) -> None:
        """Weights on the way of a rehearsal's last look, see `EARLIER`."""
        if phase.run != "rehearsal" or phase.look != len(self._plan.looks) - 1:
            return
        for wanted in EARLIER:
            if share >= wanted and phase.at(wanted) not in self._done:
                now = stepper.weights.items()
                self._done[phase.at(wanted)] = {name: value.clone() for name, value in now}

    def _keep(self, phase: Phase, stepper: Stepper) -> None:
        done = {"done": self._done, "steps": self._steps}
        self._round.keep({**done, "phase": phase.key, "state": stepper.state()})

    def _stepper(self, phase: Phase) -> Stepper:
        seed = self._seed + (phase.run == "final")
        if phase.part is not None:
            return self._promptable.stepper(phase.part, phase.run, seed)
        look = self._plan.looks[phase.look or 0]
        return LookTrainer(
            self._lessons(phase), self._plan, look, seed, self._wishes.recipe,
            self._wishes.device,
        )  # fmt: skip

    def _shown(self, run: str) -> list[str]:
        """Ids of the cases that a run learns from."""
        left_out = self._split.held if run == "rehearsal" else ()
        return [id for id in self._split.learned if id not in left_out]

    def _lessons(self, phase: Phase) -> list[Lesson]:
        return [
            make_lesson(
                one.id, one.volume, one.labels, self._plan.structures,
                self._plan.looks[phase.look or 0], self._plan.brightness, one.unknown,
            )
            for one in self._cases(phase.run)
        ]  # fmt: skip

    # -- judging -------------------------------------------------------------------------------

    def _weights(self, run: str, share: float = 1.0) -> tuple[dict[str, Tensor], ...]:
        """Of each look of a run; of its last one as they were on the way. Empty of none."""
        looks = [one for one in self._phases if one.run == run and one.part is None]
        keys = [one.key for one in looks]
        if share < 1 and looks:
            keys[-1] = looks[-1].at(share)
        return tuple(self._done[key] for key in keys) if self._done.keys() >= set(keys) else ()

    def _tuned(self, run: str) -> Stored:
        """What tuning changed in a run, as it is stored."""
        tuned = [one for one in self._phases if one.run == run]
        return self._promptable.stored({one.part: self._done[one.key] for one in tuned if one.part})

    def _looked(
        self, jury: Jury, times: Sequence[tuple[dict[str, Tensor], ...]], asked: Asked
    ) -> list[list[Judgement]]:
        """What was reached; what loses by being one piece is not left in one from now on."""
        judged = jury.on_looks(times, asked) or [[]]
        if lost := judging.torn(judged[0]):
            self._plan = self._plan.in_pieces(lost)
            judged = replace(jury, plan=self._plan).on_looks(times, asked)
        return judged

    def _jury(self, run: str) -> Jury:
        doing = Progress("judging", 1.0 if run == "final" else REHEARSAL, 0.0)
        held = {id: self._pupils.subjects[id] for id in self._split.held}
        return Jury(self._project, held, self._plan, self._seed, lambda: self._told(doing))

    # -- what comes of it ----------------------------------------------------------------------

    def _finished(
        self,
        looked: list[Judgement],
        earlier: list[Judgement],
        prompted: list[Prompted],
        seconds: float,
    ) -> Outcome:
        reached, gained = judging.summary(looked), self._gains(prompted)
        calibration = judging.calibration_of(looked, earlier) if looked else Calibration()
        about = {
            "round": self._round.number,
            "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "seconds": round(seconds, 1),
            "minutes": self._wishes.minutes,
            "steps": self._wishes.steps,
            "seed": self._seed,
            "what": self._wishes.what,
            "of": self._wishes.of or "compact",
            "lora": self._wishes.lora,
            "began": self._began_with(),
            "sammed": __version__,
            "held": list(self._split.held),
            "rehearsed": self._split.rehearsed,
        }
        new = Made(
            Teaching(
                self._plan, self._project.description.name, self._marks, reached, about,
                calibration.as_dict(), self._about_tuned(gained, about),
            ),
            self._weights("final"),
            self._tuned("final"),
        )  # fmt: skip
        former, why = former_model(model_path(self._project))
        verdict, tuned = self._verdicts(new, former, why, looked, gained)
        segmenter = bool(verdict.get("used"))
        used = segmenter or bool(tuned.get("used"))
        file = model_path(self._project)
        if used:
            self._round.keep_former(file)
            self._write(file, joined(new, former, segmenter, bool(tuned.get("used"))))
        if not all(one["used"] for one in (verdict, tuned) if one):
            kept = self._round.folder / f"not-used{SUFFIX}"
            self._write(kept, joined(new, None, bool(new.weights), bool(new.tuned)))
            file = file if used else kept
        report = {
            "format": "sammed-round/1",
            **about,
            "learned": list(self._split.learned),
            "structures": {str(v): n for v, n in self._plan.structures.items()},
            "plan": self._plan.as_dict(),
            "reached": reached,
            "cases": [one.told(calibration) for one in looked],
            "earlier": [one.told(calibration) for one in earlier],
            "calibration": calibration.as_dict(),
            "verdict": verdict,
            "prompted": {"gained": gained, "verdict": tuned, "cases": [
                {"case": one.case, "structure": one.structure, "before": round(one.before, 4),
                 "after": round(one.after, 4)}
                for one in prompted
            ]},
            "steps_done": self._steps,
            "notes": [
                *self._pupils.notes, *too_short(self._steps),
                *(replaced_tuning(former, new) if tuned.get("used") else ()),
            ],
            "file": file.name,
        }  # fmt: skip
        self._round.finish(report)
        return Outcome(file, used, report)

    def _began_with(self) -> list[str]:
        """Which shipped features the segmenter's looks began with."""
        learned = any(one.part is None for one in self._phases)
        if not (learned and self._wishes.recipe.pretrained):
            return []
        return list(dict.fromkeys(map(began_with, self._plan.looks)))

    def _about_tuned(self, gained: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
        """What the file says of tuning; nothing if nothing was tuned."""
        if all(one.part is None for one in self._phases):
            return {}
        return {
            **self._promptable.about,
            "structures": list(self._plan.structures.values()),
            "cases": self._marks,
            "judged": gained,
            "held": list(self._split.held),
            "worse": worse(gained),
            "round": about["round"],
            "when": about["when"],
            "rehearsed": self._split.rehearsed,
        }

    def _verdicts(
        self,
        new: Made,
        former: LearnedFile | None,
        why: str,
        looked: list[Judgement],
        gained: Mapping[str, Any],
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Of the segmenter and of what was tuned; empty of what was not learned."""
        read = partial(read_all, self._project)
        verdict = (
            segmenter_verdict(former, why, looked, new.teaching, self._unseen_by, read)
            if new.weights
            else {}
        )
        tuned = tuned_verdict(former, gained, self._split.held) if new.tuned else {}
        return verdict, tuned  # fmt: skip

    def _unseen_by(self, former: Teaching) -> set[str]:
        """Ids of held-back cases that the former model did not learn from, nor propose.

        A label map that began as a learned model's proposal resembles it, however it was mended:
        it would be judged by its own answers.
        """
        seen = set(former.cases.values())
        held = [self._project.case(id) for id in self._split.held]
        own = [case for case in held if f"{SUFFIX} " not in case.record.model]
        return {case.id for case in own if case.scan.mark not in seen}

    def _write(self, file: Path, made: Made) -> None:
        payload = pack(made.teaching, made.weights, model_card(made.teaching), made.tuned)
        with atomic_output(file, force=True) as temporary:
            temporary.write_bytes(payload)


_WORDS = {"rehearsal": "rehearsing", "final": "learning"}

_FIXED = {
    "cases": "the accepted cases or structures have",
    "structures": "the accepted cases or structures have",
    "parents": "the checkpoint that is tuned has",
}
"""What has to be the same where a run goes on, and how it is called."""


def _doing(phase: Phase) -> str:
    return "to find them" if phase.part is None else "from prompts"
