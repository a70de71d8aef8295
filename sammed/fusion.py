"""Slices into a volume, planes into one, objects into one label map; and the clean-up between."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.boxes import Box2D, Box3D
from sammed.decoding import SliceResult
from sammed.geometry import Shape3
from sammed.slices import OUTSIDE_LOGIT
from sammed.volume import label_dtype

Overlap = Literal["keep", "overwrite", "score"]
OVERLAPS: tuple[str, ...] = get_args(Overlap)
Components = Literal["prompted", "largest", "all"]
COMPONENTS: tuple[str, ...] = get_args(Components)

_TOUCHING = np.ones((3, 3, 3), bool)  # voxels that share a corner belong together
_EMPTY = Box3D(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Cleanup:
    """What is done to an object once its slices are stacked.

    Attributes
    ----------
    components
        ``"prompted"`` keeps the 3D components that reach a prompted slice, ``"largest"`` the
        largest one, ``"all"`` everything.
    fill_holes
        Fill cavities that are closed in 3D.
    smooth_mm
        Standard deviation of a Gaussian over the logits, in mm; 0 leaves them. An object on a
        single slice is smoothed within it.
    """

    components: Components = "prompted"
    fill_holes: bool = False
    smooth_mm: float = 0.0


@dataclass(frozen=True, eq=False)
class ObjectVolume:
    """One object's logits in a block of the canonical grid; elsewhere it is absent.

    Attributes
    ----------
    block
        Where.
    logits : (z, y, x) float16
        On the block; > 0 is foreground.
    """

    block: Box3D
    logits: NDArray[np.float16]

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """(z, y, x) bool on the block."""
        return self.logits > 0

    def mask_in(self, shape: Shape3) -> NDArray[np.bool_]:
        """Its voxels in the whole volume, (z, y, x) bool."""
        mask = np.zeros(shape, bool)
        mask[self.block.slices] = self.mask
        return mask

    def probabilities_in(self, shape: Shape3) -> NDArray[np.float16]:
        """Its probability in the whole volume, (z, y, x) float16 in [0, 1]."""
        dense = np.zeros(shape, np.float16)
        dense[self.block.slices] = 1 / (1 + np.exp(-self.logits.astype(np.float32)))
        return dense

    def across(self, axis: int, index: int) -> SliceResult:
        """Its cross-section with one slice, as a mask that a prompt can refer to."""
        low, high = self.block.range(axis)
        if not low <= index < high:
            return SliceResult(index, Box2D(0, 0, 0, 0), np.zeros((0, 0), np.float32))
        logits = np.take(self.logits, index - low, axis=axis).astype(np.float32)
        return SliceResult(index, self.block.across(axis), logits)

    def on(self, block: Box3D) -> NDArray[np.float32]:
        """Logits on another block, `OUTSIDE_LOGIT` where nothing is known."""
        logits = np.full(block.shape, OUTSIDE_LOGIT, np.float32)
        common = _intersection(self.block, block)
        if not common.is_empty:
            logits[_within(common, block)] = self.logits[_within(common, self.block)]
        return logits


NOTHING = ObjectVolume(_EMPTY, np.zeros((0, 0, 0), np.float16))


LOUDEST = 4.0
"""Logits beyond this count as this where planes are weighed: a probability of 98 %."""

UNTRACED = 1e-5
"""Weight of a slice that a plane's trace did not reach."""

BIAS, TEMPERATURE = 1.5, 2.5
"""Logits of joined planes become probabilities as ``sigmoid((logit - BIAS) / TEMPERATURE)``: they
are too loud, and too large where sure. Chosen on real cases, for the built-in network."""

BORDERS = (-3.0, 2.0)
"""Within these logits an object's border may be moved."""


def stack(slices: Mapping[int, SliceResult], axis: int) -> ObjectVolume:
    """Stack masks of slices across an axis into a block of the canonical grid."""
    found = {i: r for i, r in slices.items() if r.area}
    if not found:
        return NOTHING
    region = Box2D(0, 0, 0, 0)
    for result in found.values():
        region = region.union(result.region)
    low, high = min(found), max(found) + 1
    logits = np.full((high - low, *region.shape), OUTSIDE_LOGIT, np.float16)
    for index, result in found.items():
        r, c = result.region.r0 - region.r0, result.region.c0 - region.c0
        h, w = result.region.shape
        logits[index - low, r : r + h, c : c + w] = result.logits
    first, last = [region.r0, region.c0], [region.r1, region.c1]
    first.insert(axis, low)
    last.insert(axis, high)
    return ObjectVolume(Box3D(*first, *last), np.moveaxis(logits, 0, axis))


