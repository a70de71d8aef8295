"""What one labelled scan explains of another: examples, absence, follow-up, phases.

``python -m benchmarks.examples`` measures all rows and prints them against their targets;
``python -m benchmarks.examples hippocampus gone`` some, which join those of
``benchmarks/results/examples.json``. Rows on data that is not there are skipped, with the reason.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks import machine, table
from sammed.api import gather_prompts, load_model, make_session
from sammed.evaluation.manifest import Case, read_manifest
from sammed.examples.asking import example_model
from sammed.examples.carrying import Target, lay
from sammed.examples.library import Example
from sammed.examples.model import Taking
from sammed.imaging import registration as reg
from sammed.imaging.masks import dice
from sammed.imaging.volume import LabelVolume, Volume
from sammed.synthesis.abdomens import ORGANS, make_abdomen

RESULTS = Path(__file__).parent / "results" / "examples.json"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "examples.md"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FIRST_ABDOMEN = 9000
"""Seeds from here on; those below were looked at while constants were chosen."""

Found = dict[str, Any]
Pair = tuple[Volume, LabelVolume]


@dataclass(frozen=True)
class Row:
    """One line of the table: what is measured, and what is wanted of it."""

    what: str
    run: Callable[[int], Found]
    wanted: Mapping[str, tuple[str, float]]
    count: int


def cohort(name: str) -> list[Case]:
    path = DATA / "cohorts" / name / "cases.json"
    if not path.is_file():
        raise FileNotFoundError(f"no cohort {name} at {path}")
    return read_manifest(path)


def as_example(case: Case) -> Example:
    names = {v: n for v, n in case.labels.items() if isinstance(v, int)}
    return Example(case.id, case.image, case.label, case.subject, names, modality=case.modality)


def segmented(volume: Volume, examples: Sequence[Any], **how: Any) -> tuple[LabelVolume, Any]:
    """As `sammed segment --example` does, without what was kept before; and the account."""
    taking = Taking(keep=False, threads=1, **how)
    model = example_model(list(examples), load_model("compact"), taking=taking)
    session = make_session(volume, model, gather_prompts(volume, structures=model.spec.structures))
    session.segment()
    return session.result(), model.account


def floors(volume: Volume, truth: LabelVolume, example: Pair) -> tuple[LabelVolume, LabelVolume]:
    """The example's labels copied by the files' own positions, and after an affine transform."""
    target = Target.of(volume)
    moving, labels = example
    middle = reg.coarse(target.grey, target.grey)  # no shift
    copied = _by_middle(volume, moving, labels) if not _overlap(volume, moving) else middle.carry(
        labels.voxels, moving.affine, volume.affine, volume.shape, nearest=True
    )  # fmt: skip
    laid = lay(target, moving).alignment
    moved = laid.carry(labels.voxels, moving.affine, volume.affine, volume.shape, nearest=True)
    return replace(truth, voxels=copied), replace(truth, voxels=moved)


def _overlap(a: Volume, b: Volume) -> bool:
    return reg.flat_axis(a) < 0


def _by_middle(volume: Volume, moving: Volume, labels: LabelVolume) -> NDArray[Any]:
    found = np.zeros(volume.shape, labels.voxels.dtype)
    common = [min(n, m) for n, m in zip(volume.shape, moving.shape, strict=True)]
    to, of = (
        tuple(slice((n - c) // 2, (n - c) // 2 + c) for n, c in zip(shape, common, strict=True))
        for shape in (volume.shape, moving.shape)
    )
    found[to] = labels.voxels[of]
    return found


def scores(found: LabelVolume, truth: LabelVolume, values: Sequence[int]) -> dict[str, float]:
    whole = dice(np.isin(found.voxels, values), np.isin(truth.voxels, values))
    parts = [dice(found.voxels == v, truth.voxels == v) for v in values]
    return {"whole": whole, "parts": float(np.mean(parts))}


def mean(rows: Sequence[Mapping[str, float]]) -> Found:
    return {key: round(float(np.mean([row[key] for row in rows])), 4) for key in rows[0]}


def hippocampus(count: int) -> Found:
    """One example and five, of other people; floors."""
    cases = cohort("hippocampus")
    rng = np.random.default_rng(1)
    rows = []
    for number in range(count):
        order = rng.permutation(len(cases))
        target, *others = (as_example(cases[n]) for n in order[:6])
        volume, truth = target.read
        line: dict[str, float] = {}
        copied, moved = floors(volume, truth, others[0].read)
        for name, labels in (("copied", copied), ("affine", moved)):
            line |= {f"{name} {k}": v for k, v in scores(labels, truth, (1, 2)).items()}
        found, _ = segmented(volume, others[:1])
        line |= {f"one {k}": v for k, v in scores(found, truth, (1, 2)).items()}
        if number % 2 == 0:
            found, _ = segmented(volume, others)
            five = scores(found, truth, (1, 2))
        line |= {f"five {k}": v for k, v in five.items()}
        rows.append(line)
    least = min(row["one whole"] for row in rows)
    return {**mean(rows), "one whole, least": round(least, 4), "pairs": count}


def pace(count: int) -> Found:
    """Processor seconds of one example, the model's look and all, whatever else runs."""
    cases = cohort("hippocampus")
    rng = np.random.default_rng(4)
    seconds = []
    for _ in range(count + 1):
        target, example = (as_example(cases[n]) for n in rng.permutation(len(cases))[:2])
        target.read, example.read  # noqa: B018 - reading is not what is measured
        began = time.process_time()
        segmented(target.read[0], [example])
        seconds.append(time.process_time() - began)
    return {"s a pair": round(float(np.median(seconds[1:])), 2), "pairs": count}


