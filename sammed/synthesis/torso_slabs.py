"""Drawn trunks as volumes with targets: organs, their parts, pairs and rows of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.synthesis.canvas import Target
from sammed.synthesis.slab import Slab
from sammed.synthesis.torso import FIRST, Torso, make_torso

KINDS = ("trunk", "trunk_thin", "trunk_part", "trunk_group")
"""Kinds of targets that drawn trunks have."""

PIXELS = (1.6, 5.0)
"""Finest and coarsest voxels, in mm of the body."""

OF_A_GROUP = 3
"""Alike things (vertebrae, ribs) that are offered of one trunk."""

GROUP_SHARE = 0.25
"""How often all of them together are offered."""

SLIGHT = 0.1
"""Things that fill less of the box round them are thin."""

LEAST_VOXELS = 30
"""Smaller things are not offered."""

Mask = NDArray[np.bool_]


def make_trunk(seed: int | tuple[int, ...]) -> Slab:
    """Draw a trunk, or a part of one, with all that could be asked for; the same seed, the same.

    Parameters
    ----------
    seed
        Anything that ``numpy.random.default_rng`` takes.

    Examples
    --------
    >>> trunk = make_trunk(3)
    >>> trunk.image.ndim, len(trunk.targets) > 5
    (3, True)
    """
    rng = np.random.default_rng(seed)
    pixel = float(np.exp(rng.uniform(*np.log(PIXELS))))
    torso = make_torso(rng, pixel=pixel)
    return Slab(torso.image, list(targets(rng, torso)), slice_step=torso.step)


def targets(rng: np.random.Generator, torso: Torso) -> Iterator[Target]:
    """What could be asked for: of alike things a few, so that none is asked for too often."""
    groups: dict[str, list[int]] = {}
    sizes = np.bincount(torso.outer.ravel(), minlength=FIRST + len(torso.names))
    for number, name in torso.names.items():
        if sizes[number] >= LEAST_VOXELS:
            groups.setdefault(group_of(name), []).append(number)
    for numbers in groups.values():
        for number in rng.permutation(numbers)[:OF_A_GROUP]:
            mask = torso.outer == number
            yield Target("trunk_thin" if _thin(mask) else "trunk", mask)
        if len(numbers) > 1 and rng.random() < GROUP_SHARE:
            yield Target("trunk_group", np.isin(torso.outer, numbers))
    yield from _parts(torso)


def group_of(name: str) -> str:
    """What a thing is called whichever side or level it is of.

    Examples
    --------
    >>> group_of("kidney left"), group_of("vertebra L1"), group_of("gluteus medius right")
    ('kidney', 'vertebra', 'gluteus medius')
    """
    words = name.split()
    kept = [w for w in words if w not in ("left", "right") and not any(c.isdigit() for c in w)]
    return " ".join(kept)


def _parts(torso: Torso) -> Iterator[Target]:
    """Lesions, contents of hollow organs, and the walls that are left of these."""
    numbers, sizes = np.unique(torso.inner[torso.inner != torso.outer], return_counts=True)
    hollow = set()
    for number in numbers[(sizes >= LEAST_VOXELS) & (numbers >= FIRST)]:
        mask = torso.inner == number
        hollow |= set(np.unique(torso.outer[mask]).tolist())
        yield Target("trunk_part", mask)
    for number in sorted(n for n in hollow if n >= FIRST):
        mask = (torso.outer == number) & (torso.inner == number)
        if np.count_nonzero(mask) >= LEAST_VOXELS:
            yield Target("trunk_thin", mask)


def _thin(mask: Mask) -> bool:
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    return bool(mask[box].mean() < SLIGHT)
