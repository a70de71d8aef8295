"""What the DICOM tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sammed.imaging.volume import Volume

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"

needs_data = pytest.mark.skipif(
    not (DATA / "README.md").is_file(), reason="the reference data ../shared/data is not here"
)


def assert_same(volume: Volume, voxels: np.ndarray, affine: np.ndarray, atol: float = 0) -> None:
    """Every voxel of the volume lies where the affine says, with the value the array has there."""
    expected = Volume.from_array(voxels, affine)
    assert volume.voxels.shape == expected.voxels.shape
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-4)
    np.testing.assert_allclose(volume.voxels, expected.voxels, atol=atol, rtol=0)


def remarks(volume: Volume) -> tuple[str, ...]:
    """The notes but the first, which says what series was read."""
    assert volume.notes[0].startswith("read: ")
    return volume.notes[1:]
