from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sammed.engine.cleanup import Cleanup
from sammed.engine.fusion import promised_iou
from sammed.engine.object_volume import ObjectVolume
from sammed.engine.progress import Progress
from sammed.engine.results import MODEST, slice_records
from sammed.engine.settings import Settings
from sammed.errors import (
    Cancelled,
    InputError,
    LabelError,
    PromptError,
    SegmentationError,
)
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.volume import Volume
from sammed.models.protocols import BOX_ONLY
from sammed.prompts import BoxPrompt, MaskPrompt, ObjectPrompts, PointPrompt
from sammed.session import Session
from sammed.views.embeddings import EmbeddingStore
from sammed.views.slices import SliceStack
from tests.phantoms import (
    OBLIQUE,
    ORGAN,
    ORGAN_SHAPE,
    STRAIGHT,
    StubModel,
    block_of,
    changed,
    dice,
    ellipsoid,
    image_of,
    organ_volume,
    reordered,
    slice_box,
)

A = ellipsoid(ORGAN_SHAPE, (7.6, 15.3, 13.2), (5.2, 8.5, 8.8))
B = ellipsoid(ORGAN_SHAPE, (9.1, 22.3, 36.2), (5.6, 9.5, 10.8))
TWO = Volume.from_array(image_of(A | B), STRAIGHT, modality="CT")
PUT_A = ObjectPrompts("a", boxes=(slice_box(A, 8),))
PUT_B = ObjectPrompts("b", boxes=(slice_box(B, 8),))
ORGAN_BOX = ObjectPrompts("organ", boxes=(slice_box(ORGAN, 8),))


def session(
    *objects: ObjectPrompts,
    volume: Volume = TWO,
    model: StubModel | None = None,
    **settings: object,
) -> Session:
    made = Session(volume, model or StubModel(52), Settings(**settings))  # type: ignore[arg-type]
    for obj in objects:
        made.put(obj)
    return made


def labels(made: Session) -> np.ndarray:
    return made.result().voxels


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
        assert len(made._past) == 1


def test_a_fixed_plane_refuses_boxes_of_another():
    made = session(plane="coronal")
    with pytest.raises(PromptError, match="lies on axial slice 8, but the plane is coronal"):
        made.put(PUT_A)
    made.put(ObjectPrompts("b", boxes=(slice_box(B, 22, 1),)))
    made.segment()
    assert made.runs["b"].plane == "coronal"
    assert dice(labels(made), B) > 0.97


# -- settings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"plane": "axal"}, "unknown plane 'axal'; expected auto, all, axial"),
        ({"overlap": "first"}, "unknown overlap 'first'; expected keep, overwrite, score"),
        ({"cleanup": Cleanup(components="big")}, "unknown components 'big'; expected prompted"),
        ({"cleanup": Cleanup(smooth_mm=-1.0)}, "smoothing of -1 mm makes no sense"),
        ({"cleanup": Cleanup(smooth_mm=float("nan"))}, "smoothing of nan mm makes no sense"),
    ],
)
def test_unknown_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        Settings(**settings)


def test_an_unknown_window_is_named_when_it_is_needed():
    made = session(PUT_A, window="soft")
    with pytest.raises(InputError, match="unknown window 'soft'"):
        made.segment()


@pytest.mark.parametrize(
    ("policy", "first"), [("keep", True), ("overwrite", False), ("score", False)]
)
def test_who_gets_shared_voxels(policy, first):
    """Two boxes that overlap; the second object's logits are higher."""

    def rule(prompt, grey, mask):
        low = prompt.box[1] < 10
        return changed(mask, low_res_logits=mask.low_res_logits * (0.5 if low else 1.0))

    left = ObjectPrompts("left", boxes=(BoxPrompt(0, 8, Box2D(2, 3, 38, 32)),))
    right = ObjectPrompts("right", boxes=(BoxPrompt(0, 8, Box2D(2, 20, 38, 50)),))
    made = session(
        replace(left, propagate="off"), replace(right, propagate="off"),
        volume=organ_volume(), model=StubModel(52, rule=rule, expensive_encode=True),
        overlap=policy,
    )  # fmt: skip
    made.segment()
    shared = made.object_mask("left") & made.object_mask("right")
    assert shared.sum() > 100
    assert (labels(made)[shared] == (1 if first else 2)).all()


