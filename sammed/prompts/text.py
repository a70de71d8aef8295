"""Prompts as a person types them: ``liver=120,90,210,170@88``.

Numbers are half-open voxel indices of the file, as NIfTI viewers show them, or millimetres of
``ras`` or ``lps``. Both become canonical voxels here.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from sammed.errors import InputError, LabelError, PromptError
from sammed.imaging.boxes import Box3D
from sammed.imaging.geometry import index_from_world, world_to_lps
from sammed.imaging.volume import MAX_LABEL, Volume
from sammed.prompts import BoxPrompt, ObjectPrompts, PointPrompt

SPACES = ("voxel", "ras", "lps")
DEFAULT_NAME = "object"

IN_PLANE = {"i": (1, 2), "j": (0, 2), "k": (0, 1)}
"""For a slice across a file axis, which of (i, j, k) its box gives, in order."""

BOX_GRAMMAR = (
    "expected i0,j0,i1,j1@k (a box on slice k), @i=N or @j=N for the other axes, "
    "or i0,j0,k0,i1,j1,k1 (a 3D box)"
)


def check_space(space: str) -> None:
    """Make sure that numbers are meant in a space that is known.

    Raises
    ------
    InputError
        If it is none of `SPACES`.
    """
    if space not in SPACES:
        raise InputError(f"unknown space {space!r}; expected {', '.join(SPACES)}")


def split_name(text: str) -> tuple[str, str]:
    """``"liver=..."`` as name and rest; without a name the object is called ``"object"``.

    Raises
    ------
    PromptError
        If the name is empty or a number.

    Examples
    --------
    >>> split_name("liver=1,2,3,4@5"), split_name("2nd lesion=1,2,3"), split_name("1,2,3,4@k=5")
    (('liver', '1,2,3,4@5'), ('2nd lesion', '1,2,3'), ('object', '1,2,3,4@k=5'))
    """
    name, equals, rest = text.partition("=")
    name = name.strip()
    if not equals or "@" in name or re.fullmatch(r"[-+\d.]*,[-+\d., ]*", name):
        return DEFAULT_NAME, text
    if not name:
        raise PromptError(f"the name before '=' is empty in {text!r}")
    if re.fullmatch(r"[-+\d.]+", name):
        raise PromptError(
            f"the name {name!r} in {text!r} is a number; give the object a name, and its value "
            f"in the label map by a label NAME={name}"
        )
    return name, rest


def split_label(text: str) -> tuple[str, int | None]:
    """``"painted.nii.gz#3"`` as the file and the label in it; ``None`` for the whole file.

    Examples
    --------
    >>> split_label("painted.nii.gz#3"), split_label("a#b.nii.gz")
    (('painted.nii.gz', 3), ('a#b.nii.gz', None))
    """
    file, _, value = text.rpartition("#")
    return (file, int(value)) if file and re.fullmatch(r"[0-9]+", value) else (text, None)


def parse_box(text: str, volume: Volume, space: str = "voxel") -> ObjectPrompts:
    """A box as typed, with an optional ``name=`` in front.

    Parameters
    ----------
    text
        ``i0,j0,i1,j1@k`` (or ``@k=N``, ``@j=N``, ``@i=N``), or ``i0,j0,k0,i1,j1,k1``.
    volume
        On whose file the numbers are meant.
    space
        ``"voxel"``, or ``"ras"`` / ``"lps"`` for millimetres.

    Returns
    -------
    ObjectPrompts
        With this one box.

    Raises
    ------
    PromptError
        If it cannot be read, is empty, inverted or outside.

    Examples
    --------
    >>> from sammed.io import read
    >>> volume = read("sample_data/phantom_ct.nii.gz")
    >>> parse_box("liver=23,25,97,92@46", volume).boxes
    (BoxPrompt(axis=0, index=46, box=Box2D(r0=25, c0=23, r1=92, c1=97)),)
    """
    name, rest = split_name(text)
    coordinates, at, slice_text = rest.partition("@")
    if not at:
        corners = _numbers(coordinates, 6, text, BOX_GRAMMAR)
        block = block_from_corners(corners, volume, space, text)
        return ObjectPrompts(name, blocks=(block,))
    axis, _, number = slice_text.rpartition("=")
    axis = axis.strip().lower() or "k"
    if axis not in IN_PLANE:
        raise PromptError(f"cannot read box {text!r}: unknown axis {axis!r}; {BOX_GRAMMAR}")
    (index,) = _numbers(number, 1, text, BOX_GRAMMAR)
    sides = _numbers(coordinates, 4, text, BOX_GRAMMAR)
    return ObjectPrompts(name, boxes=(box_on_slice(sides, axis, index, volume, space, text),))


def parse_point(text: str, volume: Volume, space: str = "voxel") -> ObjectPrompts:
    """A point as typed: ``i,j,k``, ``i,j,k,+`` or ``i,j,k,-``, with an optional ``name=``.

    Raises
    ------
    PromptError
        If it cannot be read or lies outside.

    Examples
    --------
    >>> from sammed.io import read
    >>> volume = read("sample_data/phantom_ct.nii.gz")
    >>> parse_point("liver=60,58,46,-", volume).points
    (PointPrompt(at=(46, 58, 60), positive=False),)
    """
    name, rest = split_name(text)
    grammar = "expected i,j,k or i,j,k,+ (inside the object) or i,j,k,- (outside it)"
    match = re.fullmatch(r"(.*?)(?:,\s*([-+]))?", rest.strip())
    position = _numbers(match[1] if match else rest, 3, text, grammar)
    positive = not (match and match[2] == "-")
    return ObjectPrompts(name, points=(point_at(position, positive, volume, space),))


def parse_label(text: str) -> tuple[str, int]:
    """``NAME=VALUE`` as name and label value.

    Raises
    ------
    LabelError
        If it cannot be read.

    Examples
    --------
    >>> parse_label("liver=5")
    ('liver', 5)
    """
    name, _, value = text.rpartition("=")
    if not name.strip() or not re.fullmatch(r"\s*\d+\s*", value):
        raise LabelError(f"cannot read label {text!r}; expected NAME=VALUE, such as liver=5")
    return name.strip(), int(value)


def box_on_slice(
    sides: NDArray[np.float64], axis: str, index: float, volume: Volume, space: str, what: str
) -> BoxPrompt:
    """A rectangle on one slice.

    Parameters
    ----------
    sides : (4,)
        Low and high of the two in-plane axes: ``[a0, b0, a1, b1]``.
    axis
        ``"i"``, ``"j"`` or ``"k"``; in millimetres the world's first, second or third axis.
    index
        Slice index, or millimetres along that world axis.
    volume, space
        See `parse_box`.
    what
        How the user wrote it, for messages.

    Examples
    --------
    >>> from sammed.io import read
    >>> volume = read("sample_data/phantom_ct.nii.gz")
    >>> box_on_slice(np.array([99.0, 56, 131, 97]), "k", 44, volume, "voxel", "my box")
    BoxPrompt(axis=0, index=44, box=Box2D(r0=56, c0=99, r1=97, c1=131))
    """
    low, high = np.empty(3), np.empty(3)
    across = "ijk".index(axis)
    in_plane = list(IN_PLANE[axis])
    low[in_plane], high[in_plane] = sides[:2], sides[2:]
    check_order(low[in_plane], high[in_plane], what)
    if space == "voxel":
        _check_whole([*sides, index], what)
        low[across], high[across] = index, index + 1
        _check_inside(low, high, volume, what)
        block = _block_of_file_voxels(low, high, volume)
        canonical_axis = volume.grid.canonical_axis(axis)
    else:
        low[across] = high[across] = index
        corners = _world_corners(low, high, volume, space)
        canonical_axis = 2 - across  # the canonical axis that runs closest along the world's
        middle = float(corners[:, canonical_axis].mean())
        nearest = int(np.floor(middle + 0.5))
        if not 0 <= nearest < volume.shape[canonical_axis]:
            raise PromptError(
                f"the box {what!r} is on a slice that does not exist: {nearest} of "
                f"0..{volume.shape[canonical_axis] - 1} along canonical axis "
                f"{'zyx'[canonical_axis]}"
            )
        faces = np.tile(corners, (2, 1))
        faces[:8, canonical_axis], faces[8:, canonical_axis] = nearest - 0.5, nearest + 0.5
        block = _clipped(Box3D.from_index_corners(faces), volume, what)
    start, _ = block.range(canonical_axis)
    return BoxPrompt(canonical_axis, start, block.across(canonical_axis))


def block_from_corners(
    corners: NDArray[np.float64], volume: Volume, space: str, what: str
) -> Box3D:
    """A 3D box from ``[i0, j0, k0, i1, j1, k1]``, (6,), in voxels or millimetres."""
    low, high = np.array(corners[:3]), np.array(corners[3:])
    check_order(low, high, what)
    if space == "voxel":
        _check_whole([*low, *high], what)
        _check_inside(low, high, volume, what)
        return _block_of_file_voxels(low, high, volume)
    return block_from_world(_world_corners(low, high, volume, space), volume, what)


def block_from_world(corners: NDArray[np.float64], volume: Volume, what: str) -> Box3D:
    """The block of voxels that holds canonical index corners, (n, 3), clipped to the volume."""
    return _clipped(Box3D.from_index_corners(corners), volume, what)


def check_order(low: NDArray[np.float64], high: NDArray[np.float64], what: str) -> None:
    """Make sure that a box, which was written as ``what``, ends after its start on each axis.

    Raises
    ------
    PromptError
        If it does not.
    """
    if (high <= low).any():
        raise PromptError(
            f"the box {what!r} is empty or inverted: from {_list(low)} to {_list(high)}; "
            "expected each end greater than its start (half-open)"
        )


def point_at(
    position: NDArray[np.float64], positive: bool, volume: Volume, space: str
) -> PointPrompt:
    """A point from ``[i, j, k]`` or millimetres, at the voxel that holds it."""
    z, y, x = voxels_at(position[None], volume, space, "point")[0].tolist()
    return PointPrompt((z, y, x), positive)


def voxels_at(
    positions: NDArray[np.float64], volume: Volume, space: str, what: str
) -> NDArray[np.intp]:
    """The voxels that hold some positions.

    Parameters
    ----------
    positions : (n, 3) float64
        Rows ``[i, j, k]`` in the file's voxels, or millimetres.
    volume, space
        See `parse_box`.
    what
        What a position is called in messages.

    Returns
    -------
    (n, 3) intp
        Canonical (z, y, x).

    Raises
    ------
    PromptError
        If one lies outside the volume.
    """
    if space == "voxel":
        index = volume.grid.canonical_index(positions)
    else:
        index = index_from_world(volume.affine, world_to_lps(positions, space))
    voxels = np.floor(index + 0.5)
    outside = ~((voxels >= 0) & (voxels < volume.shape)).all(axis=1)
    if outside.any():
        raise PromptError(
            f"the {what} {_list(positions[outside][0])} ({space}) lies outside the volume of "
            f"{_list(np.array(volume.grid.shape[::-1]))} voxels (i, j, k)"
        )
    return voxels.astype(np.intp)


def apply_labels(
    objects: tuple[ObjectPrompts, ...], labels: dict[str, int]
) -> tuple[ObjectPrompts, ...]:
    """Give named objects their label values.

    Raises
    ------
    LabelError
        If a name belongs to no object, or a value is not in 1..65535.

    Examples
    --------
    >>> apply_labels((ObjectPrompts("liver"),), {"liver": 5})[0].label
    5
    """
    known = {obj.name for obj in objects}
    for name, value in labels.items():
        if not 1 <= value <= MAX_LABEL:
            raise LabelError(f"label {value} of {name!r} is not in 1..{MAX_LABEL}")
        if name not in known:
            raise LabelError(
                f"a label is given for {name!r}, but the objects are "
                f"{', '.join(sorted(known)) or 'none'}"
            )
    return tuple(replace(o, label=labels.get(o.name, o.label)) for o in objects)


def _numbers(text: str, count: int, whole: str, grammar: str) -> NDArray[np.float64]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise PromptError(f"cannot read {whole!r}; {grammar}")
    return np.array(values)


def _check_whole(values: list[float], what: str) -> None:
    if any(v != int(v) for v in values):
        raise PromptError(
            f"{what!r} has fractions; voxel indices are whole numbers "
            "(for millimetres say so: space ras or lps)"
        )


def _check_inside(
    low: NDArray[np.float64], high: NDArray[np.float64], volume: Volume, what: str
) -> None:
    shape = np.array(volume.grid.shape[::-1])
    for axis, name in enumerate("ijk"):
        if low[axis] < 0 or high[axis] > shape[axis]:
            raise PromptError(
                f"the box {what!r} reaches outside the volume: {name} from {low[axis]:g} to "
                f"{high[axis]:g} (half-open), the file has {name} = 0..{shape[axis] - 1} "
                f"(shape {_list(shape)} in i, j, k)"
            )


def _block_of_file_voxels(
    low: NDArray[np.float64], high: NDArray[np.float64], volume: Volume
) -> Box3D:
    corners = np.array([low - 0.5, high - 0.5])
    return Box3D.from_index_corners(volume.grid.canonical_index(corners))


def _world_corners(
    low: NDArray[np.float64], high: NDArray[np.float64], volume: Volume, space: str
) -> NDArray[np.float64]:
    """All eight corners of a box in millimetres as canonical indices, (8, 3)."""
    corners = np.array(list(product(*zip(low, high, strict=True))))
    return index_from_world(volume.affine, world_to_lps(corners, space))


def _clipped(block: Box3D, volume: Volume, what: str) -> Box3D:
    inside = block.clip(volume.shape)
    if inside.is_empty:
        raise PromptError(
            f"the box {what!r} lies outside the volume: voxels {block.low} to {block.high}, "
            f"the volume has {volume.shape} (z, y, x); check the space (ras or lps)"
        )
    return inside


def _list(values: NDArray[np.generic]) -> str:
    return "(" + ", ".join(f"{float(v):g}" for v in values.tolist()) + ")"