def fuse_planes(planes: Sequence[ObjectVolume]) -> ObjectVolume:
    """Mean of the logits of one object segmented in several planes."""
    seen = [plane for plane in planes if not plane.block.is_empty]
    if not seen:
        return NOTHING
    block = _EMPTY
    for plane in seen:
        block = block.union(plane.block)
    mean = sum(plane.on(block) for plane in seen) / np.float32(len(seen))
    return ObjectVolume(block, np.asarray(mean, np.float16))


@dataclass(frozen=True, eq=False)
class PlaneView:
    """One object as it was traced in one plane.

    Attributes
    ----------
    volume
        The stacked slices.
    axis
        Across which they lie.
    weights
        How much each slice counts, by index.
    """

    volume: ObjectVolume
    axis: int
    weights: Mapping[int, float]


def weigh_planes(views: Sequence[PlaneView]) -> ObjectVolume:
    """Mean of the logits of one object traced in several planes, weighted slice by slice.

    Logits count up to `LOUDEST`, so that no plane can shout the others down; a slice that was not
    traced says "no" with the weight `UNTRACED`.
    """
    seen = [view for view in views if not view.volume.block.is_empty]
    if not seen:
        return NOTHING
    block = _EMPTY
    for view in seen:
        block = block.union(view.volume.block)
    total = np.zeros(block.shape, np.float32)
    weight = np.zeros(block.shape, np.float32)
    for view in seen:
        low, high = block.range(view.axis)
        line = np.array([view.weights.get(i, UNTRACED) for i in range(low, high)], np.float32)
        shape = [1, 1, 1]
        shape[view.axis] = high - low
        line = line.reshape(shape)
        logits = view.volume.on(block)
        np.clip(logits, -LOUDEST, LOUDEST, out=logits)
        total += line * logits
        weight += line
    return ObjectVolume(block, np.asarray(total / weight, np.float16))


def balanced(volume: ObjectVolume) -> ObjectVolume:
    """The object with its border where the expected Dice is largest.

    A probability of one half is the best border only of an object that is found nearly without
    error; the less sure the model is, the more of the doubtful voxels belong inside (Lipton,
    Elkan and Narayanaswamy 2014, doi:10.1007/978-3-662-44851-9_15). The logits are shifted so that
    the border lies at 0 again.
    """
    known = volume.logits[volume.logits > OUTSIDE_LOGIT]
    if not known.size:
        return volume
    logits = np.sort(known.astype(np.float32))[::-1]
    chance = 1 / (1 + np.exp(-(logits - BIAS) / TEMPERATURE))
    inside = np.cumsum(chance, dtype=np.float64)
    expected = 2 * inside / (np.arange(1, len(logits) + 1) + inside[-1])
    last = int(np.argmax(expected))
    border = float(np.clip(logits[last : last + 2].mean(), *BORDERS))
    return ObjectVolume(volume.block, volume.logits - np.float16(border))


def promised_iou(logits: NDArray[np.floating]) -> float:
    """The IoU that a mask would have if its own probabilities were right, [0, 1].

    Parameters
    ----------
    logits
        Of any shape; > 0 is the mask.
    """
    chance = 1 / (1 + np.exp(-logits.astype(np.float32)))
    inside = logits > 0
    either = float(np.maximum(chance, inside).sum())
    return float(chance[inside].sum()) / either if either > 0 else 0.0


def keep_slices(volume: ObjectVolume, axis: int, indices: Collection[int]) -> ObjectVolume:
    """The object on some slices across an axis; on all others it is absent."""
    low, high = volume.block.range(axis)
    shape = [1, 1, 1]
    shape[axis] = high - low
    kept = np.array([index in indices for index in range(low, high)], bool).reshape(shape)
    return ObjectVolume(volume.block, np.where(kept, volume.logits, np.float16(OUTSIDE_LOGIT)))


def clean(
    volume: ObjectVolume,
    options: Cleanup,
    spacing: tuple[float, float, float],
    prompted: NDArray[np.bool_] | None = None,
) -> ObjectVolume:
    """Smooth, fill and select components, in this order.

    Parameters
    ----------
    volume
        One object.
    options
        What to do.
    spacing
        Voxel size (z, y, x) in mm.
    prompted : (z, y, x) bool or None
        On the object's block: voxels of prompted slices, for ``components="prompted"``.
    """
    if volume.block.is_empty:
        return volume
    logits = volume.logits
    if options.smooth_mm > 0:
        sizes = zip(spacing, logits.shape, strict=True)
        sigma = [options.smooth_mm / mm if n > 1 else 0.0 for mm, n in sizes]
        smooth = ndimage.gaussian_filter(
            logits.astype(np.float32), sigma, mode="constant", cval=OUTSIDE_LOGIT
        )
        logits = smooth.astype(np.float16)
    mask = logits > 0
    kept = ndimage.binary_fill_holes(mask) if options.fill_holes else mask
    kept = select_components(kept, options.components, prompted)
    if kept is mask:
        return ObjectVolume(volume.block, logits)
    logits = np.where(kept & ~mask, np.float16(0.5), logits)
    logits = np.where(mask & ~kept, np.float16(OUTSIDE_LOGIT), logits)
    return ObjectVolume(volume.block, logits)