def test_painting_again_gives_the_same_as_painting_at_once():
    for policy in ("keep", "overwrite", "score"):
        step = session(overlap=policy)
        wide = ObjectPrompts("wide", boxes=(BoxPrompt(0, 8, Box2D(1, 1, 39, 51)),))
        for obj in (PUT_A, wide, PUT_B, replace(PUT_A, propagate="off")):
            step.put(obj)
            step.segment()
        once = session(replace(PUT_A, propagate="off"), wide, PUT_B, overlap=policy)
        once.segment()
        np.testing.assert_array_equal(labels(step), labels(once))


def test_clean_up_is_done():
    speck = A.copy()
    speck[6:8, 2:4, 45:49] = True
    hole = speck.copy()
    hole[8, 15, 13] = False
    volume = Volume.from_array(image_of(hole, noise=0), STRAIGHT, modality="CT")
    off = ObjectPrompts("a", mask=MaskPrompt(hole), propagate="off")
    for components, fill, expected in [
        ("all", False, hole),
        ("largest", False, hole & A),
        ("largest", True, A),
        ("prompted", True, speck),
    ]:
        made = session(off, volume=volume, cleanup=Cleanup(components, fill))
        made.segment()
        np.testing.assert_array_equal(labels(made) > 0, expected)


def test_probabilities():
    made = session(PUT_A, PUT_B, probabilities=True)
    made.segment()
    result = made.result()
    assert set(result.probabilities) == {1, 2}
    for value, mask in ((1, A), (2, B)):
        probable = result.probabilities[value]
        assert probable.dtype == np.float16
        assert probable.shape == ORGAN_SHAPE
        assert probable.min() >= 0
        assert probable.max() <= 1
        assert dice(probable > 0.5, mask) > 0.99
    assert session(PUT_A).result().probabilities == {}


def test_zoomed_views():
    model = StubModel(64, zoom=1.5)
    made = session(PUT_A, PUT_B, model=model)
    made.segment()
    assert dice(labels(made) == 1, A) > 0.95
    assert dice(labels(made) == 2, B) > 0.95
    whole = session(PUT_A, model=StubModel(64, zoom=1.5, expensive_encode=True), zoom=None)
    whole.segment()
    assert whole.counts["encode"] == len(whole.runs["a"].slices) + 2


# -- planes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", [ORGAN_BOX, ObjectPrompts("organ", blocks=(block_of(ORGAN),))])
def test_all_planes_are_fused(prompt):
    model = StubModel(52)
    volume = Volume.from_array(image_of(ORGAN), STRAIGHT, modality="CT")
    made = session(prompt, volume=volume, model=model, plane="all")
    made.segment()
    assert dice(labels(made), ORGAN) > 0.95
    seen = {name for name, d in zip("zyx", made._decoders.values(), strict=True) if d.counts}
    assert len(seen) == 3
    assert model.encoded > 17 + 20 + 20


def test_all_planes_stay_within_the_z_range():
    tight = replace(block_of(ORGAN), z0=6, z1=10)
    volume = Volume.from_array(image_of(ORGAN), STRAIGHT, modality="CT")
    made = session(ObjectPrompts("organ", blocks=(tight,)), volume=volume, plane="all")
    made.segment()
    assert np.flatnonzero(labels(made).any(axis=(1, 2))).tolist() == [6, 7, 8, 9]


