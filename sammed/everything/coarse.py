"""A volume or picture on a grid coarse enough to be searched as a whole.

Voxels are averaged until they are few, nearly as long as wide, and no axis is magnified. Of a CT
there are two channels, since a window that shows soft tissue clips bone and lung; of a colour
picture the three of CIELAB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.errors import BackendUnavailableError
from sammed.everything.regions import Region
from sammed.imaging.boxes import Box3D
from sammed.imaging.geometry import Shape3
from sammed.imaging.intensity import Window, ct_offset
from sammed.imaging.resampling import bilinear_weights, shrink_weights
from sammed.imaging.volume import Volume

Float = NDArray[np.float32]

MOST_VOXELS = 600_000
"""Of a volume's coarse grid: a watershed of so many takes about half a second."""

MOST_PIXELS = 40_000
"""Of a picture's or single slice's."""

WIDE_HU = (-1000.0, 1000.0)
"""Second channel of a CT: from air to dense bone."""

LOUD = 6.0
"""Logit of what lies well inside a region that is brought to the fine grid."""


@dataclass(frozen=True, eq=False)
class Coarse:
    """An image on a coarse grid.

    Attributes
    ----------
    image : (c, z, y, x) float32
        In [0, 1].
    affine : (4, 4)
        From its index (z, y, x) to LPS mm.
    spacing
        (z, y, x) in mm.
    fine
        Shape of the volume that it was made from.
    """

    image: Float
    affine: NDArray[np.float64]
    spacing: tuple[float, float, float]
    fine: Shape3

    @property
    def shape(self) -> Shape3:
        """Extents (z, y, x)."""
        z, y, x = self.image.shape[1:]
        return z, y, x

    @property
    def is_flat(self) -> bool:
        """Whether it is a picture or a single slice."""
        return min(self.fine) == 1

    @cached_property
    def steps(self) -> NDArray[np.float64]:
        """Fine voxels in a coarse one, (z, y, x)."""
        return np.array(self.fine) / np.array(self.shape)

    @cached_property
    def gradient(self) -> Float:
        """(z, y, x) magnitude of the steepest channel's gradient, in units a voxel."""
        return np.max([self._steepness(channel) for channel in self.image], axis=0)

    def _steepness(self, channel: Float) -> Float:
        """Magnitude of the gradient along the axes that have more than one voxel."""
        total = np.zeros(channel.shape, np.float32)
        for axis in range(3):
            if self.shape[axis] > 1:
                order = [int(a == axis) for a in range(3)]
                total += ndimage.gaussian_filter(channel, self.sigmas, order) ** 2
        return np.asarray(np.sqrt(total), np.float32)

    @property
    def sigmas(self) -> tuple[float, float, float]:
        """Deviation of a filter as wide as a voxel is short, in voxels (z, y, x)."""
        least = min(s for s, n in zip(self.spacing, self.shape, strict=True) if n > 1)
        z, y, x = (
            least / s if n > 1 else 0.0 for s, n in zip(self.spacing, self.shape, strict=True)
        )
        return z, y, x

    def volume(self, channel: int = 0) -> Volume:
        """One channel as a volume, for models that see volumes."""
        return Volume.from_array(self.image[channel], self.affine)

    def fine_block(self, block: Box3D) -> Box3D:
        """The fine voxels that a coarse block covers."""
        low = np.floor(np.array(block.low) * self.steps + 1e-6).astype(int)
        high = np.ceil(np.array(block.high) * self.steps - 1e-6).astype(int)
        return Box3D(*(int(v) for v in (*low, *high))).clip(self.fine)

    def to_fine(self, region: Region) -> tuple[Box3D, NDArray[np.float16]]:
        """A coarse region on the fine grid: its block, and logits whose border is smooth."""
        pad = tuple((1, 1) if n > 1 else (0, 0) for n in self.shape)
        widened = np.pad(region.mask, pad).astype(np.float32)
        soft = ndimage.gaussian_filter(widened, [0.6 if n > 1 else 0 for n in self.shape])
        block = self.fine_block(region.block)
        for axis in range(3):
            centres = (np.arange(*block.range(axis)) + 0.5) / self.steps[axis] - 0.5
            at = centres - region.block.low[axis] + pad[axis][0]
            weights = bilinear_weights(at, soft.shape[axis])
            soft = np.moveaxis(np.tensordot(weights, soft, (1, axis)), 0, axis)
        return block, np.asarray((soft - 0.5) * (2 * LOUD), np.float16)

    def from_fine(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask of the fine grid, taken at the middles of the coarse voxels."""
        at = [
            np.minimum(((np.arange(n) + 0.5) * step).astype(int), m - 1)
            for n, step, m in zip(self.shape, self.steps, self.fine, strict=True)
        ]
        return np.asarray(mask[np.ix_(*at)])


def coarsened(volume: Volume, window: Window, check: Callable[[], None]) -> Coarse:
    """The image on its coarse grid, made slice by slice.

    Parameters
    ----------
    volume
        The image.
    window
        As the model sees it.
    check
        Called for each slice; may raise to stop.
    """
    shape = coarse_shape(volume)
    windows = [window, *_wide(volume)]
    count = 3 if volume.is_colour else len(windows)
    out = np.zeros((count, *shape), np.float32)
    weights = [
        shrink_weights(0.0, float(n), m, n)[0] for n, m in zip(volume.shape, shape, strict=True)
    ]
    for index, seen in enumerate(_slices(volume, windows)):
        check()
        small = weights[1] @ seen @ weights[2].T
        for z in np.flatnonzero(weights[0][:, index]):
            out[:, z] += weights[0][z, index] * small
    steps = np.array(volume.shape) / np.array(shape)
    affine = volume.affine.copy()
    affine[:3, 3] += volume.affine[:3, :3] @ ((steps - 1) / 2)
    affine[:3, :3] = volume.affine[:3, :3] * steps
    sizes = [float(s * k) for s, k in zip(volume.spacing, steps, strict=True)]
    spacing = (sizes[0], sizes[1], sizes[2])
    return Coarse(np.clip(out, 0, 1), affine, spacing, volume.shape)


def coarse_shape(volume: Volume) -> Shape3:
    """Extents of the coarse grid."""
    most = MOST_PIXELS if min(volume.shape) == 1 else MOST_VOXELS
    spacing, shape = np.array(volume.spacing), np.array(volume.shape)
    side = float(spacing[shape > 1].min()) if (shape > 1).any() else 1.0
    while True:
        wanted = np.maximum(np.rint(shape * spacing / np.maximum(spacing, side)).astype(int), 1)
        if np.prod(wanted, dtype=np.int64) <= most:
            z, y, x = (int(n) for n in wanted)
            return z, y, x
        side *= 1.03


def _wide(volume: Volume) -> list[Window]:
    offset = None if volume.is_colour else ct_offset(volume)
    low, high = WIDE_HU
    return [] if offset is None else [Window(low + offset, high + offset, "wide")]


def _slices(volume: Volume, windows: list[Window]) -> Iterator[Float]:
    """Each slice as (c, y, x), in [0, 1]."""
    if not volume.is_colour:
        for plane in volume.voxels:
            yield np.stack([window.apply(plane) for window in windows])
        return
    for plane in volume.voxels:
        yield lightness_and_colour(windows[0].apply(plane))


def lightness_and_colour(rgb: Float) -> Float:
    """CIELAB of a colour picture, scaled so that grey is (lightness, 0.5, 0.5).

    Parameters
    ----------
    rgb : (h, w, 3) float32
        In [0, 1].

    Returns
    -------
    (3, h, w) float32
        About in [0, 1].

    Raises
    ------
    BackendUnavailableError
        If scikit-image is not installed.
    """
    require_skimage()
    from skimage.color import rgb2lab

    lab = rgb2lab(rgb)
    return np.moveaxis(lab * [0.01, 0.01, 0.01] + [0, 0.5, 0.5], -1, 0).astype(np.float32)


def require_skimage() -> None:
    """Make sure that scikit-image is here.

    Raises
    ------
    BackendUnavailableError
        If it is not, with what to install.
    """
    try:
        import skimage.segmentation  # noqa: F401
    except ImportError as error:
        raise BackendUnavailableError(
            "finding things without a prompt needs scikit-image; install it: "
            "pip install 'sammed[everything]'"
        ) from error
