"""A tight 3D box tells more than a 2D box on one slice; round a sharp object it is no worse."""

from __future__ import annotations

import numpy as np
import pytest

from sammed import io
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.volume import Volume
from sammed.models import registry
from sammed.models.protocols import ImageModel
from sammed.prompts import BoxPrompt, ObjectPrompts
from sammed.session import Session
from tests.phantoms import SAMPLE, affine_of, dice, ellipsoid, image_of

ORGANS = {"spleen": 2, "kidney_left": 4, "aorta": 5}

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(
        not registry.info("compact").available, reason="compact's weights are not here"
    ),
]


@pytest.fixture(scope="module")
def compact() -> ImageModel:
    return registry.build("compact")


def sharp(name: str) -> tuple[Volume, np.ndarray]:
    """A CT of a sharp object, and its mask."""
    if name in ORGANS:
        volume = io.read(SAMPLE / "phantom_ct.nii.gz")
        labels = io.read_labels(SAMPLE / "phantom_labels.nii.gz", like=volume)
        return volume, labels.voxels == ORGANS[name]
    mask = ellipsoid((30, 44, 48), (16, 18, 30), (8, 7, 9))
    affine = affine_of((2.0, 1.5, 1.5), (0, 0, 0))
    return Volume.from_array(image_of(mask, 8.0, 1), affine, modality="CT"), mask


def found(volume: Volume, model: ImageModel, **prompts: object) -> np.ndarray:
    session = Session(volume, model)
    session.put(ObjectPrompts("it", **prompts))
    session.segment()
    return session.object_mask("it")


@pytest.mark.parametrize("name", ["ellipsoid", *ORGANS])
def test_a_tight_3d_box_is_no_worse_than_a_2d_box_on_its_middle_slice(compact, name):
    volume, mask = sharp(name)
    block = Box3D.from_mask(mask)
    middle = (block.z0 + block.z1) // 2
    box = BoxPrompt(0, middle, Box2D.from_mask(mask[middle]))
    flat = dice(found(volume, compact, boxes=(box,)), mask)
    solid = dice(found(volume, compact, blocks=(block,)), mask)
    assert flat > 0.95
    assert solid > flat - 0.01
