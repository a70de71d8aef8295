"""Borders bent onto those of a later scan, and mirror images without a mirrored scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from sammed.errors import Cancelled
from sammed.imaging import registration as reg
from sammed.imaging.boxes import Box3D
from sammed.imaging.registration.search import in_mirrors
from sammed.imaging.volume import Volume
from tests.examples.scans import ball
from tests.phantoms import OBLIQUE

SHAPE, MM = (24, 30, 28), (2.5, 1.5, 1.5)
GRID = np.array([[0, 0, 1.5, 4], [0, 1.5, 0, -20], [2.5, 0, 0, 9], [0, 0, 0, 1]], float)


def scan(radius: float, seed: int) -> tuple[Volume, np.ndarray]:
    inside = ball(SHAPE, (12, 15, 14), radius, MM)
    values = ndimage.gaussian_filter(np.where(inside, 30.0, 100.0), 0.5)
    values += 8 * np.random.default_rng(seed).standard_normal(SHAPE)
    return Volume.from_array(np.rint(values).astype(np.int16), GRID, modality="CT"), inside


@pytest.mark.thorough
@pytest.mark.parametrize("radius", [6.0, 8.5])
def test_a_border_that_moved_is_followed(radius: float):
    (then, drawn), (now, inside) = scan(7.2, 1), scan(radius, 2)
    fixed, moving = reg.grey(now), reg.grey(then)
    near = reg.followed(
        fixed, moving, reg.header(), reg.region_of(fixed, Box3D(0, 0, 0, *SHAPE)), contrast=False
    )
    there = near.carry(drawn.astype(np.float32), then.affine, now.affine, SHAPE).sum()
    assert there == pytest.approx(np.count_nonzero(inside), rel=0.08)
    assert near.deforms


def test_following_stops_when_asked_to():
    (then, _), (now, _) = scan(7, 1), scan(8, 2)
    fixed = reg.grey(now)

    def check() -> None:
        raise Cancelled("stopped")

    region = reg.region_of(fixed, Box3D(0, 0, 0, *SHAPE))
    with pytest.raises(Cancelled):
        reg.followed(fixed, reg.grey(then), reg.header(), region, check=check)


def uneven(seed: int, shape: tuple[int, int, int]) -> Volume:
    values = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2)
    return Volume.from_array((1000 * values).astype(np.float32), OBLIQUE)


@pytest.mark.parametrize("shape", [(18, 30, 34), (1, 40, 50), (40, 1, 50)])
def test_mirrors_are_as_those_of_a_mirrored_scan(shape: tuple[int, int, int]):
    fixed, moving = uneven(1, shape), uneven(2, shape)
    found = in_mirrors(reg.grey(fixed), reg.grey(moving))
    assert set(found) == {axis for axis in range(3) if shape[axis] > 1}
    for axis, likeness in found.items():
        turned = replace(moving, voxels=np.flip(moving.voxels, axis))
        whole = reg.coarse(reg.grey(fixed), reg.grey(turned)).similarity
        assert likeness == pytest.approx(whole, abs=1e-4)


def test_a_mirrored_scan_is_told_from_its_own():
    volume = uneven(3, (18, 30, 34))
    for axis, said in enumerate(("head and feet", "front and back", "left and right")):
        turned = replace(volume, voxels=np.ascontiguousarray(np.flip(volume.voxels, axis)))
        assert reg.flipped_axes(reg.grey(volume), reg.grey(turned)) == said
    assert reg.flipped_axes(reg.grey(volume), reg.grey(volume)) == ""
