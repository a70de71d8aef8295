"""What makes an object easy or hard to segment, as numbers: its size, shape, border, texture.

They are measured of a mask and the image under it, so that the same numbers can be had of a
reference and of a result.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import Window, resolve_window
from sammed.imaging.volume import Volume
from sammed.prompts import ObjectPrompts
from sammed.reporting.borders import measure_border

AROUND = 6
"""Pixels round an object that are looked at."""

BAND = (1.5, 5.0)
"""Nearest and farthest distance in pixels of what counts as an object's surroundings."""

MOST_SLICES = 32
"""Slices of an object whose border and texture are looked at, evenly spaced."""

MOST_DEPTHS = 4_000
"""Voxels of an object whose distance to its border is measured, drawn by chance."""

SEED = 20230405
"""Of that chance: the same object has the same numbers."""

Bool = NDArray[np.bool_]
Spacing = tuple[float, ...]


@dataclass(frozen=True)
class Factors:
    """What may make an object hard to segment; NaN is what cannot be told.

    Attributes
    ----------
    voxels
        Size in voxels, from 1.
    volume_ml
        Size in ml; of a picture, as thick as its one slice.
    slices
        On how many slices it shows, from 1.
    thickness
        See `thickness`: in pixels (the finest spacing), from about 1.
    thinness
        See `thinness`: 0 of a ball, near 1 of what is thin for its size.
    solidity
        See `solidity`: above 0, 1 of what is convex.
    components
        See `components`: number of separate parts, from 1.
    contrast
        See `sammed.reporting.borders.Border`: step across the border as a share of the window's
        width, in [0, 1].
    edge_width
        See `sammed.reporting.borders.Border`: spread of the edge in pixels, from about 1.
    texture
        Standard deviation inside, as a share of the window's width, in [0, 0.5].
    texture_around
        The same of what lies round it, 1.5 to 5 pixels away on its slices.
    margin
        See `margin`: voxels between it and the edge of the image, from 0.
    anisotropy
        Coarsest over finest spacing, from 1.
    pixel_mm
        The finest spacing in mm.
    """

    voxels: float
    volume_ml: float
    slices: float
    thickness: float
    thinness: float
    solidity: float
    components: float
    contrast: float
    edge_width: float
    texture: float
    texture_around: float
    margin: float
    anisotropy: float
    pixel_mm: float


NAMES = tuple(f.name for f in fields(Factors))
"""Names of all factors of an object, in order."""


LEAST_SHARE = 0.005
"""Contrasts and textures below this share of the window's width are taken for it."""

_LOGARITHMIC = {
    "voxels": 1.0, "slices": 1.0, "thickness": 0.5, "components": 1.0, "contrast": LEAST_SHARE,
    "edge_width": 0.5, "texture": LEAST_SHARE, "texture_around": LEAST_SHARE, "anisotropy": 1.0,
}  # fmt: skip


def on_scale(name: str, value: float) -> float:
    """A factor on the scale on which its effect may be linear: log10 of what spans decades.

    Examples
    --------
    >>> on_scale("voxels", 1000), on_scale("margin", 9), on_scale("solidity", 0.5)
    (3.0, 1.0, 0.5)
    """
    if math.isnan(value):
        return value
    if name in _LOGARITHMIC:
        return math.log10(max(value, _LOGARITHMIC[name]))
    return math.log10(1 + value) if name == "margin" else value


def measure(volume: Volume, mask: Bool, window: Window, axis: int) -> Factors:
    """All factors of an object.

    Parameters
    ----------
    volume
        The image.
    mask : (z, y, x) bool
        The object on the volume's grid, not empty.
    window
        In which the image is seen: intensities are shares of its width, so that they can be
        compared between modalities. Of a colour image the channel with the strongest edge counts.
    axis
        Canonical axis across which the object's slices lie; pixels are those of its slices.
    """
    return measure_array(volume.voxels, mask, volume.spacing, window, axis)


