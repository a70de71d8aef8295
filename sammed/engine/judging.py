"""Which witnesses of a 3D box are believed.

Chains from the outline, chains from what was found as a whole, and that itself are witnesses of one
object, and none knows which of them went astray. What most of them show is likelier right, and so
is what leaves no part of the box empty, for a box touches its object. Of sixteen features a linear
judge learned on synthetic boxes these two were left; the model's own sureness adds nothing to them
(``python -m benchmarks.witnesses`` compares).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sammed.engine.object_volume import ObjectVolume
from sammed.imaging.boxes import Box3D
from sammed.imaging.masks import Mask, dice


def most_trusted(
    ways: Sequence[ObjectVolume], witnesses: Sequence[ObjectVolume], block: Box3D, emptiness: float
) -> ObjectVolume:
    """Of several ways to join witnesses the one that is trusted most; the first of equal ones.

    Parameters
    ----------
    ways
        At least one.
    witnesses
        All that are joined in any way.
    block
        The 3D box, within which they are compared.
    emptiness
        See `trust`.
    """
    masks = [witness.on(block) > 0 for witness in witnesses]
    return max(ways, key=lambda way: trust(way.on(block) > 0, masks, emptiness))


def trust(mask: Mask, witnesses: Sequence[Mask], emptiness: float) -> float:
    """How likely a mask is right, in units of Dice; only differences mean something.

    Parameters
    ----------
    mask : (z, y, x) bool
        Of an object, in its 3D box.
    witnesses
        The same of each witness.
    emptiness
        How many times the share of slices without the mask counts, along the axis where it is
        largest, beside the mean Dice with the witnesses.

    Examples
    --------
    >>> half, whole = np.ones((2, 1, 1, 4), bool)
    >>> half[..., 2:] = False
    >>> round(trust(half, [half, whole], 1.0), 2), round(trust(whole, [half, whole], 1.0), 2)
    (0.33, 0.83)
    """
    filled = [mask.any(tuple({0, 1, 2} - {axis})).mean() for axis in range(3)]
    agreed = np.mean([dice(mask, witness) for witness in witnesses])
    return float(agreed - emptiness * (1 - min(filled)))
