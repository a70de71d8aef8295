"""Which witnesses of a 3D box should be believed: learned and tested on synthetic boxes.

``python -m benchmarks.witnesses --label-maps LABEL_MAPS`` draws boxes of invented shapes and of
real anatomy. Of those whose witnesses contradict each other it says what Dice the ways to join them
have, and what a judge would choose that counts an empty part of the box so many times as much as
disagreement (`sammed.engine.judging`); and what it learns on one kind of volumes, on the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from sammed.engine import multiplanar, slicewise
from sammed.engine.judging import trust
from sammed.engine.multiplanar import tells_the_same
from sammed.engine.object_volume import ObjectVolume
from sammed.imaging.boxes import Box3D
from sammed.imaging.masks import Mask, dice
from sammed.imaging.volume import Volume
from sammed.models.registry import build
from sammed.prompts import ObjectPrompts
from sammed.session import Session
from sammed.synthesis.blocks import drawn
from sammed.synthesis.label_scenes import make_label_scene
from sammed.synthesis.recipes import choose
from sammed.synthesis.slab import Slab, make_block
from sammed.synthesis.source import mapped, unseen

LADDER = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
"""How many times an empty part of the box counts."""

SEED = 774411
OBJECTS = 2
"""Of one volume, at most."""

LOOSE_SHARE = 0.4
"""Of boxes with faces that are off."""

LEAST_VOXELS, LONGEST = 250, 110
"""Smaller objects are not asked for, nor boxes whose three sides are longer than this together."""

HARM = 0.02
"""A Dice that is lower by more is a harm."""


@dataclass(frozen=True)
class Contradicted:
    """A box whose witnesses contradict each other.

    Attributes
    ----------
    labels
        Whether it is of a volume of label maps.
    dice
        Of each way to join them; all joined first.
    agreed, empty
        Of each way: mean Dice with the witnesses, and share of the box that it leaves empty.
    """

    labels: bool
    dice: NDArray[np.float64]
    agreed: NDArray[np.float64]
    empty: NDArray[np.float64]

    def chosen(self, emptiness: float) -> float:
        """Dice of the way that is trusted most."""
        return float(self.dice[int(np.argmax(self.agreed - emptiness * self.empty))])


def moved(block: Box3D, rng: np.random.Generator, off: float) -> Box3D:
    """A box with each face off by up to a share of its size."""
    size = np.array(block.shape)
    low, high = (np.rint(at + rng.uniform(-off, off, 3) * size) for at in (block.low, block.high))
    return Box3D(*low.astype(int).tolist(), *high.astype(int).tolist())


def boxes(slab: Slab, rng: np.random.Generator, off: float) -> Iterator[tuple[Volume, Box3D, Mask]]:
    """A synthetic volume, 3D boxes in it, and the objects that they hold."""
    affine = np.eye(4)
    spacing = (slab.slice_step, *slab.pixel)
    affine[:3, :3] = np.fliplr(np.diag(spacing[::-1]))
    volume = Volume.from_array(1000 * slab.image, affine, modality="MR")
    asked: set[int] = set()
    for _ in range(6 * OBJECTS if slab.targets else 0):
        target = choose(rng, slab.targets)
        mask = drawn(rng, target.mask)
        left_out = target.kind in ("body", "ghost") or id(target) in asked
        if left_out or mask.sum() < LEAST_VOXELS or unseen(rng, slab, target, mask):
            continue
        asked.add(id(target))
        block = moved(Box3D.from_mask(mask), rng, off if rng.random() < LOOSE_SHARE else 0.0)
        block = block.clip(mask.shape)
        if min(block.shape) >= 3 and sum(block.shape) <= LONGEST:
            yield volume, block, mask
        if len(asked) == OBJECTS:
            return


class EnoughError(Exception):
    """What is wanted of a box is known."""


@dataclass
class Watcher:
    """Stands where the engine chooses between the ways to join an object's witnesses."""

    labels: bool
    truth: Mask
    found: Contradicted | None = None

    def agreed(self, *told: Any) -> bool:
        """Whether one trace tells enough: then there is nothing to choose."""
        if tells_the_same(*told):
            raise EnoughError
        return False

    def chosen(
        self,
        ways: Sequence[ObjectVolume],
        witnesses: Sequence[ObjectVolume],
        block: Box3D,
        emptiness: float,
    ) -> ObjectVolume:
        """Keeps what there is to choose from."""
        masks = [way.on(block) > 0 for way in ways]
        seen = [one.on(block) > 0 for one in witnesses]
        agreed = np.array([trust(mask, seen, 0.0) for mask in masks])
        empty = agreed - np.array([trust(mask, seen, 1.0) for mask in masks])
        reached = np.array([dice(mask, self.truth[block.slices]) for mask in masks])
        self.found = Contradicted(self.labels, reached, agreed, empty)
        raise EnoughError


def contradicted(
    slab: Slab, labels: bool, number: int, model: Any, off: float
) -> Iterator[Contradicted]:
    """What there is to choose from in one volume."""
    for volume, block, truth in boxes(slab, np.random.default_rng((SEED, number, 1)), off):
        watcher = Watcher(labels, truth)
        session = Session(volume, model)
        session.put(ObjectPrompts("object", blocks=(block,)))
        with (
            patch.object(slicewise, "tells_the_same", watcher.agreed),
            patch.object(multiplanar, "most_trusted", watcher.chosen),
            suppress(EnoughError),
        ):
            session.segment()
        if watcher.found is not None:
            yield watcher.found


def learned(some: Sequence[Contradicted]) -> float:
    """How many times emptiness should count: what chooses best of some boxes."""
    return max(LADDER, key=lambda emptiness: np.mean([c.chosen(emptiness) for c in some]))


def line(name: str, some: Sequence[Contradicted], emptiness: float) -> str:
    """What a judge chooses of some boxes, against all joined and against the best way."""
    joined = np.array([c.dice[0] for c in some])
    chosen = np.array([c.chosen(emptiness) for c in some])
    best = np.array([c.dice.max() for c in some])
    gained, lost = (chosen > joined + HARM).mean(), (chosen < joined - HARM).mean()
    return (f"{name:32} {len(some):4} boxes, all joined {joined.mean():.3f}, "
            f"chosen {chosen.mean():.3f}, best {best.mean():.3f}, "
            f"better {gained:.0%}, worse {lost:.0%}")  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the boxes and print what a judge would choose."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.witnesses", description=__doc__)
    parser.add_argument("--volumes", type=int, default=40, help="of each kind")
    parser.add_argument("--label-maps", type=Path, required=True, help="as for sammed train")
    parser.add_argument("--off", type=float, default=0.05, help="of some boxes, share of the size")
    said = parser.parse_args(arguments)
    model, maps = build("compact"), mapped(said.label_maps).maps
    kinds: dict[bool, list[Contradicted]] = {False: [], True: []}
    for number in range(said.volumes):
        kinds[False] += contradicted(make_block((SEED, number)), False, number, model, said.off)
        anatomy = make_label_scene((SEED, number), maps)
        kinds[True] += contradicted(anatomy, True, number, model, said.off)
    both = kinds[False] + kinds[True]
    for emptiness in LADDER:
        print(line(f"emptiness {emptiness:g}", both, emptiness), flush=True)
    print(f"learned on both: {learned(both):.2f}")
    for labels, name in ((True, "real anatomy"), (False, "invented shapes")):
        emptiness = learned(kinds[not labels])
        print(line(f"{name}, {emptiness:.2f} of the other", kinds[labels], emptiness))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