def measure_array(
    voxels: NDArray[np.generic],
    mask: Bool,
    spacing: tuple[float, float, float],
    window: Window,
    axis: int,
) -> Factors:
    """As `measure`, of an array (z, y, x) or (z, y, x, 3) with the spacing (z, y, x) in mm."""
    tight, grid = Box3D.from_mask(mask), (mask.shape[0], mask.shape[1], mask.shape[2])
    section, images = _slices(voxels, mask, window, axis)
    others = tuple(a for a in range(3) if a != axis)
    pixel_mm = tuple(spacing[a] for a in others)
    borders = [measure_border(image, section, pixel_mm) for image in images]
    best = int(np.argmax([-1.0 if math.isnan(b.contrast) else b.contrast for b in borders]))
    inside, around = textures(images[best], section, pixel_mm)
    beside = Box3D(*(v - 1 for v in tight.low), *(v + 1 for v in tight.high)).clip(grid)
    shape, shape_mm = shape_of(mask[beside.slices], spacing, grid)
    count, finest = int(np.count_nonzero(shape)), min(pixel_mm)
    thick = thickness(shape, shape_mm)
    return Factors(
        voxels=float(count),
        volume_ml=count * math.prod(spacing) / 1000,
        slices=float(mask.any(axis=others).sum()),
        thickness=thick / finest,
        thinness=_thinness(shape, shape_mm, thick),
        solidity=solidity(shape),
        components=float(components(shape)),
        contrast=borders[best].contrast,
        edge_width=borders[best].width,
        texture=inside,
        texture_around=around,
        margin=float(margin(tight, grid)),
        anisotropy=max(spacing) / min(spacing) if min(grid) > 1 else 1.0,
        pixel_mm=finest,
    )


def _slices(
    voxels: NDArray[np.generic], mask: Bool, window: Window, axis: int
) -> tuple[Bool, list[NDArray[np.float32]]]:
    """Some slices of an object with what lies round it: the mask, and the image's channels.

    All are (slice, row, col); the image is windowed.
    """
    others = tuple(a for a in range(3) if a != axis)
    there = np.flatnonzero(mask.any(axis=others))
    if len(there) > MOST_SLICES:
        there = there[np.linspace(0, len(there) - 1, MOST_SLICES).round().astype(int)]
    frame = Box3D.from_mask(mask).across(axis).expand(AROUND)
    rows, cols = (mask.shape[a] for a in others)
    where = (slice(None), *frame.clip((rows, cols)).slices)
    section = np.stack([np.take(mask, i, axis=axis) for i in there])[where]
    seen = window.apply(np.stack([np.take(voxels, i, axis=axis) for i in there])[where])
    return section, [seen] if seen.ndim == 3 else list(np.moveaxis(seen, -1, 0))


def shape_of(
    mask: Bool, spacing: tuple[float, float, float], grid: tuple[int, int, int]
) -> tuple[Bool, Spacing]:
    """A mask without the axes along which the image has one voxel, and the spacing that is left.

    A picture is a shape of two dimensions, lest its one slice make everything in it thin.
    """
    axes = [a for a in range(3) if grid[a] > 1] or [1, 2]
    flat = tuple(a for a in range(3) if a not in axes)
    return np.squeeze(mask, axis=flat) if flat else mask, tuple(spacing[a] for a in axes)


def thickness(mask: Bool, spacing: Spacing) -> float:
    """How thick an object is in the mean, in the unit of the spacing.

    The mean distance of its voxels to its border, times the number of dimensions plus one: the
    radius of a ball or a disc, 4/3 of that of a long rod, the thickness of a wide plate. The edge
    of the array is no border: an object that an image cuts is not thinner for it.

    Parameters
    ----------
    mask : bool of two or three dimensions
        Not empty.
    spacing
        Voxel size along each axis.
    """
    return (mask.ndim + 1) * _mean_depth(mask, spacing)


def thinness(mask: Bool, spacing: Spacing) -> float:
    """How thin an object is for its size, in [0, 1): 0 of a ball or disc.

    One minus its `thickness` over the radius of the ball (disc) of its volume (area).
    """
    return _thinness(mask, spacing, thickness(mask, spacing))


def _thinness(mask: Bool, spacing: Spacing, thick: float) -> float:
    size = float(np.count_nonzero(mask)) * math.prod(spacing)
    round_ = math.sqrt(size / math.pi) if mask.ndim == 2 else (0.75 * size / math.pi) ** (1 / 3)
    return min(max(1 - thick / round_, 0.0), 1.0)


def _mean_depth(mask: Bool, spacing: Spacing) -> float:
    """Mean distance of the voxels to the border, half a voxel before the nearest one outside."""
    from scipy.spatial import cKDTree

    inside = mask if not mask.all() else np.pad(mask, 1)
    rim = ndimage.binary_dilation(inside) & ~inside
    at = np.flatnonzero(inside)
    if len(at) > MOST_DEPTHS:
        at = np.random.default_rng(SEED).choice(at, MOST_DEPTHS, replace=False, shuffle=False)
    places = np.stack(np.unravel_index(at, inside.shape), -1) * np.array(spacing)
    depth, _ = cKDTree(np.argwhere(rim) * np.array(spacing)).query(places)
    return float((depth - min(spacing) / 2).mean())


