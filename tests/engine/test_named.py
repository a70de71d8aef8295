"""What a model knows by name, and what was said of it otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from sammed.errors import PromptError
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.volume import Volume
from sammed.models.protocols import ModelSpec, VolumeMask
from sammed.prompts import BoxPrompt, MaskPrompt, ObjectPrompts, PointPrompt
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


LEARNED, TUNED, SHIPPED = "a" * 64, "b" * 64, "5" * 64
BOX = BoxPrompt(0, 4, Box2D(12, 14, 26, 28))
HERE = PointPrompt((4, 20, 20))


class Taught(Knows):
    """Was taught a block and tuned to it; a twin, without tuning; a cyst, by tuning alone."""

    spec = ModelSpec(
        name="taught",
        prompts=frozenset({"box", "points", "mask", "box3d"}),
        weights_hash=LEARNED,
        structures={"block": 3, "twin": 4, "absent": 5},
        tuned=frozenset({"block", "cyst"}),
    )

    def __init__(self):
        self.tuned = StubModel(threshold=-1, weights_hash=TUNED, calibrated=False)
        self.shipped = StubModel(threshold=-1, slack=-3, weights_hash=SHIPPED, calibrated=False)

    def find(self, image, *, reporter):
        there = VolumeMask(KNOWN, np.full(KNOWN.shape, 4, np.float16), 0.9)
        nothing = VolumeMask(Box3D(0, 0, 0, 0, 0, 0), np.zeros((0, 0, 0), np.float16), 0.0)
        return {"block": there, "twin": there, "absent": nothing}

    def prompted(self, name):
        return self.tuned if name in self.spec.tuned else self.shipped

    def takes_blocks(self, name):
        return name in self.spec.tuned


@pytest.fixture
def session():
    voxels = np.random.default_rng(1).normal(0, 5, SHAPE).astype(np.float32)
    return Session(Volume.from_array(voxels, STRAIGHT), Taught())


def put(session, name="Segment_1", **said):
    session.put(ObjectPrompts(name, **said))
    session.segment()
    return session.runs[name]


def test_an_object_that_says_which_structure_it_is_is_answered_as_one_of_that_name(session):
    for said in ({}, {"points": [HERE]}, {"boxes": [BOX]}, {"blocks": [Box3D(2, 9, 9, 7, 31, 31)]}):
        other = put(session, structure="block", **said)
        called = put(session, name="block", **said)
        assert np.array_equal(other.volume.mask_in(SHAPE), called.volume.mask_in(SHAPE)), said
        assert other.structure == called.structure == "block"
        session.remove("block")


def test_a_box_goes_to_the_network_that_was_tuned_to_what_the_object_is(session):
    ours, shipped = session.model.tuned, session.model.shipped
    assert put(session, boxes=[BOX]).structure == ""
    assert (ours.decoded, shipped.decoded > 0) == (0, True)
    before = shipped.decoded
    assert put(session, structure="block", boxes=[BOX]).structure == "block"
    assert (ours.decoded > 0, shipped.decoded) == (True, before)


def test_an_object_that_becomes_a_structure_keeps_nothing_that_another_network_said(session):
    """The prompts are the same, and what a network said to them is remembered by the prompts."""
    plain = put(session, boxes=[BOX]).volume.mask_in(SHAPE)
    session.put(ObjectPrompts("Segment_1", boxes=[BOX], structure="block"))
    assert session.stale == ["Segment_1"]
    session.segment()
    tuned = session.object_mask("Segment_1")
    assert tuned.sum() > plain.sum()
    session.put(ObjectPrompts("Segment_1", boxes=[BOX]))
    session.segment()
    assert np.array_equal(session.object_mask("Segment_1"), plain)
    session.undo()
    assert session.objects[0].structure == "block"
    session.undo()
    assert session.objects[0].structure == ""
    session.redo()
    assert np.array_equal(session.object_mask("Segment_1"), tuned)


def test_an_object_that_is_given_a_structures_name_keeps_no_memories_either(session):
    put(session, boxes=[BOX])
    session.rename("Segment_1", "block")
    click = PointPrompt((6, 14, 16))
    fresh = put(session, name="block", boxes=[BOX], points=[click]).volume.mask_in(SHAPE)
    assert session.runs["block"].structure == "block"
    session.remove("block")
    alone = put(session, name="block", boxes=[BOX], points=[click]).volume.mask_in(SHAPE)
    assert np.array_equal(fresh, alone)


def test_another_name_keeps_what_the_object_is(session):
    put(session, structure="block", boxes=[BOX])
    session.rename("Segment_1", "mine")
    assert session.objects[0].structure == "block"
    assert not session.stale


def test_two_objects_may_be_one_structure(session):
    one = put(session, name="Segment_1", structure="block")
    two = put(session, name="Segment_2", structure="block", points=[HERE])
    assert one.structure == two.structure == "block"
    assert len({obj.label for obj in session.objects}) == 2


def test_where_nothing_was_tuned_the_shipped_network_answers_and_that_is_told(session):
    assert put(session, structure="twin", boxes=[BOX]).structure == ""
    assert put(session, structure="twin", points=[HERE]).structure == "twin"


def test_what_only_its_prompts_were_taught_is_not_found_without_them(session):
    assert put(session, structure="cyst", boxes=[BOX]).structure == "cyst"
    assert session.model.shipped.decoded == 0
    with pytest.raises(PromptError, match="nothing says where"):
        put(session, name="other", structure="cyst")


def test_what_the_model_does_not_find_is_what_its_prompts_say(session):
    nothing = put(session, structure="absent")
    assert "found no 'absent'" in nothing.error
    boxed = put(session, structure="absent", blocks=[Box3D(2, 12, 12, 6, 28, 28)])
    assert not boxed.error
    assert boxed.structure == ""


def test_a_structure_that_the_model_does_not_know_changes_nothing(session):
    plain = put(session, boxes=[BOX]).volume.mask_in(SHAPE)
    said = put(session, structure="spleen", boxes=[BOX])
    assert said.structure == ""
    assert np.array_equal(said.volume.mask_in(SHAPE), plain)
    with pytest.raises(PromptError, match="nothing says where"):
        put(session, name="other", structure="spleen")
