"""How a learned model sees scans: spacing, patches, brightness, structures; plain data.

The plan is made once from the cases that are learned from (`sammed.learning.planning`), lies in
the model's file and is followed wherever the model looks at a scan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.imaging.intensity import ct_offset
from sammed.imaging.resampling import shrink_weights
from sammed.imaging.volume import Volume

Size3 = tuple[int, int, int]
Mm3 = tuple[float, float, float]
Kind = Literal["ct", "scan", "colour"]

SMALLEST_SD = 1e-6

EVEN = 0.05
"""Spread below which surroundings are called even, so that noise of air is not made loud."""

MOST = 3.0
"""Spreads beyond which a sample is just bright, or dark."""


@dataclass(frozen=True)
class Brightness:
    """How voxel values become numbers of about -3 to 3, as nnU-Net does it (Isensee et al. 2021).

    Attributes
    ----------
    kind
        ``"ct"``: values are absolute, clipped to ``low`` and ``high``, and ``mean`` and ``sd`` are
        those of all cases' structures. ``"scan"``: each scan has its own mean and spread, of what
        lies between its 0.5th and 99.5th percentile. ``"colour"``: 0..255 to -1..1.
    low, high, mean, sd
        Of a CT.
    """

    kind: Kind = "scan"
    low: float = 0.0
    high: float = 1.0
    mean: float = 0.0
    sd: float = 1.0

    def applied(self, voxels: NDArray[Any]) -> NDArray[np.float32]:
        """(c, z, y, x) float32 of a volume's voxels, (z, y, x) or (z, y, x, 3)."""
        if self.kind == "colour":
            colour = voxels if voxels.ndim == 4 else np.repeat(voxels[..., None], 3, -1)
            return np.moveaxis(colour.astype(np.float32) / 127.5 - 1, -1, 0)
        grey = voxels if voxels.ndim == 3 else voxels.mean(-1)
        values = np.nan_to_num(grey.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        if self.kind == "ct":
            mean, sd, low, high = self.mean, self.sd, self.low, self.high
            values = values.clip(low, high)
        else:
            low, high = (float(v) for v in np.percentile(values, [0.5, 99.5]))
            values = values.clip(low, high)
            mean, sd = float(values.mean()), float(values.std())
        scaled = (values - np.float32(mean)) / np.float32(max(sd, SMALLEST_SD))
        return np.asarray(scaled[None], np.float32)


@dataclass(frozen=True)
class Look:
    """One way of looking at a scan, with a network of its own.

    Attributes
    ----------
    spacing
        Of the samples (z, y, x) in mm; 0 keeps the scan's own along that axis.
    patch
        Samples that the network is shown at once, in the order of `order`.
    flat_axis
        Canonical axis across which slices are seen one by one; ``None``: the patch is solid.
    width, widest
        Channels of the network's first level, and of its deepest at most.
    levels
        Of the network.
    local
        Samples of the window by whose mean and spread a grey image is standardised once more, in a
        channel of its own; 0: it is not.
    """

    spacing: Mm3
    patch: Size3
    flat_axis: int | None = None
    width: int = 16
    levels: int = 4
    widest: int = 256
    local: int = 0

    def shape_of(self, shape: Size3, spacing: Mm3) -> Size3:
        """Samples (z, y, x) that a scan has in this look."""
        sizes = [
            n if own == 0 else max(1, round(n * mm / own))
            for n, mm, own in zip(shape, spacing, self.spacing, strict=True)
        ]
        return sizes[0], sizes[1], sizes[2]

    @property
    def order(self) -> Size3:
        """Canonical axes in the order in which patches have them: the flat one first."""
        first = self.flat_axis or 0
        others = [axis for axis in range(3) if axis != first]
        return first, others[0], others[1]

    @property
    def samples(self) -> int:
        """Of a patch."""
        return prod(self.patch)


@dataclass(frozen=True)
class Plan:
    """Everything that a learned model has to know of how it was taught.

    Attributes
    ----------
    structures
        Value in the label map → name; the network's channel 1 is the first, 0 is background.
    looks
        One, or a coarse one that says where and a fine one that says what; none if nothing was
        learned that is found without a prompt.
    brightness
        See `Brightness`.
    mirrors
        Canonical axes along which scans may be mirrored.
    single
        Values of structures that are one piece, see `sammed.models.learned.pieces`.
    """

    structures: Mapping[int, str]
    looks: tuple[Look, ...]
    brightness: Brightness
    mirrors: tuple[int, ...] = (2,)
    single: tuple[int, ...] = ()

    def channels(self, look: Look) -> int:
        """Of an image, as a look shows it."""
        return (3 if self.brightness.kind == "colour" else 1) + bool(look.local)

    @property
    def classes(self) -> int:
        """Channels of an answer, background among them."""
        return len(self.structures) + 1

    def in_pieces(self, names: Iterable[str]) -> Plan:
        """The same plan, in which these structures may be several pieces."""
        loose = set(names)
        kept = tuple(value for value in self.single if self.structures[value] not in loose)
        return replace(self, single=kept)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "structures": {str(value): name for value, name in self.structures.items()},
            "looks": [asdict(look) for look in self.looks],
            "brightness": asdict(self.brightness),
            "mirrors": list(self.mirrors),
            "single": list(self.single),
        }

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Plan:
        """The plan that `as_dict` told.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is none.
        """
        looks = tuple(
            Look(**{**look, "spacing": tuple(look["spacing"]), "patch": tuple(look["patch"])})
            for look in said["looks"]
        )
        if not said["structures"]:
            raise ValueError("a plan has a structure")
        return cls(
            {int(value): str(name) for value, name in said["structures"].items()},
            looks,
            Brightness(**said["brightness"]),
            tuple(int(axis) for axis in said["mirrors"]),
            tuple(int(value) for value in said.get("single", ())),
        )


