"""What the labelling loop reaches: cases learned, minutes, Dice on others, estimated against true.

``python -m benchmarks.loop hippocampus --learn 3 --minutes 5`` draws people to learn from, learns
as ``sammed learn`` does, and scores the model on others without a prompt. Cohorts are folders with
a ``cases.json`` (``--cohort``), or ``abdomens``, which are made. As other work may share the
cores, ``--steps`` gives figures that do not depend on it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from sammed import io
from sammed.evaluation.manifest import Case, read_manifest
from sammed.imaging.volume import LabelVolume, Volume
from sammed.learning.course import Wishes, learn
from sammed.learning.estimate import Calibration
from sammed.learning.judging import Judgement, Taught, calibration_of, judge, summary
from sammed.models.learned.model import LearnedModel
from sammed.project.folder import Project
from sammed.project.sources import Found
from sammed.synthesis.abdomens import ORGANS, make_abdomen

COHORTS = Path(__file__).resolve().parents[2] / "shared" / "data" / "cohorts"


@dataclass(frozen=True)
class Cohort:
    """Cases with people, and what their label maps hold."""

    cases: list[Case]
    structures: dict[str, int]


def cohort(name: str, folder: Path, work: Path) -> Cohort:
    """A cohort by its name; abdomens are written into the working folder."""
    if name != "abdomens":
        cases = read_manifest(folder / name / "cases.json")
        named = {n: v for v, n in cases[0].labels.items() if isinstance(v, int)}
        return Cohort(cases, named)
    cases = []
    for number in range(30):
        volume, labels = make_abdomen(number)
        image, label = work / f"a{number:02}.nii.gz", work / f"a{number:02}-labels.nii.gz"
        io.write_volume(volume, image)
        io.write_labels(labels, label)
        names = {v: n for n, v in ORGANS.items()}
        cases.append(Case(f"a{number:02}", image, label, dict(names), "CT", subject=str(number)))
    return Cohort(cases, dict(ORGANS))


def read(case: Case, structures: dict[str, int]) -> tuple[Volume, LabelVolume]:
    """A scan and its reference, with the structures' values alone."""
    volume = io.read(case.image)
    if case.modality and not volume.modality:
        volume = replace(volume, modality=case.modality)
    labels = io.read_labels(case.label, like=volume)
    kept = np.where(np.isin(labels.voxels, list(structures.values())), labels.voxels, 0)
    return volume, replace(labels, voxels=kept, names={v: n for n, v in structures.items()})


def draw(found: Cohort, people: int, tested: int, seed: int) -> tuple[list[Case], list[Case]]:
    """Cases of some people to learn from, and some of the others'."""
    rng = np.random.default_rng(seed)
    everybody = sorted({case.subject for case in found.cases})
    chosen = {everybody[n] for n in rng.permutation(len(everybody))[:people]}
    rest = [case for case in found.cases if case.subject not in chosen]
    others = [rest[n] for n in rng.permutation(len(rest))[:tested]]
    return [case for case in found.cases if case.subject in chosen], others


def taught(cases: list[Case], structures: dict[str, int]) -> Iterator[Taught]:
    """Cases as `judge` takes them."""
    for case in cases:
        volume, labels = read(case, structures)
        yield Taught(case.id, case.subject, "", volume, labels.voxels)


def one_draw(found: Cohort, said: argparse.Namespace, seed: int, work: Path) -> list[Judgement]:
    """Learn from one draw and score the others."""
    learned, others = draw(found, said.learn, said.test, seed)
    project = Project.create(work / f"draw-{seed}", found.structures, seed=seed)
    project.add([Found(case.image, case.id, case.subject) for case in learned])
    for case in learned:
        project.accept(case.id, read(case, found.structures)[1])
    began = time.monotonic()
    outcome = learn(project, Wishes(said.minutes, said.steps))
    spent = time.monotonic() - began
    model = LearnedModel(outcome.file)
    judged = judge(taught(others, found.structures), model.teaching.plan, model.nets)
    own = Calibration.from_dict(outcome.report["calibration"])
    estimated = np.array([own.estimate(one.doubt) for one in judged])
    true = np.array([one.dice for one in judged])
    reached = summary(judged)
    held = outcome.report["reached"]
    line = {
        "draw": seed,
        "cases": len(learned),
        "seconds": round(spent),
        "dice": reached["mean"]["dice"],
        "structures": {n: one["dice"] for n, one in reached["structures"].items()},
        "expected": held["mean"]["dice"] if held else None,
        "r": round(float(np.corrcoef(estimated, true)[0, 1]), 3),
        "error": round(float(np.abs(estimated - true).mean()), 4),
        "error_of_mean": round(abs(float(estimated.mean() - true.mean())), 4),
        "attainable": calibration_of(judged).as_dict(),
    }
    print(json.dumps(line), flush=True)
    return judged


def main() -> None:
    """One row of the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", help="hippocampus, cine_lv, ..., or abdomens")
    parser.add_argument("--folder", type=Path, default=COHORTS)
    parser.add_argument("--learn", type=int, default=3, help="people")
    parser.add_argument("--test", type=int, default=60, help="cases of others")
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="first draw")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--threads", type=int, default=1)
    said = parser.parse_args()
    torch.set_num_threads(said.threads)
    with tempfile.TemporaryDirectory() as work:
        found = cohort(said.cohort, said.folder, Path(work))
        every = [
            one
            for seed in range(said.first, said.first + said.draws)
            for one in one_draw(found, said, seed, Path(work))
        ]
    print(json.dumps({"cohort": said.cohort, "learned": said.learn, **summary(every)}))


if __name__ == "__main__":
    main()
