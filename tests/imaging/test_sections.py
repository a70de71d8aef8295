"""An object of one picture found in another at another size and place."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from sammed.errors import Cancelled, InputError
from sammed.imaging import registration as reg
from sammed.imaging.volume import Volume


def picture(radius: float, middle: tuple[float, float], seed: int) -> tuple[Volume, np.ndarray]:
    """A bright disc in a dark ring of so many mm, in a body of its own; and where it is."""
    rng = np.random.default_rng(seed)
    rows, cols = np.indices((110, 140))
    away = np.hypot((rows - middle[0]) * 1.3, (cols - middle[1]) * 0.9)
    texture = ndimage.gaussian_filter(rng.standard_normal((110, 140)), 6)
    values = 90 + 25 * texture / texture.std() + rng.normal(0, 4, (110, 140))
    values[away < 1.5 * radius] = 40
    values[away < radius] = 200
    noisy = values + rng.normal(0, 4, values.shape)
    affine = np.eye(4)  # 8 mm thick, pixels that are no squares
    affine[:3, :3] = [[0, 0, 0.9], [0, 1.3, 0], [8.0, 0, 0]]
    return Volume.from_array(noisy[None].astype(np.float32), affine), (away < radius)[None]


def found(fixed: Volume, moving: Volume, mask: np.ndarray) -> np.ndarray:
    spacing = [1e6, 1.3, 0.9]
    near = ndimage.distance_transform_edt(~mask, spacing) <= 8
    start = reg.sized(reg.grey(fixed), reg.grey(moving), near)
    onto = start.carry(mask.astype(np.float32), moving.affine, fixed.affine, fixed.shape)
    return np.asarray(onto > 0.5)


@pytest.mark.thorough
@pytest.mark.parametrize("radius", [10.0, 14.0, 20.0])
@pytest.mark.parametrize("middle", [(52.0, 66.0), (64.0, 88.0)])
def test_another_size_and_another_place(radius, middle):
    example, mask = picture(16, (55, 70), 1)
    scan, truth = picture(radius, middle, 2)
    assert scan.shape == truth.shape
    seen = found(scan, example, mask)
    both = 2 * np.count_nonzero(seen & truth) / (np.count_nonzero(seen) + np.count_nonzero(truth))
    assert both > 0.85


def test_what_is_nearer_is_believed_where_two_look_alike():
    example, mask = picture(14, (55, 70), 1)
    scan, truth = picture(14, (58, 66), 3)
    other, there = picture(14, (22, 122), 4)
    voxels = scan.voxels.copy()
    voxels[:, :44, 100:] = other.voxels[:, :44, 100:]
    both = Volume.from_array(voxels, scan.affine)
    seen = found(both, example, mask)
    assert (seen & truth).sum() > 0.7 * truth.sum()
    assert not (seen & there).any()


def test_it_can_be_stopped():
    example, mask = picture(14, (55, 70), 1)

    def check() -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        reg.sized(reg.grey(example), reg.grey(example), mask, check)


def test_a_picture_in_a_volume_is_refused():
    example, mask = picture(14, (55, 70), 1)
    volume = Volume.from_array(np.repeat(example.voxels, 5, axis=0), example.affine)
    with pytest.raises(InputError, match="single slice"):
        reg.sized(reg.grey(volume), reg.grey(example), mask)
