"""Proposals for the cases that nobody has labelled yet, each with an estimated Dice."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sammed.errors import Cancelled, InputError, SammedError
from sammed.imaging.volume import LabelVolume, label_dtype
from sammed.learning.course import model_path
from sammed.learning.estimate import Calibration, doubts
from sammed.learning.judging import labels_of
from sammed.models.learned.model import LearnedModel
from sammed.project.case import CaseFolder
from sammed.project.folder import Project
from sammed.project.lease import InWorkError

BATCH = "accept-above"
"""What the history calls cases that were accepted by their estimate alone."""


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
    calibration
        How estimates were measured.
    """

    proposals: tuple[Proposal, ...]
    skipped: tuple[str, ...]
    calibration: Calibration


Told = Callable[[str, int, int, float], None]
"""Takes the case, how many are done of how many, and the seconds that are left."""


def propose(
    project: Project,
    *,
    model: Path | None = None,
    accept_above: float | None = None,
    device: str = "cpu",
    told: Told = lambda case, done, total, left: None,
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
        Accept proposals of which every structure is thought to have at least this Dice; only with
        a model whose estimates were measured on held-back cases.
    device
        Where.
    told
        Called before every case; raises to stop.

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
    calibration = Calibration.from_dict(learned.teaching.calibration)
    _check_fits(project, learned)
    if accept_above is not None and calibration.people < 2:
        raise InputError(
            "estimates of this model were not measured: fewer than two people were held back; "
            "accept cases of more people and learn again, or accept proposals one by one"
        )
    who = f"{path.name} {learned.spec.weights_hash[:12]}"
    waiting, skipped = _waiting(project, who)
    done: list[Proposal] = []
    began = time.monotonic()
    for number, case in enumerate(waiting):
        each = (time.monotonic() - began) / number if number else 0.0
        told(case.id, number, len(waiting), each * (len(waiting) - number))
        try:
            done.append(_propose_one(project, case, learned, calibration, who, accept_above))
        except Cancelled:
            raise
        except SammedError as error:
            done.append(Proposal(case.id, error=" ".join(str(error).split())))
    return Proposed(tuple(done), tuple(skipped), calibration)


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
        elif record.state == "todo" or record.model != "import":
            waiting.append(case)
    return waiting, skipped


def _propose_one(
    project: Project,
    case: CaseFolder,
    learned: LearnedModel,
    calibration: Calibration,
    who: str,
    accept_above: float | None,
) -> Proposal:
    with case.held(0.0) as lease:
        if case.record.state not in ("todo", "proposed"):
            raise InWorkError(f"{case.id} was {case.record.state} meanwhile")
        volume = case.volume()
        plan = learned.teaching.plan
        seen = learned.see(volume, lease.check)
        voxels = labels_of(seen, plan, volume)
        voxels = voxels.astype(label_dtype(max(plan.structures)))
        labels = LabelVolume(voxels, volume.grid, dict(project.description.names))
        doubted = doubts(seen, plan)
        estimated = {name: round(calibration.estimate(one), 4) for name, one in doubted.items()}
        accepted = accept_above is not None and min(estimated.values()) >= accept_above
        report = {
            "model": who,
            "estimated": estimated,
            "calibrated": calibration.people > 0,
            "looks": {
                name: {"promise": round(one.promise, 4), "agreement": round(one.agreement, 4)}
                for name, one in doubted.items()
            },
            "volumes_ml": {name: round(ml, 3) for name, ml in labels.volumes_ml().items()},
        }
        missing = [name for name, one in doubted.items() if not one.promise]
        change = {
            "state": "accepted" if accepted else "proposed",
            "model": who,
            "estimated": estimated,
            "note": f"found no {', '.join(missing)}" if missing else "",
        }
        case.commit(
            lease, BATCH if accepted else "propose", change, labels=labels, report=report,
            about={"model": who},
        )  # fmt: skip
        return Proposal(case.id, estimated, accepted)


def undo_accepted(project: Project) -> list[str]:
    """Make proposals again of all cases that were accepted by their estimate alone.

    Cases that a person has looked at since stay as they are.

    Parameters
    ----------
    project
        The project.

    Returns
    -------
    list of str
        Ids of those cases.
    """
    undone = []
    for case in project.cases():
        if not _by_estimate(case):
            continue
        with case.held() as lease:
            if _by_estimate(case):
                case.commit(lease, "undo", {"state": "proposed"})
                undone.append(case.id)
    return undone


def _by_estimate(case: CaseFolder) -> bool:
    record = case.record
    last = record.history[-1]["what"] if record.history else ""
    return record.state == "accepted" and last == BATCH
