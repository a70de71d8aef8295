"""Drawn trunks: every organ is there, about as large as in people, and where it belongs."""

from __future__ import annotations

import numpy as np
import pytest

from sammed.synthesis import torso as torsos
from sammed.synthesis.dense_samples import patches
from sammed.synthesis.dense_scenes import make_dense_scene
from sammed.synthesis.source import GENERATOR
from sammed.synthesis.torso import FIRST, Torso, make_torso

ROOMY = (150, 90, 110)

ML = {
    "liver": (700, 3200),
    "spleen": (40, 700),
    "kidney left": (50, 350),
    "kidney right": (50, 350),
    "pancreas": (15, 220),
    "aorta": (50, 500),
    "bladder": (40, 700),
    "heart": (250, 1400),
    "vertebra L3": (25, 140),
    "psoas left": (80, 700),
    "autochthon right": (150, 1500),
    "femur right": (60, 700),
    "colon": (150, 2500),
    "small bowel": (150, 2500),
}
"""Organ → least and most that is plausible, of bodies of any size."""


@pytest.fixture(scope="module")
def bodies() -> list[Torso]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torsos, "SPANS", {"trunk": (-190.0, 490.0, 1.0)})
        patched.setattr(torsos, "SLAB_SHARE", 0.0)
        return [make_torso(np.random.default_rng((7, n)), ROOMY) for n in range(3)]


def mask_of(body: Torso, name: str) -> np.ndarray:
    return body.outer == body.number(name)


def is_whole(mask: np.ndarray) -> bool:
    """Whether it does not go on beyond the sides of the scan."""
    ends = (np.take(mask, at, axis).any() for axis in (1, 2) for at in (0, -1))
    return not any(ends)


def middle(body: Torso, name: str) -> np.ndarray:
    """(x, y, z) in mm of the body."""
    mask = mask_of(body, name)
    return np.array([float(axis[mask].mean()) for axis in body.frame.at(body.frame.whole)])


def test_the_same_seed_gives_the_same_trunk():
    one, other, third = (make_torso(np.random.default_rng(n), (20, 24, 28)) for n in (3, 3, 4))
    for name in ("image", "outer", "inner"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.names == other.names
    assert one.image.shape != third.image.shape or not np.array_equal(one.image, third.image)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ML)
def test_organs_are_there_and_about_as_large_as_in_people(bodies, name):
    least, most = ML[name]
    found = [body for body in bodies if body.number(name) and is_whole(mask_of(body, name))]
    assert found
    for body in found:
        voxel = body.frame.pixel**3 * body.step / 1000
        assert least < mask_of(body, name).sum() * voxel < most


@pytest.mark.parametrize(
    ("one", "other", "axis"),
    [
        ("liver", "spleen", 0),
        ("kidney right", "kidney left", 0),
        ("inferior vena cava", "aorta", 0),
        ("hip right", "hip left", 0),
        ("bladder", "sacrum", 1),
        ("vertebra L3", "spinal cord", 1),
        ("heart", "vertebra T8", 1),
        ("stomach", "kidney left", 1),
        ("vertebra L5", "vertebra L4", 2),
        ("vertebra L1", "vertebra T12", 2),
        ("bladder", "liver", 2),
        ("liver", "heart", 2),
        ("kidney left", "lung upper lobe left", 2),
    ],
)
def test_one_is_right_in_front_of_or_below_the_other(bodies, one, other, axis):
    for body in bodies:
        if body.number(one) and body.number(other):
            assert middle(body, one)[axis] < middle(body, other)[axis]


def test_no_bowel_is_outside_the_belly_and_all_lies_within_the_skin(bodies):
    for body in bodies:
        things = body.outer >= FIRST
        air = body.outer == torsos.AIR
        grown = np.zeros_like(air)
        grown[:, 1:] |= things[:, :-1]
        grown[:, :-1] |= things[:, 1:]
        assert (grown & air).sum() < 0.01 * things.sum()
        bowel = mask_of(body, "small bowel")
        assert not (bowel & (body.frame.z > 300)).any()


def test_what_differs_is_seen(bodies):
    """Organs are told from the fat round them by the image, in every look."""
    for body in bodies:
        names = ("kidney left", "kidney right", "aorta", "liver", "psoas left", "vertebra L3")
        fat = body.image[body.outer == torsos.CAVITY]
        apart = [abs(body.image[mask_of(body, n)].mean() - fat.mean()) for n in names]
        assert np.median(apart) > 0.05
        assert 0 <= body.image.min() < body.image.max() <= 1


def test_patches_of_what_lies_upright_are_mirrored_from_left_to_right_alone(monkeypatch):
    monkeypatch.setattr("sammed.synthesis.dense_scenes.KINDS", {"torso": 1.0})
    monkeypatch.setattr("sammed.synthesis.dense_scenes.TURNED_SHARE", 0.0)
    monkeypatch.setattr("sammed.synthesis.torso.MOST", (20, 24, 28))
    scene = make_dense_scene((5,), GENERATOR)
    assert scene.upright
    (patch,) = patches(scene, np.random.default_rng(0), 1)
    seen = set()
    for n in range(8):
        turned = patch.turned(np.random.default_rng(n)).image
        assert np.array_equal(turned, patch.image) or np.array_equal(turned, patch.image[..., ::-1])
        seen.add(turned.tobytes())
    assert len(seen) == 2
