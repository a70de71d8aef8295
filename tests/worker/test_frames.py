from itertools import permutations, product

import numpy as np
import pytest

from sammed.imaging.boxes import Box3D
from sammed.imaging.geometry import apply_affine
from sammed.imaging.volume import Volume
from sammed.worker.frames import SentFrame

ORIENTATIONS = [
    np.vstack([np.column_stack([np.eye(3)[list(p)] * s, [3, 5, 7]]), [0, 0, 0, 1]])
    for p in permutations(range(3))
    for s in product((2.5, -2.5), (0.8, -0.8), (0.7, -0.7))
]


@pytest.mark.parametrize("affine", ORIENTATIONS)
def test_blocks_and_voxels_go_in_and_out_in_every_orientation(affine):
    array = np.arange(5 * 7 * 11).reshape(5, 7, 11)
    volume = Volume.from_array(array, affine)
    frame = SentFrame(volume.grid.reorientation)
    sent = [1, 2, 3, 3, 6, 10]

    block = frame.block_in(sent)

    cut = array[1:3, 2:6, 3:10]
    assert np.array_equal(volume.voxels[block.slices], frame.array_in(cut))
    assert np.array_equal(frame.array_out(volume.voxels[block.slices]), cut)
    assert frame.block_out(block) == sent
    voxel = frame.voxel_in([4, 1, 9])
    assert volume.voxels[voxel] == array[4, 1, 9]
    assert frame.voxel_out(voxel) == [4, 1, 9]
    np.testing.assert_allclose(
        apply_affine(volume.affine, np.array(voxel)), apply_affine(affine, np.array([4, 1, 9]))
    )


@pytest.mark.parametrize("affine", ORIENTATIONS[::5])
def test_axes_go_in_and_out(affine):
    volume = Volume.from_array(np.zeros((5, 7, 11)), affine)
    frame = SentFrame(volume.grid.reorientation)
    for axis, extent in enumerate((5, 7, 11)):
        assert volume.shape[frame.axis_in(axis)] == extent
        assert frame.axis_out(frame.axis_in(axis)) == axis


def test_a_single_voxel_stays_one_voxel():
    frame = SentFrame(Volume.from_array(np.zeros((5, 7, 11)), ORIENTATIONS[7]).grid.reorientation)
    assert frame.block_in([2, 2, 2, 3, 3, 3]).shape == (1, 1, 1)
    assert isinstance(frame.block_in([2, 2, 2, 3, 3, 3]), Box3D)
