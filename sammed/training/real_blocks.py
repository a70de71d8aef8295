"""The locator alone on real volumes with reference labels. Nothing here ever enters training.

Of each object the tight 3D box; what the locator finds in it, against the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammed.engine.fusion import balanced, promised_iou
from sammed.engine.object_volume import ObjectVolume
from sammed.evaluation.manifest import read_manifest
from sammed.imaging.boxes import Box3D
from sammed.imaging.masks import dice
from sammed.models.compact.cubes import BlockView, cube_view, from_cube
from sammed.models.compact.locator import Locator, load_locator
from sammed.models.compact.locator_net import BLOCK_SIZE
from sammed.models.compact.recipe import CALIBRATED
from sammed.training.blocks import inscribed_ellipsoid
from sammed.training.real_cases import case_objects

Locate = Callable[[BlockView], NDArray[np.float32]]


@dataclass(frozen=True)
class BlockScore:
    """What became of one object.

    Attributes
    ----------
    case, name
        Which.
    dice, floor
        Of the locator, its border where the expected Dice is largest, and of the ellipsoid
        inscribed in the 3D box.
    promised
        The IoU that the locator's probabilities promise.
    """

    case: str
    name: str
    dice: float
    floor: float
    promised: float


def score_blocks(locate: Locate, manifest: Path) -> list[BlockScore]:
    """Scores of all objects of all cases that are more than one slice.

    Parameters
    ----------
    locate
        The locator, or anything that answers cubes.
    manifest
        ``cases.json``.
    """
    scores = []
    ellipsoid = np.where(inscribed_ellipsoid(BLOCK_SIZE), 8.0, -8.0).astype(np.float32)
    for case in read_manifest(manifest):
        for name, stack, mask in case_objects(case):
            volume = stack.volume
            reference = np.moveaxis(mask, 0, stack.axis)
            if min(volume.shape) == 1:
                continue
            block = Box3D.from_mask(reference)
            logits = locate(cube_view(volume, stack.window, block, BLOCK_SIZE))
            answer, floor = (from_cube(cube, block).logits for cube in (logits, ellipsoid))
            found = balanced(ObjectVolume(block, answer), CALIBRATED).logits
            inside = reference[block.slices]
            reached, least = (dice(mask > 0, inside) for mask in (found, floor))
            scores.append(BlockScore(case.id, name, reached, least, promised_iou(found)))
    return scores


def summarise_blocks(scores: list[BlockScore]) -> dict[str, float]:
    """Means over the objects of a case, then over cases; r of promised and true IoU."""
    cases: dict[str, list[BlockScore]] = {}
    for score in scores:
        cases.setdefault(score.case, []).append(score)
    reached = [s.dice / (2 - s.dice) for s in scores]
    return {
        "block": float(np.mean([np.mean([s.dice for s in c]) for c in cases.values()])),
        "block_ellipsoid": float(np.mean([np.mean([s.floor for s in c]) for c in cases.values()])),
        "promised_r": float(np.corrcoef([s.promised for s in scores], reached)[0, 1]),
    }


def score_locator(manifest: Path, weights: Path | None = None) -> list[BlockScore]:
    """Scores of a weights file, or of the shipped one, see `score_blocks`."""
    return score_blocks(Locator(load_locator(weights)[0]).locate, manifest)


def block_table(scores: list[BlockScore]) -> str:
    """Every object, and the summary, as text."""
    lines = ["| case | object | Dice | ellipsoid | promised IoU |", "|---|---|---|---|---|"]
    for s in scores:
        lines.append(f"| {s.case} | {s.name} | {s.dice:.3f} | {s.floor:.3f} | {s.promised:.3f} |")
    lines += ["", *(f"{k}: {v:.4f}" for k, v in summarise_blocks(scores).items())]
    return "\n".join(lines)