@pytest.mark.parametrize(("propagate", "slices"), [("between", range(6, 11)), ("off", (6, 10))])
def test_all_planes_stay_on_the_slices_that_were_asked_for(propagate, slices):
    boxes = (slice_box(ORGAN, 6), slice_box(ORGAN, 10))
    prompts = ObjectPrompts("organ", boxes=boxes, propagate=propagate)
    made = session(prompts, volume=organ_volume(), plane="all")
    made.segment()
    assert np.flatnonzero(labels(made).any(axis=(1, 2))).tolist() == list(slices)


def test_a_plane_that_disagrees_is_not_believed():
    """In the other planes the model finds the whole view; the first plane's mask stays."""

    def rule(prompt, grey, mask):
        if grey.shape[0] >= 40:
            return mask
        return changed(mask, low_res_logits=np.full_like(mask.low_res_logits, 6))

    made = session(ORGAN_BOX, volume=organ_volume(), model=StubModel(52, rule=rule), plane="all")
    made.segment()
    assert dice(labels(made), ORGAN) > 0.97


def test_the_plane_follows_the_box_else_the_thick_slices():
    thick = Volume.from_array(image_of(ORGAN), np.diag([1, 1, 4.0, 1])[[2, 1, 0, 3]], modality="CT")
    by_box = session(ORGAN_BOX, volume=thick)
    by_block = session(ObjectPrompts("organ", blocks=(block_of(ORGAN),)), volume=thick)
    for made, plane in ((by_box, "axial"), (by_block, "sagittal")):
        made.segment()
        assert made.runs["organ"].plane == plane
        assert dice(labels(made), ORGAN) > 0.9


# -- other images ----------------------------------------------------------------------------


def test_a_single_slice():
    image = Volume.from_array(image_of(A)[8:9], np.eye(4)[:, [2, 1, 0, 3]])
    for plane in ("auto", "all", "axial"):
        made = session(
            ObjectPrompts("a", boxes=(BoxPrompt(0, 0, slice_box(A, 8).box),)),
            volume=image, plane=plane, window="soft-tissue",
            cleanup=Cleanup(fill_holes=True, smooth_mm=0.5),
        )  # fmt: skip
        made.segment()
        assert dice(labels(made), A[8:9]) > 0.98
        assert [s.reason for s in made.runs["a"].trace.stops] == ["edge", "edge"]