def solidity(mask: Bool) -> float:
    """Share of its convex hull that an object fills, above 0 and at most 1.

    The hull is that of the middles of the voxels' faces (Barber et al. 1996,
    doi:10.1145/235815.235821), as scikit-image has it: that of their corners would make small
    round things look dented.
    """
    from scipy.spatial import ConvexHull, QhullError

    at = _ends(mask)
    with suppress(QhullError, ValueError):  # if it is flat, the faces of all make it a body
        at = at[ConvexHull(at).vertices]
    faces = np.concatenate([np.eye(mask.ndim), -np.eye(mask.ndim)]) / 2
    hull = ConvexHull((at[:, None] + faces[None]).reshape(-1, mask.ndim))
    return min(float(np.count_nonzero(mask)) / float(hull.volume), 1.0)


def _ends(mask: Bool) -> NDArray[np.float64]:
    """The first and the last voxel on every line along the longest axis: no other is on a hull."""
    axis = int(np.argmax(mask.shape))
    lines = np.moveaxis(mask, axis, -1)
    there = lines.any(axis=-1)
    others = np.argwhere(there)
    first = np.argmax(lines, axis=-1)[there]
    last = mask.shape[axis] - 1 - np.argmax(lines[..., ::-1], axis=-1)[there]
    ends = [np.insert(others, axis, end, axis=1) for end in (first, last)]
    return np.concatenate(ends).astype(np.float64)


def components(mask: Bool) -> int:
    """Number of separate parts, from 1; voxels that touch at a corner belong together."""
    _, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim, bool))
    return int(count)


def textures(
    values: NDArray[np.floating], mask: Bool, pixel_mm: tuple[float, ...]
) -> tuple[float, float]:
    """Standard deviation of an image inside an object and round it; NaN where there is nothing.

    Parameters
    ----------
    values, mask : (slice, row, col)
        Inside counts without the outermost pixel on each slice, unless nothing else is there.
        Round it are pixels of its slices whose distance lies in `BAND`.
    pixel_mm
        Pixel size (row, col) in mm.
    """
    on_slice = np.zeros((3, 3, 3), bool)
    on_slice[1] = ndimage.generate_binary_structure(2, 1)
    core = ndimage.binary_erosion(mask, structure=on_slice, border_value=1)
    away = partial(ndimage.distance_transform_edt, sampling=pixel_mm)
    far = np.stack([away(~s) if s.any() else np.zeros(s.shape) for s in mask]) / min(pixel_mm)
    around = (far >= BAND[0]) & (far <= BAND[1])
    inside = core if np.count_nonzero(core) > 1 else mask
    return _spread(values[inside]), _spread(values[around])


def _spread(values: NDArray[np.floating]) -> float:
    return float(values.std(dtype=np.float64)) if len(values) > 1 else math.nan


def margin(box: Box3D, shape: tuple[int, int, int]) -> int:
    """Voxels between an object's tight box and the nearest edge of the image, from 0.

    An axis along which the image has one voxel does not count.
    """
    room = [
        min(low, n - high) for low, high, n in zip(box.low, box.high, shape, strict=True) if n > 1
    ]
    return max(min(room, default=0), 0)


def looseness(prompts: ObjectPrompts, mask: Bool) -> float:
    """Share of an object's boxes that is not the object, in [0, 1); NaN without boxes.

    Parameters
    ----------
    prompts
        Its 3D boxes count, else its boxes on slices.
    mask : (z, y, x) bool
        The object.
    """
    blocks = list(prompts.blocks) or [box.block for box in prompts.boxes]
    z, y, x = mask.shape
    inside = np.zeros(mask.shape, bool)
    for block in blocks:
        inside[block.clip((z, y, x)).slices] = True
    prompted = int(np.count_nonzero(inside))
    return 1 - int(np.count_nonzero(inside & mask)) / prompted if prompted else math.nan


def window_for(volume: Volume, mask: Bool) -> Window:
    """The window in which an object's factors are measured: what ``auto`` takes for its box.

    Raises
    ------
    WindowError
        If a voxel is no finite number.
    """
    return resolve_window("auto", volume, volume.voxels[Box3D.from_mask(mask).slices])