def resampled(
    voxels: NDArray[np.float32],
    shape: Size3,
    extents: Sequence[tuple[float, float]] | None = None,
) -> NDArray[np.float32]:
    """(c, z, y, x) with other numbers of samples over the same extent; antialiased when fewer.

    Parameters
    ----------
    voxels : (c, z, y, x)
        What is resampled.
    shape
        Samples (z, y, x) of the result.
    extents
        From where to where along each axis, in samples of what is resampled; by default all.

    Examples
    --------
    >>> resampled(np.arange(4, dtype=np.float32).reshape(1, 1, 1, 4), (1, 1, 2)).ravel().tolist()
    [0.7142857313156128, 2.2857141494750977]
    """
    for axis, wanted in enumerate(shape):
        there = voxels.shape[axis + 1]
        low, high = (0.0, float(there)) if extents is None else extents[axis]
        if there == wanted and (low, high) == (0, there):
            continue
        weights, start, stop = shrink_weights(low, high, wanted, there)
        weights = weights / weights.sum(1, keepdims=True)  # what lies beyond is not dark
        used = np.take(voxels, range(start, stop), axis=axis + 1)
        voxels = np.moveaxis(np.tensordot(used, weights, ([axis + 1], [1])), -1, axis + 1)
    return np.ascontiguousarray(voxels, np.float32)


def seen(volume: Volume, look: Look, brightness: Brightness) -> NDArray[np.float32]:
    """A scan as a look shows it, (c, z, y, x) float32; values of a CT are taken for HU.

    What a coil leaves dark is seen in a channel that is standardised by what lies round each sample
    (local contrast normalization, Jarrett et al. 2009, doi:10.1109/ICCV.2009.5459469), where the
    look has one.
    """
    voxels = volume.voxels
    if brightness.kind == "ct" and (offset := ct_offset(volume)):
        voxels = voxels.astype(np.float32) - np.float32(offset)
    shown = resampled(brightness.applied(voxels), look.shape_of(volume.shape, volume.spacing))
    return np.concatenate([shown, local_contrast(shown, look)]) if look.local else shown


def local_contrast(shown: NDArray[np.float32], look: Look) -> NDArray[np.float32]:
    """How much brighter than its surroundings each sample is, in their spreads.

    Parameters
    ----------
    shown : (c, z, y, x)
        Brightness in the first channel.
    look
        With its window.

    Returns
    -------
    (1, z, y, x) float32
        In [-MOST, MOST].
    """
    size = [1 if axis == look.flat_axis else look.local for axis in range(3)]

    def around(values: NDArray[np.float32]) -> NDArray[np.float32]:
        once = ndimage.uniform_filter(values, size, mode="nearest")
        return np.asarray(ndimage.uniform_filter(once, size, mode="nearest"))

    above = shown[0] - around(shown[0])
    spread = np.sqrt(around(above**2).clip(0))
    return np.asarray((above / (spread + EVEN)).clip(-MOST, MOST)[None], np.float32)