def select_components(
    mask: NDArray[np.bool_], which: str, prompted: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """The 3D components of a mask that are wanted; the mask itself if that is all of them."""
    if which == "all":
        return mask
    parts, n = ndimage.label(mask, _TOUCHING)
    if n <= 1:
        return mask
    wanted = np.zeros(n + 1, bool)
    if which == "prompted" and prompted is not None:
        wanted[parts[prompted & mask]] = True
    if not wanted.any():
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        wanted[int(np.argmax(sizes))] = True
    wanted[0] = False
    return wanted[parts] & mask


def paint(
    labels: NDArray[np.unsignedinteger],
    region: Box3D,
    objects: Iterable[tuple[int, ObjectVolume]],
    policy: str,
) -> None:
    """Write objects into a label map, in place, within a region.

    Parameters
    ----------
    labels : (z, y, x) unsigned
        The label map; the region is cleared first.
    region
        What to paint again.
    objects
        (label value, object) in order of priority.
    policy
        Where objects overlap: ``"keep"``: the earlier one keeps its voxels; ``"overwrite"``: the
        later one takes them; ``"score"``: the one with the higher logit.
    """
    if region.is_empty:
        return
    target = labels[region.slices]
    target[...] = 0
    best = np.zeros(region.shape, np.float16) if policy == "score" else None
    for value, volume in objects:
        common = _intersection(volume.block, region)
        if common.is_empty:
            continue
        here = _within(common, region)
        logits = volume.logits[_within(common, volume.block)]
        mine = logits > 0
        if policy == "keep":
            mine = mine & (target[here] == 0)
        elif best is not None:
            mine = mine & (logits > best[here])
            best[here] = np.where(mine, logits, best[here])
        target[here][mine] = value


class LabelMap:
    """Objects in one label map, painted anew only where one of them has changed.

    Parameters
    ----------
    shape
        Extents (z, y, x).
    policy
        Who gets voxels that several objects claim, see `paint`.

    Attributes
    ----------
    voxels : (z, y, x) uint8 or uint16
        The label map.
    """

    def __init__(self, shape: Shape3, policy: str) -> None:
        self.voxels: NDArray[np.unsignedinteger] = np.zeros(shape, np.uint8)
        self._policy = policy
        self._objects: dict[str, tuple[int, ObjectVolume]] = {}

    def update(self, objects: Mapping[str, tuple[int, ObjectVolume]]) -> Box3D:
        """Show these objects, and no others.

        Parameters
        ----------
        objects
            (label value, object) by name, in order of priority.

        Returns
        -------
        Box3D
            The block in which voxels changed; empty if none did.
        """
        region = _EMPTY
        for name in {*objects, *self._objects}:
            new, old = objects.get(name), self._objects.get(name)
            if new != old:
                for _, volume in filter(None, (new, old)):
                    region = region.union(volume.block)
        self._objects = dict(objects)
        if region.is_empty:
            return _EMPTY
        before = self.voxels[region.slices].copy()
        highest = max((value for value, _ in objects.values()), default=1)
        self.voxels = self.voxels.astype(label_dtype(highest), copy=False)
        paint(self.voxels, region, objects.values(), self._policy)
        changed = Box3D.from_mask(before != self.voxels[region.slices])
        if changed.is_empty:
            return _EMPTY
        low = [v + o for v, o in zip(changed.low, region.low, strict=True)]
        high = [v + o for v, o in zip(changed.high, region.low, strict=True)]
        return Box3D(*low, *high)


def _intersection(a: Box3D, b: Box3D) -> Box3D:
    low = [max(p, q) for p, q in zip(a.low, b.low, strict=True)]
    high = [min(p, q) for p, q in zip(a.high, b.high, strict=True)]
    return Box3D(*low, *high)


def _within(part: Box3D, block: Box3D) -> tuple[slice, ...]:
    """Slices of ``part`` in an array that holds ``block``."""
    return tuple(
        slice(p - o, q - o) for p, q, o in zip(part.low, part.high, block.low, strict=True)
    )
