"""Prompts that a user might have given, simulated from a reference mask.

Every function takes a (z, y, x) bool mask in canonical order and is deterministic: randomness
comes from the generator that is handed in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.errors import EvaluationError
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.geometry import Shape3
from sammed.prompts import BoxPrompt, PointPrompt

Bool2 = NDArray[np.bool_]
Bool3 = NDArray[np.bool_]

_TOUCHING_2D = np.ones((3, 3), bool)
_TOUCHING_3D = np.ones((3, 3, 3), bool)


def component_boxes(mask: Bool2) -> list[Box2D]:
    """Tight box of each 8-connected component of a (row, col) mask, in scan order.

    Examples
    --------
    >>> m = np.zeros((5, 7), bool); m[1:3, 1:3] = True; m[4, 5:] = True
    >>> component_boxes(m)
    [Box2D(r0=1, c0=1, r1=3, c1=3), Box2D(r0=4, c0=5, r1=5, c1=7)]
    """
    labelled, _ = ndimage.label(mask, structure=_TOUCHING_2D)
    found = ndimage.find_objects(labelled)
    return [Box2D(r.start, c.start, r.stop, c.stop) for r, c in found]


def slice_boxes(
    mask: Bool3, axis: int, jitter: float = 0.0, rng: np.random.Generator | None = None
) -> tuple[BoxPrompt, ...]:
    """A box for each connected component on each slice that shows the object.

    Parameters
    ----------
    mask : (z, y, x) bool
        The reference.
    axis
        Canonical axis across which the slices lie.
    jitter
        Each side moves by up to this fraction of the box's extent; see `Box2D.jitter`.
    rng
        Needed if ``jitter`` is not 0.
    """
    boxes = []
    others = tuple(a for a in range(3) if a != axis)
    for index in np.flatnonzero(mask.any(axis=others)):
        seen = np.take(mask, index, axis=axis)
        boxes += [
            BoxPrompt(axis, int(index), jittered(box, jitter, rng, _shape(seen)))
            for box in component_boxes(seen)
        ]
    return tuple(boxes)


def largest_slice(mask: Bool3, axis: int) -> int:
    """Index along ``axis`` of the slice with the largest area; of equals the middle one.

    Raises
    ------
    EvaluationError
        If the mask is empty.
    """
    area = mask.sum(axis=tuple(a for a in range(3) if a != axis))
    if not area.max(initial=0):
        raise EvaluationError("the reference mask is empty; there is nothing to prompt")
    widest = np.flatnonzero(area == area.max())
    return int(widest[len(widest) // 2])


def largest_slice_box(
    mask: Bool3, axis: int, jitter: float = 0.0, rng: np.random.Generator | None = None
) -> BoxPrompt:
    """One box round all of the object on the slice where its area is largest.

    Raises
    ------
    EvaluationError
        If the mask is empty.
    """
    index = largest_slice(mask, axis)
    seen = np.take(mask, index, axis=axis)
    return BoxPrompt(axis, index, jittered(Box2D.from_mask(seen), jitter, rng, _shape(seen)))


def block(mask: Bool3, jitter: float = 0.0, rng: np.random.Generator | None = None) -> Box3D:
    """One 3D box round the object; jitter moves its six sides as `Box2D.jitter` does four.

    Raises
    ------
    EvaluationError
        If the mask is empty.
    """
    box = Box3D.from_mask(mask)
    if box.is_empty:
        raise EvaluationError("the reference mask is empty; there is nothing to prompt")
    if jitter == 0:
        return box
    shift = _generator(rng).uniform(-jitter, jitter, (2, 3)) * np.array(box.shape)
    low, high = (np.rint(np.array([box.low, box.high]) + shift)).astype(int)
    low = np.clip(low, 0, np.array(mask.shape) - 1)
    high = np.clip(np.maximum(high, low + 1), 0, mask.shape)
    return Box3D(*(int(v) for v in low), *(int(v) for v in high))


def jittered(
    box: Box2D, jitter: float, rng: np.random.Generator | None, shape: tuple[int, int]
) -> Box2D:
    """The box itself if ``jitter`` is 0, else moved by `Box2D.jitter`."""
    return box if jitter == 0 else box.jitter(jitter, _generator(rng), shape)


def corrective_click(
    prediction: Bool3, reference: Bool3, spacing: tuple[float, float, float]
) -> PointPrompt | None:
    """The click that a user would make next: in the middle of the largest error.

    The largest 26-connected component of wrong voxels, missing and superfluous ones apart; in it
    the voxel farthest (in mm) from its edge, as in the CVPR 2025 interactive challenge.

    Parameters
    ----------
    prediction, reference : (z, y, x) bool
        On one grid.
    spacing
        Voxel size (z, y, x) in mm.

    Returns
    -------
    PointPrompt or None
        Positive where the object was missed, negative where there is none; ``None`` if the masks
        are equal.
    """
    found = wrong_part(prediction, reference)
    if found is None:
        return None
    wrong, positive = found
    return PointPrompt(centre(wrong, spacing), positive)


def wrong_part(prediction: Bool3, reference: Bool3) -> tuple[Bool3, bool] | None:
    """The largest 26-connected component of wrong voxels, missing and superfluous ones apart.

    Returns
    -------
    (z, y, x) bool and bool, or None
        The component; whether the object was missed there. ``None`` if the masks are equal.
    """
    best: tuple[int, bool, NDArray[np.integer], int] | None = None
    around = _with_margin(Box3D.from_mask(prediction ^ reference), reference.shape)
    seen, true = prediction[around.slices], reference[around.slices]
    for wrong, positive in ((true & ~seen, True), (seen & ~true, False)):
        labelled, count = ndimage.label(wrong, structure=_TOUCHING_3D)
        if not count:
            continue
        sizes = np.bincount(labelled.ravel())[1:]
        which = int(np.argmax(sizes))
        if best is None or sizes[which] > best[0]:
            best = int(sizes[which]), positive, labelled, which + 1
    if best is None:
        return None
    _, positive, labelled, value = best
    part = np.zeros(reference.shape, bool)
    part[around.slices] = labelled == value
    return part, positive


def _with_margin(box: Box3D, shape: tuple[int, ...]) -> Box3D:
    """One voxel more on each side, within the volume."""
    low, high = (v - 1 for v in box.low), (v + 1 for v in box.high)
    return Box3D(*low, *high).clip((shape[0], shape[1], shape[2]))


def centre(mask: Bool3, spacing: tuple[float, float, float]) -> Shape3:
    """The voxel of a mask, not empty, that lies farthest in mm from its edge; it is always inside.

    Of several that are equally far, the one nearest to their mean. The border of the volume counts
    as an edge, but not across an axis of one voxel.
    """
    region = Box3D.from_mask(mask)
    if max(mask.shape) == 1:
        return region.low
    pad = [(int(n > 1),) * 2 for n in mask.shape]
    depth = ndimage.distance_transform_edt(np.pad(mask[region.slices], pad), sampling=spacing)
    deepest = np.argwhere(depth >= depth.max() * (1 - 1e-9))
    off = ((deepest - deepest.mean(axis=0)) * np.array(spacing)) ** 2
    at = deepest[int(np.argmin(off.sum(axis=1)))]
    z, y, x = (int(i) - p[0] + low for i, p, low in zip(at, pad, region.low, strict=True))
    return z, y, x


def interior_points(mask: Bool3, count: int, rng: np.random.Generator) -> tuple[PointPrompt, ...]:
    """Positive points drawn without repetition from the inside of a mask.

    Inside means that no neighbour across a face lies outside the mask (an axis of one voxel has no
    neighbours). If that holds for fewer voxels than ``count`` the rest comes from the rim; a mask
    smaller than ``count`` gives all of its voxels.
    """
    rim_of = ndimage.generate_binary_structure(3, 1)
    for axis, n in enumerate(mask.shape):
        if n == 1:
            keep = [slice(None)] * 3
            keep[axis] = slice(1, 2)
            rim_of = rim_of[tuple(keep)]
    inside = ndimage.binary_erosion(mask, structure=rim_of)
    chosen: list[NDArray[np.intp]] = []
    for pool in (np.argwhere(inside), np.argwhere(mask & ~inside)):
        take = min(count - len(chosen), len(pool))
        chosen += [pool[i] for i in rng.choice(len(pool), take, replace=False)] if take else []
    return tuple(PointPrompt((int(z), int(y), int(x))) for z, y, x in chosen)


def slice_points(
    mask: Bool3, axis: int, count: int, rng: np.random.Generator
) -> tuple[PointPrompt, ...]:
    """That many positive points on each slice that shows the object; see `interior_points`."""
    points: list[PointPrompt] = []
    others = tuple(a for a in range(3) if a != axis)
    for index in np.flatnonzero(mask.any(axis=others)):
        for point in interior_points(np.take(mask, [index], axis=axis), count, rng):
            at = list(point.at)
            at[axis] = int(index)
            points.append(PointPrompt((at[0], at[1], at[2])))
    return tuple(points)


def _generator(rng: np.random.Generator | None) -> np.random.Generator:
    if rng is None:
        raise EvaluationError("jitter needs a random generator; pass rng")
    return rng


def _shape(image: Bool2) -> tuple[int, int]:
    h, w = image.shape
    return h, w
