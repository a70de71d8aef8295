"""Training samples: a zoomed view of one slice, what is asked for, and what is known of it.

The geometry is the engine's: a square of `ZOOM` times the longer side of the box, isotropic in mm,
black outside the image, resampled linearly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.imaging.resampling import shrink_weights
from sammed.prompts.stroke_simulation import KINDS, drawn
from sammed.synthesis.canvas import Target
from sammed.synthesis.fields import Array
from sammed.synthesis.recipes import choose
from sammed.synthesis.slab import Slab, make_slab

VIEW_SIZE = 96
"""Side of a view in px."""

ZOOM = 1.5
STROKED_SHARE = (0.12, 1.2)
"""Least and largest share of a view that an object has round whose stroke the view lies."""

MIN_VIEW_PIXELS = 16.0
"""A view spans at least this many slice pixels."""

MODES: dict[str, float] = {"own": 0.36, "whole": 0.32, "next": 0.17, "absent": 0.10, "free": 0.05}
"""How a sample is prompted, and how often.

``own``: the box of the object (or one component) on this slice. ``whole``: the box of the whole
object on all slices, often looser still, most so in pictures. ``next``: the neighbouring slice's
box. ``absent``: the same beyond the object's end. ``free``: no box at all, a view of any scale
around a point of the object.
"""

BOXED: dict[str, float] = {"own": 0.8, "whole": 0.2}
"""The same for a network that only answers boxes."""

STROKED: dict[str, float] = {
    "stroked": 0.55,
    "own": 0.25,
    "whole": 0.08,
    "next": 0.06,
    "absent": 0.06,
}
"""The same for the branch that hears strokes. ``stroked``: no box; the view lies round a stroke."""

Box = tuple[float, float, float, float]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    """One view with its target; ``s`` is `VIEW_SIZE`.

    Attributes
    ----------
    image : (3, s, s) float16
        Grey: the slices before, this, and after. Colour: red, green, blue.
    colour
        Which of the two.
    target : (s, s) uint8
        1 inside; all 0 if the object is not on this slice.
    previous : (s, s) uint8
        The object on a neighbouring slice; all 0 if there is none.
    box : (4,) float32
        ``(row0, col0, row1, col1)`` in view edge coordinates; what the engine would give.
    depth
        ``whole``: where the slice lies between the object's ends, -1 and 1 at its outer faces; 0
        where they are not known.
    mode
        Key of `MODES`.
    kind
        What drew the target.
    rect
        ``(row0, col0, row1, col1)`` of the view in px of the slab's slice, edge coordinates.
    stroke : (n, 2) int
        ``stroked``: the pixels (row, col) of the slab's slice that the first stroke passes.
    """

    image: NDArray[np.float16]
    colour: bool
    target: NDArray[np.uint8]
    previous: NDArray[np.uint8]
    box: Array
    depth: float
    mode: str
    kind: str
    rect: Box = (0.0, 0.0, float(VIEW_SIZE), float(VIEW_SIZE))
    stroke: NDArray[np.intp] | None = None


def draw_samples(
    seed: int | tuple[int, ...], count: int, modes: Mapping[str, float] = MODES
) -> list[Sample]:
    """Samples of one slab; the same seed gives the same samples.

    Parameters
    ----------
    seed
        Seed of the slab and of everything drawn from it.
    count
        At most so many; fewer (even none) if the slab offers nothing to ask for.
    modes
        How samples are prompted, and how often.
    """
    slab = make_slab(seed)
    key = seed if isinstance(seed, tuple) else (seed,)
    return samples_of(slab, np.random.default_rng((*key, 1)), count, modes)


def samples_of(
    slab: Slab, rng: np.random.Generator, count: int, modes: Mapping[str, float] = MODES
) -> list[Sample]:
    """Samples of a slab, as `draw_samples` draws them.

    Parameters
    ----------
    slab
        An image with what could be asked for.
    rng
        Source of randomness.
    count
        At most so many; half of them of a colour image.
    modes
        How samples are prompted, and how often.
    """
    samples: list[Sample] = []
    if not slab.targets:
        return samples
    if slab.colour:
        count = max(1, count // 2)
    for _ in range(count):
        target = choose(rng, slab.targets)
        if target.kind == "body" and rng.random() < 0.8:
            continue
        sample = _sample(rng, slab, target, modes)
        if sample is not None:
            samples.append(sample)
    return samples


def _sample(
    rng: np.random.Generator, slab: Slab, target: Target, modes: Mapping[str, float]
) -> Sample | None:
    mode = str(rng.choice(list(modes), p=list(modes.values())))
    if slab.colour and mode not in ("free", "whole", "stroked"):
        mode = "own"
    if mode == "whole":
        target = _ended(rng, slab, target)
    filled = np.flatnonzero(target.mask.any((1, 2)))
    if mode in ("next", "absent"):
        step = int(rng.choice((-1, 1))) * int(rng.choice((1, 2, 3), p=(0.87, 0.1, 0.03)))
        sources = [k for k in filled if _goes(k + step, filled, len(target.mask), mode)]
        if not sources:
            mode = "own"
        else:
            source = int(rng.choice(sources))
            return _following(rng, slab, target, source, source + step, mode)
    k = int(rng.choice(filled))
    mask = _drawn(rng, slab, target.mask[k])
    if mode in ("own", "stroked") and rng.random() < 0.75:
        mask = _component(rng, mask)
    if not mask.any() or (np.count_nonzero(mask) < 12 and rng.random() < 0.8):
        return None
    tight, depth = _bounds(mask), 0.0
    if mode == "whole":
        tight = _loosened(rng, _bounds(np.asarray(target.mask.any(0))), slab)
        depth = 0.0 if _cut(target) else _depth(k, filled)
    previous = _near(rng, slab, target.mask, k)
    if mode == "own":
        previous = _cropped(previous, _grown(tight, 0.15))
    if mode in ("free", "stroked"):
        unboxed = _free if mode == "free" else _stroked
        return unboxed(rng, slab, target.kind, k, mask, previous)
    box = jittered(rng, tight)
    return _rendered(slab, target.kind, k, mask, previous, box, box, mode, depth)


def _ended(rng: np.random.Generator, slab: Slab, target: Target) -> Target:
    """Mostly an object whose ends are both in the slab, in place of one that is cut."""
    ended = [t for t in slab.targets if not _cut(t)]
    if not _cut(target) or not ended or rng.random() < 0.1:
        return target
    return choose(rng, ended)


def _cut(target: Target) -> bool:
    """Whether an object reaches the slab's first or last slice, and may go on beyond."""
    return bool(target.mask[0].any() or target.mask[-1].any())


