"""The baselines for strokes: they find what a stroke shows, and refuse what they do not know."""

from __future__ import annotations

import numpy as np
import pytest

from sammed.errors import PromptError
from sammed.imaging.volume import Volume
from sammed.models import registry
from sammed.models.stroke_baselines import MOST_VOXELS, gathered
from sammed.prompts import ObjectPrompts, PointPrompt, ScribblePrompt
from sammed.session import Session
from tests.phantoms import ORGAN, ORGAN_SHAPE, STRAIGHT, block_of, dice, image_of, organ_volume

STROKE = ScribblePrompt(np.array([(7, 17, x) for x in range(15, 34)]))
BESIDE = ScribblePrompt(np.array([(7, 33, x) for x in range(15, 34)]), positive=False)
NAMES = ("random_walker", "stroke_classes")


def segmented(name, *said, volume=None):
    if name == "random_walker":
        pytest.importorskip("skimage", reason="random walks are scikit-image's")
    session = Session(volume or organ_volume(), registry.build(name))
    session.put(ObjectPrompts("organ").with_(*said))
    session.segment()
    return session.object_mask("organ")


@pytest.mark.parametrize("name", NAMES)
def test_a_stroke_shows_the_organ(name):
    assert dice(segmented(name, STROKE, BESIDE), ORGAN) > 0.7
    assert dice(segmented(name, STROKE), ORGAN) > 0.6


@pytest.mark.parametrize("name", NAMES)
def test_what_was_stroked_is_inside_and_what_was_not_is_outside(name):
    inside = ScribblePrompt(np.array([(7, 30, x) for x in range(20, 26)]))
    mask = segmented(name, STROKE, inside, BESIDE)
    assert mask[tuple(np.concatenate([STROKE.voxels, inside.voxels]).T)].all()
    assert not mask[tuple(BESIDE.voxels.T)].any()


@pytest.mark.parametrize("name", NAMES)
def test_boxes_are_refused_in_words(name):
    session = Session(organ_volume(), registry.build(name))
    with pytest.raises(PromptError, match="does not know 3D boxes"):
        session.put(ObjectPrompts("organ", blocks=(block_of(ORGAN),)))


def test_a_large_block_is_looked_at_coarsely_and_comes_back_in_place():
    large = np.repeat(np.repeat(ORGAN, 3, 1), 3, 2)
    assert large.size > MOST_VOXELS
    volume = Volume.from_array(image_of(large), STRAIGHT, modality="CT")
    stroke = ScribblePrompt(np.array([(7, 52, x) for x in range(36, 109)]))
    assert dice(segmented("random_walker", stroke, volume=volume), large) > 0.6


def test_faces_are_outside_but_for_those_of_single_slices():
    seeds = gathered([PointPrompt((1, 17, 24))], ORGAN_SHAPE, (2.5, 0.8, 0.7))
    assert seeds.outside[[0, -1]].all()
    assert not seeds.outside[1:-1, 1:-1, 1:-1].any()
    assert seeds.inside.sum() == 1
    flat = gathered([PointPrompt((0, 17, 24))], (1, 40, 52), (1.0, 0.8, 0.7))
    assert not flat.outside[0, 1:-1, 1:-1].any()