def test_a_colour_picture():
    grey = np.where(A[8], 200, 40).astype(np.uint8)
    colour = np.stack([grey, grey // 2 + 60, grey], axis=-1)[None]
    made = session(
        ObjectPrompts("a", boxes=(BoxPrompt(0, 0, slice_box(A, 8).box),)),
        volume=Volume.from_array(colour, np.eye(4)[:, [2, 1, 0, 3]]),
    )
    made.segment()
    assert made.window.name == "colour"
    assert dice(labels(made), A[8:9]) > 0.99


def test_a_volume_stored_in_another_order_gets_the_label_map_of_its_own_grid():
    stored, affine = reordered(image_of(A), OBLIQUE, (2, 0, 1), (-1, 1, -1))
    volume = Volume.from_array(stored, affine, modality="CT")
    made = session(PUT_A, volume=volume)
    made.segment()
    expected, _ = reordered(labels(made), OBLIQUE, (2, 0, 1), (-1, 1, -1))
    written = made.result().file_array()
    np.testing.assert_array_equal(written, expected)
    assert dice(written > 0, stored > 20) > 0.99


def test_a_model_that_knows_boxes_only():
    made = session(PUT_A, model=StubModel(52, prompts=BOX_ONLY))
    made.segment()
    assert dice(labels(made), A) > 0.99
    made.put(ObjectPrompts("p", points=(PointPrompt((8, 22, 36)),)))
    with pytest.raises(PromptError, match="is prompted by box; found points"):
        made.segment()


# -- the window ------------------------------------------------------------------------------


def test_the_window_is_chosen_once():
    lung = image_of(A | B)
    lung[B] = -700
    made = session(PUT_A, volume=Volume.from_array(lung, STRAIGHT, modality="CT"))
    made.segment()
    assert made.window.name == "soft-tissue"
    made.put(PUT_B)
    made.segment()
    assert made.window.name == "soft-tissue"


def test_auto_looks_into_the_prompted_boxes():
    values = image_of(A | B)
    values[A] = -700
    made = session(PUT_A, volume=Volume.from_array(values, STRAIGHT, modality="CT"))
    assert made.window.name == "lung"


def test_the_volume_is_never_written_to():
    voxels = image_of(A | B)
    voxels.flags.writeable = False
    made = session(PUT_A, PUT_B, volume=Volume.from_array(voxels, STRAIGHT), plane="all")
    made.segment()
    np.testing.assert_array_equal(voxels, image_of(A | B))


def test_the_hash_is_that_of_the_canonical_voxels():
    hashes = set()
    for order, flips in [((0, 1, 2), (1, 1, 1)), ((2, 0, 1), (-1, 1, -1))]:
        stored, affine = reordered(image_of(A), OBLIQUE, order, flips)
        hashes.add(session(volume=Volume.from_array(stored, affine)).volume_hash)
    assert len(hashes) == 1
    other = Volume.from_array(image_of(A).astype(np.int32), OBLIQUE)
    assert session(volume=other).volume_hash not in hashes


# -- progress and cancelling -----------------------------------------------------------------


def test_progress_tells_every_slice():
    told: list[Progress] = []
    made = session(PUT_A, ObjectPrompts("b", blocks=(block_of(B),)))
    made.segment(told.append)
    assert [p.done for p in told] == list(range(1, len(told) + 1))
    assert {p.object_name for p in told} == {"a", "b"}
    assert {p.plane for p in told} == {"axial"}
    assert sorted(p.index for p in told if p.object_name == "b") == sorted(
        s.index for s in made.runs["b"].slices
    )
    assert all(p.total is None and p.seconds_left is None for p in told)
    assert all(p.seconds_per_slice > 0 for p in told)


def test_progress_knows_the_total_of_3d_boxes():
    told: list[Progress] = []
    made = session(ObjectPrompts("b", blocks=(block_of(B),)))
    made.segment(told.append)
    assert {p.total for p in told} == {len(told)} == {len(made.runs["b"].slices)}
    assert told[-1].seconds_left == 0
    assert told[0].seconds_left is not None
    assert told[0].seconds_left > 0


def test_a_prompted_slice_is_told_before_its_neighbours():
    told: list[tuple[str, int, int]] = []
    order: list[int] = []
    made = session(PUT_A)
    made.segment()
    click = PointPrompt((11, 15, 13))
    for edit in (replace(PUT_A, boxes=(slice_box(A, 9),)), replace(PUT_A, points=(click,))):
        told.clear()
        order.clear()
        made.put(edit)
        made.segment(
            lambda p: order.append(p.index),
            prompted=lambda name, axis, r: told.append((name, axis, r.index)),
        )
        slices = {b.index for b in edit.boxes} | {p.at[0] for p in edit.points}
        assert {n for _, _, n in told} <= slices
        assert told[-1] == ("a", 0, order[0])
        assert len(order) > 1
    made.segment(prompted=lambda *_: pytest.fail("nothing was stale"))
    fused = session(PUT_A, plane="all")
    fused.segment(prompted=lambda *_: pytest.fail("not known before the planes are fused"))


@pytest.mark.parametrize("after", [0, 1, 5, 14])
def test_cancelling_leaves_the_former_result(after):
    made = session(PUT_A)
    made.segment()
    before, runs = labels(made), made.runs
    asked = []
    made.put(PUT_B)
    made.put(replace(PUT_A, boxes=(slice_box(A, 9),)))

    def cancel() -> bool:
        asked.append(1)
        return len(asked) > after

    with pytest.raises(Cancelled, match="stopped; nothing was changed") as stopped:
        made.segment(cancel=cancel)
    assert stopped.value.exit_code == 130
    np.testing.assert_array_equal(labels(made), before)
    assert made.runs == runs
    made.segment()
    assert dice(labels(made) == 1, A) > 0.99
    assert dice(labels(made) == 2, B) > 0.99


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, SegmentationError])
def test_an_error_in_between_leaves_the_former_result(error):
    made = session(PUT_A)
    made.segment()
    before = labels(made)
    made.put(PUT_B)

    def fail(progress: Progress) -> None:
        if progress.done == 4 and error is not SegmentationError:
            raise error

    if error is SegmentationError:
        made.put(replace(PUT_B, boxes=(BoxPrompt(0, 0, Box2D(1, 1, 5, 5)),)))
        made.segment(fail)
        assert made.runs["b"].error
    else:
        with pytest.raises(error):
            made.segment(fail)
    np.testing.assert_array_equal(labels(made), before)


