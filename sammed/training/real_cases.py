"""Validation on real volumes with reference labels. Nothing here ever enters training.

A quick stand-in for ``sammed evaluate``: the same views, the same boxes, but slices are batched and
objects with many slices are thinned out.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sammed.engine.box_fit import fit_box
from sammed.engine.candidates import mean_candidate
from sammed.engine.slice_mask import SliceResult
from sammed.evaluation.manifest import Case, read_manifest
from sammed.evaluation.objects import mask_of
from sammed.imaging.boxes import Box2D
from sammed.imaging.intensity import resolve_window
from sammed.io import read, read_labels
from sammed.models.compact.net import CompactNet, Prompts
from sammed.models.compact.recipe import RECIPE
from sammed.models.protocols import ViewMask
from sammed.prompts.simulation import component_boxes
from sammed.synthesis.views import ZOOM
from sammed.training.validation import answers, roc_area
from sammed.views.slices import SliceStack, View, choose_plane

log = logging.getLogger(__name__)

JITTER = 0.05
TASKS = ("a", "whole", "start", "next", "absent")
"""Protocol A; the whole object's box with the neighbour's mask, and alone, as a 3D box starts; the
neighbour's box and mask, on slices with and without the object."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Job:
    """One view to answer, and the pixels of the slice that it is scored on."""

    task: str
    view: View
    drawn: Box2D
    mask: NDArray[np.float32] | None
    reference: Mask
    ellipse: Mask
    nearby: Mask
    slot: int
    depth: float = 0.0


@dataclass
class ObjectScore:
    """What one object came to."""

    case: str
    area: str
    truth: str
    name: str
    slices: int
    dice: dict[str, float]
    floor: float
    judged: list[float]
    reached: list[float]


def case_objects(case: Case) -> Iterator[tuple[str, SliceStack, Mask]]:
    """Name, windowed slices and mask (slice first) of every object of a case."""
    volume = read(case.image)
    labels = read_labels(case.label)
    plane = choose_plane("auto", volume)
    for value, name in case.labels.items():
        mask = mask_of(labels.voxels, value)
        if not mask.any():
            continue
        z, y, x = (np.flatnonzero(mask.any(tuple({0, 1, 2} - {a}))) for a in range(3))
        inside = volume.voxels[z[0] : z[-1] + 1, y[0] : y[-1] + 1, x[0] : x[-1] + 1]
        stack = SliceStack(volume, plane, resolve_window("auto", volume, inside))
        yield name, stack, np.moveaxis(mask, stack.axis, 0)


def _ellipse(box: Box2D, shape: tuple[int, int]) -> Mask:
    row, col = box.centre
    h, w = box.shape
    v = (np.arange(shape[0]) + 0.5 - row) / (h / 2)
    u = (np.arange(shape[1]) + 0.5 - col) / (w / 2)
    return np.asarray(v[:, None] ** 2 + u[None] ** 2 <= 1)


