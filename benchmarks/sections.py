"""Where an object of one person's picture is found in another's, and what that hangs on.

``python -m benchmarks.sections`` prints a line for each way of looking: the mean Dice of the mask,
shifted and made larger or smaller, but not bent, and in how many pictures it lies elsewhere. The
pairs of people are drawn apart from those of ``benchmarks.examples``; the people are the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy import ndimage

from benchmarks.examples import as_example, cohort
from sammed.imaging import registration as reg
from sammed.imaging.masks import dice
from sammed.imaging.registration import sections as ways
from sammed.imaging.volume import LabelVolume, Volume

ELSEWHERE = 0.3
"""Dice below which an object was taken for another thing."""

FREE = 1e4
"""A standard deviation that leaves everything open."""

WAYS: dict[str, tuple[float, dict[str, Any]]] = {
    "as it is done": (8.0, {}),
    "a rim of 5 mm": (5.0, {}),
    "a rim of 14 mm": (14.0, {}),
    "a rim of 25 mm": (25.0, {}),
    "one size": (8.0, {"SIZES": (1.0,)}),
    "any size alike": (8.0, {"GROWN": FREE}),
    "anywhere alike": (8.0, {"AWAY_MM": FREE}),
    "any size anywhere": (8.0, {"GROWN": FREE, "AWAY_MM": FREE}),
}
"""How wide the rim is, and what is otherwise in `sammed.imaging.registration.sections`."""


def pairs(seed: int, count: int) -> Iterator[tuple[Volume, LabelVolume, Volume, LabelVolume]]:
    """Pictures of one person, each with the middle one of another."""
    cases = cohort("cine_lv")
    people = sorted({case.subject for case in cases})
    rng = np.random.default_rng(seed)
    for _ in range(count):
        hers, theirs = (people[n] for n in rng.permutation(len(people))[:2])
        pictures = [case for case in cases if case.subject == hers]
        others = [case for case in cases if case.subject == theirs]
        example = as_example(others[len(others) // 2]).read
        for case in pictures[:: max(1, len(pictures) // 3)]:
            yield *as_example(case).read, *example


def found(volume: Volume, example: Volume, mask: Any, rim: float, how: dict[str, Any]) -> Any:
    """The mask where it is found."""
    spacing = [s if n > 1 else 1e6 for s, n in zip(example.spacing, mask.shape, strict=True)]
    near = ndimage.distance_transform_edt(~mask, spacing) <= rim
    with patch.multiple(ways, **{"AWAY_MM": ways.AWAY_MM, **how}):
        start = reg.sized(reg.grey(volume), reg.grey(example), near)
    moved = start.carry(mask.astype(np.float32), example.affine, volume.affine, volume.shape)
    return moved > 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all ways on the same pictures and print them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sections", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[20, 21])
    parser.add_argument("--people", type=int, default=8, help="pairs of people a seed")
    said = parser.parse_args(arguments)
    scores: dict[str, list[float]] = {name: [] for name in WAYS}
    for seed in said.seeds:
        for volume, truth, example, labels in pairs(seed, said.people):
            for name, (rim, how) in WAYS.items():
                mask = found(volume, example, labels.voxels == 1, rim, how)
                scores[name].append(dice(mask, truth.voxels == 1))
    for name, values in scores.items():
        away = sum(value < ELSEWHERE for value in values)
        print(f"{name:20} Dice {np.mean(values):.3f}, elsewhere {away} of {len(values)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
