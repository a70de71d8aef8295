"""Segmenting, undo and redo, editing: only what is stale is computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sammed.errors import (
    InputError,
    LabelError,
    PromptError,
)
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.volume import Volume
from sammed.prompts import BoxPrompt, ObjectPrompts, PointPrompt
from sammed.session import Session
from sammed.views.embeddings import EmbeddingStore
from tests.phantoms import (
    ORGAN,
    ORGAN_SHAPE,
    STRAIGHT,
    StubModel,
    dice,
    image_of,
    slice_box,
)
from tests.session.sessions import ORGAN_BOX, PUT_A, PUT_B, TWO, A, B, labels, session

# -- segmenting ------------------------------------------------------------------------------


def test_objects_get_their_labels_and_shapes():
    made = session(PUT_A, PUT_B)
    assert not labels(made).any()
    made.segment()
    assert dice(labels(made) == 1, A) > 0.99
    assert dice(labels(made) == 2, B) > 0.99
    result = made.result()
    assert result.names == {1: "a", 2: "b"}
    assert result.voxels.dtype == np.uint8
    assert result.grid is TWO.grid
    np.testing.assert_array_equal(made.object_mask("a"), labels(made) == 1)


def test_the_result_is_a_copy():
    made = session(PUT_A)
    made.segment()
    made.result().voxels[:] = 7
    assert set(np.unique(labels(made))) == {0, 1}


def test_the_changed_block_is_exact():
    made = session(PUT_A)
    assert made.segment() == Box3D.from_mask(labels(made) > 0)
    before = labels(made)
    made.put(PUT_B)
    assert made.segment() == Box3D.from_mask(labels(made) != before)
    before = labels(made)
    made.put(replace(PUT_A, propagate="off"))
    assert made.segment() == Box3D.from_mask(labels(made) != before)
    assert made.segment().is_empty


def test_only_what_is_stale_is_computed():
    model = StubModel(52)
    made = session(PUT_A, PUT_B, model=model)
    made.segment()
    spent = (model.encoded, model.decoded)
    made.segment()
    assert (model.encoded, model.decoded) == spent
    made.put(replace(PUT_B, boxes=(replace(PUT_B.boxes[0], box=PUT_B.boxes[0].box.expand(1)),)))
    a_run = made.runs["a"]
    made.segment()
    assert made.runs["a"] is a_run
    assert model.encoded == spent[0]
    assert spent[1] < model.decoded <= 2 * spent[1]
    assert made.counts == {"encode": model.encoded, "decode": model.decoded}


def test_every_view_is_encoded_once_whatever_is_asked():
    """20 objects with several prompts each on whole slices: as many encodes as slices seen."""
    rows, cols = np.mgrid[: ORGAN_SHAPE[1], : ORGAN_SHAPE[2]]
    mask = np.zeros(ORGAN_SHAPE, bool)
    objects = []
    for n in range(20):
        r, c = 5 + 9 * (n // 5), 6 + 10 * (n % 5)
        one = np.zeros(ORGAN_SHAPE, bool)
        one[3:13] = np.hypot(rows - r, cols - c) < 3.6
        mask |= one
        boxes = (slice_box(one, 4), slice_box(one, 9))
        objects.append(ObjectPrompts(f"o{n}", boxes=boxes, points=(PointPrompt((6, r, c)),)))
    model = StubModel(52, expensive_encode=True)
    made = session(*objects, volume=Volume.from_array(image_of(mask), STRAIGHT), model=model)
    made.segment()
    assert model.encoded == made.counts["encode"] == 12  # slices 2 to 13
    assert model.decoded > 200
    assert dice(labels(made) > 0, mask) > 0.99
    assert len(np.unique(labels(made))) == 21


def test_sessions_of_two_volumes_may_share_a_store():
    store = EmbeddingStore()
    first = Session(TWO, StubModel(52), store=store)
    other = Volume.from_array(image_of(ORGAN), STRAIGHT, modality="CT")
    second = Session(other, StubModel(52), store=store)
    again = Session(TWO, StubModel(52), store=store)
    for made, obj in ((first, PUT_A), (second, ORGAN_BOX), (again, PUT_A)):
        made.put(obj)
        made.segment()
    assert dice(labels(first) > 0, A) > 0.99
    assert dice(labels(second) > 0, ORGAN) > 0.99
    np.testing.assert_array_equal(labels(again), labels(first))
    assert again.counts["encode"] == 0


def test_an_object_that_is_not_there_does_not_spoil_the_others():
    made = session(PUT_A, ObjectPrompts("none", boxes=(BoxPrompt(0, 0, Box2D(1, 2, 6, 9)),)))
    made.segment()
    assert "nothing was segmented for 'none'" in made.runs["none"].error
    assert made.runs["a"].error == ""
    assert dice(labels(made) == 1, A) > 0.99
    assert not made.object_mask("none").any()


def test_masks_that_were_not_segmented_are_not_there():
    made = session(PUT_A)
    with pytest.raises(InputError, match="no object called 'a' has been segmented"):
        made.object_mask("a")


def test_nothing_to_segment_is_nothing_changed():
    made = session()
    assert made.segment().is_empty
    assert not labels(made).any()


# -- undo and redo ---------------------------------------------------------------------------


def test_undo_and_redo_bring_masks_back_without_any_decoding():
    model = StubModel(52)
    made = session(model=model)
    pictures = [labels(made)]
    edits = [PUT_A, PUT_B, replace(PUT_A, propagate="off"), replace(PUT_B, label=7)]
    for edit in edits:
        made.put(edit)
        made.segment()
        pictures.append(labels(made))
    made.remove("a")
    made.segment()
    pictures.append(labels(made))
    spent = (model.encoded, model.decoded)
    for before, after in zip(pictures[-2::-1], pictures[::-1], strict=False):
        assert made.undo() == Box3D.from_mask(before != after)
        np.testing.assert_array_equal(labels(made), before)
    assert not made.can_undo
    assert made.objects == ()
    for after in pictures[1:]:
        made.redo()
        np.testing.assert_array_equal(labels(made), after)
    assert not made.can_redo
    assert made.segment().is_empty
    assert (model.encoded, model.decoded) == spent


def test_prompts_come_back_with_their_masks():
    made = session(PUT_A, PUT_B)
    made.segment()
    made.put(replace(PUT_A, propagate="off"))
    made.segment()
    made.undo()
    assert [(o.name, o.label, o.propagate) for o in made.objects] == [
        ("a", 1, "auto"),
        ("b", 2, "auto"),
    ]
    made.redo()
    assert made.objects[0].propagate == "off"


def test_a_new_edit_ends_redo():
    made = session(PUT_A, PUT_B)
    made.undo()
    assert made.can_redo
    made.put(replace(PUT_B, propagate="off"))
    assert not made.can_redo
    with pytest.raises(InputError, match="nothing to redo"):
        made.redo()


def test_nothing_to_undo():
    with pytest.raises(InputError, match="nothing to undo"):
        session().undo()


def test_edits_undone_before_they_were_segmented():
    made = session(PUT_A)
    made.segment()
    before = labels(made)
    made.put(replace(PUT_A, propagate="off"))
    assert made.undo().is_empty
    np.testing.assert_array_equal(labels(made), before)
    assert made.segment().is_empty


# -- editing ---------------------------------------------------------------------------------


def test_removing_an_object_gives_its_voxels_to_those_below():
    low = replace(slice_box(A, 8), box=Box2D(1, 1, 39, 51))
    wide = ObjectPrompts("wide", boxes=(low,))
    made = session(PUT_A, wide)
    made.segment()
    assert dice(labels(made) == 1, A) > 0.99
    made.remove("a")
    made.segment()
    assert set(np.unique(labels(made))) == {0, 2}
    assert dice(labels(made) == 2, A | B) > 0.97
    with pytest.raises(InputError, match="no object is called 'a'"):
        made.remove("a")


def test_a_new_label_needs_no_new_computation():
    model = StubModel(52)
    made = session(PUT_A, PUT_B, model=model)
    made.segment()
    spent = model.decoded
    made.put(replace(PUT_A, label=300))
    block = made.segment()
    assert model.decoded == spent
    assert block == Box3D.from_mask(A)
    assert labels(made).dtype == np.uint16
    assert dice(labels(made) == 300, A) > 0.99
    assert made.result().names == {300: "a", 2: "b"}


def test_a_new_name_needs_no_new_computation():
    model = StubModel(52)
    made = session(PUT_A, PUT_B, model=model)
    made.segment()
    before, spent = labels(made), model.decoded
    made.rename("a", "liver")
    assert made.segment().is_empty
    assert model.decoded == spent
    assert made.result().names == {1: "liver", 2: "b"}
    np.testing.assert_array_equal(labels(made), before)
    np.testing.assert_array_equal(made.object_mask("liver"), before == 1)
    made.undo()
    assert [o.name for o in made.objects] == ["a", "b"]
    assert model.decoded == spent
    with pytest.raises(LabelError, match="two objects are called 'b'"):
        made.rename("a", "b")
    with pytest.raises(InputError, match="no object is called 'c'"):
        made.rename("c", "d")


def test_replacing_keeps_label_and_order():
    made = session(replace(PUT_A, label=5), PUT_B)
    made.put(replace(PUT_A, propagate="off"))
    assert [(o.name, o.label) for o in made.objects] == [("a", 5), ("b", 1)]


def test_what_makes_no_sense_is_refused_and_changes_nothing():
    made = session(replace(PUT_A, label=5))
    bad = [
        (replace(PUT_B, label=5), LabelError, "label 5 is given to both 'a' and 'b'"),
        (replace(PUT_B, label=70000), LabelError, "is not in 1..65535"),
        (ObjectPrompts("c"), PromptError, "nothing says where 'c' is"),
        (ObjectPrompts("c", boxes=(BoxPrompt(0, 17, Box2D(0, 0, 5, 5)),)), PromptError, "outside"),
        (replace(PUT_B, boxes=(slice_box(B, 8), slice_box(B, 20, 1))), PromptError, "planes"),
        (
            replace(PUT_A, blocks=(Box3D(9, 0, 0, 12, 30, 30),)),
            PromptError,
            "slice 8, which its 3D box excludes",
        ),
    ]
    for prompts, error, message in bad:
        with pytest.raises(error, match=message):
            made.put(prompts)
        assert [o.name for o in made.objects] == ["a"]
        made.undo()
        assert not made.can_undo
        made.redo()


def test_a_fixed_plane_refuses_boxes_of_another():
    made = session(plane="coronal")
    with pytest.raises(PromptError, match="lies on axial slice 8, but the plane is coronal"):
        made.put(PUT_A)
    made.put(ObjectPrompts("b", boxes=(slice_box(B, 22, 1),)))
    made.segment()
    assert made.runs["b"].plane == "coronal"
    assert dice(labels(made), B) > 0.97
