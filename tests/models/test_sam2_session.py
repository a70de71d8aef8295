"""SAM 2 behind a session: its own predictor's masks, one encode a slice, kept features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sam2", reason="the package sam2 is not installed (extra 'sam2')")

from sammed.engine.cleanup import Cleanup
from sammed.engine.propagation import Rules
from sammed.engine.settings import Settings
from sammed.engine.told_memory import Step, ToldMemory
from sammed.errors import InputError
from sammed.imaging.boxes import Box2D
from sammed.imaging.volume import Volume
from sammed.models.protocols import ViewMask
from sammed.models.sam2.model import Sam2Model
from sammed.prompts import BoxPrompt, MaskPrompt, ObjectPrompts, PointPrompt
from sammed.session import Session
from sammed.views.embedding_files import EmbeddingFolder
from sammed.views.embeddings import EmbeddingStore
from tests.models.sam2_networks import SIZE, frames, predictor_of, random_sam2
from tests.phantoms import STRAIGHT

COUNT, SLICE = 9, 4
BOX = BoxPrompt(0, SLICE, Box2D(55, 90, 150, 166))
CLICK = PointPrompt((SLICE, 100, 128))
FREE = Settings(window="255/127.5", cleanup=Cleanup(components="all"), unchecked="all")
"""Nothing that SAM 2's own predictor does not do."""


