"""Candidates by the dense network's borders: where the image itself shows no border between two."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("skimage", reason="everything mode needs scikit-image, the extra 'everything'")

from sammed.errors import WeightsMismatchError
from sammed.everything import learned
from sammed.everything.candidates import Sizes, find_candidates
from sammed.everything.coarse import Coarse
from sammed.everything.kinds import kind_layers
from sammed.everything.learned import learned_borders, picture_borders
from sammed.everything.recall import best_ious
from sammed.everything.regions import Region
from sammed.everything.traits import salience_of, traits_of
from sammed.models.dense.borders import Borders, DenseReader, PictureReader
from sammed.models.dense.net import KINDS, DenseArchitecture, DenseNet
from sammed.synthesis.dense_samples import at_border, depth_of

SHAPE = (14, 26, 34)
BLOCKS = ((slice(3, 11), slice(5, 21), slice(4, 17)), (slice(3, 11), slice(5, 21), slice(17, 30)))
"""Two things side by side, of one brightness."""


def masks() -> list[np.ndarray]:
    found = []
    for block in BLOCKS:
        mask = np.zeros(SHAPE, bool)
        mask[block] = True
        found.append(mask)
    return found


@pytest.fixture(scope="module")
def coarse() -> Coarse:
    image = np.random.default_rng(0).normal(0.3, 0.01, SHAPE).astype(np.float32)
    for mask in masks():
        image[mask] += 0.3
    return Coarse(image[None], np.eye(4), (1.0, 1.0, 1.0), SHAPE)


def seen() -> Borders:
    """What a network that knows would say."""
    labels = masks()[0] + 2 * masks()[1].astype(np.int32)
    border = at_border(labels)
    edges = np.where(border, 0.9, 0.05).astype(np.float32)
    thing = np.where(labels > 0, 0.9, 0.1).astype(np.float32)
    return Borders(thing, edges, edges, depth_of(labels, border, 1.0))


def test_two_things_without_a_border_in_the_image_are_parted_by_the_network(coarse):
    area = np.ones(SHAPE, bool)
    references = [Region.of(mask) for mask in masks()]
    blind = best_ious(coarse, area, references, None)
    sighted = best_ious(coarse, area, references, seen())
    assert sighted[:, 0].min() > 0.9 > blind[:, 0].max()
    assert sighted[:, 1].min() > 0.9  # among the first, too


def test_sources_and_chances_are_told(coarse):
    area = np.ones(SHAPE, bool)
    sizes = Sizes(100, 6000)
    found = find_candidates(coarse, area, sizes, 40, lambda: None, seen())
    assert any(c.source.startswith("border") for c in found.candidates)
    assert all(0 < c.chance <= 1 for c in found.candidates)
    assert len(found.pool) > len(found.candidates)
    without = find_candidates(coarse, area, sizes, 40, lambda: None)
    assert {c.chance for c in without.candidates} == {1.0}


def test_a_thing_has_borders_all_around_and_none_within():
    first, second = masks()
    whole = traits_of(Region.of(first), seen()).contrast
    assert whole == pytest.approx(0.85, abs=0.02)
    assert traits_of(Region.of(first | second), seen()).contrast < whole
    assert traits_of(Region.of(np.roll(first, 4, 2)), seen()).contrast < whole - 0.2
    assert traits_of(Region.of(np.ones(SHAPE, bool)), seen()).contrast < 0.2


TINY_PICTURES = DenseArchitecture(2, 3, (8, 8, 8, 8), (1, 1, 1, 1))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_slice_along_any_axis_and_a_colour_picture_are_seen(coarse, axis, channels):
    reader = PictureReader(DenseNet(TINY_PICTURES).eval())
    slab = np.take(coarse.image[0], [5], axis)
    flat = Coarse(np.stack([slab] * channels), np.eye(4), (1.0, 1.0, 1.0), slab.shape)
    area = np.ones(slab.shape, bool)
    area[slab.shape[0] // 2 :, : slab.shape[1] // 2] = axis == 0
    seen = picture_borders(flat, area, lambda: None, reader)
    assert seen.salient is not None
    assert seen.salient.shape == seen.border.shape == slab.shape
    assert not seen.salient[~area].any()


def salient_at(mask: np.ndarray) -> Borders:
    """What a network says that sees no borders, and one salient thing."""
    none = np.full(mask.shape, 0.1, np.float32)
    return Borders(none, none, none, none, np.where(mask, 0.9, 0.02).astype(np.float32))


def test_what_is_salient_is_a_candidate_and_the_most_salient():
    """Nothing in the image shows its border."""
    image = np.random.default_rng(0).normal(0.5, 0.05, (3, 1, 60, 70)).astype(np.float32)
    flat = Coarse(image, np.eye(4), (1.0, 1.0, 1.0), (1, 60, 70))
    mask = np.zeros((1, 60, 70), bool)
    mask[:, 10:35, 20:50] = True
    area = np.ones(mask.shape, bool)
    found = find_candidates(flat, area, Sizes(40, 2000), 60, lambda: None, salient_at(mask))
    best = max(found.candidates, key=lambda c: c.salience)
    assert best.source == "salient"
    assert best.region.iou(Region.of(mask)) > 0.95


def test_salience_is_the_dice_that_is_expected_or_half_of_how_much_it_stands_out():
    mask = np.zeros((1, 60, 70), bool)
    mask[:, 10:35, 20:50] = True
    seen = salient_at(mask).salient
    whole = salience_of(Region.of(mask), seen)
    half = mask.copy()
    half[:, :22] = False
    assert whole > 0.85
    assert salience_of(Region.of(half), seen) < 0.7 * whole
    assert salience_of(Region.of(~mask), seen) < 0.15
    several = mask.copy()
    several[:, 40:58, 5:65] = True
    one_of_two = salience_of(Region.of(mask), salient_at(several).salient)
    assert one_of_two >= 0.44


def test_reading_can_be_stopped(coarse):
    reader = DenseReader(DenseNet(DenseArchitecture(3, 1, (8, 8, 8, 8), (1, 1, 1, 1))).eval())
    assert learned_borders(coarse, lambda: None, reader).depth.shape == SHAPE

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learned_borders(coarse, stop, reader)


def test_broken_weights_are_one_line(coarse, tmp_path, monkeypatch):
    bad = tmp_path / "dense.safetensors"
    bad.write_bytes(b"0" * 50)
    monkeypatch.setattr(learned, "WEIGHTS", bad)
    learned._shipped.cache_clear()
    with pytest.raises(WeightsMismatchError) as caught:
        learned_borders(coarse, lambda: None)
    learned._shipped.cache_clear()
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


# -- kinds -------------------------------------------------------------------------------------


def of_kinds() -> Borders:
    """What a network that knows kinds alone would say of them: each block is another."""
    known = np.full((len(KINDS), *SHAPE), 0.01, np.float32)
    known[1] = 0.9
    for mask, kind in zip(masks(), ("liver", "spleen"), strict=True):
        known[:, mask] = 0.01
        known[KINDS.index(kind)][mask] = 0.9
    nothing = np.full(SHAPE, 0.1, np.float32)
    return Borders(nothing, nothing, nothing, nothing, kinds=known)


def test_parts_of_a_kind_are_candidates_and_come_first(coarse):
    area = np.ones(SHAPE, bool)
    found = find_candidates(coarse, area, Sizes(20, 5000), 50, lambda: None, of_kinds())
    for mask in masks():
        reference = Region.of(mask)
        best = max(found.candidates, key=lambda c: c.region.iou(reference))
        assert best.region.iou(reference) > 0.9
        assert best.chance > 0.5
        assert found.candidates.index(best) < 5


def test_parts_of_one_kind_that_touch_are_parted_by_borders(coarse):
    known = of_kinds()
    kinds = known.kinds.copy()
    kinds[[KINDS.index("liver"), KINDS.index("spleen")], :, :, 17:30] = kinds[
        [KINDS.index("spleen"), KINDS.index("liver")], :, :, 17:30
    ]  # both are liver now
    known = replace(known, border=seen().border, kinds=kinds)
    whole, parted = kind_layers(known, np.ones(SHAPE, bool), lambda: None)
    assert len(np.unique(whole[whole > 0])) == 1
    for mask in masks():
        assert any(
            Region.of(parted == v).iou(Region.of(mask)) > 0.9 for v in np.unique(parted) if v
        )


def test_without_kinds_there_are_no_parts_of_them():
    assert not list(kind_layers(seen(), np.ones(SHAPE, bool), lambda: None))
