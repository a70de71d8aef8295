"""Structures of one piece: what lies apart from the largest is left out, and told.

nnU-Net keeps the largest component where that is no worse on held-back cases (Isensee et al. 2021,
doi:10.1038/s41592-020-01008-z). Here label maps say first whether a structure is one piece at all,
and what is nearly as large as the largest stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.models.learned.plan import Plan
from sammed.models.learned.sight import Seen

WHOLE = 0.99
"""Share of a structure that its largest piece holds where it is called one piece: a label map may
have a stray voxel."""

NEARLY = 0.5
"""A piece of at least this share of the largest one stays: it may be the right one."""

RIM = 2
"""Samples round a piece that go with it: shares fade out over some."""

_TOUCHING = np.ones((3, 3, 3), bool)

Mask = NDArray[np.bool_]


def is_whole(mask: Mask) -> bool:
    """Whether a drawn structure is one piece; corners that touch hold together.

    Parameters
    ----------
    mask : (z, y, x)
        Not empty.

    Examples
    --------
    >>> is_whole(np.ones((1, 2, 2), bool)), is_whole(np.array([[[1, 0, 1]]], bool))
    (True, False)
    """
    pieces, count = ndimage.label(mask, _TOUCHING)
    return count < 2 or bool(np.bincount(pieces.ravel())[1:].max() >= WHOLE * mask.sum())


def in_one_piece(seen: Seen, plan: Plan) -> Seen:
    """What was seen without the pieces that lie apart, of structures that have none.

    Of several pieces that stays which has the largest sum of shares (size, and how sure it is), and
    whatever is nearly as large: which of them is right a person has to say.

    Parameters
    ----------
    seen
        A scan; its shares are changed in place, as there may be many.
    plan
        Says which structures are one piece.

    Returns
    -------
    Seen
        In each look the shares of what is left out are background's; it says of which structures.
    """
    if not (seen.looks and plan.single):
        return seen
    found = seen.mean.argmax(0)
    apart = _apart(found, seen, plan)
    if not apart:
        return seen
    names = dict(enumerate(plan.structures.values(), 1))
    told = {
        names[number]: float((left_out & (found == number)).sum() / (found == number).sum())
        for number, left_out in apart.items()
    }
    for number, left_out in apart.items():
        for look in seen.looks:
            look[0][left_out] += look[number][left_out]
            look[number][left_out] = 0
    return replace(seen, apart=told)


def _apart(found: NDArray[np.intp], seen: Seen, plan: Plan) -> dict[int, Mask]:
    """Number of a structure → samples of its small pieces; those that have none are left out."""
    apart = {}
    for number, value in enumerate(plan.structures, 1):
        if value in plan.single:
            pieces, count = ndimage.label(found == number, _TOUCHING)
            sums = ndimage.sum_labels(seen.mean[number], pieces, np.arange(1, count + 1))
            small = np.flatnonzero(sums < NEARLY * max(sums, default=0.0)) + 1
            if len(small):
                apart[number] = _with_rim(np.isin(pieces, small), pieces > 0)
    return apart


def _with_rim(small: Mask, found: Mask) -> Mask:
    """Small pieces and what fades out round them, but for what fades out round the others."""
    rim = ndimage.binary_dilation(small, iterations=RIM)
    stays = ndimage.binary_dilation(found & ~small, iterations=RIM)
    return np.asarray(small | (rim & ~stays))


def told_apart(left_out: Mapping[str, float]) -> str:
    """A sentence on what was left out, which is something.

    Examples
    --------
    >>> told_apart({"liver": 0.041, "aorta": 0.001})
    'left out pieces apart of liver (4.1 % of it), aorta (0.1 % of it): one piece each in all cases'
    """
    each = ", ".join(f"{name} ({100 * share:.1f} % of it)" for name, share in left_out.items())
    return f"left out pieces apart of {each}: one piece each in all cases"
