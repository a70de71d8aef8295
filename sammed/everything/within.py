"""Where things are looked for: the body, a structure of a label map, a box, or everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed import io
from sammed.errors import InputError, SegmentationError
from sammed.everything.coarse import Coarse
from sammed.imaging.intensity import ct_offset
from sammed.imaging.volume import LabelVolume, Volume
from sammed.prompts.text import block_from_corners

Mask = NDArray[np.bool_]

BODY_HU = -300.0
"""What is denser than this belongs to the body: air, and most of a table, do not."""

LEAST_OUTSIDE = 0.05
"""Dark surroundings that are less than this share of an image are not taken for air."""

LEAST_BODY = 0.2
"""What stands out of the dark but is less than this share of an image is no body but a thing."""

BLACK = 0.06
"""Lightness below which a colour picture shows nothing."""

LEAST_FRAME = 0.005
"""Less of a picture's edge is no frame."""

LETTERS = 2
"""Pixels of the coarse grid: what is narrower than twice that and lies in a frame belongs to it."""

EVERYWHERE = "image"


def search_area(within: Any, volume: Volume, coarse: Coarse) -> Mask:
    """The coarse voxels in which things are looked for.

    Parameters
    ----------
    within
        ``"body"``; ``"image"``; a label map (file, with ``#LABEL`` for one of its values, or
        `LabelVolume`); a box ``(i0, j0, k0, i1, j1, k1)`` in the file's voxels, or such a text.
    volume, coarse
        The image.

    Returns
    -------
    (z, y, x) bool
        Of the coarse grid.

    Raises
    ------
    InputError
        If it can be none of these.
    SegmentationError
        If there is nothing in it.
    """
    if isinstance(within, str) and within in ("body", EVERYWHERE):
        area = body(volume, coarse) if within == "body" else np.ones(coarse.shape, bool)
    elif isinstance(within, LabelVolume):
        area = coarse.from_fine(within.on_grid_of(volume).voxels > 0)
    elif (numbers := _numbers(within)) is not None:
        block = block_from_corners(np.array(numbers, float), volume, "voxel", str(within))
        fine = np.zeros(volume.shape, bool)
        fine[block.slices] = True
        area = coarse.from_fine(fine)
    else:
        area = coarse.from_fine(_labelled(str(within), volume))
    if not area.any():
        raise SegmentationError(f"nothing to look at within {_named(within)}: it holds no voxel")
    return area


def body(volume: Volume, coarse: Coarse) -> Mask:
    """The person without the air round it, holes filled; all of an image that shows no air.

    Of a colour picture what is not its black frame, of a CT what is denser than `BODY_HU`; else
    what is not dark and joined to the image's edge.
    """
    everything = np.ones(coarse.shape, bool)
    if volume.is_colour:
        return everything if coarse.image[0].max() < BLACK else ~frame(coarse)
    dense = _dense(volume, coarse)
    air = ~dense & _reaches_edge(~dense)
    if air.mean() < LEAST_OUTSIDE:
        return everything
    parts, count = ndimage.label(~air)
    if not count:
        raise SegmentationError("no body in this image: all of it is air")
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    inside = parts == int(sizes.argmax())
    axis = int(np.argmax(coarse.spacing)) if coarse.is_flat else 0
    for index in range(coarse.shape[axis]):
        at = (slice(None),) * axis + (index,)
        inside[at] = ndimage.binary_fill_holes(inside[at])
    return np.asarray(inside) if inside.mean() >= LEAST_BODY else everything


def frame(coarse: Coarse) -> Mask:
    """Where a colour picture is black up to its edge, with the letters and insets that lie there.

    An endoscope's picture is a disc or octagon on black with a date beside it: no part of that is
    a thing. Black within the picture, as of a lumen, is no frame.
    """
    axis = coarse.shape.index(1)
    light = np.take(coarse.image[0], 0, axis) >= BLACK
    parts, count = ndimage.label(ndimage.binary_opening(light, iterations=LETTERS))
    black = np.zeros(light.shape, bool)
    if count:
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        shown = ndimage.binary_dilation(
            parts == int(sizes.argmax()), iterations=LETTERS, mask=light
        )
        dark, _ = ndimage.label(~shown)
        ends = [np.take(dark, at, a) for a in (0, 1) for at in (0, -1)]
        at_edge = {int(v) for end in ends for v in np.unique(end)} - {0}
        black = np.isin(dark, sorted(at_edge)) & ~shown
    if black.mean() < LEAST_FRAME:
        black[:] = False
    return np.expand_dims(black, axis)


def frame_share(coarse: Coarse) -> float:
    """Which share of a colour picture its frame is."""
    return float(frame(coarse).mean()) if len(coarse.image) == 3 else 0.0


def _dense(volume: Volume, coarse: Coarse) -> Mask:
    if ct_offset(volume) is not None:
        return np.asarray(coarse.image[1] > (BODY_HU + 1000) / 2000)
    from skimage.filters import threshold_li

    image = coarse.image[0]
    if image.min() == image.max():
        return np.ones(coarse.shape, bool)
    return np.asarray(image > min(float(threshold_li(image)), 0.5))


def _reaches_edge(dark: Mask) -> Mask:
    """Those dark parts that reach the edge of a slice."""
    parts, _ = ndimage.label(dark)
    edges = [np.take(parts, at, axis) for axis in (1, 2) if dark.shape[axis] > 1 for at in (0, -1)]
    touching = {int(value) for edge in edges for value in np.unique(edge)} - {0}
    return np.asarray(np.isin(parts, list(touching)))


def _numbers(within: Any) -> tuple[int, ...] | None:
    if isinstance(within, str):
        try:
            numbers = tuple(int(part) for part in within.split(","))
        except ValueError:
            return None
    elif isinstance(within, (tuple, list)):
        numbers = tuple(int(v) for v in within)
    else:
        return None
    if len(numbers) != 6:
        raise InputError(f"a box to look in has {len(numbers)} numbers; expected i0,j0,k0,i1,j1,k1")
    return numbers


def _labelled(text: str, volume: Volume) -> Mask:
    file, _, value = text.partition("#")
    if not Path(file).exists():
        raise InputError(
            f"cannot look within {text!r}: it is no file; expected body, image, a label map, or a "
            "box i0,j0,k0,i1,j1,k1"
        )
    labels = io.read_labels(file, like=volume)
    if not value:
        return np.asarray(labels.voxels > 0)
    if not value.isdigit():
        raise InputError(f"{text!r} names no label value; expected e.g. {file}#3")
    return np.asarray(labels.voxels == int(value))


def _named(within: Any) -> str:
    return within if isinstance(within, str) else "the given region"
