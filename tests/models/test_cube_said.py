"""What the locator hears lies where the voxels that were meant lie on its cube."""

from __future__ import annotations

import numpy as np
import pytest

from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import Window
from sammed.imaging.volume import Volume
from sammed.models.compact.cube_said import former_on_cube, said_on_cube
from sammed.models.compact.cubes import cube_view
from sammed.models.compact.locator_net import BLOCK_SIZE, HEARD
from sammed.models.protocols import VolumeMask
from sammed.prompts import MaskPrompt, PointPrompt

SHAPE = (24, 30, 36)
BLOCK = Box3D(4, 6, 8, 20, 24, 32)
IN, OUT, PAINTED, FORMER = range(len(HEARD))


def shown(voxels):
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.eye(3))  # index (z, y, x) to (L, P, S)
    volume = Volume.from_array(voxels, affine)
    return cube_view(volume, Window(0, 1, "all"), BLOCK, BLOCK_SIZE).image


def brightest(image):
    return np.array(np.unravel_index(int(np.argmax(image)), image.shape))


@pytest.mark.parametrize("at", [(5, 7, 9), (12, 15, 20), (19, 23, 31)])
@pytest.mark.parametrize("positive", [True, False])
def test_a_click_lies_where_its_voxel_does(at, positive):
    voxels = np.zeros(SHAPE, np.float32)
    voxels[at] = 1
    seen = shown(voxels)
    said = said_on_cube(BLOCK, [PointPrompt(at, positive)], None, SHAPE)
    clicked, other = (IN, OUT) if positive else (OUT, IN)
    assert abs(brightest(said[clicked].numpy()) - brightest(seen)).max() <= 1
    assert not said[other].any()
    assert not said[FORMER].any()


def test_a_former_answer_lies_where_it_was():
    logits = np.full(BLOCK.shape, -32, np.float16)
    logits[4:8, 5:9, 6:12] = 5
    voxels = np.zeros(SHAPE, np.float32)
    voxels[BLOCK.slices] = logits > 0
    seen = shown(voxels)
    former = former_on_cube(BLOCK, VolumeMask(BLOCK, logits, 1.0), SHAPE)
    said = said_on_cube(BLOCK, [], former, SHAPE)
    assert ((said[FORMER].numpy() > 0) != (seen > 0.5)).mean() < 0.005
    assert (said[FORMER][0] < -0.9).all()


def test_a_painted_slice_is_heard_within_the_box():
    painted = np.zeros(SHAPE, bool)
    painted[10, 10:16, 12:20] = True
    said = said_on_cube(BLOCK, [MaskPrompt(painted)], None, SHAPE)[PAINTED].numpy()
    shown = np.flatnonzero((said != 0).any((1, 2)))
    assert shown.min() >= 5 + int(30 * 6 / 16) - 1
    assert shown.max() <= 5 + int(30 * 7 / 16) + 1
    assert (said > 0).any()
    assert (said < 0).any()
    assert not said[:, :5].any()


def test_nothing_said_is_nothing_heard():
    assert not said_on_cube(BLOCK, [], None, SHAPE).any()
