"""What settings, planes, windows and unusual images do to a session."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sammed.engine.cleanup import Cleanup
from sammed.engine.settings import Settings
from sammed.errors import (
    InputError,
    PromptError,
)
from sammed.imaging.boxes import Box2D
from sammed.imaging.volume import Volume
from sammed.models.protocols import BOX_ONLY
from sammed.prompts import BoxPrompt, MaskPrompt, ObjectPrompts, PointPrompt
from tests.phantoms import (
    OBLIQUE,
    ORGAN,
    ORGAN_SHAPE,
    STRAIGHT,
    StubModel,
    block_of,
    changed,
    dice,
    image_of,
    organ_volume,
    reordered,
    slice_box,
)
from tests.session.sessions import ORGAN_BOX, PUT_A, PUT_B, A, B, labels, session

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
    decoders = made._strategy._decoders.values()
    seen = {name for name, d in zip("zyx", decoders, strict=True) if d.counts}
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
