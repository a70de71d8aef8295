"""Pictures of compact's answers on real slices: of each case its best and its worst object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from sammed.errors import EvaluationError
from sammed.evaluation.manifest import Case, read_manifest
from sammed.imaging.boxes import Box2D
from sammed.imaging.masks import dice
from sammed.models.compact.model import load_boxes, load_net
from sammed.models.compact.net import CompactNet
from sammed.models.protocols import ViewMask
from sammed.synthesis.sheet import BOX, COLOURS, outline
from sammed.training.real_cases import case_objects, job_prompts, slice_answer, slice_jobs
from sammed.training.validation import answers

SCALE = 2
CAPTION = 28
REFERENCE, FOUND = (0, 230, 90), (255, 60, 200)
LEAST_PIXELS = 40
"""Smaller components of a slice are not shown."""


@dataclass(frozen=True)
class Preview:
    """One answered view."""

    picture: Image.Image
    score: float


def previews_of(net: CompactNet, case: Case, most: int = 7) -> list[Preview]:
    """Pictures of the middle slices of every object of a case, best first."""
    found = []
    for name, stack, mask in case_objects(case):
        rng = np.random.default_rng(int(mask.sum()))
        jobs = [j for j in slice_jobs(stack, mask, net.architecture.view, most, rng)]
        jobs = [j for j in jobs if j.task == "a" and (j.reference & j.nearby).sum() > LEAST_PIXELS]
        if not jobs:
            continue
        job = jobs[len(jobs) // 2]
        prompts = job_prompts(stack, [job])
        logits, iou, _ = answers(net, prompts)
        result = slice_answer(job, ViewMask(logits[0], iou[0]), stack)
        masks = np.stack((result.on(Box2D(0, 0, *stack.shape)) > 0, job.reference & job.nearby))
        answer, wanted = job.view.render(masks.astype(np.float32), False) > 0.5
        score = dice(answer, wanted)
        image = prompts.image[0].numpy()
        rgb = image if bool(prompts.colour[0]) else np.repeat(image[1:2], 3, 0)
        tile = _tile(rgb, job.view.box(job.drawn), wanted, answer)
        ImageDraw.Draw(tile).text((2, tile.height - CAPTION), f"{case.id} {score:.2f}\n{name}")
        found.append(Preview(tile, score))
    return sorted(found, key=lambda p: -p.score)


def _tile(
    rgb: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    box: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    wanted: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    answer: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
) -> Image.Image:
    side = rgb.shape[1] * SCALE
    levels = np.moveaxis(np.clip(rgb * 255, 0, 255).astype(np.uint8), 0, -1)
    picture = np.asarray(Image.fromarray(levels).resize((side, side), Image.Resampling.BILINEAR))
    picture = picture.copy()
    for mask, colour in ((wanted, REFERENCE), (answer, FOUND)):
        picture[outline(np.kron(mask, np.ones((SCALE, SCALE))))] = colour
    tile = Image.new("RGB", (side, side + CAPTION))
    tile.paste(Image.fromarray(picture))
    r0, c0, r1, c1 = (float(v) * SCALE for v in box)
    ImageDraw.Draw(tile).rectangle((c0, r0, c1 - 1, r1 - 1), outline=BOX)
    return tile


def draw_previews(
    manifest: Path, out: Path, only: Sequence[str] = (), weights: Path | None = None
) -> None:
    """Draw one column a case: best object above, worst below.

    Parameters
    ----------
    manifest
        ``cases.json``.
    out
        Picture to write (.png).
    only
        Cases to show; all of them, if empty.
    weights
        Weights file; ``None``: the shipped ones for boxes.

    Raises
    ------
    EvaluationError
        If none of the cases has anything to show.
    """
    torch.set_num_threads(1)
    net, digest = load_net(weights)
    net.to(memory_format=torch.channels_last)
    if not weights:
        net, _ = load_boxes(net, digest)
    cases = [c for c in read_manifest(manifest) if not only or c.id in only]
    columns = [p for p in (previews_of(net, case) for case in cases) if p]
    if not columns:
        raise EvaluationError(f"{manifest} has nothing to show of {', '.join(only) or 'any case'}")
    width, height = columns[0][0].picture.size
    sheet = Image.new("RGB", (len(columns) * (width + 4), 2 * (height + 4)), (40, 40, 40))
    for i, previews in enumerate(columns):
        sheet.paste(previews[0].picture, (i * (width + 4), 0))
        sheet.paste(previews[-1].picture, (i * (width + 4), height + 4))
    sheet.quantize(COLOURS).save(out, "PNG", optimize=True)
