"""The network for volumes behind the model protocol: where it looks, and what it makes of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.intensity import Window
from sammed.imaging.volume import Volume
from sammed.models import registry
from sammed.models.compact import field_prompts as drawing
from sammed.models.compact.field import Field
from sammed.models.compact.field_placing import first_field, fitted_field, grown_field
from sammed.models.compact.volume_model import VolumeFinder
from sammed.models.compact.volume_net import (
    Fields,
    VolumeArchitecture,
    VolumeNet,
    mirrored,
)
from sammed.models.contract import check_model
from sammed.models.protocols import VolumeImage, VolumeModel
from sammed.prompts import BoxPrompt, LassoPrompt, MaskPrompt, PointPrompt, ScribblePrompt
from sammed.session import Session
from sammed.training.checkpoint import export_weights
from tests.phantoms import OBLIQUE, ORGAN, block_of, dice, organ_volume, slice_box

TINY = VolumeArchitecture((8, 8, 8, 8), (1, 1, 1, 1))
SIZE = 32


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(4)
    path = tmp_path_factory.mktemp("volume") / "volume.safetensors"
    export_weights(path, VolumeNet(TINY).state_dict(), TINY.tag)
    return path


class Patient:
    """Never wants to stop."""

    def check(self):
        pass

    def advance(self, done, total=None):
        pass


class Bright(VolumeFinder):
    """Finds what is bright, and notes what it was shown."""

    def __init__(self, weights, **options):
        super().__init__(weights, size=64, **options)
        self.shown = []

    def look(self, fields):
        self.shown.append(fields)
        logits = np.asarray(fields.image[0]) * 12 - 6
        found = logits > 0
        faces = [found.take(i, axis).any() for axis in range(3) for i in (0, -1)]
        return logits.astype(np.float32), 0.75, np.array(faces, np.float32)


@pytest.fixture
def finder(weights):
    return Bright(weights)


def answer(finder, *interactions, previous=None, volume=None):
    volume = volume or organ_volume()
    image = VolumeImage(volume, Window(-80, 100, "phantom"))
    return finder.open(image).answer(interactions, previous, reporter=Patient())


def on_volume(found, shape=ORGAN.shape):
    mask = np.zeros(shape, bool)
    mask[found.block.slices] = found.logits > 0
    return mask


PROMPTS = {
    "3D box": [block_of(ORGAN)],
    "box on a slice": [slice_box(ORGAN, 7)],
    "box on a row": [slice_box(ORGAN, 17, axis=1)],
    "click": [PointPrompt((7, 17, 24))],
    "clicks": [PointPrompt((7, 17, 24)), PointPrompt((1, 1, 1), False)],
    "stroke": [ScribblePrompt(np.array([(7, y, 24) for y in range(12, 22)]))],
    "lasso": [LassoPrompt(0, 7, ((12.0, 18.0), (12.0, 30.0), (22.0, 30.0), (22.0, 18.0)))],
    "painted slice": [MaskPrompt(ORGAN & (np.arange(17) == 7)[:, None, None])],
}


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("affine", [None, OBLIQUE], ids=["straight", "oblique"])
def test_what_is_seen_on_the_field_lies_at_its_place_in_the_volume(finder, name, affine):
    volume = organ_volume() if affine is None else organ_volume(affine)
    found = answer(finder, *PROMPTS[name], volume=volume)
    assert found.logits.shape == found.block.shape
    assert found.logits.dtype == np.float16
    assert found.predicted_iou == 0.75
    assert dice(on_volume(found), ORGAN) > 0.95


def test_a_3d_box_is_looked_at_once_and_is_a_limit(finder):
    block = Box3D(4, 10, 10, 11, 24, 30)
    found = answer(finder, block)
    assert len(finder.shown) == 1
    assert found.block.intersection(block) == found.block
    assert not on_volume(found)[~np.isin(np.arange(17), range(4, 11))].any()


def test_a_field_grows_until_it_holds_the_object(finder):
    answer(finder, PointPrompt((7, 17, 24)))
    assert len(finder.shown) > 1
    steps = [np.asarray(shown.step[0]) for shown in finder.shown]
    assert not np.allclose(steps[0], steps[-1])
    assert (np.asarray(finder.shown[1].prompts[0, drawing.FORMER]) > 0).any()


def test_the_former_answer_is_shown(finder):
    block = block_of(ORGAN)
    first = answer(finder, block)
    answer(finder, block, PointPrompt((7, 17, 24)), previous=first)
    former = np.asarray(finder.shown[-1].prompts[0, drawing.FORMER])
    assert (former > 0).any()
    assert (former < 0).any()
    assert not (np.asarray(finder.shown[0].prompts[0, drawing.FORMER]) != 0).any()
    again = np.asarray(finder.shown[-1].image[0] > 0.5)
    assert dice(former > 0, again) > 0.9


def test_a_box_on_a_slice_is_seen_as_deep_as_wide():
    field = first_field([BoxPrompt(0, 5, Box2D(10, 10, 22, 40))], (30, 90, 90), (5.0, 1.0, 1.0))
    sizes = (np.array(field.high) - np.array(field.low)) * (5, 1, 1)
    np.testing.assert_allclose(sizes, (50, 20, 50))


def test_a_picture_is_not_lost_between_samples():
    """Of a volume of one slice the slice fills as much of the field as a 3D box would."""
    field = first_field([BoxPrompt(0, 0, Box2D(100, 80, 300, 280))], (1, 500, 400), (1, 1, 1))
    low, high = field.spans((0, 0, 0), (1, 500, 400))[0]
    assert high - low == pytest.approx(0.7 * 64)
    assert low + high == pytest.approx(64)


def test_a_field_does_not_grow_beyond_the_volume():
    field = Field((0.0, -1.0, 2.0), (9.0, 10.0, 8.0), 32)
    assert grown_field(field, np.array([1, 1, 1, 1, 0, 0], bool), (9, 10, 20)) is None
    wider = grown_field(field, np.array([0, 0, 0, 0, 1, 1], bool), (9, 10, 20))
    assert wider.low == (0.0, -1.0, -1.0)
    assert wider.high == (9.0, 10.0, 11.0)


def test_a_small_object_is_looked_at_again_closely():
    mask = np.zeros((32, 32, 32), bool)
    mask[14:18, 14:18, 14:18] = True
    field = Field((0.0, 0.0, 0.0), (64.0, 64.0, 64.0), 32)
    closer = fitted_field(mask, field, Box3D(30, 30, 30, 31, 31, 31), (1, 1, 1))
    assert (closer.step < field.step / 3).all()
    assert fitted_field(mask, closer, Box3D(30, 30, 30, 31, 31, 31), (1, 1, 1)) is not None
    assert fitted_field(np.zeros_like(mask), field, Box3D(0, 0, 0, 1, 1, 1), (1, 1, 1)) is None


@pytest.mark.parametrize("axes", [(0,), (1, 2)])
def test_seen_in_all_mirrors_a_mirrored_field_is_answered_mirrored(weights, axes):
    torch.manual_seed(0)
    prompts = drawing.no_prompts(1, SIZE)
    prompts[0, drawing.CLICK_IN, 5, 9, 20] = 1
    block = torch.tensor([[[3.0, 12.0], [4.0, 15.0], [10.0, 30.0]]])
    one = torch.ones(1, 3)
    fields = Fields(
        torch.rand(1, *[SIZE] * 3), torch.ones(1, *[SIZE] * 3), prompts, block, one, one
    )
    finder = VolumeFinder(weights, size=SIZE, mirrors=8)
    logits, iou, faces = finder.look(fields)
    turned, same, others = finder.look(mirrored(fields, axes))
    np.testing.assert_allclose(np.flip(turned, axes), logits, atol=1e-4)
    assert same == pytest.approx(iou, abs=1e-5)
    pairs = faces.reshape(3, 2)
    for axis in range(3):
        wanted = pairs[axis][::-1] if axis in axes else pairs[axis]
        np.testing.assert_allclose(others.reshape(3, 2)[axis], wanted, atol=1e-5)


def test_it_is_a_model_of_volumes(weights):
    model = registry.build(str(weights))
    assert isinstance(model, VolumeFinder)
    assert isinstance(model, VolumeModel)
    check_model(model)


def test_a_session_takes_its_weights(weights):
    """From a weights file to an object, untrained as the network is."""
    session = Session(organ_volume(), VolumeFinder(weights, size=SIZE))
    session.add("organ", block_of(ORGAN))
    result = session.result()
    assert result.volume_ml(1) >= 0


def test_the_field_of_a_point_at_a_corner_is_looked_at(finder):
    volume = Volume.from_array(np.zeros((5, 7, 11), np.float32), OBLIQUE)
    found = answer(finder, PointPrompt((0, 0, 0)), volume=volume)
    assert found.block.clip((5, 7, 11)) == found.block