# -- what became of it -----------------------------------------------------------------------


def test_records_of_slices_seen_once_tell_what_has_changed_since():
    """Of a costly model the prediction is taken as it is, unless the result is another mask."""
    made = session(PUT_A, model=StubModel(52, expensive_encode=True))
    made.segment()
    run = made.runs["a"]
    assert [r.predicted_iou for r in run.slices] == pytest.approx([0.9] * len(run.slices))
    logits = run.volume.logits.copy()
    logits[:, : logits.shape[1] // 2] = -10
    halved = ObjectVolume(run.volume.block, logits)
    slices = SliceStack(TWO, "axial", made.window)
    for record in slice_records(run.trace, slices, halved, joined=False):
        before, after = run.volume.across(0, record.index), halved.across(0, record.index)
        assert record.predicted_iou == pytest.approx(0.9 * after.area / before.area)


def test_records_of_every_slice():
    made = session(PUT_A)
    made.segment()
    run = made.runs["a"]
    assert [r.index for r in run.slices] == sorted(run.trace.slices)
    for record in run.slices:
        mask = made.object_mask("a")[record.index]
        assert record.area_mm2 == pytest.approx(mask.sum() * 0.8 * 0.7)
        rows, cols = np.nonzero(mask)
        np.testing.assert_allclose(record.centroid, (record.index, rows.mean(), cols.mean()))
        logits = run.volume.across(0, record.index).logits
        promised = promised_iou(logits * (MODEST if record.index == 8 else 1))
        assert 0.8 < promised < 1
        assert record.predicted_iou == pytest.approx(np.sqrt(0.9 * promised))
        assert record.stability == 1
        assert record.present == 1
    by_index = {r.index: r for r in run.slices}
    assert by_index[8].neighbour_iou == 1
    assert by_index[8].prompt == "box"
    seven, eight = made.object_mask("a")[7], made.object_mask("a")[8]
    iou = (seven & eight).sum() / (seven | eight).sum()
    assert by_index[7].neighbour_iou == pytest.approx(iou)
    assert by_index[7].prompt == "box + mask"
    first, last = run.slices[0].index, run.slices[-1].index
    assert run.stops == (
        f"axial slice {first}: nothing was found on the next slice",
        f"axial slice {last}: nothing was found on the next slice",
    )


def test_timings_and_counts():
    made = session(PUT_A)
    made.segment()
    assert {"window", "render", "encode", "decode", "resize", "propagate", "fusion"} <= set(
        made.timings
    )
    assert min(made.timings.values()) >= 0
    spent = sum(made.timings[s] for s in ("render", "encode", "decode", "resize"))
    assert spent <= made.timings["propagate"]


def test_part_of_the_label_map():
    made = session(PUT_A)
    made.segment()
    block = Box3D(3, 5, 7, 9, 20, 30)
    np.testing.assert_array_equal(made.labels_in(block), labels(made)[block.slices])