def _depth(k: int, filled: NDArray[np.integer]) -> float:
    """Slice ``k`` between the outer faces of an object, -1 to 1."""
    first, last = int(filled[0]), int(filled[-1])
    return (2 * k - first - last) / (last - first + 1)


def _loosened(rng: np.random.Generator, box: Box, slab: Slab) -> Box:
    """Some sides further out: a slab holds only a part of most objects, specks widen boxes."""
    if rng.random() < 0.5:
        return box
    height, width = box[2] - box[0], box[3] - box[1]
    mean, most = (0.6, 2.5) if slab.colour else (0.25, 0.8)
    out = rng.exponential(mean, 4).clip(0, most) * (rng.random(4) < 0.5)
    out *= (height, width, height, width)
    end_y, end_x = slab.image.shape[1:3]
    return (
        max(box[0] - out[0], 0.0),
        max(box[1] - out[1], 0.0),
        min(box[2] + out[2], float(end_y)),
        min(box[3] + out[3], float(end_x)),
    )


def _goes(k: int, filled: NDArray[np.integer], depth: int, mode: str) -> bool:
    return 0 <= k < depth and (k in filled) == (mode == "next")


def _following(
    rng: np.random.Generator, slab: Slab, target: Target, source: int, k: int, mode: str
) -> Sample | None:
    previous = _drawn(rng, slab, target.mask[source])
    if not previous.any():
        return None
    tight = _bounds(previous)
    box = jittered(rng, _grown(tight, 0.05) if rng.random() < 0.6 else tight)
    return _rendered(
        slab, target.kind, k, _drawn(rng, slab, target.mask[k]), previous, box, box, mode
    )


def _free(
    rng: np.random.Generator, slab: Slab, kind: str, k: int, mask: Mask, previous: Mask
) -> Sample:
    rows, cols = np.nonzero(mask)
    pick = int(rng.integers(len(rows)))
    tight = _bounds(mask)
    py, px = slab.pixel
    extent = max((tight[2] - tight[0]) * py, (tight[3] - tight[1]) * px)
    side = extent / float(rng.uniform(0.15, 0.8)) / ZOOM
    half = side / 2 / py, side / 2 / px
    centre = rows[pick] + 0.5, cols[pick] + 0.5
    frame = (centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1])
    return _rendered(slab, kind, k, mask, previous, tight, frame, "free")


def _stroked(
    rng: np.random.Generator, slab: Slab, kind: str, k: int, mask: Mask, previous: Mask
) -> Sample:
    """A view round a stroke, of any scale that holds it: the object may reach beyond."""
    stroke = drawn(mask, str(rng.choice(list(KINDS))), rng)
    (r0, c0), (r1, c1) = stroke.min(0), stroke.max(0) + 1
    tight = _bounds(mask)
    py, px = slab.pixel
    extent = max((tight[2] - tight[0]) * py, (tight[3] - tight[1]) * px)
    side = extent / float(np.exp(rng.uniform(*np.log(STROKED_SHARE))))
    side = max(side, ZOOM * max((r1 - r0) * py, (c1 - c0) * px), 12.0) / ZOOM
    half = side / 2 / py, side / 2 / px
    centre = (r0 + r1) / 2, (c0 + c1) / 2
    frame = (centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1])
    found = _rendered(slab, kind, k, mask, previous, tight, frame, "stroked")
    return replace(found, stroke=stroke)