def cine(count: int) -> Found:
    """One picture of another person, carried to all of hers."""
    cases = cohort("cine_lv")
    people = sorted({case.subject for case in cases})
    rng = np.random.default_rng(2)
    rows = []
    for _ in range(count):
        hers, theirs = (people[n] for n in rng.permutation(len(people))[:2])
        pictures = [case for case in cases if case.subject == hers]
        others = [case for case in cases if case.subject == theirs]
        example = as_example(others[len(others) // 2])
        for case in pictures[:: max(1, len(pictures) // 6)]:
            volume, truth = as_example(case).read
            copied, moved = floors(volume, truth, example.read)
            found = _or_nothing(volume, truth, [example])
            rows.append(
                {
                    "copied": dice(copied.voxels == 1, truth.voxels == 1),
                    "affine": dice(moved.voxels == 1, truth.voxels == 1),
                    "one": dice(found.voxels == 1, truth.voxels == 1),
                    "said missing": float(not (found.voxels == 1).any()),
                }
            )
    return {**mean(rows), "pictures": len(rows), "people": count}


def _or_nothing(volume: Volume, truth: LabelVolume, examples: Sequence[Any]) -> LabelVolume:
    from sammed.errors import SammedError

    try:
        return segmented(volume, examples)[0]
    except SammedError as error:
        print(f"  {error}", flush=True)
        return replace(truth, voxels=np.zeros_like(truth.voxels))


def abdomens(count: int) -> Found:
    """One example of another body and field of view, five organs."""
    rows = []
    for number in range(count):
        target, example = (make_abdomen(FIRST_ABDOMEN + 2 * number + n) for n in (0, 1))
        volume, truth = target
        values = list(ORGANS.values())
        copied, moved = floors(volume, truth, example)
        found, _ = segmented(volume, [example])
        line = {
            "copied": scores(copied, truth, values)["parts"],
            "affine": scores(moved, truth, values)["parts"],
            "one": scores(found, truth, values)["parts"],
        }
        alone, _ = segmented(volume, [example], look=False)
        line["one, without the model's look"] = scores(alone, truth, values)["parts"]
        rows.append(
            line | {n: dice(found.voxels == v, truth.voxels == v) for n, v in ORGANS.items()}
        )
    return {**mean(rows), "pairs": count}


def without(volume: Volume, labels: LabelVolume, value: int, seed: int) -> Volume:
    """The scan with an organ taken out: what is round it, fat, fills its place."""
    rng = np.random.default_rng([seed, 5])
    noise = ndimage.gaussian_filter(rng.standard_normal(volume.shape), (0.3, 0.7, 0.7))
    voxels = volume.voxels.astype(np.float64)
    gone = labels.voxels == value
    voxels[gone] = (-80 + 15 * noise / noise.std())[gone]
    return replace(volume, voxels=np.rint(voxels).astype(np.int16))


def gone(count: int, first: int = FIRST_ABDOMEN + 1000) -> Found:
    """An organ taken out of bodies from a first one on: is it missing, and the others not?"""
    from sammed.errors import SegmentationError

    reported = alarms = there = 0
    for number in range(count):
        (volume, truth), example = (make_abdomen(first + 2 * number + n, slices=32) for n in (0, 1))
        name = list(ORGANS)[number % len(ORGANS)]
        lacking = without(volume, truth, ORGANS[name], number)
        try:
            found, _ = segmented(lacking, [example], look=False)
        except SegmentationError:
            found = replace(truth, voxels=np.zeros_like(truth.voxels))
        missing = {n for n, v in ORGANS.items() if not (found.voxels == v).any()}
        reported += name in missing
        alarms += len(missing - {name})
        there += len(ORGANS) - 1
    return {
        "reported missing, %": round(100 * reported / count, 1),
        "false alarms, %": round(100 * alarms / there, 1),
        "organs taken out": count,
    }


def lesions(seed: int, growth: Sequence[float]) -> tuple[Pair, Pair, dict[str, float]]:
    """A liver with dark balls, then and later: deformed, of other noise, grown by known factors.

    Returns
    -------
    then, later
        Scans with their label maps.
    ml
        Name → volume that the later scan shows: its ball, brought there as the scan's values were.
        Voxels of the later label map are no measure of it, as bent label maps lose and double
        whole layers of a small ball.
    """
    volume, labels = make_abdomen(FIRST_ABDOMEN + 3000 + seed, slices=60)
    rng = np.random.default_rng([seed, 9])
    spacing, shape = volume.spacing, volume.shape
    deep = ndimage.distance_transform_edt(labels.voxels == ORGANS["liver"], spacing)
    grid = np.indices(shape, dtype=np.float32)
    before, after = (volume.voxels.astype(np.float32) for _ in range(2))
    drawn, truth = (np.zeros(shape, np.uint8) for _ in range(2))
    centres: list[NDArray[Any]] = []
    for number, factor in enumerate(growth, 1):
        radius = rng.uniform(7, 10)
        room = radius * max(factor, 1) ** (1 / 3) + 6
        free = np.argwhere(deep > min(room, deep.max() * 0.9))
        apart = [c for c in free if all(np.linalg.norm((c - o) * spacing) > 36 for o in centres)]
        if not apart:
            break
        centre = apart[rng.integers(len(apart))]
        centres.append(centre)
        away = np.sqrt(
            sum(((g - c) * s) ** 2 for g, c, s in zip(grid, centre, spacing, strict=True))
        )
        was, now = away < radius, away < radius * factor ** (1 / 3)
        before[was] -= 70
        after[now] -= 70
        drawn[was] = number
        truth[now] = number
    bend = [ndimage.gaussian_filter(rng.standard_normal(shape), 8) for _ in range(3)]
    bend = [b / b.std() * 2.0 / s for b, s in zip(bend, spacing, strict=True)]
    at = [g + b for g, b in zip(grid, bend, strict=True)]
    after = ndimage.map_coordinates(after, at, order=1, mode="nearest")
    voxel_ml = float(np.prod(spacing)) / 1000
    ml = {
        f"lesion {n}": voxel_ml
        * float(ndimage.map_coordinates((truth == n).astype(np.float32), at, order=1).sum())
        for n in range(1, len(centres) + 1)
    }
    truth = ndimage.map_coordinates(truth, at, order=0, mode="nearest")

    def scan(values: NDArray[Any], seed: int) -> Volume:
        noise = 8 * np.random.default_rng(seed).standard_normal(shape)
        smooth = ndimage.gaussian_filter(values, (0.3, 0.5, 0.5)) + noise
        return replace(volume, voxels=np.rint(smooth).astype(np.int16))

    names = {n: f"lesion {n}" for n in range(1, len(centres) + 1)}
    return (scan(before, 1), LabelVolume(drawn, volume.grid, names)), (
        scan(after, 2), LabelVolume(truth, volume.grid, names),
    ), ml  # fmt: skip


def followup(count: int, first: int = 0) -> Found:
    """Volumes of lesions that grew, shrank or went, in a deformed and noised copy."""
    from sammed.examples.followup import PriorModel

    errors, counted, nearest, right, all_of = [], [], [], 0, 0
    for seed in range(first, first + count):
        growth = (1.6, 0.6, 0.0 if seed % 2 else 1.0)
        then, (now, truth), true = lesions(seed, growth)
        model = PriorModel(Example("then", *then, "p"), load_model("ellipse"))
        session = make_session(now, model, gather_prompts(now, structures=model.spec.structures))
        session.segment()
        for change in model.account.changes:
            ml, voxels_ml = true[change.name], truth.volume_ml(change.name)
            right += (change.state == "gone") == (ml == 0)
            all_of += 1
            if ml and change.state == "there":
                errors.append(abs(change.now_ml - ml) / ml)
                nearest.append(abs(voxels_ml - ml) / ml)
                counted.append(abs(change.now_ml - voxels_ml) / voxels_ml if voxels_ml else 1.0)
    return {
        "volume error, %": round(100 * float(np.mean(errors)), 2),
        "largest, %": round(100 * max(errors), 1),
        "there or gone, right, %": round(100 * right / all_of, 1),
        "lesions": all_of,
        "against the voxels of the bent label map, %": round(100 * float(np.mean(counted)), 2),
        "of those voxels themselves, %": round(100 * float(np.mean(nearest)), 2),
    }


def longitudinal(count: int) -> Found:
    """MR channels against the data set's own transforms: by the header, and as `auto` leaves it."""
    import SimpleITK as sitk  # noqa: N813

    from sammed import io

    folder = DATA / "ms_longitudinal"
    if not folder.is_dir():
        raise FileNotFoundError(f"no {folder}")
    found: Found = {}
    own, header, worse = [], [], []
    for moving in sorted(folder.glob("patient*/study*_T[12]W.nii.gz")):
        study, kind = moving.name.split(".")[0].split("_")
        flair, volume = io.read(moving.parent / f"{study}_FLAIR.nii.gz"), io.read(moving)
        told = sitk.ReadTransform(str(moving.parent / f"{study}_{kind}_intrastudy_to_FLAIR.txt"))
        fixed, other = reg.grey(flair), reg.grey(volume)
        moved = reg.guarded_rigid(fixed, other, flair)
        points = _head(flair)
        true = np.array([told.TransformPoint(p) for p in points])
        ours = np.array([moved.alignment.transform.TransformPoint(p) for p in points])
        errors = [float(np.linalg.norm(true - p, axis=1).mean()) for p in (np.array(points), ours)]
        header.append(errors[0])
        own.append(errors[1])
        worse.append(errors[1] - errors[0])
        found[f"{moving.parent.name} {study} {kind}, header and auto, mm"] = [
            round(e, 2) for e in errors
        ]
    return {
        **found,
        "header, largest mm": round(max(header), 2),
        "auto, largest mm": round(max(own), 2),
        "auto, worse than header by mm": round(max(worse), 2),
    }


def _head(volume: Volume) -> list[list[float]]:
    """Points of the head, LPS mm."""
    values = volume.voxels.astype(np.float32)
    inside = ndimage.binary_opening(values > 0.25 * np.percentile(values, 98), iterations=2)
    parts, _ = ndimage.label(inside)
    largest = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    index = np.argwhere(largest)[::499]
    return [list(map(float, volume.affine[:3, :3] @ i + volume.affine[:3, 3])) for i in index]


def channels(count: int) -> Found:
    """BraTS 2013, T1c and FLAIR, one 2D box: each alone against joined."""
    from sammed import io
    from sammed.examples.channels import with_channels
    from sammed.prompts import ObjectPrompts, simulation

    folder = DATA / "brats_deepmedic" / "train" / "brats_2013_pat0005_1"
    if not folder.is_dir():
        raise FileNotFoundError(f"no {folder}")
    images = {
        name: replace(io.read(folder / file), modality="MR")
        for name, file in (
            ("t1c", "T1c_subtrMeanDivStd.nii.gz"), ("flair", "Flair_subtrMeanDivStd.nii.gz"),
        )
    }  # fmt: skip
    labels = io.read_labels(folder / "OTMultiClass.nii.gz", like=images["t1c"]).voxels
    model = load_model("compact")
    found: Found = {}
    gains = []
    for what, mask in (("enhancing", labels == 4), ("whole", labels > 0)):
        prompts = ObjectPrompts(what, boxes=(simulation.largest_slice_box(mask, 0),))
        scores = {}
        both, _ = with_channels(images["t1c"], {"flair": images["flair"]}, name="t1c")
        for name, volume in (*images.items(), ("joined", both)):
            session = make_session(volume, model, _one(prompts))
            session.segment()
            scores[name] = dice(session.object_mask(what), mask)
        gains.append(scores["joined"] - max(scores["t1c"], scores["flair"]))
        found |= {f"{what}, {name}": round(value, 4) for name, value in scores.items()}
    return {**found, "joined over the better one": round(min(gains), 4)}


def _one(prompts: Any) -> Any:
    from sammed.prompts import PromptSet, with_labels

    return PromptSet(with_labels((prompts,)), ())


def large(count: int) -> Found:
    """One example on a CT of a hospital's size: seconds, with the model's look left out."""
    from scipy.ndimage import zoom

    scans = []
    for seed in (FIRST_ABDOMEN + 5000, FIRST_ABDOMEN + 5001):
        volume, labels = make_abdomen(seed, slices=50)
        factors = [n / m for n, m in zip((100, 512, 512), volume.shape, strict=True)]
        voxels = zoom(volume.voxels, factors, order=1)
        drawn = zoom(labels.voxels, factors, order=0)
        affine = volume.affine.copy()
        affine[:3, :3] = volume.affine[:3, :3] / factors
        whole = Volume.from_array(voxels, affine, modality="CT")
        scans.append((whole, LabelVolume(drawn, whole.grid, labels.names)))
    (volume, truth), (example, drawn) = scans
    spleen = replace(
        drawn, voxels=np.where(drawn.voxels == 2, 2, 0).astype(np.uint8), names={2: "spleen"}
    )
    began = time.perf_counter()
    found, _ = segmented(volume, [(example, spleen)], look=False)
    seconds = time.perf_counter() - began
    return {
        "s a pair": round(seconds, 1),
        "spleen": round(dice(found.voxels == 2, truth.voxels == 2), 4),
    }


ROWS: dict[str, Row] = {
    "hippocampus": Row(
        "hippocampi, pairs of people",
        hippocampus,
        {
            "one whole": (">=", 0.80), "five whole": (">=", 0.85), "five parts": (">=", 0.81),
        },
        100,
    ),
    "pace": Row("hippocampi, processor time", pace, {"s a pair": ("<=", 1.2)}, 10),
    "cine": Row("short axis, one picture of another person", cine, {"one": (">=", 0.80)}, 12),
    "abdomens": Row("synthetic abdomens, five organs", abdomens, {"one": (">=", 0.85)}, 20),
    "gone": Row(
        "an organ taken out",
        gone,
        {"reported missing, %": (">=", 95), "false alarms, %": ("<=", 5)},
        100,
    ),
    "followup": Row(
        "lesions followed in a deformed, noised copy",
        followup,
        {"volume error, %": ("<=", 5), "there or gone, right, %": (">=", 95)},
        10,
    ),
    "longitudinal": Row(
        "MR channels aligned with reason alone",
        longitudinal,
        {"auto, largest mm": ("<=", 1.0), "auto, worse than header by mm": ("<=", 0.3)},
        7,
    ),
    "channels": Row(
        "BraTS T1c and FLAIR joined", channels, {"joined over the better one": (">=", 0.03)}, 1
    ),
    "large": Row("a scan of 512 x 512 x 100", large, {"s a pair": ("<=", 25)}, 1),
}  # fmt: skip


def judged(row: Row, found: Found) -> dict[str, str]:
    """Of each figure that has a target whether it was met."""
    said = {}
    for key, (sign, bound) in row.wanted.items():
        value = found.get(key)
        met = value is not None and (value >= bound if sign == ">=" else value <= bound)
        said[key] = f"{value} (wanted {sign} {bound:g}): {'met' if met else 'MISSED'}"
    return said


def markdown(results: Mapping[str, Any]) -> str:
    """The table of the manual."""
    lines = ["| | found | wanted | |", "|---|---|---|---|"]
    for name, row in ROWS.items():
        if name not in results:
            continue
        found = results[name]["found"]
        for key, (sign, bound) in row.wanted.items():
            met = "" if judged(row, found)[key].endswith("met") else "**missed**"
            wanted = f"{'≥' if sign == '>=' else '≤'} {bound:g}"
            lines.append(f"| {row.what}: {key} | {found.get(key)} | {wanted} | {met} |")
        others = {k: v for k, v in found.items() if k not in row.wanted and "patient" not in k}
        told = ", ".join(f"{key} {value}" for key, value in others.items())
        lines.append(f"| | {told} | | |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure rows and print them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.examples", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(ROWS)}; all by default")
    parser.add_argument("--count", type=int, help="pairs, instead of each row's own number")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument(
        "--write-docs", action="store_true", help="put the table into docs/examples.md"
    )
    said = parser.parse_args(arguments)
    if unknown := set(said.names) - set(ROWS):
        parser.error(f"unknown row {', '.join(unknown)}; expected {', '.join(ROWS)}")
    results = json.loads(said.results.read_text()) if said.results.is_file() else {}
    if said.write_docs:
        table.put(PAGE, markdown(results))
        return 0
    for name in said.names or ROWS:
        row = ROWS[name]
        try:
            with tempfile.TemporaryDirectory():
                found = row.run(said.count or row.count)
        except FileNotFoundError as error:
            print(f"{name}: skipped, {error}")
            continue
        kept = json.loads(said.results.read_text()) if said.results.is_file() else {}
        results = kept | {name: {"what": row.what, "found": found, "machine": machine.describe()}}
        print(f"{name}: {row.what}: {json.dumps(found)}")
        for key, line in judged(row, found).items():
            print(f"  {key}: {line}", flush=True)
        ordered = {one: results[one] for one in ROWS if one in results}
        said.results.write_text(json.dumps(ordered, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
