"""A model's own everything mode: masks of slices linked into things."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("skimage", reason="everything mode needs scikit-image, the extra 'everything'")

from scipy import ndimage

from sammed.everything.found import Wishes
from sammed.everything.slices import chains
from sammed.everything.things import find_things
from sammed.imaging.intensity import resolve_window
from sammed.imaging.volume import LabelVolume, Volume
from tests.phantoms import STRAIGHT, StubModel


@dataclass
class Part:
    mask: np.ndarray
    predicted_iou: float = 0.9
    stability: float = 0.8


class Bright(StubModel):
    """Finds each bright part of a picture."""

    def everything(self, image, *, check):
        check()
        parts, count = ndimage.label(image[..., 0] > 128)
        return [Part(parts == n + 1) for n in range(count)]


def two_columns() -> Volume:
    voxels = np.random.default_rng(0).normal(0, 1, (9, 40, 50))
    voxels[1:7, 5:20, 5:20] += 100
    voxels[3:9, 25:38, 30:46] += 100
    return Volume.from_array(voxels.astype(np.int16), STRAIGHT, modality="MR")


def test_parts_of_neighbouring_slices_are_one_thing():
    volume = two_columns()
    found = chains(volume, resolve_window("auto", volume), Bright(), lambda *_: None, lambda: None)
    assert sorted((c.region().block.low, c.region().size) for c in found) == [
        ((1, 5, 5), 6 * 15 * 15),
        ((3, 25, 30), 6 * 13 * 16),
    ]


def test_things_are_found_so_and_scored_by_the_model():
    found = find_things(two_columns(), Bright(), Wishes(within="image"))
    assert len(found.things) == 2
    assert all(thing.source == "grid" for thing in found.things)
    assert found.things[0].score == pytest.approx((0.9 * 0.8) ** 0.5)
    within = find_things(two_columns(), Bright(), Wishes(within=(0, 0, 0, 25, 25, 9)))
    assert [thing.region.block.low for thing in within.things] == [(1, 5, 5)]


def test_what_no_known_label_covers_comes_first():
    volume = two_columns()
    for column in range(2):
        labels = np.zeros(volume.shape, np.uint8)
        where = (
            (slice(1, 7), slice(5, 20), slice(5, 16)) if column else (slice(3, 9), slice(25, 38))
        )
        labels[where] = 1
        known = LabelVolume(labels, volume.grid, {1: "known"})
        first, second = find_things(volume, Bright(), Wishes(within="image", known=known)).things
        assert (first.known, second.known) == (False, True)
        assert first.region.block.low == ((3, 25, 30) if column else (1, 5, 5))
