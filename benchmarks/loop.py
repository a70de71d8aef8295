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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sammed import io
from sammed.evaluation.manifest import Case, read_manifest
from sammed.evaluation.protocols import Condition
from sammed.evaluation.results import Row
from sammed.evaluation.trial import Target, run_trial
from sammed.imaging.masks import dice
from sammed.imaging.volume import LabelVolume, Volume
from sammed.learning.course import Wishes, learn
from sammed.learning.estimate import Doubt, calibrate
from sammed.learning.exercises import make_exercises
from sammed.learning.judging import (
    Judgement,
    Taught,
    calibration_of,
    judge,
    summary,
    told_difference,
)
from sammed.learning.phases import PART_SHARES
from sammed.learning.planning import fingerprint, make_plan
from sammed.learning.stepping import Budget
from sammed.learning.training import Recipe
from sammed.learning.tuning import Tuner, TuningRecipe, parts_for, towards
from sammed.models.compact.model import CompactModel
from sammed.models.compact.tuned import difference, shipped_nets, tuned_nets
from sammed.models.learned.file import Teaching, pack
from sammed.models.learned.model import LearnedModel
from sammed.models.protocols import ImageModel
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
    if name == "polyps":
        return polyps(folder.parent)
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
        names: dict[Any, str] = {v: n for n, v in ORGANS.items()}
        cases.append(Case(f"a{number:02}", image, label, dict(names), "CT", subject=str(number)))
    return Cohort(cases, dict(ORGANS))


def read(case: Case, structures: dict[str, int]) -> tuple[Volume, LabelVolume]:
    """A scan and its reference, with the structures' values alone."""
    if case.image.suffix == ".jpg":
        return picture(case)
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


def polyps(folder: Path) -> Cohort:
    """Colour pictures with a polyp each; those in ``built`` are among them."""
    images = sorted((folder / "polyp_kvasir" / "images").glob("*.jpg"))
    cases = [
        Case(image.stem, image, image.parents[1] / "masks" / image.name, {1: "polyp"},
             subject=image.stem)
        for image in images
    ]  # fmt: skip
    return Cohort(cases, {"polyp": 1})


def picture(case: Case) -> tuple[Volume, LabelVolume]:
    """A JPEG and its mask as a volume of one slice, 1 mm assumed."""
    from PIL import Image

    seen = np.asarray(Image.open(case.image).convert("RGB"))[None]
    mask = (np.asarray(Image.open(case.label).convert("L")) > 127)[None]
    affine = np.diag([1.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]]
    volume = Volume.from_array(seen, affine)
    return volume, LabelVolume(mask.astype(np.uint8), volume.grid, {1: "polyp"})


def prompted(model: ImageModel, cases: list[Case], found: Cohort, said: argparse.Namespace) -> Any:
    """Dice of every structure of cases, from simulated prompts, as rows."""
    rows = []
    condition = Condition(said.prompt)
    for case in cases:
        volume, labels = read(case, found.structures)
        for name in [said.structure] if said.structure else found.structures:
            mask = labels.voxels == found.structures[name]
            if mask.any():
                target = Target(name, found.structures[name], mask, mask)
                step = next(iter(run_trial(volume, target, model, condition, case=case.id)))
                reached = dice(step.mask, mask)
                rows.append(Row(case.id, case.subject or case.id, "", "", "", name, "", "compact",
                                said.prompt, dice=reached))  # fmt: skip
    return rows


def one_tuning(found: Cohort, said: argparse.Namespace, seed: int) -> None:
    """Tune compact to one draw, and prompt the others before and after."""
    learned, others = draw(found, said.learn, said.test, seed)
    names = {v: n for n, v in found.structures.items() if said.structure in ("", n)}
    exercises = make_exercises(taught(learned, found.structures), names, seed)
    shipped = shipped_nets()
    recipe = TuningRecipe(trained=said.trained, share=said.share)
    if said.rate:
        recipe = replace(recipe, rates=replace(recipe.rates, rate=said.rate))
    parts = said.parts.split(",") if said.parts else parts_for(exercises)
    total = sum(PART_SHARES[part] for part in parts)
    stored, seconds = {}, {}
    for part in parts:
        began = time.monotonic()
        tuner = Tuner(part, shipped.part(part), exercises, seed, recipe)
        share = PART_SHARES[part] / total
        tuner.run(Budget(60 * said.minutes * share, said.steps))
        net = shipped.part(part)
        stored[part] = difference(net, towards(net, tuner.weights, said.share))
        seconds[part] = f"{tuner.step} steps, {time.monotonic() - began:.0f} s"
    nets = tuned_nets(shipped, shipped.hashes, stored)
    before, after = (
        prompted(CompactModel(nets=one), others, found, said) for one in (shipped, nets)
    )
    line = {
        "draw": seed,
        "learned_from": len(learned),
        "learned": seconds,
        **told_difference(before, after),
        "structures": {
            name: told_difference([r for r in before if r.object == name],
                                  [r for r in after if r.object == name])
            for name in dict.fromkeys(r.object for r in before)
        },
    }  # fmt: skip
    print(json.dumps(line), flush=True)
    if said.save:
        plan = make_plan([fingerprint(one.volume, one.labels)
                          for one in taught(learned[:1], found.structures)], names)  # fmt: skip
        about = {"round": 0, "when": "", "seconds": 0, "seed": seed, "sammed": "", "rehearsed": 0}
        tuned = {"parents": dict(shipped.hashes), "worse": [], "judged": {}, "held": [],
                 "structures": list(names.values()),
                 "cases": {c.id: "" for c in learned}}  # fmt: skip
        teaching = Teaching(replace(plan, looks=()), said.cohort, about=about, tuned=tuned)
        said.save.write_bytes(pack(teaching, (), "", stored))


