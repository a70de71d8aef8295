"""What the model sees: a stack of slices, and the view of one slice with its way back.

A `View` is a rectangle of one slice (in pixel edge coordinates: pixel ``i`` covers ``[i, i + 1)``)
resampled to the model's size. Both directions are separable and linear, so each is two small
matrices.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sammed.errors import InputError
from sammed.imaging.boxes import Box2D
from sammed.imaging.intensity import Window
from sammed.imaging.resampling import bilinear_weights, shrink_weights
from sammed.imaging.volume import Volume
from sammed.models.protocols import ModelSpec, ViewBatch

PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}
"""Name of a plane → the canonical axis (z, y, x) across which its slices lie."""

THICK_SLICES = 1.5
"""``auto`` takes the axis whose spacing exceeds the others' by this ratio, else axial."""

OUTSIDE_LOGIT = -10.0
"""What a mask prompt says where nothing was segmented."""

MIN_VIEW_PIXELS = 16.0
"""A zoomed view spans at least this many slice pixels, lest it magnify single voxels."""

Rect = tuple[float, float, float, float]
Float = NDArray[np.float32]


def choose_plane(name: str, volume: Volume) -> str:
    """Plane for ``"auto"``: the one of the thick slices, axial if none stands out.

    Raises
    ------
    InputError
        If the name is not a plane.
    """
    if name in PLANES:
        return name
    if name != "auto":
        raise InputError(f"unknown plane {name!r}; expected auto, all, {', '.join(PLANES)}")
    if min(volume.shape) == 1:
        return list(PLANES)[volume.shape.index(1)]
    order = np.argsort(volume.spacing)
    if volume.spacing[order[2]] >= THICK_SLICES * volume.spacing[order[1]]:
        return list(PLANES)[int(order[2])]
    return "axial"


