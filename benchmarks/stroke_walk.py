"""Strokes on held-back synthetic volumes, heard by their own slices and by all of them.

Protocol S as `sammed evaluate` has it: one stroke on the largest slice, then two into the largest
error. Both sides begin with the same stroke; each is corrected by its own errors. The weights for
how strokes are heard (`sammed.engine.stroke_walk`) were chosen on volumes of this kind, of other
seeds:

    python -m benchmarks.stroke_walk 60              # of the generator
    python -m benchmarks.stroke_walk 60 runs/labels  # of label maps that are held back, too
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.engine.settings import Settings
from sammed.imaging.volume import Volume
from sammed.models import registry
from sammed.prompts import ObjectPrompts
from sammed.prompts.stroke_simulation import KINDS, corrective_stroke, first_stroke
from sammed.session import Session
from sammed.synthesis.slab import Slab
from sammed.synthesis.source import Source, make_volume, mapped

SEED = 4711
LEAST, MOST_SHARE, LEAST_SLICES = 60, 0.25, 4
"""Voxels that an object has at least, share of the volume at most, slices at least."""

STEPS = 3
WINDOW = "1000/500"
Mask = NDArray[np.bool_]


def drawn(number: int, source: Source) -> tuple[Volume, Mask] | None:
    """A volume and one object in it; ``None`` where there is none to ask for."""
    slab, rng = make_volume((SEED, number), source), np.random.default_rng((SEED, number))
    if slab.colour:
        return None
    masks = [np.asarray(target.mask, bool) for target in slab.targets]
    fit = [m for m in masks if LEAST < m.sum() < MOST_SHARE * m.size and _slices(m) > LEAST_SLICES]
    return (_scan(slab), fit[int(rng.integers(len(fit)))]) if fit else None


def _slices(mask: Mask) -> int:
    return int(mask.any(axis=(1, 2)).sum())


def _scan(slab: Slab) -> Volume:
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag((slab.pixel[1], slab.pixel[0], slab.slice_step)))
    voxels = np.round(np.asarray(slab.image) * 1000).astype(np.int16)
    return Volume.from_array(voxels, affine, modality="MR")


def stroked(model: Any, scan: Volume, mask: Mask, kind: str, seed: int) -> list[float]:
    """Dice after the first stroke and after each correction."""
    rng, scores = np.random.default_rng(seed), []
    session = Session(scan, model, Settings(window=WINDOW, plane="axial"))
    said = ObjectPrompts("it").with_(first_stroke(mask, 0, kind, rng))
    for _ in range(STEPS):
        session.put(said)
        session.segment()
        found = session.object_mask("it")
        scores.append(2 * float((found & mask).sum()) / float(found.sum() + mask.sum()))
        wrong = corrective_stroke(found, mask, 0, kind, rng)
        said = said.with_(wrong) if wrong is not None else said
    return scores


def main(count: str = "60", maps: str = "") -> None:
    """Both sides on so many volumes; Dice by step, and the gain with its standard error."""
    source = replace(mapped(Path(maps) if maps else None), held_back=bool(maps))
    sides = {name: registry.build("compact") for name in ("own slices", "all slices")}
    alone: Any = sides["own slices"]
    alone._spec = replace(alone.spec, recipe=replace(alone.spec.recipe, walk=None))
    scores: defaultdict[str, list[list[float]]] = defaultdict(list)
    for number in range(int(count)):
        case = drawn(number, source)
        if case is None:
            continue
        kind = list(KINDS)[number % len(KINDS)]
        for name, model in sides.items():
            scores[name].append(stroked(model, *case, kind, number))
    before, after = (np.array(scores[name]) for name in sides)
    print(f"{len(before)} volumes")
    for step in range(STEPS):
        gain = after[:, step] - before[:, step]
        print(
            f"step {step}: own slices {before[:, step].mean():.3f}, all slices "
            f"{after[:, step].mean():.3f}, gain {gain.mean():+.3f} ± "
            f"{gain.std() / len(gain) ** 0.5:.3f}; {(gain > 0.02).sum()} up, "
            f"{(gain < -0.02).sum()} down by more than 0.02"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
