"""A lesion found again in a later scan, and how much of each voxel it fills.

Its value and that of what is round it are known from the earlier scan, where it was drawn; a voxel
between the two is filled in part. How the drawing counted such voxels is measured there as well.
The drawn border, bent to where the same border is now, tells the volume a second time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import Volume

REACH_MM = 4.0
"""A lesion may have grown this far beyond where it was, or by its own radius if that is more."""

RING_MM = 4.0
"""Width of the ring beyond that in which the values round it are taken."""

SMOOTH_MM = 0.6
"""Both scans are smoothed by so much before their values are compared: noise makes no border."""

LEAST_STEP = 1.5
"""Deviations of the values round it by which a lesion must stand out in the earlier scan for its
border to be looked for in the new one; else it is carried as it was."""

GONE = 0.35
"""Share of the earlier step of values below which nothing is left of a lesion."""

GROUND_MM = 5.0
"""Width of the Gaussian in which the values round a lesion are carried on into its place."""

LEAST_RING = 30
"""Voxels of the ring that have to look as what was round it before; else all of it counts."""

DRAWN_APART = 0.15
"""Deviation of the logarithm of volumes as people draw them, from what the values say: how the
earlier drawing counted is believed against the noise of the scan as this is to the noise's own
(research/examples.md)."""

MOST_APART = 1.5
"""Factor between what the values and what bending say of a volume, beyond which bending has not
followed and the values count alone."""

Bool3 = NDArray[np.bool_]
Float3 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scan:
    """Values, lightly smoothed, with their voxels and the width of their window; 1 of units."""

    values: Float3
    spacing: tuple[float, float, float]
    width: float

    @classmethod
    def of(cls, volume: Volume, absolute: bool) -> Scan:
        """A volume, smoothed; ``absolute``: its values mean the same in every scan, as in CT."""
        voxels = volume.voxels.astype(np.float32)
        voxels = voxels.mean(axis=3) if volume.is_colour else voxels
        pairs = zip(volume.spacing, volume.shape, strict=True)
        width = [SMOOTH_MM / s if n > 1 else 0 for s, n in pairs]
        smooth = np.asarray(ndimage.gaussian_filter(voxels, width), np.float32)
        low, high = np.percentile(smooth, (0.5, 99.5))
        return cls(smooth, volume.spacing, 1.0 if absolute else float(high - low))


@dataclass(frozen=True, eq=False)
class Seen:
    """A lesion in the new scan."""

    mask: Bool3
    how: str
    level: float | None = None
    voxels: float | None = None


@dataclass(frozen=True)
class Step:
    """How a lesion stands out: its value, the ring's, the ring's spread, its own noise."""

    core: float
    ring: float
    spread: float
    noise: float


def again(
    then: Scan,
    now: Scan,
    drawn: Bool3,
    mask: Bool3,
    others: Bool3,
    bent: Callable[[], float] = lambda: 0.0,
) -> Seen:
    """The lesion's own border in the new scan, at the height at which it was drawn in the old.

    Parameters
    ----------
    then, now
        The scans.
    drawn : (z, y, x) bool
        The lesion, on the grid of ``then``.
    mask, others : (z, y, x) bool
        Where it and other lesions were, on the grid of ``now``.
    bent
        Gives the voxels that it fills where the earlier scan's borders are bent onto the new
        one's; 0: not known.
    """
    if not mask.any():
        return Seen(mask, "its place lies outside the new scan")
    old = Place.of(drawn, then)
    old_ring = old.rim
    step = old.step(old_ring)
    if step is None or abs(step.core - step.ring) < LEAST_STEP * step.spread:
        return Seen(mask, "carried as it was: it does not stand out in the earlier scan")
    place = Place.of(mask, now)
    free = ~others[place.block.slices]
    usual = step.ring if now.width == then.width else float(np.median(place.values[place.ring]))
    alike = np.abs(place.values - usual) <= 3 * max(step.spread * now.width / then.width, 1e-6)
    ring = place.ring & free & alike
    if np.count_nonzero(ring) < LEAST_RING:
        ring = place.ring & free
    found_step = place.step(ring)
    if found_step is None:
        return Seen(np.zeros_like(mask), "nothing of this scan is round its place")
    scale = now.width / then.width
    full = found_step.ring + scale * (step.core - step.ring)
    new = Step(full, found_step.ring, found_step.spread, scale * step.noise)
    if np.nanquantile(place.shares(new, np.inf)[place.inside], 0.8) < GONE:
        return Seen(np.zeros_like(mask), "nothing stands out where it was")
    shares = place.shares(new)
    other = ~np.isfinite(shares) | (
        shares < -1
    )  # of another tissue, and what it shares voxels with
    free &= ~(ndimage.binary_dilation(other & ~place.inside) & ~place.inside)
    parts, count = ndimage.label((_even(shares) > 0.5) & place.near & free)
    touching = set(np.unique(parts[place.inside])) - {0} if count else set()
    found = np.isin(parts, list(touching))
    if not found.any():
        return Seen(np.zeros_like(mask), "nothing stands out where it was")
    held, _ = _integral(place, new, found, free, now.spacing)
    factor = _as_drawn(int(np.count_nonzero(drawn)), *_integral(
        old, step, old.inside, old.near, then.spacing
    ))  # fmt: skip
    voxels = _both(held * factor, bent())
    exact = _largest(shares, ndimage.binary_dilation(found) & free, round(voxels))
    whole = np.zeros_like(mask)
    whole[place.block.slices] = exact
    level = new.ring + 0.5 * (new.core - new.ring)
    return Seen(whole, f"by its partial volumes, times {factor:.2f} as it was drawn", level, voxels)


def _both(values: float, bent: float) -> float:
    """Voxels by the values and by bending: they err apart, so that their mean is the better."""
    if min(values, bent) <= 0 or max(values, bent) > MOST_APART * min(values, bent):
        return values
    return float(np.sqrt(values * bent))


def _as_drawn(drawn: int, voxels: float, error: float) -> float:
    """Voxels that were drawn, per voxel that the values say, as far as noise lets it be known."""
    if voxels <= 0:
        return 1.0
    believed = DRAWN_APART**2 / (DRAWN_APART**2 + (error / voxels) ** 2)
    return float(np.clip((drawn / voxels) ** believed, 0.5, 2))


def _integral(
    place: Place, step: Step, mask: Bool3, free: Bool3, spacing: tuple[float, float, float]
) -> tuple[float, float]:
    """Voxels that a lesion fills, with parts of those at its border: however blurred, the same.

    With the standard error by noise, as if that were independent from voxel to voxel.

    What is round it need not be even: each voxel is compared with what lies round it there. A small
    error of that would count for much, so that only the voxels next to the lesion belong to it.
    """
    close = ndimage.binary_dilation(mask, np.ones((3, 3, 3), bool))
    usual = np.abs(place.values - step.ring) <= 3 * max(step.spread, 1e-6)
    known = (~close & free & usual).astype(np.float32)
    width = [GROUND_MM / s if n > 1 else 0.0 for s, n in zip(spacing, mask.shape, strict=True)]
    weight = ndimage.gaussian_filter(known, width)
    ground = ndimage.gaussian_filter(known * place.values, width) / np.maximum(weight, 1e-6)
    ground = np.where(weight > 1e-3, ground, step.ring)
    shares = (place.values - ground) / (step.core - step.ring)
    counted = close & free & np.isfinite(place.shares(step))
    noise = step.spread / abs(step.core - step.ring)
    error = noise * float(np.sqrt(np.count_nonzero(counted)))
    return float(np.clip(shares, -1, 2)[counted].sum()), error


def _even(shares: Float3) -> Float3:
    """Smoothed by a voxel, so that noise draws neither spikes nor islands."""
    width = [0.8 if n > 1 else 0.0 for n in shares.shape]
    filled = np.where(np.isfinite(shares), shares, 0)
    return np.asarray(ndimage.gaussian_filter(filled, width), np.float32)


def _largest(shares: Float3, where: Bool3, count: int) -> Bool3:
    """So many voxels, those with the largest shares."""
    inside = np.where(where & np.isfinite(shares), _even(shares), -np.inf)
    count = int(np.clip(count, 1, np.count_nonzero(where)))
    least = np.partition(inside.ravel(), -count)[-count]
    return np.asarray(inside >= least)


@dataclass(frozen=True, eq=False)
class Place:
    """A lesion's neighbourhood: the lesion, its rim, as far as it may have grown, a ring beyond."""

    block: Box3D
    values: Float3
    inside: Bool3
    core: Bool3
    rim: Bool3
    near: Bool3
    ring: Bool3

    @classmethod
    def of(cls, mask: Bool3, scan: Scan) -> Place:
        """Round a lesion of a scan, (z, y, x) bool on its grid."""
        spacing = scan.spacing
        cubic_mm = np.count_nonzero(mask) * np.prod(spacing)
        reach = max(REACH_MM, float((3 * cubic_mm / (4 * np.pi)) ** (1 / 3)))
        box = Box3D.from_mask(mask)
        wide = [int(np.ceil((reach + RING_MM) / s)) + 1 for s in spacing]
        low = [max(0, a - w) for a, w in zip(box.low, wide, strict=True)]
        high = [min(n, b + w) for n, b, w in zip(mask.shape, box.high, wide, strict=True)]
        block = Box3D(*low, *high)
        inside = mask[block.slices]
        away = ndimage.distance_transform_edt(~inside, spacing)
        deep = ndimage.distance_transform_edt(inside, spacing)
        rim = (away > min(spacing)) & (away <= max(RING_MM, 2 * min(spacing)))
        ring = (away > reach) & (away <= reach + RING_MM)
        core = inside & (deep >= 0.5 * deep.max())
        return cls(block, scan.values[block.slices], inside, core, rim, away <= reach, ring | rim)

    def shares(self, step: Step, most: float = 0.0) -> Float3:
        """Where values lie between the ring's (0) and the core's (1); NaN for another tissue."""
        shares = (self.values - step.ring) / (step.core - step.ring)
        most = most or 1 + max(0.5, 4 * step.noise / abs(step.core - step.ring))
        return np.asarray(np.where(shares < most, shares, np.nan), np.float32)

    def step(self, ring: Bool3) -> Step | None:
        """From a ring to the core."""
        if not ring.any():
            return None
        around, core = self.values[ring], self.values[self.core]
        middle = float(np.median(around))
        spread = 1.48 * float(np.median(np.abs(around - middle)))
        own = float(np.median(core))
        return Step(own, middle, spread, 1.48 * float(np.median(np.abs(core - own))))
