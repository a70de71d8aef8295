"""Proposals for the cases that nobody has labelled yet, each with an estimated Dice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sammed.errors import InputError, SammedError, UnreadableFileError
from sammed.imaging.volume import LabelVolume, Volume, label_dtype
from sammed.learning.course import model_path
from sammed.learning.estimate import Calibration, doubts
from sammed.learning.judging import labels_of, opinion_on
from sammed.many.content import fingerprint
from sammed.many.crew import Crew, Tell
from sammed.many.record import CLAIM_S
from sammed.many.runner import Told, run_many
from sammed.many.task import Entry, Outcome, Task, Watch
from sammed.models.devices import set_threads
from sammed.models.learned.model import LearnedModel
from sammed.models.learned.pieces import told_apart
from sammed.project.case import CaseFolder, Record
from sammed.project.folder import CASES, Project
from sammed.project.lease import InWorkError, Lease

BATCH = "accept-above"
"""What the history calls cases that were accepted by their estimate alone."""

OVER_VOLUME = 16
"""A worker's peak over the bytes of a scan: the shares of all structures, in 32 bits, twice."""


@dataclass(frozen=True)
class Proposal:
    """What came of one case.

    Attributes
    ----------
    case
        Its id.
    estimated
        Dice that it is thought to have, by structure; 0 of one that was not found.
    accepted
        Whether it was accepted by its estimate.
    error
        Why there is no proposal; empty if there is one.
    """

    case: str
    estimated: Mapping[str, float] = field(default_factory=dict)
    accepted: bool = False
    error: str = ""


@dataclass(frozen=True)
class Proposed:
    """What came of all.

    Attributes
    ----------
    proposals
        In the order in which they were made.
    skipped
        Ids of cases that this model has proposed before.
    taken
        Of these, those that were accepted now.
    calibration
        How estimates were measured.
    outcomes
        The same as the runner tells it.
    """

    proposals: tuple[Proposal, ...]
    skipped: tuple[str, ...]
    calibration: Calibration
    outcomes: tuple[Outcome, ...] = ()
    taken: tuple[str, ...] = ()


def propose(
    project: Project,
    *,
    model: Path | None = None,
    accept_above: float | None = None,
    device: str = "cpu",
    threads: int | None = None,
    crew: Crew = Crew(),  # noqa: B008 - a value
    told: Told = lambda advance: None,
    say: Tell = lambda line: None,
) -> Proposed:
    """Label every case that is to do, or was proposed by another model.

    It can be stopped and called again: what this model has proposed is not done twice. A case
    that goes wrong does not stop the others.

    Parameters
    ----------
    project
        The project.
    model
        A learned model's file; by default the project's own.
    accept_above
        Accept proposals of which every structure is thought to have at least this Dice, also those
        that this model has made before; only with a model whose estimates were measured on
        held-back cases.
    device, threads
        Where, and on how many threads of each worker; see `Crew.threads`.
    crew
        Who does the work.
    told
        Called whenever something has changed; raises to stop.
    say
        Takes lines for the user.

    Raises
    ------
    InputError
        If there is no model, or estimates were not measured and cases are to be accepted by them.
    LabelError
        If the model's structures are not the project's.
    """
    path = model or model_path(project)
    if not path.is_file():
        raise InputError(
            f"{project.folder} has no learned model; 'sammed learn {project.folder}' makes one"
        )
    learned = LearnedModel(path, device)
    if not learned.teaching.plan.looks:
        raise InputError(
            f"{path} finds nothing without a prompt; 'sammed learn {project.folder} --what "
            "segmenter' teaches it"
        )
    calibration = Calibration.from_dict(learned.teaching.calibration)
    _check_fits(project, learned)
    if accept_above is not None and calibration.people < 2:
        raise InputError(
            "estimates of this model were not measured: fewer than two people were held back; "
            "accept cases of six people or more and learn again, or accept proposals one by one"
        )
    who = f"{path.name} {learned.spec.weights_hash[:12]}"
    waiting, skipped = _waiting(project, who)
    taken = () if accept_above is None else _take(project, skipped, who, accept_above, say)
    if not waiting:
        return Proposed((), tuple(skipped), calibration, taken=taken)
    each = crew.memory((case.image for case in waiting), OVER_VOLUME)
    job = ProposeJob(
        project.folder.absolute(), path.absolute(), who, accept_above, device,
        crew.threads(threads), each,
    )  # fmt: skip
    tasks = [Task(case.id) for case in waiting]
    outcomes = run_many(job, tasks, crew, about={"job": "propose"}, told=told, say=say)
    proposals = tuple(_proposal(one) for one in outcomes)
    return Proposed(proposals, tuple(skipped), calibration, tuple(outcomes), taken)