def slice_jobs(
    stack: SliceStack, mask: Mask, size: int, most: int, rng: np.random.Generator
) -> Iterator[Job]:
    """The views of one object that are answered, at most ``most`` slices for each task."""
    filled = np.flatnonzero(mask.any((1, 2)))
    picks = filled
    if len(filled) > most:
        picks = filled[np.linspace(0, len(filled) - 1, most).astype(int)]
    whole = Box2D.from_mask(np.asarray(mask.any(0))).jitter(JITTER, rng, stack.shape)
    for k in picks:
        for box in component_boxes(mask[k]):
            box = box.jitter(JITTER, rng, stack.shape)
            yield _job(stack, size, "a", int(k), box, None, mask[k])
    if len(filled) < 3:
        return
    present = set(filled.tolist())
    for k in picks[:: max(1, len(picks) // 8)]:
        for step in (-1, 1):
            if int(k) + step in present:
                before = mask[int(k) + step]
                depth = (2 * k - filled[0] - filled[-1]) / (filled[-1] - filled[0] + 1)
                yield _job(stack, size, "whole", int(k), whole, before, mask[k], depth)
                yield _job(stack, size, "start", int(k), whole, None, mask[k], depth)
                near = Box2D.from_mask(before).jitter(0.1, rng, stack.shape)
                yield _job(stack, size, "next", int(k), near, before, mask[k])
                break
    for k, step in ((filled[0], -1), (filled[-1], 1)):
        there = int(k) + step
        if 0 <= there < len(mask):
            near = Box2D.from_mask(mask[k]).jitter(0.1, rng, stack.shape)
            yield _job(stack, size, "absent", there, near, mask[k], mask[there])


def _job(
    stack: SliceStack,
    size: int,
    task: str,
    k: int,
    box: Box2D,
    previous: Mask | None,
    reference: Mask,
    depth: float = 0.0,
) -> Job:
    view = View.zoomed(k, box, ZOOM, stack.pixel_mm, size)
    prompt = None
    if previous is not None:
        region = Box2D(0, 0, *stack.shape)
        logits = np.where(previous, 8.0, -8.0).astype(np.float32)
        prompt = view.mask_prompt(logits, region, size)
    nearby = box.expand(0.15 * box.shape[0] + 1, 0.15 * box.shape[1] + 1).mask(stack.shape)
    ellipse = _ellipse(box, stack.shape)
    return Job(task, view, box, prompt, reference, ellipse, nearby, k, float(depth))


def job_prompts(stack: SliceStack, jobs: list[Job]) -> Prompts:
    """Views and prompts of some jobs as tensors."""
    images, colours = [], []
    for job in jobs:
        image = stack.image(job.view.index)
        around = [min(max(job.view.index + o, 0), len(stack) - 1) for o in (-1, 0, 1)]
        planes = image if len(image) == 3 else np.concatenate([stack.image(k) for k in around])
        images.append(job.view.render(planes, eight_bit=False))
        colours.append(len(image) == 3)
    n = len(jobs)
    size = jobs[0].view.size
    blank = np.zeros((size, size), np.float32)
    masks = np.stack([blank if j.mask is None else j.mask for j in jobs])
    return Prompts(
        image=torch.from_numpy(np.stack(images).astype(np.float32)),
        colour=torch.tensor(colours),
        box=torch.from_numpy(np.stack([j.view.box(j.drawn) for j in jobs])),
        points=torch.full((n, 0, 2), float("nan")),
        positive=torch.zeros((n, 0), dtype=torch.bool),
        mask=torch.from_numpy(masks),
        has_mask=torch.tensor([j.mask is not None for j in jobs]),
        depth=torch.tensor([j.depth for j in jobs], dtype=torch.float32),
    )


def slice_answer(job: Job, answer: ViewMask, stack: SliceStack) -> SliceResult:
    """What the engine makes of the network's candidates for a job, before any second look."""
    if job.mask is None and RECIPE.mean:
        answer = mean_candidate(answer, RECIPE.mean)
    region = job.view.slice_region(stack.shape)
    logits = job.view.to_slice(answer.low_res_logits[answer.best], region)
    judged = float(answer.predicted_iou[answer.best])
    result = SliceResult(job.view.index, region, logits, judged)
    fit = RECIPE.box_fit
    return fit_box(result, job.drawn, fit) if job.task == "a" and fit else result


def _score(
    net: CompactNet,
    boxes: CompactNet,
    stack: SliceStack,
    mask: Mask,
    most: int,
    presence: list[tuple[float, bool]],
) -> ObjectScore:
    rng = np.random.default_rng(int(mask.sum()))
    jobs = list(slice_jobs(stack, mask, net.architecture.view, most, rng))
    parts = {task: [0, 0] for task in ("a", "floor", "whole", "start", "next")}
    stacked: dict[int, list[Mask]] = {}
    judged, reached = [], []
    drawn, others = ([j for j in jobs if (j.task == "a") == own] for own in (True, False))
    for answering, some in [*_pieces(boxes, drawn), *_pieces(net, others)]:
        logits, iou, present = answers(answering, job_prompts(stack, some))
        for job, candidates, quality, chance in zip(some, logits, iou, present, strict=True):
            if job.task in ("absent", "next"):
                presence.append((float(chance), bool(job.reference.any())))
            found = np.zeros(stack.shape, bool)
            result = slice_answer(job, ViewMask(candidates, quality), stack)
            found[result.region.slices] = result.mask
            if job.task == "a":
                union = stacked.setdefault(
                    job.slot, [np.zeros_like(found), np.zeros_like(found), job.reference]
                )
                union[0] |= found
                union[1] |= job.ellipse
                inner = job.reference & job.nearby
                both, either = int((found & inner).sum()), int((found | inner).sum())
                judged.append(result.predicted_iou)
                reached.append(both / max(either, 1))
            elif job.task in parts:
                parts[job.task][0] += 2 * int((found & job.reference).sum())
                parts[job.task][1] += int(found.sum()) + int(job.reference.sum())
    for found, ellipse, reference in stacked.values():
        for key, guess in (("a", found), ("floor", ellipse)):
            parts[key][0] += 2 * int((guess & reference).sum())
            parts[key][1] += int(guess.sum()) + int(reference.sum())
    dice = {k: both / total for k, (both, total) in parts.items() if total}
    floor = dice.pop("floor")
    return ObjectScore("", "", "", "", len(stacked), dice, floor, judged, reached)


def _pieces(net: CompactNet, jobs: list[Job]) -> Iterator[tuple[CompactNet, list[Job]]]:
    for start in range(0, len(jobs), 32):
        yield net, jobs[start : start + 32]


def score_cases(
    net: CompactNet, manifest: Path, most: int = 12, boxes: CompactNet | None = None
) -> tuple[list[ObjectScore], dict[str, float]]:
    """Scores of every object of every case.

    Parameters
    ----------
    net
        In evaluation mode.
    manifest
        ``cases.json``.
    most
        Slices of an object that are looked at, evenly spread.
    boxes
        Answers boxes on slices (A); ``None``: ``net``.

    Returns
    -------
    scores
        By object.
    summary
        Means over the objects of a case, then over cases, and what belongs to all slices.
    """
    scores: list[ObjectScore] = []
    presence: list[tuple[float, bool]] = []
    for case in read_manifest(manifest):
        for name, stack, mask in case_objects(case):
            score = _score(net, boxes or net, stack, mask, most, presence)
            score.case, score.area, score.truth, score.name = case.id, case.area, case.truth, name
            scores.append(score)
    return scores, summarise(scores, presence)


def _mean_over_cases(scores: list[ObjectScore], key: str) -> float:
    cases: dict[str, list[float]] = {}
    for s in scores:
        value = s.floor if key == "floor" else s.dice.get(key)
        if value is not None:
            cases.setdefault(s.case, []).append(value)
    return float(np.mean([np.mean(v) for v in cases.values()])) if cases else float("nan")


def summarise(scores: list[ObjectScore], presence: list[tuple[float, bool]]) -> dict[str, float]:
    """Means over the objects of a case, then over cases; manual references apart."""
    manual = [s for s in scores if s.truth == "manual"]
    judged = np.concatenate([s.judged for s in scores])
    reached = np.concatenate([s.reached for s in scores])
    return {
        "a": _mean_over_cases(scores, "a"),
        "a_floor": _mean_over_cases(scores, "floor"),
        "a_manual": _mean_over_cases(manual, "a"),
        "a_manual_floor": _mean_over_cases(manual, "floor"),
        "above_floor": float(np.mean([s.dice["a"] > s.floor for s in scores])),
        "whole": _mean_over_cases(scores, "whole"),
        "start": _mean_over_cases(scores, "start"),
        "next": _mean_over_cases(scores, "next"),
        "absence_auc": roc_area([p for p, _ in presence], [w for _, w in presence]),
        "iou_r": float(np.corrcoef(judged, reached)[0, 1]),
    }


def validate_real(net: CompactNet, manifest: Path, most: int = 6) -> dict[str, float]:
    """The summary alone, with ``real_`` before each name, for the training log."""
    return {f"real_{k}": v for k, v in score_cases(net, manifest, most)[1].items()}


def write_scores(scores: list[ObjectScore], path: Path) -> None:
    """One line per object."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "area", "truth", "object", "slices", "dice_a", "floor_a"])
        for s in scores:
            row = [s.case, s.area, s.truth, s.name, s.slices]
            writer.writerow([*row, f"{s.dice['a']:.4f}", f"{s.floor:.4f}"])


def score_table(scores: list[ObjectScore], summary: dict[str, float]) -> str:
    """Every object, areas, and the summary, as text."""
    lines = ["| area | case | object | slices | Dice A | ellipse |", "|---|---|---|---|---|---|"]
    for s in scores:
        cells = (s.area, s.case, s.name, str(s.slices), f"{s.dice['a']:.3f}", f"{s.floor:.3f}")
        lines.append("| " + " | ".join(cells) + " |")
    areas: dict[str, list[ObjectScore]] = {}
    for s in scores:
        areas.setdefault(s.area, []).append(s)
    for area, some in areas.items():
        mean, floor = _mean_over_cases(some, "a"), _mean_over_cases(some, "floor")
        lines.append(f"| **{area}** | | {len(some)} objects | | {mean:.3f} | {floor:.3f} |")
    lines += ["", *(f"{k}: {v:.4f}" for k, v in summary.items())]
    return "\n".join(lines)


def score_weights(
    manifest: Path, weights: Path | None = None, most: int = 10_000, threads: int = 1
) -> tuple[list[ObjectScore], dict[str, float]]:
    """Scores of a weights file, or of the shipped pair, see `score_cases`."""
    from sammed.models.compact.model import load_boxes, load_net

    torch.set_num_threads(threads)
    net, digest = load_net(weights)
    net.to(memory_format=torch.channels_last)
    boxes = None if weights else load_boxes(net, digest)[0]
    return score_cases(net, manifest, most, boxes)
