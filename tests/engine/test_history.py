"""Undo goes back as far as one likes; the masks of old steps do not fill the memory."""

from __future__ import annotations

import pickle

import numpy as np

from sammed.engine import history
from sammed.engine.settings import Settings
from sammed.prompts import MaskPrompt, ObjectPrompts
from sammed.session import Session
from tests.phantoms import ORGAN, StubModel, organ_volume, slice_box


def edited(steps: int) -> Session:
    """A session in which one object was told something new so often, and segmented each time."""
    made = Session(organ_volume(), StubModel(), Settings(plane="axial"))
    made.put(ObjectPrompts("other", boxes=(slice_box(ORGAN, 3),)))
    for n in range(steps):
        made.put(ObjectPrompts("organ", boxes=(slice_box(ORGAN, 7, loose=1 + n % 3),)))
        made.segment()
    return made


def test_old_masks_go_and_are_computed_again(monkeypatch):
    monkeypatch.setattr(history, "MOST_BYTES", 0)
    made = edited(14)
    after = made.object_mask("organ")
    kept = [bool(state.runs) for state in made._history._past]
    assert sum(kept) == history.LEAST_STEPS
    for _ in range(history.LEAST_STEPS):
        made.undo()
        assert made.stale == []
    made.undo()
    assert made.stale == ["other", "organ"]
    assert not made.result().voxels.any()
    made.segment()
    fresh = edited(5)
    assert np.array_equal(made.object_mask("organ"), fresh.object_mask("organ"))
    while made.can_redo:
        made.redo()
    assert np.array_equal(made.object_mask("organ"), after)


def test_small_masks_stay_as_they_are():
    made = edited(14)
    while made.can_undo:
        made.undo()
        assert made.stale == [o.name for o in made.objects if o.name not in made.runs]
    assert made.objects == ()


def test_a_painted_slice_takes_hardly_any_memory():
    voxels = np.zeros((200, 512, 512), bool)
    voxels[7, 100:200, 100:220] = True
    mask = MaskPrompt(voxels)
    assert mask.painted.shape == (1, 100, 120)
    assert len(pickle.dumps(mask)) < 10_000
    assert mask.slices(0).tolist() == [7]
    assert mask.slices(2).tolist() == list(range(100, 220))
    assert np.array_equal(mask.voxels, voxels)
    assert mask == MaskPrompt(voxels)
    voxels[7, 150, 150] = False
    assert mask != MaskPrompt(voxels)
    assert mask.voxels[7, 150, 150]
    assert MaskPrompt(np.zeros((5, 7, 11), bool)).slices(1).tolist() == []
