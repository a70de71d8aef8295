from __future__ import annotations

from itertools import permutations

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from sammed.errors import GeometryError, OrientationError
from sammed.imaging import geometry
from tests.phantoms import OBLIQUE, ORDERS, SHAPE, SPACING, STRAIGHT, affine_of, reordered

VOXELS = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)


@pytest.mark.parametrize("affine", [STRAIGHT, OBLIQUE, affine_of(degrees=(-30, 5, 40))])
def test_every_stored_order_becomes_the_same_canonical_array(affine):
    for order, flips in ORDERS:
        stored, stored_affine = reordered(VOXELS, affine, order, flips)
        turn = geometry.canonical(stored_affine, stored.shape)
        np.testing.assert_array_equal(turn.apply(stored), VOXELS)
        np.testing.assert_allclose(turn.apply_affine(stored_affine), affine, atol=1e-9)
        assert turn.canonical_shape == SHAPE
        np.testing.assert_array_equal(turn.invert(turn.apply(stored)), stored)


def test_columns_of_the_affine_survive_bit_for_bit():
    for order, flips in ORDERS:
        _, stored = reordered(VOXELS, OBLIQUE, order, flips)
        canonical = geometry.canonical(stored, VOXELS.transpose(order).shape).apply_affine(stored)
        np.testing.assert_array_equal(canonical[:3, :3], OBLIQUE[:3, :3])


def test_colour_stays_the_last_axis():
    colour = np.stack([VOXELS, VOXELS + 1, VOXELS + 2], axis=-1)
    stored, affine = reordered(colour, OBLIQUE, (2, 0, 1), (-1, 1, -1))
    turn = geometry.canonical(affine, stored.shape[:3])
    np.testing.assert_array_equal(turn.apply(stored), colour)
    np.testing.assert_array_equal(turn.invert(colour), stored)


def test_to_file_maps_indices_as_the_arrays_are_mapped():
    for order, flips in ORDERS[::5]:
        stored, affine = reordered(VOXELS, OBLIQUE, order, flips)
        turn = geometry.canonical(affine, stored.shape)
        for index in [(0, 0, 0), (4, 6, 10), (1, 5, 3)]:
            there = geometry.apply_affine(turn.to_file, np.array(index)).astype(int)
            assert stored[tuple(there)] == VOXELS[index]


@given(
    st.tuples(*[st.floats(-180, 180)] * 3),
    st.tuples(*[st.floats(0.1, 8)] * 3),
    st.sampled_from(ORDERS),
)
def test_canonical_axes_point_to_superior_posterior_left(degrees, spacing, stored_as):
    _, affine = reordered(VOXELS, affine_of(spacing, degrees), *stored_as)
    turn = geometry.canonical(affine, VOXELS.transpose(stored_as[0]).shape)
    unit = geometry.direction(turn.apply_affine(affine))
    diagonal = unit[[2, 1, 0], [0, 1, 2]]  # S of z, P of y, L of x
    assert (diagonal >= -1e-9).all()
    others = [sum(abs(unit[2 - np.array(p), range(3)])) for p in permutations(range(3))]
    assert sum(diagonal) >= max(others) - 1e-6


@pytest.mark.parametrize("degrees", [(0, 0, 45), (45, 0, 0), (0, 45, 0), (0, 0, -45), (0, 0, 135)])
def test_ties_are_broken_alike_for_every_stored_order(degrees):
    """Two axes half-way between two anatomical ones: any choice is fine, but only one."""
    affine = affine_of(degrees=degrees)
    first = geometry.canonical(affine, SHAPE)
    expected, expected_affine = first.apply(VOXELS), first.apply_affine(affine)
    for order, flips in ORDERS:
        stored, stored_affine = reordered(VOXELS, affine, order, flips)
        turn = geometry.canonical(stored_affine, stored.shape)
        np.testing.assert_array_equal(turn.apply(stored), expected)
        np.testing.assert_allclose(turn.apply_affine(stored_affine), expected_affine, atol=1e-9)


def test_axis_codes_agree_with_nibabel():
    for order, flips in ORDERS:
        for degrees in [(0, 0, 0), (10, 20, -15), (100, -30, 60)]:
            _, affine = reordered(VOXELS, affine_of(degrees=degrees), order, flips)
            expected = "".join(nibabel.aff2axcodes(geometry.affine_to_ras(affine)))
            assert geometry.axis_codes(affine)[::-1] == expected


def test_index_and_world_are_inverse():
    points = np.random.default_rng(1).uniform(-5, 15, (20, 3))
    world = geometry.apply_affine(OBLIQUE, points)
    np.testing.assert_allclose(geometry.index_from_world(OBLIQUE, world), points, atol=1e-9)


