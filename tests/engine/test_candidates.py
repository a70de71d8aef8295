"""Which of a model's masks is taken: the engine's choice, or the user's."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sammed import api
from sammed.engine.candidates import chosen_candidate
from sammed.engine.settings import Settings
from sammed.errors import PromptError
from sammed.models.protocols import ViewMask
from sammed.prompts import ObjectPrompts, PointPrompt
from sammed.prompts.files import document, read_prompts
from sammed.session import Session
from tests.phantoms import ORGAN, StubModel, dice, organ_volume, slice_box


class Several(StubModel):
    """Answers the object, a half of it, a quarter of it; the whole is what it believes in."""

    def __init__(self, count: int = 3) -> None:
        super().__init__(52)
        self.count = count

    def decode(self, embedding, prompts):
        return [self._several(mask) for mask in super().decode(embedding, prompts)]

    def _several(self, mask: ViewMask) -> ViewMask:
        whole = mask.low_res_logits[0]
        rows = np.flatnonzero((whole > 0).any(1))
        masks = [whole]
        for share in (2, 4, 8)[: self.count - 1]:
            part = np.full_like(whole, -8)
            if len(rows):
                kept = rows[: max(1, len(rows) // share)]
                part[kept] = whole[kept]
            masks.append(part)
        iou = np.array([0.9, 0.8, 0.7, 0.6][: self.count], np.float32)
        return ViewMask(np.stack(masks), iou, mask.present)


def found(candidate: int, count: int = 3, multimask: bool = False, **said):
    session = Session(organ_volume(), Several(count), Settings(multimask=multimask))
    said = said or {"boxes": (slice_box(ORGAN, 7),)}
    session.put(ObjectPrompts("organ", propagate="off", candidate=candidate, **said))
    session.segment()
    return session.object_mask("organ")[7]


def test_the_user_chooses_among_the_models_masks():
    whole = found(0)
    assert dice(whole, ORGAN[7]) > 0.98
    np.testing.assert_array_equal(found(1), whole)
    half, quarter = found(2).sum(), found(3).sum()
    assert 0.3 * whole.sum() < half < 0.6 * whole.sum()
    assert quarter < half


def test_of_four_the_first_is_not_offered():
    """segment-anything's first mask is for prompts that leave no doubt."""
    assert found(1, count=4).sum() < found(0, count=4).sum()
    mask = ViewMask(np.arange(4, dtype=np.float32).reshape(4, 1, 1), np.ones(4, np.float32))
    assert [chosen_candidate(mask, n).low_res_logits.item() for n in (1, 2, 3)] == [1, 2, 3]


def test_with_multimask_the_best_of_three_is_taken_also_for_a_box():
    several = found(0, count=4, multimask=True)
    np.testing.assert_array_equal(several, found(1, count=4))
    assert several.sum() < found(0, count=4).sum()
    np.testing.assert_array_equal(found(3, count=4, multimask=True), found(3, count=4))
    np.testing.assert_array_equal(found(0, multimask=True), found(0))


def test_a_candidate_that_a_model_has_not_is_said():
    with pytest.raises(PromptError, match="candidate 3 is chosen, but the model has 2"):
        found(3, count=2)
    with pytest.raises(PromptError, match="candidate 4 of 'organ' is none; expected 1 to 3"):
        found(4)


def test_points_alone_are_answered_by_the_chosen_one_too():
    point = {"points": (PointPrompt((7, 17, 24)),)}
    assert found(2, **point).sum() < 0.7 * found(0, **point).sum()


def test_a_chosen_candidate_stays_in_the_prompt_file(tmp_path):
    volume = organ_volume()
    obj = ObjectPrompts("organ", 1, boxes=(slice_box(ORGAN, 7),), candidate=2)
    path = tmp_path / "organ.prompts.json"
    path.write_text(json.dumps(document([obj], volume)))
    (read,) = read_prompts(path, volume, lambda *_: None)
    assert read.candidate == 2
    assert not read.says_as(ObjectPrompts("organ", boxes=obj.boxes))
    (gathered,) = api.gather_prompts(volume, files=(path,), candidate=3)
    assert gathered.candidate == 3