class Case:
    """A volume, the same as frames, and one network for both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        levels = np.rint(frames(folder, COUNT)[:, 0] * 255).astype(np.uint8)
        self.volume = Volume.from_array(levels, STRAIGHT, modality="MR")
        self.network = random_sam2()
        self.predictor = predictor_of(self.network)

    def session(
        self, *objects: ObjectPrompts, store: EmbeddingStore | None = None, **settings: Any
    ) -> Session:
        model = Sam2Model(self.network, name="sam2.1_tiny", weights_hash="1" * 64)
        made = Session(self.volume, model, replace(FREE, **settings), store)
        for obj in objects:
            made.put(obj)
        made.segment()
        return made

    def theirs(self, prompt: dict[str, Any]) -> np.ndarray:
        """Masks of a run forwards and of one backwards, each from a fresh state."""
        masks = np.zeros(self.volume.shape, bool)
        for reverse in (False, True):
            state = self.predictor.init_state(str(self.folder))
            if "mask" in prompt:
                self.predictor.add_new_mask(state, SLICE, 1, prompt["mask"])
            else:
                self.predictor.add_new_points_or_box(state, SLICE, 1, **prompt)
            found = self.predictor.propagate_in_video(state, SLICE, reverse=reverse)
            for index, _, logits in found:
                masks[index] = logits[0, 0].numpy() > 0
        return masks


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("frames"))


def painted() -> MaskPrompt:
    voxels = np.zeros((COUNT, SIZE, SIZE), bool)
    voxels[SLICE, 60:140, 95:160] = True
    return MaskPrompt(voxels)


SAME = {
    "box": (BOX, {"box": [90, 55, 166, 150]}),
    "click": (CLICK, {"points": [[128, 100]], "labels": [1]}),
    "painted": (painted(), {"mask": painted().voxels[SLICE]}),
}


@pytest.mark.parametrize("kind", SAME)
def test_without_the_engine_s_tests_masks_are_sam_2_s(case: Case, kind: str) -> None:
    prompt, told = SAME[kind]
    ours = case.session(ObjectPrompts("organ", interactions=(prompt,))).object_mask("organ")
    theirs = case.theirs(told)
    assert theirs.any(axis=(1, 2)).all()
    assert not theirs.all(axis=(1, 2)).any()
    assert np.count_nonzero(ours != theirs) <= 3 * COUNT, "pixels whose logit is about 0"


def test_several_objects_share_one_encode_a_slice_and_features_are_kept(
    case: Case, tmp_path: Path
) -> None:
    other = ObjectPrompts("other", boxes=(BoxPrompt(0, 2, Box2D(20, 30, 90, 100)),))
    organ = ObjectPrompts("organ", boxes=(BOX,))
    first = case.session(organ, other, store=EmbeddingStore(folder=tmp_path))
    assert first.counts["encode"] == COUNT
    again = case.session(organ, other, store=EmbeddingStore(folder=tmp_path))
    assert again.counts["encode"] == 0
    for name in ("organ", "other"):
        np.testing.assert_array_equal(again.object_mask(name), first.object_mask(name))


def test_answers_are_kept_between_runs_and_only_what_was_asked_differently_is_asked_again(
    case: Case, tmp_path: Path
) -> None:
    organ = ObjectPrompts("organ", boxes=(BOX,))
    first = case.session(organ, store=EmbeddingStore(folder=tmp_path))
    assert first.counts["decode"] == COUNT
    again = case.session(organ, store=EmbeddingStore(folder=tmp_path))
    assert again.counts["decode"] == 1  # the prompted slice
    np.testing.assert_array_equal(again.object_mask("organ"), first.object_mask("organ"))
    (group,) = (g for g in EmbeddingFolder(tmp_path, 1 << 30).groups() if "-answers" in g.name)
    assert group.views == COUNT - 1
    lost = sorted(tmp_path.glob("*/*-answers/0007-*"))
    lost[0].unlink()  # as a run leaves it that was stopped
    rest = case.session(organ, store=EmbeddingStore(folder=tmp_path))
    assert rest.counts["decode"] == 2
    np.testing.assert_array_equal(rest.object_mask("organ"), first.object_mask("organ"))
    longer = ObjectPrompts("organ", boxes=(BoxPrompt(0, SLICE, Box2D(55, 90, 158, 166)),))
    other = case.session(longer, store=EmbeddingStore(folder=tmp_path))
    assert other.counts["decode"] == COUNT
    assert np.any(other.object_mask("organ") != first.object_mask("organ"))
    alone = case.session(longer, store=EmbeddingStore(folder=tmp_path / "alone"))
    np.testing.assert_array_equal(other.object_mask("organ"), alone.object_mask("organ"))


def test_what_was_told_is_let_go_of_once_a_memory_is_made() -> None:
    def tell(memory: list[int], step: Step) -> list[int]:
        return [*memory, step.index]

    mask = ViewMask(np.zeros((1, 4, 4), np.float32), np.zeros(1, np.float32))
    nothing = ToldMemory.of_nothing([])
    one = nothing.told(Step(3, mask, True))
    two, other = one.told(Step(4, mask, False)), one.told(Step(4, mask, True))
    assert len({m.digest for m in (nothing, one, two, other)}) == 4
    assert one.told(Step(4, mask, False)).digest == two.digest
    assert (two.made(tell), one.made(tell), other.made(tell)) == ([3, 4], [3], [3, 4])
    assert two._state == ([3, 4],)


def test_an_edit_is_taken_back_without_a_computation(case: Case) -> None:
    organ = ObjectPrompts("organ", boxes=(BOX,))
    made = case.session(organ)
    before, asked = made.object_mask("organ"), made.counts["decode"]
    made.put(organ.with_(PointPrompt((SLICE + 2, 20, 20), positive=False)))
    made.segment()
    edited = made.counts["decode"]
    assert edited > asked
    made.undo()
    made.segment()
    np.testing.assert_array_equal(made.object_mask("organ"), before)
    assert made.counts["decode"] == edited


def test_the_engine_s_tests_end_a_chain_and_say_why(case: Case) -> None:
    organ = ObjectPrompts("organ", boxes=(BOX,))
    free = case.session(organ)
    assert {stop.reason for stop in free.runs["organ"].trace.stops} == {"edge"}
    absent = Sam2Model(random_sam2(presence=-50), name="sam2.1_tiny")
    made = Session(case.volume, absent, replace(FREE, unchecked=""))
    made.put(ObjectPrompts("organ", mask=painted()))
    made.segment()
    stops = made.runs["organ"].trace.stops
    assert {stop.reason for stop in stops} == {"absent"}
    assert all("is not on the next slice (probability 0.00)" in stop.text for stop in stops)


def test_tests_of_the_engine_are_switched_off_one_by_one() -> None:
    off = Settings(unchecked="grown, moved").accept_rules
    usual = Settings().accept_rules
    assert usual == Rules()
    assert (off.max_growth, off.min_overlap, off.max_jump) == (np.inf, 0, np.inf)
    assert off.max_drift == usual.max_drift
    everything = Settings(unchecked="all").accept_rules
    assert everything.max_drift == np.inf
    assert everything.min_present == 0
    with pytest.raises(InputError, match="unknown accept test 'big'; expected all, or some of ab"):
        Settings(unchecked="big")


def test_the_benchmark_s_rows_compare_the_same_masks() -> None:
    from benchmarks import sam2

    alone = sam2.track(2, slices=3, size=128, light=1)
    assert alone["exact"], alone
    assert (alone["objects"], alone["masks_that_are_there"]) == (2, 6)
    again = sam2.kept(slices=3, size=128, light=1)
    assert again["exact"], again
    assert again["ratio"] > 0