def _proposal(outcome: Outcome) -> Proposal:
    if outcome.error:
        return Proposal(outcome.id, error=outcome.error)
    said = outcome.result
    return Proposal(outcome.id, dict(said["estimated"]), bool(said["accepted"]))


@dataclass(frozen=True)
class ProposeJob:
    """Proposing with one model; see `sammed.many.task.Job`.

    Attributes
    ----------
    folder
        Of the project.
    model
        The file of the learned model.
    who
        What the record of a case calls it.
    accept_above, device, threads
        As `propose`.
    largest
        Bytes that a worker may need.
    """

    folder: Path
    model: Path
    who: str
    accept_above: float | None = None
    device: str = "cpu"
    threads: int | None = None
    largest: int = 0

    @property
    def record(self) -> Path:
        """Where it is kept what became of each try; what was proposed the case itself says."""
        return self.folder / "record"

    @property
    def mark(self) -> str:
        """Hash of the model."""
        return fingerprint("propose", self.who)

    def prepare(self) -> tuple[Project, LearnedModel]:
        """The project, and the model."""
        set_threads(self.threads)
        return Project(self.folder), LearnedModel(self.model, self.device)

    def memory(self) -> int:
        """See `sammed.many.task.Job`."""
        return self.largest

    def finished(self, task: Task, entry: Entry | None) -> Mapping[str, Any] | None:
        """What the case says, if it was proposed by this model meanwhile."""
        record = CaseFolder(self.folder / CASES / task.id).record
        proposed = record.state == "proposed"
        accepted = record.state == "accepted" and _last(record) == BATCH
        if record.model != self.who or not (proposed or accepted):
            return None
        return {"estimated": dict(record.estimated), "accepted": accepted}

    def begin(self, task: Task, entry: Entry | None) -> Mapping[str, Any]:
        """Nothing: the case itself is changed as a whole or not at all."""
        return {}

    def work(
        self,
        tools: tuple[Project, LearnedModel],
        task: Task,
        entry: Entry | None,
        watch: Watch,
    ) -> Mapping[str, Any]:
        """Propose one case."""
        project, learned = tools
        calibration = Calibration.from_dict(learned.teaching.calibration)
        found = _propose_one(
            project, project.case(task.id), learned, calibration, self.who, self.accept_above, watch
        )
        return {"estimated": dict(found.estimated), "accepted": found.accepted}


def _check_fits(project: Project, learned: LearnedModel) -> None:
    for name, value in learned.spec.structures.items():
        theirs = project.structure_value(name)
        if theirs != value:
            raise InputError(
                f"{name} is {value} in the model and {theirs} in the project; learn again"
            )


def _waiting(project: Project, who: str) -> tuple[list[CaseFolder], list[str]]:
    waiting, skipped = [], []
    for case in project.queue():
        record = case.record
        if record.state == "proposed" and record.model == who:
            skipped.append(case.id)
        elif not _by_person(record):
            waiting.append(case)
    return waiting, skipped