def one_draw(found: Cohort, said: argparse.Namespace, seed: int, work: Path) -> list[Judgement]:
    """Learn from one draw and score the others."""
    learned, others = draw(found, said.learn, said.test, seed)
    project = Project.create(work / f"draw-{seed}", found.structures, seed=seed)
    project.add([Found(case.image, case.id, case.subject) for case in learned])
    for case in learned:
        project.accept(case.id, read(case, found.structures)[1])
    began = time.monotonic()
    outcome = learn(project, wishes_of(said))
    spent = time.monotonic() - began
    model = LearnedModel(outcome.file)
    judged = judge(
        taught(others, found.structures), model.teaching.plan, model.nets, prompted=model.prompted
    )
    reached = summary(judged)
    held = outcome.report["reached"]
    line = {
        "draw": seed,
        "cases": len(learned),
        "seconds": round(spent),
        "dice": reached["mean"]["dice"],
        "structures": {n: one["dice"] for n, one in reached["structures"].items()},
        "expected": held["mean"]["dice"] if held else None,
        "estimates": estimates(outcome.report, judged),
        "attainable": calibration_of(judged).as_dict(),
    }
    print(json.dumps(line), flush=True)
    return judged


def wishes_of(said: argparse.Namespace) -> Wishes:
    """What a course is asked for."""
    recipe = Recipe(pretrained=not said.from_scratch)
    return Wishes(said.minutes, said.steps, what=said.what, recipe=recipe)


def estimates(report: Mapping[str, Any], judged: list[Judgement]) -> dict[str, Any]:
    """How right estimates are that rest on some doubts and on some of the held-back proposals."""
    true = np.array([one.dice for one in judged])
    found = {}
    for name, earlier, second in (
        ("all", True, True), ("no earlier", False, True), ("no second opinion", True, False),
        ("neither", False, False),
    ):  # fmt: skip
        held = [*report["cases"], *(report["earlier"] if earlier else ())]
        told = [Doubt(**one["doubt"]) for one in held]
        asked = [one.doubt for one in judged]
        if not second:
            told, asked = ([replace(one, second=None) for one in some] for some in (told, asked))
        own = calibrate([one["subject"] for one in held], told, [one["dice"] for one in held])
        guessed = np.array([own.estimate(one) for one in asked])
        found[name] = {
            "r": round(float(np.corrcoef(guessed, true)[0, 1]), 3),
            "error": round(float(np.abs(guessed - true).mean()), 4),
            "error_of_mean": round(abs(float(guessed.mean() - true.mean())), 4),
        }
    return found


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
    parser.add_argument("--from-scratch", action="store_true", help="begin with random weights")
    parser.add_argument("--what", default="segmenter", help="promptable: compact tuned, alone")
    parser.add_argument("--prompt", default="B", help="protocol by which compact is asked")
    parser.add_argument("--structure", default="", help="only this one is tuned to and asked for")
    parser.add_argument("--parts", default="", help="of compact that are tuned; default: all")
    parser.add_argument("--trained", default="all", help="all, decoder or norms")
    parser.add_argument("--share", type=float, default=TuningRecipe.share, help="of the tuned")
    parser.add_argument("--rate", type=float, help="of the networks for views")
    parser.add_argument("--save", type=Path, help="the tuned compact as a .sammed file")
    said = parser.parse_args()
    torch.set_num_threads(said.threads)
    if said.what == "promptable":
        found = cohort(said.cohort, said.folder, Path())
        for seed in range(said.first, said.first + said.draws):
            one_tuning(found, said, seed)
        return
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
