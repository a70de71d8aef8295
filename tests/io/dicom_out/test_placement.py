"""Labels go onto an image's grid where voxels coincide; smaller structures stay visible."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sammed.errors import GridMismatchError
from sammed.imaging import geometry
from sammed.imaging.volume import LabelVolume, Volume, make_grid
from sammed.io.overlaps import Structures
from sammed.io.placement import place
from tests.io.dicom.make_series import oblique_affine

SHAPE = (5, 7, 11)


def image(affine=None, shape=SHAPE):
    return Volume.from_array(
        np.zeros(shape, np.int16), oblique_affine() if affine is None else affine
    )


def labels_on(affine, stored):
    grid = make_grid(affine, stored.shape)
    return LabelVolume(grid.reorientation.apply(stored), grid, {1: "a", 2: "b"})


def part_of(affine, low, axes, signs, shape):
    """Affine of a block whose first voxel is ``low`` and whose axes are others, in other ways."""
    block = np.eye(4)
    block[:3, :3] = affine[:3, axes] * signs
    first = np.array(low) + [
        (shape[axes.index(a)] - 1 if signs[axes.index(a)] < 0 else 0) for a in range(3)
    ]
    block[:3, 3] = geometry.apply_affine(affine, first)
    return block


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_a_part_in_any_order_of_axes(axes, signs):
    volume = image()
    shape = tuple((3, 4, 5)[a] for a in axes)
    stored = np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)
    labels = labels_on(part_of(volume.affine, (1, 2, 3), axes, signs, shape), stored)
    placed = place(labels, volume)
    assert placed.shape == volume.shape
    assert placed.grid is volume.grid
    for value in (1, 2):
        world = geometry.apply_affine(labels.affine, np.argwhere(labels.voxels == value))
        again = geometry.apply_affine(placed.affine, np.argwhere(placed.voxels == value))
        np.testing.assert_allclose(
            world[np.lexsort(np.round(world, 5).T)],
            again[np.lexsort(np.round(again, 5).T)],
            atol=1e-6,
        )


def test_what_lies_outside_is_counted():
    volume = image()
    affine = volume.affine.copy()
    affine[:3, 3] += 3 * affine[:3, 0]
    placed = place(labels_on(affine, np.ones(SHAPE, np.uint8)), volume)
    assert np.count_nonzero(placed.voxels) == 2 * 7 * 11
    assert placed.notes == ("231 labelled voxels lie outside of the image and were left out",)
    affine[:3, 3] += 100 * affine[:3, 0]
    with pytest.raises(GridMismatchError, match="outside of the image"):
        place(labels_on(affine, np.ones(SHAPE, np.uint8)), volume)


@pytest.mark.parametrize("change", ["half a voxel", "spacing", "turned", "slowly drifting"])
def test_voxels_that_do_not_coincide(change):
    volume = image()
    affine = volume.affine.copy()
    if change == "half a voxel":
        affine[:3, 3] += 0.5 * affine[:3, 2]
    elif change == "spacing":
        affine[:3, 1] *= 2
    elif change == "turned":
        affine = oblique_affine(angles=(0.2, -0.1, 0.32))
    else:
        affine[:3, 2] *= 1.005
    far = ".* apart, at most 0.02 voxels" if change in ("half a voxel", "slowly drifting") else ""
    with pytest.raises(GridMismatchError, match=f"not on the grid{far}"):
        place(labels_on(affine, np.ones(SHAPE, np.uint8)), volume)


def test_rounded_headers_still_coincide():
    volume = image()
    affine = np.round(volume.affine, 4)
    placed = place(labels_on(affine, np.ones(SHAPE, np.uint8)), volume)
    assert placed.voxels.all()


def test_smaller_structures_stay_visible_and_slices_add_up():
    structures = Structures((2, 4, 5))
    whole = np.ones((4, 5), bool)
    half = whole.copy()
    half[2:] = False
    structures.add(3, 0, whole)
    structures.add(9, 0, half)
    structures.add(1, 1, half)
    structures.add(1, 1, ~half)  # a second outline on the same slice
    structures.add(2, 1, whole)  # as large as 1: the higher number wins
    numbers, contested = structures.paint()
    np.testing.assert_array_equal(numbers[0], np.where(half, 9, 3))
    assert (numbers[1] == 2).all()
    assert contested == 10 + 20