def test_spacing_direction_volume():
    np.testing.assert_allclose(geometry.spacing(OBLIQUE), SPACING, atol=1e-12)
    unit = geometry.direction(OBLIQUE)
    np.testing.assert_allclose(unit.T @ unit, np.eye(3), atol=1e-12)
    assert geometry.voxel_volume_ml(OBLIQUE) == pytest.approx(2.5 * 0.8 * 0.7 / 1000)


def test_ras_is_lps_with_two_signs_turned_and_columns_reversed():
    ras = geometry.affine_to_ras(OBLIQUE)
    np.testing.assert_array_equal(geometry.affine_from_ras(ras), OBLIQUE)
    kji = np.array([1.0, 2.0, 3.0])
    lps, there = geometry.apply_affine(OBLIQUE, kji), geometry.apply_affine(ras, kji[::-1])
    np.testing.assert_allclose(there, lps * [-1, -1, 1])
    np.testing.assert_array_equal(geometry.world_to_lps(there, "ras"), there * [-1, -1, 1])
    np.testing.assert_array_equal(geometry.world_to_lps(lps, "lps"), lps)
    with pytest.raises(GeometryError, match="unknown space 'RAS'; expected 'ras' or 'lps'"):
        geometry.world_to_lps(lps, "RAS")


def sheared(amount: float) -> np.ndarray:
    affine = OBLIQUE.copy()
    affine[:3, 0] += amount * affine[:3, 1]
    return affine


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (np.diag([1.0, 0, 1, 1]), "degenerate voxel size"),
        (np.diag([1.0, np.nan, 1, 1]), "no finite 4x4 affine"),
        (np.eye(3), "no finite 4x4 affine"),
        (np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "degenerate"),
        (sheared(0.1), r"sheared: two voxel axes meet at 88\.\d\d degrees"),
    ],
)
def test_impossible_affines_are_refused(affine, message):
    with pytest.raises(OrientationError, match=message) as caught:
        geometry.check_affine(affine, "scan.nii")
    assert str(caught.value).startswith("scan.nii")
    assert "\n" not in str(caught.value)


def test_rounding_in_a_header_is_no_shear():
    noisy = OBLIQUE.astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(geometry.check_affine(noisy), noisy)
    np.testing.assert_array_equal(geometry.check_affine(sheared(1e-4)), sheared(1e-4))


def test_left_handed_grids_are_allowed():
    mirrored = OBLIQUE @ np.diag([1, 1, -1, 1])
    np.testing.assert_array_equal(geometry.check_affine(mirrored), mirrored)


def test_same_grid_looks_at_the_farthest_corner():
    moved = OBLIQUE.copy()
    moved[:3, 3] += 0.019 * OBLIQUE[:3, 2]
    assert geometry.same_grid(OBLIQUE, SHAPE, moved, SHAPE)
    moved[:3, 3] += 0.002 * OBLIQUE[:3, 2]
    assert not geometry.same_grid(OBLIQUE, SHAPE, moved, SHAPE)
    assert not geometry.same_grid(OBLIQUE, SHAPE, OBLIQUE, (5, 7, 12))
    turned = OBLIQUE.copy()
    turned[:3, :3] = Rotation.from_euler("z", 3e-3, degrees=True).as_matrix() @ turned[:3, :3]
    assert geometry.same_grid(OBLIQUE, SHAPE, turned, SHAPE)
    assert not geometry.same_grid(OBLIQUE, (500, 500, 500), turned, (500, 500, 500))


@pytest.mark.parametrize("decimals", [2, 3, 4])
def test_headers_that_round_are_of_the_same_grid(decimals):
    assert geometry.same_grid(OBLIQUE, (1, 1, 1), np.round(OBLIQUE, decimals), (1, 1, 1))


def test_a_mismatch_says_how_far_voxels_lie_apart():
    moved = np.diag([2.5, 0.8, 0.5, 1.0])
    moved[:3, 3] = -250.001, 3, 100
    other = moved.copy()
    other[0, 3] += 0.06
    told = geometry.describe_mismatch(moved, SHAPE, other, SHAPE)
    assert "first voxel at (-250.001, 3, 100), expected" in told
    assert "first voxel at (-249.941, 3, 100) (z, y, x; LPS mm); voxels lie up to 0.06 mm" in told
    assert "(0.024 voxels) apart, at most 0.02 voxels are taken as the same" in told
    assert "apart" not in geometry.describe_mismatch(moved, SHAPE, other, (5, 7, 12))


def test_what_is_taken_as_the_same_is_noted():
    moved = OBLIQUE.copy()
    moved[:3, 3] += 0.9e-3 * OBLIQUE[:3, 0] / 2.5
    assert geometry.grid_note(moved, SHAPE, OBLIQUE) == ()
    moved[:3, 3] += 0.01 * OBLIQUE[:3, 0]
    (note,) = geometry.grid_note(moved, SHAPE, OBLIQUE)
    assert note.startswith("its voxels lie up to 0.026 mm (0.01 voxels) from those of the image")
