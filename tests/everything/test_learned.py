"""Candidates by the dense network's borders: where the image itself shows no border between two."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("skimage", reason="everything mode needs scikit-image, the extra 'everything'")

from sammed.errors import WeightsMismatchError
from sammed.everything import learned
from sammed.everything.candidates import Sizes, find_candidates
from sammed.everything.coarse import Coarse
from sammed.everything.learned import learned_borders
from sammed.everything.recall import best_ious
from sammed.everything.regions import Region
from sammed.everything.traits import contrast_of
from sammed.models.dense.borders import Borders, DenseReader
from sammed.models.dense.net import DenseArchitecture, DenseNet
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
    whole = contrast_of(Region.of(first), seen())
    assert whole == pytest.approx(0.85, abs=0.02)
    assert contrast_of(Region.of(first | second), seen()) < whole
    assert contrast_of(Region.of(np.roll(first, 4, 2)), seen()) < whole - 0.2
    assert contrast_of(Region.of(np.ones(SHAPE, bool)), seen()) < 0.2


def test_pictures_are_not_seen(coarse):
    flat = Coarse(coarse.image[:, :1], np.eye(4), (1.0, 1.0, 1.0), (1, *SHAPE[1:]))
    assert learned_borders(flat, lambda: None) is None


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
