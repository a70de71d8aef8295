from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, permutations, product

import numpy as np
import pytest

from sammed.engine.settings import Settings
from sammed.evaluation.protocols import DISTORTIONS, Condition
from sammed.evaluation.trial import Target, profile, run_trial
from sammed.imaging.geometry import Reorientation
from sammed.imaging.masks import dice
from sammed.imaging.volume import Volume
from sammed.models import registry
from sammed.models.compact.recipe import RECIPE
from sammed.prompts import simulation

from .conftest import Bright


@pytest.fixture
def target(labels):
    reference = labels.voxels == 1
    return Target("round", 1, reference, reference)


def steps(volume, target, condition, model=None, **more):
    return list(run_trial(volume, target, model or Bright(), condition, **more))


def test_protocol_a_scores_a_box_on_every_slice(volume, target):
    (step,) = steps(volume, target, Condition("A"))
    seen = target.reference.any(axis=(1, 2))
    assert [b.index for b in step.prompts.boxes] == np.flatnonzero(seen).tolist()
    assert dice(step.mask, target.reference) > 0.97
    assert not step.mask[~seen].any()
    assert step.seconds >= step.encode_s + step.decode_s
    assert step.error == ""


def test_filled_boxes_score_what_boxes_are_worth(volume, target):
    """The engine's answer to protocol A with the box floor is the union of the boxes themselves."""
    (step,) = steps(volume, target, Condition("A"), registry.build("box"))
    filled = np.zeros(volume.shape, bool)
    for box in simulation.slice_boxes(target.reference, 0):
        filled[box.block.slices] = True
    np.testing.assert_array_equal(step.mask, filled)


@pytest.mark.parametrize("protocol", ["B", "B2"])
def test_propagating_protocols_reach_all_slices(volume, target, protocol):
    (step,) = steps(volume, target, Condition(protocol))
    assert dice(step.mask, target.reference) > 0.9
    assert len(step.stops) == 2


@pytest.mark.parametrize("protocol", ["A", "B", "B2"])
def test_all_planes_can_be_evaluated(volume, target, protocol):
    (step,) = steps(volume, target, Condition(protocol), settings=Settings(plane="all"))
    assert dice(step.mask, target.reference) > 0.9


def test_protocol_c_starts_as_b_and_adds_one_click_a_step(volume, target):
    model = registry.build("ellipse")
    start = steps(volume, target, Condition("B"), model)[0]
    clicked = steps(volume, target, Condition("C", clicks=5), model)
    np.testing.assert_array_equal(clicked[0].mask, start.mask)
    assert [s.number for s in clicked] == list(range(6))
    assert [len(s.prompts.points) for s in clicked] == list(range(6))
    for before, after in pairwise(clicked):
        click = after.prompts.points[-1]
        assert before.mask[click.at] != target.reference[click.at]
        assert click.positive == target.reference[click.at]


def test_no_click_is_made_where_nothing_is_wrong(volume, target):
    perfect = Target("round", 1, target.reference, target.reference)
    clicked = steps(volume, perfect, Condition("C", clicks=2))
    wrong = [int((s.mask ^ target.reference).sum()) for s in clicked]
    for step, errors in zip(clicked[1:], wrong, strict=False):
        if not errors:
            assert step.seconds == 0
            assert len(step.prompts.points) < step.number


def test_prompts_can_come_from_another_label(volume, target):
    """Another reader's label prompts; the reference is left for scoring."""
    other = np.roll(target.reference, 5, axis=2)
    (step,) = steps(volume, Target("round", 1, target.reference, other), Condition("B2"))
    assert step.prompts.boxes[0] == simulation.largest_slice_box(other, 0)


def test_the_same_seed_gives_the_same_masks(volume, target):
    first, again, other = (
        steps(volume, target, Condition("A", seed, jitter=0.25), registry.build("box"))[0]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.mask, again.mask)
    assert (first.mask != other.mask).any()


class Twice(Bright):
    """Looks at boxed slices a second time, in a mirror."""

    @property
    def spec(self):
        return replace(super().spec, recipe=RECIPE)


@pytest.mark.parametrize(("kind", "looks"), [(Bright, 1), (Twice, 2)])
def test_each_slice_is_encoded_once_for_all_objects(volume, labels, kind, looks):
    """And once more in a mirror, where the model's recipe has a second look."""
    from sammed.engine.settings import Settings
    from sammed.views.embeddings import EmbeddingStore

    model, store = kind(), EmbeddingStore()
    settings = Settings(window="100/50")
    for value in (1, 2):
        reference = labels.voxels == value
        target = Target(str(value), value, reference, reference)
        for jitter in (0.0, 0.05):
            steps(volume, target, Condition("A", 0, jitter), model, settings=settings, store=store)
    shown = (labels.voxels > 0).any(axis=(1, 2)).sum()
    assert model.encoded == looks * shown


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_disturbed_images_are_scored_on_the_undisturbed_grid(volume, target, distortion):
    (step,) = steps(volume, target, Condition("D", 0, distortion=distortion))
    assert step.mask.shape == volume.shape
    assert dice(step.mask, target.reference) > 0.6
    if distortion in ("undisturbed", "axes 1", "axes 2", "axes 3"):
        (plain,) = steps(volume, target, Condition("B"))
        np.testing.assert_array_equal(step.mask, plain.mask)


def test_profiles_count_pixels_by_relative_position():
    reference, mask = np.zeros((9, 4, 5), bool), np.zeros((9, 4, 5), bool)
    reference[2:7, 1:3, 1:4] = True
    mask[1:6, 1:3, 2:5] = True
    assert profile(mask, reference, 0) == [
        [-0.25, 0, 6, 0],
        [0.0, 6, 6, 4],
        [0.25, 6, 6, 4],
        [0.5, 6, 6, 4],
        [0.75, 6, 6, 4],
        [1.0, 6, 0, 0],
    ]
    one = np.zeros((9, 4, 5), bool)
    one[4, 1:3, 1:4] = True
    assert profile(one, one, 0) == [[0.5, 6, 6, 6]]


@pytest.mark.thorough
def test_all_48_axis_orders_give_the_same_mask(volume, target):
    """Whatever order the file stores its axes in, protocol D has nothing to find."""
    model = registry.build("two_class")
    (expected,) = steps(volume, target, Condition("B2"), model)
    seen = set()
    for order in permutations(range(3)):
        for flips in product((False, True), repeat=3):
            turn = Reorientation(order, flips, volume.shape)
            stored = Volume.from_array(
                np.ascontiguousarray(turn.apply(volume.voxels)),
                turn.apply_affine(volume.affine),
                modality="MR",
            )
            seen.add(stored.grid.reorientation)
            (found,) = steps(stored, target, Condition("B2"), model)
            np.testing.assert_array_equal(found.mask, expected.mask)
    assert len(seen) == 48
