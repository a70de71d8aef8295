"""What a model knows by name, and what was said of it otherwise."""

from __future__ import annotations

import numpy as np

from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import Volume
from sammed.models.protocols import ModelSpec, VolumeMask
from sammed.prompts import MaskPrompt, ObjectPrompts
from sammed.session import Session
from tests.phantoms import STRAIGHT, StubModel

SHAPE = (9, 40, 44)
KNOWN = Box3D(2, 10, 10, 7, 30, 30)


class Knows:
    """Finds a block, whatever the image shows."""

    spec = ModelSpec(
        name="knows", prompts=frozenset({"box", "points", "mask"}), structures={"block": 3}
    )

    def __init__(self):
        self._companion = StubModel()

    def find(self, image, *, reporter):
        return {"block": VolumeMask(KNOWN, np.full(KNOWN.shape, 4, np.float16), 0.9)}

    def prompted(self, name):
        return self._companion

    def takes_blocks(self, name):
        return False


def segmented(**said):
    voxels = np.random.default_rng(1).normal(0, 5, SHAPE).astype(np.float32)
    session = Session(Volume.from_array(voxels, STRAIGHT), Knows())
    session.put(ObjectPrompts("block", **said))
    session.segment()
    return session.object_mask("block")


def painted():
    mask = np.zeros(SHAPE, bool)
    mask[4, 12:20, 15:25] = True
    return mask


def test_a_structure_is_found_by_its_name():
    mask = segmented()
    assert mask[KNOWN.slices].all()
    assert mask.sum() == np.prod(KNOWN.shape)


def test_what_was_painted_mends_it():
    mask = segmented(mask=MaskPrompt(painted()))
    assert np.array_equal(mask[4], painted()[4])
    assert mask[6].any()


def test_what_was_painted_and_is_followed_no_further_is_all_of_it():
    """A label map that is opened to be corrected, or what another scan has shown."""
    assert np.array_equal(segmented(mask=MaskPrompt(painted()), propagate="off"), painted())
