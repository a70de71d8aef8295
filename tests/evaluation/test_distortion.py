from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sammed.errors import InputError
from sammed.evaluation.distortion import disturb
from sammed.imaging.geometry import apply_affine
from sammed.imaging.volume import Volume

from .conftest import SHAPE, oblique


def disturbed(kind, volume, axis=0, seed=1):
    region = volume.voxels[1:4]
    return disturb(kind, volume, region, axis, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(6))
def test_another_axis_order_shows_the_same_patient(volume, seed):
    found = disturbed("axes 1", volume, seed=seed)
    assert found.volume.grid.reorientation != volume.grid.reorientation
    np.testing.assert_array_equal(found.volume.voxels, volume.voxels)
    np.testing.assert_allclose(found.volume.affine, volume.affine, atol=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("factor", [2, 3])
def test_thicker_slices_average_and_come_back(volume, axis, factor):
    found = disturbed(f"slices x{factor}", volume, axis)
    n = SHAPE[axis]
    assert found.volume.shape[axis] == -(-n // factor)
    assert found.volume.spacing[axis] == pytest.approx(volume.spacing[axis] * factor)
    first = np.take(volume.voxels, range(factor), axis=axis).mean(axis=axis)
    np.testing.assert_allclose(np.take(found.volume.voxels, 0, axis=axis), first, rtol=1e-5)
    middle = np.zeros(3)
    middle[axis] = (factor - 1) / 2
    np.testing.assert_allclose(
        apply_affine(found.volume.affine, np.zeros(3)), apply_affine(volume.affine, middle)
    )
    mask = np.zeros(SHAPE, bool)
    mask[4:6, 11:14, 20:25] = True
    there = found.there(mask)
    assert there.shape == found.volume.shape
    back = found.back(there)
    assert back.shape == SHAPE
    assert (back | ~mask).all()
    for index in range(found.volume.shape[axis]):
        slab = np.zeros(found.volume.shape, bool)
        np.moveaxis(slab, axis, 0)[index] = True
        shown = np.flatnonzero(np.moveaxis(found.back(slab), axis, 0).any(axis=(1, 2))).tolist()
        assert [i for i in found.slices_back(axis, index) if i < n] == shown
        assert list(found.slices_back((axis + 1) % 3, index)) == [index]
    kept = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
    wide = np.flatnonzero(back.any(axis=tuple(a for a in range(3) if a != axis)))
    assert wide[0] == kept[0] // factor * factor
    assert wide[-1] <= kept[-1] // factor * factor + factor - 1


def test_windows_move_by_a_tenth_of_their_width(volume):
    up, down = disturbed("window +10%", volume), disturbed("window -10%", volume)
    (width_up, level_up), (width_down, level_down) = (
        map(float, d.window.split("/")) for d in (up, down)
    )
    assert width_up == width_down > 0
    assert level_up - level_down == pytest.approx(0.2 * width_up, abs=1e-4)
    assert up.volume is volume


def test_noise_has_the_stated_strength(volume):
    found = disturbed("noise 5%", volume)
    width = float(disturbed("window +10%", volume).window.split("/")[0])
    noise = found.volume.voxels - volume.voxels
    assert noise.std() == pytest.approx(0.05 * width, rel=0.03)
    assert abs(noise.mean()) < 0.001 * width
    again = disturbed("noise 5%", volume).volume.voxels
    np.testing.assert_array_equal(again, found.volume.voxels)


def test_what_means_nothing_is_left_out(volume):
    rng = np.random.default_rng(3)
    colour = Volume.from_array(rng.integers(0, 255, (1, 20, 22, 3), np.uint8), oblique())
    assert disturbed("window +10%", colour) is None
    assert disturbed("slices x2", colour) is None
    noisy = disturbed("noise 5%", colour).volume
    assert noisy.voxels.dtype == np.uint8
    assert (noisy.voxels != colour.voxels).any()
    assert disturbed("undisturbed", volume).volume is volume
    with pytest.raises(InputError, match="unknown disturbance"):
        disturbed("blur", replace(volume))
