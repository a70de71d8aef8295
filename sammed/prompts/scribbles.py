"""Scribbles as people give them: corners as typed, a label map of what was painted, positions."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.errors import PromptError
from sammed.imaging.volume import LabelVolume, Volume
from sammed.prompts.interactions import ScribblePrompt
from sammed.prompts.objects import ObjectPrompts
from sammed.prompts.placing import scribble_prompt
from sammed.prompts.text import IN_PLANE, split_name, voxels_at

GRAMMAR = (
    "expected i,j;i,j;...@k (corners of a line on slice k; @i=N or @j=N for the other axes) or "
    "i,j,k;i,j,k;..., with - at the end for a stroke beside the object, or a label map with 1 on "
    "strokes inside and 2 on strokes outside"
)

INSIDE, OUTSIDE = 1, 2
"""Labels of strokes that were painted in a label map."""


def parse_scribble(text: str, volume: Volume, space: str = "voxel") -> ObjectPrompts:
    """A stroke as typed, with an optional ``name=`` in front.

    Parameters
    ----------
    text
        ``i,j;i,j;...@k`` (or ``@j=N``, ``@i=N``) or ``i,j,k;i,j,k;...``; a ``-`` at the end says
        that it runs beside the object.
    volume
        On whose file the numbers are meant.
    space
        ``"voxel"``, or ``"ras"`` / ``"lps"`` for millimetres.

    Raises
    ------
    PromptError
        If it cannot be read, or leaves the volume.

    Examples
    --------
    >>> from sammed.io import read
    >>> volume = read("sample_data/phantom_ct.nii.gz")
    >>> parse_scribble("liver=60,58;63,58;63,60@46", volume).scribbles[0].voxels.tolist()
    [[46, 58, 60], [46, 58, 61], [46, 58, 62], [46, 58, 63], [46, 59, 63], [46, 60, 63]]
    """
    name, rest = split_name(text)
    positive = not rest.rstrip().endswith("-")
    corners, at, slice_text = rest.rstrip().removesuffix("-").rstrip(" ,").partition("@")
    try:
        rows = [[float(v) for v in row.split(",")] for row in corners.split(";") if row.strip()]
        positions = np.array(rows, np.float64)
        if at:
            axis, _, number = slice_text.rpartition("=")
            axis = axis.strip().lower() or "k"
            whole = np.full((len(positions), 3), float(number))
            whole[:, list(IN_PLANE[axis])] = positions
            positions = whole
    except (ValueError, KeyError, IndexError) as error:
        raise PromptError(f"cannot read scribble {text!r}; {GRAMMAR}") from error
    if positions.ndim != 2 or positions.shape[1] != 3 or not np.isfinite(positions).all():
        raise PromptError(f"cannot read scribble {text!r}; {GRAMMAR}")
    voxels = voxels_at(positions, volume, space, "corner of a scribble")
    return ObjectPrompts(name, scribbles=[ScribblePrompt(polyline(voxels), positive)])


def polyline(corners: NDArray[np.intp]) -> NDArray[np.intp]:
    """The voxels that a line through corners passes, in order, none twice in a row.

    Examples
    --------
    >>> polyline(np.array([(4, 0, 0), (4, 2, 4)])).tolist()
    [[4, 0, 0], [4, 0, 1], [4, 1, 2], [4, 2, 3], [4, 2, 4]]
    """
    parts = [corners[:1]]
    for start, end in pairwise(corners):
        steps = np.linspace(0, 1, int(np.abs(end - start).max()) + 1)[1:, None]
        parts.append(np.rint(start + (end - start) * steps).astype(np.intp))
    return np.concatenate(parts)


def painted_scribbles(labels: LabelVolume, name: str, source: str) -> list[ScribblePrompt]:
    """Strokes that were painted: each connected one by itself, from one end to the other.

    Parameters
    ----------
    labels
        On the volume's grid: 1 on strokes inside the object, 2 on strokes outside.
    name, source
        Of the object, and of the file, for messages.

    Raises
    ------
    PromptError
        If nothing is painted, or other labels are.
    """
    values = [int(v) for v in np.unique(labels.voxels) if v]
    if not values or not set(values) <= {INSIDE, OUTSIDE}:
        found = ", ".join(map(str, values)) or "nothing"
        raise PromptError(
            f"{source} holds {found} for {name!r}; expected strokes: 1 on those inside the object, "
            "2 on those outside; for painted slices use --mask"
        )
    strokes = []
    for value in values:
        parts, count = ndimage.label(labels.voxels == value, structure=np.ones((3, 3, 3)))
        for number in range(1, count + 1):
            strokes.append(ScribblePrompt(_end_to_end(np.argwhere(parts == number)),
                                          value == INSIDE))  # fmt: skip
    return strokes


def placed_scribbles(given: Any, volume: Volume, space: str) -> list[ScribblePrompt]:
    """Strokes as positions (n, 3) or arrays (i, j, k), one or several in a list."""
    several = isinstance(given, list | tuple) and given and np.ndim(given[0]) > 1
    return [scribble_prompt(volume, one, space=space) for one in (given if several else [given])]


def _end_to_end(voxels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Voxels of a painted stroke in the order of its longest extent."""
    middle = voxels - voxels.mean(0)
    along = np.linalg.svd(middle, full_matrices=False)[2][0] if len(voxels) > 1 else np.ones(3)
    return np.asarray(voxels[np.argsort(middle @ along, kind="stable")], np.intp)