class SliceStack:
    """The slices of a volume across one axis, windowed when asked for; several threads may ask.

    Parameters
    ----------
    volume
        The volume; its voxels are never changed.
    plane
        ``"axial"``, ``"coronal"`` or ``"sagittal"``.
    window
        The one mapping for all slices.
    """

    KEEP = 8

    def __init__(self, volume: Volume, plane: str, window: Window) -> None:
        self.volume = volume
        self.plane = plane
        self.axis = PLANES[plane]
        self.window = window
        self._images: OrderedDict[int, Float] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.volume.shape[self.axis]

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of a slice in px: the two other canonical axes, in order."""
        h, w = (n for a, n in enumerate(self.volume.shape) if a != self.axis)
        return h, w

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """(row, col) spacing in mm."""
        r, c = (s for a, s in enumerate(self.volume.spacing) if a != self.axis)
        return r, c

    @property
    def slice_mm(self) -> float:
        """Distance between neighbouring slices in mm."""
        return self.volume.spacing[self.axis]

    def image(self, index: int) -> Float:
        """Windowed slice, (1, h, w) grey or (3, h, w) colour, float32 in [0, 1]."""
        with self._lock:
            if index in self._images:
                self._images.move_to_end(index)
                return self._images[index]
        image = self.window.apply(np.take(self.volume.voxels, index, axis=self.axis))
        image = np.moveaxis(image, -1, 0) if image.ndim == 3 else image[None]
        image = np.ascontiguousarray(image)
        with self._lock:
            self._images[index] = image
            while len(self._images) > self.KEEP:
                self._images.popitem(last=False)
        return image


@dataclass(frozen=True)
class View:
    """Which rectangle of which slice the model sees.

    Attributes
    ----------
    index
        The slice.
    rect : (r0, c0, r1, c1) float
        In slice px edge coordinates; may reach beyond the slice, where it is 0.
    extent : (int, int)
        Height and width of the view in view px.
    size
        Side of the padded square that the model's logits cover, ``>= max(extent)``.
    mirrored
        Whether it is seen in a mirror, left and right exchanged.
    """

    index: int
    rect: Rect
    extent: tuple[int, int]
    size: int
    mirrored: bool = False

    @classmethod
    def whole(cls, index: int, shape: tuple[int, int], size: int) -> View:
        """The whole slice with its longer side at ``size``, as segment-anything resizes."""
        h, w = shape
        scale = size / max(h, w)
        extent = (max(int(h * scale + 0.5), 1), max(int(w * scale + 0.5), 1))
        return cls(index, (0.0, 0.0, float(h), float(w)), extent, size)

    @classmethod
    def zoomed(
        cls, index: int, box: Box2D, zoom: float, pixel_mm: tuple[float, float], size: int
    ) -> View:
        """A square in mm round a box, ``zoom`` times its longer side.

        Parameters
        ----------
        box
            In slice px; the view is centred on it.
        zoom
            Side of the view over the longer side of the box.
        pixel_mm
            (row, col) spacing of the slice.
        size
            Side of the view in view px.
        """
        row, col = box.centre
        side = zoom * max(box.shape[0] * pixel_mm[0], box.shape[1] * pixel_mm[1])
        side = max(side, MIN_VIEW_PIXELS * min(pixel_mm))
        half_r, half_c = side / pixel_mm[0] / 2, side / pixel_mm[1] / 2
        rect = (row - half_r, col - half_c, row + half_r, col + half_c)
        return cls(index, rect, (size, size), size)

    @property
    def scale(self) -> tuple[float, float]:
        """View px per slice px, (row, col)."""
        r0, c0, r1, c1 = self.rect
        return self.extent[0] / (r1 - r0), self.extent[1] / (c1 - c0)

    def points(self, positions: NDArray[np.floating]) -> Float:
        """Slice edge coordinates (row, col), (n, 2), as view edge coordinates, float32."""
        shifted = np.asarray(positions, np.float64) - np.array(self.rect[:2])
        seen = shifted * np.array(self.scale)
        if self.mirrored:
            seen[..., 1] = self.extent[1] - seen[..., 1]
        return seen.astype(np.float32)

    def box(self, box: Box2D) -> Float:
        """A box in view edge coordinates ``[r0, c0, r1, c1]``, float32."""
        return np.sort(self.points(box.as_array().reshape(2, 2)), axis=0).reshape(4)

    def render(self, image: Float, eight_bit: bool) -> Float:
        """Resample a slice image to the view.

        Parameters
        ----------
        image : (c, h, w) float32
            In [0, 1].
        eight_bit
            Quantise to 256 levels before resizing, and resize the whole slice exactly as
            segment-anything does (PIL, bilinear with antialiasing).

        Returns
        -------
        (c, *extent) float32
            In [0, 1].
        """
        h, w = image.shape[1:]
        if self.mirrored:
            return replace(self, mirrored=False).render(image, eight_bit)[..., ::-1]
        if eight_bit and self.rect == (0.0, 0.0, float(h), float(w)):
            return np.stack([_resize_eight_bit(channel, self.extent) for channel in image])
        r0, c0, r1, c1 = self.rect
        rows, r_from, r_to = shrink_weights(r0, r1, self.extent[0], h)
        cols, c_from, c_to = shrink_weights(c0, c1, self.extent[1], w)
        seen = rows @ image[:, r_from:r_to, c_from:c_to] @ cols.T
        return np.rint(seen * 255) / np.float32(255) if eight_bit else seen

    def slice_region(self, shape: tuple[int, int]) -> Box2D:
        """Pixels of a slice of that shape whose centres lie in the view."""
        r0, c0, r1, c1 = (int(np.ceil(v - 0.5)) for v in self.rect)
        return Box2D(r0, c0, r1, c1).clip(shape)

    def to_slice(self, logits: Float, region: Box2D) -> Float:
        """Bring low-res logits back to pixels of the slice.

        Bilinear to the padded square, then to the slice's pixels, as segment-anything does
        (both steps at once).

        Parameters
        ----------
        logits : (m, m) float32
            Covers the padded ``size`` square.
        region
            Which pixels; within `slice_region`.

        Returns
        -------
        (height, width) float32
            Logits at the pixels of the region.
        """
        rows, cols = self._back(region, logits.shape[-1])
        return np.asarray(rows @ logits @ cols.T, np.float32)

    def reach(self, cells: Box2D, region: Box2D, m: int) -> Box2D:
        """The pixels of a region whose logits depend on some of the (m, m) low-res cells."""
        sides = []
        for weights, start, used in zip(
            self._back(region, m), (region.r0, region.c0), cells.slices, strict=True
        ):
            touched = np.flatnonzero(weights[:, used].any(axis=1))
            sides.append((start + touched[0], start + touched[-1] + 1) if touched.size else (0, 0))
        (r0, r1), (c0, c1) = sides
        return Box2D(int(r0), int(c0), int(r1), int(c1))

    def _back(self, region: Box2D, m: int) -> tuple[Float, Float]:
        """Weights from low-res cells to the rows and to the columns of a region."""
        r0, c0, r1, c1 = self.rect
        rows, top = _back_weights(r0, r1, self.extent[0], self.size, m)
        cols, left = _back_weights(c0, c1, self.extent[1], self.size, m, self.mirrored)
        return rows[region.r0 - top : region.r1 - top], cols[region.c0 - left : region.c1 - left]

    def mask_prompt(self, logits: Float, region: Box2D, m: int) -> Float:
        """Logits given on pixels of a slice as a mask prompt of this view.

        Parameters
        ----------
        logits : (height, width) float32
            On the pixels of ``region``; elsewhere the object is absent.
        region
            Where on the slice they lie.
        m
            Side of the model's low-res masks.

        Returns
        -------
        (m, m) float32
            Covers the padded square.
        """
        r0, c0, r1, c1 = self.rect
        down = (r1 - r0) * (self.size / self.extent[0])
        across = (c1 - c0) * (self.size / self.extent[1])
        left = c1 - across if self.mirrored else c0
        h, w = region.shape
        rows, r_from, r_to = shrink_weights(r0 - region.r0, r0 + down - region.r0, m, h)
        cols, c_from, c_to = shrink_weights(left - region.c0, left + across - region.c0, m, w)
        if self.mirrored:
            cols = cols[::-1]
        above = logits[r_from:r_to, c_from:c_to] - OUTSIDE_LOGIT
        return np.asarray(rows @ above @ cols.T + OUTSIDE_LOGIT, np.float32)


def render_views(stack: SliceStack, views: Sequence[View], spec: ModelSpec) -> ViewBatch:
    """Render views of equal extent for one call of ``encode``."""
    pixels = np.stack([v.render(stack.image(v.index), spec.eight_bit) for v in views])
    if not spec.context:
        return ViewBatch(pixels)
    offsets = [o for o in range(-spec.context, spec.context + 1) if o]
    neighbours = []
    for view in views:
        indices = [min(max(view.index + o, 0), len(stack) - 1) for o in offsets]
        grey = [stack.image(i).mean(axis=0, keepdims=True) for i in indices]
        neighbours.append(np.concatenate([view.render(g, spec.eight_bit) for g in grey]))
    return ViewBatch(pixels, np.stack(neighbours))


def _resize_eight_bit(channel: Float, extent: tuple[int, int]) -> Float:
    levels = Image.fromarray(np.rint(channel * 255).astype(np.uint8))
    resized = levels.resize((extent[1], extent[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32) / np.float32(255)


@lru_cache(maxsize=256)
def _back_weights(
    low: float, high: float, extent: int, size: int, m: int, mirrored: bool = False
) -> tuple[Float, int]:
    """Weights from low-res cells to slice pixels, via the padded square, along one axis.

    Returns (n, m) float32 for the ``n`` pixels whose centres lie in ``[low, high)``, and the first
    of them.
    """
    start, stop = (int(np.ceil(v - 0.5)) for v in (low, high))
    in_view = (np.arange(start, stop) + 0.5 - low) * (extent / (high - low))
    if mirrored:
        in_view = extent - in_view
    to_pixels = bilinear_weights(in_view - 0.5, extent)
    if m == size:
        return np.pad(to_pixels, ((0, 0), (0, m - extent))), start
    to_square = bilinear_weights((np.arange(extent) + 0.5) * (m / size) - 0.5, m)
    return np.asarray(to_pixels @ to_square, np.float32), start