def _drawn(rng: np.random.Generator, slab: Slab, mask: Mask) -> Mask:
    """The mask as a person might draw it: smoother, a little off the edge."""
    if slab.by_hand or rng.random() < 0.6 or not mask.any():
        return mask
    soft = ndimage.gaussian_filter(mask.astype(np.float32), rng.uniform(0.5, 1.3), truncate=2.5)
    drawn = np.asarray(soft > rng.uniform(0.38, 0.58))
    kept = np.count_nonzero(drawn & mask)
    return drawn if kept > 0.7 * np.count_nonzero(mask) else mask  # nobody draws walls away


def _component(rng: np.random.Generator, mask: Mask) -> Mask:
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())[1:].astype(float)
    weights = sizes**0.5 * (sizes >= 4)
    if weights.sum() == 0:
        return mask
    return np.asarray(labels == 1 + int(rng.choice(count, p=weights / weights.sum())))


def _near(rng: np.random.Generator, slab: Slab, mask: Mask, k: int) -> Mask:
    step = int(rng.choice((-1, 1)))
    for other in (k + step, k - step):
        if 0 <= other < len(mask) and mask[other].any():
            return _drawn(rng, slab, mask[other])
    return np.zeros(mask.shape[1:], bool)


def _bounds(mask: Mask) -> Box:
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(rows[0]), float(cols[0]), float(rows[-1] + 1), float(cols[-1] + 1)


def _grown(box: Box, share: float) -> Box:
    dy, dx = share * (box[2] - box[0]) + 1, share * (box[3] - box[1]) + 1
    return box[0] - dy, box[1] - dx, box[2] + dy, box[3] + dx


def _cropped(mask: Mask, box: Box) -> Mask:
    kept = np.zeros_like(mask)
    r0, c0, r1, c1 = (max(0, int(v)) for v in box)
    kept[r0:r1, c0:c1] = mask[r0:r1, c0:c1]
    return kept


def jittered(rng: np.random.Generator, box: Box) -> Box:
    """A box whose sides are off, mostly by less than a tenth, at most by a quarter of its size.

    Parameters
    ----------
    rng
        Source of randomness.
    box
        (row0, col0, row1, col1) in px, edge coordinates.
    """
    amount = float(rng.choice((0.0, 0.03, 0.06, 0.12, 0.25), p=(0.12, 0.25, 0.33, 0.18, 0.12)))
    height, width = box[2] - box[0], box[3] - box[1]
    offset = rng.uniform(-amount, amount, 4) * (height, width, height, width)
    if rng.random() < 0.12:
        offset += float(rng.uniform(0, 0.15)) * np.array((-height, -width, height, width))
    moved = np.array(box) + offset
    if rng.random() < 0.5:
        moved = np.round(moved)
    r0, c0, r1, c1 = (float(v) for v in moved)
    return r0, c0, max(r1, r0 + 1.0), max(c1, c0 + 1.0)


def _rendered(
    slab: Slab,
    kind: str,
    k: int,
    mask: Mask,
    previous: Mask,
    box: Box,
    frame: Box,
    mode: str,
    depth: float = 0.0,
) -> Sample:
    py, px = slab.pixel
    side = ZOOM * max((frame[2] - frame[0]) * py, (frame[3] - frame[1]) * px)
    side = max(side, MIN_VIEW_PIXELS)
    row, col = (frame[0] + frame[2]) / 2, (frame[1] + frame[3]) / 2
    top, left = row - side / 2 / py, col - side / 2 / px
    slices, height, width = slab.image.shape[:3]
    rows, r0, r1 = shrink_weights(top, top + side / py, VIEW_SIZE, height)
    cols, c0, c1 = shrink_weights(left, left + side / px, VIEW_SIZE, width)
    if slab.colour:
        planes = np.moveaxis(slab.image[0], -1, 0)
    else:
        planes = slab.image[[max(k - 1, 0), k, min(k + 1, slices - 1)]]
    both = np.stack((mask, previous)).astype(np.float32)
    shown = np.concatenate((planes, both))[:, r0:r1, c0:c1]
    seen = np.matmul(np.matmul(rows, shown), cols.T)
    scale = np.array((py, px, py, px)) * VIEW_SIZE / side
    corner = np.array((top, left, top, left))
    masks = (seen[3:] > 0.5).astype(np.uint8)
    return Sample(
        seen[:3].astype(np.float16),
        slab.colour,
        masks[0],
        masks[1],
        ((np.array(box) - corner) * scale).astype(np.float32),
        depth,
        mode,
        kind,
        (top, left, top + side / py, left + side / px),
    )