def _take(
    project: Project, ids: Sequence[str], who: str, accept_above: float, say: Tell
) -> tuple[str, ...]:
    """Accept proposals that were made before and are thought to be good enough."""

    def good(record: Record) -> bool:
        known = record.state == "proposed" and record.model == who and not _by_person(record)
        return known and min(record.estimated.values(), default=0.0) >= accept_above

    taken = []
    for case in map(project.case, ids):
        try:
            if not good(case.record):
                continue
            with case.held(0.0) as lease:
                if good(case.record):
                    case.commit(lease, BATCH, {"state": "accepted"}, about={"model": who})
                    taken.append(case.id)
        except (InWorkError, UnreadableFileError) as error:
            say(f"{case.id} stays as it is: {error}")
    return tuple(taken)


def _propose_one(
    project: Project,
    case: CaseFolder,
    learned: LearnedModel,
    calibration: Calibration,
    who: str,
    accept_above: float | None,
    watch: Watch,
) -> Proposal:
    with case.held(0.0, fresh_s=CLAIM_S) as lease:
        if case.record.state not in ("todo", "proposed") or _by_person(case.record):
            raise InWorkError(f"{case.id} was {case.record.state} meanwhile")
        volume = _read(case, lease)
        plan = learned.teaching.plan
        seen = learned.see(volume, watch.check)
        voxels = labels_of(seen, plan, volume)
        voxels = voxels.astype(label_dtype(max(plan.structures)))
        labels = LabelVolume(voxels, volume.grid, dict(project.description.names))
        asked = learned.asked if calibration.asks else None
        doubted = doubts(seen, plan, opinion_on(volume, seen, asked))
        estimated = {name: round(calibration.estimate(one), 4) for name, one in doubted.items()}
        accepted = accept_above is not None and min(estimated.values()) >= accept_above
        report = {
            "model": who,
            "estimated": estimated,
            "calibrated": calibration.people > 0,
            "looks": {
                name: {
                    key: round(value, 4) for key, value in asdict(one).items() if value is not None
                }
                for name, one in doubted.items()
            },
            "volumes_ml": {name: round(ml, 3) for name, ml in labels.volumes_ml().items()},
        }
        missing = [name for name, one in doubted.items() if not one.promise]
        notes = [f"found no {', '.join(missing)}"] if missing else []
        notes += [told_apart(seen.apart)] if seen.apart else []
        change = {
            "state": "accepted" if accepted else "proposed",
            "model": who,
            "estimated": estimated,
            "note": "; ".join(notes),
        }
        case.commit(
            lease, BATCH if accepted else "propose", change, labels=labels, report=report,
            about={"model": who},
        )  # fmt: skip
        return Proposal(case.id, estimated, accepted)


def _read(case: CaseFolder, lease: Lease) -> Volume:
    """A case's scan; if it cannot be read, the case says so from then on."""
    try:
        return case.volume()
    except SammedError as error:
        note = " ".join(f"cannot be read: {error}".split())
        if case.record.note != note:
            case.commit(lease, "failed", {"note": note})
        raise


def _by_person(record: Record) -> bool:
    """Whether the label map is a person's, also of a case that was taken back: it is not lost."""
    return bool(record.labels) and any(
        event.get("what") in ("accept", "import") for event in record.history
    )


def undo_accepted(project: Project, say: Tell = lambda line: None) -> list[str]:
    """Make proposals again of all cases that were accepted by their estimate alone.

    Cases that a person has looked at since stay as they are, and so does one that somebody works
    on or that cannot be read.

    Parameters
    ----------
    project
        The project.
    say
        Takes a line for each of the latter.

    Returns
    -------
    list of str
        Ids of those cases.
    """
    undone = []
    for case in project.cases():
        try:
            if not _by_estimate(case):
                continue
            with case.held(0.0) as lease:
                if _by_estimate(case):
                    case.commit(lease, "undo", {"state": "proposed"})
                    undone.append(case.id)
        except (InWorkError, UnreadableFileError) as error:
            say(f"{case.id} stays as it is: {error}")
    return undone


def _by_estimate(case: CaseFolder) -> bool:
    record = case.record
    return record.state == "accepted" and _last(record) == BATCH


def _last(record: Record) -> str:
    """What was done to a case last."""
    return str(record.history[-1]["what"]) if record.history else ""
